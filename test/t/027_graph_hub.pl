# A node with a million edges: walks find all of them, from the tables and from the
# copy in memory, while edges come and go there; and are cancelled at once.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "synchronous_commit = off\nautovacuum = off\nfsync = off\nmax_wal_size = 4GB\n");
$node->start;

# 250,000 nodes with four edges from the hub to each; two indexes come after the rows, as doc/graph.md has it
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
DROP INDEX fa_node_props, fa_edge_dst, fa_edge_props;
INSERT INTO fa_node (node_id, kind, name) SELECT i, 'spoke', i::text FROM generate_series(1, 250000) i;
INSERT INTO fa_node (node_id, kind, name) VALUES (0, 'hub', 'hub'), (-1, 'end', 'end');
INSERT INTO fa_edge (edge_id, src, dst, kind, parallel) SELECT i, 0, 1 + i / 4, 'k' || i % 2, i FROM generate_series(0, 999999) i;
CREATE INDEX fa_node_props ON fa_node USING gin (props jsonb_path_ops);
CREATE INDEX fa_edge_dst ON fa_edge (dst, kind, src);
CREATE INDEX fa_edge_props ON fa_edge USING gin (props jsonb_path_ops);
ANALYZE fa_node, fa_edge;
});
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_edge WHERE src = 0'), '1000000', 'a hub of a million edges');

for my $how ('off', 'always')
{
	my $set = "SET fa_agents.graph_copy = $how;";
	is($node->safe_psql('postgres', "$set SELECT count(*), max(depth) FROM fa_graph_neighbors(0)"), '250000|1', "$how: all neighbours, once each");
	# a spoke leads back to the hub, and on to an end
	is($node->safe_psql('postgres', qq{$set
		SELECT fa_edge_put(0, 5, 'k0', 7) = fa_edge_put(0, 5, 'k0', 8), fa_edge_put(250000, -1, 'out') > 0, fa_edge_put(7, 0, 'back') > 0;
		SELECT string_agg(node_id::text, ' ' ORDER BY seq) FROM fa_graph_path(7, -1);
		SELECT max(cost) FROM fa_graph_weighted_path(7, 5, kinds => '{back,k0}');
		SELECT fa_edge_drop(ARRAY(SELECT edge_id FROM fa_edge WHERE src = 7 OR dst = -1));
		SELECT count(*) FROM fa_graph_path(7, -1);
	}), "t|t|t\n7 0 250000 -1\n2\n2\n0", "$how: edges come and go there");
}

my ($status, $out, $error) = $node->psql('postgres', q{SET fa_agents.graph_copy = off; SET statement_timeout = 100; SELECT count(*) FROM fa_graph_neighbors(0, 2)});
like($error, qr/canceling statement due to statement timeout/, 'a walk over all of it is cancelled');
$node->stop;
done_testing();
