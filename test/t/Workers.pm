# What the tests of the background processes share.

package Workers;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

our @EXPORT = qw(start_node $busy $steps $acting goes_on stands_still comes_true is_now within kill_server logged);

# the busiest that there is: every agent is always due
our $busy = q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(4, 4));
	SELECT count(*) FROM fa_agent_create_many('grid', 2000);
	SELECT fa_schedule_create('busy', 'grid', '1 ms')};
# An actuator notes what its session is, and then does what table todo says.
our $acting = q{CREATE EXTENSION fa_agents;
	CREATE TABLE seen (at serial, owner name, session name, who name, pid int, path text, temps int, locks int, prepared int, super text, trigger bool, lock_timeout text);
	CREATE TABLE todo (owner name, command text);
	GRANT ALL ON seen, todo, seen_at_seq TO PUBLIC;
	CREATE FUNCTION note(is_trigger bool) RETURNS void LANGUAGE sql AS $$
		INSERT INTO public.seen (session, who, pid, path, temps, locks, prepared, super, trigger, lock_timeout)
		SELECT session_user, current_user, pg_backend_pid(), current_setting('search_path'), (SELECT count(*) FROM pg_class WHERE relname = 'mine' AND pg_table_is_visible(oid)),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), (SELECT count(*) FROM pg_prepared_statements), current_setting('is_superuser'), is_trigger, current_setting('lock_timeout') $$;
	CREATE FUNCTION act(bigint[], int[]) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		what text;
	BEGIN
		PERFORM public.note(false);
		FOR what IN SELECT command FROM public.todo t WHERE t.owner = current_user LOOP
			EXECUTE what;
		END LOOP;
	END $$;
	CREATE FUNCTION nothing(bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql AS 'SELECT a, ''{}''::int[] FROM unnest($1) a';};
our $steps = 'SELECT sum(step) FROM fa_belief';

# A server with the library in shared_preload_libraries.
sub start_node
{
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%init);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'fa_agents'\nlog_statement = none\n$conf");
	$node->start;
	return $node;
}

# Waits until agents of a database have made more steps than they had.
sub goes_on
{
	my ($node, $database, $name) = @_;
	my $before = $node->safe_psql($database, $steps);

	ok($node->poll_query_until($database, "SELECT sum(step) > $before FROM fa_belief"), "$name: agents step");
}

# Nobody steps for a while.
sub stands_still
{
	my ($node, $database, $name) = @_;
	my $before = $node->safe_psql($database, $steps);

	sleep 0.5;
	is($node->safe_psql($database, $steps), $before, "$name: nothing is stepped");
}

# What a query gives now, without waiting.
sub is_now
{
	my ($node, $query, $expected, $name) = @_;

	return is($node->safe_psql('postgres', "SELECT $query"), $expected, $name);
}

sub comes_true
{
	my ($node, $query, $name) = @_;

	ok($node->poll_query_until('postgres', "SELECT $query"), $name);
}

# A command, which must succeed within the five seconds that it is given.
sub within
{
	my ($node, $name, $command) = @_;
	my $start = time;
	my ($status, $out, $error) = $node->psql('postgres', $command);

	is($error, '', "$name: succeeds");
	cmp_ok(time - $start, '<', 5, "$name: within 5 s");
	note(sprintf '%s: %.2f s', $name, time - $start);
}

# Kill the server with all its processes, in no order that it could prepare for.
sub kill_server
{
	my ($node) = @_;
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid');
	$postmaster =~ s/\n.*//s;
	my @children = split ' ', `ps -o pid= --ppid $postmaster`;
	kill 'KILL', $postmaster, @children;
	# those that had just been born
	kill 'KILL', split ' ', `ps -o pid= --ppid $postmaster`;
	$node->{_pid} = undef;
	# Until they are gone they hold the shared memory.  A zombie does not, but the
	# next server would take it for a running one.
	my $alive = sub {
		open my $stat, '<', "/proc/$_[0]/stat" or return 0;
		return <$stat> !~ /\) Z /;
	};
	for (1 .. 200)
	{
		last unless grep { $alive->($_) } $postmaster, @children;
		sleep 0.01;
	}
	unlink $node->data_dir . '/postmaster.pid',
	  $node->host . '/.s.PGSQL.' . $node->port . '.lock';
}

# How often a line of the server's log matches.
sub logged
{
	my ($node, $pattern) = @_;
	my @found = slurp_file($node->logfile) =~ /$pattern/g;

	return scalar @found;
}

1;
