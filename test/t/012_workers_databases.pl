# Background processes stand in the way of no command that wants a database for
# itself, and find what comes and goes: databases, the extension, its versions, a
# standby that is promoted.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
fa_agents.max_workers = 4
allow_in_place_tablespaces = on
}, allows_streaming => 1);
my $ours = "backend_type IN ('fa_agents worker', 'fa_agents coordinator')";

$node->safe_psql('postgres', $busy);
goes_on($node, 'postgres', 'a schedule was made');
$node->safe_psql('postgres', qq{CREATE TABLESPACE place LOCATION ''});

# more databases than there are workers, all of them busy
for my $round (1 .. 2)
{
	$node->safe_psql('postgres', 'CREATE DATABASE victim');
	$node->safe_psql('victim', $busy);
	goes_on($node, 'victim', 'another database');
	within($node, 'CREATE DATABASE ... TEMPLATE', 'CREATE DATABASE copy TEMPLATE victim');
	goes_on($node, 'victim', 'after CREATE DATABASE ... TEMPLATE');
	goes_on($node, 'copy', 'in the copy');
	within($node, 'ALTER DATABASE ... RENAME', 'ALTER DATABASE victim RENAME TO renamed');
	goes_on($node, 'renamed', 'after ALTER DATABASE ... RENAME');
	within($node, 'ALTER DATABASE ... SET TABLESPACE', 'ALTER DATABASE renamed SET TABLESPACE place');
	goes_on($node, 'renamed', 'after ALTER DATABASE ... SET TABLESPACE');
	within($node, 'DROP DATABASE', $round == 1 ? 'DROP DATABASE renamed' : 'DROP DATABASE renamed WITH (FORCE)');
	within($node, 'DROP DATABASE of the copy', 'DROP DATABASE copy');
}
$node->safe_psql('postgres', 'DROP TABLESPACE place');
goes_on($node, 'postgres', 'after all that');

# a command that is refused does no harm, nor does who may not give it
like(($node->psql('template1', 'BEGIN; DROP DATABASE postgres'))[2], qr/cannot run inside a transaction block/, 'DROP DATABASE in a transaction is refused');
goes_on($node, 'postgres', 'after a refused DROP DATABASE');
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN');
my $pids = $node->safe_psql('postgres', 'SELECT min(pid) FROM fa_worker');
like(($node->psql('template1', 'SET ROLE guest; DROP DATABASE postgres'))[2], qr/must be owner/, 'a stranger may not drop a database');
like(($node->psql('template1', 'SET ROLE guest; CREATE DATABASE copy TEMPLATE postgres'))[2], qr/permission denied to create database/, 'nor copy one');
is($node->safe_psql('postgres', 'SELECT min(pid) FROM fa_worker'), $pids, 'and ends nobody by it');
$node->safe_psql('postgres', 'CREATE ROLE copier CREATEDB; ALTER DATABASE postgres IS_TEMPLATE true');
is(($node->psql('template1', 'SET ROLE copier; CREATE DATABASE copy TEMPLATE postgres'))[0], 0, 'who may create databases gets a copy of a template');
$node->safe_psql('postgres', 'DROP DATABASE copy; ALTER DATABASE postgres IS_TEMPLATE false');
goes_on($node, 'postgres', 'after its copy');

# DROP and CREATE EXTENSION, in one session and across two
$node->safe_psql('postgres', "DROP EXTENSION fa_agents; $busy");
goes_on($node, 'postgres', 'dropped and created in one session');
# what was counted for a schedule is not shown for one that gets its number
$node->safe_psql('postgres', 'SELECT fa_worker_drain()');
is($node->safe_psql('postgres', "SELECT schedule_id, steps > 0 FROM fa_schedule_status"), '1|t', 'steps are counted');
$node->safe_psql('postgres', "BEGIN; DROP EXTENSION fa_agents; $busy; COMMIT");
is($node->safe_psql('postgres', 'SELECT schedule_id, steps, p50 IS NULL FROM fa_schedule_status'), '1|0|t', 'and not for another schedule of that number');
$node->safe_psql('postgres', 'SELECT fa_worker_start()');
goes_on($node, 'postgres', 'dropped and created in one transaction');
$node->safe_psql('postgres', 'DROP EXTENSION fa_agents');
comes_true($node, "count(*) = 0 FROM pg_stat_activity WHERE $ours", 'nobody stays where there is no extension');
sleep 0.5;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE $ours"), 0, 'and nobody comes back');
is($node->safe_psql('postgres', 'BEGIN; CREATE EXTENSION fa_agents; SELECT count(*) FROM fa_schedule_counters(); ROLLBACK'), 0, 'nor is anything kept of its schedules');
$node->safe_psql('postgres', "CREATE SCHEMA elsewhere; SET search_path = elsewhere; $busy");
ok($node->poll_query_until('postgres', 'SELECT sum(step) > 0 FROM elsewhere.fa_belief'), 'created by another session in another schema: agents step');
$node->safe_psql('postgres', "DROP EXTENSION fa_agents; $busy");
goes_on($node, 'postgres', 'created again in the first schema');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION fa_agents; SELECT pg_sleep(0.3); ROLLBACK');
goes_on($node, 'postgres', 'DROP EXTENSION was rolled back');

# SQL objects of another version than the library's: nothing runs until they
# are brought up, and it is told once
my $lines = logged($node, qr/agents do not run: the extension's version/);
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.0.0' WHERE extname = 'fa_agents'");
comes_true($node, "count(*) = 0 FROM pg_stat_activity WHERE $ours", 'nobody stays where the version is another');
stands_still($node, 'postgres', 'another version');
cmp_ok(logged($node, qr/agents do not run: the extension's version is 0.0.0/), '<=', 8, 'it is told by each process at most once');
my $file = $node->config_data('--sharedir') . '/extension/fa_agents--0.0.0--' . $node->safe_psql('postgres', 'SELECT fa_version()') . '.sql';
append_to_file($file, "-- nothing to change\n");
$node->safe_psql('postgres', 'ALTER EXTENSION fa_agents UPDATE');
goes_on($node, 'postgres', 'ALTER EXTENSION UPDATE');
unlink $file;

# a database that refuses connections
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', $busy);
goes_on($node, 'closed', 'a database that is open');
within($node, 'ALTER DATABASE ... ALLOW_CONNECTIONS false', 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
sleep 1;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'closed'"), 0, 'nobody runs in a database that refuses connections');
is(logged($node, qr/database "closed" is not currently accepting connections/), 0, 'nor does anybody try');
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

# stop in fast mode under load
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'fast stop within 5 s');
$node->start;
goes_on($node, 'postgres', 'after a restart');
is(join('', grep { /(?<!statement: )(FATAL|PANIC):(?!  terminating|  the database system|  connection to client lost)/ } split /^/, slurp_file($node->logfile)), '', 'nobody died');
$node->stop('fast');

done_testing();
