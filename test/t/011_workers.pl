# Agents step by themselves, and the processes that step them survive what a
# server goes through, and stand in the way of nothing.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'fa_agents'
max_worker_processes = 16
fa_agents.max_workers = 4
fa_agents.retry_delay = 20
});
$node->start;

# the busiest that there is: every agent is always due
my $busy = q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(4, 4));
	SELECT count(*) FROM fa_agent_create_many('grid', 2000);
	SELECT fa_schedule_create('busy', 'grid', '1 ms')};
my $steps = 'SELECT sum(step) FROM fa_belief';

# Waits until agents of a database have made more steps than they had.
sub goes_on
{
	my ($server, $database, $name) = @_;
	my $before = $server->safe_psql($database, $steps);

	ok($server->poll_query_until($database, "SELECT sum(step) > $before FROM fa_belief"), "$name: agents step");
}

# A command, which must succeed within the five seconds that it is given.
sub within
{
	my ($name, $command) = @_;
	my $start = time;
	my ($status, $out, $error) = $node->psql('postgres', $command);

	is($error, '', "$name: succeeds");
	cmp_ok(time - $start, '<', 5, "$name: within 5 s");
	note(sprintf '%s: %.2f s', $name, time - $start);
}

$node->safe_psql('postgres', $busy);
goes_on($node, 'postgres', 'a schedule was made');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT backend_type, ',' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type ~ '^fa_agents'"),
	'fa_agents coordinator,fa_agents launcher,fa_agents worker', 'the processes are seen');
ok($node->poll_query_until('postgres', q{SELECT count(*) > 1 FROM fa_worker WHERE role = 'worker'}), 'the pool grows under load');
like($node->safe_psql('postgres', q{SELECT steps > 0 AND p50 <= p99 AND state = 'running' AND due IS NOT NULL FROM fa_schedule_status}), qr/^t$/, 'the status is seen');

# a name for the database's processes is enough to empty it
for my $round (1 .. 2)
{
	$node->safe_psql('postgres', "CREATE DATABASE victim");
	$node->safe_psql('victim', $busy);
	goes_on($node, 'victim', 'another database');
	within('CREATE DATABASE ... TEMPLATE', 'CREATE DATABASE copy TEMPLATE victim');
	goes_on($node, 'victim', 'after CREATE DATABASE ... TEMPLATE');
	goes_on($node, 'copy', 'in the copy');
	within('ALTER DATABASE ... RENAME', 'ALTER DATABASE victim RENAME TO renamed');
	goes_on($node, 'renamed', 'after ALTER DATABASE ... RENAME');
	within('DROP DATABASE', $round == 1 ? 'DROP DATABASE renamed' : 'DROP DATABASE renamed WITH (FORCE)');
	within('DROP DATABASE of the copy', 'DROP DATABASE copy');
}
goes_on($node, 'postgres', 'after all that');

# a command that is refused brings no harm
my ($status, $out, $error) = $node->psql('template1', 'BEGIN; DROP DATABASE postgres');
like($error, qr/cannot run inside a transaction block/, 'DROP DATABASE in a transaction is refused');
goes_on($node, 'postgres', 'after a refused DROP DATABASE');

# DROP and CREATE EXTENSION, in one session and across two
$node->safe_psql('postgres', "DROP EXTENSION fa_agents; $busy");
goes_on($node, 'postgres', 'dropped and created in one session');
$node->safe_psql('postgres', 'DROP EXTENSION fa_agents');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('fa_agents worker', 'fa_agents coordinator')"),
	'nobody stays where there is no extension');
$node->safe_psql('postgres', $busy);
goes_on($node, 'postgres', 'created by another session');
$node->safe_psql('postgres', "BEGIN; DROP EXTENSION fa_agents; SELECT pg_sleep(0.3); ROLLBACK");
goes_on($node, 'postgres', 'DROP EXTENSION was rolled back');

# each kind of process is terminated and comes back
for my $kind ('worker', 'coordinator', 'launcher')
{
	my $pid = $node->safe_psql('postgres', "SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'fa_agents $kind'");

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'fa_agents $kind' AND pid <> $pid"),
		"$kind: comes back after pg_terminate_backend");
	goes_on($node, 'postgres', "$kind was terminated");
}
is($node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM fa_worker WHERE role = 'worker' LIMIT 1"), 't', 'a batch is cancelled');
goes_on($node, 'postgres', 'a batch was cancelled');

# the pool follows the settings
$node->append_conf('postgresql.conf', 'fa_agents.max_workers = 1');
$node->reload;
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM fa_worker WHERE role = 'worker'"), 'a reload shrinks the pool');
goes_on($node, 'postgres', 'the pool was shrunk');
$node->append_conf('postgresql.conf', 'fa_agents.max_workers = 3');
$node->reload;
ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM fa_worker WHERE role = 'worker'"), 'a reload lets it grow');

# by hand
is($node->safe_psql('postgres', 'SELECT fa_worker_drain()'), 't', 'drained');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_worker'), 0, 'nobody runs');
my $before = $node->safe_psql('postgres', $steps);
sleep 0.5;
is($node->safe_psql('postgres', $steps), $before, 'nothing is stepped');
is($node->safe_psql('postgres', 'SELECT fa_worker_stop()'), 'f', 'was stopped already');
is($node->safe_psql('postgres', 'SELECT fa_worker_start()'), 't', 'started');
goes_on($node, 'postgres', 'started by hand');

# paused, resumed
is($node->safe_psql('postgres', "SELECT fa_schedule_pause('busy')"), 't', 'paused');
$before = $node->safe_psql('postgres', $steps);
sleep 0.5;
is($node->safe_psql('postgres', $steps), $before, 'a paused schedule steps nobody');
is($node->safe_psql('postgres', "SELECT fa_schedule_resume('busy'), fa_schedule_resume('busy')"), 't|f', 'resumed');
goes_on($node, 'postgres', 'resumed');

# an owner who may not log in, or is gone
for my $command ('ALTER ROLE owner NOLOGIN', 'DROP ROLE owner')
{
	$node->safe_psql('postgres', "CREATE ROLE owner LOGIN; SET ROLE owner;
		SELECT fa_model_create('his', fa_spec_grid(3, 3)); SELECT fa_agent_create('his');
		SELECT fa_schedule_create('his', 'his', '10 ms')");
	my $his = "SELECT step FROM fa_belief NATURAL JOIN fa_agent JOIN fa_model m USING (model_id) WHERE m.name = 'his'";
	ok($node->poll_query_until('postgres', "SELECT ($his) > 0"), "$command: it steps before");
	$node->safe_psql('postgres', $command);
	ok($node->poll_query_until('postgres', "SELECT error IS NOT NULL FROM fa_schedule WHERE name = 'his'"), "$command: suspended");
	like($node->safe_psql('postgres', "SELECT error FROM fa_schedule WHERE name = 'his'"),
		$command =~ /DROP/ ? qr/role with OID \d+ does not exist/ : qr/role "owner" is not permitted to log in/, "$command: with that error");
	$before = $node->safe_psql('postgres', $his);
	sleep 0.3;
	is($node->safe_psql('postgres', $his), $before, "$command: nothing is stepped");
	$node->safe_psql('postgres', "SELECT fa_schedule_drop('his'); SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent JOIN fa_model m USING (model_id) WHERE m.name = 'his'; SELECT fa_model_drop('his');"
		. ($command =~ /NOLOGIN/ ? 'DROP ROLE owner' : ''));
}

# a database that refuses connections
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', $busy);
goes_on($node, 'closed', 'a database that is open');
within('ALTER DATABASE ... ALLOW_CONNECTIONS false', 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
sleep 1;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'closed'"), 0, 'nobody runs in a database that refuses connections');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
goes_on($node, 'closed', 'open again');
$node->safe_psql('postgres', 'DROP DATABASE closed');

# a standby has no workers; they start when it is promoted
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^fa_agents'"), 0, 'a standby has no workers');
$standby->promote;
goes_on($standby, 'postgres', 'promoted');
$standby->stop('fast');

# a worker is killed: the server starts again, and agents go on
my $pid = $node->safe_psql('postgres', "SELECT min(pid) FROM fa_worker WHERE role = 'worker'");
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"), 'killed');
goes_on($node, 'postgres', 'after a crash');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM fa_retry WHERE next_try < $$infinity$$'), 'those that were in flight are stepped one by one');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_retry'), 0, 'and none is suspended');

# stop in fast mode under load
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'fast stop within 5 s');
$node->start;
goes_on($node, 'postgres', 'after a restart');
$node->stop('fast');

done_testing();
