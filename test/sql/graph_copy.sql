-- The copy of the graph in memory: with it and without it, walks find the same, whatever
-- has been changed by whom.

\pset format unaligned
SET client_min_messages = warning;

INSERT INTO fa_node (node_id, kind, name) SELECT i, 'n', i::text FROM generate_series(0, 400) i;
-- a graph that looks like chance, with loops, parallel edges, and edges to nodes that are not there
INSERT INTO fa_edge (src, dst, kind, weight) SELECT i * 7919 % 401, i * i % 409, 'k' || i % 4, i % 11 FROM generate_series(1, 1500) i;

-- What walks find: neighbours in all directions and of some kinds, lengths and costs of paths, edges of a subgraph.
CREATE FUNCTION pg_temp.walks(part int) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('around %s %s %s: %s %s', i, d, k, f.node_id, f.depth) FROM generate_series(part, 400, 40) i,
		unnest('{out,in,both}'::text[]) d, unnest('{"{k1,k2,new}",NULL}'::text[]) k, fa_graph_neighbors(i, 3, k::text[], direction => d) f
	UNION ALL SELECT format('path %s: %s', i, (SELECT max(seq) FROM fa_graph_path(i, 400 - i, 20))) FROM generate_series(part, 400, 40) i
	UNION ALL SELECT format('cost %s: %s', i, (SELECT max(cost) FROM fa_graph_weighted_path(i, 400 - i))) FROM generate_series(part, 400, 40) i
	UNION ALL SELECT format('edge %s', s) FROM fa_graph_subgraph(ARRAY[part, part + 1], 2, direction => 'both') s
$$;
-- How many rows there are, and how many the two ways do not share.
CREATE FUNCTION pg_temp.compare(part int, OUT enough boolean, OUT differ bigint) LANGUAGE plpgsql AS $$
DECLARE
	tables text[];
	copy text[];
BEGIN
	PERFORM set_config('fa_agents.graph_copy', 'off', true);
	tables := ARRAY(SELECT pg_temp.walks(part));
	PERFORM set_config('fa_agents.graph_copy', 'always', true);
	copy := ARRAY(SELECT pg_temp.walks(part));
	enough := cardinality(tables) > 100;
	SELECT count(*) INTO differ FROM ((SELECT unnest(tables) EXCEPT ALL SELECT unnest(copy)) UNION ALL (SELECT unnest(copy) EXCEPT ALL SELECT unnest(tables))) AS d;
END $$;
-- How many copies were made: they lie among the models that are shared.
SELECT models AS before FROM fa_cache() \gset
CREATE FUNCTION pg_temp.copies(before int) RETURNS int LANGUAGE sql AS $$ SELECT models - before FROM fa_cache() $$;

SET fa_agents.graph_copy = always;
SELECT count(*) > 0 AS walked FROM fa_graph_neighbors(1, 3);
SELECT * FROM pg_temp.compare(1);
SELECT pg_temp.copies(:before);
-- changes of others, one by one, and many
INSERT INTO fa_edge (src, dst, kind, weight) SELECT i, (i * 31 + 7) % 401, 'new', 0 FROM generate_series(1, 300, 3) i;
SELECT * FROM pg_temp.compare(1);
UPDATE fa_edge SET dst = 7, kind = 'k1' WHERE src % 17 = 0;
SELECT * FROM pg_temp.compare(2);
UPDATE fa_edge SET weight = weight + 1 WHERE src % 13 = 0;
SELECT * FROM pg_temp.compare(3);
DELETE FROM fa_edge WHERE dst % 19 = 1;
SELECT * FROM pg_temp.compare(4);
-- nodes go with their edges; one comes to which edges led already; one is given another id
SELECT fa_node_drop('{5,6,7}');
INSERT INTO fa_node (node_id, kind, name) VALUES (404, 'n', '404'), (-5, 'n', '-5');
INSERT INTO fa_edge (src, dst, kind) VALUES (-5, 8, 'k1'), (9, -5, 'k1'), (-5, -5, 'k1'), (9, -6, 'k1');
UPDATE fa_node SET node_id = 500 WHERE node_id = 10;
SELECT * FROM pg_temp.compare(8);
SELECT node_id FROM fa_graph_neighbors(-5) ORDER BY 1;
SELECT count(*) FROM (SELECT * FROM fa_graph_neighbors(10) UNION ALL SELECT * FROM fa_graph_neighbors(500)) AS n;
INSERT INTO fa_node (node_id, kind, name) VALUES (5, 'n', 'again'), (-6, 'n', '-6');
SELECT * FROM pg_temp.compare(9);
-- changes of our own, and such as are taken back
BEGIN;
SELECT * FROM pg_temp.compare(11);
INSERT INTO fa_edge (src, dst, kind) SELECT 11, i, 'mine' FROM generate_series(100, 120) i;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
SELECT * FROM pg_temp.compare(11);
SAVEPOINT s;
DELETE FROM fa_edge WHERE kind = 'mine' AND dst % 2 = 0;
SELECT fa_node_drop('{101}');
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
SELECT * FROM pg_temp.compare(11);
ROLLBACK TO s;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
SELECT * FROM pg_temp.compare(11);
ROLLBACK;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
SELECT * FROM pg_temp.compare(11);
-- a cursor sees what was there when it was opened; so does a function that is not volatile
BEGIN;
DECLARE c CURSOR FOR SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
INSERT INTO fa_edge (src, dst, kind) SELECT 11, i, 'mine' FROM generate_series(100, 120) i;
FETCH c;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
COMMIT;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
-- one copy has served so far
SELECT pg_temp.copies(:before);
-- code that runs in the middle of a statement sees rows that no trigger has told of yet
CREATE TEMP TABLE looked (n serial, at text, tables bigint, copy bigint);
CREATE FUNCTION regress_fa_look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	tables bigint;
	copy bigint;
BEGIN
	PERFORM set_config('fa_agents.graph_copy', 'off', true);
	SELECT count(*) INTO tables FROM fa_graph_neighbors(11, 1, '{mine}');
	PERFORM set_config('fa_agents.graph_copy', 'always', true);
	SELECT count(*) INTO copy FROM fa_graph_neighbors(11, 1, '{mine}');
	INSERT INTO pg_temp.looked (at, tables, copy) VALUES (lower(TG_WHEN || ' ' || TG_NAME), tables, copy);
	RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT ON fa_edge FOR EACH ROW EXECUTE FUNCTION regress_fa_look();
CREATE TRIGGER a AFTER INSERT ON fa_edge FOR EACH ROW EXECUTE FUNCTION regress_fa_look();
CREATE TRIGGER z AFTER INSERT ON fa_edge FOR EACH ROW EXECUTE FUNCTION regress_fa_look();
-- (the triggers are committed, and so seen, before a copy is made)
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
BEGIN;
INSERT INTO fa_edge (src, dst, kind) SELECT 11, i, 'mine' FROM generate_series(200, 202) i;
SELECT at, tables, tables - copy AS wrong FROM pg_temp.looked ORDER BY n;
ROLLBACK;
DROP TRIGGER z ON fa_edge;
DROP TRIGGER b ON fa_edge;
DROP TRIGGER a ON fa_edge;
CREATE OR REPLACE FUNCTION regress_fa_look() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	late refcursor := 'late' || NEW.dst;
BEGIN
	OPEN late FOR SELECT count(*) AS late FROM fa_graph_neighbors(11, 1, '{mine}');
	-- what comes after is of later commands
	INSERT INTO pg_temp.looked (at) VALUES ('opened');
	RETURN NEW;
END $$;
CREATE TRIGGER a AFTER INSERT ON fa_edge FOR EACH ROW EXECUTE FUNCTION regress_fa_look();
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
BEGIN;
INSERT INTO fa_edge (src, dst, kind) SELECT 11, i, 'mine' FROM generate_series(200, 202) i;
FETCH late200;
FETCH late202;
ROLLBACK;
DROP TRIGGER a ON fa_edge;
DROP FUNCTION regress_fa_look();
-- rows that tell of changes are gone: then there is no copy from before
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
INSERT INTO fa_edge (src, dst, kind) VALUES (11, 200, 'mine');
TRUNCATE fa_graph_change;
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
DELETE FROM fa_edge WHERE src = 11 AND dst = 200 AND kind = 'mine';
SELECT models AS before FROM fa_cache() \gset
SELECT count(*) FROM fa_graph_neighbors(11, 1, '{mine}');
-- more than a transaction names, in one and in a savepoint that is taken back
BEGIN;
SAVEPOINT s;
INSERT INTO fa_edge (src, dst, kind) SELECT i % 401, 12, 'flood' FROM generate_series(1, 1500) i;
ROLLBACK TO s;
INSERT INTO fa_edge (src, dst, kind) VALUES (12, 13, 'drop');
SELECT count(*) FROM fa_graph_neighbors(12, 1, '{flood,drop}', direction => 'both');
COMMIT;
SELECT count(*) FROM fa_graph_neighbors(12, 1, '{flood,drop}', direction => 'both');
SELECT count(*) FILTER (WHERE before IS NULL) AS named, count(*) FILTER (WHERE before IS NOT NULL) AS all FROM fa_graph_change WHERE edge_id IN (SELECT edge_id FROM fa_edge WHERE kind = 'drop') OR xid = (SELECT max(xid) FROM fa_graph_change);
INSERT INTO fa_edge (src, dst, kind) SELECT i % 401, 12, 'flood' FROM generate_series(1, 1500) i;
SELECT count(*) FILTER (WHERE before IS NULL) AS named, count(*) FILTER (WHERE before IS NOT NULL) AS all FROM fa_graph_change WHERE xid = (SELECT max(xid) FROM fa_graph_change);
SELECT * FROM pg_temp.compare(12);
SELECT pg_temp.copies(:before);
-- what triggers do not see
TRUNCATE fa_edge;
SELECT count(*) FROM fa_graph_neighbors(11, 3);
INSERT INTO fa_edge (src, dst, kind) SELECT 1, i, 'k1' FROM generate_series(2, 9) i;
SELECT count(*) FROM fa_graph_neighbors(1);
ALTER TABLE fa_edge DISABLE TRIGGER fa_graph_keep;
INSERT INTO fa_edge (src, dst, kind) VALUES (1, 20, 'k1');
SELECT count(*) FROM fa_graph_neighbors(1);
ALTER TABLE fa_edge ENABLE ALWAYS TRIGGER fa_graph_keep;
SELECT count(*) FROM fa_graph_neighbors(1);
SET session_replication_role = replica;
INSERT INTO fa_edge (src, dst, kind) VALUES (1, 21, 'k1');
RESET session_replication_role;
SELECT count(*) FROM fa_graph_neighbors(1);
VACUUM FULL fa_edge;
SELECT count(*) FROM fa_graph_neighbors(1);
-- rights and row security are those of who asks, though a copy is there
CREATE ROLE regress_fa_copy;
SET ROLE regress_fa_copy;
\set VERBOSITY sqlstate
SELECT count(*) FROM fa_graph_neighbors(1);
\set VERBOSITY default
RESET ROLE;
GRANT SELECT ON fa_node, fa_edge TO regress_fa_copy;
ALTER TABLE fa_edge ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON fa_edge USING (dst < 5);
SELECT count(*) FROM fa_graph_neighbors(1);
SET ROLE regress_fa_copy;
SELECT count(*) FROM fa_graph_neighbors(1);
RESET ROLE;
DROP POLICY few ON fa_edge;
ALTER TABLE fa_edge DISABLE ROW LEVEL SECURITY;
SET ROLE regress_fa_copy;
SELECT count(*) FROM fa_graph_neighbors(1);
RESET ROLE;
DROP OWNED BY regress_fa_copy;
DROP ROLE regress_fa_copy;
-- SERIALIZABLE transactions read the tables, and so conflict as they should
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM fa_graph_neighbors(1);
SELECT count(DISTINCT relation) > 0 AS locked FROM pg_locks WHERE mode = 'SIReadLock' AND relation IN ('fa_edge'::regclass, 'fa_edge_src_kind_dst_parallel_key'::regclass, 'fa_node_pkey'::regclass);
COMMIT;
-- by itself, a copy is made when walks have read as much from the tables as that takes
SELECT models AS before FROM fa_cache() \gset
TRUNCATE fa_edge;
INSERT INTO fa_edge (src, dst, kind) SELECT 1, i, 'k1' FROM generate_series(2, 400) i;
ANALYZE fa_node, fa_edge;
SET fa_agents.graph_copy = auto;
SELECT count(*) FROM fa_graph_neighbors(1);
SELECT pg_temp.copies(:before);
SELECT sum(n) FROM (SELECT count(*) AS n FROM generate_series(1, 3) i, fa_graph_neighbors(1, i)) AS walks;
SELECT pg_temp.copies(:before);
TRUNCATE fa_edge, fa_node, fa_node_history, fa_edge_history, fa_graph_change;
