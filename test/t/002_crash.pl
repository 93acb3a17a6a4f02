# The server is killed under load, ten times.  After each restart every step
# that was acknowledged is there, and no agent has half a step: its step counter,
# its history, its inbox, its counts and its keys tell the same.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers qw(kill_server);

my $rounds = 10;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# a power failure is not what is tested, so nothing needs to reach the disk
$node->append_conf('postgresql.conf', q{
restart_after_crash = off
log_statement = none
checkpoint_timeout = 30s
max_wal_size = 64MB
autovacuum_naptime = 1s
});
$node->start;

# Two outcomes are a message's number: they tell which observations were taken.  Of
# the agents, "own" have a client each that gives keys, "shared" are stepped by
# batches and runs, and "learner" learn what they saw.
my $outcomes = 200;
$node->safe_psql('postgres', qq{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('messages', jsonb_build_object(
	'A', jsonb_build_array(a, a), 'B', '[[[[1, 1]]]]'::jsonb, 'C', jsonb_build_array(c, c)))
FROM array_to_json(array_fill(1.0 / $outcomes, ARRAY[$outcomes, 1])) a,
	array_to_json(array_fill(0, ARRAY[$outcomes])) c;
SELECT fa_model_create('grid', fa_spec_grid(3, 3));
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "learn_A": true}');
SELECT fa_agent_create('messages', 'own ' || i, '{"history": true}') FROM generate_series(1, 2) i;
SELECT fa_agent_create('grid', 'shared ' || i, '{"history": ["belief"]}') FROM generate_series(1, 20) i;
SELECT fa_agent_create('learner', 'learner ' || i, '{"history": true}') FROM generate_series(1, 5) i;
-- what a lost client would have learned from the server's answer
CREATE TABLE acked (what text, agent_id bigint, step bigint, key text);
});
my ($own1, $own2) = split /\n/,
  $node->safe_psql('postgres', q{SELECT agent_id FROM fa_agent WHERE name LIKE 'own%' ORDER BY 1});
my $shared = $node->safe_psql('postgres', q{SELECT array_agg(agent_id) FROM fa_agent WHERE name LIKE 'shared%'});
my $learners = $node->safe_psql('postgres', q{SELECT array_agg(agent_id) FROM fa_agent WHERE name LIKE 'learner%'});

# Scripts that go on for longer than the server lives.
my %sent = ($own1 => 0, $own2 => 0);	# the last key that may have been used
sub message
{
	my ($number) = @_;
	return '{' . int($number / $outcomes) . ',' . $number % $outcomes . '}';
}
sub own_script
{
	my ($agent, $from) = @_;
	return map {
		my $message = message($_);
		"SELECT 'put', $agent, NULL, 'k$_' FROM fa_observe($agent, '$message', 'k$_');\n"
		  . "SELECT 'key', agent_id, step, 'k$_' FROM fa_step($agent, key => 'k$_');\n"
	} $from .. $from + 3000;
}
# a batch of random agents in random order
my $batch = q{SELECT 'many', agent_id, step, NULL FROM fa_step_many((SELECT array_agg(a ORDER BY random())
	FROM unnest('%s'::bigint[]) a WHERE random() < 0.6));} . "\n";
my $learn = q{SELECT 'many', r.agent_id, step, NULL FROM (SELECT a, (random() * 2)::int - 1 AS o
	FROM unnest('%s'::bigint[]) a ORDER BY random() LIMIT 1) c, fa_step(a, ARRAY[o]) r;} . "\n";
my $run = q{SELECT 'many', agent_id, step, NULL FROM fa_run_many((SELECT array_agg(a ORDER BY random())
	FROM unnest('%s'::bigint[]) a WHERE random() < 0.2), 3);} . "\n";
my $commit = q{CALL fa_run_commit('%s', 4, commit_every => 2);} . "\n";

my $dir = $node->basedir;
my @clients;
sub start_client
{
	my @lines = @_;
	my $number = @clients;
	open my $file, '>', "$dir/client$number.sql" or die $!;
	print $file @lines;
	close $file;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', "$dir/client$number.out" or die $!;
		open STDERR, '>', "$dir/client$number.err" or die $!;
		exec 'psql', '-XqAt', '-F', ',', '-v', 'ON_ERROR_STOP=1', '-f',
		  "$dir/client$number.sql", $node->connstr('postgres')
		  or die $!;
	}
	push @clients, $pid;
}

my $inconsistent = qq{
SELECT * FROM (
-- the counter is the history
SELECT b.agent_id, 'history', b.step || ' steps, ' || count(h.step) || ' rows up to ' || max(h.step)
FROM fa_belief b LEFT JOIN fa_history h USING (agent_id) GROUP BY 1, b.step
HAVING count(h.step) <> b.step OR count(DISTINCT h.step) <> b.step OR max(h.step) IS DISTINCT FROM nullif(b.step, 0)
UNION ALL
-- the belief is that of the last row, where it was kept
SELECT b.agent_id, 'belief', b.belief::text FROM fa_belief b JOIN fa_history h USING (agent_id, step)
WHERE h.belief <> b.belief OR h.vfe <> b.vfe OR h.action <> b.action
UNION ALL
-- each message that was put is taken once or waits, and no other
SELECT agent_id, 'inbox', coalesce(k.key, observation::text) || ': ' || coalesce(places, 'nowhere')
FROM (SELECT * FROM fa_key WHERE kind = 'o') k FULL JOIN
	(SELECT agent_id, observation, string_agg(place, ', ') AS places FROM (
		SELECT agent_id, observation, 'waiting' FROM fa_observation UNION ALL
		SELECT agent_id, observation, 'taken by ' || step FROM fa_history
		WHERE agent_id IN ($own1, $own2) AND observation <> '{-1,-1}') x (agent_id, observation, place)
		GROUP BY 1, 2) found USING (agent_id, observation)
WHERE k.key IS NULL OR places IS NULL OR places LIKE '%,%'
UNION ALL
-- a key's result is a step's
SELECT k.agent_id, 'key', k.key || ' ' || k.step FROM fa_key k
WHERE kind = 's' AND NOT EXISTS (SELECT FROM fa_history h WHERE h.agent_id = k.agent_id AND h.step = k.step
	AND h.action = k.action AND h.vfe = k.vfe)
UNION ALL
-- one count more for each outcome that was seen
SELECT agent_id, 'counts', (SELECT sum(n) FROM unnest(numbers) n)::text FROM (
	SELECT agent_id, ARRAY(SELECT x::text::float8 FROM jsonb_path_query(fa_parameters(agent_id), '\$.pA[0][*][*]') x) AS numbers,
	20 + (SELECT count(*) FROM fa_history h WHERE h.agent_id = a.agent_id AND h.observation <> '{-1}') AS expected
	FROM fa_agent a WHERE name LIKE 'learner%') p
WHERE abs((SELECT sum(n) FROM unnest(numbers) n) - expected) > 1e-6
UNION ALL
-- what was acknowledged
SELECT a.agent_id, 'lost step', a.what || ' ' || a.step FROM acked a
WHERE a.step IS NOT NULL AND NOT EXISTS (SELECT FROM fa_history h WHERE h.agent_id = a.agent_id AND h.step = a.step)
UNION ALL
SELECT a.agent_id, 'lost key', a.what || ' ' || a.key FROM acked a
WHERE a.key IS NOT NULL AND NOT EXISTS (SELECT FROM fa_key k WHERE k.agent_id = a.agent_id AND k.key = a.key
	AND k.kind = CASE a.what WHEN 'put' THEN 'o' ELSE 's' END AND k.step IS NOT DISTINCT FROM a.step)
UNION ALL
SELECT agent_id, 'acknowledged twice', step::text FROM acked WHERE step IS NOT NULL GROUP BY 1, step HAVING count(*) > 1
) wrong LIMIT 10};

my ($lost_keys, $acked) = (0, 0);
for my $round (1 .. $rounds)
{
	@clients = ();
	start_client(own_script($own1, $sent{$own1} + 1));
	start_client(own_script($own2, $sent{$own2} + 1));
	start_client(sprintf($batch, $shared) x 5000);
	start_client((sprintf($batch, $shared), sprintf($run, $shared)) x 2000);
	start_client((sprintf($learn, $learners) x 10, sprintf($commit, $learners)) x 500);

	# wherever they are
	sleep 0.3 + rand(0.4);
	kill_server($node);
	waitpid $_, 0 for @clients;
	for my $number (0 .. $#clients)
	{
		my $error = slurp_file("$dir/client$number.err");
		unlike($error, qr/ERROR/, "round $round: client $number had no error before the crash");
	}

	$node->start;
	# a line that was cut off is not an answer
	my @rows = map { my $text = slurp_file("$dir/client$_.out"); $text =~ s/[^\n]*\z//; split /\n/, $text } 0 .. $#clients;
	$acked += @rows;
	open my $file, '>', "$dir/acked.csv" or die $!;
	print $file map { "$_\n" } @rows;
	close $file;
	$node->safe_psql('postgres', "COPY acked FROM '$dir/acked.csv' (FORMAT csv)");
	is($node->safe_psql('postgres', $inconsistent), '', "round $round: nothing lost, nothing half");

	# The client that got no answer asks again with the same key: whether its
	# step was made or not, it is made once.
	for my $agent ($own1, $own2)
	{
		my $last = $node->safe_psql('postgres', "SELECT coalesce(max(substr(key, 2)::int), $sent{$agent})
			FROM acked WHERE agent_id = $agent AND what = 'key'") + 1;
		$lost_keys++ if $node->safe_psql('postgres', "SELECT count(*) FROM fa_key WHERE kind = 's' AND agent_id = $agent AND key = 'k$last'");
		my $message = message($last);
		$node->safe_psql('postgres', "SELECT fa_observe($agent, '$message', 'k$last')");
		$node->safe_psql('postgres', "SELECT fa_step($agent, key => 'k$last')");
		$sent{$agent} = $last;
		is($node->safe_psql('postgres', "SELECT step FROM fa_belief WHERE agent_id = $agent"),
			$last, "round $round: agent $agent made a step for each key");
	}
}
note("$acked steps were acknowledged, $lost_keys more were found made");
cmp_ok($acked, '>', 100 * $rounds, 'the crashes came under load');
is($node->safe_psql('postgres', q{SELECT count(*) FROM fa_belief WHERE step = 0}), 0, 'every agent stepped');

$node->stop;
done_testing();
