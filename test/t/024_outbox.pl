# Events under load and through a crash: each committed step is read once, in its
# agent's order, by consumers that come and go, whether it was made in a
# subtransaction, prepared, or committed late; the table does not grow; a worker's
# failures are events.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use FindBin;
use lib $FindBin::RealBin;
use Clients;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'fa_agents'
fa_agents.outbox = 'step, failed'
fa_agents.retry_delay = 10ms
autovacuum = off
max_prepared_transactions = 10
log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(2, 2));
SELECT count(*) FROM fa_agent_create_many('grid', 6);
-- a crowd that is as busy: old versions of few rows would pile up beside a transaction that stays
SELECT count(*) FROM fa_agent_create_many('grid', 5000);
SELECT fa_outbox_subscribe('reader', '{step}');
CREATE TABLE got (agent_id bigint, step bigint, at bigserial);
-- reads a batch and is done with it, in one transaction
CREATE FUNCTION take() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	INSERT INTO got (agent_id, step) SELECT agent_id, step FROM fa_outbox_read('reader');
	GET DIAGNOSTICS n = ROW_COUNT;
	PERFORM fa_outbox_done('reader');
	RETURN n;
END $$;
});
# Each agent's steps from 1 to its last, once, in order.
my $wrong = q{
SELECT 'missing or twice', agent_id, step, count(*) FROM (SELECT b.agent_id, s AS step FROM fa_belief b, generate_series(1, b.step) s) t
	LEFT JOIN got g USING (agent_id, step) GROUP BY 2, 3 HAVING count(g.at) <> 1
UNION ALL SELECT 'forged', agent_id, step, 1 FROM got g WHERE step > (SELECT b.step FROM fa_belief b WHERE b.agent_id = g.agent_id)
UNION ALL SELECT 'overtaken', agent_id, step, before FROM (SELECT *, lag(step) OVER (PARTITION BY agent_id ORDER BY at) AS before FROM got) o WHERE before > step
LIMIT 10};

# transactions of different lengths, some undone, in part or wholly; some are
# prepared, and committed later; one that stays open with an id
my $idle = $node->background_psql('postgres');
$idle->query_safe('BEGIN; SELECT pg_current_xact_id()');
my $short = "SELECT count(*) FROM fa_step(1 + (random() * 5)::int);\n" x 20;
my $long = "BEGIN;\nSELECT count(*) FROM fa_step_many('{2,4,6}');\nSELECT pg_sleep(random() / 50);\nSELECT count(*) FROM fa_step_many('{2,4,6}');\n";
my $parts = "BEGIN;\nSAVEPOINT a;\nSELECT count(*) FROM fa_step(1);\nROLLBACK TO a;\nSELECT count(*) FROM fa_step(1);\n"
	. "SAVEPOINT b;\nSELECT count(*) FROM fa_step(3);\nSELECT pg_sleep(random() / 50);\nRELEASE b;\nCOMMIT;\n";
my $script = ($short . $long . "COMMIT;\n" . $long . "ROLLBACK;\n" . $parts) x 30;
my $prepare = join '', map { $long =~ s/2,4,6/5,6/gr . "PREPARE TRANSACTION 'p$_';\nSELECT pg_sleep(random() / 50);\n"
	. ($_ % 4 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p$_';\n" } 1 .. 60;
for my $round (1 .. 2)
{
	start_client($node, $script) for 1 .. 3;
	start_client($node, $prepare);
	start_client($node, "SELECT take();\n" x 400) for 1 .. 2;
	if ($round == 1)
	{
		quiet_clients('steps and readers');
	}
	else
	{
		sleep 1;
		$node->stop('immediate');
		end_clients();
		$node->start;
		# what was prepared is there again, and was in no batch yet
		my $prepared = $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
		$node->safe_psql('postgres', 'SELECT take()');
		$node->safe_psql('postgres', "COMMIT PREPARED '$_'") for split /\n/, $prepared;
	}
	$node->safe_psql('postgres', 'SELECT take()');
	is($node->safe_psql('postgres', $wrong), '', "round $round: each step once, in order");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM got'), '>', 500 * $round, "round $round: there were some");
	$idle->quit if $round == 1;
}
$node->safe_psql('postgres', q{SELECT count(*) FROM generate_series(1, 2000) i, fa_step_many(ARRAY[1, 2, 3, 4, 5 + i - i])});
$node->safe_psql('postgres', 'SELECT take()');
is($node->safe_psql('postgres', $wrong), '', 'a large batch');

# --- a steady load leaves the table as small as it was, without vacuum, also beside a transaction that stays ---
my $stays = $node->background_psql('postgres');
$stays->query_safe('BEGIN; SELECT pg_current_xact_id()');
$node->safe_psql('postgres', 'ALTER TABLE got ADD PRIMARY KEY (agent_id, step, at)');
my $load = q{
DO $$ BEGIN
	FOR i IN 1 .. 6 LOOP
		PERFORM count(*) FROM fa_step_many((SELECT array_agg(a) FROM generate_series(7, 5006) a));
		COMMIT;
		PERFORM take();
		COMMIT;
	END LOOP;
END $$};
my $size = q{SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('fa_outbox') WHERE isleaf};
my @sizes;
for (1 .. 6)
{
	$node->safe_psql('postgres', $load);
	push @sizes, $node->safe_psql('postgres', $size);
}
note("bytes after each 30,000 events: @sizes");
cmp_ok($_, '<', 16_000_000, 'the table does not grow') for (sort { $a <=> $b } @sizes)[-1];
is($node->safe_psql('postgres', $wrong), '', 'each step once, in order');
# a consumer that does not read holds events back, until it is too far behind; then it is told
$node->safe_psql('postgres', q{SELECT fa_outbox_subscribe('sleeper')});
$node->safe_psql('postgres', $load) for 1 .. 3;
cmp_ok($node->safe_psql('postgres', $size), '>', 10_000_000, 'what was not read is kept');
$node->append_conf('postgresql.conf', 'fa_agents.outbox_limit = 50000');
$node->reload;
$node->safe_psql('postgres', $load) for 1 .. 3;
cmp_ok($node->safe_psql('postgres', $size), '<', 16_000_000, 'but not for ever');
is($node->safe_psql('postgres', q{SELECT kind FROM fa_outbox_read('sleeper')}), 'restarted', 'and it is told');
# who was told, and does not go on, holds nothing back either
$node->safe_psql('postgres', $load) for 1 .. 6;
cmp_ok($node->safe_psql('postgres', $size), '<', 16_000_000, 'nor for one that was told');
is($node->safe_psql('postgres', q{SELECT fa_outbox_done('sleeper')}), 'f', 'its batch is over');
is($node->safe_psql('postgres', q{SELECT kind FROM fa_outbox_read('sleeper')}), 'restarted', 'and it is told again');
is($node->safe_psql('postgres', $wrong), '', 'who keeps up has missed nothing');
$stays->quit;
$node->safe_psql('postgres', q{SELECT fa_outbox_unsubscribe('sleeper')});

# --- a cursor that is being made: what ran then and is over before its commit is not removed ---
my $open = $node->background_psql('postgres');
my $new = $node->background_psql('postgres');
$open->query_safe('BEGIN; SELECT count(*) FROM fa_step(1)');
$new->query_safe(q{BEGIN; SELECT fa_outbox_subscribe('new')});
$open->query_safe('COMMIT');
my $late = $node->safe_psql('postgres', 'SELECT step FROM fa_belief WHERE agent_id = 1');
$node->safe_psql('postgres', $load) for 1 .. 3;
$new->query_safe('COMMIT');
is($node->safe_psql('postgres', q{SELECT min(step) FROM fa_outbox_read('new') WHERE agent_id = 1}), $late, 'it gets them');
$_->quit for $open, $new;
$node->safe_psql('postgres', q{SELECT fa_outbox_unsubscribe('new')});
# --- a commit later than a cursor: its leaf is over long since, and still holds what that cursor saw running ---
$open = $node->background_psql('postgres');
$open->query_safe('BEGIN; SELECT count(*) FROM fa_step(1)');
$node->safe_psql('postgres', $load) for 1 .. 3;
$open->query_safe('COMMIT');
# a rotation before the next batch
$node->safe_psql('postgres', 'SELECT count(*) FROM fa_step_many((SELECT array_agg(a) FROM generate_series(7, 5006) a))') for 1 .. 2;
$node->safe_psql('postgres', 'SELECT take()');
is($node->safe_psql('postgres', $wrong), '', 'the late commit is read');
$open->quit;
unlike(slurp_file($node->logfile), qr/could not rotate/, 'no rotation failed');

# a worker's failures
$node->safe_psql('postgres', q{
SELECT fa_outbox_subscribe('failures', '{failed}');
SELECT fa_model_create('lamp', '{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}');
SELECT fa_agent_create('lamp', 'lamp');
-- one that does not fit: only the tables' owner could put it there
INSERT INTO fa_observation (agent_id, observation_id, observation) SELECT agent_id, nextval('fa_observation_id_seq'), '{1,1,1}' FROM fa_agent WHERE name = 'lamp';
SELECT fa_schedule_create('s', 'lamp', '50 ms');
});
ok($node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM fa_outbox WHERE kind = 'failed'}), 'a failure is an event');
like($node->safe_psql('postgres', q{SELECT detail ->> 'sqlstate', detail ->> 'error' FROM fa_outbox_read('failures') LIMIT 1}),
	qr/^22023\|observation for agent \d+ has 3 outcomes/, 'with its error');

$node->stop;
done_testing();
