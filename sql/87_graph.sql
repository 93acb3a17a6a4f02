-- The knowledge graph: nodes, edges, their old versions, and walks.

CREATE SEQUENCE fa_node_id_seq;
CREATE SEQUENCE fa_edge_id_seq;

CREATE FUNCTION fa_node_id() RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_node_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_node_id() IS 'the id of the next node; no right on a sequence is needed';

CREATE FUNCTION fa_edge_id() RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_edge_id'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_edge_id() IS 'the id of the next edge; no right on a sequence is needed';

CREATE TABLE fa_node (
	node_id bigint PRIMARY KEY DEFAULT fa_node_id(),
	kind text COLLATE pg_catalog."C" NOT NULL,
	name text COLLATE pg_catalog."C" NOT NULL,
	props jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(props) OPERATOR(pg_catalog.=) 'object'),
	valid_from timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	UNIQUE (kind, name)
);
CREATE INDEX fa_node_props ON fa_node USING gin (props jsonb_path_ops);
COMMENT ON TABLE fa_node IS 'nodes of the knowledge graph, as they are now';
COMMENT ON COLUMN fa_node.valid_from IS
	'since when it is as it is; set by a trigger when it changes';

CREATE TABLE fa_edge (
	edge_id bigint PRIMARY KEY DEFAULT fa_edge_id(),
	src bigint NOT NULL,
	dst bigint NOT NULL,
	kind text COLLATE pg_catalog."C" NOT NULL,
	weight float8 NOT NULL DEFAULT 1,
	props jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(props) OPERATOR(pg_catalog.=) 'object'),
	valid_from timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	parallel bigint NOT NULL DEFAULT fa_edge_id(),
	UNIQUE (src, kind, dst, parallel)
);
CREATE INDEX fa_edge_dst ON fa_edge (dst, kind, src);
CREATE INDEX fa_edge_props ON fa_edge USING gin (props jsonb_path_ops);
COMMENT ON TABLE fa_edge IS
	'edges of the knowledge graph, as they are now; one counts while both of its nodes are there';
COMMENT ON COLUMN fa_edge.valid_from IS
	'since when it is as it is; set by a trigger when it changes';
COMMENT ON COLUMN fa_edge.parallel IS
	'tells edges of one kind between the same nodes from each other; 0: made by fa_edge_put';

CREATE TABLE fa_node_history (
	node_id bigint NOT NULL,
	kind text COLLATE pg_catalog."C" NOT NULL,
	name text COLLATE pg_catalog."C" NOT NULL,
	props jsonb NOT NULL,
	valid_from timestamptz NOT NULL,
	valid_to timestamptz NOT NULL
);
CREATE INDEX fa_node_history_node ON fa_node_history (node_id);
COMMENT ON TABLE fa_node_history IS 'versions of nodes that are over';

CREATE TABLE fa_edge_history (
	edge_id bigint NOT NULL,
	src bigint NOT NULL,
	dst bigint NOT NULL,
	kind text COLLATE pg_catalog."C" NOT NULL,
	weight float8 NOT NULL,
	props jsonb NOT NULL,
	valid_from timestamptz NOT NULL,
	parallel bigint NOT NULL,
	valid_to timestamptz NOT NULL
);
CREATE INDEX fa_edge_history_edge ON fa_edge_history (edge_id);
CREATE INDEX fa_edge_history_src ON fa_edge_history (src);
CREATE INDEX fa_edge_history_dst ON fa_edge_history (dst);
COMMENT ON TABLE fa_edge_history IS 'versions of edges that are over';

CREATE VIEW fa_node_version WITH (security_invoker = true) AS
	SELECT node_id, kind, name, props, valid_from,
		'infinity'::pg_catalog.timestamptz AS valid_to FROM fa_node
	UNION ALL
	SELECT node_id, kind, name, props, valid_from, valid_to FROM fa_node_history;
COMMENT ON VIEW fa_node_version IS
	'all versions of nodes; one holds at a time t with valid_from <= t < valid_to';

CREATE VIEW fa_edge_version WITH (security_invoker = true) AS
	SELECT edge_id, src, dst, kind, weight, props, valid_from,
		'infinity'::pg_catalog.timestamptz AS valid_to, parallel FROM fa_edge
	UNION ALL
	SELECT edge_id, src, dst, kind, weight, props, valid_from, valid_to, parallel
	FROM fa_edge_history;
COMMENT ON VIEW fa_edge_version IS
	'all versions of edges; one holds at a time t with valid_from <= t < valid_to';

-- Written by triggers only; xid is the transaction's, subtransactions included.
CREATE TABLE fa_graph_change (
	xid xid8 NOT NULL,
	edge_id bigint,
	src bigint,
	dst bigint,
	before xid8
);
CREATE INDEX fa_graph_change_xid ON fa_graph_change (xid);
COMMENT ON TABLE fa_graph_change IS
	'what has changed of late, for the copy in memory: edges; without edge_id, nodes that are gone; with before, anything that older copies have';

SELECT pg_catalog.pg_extension_config_dump('fa_node_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_edge_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_node', '');
SELECT pg_catalog.pg_extension_config_dump('fa_edge', '');
SELECT pg_catalog.pg_extension_config_dump('fa_node_history', '');
SELECT pg_catalog.pg_extension_config_dump('fa_edge_history', '');

-- ---------- versions ----------

CREATE FUNCTION fa_graph_stamp() RETURNS trigger
	AS 'MODULE_PATHNAME', 'fa_graph_stamp' LANGUAGE C;
REVOKE ALL ON FUNCTION fa_graph_stamp() FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_stamp() IS
	'trigger: since when a changed node or edge is as it is';

CREATE FUNCTION fa_graph_keep() RETURNS trigger
	AS 'MODULE_PATHNAME', 'fa_graph_keep' LANGUAGE C;
REVOKE ALL ON FUNCTION fa_graph_keep() FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_keep() IS
	'trigger: keep the old version of a node or an edge, and note what changed';

CREATE TRIGGER fa_graph_stamp BEFORE UPDATE ON fa_node
	FOR EACH ROW EXECUTE FUNCTION fa_graph_stamp();
CREATE TRIGGER fa_graph_keep AFTER INSERT OR UPDATE OR DELETE ON fa_node
	FOR EACH ROW EXECUTE FUNCTION fa_graph_keep();
CREATE TRIGGER fa_graph_stamp BEFORE UPDATE ON fa_edge
	FOR EACH ROW EXECUTE FUNCTION fa_graph_stamp();
CREATE TRIGGER fa_graph_keep AFTER INSERT OR UPDATE OR DELETE ON fa_edge
	FOR EACH ROW EXECUTE FUNCTION fa_graph_keep();
-- also where a subscription writes: the copy in memory depends on them
ALTER TABLE fa_node ENABLE ALWAYS TRIGGER fa_graph_stamp;
ALTER TABLE fa_node ENABLE ALWAYS TRIGGER fa_graph_keep;
ALTER TABLE fa_edge ENABLE ALWAYS TRIGGER fa_graph_stamp;
ALTER TABLE fa_edge ENABLE ALWAYS TRIGGER fa_graph_keep;

-- ---------- write ----------

CREATE FUNCTION fa_node_put(kind text, name text, props jsonb DEFAULT '{}')
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_node_put'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_node_put(text, text, jsonb) IS
	'make a node, or give the one of that kind and name these props in place of its own; returns its id';

CREATE FUNCTION fa_node_put_many(kinds text[], names text[], props jsonb[] DEFAULT NULL)
	RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'fa_node_put_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION fa_node_put_many(text[], text[], jsonb[]) IS
	'fa_node_put for each element; returns ids in input order; of those with the same kind and name the last one counts';

CREATE FUNCTION fa_edge_put(src bigint, dst bigint, kind text,
							weight float8 DEFAULT 1, props jsonb DEFAULT '{}')
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_edge_put'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_edge_put(bigint, bigint, text, float8, jsonb) IS
	'make an edge, or give the one of that kind from src to dst this weight and these props; returns its id';

CREATE FUNCTION fa_edge_put_many(src bigint[], dst bigint[], kinds text[],
								 weights float8[] DEFAULT NULL,
								 props jsonb[] DEFAULT NULL)
	RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'fa_edge_put_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION fa_edge_put_many(bigint[], bigint[], text[], float8[], jsonb[]) IS
	'fa_edge_put for each element; returns ids in input order; of those with the same nodes and kind the last one counts';

CREATE FUNCTION fa_node_drop(node_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_node_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_node_drop(bigint[]) IS
	'remove nodes and all their edges; their versions stay in the history; returns how many nodes there were';

CREATE FUNCTION fa_edge_drop(edge_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_edge_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_edge_drop(bigint[]) IS
	'remove edges; their versions stay in the history; returns how many there were';

-- ---------- walk ----------

CREATE TYPE fa_graph_neighbor AS (node_id bigint, depth int);
COMMENT ON TYPE fa_graph_neighbor IS 'a node, and how many edges away it is';

CREATE FUNCTION fa_graph_neighbors(node bigint, depth int DEFAULT 1,
								   kinds text[] DEFAULT NULL,
								   as_of timestamptz DEFAULT NULL,
								   direction text DEFAULT 'out')
	RETURNS SETOF fa_graph_neighbor
	AS 'MODULE_PATHNAME', 'fa_graph_neighbors'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1000 COST 1000;
COMMENT ON FUNCTION fa_graph_neighbors(bigint, int, text[], timestamptz, text) IS
	'all other nodes within depth edges, each once with the least number of them; edges of these kinds, followed out, in or both ways';

CREATE TYPE fa_graph_path_step AS (seq int, node_id bigint, edge_id bigint);
COMMENT ON TYPE fa_graph_path_step IS
	'a node of a path, and the edge that led to it; seq counts the edges so far';

CREATE FUNCTION fa_graph_path(src bigint, dst bigint, max_depth int DEFAULT 6,
							  kinds text[] DEFAULT NULL,
							  as_of timestamptz DEFAULT NULL,
							  direction text DEFAULT 'out')
	RETURNS SETOF fa_graph_path_step
	AS 'MODULE_PATHNAME', 'fa_graph_path'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 COST 1000;
COMMENT ON FUNCTION fa_graph_path(bigint, bigint, int, text[], timestamptz, text) IS
	'a path of fewest edges from src to dst, at most max_depth of them; no rows where there is none';

CREATE TYPE fa_graph_weighted_path_step AS (seq int, node_id bigint, edge_id bigint, cost float8);
COMMENT ON TYPE fa_graph_weighted_path_step IS
	'a node of a path, the edge that led to it, and the sum of weights so far';

CREATE FUNCTION fa_graph_weighted_path(src bigint, dst bigint,
									   max_cost float8 DEFAULT 'Infinity',
									   kinds text[] DEFAULT NULL,
									   as_of timestamptz DEFAULT NULL,
									   direction text DEFAULT 'out')
	RETURNS SETOF fa_graph_weighted_path_step
	AS 'MODULE_PATHNAME', 'fa_graph_weighted_path'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 COST 10000;
COMMENT ON FUNCTION fa_graph_weighted_path(bigint, bigint, float8, text[], timestamptz, text) IS
	'a path from src to dst with the least sum of weights, at most max_cost; no rows where there is none';

CREATE TYPE fa_graph_subgraph_edge AS (edge_id bigint, src bigint, dst bigint, weight float8);
COMMENT ON TYPE fa_graph_subgraph_edge IS 'an edge between two nodes of a subgraph';

CREATE FUNCTION fa_graph_subgraph(nodes bigint[], depth int DEFAULT 0,
								  kinds text[] DEFAULT NULL,
								  as_of timestamptz DEFAULT NULL,
								  direction text DEFAULT 'out')
	RETURNS SETOF fa_graph_subgraph_edge
	AS 'MODULE_PATHNAME', 'fa_graph_subgraph'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1000 COST 1000;
COMMENT ON FUNCTION fa_graph_subgraph(bigint[], int, text[], timestamptz, text) IS
	'the edges among nodes and all within depth edges of them';

CREATE TYPE fa_graph_found AS (match bigint, node_id bigint, depth int);
COMMENT ON TYPE fa_graph_found IS
	'a node near one that was found, and how many edges away; the one found itself has depth 0';

CREATE FUNCTION fa_graph_find(props jsonb, kind text DEFAULT NULL,
							  depth int DEFAULT 0, kinds text[] DEFAULT NULL,
							  as_of timestamptz DEFAULT NULL,
							  direction text DEFAULT 'both')
	RETURNS SETOF fa_graph_found
	AS 'MODULE_PATHNAME', 'fa_graph_find'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100 COST 1000;
COMMENT ON FUNCTION fa_graph_find(jsonb, text, int, text[], timestamptz, text) IS
	'nodes whose props contain these, each with what is around it within depth edges';

-- ---------- an agent's model of it ----------

CREATE FUNCTION fa_spec_graph(nodes bigint[], policy_len int DEFAULT 2,
							  start bigint DEFAULT NULL,
							  object bigint DEFAULT NULL,
							  preference float8 DEFAULT 1,
							  kinds text[] DEFAULT NULL,
							  as_of timestamptz DEFAULT NULL,
							  direction text DEFAULT 'both')
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'fa_spec_graph_nodes'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION fa_spec_graph(bigint[], int, bigint, bigint, float8, text[], timestamptz, text) IS
	'spec of a search in the knowledge graph: its states are these nodes, its moves their edges among each other; the object that is searched is at some node or absent, all equally likely; start: the first node unless given; object: a node where it is for certain';
