# More owners than places for their workers: who sleeps in code of his own keeps
# his place, and nobody else's.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
fa_agents.max_workers = 1
fa_agents.max_sensor_workers = 2
});
$node->safe_psql('postgres', "$acting;
	CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carl LOGIN;
	GRANT ALL ON SCHEMA public TO ann, bob, carl");
my $asleep = "(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep')";
# Agents in as many schedules, each with a turn of its own.
sub add
{
	my ($role, $schedules) = @_;

	for my $i (1 .. $schedules)
	{
		$node->safe_psql('postgres', "SET ROLE $role; SELECT fa_model_create('$role $i', fa_spec_grid(2, 2)); SELECT fa_agent_create('$role $i');
			SELECT fa_actuator_set('$role $i', 'act(bigint[], int[])'); SELECT fa_schedule_create('$role $i', '$role $i', '20 ms')");
	}
	return;
}

# ann sleeps, in the process that was started first; bob has another
$node->safe_psql('postgres', "INSERT INTO todo VALUES ('ann', 'SELECT pg_sleep(100)')");
add('ann', 1);
comes_true($node, "$asleep = 1", 'one sleeps');
add('bob', 1);
comes_true($node, "count(*) > 3 FROM seen WHERE session = 'bob'", 'another acts');
add('carl', 1);
comes_true($node, "count(*) > 3 FROM seen WHERE session = 'carl'", 'a third gets the place of who is between two batches');
my $at = $node->safe_psql('postgres', 'SELECT max(at) FROM seen');
comes_true($node, "count(DISTINCT session) = 2 FROM seen WHERE at > $at", 'which they share from then on');
is_now($node, "$asleep", 1, 'while the first sleeps');

# ann would sleep in any number of places, but one is left to who has none
$node->append_conf('postgresql.conf', 'fa_agents.max_sensor_workers = 4');
$node->reload;
$node->safe_psql('postgres', "SELECT fa_schedule_pause('bob 1'), fa_schedule_pause('carl 1')");
comes_true($node, "count(*) = 0 FROM fa_worker WHERE owner IN ('bob'::regrole, 'carl'::regrole)", 'others have left');
$node->safe_psql('postgres', "SET ROLE ann; SELECT fa_model_create('ann ' || i, fa_spec_grid(2, 2)), fa_agent_create('ann ' || i), fa_schedule_create('ann ' || i, 'ann ' || i, '20 ms') FROM generate_series(2, 8) i;
	SELECT fa_actuator_set('ann ' || i, 'act(bigint[], int[])') FROM generate_series(2, 8) i");
comes_true($node, "$asleep = 3", 'one owner gets more places than one');
sleep 2.5;
is_now($node, $asleep, 3, 'but not the last');
$node->safe_psql('postgres', "TRUNCATE seen; SELECT fa_schedule_resume('bob 1')");
comes_true($node, "count(*) > 3 FROM seen WHERE session = 'bob'", 'so another acts at once');
is_now($node, $asleep, 3, 'while all others sleep');

# who sleeps stands in nobody's way: not in that of a command that wants the database, nor of the server's stop
$node->safe_psql('postgres', 'CREATE DATABASE victim');
$node->safe_psql('victim', "$acting; GRANT ALL ON SCHEMA public TO carl; INSERT INTO todo VALUES ('carl', 'SELECT pg_sleep(100)')");
$node->safe_psql('victim', "SET ROLE carl; SELECT fa_model_create('carl', fa_spec_grid(2, 2)); SELECT fa_agent_create('carl');
	SELECT fa_actuator_set('carl', 'act(bigint[], int[])'); SELECT fa_schedule_create('carl', 'carl', '20 ms')");
comes_true($node, "count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = 'victim'", 'one sleeps in another database');
within($node, 'DROP DATABASE', 'DROP DATABASE victim');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'fast stop within 5 s');

done_testing();
