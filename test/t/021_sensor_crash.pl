# Sensors and actuators through crashes and terminations, by event, and through a dump.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use Workers;

my $node = start_node('main', q{
max_worker_processes = 16
restart_after_crash = on
fa_agents.retry_delay = 20
});

# An actuator notes the step; one agent's kills its process.
$node->safe_psql('postgres', q{CREATE EXTENSION fa_agents;
	CREATE FUNCTION die() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $die$ BEGIN EXECUTE $$COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'$$; END $die$;
	CREATE ROLE ann LOGIN; GRANT ALL ON SCHEMA public TO ann;
	SET ROLE ann;
	SELECT fa_model_create('grid', fa_spec_grid(3, 3));
	SELECT count(*) FROM fa_agent_create_many('grid', 100);
	CREATE TABLE done (agent_id bigint, step bigint);
	CREATE TABLE deadly (agent_id bigint);
	CREATE TABLE ending (agent_id bigint);
	CREATE TABLE held (agent_id bigint);
	CREATE FUNCTION see(bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE sql AS 'SELECT a, ARRAY[(a % 9)::int] FROM unnest($1) a';
	CREATE FUNCTION act(bigint[], int[]) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		WHILE EXISTS (SELECT FROM public.held) LOOP
			PERFORM pg_sleep(0.05);
		END LOOP;
		INSERT INTO public.done SELECT agent_id, step FROM public.fa_belief WHERE agent_id = ANY ($1);
		PERFORM public.die() FROM public.deadly WHERE agent_id = ANY ($1);
		PERFORM pg_terminate_backend(pg_backend_pid()) FROM public.ending WHERE agent_id = ANY ($1);
	END $$;
	SELECT fa_sensor_set('grid', 'see(bigint[])'), fa_actuator_set('grid', 'act(bigint[], int[])');
	SELECT fa_schedule_create('never', 'grid', '20 ms'), fa_schedule_pause('never');
	SELECT fa_schedule_create('often', 'grid', '20 ms')});
my $whole = q{count(*) = 0 FROM fa_belief b FULL JOIN (SELECT agent_id, max(step) AS step, count(*) FROM done GROUP BY 1) d USING (agent_id)
	WHERE coalesce(b.step, 0) <> coalesce(d.step, 0) OR coalesce(d.count, 0) <> coalesce(d.step, 0)};
goes_on($node, 'postgres', 'before a crash');

# a sensor worker is killed, whatever it is doing
for my $time (1 .. 3)
{
	my ($pid) = $node->safe_psql('postgres', "SELECT pid FROM fa_worker WHERE role = 'sensor worker' LIMIT 1");
	sleep 0.05 * $time;
	kill 'KILL', $pid if $pid;
	sleep 0.3;
	$node->poll_query_until('postgres', 'SELECT true');
	goes_on($node, 'postgres', "killed $time");
	is_now($node, $whole, 't', "killed $time: of each step its action stands there, and of no other");
}
# an agent whose actuator kills its process is found
$node->safe_psql('postgres', 'INSERT INTO deadly VALUES (50)');
my $start = time;
until ((($node->psql('postgres', "SELECT next_try = 'infinity' FROM fa_retry WHERE agent_id = 50"))[1] // '') eq 't')
{
	last if time - $start > 60;
	sleep 0.2;
}
is_now($node, "count(*) FILTER (WHERE next_try = 'infinity' AND agent_id = 50) FROM fa_retry", 1, 'an agent whose actuator crashes the server is suspended');
comes_true($node, "min(step) > 10 FROM fa_belief WHERE agent_id <> 50", 'the others go on');
is_now($node, 'count(*) FROM fa_retry', 1, 'and no other is suspended');
is_now($node, 's.name FROM fa_retry JOIN fa_schedule s USING (schedule_id)', 'often', 'it is noted with a schedule that runs, which tries the others again');
is_now($node, $whole, 't', 'actions and steps are whole');
$node->safe_psql('postgres', "TRUNCATE deadly; SELECT fa_agent_resume('{50}')");
goes_on($node, 'postgres', 'all');
# nor does one get far that terminates its own process
$node->safe_psql('postgres', 'INSERT INTO ending VALUES (60)');
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 60", 'an agent that terminates its process is suspended');
is_now($node, 'attempts, error FROM fa_retry WHERE agent_id = 60', '5|its process was terminated during its step', 'after as many tries as with an error');
comes_true($node, 'count(*) = 1 FROM fa_retry', 'and no other is');
goes_on($node, 'postgres', 'the others');
$node->safe_psql('postgres', "TRUNCATE ending; SELECT fa_agent_resume('{60}')");
# who is terminated by somebody else is not suspended for it
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM fa_worker WHERE role = 'sensor worker'");
goes_on($node, 'postgres', 'after somebody has terminated a worker');
comes_true($node, 'count(*) = 0 FROM fa_retry', 'none is suspended');
is_now($node, $whole, 't', 'actions and steps are still whole');
$node->safe_psql('postgres', "SELECT fa_schedule_drop('often'), fa_schedule_drop('never')");

# by event: an actuator alone, through a worker that passes it on
$node->safe_psql('postgres', "SET ROLE ann; SELECT fa_sensor_set('grid', NULL); SELECT fa_schedule_create('event', 'grid')");
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM done');
$node->safe_psql('postgres', "SELECT fa_observe(agent_id, '{1}'), fa_observe(agent_id, '{2}') FROM fa_agent");
comes_true($node, "count(*) = $before + 200 FROM done", 'each observation is acted on');
is_now($node, 'count(*) FROM fa_observation', 0, 'and taken');
is_now($node, $whole, 't', 'once');
is_now($node, 'sum(steps) > 0 FROM fa_worker WHERE owner IS NOT NULL', 't', 'by the worker of the owner');
is_now($node, "errors || ' ' || steps FROM fa_schedule_status", '0 200', 'which is counted');
# while another owner's agents of the same kind are stepped by who computes
$node->safe_psql('postgres', "SELECT fa_model_create('plain', fa_spec_grid(3, 3)); SELECT count(*) FROM fa_agent_create_many('plain', 50); SELECT fa_schedule_create('plain', 'plain')");
$node->safe_psql('postgres', "SELECT fa_observe(agent_id, '{1}') FROM fa_agent");
comes_true($node, "min(step) = 1 FROM fa_belief JOIN fa_model m USING (model_id) WHERE m.name = 'plain'", 'who has no actuator is stepped, too');
comes_true($node, "count(*) = $before + 300 FROM done", 'beside those who have');
is_now($node, 'count(*) FROM fa_observation', 0, 'nothing is left');
$node->safe_psql('postgres', "SELECT fa_schedule_drop('plain'); SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent JOIN fa_model m USING (model_id) WHERE m.name = 'plain'");

# more at once than can be passed on, while the owner's workers are held up: what
# found no room is looked for without waiting for a sweep
$node->append_conf('postgresql.conf', "fa_agents.sweep_interval = '1 h'");
$node->reload;
$node->safe_psql('postgres', "SET ROLE ann; INSERT INTO held VALUES (0); SELECT count(*) FROM fa_agent_create_many('grid', 3000)");
$node->safe_psql('postgres', "SELECT count(fa_observe(agent_id, '{1}')) FROM fa_agent WHERE owner = 'ann'::regrole");
comes_true($node, "count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'", 'the workers of the owner are held up');
# nothing shows what was passed on: whoever passes it on has it done in a moment
sleep 2;
comes_true($node, "count(*) = 0 FROM fa_worker WHERE role = 'worker' AND state = 'stepping'", 'and all is passed on');
$node->safe_psql('postgres', 'DELETE FROM held');
comes_true($node, "count(*) = $before + 3400 FROM done", 'many at once are all acted on');
is_now($node, $whole, 't', 'each once');

# one that does not end is ended with its process also where nothing else is due,
# and the coordinator sleeps
my $asleep = "count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'fa_agents coordinator' AND state = 'idle' AND state_change < clock_timestamp() - interval '3 s'";
$node->append_conf('postgresql.conf', 'fa_agents.batch_timeout = 3s');
$node->reload;
$node->safe_psql('postgres', q{SET ROLE ann; CREATE FUNCTION deaf(bigint) RETURNS int[] LANGUAGE plpgsql AS $$
	BEGIN LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
	SELECT fa_sensor_set('grid', 'deaf(bigint)', '{70}')});
comes_true($node, $asleep, 'the coordinator sleeps');
$node->safe_psql('postgres', "SELECT fa_observe(70, '{1}')");
comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = 70", 'an agent whose sensor does not end is suspended, by event');
$node->safe_psql('postgres', "SET ROLE ann; SELECT fa_sensor_set('grid', NULL, '{70}'), fa_agent_resume('{70}')");
comes_true($node, "count(*) = $before + 3401 FROM done", 'and steps when it has another');

# a dump has sensors and actuators
$node->safe_psql('postgres', "SET ROLE ann; SELECT fa_sensor_set('grid', 'see(bigint[])'), fa_sensor_set('grid', 'see(bigint[])', '{1}')");
$node->safe_psql('postgres', 'SELECT fa_worker_stop()');
my $rows = 'SELECT x::text FROM fa_sensor x ORDER BY 1';
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', $rows), $node->safe_psql('postgres', $rows), 'with its sensors and actuators');
my $done = $node->safe_psql('restored', 'SELECT count(*) FROM done');
$node->safe_psql('restored', "SET ROLE ann; SELECT fa_schedule_create('new', 'grid', '50 ms')");
ok($node->poll_query_until('restored', "SELECT count(*) > $done + 100 FROM done"), 'by which restored agents act');
$node->stop('fast');

done_testing();
