-- Worlds: the processes that answer actions with observations.

CREATE SEQUENCE fa_world_id_seq;

CREATE TABLE fa_world (
	world_id bigint PRIMARY KEY,
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
COMMENT ON TABLE fa_world IS
	'compiled worlds: A, B and D of a spec; the true states lie with the agents';

COMMENT ON COLUMN fa_world.versions IS
	'how many versions this name has had: while one is left, the numbers of dropped ones are not used again';

SELECT pg_catalog.pg_extension_config_dump('fa_world', '');
SELECT pg_catalog.pg_extension_config_dump('fa_world_id_seq', '');

ALTER TABLE fa_world ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_world_owner ON fa_world FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_world TO PUBLIC;

CREATE FUNCTION fa_world_create(name text, spec jsonb) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_world_create'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_world_create(text, jsonb) IS
	'store a world that answers the actions of agents created with the param "world"; the same name again makes a new version';

CREATE FUNCTION fa_world_drop(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_world_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_world_drop(text) IS
	'drop a world with all its versions, or one version by "name@version"; it must not be in use';
