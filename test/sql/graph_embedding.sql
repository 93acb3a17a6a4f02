-- Embeddings of nodes.  There are two expected outputs: with pgvector, and without.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- without it there is a clear message, and nothing else is missing
SELECT pg_temp.raises('SELECT fa_graph_embedding_create(3)'), pg_temp.raises('SELECT fa_graph_similar(''{1,2,3}'')');
SELECT count(*) > 0 AS there FROM pg_available_extensions WHERE name = 'vector' \gset
\if :there
\else
\quit
\endif

-- in a schema that is on no search_path
CREATE SCHEMA regress_fa_vector;
SET client_min_messages = warning;
CREATE EXTENSION vector SCHEMA regress_fa_vector;
RESET client_min_messages;
SELECT pg_temp.raises('SELECT fa_graph_similar(''{1,2,3}'')');
SELECT fa_graph_embedding_create(3) AS new, fa_graph_embedding_create(3) AS again, pg_temp.raises('SELECT fa_graph_embedding_create(4)') AS other;
SELECT am.amname FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_am am ON am.oid = i.relam WHERE indrelid = 'fa_node_embedding'::regclass ORDER BY 1;
SELECT count(*) FROM fa_node_put_many(ARRAY['word', 'word', 'word', 'word', 'thing'], '{east,north,north-east,west,east}');
INSERT INTO fa_node_embedding SELECT node_id, (CASE name WHEN 'east' THEN '{2,0,0}' WHEN 'north' THEN '{0,1,0}' WHEN 'west' THEN '{-1,0,0}' ELSE '{1,1,0}' END)::real[] FROM fa_node;
-- nearest first, by direction alone
SELECT kind, name, round(distance::numeric, 6) AS distance FROM fa_graph_similar('{5,1,0}', 4) JOIN fa_node USING (node_id) ORDER BY distance, kind;
SELECT name, round(distance::numeric, 6) AS distance FROM fa_graph_similar('{5,1,0}', 2, 'word') JOIN fa_node USING (node_id) ORDER BY distance;
SELECT count(*) FILTER (WHERE distance = 2) AS opposite, count(*) FROM fa_graph_similar('{1,0,0}', 100);
SELECT count(*) FROM fa_graph_similar('{1,0,0}', 0);
SELECT count(*) FROM fa_graph_similar(NULL);
SELECT n.name, pg_temp.raises(format('SELECT fa_graph_similar(%s)', arguments)) FROM (VALUES ('null', $$'{1,2,3}', NULL$$), ('negative', $$'{1,2,3}', -1$$), ('dimensions', $$'{1,2}'$$)) n (name, arguments);
-- among many; the operator is found on no search_path
BEGIN;
SELECT count(*) FROM fa_node_put_many(array_fill('many'::text, '{1000}'), (SELECT array_agg('m' || i) FROM generate_series(1, 1000) i));
SET LOCAL search_path = regress_fa_vector, public;
INSERT INTO fa_node_embedding SELECT node_id, ARRAY[1, substr(name, 2)::real / 1000, 1]::vector FROM fa_node WHERE kind = 'many';
SET LOCAL search_path = pg_temp;
SELECT count(*) FROM public.fa_graph_similar('{1,0.5,1}', 20);
SELECT (SELECT name FROM public.fa_node n WHERE n.node_id = s.node_id) FROM public.fa_graph_similar('{1,0.5,1}', 1, 'many') s;
ROLLBACK;
-- a node takes its embedding along, and gives it its new id
UPDATE fa_node SET node_id = -1 WHERE kind = 'word' AND name = 'west';
SELECT node_id FROM fa_graph_similar('{-1,0,0}', 1);
SELECT fa_node_drop('{-1}'), (SELECT count(*) FROM fa_node_embedding WHERE node_id = -1) AS left;
SELECT pg_temp.raises($$INSERT INTO fa_node_embedding VALUES (-1, '[1,2,3]')$$) LIKE '23503%' AS refused;
-- rights are those of the tables
CREATE ROLE regress_fa_embedding;
SET ROLE regress_fa_embedding;
SELECT pg_temp.raises('SELECT fa_graph_embedding_create(3)'), pg_temp.raises('SELECT fa_graph_similar(''{1,2,3}'')');
RESET ROLE;
GRANT USAGE ON SCHEMA regress_fa_vector TO regress_fa_embedding;
GRANT SELECT ON fa_node, fa_node_embedding TO regress_fa_embedding;
ALTER TABLE fa_node ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON fa_node FOR SELECT USING (kind = 'thing');
SET ROLE regress_fa_embedding;
SELECT count(*) FROM fa_graph_similar('{1,0,0}', 100);
RESET ROLE;
DROP POLICY few ON fa_node;
ALTER TABLE fa_node DISABLE ROW LEVEL SECURITY;
-- something else under that name is not run as whoever searches
DROP TABLE fa_node_embedding;
CREATE VIEW fa_node_embedding AS SELECT 1 AS node_id;
SELECT pg_temp.raises('SELECT fa_graph_similar(''{1,2,3}'')');
DROP VIEW fa_node_embedding;
CREATE TABLE fa_node_embedding (node_id bigint);
ALTER TABLE fa_node_embedding OWNER TO regress_fa_embedding;
SELECT pg_temp.raises('SELECT fa_graph_embedding_create(3)');
DROP TABLE fa_node_embedding;
DROP OWNED BY regress_fa_embedding;
DROP ROLE regress_fa_embedding;
SET client_min_messages = warning;
DROP SCHEMA regress_fa_vector CASCADE;
RESET client_min_messages;
TRUNCATE fa_node, fa_node_history, fa_graph_change;
