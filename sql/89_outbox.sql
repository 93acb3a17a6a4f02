-- What happened, for programs that want to know; doc/outbox.md is the design.

CREATE SEQUENCE fa_outbox_id_seq;

-- Counts the turns: which leaf is written.  A sequence, because it is read at each
-- event: who changes it stops nobody, and what it says holds at once.
CREATE SEQUENCE fa_outbox_turn_seq MINVALUE 0;
SELECT pg_catalog.setval('fa_outbox_turn_seq', 0);

-- Three leaves, written in turns; one that all consumers have seen is truncated.
CREATE TABLE fa_outbox (
	event_id bigint NOT NULL DEFAULT pg_catalog.nextval('fa_outbox_id_seq'),
	xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
	agent_id bigint,
	step bigint,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	owner regrole,
	leaf smallint NOT NULL,
	kind text NOT NULL,
	detail jsonb
) PARTITION BY LIST (leaf);
CREATE TABLE fa_outbox_0 PARTITION OF fa_outbox FOR VALUES IN (0);
CREATE TABLE fa_outbox_1 PARTITION OF fa_outbox FOR VALUES IN (1);
CREATE TABLE fa_outbox_2 PARTITION OF fa_outbox FOR VALUES IN (2);
-- the only one: events come in the order of their transactions' ids, and so do readers
CREATE INDEX fa_outbox_xid ON fa_outbox (xid);
COMMENT ON TABLE fa_outbox IS
	'what happened, of the kinds in fa_agents.outbox; events that all consumers have seen are removed';
COMMENT ON COLUMN fa_outbox.xid IS 'the transaction in which it happened';
COMMENT ON COLUMN fa_outbox.owner IS
	'who may know, with the members of that role; null: who may read fa_node and fa_edge';
COMMENT ON COLUMN fa_outbox.leaf IS 'the table that it lies in, fa_outbox_0 to _2';

CREATE TABLE fa_outbox_consumer (
	name text PRIMARY KEY,
	owner regrole NOT NULL,
	kinds text[],
	seen pg_snapshot NOT NULL,
	batch pg_snapshot,
	seen_event bigint NOT NULL,
	batch_event bigint,
	restarted boolean NOT NULL DEFAULT false,
	origin text NOT NULL,
	read_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE fa_outbox_consumer IS 'who reads the outbox, and how far';
COMMENT ON COLUMN fa_outbox_consumer.kinds IS 'of events; null: all';
COMMENT ON COLUMN fa_outbox_consumer.seen IS 'what it shows was consumed';
COMMENT ON COLUMN fa_outbox_consumer.batch IS
	'what it shows beyond that is being read; null: nothing is';
COMMENT ON COLUMN fa_outbox_consumer.seen_event IS
	'the last event that was numbered when seen was taken: how far it is behind';
COMMENT ON COLUMN fa_outbox_consumer.batch_event IS 'the same of batch';
COMMENT ON COLUMN fa_outbox_consumer.restarted IS
	'something may have been missed, which it is told next';
COMMENT ON COLUMN fa_outbox_consumer.origin IS
	'server, database and table that the snapshots are of';

-- The rows of fa_outbox are not dumped: transaction ids mean nothing elsewhere.
SELECT pg_catalog.pg_extension_config_dump('fa_outbox_consumer', '');

ALTER TABLE fa_outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_outbox_owner ON fa_outbox FOR SELECT
	USING (CASE WHEN owner IS NULL
		   THEN pg_catalog.has_table_privilege('fa_node'::regclass, 'SELECT')
		   AND pg_catalog.has_table_privilege('fa_edge'::regclass, 'SELECT')
		   ELSE pg_catalog.pg_has_role(owner::oid, 'USAGE') END);
GRANT SELECT ON fa_outbox TO PUBLIC;
-- no policy: leaves are seen through their parent alone
ALTER TABLE fa_outbox_0 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_outbox_1 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_outbox_2 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_outbox_consumer ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_outbox_consumer_owner ON fa_outbox_consumer FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_outbox_consumer TO PUBLIC;

CREATE FUNCTION fa_outbox_subscribe(consumer text, kinds text[] DEFAULT NULL)
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_outbox_subscribe'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_outbox_subscribe(text, text[]) IS
	'begin to read the outbox, from now on; false: the consumer was there, and reads these kinds from now on';

CREATE TYPE fa_outbox_result AS (
	event_id bigint,
	kind text,
	agent_id bigint,
	step bigint,
	at timestamptz,
	detail jsonb
);
COMMENT ON TYPE fa_outbox_result IS 'one event';

CREATE FUNCTION fa_outbox_read(consumer text) RETURNS SETOF fa_outbox_result
	AS 'MODULE_PATHNAME', 'fa_outbox_read'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000 COST 1000;
COMMENT ON FUNCTION fa_outbox_read(text) IS
	'the events of a consumer''s batch, the same until fa_outbox_done; by agent, and those of one in their order';

CREATE FUNCTION fa_outbox_done(consumer text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_outbox_done'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_outbox_done(text) IS
	'a consumer''s batch was consumed; false: there was none';

CREATE FUNCTION fa_outbox_unsubscribe(consumer text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_outbox_unsubscribe'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_outbox_unsubscribe(text) IS 'remove a consumer';
