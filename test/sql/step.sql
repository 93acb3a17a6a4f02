-- Steps: what one takes and gives, keys, many at once, and that each call is one
-- step whatever the statement.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- Places in a ring and a light; what is seen tells the place for certain, the light
-- is a modality of its own.
\set spec '{"factors": [{"name": "place", "states": ["north", "east", "south", "west"], "actions": ["stay", "on", "back"]}, {"name": "light", "states": ["off", "on"], "actions": 2}], "modalities": [{"name": "seen", "outcomes": 4, "depends_on": ["place"]}, {"name": "lamp", "outcomes": 2, "depends_on": ["light"]}], "A": [{"shape": [4, 4], "default": 0, "entries": [[0, 0, 1], [1, 1, 1], [2, 2, 1], [3, 3, 1]]}, [[0.9, 0.1], [0.1, 0.9]]], "B": [{"next": [[0, 1, 3], [1, 2, 0], [2, 3, 1], [3, 0, 2]]}, {"next": [[0, 1], [1, 0]]}], "C": [{"2": 3}, null]}'
SELECT fa_model_create('step m', :'spec') > 0 AS made;
SELECT fa_model_create('step small', '{"A": [[[0.8, 0.1], [0.2, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}') > 0 AS made;
SELECT fa_agent_create('step m', 'step ann') AS ann \gset
SELECT fa_agent_create('step m', 'step bob') AS bob \gset
SELECT fa_agent_create('step small', 'step cat') AS cat \gset

-- the result, and the row
SELECT agent_id = :ann AS ann, step, action, round(vfe::numeric, 9) AS vfe
FROM fa_step(:ann, '{1,0}');
SELECT step, action, round(vfe::numeric, 9) AS vfe, trial, world_state,
	array(SELECT round(b::numeric, 9) FROM unnest(belief) AS b) AS belief
FROM fa_belief WHERE agent_id = :ann;
SELECT fa_belief(:ann), fa_action(:ann);

-- Missing outcomes: -1 and null are the same; '{}' is no evidence; and so is a null
-- observation where neither inbox nor world has one.  did: what was really done.
CREATE TEMP TABLE ways AS
SELECT way, fa_agent_create('step m', params => '{"belief": [[1, 0, 0, 0], [0.5, 0.5]]}') AS agent_id
FROM unnest('{-1,nothing,empty,no observation,did}'::text[]) AS way;
SELECT way, fa_step(agent_id, '{-1,0}') IS NOT NULL AS stepped FROM ways WHERE way = '-1';
SELECT way, fa_step(agent_id, '{NULL,0}') IS NOT NULL AS stepped FROM ways WHERE way = 'nothing';
SELECT way, fa_step(agent_id, '{0,0}') IS NOT NULL AS stepped FROM ways WHERE way NOT IN ('-1', 'nothing');
SELECT way, count(*) OVER (PARTITION BY belief, vfe) AS alike, array(SELECT round(b::numeric, 9) FROM unnest(belief) AS b) AS belief
FROM ways JOIN fa_belief USING (agent_id) ORDER BY way;
SELECT way, action FROM ways, fa_step(agent_id, '{}') WHERE way IN ('-1', 'empty') ORDER BY way;
SELECT way, action FROM ways, fa_step(agent_id) WHERE way IN ('nothing', 'no observation') ORDER BY way;
SELECT way, action FROM ways, fa_step(agent_id, '{}', did => '{2,1}') WHERE way = 'did';
SELECT way, array(SELECT round(b::numeric, 9) FROM unnest(belief) AS b) AS belief, world_state
FROM ways JOIN fa_belief USING (agent_id) ORDER BY way;
SELECT b.belief = c.belief AND b.vfe = c.vfe AS empty_is_null
FROM ways w JOIN fa_belief b USING (agent_id), ways v JOIN fa_belief c USING (agent_id)
WHERE w.way = 'empty' AND v.way = 'no observation';

-- What is wrong with an observation or an action is said, and nothing changes.
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT fa_step(' || call || ')', :ann)) FROM unnest(ARRAY[
	'%s, ''{4,0}''', '%s, ''{0,2}''', '%s, ''{-2,0}''', '%s, ''{0}''', '%s, ''{0,0,0}''',
	'%s, ''{{0,0}}''', '%s, ''{2147483647,-2147483648}''',
	'%s, did => ''{3,0}''', '%s, did => ''{0,-1}''', '%s, did => ''{0,NULL}''', '%s, did => ''{0}''',
	'%s, did => ''{}''', '%s, did => ''{{0,0}}''', '%s, ''{0,0}'', ''''',
	'%s, ''{0,0}'', repeat(''k'', 1001)', '-1', '9223372036854775807']) AS call;
SELECT pg_temp.raises(format('SELECT fa_step(%s, ''{0,0}'', did => ''{0,0}'')', :bob));
SELECT pg_temp.everything() = :'before' AS as_before;
-- no agent, no step
SELECT count(*) FROM fa_step(NULL, '{0,0}');
SELECT count(*) FROM fa_step_many(NULL);
SELECT count(*) FROM fa_step_many('{}');
SELECT count(*) FROM fa_step_many('{}', '{}');
-- lower bounds do not matter
SELECT step FROM fa_step(:ann, '[5:6]={1,1}', did => '[0:1]={1,1}');

-- Each of these is one step of each agent.
SELECT (fa_step(:ann)).*, 'expanded' AS form \gset first_
SELECT :first_step AS step, step AS stored, action = :'first_action' AS action FROM fa_belief WHERE agent_id = :ann;
SELECT agent_id, step AS was INTO TEMP before_forms FROM fa_belief WHERE agent_id IN (:ann, :bob, :cat);
SELECT count(*) FROM (SELECT fa_step(agent_id) FROM fa_agent WHERE name LIKE 'step %' OFFSET 0) AS s;
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
SELECT count(*) FROM fa_belief b, fa_step(b.agent_id) AS s WHERE b.agent_id IN (:ann, :bob, :cat);
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
SELECT count(*) FROM fa_belief b CROSS JOIN LATERAL fa_step(b.agent_id, '{}') AS s
WHERE b.agent_id IN (:ann, :bob, :cat) AND s.step > 0;
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
SELECT count(s.step) FROM fa_agent a LEFT JOIN LATERAL fa_step(a.agent_id) AS s ON true WHERE name LIKE 'step %';
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
SELECT count((s).vfe) FROM (SELECT fa_step(agent_id) AS s FROM fa_agent WHERE name LIKE 'step %' OFFSET 0) AS q;
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
SELECT agent_id = :ann AS ann, step - was AS ahead FROM before_forms JOIN fa_step(:ann) USING (agent_id);
SELECT (fa_step(agent_id)).step - was AS ahead FROM before_forms ORDER BY agent_id;
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
-- twice in one statement is twice
SELECT b.step - a.step AS apart FROM fa_step(:ann) AS a, fa_step(:ann) AS b;
DO $$ BEGIN PERFORM fa_step(agent_id) FROM fa_agent WHERE name LIKE 'step %'; END $$;
SELECT sum(step - was) AS steps, count(*) FROM before_forms JOIN fa_belief USING (agent_id);
-- in INSERT, in a CTE that nobody reads, prepared and generic
CREATE TEMP TABLE kept AS SELECT * FROM fa_step(:ann, '{}');
WITH unread AS MATERIALIZED (SELECT * FROM fa_step(:ann)) SELECT 1 AS one;
PREPARE step AS SELECT step - $2 AS since FROM fa_step($1, '{}');
SELECT step AS step FROM fa_belief WHERE agent_id = :ann \gset
SET plan_cache_mode = force_generic_plan;
EXECUTE step(:ann, :step);
EXECUTE step(:ann, :step);
RESET plan_cache_mode;
DEALLOCATE step;
SELECT step - :step AS since FROM fa_belief WHERE agent_id = :ann;

-- in a trigger: an agent that watches a table
CREATE TABLE step_sensor (at int, seen int);
CREATE FUNCTION pg_temp.watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM fa_step(tg_argv[0]::bigint, ARRAY[new.seen, -1]);
	RETURN NULL;
END $$;
SELECT format('CREATE TRIGGER watch AFTER INSERT ON step_sensor FOR EACH ROW EXECUTE FUNCTION pg_temp.watch(%s)', :ann) AS trigger \gset
:trigger;
SELECT step AS step FROM fa_belief WHERE agent_id = :ann \gset
INSERT INTO step_sensor VALUES (1, 0), (2, 1), (3, 2);
SELECT step - :step AS steps FROM fa_belief WHERE agent_id = :ann;
SELECT pg_temp.raises('INSERT INTO step_sensor VALUES (4, 0), (5, 9)');
SELECT step - :step AS steps FROM fa_belief WHERE agent_id = :ann;
DROP TABLE step_sensor;
-- in a cursor, a function that catches errors, one snapshot, and plans that are discarded
BEGIN ISOLATION LEVEL REPEATABLE READ;
DECLARE c CURSOR FOR SELECT s.step - :step AS steps FROM generate_series(1, 3) AS n, fa_step(:ann + 0 * n) AS s;
FETCH 2 FROM c;
CLOSE c;
SELECT count(*) FROM fa_step_many(ARRAY[:ann, :bob]);
SELECT fa_agent_reset(ARRAY[:bob]);
SELECT count(*) FROM fa_step_many(ARRAY[:bob, :ann]);
COMMIT;
SELECT step - :step AS steps FROM fa_belief WHERE agent_id = :ann;
DISCARD PLANS;
DO $$
BEGIN
	PERFORM fa_step(agent_id) FROM fa_agent WHERE name = 'step ann';
	BEGIN
		PERFORM fa_step_many(array_agg(agent_id), '{{0,0},{9,9}}') FROM fa_agent WHERE name IN ('step ann', 'step bob');
	EXCEPTION WHEN numeric_value_out_of_range THEN
		PERFORM fa_step_many(array_agg(agent_id), '{{0,0},{1,0}}') FROM fa_agent WHERE name IN ('step ann', 'step bob');
	END;
END $$;
SELECT step - :step AS steps FROM fa_belief WHERE agent_id = :ann;

-- Rolled back, a step leaves no trace.
SELECT pg_temp.everything() AS before \gset
BEGIN;
SELECT count(*) FROM fa_step(:ann, '{0,0}', 'rolled back');
SELECT fa_observe(:ann, '{0,1}', 'rolled back');
SELECT count(*) FROM fa_run(:bob, 2);
ROLLBACK;
SELECT pg_temp.everything() = :'before' AS as_before;
\set VERBOSITY sqlstate
BEGIN;
SELECT step AS first FROM fa_step(:ann, '{0,0}') \gset
SAVEPOINT s;
SELECT step - :first AS since FROM fa_step(:ann, '{1,0}', 'k');
ROLLBACK TO s;
SELECT step - :first AS since FROM fa_step(:ann, '{0,1}', 'k');
RELEASE s;
SAVEPOINT s;
SELECT fa_step(:ann, '{9,9}');
ROLLBACK TO s;
SELECT fa_step_many(ARRAY[:ann, :bob], '{{0,0},{9,9}}');
ROLLBACK TO s;
COMMIT;
SELECT step - :first AS since FROM fa_belief WHERE agent_id = :ann;
SELECT key, observation, step - :first AS since FROM fa_key WHERE agent_id = :ann;
-- nothing is left of an error's subtransaction, in a block or out of it
SELECT fa_step_many(ARRAY[:ann, :bob], '{{0,0},{9,9}}');
\set VERBOSITY default
SELECT 'goes on' AS session;

-- Keys: the same call again gives the same result and is no step.
SELECT * FROM fa_step(:bob, '{0,0}', 'morning') \gset first_
SELECT * FROM fa_step(:bob, '{1,0}') \gset other_
SELECT step = :first_step AND action = :'first_action' AND vfe = :first_vfe AS as_first
FROM fa_step(:bob, '{0,0}', 'morning');
SELECT step = :other_step AS no_step FROM fa_belief WHERE agent_id = :bob;
-- also of a paused agent, and whatever was done since
SELECT fa_agent_pause(ARRAY[:bob]);
SELECT step = :first_step AS as_first FROM fa_step(:bob, '{0,0}', 'morning', did => '{0,0}');
SELECT fa_agent_resume(ARRAY[:bob]);
SELECT count(*) FROM fa_agent_reset(ARRAY[:bob]) AS r;
SELECT step = :first_step AS as_first FROM fa_step(:bob, '{0,0}', 'morning');
SELECT trial, step - :other_step AS since FROM fa_belief WHERE agent_id = :bob;
-- a null observation has its key, too; -1 is null within one
SELECT step - :other_step AS since FROM fa_step(:bob, NULL, 'noon');
SELECT step - :other_step AS since FROM fa_step(:bob, NULL, 'noon');
SELECT step - :other_step AS since FROM fa_step(:bob, '{-1,1}', 'night');
SELECT step - :other_step AS since FROM fa_step(:bob, '{NULL,1}', 'night');
-- of another agent it is another key
SELECT step AS step FROM fa_belief WHERE agent_id = :cat \gset
SELECT step - :step AS since FROM fa_step(:cat, '{0}', 'morning');
-- with another observation it is an error
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT fa_step(' || call || ')', :bob)) FROM unnest(ARRAY[
	'%s, ''{0,1}'', ''morning''', '%s, NULL, ''morning''', '%s, ''{}'', ''morning''',
	'%s, ''{0,0}'', ''noon''', '%s, ''{}'', ''noon''', '%s, ''{9,9}'', ''morning''']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;
SELECT key, kind, observation, step - :other_step AS since FROM fa_key WHERE agent_id = :bob ORDER BY step;
-- what is older than the retention is forgotten
SELECT count(*) AS keys FROM fa_key \gset
SET fa_agents.key_retention = '1s';
SELECT pg_sleep(1.1);
SELECT step - :other_step AS since FROM fa_step(:bob, '{1,1}', 'morning');
RESET fa_agents.key_retention;
SELECT count(*) < :keys AS swept FROM fa_key;

-- Many: rows in input order, shorter models padded, an all-null row from elsewhere.
SELECT agent_id, step AS was INTO TEMP before_many FROM fa_belief WHERE agent_id IN (:ann, :bob, :cat);
SELECT array_position(ARRAY[:ann, :bob, :cat]::bigint[], agent_id) AS agent, step - was AS steps, cardinality(action) AS controls
FROM fa_step_many(ARRAY[:cat, :ann, :bob], '{{0,NULL},{1,1},{2,NULL}}') WITH ORDINALITY JOIN before_many USING (agent_id)
ORDER BY ordinality;
SELECT array_position(ARRAY[:ann, :bob, :cat]::bigint[], agent_id) AS agent, step - was AS steps
FROM fa_step_many(ARRAY[:bob, :cat, :ann]) WITH ORDINALITY JOIN before_many USING (agent_id) ORDER BY ordinality;
SELECT fa_agent_reset(ARRAY[:ann]);
SELECT fa_observe(:ann, '{3,-1}');
SELECT count(*) FROM fa_step_many(ARRAY[:ann, :cat], '{{NULL,NULL},{1,NULL}}');
SELECT belief[4] > 0.9 AS from_inbox FROM fa_belief WHERE agent_id = :ann;
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT fa_step_many(' || call || ')', :ann, :cat)) FROM unnest(ARRAY[
	'ARRAY[%s, %s], ''{{0,0},{0,0}}''', 'ARRAY[%s, %s], ''{{0,0},{2,NULL}}''',
	'ARRAY[%s, %s], ''{{0,0}}''', 'ARRAY[%s, %s], ''{0,0}''', 'ARRAY[%s, %s], ''{{{0}},{{0}}}''',
	'ARRAY[%s, %s], ''{{0,0},{0,NULL},{0,0}}''', 'ARRAY[%1$s, %2$s, %1$s]', 'ARRAY[%s, %s, NULL]',
	'ARRAY[%s, %s, -5]', 'ARRAY[%s, %s], ''{{0},{0}}''']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;

-- A thousand and more, in blocks, in descending order
CREATE TEMP TABLE crowd AS SELECT fa_agent_create_many('step m', 2500, '{"seed": 1}') AS agent_id;
SELECT count(*), bool_and(agent_id = wanted) AS in_order, min(step), max(step)
FROM (SELECT agent_id AS wanted, row_number() OVER (ORDER BY agent_id DESC) AS n FROM crowd) AS c
	JOIN fa_step_many(ARRAY(SELECT agent_id FROM crowd ORDER BY agent_id DESC)) WITH ORDINALITY AS s ON n = ordinality;
SELECT fa_agent_drop(array_agg(agent_id)) FROM crowd;

-- fa_infer: from a prior, or from D
SELECT array(SELECT round(b::numeric, 9) FROM unnest(fa_infer('step m', '{0.5,0.5,0,0,0.2,0.8}', '{0,1}')) AS b);
SELECT array(SELECT round(b::numeric, 9) FROM unnest(fa_infer('step m@1', NULL, '{-1,1}')) AS b);
SELECT fa_infer(NULL, NULL, '{0,0}') IS NULL AND fa_infer('step m', NULL, NULL) IS NULL AS nothing;
SELECT call, pg_temp.raises('SELECT fa_infer(' || call || ')') FROM unnest(ARRAY[
	'''step x'', NULL, ''{0,0}''', '''step m'', NULL, ''{0}''', '''step m'', NULL, ''{4,0}''',
	'''step m'', ''{1,0}'', ''{0,0}''', '''step m'', ''{1,0,0,0,0.5,0.6}'', ''{0,0}''',
	'''step m'', ''{-1,1,1,0,0.5,0.5}'', ''{0,0}''', '''step m'', ''{NaN,0,0,0,0.5,0.5}'', ''{0,0}''',
	'''step m'', ''{Infinity,0,0,0,0.5,0.5}'', ''{0,0}''', '''step m'', ''{1,0,0,NULL,0.5,0.5}'', ''{0,0}''',
	'''step m'', ''{{1,0,0,0,0.5,0.5}}'', ''{0,0}''']) AS call;

-- A hostile search_path: operators, functions and types of the same names before ours.
CREATE SCHEMA step_hostile;
CREATE FUNCTION step_hostile.trap8(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR step_hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = step_hostile.trap8);
CREATE OPERATOR step_hostile.< (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = step_hostile.trap8);
CREATE FUNCTION step_hostile.trapt(text, text) RETURNS boolean LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR step_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = step_hostile.trapt);
CREATE FUNCTION step_hostile.trapj(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR step_hostile.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = step_hostile.trapj);
CREATE FUNCTION step_hostile.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION step_hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION step_hostile.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION step_hostile.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION step_hostile.quote_ident(text) RETURNS text LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION step_hostile.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE TABLE step_hostile.fa_belief (agent_id text);
CREATE TABLE step_hostile.fa_agent (agent_id text);
CREATE TABLE step_hostile.fa_model (model_id text);
CREATE TABLE step_hostile.fa_observation (agent_id text);
CREATE TABLE step_hostile.fa_key (agent_id text);
CREATE TABLE step_hostile.fa_history (agent_id text);
CREATE TABLE step_hostile.fa_learned (agent_id text);
CREATE TABLE step_hostile.results (agent_id text);
CREATE TABLE step_hostile.new_agents (agent_id text);
CREATE TABLE step_hostile.steps (agent_id text);
CREATE SEQUENCE step_hostile.fa_agent_id_seq START 1;
\c
\set ECHO none
\i :helpers
\set ECHO all
SET search_path = step_hostile, pg_catalog, public;
SELECT 1::bigint = 1::bigint;
SELECT public.fa_model_create('step hostile', public.fa_spec_grid(2, 2)) OPERATOR(pg_catalog.>) 0 AS made;
SELECT public.fa_world_create('step hostile', public.fa_spec_grid(2, 2)) OPERATOR(pg_catalog.>) 0 AS made;
SELECT public.fa_agent_create('step hostile', 'step hostile', '{"history": true, "seed": 4, "world": "step hostile"}') AS one \gset
SELECT public.fa_agent_create('step hostile') AS two \gset
SELECT (public.fa_step(:one, '{0}', 'key')).step, (public.fa_step(:one, '{0}', 'key')).step AS again;
SELECT public.fa_observe(:one, '{1}', 'key'), public.fa_observe(:one, '{1}', 'key') AS again;
SELECT step FROM public.fa_step_many(ARRAY[:one, :two]);
SELECT step, action FROM public.fa_run(:one, 2);
SELECT step FROM public.fa_run_many(ARRAY[:one, :two], 1, 2, '{"observation": {"place": 3}}');
SELECT public.fa_agent_fork(:one, '{"seed": 5}') AS three \gset
SELECT public.fa_agent_set_model(ARRAY[:one, :two, :three], 'step hostile@1'), public.fa_agent_reset(ARRAY[:three]),
	public.fa_agent_pause(ARRAY[:three]), public.fa_agent_resume(ARRAY[:three]);
SELECT policy FROM public.fa_explain(:one) LIMIT 1;
SELECT public.fa_infer('step hostile', NULL, '{3}') IS NOT NULL AS infer, public.fa_action(:one) IS NOT NULL AS action,
	public.fa_belief(:one) IS NOT NULL AS belief, public.fa_parameters(:one) IS NOT NULL AS parameters;
SELECT pg_catalog.count(*) FROM public.fa_history WHERE agent_id OPERATOR(pg_catalog.=) :one;
SELECT public.fa_agent_drop(ARRAY[:one, :two, :three]), public.fa_model_drop('step hostile'), public.fa_world_drop('step hostile');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA step_hostile CASCADE;
RESET client_min_messages;

-- HOT: one step a transaction, and no update of an agent's row touches an index,
-- whatever the size of its belief.
SELECT fa_model_create('step hot ' || n, jsonb_build_object(
		'A', jsonb_build_array(jsonb_build_object('shape', ARRAY[n, n], 'default', 0,
			'entries', (SELECT jsonb_agg(ARRAY[i, i, 1]) FROM generate_series(0, n - 1) AS i))),
		'B', jsonb_build_array(jsonb_build_object('next',
			(SELECT jsonb_agg(ARRAY[i, (i + 1) % n]) FROM generate_series(0, n - 1) AS i))))) > 0 AS made
FROM unnest('{25,300,520,1000}'::int[]) AS n;
-- forty agents of each size, made at once, so that pages are as full as they come;
-- from the fourth round on all are stepped at once, so that none leaves its page to others
CREATE TEMP TABLE cases AS SELECT round, n
FROM generate_series(1, 6) AS round, unnest('{25,300,520,1000}'::int[]) AS n WHERE round <= 3 OR n = 25;
CREATE TEMP TABLE hot AS SELECT round, n, agent_id
FROM cases, fa_agent_create_many('step hot ' || n, 40 + 0 * round) AS agent_id;
SELECT n, count(*), min(cardinality(belief)) AS floats FROM hot JOIN fa_belief USING (agent_id) GROUP BY n ORDER BY n;
CREATE PROCEDURE pg_temp.step_and_commit(of_round int, size int, times int) LANGUAGE plpgsql AS $$
DECLARE
	agents bigint[] := ARRAY(SELECT agent_id FROM hot WHERE round = of_round AND n = size);
	agent bigint;
BEGIN
	FOR i IN 1 .. times LOOP
		IF of_round > 3 THEN
			PERFORM fa_step_many(agents, ARRAY(SELECT ARRAY[0] FROM generate_series(1, 40)));
			COMMIT;
			CONTINUE;
		END IF;
		FOREACH agent IN ARRAY agents LOOP
			PERFORM fa_step(agent, '{}');
			COMMIT;
		END LOOP;
	END LOOP;
END $$;
-- A snapshot held elsewhere (autovacuum analyses a table) makes updates that are not
-- HOT, and they are no fault: the best of three rounds, each with agents of its own.
CREATE TEMP TABLE rounds (n int, round int, after bool, updates bigint, hot bigint);
SET synchronous_commit = off;
\set ECHO none
SELECT command
FROM cases, generate_series(1, 5) AS line,
	LATERAL (SELECT CASE line
		WHEN 3 THEN format('CALL pg_temp.step_and_commit(%s, %s, 2)', round, n)
		-- counts are seen from the next transaction on
		WHEN 1 THEN 'DO $f$ BEGIN PERFORM pg_stat_force_next_flush(); END $f$'
		WHEN 4 THEN 'DO $f$ BEGIN PERFORM pg_stat_force_next_flush(); END $f$'
		ELSE format('INSERT INTO rounds SELECT %s, %s, %L, n_tup_upd, n_tup_hot_upd'
			' FROM pg_stat_user_tables WHERE relid = ''fa_belief''::regclass',
			n, round, line = 5)
		END AS command) AS c
ORDER BY n, round, line \gexec
\set ECHO all
RESET synchronous_commit;
SELECT n, round > 3 AS together, a.updates - b.updates AS updates, max(a.hot - b.hot) AS hot
FROM rounds a JOIN rounds b USING (n, round) WHERE a.after AND NOT b.after
GROUP BY n, round > 3, a.updates - b.updates ORDER BY n, together;

SELECT fa_agent_drop(array_agg(agent_id)) > 0 AS dropped
FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'step %';
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'step %') AS m;
