-- What agents believe, as props of their nodes in the graph.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

CREATE ROLE regress_fa_ann;
CREATE ROLE regress_fa_bob;

-- 55 of 100 observations tell the state, which never changes: beliefs move by little
\set slow '{"factors": [{"name": "side", "states": ["left", "right"]}], "A": [[[0.55, 0.45], [0.45, 0.55]]], "B": [[[[1], [0]], [[0], [1]]]]}'
SELECT fa_model_create('slow', :'slow') IS NOT NULL AS made;
SELECT fa_agent_create('slow', 'Ann', '{"seed": 1}') AS ann \gset
SELECT fa_agent_create('slow', params => '{"seed": 2}') AS nameless \gset
CREATE FUNCTION pg_temp.versions(node text) RETURNS TABLE (believes jsonb, belief jsonb) LANGUAGE sql AS $$
	SELECT props -> 'believes' -> 'side', props -> 'belief' -> 'side' FROM fa_node_version WHERE kind = 'agent' AND name = node ORDER BY valid_from
$$;
-- one step with each of these observations; what was believed, and whether the graph was told
CREATE FUNCTION pg_temp.course(agent bigint, observations int[]) RETURNS TABLE (step bigint, p numeric, told boolean) LANGUAGE plpgsql AS $$
DECLARE
	had real[];
	observation int;
BEGIN
	FOREACH observation IN ARRAY observations LOOP
		SELECT synced INTO had FROM fa_belief WHERE agent_id = agent;
		PERFORM fa_step(agent, ARRAY[observation]);
		SELECT b.step, round(b.belief[1]::numeric, 3), synced IS DISTINCT FROM had INTO step, p, told FROM fa_belief b WHERE agent_id = agent;
		RETURN NEXT;
	END LOOP;
END $$;

-- never, as long as nobody asks for it
SELECT * FROM pg_temp.course(:ann, '{0,0}');
SELECT count(*) AS nodes FROM fa_node;
SELECT pg_temp.raises(format('SELECT fa_belief_sync(%s)', arguments)) FROM unnest(ARRAY[$$'slow', 'always'$$, $$'slow', 'change', -0.1$$,
	$$'slow', 'change', 1.1$$, $$'slow', 'step', 'NaN'$$, $$'slow@1', 'step'$$, $$'none', 'step'$$]) arguments;
SELECT fa_belief_sync('slow', NULL), count(*) FROM fa_belief_sync;

-- first, then when a probability differs by more than 0.1 from what the graph was told, however slowly that came
SELECT fa_belief_sync('slow', 'change');
SELECT model, owner = current_user::regrole AS own, mode, change FROM fa_belief_sync;
SELECT * FROM pg_temp.course(:ann, '{0,0,0,0,-1,0,0,0,0,0,0}');
SELECT * FROM pg_temp.versions('Ann');
SELECT props ->> 'agent_id' = :'ann' AS id, props - 'agent_id' AS props FROM fa_node WHERE name = 'Ann';
-- a tie is no change of mind, what tips it is; with 1 nothing else
SELECT fa_agent_reset(ARRAY[:ann]);
SELECT fa_belief_sync('slow', 'change', 1);
SELECT * FROM pg_temp.course(:ann, '{0,0,1,1,1,0,1}');
-- any change at all, but not none
SELECT fa_belief_sync('slow', 'change', 0);
SELECT * FROM pg_temp.course(:ann, '{-1,0,-1}');
-- each step; what stays as it was is no new version
SELECT fa_belief_sync('slow', 'step');
\set ECHO none
SELECT format('SELECT step FROM fa_step(%s, ''{%s}'')', :nameless, o) FROM unnest('{0,-1,1,0}'::int[]) o \gexec
\set ECHO all
SELECT * FROM pg_temp.versions(:nameless::text);
-- a run tells once, at its end; a step that is undone tells nothing
SELECT fa_belief_sync('slow', 'change', 0.01);
SELECT count(*) AS versions FROM fa_node_version \gset
SELECT count(*) FROM fa_run_many(ARRAY[:nameless, :ann], 30);
SELECT count(*) - :versions AS more FROM fa_node_version;
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM fa_run(:ann, 30);
ROLLBACK TO s;
SELECT count(*) - :versions AS more FROM fa_node_version;
COMMIT;
-- never again: what is there stays
SELECT fa_belief_sync('slow', 'never');
SELECT count(*) FROM fa_belief_sync;
SELECT count(*) AS told FROM pg_temp.course(:nameless, '{0,0,0,0,0}') WHERE told;
SELECT count(*) - :versions AS more FROM fa_node_version;

-- what a transaction takes back is not remembered, and what it does by hand is noticed
BEGIN;
SAVEPOINT s;
SELECT fa_belief_sync('slow', 'step');
SELECT count(*) FILTER (WHERE told) AS told FROM pg_temp.course(:nameless, '{0,1}');
ROLLBACK TO s;
SELECT count(*) FILTER (WHERE told) AS told FROM pg_temp.course(:nameless, '{0,1}');
INSERT INTO fa_belief_sync (model, mode, change) VALUES ('slow', 'step', 0);
SELECT count(*) FILTER (WHERE told) AS told FROM pg_temp.course(:nameless, '{0,1}');
TRUNCATE fa_belief_sync;
SELECT count(*) FILTER (WHERE told) AS told FROM pg_temp.course(:nameless, '{0,1}');
ROLLBACK;
SELECT count(*) FILTER (WHERE told) AS told FROM pg_temp.course(:nameless, '{0,1}');
-- others' props and edges stay; a node that is gone comes again
SELECT fa_belief_sync('slow', 'step');
UPDATE fa_node SET props = props || '{"wears": "a hat", "belief": "none"}' WHERE name = 'Ann';
SELECT fa_edge_put((SELECT node_id FROM fa_node WHERE name = 'Ann'), fa_node_put('place', 'hall'), 'stands in') IS NOT NULL AS made;
SELECT fa_agent_reset(ARRAY[:ann, :nameless]);
SELECT count(*) FROM fa_step(:ann);
SELECT props - 'agent_id' AS props FROM fa_node WHERE name = 'Ann';
DELETE FROM fa_node WHERE name = 'Ann' OR props @> jsonb_build_object('agent_id', :nameless);
SELECT count(*) FROM fa_step_many(ARRAY[:nameless, :ann]);
SELECT count(*) FROM fa_node WHERE kind = 'agent';

-- other names with another model; all versions of it are synced
SELECT fa_model_create('slow', replace(replace(:'slow', 'left', 'links'), 'side', 'Seite')::jsonb) IS NOT NULL AS made;
SELECT fa_model_create('mute', :'slow') IS NOT NULL AS made;
SELECT fa_belief_sync('slow', 'change', 1);
SELECT fa_agent_set_model(ARRAY[:ann], 'slow');
SELECT count(*) FROM fa_step(:ann, '{0}');
SELECT props - 'agent_id' AS props FROM fa_node WHERE name = 'Ann';
-- a fork is another agent, and a model of the same digest need not be synced
SELECT fa_agent_fork(:ann) AS fork \gset
SELECT fa_agent_create('mute', 'mute') AS mute \gset
SELECT synced IS NULL AS untold FROM fa_belief WHERE agent_id = :fork;
SELECT count(*) FROM fa_step_many(ARRAY[:ann, :mute, :nameless, :fork], '{{-1},{0},{0},{1}}');
SELECT agent_id = :fork AS fork, agent_id = :mute AS mute, synced IS NOT NULL AS told, n.node_id IS NOT NULL AS node
FROM fa_belief LEFT JOIN fa_node n ON n.kind = 'agent' AND n.props @> jsonb_build_object('agent_id', agent_id) ORDER BY agent_id;
-- names, factors and states with anything in them
SELECT fa_model_create('odd', jsonb_build_object('factors', jsonb_build_array(jsonb_build_object('name', E'it''s "日本"', 'states', '[" ", "a\nb\\"]'::jsonb)),
	'A', '[[[1, 0], [0, 1]]]'::jsonb, 'B', '[[[[1], [0]], [[0], [1]]]]'::jsonb)) IS NOT NULL AS made;
SELECT fa_belief_sync('odd', 'step');
SELECT count(*) FROM fa_step(fa_agent_create('odd', E'o''"\\ 日本'), '{1}');
SELECT name, props - 'agent_id' AS props FROM fa_node WHERE name LIKE '%日本';
SELECT pg_temp.raises($$SELECT fa_agent_create('odd', '17')$$);
-- probabilities by three digits, those that round to 0 left out
SELECT fa_model_create('many', jsonb_build_object('A', (SELECT jsonb_build_array(jsonb_agg(row)) FROM (SELECT jsonb_agg((o + s) % 2) AS row
	FROM generate_series(0, 1) o, generate_series(0, 3) s GROUP BY o) r), 'B', '[[[[1],[0],[0],[0]],[[0],[1],[0],[0]],[[0],[0],[1],[0]],[[0],[0],[0],[1]]]]'::jsonb,
	'D', '[[0.49971, 0.00029, 0.49916, 0.00084]]'::jsonb)) IS NOT NULL AS made;
SELECT fa_belief_sync('many', 'step');
SELECT count(*) FROM fa_step(fa_agent_create('many', 'many'), '{-1}');
SELECT props - 'agent_id' AS props FROM fa_node WHERE name = 'many';

-- rows that are written by statements, as a trigger is there
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER nothing BEFORE UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT fa_belief_sync('mute', 'change');
SELECT * FROM pg_temp.course(:mute, '{0,-1,0,0,0}');
DROP TRIGGER nothing ON fa_belief;
-- what is stored there must fit
UPDATE fa_belief SET synced = '{1}' WHERE agent_id = :mute;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', :mute));
-- as after fa_agent_set_model
UPDATE fa_belief SET synced = '{}' WHERE agent_id = :mute;

-- with the agent goes what is its own
SELECT fa_agent_drop(ARRAY[:ann, :fork, :nameless]);
SELECT kind, name, props FROM fa_node WHERE name = 'Ann' OR props ? 'wears';
SELECT count(*) FROM fa_node WHERE kind = 'agent' AND props @> jsonb_build_object('agent_id', :nameless);
UPDATE fa_node SET props = props || '{"wears": "a hat"}' WHERE name = 'mute';
SELECT fa_edge_put((SELECT node_id FROM fa_node WHERE name = 'many'), (SELECT node_id FROM fa_node WHERE name = 'hall'), 'stands in') IS NOT NULL AS made;
SELECT fa_node_put('agent', '17', '{"age": 3}') IS NOT NULL AS made;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT kind, name, props FROM fa_node ORDER BY name;
-- and with a model what was asked for its name
SELECT fa_model_drop('slow@1');
SELECT model FROM fa_belief_sync ORDER BY 1;
SELECT fa_model_drop(name) FROM (SELECT DISTINCT name FROM fa_model ORDER BY name) m;
SELECT count(*) FROM fa_belief_sync;

-- who believes it, with more than 0.8, by the index
SELECT fa_model_create('maze', fa_spec_tmaze()) IS NOT NULL AS made;
SELECT fa_belief_sync('maze', 'change');
SELECT count(*) FROM fa_run_many(ARRAY(SELECT fa_agent_create_many('maze', 300, '{"seed": 7}')), 3);
INSERT INTO fa_node (kind, name, props) SELECT 'thing', i, jsonb_build_object('i', i) FROM generate_series(1, 3000) i;
VACUUM ANALYZE fa_node;
CREATE VIEW believers AS SELECT node_id, (props ->> 'agent_id')::bigint AS agent_id FROM fa_node
	WHERE kind = 'agent' AND props @> '{"believes": {"context": "reward_left"}}' AND (props #>> '{belief,context,reward_left}')::float8 > 0.8;
CREATE FUNCTION pg_temp.uses(query text, index text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		found := found OR line LIKE '%Index%' || index || '%';
	END LOOP;
	RETURN found;
END $$;
SELECT pg_temp.uses('SELECT * FROM believers', 'fa_node_props');
SELECT count(*) > 100 AS many, bool_and(agent_id = ANY(ARRAY(SELECT agent_id FROM fa_belief WHERE belief[6] > 0.8))) AS they,
	count(*) = (SELECT count(*) FROM fa_belief WHERE belief[6] > 0.8) AS all FROM believers;
SELECT array_agg(node_id ORDER BY node_id) = (SELECT array_agg(node_id ORDER BY node_id) FROM fa_graph_find('{"believes": {"context": "reward_left"}}', 'agent')) AS found
FROM fa_node WHERE props #>> '{believes,context}' = 'reward_left';
DROP VIEW believers;
DELETE FROM fa_node WHERE kind = 'thing';

-- it takes rights on the graph to ask for it, and none to go on
SET ROLE regress_fa_ann;
SELECT fa_model_create('ann''s', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT fa_agent_create('ann''s', 'ann''s') AS ann \gset
SELECT pg_temp.raises($$SELECT fa_belief_sync('ann''s', 'step')$$);
RESET ROLE;
GRANT SELECT, INSERT ON fa_node TO regress_fa_ann;
SET ROLE regress_fa_ann;
SELECT pg_temp.raises($$SELECT fa_belief_sync('ann''s', 'step')$$);
SELECT fa_belief_sync('ann''s', 'never');
RESET ROLE;
GRANT UPDATE ON fa_node TO regress_fa_ann;
SET ROLE regress_fa_ann;
SELECT fa_belief_sync('ann''s', 'step');
SELECT pg_temp.raises($$SELECT fa_belief_sync('maze', 'never')$$);
SELECT model, owner FROM fa_belief_sync;
SELECT pg_temp.raises($$DELETE FROM fa_belief_sync$$);
RESET ROLE;
REVOKE ALL ON fa_node FROM regress_fa_ann;
SET ROLE regress_fa_ann;
SELECT count(*) FROM fa_step(:ann, '{0}');
RESET ROLE;
SELECT props - 'agent_id' AS props FROM fa_node WHERE name = 'ann''s';
SET ROLE regress_fa_bob;
SELECT count(*) AS seen FROM fa_belief_sync;
RESET ROLE;
-- a setting that is another owner's, left over, counts for nothing
UPDATE fa_belief_sync SET owner = 'regress_fa_bob' WHERE model = 'ann''s';
SELECT count(*) AS told FROM pg_temp.course(:ann, '{1,2,3}') WHERE told;
BEGIN READ ONLY;
SELECT pg_temp.raises($$SELECT fa_belief_sync('maze', 'never')$$);
COMMIT;

SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT fa_model_drop('ann''s'), fa_model_drop('maze');
TRUNCATE fa_node, fa_edge, fa_node_history, fa_edge_history;
DROP ROLE regress_fa_ann, regress_fa_bob;
