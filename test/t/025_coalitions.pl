# Coalitions with common members under load: sessions step them in any order, several
# in one transaction, and nobody is chosen as the victim of a deadlock; and through
# crashes: all members of a step have made it, or none.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
restart_after_crash = on
deadlock_timeout = 100ms
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(3, 3));
SELECT count(*) FROM fa_agent_create_many('grid', 9);
-- each two of them have a member in common
SELECT fa_coalition_create('x', '{5,1,4}'), fa_coalition_create('y', '{2,9,5,6}'), fa_coalition_create('z', '{7,4,2,3,8}');
CREATE TABLE made (coalition text, members bigint[]);
CREATE FUNCTION step(coalition text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO made SELECT coalition, array_agg(agent_id) FROM fa_coalition_step(coalition) $$;
});
my $dir = $node->basedir;

# Sessions at once, each a pgbench client; returns what they printed.
sub load_with
{
	my ($script, $transactions) = @_;
	my ($out, $err);

	open my $file, '>', "$dir/load.sql" or die $!;
	print $file $script;
	close $file;
	IPC::Run::run([ 'pgbench', '-n', '-c', 6, '-j', 2, '-t', $transactions, '-f', "$dir/load.sql", $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	return "$err";
}

# Agents whose steps are not those of their coalitions'.
my $wrong = q{SELECT agent_id, step, n FROM fa_belief LEFT JOIN
	(SELECT m AS agent_id, count(*) AS n FROM made, unnest(members) m GROUP BY 1) t USING (agent_id) WHERE step <> coalesce(n, 0)};

# All three in one transaction, in any order: who waits for a member holds no other one, so whoever has stepped one keeps
# the others waiting before their first.
my $errors = load_with(q{BEGIN;
SELECT step(name) FROM (SELECT name FROM unnest(ARRAY['x', 'y', 'z']) AS name ORDER BY random()) c;
COMMIT;
}, 40);
unlike($errors, qr/ERROR/, 'no error') or diag($errors);
is($node->safe_psql('postgres', q{SELECT count(*) FROM made}), 3 * 6 * 40, 'all steps were made');
is($node->safe_psql('postgres', $wrong), '', 'each by all members');
unlike($node->safe_psql('postgres', q{SELECT string_agg(deadlocks::text, ' ') FROM pg_stat_database WHERE datname = 'postgres'}), qr/[1-9]/, 'no deadlock');

# --- a crash in the middle ---
my $pid = fork // die $!;
if ($pid == 0)
{
	open STDERR, '>', "$dir/crash.err" or die $!;
	open STDOUT, '>', "$dir/crash.out" or die $!;
	exec 'pgbench', '-n', '-c', 4, '-T', 30, '-f', "$dir/load.sql", $node->connstr('postgres') or die $!;
}
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM made');
$node->poll_query_until('postgres', "SELECT count(*) > $before + 20 FROM made") or die;
$node->stop('immediate');
waitpid $pid, 0;
$node->start;
is($node->safe_psql('postgres', $wrong), '', 'after a crash: steps of all members, or of none');
is($node->safe_psql('postgres', q{SELECT count(*) FROM fa_coalition_common c JOIN fa_belief b USING (agent_id) WHERE c.belief <> b.belief}), '0',
	'what they know in common is of the same step as their beliefs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM fa_coalition_step('x')}), '3', 'they go on');

$node->stop;
done_testing();
