-- Coalitions: who is in them, and who may be written to for that.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

CREATE ROLE regress_fa_team;
CREATE ROLE regress_fa_ann IN ROLE regress_fa_team;
CREATE ROLE regress_fa_bob IN ROLE regress_fa_team;
CREATE ROLE regress_fa_zoe;
SELECT fa_model_create('coalition', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b, min(i) + 2 AS c FROM fa_agent_create_many('coalition', 3) i \gset

-- members come and go
SELECT fa_coalition_create('three', ARRAY[:c, :a, :b]) IS NOT NULL AS made;
SELECT name, rule, owner = current_user::regrole AS own, (SELECT count(*) FROM fa_coalition_member m WHERE m.coalition_id = c.coalition_id) AS members FROM fa_coalition c;
SELECT fa_coalition_leave('three', :c), fa_coalition_leave('three', :c), fa_coalition_leave('three', 0);
SELECT fa_coalition_join('three', :c), fa_coalition_join('three', :c);
SELECT fa_coalition_create('none', '{}', 'log_linear') IS NOT NULL AS made;
SELECT fa_coalition_join('none', :a);
SELECT pg_temp.raises(command) FROM unnest(ARRAY[
	'SELECT fa_coalition_create(''three'', ''{}'')', 'SELECT fa_coalition_create('''', ''{}'')',
	'SELECT fa_coalition_create(repeat(''x'', 256), ''{}'')', 'SELECT fa_coalition_create(''x'', ''{0}'')',
	'SELECT fa_coalition_create(''x'', ''{}'', ''dictator'')', format('SELECT fa_coalition_create(''x'', ARRAY[%s, %1$s])', :a),
	'SELECT fa_coalition_create(''x'', ''{NULL}'')', 'SELECT fa_coalition_join(''x'', 1)', 'SELECT fa_coalition_join(''three'', 0)',
	'SELECT fa_coalition_leave(''x'', 1)', 'SELECT fa_coalition_dissolve(''x'')',
	'SELECT fa_coalition_create(''x'', NULL)', 'SELECT fa_coalition_create(''x'', ''{}'', factors => ''{}'')']) AS command;
SELECT fa_coalition_create('it''s "日本"', '{}') IS NOT NULL AS made;
SELECT fa_coalition_dissolve('it''s "日本"');

-- a broadcast is for all others, once with a key, whoever has come since
SELECT fa_broadcast(:a, 'three', '"hello"', 'k');
SELECT fa_coalition_leave('three', :c);
SELECT fa_broadcast(:a, 'three', '"hello"', 'k'), fa_broadcast(:a, 'none', '"alone"');
SELECT agent_id - :a AS agent, sender - :a AS sender, body FROM fa_agent, fa_receive(agent_id) ORDER BY 1;
SELECT pg_temp.raises(format(command, :a, :b, :c)) FROM unnest(ARRAY[
	'SELECT fa_broadcast(%1$s, ''three'', ''"else"'', ''k'')', 'SELECT fa_broadcast(%1$s, ''none'', ''"hello"'', ''k'')',
	'SELECT fa_broadcast(%3$s, ''three'', ''1'')', 'SELECT fa_broadcast(%1$s, ''x'', ''1'')', 'SELECT fa_broadcast(0, ''three'', ''1'')',
	'SELECT fa_broadcast(%1$s, NULL, ''1'')']) AS command;
SELECT count(*) FROM fa_message;
-- agents that go leave their coalitions
SELECT fa_agent_drop(ARRAY[:b, :c]);
SELECT count(*) FROM fa_coalition_member WHERE agent_id IN (:b, :c);

-- agents of different owners write to each other where both have joined
SET ROLE regress_fa_ann;
SELECT fa_model_create('coalition ann', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT fa_agent_create('coalition ann') AS ann \gset
RESET ROLE;
SET ROLE regress_fa_bob;
SELECT fa_model_create('coalition bob', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT fa_agent_create('coalition bob') AS bob \gset
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :bob, :ann));
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :ann, :bob));
RESET ROLE;
SET ROLE regress_fa_team;
SELECT fa_coalition_create('team', '{}') IS NOT NULL AS made;
RESET ROLE;
SET ROLE regress_fa_ann;
SELECT fa_coalition_join('team', :ann);
SELECT pg_temp.raises(format('SELECT fa_coalition_join(''team'', %s)', :bob));
RESET ROLE;
SET ROLE regress_fa_bob;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :bob, :ann));
SELECT fa_coalition_join('team', :bob);
SELECT fa_send(:bob, :ann, '"hi"') IS NOT NULL AS sent, fa_send_many(:bob, ARRAY[:bob, :ann], '"both"'), fa_broadcast(:bob, 'team', '"all"');
-- but not into each other's minds, nor out of each other's mailbox
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'', observation => ''{1}'')', :bob, :ann));
SELECT pg_temp.raises(format('SELECT fa_receive(%s)', :ann));
SELECT pg_temp.raises(format('SELECT fa_broadcast(%s, ''team'', ''1'')', :ann));
-- the sender sees what waits, and whose coalition it is
SELECT recipient = :ann AS ann, body FROM fa_message ORDER BY message_id;
SELECT name FROM fa_coalition;
SELECT count(*) FROM fa_coalition_member;
SELECT pg_temp.raises(command) FROM unnest(ARRAY['SELECT * FROM fa_message_0', 'INSERT INTO fa_message SELECT * FROM fa_message', 'DELETE FROM fa_mailbox',
	'SELECT fa_message_expire()', 'TRUNCATE fa_message', 'DELETE FROM fa_coalition_member', 'SELECT nextval(''fa_message_id_seq'')']) AS command;
RESET ROLE;
SET ROLE regress_fa_zoe;
SELECT (SELECT count(*) FROM fa_message) AS messages, (SELECT count(*) FROM fa_mailbox) AS mailboxes, (SELECT count(*) FROM fa_dead_letter) AS dead,
	(SELECT count(*) FROM fa_coalition) AS coalitions, (SELECT count(*) FROM fa_coalition_member) AS members;
SELECT pg_temp.raises(format(command, :ann, :a)) FROM unnest(ARRAY['SELECT fa_coalition_leave(''team'', %s)', 'SELECT fa_coalition_dissolve(''team'')',
	'SELECT fa_coalition_join(''three'', %s)', 'SELECT fa_broadcast(%s, ''team'', ''1'')']) AS command;
RESET ROLE;
SET ROLE regress_fa_ann;
SELECT sender = :bob AS bob, body FROM fa_receive(:ann);
SELECT count(*) FROM fa_mailbox;
-- whoever has left is not written to any more
SELECT fa_coalition_leave('team', :ann);
RESET ROLE;
SET ROLE regress_fa_bob;
SELECT pg_temp.raises(format('SELECT fa_send(%s, %s, ''1'')', :bob, :ann));
SELECT fa_broadcast(:bob, 'team', '"nobody"');
RESET ROLE;

SELECT fa_coalition_dissolve(name) FROM fa_coalition;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'coalition%') m;
TRUNCATE fa_dead_letter;
DROP ROLE regress_fa_ann, regress_fa_bob, regress_fa_team, regress_fa_zoe;
