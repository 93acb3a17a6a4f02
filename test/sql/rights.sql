-- Rights: each row has an owner; a stranger sees and does nothing with it; and nobody
-- writes the tables but through the functions.

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
CREATE ROLE regress_fa_member IN ROLE regress_fa_team;
CREATE ROLE regress_fa_outside NOINHERIT IN ROLE regress_fa_team;

-- what ann makes is hers
\set spec '{"A": [[[0.9, 0.2], [0.1, 0.8]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "pA": [[[9, 2], [1, 8]]], "learn_A": true}'
SET ROLE regress_fa_ann;
SELECT fa_model_create('rights m', :'spec') AS m \gset
SELECT fa_world_create('rights w', :'spec') AS w \gset
SELECT fa_agent_create('rights m', 'rights ann', '{"world": "rights w", "history": true}') AS ann \gset
SELECT count(*) FROM fa_agent_create_many('rights m', 2);
SELECT count(*) FROM fa_run(:ann, 3);
SELECT fa_observe(:ann, '{1}', 'k'), (fa_step(:ann, '{1}', 'k')).step;
SELECT (SELECT owner FROM fa_model WHERE model_id = :m) AS model, (SELECT owner FROM fa_world WHERE world_id = :w) AS world,
	(SELECT owner FROM fa_agent WHERE agent_id = :ann) AS agent, (SELECT owner FROM fa_belief WHERE agent_id = :ann) AS belief;
CREATE FUNCTION pg_temp.seen() RETURNS TABLE (relation text, rows bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH relation IN ARRAY '{fa_agent,fa_belief,fa_history,fa_key,fa_learned,fa_model,fa_observation,fa_world}'::text[] LOOP
		EXECUTE format('SELECT count(*) FROM %s', relation) INTO rows;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM pg_temp.seen();
RESET ROLE;

-- a stranger sees no row in any table (those that have no row security he may not read at all)
SET ROLE regress_fa_bob;
SELECT * FROM pg_temp.seen();
SELECT count(*) AS tables FROM pg_class WHERE relname LIKE 'fa\_%' AND relkind IN ('r', 'p') AND NOT relispartition
	AND relnamespace = 'public'::regnamespace AND NOT relrowsecurity AND has_table_privilege(oid, 'SELECT');
-- and does nothing with the agents, the model and the world of others
SELECT fa_model_create('rights bob', fa_spec_grid(2, 2)) IS NOT NULL AND fa_model_create('rights same', :'spec') IS NOT NULL AS made;
SELECT fa_agent_create('rights same', 'rights bob') AS bob \gset
SELECT call, pg_temp.raises('SELECT ' || format(call, :ann, :bob)) FROM unnest(ARRAY[
	'fa_step(%s)', 'fa_step(%s, ''{1}'', ''k'')', 'fa_step_many(ARRAY[%1$s])', 'fa_step_many(ARRAY[%2$s, %1$s])', 'fa_run(%s, 1)',
	'fa_run_many(ARRAY[%2$s, %1$s], 1)', 'fa_observe(%s, ''{1}'')', 'fa_observe(%s, ''{1}'', ''k'')', 'fa_belief(%s)', 'fa_action(%s)',
	'fa_explain(%s)', 'fa_parameters(%s)', 'fa_agent_fork(%s)', 'fa_agent_pause(ARRAY[%s])', 'fa_agent_resume(ARRAY[%s])',
	'fa_agent_reset(ARRAY[%s])', 'fa_agent_reset(ARRAY[%2$s, %1$s])', 'fa_agent_drop(ARRAY[%s])', 'fa_agent_drop(ARRAY[%2$s, %1$s])',
	'fa_agent_set_model(ARRAY[%s], ''rights same'')', 'fa_agent_set_model(ARRAY[%2$s], ''rights m'')',
	'fa_agent_create(''rights m'')', 'fa_agent_create(''rights m@1'')', 'fa_agent_create_many(''rights m'', 2)',
	'fa_agent_create_many(''rights m'', ARRAY[''{}'']::jsonb[])', 'fa_agent_create(''rights same'', params => ''{"world": "rights w"}'')',
	'fa_infer(''rights m'', NULL, ''{1}'')', 'fa_model_drop(''rights m'')', 'fa_model_drop(''rights m@1'')', 'fa_world_drop(''rights w'')',
	'fa_history_retain(''1 day'')', 'fa_protect()']) AS call;
-- names are one for all
SELECT pg_temp.raises(format('SELECT fa_model_create(''rights m'', %L)', :'spec'));
SELECT pg_temp.raises(format('SELECT fa_world_create(''rights w'', %L)', :'spec'));
SELECT pg_temp.raises('SELECT fa_agent_create(''rights same'', ''rights ann'')');
\set VERBOSITY sqlstate
CALL fa_run_commit(ARRAY[:ann], 1);
\set VERBOSITY default
SELECT agent_id = :bob AS bob, step FROM fa_belief;
RESET ROLE;
SELECT step, paused, trial FROM fa_belief WHERE agent_id = :ann;

-- nobody writes the tables, the owner of the rows neither; nor sees partitions, nor turns sequences
SET ROLE regress_fa_ann;
SELECT DISTINCT relation, command, pg_temp.raises(format(command, relation)) AS raises
FROM pg_temp.seen() CROSS JOIN unnest(ARRAY['DELETE FROM %s', 'TRUNCATE %s', 'INSERT INTO %1$s SELECT * FROM %1$s',
	'SELECT * FROM %s FOR UPDATE', 'LOCK TABLE %s IN SHARE MODE', 'ALTER TABLE %s DISABLE ROW LEVEL SECURITY',
	'CREATE POLICY p ON %s', 'CREATE TRIGGER t BEFORE UPDATE ON %s EXECUTE FUNCTION suppress_redundant_updates_trigger()']) AS command
WHERE relation IN ('fa_belief', 'fa_key', 'fa_history') ORDER BY relation, command;
SELECT command, pg_temp.raises(command) FROM unnest(ARRAY['UPDATE fa_belief SET belief = ''{1,0}''', 'UPDATE fa_agent SET owner = ''regress_fa_bob''::regrole',
	'UPDATE fa_model SET spec = ''{}''', 'UPDATE fa_world SET spec = ''{}''', 'UPDATE fa_learned SET counts = ''{1}''', 'UPDATE fa_observation SET observation = ''{1}''',
	'UPDATE fa_key SET step = 1', 'UPDATE fa_history SET vfe = 0', 'SELECT nextval(''fa_agent_id_seq'')', 'SELECT setval(''fa_model_id_seq'', 1)',
	'SELECT nextval(''fa_observation_id_seq'')', 'SELECT nextval(''fa_world_id_seq'')']) AS command;
RESET ROLE;
SELECT count(*) AS rights FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid CROSS JOIN LATERAL aclexplode(coalesce(relacl, acldefault('r', relowner))) AS a
WHERE inhparent = 'fa_history'::regclass AND a.grantee <> relowner;
-- only SELECT is granted, and only to all
SELECT DISTINCT a.grantee::regrole, a.privilege_type FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS a
WHERE relname LIKE 'fa\_%' AND relkind IN ('r', 'p', 'S') AND a.grantee <> relowner ORDER BY 1, 2;

-- A team: what it owns its members use, those that inherit its rights.
SET ROLE regress_fa_team;
SELECT fa_model_create('rights team', :'spec') IS NOT NULL AS made;
SELECT fa_agent_create('rights team', 'rights team', '{"history": true}') AS team \gset
SET ROLE regress_fa_member;
SELECT step FROM fa_step(:team, '{0}', 'k');
SELECT fa_observe(:team, '{1}', 'k'), fa_belief(:team) IS NOT NULL AS belief;
SELECT * FROM pg_temp.seen() WHERE rows > 0;
-- what a member makes is the member's own, of the team's model, too
SELECT fa_agent_create('rights team', 'rights member') AS member \gset
SELECT owner FROM fa_agent WHERE agent_id = :member;
SELECT fa_agent_fork(:team) AS fork \gset
SELECT owner FROM fa_agent JOIN fa_belief USING (agent_id, owner) WHERE agent_id = :fork;
-- a member adds versions, which are the team's
SELECT fa_model_create('rights team', :'spec') IS NOT NULL AS made;
SELECT version, owner FROM fa_model WHERE name = 'rights team' ORDER BY version;
SELECT step FROM fa_step_many(ARRAY[:team, :member]);
SELECT pg_temp.raises(format('SELECT fa_step_many(ARRAY[%s, %s])', :member, :ann));
SET ROLE regress_fa_team;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', :member));
SELECT pg_temp.raises(format('SELECT fa_step(%s)', :fork));
SET ROLE regress_fa_outside;
SELECT * FROM pg_temp.seen() WHERE rows > 0;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', :team));
SELECT pg_temp.raises('SELECT fa_agent_create(''rights team@1'')');
RESET ROLE;

-- An error leaves nobody with the rights of the extension's owner.
SET ROLE regress_fa_bob;
\set VERBOSITY sqlstate
SELECT fa_step(:bob, '{7}');
SELECT fa_step_many(ARRAY[:bob, :ann]);
SELECT fa_run_many(ARRAY[:bob], 1, until => '{"observation": {"x": 1}}');
\set VERBOSITY default
SELECT current_user;
SELECT * FROM pg_temp.seen() WHERE rows > 0;
SELECT pg_temp.raises('UPDATE fa_belief SET step = 7');
RESET ROLE;

-- A function that runs as its owner uses its owner's agents.
CREATE SCHEMA regress_fa_schema AUTHORIZATION regress_fa_ann;
SET ROLE regress_fa_ann;
CREATE FUNCTION regress_fa_schema.step(agent bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER
	AS 'SELECT step FROM public.fa_step($1, ''{}'')';
GRANT USAGE ON SCHEMA regress_fa_schema TO regress_fa_bob;
SET ROLE regress_fa_bob;
SELECT regress_fa_schema.step(:ann);
SELECT pg_temp.raises(format('SELECT regress_fa_schema.step(%s)', :bob));
RESET ROLE;

-- The superuser does it all.
SELECT step FROM fa_step(:ann, '{0}');
SELECT count(*) FROM fa_step_many(ARRAY[:bob, :team, :member]);
SELECT fa_agent_drop(array_agg(agent_id)) > 0 AS dropped
FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'rights %';
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'rights %') AS m;
SELECT fa_world_drop('rights w');
DROP SCHEMA regress_fa_schema CASCADE;
DROP FUNCTION pg_temp.seen();
DROP ROLE regress_fa_ann, regress_fa_bob, regress_fa_member, regress_fa_outside, regress_fa_team;
