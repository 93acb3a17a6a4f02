# As whom code of users runs, and in which process: nothing crosses owners, and
# nobody becomes another.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
fa_agents.max_workers = 1
fa_agents.max_sensor_workers = 1
fa_agents.retry_delay = 20
fa_agents.max_failures = 3
});

$node->safe_psql('postgres', "$acting;
	CREATE ROLE family;
	CREATE ROLE ann LOGIN IN ROLE family; CREATE ROLE bob LOGIN IN ROLE family; CREATE ROLE root LOGIN SUPERUSER;
	GRANT ALL ON SCHEMA public TO ann, bob, family");
for my $role ('ann', 'bob', 'root')
{
	$node->safe_psql('postgres', "SET ROLE $role; SELECT fa_model_create('$role', fa_spec_grid(2, 2)); SELECT fa_agent_create('$role', '$role');
		SELECT fa_actuator_set('$role', 'act(bigint[], int[])'); SELECT fa_schedule_create('$role', '$role', '20 ms')");
}
# one place for three: they take turns, in processes of their own
comes_true($node, 'count(DISTINCT session) = 3 FROM seen', 'each owner comes to his turn');
my $turns = $node->safe_psql('postgres', "SELECT max(at) FROM seen");
comes_true($node, "count(DISTINCT session) = 3 FROM seen WHERE at > $turns", 'and again');
is_now($node, 'count(*) FROM seen WHERE session <> who', 0, 'the session user is the current one');
is_now($node, "string_agg(DISTINCT session || ' ' || super, ', ') FROM seen", 'ann off, bob off, root on', 'superuser only where the owner is');
is_now($node, 'max(n) FROM (SELECT count(DISTINCT session) AS n FROM seen GROUP BY pid) s', 1, 'no process has served two');
is_now($node, "count(*) <= 1 FROM fa_worker WHERE role = 'sensor worker'", 't', 'one at a time');
is_now($node, "string_agg(DISTINCT lock_timeout, ', ') FROM seen", '1s', 'with our settings');
$node->safe_psql('postgres', "SELECT fa_schedule_pause('root')");

# what one batch leaves is gone before the next, of the same owner and of others
$node->safe_psql('postgres', q{TRUNCATE seen; INSERT INTO todo SELECT o, c FROM unnest('{ann,bob}'::name[]) o, unnest(ARRAY[
	'SET search_path = pg_catalog', 'CREATE TEMP TABLE mine ()', 'SELECT pg_advisory_lock(7)', 'PREPARE p AS SELECT 1', 'SET lock_timeout = 0']) c});
comes_true($node, "count(*) > 20 FROM seen WHERE session = 'ann'", 'ann leaves things behind');
is_now($node, q{count(*) FROM fa_retry}, 0, 'which is no error');
is_now($node, q{string_agg(DISTINCT concat_ws(' ', path, temps, locks, prepared, lock_timeout), ', ') FROM seen WHERE at > (SELECT min(at) + 5 FROM seen)}, '"$user", public 0 0 0 1s', 'and finds nothing');
# (one by one: an actuator locks them in the other order)
$node->safe_psql('postgres', "TRUNCATE todo; TRUNCATE seen; SELECT fa_schedule_pause('bob')");
comes_true($node, 'count(*) > 3 FROM seen', 'still there');
is_now($node, "count(*) FROM pg_locks WHERE locktype = 'advisory'", 0, 'no lock is left');

# also where what is dropped lies out of line in the catalogs
$node->safe_psql('postgres', q{INSERT INTO todo SELECT 'ann', 'CREATE TEMP VIEW mine AS SELECT ARRAY[' || string_agg(quote_literal(sha512(i::text::bytea)), ',') || '] AS a' FROM generate_series(1, 100) i});
$node->safe_psql('postgres', "TRUNCATE seen");
comes_true($node, 'count(*) > 5 FROM seen', 'ann leaves a long view behind');
is_now($node, 'count(*) FROM fa_retry', 0, 'which is no error');
is(logged($node, 'ERROR:.*snapshot|cannot step agents'), 0, 'nor is it one to drop it');
$node->safe_psql('postgres', "TRUNCATE todo");

# nobody becomes another; the agent is suspended with that error
for my $case ([ 'SET ROLE family', 'cannot set parameter "role"' ], [ 'SET ROLE bob', 'permission denied|cannot set parameter "role"' ], [ 'RESET ROLE', 'cannot set parameter "role"' ],
	[ 'SET SESSION AUTHORIZATION postgres', 'permission denied|cannot set parameter "session_authorization"' ], [ 'RESET SESSION AUTHORIZATION', 'cannot set parameter "session_authorization"' ],
	[ 'UPDATE fa_belief SET step = 0', 'permission denied for table fa_belief' ], [ 'DELETE FROM fa_schedule', 'permission denied for table fa_schedule' ],
	[ 'CREATE ROLE evil', 'permission denied' ], [ "COPY seen TO PROGRAM 'true'", 'permission denied|must be superuser' ])
{
	my ($command, $error) = @$case;
	$node->safe_psql('postgres', "INSERT INTO todo VALUES ('ann', \$\$$command\$\$)");
	comes_true($node, "next_try = 'infinity' FROM fa_retry", "$command: the agent is suspended");
	like($node->safe_psql('postgres', 'SELECT error FROM fa_retry'), qr/$error/, "$command: with that error");
	$node->safe_psql('postgres', "TRUNCATE todo; SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_agent");
}

# deferred constraints are the owner's, too, and what they raise the agent's
$node->safe_psql('postgres', q{SET ROLE ann;
	CREATE TABLE later (what text);
	CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.note(true); EXECUTE new.what; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
	TRUNCATE seen;
	INSERT INTO todo VALUES ('ann', 'INSERT INTO later VALUES (''SELECT 1'')')});
comes_true($node, 'count(*) > 3 FROM seen WHERE trigger', 'a deferred trigger fires');
is_now($node, "string_agg(DISTINCT concat_ws(' ', session, who, super), ', ') FROM seen WHERE trigger", 'ann ann off', 'as the owner');
for my $case ([ 'SET ROLE family', 'cannot set parameter "role"' ], [ 'RESET SESSION AUTHORIZATION', 'cannot set parameter' ], [ 'SELECT 1 / 0', 'division by zero' ])
{
	my ($command, $error) = @$case;
	$node->safe_psql('postgres', "TRUNCATE todo; INSERT INTO todo VALUES ('ann', \$\$INSERT INTO later VALUES ('$command')\$\$)");
	comes_true($node, "next_try = 'infinity' FROM fa_retry", "deferred, $command: the agent is suspended");
	like($node->safe_psql('postgres', 'SELECT error FROM fa_retry'), qr/$error/, "deferred, $command: with that error");
	$node->safe_psql('postgres', "TRUNCATE todo; SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_agent");
}
# a cursor that is kept is computed by the commit: as the owner as well
$node->safe_psql('postgres', q{SET ROLE ann; TRUNCATE seen; INSERT INTO todo VALUES ('ann', 'DECLARE c CURSOR WITH HOLD FOR SELECT public.note(true)')});
comes_true($node, 'count(*) > 3 FROM seen WHERE trigger', 'a cursor is kept');
is_now($node, "string_agg(DISTINCT concat_ws(' ', session, who, super), ', ') FROM seen WHERE trigger", 'ann ann off', 'as the owner');
$node->safe_psql('postgres', 'TRUNCATE todo');

# what that raises fails the commit, and is her agent's fault all the same
$node->safe_psql('postgres', q{INSERT INTO todo VALUES ('ann', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (random() * 0)::int')});
comes_true($node, "next_try = 'infinity' FROM fa_retry", 'a commit that fails: the agent is suspended');
is_now($node, 'error FROM fa_retry', 'division by zero', 'with that error');
$node->safe_psql('postgres', "TRUNCATE todo; SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_agent");

# a role that ann has given herself to begin with is not taken
$node->safe_psql('postgres', q{ALTER ROLE ann SET role = 'family'; ALTER ROLE ann SET work_mem = '3MB'; TRUNCATE seen});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM fa_worker WHERE role = 'sensor worker'");
comes_true($node, 'count(*) > 3 FROM seen', 'a worker that is terminated comes back');
is_now($node, "string_agg(DISTINCT session || ' ' || who, ', ') FROM seen", 'ann ann', 'as ann');
$node->safe_psql('postgres', 'ALTER ROLE ann RESET ALL');
$node->stop('fast');

done_testing();
