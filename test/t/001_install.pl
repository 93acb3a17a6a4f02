# The extension as a guest of a database: it can be created, survives a dump
# and a restart, and leaves nothing behind when it is dropped.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# everything that a database can hold, by name
my $objects = q{
	SELECT count(*) FROM (
		SELECT oid FROM pg_class UNION ALL
		SELECT oid FROM pg_proc UNION ALL
		SELECT oid FROM pg_type UNION ALL
		SELECT oid FROM pg_operator UNION ALL
		SELECT oid FROM pg_namespace UNION ALL
		SELECT oid FROM pg_policy UNION ALL
		SELECT oid FROM pg_trigger UNION ALL
		SELECT oid FROM pg_event_trigger) o};

my $before = $node->safe_psql('postgres', $objects);
$node->safe_psql('postgres', 'CREATE EXTENSION fa_agents');
my $version = $node->safe_psql('postgres', 'SELECT fa_version()');
like($version, qr/^\d+\.\d+\.\d+$/, 'created without preloading');

$node->restart;
is($node->safe_psql('postgres', 'SELECT fa_version()'),
	$version, 'there after a restart');

my $dump = $node->basedir . '/dump.sql';
$node->command_ok(
	[ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok(
	[
		'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump,
		$node->connstr('restored')
	],
	'restored');
is($node->safe_psql('restored', 'SELECT fa_version()'),
	$version, 'there after a restore');

$node->safe_psql('postgres', 'DROP EXTENSION fa_agents');
is($node->safe_psql('postgres', $objects),
	$before, 'nothing is left when it is dropped');

$node->stop;
$node->append_conf('postgresql.conf',
	q{shared_preload_libraries = 'fa_agents'});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION fa_agents');
is($node->safe_psql('postgres', 'SELECT fa_version()'),
	$version, 'created with preloading');
$node->stop;

done_testing();
