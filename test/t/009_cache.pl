# Compiled models in memory: one copy for all sessions, evicted when there are
# too many but never while one is in use, and never another model than the one
# that the row names: after DROP and CREATE of a database with the same oid or
# of the extension, a restored dump, a rollback or a crash.

use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# A light seen through a window that shows it with probability p: from a uniform
# prior and the outcome 0 the belief is (p, 1 - p), which tells one model from
# another.  The ballast is a dense matrix, kept twice (A and its logarithm).
sub spec
{
	my ($p, $ballast) = @_;
	my $q = 1 - $p;
	my $uniform = 1 / ($ballast || 1);
	my @stay = join ',', map { "[$_]" } 0 .. ($ballast || 1) - 1;
	return qq{{"A": [[[$p, $q], [$q, $p]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}} unless $ballast;
	return qq{{"A": [[[$p, $q], [$q, $p]], {"shape": [$ballast, $ballast], "default": $uniform, "entries": []}],
		"A_dependencies": [[0], [1]],
		"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]], {"next": [@stay]}]}};
}

sub create
{
	my ($name, $p, $ballast) = @_;
	return "SELECT fa_model_create('$name', '" . spec($p, $ballast) . "');\n";
}

# p of a model that is asked by its name, and of one that an agent steps
my $infer = q{SELECT round((fa_infer('%s', NULL, '%s'))[1]::numeric, 9);};
sub infer { my ($name, $observation) = @_; return sprintf $infer, $name, $observation // '{0}'; }
my $step = q{SELECT fa_agent_reset('{%1$d}'); SELECT FROM fa_step(%1$d, '{0}');
	SELECT round(belief[1]::numeric, 9) FROM fa_belief WHERE agent_id = %1$d;};
# the reset's and the step's results are empty lines
sub stepped { my ($session, $id) = @_; return (split /\n/, $session->query_safe(sprintf $step, $id))[-1]; }
sub decimal { return sprintf '%.9f', @_; }

# One column of fa_cache(), as a session sees it.
sub cache
{
	my ($where, $column) = @_;
	my $query = "SELECT $column FROM fa_cache()";
	return ref $where eq 'PostgreSQL::Test::Cluster' ? $where->safe_psql('postgres', $query) : $where->query_safe($query);
}

# The server's own dynamic shared memory lies in a folder, where its size can be
# seen and where it can be refused.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
dynamic_shared_memory_type = mmap
restart_after_crash = on
max_prepared_transactions = 5
fa_agents.cache_size = 2MB
});
$node->start;
my $segments = $node->data_dir . '/pg_dynshmem';

# kB on disk of all segments
sub segments_size
{
	my $size = 0;
	$size += (stat)[12] / 2 for glob "$segments/*";
	return $size;
}

# A session of its own that stays.
sub session
{
	my ($database) = @_;
	my $session = $node->background_psql($database // 'postgres', on_error_stop => 0);
	return $session;
}

# Loads a dozen models of half a megabyte each, which the cache cannot hold.
my $load_many = join '', map { infer("many$_", '{0,-1}') } 1 .. 12;
sub load_many
{
	my @got = split /\n/, $node->safe_psql('postgres', $load_many);
	is("@got", join(' ', map { decimal(0.5 + $_ / 100) } 1 .. 12), $_[0]);
}

# Changes the setting, and waits until a session knows.
sub set_size
{
	my ($session, $size) = @_;
	$node->append_conf('postgresql.conf', "fa_agents.cache_size = $size");
	$node->reload;
	sleep 0.05 until $session->query_safe('SHOW fa_agents.cache_size') eq $size;
}

for my $preload ('', 'fa_agents')
{
	my $how = $preload ? 'preloaded' : 'not preloaded';
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$preload'");
	$node->restart;
	$node->safe_psql('postgres', 'DROP EXTENSION IF EXISTS fa_agents; CREATE EXTENSION fa_agents');
	$node->safe_psql('postgres', create('one', 0.9) . create('two', 0.8)
		  . "SELECT fa_agent_create('one'), fa_agent_create('two');"
		  . create('wide', 0.7, 300) . join('', map { create("many$_", 0.5 + $_ / 100, 180) } 1 .. 12));

	# ---------- one copy ----------
	my @sessions = map { session() } 1 .. 4;
	is($_->query_safe(infer('one')), decimal(0.9), "$how: a session finds the model") for @sessions;
	is(cache($_, "own_models || ' ' || own_copies"), '1 0', "$how: it has no copy of its own") for @sessions;
	is(cache($node, "models || ' ' || chunks || ' ' || chunks_in_use"), '2 1 0', "$how: there is one, beside another's, not in use now");

	# ---------- in use ----------
	# One transaction uses a model and waits; others fill the cache several times.
	my ($user, $other) = @sessions;
	$user->query_safe('BEGIN; ' . infer('one'));
	is(cache($node, 'chunks_in_use'), 1, "$how: in use until the transaction ends");
	load_many("$how: models that do not fit are loaded and evicted");
	is($user->query_safe(infer('one')), decimal(0.9), "$how: a model in use stays");
	is(stepped($user, 1), decimal(0.9), "$how: and steps");
	# after subtransactions that failed in using it, too
	$user->query_safe(q{DO $$ BEGIN PERFORM fa_infer('two', NULL, '{0}'), 1 / (SELECT 0); EXCEPTION WHEN division_by_zero THEN NULL; END $$});
	load_many("$how: the same after a subtransaction");
	is($user->query_safe(infer('one') . infer('two')), decimal(0.9) . "\n" . decimal(0.8), "$how: models in use stay after a rollback to a savepoint");
	is(cache($user, 'own_copies'), 0, "$how: in shared memory");
	my $models = cache($node, 'models');
	cmp_ok($models, '<', 14, "$how: others were evicted ($models are left)");
	cmp_ok(cache($node, 'bytes'), '<=', 2 * 1024 * 1024, "$how: the cache is not larger than its setting");
	$user->query_safe('COMMIT');
	is(cache($node, 'chunks_in_use'), 0, "$how: not in use after the commit");
	load_many("$how: now it may go");
	is(cache($user, 'own_models'), 2, "$how: the session remembers it");
	is($user->query_safe(infer('one')), decimal(0.9), "$how: and loads it again");
	is(cache($user, 'own_copies'), 0, "$how: in shared memory again");
	is(stepped($other, 2), decimal(0.8), "$how: another session too");

	# a transaction that uses more than there is room for has copies of its own
	$user->query_safe("BEGIN; $load_many");
	my $copies = cache($user, 'own_copies');
	cmp_ok($copies, '>', 0, "$how: $copies copies where all is in use");
	is($user->query_safe($load_many), join("\n", map { decimal(0.5 + $_ / 100) } 1 .. 12), "$how: they do as well");
	cmp_ok(cache($node, 'bytes'), '<=', 2 * 1024 * 1024, "$how: the cache is not larger than its setting");
	$user->query_safe('COMMIT');
	is(cache($user, 'own_copies'), 0, "$how: they go with the transaction");
	# what a session keeps of its own is not more than the setting
	cmp_ok(cache($user, 'own_bytes'), '>', 0, "$how: the session keeps something");
	set_size($user, '0');
	is($user->query_safe(infer('one')), decimal(0.9), "$how: in a transaction it has what it needs");
	is(cache($user, 'own_bytes'), 0, "$how: and keeps nothing");
	set_size($user, '2MB');
	# nothing is evicted for a model that will not have room all the same
	$user->query_safe('BEGIN; ' . infer('many1', '{0,-1}') . infer('many2', '{0,-1}'));
	$node->safe_psql('postgres', infer('many3', '{0,-1}'));
	$models = cache($node, 'models');
	is($user->query_safe(infer('wide', '{0,-1}')), decimal(0.7), "$how: a model that has no room now");
	is(cache($user, "own_copies || ' ' || models"), "1 $models", "$how: drives out no other");
	$user->query_safe('COMMIT');
	is($user->query_safe(infer('wide', '{0,-1}')), decimal(0.7), "$how: the same later");
	is(cache($user, 'own_copies'), 0, "$how: has room");

	# ---------- however a transaction ends ----------
	my %ends = (
		'an error' => sub { my $s = shift; $s->query('SELECT 1 / 0; ROLLBACK;'); $s->quit },
		'PREPARE' => sub { my $s = shift; $s->query_safe("PREPARE TRANSACTION 'x'; ROLLBACK PREPARED 'x'"); $s->quit },
		'the session' => sub { shift->quit },
		'a termination' => sub {
			my ($s, $pid) = @_;
			$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
			$s->{run}->finish;
		});
	for my $end (sort keys %ends)
	{
		my $session = session();
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		$session->query_safe('BEGIN; ' . infer('one') . infer('two'));
		isnt(cache($node, 'chunks_in_use'), 0, "$how: in use");
		$ends{$end}->($session, $pid);
		ok($node->poll_query_until('postgres', 'SELECT chunks_in_use = 0 FROM fa_cache()'), "$how: not after $end");
	}

	# ---------- memory ----------
	# Sessions that do nothing have many evicted segments mapped.
	for my $session (@sessions)
	{
		$session->query_safe($load_many);
	}
	cmp_ok(segments_size(), '<', 2048 + 1024 + 512, "$how: evicted models take no memory");

	# ---------- all at once ----------
	# Many sessions ask many models in transactions of one to six calls, some of
	# them rolled back; the cache holds a third of the models.
	my (@clients, @wrong);
	for my $client (1 .. 6)
	{
		my ($script, @expected) = ('');
		for (1 .. 60)
		{
			my @calls = map { int(rand(12)) + 1 } 1 .. 1 + int(rand(6));
			$script .= join "\n", 'BEGIN;', (map { infer("many$_", '{0,-1}') } @calls), rand() < 0.3 ? 'ROLLBACK;' : 'COMMIT;', '';
			push @expected, map { decimal(0.5 + $_ / 100) } @calls;
		}
		my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ], '<', \$script, '>', \my $out, '2>', \my $error);
		push @clients, [ $run, \$out, \$error, join "\n", @expected, '' ];
	}
	for (@clients)
	{
		my ($run, $out, $error, $expected) = @$_;
		$run->finish;
		push @wrong, $$error || 'another result' if $$out ne $expected;
	}
	is("@wrong", '', "$how: many sessions with many models get the right ones");
	is(cache($node, 'chunks_in_use'), 0, "$how: and leave no pins");

	# ---------- made in this transaction ----------
	load_many("$how: others again");
	$models = cache($node, 'models');
	$user->query_safe('BEGIN; ' . create('new', 0.7) . "SELECT fa_agent_create('new', 'new');");
	is($user->query_safe(infer('new')), decimal(0.7), "$how: a model that is not committed is used by who made it");
	is(cache($user, 'own_copies'), 1, "$how: as a copy of its own");
	is(cache($node, 'models'), $models, "$how: not shared");
	$user->query_safe('ROLLBACK');
	is(cache($user, 'own_copies'), 0, "$how: gone with the rollback");
	$user->query_safe('BEGIN; SAVEPOINT a; ' . create('new', 0.75) . 'RELEASE a; ' . infer('new'));
	is(cache($user, 'own_copies'), 1, "$how: the same for one of a subtransaction");
	is(cache($node, 'models'), $models, "$how: not shared");
	$user->query_safe('COMMIT');
	is(cache($user, 'own_copies'), 0, "$how: its copy is gone after the commit");
	is($other->query_safe(infer('new')), decimal(0.75), "$how: another session finds it now");
	is($user->query_safe(infer('new')), decimal(0.75), "$how: who made it, too");
	is(cache($user, 'own_copies'), 0, "$how: it is shared now");
	# two of the same name, one in an open transaction
	$user->query_safe('BEGIN; ' . create('new', 0.65) . infer('new'));
	is($other->query_safe(infer('new')), decimal(0.75), "$how: others see the old version meanwhile");
	is($user->query_safe(infer('new') . infer('new@1')), decimal(0.65) . "\n" . decimal(0.75), "$how: who made it, both");
	$user->query_safe('ROLLBACK');
	is($user->query_safe(infer('new')), decimal(0.75), "$how: the old one after a rollback");

	# ---------- the same ids again ----------
	is(stepped($other, 1), decimal(0.9), "$how: agent 1 has model 1");
	$node->safe_psql('postgres', 'DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents;'
		  . create('one', 0.6) . "SELECT fa_agent_create('one')");
	is($_->query_safe(infer('one')), decimal(0.6), "$how: another model 1 after DROP and CREATE EXTENSION") for @sessions;
	is(stepped($_, 1), decimal(0.6), "$how: which agent 1 uses") for @sessions;
	$user->query_safe('DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents;' . create('one', 0.55) . "SELECT fa_agent_create('one')");
	is(stepped($_, 1), decimal(0.55), "$how: again, by the same session") for @sessions;

	my $dump = $node->basedir . '/dump.sql';
	$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], "$how: dumped");
	$node->safe_psql('postgres', 'DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents;'
		  . create('one', 0.95) . "SELECT fa_agent_create('one')");
	is(stepped($_, 1), decimal(0.95), "$how: another model 1") for @sessions;
	$node->safe_psql('postgres', 'DROP EXTENSION fa_agents');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('postgres') ], "$how: restored");
	is(stepped($_, 1), decimal(0.55), "$how: the restored model 1") for @sessions;
	is(cache($_, 'own_copies'), 0, "$how: none is a copy of its own") for @sessions;

	# a database with the oid of another
	for my $p (0.85, 0.95, 0.55)
	{
		$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS again');
		$node->safe_psql('postgres', 'CREATE DATABASE again OID 99999');
		$node->safe_psql('again', 'CREATE EXTENSION fa_agents; ' . create('one', $p) . "SELECT fa_agent_create('one')");
		my $session = session('again');
		is(stepped($session, 1), decimal($p), "$how: agent 1 of a database with an oid used before");
		is($session->query_safe('SELECT own_copies FROM fa_cache()'), 0, "$how: shared");
		$session->quit;
	}
	# postgres and again have an equal model each, and do not share it
	$models = cache($node, 'models');
	$node->safe_psql('postgres', infer('one'));
	is(cache($node, 'models'), $models, "$how: postgres has that model already");
	$node->safe_psql('postgres', create('equal', 0.85) . infer('equal'));
	$node->safe_psql('postgres', infer('equal'));
	is(cache($node, 'models'), $models + 1, "$how: what another database had is not found");

	# ---------- a digest that is not the body's ----------
	# Only the tables' owner can write it; no other agent may get the wrong model.
	$node->safe_psql('postgres', create('false', 0.51) . create('true', 0.99)
		  . "SELECT fa_agent_create('false', 'forged'), fa_agent_create('true', 'honest')");
	my ($forged, $honest) = split /\n/, $node->safe_psql('postgres', q{SELECT agent_id FROM fa_agent WHERE name IN ('forged', 'honest') ORDER BY name});
	$node->restart;
	$_->quit for @sessions;
	@sessions = map { session() } 1 .. 2;
	($user, $other) = @sessions;
	$node->safe_psql('postgres', "UPDATE fa_belief SET model_digest = (SELECT digest FROM fa_model WHERE name = 'true') WHERE agent_id = $forged");
	stepped($user, $forged);
	is(cache($user, "own_copies || ' ' || models"), '1 0', "$how: a body that is not the digest's is not shared");
	is(stepped($other, $honest), decimal(0.99), "$how: nor used by others");

	# ---------- another library's block ----------
	$node->safe_psql('postgres', create('old', 0.77)
		  . q{UPDATE fa_model SET body = overlay(body PLACING '\xff' FROM 9) WHERE name = 'old'; SELECT fa_agent_create('old', 'old');});
	$models = cache($node, 'models');
	is($user->query_safe(infer('old')), decimal(0.77), "$how: a block of another layout is compiled again");
	is(cache($user, 'own_copies'), 2, "$how: as a copy");
	is($user->query_safe(infer('old')), decimal(0.77), "$how: and kept");
	is(cache($user, 'own_copies'), 2, "$how: by the session");
	is(cache($node, 'models'), $models, "$how: not shared");
	$_->quit for @sessions;
}

# ---------- a hundred that begin at once ----------
# Each would load the model; one does.
$node->append_conf('postgresql.conf', "fa_agents.cache_size = '64MB'");
$node->restart;
$node->safe_psql('postgres', create('large', 0.9, 1000));
for my $round (1 .. 3)
{
	$node->restart;
	my @waiting = map { session() } 1 .. 8;
	$_->query_until(qr/begun/, "\\echo begun\n" . infer('large', '{0,-1}') . "\n") for @waiting;
	is($_->query_safe('SELECT own_models FROM fa_cache()') =~ s/.*\n//sr, 1, 'all have it') for @waiting;
	is(cache($node, "models || ' ' || chunks"), '1 1', 'one of eight loads a model');
	$_->quit for @waiting;
}

# ---------- crash ----------
# A session that uses a model is killed: shared memory begins anew.
my $session = session();
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe('BEGIN; ' . infer('large', '{0,-1}'));
kill 'KILL', $pid;
$session->{run}->finish;
$node->poll_query_until('postgres', 'SELECT true') or die 'no server after a crash';
is(cache($node, "models || ' ' || chunks_in_use || ' ' || bytes"), '0 0 0', 'nothing is left after a crash');
is($node->safe_psql('postgres', infer('large', '{0,-1}')), decimal(0.9), 'the model is loaded again');
cmp_ok(segments_size(), '<', 16 * 1024 + 4096, 'nor memory of before');

# ---------- the setting ----------
$session = session();
for my $size ('0', '64kB', '4MB', '64MB')
{
	$node->append_conf('postgresql.conf', "fa_agents.cache_size = '$size'");
	$node->reload;
	$session->query_until(qr/^$size$/m, "SELECT pg_sleep(0.05);\nSHOW fa_agents.cache_size;\n")
	  until $session->query_safe('SHOW fa_agents.cache_size') eq $size;
	is($session->query_safe(infer('large', '{0,-1}') . infer('one')), decimal(0.9) . "\n" . decimal(0.55), "models are found with a cache of $size");
}
like(($node->psql('postgres', q{LOAD 'fa_agents'; SET fa_agents.cache_size = 0}))[2], qr/cannot be changed now/, 'no session may set it for itself');
$session->quit;

# ---------- no shared memory ----------
# No segment can be made; or there is one, known by its size, which cannot be mapped.
$node->append_conf('postgresql.conf', "fa_agents.cache_size = '100MB'");
for my $what ('made', 'mapped')
{
	$node->restart;
	my @closed = $segments;
	if ($what eq 'mapped')
	{
		$node->safe_psql('postgres', infer('one'));
		@closed = grep { -s $_ == 1638400 } glob "$segments/*";
		is(scalar @closed, 1, 'a chunk is the 64th part of the cache');
	}
	chmod $what eq 'made' ? 0500 : 0, @closed or die $!;
	my $session = session();
	is($session->query_safe(infer('one')), decimal(0.55), "where memory cannot be $what, there is a copy");
	is(cache($session, "own_models || ' ' || own_copies"), '1 1', 'of its own');
	is($session->query_safe(infer('one')), decimal(0.55), 'which stays');
	is(cache($session, "own_models || ' ' || own_copies"), '1 1', 'with the session');
	$session->query_safe('BEGIN; SAVEPOINT a;' . infer('equal') . 'ROLLBACK TO a; ');
	is($session->query_safe(infer('equal') . 'COMMIT;'), decimal(0.85), 'in subtransactions, too');
	is(stepped($session, 1), decimal(0.55), 'and agents step');
	$session->quit;
	like(($node->psql('postgres', infer('one') . "SET statement_timeout = '50ms'; SELECT pg_sleep(20)"))[2],
		qr/statement timeout/, 'and a session that was refused can still be cancelled');
	chmod 0700, @closed or die $!;
}
unlike(slurp_file($node->logfile), qr/dynamic shared memory leak|WARNING|PANIC/, 'without a warning');

# ---------- rights ----------
$node->safe_psql('postgres', 'CREATE ROLE user1; CREATE ROLE monitor IN ROLE pg_monitor');
like(($node->psql('postgres', 'SET ROLE user1; SELECT fa_cache()'))[2], qr/permission denied/, 'not everybody sees the cache');
is(($node->psql('postgres', 'SET ROLE monitor; SELECT models >= 0 FROM fa_cache()'))[1], 't', 'a monitor does');
$node->stop;

# ---------- memory of many sessions ----------
# The memory of a process, each page divided by those who share it, in kB.
sub share
{
	my ($pid) = @_;
	my ($kilobytes) = slurp_file("/proc/$pid/smaps_rollup") =~ /^Pss: +(\d+)/m;
	return $kilobytes;
}

SKIP:
{
	skip 'needs /proc', 1 unless -r '/proc/self/smaps_rollup';
	my $many = PostgreSQL::Test::Cluster->new('many');
	$many->init;
	$many->start;
	$many->safe_psql('postgres', 'CREATE EXTENSION fa_agents; ' . create('small', 0.8) . create('large', 0.9, 2200)
		  . "SELECT fa_agent_create_many('small', 12); SELECT fa_agent_create_many('large', 12);");
	$many->restart;
	my $model = $many->safe_psql('postgres', "SELECT length(body) / 1024 FROM fa_model WHERE name = 'large'");
	my @sessions = map { $many->background_psql('postgres') } 1 .. 12;
	my @pids = map { $_->query_safe('SELECT pg_backend_pid()') } @sessions;
	my $number = 0;
	# all that a session needs for itself, before the model
	$_->query_safe('SELECT FROM fa_step(' . ++$number . ", '{0}')") for @sessions;
	my $before = 0;
	$before += share($_) for @pids;
	$_->query_safe('SELECT FROM fa_step(' . ++$number . ", '{0,1}')") for @sessions;
	my $after = 0;
	$after += share($_) for @pids;
	my $growth = $after - $before;
	note("12 sessions grew by $growth kB for a model of $model kB");
	cmp_ok($model, '>', 70_000, 'the model is large');
	cmp_ok($growth, '<', 1.3 * $model, 'a dozen sessions keep it once');
	is($many->safe_psql('postgres', 'SELECT models, chunks FROM fa_cache()'), '2|2', 'in one chunk');
	$_->quit for @sessions;
	$many->stop;
}

done_testing();
