-- Coalitions: agents that act together.

CREATE SEQUENCE fa_coalition_id_seq;

CREATE TABLE fa_coalition (
	coalition_id bigint PRIMARY KEY,
	name text UNIQUE NOT NULL,
	rule text NOT NULL,
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE fa_coalition IS 'agents that act together';
COMMENT ON COLUMN fa_coalition.rule IS
	'how its members'' beliefs are pooled: product, linear or log_linear';

CREATE TABLE fa_coalition_member (
	coalition_id bigint NOT NULL,
	agent_id bigint NOT NULL,
	joined_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (coalition_id, agent_id)
);
CREATE INDEX fa_coalition_member_agent ON fa_coalition_member (agent_id, coalition_id);
COMMENT ON TABLE fa_coalition_member IS 'which agents are in which coalitions';

SELECT pg_catalog.pg_extension_config_dump('fa_coalition_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition_member', '');

-- seen by its owner, and by whoever has an agent in it
ALTER TABLE fa_coalition_member ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_member_owner ON fa_coalition_member FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_coalition_member.agent_id));
GRANT SELECT ON fa_coalition_member TO PUBLIC;
ALTER TABLE fa_coalition ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_owner ON fa_coalition FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE')
		   OR EXISTS (SELECT FROM fa_coalition_member m
					  WHERE m.coalition_id OPERATOR(pg_catalog.=) fa_coalition.coalition_id));
GRANT SELECT ON fa_coalition TO PUBLIC;

CREATE FUNCTION fa_coalition_create(name text, members bigint[],
									rule text DEFAULT 'product') RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_coalition_create'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_create(text, bigint[], text) IS
	'let agents act together; they may be written to by each other, whoever owns them';

CREATE FUNCTION fa_coalition_join(name text, agent_id bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_coalition_join'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_join(text, bigint) IS
	'add an agent to a coalition; false: it was in it';

CREATE FUNCTION fa_coalition_leave(name text, agent_id bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_coalition_leave'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_leave(text, bigint) IS
	'take an agent out of a coalition; false: it was not in it';

CREATE FUNCTION fa_coalition_dissolve(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_coalition_dissolve'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_dissolve(text) IS
	'remove a coalition; its agents stay';
