-- Messages: who may write to whom, order, keys, limits, retention, rotation.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

ALTER SEQUENCE fa_message_id_seq RESTART;
SELECT fa_model_create('message', fa_spec_grid(3, 3)) IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b, min(i) + 2 AS c, min(i) + 3 AS d FROM fa_agent_create_many('message', 4) i \gset
-- what waits for an agent, with the names of the four
CREATE FUNCTION pg_temp.agent(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT chr(97 + ($1 - (SELECT min(agent_id) FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name = 'message'))::int) $$;
CREATE VIEW pg_temp.waiting AS SELECT message_id, pg_temp.agent(sender) AS sender, pg_temp.agent(recipient) AS recipient,
	priority, leaf, body FROM fa_message ORDER BY message_id;

-- a message is taken once, in order
SELECT fa_send(:a, :b, '{"n": 1}'), fa_send(:a, :b, '"two"'), fa_send(:c, :b, 'null'), fa_send(:b, :b, '[4]');
SELECT * FROM pg_temp.waiting;
SELECT message_id, pg_temp.agent(sender) AS sender, body, sent_at BETWEEN now() - interval '1 min' AND clock_timestamp() AS lately FROM fa_receive(:b, 3);
SELECT message_id, body FROM fa_receive(:b);
SELECT count(*) FROM fa_receive(:b);
SELECT count(*) FROM fa_receive(:a);
SELECT count(*) FROM fa_receive(NULL);
SELECT count(*) FROM fa_receive(:b, NULL);
SELECT fa_send(:a, :b, '5') IS NOT NULL AS sent;
SELECT count(*) FROM fa_receive(:b, 0);
SELECT pg_temp.raises(format('SELECT fa_receive(%s, -1)', :b));
SELECT body FROM fa_receive(:b, 2147483647);

-- to many: one for each element, in its order
SELECT fa_send_many(:a, ARRAY[:b, :c, :b], '"many"');
SELECT * FROM pg_temp.waiting;
SELECT fa_send_many(:a, '{}', '"none"');
SELECT count(*) FROM fa_receive(:b) x, fa_receive(:c) y;

-- undone, they are there again
SELECT fa_send(:a, :b, '"again"') AS again \gset
BEGIN;
SELECT body FROM fa_receive(:b);
SAVEPOINT s;
SELECT fa_send(:a, :b, '"undone"') > :again AS sent;
SELECT body FROM fa_receive(:b);
ROLLBACK TO s;
SELECT count(*) FROM fa_receive(:b);
ROLLBACK;
SELECT body FROM fa_receive(:b);
-- what a transaction sent it can receive
BEGIN;
SELECT fa_send(:a, :b, '"own"') IS NOT NULL AS sent;
SELECT body FROM fa_receive(:b);
COMMIT;
SELECT count(*) FROM fa_message;

-- priorities: higher ones first, whatever waits; in order among equals
SELECT fa_send(:a, :b, to_jsonb(p || '.' || i), priority => p) IS NOT NULL AS sent
FROM generate_series(1, 2) i, unnest(ARRAY[0, 3, -1, 32767, -32768]) WITH ORDINALITY AS u (p, o) ORDER BY i, o;
SELECT string_agg(body #>> '{}', ' ') FROM fa_receive(:b, 3);
SELECT fa_send(:a, :b, '"9.1"', priority => 9) IS NOT NULL AS sent;
SELECT string_agg(body #>> '{}', ' ') FROM fa_receive(:b, 3);
SELECT string_agg(body #>> '{}', ' ') FROM fa_receive(:b, 100);
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', priority => 32768)', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', priority => -32769)', :a, :b));

-- a key makes a call repeatable
SELECT fa_send(:a, :b, '{"k": 1}', 'k') AS first \gset
SELECT fa_send(:a, :b, '{"k": 1}', 'k') = :first AS same, (SELECT count(*) FROM fa_message) AS waiting;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''{"k": 2}'', ''k'')', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''{"k": 1}'', ''k'')', :a, :c));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''{"k": 1}'', ''k'', 1)', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''{"k": 1}'', ''k'', observation => ''{1}'')', :a, :b));
-- it is the sender's, and of messages
SELECT fa_send(:c, :b, '{"k": 1}', 'k') > :first AS another, fa_observe(:a, '{1}', 'k'), (fa_step(:a, key => 'k')).step;
SELECT count(*) FROM fa_receive(:b);
SELECT fa_send(:a, :b, '{"k": 1}', 'k') = :first AS same, (SELECT count(*) FROM fa_message) AS waiting;
SELECT fa_send_many(:a, ARRAY[:b, :c], '1', 'many'), fa_send_many(:a, ARRAY[:b, :c], '1', 'many'), (SELECT count(*) FROM fa_message) AS before;
SELECT count(*) FROM fa_receive(:b);
SELECT count(*) FROM fa_receive(:c);
SELECT pg_temp.raises(format('SELECT fa_send_many(%s, ARRAY[%s, %s], ''1'', ''many'')', :a, :c, :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', '''')', :a, :b));

-- an observation goes to the inbox, with the message or not at all
SELECT fa_send(:a, :b, '"look"', 'seen', observation => '{4}') = fa_send(:a, :b, '"look"', 'seen', observation => '{4}') AS same;
SELECT pg_temp.agent(agent_id), observation FROM fa_observation;
SELECT step FROM fa_step(:b);
SELECT count(*) FROM fa_observation;
SELECT fa_send_many(:a, ARRAY[:c, :c], '"look"', observation => '{NULL}');
SELECT pg_temp.agent(agent_id), observation FROM fa_observation;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', observation => ''{9}'')', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', observation => ''{1,1}'')', :a, :b));
SELECT body FROM fa_receive(:b);
SELECT body FROM fa_receive(:c);

-- odd bodies come as they were
SELECT fa_send(:a, :b, body) IS NOT NULL AS sent FROM unnest(ARRAY['{}', '""', '{"": {"''; DROP TABLE": "日本 \\ \" é"}}', '1e300', '[[[[]]]]']::jsonb[]) AS body;
SELECT fa_send(:a, :b, to_jsonb(repeat(md5('x'), 40000))) IS NOT NULL AS sent;
SELECT body FROM fa_receive(:b, 5);
SELECT length(body::text), md5(body #>> '{}') = md5(repeat(md5('x'), 40000)) AS same FROM fa_receive(:b);

-- what is refused
SELECT pg_temp.raises(format('SELECT fa_send(NULL, %s, ''1'')', :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, NULL, ''1'')', :a));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, NULL)', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send_many(%s, ARRAY[%s, NULL], ''1'')', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send_many(%s, NULL, ''1'')', :a));
SELECT pg_temp.raises(format('SELECT fa_send(0, %s, ''1'')', :b));
SELECT pg_temp.raises(format('SELECT fa_send(%s, 0, ''1'')', :a));
SELECT pg_temp.raises(format('SELECT fa_send_many(%s, ARRAY[%s, 9223372036854775807], ''1'')', :a, :b));
SELECT pg_temp.raises('SELECT fa_receive(0)');
BEGIN READ ONLY;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_receive(%s)', :b));
COMMIT;
SELECT count(*) FROM fa_message;

-- a full inbox says so, also within one call; another agent's is not
SET fa_agents.mailbox_limit = 3;
SELECT fa_send(:a, :b, to_jsonb(i), priority => i) IS NOT NULL AS sent FROM generate_series(0, 2) i;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :a, :b));
SELECT pg_temp.raises(format('SELECT fa_send_many(%s, ARRAY[%s, %2$s, %2$s, %2$s], ''1'')', :a, :c));
SELECT fa_send_many(:a, ARRAY[:c, :c, :c], '1');
SELECT body FROM fa_receive(:b, 1);
SELECT fa_send(:a, :b, '"room"') IS NOT NULL AS sent;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :a, :b));
RESET fa_agents.mailbox_limit;
SELECT fa_send(:a, :b, '"more"') IS NOT NULL AS sent;
-- also one that was counted when it was nearly empty
SET fa_agents.mailbox_limit = 100;
SELECT count(fa_send(:a, :d, to_jsonb(i))) FROM generate_series(1, 100) i;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :a, :d));
-- what a call has sent itself is no room for the next
SELECT count(*) FROM fa_receive(:d, 1000);
SET fa_agents.mailbox_limit = 16;
SELECT fa_send_many(:a, array_fill(:d::bigint, ARRAY[15]), '1');
SELECT fa_send(:a, :d, '1') IS NOT NULL AS sent;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :a, :d));
RESET fa_agents.mailbox_limit;
SELECT count(*) FROM fa_receive(:b) x, fa_receive(:c) y;
SELECT count(*) FROM fa_receive(:d, 1000);
SELECT count(*) FROM fa_message;

-- what waits too long becomes a dead letter, whoever meets it
SELECT fa_send_many(:a, ARRAY[:b, :c], '"old"') AS sent;
UPDATE fa_message SET sent_at = sent_at - interval '8 days';
SELECT fa_send(:a, :b, '"new"') IS NOT NULL AS sent;
SELECT body FROM fa_receive(:b, 1);
SELECT pg_temp.agent(sender) AS sender, pg_temp.agent(recipient) AS recipient, body, reason FROM fa_dead_letter;
SELECT fa_message_expire();
SELECT pg_temp.agent(sender) AS sender, pg_temp.agent(recipient) AS recipient, body, reason FROM fa_dead_letter ORDER BY message_id;
SELECT fa_message_expire();
-- as many dead letters are kept as is set, and for as long
SET fa_agents.dead_letter_limit = 2;
SELECT fa_send_many(:a, ARRAY[:b, :c, :d], '"late"') AS sent;
UPDATE fa_message SET sent_at = sent_at - interval '8 days';
SELECT fa_message_expire();
SELECT count(*), count(*) FILTER (WHERE body = '"late"') AS late FROM fa_dead_letter;
SET fa_agents.dead_letter_limit = 0;
SELECT fa_message_expire(), (SELECT count(*) FROM fa_dead_letter) AS before;
SELECT count(*) FROM fa_dead_letter;
RESET fa_agents.dead_letter_limit;

-- the floor: nothing is passed by twice, and nothing is missed
-- (it is raised in steps of 512 ids or more)
SELECT count(fa_send(:a, :b, to_jsonb(i))) FROM generate_series(1, 5) i, setval('fa_message_id_seq', 10000 + i * 1000);
SELECT count(*) FROM fa_receive(:b, 3);
SELECT floor < next_floor AS noted FROM fa_mailbox WHERE agent_id = :b;
SELECT count(*) FROM fa_receive(:b, 1);
SELECT floor = (SELECT min(message_id) - 2000 FROM fa_message) AS raised FROM fa_mailbox WHERE agent_id = :b;
SELECT count(*) FROM fa_receive(:b, 1);
SELECT count(*) FROM fa_message;

-- leaves: 131,072 ids each, in turns; those that are empty again are truncated, what is left in them moves on
SELECT setval('fa_message_id_seq', 131072 - 2) IS NOT NULL AS leap;
SELECT fa_send_many(:a, ARRAY[:b, :c, :d], '"around"');
SELECT message_id, recipient, leaf FROM pg_temp.waiting;
SELECT pg_relation_size('fa_message_0') > 0 AS leaf_0, pg_relation_size('fa_message_1') > 0 AS leaf_1, pg_relation_size('fa_message_2') > 0 AS leaf_2;
SELECT count(*) FROM fa_receive(:c);
-- the last leaf becomes current: leaf 0 is the next one
SELECT setval('fa_message_id_seq', 2 * 131072 - 1) IS NOT NULL AS leap;
SELECT fa_send(:a, :c, '"last"');
SELECT message_id, recipient, leaf, body FROM pg_temp.waiting;
SELECT pg_relation_size('fa_message_0') > 0 AS leaf_0, pg_relation_size('fa_message_1') > 0 AS leaf_1, pg_relation_size('fa_message_2') > 0 AS leaf_2;
SELECT count(*) FROM fa_receive(:d);
-- the order of ids is kept
SELECT setval('fa_message_id_seq', 3 * 131072 - 1) IS NOT NULL AS leap;
SELECT fa_send(:a, :b, '"next"');
SELECT message_id, recipient, leaf, body FROM pg_temp.waiting;
SELECT pg_relation_size('fa_message_0') > 0 AS leaf_0, pg_relation_size('fa_message_1') > 0 AS leaf_1, pg_relation_size('fa_message_2') > 0 AS leaf_2;
SELECT body FROM fa_receive(:b);
SELECT body FROM fa_receive(:c);
-- not in a transaction that is undone, nor under a snapshot that lasts
SELECT fa_send(:a, :b, '"stays"') IS NOT NULL AS sent;
SELECT setval('fa_message_id_seq', 4 * 131072 - 1) IS NOT NULL AS leap;
BEGIN;
SELECT count(*) FROM fa_receive(:b);
SELECT fa_send(:a, :b, '"undone"');
ROLLBACK;
SELECT body FROM fa_receive(:b);
SELECT setval('fa_message_id_seq', 5 * 131072 - 1) IS NOT NULL AS leap;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT fa_send(:a, :b, '"kept"');
COMMIT;
SELECT pg_relation_size('fa_message_0') > 0 AS leaf_0, pg_relation_size('fa_message_1') > 0 AS leaf_1, pg_relation_size('fa_message_2') > 0 AS leaf_2;
-- leftovers that are too old, or without an agent, do not move on
INSERT INTO fa_message SELECT :c, message_id - 1, sender, sent_at - interval '8 days', priority, leaf, '"old"' FROM fa_message;
INSERT INTO fa_message SELECT 0, message_id - 2, sender, sent_at, priority, leaf, '"astray"' FROM fa_message WHERE body = '"kept"';
SELECT setval('fa_message_id_seq', 7 * 131072 - 1) IS NOT NULL AS leap;
SELECT fa_send(:a, :d, '"lap"') IS NOT NULL AS sent;
SELECT recipient, leaf, body FROM pg_temp.waiting;
SELECT body, reason FROM fa_dead_letter ORDER BY message_id;

-- agents that go leave their messages to nobody
SELECT fa_coalition_create('message all', ARRAY[:a, :b, :d]) IS NOT NULL AS made;
SELECT fa_agent_drop(ARRAY[:b]);
SELECT recipient, body FROM pg_temp.waiting;
SELECT body, reason FROM fa_dead_letter ORDER BY message_id;
SELECT count(*) FROM fa_mailbox WHERE agent_id = :b;
SELECT pg_temp.raises(format('SELECT fa_receive(%s)', :b));
SELECT fa_agent_drop(ARRAY[:a]);
SELECT body FROM fa_receive(:d);

-- the settings
SELECT name, setting, unit, context FROM pg_settings WHERE name ~ '^fa_agents\.(mailbox|message|dead)' ORDER BY name;

SELECT fa_coalition_dissolve('message all');
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT fa_model_drop('message');
TRUNCATE fa_dead_letter;
DROP VIEW pg_temp.waiting;
