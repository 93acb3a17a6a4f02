-- Embeddings of nodes, where pgvector is installed.  Their table is made on
-- demand: its type is not there before.

CREATE FUNCTION fa_graph_embedding_create(dimensions int) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_graph_embedding_create'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_graph_embedding_create(int) FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_embedding_create(int) IS
	'make fa_node_embedding (node_id, embedding), with pgvector''s index; false: it was there already';

CREATE TYPE fa_graph_similar AS (node_id bigint, distance float8);
COMMENT ON TYPE fa_graph_similar IS
	'a node, and the cosine distance of its embedding: 0 the same direction, 2 the opposite';

CREATE FUNCTION fa_graph_similar(embedding real[], count int DEFAULT 10,
								 kind text DEFAULT NULL)
	RETURNS SETOF fa_graph_similar
	AS 'MODULE_PATHNAME', 'fa_graph_similar'
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 COST 1000;
COMMENT ON FUNCTION fa_graph_similar(real[], int, text) IS
	'the nodes whose embeddings are nearest to this one by cosine distance, nearest first';
