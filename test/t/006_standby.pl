# A hot standby reads all there is to read of agents and writes nothing; when it
# is promoted the agents go on where they were.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('maze', fa_spec_tmaze());
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "learn_A": true}');
SELECT fa_agent_create('maze', 'ann', '{"history": true}');
SELECT fa_agent_create('learner', 'bill');
SELECT fa_agent_create('maze', 'cleo');
SELECT count(*) FROM fa_run_many('{1,2}', 4);
SET fa_agents.outbox = 'step';
SELECT fa_coalition_create('pair', '{1,3}');
SELECT count(*) FROM fa_coalition_step('pair');
SELECT fa_outbox_subscribe('reader');
SELECT fa_send(1, 3, to_jsonb(n), priority => n % 2) FROM generate_series(1, 4) n;
SELECT count(*) FROM fa_receive(3, 1);
SELECT count(*) FROM fa_step_many('{1,2}');
SELECT fa_node_put('place', 'kitchen'), fa_node_put('place', 'hall'), fa_edge_put(1, 2, 'door');
});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->safe_psql('postgres', "SELECT * FROM fa_step(1, key => 'k'); SELECT fa_observe(2, '{1}')");
# wait_for_catchup of 15 does not know all later servers
$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '" . $primary->lsn('flush') . "'")
  or die 'the standby does not follow';

# reading is the same on both
for my $query (
	"SELECT fa_infer('maze', NULL, '{0,0,0}')",
	"SELECT fa_infer('learner', '{0.5,0.5}', '{1}')",
	'SELECT fa_belief(a) FROM generate_series(1, 3) a',
	'SELECT fa_action(a) FROM generate_series(1, 3) a',
	'SELECT * FROM fa_explain(1)',
	'SELECT * FROM fa_explain(2)',
	'SELECT fa_parameters(2)',
	"SELECT * FROM fa_model_check(fa_spec_tmaze())",
	"SELECT fa_version()",
	'SELECT * FROM fa_history ORDER BY step',
	'SELECT * FROM fa_belief ORDER BY 1',
	'SELECT * FROM fa_message ORDER BY message_id',
	'SELECT * FROM fa_mailbox',
	"SELECT fa_coalition_belief('pair')",
	"SELECT * FROM fa_coalition_free_energy('pair')",
	'SELECT * FROM fa_outbox ORDER BY event_id',
	'SELECT name, kinds, seen, batch, restarted FROM fa_outbox_consumer',
	'SELECT * FROM fa_graph_neighbors(1)')
{
	my $expected = $primary->safe_psql('postgres', $query);
	is($standby->safe_psql('postgres', $query), $expected, "on the standby: $query");
	is($primary->safe_psql('postgres', "BEGIN READ ONLY; $query; COMMIT"), $expected, "read only: $query");
}

# writing is refused, by the same code and with a hint
my %writing = (
	'fa_step(1)' => 'fa_step', "fa_step_many('{1,2}')" => 'fa_step_many',
	'fa_run(1, 2)' => 'fa_run', "fa_run_many('{1,2}', 2)" => 'fa_run_many',
	"fa_observe(1, '{1,1,1}')" => 'fa_observe',
	"fa_model_create('new', fa_spec_tmaze())" => 'fa_model_create', "fa_model_drop('maze')" => 'fa_model_drop',
	"fa_world_create('new', fa_spec_tmaze())" => 'fa_world_create', "fa_world_drop('new')" => 'fa_world_drop',
	"fa_agent_create('maze')" => 'fa_agent_create', "fa_agent_create_many('maze', 2)" => 'fa_agent_create_many',
	"fa_agent_pause('{1}')" => 'fa_agent_pause', "fa_agent_resume('{1}')" => 'fa_agent_resume',
	"fa_agent_reset('{1}')" => 'fa_agent_reset', "fa_agent_drop('{1}')" => 'fa_agent_drop',
	"fa_agent_set_model('{1}', 'maze')" => 'fa_agent_set_model', 'fa_agent_fork(1)' => 'fa_agent_fork',
	"fa_history_retain('1 day')" => 'fa_history_retain',
	"fa_send(1, 3, '1')" => 'fa_send', "fa_send_many(1, '{3}', '1')" => 'fa_send_many',
	"fa_broadcast(1, 'pair', '1')" => 'fa_broadcast', 'fa_receive(3)' => 'fa_receive', 'fa_message_expire()' => 'fa_message_expire',
	"fa_coalition_create('new', '{1}')" => 'fa_coalition_create', "fa_coalition_join('pair', 2)" => 'fa_coalition_join',
	"fa_coalition_leave('pair', 1)" => 'fa_coalition_leave', "fa_coalition_dissolve('pair')" => 'fa_coalition_dissolve',
	"fa_coalition_step('pair')" => 'fa_coalition_step',
	"fa_outbox_subscribe('new')" => 'fa_outbox_subscribe', "fa_outbox_read('reader')" => 'fa_outbox_read',
	"fa_outbox_done('reader')" => 'fa_outbox_done', "fa_outbox_unsubscribe('reader')" => 'fa_outbox_unsubscribe',
	"fa_node_put('place', 'attic')" => 'fa_node_put', "fa_node_put_many('{place}', '{attic}')" => 'fa_node_put_many',
	"fa_edge_put(2, 1, 'door')" => 'fa_edge_put', "fa_edge_put_many('{2}', '{1}', '{door}')" => 'fa_edge_put_many',
	"fa_node_drop('{1}')" => 'fa_node_drop', "fa_edge_drop('{1}')" => 'fa_edge_drop');
for my $call (sort keys %writing)
{
	my ($status, $out, $error) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM $call");
	like($error, qr/ERROR:  25006: cannot execute \Q$writing{$call}\E\(\) during recovery\nHINT:  Call it on the primary/,
		"on the standby: $call");
	($status, $out, $error) = $primary->psql('postgres', "\\set VERBOSITY verbose\nBEGIN READ ONLY;\nSELECT * FROM $call");
	like($error, qr/ERROR:  25006: cannot execute \Q$writing{$call}\E\(\) in a read-only transaction\nHINT:  Begin the transaction READ WRITE/,
		"read only: $call");
}
my ($status, $out, $error) = $standby->psql('postgres', "\\set VERBOSITY verbose\nCALL fa_run_commit('{1}', 2)");
like($error, qr/ERROR:  25006: cannot execute fa_run_commit\(\) during recovery/, 'on the standby: fa_run_commit');

# a session that is open while the standby becomes a primary
my $session = $standby->background_psql('postgres', on_error_stop => 0);
my $before = $session->query_safe('SELECT fa_belief(1), fa_belief(2)');
my $next = "SELECT * FROM fa_step_many('{2,1,3}'); SELECT * FROM fa_step(1, key => 'k'); SELECT * FROM fa_run(2, 3);
	SELECT fa_parameters(2); SELECT fa_agent_create('maze')";
my $expected = $primary->safe_psql('postgres', "BEGIN; $next; ROLLBACK");
$standby->promote;
is($session->query_safe('SELECT fa_belief(1), fa_belief(2)'), $before, 'promoted: beliefs are as before');
# ids may have been taken in advance
$expected =~ s/\d+$//;
like($session->query_safe($next), qr/^\Q$expected\E\d+$/, 'promoted: agents go on with the same numbers');
# messages and events: as if nothing had happened, by ids of transactions that go on
is($session->query_safe('SELECT sender, body FROM fa_receive(3)'), "1|3\n1|2\n1|4", 'promoted: messages come in their order');
is($session->query_safe("SELECT kind, agent_id FROM fa_outbox_read('reader')"), "step|1\nstep|2", 'promoted: the batch of a cursor of before');
is($session->query_safe(q{SET fa_agents.outbox = 'step'; SELECT fa_outbox_done('reader'); SELECT step FROM fa_step(3, '{0,0,0}')}) =~ tr/\n//, 1, 'promoted: a batch is done');
is($session->query_safe("SELECT kind, agent_id FROM fa_outbox_read('reader')"), 'step|3', 'promoted: the next one');
$session->quit;

$standby->stop;
$primary->stop;
done_testing();
