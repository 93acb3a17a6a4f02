-- The inbox, and the keys by which a repeated call is told from a new one.

CREATE SEQUENCE fa_observation_id_seq;

CREATE TABLE fa_observation (
	agent_id bigint NOT NULL,
	observation_id bigint NOT NULL,
	observation int[] NOT NULL,
	received_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (agent_id, observation_id)
);
COMMENT ON TABLE fa_observation IS
	'the inbox: observations that wait for their agent''s next step';

CREATE TABLE fa_key (
	agent_id bigint NOT NULL,
	kind "char" NOT NULL,
	key text NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	observation int[],
	step bigint,
	action int[],
	vfe float8,
	PRIMARY KEY (agent_id, kind, key)
);
CREATE INDEX fa_key_at ON fa_key (at);
COMMENT ON TABLE fa_key IS
	'keys of steps (kind s, with their result), of observations (kind o) and of messages (kind m: step is the answer, observation a digest of what was sent), for fa_agents.key_retention';

SELECT pg_catalog.pg_extension_config_dump('fa_observation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_observation', '');
SELECT pg_catalog.pg_extension_config_dump('fa_key', '');

ALTER TABLE fa_observation ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_observation_owner ON fa_observation FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_observation.agent_id));
GRANT SELECT ON fa_observation TO PUBLIC;
ALTER TABLE fa_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_key_owner ON fa_key FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_key.agent_id));
GRANT SELECT ON fa_key TO PUBLIC;

CREATE FUNCTION fa_observe(agent_id bigint, observation int[],
						   key text DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_observe'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_observe(bigint, int[], text) IS
	'put an observation in the inbox, to be taken exactly once; false: that key was there already';
