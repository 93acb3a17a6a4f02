-- Long runs are shared with other processes.  A setting of the server, whose name
-- depends on its version, does what else only
-- a run of more than some milliseconds brings about; results are the same bits.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

SELECT fa_model_create('parallel m', fa_spec_grid(3, 3, noise => 0.1)) > 0 AS made;
SELECT fa_model_create('parallel tmaze', fa_spec_tmaze(policy_len => 2)) > 0 AS made;
SELECT fa_model_create('parallel learner', '{"A": [[[0.9, 0.2], [0.1, 0.8]], [[0.5, 0.5], [0.5, 0.5]]],
	"B": [[[[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]]], "C": [[0, 1], [0, 0]],
	"pA": [[[9, 2], [1, 8]], null], "pB": [[[[9, 1], [1, 9]], [[1, 9], [9, 1]]]],
	"learn_A": true, "learn_B": true, "use_param_info_gain": true, "action_selection": "stochastic"}') > 0 AS made;
SELECT fa_world_create('parallel world', fa_spec_grid(3, 3)) > 0 AS made;

CREATE TEMP TABLE member AS
SELECT g.n, fa_agent_create(m.model, params => m.params || jsonb_build_object('seed', g.n)) AS agent_id
FROM generate_series(1, 20) AS g (n), (VALUES
	('parallel m', '{"world": "parallel world", "gamma": 2}'::jsonb),
	('parallel m', '{"C": [[0, 0, 0, 0, 0, 0, 0, 0, 3]], "D": [[1, 0, 0, 0, 0, 0, 0, 0, 0]]}'),
	('parallel tmaze', '{}'),
	('parallel learner', '{"lr_pA": 0.5}')) AS m (model, params);
SELECT array_agg(agent_id ORDER BY agent_id) AS ids FROM member \gset
-- some have begun already
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM member WHERE n % 2 = 0));

CREATE TEMP TABLE result (way text, rows text, beliefs text, counts text);

CREATE FUNCTION pg_temp.run(name text, ids bigint[], steps int, trials int, until jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows text;
BEGIN
	SELECT md5(string_agg(r::text, ' ' ORDER BY r.agent_id, r.step)) || ' ' || count(*) INTO rows
	FROM fa_run_many(ids, steps, trials, until) AS r;
	RETURN rows || (SELECT md5(string_agg(b::text, ' ' ORDER BY agent_id)) FROM fa_belief b)
		|| (SELECT md5(coalesce(string_agg(l::text, ' ' ORDER BY agent_id, part), '')) FROM fa_learned l);
END $$;

CREATE FUNCTION pg_temp.both(ids bigint[], steps int, trials int, until jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	alone text;
	shared text;
BEGIN
	BEGIN
		SET LOCAL fa_agents.max_parallel = 0;
		alone := pg_temp.run('alone', ids, steps, trials, until);
		RAISE EXCEPTION USING errcode = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	END;
	BEGIN
		SET LOCAL fa_agents.max_parallel = 2;
		PERFORM set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
		shared := pg_temp.run('shared', ids, steps, trials, until);
		RAISE EXCEPTION USING errcode = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	END;
	RETURN CASE WHEN alone = shared THEN 'the same, ' || split_part(left(shared, -64), ' ', 2) || ' rows'
		ELSE 'alone ' || alone || ', shared ' || shared END;
END $$;

-- so many steps that the caller cannot be done before the others have begun
SELECT pg_temp.both(:'ids', 600, 1, NULL);
SELECT pg_temp.both(:'ids', 301, 3, NULL);
-- rows that are larger than a message
SELECT fa_model_create('parallel wide', jsonb_build_object('A', (SELECT jsonb_agg('[[1, 1]]'::jsonb) FROM generate_series(1, 4096)),
	'B', '[[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]'::jsonb)) > 0 AS made;
SELECT array_agg(a) AS wide FROM fa_agent_create_many('parallel wide', 20) AS a \gset
SELECT pg_temp.both(:'wide', 60, 1, NULL);
SELECT fa_agent_drop(:'wide'), fa_model_drop('parallel wide');
SELECT pg_temp.both((SELECT array_agg(agent_id) FROM member JOIN fa_agent USING (agent_id) JOIN fa_model m USING (model_id) WHERE m.name = 'parallel m'),
	30, 3, '{"state": {"location": 8}}');
SELECT pg_temp.both((SELECT array_agg(agent_id) FROM member WHERE n = 1), 50, 1, NULL);

-- that processes were asked to help, and that it is kept
SELECT name AS force FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
SET :force = on;
SET client_min_messages = debug1;
SELECT count(*) FROM fa_run_many(:'ids', 5);
RESET client_min_messages;
SELECT DISTINCT step FROM fa_belief JOIN member USING (agent_id) ORDER BY 1;
-- an agent's own steps come in order
SELECT count(*) FROM (SELECT step - lag(step) OVER (PARTITION BY agent_id ORDER BY ordinality) AS d
	FROM fa_run_many(:'ids', 5) WITH ORDINALITY) AS s WHERE d <> 1;
CALL fa_run_commit(:'ids', 5, commit_every => 2);
SELECT DISTINCT step FROM fa_belief JOIN member USING (agent_id) ORDER BY 1;

-- a trial that has ended in one piece does not go on in the next, whoever made its last step.  These agents
-- wander for so long that the caller is not done before the others have begun.
SELECT fa_model_create('parallel wanderer', fa_spec_grid(5, 5, noise => 0.1, policy_len => 3, preference => 0)
	|| '{"action_selection": "stochastic"}') > 0 AS made;
SELECT array_agg(a ORDER BY a) AS many FROM fa_agent_create_many('parallel wanderer', 100) AS a \gset
CREATE FUNCTION pg_temp.lengths(ids bigint[]) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(step::text, ' ' ORDER BY agent_id) FROM fa_belief WHERE agent_id = ANY (ids) $$;
BEGIN;
SELECT count(*) > 0 AS made FROM fa_run_many(:'many', 1000, 1, '{"state": {"location": 24}}');
SELECT count(*) FILTER (WHERE step < 500) > 50 AS most_end_early, sum(step) > 5000 AS but_late
	FROM fa_belief WHERE agent_id = ANY (:'many');
SELECT pg_temp.lengths(:'many') AS expected \gset
ROLLBACK;
CALL fa_run_commit(:'many', 1000, 1, '{"state": {"location": 24}}', commit_every => 500);
SELECT pg_temp.lengths(:'many') = :'expected' AS as_in_one_piece;
SELECT fa_agent_drop(:'many'), fa_model_drop('parallel wanderer');

-- an error of any process is the caller's, and nothing has changed
SELECT pg_temp.everything() AS before \gset
SELECT pg_temp.raises(format('SELECT fa_run_many(%L, 10, 1, ''{"state": {"nowhere": 1}}'')', :'ids'));
SELECT pg_temp.everything() = :'before' AS unchanged;

-- what waits in the inbox, and history, are for the caller alone; so is a run in a
-- parallel query's own process
SELECT fa_observe(agent_id, '{1}') FROM member JOIN fa_agent USING (agent_id) JOIN fa_model m USING (model_id) WHERE m.name = 'parallel m' AND n = 1;
SELECT fa_agent_create('parallel m', params => '{"history": true}') AS keeper \gset
SET client_min_messages = debug1;
SELECT count(*) FROM fa_run_many(:'ids', 2);
SELECT count(*) FROM fa_run_many(:'ids'::bigint[] || :keeper::bigint, 300);
RESET client_min_messages;
SELECT count(*), max(step) FROM fa_history WHERE agent_id = :keeper;
SELECT fa_agent_drop(ARRAY[:keeper]);
SET fa_agents.max_parallel = 65;
RESET :force;

SELECT fa_agent_drop(:'ids');
SELECT fa_model_drop('parallel m'), fa_model_drop('parallel tmaze'), fa_model_drop('parallel learner'), fa_world_drop('parallel world');
