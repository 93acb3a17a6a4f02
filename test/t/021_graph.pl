# The knowledge graph under many sessions: one node of many upserts, walks from the
# copy in memory equal to those from the tables while others write, in any
# transaction; what is pruned; a standby; a crash.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "synchronous_commit = off\nautovacuum = off\nmax_prepared_transactions = 10\n");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
INSERT INTO fa_node (node_id, kind, name) SELECT i, 'n', i::text FROM generate_series(1, 300) i;
INSERT INTO fa_edge (src, dst, kind, weight) SELECT 1 + i * 7919 % 300, 1 + i * i % 307, 'k' || i % 3, i % 5 FROM generate_series(1, 900) i;
-- Walks both ways in the transaction's snapshot, and fails where they differ.
CREATE FUNCTION check_walks(node bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	tables text;
	copy text;
BEGIN
	PERFORM set_config('fa_agents.graph_copy', 'off', true);
	SELECT string_agg(w::text, ' ' ORDER BY w::text) INTO tables FROM (SELECT n.* FROM unnest('{out,both}'::text[]) d,
		fa_graph_neighbors(node, 3, '{k0,k1,new}', direction => d) n UNION ALL SELECT -1, max(cost) FROM fa_graph_weighted_path(node, 301 - node)) w;
	PERFORM set_config('fa_agents.graph_copy', 'always', true);
	SELECT string_agg(w::text, ' ' ORDER BY w::text) INTO copy FROM (SELECT n.* FROM unnest('{out,both}'::text[]) d,
		fa_graph_neighbors(node, 3, '{k0,k1,new}', direction => d) n UNION ALL SELECT -1, max(cost) FROM fa_graph_weighted_path(node, 301 - node)) w;
	IF tables IS DISTINCT FROM copy THEN
		RAISE 'walks from node % differ: % and %', node, tables, copy;
	END IF;
END $$;
});

# eight sessions put one node and one edge
$node->pgbench('-n -c 8 -j 2 -t 50', 0, [qr/processed: 400\/400/], [qr/^$/], 'eight sessions put one node',
	{ put => q{\set i random(1, 1000)
SELECT fa_node_put('hub', 'hub', jsonb_build_object('i', :i));
SELECT fa_edge_put(1, 2, 'hub', :i);
} });
is($node->safe_psql('postgres', q{SELECT count(*) FROM fa_node WHERE kind = 'hub'; SELECT count(*) FROM fa_edge WHERE kind = 'hub'}),
	"1\n1", 'there is one node, and one edge');
is($node->safe_psql('postgres', q{
	SELECT count(*) > 100, count(*) FILTER (WHERE valid_from >= valid_to), count(*) FILTER (WHERE valid_from <> before) FROM
		(SELECT valid_from, valid_to, lag(valid_to) OVER (PARTITION BY edge_id ORDER BY valid_from) AS before FROM fa_edge_version WHERE kind = 'hub') AS v}),
	't|0|0', 'its versions follow each other without gap or overlap');

# writers of all sorts, and readers who look both ways
$node->pgbench('-n -c 6 -j 2 -t 80', 0, [qr/processed: 480\/480/], [qr/^$/], 'walks are the same both ways while others write',
	{
		'021_write@3' => q{\set a random(1, 300)
\set b random(1, 300)
INSERT INTO fa_edge (src, dst, kind) VALUES (:a, :b, 'new');
BEGIN;
UPDATE fa_edge SET dst = :b WHERE edge_id = (SELECT edge_id FROM fa_edge WHERE src = :a LIMIT 1 FOR UPDATE SKIP LOCKED);
SAVEPOINT s;
INSERT INTO fa_edge (src, dst, kind, weight) VALUES (:b, :a, 'k0', 2);
ROLLBACK TO s;
INSERT INTO fa_edge (src, dst, kind, weight) VALUES (:b, :a, 'k1', 0);
COMMIT;
BEGIN;
INSERT INTO fa_edge (src, dst, kind, weight) VALUES (:b, :a, 'k1', 0);
ROLLBACK;
DELETE FROM fa_edge WHERE edge_id = (SELECT edge_id FROM fa_edge WHERE dst = :b LIMIT 1 FOR UPDATE SKIP LOCKED);
SELECT fa_node_put('n', 'extra ' || :a);
},
		# nodes that go with their edges and come again, prepared transactions, a replica's session, other ids, VACUUM
		'021_write_otherwise@1' => q{\set a random(1, 300)
\set b random(1, 300)
BEGIN;
SELECT pg_advisory_xact_lock(1);
DELETE FROM fa_node WHERE node_id = :a;
COMMIT;
INSERT INTO fa_node (node_id, kind, name) VALUES (:a, 'n', :a::text) ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO fa_edge (src, dst, kind) SELECT :b, i, 'k1' FROM generate_series(1, 300, 50) i;
UPDATE fa_edge SET edge_id = -edge_id - 10000000 WHERE edge_id = (SELECT edge_id FROM fa_edge WHERE src = :a AND edge_id > 0 LIMIT 1 FOR UPDATE SKIP LOCKED);
PREPARE TRANSACTION 'p:client_id';
SELECT pg_sleep(0.001);
COMMIT PREPARED 'p:client_id';
SET session_replication_role = replica;
INSERT INTO fa_edge (src, dst, kind) VALUES (:a, :b, 'k0');
RESET session_replication_role;
DELETE FROM fa_edge WHERE edge_id IN (SELECT edge_id FROM fa_edge WHERE src = :b AND kind = 'k1' LIMIT 6 FOR UPDATE SKIP LOCKED);
VACUUM fa_edge, fa_graph_change;
},
		'021_read@2' => q{\set a random(1, 300)
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT check_walks(:a);
SELECT pg_sleep(0.002);
SELECT check_walks(301 - :a);
COMMIT;
},
		'021_read_own@1' => q{\set a random(1, 300)
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT check_walks(:a);
INSERT INTO fa_edge (src, dst, kind) VALUES (:a, 301 - :a, 'new');
SELECT check_walks(:a);
COMMIT;
},
	});

# What is pruned is not missed: an old copy is not used, and the rows of long ago go.
my $session = $node->background_psql('postgres');
$session->query_safe(q{SET fa_agents.graph_copy = always});
my $before = $session->query_safe(q{SELECT count(*) FROM fa_graph_neighbors(5, 1, '{late}')});
$node->safe_psql('postgres', q{INSERT INTO fa_edge (src, dst, kind) VALUES (5, 6, 'late')});
my $old = $node->safe_psql('postgres', 'SELECT count(*) FROM fa_graph_change');
$node->safe_psql('postgres', q{
DO $$
BEGIN
	-- to a transaction that prunes, with an odd number at that, and far enough
	FOR i IN 1..131072 LOOP
		PERFORM pg_current_xact_id();
		COMMIT;
	END LOOP;
	WHILE hashint4((pg_current_xact_id()::text::bigint + 1)::int) & 4095 <> 0 OR pg_current_xact_id()::text::bigint % 2 <> 0 LOOP
		COMMIT;
	END LOOP;
	COMMIT;
	INSERT INTO fa_edge (src, dst, kind) VALUES (5, 7, 'late');
END $$});
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE before IS NOT NULL), count(*) FILTER (WHERE edge_id IS NOT NULL) FROM fa_graph_change}),
	'1|1', "of $old changes those of long ago are gone");
is("$before " . $session->query_safe(q{SELECT count(*) FROM fa_graph_neighbors(5, 1, '{late}')}), '0 2', 'and a session with an old copy sees what they told of');
$session->quit;

# a standby makes a copy of its own, and follows
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
my $walk = q{SET fa_agents.graph_copy = always; SELECT string_agg(node_id::text, ' ' ORDER BY node_id) FROM fa_graph_neighbors(5, 1, '{late}')};
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $walk), '6 7', 'a standby walks');
$node->safe_psql('postgres', q{INSERT INTO fa_edge (src, dst, kind) VALUES (5, 8, 'late'); DELETE FROM fa_edge WHERE src = 5 AND dst = 6});
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $walk), '7 8', 'and follows');
is($standby->safe_psql('postgres', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(check_walks(i)) FROM generate_series(1, 20) i}), '20', 'both ways alike');
$standby->stop;

# a crash
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres', q{SET synchronous_commit = on; INSERT INTO fa_edge (src, dst, kind) VALUES (5, 9, 'late')});
my $versions = $node->safe_psql('postgres', q{SELECT md5(string_agg(v::text, '' ORDER BY v::text)) FROM fa_edge_version v});
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q{SELECT md5(string_agg(v::text, '' ORDER BY v::text)) FROM fa_edge_version v}), $versions, 'a crash loses nothing');
is($node->safe_psql('postgres', $walk), '7 8 9', 'and walks go on');
is($node->safe_psql('postgres', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(check_walks(i)) FROM generate_series(1, 20) i}), '20', 'both ways alike');

# another database of the same oid, with the same files, has another graph
$node->safe_psql('postgres', q{CREATE DATABASE first});
$node->safe_psql('first', q{CREATE EXTENSION fa_agents; INSERT INTO fa_node (node_id, kind, name) SELECT i, 'n', i::text FROM generate_series(1, 9) i; CHECKPOINT});
my $same = q{SET fa_agents.graph_copy = always; SELECT count(*) FROM fa_graph_neighbors(1)};
$node->safe_psql('postgres', q{CREATE DATABASE second TEMPLATE first OID 70000});
is($node->safe_psql('second', qq{INSERT INTO fa_edge (src, dst, kind) VALUES (1, 2, 'k'); $same}), '1', 'a database made from another');
$node->safe_psql('postgres', q{DROP DATABASE second});
$node->safe_psql('postgres', q{CREATE DATABASE third TEMPLATE first OID 70000});
is($node->safe_psql('third', $same), '0', 'and another made from it in its place');

# a walk is cancelled
$node->safe_psql('postgres', q{INSERT INTO fa_node (node_id, kind, name) SELECT i, 'chain', i::text FROM generate_series(1001, 21000) i;
	INSERT INTO fa_edge (src, dst, kind) SELECT i, i + 1, 'next' FROM generate_series(1001, 20999) i});
my ($status, $out, $error) = $node->psql('postgres', q{SET fa_agents.graph_copy = off; SET statement_timeout = 50; SELECT count(*) FROM fa_graph_neighbors(1001, 30000)});
like($error, qr/canceling statement due to statement timeout/, 'a walk is cancelled');
is($node->safe_psql('postgres', q{SET fa_agents.graph_copy = always; SELECT max(depth) FROM fa_graph_neighbors(1001, 30000)}), '19999', 'or goes 20,000 edges far');

done_testing();
