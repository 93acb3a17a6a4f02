# Plans are made once and used for long.  One that was made for empty tables
# reads, with 20,000 agents, only the rows that it is asked for, in every session
# and whatever autovacuum and ANALYZE did in between; and no setting of the
# planner changes that.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
log_statement = none
autovacuum = off
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(2, 2));
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "learn_A": true}');
SELECT fa_belief_sync('learner', 'step');
});

# All that a session may do with agents from .. from + 5; makes all its plans.
sub work
{
	my ($from) = @_;
	my $ids = 'ARRAY[' . join(',', map { $from + $_ } 1 .. 5) . ']::bigint[]';
	return qq{
		SELECT count(*) FROM fa_step($from, key => 'k' || random());
		SELECT fa_observe($from, '{0}', 'k' || random()), fa_observe($from + 1, '{1}');
		SELECT count(*) FROM fa_step($from, '{1}');
		SELECT count(*) FROM fa_step_many($ids);
		SELECT count(*) FROM fa_run_many($ids, 2);
		SELECT fa_agent_reset($ids), fa_agent_pause($ids), fa_agent_resume($ids);
		SELECT fa_belief($from), fa_action($from), fa_parameters($from);
		SELECT count(*) FROM fa_explain($from);
		SELECT fa_agent_drop(ARRAY[fa_agent_fork($from)]);
		SELECT fa_agent_drop(ARRAY[fa_agent_create('grid', 'passing')]);
		SELECT fa_agent_set_model(ARRAY[$from]::bigint[], 'learner');
		SELECT fa_send($from, $from + 1, '1', 'm' || random()), fa_send($from, $from + 1, '2', priority => 1, observation => '{1}');
		SELECT fa_send_many($from, $ids, '3');
		SELECT count(*) FROM fa_receive($from + 1, 2);
		SELECT count(*) FROM fa_receive($from + 1);
		SELECT fa_coalition_create('c$from', $ids), fa_broadcast($from + 1, 'c$from', '4');
		SELECT fa_coalition_dissolve('c$from');
	};
}

# What was read of our tables since the last call: table, rows by sequential scans
# and by indexes.
my %last;
sub rows_read
{
	my %read;
	my $text = $node->safe_psql('postgres', q{
		SELECT c.relname, coalesce(seq_tup_read, 0) || ' ' || (SELECT coalesce(sum(idx_tup_read), 0)
			FROM pg_stat_all_indexes i WHERE i.relid = s.relid) FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = relid
		WHERE c.relname ~ '^fa_' AND c.relkind = 'r'});
	for (split /\n/, $text)
	{
		my ($table, $scanned, $fetched) = /^(.*)\|(\d+) (\d+)$/;
		my $before = $last{$table} // [ 0, 0 ];
		$read{$table} = [ $scanned - $before->[0], $fetched - $before->[1] ];
		$last{$table} = [ $scanned, $fetched ];
	}
	return %read;
}

# Runs work in a session and looks at what it read: a few rows of each table for
# each agent, none by a sequential scan.
sub reads_little
{
	my ($session, $from, $name) = @_;
	rows_read();
	$session->query_safe(work($from));
	$session->query_safe('SELECT pg_stat_force_next_flush()');
	$session->query_safe('SELECT 1');
	my %read = rows_read();
	my @scanned = grep { $read{$_}[0] > 0 } sort keys %read;
	is("@scanned", '', "$name: no sequential scan");
	my @many = map { "$_: $read{$_}[1]" } grep { $read{$_}[1] > 400 } sort keys %read;
	is("@many", '', "$name: only rows that were asked for");
	note(join ', ', map { "$_ $read{$_}[1]" } sort keys %read);
}

# Sessions whose plans are made with nearly nothing in the tables: five agents,
# never analyzed; the same, vacuumed, so that the planner knows how few they are.
$node->safe_psql('postgres', q{SELECT count(*) FROM fa_agent_create_many('learner', 6)});
my $early = $node->background_psql('postgres');
$early->query_safe(work(1));
$early->query_safe(work(1));
$node->safe_psql('postgres', 'VACUUM ANALYZE');
my $counted = $node->background_psql('postgres');
$counted->query_safe(work(1));
# and one whose user has odd ideas of what is cheap
my $odd = $node->background_psql('postgres');
$odd->query_safe('SET enable_indexscan = off; SET enable_nestloop = off; SET enable_sort = off; SET enable_tidscan = off; SET random_page_cost = 1000');
$odd->query_safe(work(1));

$node->safe_psql('postgres', q{
SELECT count(*) FROM fa_agent_create_many('learner', 20000, '{"history": true}');
SELECT count(fa_observe(agent_id, '{0}', 'many')) FROM fa_agent;
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent WHERE agent_id % 2 = 0));
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent WHERE agent_id % 2 = 0));
SELECT count(*) FROM fa_agent_create_many('grid', 1000);
});

reads_little($early, 1001, 'plans for tables never analyzed');
reads_little($counted, 2001, 'plans for tables known to be small');
reads_little($odd, 3001, 'plans under odd settings');

# statistics change, and plans are made anew
$node->safe_psql('postgres', 'VACUUM ANALYZE');
reads_little($early, 4001, 'after VACUUM ANALYZE');
reads_little($counted, 5001, 'after VACUUM ANALYZE');
reads_little($odd, 6001, 'under odd settings, after VACUUM ANALYZE');
my $late = $node->background_psql('postgres');
reads_little($late, 7001, 'a new session');

# the tables shrink, and grow again, while sessions keep their plans
$node->safe_psql('postgres', q{SELECT fa_agent_drop((SELECT array_agg(agent_id) FROM fa_agent WHERE agent_id > 8010))});
$node->safe_psql('postgres', 'VACUUM FULL ANALYZE');
$early->query_safe(work(8001));
$node->safe_psql('postgres', q{SELECT count(*) FROM fa_agent_create_many('learner', 15000)});
reads_little($early, 100, 'after VACUUM FULL');

# a batch of all reads each row about once, in a session that began with few
rows_read();
my $all = '(SELECT array_agg(agent_id ORDER BY random()) FROM fa_agent)';
my $agents = $early->query_safe("SELECT count(*) FROM fa_step_many($all)");
$early->query_safe('SELECT pg_stat_force_next_flush()');
$early->query_safe('SELECT 1');
my %read = rows_read();
cmp_ok($agents, '>', 20000, 'a batch of all');
cmp_ok($read{fa_belief}[1], '<', 4 * $agents, 'reads each row a few times');
note("fa_belief $read{fa_belief}[1] of $agents");

$_->quit for $early, $counted, $odd, $late;
$node->stop;
done_testing();
