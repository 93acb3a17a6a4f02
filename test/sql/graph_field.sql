-- Declared fields: members of nodes' props with an index for order and ranges.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

SELECT count(*) FROM fa_node_put_many(array_fill('place'::text, '{2000}'), (SELECT array_agg('p' || i ORDER BY i) FROM generate_series(1, 2000) i),
	(SELECT array_agg(jsonb_build_object('floor', i, 'size', jsonb_build_object('width', i % 50, 'it''s "odd" 深さ', i)) ORDER BY i) FROM generate_series(1, 2000) i));
SELECT count(*) FROM fa_node_put_many(array_fill('thing'::text, '{2000}'), (SELECT array_agg('t' || i ORDER BY i) FROM generate_series(1, 2000) i),
	(SELECT array_agg(jsonb_build_object('floor', i) ORDER BY i) FROM generate_series(1, 2000) i));
VACUUM ANALYZE fa_node;

-- new the first time, there the second
SELECT fa_graph_field_create('place', 'floor') AS new, fa_graph_field_create('place', 'floor') AS again;
SELECT fa_graph_field_create('place', 'size', 'width') AS new;
SELECT kind, path, index_name, pg_get_expr(indexprs, indrelid) AS expression, pg_get_expr(indpred, indrelid) AS predicate
FROM fa_graph_field JOIN pg_index ON indexrelid = index_name::text::regclass ORDER BY path;
-- ranges and order go by it, with whatever plan is kept
EXPLAIN (COSTS OFF) SELECT node_id FROM fa_node WHERE kind = 'place' AND props -> 'floor' BETWEEN '7' AND '11' ORDER BY props -> 'floor';
SELECT name FROM fa_node WHERE kind = 'place' AND props -> 'floor' BETWEEN '7' AND '11' ORDER BY props -> 'floor';
EXPLAIN (COSTS OFF) SELECT name FROM fa_node WHERE kind = 'place' ORDER BY props -> 'floor' DESC LIMIT 3;
SELECT name FROM fa_node WHERE kind = 'place' ORDER BY props -> 'floor' DESC LIMIT 3;
PREPARE wide (jsonb) AS SELECT count(*), min((props ->> 'floor')::int) FROM fa_node WHERE kind = 'place' AND props -> 'size' -> 'width' > $1 AND props -> 'size' -> 'width' < '100';
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE wide ('47');
EXECUTE wide ('47');
RESET plan_cache_mode;
DEALLOCATE wide;
-- whatever stands there, a node can be written, and is found in its place
SELECT count(*) FROM fa_node_put_many(array_fill('place'::text, '{6}'), '{none,"null",text,list,object,half}',
	ARRAY['{}', '{"floor": null}', '{"floor": "2nd"}', '{"floor": [1]}', '{"floor": {}}', '{"floor": 1.5}']::jsonb[]);
SELECT name FROM fa_node WHERE kind = 'place' AND props -> 'floor' BETWEEN '1' AND '2' ORDER BY props -> 'floor';
SELECT name, props -> 'floor' AS floor FROM fa_node WHERE kind = 'place' AND props -> 'floor' NOT BETWEEN '0' AND '5000' ORDER BY props -> 'floor';

-- names of every sort, and so long that their index's names would be the same
SELECT fa_graph_field_create('place', 'size', 'it''s "odd" 深さ') AS new, fa_graph_field_create('', '') AS empty,
	fa_graph_field_create(repeat('ä', 100), repeat('é', 100)) AS long, fa_graph_field_create(repeat('ä', 100), repeat('é', 101)) AS longer,
	fa_graph_field_create('a_b', 'c') AS one, fa_graph_field_create('a', 'b_c') AS another, fa_graph_field_create('; DROP TABLE fa_node; --', E'tab\t\\') AS drop;
EXPLAIN (COSTS OFF) SELECT node_id FROM fa_node WHERE kind = 'place' AND props -> 'size' -> 'it''s "odd" 深さ' = '1999';
SELECT name FROM fa_node WHERE kind = 'place' AND props -> 'size' -> 'it''s "odd" 深さ' = '1999';
SELECT count(*) AS fields, count(DISTINCT index_name) AS names, count(i.indexrelid) AS indexes, max(octet_length(index_name::text)) < 64 AS fit
FROM fa_graph_field LEFT JOIN pg_class c ON c.relname = index_name LEFT JOIN pg_index i ON i.indexrelid = c.oid AND indrelid = 'fa_node'::regclass;
-- what is refused
SELECT call, pg_temp.raises('SELECT ' || call) FROM unnest(ARRAY['fa_graph_field_create(NULL, ''x'')', 'fa_graph_field_create(''x'', NULL)', 'fa_graph_field_create(''x'', VARIADIC NULL)',
	'fa_graph_field_create(''x'', VARIADIC ''{}'')', 'fa_graph_field_create(''x'', VARIADIC ''{{a}}'')', 'fa_graph_field_drop(''x'', ''a'', NULL)', 'fa_graph_field_index()']) AS call;
SELECT pg_temp.raises($$UPDATE fa_node SET props = jsonb_build_object('floor', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i)) WHERE name = 'half'$$) LIKE '54000%' AS too_large;
BEGIN READ ONLY;
SELECT pg_temp.raises('SELECT fa_graph_field_create(''x'', ''y'')');
COMMIT;

-- an index that somebody has dropped or that the row names comes again; a dump brings rows, and so the indexes
DROP INDEX fa_node_place_floor_field;
SELECT fa_graph_field_create('place', 'floor') AS new, to_regclass('fa_node_place_floor_field') AS there;
BEGIN;
CREATE TEMP TABLE dumped AS TABLE fa_graph_field;
DELETE FROM fa_graph_field;
SELECT count(*) FROM pg_class WHERE relname LIKE 'fa_node%field';
INSERT INTO fa_graph_field TABLE dumped;
SELECT count(*) FROM pg_class WHERE relname LIKE 'fa_node%field';
ROLLBACK;
UPDATE fa_graph_field SET index_name = 'floors' WHERE path = '{floor}';
SELECT to_regclass('fa_node_place_floor_field') AS before, to_regclass('floors') AS now;
BEGIN;
SELECT fa_graph_field_drop('place', 'floor') AS dropped, to_regclass('floors') AS gone;
ROLLBACK;
SELECT to_regclass('floors') AS there;
-- a name that something else has, and a table of somebody else's
SELECT pg_temp.raises('INSERT INTO fa_graph_field VALUES (''k'', ''{x}'', ''fa_agent'')');
CREATE TEMP TABLE fa_graph_field (LIKE fa_graph_field);
CREATE TRIGGER index AFTER INSERT ON pg_temp.fa_graph_field FOR EACH ROW EXECUTE FUNCTION fa_graph_field_index();
SELECT pg_temp.raises('INSERT INTO pg_temp.fa_graph_field VALUES (''k'', ''{x}'', ''mine'')');
DROP TABLE pg_temp.fa_graph_field;

-- rights: who owns the extension, and whom he lets; the index is the owner's
CREATE ROLE regress_fa_field;
SET ROLE regress_fa_field;
SELECT pg_temp.raises('SELECT fa_graph_field_create(''thing'', ''floor'')'), pg_temp.raises('SELECT fa_graph_field_drop(''place'', ''floor'')'),
	pg_temp.raises('INSERT INTO fa_graph_field VALUES (''k'', ''{x}'', ''mine'')');
RESET ROLE;
GRANT EXECUTE ON FUNCTION fa_graph_field_create(text, text[]) TO regress_fa_field;
SET ROLE regress_fa_field;
SET search_path = pg_temp;
SELECT public.fa_graph_field_create('thing', 'floor') AS new;
RESET search_path;
RESET ROLE;
SELECT relowner = (SELECT relowner FROM pg_class WHERE oid = 'fa_node'::regclass) AS owners FROM pg_class WHERE relname = 'fa_node_thing_floor_field';
DROP OWNED BY regress_fa_field;
DROP ROLE regress_fa_field;

-- the belief of agents: who believes it with more than any bound, by one index
SELECT fa_graph_field_create('agent', 'belief', 'location', 'centre') AS new;
SELECT count(*) FROM fa_node_put_many(array_fill('agent'::text, '{1000}'), (SELECT array_agg('a' || i ORDER BY i) FROM generate_series(1, 1000) i),
	(SELECT array_agg(jsonb_build_object('belief', jsonb_build_object('location', jsonb_build_object('centre', i * 0.001, 'left', 1 - i * 0.001))) ORDER BY i) FROM generate_series(1, 1000) i));
ANALYZE fa_node;
EXPLAIN (COSTS OFF) SELECT name FROM fa_node WHERE kind = 'agent' AND props -> 'belief' -> 'location' -> 'centre' > '0.998';
SELECT name FROM fa_node WHERE kind = 'agent' AND props -> 'belief' -> 'location' -> 'centre' > '0.998' ORDER BY 1;

SELECT count(*) FILTER (WHERE fa_graph_field_drop(kind, VARIADIC path)) AS dropped, count(*) FILTER (WHERE fa_graph_field_drop(kind, VARIADIC path)) AS again FROM (SELECT * FROM fa_graph_field OFFSET 0) f;
SELECT count(*) AS indexes FROM pg_class WHERE relname LIKE 'fa_node%field';
TRUNCATE fa_node, fa_node_history, fa_graph_change;
