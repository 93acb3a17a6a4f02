-- Sensors and actuators: which functions can be one, whose agents they are for, as
-- whom they run, and what a step through them does.
\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

CREATE ROLE regress_fa_ann;
CREATE ROLE regress_fa_bob;
CREATE ROLE regress_fa_team;
GRANT regress_fa_team TO regress_fa_ann, regress_fa_bob;
CREATE SCHEMA regress_fa_schema;
GRANT ALL ON SCHEMA regress_fa_schema TO PUBLIC;
SET search_path = regress_fa_schema, public;

-- one room with a lamp: an agent that sees it dark switches it on
\set spec '{"A": [[[1, 0], [0, 1]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 3]]}'
SET ROLE regress_fa_ann;
SELECT fa_model_create('lamp', :'spec') AS m \gset
SELECT min(a) AS a, min(a) + 1 AS b, min(a) + 2 AS c FROM fa_agent_create_many('lamp', 3) AS a \gset
CREATE TABLE room (agent_id bigint PRIMARY KEY, light int);
CREATE TABLE done (at serial, agent_id bigint, action int[], who name DEFAULT current_user);
INSERT INTO room VALUES (:a, 0), (:b, 1), (:c, 0);
CREATE FUNCTION see(agent bigint) RETURNS int[] LANGUAGE sql
	AS 'SELECT ARRAY[light] FROM regress_fa_schema.room WHERE agent_id = agent';
CREATE FUNCTION see(agents bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql
	AS 'SELECT r.agent_id, ARRAY[r.light] FROM regress_fa_schema.room r WHERE r.agent_id = ANY (agents) ORDER BY 1 DESC';
CREATE FUNCTION push(agent bigint, action int[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO regress_fa_schema.done (agent_id, action) VALUES (agent, action);
	UPDATE regress_fa_schema.room SET light = (light + action[1]) % 2 WHERE agent_id = agent $$;
CREATE FUNCTION push(agents bigint[], actions int[]) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO regress_fa_schema.done (agent_id, action)
		SELECT agents[i], ARRAY(SELECT x FROM unnest(actions[i:i]) x) FROM generate_subscripts(agents, 1) i;
	UPDATE regress_fa_schema.room SET light = (light + actions[array_position(agents, agent_id)][1]) % 2 WHERE agent_id = ANY (agents);
	SELECT count(*) FROM regress_fa_schema.room $$;

-- without either: as fa_step_many
SELECT agent_id - :a AS agent, step, action FROM fa_act(ARRAY[:b, :a]);
-- the single form: rows in the order of the ids, the lamp of a is switched on
SELECT fa_sensor_set('lamp', 'see(bigint)'), fa_actuator_set('lamp', 'push(bigint, int[])');
SELECT agent_id - :a AS agent, step, action FROM fa_act(ARRAY[:c, :a, :b]);
SELECT agent_id - :a AS agent, action, who FROM done ORDER BY at;
SELECT agent_id - :a AS agent, light FROM room ORDER BY 1;
-- the set form: the same
UPDATE room SET light = (agent_id = :b)::int;
TRUNCATE done;
SELECT fa_agent_reset(ARRAY[:a, :b, :c]);
SELECT fa_sensor_set('lamp', 'see(bigint[])'), fa_actuator_set('lamp', 'push(bigint[], int[])');
SELECT owner, model, agent_id, kind, function, function_owner, at_once FROM fa_sensor ORDER BY kind;
SELECT agent_id - :a AS agent, step, action FROM fa_act(ARRAY[:c, :a, :b]);
SELECT agent_id - :a AS agent, action, who FROM done ORDER BY 1;
SELECT agent_id - :a AS agent, light FROM room ORDER BY 1;
-- fa_step, fa_step_many and fa_run call neither
SELECT step FROM fa_step(:a, '{0}');
SELECT step FROM fa_step_many(ARRAY[:a]);
SELECT count(*) FROM fa_run(:c, 2);
SELECT count(*) FROM done;
-- nobody
SELECT * FROM fa_act('{}');
SELECT * FROM fa_act(NULL);

-- nothing to perceive: not stepped, unless something waits in the inbox
DELETE FROM room WHERE agent_id = :b;
TRUNCATE done;
SELECT agent_id - :a AS agent, action FROM fa_act(ARRAY[:b, :c]);
SELECT agent_id - :a AS agent FROM done;
SELECT fa_observe(:b, '{0}');
SELECT agent_id - :a AS agent, action FROM fa_act(ARRAY[:b, :c]);
SELECT count(*) FROM fa_observation WHERE agent_id = :b;
SELECT agent_id - :a AS agent, action FROM fa_act(ARRAY[:b, :c]);
-- a null row is the same as none; {} is no evidence, and a step
INSERT INTO room VALUES (:b, NULL);
CREATE OR REPLACE FUNCTION see(agents bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql
	AS 'SELECT r.agent_id, CASE light WHEN 7 THEN ''{}''::int[] WHEN 8 THEN ARRAY[NULL::int] ELSE light || ARRAY[]::int[] END
		FROM regress_fa_schema.room r WHERE r.agent_id = ANY (agents)';
UPDATE room SET light = 7 WHERE agent_id = :c;
SELECT agent_id - :a AS agent, fa_agent.agent_id IS NOT NULL AS stepped FROM fa_act(ARRAY[:c]) JOIN fa_agent USING (agent_id);
UPDATE room SET light = 8 WHERE agent_id = :c;
SELECT count(*) FROM fa_act(ARRAY[:c]);
-- the inbox is laid over what a sensor says
UPDATE room SET light = 1 WHERE agent_id = :a;
SELECT fa_agent_reset(ARRAY[:a]), fa_observe(:a, '{0}');
SELECT (fa_act(ARRAY[:a])).action;
SELECT fa_belief(:a);
SELECT count(*) FROM fa_observation;

-- an agent's own goes before the model's; null ends it
CREATE FUNCTION dark(bigint) RETURNS int[] LANGUAGE sql AS 'SELECT ''{0}''::int[]';
UPDATE room SET light = 1;
SELECT fa_agent_reset(ARRAY[:a, :b]), fa_sensor_set('lamp', 'dark(bigint)', ARRAY[:a]);
SELECT agent_id - :a AS agent, action FROM fa_act(ARRAY[:a, :b]);
SELECT count(*) FROM fa_sensor;
UPDATE room SET light = 1;
SELECT fa_agent_reset(ARRAY[:a, :b]), fa_sensor_set('lamp', NULL, ARRAY[:a]);
SELECT agent_id - :a AS agent, action FROM fa_act(ARRAY[:a, :b]);
SELECT fa_sensor_set('lamp', 'dark(bigint)', ARRAY[:a]), fa_actuator_set('lamp', 'push(bigint, int[])', ARRAY[:a, :c]);
-- it goes with the agent to another model, and with it
SELECT fa_model_create('lantern', :'spec') IS NOT NULL AS m2, fa_agent_set_model(ARRAY[:a], 'lantern');
SELECT model, agent_id - :a AS agent, kind, function, at_once FROM fa_sensor WHERE agent_id > 0 ORDER BY 1, 2, 3;
SELECT fa_agent_drop(ARRAY[:a]);
SELECT model, agent_id - :a AS agent, kind, function FROM fa_sensor WHERE agent_id > 0 ORDER BY 1, 2, 3;
SELECT fa_sensor_set('lamp', NULL), fa_actuator_set('lamp', NULL), fa_actuator_set('lamp', NULL, ARRAY[:b, :c]);
SELECT count(*) FROM fa_sensor;

-- all or nothing: what an actuator raises undoes the step, its row and the inbox
CREATE FUNCTION refuse(agent bigint, action int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO regress_fa_schema.done (agent_id, action) VALUES (agent, action);
	RAISE 'no' USING ERRCODE = 'FA001';
END $$;
TRUNCATE done;
SELECT fa_actuator_set('lamp', 'refuse(bigint, int[])'), fa_observe(:b, '{1}');
SELECT step AS before FROM fa_belief WHERE agent_id = :b \gset
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :b));
SELECT step = :before AS same, (SELECT count(*) FROM fa_observation) AS inbox, (SELECT count(*) FROM done) AS done FROM fa_belief WHERE agent_id = :b;

-- what a function must be
CREATE FUNCTION f_text(text) RETURNS int[] LANGUAGE sql AS 'SELECT NULL::int[]';
CREATE FUNCTION f_int(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f_setof(bigint) RETURNS SETOF int[] LANGUAGE sql AS 'SELECT ''{1}''::int[]';
CREATE FUNCTION f_more(bigint, int DEFAULT 1) RETURNS int[] LANGUAGE sql AS 'SELECT ''{1}''::int[]';
CREATE FUNCTION f_three(bigint[]) RETURNS TABLE (a bigint, b int[], c int) LANGUAGE sql AS 'SELECT 1, ''{1}''::int[], 1';
CREATE FUNCTION f_swapped(bigint[]) RETURNS TABLE (b int[], a bigint) LANGUAGE sql AS 'SELECT ''{1}''::int[], 1::bigint';
CREATE FUNCTION f_record(bigint[]) RETURNS SETOF record LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rows_of(bigint, int[]) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE p(bigint, int[]) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE agg(bigint) (SFUNC = array_append, STYPE = bigint[]);
SELECT pg_temp.raises(format('SELECT fa_sensor_set(''lamp'', %L)', f)) FROM unnest(ARRAY['f_text(text)', 'f_int(bigint)', 'f_setof(bigint)',
	'f_more(bigint, int)', 'f_three(bigint[])', 'f_swapped(bigint[])', 'f_record(bigint[])', 'push(bigint, int[])', 'agg(bigint)', 'nowhere(bigint)', '0']) f;
SELECT pg_temp.raises(format('SELECT fa_actuator_set(''lamp'', %L)', f)) FROM unnest(ARRAY['see(bigint)', 'p(bigint, int[])', 'rows_of(bigint, int[])']) f;
CREATE FUNCTION hidden(bigint) RETURNS int[] LANGUAGE sql AS 'SELECT ''{1}''::int[]';
REVOKE ALL ON FUNCTION hidden(bigint) FROM PUBLIC;

-- and what else is refused
SELECT pg_temp.raises(command) FROM unnest(ARRAY[
	'SELECT fa_sensor_set(NULL, ''see(bigint)'')', 'SELECT fa_sensor_set(''lamp@1'', ''see(bigint)'')', 'SELECT fa_sensor_set(''nothing'', ''see(bigint)'')',
	format('SELECT fa_sensor_set(''lantern'', ''see(bigint)'', ARRAY[%s])', :b), 'SELECT fa_sensor_set(''lamp'', ''see(bigint)'', ''{9999999}'')',
	format('SELECT fa_sensor_set(''lamp'', ''see(bigint)'', ARRAY[%s, NULL])', :b), format('SELECT fa_act(ARRAY[%s, %s])', :b, :b), 'SELECT fa_act(ARRAY[9999999])',
	'SET transaction_read_only = on; SELECT fa_sensor_set(''lamp'', ''see(bigint)'')']) command;
SET transaction_read_only = off;

-- what is wrong with what a sensor says
CREATE TABLE says (o int[]);
CREATE FUNCTION say(agents bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql
	AS 'SELECT a, o FROM unnest(agents) a, regress_fa_schema.says';
SELECT fa_sensor_set('lamp', 'say(bigint[])'), fa_actuator_set('lamp', NULL);
INSERT INTO says VALUES ('{0,0}');
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
UPDATE says SET o = '{2}';
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
UPDATE says SET o = '{{0},{1}}';
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
UPDATE says SET o = '{1}';
INSERT INTO says VALUES (NULL);
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
CREATE FUNCTION gossip(agents bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql
	AS 'SELECT 0::bigint, ''{1}''::int[]';
SELECT fa_sensor_set('lamp', 'gossip(bigint[])');
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));

-- rights: who names, and as whom it runs
SELECT fa_sensor_set('lamp', 'see(bigint)'), fa_actuator_set('lamp', 'push(bigint, int[])');
GRANT ALL ON room, done, done_at_seq TO PUBLIC;
RESET ROLE;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
SELECT pg_temp.raises(format('SELECT fa_sensor_set(''lamp'', ''see(bigint)'', ARRAY[%s])', :c));
SET ROLE regress_fa_bob;
SELECT count(*) FROM fa_sensor;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
SELECT pg_temp.raises('SELECT fa_sensor_set(''lamp'', ''see(bigint)'')');
SELECT fa_model_create('bobs', :'spec') IS NOT NULL AS m3;
SELECT pg_temp.raises('SELECT fa_sensor_set(''bobs'', ''hidden(bigint)'')');
SELECT pg_temp.raises('INSERT INTO fa_sensor SELECT * FROM fa_sensor');
-- a model of both: what one names is not for the agents of the other
SET ROLE regress_fa_team;
SELECT fa_model_create('shared', :'spec') IS NOT NULL AS m4;
SELECT fa_agent_create('shared') AS team \gset
SELECT fa_actuator_set('shared', 'push(bigint, int[])');
SET ROLE regress_fa_bob;
SELECT fa_agent_create('shared') AS bobs \gset
TRUNCATE done;
SELECT count(*) FROM fa_act(ARRAY[:bobs]);
SELECT count(*) FROM done;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :team));
SET ROLE regress_fa_team;
SELECT count(*) FROM fa_act(ARRAY[:team]);
SELECT who FROM done;
-- code runs with the owner's rights, not the extension's, and can become nobody else
SET ROLE regress_fa_bob;
CREATE FUNCTION snoop(bigint, int[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE current_setting('regress.command'); END $$;
SELECT fa_actuator_set('shared', 'snoop(bigint, int[])');
SELECT pg_temp.raises(format('SET regress.command = %L; SELECT fa_act(ARRAY[%s])', command, :bobs)) FROM unnest(ARRAY['UPDATE fa_belief SET step = 0',
	'SET ROLE regress_fa_team', 'RESET ROLE', 'SET SESSION AUTHORIZATION DEFAULT', 'CREATE TEMP TABLE t ()', 'DROP TABLE t']) command;
SELECT current_user, current_setting('search_path');
-- a function that is gone, hidden, or that another made in its place
SET ROLE regress_fa_ann;
REVOKE ALL ON FUNCTION see(bigint) FROM regress_fa_ann;
REVOKE ALL ON FUNCTION see(bigint) FROM PUBLIC;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
DROP FUNCTION see(bigint);
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
SET ROLE regress_fa_bob;
CREATE FUNCTION see(bigint) RETURNS int[] LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', current_user; END $$;
SET ROLE regress_fa_ann;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
RESET ROLE;
ALTER FUNCTION see(bigint) OWNER TO regress_fa_ann;
SET ROLE regress_fa_ann;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
DROP FUNCTION see(bigint);
CREATE FUNCTION see(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
-- one that takes another name while it is called, and gives its own away, is
-- called all the same: it was found once
DROP FUNCTION see(bigint);
CREATE FUNCTION see(bigint) RETURNS int[] LANGUAGE plpgsql AS $$
BEGIN
	IF pg_catalog.to_regproc('regress_fa_schema.seen') IS NULL THEN
		ALTER FUNCTION see(bigint) RENAME TO seen;
		CREATE FUNCTION see(bigint) RETURNS int[] LANGUAGE plpgsql AS 'BEGIN RAISE ''called by name''; END';
		PERFORM set_config('search_path', current_setting('search_path') || ', pg_temp', false);
	END IF;
	RETURN '{0}';
END $$;
SELECT array_agg(a) AS two FROM fa_agent_create_many('lamp', 2) AS a \gset
SELECT fa_sensor_set('lamp', 'see(bigint)', :'two');
SELECT count(*) FROM fa_act(:'two');
SELECT pg_temp.raises(format('SELECT fa_act(%L)', :'two'));
-- an actuator that another one drops
CREATE FUNCTION drop_it(bigint, int[]) RETURNS void LANGUAGE sql AS 'DROP FUNCTION regress_fa_schema.push_on';
CREATE FUNCTION push_on(bigint, int[]) RETURNS void LANGUAGE sql AS '';
SELECT fa_sensor_set('lamp', 'dark(bigint)', :'two'), fa_actuator_set('lamp', 'push_on(bigint, int[])', :'two'),
	fa_actuator_set('lamp', 'drop_it(bigint, int[])', (:'two'::bigint[])[:1]);
SELECT pg_temp.raises(format('SELECT fa_act(%L)', :'two'));
-- rows of a type that may change; the function's settings; a set that is given row by row
CREATE TYPE sight AS (agent_id bigint, observation int[]);
CREATE FUNCTION typed(agents bigint[]) RETURNS SETOF sight LANGUAGE plpgsql SET work_mem = '3MB' AS $$
BEGIN
	IF current_setting('work_mem') <> '3MB' THEN RAISE 'not my settings'; END IF;
	RETURN QUERY SELECT a, '{0}'::int[] FROM unnest(agents) a;
END $$;
CREATE FUNCTION each_row(agents bigint[]) RETURNS SETOF sight LANGUAGE sql STABLE AS
	$$ SELECT a, '{0}'::int[] FROM unnest(agents) a $$;
SELECT fa_actuator_set('lamp', NULL, :'two'), fa_sensor_set('lamp', 'typed(bigint[])', :'two');
SELECT count(*) FROM fa_act(:'two');
SELECT fa_sensor_set('lamp', 'each_row(bigint[])', :'two');
SELECT count(*) FROM fa_act(:'two');
ALTER TYPE sight ADD ATTRIBUTE more int;
SELECT pg_temp.raises(format('SELECT fa_act(%L)', :'two'));
RESET ROLE;
REVOKE ALL ON SCHEMA regress_fa_schema FROM PUBLIC;
SET ROLE regress_fa_ann;
SELECT pg_temp.raises(format('SELECT fa_act(ARRAY[%s])', :c));
RESET ROLE;

SELECT count(fa_agent_drop(ARRAY[agent_id])) FROM fa_agent;
SELECT count(fa_model_drop(name)) FROM fa_model;
DELETE FROM fa_sensor;
SET client_min_messages = warning;
DROP SCHEMA regress_fa_schema CASCADE;
DROP ROLE regress_fa_ann, regress_fa_bob, regress_fa_team;
