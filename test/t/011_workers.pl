# Agents step by themselves: the processes that step them are seen, grow and
# shrink with the work, come back when they are ended, and obey.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
fa_agents.max_workers = 4
});

sub set { $node->append_conf('postgresql.conf', shift); $node->reload; }
my $workers = "(SELECT count(*) FROM fa_worker WHERE role = 'worker')";

$node->safe_psql('postgres', $busy);
goes_on($node, 'postgres', 'a schedule was made');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT backend_type, ',' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type ~ '^fa_agents'"),
	'fa_agents coordinator,fa_agents launcher,fa_agents worker', 'the processes are seen');
# (named from 17 on)
comes_true($node, "wait_event_type = 'Extension' AND wait_event = CASE WHEN current_setting('server_version_num')::int >= 170000 THEN 'FaAgentsLauncher' ELSE 'Extension' END"
	. " FROM pg_stat_activity WHERE backend_type = 'fa_agents launcher'", 'the launcher is seen to wait');
comes_true($node, "$workers > 1", 'the pool grows under load');
comes_true($node, "count(*) > 0 FROM fa_worker WHERE role = 'worker' AND state = 'stepping' AND batch > 0", 'a worker is seen with its batch');
is($node->safe_psql('postgres', "SELECT DISTINCT state FROM fa_worker WHERE role = 'coordinator'"), 'idle', 'the coordinator has none');
is($node->safe_psql('postgres', "SELECT count(*) FROM fa_worker WHERE state NOT IN ('starting', 'idle', 'stepping')"), 0, 'there are no other states');
is($node->safe_psql('postgres', q{SELECT steps > 0 AND p50 <= p99 AND state = 'running' AND due IS NOT NULL FROM fa_schedule_status}), 't', 'the status is seen');

is($node->safe_psql('postgres', 'SELECT measure, unit, warn, critical FROM fa_health'), "cpu|%|80|95\nmemory|%|70|85\nresponse|ms|500|1000\nerrors|%|1|5", 'health is measured');
# (how much of the time depends on what else the machine does)
comes_true($node, "value > 20 AND value <= 100 FROM fa_health WHERE measure = 'cpu'", 'workers are at work');
is($node->safe_psql('postgres', "SELECT value > 0 AND value < 100 FROM fa_health WHERE measure = 'memory'"), 't', 'their memory is seen');
is($node->safe_psql('postgres', "SELECT value, state FROM fa_health WHERE measure = 'errors'"), '0|ok', 'nobody fails');
for my $case ([ 1e9, 1e9, 'ok' ], [ 0, 1e9, 'warn' ], [ 0, 0, 'critical' ])
{
	is($node->safe_psql('postgres', "SET fa_agents.response_warn = $case->[0]; SET fa_agents.response_critical = $case->[1]; SELECT state FROM fa_health WHERE measure = 'response'"),
		$case->[2], "a threshold decides: $case->[2]");
}

# each kind of process is terminated and comes back; a batch is only undone
for my $case ([ 'worker', 1 ], [ 'coordinator', 1 ], [ 'launcher', 1 ], [ 'worker', 0 ], [ 'coordinator', 0 ], [ 'launcher', 0 ])
{
	my ($kind, $by_sql) = @$case;
	my $pid = $node->safe_psql('postgres', "SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'fa_agents $kind'");

	if ($by_sql) { $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"); }
	else { kill 'TERM', $pid; }
	comes_true($node, "count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'fa_agents $kind' AND pid <> $pid",
		"$kind: comes back after " . ($by_sql ? 'pg_terminate_backend' : 'SIGTERM'));
	goes_on($node, 'postgres', "$kind was terminated");
}
# nobody is there twice: not after the launcher came back, nor after another owner did
$node->safe_psql('postgres', 'CREATE ROLE heir SUPERUSER; ALTER DATABASE postgres OWNER TO heir');
goes_on($node, 'postgres', 'the database has another owner');
is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE backend_type = 'fa_agents launcher'), count(*) FILTER (WHERE backend_type = 'fa_agents coordinator') FROM pg_stat_activity"),
	'1|1', 'one launcher and one coordinator');
comes_true($node, "count(*) = 0 FROM fa_worker w WHERE state <> 'starting' AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = w.pid)", 'no slot is kept for who has gone');
# a worker needs no more memory for many batches than for some
my $memory = "SELECT value FROM fa_health WHERE measure = 'memory'";
my $before_many = $node->safe_psql('postgres', $memory);
my $made = $node->safe_psql('postgres', $steps);
comes_true($node, "sum(step) > $made + 100000 FROM fa_belief", 'many batches');
cmp_ok($node->safe_psql('postgres', $memory), '<', $before_many + 1, 'memory does not grow with them: by less than a hundredth of the limit');
is($node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM fa_worker WHERE role = 'worker' LIMIT 1"), 't', 'a batch is cancelled');
goes_on($node, 'postgres', 'a batch was cancelled');

# the pool follows the settings, and tells each change in one line
set('fa_agents.max_workers = 1');
comes_true($node, "$workers = 1", 'a reload shrinks the pool');
goes_on($node, 'postgres', 'the pool was shrunk');
set('fa_agents.max_workers = 3');
comes_true($node, "$workers = 3", 'a reload lets it grow');
cmp_ok(logged($node, 'workers of fa_agents in database "postgres": 3, were 2'), '<=', 3, 'each change is told once');
set('fa_agents.databases = other');
comes_true($node, "count(*) = 0 FROM fa_worker WHERE database = 'postgres'", 'nobody stays where agents are not to run');
stands_still($node, 'postgres', 'another database was named');
set("fa_agents.databases = ''");
goes_on($node, 'postgres', 'every database may have agents');

# a worker that has done so much, or grown so large, is replaced
for my $limit ('fa_agents.worker_steps = 1', 'fa_agents.worker_memory = 1MB')
{
	comes_true($node, "$workers > 0", 'there are workers');
	set($limit);
	my $pids = $node->safe_psql('postgres', "SELECT COALESCE(array_agg(pid), '{}') FROM fa_worker WHERE role = 'worker'");
	comes_true($node, "count(*) = 0 FROM fa_worker WHERE pid = ANY ('$pids')", "$limit: workers are replaced");
	goes_on($node, 'postgres', $limit);
	set($limit =~ /steps/ ? 'fa_agents.worker_steps = 0' : 'fa_agents.worker_memory = 128MB');
}

# by hand
goes_on($node, 'postgres', 'workers are not replaced any more');
is($node->safe_psql('postgres', 'SELECT fa_worker_drain()'), 't', 'drained');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_worker'), 0, 'nobody runs');
stands_still($node, 'postgres', 'drained');
is($node->safe_psql('postgres', 'SELECT fa_worker_stop()'), 'f', 'was stopped already');
is($node->safe_psql('postgres', 'SELECT fa_worker_start()'), 't', 'started');
goes_on($node, 'postgres', 'started by hand');
is($node->safe_psql('postgres', 'SELECT fa_worker_stop()'), 't', 'stopped');
stands_still($node, 'postgres', 'stopped');
$node->safe_psql('postgres', 'SELECT fa_worker_start()');
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN');
like(($node->psql('postgres', 'SET ROLE guest; SELECT fa_worker_stop()'))[2], qr/permission denied/, 'who may not stop them');

# paused, resumed; agents too
is($node->safe_psql('postgres', "SELECT fa_schedule_pause('busy')"), 't', 'paused');
stands_still($node, 'postgres', 'paused');
is($node->safe_psql('postgres', "SELECT fa_schedule_resume('busy'), fa_schedule_resume('busy')"), 't|f', 'resumed');
goes_on($node, 'postgres', 'resumed');
$node->safe_psql('postgres', 'SELECT fa_agent_pause(array_agg(agent_id)) FROM fa_agent');
stands_still($node, 'postgres', 'all agents are paused');
$node->safe_psql('postgres', 'SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_agent');
goes_on($node, 'postgres', 'agents were resumed');

# statistics of dropped schedules make room for new ones
$node->safe_psql('postgres', "SELECT fa_schedule_create('s' || i, 'grid', '1 ms') FROM generate_series(1, 5) AS i");
comes_true($node, 'count(*) = 6 FROM fa_schedule_counters()', 'each schedule is counted');
$node->safe_psql('postgres', "SELECT fa_schedule_drop(name) FROM fa_schedule WHERE name <> 'busy'");
comes_true($node, 'count(*) = 1 FROM fa_schedule_counters()', 'dropped schedules are forgotten');

# the pool shrinks where there is little to do, but not below its minimum
comes_true($node, "$workers > 1", 'the pool is large under load');
$node->safe_psql('postgres', "SELECT fa_schedule_drop('busy'), fa_schedule_create('busy', 'grid', '10 s')");
set('fa_agents.min_workers = 2');
comes_true($node, "$workers = 2", 'little to do: as many workers as there are to be');
set('fa_agents.min_workers = 0');
comes_true($node, "$workers = 1", 'little to do: the pool shrinks to one');

# nothing is scheduled: nobody stays
$node->safe_psql('postgres', "SELECT fa_schedule_drop('busy')");
comes_true($node, 'count(*) = 0 FROM fa_worker', 'nobody stays where nothing is scheduled');

# what is due rarely needs nobody until then, and nobody is woken: the launcher
# sleeps until the time has come, or somebody changes something
$node->safe_psql('postgres', "SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE agent_id > 32;
	SELECT fa_schedule_create('rare', 'grid', '1 day')");
comes_true($node, 'count(*) = 0 FROM fa_worker', 'nobody stays where nothing is due for long');
my $launcher = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'fa_agents launcher'");
sub switches { return join ',', map { /ctxt_switches:\s+(\d+)/ ? $1 : () } split /\n/, slurp_file("/proc/$launcher/status"); }
my $before = switches();
sleep 3;
is(switches(), $before, 'the launcher sleeps');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_worker'), 0, 'and nobody else runs');
$node->safe_psql('postgres', "SELECT fa_schedule_create('soon', 'grid', '100 ms')");
goes_on($node, 'postgres', 'somebody changed something');

# no worker has lost its temper
is(logged($node, qr/ERROR:(?!  permission denied|  canceling)/), 0, 'no errors in the log');
$node->stop('fast');

done_testing();
