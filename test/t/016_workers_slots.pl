# Where the server has too few slots for background processes, or was not told to
# load the library.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use Workers;

# ten databases share what the server has by default, eight slots of which one
# is the launcher's and one is taken by the server itself
my $node = start_node('main', '');
is($node->safe_psql('postgres', 'SHOW max_worker_processes'), 8, 'eight slots by default');
my @databases = map { "db$_" } 1 .. 10;
$node->safe_psql('postgres', "CREATE DATABASE $_") for @databases;
$node->safe_psql($_, q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(3, 3));
	SELECT count(*) FROM fa_agent_create_many('grid', 100);
	SELECT fa_schedule_create('often', 'grid', '50 ms')}) for @databases;
goes_on($node, $_, "$_ of ten") for @databases;
goes_on($node, $_, "$_ again") for @databases;
is(logged($node, 'no slot is free for a background process'), 1, 'want of slots is told once');
my $start = time;
$node->safe_psql('postgres', "DROP DATABASE $_") for @databases[0 .. 4];
cmp_ok(time - $start, '<', 25, 'five are dropped, within 5 s each');
goes_on($node, $_, "$_ of five") for @databases[5 .. 9];

# one slot: the coordinator steps agents itself
$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
goes_on($node, $_, "$_ with one slot") for @databases[5, 6, 5];
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^fa_agents (worker|coordinator)'") <= 1, 1, 'one process at a time');

sub stops { my $call = shift; $node->safe_psql($_, "SELECT fa_worker_$call()") for @databases[5 .. 9]; }

# one that is terminated while it reads the inbox through: the next one reads it
$node->append_conf('postgresql.conf', "fa_agents.sweep_interval = '1 h'");
$node->reload;
$node->safe_psql('db6', "SELECT fa_model_create('watch', fa_spec_grid(2, 2)); SELECT fa_agent_create('watch', 'watch'); SELECT fa_schedule_create('watch', 'watch')");
my $watch = "FROM fa_belief JOIN fa_agent USING (agent_id) WHERE name = 'watch'";
$node->safe_psql('db6', "SELECT fa_observe(agent_id, '{1}') FROM fa_agent WHERE name = 'watch'");
ok($node->poll_query_until('db6', "SELECT step = 1 $watch"), 'what was observed is stepped with one slot');
stops('stop');
comes_true($node, "count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^fa_agents (worker|coordinator)'", 'all have left');
# its transaction tells nobody before all are away
my $row = $node->safe_psql('db6', "BEGIN; SELECT count(fa_observe(agent_id, '{1}')) FROM fa_agent WHERE name = 'watch' \\g /dev/null\nCOPY fa_observation TO STDOUT; ROLLBACK");
append_to_file($node->basedir . '/copy', "$row\n");
$node->safe_psql('db6', "COPY fa_observation FROM '" . $node->basedir . "/copy'");
my $holder = $node->background_psql('db6');
$holder->query_safe('BEGIN; LOCK TABLE fa_observation');
$node->safe_psql('db6', 'SELECT fa_worker_start()');
comes_true($node, "count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE backend_type = 'fa_agents coordinator' AND wait_event_type = 'Lock' AND query = 'steps agents that were observed'", 'the coordinator is terminated while it reads the inbox');
comes_true($node, "count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'fa_agents coordinator' AND wait_event_type = 'Lock'", 'it has ended');
$holder->quit;
ok($node->poll_query_until('db6', "SELECT step = 2 $watch"), 'the next one finds what was observed');
$node->safe_psql('db6', "SELECT fa_schedule_drop('watch')");

# the slot is somebody else's for a while: it is tried again without being told
stops('stop');
comes_true($node, "count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^fa_agents (worker|coordinator)'", 'the slot is free');
$node->safe_psql('postgres', 'CREATE TABLE one AS SELECT 300 AS seconds');
my $other = $node->background_psql('postgres', on_error_stop => 0);
$other->query_safe('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off');
$other->query_until(qr/begun/, "\\echo begun\nSELECT count(pg_sleep(seconds)) FROM one;\n");
comes_true($node, "count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker'", 'the slot is taken');
stops('start');
stands_still($node, 'db6', 'the slot is taken');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(leader_pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
goes_on($node, $_, "$_ when the slot is free again") for @databases[5, 6];
$other->quit;

# no slot at all: it is told once and tried again; the server is none the worse
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
my $offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/no slot is free for a background process/, $offset);
sleep 3;
my @told = slurp_file($node->logfile, $offset) =~ /no slot is free for a background process/g;
is(scalar @told, 1, 'no slot: told once');
stands_still($node, 'db6', 'no slot');
$start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'no slot: fast stop within 5 s');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->start;
goes_on($node, 'db6', 'slots again');
$node->safe_psql('postgres', "DROP DATABASE $_") for @databases[5 .. 9];

# no preload: a clear hint, and all else works
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$node->safe_psql('postgres', "CREATE EXTENSION fa_agents; SELECT fa_model_create('grid', fa_spec_grid(3, 3)); SELECT fa_agent_create('grid')");
for my $call ("fa_schedule_create('s', 'grid', '1 s')", 'fa_worker_start()', 'fa_worker_stop()', 'fa_worker_drain()')
{
	my $error = ($node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call"))[2];
	like($error, qr/55000: agents cannot run by themselves in this server/, "$call: refused");
	like($error, qr/HINT:  Add fa_agents to shared_preload_libraries and restart the server; all other functions work without it/, "$call: with a hint");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_worker UNION ALL SELECT count(*) FROM fa_schedule_status'), "0\n0", 'views are empty');
is($node->safe_psql('postgres', 'SELECT step FROM fa_step(1)'), 1, 'agents are stepped by hand');
$node->safe_psql('postgres', 'SELECT fa_agent_pause($${1}$$); SELECT fa_agent_resume($${1}$$)');
$node->stop('fast');

done_testing();
