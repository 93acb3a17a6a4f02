-- Models: immutable values.  A name has versions; a change makes a new one.

CREATE SEQUENCE fa_model_id_seq;

CREATE TABLE fa_model (
	model_id bigint PRIMARY KEY,
	name text NOT NULL,
	version int NOT NULL,
	versions int NOT NULL,
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	spec jsonb NOT NULL,
	body bytea NOT NULL,
	digest bytea NOT NULL
		GENERATED ALWAYS AS (pg_catalog.substr(pg_catalog.sha256(body), 1, 24)) STORED,
	UNIQUE (name, version)
);
ALTER TABLE fa_model ALTER COLUMN body SET STORAGE EXTENDED;
COMMENT ON TABLE fa_model IS
	'compiled models; what a row means never changes, a new spec under the same name is a new version';
COMMENT ON COLUMN fa_model.body IS
	'the compiled block that the library computes with';
COMMENT ON COLUMN fa_model.digest IS
	'the first 24 bytes of body''s sha256: the key by which sessions keep the model in memory';

COMMENT ON COLUMN fa_model.versions IS
	'how many versions this name has had: while one is left, the numbers of dropped ones are not used again';

SELECT pg_catalog.pg_extension_config_dump('fa_model', '');
SELECT pg_catalog.pg_extension_config_dump('fa_model_id_seq', '');

ALTER TABLE fa_model ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_model_owner ON fa_model FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_model TO PUBLIC;

CREATE TYPE fa_problem AS (
	path text,
	message text,
	detail text,
	hint text
);
COMMENT ON TYPE fa_problem IS 'one thing that is wrong with a spec';

CREATE FUNCTION fa_model_create(name text, spec jsonb) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_model_create'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_model_create(text, jsonb) IS
	'validate, compile and store a model; the same name again makes a new version';

CREATE FUNCTION fa_model_check(spec jsonb) RETURNS SETOF fa_problem
	AS 'MODULE_PATHNAME', 'fa_model_check'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION fa_model_check(jsonb) IS
	'every problem of a spec as a row; no row: fa_model_create will take it';

CREATE FUNCTION fa_model_drop(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_model_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_model_drop(text) IS
	'drop a model with all its versions, or one version by "name@version"; it must not be in use';
