# What takes long can be cancelled, at once and without a trace: by a timeout, by
# another session, and by the client's going away.  The session goes on.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'log_statement = none');
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(5, 5));
-- many policies, and no two moves alike: one step takes long
SELECT fa_model_create('slow', fa_spec_grid(38, 38, noise => 0.1, success => 0.9, policy_len => 6));
SELECT count(*) FROM fa_agent_create_many('grid', 2000, '{"history": true}');
SELECT fa_agent_create('slow', 'slow');
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent WHERE name IS NULL));
SELECT fa_observe(1, '{3}', 'waiting');
});
my $all = "(SELECT array_agg(agent_id) FROM fa_agent WHERE name IS NULL)";
my $ids = $node->safe_psql('postgres', 'SELECT array_agg(agent_id) FROM fa_agent WHERE name IS NULL');
my $slow = $node->safe_psql('postgres', "SELECT agent_id FROM fa_agent WHERE name = 'slow'");
my $state = q{SELECT md5(string_agg(b::text, ' ' ORDER BY agent_id)) FROM fa_belief b;
	SELECT count(*), max(step) FROM fa_history; SELECT count(*) FROM fa_observation; SELECT count(*) FROM fa_key};
my $before = $node->safe_psql('postgres', $state);

# each takes far longer than it is given
my %long = (
	'fa_run_many' => "SELECT count(*) FROM fa_run_many($all, 100000)",
	'fa_run' => 'SELECT count(*) FROM fa_run(1, 100000000)',
	'fa_step' => "SELECT count(*) FROM fa_step($slow, key => 'k')",
	'fa_step_many' => "SELECT count(*) FROM fa_step_many(ARRAY[1, $slow])",
	'fa_step in a loop' => 'SELECT count(*) FROM generate_series(1, 100000000) i, fa_step(1 + i % 100)',
	'fa_explain' => 'SELECT count(*) FROM generate_series(1, 10000000), fa_explain(1)',
	'fa_agent_create_many' => "SELECT count(*) FROM fa_agent_create_many('grid', 50000000)",
	'fa_model_create' => "SELECT fa_model_create('large', fa_spec_grid(70, 70, noise => 0.1))");

my $session = $node->background_psql('postgres', on_error_stop => 0);
# sessions make plans and load models first, and that is not what is timed
$session->query_safe("SELECT fa_belief($slow) IS NOT NULL");
for my $name (sort keys %long)
{
	my $start = time;
	$session->query("SET statement_timeout = 100");
	$session->query($long{$name});
	my $took = time - $start;
	like($session->{stderr}, qr/canceling statement due to statement timeout/, "$name: ended by statement_timeout");
	cmp_ok($took, '<', 2.3, "$name: at once");
	note(sprintf '%s: %.2f s', $name, $took);
	$session->{stderr} = '';
	is($session->query_safe("RESET statement_timeout; BEGIN; SELECT step FROM fa_step_many('{1,2}'); ROLLBACK"),
		"2\n2", "$name: the session goes on");
	is($node->safe_psql('postgres', $state), $before, "$name: left no trace");
}

# who waits for long is told how far it is
my ($result, $out, $err) = $node->psql('postgres', "SET statement_timeout = '6s'; $long{fa_run_many}");
like($err, qr/NOTICE:  \d+ of at most 200000000 steps made \(\d+ %\), [1-9]\d* a second/, 'progress is told');
like($err, qr/canceling statement due to statement timeout/, 'and then it is cancelled');

# by another session
for my $function ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query_safe('SELECT pg_backend_pid()');
	$victim->query_until(qr/started/, "\\echo started\n$long{fa_run_many};\n");
	$node->poll_query_until('postgres', "SELECT state = 'active' AND query ~ 'fa_run_many' FROM pg_stat_activity WHERE pid = $pid");
	sleep 0.2;
	my $start = time;
	$node->safe_psql('postgres', "SELECT $function($pid)");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid AND state = 'active'");
	cmp_ok(time - $start, '<', 2, "$function: at once");
	is($node->safe_psql('postgres', $state), $before, "$function: left no trace");
	$victim->{run}->kill_kill;
}

# what was committed in between stays, whole
my ($status, $out, $error) = $node->psql('postgres', "SET statement_timeout = 1000; CALL fa_run_commit('$ids', 100000, commit_every => 1)");
like($error, qr/canceling statement due to statement timeout/, 'fa_run_commit: ended by statement_timeout');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT step), min(step) > 1 FROM fa_belief WHERE agent_id <= 2000}), '1|t', 'fa_run_commit: all agents made the same steps');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT b.step FROM fa_belief b LEFT JOIN fa_history h USING (agent_id)
	WHERE agent_id <= 2000 GROUP BY agent_id, b.step HAVING count(h.step) <> b.step) wrong}), 0, 'fa_run_commit: each with its history');

$session->quit;
$node->stop;
done_testing();
