-- Compiled models in memory.

CREATE TYPE fa_cache_state AS (
	models int,
	chunks int,
	chunks_in_use int,
	bytes bigint,
	own_models bigint,
	own_copies bigint,
	own_bytes bigint
);
COMMENT ON TYPE fa_cache_state IS
	'models in shared memory, the segments they lie in, how many of these are in use, their size; models that this session knows, how many as copies of its own, what it keeps for them';

CREATE FUNCTION fa_cache() RETURNS fa_cache_state
	AS 'MODULE_PATHNAME', 'fa_cache'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION fa_cache() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fa_cache() TO pg_monitor;
COMMENT ON FUNCTION fa_cache() IS
	'compiled models in memory: shared by all sessions, and kept by this one';
