# A session's memory does not grow with its steps: a million in one backend, by
# every way to make them.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs /proc' unless -r '/proc/self/statm';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
log_statement = none
synchronous_commit = off
shared_buffers = 32MB
fa_agents.cache_size = 1MB
});
$node->start;

$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('corridor', fa_spec_grid(1, 2));
SELECT fa_model_create('other', fa_spec_grid(1, 3));
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "learn_A": true}');
SELECT count(*) FROM fa_agent_create_many('corridor', 100);	-- 1 .. 100
SELECT count(*) FROM fa_agent_create_many('other', 100);	-- 101 .. 200
SELECT count(*) FROM fa_agent_create_many('learner', 5, '{"history": ["belief", "q_pi"]}');	-- 201 .. 205
-- steps of each of the first hundred agents in turn; a transaction for every five rounds
CREATE PROCEDURE single(steps int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. steps LOOP
		PERFORM FROM fa_step(i % 100 + 1, '{0}');
		IF i % 500 = 0 THEN COMMIT; END IF;
	END LOOP;
END $$;
CREATE PROCEDURE many(calls int) LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[] := ARRAY(SELECT generate_series(1, 200));
BEGIN
	FOR i IN 1 .. calls LOOP
		PERFORM FROM fa_step_many(ids);
		COMMIT;
	END LOOP;
END $$;
-- all that happens seldom, errors too
CREATE PROCEDURE mixed(calls int) LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[] := '{201,202,203,204,205}';
	fork bigint;
BEGIN
	FOR i IN 1 .. calls LOOP
		PERFORM fa_observe(201, '{1}', 'o' || i);
		PERFORM FROM fa_step(201, key => 'k' || i);
		PERFORM FROM fa_step(201, key => 'k' || i);
		PERFORM FROM fa_run_many(ids, 2);
		PERFORM fa_agent_reset('{202}');
		PERFORM FROM fa_explain(201);
		PERFORM fa_belief(201), fa_action(201), fa_parameters(201), fa_infer('other', NULL, '{0}');
		fork := fa_agent_fork(201);
		PERFORM fa_agent_drop(ARRAY[fork]);
		BEGIN
			PERFORM FROM fa_step_many('{1,101,0}');
			RAISE 'no error';
		EXCEPTION WHEN undefined_object THEN NULL;
		END;
		BEGIN
			PERFORM FROM fa_step(1, '{99}');
			RAISE 'no error';
		EXCEPTION WHEN numeric_value_out_of_range THEN NULL;
		END;
		COMMIT;
	END LOOP;
END $$;
-- models come and go through a cache that holds only a few
CREATE PROCEDURE models(calls int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. calls LOOP
		PERFORM fa_model_create('new', fa_spec_grid(3, 3, preference => i));
		PERFORM FROM fa_step(fa_agent_create('new', 'new'));
		COMMIT;
		PERFORM fa_agent_drop(ARRAY[agent_id]) FROM fa_agent WHERE name = 'new';
		PERFORM fa_model_drop('new');
		COMMIT;
	END LOOP;
END $$;
});

my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');

# memory of its own in kB, without the shared buffers that it has touched
sub own_memory
{
	my (undef, $resident, $shared) = split ' ', slurp_file("/proc/$pid/statm");
	return ($resident - $shared) * 4;
}

# The first tenth brings all that is kept: plans, models, what malloc holds back.
for my $way (
	[ 'single steps', 'single', 800_000 ],
	[ 'rows of batches', 'many', 1_000 ],
	[ 'rare calls', 'mixed', 2_000 ],
	[ 'models', 'models', 1_000 ])
{
	my ($name, $procedure, $count) = @$way;
	my $tenth = $count / 10;
	$session->query_safe("CALL $procedure($tenth)");
	my $before = own_memory();
	$session->query_safe("CALL $procedure($count - $tenth)");
	my $after = own_memory();
	cmp_ok($after - $before, '<', 2048, "$name leave the memory flat")
	  or diag("$before kB after $tenth, $after kB after $count");
	note("$name: $before kB, then $after kB");
}
is($session->query_safe('SELECT sum(step) FROM fa_belief WHERE agent_id <= 200'),
	1_000_000, 'a million steps were made');
$session->quit;

# A batch whose agents have many models needs each of them once, even where the cache
# has room for none: not what was read of the tables besides.
$node->safe_psql('postgres', q{
SELECT count(fa_agent_create('large' || i)) FROM (
	SELECT i, fa_model_create('large' || i, jsonb_build_object('A', jsonb_build_array(jsonb_build_object('shape', '[500, 500]'::jsonb,
		'entries', (SELECT jsonb_agg(jsonb_build_array(s, s, 1)) FROM generate_series(0, 499) AS s))),
		'B', jsonb_build_array(jsonb_build_object('shape', '[500, 500, 2]'::jsonb, 'default', 1.0 / 500,
			'entries', jsonb_build_array(jsonb_build_array(0, 0, 0, (1 + i / 10.0) / 500), jsonb_build_array(1, 0, 0, (1 - i / 10.0) / 500))))))
	FROM generate_series(1, 9) AS i OFFSET 0) AS made;
});
my $bytes = $node->safe_psql('postgres', q{SELECT sum(octet_length(body)) FROM fa_model WHERE name LIKE 'large%'});
$session = $node->background_psql('postgres');
$pid = $session->query_safe('SELECT pg_backend_pid()');
# the most that the session has had in memory, in kB
sub peak { return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : die }
$session->query_safe('SELECT count(*) FROM fa_step_many(ARRAY[1, 2])');
my $before = peak();
is($session->query_safe(q{SELECT count(*) FROM fa_step_many(ARRAY(
	SELECT agent_id FROM fa_agent JOIN fa_model m USING (model_id) WHERE m.name LIKE 'large%'))}), 9, 'agents of nine large models step');
my $grown = (peak() - $before) * 1024;
cmp_ok($grown, '<', 1.6 * $bytes, "nine models of $bytes bytes are held once ($grown)");
cmp_ok($grown, '>', 0.9 * $bytes, 'which is seen');
$session->quit;
$node->stop;
done_testing();
