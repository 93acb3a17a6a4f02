# Events under load and through a crash: each committed step is read once, in its
# agent's order, by consumers that come and go; a worker's failures are events.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'fa_agents'
fa_agents.outbox = 'step, failed'
fa_agents.retry_delay = 10ms
autovacuum = off
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(2, 2));
SELECT count(*) FROM fa_agent_create_many('grid', 6);
SELECT fa_outbox_subscribe('reader', '{step}');
CREATE TABLE got (agent_id bigint, step bigint, at bigserial);
-- reads a batch and is done with it, in one transaction
CREATE FUNCTION take() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	INSERT INTO got (agent_id, step) SELECT agent_id, step FROM fa_outbox_read('reader');
	GET DIAGNOSTICS n = ROW_COUNT;
	PERFORM fa_outbox_done('reader');
	RETURN n;
END $$;
});
my $dir = $node->basedir;
my @clients;

# A psql that runs a script.
sub start_client
{
	my ($script) = @_;
	my $number = @clients;
	open my $file, '>', "$dir/client$number.sql" or die $!;
	print $file $script;
	close $file;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', "$dir/client$number.out" or die $!;
		open STDERR, '>', "$dir/client$number.err" or die $!;
		exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/client$number.sql", $node->connstr('postgres') or die $!;
	}
	push @clients, $pid;
}

# Each agent's steps from 1 to its last, once, in order.
my $wrong = q{
SELECT 'missing or twice', agent_id, step, count(*) FROM (SELECT b.agent_id, s AS step FROM fa_belief b, generate_series(1, b.step) s) t
	LEFT JOIN got g USING (agent_id, step) GROUP BY 2, 3 HAVING count(g.at) <> 1
UNION ALL SELECT 'forged', agent_id, step, 1 FROM got g WHERE step > (SELECT b.step FROM fa_belief b WHERE b.agent_id = g.agent_id)
UNION ALL SELECT 'overtaken', agent_id, step, before FROM (SELECT *, lag(step) OVER (PARTITION BY agent_id ORDER BY at) AS before FROM got) o WHERE before > step
LIMIT 10};

# transactions of different lengths, some undone, one that stays open with an id
my $idle = $node->background_psql('postgres');
$idle->query_safe('BEGIN; SELECT pg_current_xact_id()');
my $short = "SELECT count(*) FROM fa_step(1 + (random() * 5)::int);\n" x 20;
my $long = "BEGIN;\nSELECT count(*) FROM fa_step_many('{2,4,6}');\nSELECT pg_sleep(random() / 50);\nSELECT count(*) FROM fa_step_many('{2,4,6}');\n";
my $script = ($short . $long . "COMMIT;\n" . $long . "ROLLBACK;\n") x 30;
for my $round (1 .. 2)
{
	@clients = ();
	start_client($script) for 1 .. 3;
	start_client("SELECT take();\n" x 400) for 1 .. 2;
	if ($round == 1)
	{
		waitpid $_, 0 for @clients;
		is(slurp_file("$dir/client$_.err"), '', "client $_ had no error") for 0 .. 4;
	}
	else
	{
		sleep 1;
		$node->stop('immediate');
		waitpid $_, 0 for @clients;
		$node->start;
	}
	$node->safe_psql('postgres', 'SELECT take()');
	is($node->safe_psql('postgres', $wrong), '', "round $round: each step once, in order");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM got'), '>', 500 * $round, "round $round: there were some");
	$idle->quit if $round == 1;
}
# a consumer reads by indexes, however much has been read before
$node->safe_psql('postgres', q{SELECT count(*) FROM generate_series(1, 2000) i, fa_step_many(ARRAY[1, 2, 3, 4, 5 + i - i])});
$node->safe_psql('postgres', 'SELECT take()');
is($node->safe_psql('postgres', $wrong), '', 'a large batch');
$node->safe_psql('postgres', q{SELECT count(*) FROM generate_series(1, 1000) i, fa_step_many(ARRAY[1, 2 + i - i])});
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM fa_outbox'), '<', 3000, 'what was read is removed');

# a worker's failures
$node->safe_psql('postgres', q{
SELECT fa_outbox_subscribe('failures', '{failed}');
SELECT fa_model_create('lamp', '{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}');
SELECT fa_agent_create('lamp', 'lamp');
-- one that does not fit: only the tables' owner could put it there
INSERT INTO fa_observation (agent_id, observation_id, observation) SELECT agent_id, nextval('fa_observation_id_seq'), '{1,1,1}' FROM fa_agent WHERE name = 'lamp';
SELECT fa_schedule_create('s', 'lamp', '50 ms');
});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM fa_outbox WHERE kind = 'failed'}), 'a failure is an event');
like($node->safe_psql('postgres', q{SELECT detail ->> 'sqlstate', detail ->> 'error' FROM fa_outbox_read('failures') LIMIT 1}),
	qr/^22023\|observation for agent \d+ has 3 outcomes/, 'with its error');

$node->stop;
done_testing();
