CREATE FUNCTION fa_version() RETURNS text
	AS 'MODULE_PATHNAME', 'fa_version'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION fa_version() IS
	'version of the fa_agents library that the server has loaded';
