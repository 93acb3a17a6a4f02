# pg_dump and pg_restore keep the models, worlds and agents, what they believe
# and learned, the inbox, keys and history, messages and dead letters, coalitions,
# the ids to come, and all that the catalog says of the extension's tables; and the restored agents go on as the
# others do.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

$node->safe_psql('postgres', q{
CREATE ROLE alice;
CREATE ROLE bob;
CREATE DATABASE live;
});
$node->safe_psql('live', q{
CREATE SCHEMA "Active ""agents""";
GRANT USAGE ON SCHEMA "Active ""agents""" TO PUBLIC;
CREATE EXTENSION fa_agents SCHEMA "Active ""agents""";
SET search_path = "Active ""agents""";
-- rights given later are kept too
GRANT SELECT ON fa_history TO bob;
GRANT EXECUTE ON FUNCTION fa_history_retain(interval) TO alice;
SELECT fa_model_create('maze', fa_spec_tmaze());
SELECT fa_model_create('maze', fa_spec_tmaze(cue_validity => 0.8));
SELECT fa_model_create('grid', fa_spec_grid(5, 5, noise => 0.1));
SELECT fa_world_create('noisy', fa_spec_grid(5, 5, noise => 0.3));
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "pB": [[[[5, 1], [1, 5]], [[1, 5], [5, 1]]]],
	"learn_A": true, "learn_B": true, "action_selection": "stochastic"}');
SELECT fa_belief_sync('maze', 'change', 0.25), fa_belief_sync('grid', 'step');
SELECT fa_agent_create('maze@1', 'old');
SELECT fa_agent_create('maze', 'ann', '{"history": ["belief", "q_pi", "neg_efe"], "gamma": 4}');
SELECT fa_agent_create('grid', 'bill', '{"world": "noisy", "seed": 5, "history": true}');
SELECT fa_agent_create('learner', 'cleo', '{"history": true}');
SELECT fa_agent_create('grid', 'dora');
SELECT count(*) FROM fa_agent_create_many('grid', 10);
SELECT fa_agent_fork((SELECT agent_id FROM fa_agent WHERE name = 'bill'));
SELECT fa_agent_drop(ARRAY[(SELECT max(agent_id) - 1 FROM fa_agent)]);
SELECT count(*) FROM fa_run_many((SELECT array_agg(agent_id) FROM fa_agent), 5);
SELECT fa_agent_reset(ARRAY[(SELECT agent_id FROM fa_agent WHERE name = 'ann')]);
SELECT count(*) FROM fa_run_many((SELECT array_agg(agent_id) FROM fa_agent), 3);
SELECT * FROM fa_agent a, fa_step(a.agent_id, key => 'again') WHERE name = 'cleo';
SELECT fa_observe(agent_id, '{1}', 'first'), fa_observe(agent_id, '{0}') FROM fa_agent WHERE name = 'cleo';
SELECT fa_agent_pause(ARRAY[(SELECT agent_id FROM fa_agent WHERE name = 'dora')]);
SELECT fa_coalition_create('pair', (SELECT array_agg(agent_id) FROM fa_agent WHERE name IN ('ann', 'bill')), 'linear');
SELECT count(*) FROM fa_agent, fa_coalition_create('grids', ARRAY[agent_id], factors => '{location}', weights => '{2}'), fa_coalition_step('grids') WHERE name = 'bill';
SELECT fa_send_many(ann.agent_id, ARRAY[bill.agent_id, bill.agent_id, dora.agent_id], '{"odd": "\u00e9 '' \" \\\\"}', 'sent', 3),
	fa_broadcast(ann.agent_id, 'pair', '"first"'), fa_send(dora.agent_id, ann.agent_id, '"lost"')
	FROM fa_agent ann, fa_agent bill, fa_agent dora WHERE (ann.name, bill.name, dora.name) = ('ann', 'bill', 'dora');
UPDATE fa_message SET sent_at = '2001-01-01' WHERE body = '"lost"';
SELECT fa_message_expire();
SELECT fa_outbox_subscribe('reader', '{step}');
SET fa_agents.outbox = 'step';
SELECT r.step FROM fa_agent a, fa_step(a.agent_id) r WHERE name = 'ann';
RESET fa_agents.outbox;
SELECT setval('fa_message_id_seq', 131072);
SELECT fa_broadcast(agent_id, 'pair', '"second leaf"') FROM fa_agent WHERE name = 'ann';
SELECT count(*) FROM fa_agent a, fa_receive(a.agent_id, 1) WHERE name = 'bill';
SELECT fa_edge_put(fa_node_put('place', 'kitchen ''quoted'' 🧠', '{"floor": 1}'), fa_node_put('place', ''), 'door', 2.5, '{"wide": true}');
SELECT fa_edge_put(1, 2, 'door', 3), fa_node_put('place', '', '{"changed": true}');
SELECT fa_graph_field_create('place', 'floor'), fa_graph_field_create('it''s "odd" 🧠', 'a', 'b');
INSERT INTO fa_edge (src, dst, kind, valid_from) VALUES (2, 2, 'loop', '2020-01-01'), (2, 2, 'loop', '2020-01-01');
GRANT SELECT ON fa_node, fa_edge TO bob;
SET ROLE alice;
SELECT fa_model_create('alice''s', fa_spec_grid(2, 2));
SELECT fa_agent_create('alice''s', 'alice''s', '{"history": true}');
SELECT r.* FROM fa_agent a, fa_step(a.agent_id) r WHERE name = 'alice''s';
RESET ROLE;
});

# All that the catalog tells of the extension's objects, and of the partitions.
my $catalog = q{
WITH ours AS (
	SELECT d.objid, d.classid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'fa_agents'),
relations AS (
	SELECT c.* FROM pg_class c WHERE oid IN (SELECT objid FROM ours WHERE classid = 'pg_class'::regclass)
		OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN (SELECT objid FROM ours))),
everything (line) AS (
	SELECT pg_describe_object(classid, objid, 0) FROM ours
	UNION ALL SELECT format('%s %s options %s owner %s acl %s rls %s %s replica %s persistence %s bound %s toast %s',
		relkind, oid::regclass, reloptions, relowner::regrole, relacl, relrowsecurity, relforcerowsecurity,
		relreplident, relpersistence, pg_get_expr(relpartbound, oid),
		(SELECT t.reloptions FROM pg_class t WHERE t.oid = reltoastrelid)) FROM relations
	UNION ALL SELECT format('%s.%s %s %s default %s storage %s compression %s generated %s acl %s', attrelid::regclass, attname,
		format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attstorage, attcompression, attgenerated, attacl)
		FROM pg_attribute a LEFT JOIN pg_attrdef d ON (adrelid, adnum) = (attrelid, attnum)
		WHERE attrelid IN (SELECT oid FROM relations) AND attnum > 0 AND NOT attisdropped
	UNION ALL SELECT pg_get_indexdef(indexrelid) || ' valid ' || indisvalid
		|| ' part of ' || coalesce((SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = indexrelid), 'none')
		FROM pg_index WHERE indrelid IN (SELECT oid FROM relations)
	UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
		WHERE conrelid IN (SELECT oid FROM relations)
	UNION ALL SELECT format('policy %s %s %s %s %s', polrelid::regclass, polname, polcmd, polroles, pg_get_expr(polqual, polrelid))
		FROM pg_policy
	UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
	UNION ALL SELECT format('function %s acl %s', oid::regprocedure, proacl) FROM pg_proc
		WHERE oid IN (SELECT objid FROM ours WHERE classid = 'pg_proc'::regclass)
	UNION ALL SELECT format('sequence %s %s', seqrelid::regclass, (seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle))
		FROM pg_sequence WHERE seqrelid IN (SELECT oid FROM relations)
	UNION ALL SELECT format('comment %s: %s', pg_describe_object(classoid, objoid, objsubid), description) FROM pg_description
		WHERE (classoid, objoid) IN (SELECT classid, objid FROM ours)
	UNION ALL SELECT format('extension %s %s %s config %s', extname, extversion, extnamespace::regnamespace,
		(SELECT array_agg(c::regclass ORDER BY c::regclass::text) FROM unnest(extconfig) c)) FROM pg_extension WHERE extname = 'fa_agents'
)
SELECT line FROM everything ORDER BY line COLLATE "C"};

# Every row of every table, and where the sequences stand.
my $rows = q{SET search_path = "Active ""agents""";
	SELECT 'model', m::text FROM fa_model m UNION ALL SELECT 'world', w::text FROM fa_world w UNION ALL
	SELECT 'agent', a::text FROM fa_agent a UNION ALL SELECT 'belief', b::text FROM fa_belief b UNION ALL
	SELECT 'learned', l::text FROM fa_learned l UNION ALL SELECT 'inbox', o::text FROM fa_observation o UNION ALL
	SELECT 'key', k::text FROM fa_key k UNION ALL SELECT 'history', h::text FROM fa_history h UNION ALL
	SELECT 'message', m::text FROM fa_message m UNION ALL SELECT 'dead letter', d::text FROM fa_dead_letter d UNION ALL
	SELECT 'consumer', c::text FROM fa_outbox_consumer c UNION ALL
	SELECT 'coalition', c::text FROM fa_coalition c UNION ALL SELECT 'member', m::text FROM fa_coalition_member m UNION ALL
	SELECT 'common', c::text FROM fa_coalition_common c UNION ALL SELECT 'outcome', o::text FROM fa_coalition_outcome o UNION ALL
	SELECT 'sync', s::text FROM fa_belief_sync s UNION ALL SELECT 'field', f::text FROM fa_graph_field f UNION ALL
	SELECT 'node', v::text FROM fa_node_version v UNION ALL SELECT 'edge', v::text FROM fa_edge_version v UNION ALL
	SELECT 'sequence', s::text FROM (SELECT 'agent', last_value, is_called FROM fa_agent_id_seq UNION ALL
		SELECT 'model', last_value, is_called FROM fa_model_id_seq UNION ALL
		SELECT 'world', last_value, is_called FROM fa_world_id_seq UNION ALL
		SELECT 'observation', last_value, is_called FROM fa_observation_id_seq UNION ALL
		SELECT 'message', last_value, is_called FROM fa_message_id_seq UNION ALL
		SELECT 'coalition', last_value, is_called FROM fa_coalition_id_seq UNION ALL
		SELECT 'node', last_value, is_called FROM fa_node_id_seq UNION ALL
		SELECT 'edge', last_value, is_called FROM fa_edge_id_seq) s
	ORDER BY 1, 2};

# What the agents do next: new ids, and the same numbers.
my $go_on = q{SET search_path = "Active ""agents""";
	SELECT fa_agent_resume(ARRAY[(SELECT agent_id FROM fa_agent WHERE name = 'dora')]);
	SELECT 'again', r.* FROM fa_agent a, fa_step(a.agent_id, key => 'again') r WHERE name = 'cleo';
	SELECT 'put', fa_observe(agent_id, '{1}', 'first'), fa_observe(agent_id, '{0}') FROM fa_agent WHERE name = 'cleo';
	SELECT 'step', * FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent));
	SELECT 'run', * FROM fa_run_many((SELECT array_agg(agent_id) FROM fa_agent), 10, 2);
	SELECT 'model', fa_model_create('maze', fa_spec_tmaze()), fa_world_create('noisy', fa_spec_grid(5, 5)),
		fa_agent_create('maze@2', 'emil'), fa_agent_fork((SELECT agent_id FROM fa_agent WHERE name = 'cleo'));
	SELECT 'again', fa_send_many(ann.agent_id, ARRAY[bill.agent_id, bill.agent_id, dora.agent_id], '{"odd": "\u00e9 '' \" \\\\"}', 'sent', 3),
		fa_broadcast(ann.agent_id, 'pair', '"third"'), fa_coalition_create('three', '{}')
		FROM fa_agent ann, fa_agent bill, fa_agent dora WHERE (ann.name, bill.name, dora.name) = ('ann', 'bill', 'dora');
	SELECT 'message', message_id, sender, body FROM fa_agent a, fa_receive(a.agent_id) ORDER BY 2;
	SELECT 'parameters', fa_parameters(agent_id) FROM fa_agent WHERE name = 'cleo';
	SET ROLE alice;
	SELECT 'hers', name, r.step, r.action, r.vfe FROM fa_agent a, fa_step(a.agent_id) r;
	RESET ROLE;
	SELECT 'belief', agent_id, step, belief FROM fa_belief ORDER BY 2;};

my $live_catalog = $node->safe_psql('live', $catalog);
my $live_rows = $node->safe_psql('live', $rows);
like($live_rows, qr/^history.*\n.*^inbox.*\n.*^key.*\n.*^learned/ms, 'there is something of everything');

# Compares lists of lines, and shows those that differ.
sub same_lines
{
	my ($got, $expected, $name) = @_;
	my %got = map { $_ => 1 } split /\n/, $got;
	my %expected = map { $_ => 1 } split /\n/, $expected;
	my @differ = ((map { "- $_" } grep { !$got{$_} } keys %expected),
		(map { "+ $_" } grep { !$expected{$_} } keys %got));
	ok($got eq $expected, $name) or diag(join "\n", map { substr $_, 0, 300 } sort @differ);
}

# in each format, and once from a copy that was itself restored
my $dir = $node->basedir;
my $from = 'live';
for my $format ('plain', 'custom', 'directory')
{
	my $to = "restored_$format";
	my $file = "$dir/dump_$format";
	$node->command_ok([ 'pg_dump', "-F$format", '-f', $file, $node->connstr($from) ], "dumped as $format");
	$node->safe_psql('postgres', "CREATE DATABASE $to");
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, $node->connstr($to) ]
		: [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($to), $file ],
		"restored from $format");
	same_lines($node->safe_psql($to, $catalog), $live_catalog, "$format: the catalog says the same");
	same_lines($node->safe_psql($to, $rows), $live_rows, "$format: the rows are the same");
	$from = $to;
}

my $next = $node->safe_psql('live', $go_on);
like($next, qr/^again.*^put\|f\|t.*^run.*^again\|3\|1\|.*^message.*third.*^hers/ms, 'agents go on');
same_lines($node->safe_psql("restored_$_", $go_on), $next, "$_: restored agents go on with the same numbers")
  for 'plain', 'custom', 'directory';

# events are not kept, for their transaction ids mean nothing elsewhere; who reads them is told so
my $read = q{SET search_path = "Active ""agents"""; SET fa_agents.outbox = 'step';
	SELECT (SELECT count(*) FROM fa_outbox) > 0, (SELECT string_agg(DISTINCT kind, ' ') FROM fa_outbox_read('reader')), fa_outbox_done('reader');
	SELECT r.step > 0 FROM fa_agent a, fa_step(a.agent_id) r WHERE name = 'ann';
	SELECT kind FROM fa_outbox_read('reader');};
is($node->safe_psql('live', $read), "t|step|t\nt\nstep", 'live: events wait');
is($node->safe_psql("restored_$_", $read), "f|restarted|t\nt\nstep", "restored_$_: the reader begins anew")
  for 'plain', 'custom', 'directory';

# the stranger's view is the same too
for my $database ('live', 'restored_custom')
{
	is($node->safe_psql($database, q{SET ROLE bob; SET search_path = "Active ""agents""";
		SELECT count(*) FROM fa_agent; SELECT count(*) FROM fa_model; SELECT count(*) FROM fa_history}),
		"0\n0\n0", "$database: a stranger sees nothing");
	my ($status, $out, $error) = $node->psql($database, q{SET ROLE bob; SELECT * FROM "Active ""agents""".fa_step(2)});
	like($error, qr/permission denied for agent 2/, "$database: a stranger steps nothing");
}

$node->stop;
done_testing();
