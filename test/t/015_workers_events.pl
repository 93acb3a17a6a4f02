# Agents that step when an observation arrives, on whatever way it came.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_prepared_transactions = 5
restart_after_crash = on
fa_agents.max_workers = 2
fa_agents.sweep_interval = 1h
});
sub sql { return $node->safe_psql('postgres', shift); }
sub set { $node->append_conf('postgresql.conf', shift); $node->reload; }

sql(q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('window', '{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}');
	SELECT count(*) FROM fa_agent_create_many('window', 6000);
	SELECT fa_schedule_create('seen', 'window', deadline => '1 day')});
sub all_seen { my $name = shift; comes_true($node, 'count(*) = 0 FROM fa_observation', $name); }
my $made = 'SELECT sum(step) FROM fa_belief';

sql("SELECT fa_observe(1, '{0}')");
all_seen('an observation is seen');
is(sql('SELECT step FROM fa_belief WHERE agent_id = 1'), 1, 'by one step');
is(sql($made), 1, 'of that agent alone');
sql("SELECT fa_observe(2, '{0}'); SELECT fa_observe(2, '{1}'); SELECT fa_observe(2, '{0}')");
all_seen('observations that come one after another');
is(sql('SELECT step FROM fa_belief WHERE agent_id = 2'), 3, 'make a step each');
sql("BEGIN; SELECT fa_observe(3, '{0}'); SELECT fa_observe(3, '{1}'); COMMIT; BEGIN; SELECT fa_observe(4, '{0}'); ROLLBACK");
all_seen('two in a transaction');
is(sql($made), 6, 'also make a step each, and a rolled back one none');
sql("SELECT count(fa_observe(agent_id, '{1}')) FROM fa_agent");
all_seen('more than the ring can hold');
is(sql($made), 6006, 'each makes a step');
is(sql("SELECT steps, late, errors, p50 IS NOT NULL, state FROM fa_schedule_status"), '6006|0|0|t|running', 'steps are counted');

# who is paused is not stepped, and not forgotten
sql("SELECT fa_agent_pause('{5}'); SELECT fa_observe(5, '{0}')");
sql("SELECT fa_observe(6, '{0}')");
comes_true($node, 'count(*) = 1 FROM fa_observation', 'another is stepped');
sleep 0.3;
is(sql('SELECT agent_id FROM fa_observation'), 5, 'a paused agent is not');
sql("SELECT fa_agent_resume('{5}')");
all_seen('a resumed agent is');
is(sql('SELECT count(*) FROM fa_retry'), 0, 'without fault');

# an observation that came on another way
sql(q{BEGIN; SELECT fa_observe(7, '{0}'); PREPARE TRANSACTION 'later'});
sleep 0.3;
is(sql('SELECT step FROM fa_belief WHERE agent_id = 7'), 1, 'not yet');
sql(q{COMMIT PREPARED 'later'});
all_seen('COMMIT PREPARED');
is(sql('SELECT step FROM fa_belief WHERE agent_id = 7'), 2, 'COMMIT PREPARED makes a step');
my $row = sql("BEGIN; SELECT fa_observe(8, '{0}'); COPY fa_observation TO STDOUT; ROLLBACK");
$row = (split /\n/, $row)[-1];
append_to_file($node->basedir . '/copy', "$row\n");
sql("COPY fa_observation FROM '" . $node->basedir . "/copy'");
all_seen('COPY');
is(sql('SELECT step FROM fa_belief WHERE agent_id = 8'), 2, 'COPY makes a step');
# nothing tells of rows that somebody inserts by hand: a search finds them
set('fa_agents.sweep_interval = 1s');
sql("SELECT fa_observe(9, '{0}')");
all_seen('the interval has been read');
sql(q{CREATE TEMP TABLE t (LIKE fa_observation); COPY t FROM '} . $node->basedir . q{/copy';
	INSERT INTO fa_observation SELECT * FROM t});
all_seen('INSERT by hand');

# what was under way in a crash is found after it
set('fa_agents.sweep_interval = 1h');
sql("SELECT fa_worker_stop(); SELECT count(fa_observe(agent_id, '{1}')) FROM fa_agent");
my $before = sql($made);
my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'fa_agents launcher'");
kill 'KILL', $pid;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
all_seen('after a crash');
is(sql($made), $before + 6000, 'each is stepped once');

# an observation that an agent cannot have
my $steps_before = sql('SELECT sum(step) - (SELECT steps FROM fa_schedule_status) FROM fa_belief');
sql(q{CREATE TEMP TABLE t (LIKE fa_observation); COPY t FROM '} . $node->basedir . q{/copy'; UPDATE t SET observation = '{7}';
	INSERT INTO fa_observation SELECT * FROM t});
sql("SELECT fa_observe(10, '{0}'), fa_observe(8, '{0}')");
comes_true($node, 'count(*) = 1 FROM fa_retry', 'who cannot be stepped is found');
is(sql('SELECT agent_id, error FROM fa_retry'), '8|outcome 7 of modality "modality_0" is out of range for agent 8', 'and the reason kept');
comes_true($node, 'count(*) = 0 FROM fa_observation WHERE agent_id = 10', 'the other is stepped');
comes_true($node, "errors > 0 AND steps = (SELECT sum(step) FROM fa_belief) - $steps_before FROM fa_schedule_status", 'it counts as an error and not as a step');
sql("DELETE FROM fa_observation WHERE agent_id = 8; SELECT fa_agent_resume('{8}')");

# one who holds an agent's row stops nobody else's agents
sql("BEGIN; SELECT fa_step(13, '{0}'); PREPARE TRANSACTION 'holder'");
sql("SELECT fa_observe(13, '{0}'), fa_observe(14, '{0}'), fa_observe(15, '{0}')");
comes_true($node, 'count(*) = 0 FROM fa_observation WHERE agent_id IN (14, 15)', 'others are stepped');
comes_true($node, "bool_and(agent_id = 13 AND sqlstate = '55P03' AND next_try < 'infinity') FROM fa_retry", 'who is held is tried again later');
sql("COMMIT PREPARED 'holder'");
all_seen('who was held is stepped');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'and is well');
# nor does one whose commit fails
sql(q{CREATE FUNCTION come_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too late'; END $$;
	CREATE CONSTRAINT TRIGGER come_late AFTER UPDATE ON fa_belief DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.agent_id = 16) EXECUTE FUNCTION come_late();
	SELECT count(fa_observe(agent_id, '{0}')) FROM fa_agent WHERE agent_id BETWEEN 14 AND 90});
comes_true($node, 'count(*) = 1 AND min(agent_id) = 16 FROM fa_observation', 'the others of the batch are stepped');
comes_true($node, "count(*) = 1 AND min(agent_id) = 16 AND min(error) = 'too late' FROM fa_retry", 'whose commit fails is tried again later');
sql('DROP TRIGGER come_late ON fa_belief');
all_seen('it is stepped when its trouble is over');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'and is well');
# a worker that leaves while its batch is done one by one puts back what it has taken
set('fa_agents.worker_steps = 1');
sql(q{CREATE TRIGGER come_to_grief BEFORE UPDATE ON fa_belief FOR EACH ROW WHEN (new.agent_id = 16) EXECUTE FUNCTION come_late();
	SELECT count(fa_observe(agent_id, '{0}')) FROM fa_agent WHERE agent_id BETWEEN 14 AND 90});
comes_true($node, 'count(*) = 1 FROM fa_observation', 'what it has taken is stepped by others');
sql('DROP TRIGGER come_to_grief ON fa_belief');
all_seen('and what has failed, later');
set('fa_agents.worker_steps = 0');
# nor does one who is about to change a schedule
sql(q{SELECT fa_model_create('other', '{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}');
	SELECT fa_agent_create('other'); SELECT fa_schedule_create('rare', 'other', '1 day')});
my $coordinator = sql("SELECT pid FROM fa_worker WHERE role = 'coordinator'");
sql("BEGIN; SELECT fa_schedule_pause('rare'); PREPARE TRANSACTION 'pauser'");
sql("SELECT count(*) FROM fa_agent_create_many('other', 3000)");
sleep 2;
is(sql("SELECT pid FROM fa_worker WHERE role = 'coordinator'"), $coordinator, 'the coordinator does not wait for it');
sql("ROLLBACK PREPARED 'pauser'; SELECT fa_schedule_drop('rare')");

# who listens is told once a commit, where that is wanted
my $listen = q{LISTEN fa_agents; BEGIN; SELECT fa_observe(11, '{0}'), fa_observe(12, '{0}'); COMMIT; SELECT pg_sleep(1); SELECT 1};
unlike(sql($listen), qr/notification/, 'nobody is told');
set('fa_agents.notify = on');
sleep 0.5;
my @told = sql($listen) =~ /Asynchronous notification "fa_agents"/g;
is(scalar @told, 1, 'one is told, once for two agents');
all_seen('all is seen');

# a long inbox is read once, however often the ring runs over meanwhile; and what
# nobody is to step lies there without being read again
my $read = q{(SELECT idx_scan FROM pg_stat_user_indexes WHERE relname = 'fa_observation')};
$before = sql("SELECT $read");
sql(q{SELECT count(fa_observe(id, '{1}')) FROM fa_agent_create_many('window', 40000) AS id});
all_seen('ten times as many as the ring can hold');
comes_true($node, "$read > $before + 40000", 'what was read is counted');
sleep 2;
cmp_ok(sql("SELECT $read") - $before, '<', 8 * 40000, 'they are looked for some times each');
sql(q{SELECT fa_model_create('unseen', (SELECT spec FROM fa_model WHERE name = 'window' LIMIT 1));
	SELECT count(fa_observe(id, '{1}')) FROM fa_agent_create_many('unseen', 10000) AS id});
sleep 3;
$before = sql("SELECT $read");
sleep 3;
cmp_ok(sql("SELECT $read") - $before, '<', 10000, 'what is for nobody is not looked for all the time');

# one at a time reads it, whatever happens meanwhile; and who cannot says so
set('fa_agents.min_workers = 2');
sql("SELECT fa_model_create('empty', fa_spec_grid(4, 4))");
comes_true($node, "count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'fa_agents worker'", 'there are two workers');
my $offset = -s $node->logfile;
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE fa_observation');
my $most = 0;
foreach my $i (1 .. 20)
{
	sql("SELECT fa_schedule_create('another $i', 'empty', '1 day')");
	sleep 0.1;
	my $readers = sql(q{SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE NOT granted AND backend_type = 'fa_agents worker' AND query = 'steps agents that were observed'});
	$most = $readers if $readers > $most;
}
is($most, 1, 'one reads the inbox');
ok($node->wait_for_log(qr/cannot step agents at the moment: canceling statement due to lock timeout/, $offset), 'who cannot read it says so');
sql("SELECT fa_schedule_drop('another ' || i) FROM generate_series(1, 20) i");
$holder->query_safe("COMMIT");
$holder->quit;
sql("SELECT fa_observe(1, '{0}')");
comes_true($node, 'count(*) = 0 FROM fa_observation WHERE agent_id = 1', 'it is read when it can be');
$node->stop('fast');

done_testing();
