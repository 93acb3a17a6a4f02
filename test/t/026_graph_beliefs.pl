# Beliefs in the graph while workers and clients step, agents come and go and the
# server is killed: nodes have what the hot rows say that they were told, no more
# and no less.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = start_node('main', q{
fa_agents.max_workers = 2
max_worker_processes = 8
autovacuum = off
});
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(4, 4, noise => 0.3, success => 0.8));
SELECT fa_model_create('mute', fa_spec_grid(4, 4, noise => 0.3, success => 0.8));
SELECT count(*) FROM fa_agent_create_many('grid', 300);
SELECT count(*) FROM fa_agent_create_many('mute', 20);
-- places of the states in a belief
CREATE TABLE place AS SELECT label, place FROM fa_model, jsonb_array_elements_text(spec -> 'factors' -> 0 -> 'states') WITH ORDINALITY AS s (label, place)
	WHERE name = 'grid';
SELECT fa_belief_sync('grid', 'change', 0.3);
});

# What is in the graph and not in the hot row, or the other way round, by how much.
my $wrong = q{
WITH told AS (SELECT b.agent_id, b.synced, m.name AS model, n.props FROM fa_belief b JOIN fa_model m USING (model_id)
	LEFT JOIN fa_node n ON n.kind = 'agent' AND n.name = b.agent_id::text)
SELECT 'untold', agent_id, NULL FROM told WHERE (synced IS NULL) <> (props -> 'belief' IS NULL)
UNION ALL SELECT 'mute', agent_id, NULL FROM told WHERE model = 'mute' AND synced IS NOT NULL
UNION ALL SELECT 'believes', agent_id, NULL FROM told JOIN place ON label = props #>> '{believes,location}'
	WHERE synced[place] < (SELECT max(p) FROM unnest(synced) p) - 1e-6
UNION ALL SELECT 'belief', agent_id, label FROM told CROSS JOIN place
	WHERE abs(synced[place] - coalesce((props #>> ARRAY['belief', 'location', label])::float8, 0)) > 0.000501
UNION ALL SELECT 'another', (props ->> 'agent_id')::bigint, name FROM fa_node
	WHERE kind = 'agent' AND NOT EXISTS (SELECT FROM fa_belief WHERE agent_id::text = fa_node.name AND agent_id = (props ->> 'agent_id')::bigint)
UNION ALL SELECT 'changed', agent_id, NULL FROM fa_belief JOIN fa_model m USING (model_id), generate_subscripts(belief, 1) i
	WHERE m.name = 'grid' AND step > 0 AND synced IS NOT NULL AND abs(belief[i] - synced[i]) > 0.3 + 1e-5 AND action IS NOT NULL
LIMIT 10};
my $told = q{SELECT count(*) FROM fa_belief WHERE synced IS NOT NULL};

# --- workers ---
$node->safe_psql('postgres', q{SELECT fa_schedule_create('all', 'grid', '20 ms')});
ok($node->poll_query_until('postgres', "SELECT ($told) = 300"), 'workers tell the graph');
is($node->safe_psql('postgres', $wrong), '', 'what the agents believe');

# --- clients beside them, and crashes ---
my $dir = $node->basedir;
my @clients;
sub start_client
{
	my ($script) = @_;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', "$dir/client.out" or die $!;
		open STDERR, '>', "$dir/client.err" or die $!;
		exec 'psql', '-XqAt', '-c', $script, $node->connstr('postgres') or die $!;
	}
	push @clients, $pid;
}

for my $crash (1 .. 2)
{
	my $steps = $node->safe_psql('postgres', 'SELECT sum(step) FROM fa_belief');
	start_client(q{DO $$ BEGIN LOOP
		PERFORM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent WHERE agent_id % 3 = 0)); COMMIT;
		PERFORM count(*) FROM fa_run_many((SELECT array_agg(agent_id) FROM fa_agent WHERE agent_id % 3 = 1), 5); COMMIT;
		PERFORM fa_agent_reset(ARRAY[1 + (random() * 50)::bigint]); COMMIT;
	END LOOP; END $$});
	start_client(q{DO $$ BEGIN LOOP
		PERFORM fa_agent_drop(ARRAY(SELECT agent_id FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name = 'grid' ORDER BY agent_id DESC LIMIT 3)); COMMIT;
		PERFORM fa_step_many(ARRAY(SELECT fa_agent_create_many('grid', 3))); COMMIT;
	END LOOP; END $$});
	sleep 3;
	is($node->safe_psql('postgres', $wrong), '', "round $crash: while all are at work");
	$node->stop('immediate');
	waitpid $_, 0 for @clients;
	@clients = ();
	$node->start;
	is($node->safe_psql('postgres', $wrong), '', "round $crash: after the crash");
	cmp_ok($node->safe_psql('postgres', 'SELECT sum(step) FROM fa_belief'), '>', $steps, "round $crash: there were steps");
	goes_on($node, 'postgres', "round $crash");
}

# --- never again, but for nobody who is at it ---
$node->safe_psql('postgres', q{SELECT fa_belief_sync('grid', 'never')});
goes_on($node, 'postgres', 'never');
my $versions = $node->safe_psql('postgres', 'SELECT count(*) FROM fa_node_version');
goes_on($node, 'postgres', 'never');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_node_version'), $versions, 'no more is told');
unlike(slurp_file($node->logfile), qr/deadlock|PANIC|TRAP|SIGSEGV|signal 11/, 'no deadlock, and no crash but ours');
$node->stop;
done_testing();
