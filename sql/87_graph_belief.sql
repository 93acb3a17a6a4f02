-- Beliefs in the graph: whose agents' steps write what they believe to fa_node.

CREATE TABLE fa_belief_sync (
	model text PRIMARY KEY,
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	mode text NOT NULL,
	change float8 NOT NULL
);
COMMENT ON TABLE fa_belief_sync IS
	'models whose agents'' beliefs are written to the knowledge graph; those of all others never are';
COMMENT ON COLUMN fa_belief_sync.mode IS
	'step: by each step; change: when an agent changes its mind';
COMMENT ON COLUMN fa_belief_sync.change IS
	'how much a probability changes until that is a change of mind';

CREATE FUNCTION fa_belief_sync_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'fa_belief_sync_changed' LANGUAGE C;
REVOKE ALL ON FUNCTION fa_belief_sync_changed() FROM PUBLIC;
COMMENT ON FUNCTION fa_belief_sync_changed() IS
	'trigger: sessions read anew which models are synced';
CREATE TRIGGER fa_belief_sync_changed
	AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON fa_belief_sync
	FOR EACH STATEMENT EXECUTE FUNCTION fa_belief_sync_changed();
ALTER TABLE fa_belief_sync ENABLE ALWAYS TRIGGER fa_belief_sync_changed;

SELECT pg_catalog.pg_extension_config_dump('fa_belief_sync', '');

ALTER TABLE fa_belief_sync ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_belief_sync_owner ON fa_belief_sync FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_belief_sync TO PUBLIC;

CREATE FUNCTION fa_belief_sync(model text, mode text, change float8 DEFAULT 0.1)
	RETURNS void
	AS 'MODULE_PATHNAME', 'fa_belief_sync'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_belief_sync(text, text, float8) IS
	'write what agents of a model believe to their nodes in the graph: "never", by each "step", or at a "change" of mind: another most probable state, or a probability that differs by more than change';
