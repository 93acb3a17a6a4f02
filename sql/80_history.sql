-- History: kept for agents whose params say so; partitions by day, made ahead.

CREATE TABLE fa_history (
	agent_id bigint NOT NULL,
	step bigint NOT NULL,
	trial int NOT NULL,
	at timestamptz NOT NULL,
	observation int[] NOT NULL,
	action int[] NOT NULL,
	vfe float8 NOT NULL,
	belief float8[],
	q_pi float8[],
	neg_efe float8[],
	owner regrole NOT NULL
) PARTITION BY RANGE (at);
-- The index by agent and step is made on each partition by itself: pg_dump would
-- make one that belongs to a member's index twice.
COMMENT ON TABLE fa_history IS
	'steps of agents created with the param "history": true, or a list of "belief", "q_pi", "neg_efe"';

SELECT pg_catalog.pg_extension_config_dump('fa_history', '');

ALTER TABLE fa_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_history_owner ON fa_history FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_history TO PUBLIC;

CREATE FUNCTION fa_history_retain(keep interval) RETURNS int
	AS 'MODULE_PATHNAME', 'fa_history_retain'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_history_retain(interval) FROM PUBLIC;
COMMENT ON FUNCTION fa_history_retain(interval) IS
	'drop the days of history that are older than keep; returns how many partitions went';
