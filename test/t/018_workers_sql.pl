# What functions of schedules refuse, and what is stored.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = start_node('main', '');
$node->safe_psql('postgres', q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(3, 3)); SELECT fa_model_create('grid', fa_spec_grid(3, 4));
	SELECT fa_schedule_create('first', 'grid', '1 day')});

# call, SQLSTATE, message, hint
my @refused = (
	[ q{create(NULL, 'grid')}, '22004', 'name must not be null' ],
	[ q{create('s', NULL)}, '22004', 'model must not be null' ],
	[ q{create('s', 'grid', priority => NULL)}, '22004', 'priority must not be null' ],
	[ q{create('s', 'grid', catch_up => NULL)}, '22004', 'catch_up must not be null' ],
	[ q{create('', 'grid')}, '42602', 'schedule name must have 1 to 255 bytes' ],
	[ q{create(repeat('x', 256), 'grid')}, '42602', 'schedule name must have 1 to 255 bytes' ],
	[ q{create('first', 'grid')}, '42710', 'schedule "first" already exists' ],
	[ q{create('s', 'no')}, '42704', 'model "no" does not exist' ],
	[ q{create('s', 'grid@9')}, '42704', 'model "grid@9" does not exist' ],
	[ q{create('s', 'grid', '1 month')}, '22023', 'every must not have months or years', 'Give it in days or less.' ],
	[ q{create('s', 'grid', '0')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '-1 s')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '999 us')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '3661 days')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '3660 days 1 us')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '1 s', deadline => '3660 days 1 us')}, '22023', 'deadline must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '2147483647 days 2147483647 hours')}, '22023', 'every must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '1 s', deadline => '1 year')}, '22023', 'deadline must not have months or years' ],
	[ q{create('s', 'grid', '1 s', deadline => '0')}, '22023', 'deadline must be between 1 millisecond and 3660 days' ],
	[ q{create('s', 'grid', '1 s', catch_up => 'some')}, '22023', 'invalid value for catch_up: "some"', '"skip" leaves out turns that were missed, "all" makes them up.' ],
	[ q{pause('no')}, '42704', 'schedule "no" does not exist', 'Table fa_schedule lists yours.' ],
	[ q{resume('no')}, '42704', 'schedule "no" does not exist' ],
	[ q{drop('no')}, '42704', 'schedule "no" does not exist' ],
);
for my $case (@refused)
{
	my ($call, $state, $message, $hint) = @$case;
	my $error = ($node->psql('postgres', "\\set VERBOSITY verbose\nSELECT fa_schedule_$call"))[2];
	like($error, qr/ERROR:  $state: \Q$message\E\n/, "$call: $message");
	like($error, qr/HINT:  \Q$hint\E/, "$call: the hint") if $hint;
}
for my $call (q{create('s', 'grid')}, q{pause('first')}, q{resume('first')}, q{drop('first')})
{
	like(($node->psql('postgres', "BEGIN READ ONLY; SELECT fa_schedule_$call"))[2], qr/cannot execute fa_schedule_\w+\(\) in a read-only transaction/, "$call: not in a read-only transaction");
}
is($node->safe_psql('postgres', 'SELECT fa_schedule_pause(NULL) IS NULL, fa_schedule_drop(NULL) IS NULL'), 't|t', 'of nothing nothing comes');

# the shortest, the longest, by event, one version
$node->safe_psql('postgres', q{SELECT fa_schedule_create('short', 'grid', '1 ms', -5, '1 ms', 'all'), fa_schedule_create('long', 'grid', '3660 days'),
	fa_schedule_create('event', 'grid'), fa_schedule_create('one', 'grid@1', '1 h')});
is($node->safe_psql('postgres', 'SELECT name, model, version, every, priority, deadline, catch_up, paused FROM fa_schedule ORDER BY schedule_id'), q{first|grid||1 day|0||skip|f
short|grid||00:00:00.001|-5|00:00:00.001|all|f
long|grid||3660 days|0||skip|f
event|grid|||0||skip|f
one|grid|1|01:00:00|0||skip|f}, 'schedules are stored as they were given');
is($node->safe_psql('postgres', 'SELECT s.name, count(l.slice) FROM fa_schedule s LEFT JOIN fa_schedule_slice l USING (schedule_id) GROUP BY 1 ORDER BY 1'), "event|0\nfirst|64\nlong|64\none|64\nshort|64", 'with their slices');
is($node->safe_psql('postgres', q{SELECT fa_schedule_pause('one'), fa_schedule_pause('one')}), 't|f', 'paused once');
is($node->safe_psql('postgres', q{SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM fa_schedule_status}), 'event running, first running, long running, one paused, short running', 'states');
is($node->safe_psql('postgres', q{SELECT fa_schedule_drop('one'); SELECT count(*) FROM fa_schedule_slice l WHERE NOT EXISTS (SELECT FROM fa_schedule s WHERE s.schedule_id = l.schedule_id)}), "\n0", 'dropped with its slices');

# only the functions change a schedule
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN');
like(($node->psql('postgres', "SET ROLE guest; $_"))[2], qr/permission denied for table/, "$_: refused")
  for 'INSERT INTO fa_schedule_slice VALUES (1, 1, now(), 1)', 'UPDATE fa_schedule SET paused = true', 'DELETE FROM fa_retry';

# nor does who may write the tables put in what would stop all schedules
for my $change (q{fa_schedule SET every = '0'}, q{fa_schedule SET every = '-1 s'}, q{fa_schedule SET every = '178000000 years'}, q{fa_schedule SET deadline = '178000000 years'},
	q{fa_schedule_slice SET slice = 64}, q{fa_schedule_slice SET slice = -1}, q{fa_schedule_slice SET due = 'infinity'}, q{fa_schedule_slice SET due = '-infinity'})
{
	like(($node->psql('postgres', "UPDATE $change"))[2], qr/violates check constraint "fa_schedule/, "$change: refused");
}

# a dump has schedules and their hands
my $dump = $node->basedir . '/dump.sql';
$node->safe_psql('postgres', "SELECT fa_worker_stop()");
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM fa_schedule_slice'), 192, 'with its slices');
$node->safe_psql('restored', q{SELECT fa_agent_create('grid'); SELECT fa_schedule_create('new', 'grid', '20 ms')});
goes_on($node, 'restored', 'in the restored database');
$node->stop('fast');

done_testing();
