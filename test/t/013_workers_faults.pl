# A failing agent harms itself alone: it is found, tried again after a while, and
# suspended, also where its step crashes the server.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
restart_after_crash = on
fa_agents.max_workers = 2
fa_agents.retry_delay = 20
fa_agents.max_failures = 3
});
sub set { $node->append_conf('postgresql.conf', shift); $node->reload; }

# Agents come to grief in a trigger, where a table says so.
$node->safe_psql('postgres', q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(3, 3));
	SELECT count(*) FROM fa_agent_create_many('grid', 200);
	CREATE TABLE culprit (agent_id bigint PRIMARY KEY, how text);
	CREATE FUNCTION come_to_grief() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		what text = (SELECT how FROM public.culprit c WHERE c.agent_id = new.agent_id);
	BEGIN
		CASE what
			WHEN 'sleep' THEN PERFORM pg_sleep(100);
			WHEN 'loop' THEN LOOP what := what; END LOOP;
			WHEN 'commit' THEN NULL;
			WHEN 'kill' THEN EXECUTE $kill$COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'$kill$;
			ELSE IF what IS NOT NULL THEN RAISE 'no good' USING ERRCODE = what; END IF;
		END CASE;
		RETURN new;
	END $$;
	CREATE TRIGGER come_to_grief BEFORE UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION come_to_grief();
	SELECT fa_schedule_create('often', 'grid', '20 ms');
});
goes_on($node, 'postgres', 'nobody fails');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_retry'), 0, 'and none is tried again');

# one raises an error: it is suspended, and the others of its batches go on
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (5, 'P0001')");
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 5", 'an agent that fails is suspended');
is($node->safe_psql('postgres', 'SELECT agent_id, attempts, error, sqlstate FROM fa_retry'), '5|3|no good|P0001', 'after three tries, with its error');
is($node->safe_psql('postgres', 'SELECT suspended, errors >= 3 FROM fa_schedule_status'), '1|t', 'and it is seen');
is($node->safe_psql('postgres', q{SET fa_agents.errors_warn = 1e-6; SET fa_agents.errors_critical = 1e-5; SELECT value > 0 AND value < 50, unit, state FROM fa_health WHERE measure = 'errors'}), 't|%|critical', 'also in the health of all');
is(logged($node, 'step of agent 5 failed: no good'), 1, 'the first failure is told');
is(logged($node, 'agent 5 is suspended: no good'), 1, 'and the suspension');
my $step = 'SELECT step FROM fa_belief WHERE agent_id =';
my $before = $node->safe_psql('postgres', "$step 5");
my $beside = $node->safe_psql('postgres', "$step 6");
comes_true($node, "($step 6) > $beside", 'its neighbour goes on');
is($node->safe_psql('postgres', "$step 5"), $before, 'it does not');
$node->safe_psql('postgres', 'DELETE FROM culprit');
is($node->safe_psql('postgres', "$step 5"), $before, 'nor when its trouble is over');
is($node->safe_psql('postgres', "SELECT fa_agent_resume('{5, 6}')"), 1, 'resumed by hand');
comes_true($node, "($step 5) > $before", 'then it goes on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_retry'), 0, 'and all is forgotten');

# one that fails for a while only is not suspended (on a slow machine it takes a
# while to see that it failed, and to help it)
set('fa_agents.retry_delay = 3s');
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (7, 'P0001')");
comes_true($node, 'count(*) = 1 FROM fa_retry', 'an agent fails');
$node->safe_psql('postgres', 'DELETE FROM culprit');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'and is well again');

# those that fail together do not come back together
set('fa_agents.retry_delay = 60s');
$node->safe_psql('postgres', "INSERT INTO culprit SELECT i, 'P0001' FROM generate_series(11, 40) AS i");
comes_true($node, 'count(*) = 30 FROM fa_retry', 'many fail');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT extract(epoch FROM next_try - failed_at)::int) > 5, min(next_try - failed_at) > '40 s', max(next_try - failed_at) < '80 s', max(attempts) FROM fa_retry}),
	't|t|t|1', 'they are tried again at different times, around the delay');
$node->safe_psql('postgres', 'UPDATE fa_retry SET attempts = 2, next_try = now()');
comes_true($node, 'count(*) = 30 FROM fa_retry WHERE attempts = 3', 'they are tried when it is time');
is($node->safe_psql('postgres', q{SELECT DISTINCT next_try FROM fa_retry}), 'infinity', 'and suspended');
$node->safe_psql('postgres', "DELETE FROM culprit; SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_retry");
set('fa_agents.retry_delay = 20');

# who waits for his next try is not kept from it by a pause of the schedule that
# noted it: another steps him; who is suspended stays so
set('fa_agents.retry_delay = 60s');
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (31, 'P0001')");
comes_true($node, 'count(*) = 1 FROM fa_retry', 'an agent fails once');
$node->safe_psql('postgres', q{DELETE FROM culprit; INSERT INTO fa_retry SELECT 33, schedule_id, 3, 'infinity', '', 'P0001' FROM fa_schedule;
	SELECT fa_schedule_create('second', 'grid', '20 ms'), fa_schedule_pause('often')});
is($node->safe_psql('postgres', 'SELECT agent_id FROM fa_retry'), 33, 'a pause releases those that wait');
$before = $node->safe_psql('postgres', "$step 31");
comes_true($node, "($step 31) > $before", 'another schedule goes on with them');
$node->safe_psql('postgres', "SELECT fa_schedule_drop('second'), fa_schedule_resume('often'), fa_agent_resume('{33}')");
set('fa_agents.retry_delay = 20');

# the delay doubles
set('fa_agents.max_failures = 100');
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (8, 'P0001')");
comes_true($node, 'attempts >= 6 FROM fa_retry', 'an agent fails again and again');
is($node->safe_psql('postgres', q{SELECT (next_try - failed_at) / (20 * 2 ^ (attempts - 1)) BETWEEN '0.7 ms' AND '1.35 ms' FROM fa_retry}), 't', 'the sixth delay is 32 times the first');
$node->safe_psql('postgres', "DELETE FROM culprit; SELECT fa_agent_drop('{8}')");
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_retry'), 0, 'a dropped agent is forgotten');
set('fa_agents.max_failures = 3');

# one that sleeps or loops is stopped in time
set("fa_agents.batch_timeout = 300ms");
for my $how ('sleep', 'loop')
{
	$node->safe_psql('postgres', "INSERT INTO culprit VALUES (9, '$how')");
	comes_true($node, "sqlstate = '57014' FROM fa_retry WHERE agent_id = 9 AND next_try = 'infinity'", "$how: suspended");
	goes_on($node, 'postgres', "$how: the others go on");
	$node->safe_psql('postgres', "DELETE FROM culprit; SELECT fa_agent_resume('{9}')");
}
set('fa_agents.batch_timeout = 60s');

# an error that is nobody's fault: nobody is suspended for it, it is told once,
# and if it stays with one agent the others go on
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (12, '53100')");
comes_true($node, "attempts >= 4 FROM fa_retry WHERE agent_id = 12", 'the disk is full for one agent');
isnt($node->safe_psql('postgres', 'SELECT next_try FROM fa_retry'), 'infinity', 'it is not suspended');
cmp_ok(logged($node, 'cannot step agents at the moment: no good'), '<=', 2, 'each worker tells it once');
goes_on($node, 'postgres', 'the others');
$node->safe_psql('postgres', 'DELETE FROM culprit');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'and it goes on itself');

# one whose commit fails, which tells nobody whose fault it is: each has one of its own
$node->safe_psql('postgres', q{
	CREATE FUNCTION come_late() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF EXISTS (SELECT FROM public.culprit c WHERE c.agent_id = new.agent_id AND how = 'commit') THEN RAISE 'too late'; END IF;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER come_late AFTER UPDATE ON fa_belief DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION come_late();
	INSERT INTO culprit VALUES (21, 'commit')});
$before = $node->safe_psql('postgres', "$step 21");
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 21", 'an agent whose commit fails is suspended');
is($node->safe_psql('postgres', 'SELECT agent_id, attempts, error FROM fa_retry'), '21|3|too late', 'it alone, after three tries, with that error');
cmp_ok($node->safe_psql('postgres', "$step 21"), '<=', $before + 1, 'it was not stepped');
goes_on($node, 'postgres', 'the others');
$node->safe_psql('postgres', "DELETE FROM culprit; SELECT fa_agent_resume('{21}')");
goes_on($node, 'postgres', 'all');
$node->safe_psql('postgres', 'DROP TRIGGER come_late ON fa_belief');

# a worker is killed, which restarts the server: all goes on, none is suspended
sub crashes { return logged($node, 'was terminated by signal 9'); }
my $pid = $node->safe_psql('postgres', "SELECT min(pid) FROM fa_worker WHERE role = 'worker'");
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'a worker is killed');
goes_on($node, 'postgres', 'after a crash');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'those that were in flight are stepped one by one, none is suspended');
is(crashes(), 1, 'one crash');

# an agent whose step crashes the server does so twice: with others, and alone
$node->safe_psql('postgres', "INSERT INTO culprit VALUES (14, 'kill')");
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 14", 'an agent that crashes the server is suspended');
is($node->safe_psql('postgres', 'SELECT error FROM fa_retry WHERE agent_id = 14'), 'the server crashed during its step', 'with that error');
$before = $node->safe_psql('postgres', "$step 14");
goes_on($node, 'postgres', 'the others');
comes_true($node, 'count(*) = 1 FROM fa_retry', 'those that were with it are well');
is(crashes(), 3, 'two crashes more');
is(logged($node, 'agent 14 is suspended: the server crashed during its step'), 1, 'it is told');
$node->restart;
goes_on($node, 'postgres', 'after a restart');
is($node->safe_psql('postgres', "SELECT next_try FROM fa_retry"), 'infinity', 'it stays suspended');
is($node->safe_psql('postgres', "$step 14"), $before, 'and was not stepped');
$node->safe_psql('postgres', "DELETE FROM culprit; SELECT fa_agent_resume('{14}')");
comes_true($node, "($step 14) > $before", 'resumed when its trouble is over');

# one that was alone when its process was killed has not done it, so far as is
# known; one that is alone again has
$node->safe_psql('postgres', "SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE agent_id <> 9; INSERT INTO culprit VALUES (9, 'sleep')");
my $sleeper = q{min(pid) FROM fa_worker WHERE state = 'stepping' AND batch = 1 AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')};
sub kill_sleeper
{
	comes_true($node, "count(*) > 0 FROM (SELECT $sleeper) s WHERE min IS NOT NULL", 'an agent sleeps alone');
	my $its = $node->safe_psql('postgres', "SELECT $sleeper");
	kill 'KILL', $its;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $its"), 'its process is killed');
}
kill_sleeper();
comes_true($node, "attempts = 1 AND next_try < 'infinity' FROM fa_retry WHERE agent_id = 9", 'it is tried again');
kill_sleeper();
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 9", 'and suspended, at the second time');
# nor has it, where all of the server was killed at once: then it has as many tries as with an error
$node->safe_psql('postgres', "SELECT fa_agent_resume('{9}')");
for my $attempt (1, 2)
{
	comes_true($node, "count(*) > 0 FROM (SELECT $sleeper) s WHERE min IS NOT NULL", 'an agent sleeps alone');
	kill_server($node);
	$node->start;
	comes_true($node, "attempts = $attempt AND next_try < 'infinity' FROM fa_retry WHERE agent_id = 9", "all are killed: it is tried again, $attempt");
}
$node->safe_psql('postgres', 'DELETE FROM culprit; SELECT fa_agent_resume($${9}$$)');
goes_on($node, 'postgres', 'in the end it');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'and all is forgotten');
$node->stop('fast');

done_testing();
