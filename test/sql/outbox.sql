-- The outbox: what is written, who reads it, and how far.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

\set spec '{"factors": [{"name": "light", "states": ["off", "on"], "actions": ["wait", "press"]}], "modalities": [{"name": "window", "outcomes": 2}], "A": [[[0.9, 0.2], [0.1, 0.8]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "D": [{"off": 0.6, "on": 0.4}]}'
SELECT fa_model_create('outbox', :'spec') IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b FROM fa_agent_create_many('outbox', 2) i \gset

-- nobody wants to know: nothing is written
SELECT fa_outbox_subscribe('all'), fa_outbox_subscribe('all');
SELECT step FROM fa_step(:a, '{1}');
SELECT count(*) FROM fa_outbox;
SELECT count(*) FROM fa_outbox_read('all');
SELECT fa_outbox_done('all'), fa_outbox_done('all');

-- steps, and changes of mind by name
SET fa_agents.outbox = 'step, mind';
SELECT step FROM fa_step_many(ARRAY[:b, :a], '{{1},{1}}');
SELECT kind, agent_id - :a AS agent, step, detail, at BETWEEN now() - interval '1 min' AND now() AS lately FROM fa_outbox_read('all');
-- the same until it is done
SELECT step FROM fa_step(:b, '{1}', did => '{0}');
SELECT kind, agent_id - :a AS agent, step, detail FROM fa_outbox_read('all');
SELECT fa_outbox_done('all');
SELECT kind, agent_id - :a AS agent, step, detail FROM fa_outbox_read('all');
SELECT fa_outbox_done('all');
-- a run is one event; one that is undone is none
SELECT count(*) FROM fa_run(:a, 7);
BEGIN;
SELECT step FROM fa_step(:b, '{0}');
SELECT kind, agent_id - :a AS agent, step FROM fa_outbox_read('all') WHERE kind = 'step';
ROLLBACK;
SELECT kind, agent_id - :a AS agent, step FROM fa_outbox_read('all') WHERE kind = 'step';
SELECT fa_outbox_done('all');
-- what the reader's own transaction does after it has begun to read is in the next batch
BEGIN;
SELECT step FROM fa_step(:b, '{0}');
SELECT count(*) FROM fa_outbox_read('all');
SELECT step FROM fa_step(:b, '{0}');
SELECT fa_outbox_done('all');
COMMIT;
SELECT kind, step FROM fa_outbox_read('all') WHERE kind = 'step';
SELECT fa_outbox_done('all');

-- a consumer takes the kinds that it wants, from when it came
SET fa_agents.outbox = 'mind,coalition,step';
SELECT fa_outbox_subscribe('some', '{coalition}');
SELECT fa_coalition_create('outbox "pair"', ARRAY[:a]) IS NOT NULL AS made, fa_coalition_join('outbox "pair"', :b), fa_coalition_join('outbox "pair"', :b),
	fa_coalition_leave('outbox "pair"', :a), fa_coalition_leave('outbox "pair"', :a);
SELECT fa_coalition_dissolve('outbox "pair"');
SELECT step FROM fa_step(:a, '{0}');
SELECT kind, agent_id - :a AS agent, step, detail FROM fa_outbox_read('some');
SELECT fa_outbox_done('some');
SELECT fa_outbox_subscribe('some', '{step}');
SELECT step FROM fa_step(:a, '{0}');
SELECT kind, agent_id - :a AS agent, step FROM fa_outbox_read('some');
SELECT count(*) FILTER (WHERE kind = 'coalition') AS coalition, count(*) FILTER (WHERE kind = 'step') AS step FROM fa_outbox_read('all');

-- leaves that all have seen are truncated by who writes, others are not; who is far behind holds nothing back, and is told
SELECT fa_outbox_done('all'), fa_outbox_done('some');
SELECT count(*) > 0 AS some, max(event_id) AS last FROM fa_outbox \gset
SELECT :'some' AS some;
CREATE PROCEDURE pg_temp.fill(events int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. events / 1000 LOOP
		PERFORM count(*) FROM generate_series(1, 500) n, fa_step_many((SELECT array_agg(agent_id + n - n) FROM (SELECT agent_id FROM fa_agent ORDER BY agent_id LIMIT 2) a));
		COMMIT;
	END LOOP;
END $$;
SET fa_agents.outbox = 'step';
CALL pg_temp.fill(60000);
SELECT count(*) > 0 AS kept FROM fa_outbox WHERE event_id <= :last;
SELECT count(*) FROM fa_outbox_read('some');
SELECT count(*) FROM fa_outbox_read('all');
SELECT fa_outbox_done('all'), fa_outbox_done('some');
CALL pg_temp.fill(50000);
SELECT count(*) AS kept FROM fa_outbox WHERE event_id <= :last;
SELECT fa_outbox_done('all') FROM fa_outbox_read('all') LIMIT 1;
UPDATE fa_outbox_consumer SET read_at = read_at - interval '8 days' WHERE name = 'some';
CALL pg_temp.fill(60000);
SELECT fa_outbox_done('all') FROM fa_outbox_read('all') LIMIT 1;
CALL pg_temp.fill(5000);
SELECT sum(pg_relation_size(relid)) < 10000000 AS small FROM pg_partition_tree('fa_outbox') WHERE isleaf;
SELECT kind, event_id, agent_id, step FROM fa_outbox_read('some');
SELECT step - 1 AS before FROM fa_step(:a) \gset
SELECT kind FROM fa_outbox_read('some');
SELECT fa_outbox_done('some');
SELECT step - :before AS steps FROM fa_step(:a);
SELECT kind, step - :before AS steps FROM fa_outbox_read('some');
SELECT fa_outbox_done('some'), (SELECT restarted FROM fa_outbox_consumer WHERE name = 'some');
-- by count as well, also in the middle of a batch; who keeps up is let be
SET fa_agents.outbox_limit = 2000;
SELECT step > 0 AS stepped FROM fa_step(:a);
SELECT count(*) FROM fa_outbox_read('some');
SELECT fa_outbox_done('all') FROM fa_outbox_read('all') LIMIT 1;
CALL pg_temp.fill(1000);
SELECT fa_outbox_done('all') FROM fa_outbox_read('all') LIMIT 1;
CALL pg_temp.fill(2000);
SELECT kind FROM fa_outbox_read('some');
SELECT count(DISTINCT kind), min(kind) FROM fa_outbox_read('all');
RESET fa_agents.outbox_limit;
-- and one whose cursor is of elsewhere
UPDATE fa_outbox_consumer SET origin = 'elsewhere' WHERE name = 'all';
SELECT kind FROM fa_outbox_read('all');
SELECT fa_outbox_done('all');
SELECT kind FROM fa_outbox_read('all');
SELECT origin <> 'elsewhere' AS here FROM fa_outbox_consumer WHERE name = 'all';

-- changes of the graph, those by agents' steps too; for who may read it
SET fa_agents.outbox = 'graph';
SELECT fa_outbox_subscribe('graph', '{graph}');
SELECT fa_node_put('outbox', 'x') AS x, fa_node_put('outbox', 'y') AS y \gset
SELECT fa_node_put('outbox', 'x') = :x AS same, fa_node_put('outbox', 'x', '{"a": 1}') = :x AS changed, fa_edge_put(:x, :y, 'to') AS edge \gset
UPDATE fa_edge SET weight = 2 WHERE edge_id = :edge;
SELECT fa_node_drop(ARRAY[:x::bigint]), fa_node_drop(ARRAY[:y::bigint]);
SELECT fa_belief_sync('outbox', 'change');
SELECT fa_agent_reset(ARRAY[:a]);
SELECT step > 0 AS stepped FROM fa_step(:a, '{1}');
SELECT fa_agent_reset(ARRAY[:a]);
SELECT step > 0 AS stepped FROM fa_step(:a, '{1}');
SELECT fa_agent_reset(ARRAY[:a]);
SELECT step > 0 AS stepped FROM fa_step(:a, '{0}');
SELECT kind, agent_id, step, (detail ->> 'node')::bigint - :x AS node, (detail ->> 'edge')::bigint - :edge AS edge, detail ->> 'change' AS change FROM fa_outbox_read('graph');
SELECT fa_outbox_done('graph');
SELECT fa_belief_sync('outbox', 'never');
SET fa_agents.outbox = 'mind, step';
SELECT step > 0 AS stepped FROM fa_step(:a, '{1}');
SELECT count(*) FROM fa_outbox_read('graph');
SELECT fa_node_put('outbox', 'z') IS NOT NULL AS made;

-- what is refused
SELECT pg_temp.raises(command) FROM unnest(ARRAY['SELECT fa_outbox_subscribe(NULL)', 'SELECT fa_outbox_subscribe('''')',
	'SELECT fa_outbox_subscribe(''x'', ''{stepp}'')', 'SELECT fa_outbox_subscribe(''x'', ''{NULL}'')', 'SELECT fa_outbox_read(''x'')',
	'SELECT fa_outbox_done(''x'')', 'SELECT fa_outbox_unsubscribe(''x'')', 'SET fa_agents.outbox = ''step, stepp''', 'SET fa_agents.outbox = ''a b''']) AS command;
SHOW fa_agents.outbox;

-- each sees what happens to his own agents
CREATE ROLE regress_fa_ann;
CREATE ROLE regress_fa_bob;
SET ROLE regress_fa_ann;
SELECT fa_model_create('outbox ann', :'spec') IS NOT NULL AS made;
SELECT fa_agent_create('outbox ann') AS ann \gset
SELECT fa_outbox_subscribe('ann');
SELECT step FROM fa_step(:ann, '{1}');
RESET ROLE;
SET fa_agents.outbox = 'graph, step, mind';
SELECT fa_node_put('outbox', 'z', '{"b": 1}') IS NOT NULL AS made;
SET ROLE regress_fa_ann;
SELECT pg_temp.raises('SELECT fa_outbox_read(''all'')');
SELECT pg_temp.raises('SET fa_agents.outbox = ''''');
SELECT count(*) FROM fa_outbox;
RESET ROLE;
SELECT step > 0 AS stepped FROM fa_step(:a, '{1}');
SET ROLE regress_fa_ann;
SELECT DISTINCT agent_id = :ann AS ann FROM fa_outbox_read('ann');
SELECT count(*) FROM fa_outbox WHERE kind = 'graph';
RESET ROLE;
GRANT SELECT ON fa_node, fa_edge TO regress_fa_ann;
SET ROLE regress_fa_ann;
SELECT count(*) FILTER (WHERE kind = 'graph') AS graph, count(*) FILTER (WHERE agent_id = :ann) AS ann FROM fa_outbox_read('ann') e WHERE kind = 'graph' OR agent_id = :ann;
SELECT count(*) > 0 AS some FROM fa_outbox WHERE kind = 'graph';
-- no operator that a user puts first on his search_path runs as the extension's owner
RESET ROLE;
CREATE SCHEMA regress_fa_trap AUTHORIZATION regress_fa_ann;
SET ROLE regress_fa_ann;
CREATE FUNCTION regress_fa_trap.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''runs as another''; END';
CREATE FUNCTION regress_fa_trap.trap(bigint, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''runs as another''; END';
CREATE FUNCTION regress_fa_trap.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''runs as another''; END';
CREATE FUNCTION regress_fa_trap.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''runs as another''; END';
CREATE OPERATOR regress_fa_trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = regress_fa_trap.trap);
CREATE OPERATOR regress_fa_trap.= (LEFTARG = bigint, RIGHTARG = int, FUNCTION = regress_fa_trap.trap);
CREATE OPERATOR regress_fa_trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_fa_trap.trap);
CREATE OPERATOR regress_fa_trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_fa_trap.trap);
SET search_path = regress_fa_trap, pg_catalog;
SELECT public.fa_outbox_subscribe('trap', '{step,mind}');
SELECT step > 0 AS stepped FROM public.fa_step(:ann, '{1}');
SELECT count(*) > 0 AS read FROM public.fa_outbox_read('trap');
SELECT public.fa_outbox_done('trap');
SELECT public.fa_outbox_unsubscribe('trap');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA regress_fa_trap CASCADE;
RESET client_min_messages;
SET ROLE regress_fa_bob;
SELECT (SELECT count(*) FROM fa_outbox) AS events, (SELECT count(*) FROM fa_outbox_consumer) AS consumers;
SELECT pg_temp.raises(command) FROM unnest(ARRAY['SELECT fa_outbox_read(''ann'')', 'SELECT fa_outbox_done(''ann'')',
	'SELECT fa_outbox_unsubscribe(''ann'')', 'SELECT fa_outbox_subscribe(''ann'')', 'DELETE FROM fa_outbox', 'UPDATE fa_outbox_consumer SET kinds = NULL']) AS command;
RESET ROLE;

RESET fa_agents.outbox;
SELECT fa_outbox_unsubscribe(name) FROM fa_outbox_consumer;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT count(fa_model_drop(name)) FROM fa_model WHERE name LIKE 'outbox%';
TRUNCATE fa_outbox;
REVOKE SELECT ON fa_node, fa_edge FROM regress_fa_ann;
SELECT count(fa_node_drop(ARRAY[node_id])) FROM fa_node;
DELETE FROM fa_node_history;
DELETE FROM fa_edge_history;
DROP ROLE regress_fa_ann, regress_fa_bob;
