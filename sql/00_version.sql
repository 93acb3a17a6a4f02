CREATE FUNCTION fa_version() RETURNS text
	AS 'MODULE_PATHNAME', 'fa_version'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION fa_version() IS
	'version of the fa_agents library that the server has loaded';

CREATE FUNCTION fa_rows() RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'fa_rows'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
REVOKE ALL ON FUNCTION fa_rows() FROM PUBLIC;
COMMENT ON FUNCTION fa_rows() IS
	'rows that a function of the extension hands to its own statement; of no use elsewhere';
