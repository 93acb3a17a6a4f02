-- Declared fields: members of nodes' props that have an index of their own.

CREATE TABLE fa_graph_field (
	kind text COLLATE pg_catalog."C" NOT NULL,
	path text[] COLLATE pg_catalog."C" NOT NULL,
	index_name name NOT NULL,
	PRIMARY KEY (kind, path),
	UNIQUE (index_name)
);
COMMENT ON TABLE fa_graph_field IS
	'fields of nodes that are indexed: of nodes of this kind, the member of props that this path leads to';
COMMENT ON COLUMN fa_graph_field.index_name IS
	'of fa_node; a trigger makes and drops it with the row, so that a restored dump has it again';

CREATE FUNCTION fa_graph_field_index() RETURNS trigger
	AS 'MODULE_PATHNAME', 'fa_graph_field_index' LANGUAGE C;
REVOKE ALL ON FUNCTION fa_graph_field_index() FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_field_index() IS
	'trigger: the index of a declared field comes and goes with its row';
CREATE TRIGGER fa_graph_field_index AFTER INSERT OR UPDATE OR DELETE ON fa_graph_field
	FOR EACH ROW EXECUTE FUNCTION fa_graph_field_index();

SELECT pg_catalog.pg_extension_config_dump('fa_graph_field', '');

CREATE FUNCTION fa_graph_field_create(kind text, VARIADIC path text[])
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_graph_field_create'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_graph_field_create(text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_field_create(text, text[]) IS
	'index a member of the props of nodes of a kind, for order and ranges: props -> first -> next ..; false: it was there already';

CREATE FUNCTION fa_graph_field_drop(kind text, VARIADIC path text[])
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_graph_field_drop'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_graph_field_drop(text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION fa_graph_field_drop(text, text[]) IS
	'drop the index of a declared field; false: there was none';
