-- Agents: create, params, pause, resume, reset, other models, forks, drop.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- a corridor of three places, and a switch that nobody controls
\set spec '{"factors": [{"name": "place", "states": ["left", "middle", "right"], "actions": ["west", "east"]}, {"name": "light", "states": ["on", "off"], "controlled_by": []}], "modalities": [{"name": "seen", "outcomes": ["left", "middle", "right", "nothing"], "depends_on": ["place", "light"]}], "A": [[[[0.9, 0], [0, 0], [0, 0]], [[0, 0], [0.9, 0], [0, 0]], [[0, 0], [0, 0], [0.9, 0]], [[0.1, 1], [0.1, 1], [0.1, 1]]]], "B": [{"next": [[0, 1], [0, 2], [1, 2]]}, [[0.9, 0.2], [0.1, 0.8]]], "C": [{"right": 2}], "D": [[0, 1, 0], [0.5, 0.5]], "policy_len": 2}'
SELECT fa_model_create('agent m', :'spec') IS NOT NULL AS made;

-- an agent is a cold row and a hot row
SELECT fa_agent_create('agent m', 'agent ann') AS ann \gset
SELECT a.name, m.name AS model, a.world_id, a.owner = quote_ident(current_user)::regrole AS mine,
	a.params, a.forked_from
FROM fa_agent a JOIN fa_model m USING (model_id) WHERE agent_id = :ann;
SELECT b.model_id = a.model_id AND b.owner = a.owner AND b.model_digest = m.digest AS as_cold,
	history, paused, trial, step, vfe, action, world_state, belief, parameters
FROM fa_belief b JOIN fa_agent a USING (agent_id) JOIN fa_model m ON m.model_id = b.model_id
WHERE agent_id = :ann;
SELECT fa_belief(:ann), fa_action(:ann);
-- neighbours have seeds that differ in many bits
SELECT count(*) FROM fa_agent_create_many('agent m', 32);
SELECT count(DISTINCT seed & 255) > 20 AS scattered FROM fa_belief WHERE agent_id > :ann;

SELECT pg_temp.everything() AS before \gset

-- names
SELECT pg_temp.raises($$SELECT fa_agent_create('agent m', 'agent ann')$$);
SELECT pg_temp.raises($$SELECT fa_agent_create('agent m', '')$$);
SELECT pg_temp.raises($$SELECT fa_agent_create(NULL)$$);
SELECT pg_temp.raises($$SELECT fa_agent_create('agent x')$$);

-- params that are wrong
SELECT params, pg_temp.raises(format('SELECT fa_agent_create(''agent m'', params => %L)', params))
FROM unnest(ARRAY[
	'[]', '7', '"gamma"', '{"gama": 1}', '{"gamma": -1}', '{"gamma": "high"}',
	 '{"gamma": 1e999}', '{"alpha": -0.5}', '{"A": [[[1]]]}',
	'{"policies": [[[0, 0]]]}', '{"policy_len": 3}', '{"learn_A": true}',
	'{"C": [[1, 2]]}', '{"C": [{"rigth": 1}]}', '{"C": [[1, 2, null, 3]]}',
	'{"C": [], "D": []}', '{"D": [[0.5, 0.6, 0], [1, 0]]}', '{"D": [[-1, 1, 1], [1, 0]]}',
	'{"D": [[1, 0, 0]]}', '{"D": {"place": {"lft": 1}}}',
	'{"E": [1, 2]}', '{"E": [0, 0, 0, 0]}', '{"E": [1, 1, 1, -1]}',
	'{"seed": 1.5}', '{"seed": "7"}', '{"seed": 1e30}', '{"seed": null}',
	'{"history": 1}', '{"history": ["beliefs"]}', '{"history": "belief"}',
	'{"belief": [[1, 0, 0]]}', '{"belief": [[1, 1, 0], [1, 0]]}',
	'{"belief": {"place": {"left": 2}}}', '{"world": "agent x"}', '{"world": 1}',
	'{"seeds": 3}', '{"inductive_epsilon": 2}'
]) AS params;
SELECT pg_temp.raises(format('SELECT fa_agent_create(''agent m'', params => %L)',
	format('{"C": %s1%s}', repeat('[', 70), repeat(']', 70))));
SELECT split_part(pg_temp.raises(format('SELECT fa_agent_create(''agent m'', params => %L)',
	jsonb_build_object('C', repeat('x', 70000000)))), E'\n', 1) ~ '^54000 params of \d+ bytes is too large$'
	AS too_large;

-- many at once
SELECT pg_temp.raises($$SELECT fa_agent_create_many('agent m', -1)$$);
SELECT pg_temp.raises($$SELECT fa_agent_create_many('agent x', 1)$$);
SELECT pg_temp.raises($$SELECT fa_agent_create_many('agent m', ARRAY['{"gamma": 2}', '{"gama": 2}']::jsonb[])$$);
SELECT pg_temp.raises($$SELECT fa_agent_create_many('agent m', 1, '{"gama": 2}')$$);
SELECT count(*) FROM fa_agent_create_many('agent m', 0);
SELECT count(*) FROM fa_agent_create_many('agent m', '{}'::jsonb[]);
SELECT count(*) FROM fa_agent_create_many('agent m', NULL::int);

-- nothing of all these stayed
SELECT pg_temp.everything() = :'before' AS as_before;

-- with a seed, the seeds count up; ids come in order
WITH made AS MATERIALIZED (
	SELECT * FROM fa_agent_create_many('agent m', 4, '{"seed": 9007199254740990}')
		WITH ORDINALITY AS m (id, n))
SELECT count(*), bool_and(n = 1 OR id > before) AS ascending
FROM (SELECT id, n, lag(id) OVER (ORDER BY n) AS before FROM made) AS m;
SELECT seed FROM fa_belief JOIN fa_agent USING (agent_id) WHERE params ? 'seed' ORDER BY seed;
-- one for each element; a null one is one without params
SELECT count(*) FROM fa_agent_create_many('agent m', ARRAY['{"seed": -7}',
	'{"seed": 5, "gamma": 2}', '{"seed": 6, "D": [[1, 0, 0], [0, 1]]}', NULL]::jsonb[]);
SELECT seed, params, belief
FROM (SELECT CASE WHEN params ? 'seed' THEN b.seed END AS seed, a.params, b.belief,
	  agent_id FROM fa_agent a JOIN fa_belief b USING (agent_id)
	  ORDER BY agent_id DESC LIMIT 4) AS last
ORDER BY agent_id;

-- What params override is as if the model said it.
CREATE FUNCTION pg_temp.as_the_model(params jsonb, OUT belief boolean, OUT explained boolean,
	OUT differs boolean)
LANGUAGE plpgsql AS $$
DECLARE
	spec jsonb := (SELECT m.spec FROM fa_model m WHERE name = 'agent m' AND version = 1);
	by_params bigint := fa_agent_create('agent m@1', params => params || '{"seed": 1}');
	by_model bigint;
	plain bigint := fa_agent_create('agent m@1', params => '{"seed": 1}');
BEGIN
	PERFORM fa_model_create('agent m', spec || params);
	by_model := fa_agent_create('agent m', params => '{"seed": 1}');
	PERFORM fa_step(id, '{0}') FROM unnest(ARRAY[by_params, by_model, plain]) AS id;
	PERFORM fa_step(id, '{3}', did => '{1}') FROM unnest(ARRAY[by_params, by_model, plain]) AS id;
	belief := (SELECT b.belief FROM fa_belief b WHERE agent_id = by_params)
		= (SELECT b.belief FROM fa_belief b WHERE agent_id = by_model);
	SELECT bool_and(p = m), bool_or(p <> n) INTO explained, differs
	FROM fa_explain(by_params) AS p JOIN fa_explain(by_model) AS m USING (policy)
		JOIN fa_explain(plain) AS n USING (policy);
	PERFORM fa_agent_drop(ARRAY[by_params, by_model, plain]);
	PERFORM fa_model_drop('agent m@2');
END $$;
SELECT params, a.* FROM unnest(ARRAY['{"gamma": 0.25}', '{"C": [[0, 0, 1, -1]]}',
	'{"C": [{"left": 3}]}', '{"C": {"seen": [[1, 0, 0, 0], [0, 1, 0, 0]]}}',
	'{"D": [[0.25, 0.5, 0.25], null]}', '{"E": [1, 2, 3, 4]}',
	'{"gamma": 3, "C": [[1, 0, 0, 0]], "D": [[0, 0, 1], [1, 0]], "E": [0, 1, 1, 1]}',
	'{"alpha": 3}']::jsonb[]) AS params
	CROSS JOIN LATERAL pg_temp.as_the_model(params) AS a;
-- alpha and gamma decide how sure a stochastic agent is
SELECT fa_model_create('agent s', :'spec'::jsonb || '{"action_selection": "stochastic"}') > 0 AS made;
SELECT params, count(DISTINCT s.action) AS actions
FROM unnest(ARRAY['{"seed": 1, "alpha": 1000, "gamma": 9}', '{"seed": 1, "alpha": 0}',
		'{"seed": 1, "alpha": 1, "gamma": 0}']::jsonb[]) AS params
	CROSS JOIN LATERAL fa_step_many(ARRAY(SELECT fa_agent_create_many('agent s', 40, params))) AS s
GROUP BY params ORDER BY params;

-- An initial belief is one: a new trial begins with D.
SELECT fa_agent_create('agent m', 'agent bob',
	'{"belief": {"place": {"right": 1}, "light": [0.25, 0.75]}, "D": [[1, 0, 0], null], "gamma": 4}') AS bob \gset
SELECT belief FROM fa_belief WHERE agent_id = :bob;
SELECT fa_agent_reset(ARRAY[:bob]);
SELECT belief FROM fa_belief WHERE agent_id = :bob;

-- Trials: the world is drawn anew, steps count on.
SELECT count(*) FROM fa_run(:bob, 3);
SELECT trial, step, vfe IS NOT NULL AS vfe, action IS NOT NULL AS action,
	world_state IS NOT NULL AS world FROM fa_belief WHERE agent_id = :bob;
SELECT fa_agent_reset(ARRAY[:bob]);
SELECT trial, step, vfe, action, world_state, belief, fa_action(agent_id)
FROM fa_belief WHERE agent_id = :bob;
SELECT fa_agent_reset('{}'), fa_agent_reset(NULL);
SELECT agent_id = :bob AS bob, trial, step FROM fa_run(:bob, 1);

-- Pause: no step, by whatever way; all else goes on.
SELECT fa_agent_pause(ARRAY[:ann, :bob]), fa_agent_pause(ARRAY[:bob]), fa_agent_pause('{}');
SELECT pg_temp.everything() AS before \gset
SELECT pg_temp.raises(format(call, :bob)) FROM unnest(ARRAY[
	'SELECT fa_step(%1$s)', 'SELECT fa_step(%1$s, ''{9}'', ''key'')',
	'SELECT fa_step_many(ARRAY[%1$s])', 'SELECT fa_run(%1$s, 2)',
	'SELECT fa_run_many(ARRAY[%1$s], 2)']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;
SELECT fa_agent_create('agent m') AS cat \gset
SELECT step FROM fa_step(:cat, '{1}');
-- one bad agent fails the statement
SELECT pg_temp.raises(format('SELECT fa_step_many(ARRAY[%s, %s])', :cat, :bob));
SELECT pg_temp.raises(format('SELECT fa_run_many(ARRAY[%s, %s], 3)', :cat, :bob));
SELECT step FROM fa_belief WHERE agent_id = :cat;
SELECT fa_observe(:bob, '{2}'), fa_agent_reset(ARRAY[:bob]), fa_belief(:bob) IS NOT NULL AS belief;
SELECT fa_agent_resume(ARRAY[:bob, :cat]), fa_agent_resume(ARRAY[:ann]);
SELECT step FROM fa_step(:bob);

-- Lists of ids: nulls, repeated and unknown ones
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT ' || call, list)) FROM unnest(ARRAY[
		'fa_agent_pause(%L)', 'fa_agent_resume(%L)', 'fa_agent_reset(%L)', 'fa_agent_drop(%L)',
		'fa_agent_set_model(%L, ''agent m'')', 'fa_step_many(%L)', 'fa_run_many(%L, 1)']) AS call,
	unnest(ARRAY['{1,NULL}', '{5,7,5}', '{{1,2},{3,4}}', '{-1}',
		'{' || :cat || ',9223372036854775807}', '{' || :cat || ',' || :cat || '}']) AS list;
SELECT pg_temp.everything() = :'before' AS as_before;

-- Another model of the same shape: belief and counts are kept, params are read anew.
SELECT fa_model_create('agent m2', :'spec'::jsonb || '{"gamma": 7, "C": [{"left": 1}], "D": [[0, 0, 1], null]}') > 0 AS made;
SELECT belief AS belief, step AS step FROM fa_belief WHERE agent_id = :bob \gset
SELECT fa_agent_set_model(ARRAY[:bob, :cat], 'agent m2');
SELECT m.name, b.belief = :'belief' AS belief, b.step = :step AS step, b.model_id = a.model_id
	AND b.model_digest = m.digest AS as_cold
FROM fa_agent a JOIN fa_belief b USING (agent_id) JOIN fa_model m ON m.model_id = b.model_id
WHERE agent_id = :bob;
-- bob has params of his own, cat has none
SELECT fa_agent_reset(ARRAY[:bob, :cat]);
SELECT name, belief FROM fa_agent JOIN fa_belief USING (agent_id) WHERE agent_id IN (:bob, :cat)
ORDER BY agent_id;
SELECT count(*) FROM fa_step_many(ARRAY[:bob, :cat]);
SELECT fa_agent_set_model(ARRAY[:bob, :cat], 'agent m@1'), fa_agent_set_model('{}', 'agent m');
SELECT fa_model_drop('agent m2');
SELECT fa_model_create('agent other', fa_spec_grid(2, 2)) > 0 AS made;
SELECT pg_temp.everything() AS before \gset
SELECT pg_temp.raises(format('SELECT fa_agent_set_model(ARRAY[%s], ''agent x'')', :bob));
SELECT pg_temp.raises(format('SELECT fa_agent_set_model(ARRAY[%s, %s], ''agent other'')', :cat, :bob));
SELECT pg_temp.everything() = :'before' AS as_before;

-- Forks: the same state and draws, no name; params may differ.
SELECT count(*) FROM fa_run(:bob, 3);
SELECT fa_observe(:bob, '{0}', 'k');
SELECT fa_agent_fork(:bob) AS fork \gset
SELECT fa_agent_fork(:bob, '{"seed": 99, "gamma": 0, "history": true}') AS fork2 \gset
SELECT a.name, a.forked_from = :bob AS from_bob, a.params, b.history,
	b.seed = o.seed AS seed, b.model_id = o.model_id AS model,
	(b.trial, b.step, b.vfe, b.action, b.world_state, b.belief)
		= (o.trial, o.step, o.vfe, o.action, o.world_state, o.belief) AS state,
	b.parameters = o.parameters AS parameters
FROM fa_agent a JOIN fa_belief b USING (agent_id), fa_belief o
WHERE a.agent_id IN (:fork, :fork2) AND o.agent_id = :bob ORDER BY a.agent_id;
-- the inbox and its keys are the agent's own
SELECT agent_id = :bob AS bob, observation FROM fa_observation
WHERE agent_id IN (:bob, :fork, :fork2) ORDER BY agent_id;
-- one goes on without the other
SELECT count(*) FROM fa_run(:fork, 2);
SELECT a.step - b.step AS ahead FROM fa_belief a, fa_belief b
WHERE a.agent_id = :fork AND b.agent_id = :bob;
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT fa_agent_fork(' || call || ')', :bob)) FROM unnest(ARRAY[
	'-1', '%s, ''{"belief": [[1, 0, 0], [1, 0]]}''', '%s, ''{"world": "agent m"}''',
	'%s, ''{"gama": 1}''', '%s, ''[1]''', '%s, ''7''', '%s, ''{"seed": 0.5}''']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;
SELECT fa_agent_fork(NULL), fa_agent_fork(:bob, NULL);

-- Drop: all that belongs to the agent goes.
SELECT fa_agent_drop(ARRAY[:bob, :fork, :fork2]);
SELECT (SELECT count(*) FROM fa_agent WHERE agent_id = :bob) AS agent,
	(SELECT count(*) FROM fa_belief WHERE agent_id = :bob) AS belief,
	(SELECT count(*) FROM fa_observation WHERE agent_id = :bob) AS observation,
	(SELECT count(*) FROM fa_key WHERE agent_id = :bob) AS key;
SELECT call, pg_temp.raises('SELECT ' || format(call, :bob)) FROM unnest(ARRAY['fa_step(%s)',
	'fa_run(%s, 1)', 'fa_observe(%s, ''{1}'')', 'fa_belief(%s)',
	'fa_action(%s)', 'fa_explain(%s)', 'fa_parameters(%s)',
	'fa_agent_fork(%s)', 'fa_agent_drop(ARRAY[%s])']) AS call;
SELECT fa_agent_drop('{}'), fa_agent_drop(NULL);
-- its name is free
SELECT fa_agent_create('agent m', 'agent bob') > :bob AS again;

-- Nothing is written in a read-only transaction; what only reads works there.
SELECT pg_temp.everything() AS before \gset
BEGIN TRANSACTION READ ONLY;
SELECT call, pg_temp.raises('SELECT ' || format(call, :ann)) FROM unnest(ARRAY[
	'fa_model_create(''x'', ''{}'')', 'fa_model_drop(''agent m'')', 'fa_world_create(''x'', ''{}'')',
	'fa_world_drop(''x'')', 'fa_agent_create(''agent m'')', 'fa_agent_create_many(''agent m'', 1)',
	'fa_agent_create_many(''agent m'', ARRAY[''{}'']::jsonb[])', 'fa_agent_pause(ARRAY[%s])',
	'fa_agent_resume(ARRAY[%s])', 'fa_agent_reset(ARRAY[%s])', 'fa_agent_set_model(ARRAY[%s], ''agent m'')',
	'fa_agent_fork(%s)', 'fa_agent_drop(ARRAY[%s])', 'fa_observe(%s, ''{1}'')', 'fa_step(%s)',
	'fa_step_many(ARRAY[%s])', 'fa_run(%s, 1)', 'fa_run_many(ARRAY[%s], 1)',
	'fa_history_retain(''1 day'')']) AS call;
SELECT fa_belief(:ann) IS NOT NULL AS belief, fa_action(:ann) IS NULL AS action,
	fa_parameters(:ann) IS NOT NULL AS parameters, fa_infer('agent m', '{0.25,0.5,0.25,0.5,0.5}', '{}') AS infer;
SELECT count(*) FROM fa_explain(:cat);
SELECT count(*) FROM fa_model_check(:'spec');
COMMIT;
SELECT pg_temp.everything() = :'before' AS as_before;

SELECT fa_agent_drop(array_agg(agent_id)) > 0 AS dropped
FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'agent %';
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'agent %') AS m;
