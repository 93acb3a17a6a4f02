# When agents are due: spread over each turn, late steps are counted, missed turns
# are left out or made up, and what is urgent comes first but never for ever.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = start_node('main', q{
fa_agents.max_workers = 1
});
sub sql { return $node->safe_psql('postgres', shift); }

# Each step is noted in the order in which they are made.
sql(q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create(n, fa_spec_grid(3, 3)) FROM unnest('{a, b}'::text[]) AS n;
	CREATE TABLE made (place serial, agent_id bigint);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF new.step > old.step THEN INSERT INTO public.made (agent_id) VALUES (new.agent_id); END IF;
		RETURN new;
	END $$;
	CREATE TRIGGER note BEFORE UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION note();
	SELECT fa_worker_stop()});
sql("SELECT count(*) FROM fa_agent_create_many('a', 2048)");

# a million agents do not wake at once: 32 at a time do
is(sql('SELECT count(DISTINCT phase), count(DISTINCT phase / 1024) > 50 FROM fa_agent'), '65|t', 'agents have many phases, in most slices');
is(sql('SELECT max(n) FROM (SELECT count(*) AS n FROM fa_agent GROUP BY phase) p'), 32, '32 agents in a row have the same');
sql("SELECT fa_schedule_create('hourly', 'a', '1 hour', deadline => '10 min')");
is(sql(q{SELECT count(DISTINCT due), max(due) - min(due) FROM fa_schedule_slice}), '64|00:59:03.75', 'slices are due one after another in the hour');
is(sql(q{SELECT count(*) FROM fa_schedule_slice WHERE due <= now() + interval '1 min'}), 2, 'few of them soon');

# Sets all of a schedule's hands back to one time in the past; agents are older.
sub set_back
{
	my ($name, $time) = @_;
	sql("UPDATE fa_agent SET created_at = now() - interval '30 days'; TRUNCATE made;
		UPDATE fa_schedule_slice SET due = now() - interval '$time', phase = slice * 1024, agent_id = 0, skipped = 0
		WHERE schedule_id = (SELECT schedule_id FROM fa_schedule WHERE name = '$name')");
}

# Lets workers run until nothing is due.
sub work
{
	my ($name) = @_;
	sql('SELECT fa_worker_start()');
	comes_true($node, q{NOT EXISTS (SELECT FROM fa_schedule_status WHERE due <= now())}, $name);
	sql('SELECT fa_worker_drain()');
}

# turns that were missed are left out ...
set_back('hourly', '10 hours 30 min');
work('skip: nothing is due any more');
is(sql('SELECT count(*), count(DISTINCT agent_id) FROM made'), '2048|2048', 'skip: each agent is stepped once');
is(sql('SELECT steps, missed, late, errors FROM fa_schedule_status'), '2048|20480|2048|0', 'skip: ten turns of each are counted as missed, and the steps as late');
is(sql(q{SELECT count(*) FROM fa_schedule_slice WHERE due BETWEEN now() AND now() + interval '30 min'}), sql('SELECT count(DISTINCT phase / 1024) FROM fa_agent'), 'skip: hands keep their place in the turn');
is(sql('SELECT p50 <= p95, p95 <= p99, p50 > 200000 FROM fa_schedule_status'), 't|t|t', 'their lag is seen');

# ... but for one that was begun: it is finished first
my $middle = sql(q{SELECT agent_id FROM fa_agent WHERE phase = (SELECT min(phase) FROM fa_agent) ORDER BY agent_id OFFSET 15 LIMIT 1});
set_back('hourly', '10 hours 30 min');
sql("UPDATE fa_schedule_slice l SET phase = a.phase, agent_id = a.agent_id FROM fa_agent a WHERE a.agent_id = $middle AND l.slice = a.phase / 1024");
work('begun: nothing is due any more');
is(sql("SELECT agent_id > $middle, count(*) / count(DISTINCT agent_id)::float8 FROM made JOIN fa_agent USING (agent_id) WHERE phase = (SELECT phase FROM fa_agent WHERE agent_id = $middle) GROUP BY 1 ORDER BY 1"), "f|1\nt|2", 'a turn that was begun is finished, then comes the newest');

# ... or made up
sql("SELECT fa_schedule_drop('hourly'); SELECT fa_schedule_create('all', 'a', '1 hour', deadline => '1 day', catch_up => 'all')");
set_back('all', '3 hours 30 min');
work('all: nothing is due any more');
is(sql('SELECT count(*), count(DISTINCT agent_id) FROM made'), '8192|2048', 'all: each agent is stepped four times');
is(sql("SELECT steps, missed, late FROM fa_schedule_status"), '8192|0|0', 'all: none is missed, and none is late where the deadline is a day');

# an agent that was made after its turn is not owed it
sql("SELECT fa_agent_create('a', 'new')");
sql(q{UPDATE fa_schedule_slice SET due = now() - interval '30 min', phase = slice * 1024, agent_id = 0});
sql('TRUNCATE made');
work('new: nothing is due any more');
is(sql('SELECT count(*) FROM made'), 2048, 'a new agent is not owed the turns before it');
is(sql("SELECT step FROM fa_belief JOIN fa_agent USING (agent_id) WHERE name = 'new'"), 0, 'and was not stepped');

# who is paused has no turn, and none is made up
sql("SELECT fa_agent_pause('{1, 2, 3}')");
my $counted = sql("SELECT steps FROM fa_schedule_status WHERE name = 'all'");
set_back('all', '30 min');
work('paused: nothing is due any more');
is(sql('SELECT count(*) FROM made WHERE agent_id < 4'), 0, 'paused agents are left out');
is(sql("SELECT steps - $counted - (SELECT count(*) FROM made) FROM fa_schedule_status WHERE name = 'all'"), 0, 'and not counted');
sql("SELECT fa_schedule_drop('all')");

# what matters more comes first, though it was due a little later
sql(q{SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE agent_id > 64;
	SELECT count(*) FROM fa_agent_create_many('b', 64);
	SELECT fa_schedule_create('low', 'a', '1 day');
	SELECT fa_schedule_create('high', 'b', '1 day', priority => 100)});
my $order = q{SELECT string_agg(name, ' ' ORDER BY first) FROM (SELECT m.name, min(place) AS first, max(place) AS last
	FROM made JOIN fa_agent USING (agent_id) JOIN fa_model m USING (model_id) GROUP BY m.name) AS o};
set_back('low', '60 s');
set_back('high', '1 s');
work('priorities: nothing is due any more');
is(sql($order), 'b a', 'high priority comes first');
# ... but one that has waited longer than that is not starved
set_back('low', '150 s');
set_back('high', '1 s');
work('ageing: nothing is due any more');
is(sql($order), 'a b', 'who has waited long enough comes first');
sql("SELECT fa_schedule_drop(name) FROM fa_schedule");

# two schedules of the same agents: each has its step, and counts it
sql("SELECT fa_agent_resume('{1, 2, 3}'); SELECT fa_schedule_create(name, 'a', '1 day') FROM unnest('{one, two}'::text[]) AS name");
set_back($_, '1 min') for 'one', 'two';
work('two schedules: nothing is due any more');
is(sql('SELECT count(*), count(DISTINCT agent_id) FROM made'), '128|64', 'two schedules: each agent is stepped twice');
is(sql('SELECT name, steps, errors FROM fa_schedule_status ORDER BY name'), "one|64|0\ntwo|64|0", 'two schedules: and counted once by each');
is(sql('SELECT count(*) FROM fa_retry'), 0, 'two schedules: without fault');
sql("SELECT fa_schedule_drop(name) FROM fa_schedule");

# a slice in which nobody is found is not looked at again, until somebody is there
sql(q{SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent; SELECT fa_agent_create('a', 'first');
	SELECT fa_schedule_create('few', 'a', '200 ms'), fa_worker_start()});
is(sql('SELECT count(*) FROM fa_schedule_slice WHERE NOT empty'), 1, 'one slice has the agent');
comes_true($node, "step > 1 FROM fa_belief", 'it is stepped');
sql("SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent");
comes_true($node, 'bool_and(empty) FROM fa_schedule_slice', 'it is gone, and so is the work');
is(sql('SELECT due IS NULL AND state = $$running$$ FROM fa_schedule_status'), 't', 'nothing is due');
sql("SELECT count(*) FROM fa_agent_create_many('a', 100)");
comes_true($node, 'min(step) > 1 FROM fa_belief', 'new agents are stepped');
comes_true($node, 'max(step) - min(step) < 3 FROM fa_belief', 'as often as each other');

# the clock was set back: hands and tries that are too far ahead begin anew, others stay
sql(q{SELECT fa_worker_stop(); SELECT fa_schedule_create('daily', 'a', '1 day');
	INSERT INTO fa_retry SELECT min(agent_id), min(schedule_id), 1, now() + interval '30 days', '', 'P0001' FROM fa_agent, fa_schedule});
my $hands = q{SELECT string_agg(due::text, ' ' ORDER BY slice) FROM fa_schedule_slice JOIN fa_schedule USING (schedule_id) WHERE name = 'daily' AND slice > 0};
my $stay = sql($hands);
my $before = sql('SELECT max(step) FROM fa_belief');
sql(q{UPDATE fa_schedule_slice SET due = due + interval '30 days' WHERE schedule_id = (SELECT schedule_id FROM fa_schedule WHERE name = 'few'); SELECT fa_worker_start()});
comes_true($node, "min(step) > $before FROM fa_belief", 'the clock was set back: agents go on');
is(sql('SELECT count(*) FROM fa_retry'), 0, 'also one that waited for its next try');
is(sql($hands), $stay, 'what is less than a turn ahead stays');

# where tomorrow is a day of 23 hours, or of 25, a turn of a day has 24 all the same
for my $case ([ 1, 100 ], [ 100, 1 ])
{
	my $zone = 'STD0DST,' . join(',', map { sprintf '%d/0', (gmtime(time + 86400 * $_))[7] } @$case);
	$node->append_conf('postgresql.conf', "timezone = '$zone'");
	sql('SELECT fa_worker_stop()');
	$node->reload;
	comes_true($node, "current_setting('timezone') = '$zone'", 'the clocks change tomorrow');
	# the hands of who has just had his turn, and one that waited for agents
	sql(q{SELECT fa_schedule_drop('daily'), fa_schedule_create('daily', 'a', '1 day'), fa_schedule_create('two', 'a', '2 days');
		UPDATE fa_schedule_slice SET due = now() + interval '23 hours 59 min' WHERE schedule_id = (SELECT schedule_id FROM fa_schedule WHERE name = 'daily')});
	is(sql(q{SELECT justify_hours(max(due) - min(due)) FROM fa_schedule_slice JOIN fa_schedule USING (schedule_id) WHERE name = 'two'}), '1 day 23:15:00', 'slices have their places in 48 hours');
	$stay = sql($hands);
	sql('SELECT fa_worker_start()');
	$before = sql('SELECT max(step) FROM fa_belief');
	comes_true($node, "min(step) > $before + 1 FROM fa_belief", 'agents go on');
	is(sql($hands), $stay, 'hands that are a turn of 24 hours ahead stay');
	sql(q{SELECT fa_worker_stop(); UPDATE fa_schedule_slice l SET due = now() - interval '1 min', empty = true FROM fa_schedule s
		WHERE s.schedule_id = l.schedule_id AND s.name = 'daily'; SELECT fa_worker_start()});
	comes_true($node, "count(*) > 1 FROM fa_schedule_slice JOIN fa_schedule USING (schedule_id) WHERE name = 'daily' AND NOT empty", 'agents are found');
	is(sql(q{SELECT DISTINCT date_trunc('hour', due - now()) FROM fa_schedule_slice JOIN fa_schedule USING (schedule_id) WHERE name = 'daily' AND NOT empty}), '23:00:00', 'they are due in their next turn, of 24 hours');
	sql(q{SELECT fa_schedule_drop('two')});
}
$node->stop('fast');

done_testing();
