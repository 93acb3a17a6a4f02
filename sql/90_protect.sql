-- A guard against an absent-minded DROP EXTENSION.

CREATE FUNCTION fa_protect() RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_protect'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_protect() FROM PUBLIC;
COMMENT ON FUNCTION fa_protect() IS
	'make view fa_protected over fa_agent, so that DROP EXTENSION needs CASCADE; drop the view to undo';
