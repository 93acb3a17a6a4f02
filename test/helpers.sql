-- What several tests use, in pg_temp.  A test includes it by
--	\getenv testdir PG_ABS_SRCDIR
--	\set helpers :testdir /helpers.sql
--	\set ECHO none
--	\i :helpers
--	\set ECHO all

-- Messages name agents and models by ids, which no expected output can hold.
CREATE FUNCTION pg_temp.without_ids(message text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(message, '(agent|model_id|world_id) \d+', '\1 N', 'g')
$$;

-- The error of a command, as "SQLSTATE message" with lines for detail and hint.
CREATE FUNCTION pg_temp.raises(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN pg_temp.without_ids(state || ' ' || message ||
		CASE WHEN detail <> '' THEN E'\n  detail: ' || detail ELSE '' END ||
		CASE WHEN hint <> '' THEN E'\n  hint: ' || hint ELSE '' END);
END $$;

-- A digest of all rows of all tables of the extension.
CREATE FUNCTION pg_temp.everything() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	relation regclass;
	rows text;
	result text := '';
BEGIN
	FOR relation IN
		SELECT c.oid FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
		WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fa_agents')
			AND c.relkind IN ('r', 'p')
		ORDER BY c.relname COLLATE "C"
	LOOP
		EXECUTE format('SELECT md5(coalesce(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C"), ''''))'
			' FROM %s t', relation) INTO rows;
		result := md5(result || relation || rows);
	END LOOP;
	RETURN result;
END $$;
