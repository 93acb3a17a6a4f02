# A run that is shared with other processes ends for all of them at once, however it
# ends, and leaves nothing half done.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
log_statement = none
fa_agents.max_parallel = 2
max_parallel_workers = 4
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(5, 5, policy_len => 2));
SELECT count(*) FROM fa_agent_create_many('grid', 500);
});
my $all = '(SELECT array_agg(agent_id) FROM fa_agent)';
my $endless = "SELECT count(*) FROM fa_run_many($all, 1000000)";
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'};
my $state = 'SELECT max(step) FROM fa_belief';

# Begins an endless run in a session of its own, and waits until two processes help.
sub begin_run
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_until(qr/begun/, "\\echo begun\n$endless;\n");
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 2"), 'two processes help');
	return ($session, $pid);
}

# What the run's session was told, once it is over.
sub ended
{
	my ($session, $like, $name) = @_;
	$session->query('SELECT 1');
	like($session->{stderr}, $like, $name);
	$session->{stderr} = '';
	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), "$name: no process is left");
	is($node->safe_psql('postgres', $state), '0', "$name: no step is left");
	is($session->query_safe("SELECT count(*) FROM fa_run_many('{1,2}', 1000) AS r WHERE r.step = 1000"),
		'2', "$name: the session goes on");
	$node->safe_psql('postgres', 'UPDATE fa_belief SET step = 0');
	$session->quit;
}

my ($session, $pid) = begin_run();
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
ended($session, qr/canceling statement due to user request/, 'cancelled');

($session, $pid) = begin_run();
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(min(pid)) FROM pg_stat_activity WHERE backend_type = 'parallel worker'});
ended($session, qr/terminating (connection|background worker .*|parallel worker.*) due to administrator command/, 'a helper was terminated');

# the caller is gone, and so are they
($session, $pid) = begin_run();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), 'caller terminated: no process is left');
is($node->safe_psql('postgres', $state), '0', 'caller terminated: no step is left');
$session->{run}->finish;

# one is killed: the server starts anew
($session, $pid) = begin_run();
my $helper = $node->safe_psql('postgres', q{SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker'});
kill 'KILL', $helper;
$session->{run}->finish;
ok($node->poll_query_until('postgres', 'SELECT true'), 'killed: the server is back');
is($node->safe_psql('postgres', $state), '0', 'killed: no step is left');

# where there are no processes to spare the caller makes all steps
is($node->safe_psql('postgres', "SET max_parallel_workers = 0; SELECT count(*) FROM fa_run_many($all, 200)"),
	100000, 'no processes: all steps are made');
is($node->safe_psql('postgres', "SET fa_agents.max_parallel = 0; SELECT count(*) FROM fa_run_many($all, 200)"),
	100000, 'none wanted: all steps are made');
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT (agent_id, step)), max(step) FROM fa_run_many($all, 200)"),
	'100000|100000|600', 'shared: all steps are made, each once');

# agents that are not stepped side by side are divided, however few they are
$node->safe_psql('postgres', q{
SELECT fa_model_create('own ' || i, fa_spec_grid(5, 4 + i, policy_len => 2)) FROM generate_series(1, 8) i;
SELECT fa_agent_create('own ' || i) FROM generate_series(1, 8) i;
});
my $few = q{(SELECT array_agg(agent_id) FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'own %')};
my ($rc, $rows, $told) = $node->psql('postgres', "SET client_min_messages = debug1; SELECT count(*) FROM fa_run_many($few, 3000)");
is($rows, 24000, 'eight models: all steps are made');
like($told, qr/run of 8 agents is shared with 2 workers/, 'eight models: three processes make them');

$node->stop;
done_testing();
