# Agents that watch a table and act on one: by workers, in the step's transaction,
# one by one and at once; and what follows where the functions fail.

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
fa_agents.max_failures = 3
fa_agents.batch_timeout = 500
});

# Lamps: an agent that sees its own dark switches it on.  What a function does to
# an agent stands in table how.
$node->safe_psql('postgres', q{CREATE EXTENSION fa_agents;
	CREATE ROLE ann LOGIN; GRANT ALL ON SCHEMA public TO ann;
	SET ROLE ann;
	SELECT fa_model_create('lamp', '{"A": [[[1, 0], [0, 1]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 3]]}');
	SELECT count(*) FROM fa_agent_create_many('lamp', 40);
	CREATE TABLE room (agent_id bigint PRIMARY KEY, light int);
	INSERT INTO room SELECT agent_id, 0 FROM fa_agent;
	CREATE TABLE done (agent_id bigint, action int[], step bigint, who text DEFAULT session_user || ' ' || current_user, pid int DEFAULT pg_backend_pid(), many int);
	CREATE TABLE how (agent_id bigint PRIMARY KEY, sensor text, actuator text);
	CREATE FUNCTION suffer(what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		CASE what
			WHEN 'raise' THEN RAISE 'no good';
			WHEN 'lack' THEN EXECUTE 'SELECT * FROM nothing';
			WHEN 'sleep' THEN PERFORM pg_sleep(100);
			WHEN 'loop' THEN LOOP what := what; END LOOP;
			WHEN 'deaf' THEN LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
			WHEN 'kill' THEN PERFORM public.die();
			ELSE NULL;
		END CASE;
	END $$;
	CREATE FUNCTION see(agent bigint) RETURNS int[] LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.suffer(sensor) FROM public.how h WHERE h.agent_id = agent;
		RETURN (SELECT light || '{}'::int[] FROM public.room r WHERE r.agent_id = agent AND light IS NOT NULL);
	END $$;
	CREATE FUNCTION see(agents bigint[]) RETURNS TABLE (agent_id bigint, observation int[]) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.suffer(sensor) FROM public.how h WHERE h.agent_id = ANY (agents);
		RETURN QUERY SELECT r.agent_id, ARRAY[light] FROM public.room r WHERE r.agent_id = ANY (agents) AND light IS NOT NULL;
	END $$;
	CREATE FUNCTION push(agent bigint, action int[]) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done (agent_id, action, step, many) SELECT agent, push.action, b.step, 1 FROM public.fa_belief b WHERE b.agent_id = agent;
		UPDATE public.room r SET light = (light + push.action[1]) % 2 WHERE r.agent_id = agent;
		PERFORM public.suffer(actuator) FROM public.how h WHERE h.agent_id = agent;
	END $$;
	CREATE FUNCTION push(agents bigint[], actions int[]) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done (agent_id, action, step, many) SELECT agents[i], ARRAY[actions[i][1]], b.step, cardinality(agents)
			FROM generate_subscripts(agents, 1) i JOIN public.fa_belief b ON b.agent_id = agents[i];
		UPDATE public.room r SET light = (light + actions[array_position(agents, r.agent_id)][1]) % 2 WHERE r.agent_id = ANY (agents);
		PERFORM public.suffer(actuator) FROM public.how h WHERE h.agent_id = ANY (agents);
	END $$;
	RESET ROLE;
	CREATE FUNCTION die() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $die$ BEGIN EXECUTE $$COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'$$; END $die$;
});
# each step that was made stands in the table, and no other
my $whole = q{(SELECT count(*) = 0 FROM fa_belief b FULL JOIN (SELECT agent_id, max(step) AS step, count(*) FROM done GROUP BY 1) d USING (agent_id)
	WHERE coalesce(b.step, 0) <> coalesce(d.step, 0) OR coalesce(d.count, 0) <> coalesce(d.step, 0))};

for my $form ('single', 'set')
{
	my $array = $form eq 'set' ? '[]' : '';
	$node->safe_psql('postgres', "UPDATE room SET light = 0; TRUNCATE done;
		SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
		SET ROLE ann; SELECT count(*) FROM fa_agent_create_many('lamp', 40);
		TRUNCATE room; INSERT INTO room SELECT agent_id, 0 FROM fa_agent;
		SELECT fa_sensor_set('lamp', 'see(bigint$array)'), fa_actuator_set('lamp', 'push(bigint$array, int[])');
		SELECT fa_schedule_create('$form', 'lamp', '50 ms')");
	comes_true($node, 'sum(light) = 40 FROM room', "$form: all lamps are switched on");
	comes_true($node, 'min(step) > 20 FROM fa_belief', "$form: and agents go on");
	is_now($node, 'sum(light) FROM room', 40, "$form: which leaves them so");
	is_now($node, 'sum(action[1]) FROM done', 40, "$form: each was switched once");
	is_now($node, "string_agg(DISTINCT who, ', ') FROM done", 'ann ann', "$form: as ann, who is the session's user too");
	is_now($node, "string_agg(DISTINCT role || ' ' || owner, ', ') FROM fa_worker WHERE role LIKE '%worker'", 'sensor worker ann', "$form: which fa_worker shows");
	is_now($node, "count(*) FROM fa_worker WHERE role = 'worker'", 0, "$form: no other is there");
	is_now($node, "string_agg(DISTINCT usename, ', ') FROM pg_stat_activity WHERE backend_type = 'fa_agents sensor worker'", 'ann', "$form: the server says so, too");
	cmp_ok($node->safe_psql('postgres', 'SELECT max(many) FROM done'), $form eq 'set' ? '>' : '==', 1, "$form: as many at once as it says");
	comes_true($node, $whole, "$form: the rows of actions are those of steps");
	# one has nothing to see
	$node->safe_psql('postgres', 'UPDATE room SET light = NULL WHERE agent_id = (SELECT min(agent_id) FROM room)');
	my $first = '(SELECT min(agent_id) FROM room)';
	my $before = $node->safe_psql('postgres', "SELECT step FROM fa_belief WHERE agent_id = $first");
	comes_true($node, "min(step) > $before + 5 FROM fa_belief WHERE agent_id > $first", "$form: others go on");
	cmp_ok($node->safe_psql('postgres', "SELECT step FROM fa_belief WHERE agent_id = $first"), '<', $before + 3, "$form: who sees nothing is not stepped");
	is_now($node, 'errors FROM fa_schedule_status', 0, "$form: that is no error");
	$node->safe_psql('postgres', 'UPDATE room SET light = 0 WHERE light IS NULL');
	comes_true($node, 'sum(light) = 40 FROM room', "$form: nor does it forget it");
	# what fails
	for my $case ([ 'raise', 'no good' ], [ 'lack', 'relation "nothing" does not exist' ], [ 'sleep', 'canceling statement' ], [ 'loop', 'canceling statement' ])
	{
		my ($what, $error) = @$case;
		for my $where ('sensor', 'actuator')
		{
			my $name = "$form: the $where of one agent: $what";
			my ($agent) = $node->safe_psql('postgres', "INSERT INTO how (agent_id, $where) SELECT min(agent_id) + 7, '$what' FROM room RETURNING agent_id");
			comes_true($node, "next_try = 'infinity' FROM fa_retry WHERE agent_id = $agent", "$name: it is suspended");
			like($node->safe_psql('postgres', 'SELECT error FROM fa_retry'), qr/$error/, "$name: with that error, and no other is");
			my $step = $node->safe_psql('postgres', "SELECT step FROM fa_belief WHERE agent_id = $agent");
			comes_true($node, "min(step) > $step + 5 FROM fa_belief WHERE agent_id <> $agent", "$name: the others go on");
			is_now($node, "step FROM fa_belief WHERE agent_id = $agent", $step, "$name: it does not");
			is_now($node, "max(step) FROM done WHERE agent_id = $agent", $step, "$name: and left no row of an action");
			$node->safe_psql('postgres', "TRUNCATE how; SELECT fa_agent_resume(ARRAY[$agent])");
			comes_true($node, "step > $step FROM fa_belief WHERE agent_id = $agent", "$name: then it goes on, too");
		}
	}
	# one that catches its cancellation is ended with its process
	$node->safe_psql('postgres', "INSERT INTO how (agent_id, sensor) SELECT min(agent_id) + 9, 'deaf' FROM room");
	comes_true($node, "next_try = 'infinity' AND agent_id = (SELECT min(agent_id) + 9 FROM room) FROM fa_retry ORDER BY next_try DESC LIMIT 1", "$form: one that does not heed its cancellation is suspended");
	is_now($node, "error FROM fa_retry WHERE next_try = 'infinity'", 'its step did not end when it was cancelled', "$form: with that error");
	comes_true($node, 'count(*) = 1 FROM fa_retry', "$form: and no other is");
	$node->safe_psql('postgres', "TRUNCATE how; SELECT fa_agent_resume(array_agg(agent_id)) FROM fa_retry");
	comes_true($node, $whole, "$form: still the rows of actions are those of steps");
	$node->safe_psql('postgres', "SELECT fa_schedule_drop('$form')");
}
$node->stop('fast');

done_testing();
