-- Messages between agents; doc/messages.md is the design.

CREATE SEQUENCE fa_message_id_seq;

-- Three leaves, written in turns; one that is empty again is truncated.  Which one a
-- message goes to is told by its id; one that waits for long moves on, so it stands in
-- the row as well.
CREATE TABLE fa_message (
	recipient bigint NOT NULL,
	message_id bigint NOT NULL,
	sender bigint NOT NULL,
	sent_at timestamptz NOT NULL,
	priority smallint NOT NULL,
	leaf smallint NOT NULL,
	body jsonb NOT NULL
) PARTITION BY LIST (leaf);
CREATE TABLE fa_message_0 PARTITION OF fa_message
	(PRIMARY KEY (recipient, message_id)) FOR VALUES IN (0);
CREATE TABLE fa_message_1 PARTITION OF fa_message
	(PRIMARY KEY (recipient, message_id)) FOR VALUES IN (1);
CREATE TABLE fa_message_2 PARTITION OF fa_message
	(PRIMARY KEY (recipient, message_id)) FOR VALUES IN (2);
CREATE INDEX fa_message_0_priority ON fa_message_0 (recipient, priority DESC, message_id)
	WHERE priority OPERATOR(pg_catalog.<>) 0;
CREATE INDEX fa_message_1_priority ON fa_message_1 (recipient, priority DESC, message_id)
	WHERE priority OPERATOR(pg_catalog.<>) 0;
CREATE INDEX fa_message_2_priority ON fa_message_2 (recipient, priority DESC, message_id)
	WHERE priority OPERATOR(pg_catalog.<>) 0;
COMMENT ON TABLE fa_message IS 'messages that wait for fa_receive';
COMMENT ON COLUMN fa_message.priority IS 'higher ones are received first';
COMMENT ON COLUMN fa_message.leaf IS 'the table that it lies in, fa_message_0 to _2';

-- No column is indexed that receiving changes, so updates are HOT.
CREATE TABLE fa_mailbox (
	agent_id bigint PRIMARY KEY,
	floor bigint NOT NULL DEFAULT 0,
	next_floor bigint NOT NULL DEFAULT 0,
	horizon bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE fa_mailbox IS 'a row for each agent that has received: who receives locks it';
COMMENT ON COLUMN fa_mailbox.floor IS
	'no message of priority 0 up to this id waits, or will';
COMMENT ON COLUMN fa_mailbox.next_floor IS
	'the next floor, once every transaction below horizon has ended';
COMMENT ON COLUMN fa_mailbox.horizon IS 'a transaction id, with its epoch';

CREATE TABLE fa_dead_letter (
	message_id bigint PRIMARY KEY,
	sender bigint NOT NULL,
	recipient bigint NOT NULL,
	sent_at timestamptz NOT NULL,
	priority smallint NOT NULL,
	body jsonb NOT NULL,
	reason text NOT NULL,
	died_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX fa_dead_letter_at ON fa_dead_letter (died_at);
COMMENT ON TABLE fa_dead_letter IS
	'messages that nobody will receive; reason: expired, or dropped (the recipient was)';

-- Mailboxes are not dumped: transaction ids mean nothing elsewhere.
SELECT pg_catalog.pg_extension_config_dump('fa_message_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_message_0', '');
SELECT pg_catalog.pg_extension_config_dump('fa_message_1', '');
SELECT pg_catalog.pg_extension_config_dump('fa_message_2', '');
SELECT pg_catalog.pg_extension_config_dump('fa_dead_letter', '');

ALTER TABLE fa_message ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_message_owner ON fa_message FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_message.recipient
				   OR a.agent_id OPERATOR(pg_catalog.=) fa_message.sender));
GRANT SELECT ON fa_message TO PUBLIC;
-- no policy: leaves are seen through their parent alone
ALTER TABLE fa_message_0 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_message_1 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_message_2 ENABLE ROW LEVEL SECURITY;
ALTER TABLE fa_mailbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_mailbox_owner ON fa_mailbox FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_mailbox.agent_id));
GRANT SELECT ON fa_mailbox TO PUBLIC;
ALTER TABLE fa_dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_dead_letter_owner ON fa_dead_letter FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_dead_letter.recipient
				   OR a.agent_id OPERATOR(pg_catalog.=) fa_dead_letter.sender));
GRANT SELECT ON fa_dead_letter TO PUBLIC;

CREATE FUNCTION fa_send(sender bigint, recipient bigint, body jsonb,
						key text DEFAULT NULL, priority int DEFAULT 0,
						observation int[] DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_send'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION fa_send(bigint, bigint, jsonb, text, int, int[]) IS
	'send a message from one agent to another, to be received exactly once; returns its id; with the key of an earlier send, that one''s id; an observation goes to the recipient''s inbox';

CREATE FUNCTION fa_send_many(sender bigint, recipients bigint[], body jsonb,
							 key text DEFAULT NULL, priority int DEFAULT 0,
							 observation int[] DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_send_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION fa_send_many(bigint, bigint[], jsonb, text, int, int[]) IS
	'send the same to many agents; returns how many messages were sent';

CREATE FUNCTION fa_broadcast(sender bigint, coalition text, body jsonb,
							 key text DEFAULT NULL, priority int DEFAULT 0)
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_broadcast'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION fa_broadcast(bigint, text, jsonb, text, int) IS
	'send the same to all other members of a coalition that the sender is in; returns how many messages were sent';

CREATE TYPE fa_receive_result AS (
	message_id bigint,
	sender bigint,
	sent_at timestamptz,
	body jsonb
);
COMMENT ON TYPE fa_receive_result IS 'one message';

CREATE FUNCTION fa_receive(agent_id bigint, max int DEFAULT 10)
	RETURNS SETOF fa_receive_result
	AS 'MODULE_PATHNAME', 'fa_receive'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 10 COST 1000;
COMMENT ON FUNCTION fa_receive(bigint, int) IS
	'take the first messages that wait for an agent, those of higher priority first; if the transaction is undone they come again';

CREATE FUNCTION fa_message_expire() RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_message_expire'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_message_expire() FROM PUBLIC;
COMMENT ON FUNCTION fa_message_expire() IS
	'make dead letters of messages older than fa_agents.message_retention now; returns how many there were';
