# Who waits holds up nobody who computes, nor the other way round; members of one
# role act each by what he has named; owners who may not act any more.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
fa_agents.max_workers = 1
fa_agents.max_sensor_workers = 1
fa_agents.retry_delay = 20
fa_agents.max_failures = 3
});

$node->safe_psql('postgres', "$acting;
	CREATE ROLE family;
	CREATE ROLE ann LOGIN IN ROLE family; CREATE ROLE bob LOGIN IN ROLE family;
	GRANT ALL ON SCHEMA public TO ann, bob, family");
for my $role ('ann', 'bob')
{
	$node->safe_psql('postgres', "SET ROLE $role; SELECT fa_model_create('$role', fa_spec_grid(2, 2)); SELECT fa_agent_create('$role', '$role');
		SELECT fa_actuator_set('$role', 'act(bigint[], int[])'); SELECT fa_schedule_create('$role', '$role', '20 ms')");
}
$node->safe_psql('postgres', "SELECT fa_schedule_pause('bob')");
# one who waits holds up nobody who computes, and nobody who computes holds him up
$node->safe_psql('postgres', "TRUNCATE seen; INSERT INTO todo VALUES ('ann', 'SELECT pg_sleep(100)'); SELECT fa_model_create('grid', fa_spec_grid(4, 4)); SELECT count(*) FROM fa_agent_create_many('grid', 500); SELECT fa_schedule_create('busy', 'grid', '1 ms')");
comes_true($node, "(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep') = 1", 'one waits');
is_now($node, "state || ' ' || batch FROM fa_worker WHERE role = 'sensor worker'", 'stepping 1', 'fa_worker shows who is in a batch');
is_now($node, "state FROM fa_worker WHERE role = 'coordinator'", 'idle', 'and who is not');
goes_on($node, 'postgres', 'while it waits');
goes_on($node, 'postgres', 'and still');
is_now($node, "count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", 1, 'it waits all the same');
$node->safe_psql('postgres', "DELETE FROM todo; SELECT pg_cancel_backend(pid) FROM fa_worker WHERE role = 'sensor worker'");
comes_true($node, 'count(*) > 10 FROM seen', 'who computes without end does not hold up who acts');

# the server has one slot too few: one for each class in turn, or a coordinator computes
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
goes_on($node, 'postgres', 'with few slots');
$node->safe_psql('postgres', 'TRUNCATE seen');
comes_true($node, 'count(*) > 10 FROM seen', 'with few slots: and act');

# a model of a family: each member's agents by what he has named himself, in schedules of his own
$node->safe_psql('postgres', "SELECT fa_schedule_drop('busy'); SET ROLE family; SELECT fa_model_create('shared', fa_spec_grid(2, 2)); SELECT fa_agent_create('shared', 'nobody''s')");
$node->safe_psql('postgres', "SELECT fa_schedule_pause('ann'); TRUNCATE seen");
$node->safe_psql('postgres', "SET ROLE $_; SELECT fa_agent_create('shared', '$_''s')") for 'ann', 'bob';
$node->safe_psql('postgres', "SET ROLE family; SELECT fa_actuator_set('shared', 'act(bigint[], int[])')");
$node->safe_psql('postgres', "SET ROLE ann; SELECT fa_schedule_create('hers', 'shared', '20 ms')");
my $step = "FROM fa_belief JOIN fa_agent USING (agent_id) WHERE name =";
comes_true($node, "step > 10 $step 'ann''s'", "ann's agent steps");
is_now($node, 'count(*) FROM seen', 0, 'without what the owner of the model has named for his own');
is_now($node, "step $step 'nobody''s'", 0, 'and his own is left to him');
is_now($node, "step $step 'bob''s'", 0, "nor is bob's touched");
$node->safe_psql('postgres', "SET ROLE bob; SELECT fa_actuator_set('shared', 'act(bigint[], int[])'); SELECT fa_schedule_create('his', 'shared', '20 ms')");
comes_true($node, "count(*) > 5 FROM seen WHERE session = 'bob'", "bob's acts as bob");
my $before = $node->safe_psql('postgres', "SELECT step $step 'ann''s'");
comes_true($node, "step > $before + 5 $step 'ann''s'", "ann's goes on");
is_now($node, "count(*) FROM seen WHERE session <> 'bob'", 0, 'and nobody acts as another');
is_now($node, "step $step 'nobody''s'", 0, "bob's schedule leaves the family's agent alone, too");

# nor does a failure that was noted before he named his: it is forgotten
$node->safe_psql('postgres', "SELECT fa_schedule_create('mine', 'shared', '1 day'), fa_schedule_pause('his')");
$before = $node->safe_psql('postgres', "SELECT step $step 'bob''s'");
$node->safe_psql('postgres', "INSERT INTO fa_retry SELECT agent_id, schedule_id, 1, now(), '', 'P0001' FROM fa_agent a, fa_schedule s WHERE a.name = 'bob''s' AND s.name = 'mine'");
comes_true($node, 'count(*) = 0 FROM fa_retry', 'an agent that failed under a schedule that may not step it any more is forgotten');
is_now($node, "step $step 'bob''s'", $before, 'and not stepped by it');
$node->safe_psql('postgres', "SELECT fa_schedule_drop('mine'), fa_schedule_resume('his')");

# owners who may not log in, or connect, or are gone
for my $case ([ 'ALTER ROLE bob NOLOGIN', 'ALTER ROLE bob LOGIN', 'role "bob" is not permitted to log in' ],
	[ 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC', 'role "bob" is not permitted to connect to the database' ],
	[ 'DROP OWNED BY bob; DROP ROLE bob', '', 'role with OID \d+ does not exist' ])
{
	my ($bad, $good, $error) = @$case;
	$node->safe_psql('postgres', $bad);
	comes_true($node, "error IS NOT NULL FROM fa_schedule WHERE name = 'his'", "$bad: suspended");
	like($node->safe_psql('postgres', "SELECT error FROM fa_schedule WHERE name = 'his'"), qr/$error/, "$bad: with that error");
	comes_true($node, "count(*) = 0 FROM fa_worker WHERE owner = (SELECT owner FROM fa_schedule WHERE name = 'his')", "$bad: no worker runs for him");
	next if !$good;
	$node->safe_psql('postgres', "$good; SELECT fa_schedule_resume(name) FROM fa_schedule WHERE error IS NOT NULL; TRUNCATE seen");
	comes_true($node, "count(*) > 5 FROM seen WHERE session = 'bob'", "$bad: and goes on after it was mended");
}
comes_true($node, "count(*) = 0 FROM fa_sensor WHERE model = 'shared' AND owner <> 'family'::regrole", 'what one who is gone has named is gone, too');
is_now($node, 'count(*) FROM fa_sensor', 2, 'and nothing else');
is(logged($node, 'sensors and actuators of role with OID \d+ are removed'), 1, 'which is told');
cmp_ok(logged($node, 'FATAL'), '<', 10, 'the log is not flooded');
$node->stop('fast');

done_testing();
