-- Closed loops: worlds, trials, the conditions that end them, the procedure.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- A grid: the agent walks from the first cell to the last, which is four moves away.
SELECT fa_model_create('run grid', fa_spec_grid(3, 3, goal => 8, policy_len => 4)) > 0 AS made;
SELECT fa_agent_create('run grid', 'run ann', '{"seed": 1, "history": true}') AS ann \gset
SELECT trial, step, observation, action FROM fa_run(:ann, 6);
SELECT trial, step, observation, action FROM fa_history WHERE agent_id = :ann ORDER BY step;
SELECT trial, step, action, world_state FROM fa_belief WHERE agent_id = :ann;
-- the world moves at the next step, by the action that was done
SELECT observation, action FROM fa_run(:ann, 1);
SELECT h.observation, b.world_state FROM fa_history h JOIN fa_belief b USING (agent_id)
WHERE agent_id = :ann ORDER BY h.step DESC LIMIT 1;

-- Trials: each begins with D, with no last action, in a world drawn anew; the last one
-- is left as it ended.
SELECT trial, step, observation, action FROM fa_run_many(ARRAY[:ann], 3, 2) ORDER BY step;
SELECT trial, step, world_state FROM fa_belief WHERE agent_id = :ann;
SELECT fa_agent_reset(ARRAY[:ann]);
-- until: by number, by label, by a list; all that is named has to hold
CREATE FUNCTION pg_temp.until(until jsonb, OUT steps bigint, OUT last int[]) LANGUAGE plpgsql AS $$
BEGIN
	SELECT count(*) OVER (), observation INTO steps, last
	FROM fa_run_many(ARRAY[fa_agent_create('run grid')], 7, until => $1) ORDER BY step DESC LIMIT 1;
END $$;
SELECT until, u.* FROM unnest(ARRAY['{"observation": {"place": 8}}', '{"observation": {"place": "r2c2"}}',
		'{"observation": {"place": ["r0c2", "r2c2"]}}', '{"state": {"location": "r2c2"}}',
		'{"state": {"location": ["r0c1", 3]}}',
		'{"observation": {"place": 8}, "state": {"location": 8}}',
		'{"observation": {"place": 8}, "state": {"location": 7}}', '{"observation": {"place": []}}']::jsonb[]) AS until
	CROSS JOIN LATERAL pg_temp.until(until) AS u;
SELECT trial, count(*) AS steps FROM fa_run_many(ARRAY[:ann], 9, 3, '{"observation": {"place": "r2c2"}}')
GROUP BY trial ORDER BY trial;

-- A world of its own: here the first cell is not where the agent thinks, and moves fail.
SELECT fa_world_create('run world', fa_spec_grid(3, 3, start => 6)) > 0 AS made;
SELECT fa_world_create('run world', fa_spec_grid(3, 3, start => 4, success => 0)) > 0 AS made;
SELECT fa_agent_create('run grid', 'run bob', '{"world": "run world@1", "D": [[0,0,0,0,0,0,1,0,0]]}') AS bob \gset
SELECT fa_agent_create('run grid', 'run cat', '{"world": "run world"}') AS cat \gset
SELECT step, observation, action FROM fa_run(:bob, 3);
SELECT step, observation FROM fa_run(:cat, 3);
-- fa_step with a null observation moves and asks the same world
SELECT step FROM fa_step(:bob);
SELECT world_state FROM fa_belief WHERE agent_id = :bob;
-- an agent without a world of its own has none in fa_step, until a loop began one
SELECT fa_agent_create('run grid', 'run dan', '{"history": true}') AS dan \gset
SELECT step, action FROM fa_step(:dan);
SELECT step, observation FROM fa_run(:dan, 1);
SELECT step, action FROM fa_step(:dan);
SELECT step, observation FROM fa_history WHERE agent_id = :dan ORDER BY step;
-- it begins at the first step of a trial and moves by what was done, not what was chosen
SELECT fa_agent_reset(ARRAY[:dan]);
SELECT observation FROM fa_run(:dan, 1);
SELECT step IS NOT NULL AS stepped FROM fa_step(:dan, did => '{2}');
SELECT step IS NOT NULL AS stepped FROM fa_step(:dan, did => '{1}');
SELECT observation FROM fa_history WHERE agent_id = :dan ORDER BY step DESC LIMIT 1;

-- Draws are those of the model's numbers: outcomes and moves of many noisy worlds come as
-- often as they should, but for five standard deviations.
SELECT fa_model_create('run noise', '{"A": [[[0.7, 0.2], [0.3, 0.8]]], "B": [[[[0.9], [0.25]], [[0.1], [0.75]]]], "D": [[0.6, 0.4]]}') > 0 AS made;
CREATE TEMP TABLE noisy AS SELECT fa_agent_create_many('run noise', 10000, '{"seed": 1}') AS agent_id;
CREATE TEMP TABLE draws AS
SELECT agent_id, observation, NULL::int AS state FROM fa_run_many(ARRAY(SELECT agent_id FROM noisy), 1);
UPDATE draws d SET state = world_state[1] FROM fa_belief b WHERE b.agent_id = d.agent_id;
CREATE FUNCTION pg_temp.as_often(times bigint, of bigint, p float8) RETURNS boolean LANGUAGE sql AS $$
	SELECT abs(times - of * p) < 5 * sqrt(of * p * (1 - p))
$$;
SELECT pg_temp.as_often(count(*) FILTER (WHERE state = 0), count(*), 0.6) AS d,
	pg_temp.as_often(count(*) FILTER (WHERE state = 0 AND observation[1] = 0), count(*) FILTER (WHERE state = 0), 0.7) AS a0,
	pg_temp.as_often(count(*) FILTER (WHERE state = 1 AND observation[1] = 0), count(*) FILTER (WHERE state = 1), 0.2) AS a1
FROM draws;
SELECT count(*) FROM fa_run_many(ARRAY(SELECT agent_id FROM noisy), 1);
SELECT pg_temp.as_often(count(*) FILTER (WHERE state = 0 AND world_state[1] = 0), count(*) FILTER (WHERE state = 0), 0.9) AS b0,
	pg_temp.as_often(count(*) FILTER (WHERE state = 1 AND world_state[1] = 0), count(*) FILTER (WHERE state = 1), 0.25) AS b1
FROM draws JOIN fa_belief USING (agent_id);
-- a move does not hang on the one before it
CREATE TEMP TABLE moved AS SELECT agent_id, world_state[1] AS next FROM draws JOIN fa_belief USING (agent_id);
SELECT count(*) FROM fa_run_many(ARRAY(SELECT agent_id FROM noisy), 1);
SELECT d.state, m.next, pg_temp.as_often(count(*) FILTER (WHERE world_state[1] = 0), count(*), CASE m.next WHEN 0 THEN 0.9 ELSE 0.25 END) AS b
FROM draws d JOIN moved m USING (agent_id) JOIN fa_belief USING (agent_id) GROUP BY 1, 2 ORDER BY 1, 2;
-- and outcomes of the steps are independent of one another, and of other agents
SELECT abs(corr(a, b)) < 0.05 AS next_agent FROM (
	SELECT observation[1] AS a, lag(observation[1]) OVER (ORDER BY agent_id) AS b FROM draws WHERE state = 0) AS d;
-- each trial draws anew
SELECT count(DISTINCT o) BETWEEN 20 AND 32 AS trials_differ
FROM (SELECT string_agg(observation[1]::text, '' ORDER BY trial) AS o
	  FROM fa_run_many(ARRAY(SELECT agent_id FROM noisy ORDER BY 1 LIMIT 500), 1, 5) GROUP BY agent_id) AS t;
SELECT fa_agent_drop(array_agg(agent_id)) FROM noisy;

-- The T-maze: the context is drawn for each trial; the agent asks the cue and then goes
-- where the reward is.
SELECT fa_model_create('run tmaze', fa_spec_tmaze(cue_validity => 1)) > 0 AS made;
CREATE TEMP TABLE mice AS SELECT fa_agent_create_many('run tmaze', 100, '{"seed": 7}') AS agent_id;
CREATE TEMP TABLE visits AS
SELECT * FROM fa_run_many(ARRAY(SELECT agent_id FROM mice), 6, 2, '{"observation": {"reward": ["reward", "punishment"]}}');
SELECT trial, count(*) AS mice, bool_and(observation[2] = 1) AS rewarded, max(steps) AS steps,
	pg_temp.as_often(count(*) FILTER (WHERE observation[1] = 1), count(*), 0.5) AS both_arms
FROM (SELECT DISTINCT ON (agent_id, trial) trial, observation, count(*) OVER (PARTITION BY agent_id, trial) AS steps
	  FROM visits ORDER BY agent_id, trial, step DESC) AS v
GROUP BY trial ORDER BY trial;
SELECT count(DISTINCT (SELECT string_agg(o.observation[1]::text, '' ORDER BY step) FROM visits o WHERE o.agent_id = m.agent_id)) > 2 AS contexts_change
FROM mice m;

-- fa_run_many: what is wrong is said, and nothing changes.
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT ' || call, :ann)) FROM unnest(ARRAY[
	'fa_run(%s, 0)', 'fa_run(%s, -1)', 'fa_run(-1, 1)', 'fa_run_many(ARRAY[%s], 0)',
	'fa_run_many(ARRAY[%s], 1, 0)', 'fa_run_many(ARRAY[%1$s, %1$s], 1)', 'fa_run_many(ARRAY[%s, NULL], 1)',
	'fa_run_many(ARRAY[%s], 1, until => ''[]'')', 'fa_run_many(ARRAY[%s], 1, until => ''{}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"outcome": {}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": ["place"]}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"plaice": 1}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"place": 9}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"place": -1}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"place": 1.5}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"place": "r9c9"}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"observation": {"place": null}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"state": {"place": 1}}'')',
	'fa_run_many(ARRAY[%s], 1, until => ''{"state": {"location": {"r0c0": true}}}'')']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;
SELECT count(*) FROM fa_run(NULL, 3);
SELECT count(*) FROM fa_run_many(NULL, 3);
SELECT count(*) FROM fa_run_many('{}', 3);
SELECT count(*) FROM fa_run_many(ARRAY[:ann], NULL);

-- A loop can be cancelled, and did nothing then.
\set VERBOSITY sqlstate
SET statement_timeout = '100ms';
SELECT count(*) FROM fa_run(:ann, 100000000);
RESET statement_timeout;
\set VERBOSITY default
SELECT pg_temp.everything() = :'before' AS as_before;

-- The procedure: the same steps in pieces, committed.
SELECT fa_agent_create('run grid', 'run eve', '{"seed": 3, "history": true}') AS eve \gset
SELECT fa_agent_fork(:eve) AS fox \gset
CALL fa_run_commit(ARRAY[:eve, :ann], 9, 3, '{"observation": {"place": "r2c2"}}', 2);
SELECT count(*) FROM fa_run_many(ARRAY[:fox], 9, 3, '{"observation": {"place": "r2c2"}}');
SELECT (SELECT array_agg((trial, step, observation, action, vfe)::text ORDER BY step) FROM fa_history WHERE agent_id = :eve)
	= (SELECT array_agg((trial, step, observation, action, vfe)::text ORDER BY step) FROM fa_history WHERE agent_id = :fox) AS same;
SELECT (e.trial, e.step, e.belief, e.world_state) = (f.trial, f.step, f.belief, f.world_state) AS same, e.trial, e.step
FROM fa_belief e, fa_belief f WHERE e.agent_id = :eve AND f.agent_id = :fox;
CALL fa_run_commit(ARRAY[:eve], 5);
SELECT step - e.was AS steps FROM fa_belief b, (SELECT step AS was FROM fa_belief WHERE agent_id = :fox) AS e WHERE agent_id = :eve;
CALL fa_run_commit('{}', 5);
-- each piece is a transaction of its own
SELECT count(DISTINCT xmin::text::bigint) AS transactions FROM fa_history WHERE agent_id = :eve AND step > (SELECT step FROM fa_belief WHERE agent_id = :fox);
CALL fa_run_commit(ARRAY[:eve], 6, commit_every => 2);
SELECT count(DISTINCT xmin::text::bigint) AS transactions FROM fa_history WHERE agent_id = :eve
	AND step > (SELECT step + 5 FROM fa_belief WHERE agent_id = :fox);
-- what is wrong is said
SELECT pg_temp.everything() AS before \gset
\set VERBOSITY sqlstate
CALL fa_run_commit(ARRAY[:eve], 0);
CALL fa_run_commit(ARRAY[:eve], 1, 0);
CALL fa_run_commit(ARRAY[:eve], 1, commit_every => 0);
CALL fa_run_commit(NULL, 1);
CALL fa_run_commit(ARRAY[:eve], NULL);
CALL fa_run_commit(ARRAY[:eve], 1, NULL);
CALL fa_run_commit(ARRAY[:eve], 1, 1, NULL, NULL);
CALL fa_run_commit(ARRAY[:eve, :eve], 1);
CALL fa_run_commit(ARRAY[:eve, -1], 1);
CALL fa_run_commit(ARRAY[:eve], 1, until => '{"observation": {"plaice": 1}}');
\set VERBOSITY default
SELECT pg_temp.raises('CALL fa_run_commit(ARRAY[1], 0)');
SELECT pg_temp.raises('CALL fa_run_commit(ARRAY[1], 1, NULL)');
SELECT pg_temp.raises('CALL fa_run_commit(ARRAY[1], 1)');
BEGIN;
CALL fa_run_commit(ARRAY[:eve], 1);
ROLLBACK;
BEGIN TRANSACTION READ ONLY;
CALL fa_run_commit(ARRAY[:eve], 1);
ROLLBACK;
SELECT pg_temp.everything() = :'before' AS as_before;
-- it works from a procedure that commits, too
CREATE PROCEDURE pg_temp.night(agent bigint) LANGUAGE plpgsql AS $$
BEGIN
	CALL fa_run_commit(ARRAY[agent], 4, commit_every => 2);
	COMMIT;
	CALL fa_run_commit(ARRAY[agent], 2);
END $$;
SELECT step AS step FROM fa_belief WHERE agent_id = :eve \gset
CALL pg_temp.night(:eve);
SELECT step - :step AS steps FROM fa_belief WHERE agent_id = :eve;

SELECT fa_agent_drop(array_agg(agent_id)) > 0 AS dropped
FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'run %';
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'run %') AS m;
SELECT fa_world_drop('run world');
