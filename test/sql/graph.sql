-- The knowledge graph: puts and drops, versions, walks, from the tables and from
-- the copy in memory.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- Ids differ from run to run: nodes are shown by their names, edges by those of their ends.
CREATE FUNCTION pg_temp.n(node text) RETURNS bigint LANGUAGE sql AS $$ SELECT node_id FROM fa_node WHERE kind = 'place' AND name = $1 $$;
CREATE FUNCTION pg_temp.name(node bigint) RETURNS text LANGUAGE sql AS $$ SELECT name FROM fa_node_version WHERE node_id = $1 LIMIT 1 $$;
CREATE FUNCTION pg_temp.edge(edge bigint) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.name(src) || '-' || kind || '-' || pg_temp.name(dst) FROM fa_edge_version WHERE edge_id = $1 LIMIT 1 $$;
-- A whole path, or a neighbourhood, as one line.
CREATE FUNCTION pg_temp.path(src text, dst text, VARIADIC more text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	EXECUTE format('SELECT string_agg(concat(seq, '':'', pg_temp.name(node_id), '' by '' || pg_temp.edge(edge_id)), '', '' ORDER BY seq) FROM fa_graph_path(%s)',
		array_to_string(ARRAY[pg_temp.n(src)::text, pg_temp.n(dst)::text] || more, ', ')) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION pg_temp.around(node text, VARIADIC more text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE result text;
BEGIN
	EXECUTE format('SELECT string_agg(depth || '':'' || pg_temp.name(node_id), '' '' ORDER BY depth, pg_temp.name(node_id)) FROM fa_graph_neighbors(%s)',
		array_to_string(ARRAY[pg_temp.n(node)::text] || more, ', ')) INTO result;
	RETURN result;
END $$;

-- put: the first makes, the next changes, and the same again leaves all as it is
SELECT fa_node_put('place', 'a') = fa_node_put('place', 'a') AS same, fa_node_put('thing', 'a') <> pg_temp.n('a') AS other;
SELECT count(*) AS put, count(DISTINCT id) AS nodes FROM fa_node_put_many(array_fill('place'::text, '{6}'), '{b,c,d,e,f,b}',
	ARRAY['{"n": 1}', '{"n": 2}', NULL, '{"n": 4}', '{}', '{"n": 7}']::jsonb[]) AS id;
SELECT name, props FROM fa_node WHERE kind = 'place' ORDER BY name;
SELECT fa_node_put('place', 'b', '{"n": 7}') = pg_temp.n('b') AS same;
SELECT count(*) AS versions FROM fa_node_history;
SELECT fa_node_put('place', 'b', '{"n": 8}') = pg_temp.n('b') AS same;
SELECT name, props FROM fa_node_history;
-- a->b->c->d->a is a cycle; d->e; b->b by itself; a and b are related in two ways
SELECT count(*) FROM fa_edge_put_many(
	ARRAY[pg_temp.n('a'), pg_temp.n('b'), pg_temp.n('c'), pg_temp.n('d'), pg_temp.n('d'), pg_temp.n('b'), pg_temp.n('a')],
	ARRAY[pg_temp.n('b'), pg_temp.n('c'), pg_temp.n('d'), pg_temp.n('a'), pg_temp.n('e'), pg_temp.n('b'), pg_temp.n('b')],
	'{road,road,road,road,path,road,path}', '{1,1,1,1,5,1,0.5}');
SELECT fa_edge_put(pg_temp.n('a'), pg_temp.n('e'), 'path', 9) = fa_edge_put(pg_temp.n('a'), pg_temp.n('e'), 'path', 10) AS same;
SELECT pg_temp.edge(edge_id), weight, props, parallel FROM fa_edge ORDER BY pg_temp.edge(edge_id) COLLATE "C";
-- what they refuse
SELECT call, pg_temp.raises('SELECT ' || call) FROM unnest(ARRAY['fa_node_put(NULL, ''x'')', 'fa_node_put(''x'', NULL)',
	'fa_node_put_many(''{x}'', ''{x,y}'')', 'fa_node_put_many(''{x,NULL}'', ''{x,y}'')', 'fa_node_put_many(''{{x}}'', ''{{x}}'')',
	'fa_node_put_many(NULL, ''{x}'')', 'fa_edge_put(-1, -1, ''x'')', 'fa_edge_put(NULL, 1, ''x'')', 'fa_edge_put_many(''{-1}'', ''{-1}'', ''{}'')',
	'fa_edge_put(' || pg_temp.n('a') || ', -1, ''x'')', 'fa_graph_neighbors(NULL)', 'fa_graph_neighbors(1, -1)', 'fa_graph_neighbors(1, NULL)',
	'fa_graph_neighbors(1, 1, ''{{a}}'')', 'fa_graph_neighbors(1, direction => ''up'')', 'fa_graph_neighbors(1, direction => NULL)',
	'fa_graph_path(1, NULL)', 'fa_graph_path(1, 2, -1)', 'fa_graph_weighted_path(1, 2, ''NaN'')', 'fa_graph_subgraph(NULL)',
	'fa_graph_subgraph(''{1,NULL}'')', 'fa_graph_find(NULL)', 'fa_graph_stamp()', 'fa_graph_keep()',
	'fa_node_put(''x'', ''x'', ''[]'')', 'fa_node_put(''x'', ''x'', ''1'')', 'fa_node_put_many(''{x}'', ''{x}'', ARRAY[''null''::jsonb])',
	'fa_edge_put(1, 1, ''x'', 1, ''"x"'')', 'fa_edge_put_many(''{1}'', ''{1}'', ''{x}'', NULL, ARRAY[''[]''::jsonb])']) AS call;
-- props have members, whoever writes them
SELECT split_part(pg_temp.raises($$INSERT INTO fa_node (kind, name, props) VALUES ('x', 'x', '[]')$$), E'\n', 1) AS node,
	split_part(pg_temp.raises($$INSERT INTO fa_edge (src, dst, kind, props) VALUES (1, 1, 'x', '1')$$), E'\n', 1) AS edge;
CREATE TEMP TABLE fa_node (LIKE fa_node);
CREATE TRIGGER stamp BEFORE UPDATE ON pg_temp.fa_node FOR EACH ROW EXECUTE FUNCTION fa_graph_stamp();
INSERT INTO pg_temp.fa_node VALUES (1, 'x', 'x', '{}', now());
SELECT pg_temp.raises('UPDATE pg_temp.fa_node SET name = ''y''');
DROP TABLE pg_temp.fa_node;

-- neighbours, once each, with the least number of edges; not the node itself
SELECT pg_temp.around('a') AS one, pg_temp.around('a', '2') AS two, pg_temp.around('a', '100') AS hundred, pg_temp.around('a', '0') AS none;
SELECT pg_temp.around('a', '100', '''{road}''') AS roads, pg_temp.around('a', '100', '''{road,path}''') AS both, pg_temp.around('a', '100', '''{}''') AS none,
	pg_temp.around('a', '2', 'direction => ''in''') AS back, pg_temp.around('e', '2', 'direction => ''both''') AS around, pg_temp.around('f', '9') AS lonely;
SELECT count(*) FROM fa_graph_neighbors(-1, 5);
-- paths
SELECT pg_temp.path('a', 'd'), pg_temp.path('a', 'e'), pg_temp.path('a', 'a'), pg_temp.path('e', 'a'), pg_temp.path('a', 'f');
SELECT pg_temp.path('a', 'd', '3') IS NOT NULL AS three, pg_temp.path('a', 'd', '2') AS two, pg_temp.path('a', 'a', '0') AS zero, pg_temp.path('a', 'b', '0') AS none;
SELECT pg_temp.path('a', 'e', '9', '''{road}''') AS roads, pg_temp.path('e', 'c', 'direction => ''in''') AS back, pg_temp.path('e', 'c', 'direction => ''both''') AS around;
SELECT seq, pg_temp.name(node_id), pg_temp.edge(edge_id), cost FROM fa_graph_weighted_path(pg_temp.n('a'), pg_temp.n('e')) ORDER BY seq;
SELECT count(*) FROM fa_graph_weighted_path(pg_temp.n('a'), pg_temp.n('e'), 7.4);
SELECT seq, pg_temp.name(node_id), cost FROM fa_graph_weighted_path(pg_temp.n('a'), pg_temp.n('a'));
SELECT fa_edge_put(pg_temp.n('e'), pg_temp.n('f'), 'debt', -1) IS NOT NULL AS negative;
SELECT regexp_replace(pg_temp.raises('SELECT fa_graph_weighted_path(pg_temp.n(''a''), pg_temp.n(''f''))'), '\d+ is', 'N is');
SELECT count(*) FROM fa_graph_weighted_path(pg_temp.n('a'), pg_temp.n('e'), kinds => '{road,path}');
-- a subgraph, and what is around what is found
SELECT pg_temp.edge(edge_id), pg_temp.name(src), pg_temp.name(dst), weight
FROM fa_graph_subgraph(ARRAY[pg_temp.n('a'), pg_temp.n('b'), pg_temp.n('b'), -1]) ORDER BY pg_temp.edge(edge_id) COLLATE "C";
SELECT count(*) FROM fa_graph_subgraph(ARRAY[pg_temp.n('d')], 1, '{path}');
SELECT pg_temp.name(match), pg_temp.name(node_id), depth FROM fa_graph_find('{"n": 4}', depth => 1) ORDER BY depth, 2;
SELECT pg_temp.name(match) FROM fa_graph_find('{}', 'thing');
SELECT count(*) FROM fa_graph_find('{"n": 4}', 'thing');
-- bounded
SET fa_agents.max_graph_rows = 2;
SELECT pg_temp.raises('SELECT fa_graph_neighbors(pg_temp.n(''a''), 9)'), pg_temp.raises('SELECT fa_graph_find(''{}'')');
SELECT pg_temp.raises('SELECT fa_graph_weighted_path(pg_temp.n(''a''), pg_temp.n(''e''))');
SELECT count(*) FROM fa_graph_neighbors(pg_temp.n('a'), 1);
RESET fa_agents.max_graph_rows;

-- Versions.  Exactly at an edit, what it made; a microsecond before, what was there.
SELECT fa_edge_put(pg_temp.n('a'), pg_temp.n('f'), 'lift', 1) AS lift \gset
SELECT valid_from AS made FROM fa_edge WHERE edge_id = :lift \gset
UPDATE fa_edge SET dst = pg_temp.n('c') WHERE edge_id = :lift;
SELECT valid_from AS moved FROM fa_edge WHERE edge_id = :lift \gset
SELECT fa_edge_drop(ARRAY[:lift, :lift, -1]) AS dropped;
SELECT valid_to AS gone FROM fa_edge_history WHERE edge_id = :lift ORDER BY valid_to DESC LIMIT 1 \gset
SELECT pg_temp.name(dst), valid_from = :'made' AS made, valid_from = :'moved' AS moved, valid_to = :'moved' AS until_moved, valid_to = :'gone' AS until_gone
FROM fa_edge_history WHERE edge_id = :lift ORDER BY valid_from;
SELECT at, pg_temp.around('a', '1', '''{lift}''', quote_literal(at)) FROM (VALUES (:'made'::timestamptz - interval '1 us', 1), (:'made', 2),
	(:'moved'::timestamptz - interval '1 us', 3), (:'moved', 4), (:'gone'::timestamptz - interval '1 us', 5), (:'gone', 6)) AS v (at, n)
	CROSS JOIN LATERAL (SELECT at AS time) AS hidden ORDER BY n \g (format=unaligned tuples_only=on) | sed 's/^[^|]*|/as of |/'
SELECT pg_temp.path('a', 'f', '6', '''{lift}''', quote_literal(:'made')) AS then, pg_temp.path('a', 'f', '6', '''{lift}''') AS now;
-- several edits in one transaction leave the last, without a gap, whatever a savepoint takes back
BEGIN;
SELECT fa_node_put('place', 'c', '{"n": 20}') = pg_temp.n('c') AS same;
SAVEPOINT s;
UPDATE fa_node SET props = '{"n": 21}' WHERE node_id = pg_temp.n('c');
ROLLBACK TO s;
UPDATE fa_node SET props = '{"n": 22}' WHERE node_id = pg_temp.n('c');
COMMIT;
SELECT props, valid_to = lead(valid_from) OVER (ORDER BY valid_from) AS no_gap
FROM fa_node_version WHERE node_id = pg_temp.n('c') ORDER BY valid_from;
BEGIN;
SELECT fa_node_put('place', 'brief') > 0 AS made;
SELECT fa_node_drop(ARRAY[pg_temp.n('brief')]);
COMMIT;
SELECT count(*) FROM fa_node_version WHERE name = 'brief';
-- what a statement says of valid_from counts for new rows alone; a clock that went back keeps versions in order
INSERT INTO fa_node (kind, name, valid_from) VALUES ('place', 'later', 'tomorrow');
UPDATE fa_node SET props = '{"x": 1}', valid_from = '2000-01-01' WHERE name = 'later';
SELECT n.valid_from - h.valid_from AS step, h.valid_to = n.valid_from AS no_gap FROM fa_node n JOIN fa_node_history h USING (node_id) WHERE n.name = 'later';
-- plain statements and COPY keep versions, too; a column of its own keeps parallel edges apart
COPY fa_edge (src, dst, kind) FROM PROGRAM 'true';
INSERT INTO fa_edge (src, dst, kind) SELECT pg_temp.n('e'), pg_temp.n('f'), 'wire' FROM generate_series(1, 3);
SELECT count(*) AS wires, count(DISTINCT parallel) AS numbers FROM fa_edge WHERE kind = 'wire';
SELECT edge_id = fa_edge_put(pg_temp.n('e'), pg_temp.n('f'), 'wire', 7) AS first FROM fa_edge WHERE kind = 'wire' ORDER BY parallel LIMIT 1;
SELECT count(*), sum(weight) FROM fa_edge WHERE kind = 'wire';
SELECT count(*) FROM fa_graph_subgraph(ARRAY[pg_temp.n('e'), pg_temp.n('f')], kinds => '{wire}');
INSERT INTO fa_edge (src, dst, kind, parallel, weight) VALUES (pg_temp.n('a'), pg_temp.n('b'), 'road', 0, 3)
	ON CONFLICT (src, kind, dst, parallel) DO UPDATE SET weight = excluded.weight;
SELECT weight FROM fa_edge_version WHERE pg_temp.edge(edge_id) = 'a-road-b' ORDER BY valid_from;
-- an edge counts while both nodes are there: before its node comes, and when it has gone
INSERT INTO fa_edge (src, dst, kind) VALUES (pg_temp.n('a'), -7, 'dream');
SELECT count(*) FROM fa_graph_neighbors(pg_temp.n('a'), 1, '{dream}');
INSERT INTO fa_node (node_id, kind, name) VALUES (-7, 'place', 'dream');
SELECT pg_temp.around('a', '1', '''{dream}''');
SELECT valid_from AS dreamt FROM fa_node WHERE node_id = -7 \gset
DELETE FROM fa_node WHERE node_id = -7;
SELECT count(*) AS left FROM fa_edge WHERE dst = -7;
SELECT count(*) FROM fa_edge_history WHERE dst = -7;
SELECT pg_temp.around('a', '1', '''{dream}''', quote_literal(:'dreamt')) AS dreamt, pg_temp.around('a', '1', '''{dream}''') AS awake;
-- ids by hand, 0 among them
INSERT INTO fa_node (node_id, kind, name) VALUES (0, 'place', 'zero');
INSERT INTO fa_edge (edge_id, src, dst, kind) VALUES (0, 0, pg_temp.n('a'), 'road');
SELECT pg_temp.around('zero'), pg_temp.path('zero', 'b');
SELECT fa_node_drop('{0}');
SELECT count(*) AS left FROM fa_edge WHERE src = 0;
-- and such as the sequence would have come to
SELECT last_value AS last FROM fa_node_id_seq \gset
INSERT INTO fa_node (node_id, kind, name) SELECT :last + i, 'taken', i::text FROM generate_series(1, 100) i;
SELECT fa_node_put('taken', 'next') - :last AS above, fa_node_put('taken', 'one more') - :last AS next;
SELECT last_value AS last FROM fa_edge_id_seq \gset
INSERT INTO fa_edge (edge_id, src, dst, kind, parallel) SELECT :last + i, pg_temp.n('f'), pg_temp.n('f'), 'taken', i FROM generate_series(1, 100) i;
SELECT fa_edge_put(pg_temp.n('a'), pg_temp.n('f'), 'next') - :last AS above;
-- the largest ids there are leave the sequence where it has room
SELECT last_value AS last FROM fa_node_id_seq \gset
INSERT INTO fa_node (node_id, kind, name) VALUES (:last + 1, 'taken', 'near'), (9223372036854775807, 'taken', 'last'), (4611686018427387904, 'taken', 'far');
SELECT fa_node_put('taken', 'beside') - :last AS above;
SELECT last_value AS last FROM fa_edge_id_seq \gset
INSERT INTO fa_edge (edge_id, src, dst, kind, parallel) SELECT id, pg_temp.n('f'), pg_temp.n('f'), 'taken', id FROM unnest(ARRAY[:last + 1, 9223372036854775807]) id;
SELECT fa_edge_put(pg_temp.n('f'), pg_temp.n('a'), 'next') - :last AS above;
-- where the sequence has come there all the same, they are passed
SELECT setval('fa_node_id_seq', 4611686018427387903) - 4611686018427387904 AS at;
SELECT fa_node_put('taken', 'behind') - 4611686018427387904 AS above;
SELECT setval('fa_node_id_seq', max(node_id)) IS NOT NULL AS back FROM fa_node WHERE node_id < 4611686018427387904;
SELECT fa_node_drop(array_agg(node_id)) FROM fa_node WHERE kind = 'taken';
DELETE FROM fa_edge WHERE kind IN ('taken', 'next');
-- a transaction that only reads
BEGIN READ ONLY;
SELECT pg_temp.around('a');
SELECT pg_temp.raises('SELECT fa_node_put(''place'', ''x'')');
COMMIT;

-- Names and props of every sort.
SELECT count(*) FROM fa_node_put_many(array_fill('o''dd "kind"'::text, '{5}'), ARRAY['', 'it''s "quoted"', E'tab\tnew\nline', 'Ünïcødé 知識 🧠', '\\x; DROP TABLE fa_node; --']);
SELECT name, fa_node_put(kind, name, '{"again": true}') = node_id AS same FROM fa_node WHERE kind = 'o''dd "kind"' ORDER BY name;
SELECT fa_node_put('big', 'big', jsonb_build_object('text', repeat('x', 1000000), 'list', (SELECT jsonb_agg(i) FROM generate_series(1, 10000) i))) > 0 AS put;
UPDATE fa_node SET props = props || '{"more": 1}' WHERE kind = 'big';
UPDATE fa_node SET props = props || '{"more": 1}' WHERE kind = 'big';
SELECT props ? 'more' AS more, octet_length(props::text) > 1000000 AS big FROM fa_node_version WHERE kind = 'big' ORDER BY valid_from;
SELECT name FROM fa_node WHERE props @> '{"list": [9999], "more": 1}';

-- A chain of 1,000 edges, and a hub of 5,000.
SELECT count(*) FROM fa_node_put_many(array_fill('chain'::text, '{1001}'), (SELECT array_agg('c' || i) FROM generate_series(0, 1000) i));
INSERT INTO fa_edge (src, dst, kind) SELECT a.node_id, b.node_id, 'next' FROM fa_node a JOIN fa_node b ON b.kind = 'chain' AND b.name = 'c' || substr(a.name, 2)::int + 1 WHERE a.kind = 'chain';
SELECT a.node_id AS first, b.node_id AS last FROM fa_node a, fa_node b WHERE a.kind = 'chain' AND a.name = 'c0' AND b.kind = 'chain' AND b.name = 'c1000' \gset
SELECT max(depth), count(*) FROM fa_graph_neighbors(:first, 1000);
SELECT max(seq), count(edge_id) FROM fa_graph_path(:first, :last, 1000);
SELECT count(*) FROM fa_graph_path(:first, :last, 999);
SELECT max(cost) FROM fa_graph_weighted_path(:first, :last);
SELECT fa_node_put('hub', 'hub') AS hub \gset
INSERT INTO fa_edge (src, dst, kind) SELECT :hub, node_id, 'spoke' FROM fa_node, generate_series(1, 5) WHERE kind = 'chain';
SELECT count(*) FROM fa_graph_neighbors(:hub);
SELECT max(seq) FROM fa_graph_path(:first, :last, 2, direction => 'both');
SELECT fa_node_drop(ARRAY[:hub]);
SELECT (SELECT count(*) FROM fa_edge WHERE kind = 'spoke') AS left, (SELECT count(*) FROM fa_edge_history WHERE kind = 'spoke') AS kept;

-- Rights are those of the tables, and of row security where there is some.
CREATE ROLE regress_fa_graph;
SET ROLE regress_fa_graph;
SELECT call, pg_temp.raises('SELECT ' || call) FROM unnest(ARRAY['fa_node_put(''place'', ''x'')', 'fa_edge_put(1, 2, ''x'')', 'fa_graph_neighbors(1)',
	'fa_graph_path(1, 2)', 'fa_graph_find(''{}'')', 'fa_node_drop(''{1}'')', 'fa_edge_drop(''{1}'')', 'count(*) FROM fa_graph_change',
	'nextval(''fa_node_id_seq'')', 'count(*) FROM fa_node_version']) AS call;
RESET ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON fa_node, fa_edge TO regress_fa_graph;
SET ROLE regress_fa_graph;
SELECT fa_node_put('place', 'a', '{"n": 30}') = fa_node_put('place', 'a') AS put;
SELECT pg_temp.raises('SELECT fa_graph_neighbors(1, as_of => now())');
SELECT count(*) FROM fa_graph_neighbors(fa_node_put('place', 'a'));
RESET ROLE;
ALTER TABLE fa_edge ENABLE ROW LEVEL SECURITY;
CREATE POLICY roads ON fa_edge USING (kind = 'road');
SET ROLE regress_fa_graph;
SELECT count(*) FROM fa_graph_neighbors(fa_node_put('place', 'a'), 9);
RESET ROLE;
SELECT pg_temp.around('a', '9');
DROP POLICY roads ON fa_edge;
ALTER TABLE fa_edge DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_fa_graph;
DROP ROLE regress_fa_graph;
-- no name can lead our statements astray
CREATE SCHEMA regress_fa_trap;
CREATE FUNCTION regress_fa_trap.wrong(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_fa_trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_fa_trap.wrong);
CREATE FUNCTION regress_fa_trap.wrong_text(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR regress_fa_trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_fa_trap.wrong_text);
SELECT pg_temp.n('a') AS a, pg_temp.n('b') AS b \gset
SET search_path = regress_fa_trap, public, pg_catalog;
SELECT count(*) FROM public.fa_graph_neighbors(:a, 9, '{road,path}');
SELECT count(*) FROM public.fa_graph_find('{"n": 4}', 'place');
SELECT public.fa_edge_put(:a, :b, 'road', 4) > 0 AS put;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA regress_fa_trap CASCADE;
RESET client_min_messages;

-- A model of a part of it.  A triangle x-y-z with a tail z-w, w also having a loop, and a way back from y to x: by hand,
-- with moves in the order of the nodes given: x: y, z; y: x, z; z: x, y, w; w: z; a move that a node lacks stays.
SELECT count(*) FROM fa_node_put_many(array_fill('room'::text, '{5}'), '{x,y,z,w,"odd \"name\""}');
CREATE FUNCTION pg_temp.r(VARIADIC names text[]) RETURNS bigint[] LANGUAGE sql AS $$ SELECT array_agg(node_id ORDER BY n) FROM unnest(names) WITH ORDINALITY AS u (name, n) JOIN fa_node USING (name) WHERE kind = 'room' $$;
SELECT count(*) FROM fa_edge_put_many(pg_temp.r('x', 'y', 'z', 'z', 'w', 'y', 'x'), pg_temp.r('y', 'z', 'x', 'w', 'w', 'x', 'odd "name"'), '{door,door,door,stair,door,stair,door}');
SELECT key, value FROM jsonb_each(fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'))) ORDER BY key;
SELECT fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'), direction => 'out') -> 'B' -> 0 AS out, fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'), direction => 'in') -> 'B' -> 0 AS in,
	fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'), kinds => '{stair}') -> 'B' -> 0 AS stairs;
SELECT s -> 'D' AS d, s -> 'C' AS c, s -> 'policy_len' AS policy_len, s -> 'factors' -> 0 -> 'states' AS states
FROM fa_spec_graph(pg_temp.r('w', 'odd "name"', 'z'), 3, (pg_temp.r('z'))[1], (pg_temp.r('w'))[1], 2.5) s;
SELECT call, regexp_replace(pg_temp.raises('SELECT fa_spec_graph(' || call || ')'), '(node|start|object) \d+', '\1 N') FROM unnest(ARRAY['NULL::bigint[]', '''{}''::bigint[]', '''{-1}''::bigint[]',
	'pg_temp.r(''x'', ''x'')', 'pg_temp.r(''x''), 0', 'pg_temp.r(''x''), start => (pg_temp.r(''y''))[1]', 'pg_temp.r(''x''), object => (pg_temp.r(''y''))[1]', 'pg_temp.r(''x''), preference => ''NaN''',
	'array_fill(1::bigint, ''{1001}'')']) AS call;
-- an agent that forages there finds what it looks for, w's far corner included
SELECT fa_model_create('rooms', fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'), 3, preference => 4)) > 0 AS model,
	fa_world_create('rooms', fa_spec_graph(pg_temp.r('x', 'y', 'z', 'w'), object => (pg_temp.r('w'))[1])) > 0 AS world;
SELECT fa_agent_create('rooms', 'forager', '{"world": "rooms", "seed": 1}') AS forager \gset
SELECT count(*) FILTER (WHERE observation[2] = 1) > 0 AS found FROM fa_run(:forager, 12);
SELECT (fa_belief(:forager) #>> '{object,w}')::float8 > 0.999 AS certain;
SELECT fa_agent_drop(ARRAY[:forager]);
SELECT fa_model_drop('rooms'), fa_world_drop('rooms');

SELECT fa_node_drop(array_agg(node_id)) > 1000 AS dropped FROM fa_node;
SELECT count(*) FROM fa_edge;
TRUNCATE fa_node_history, fa_edge_history, fa_graph_change;
