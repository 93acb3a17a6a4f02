# What the README and the pages in doc/ show is what a newcomer types: all their
# SQL runs as printed, from the first line of a page to the last, in one
# database, with the answers that the comments promise.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'fa_agents'");
$node->start;
my $has_vector = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'});

# Runs a page in a database of its own; returns what was shown.
sub runs
{
	my ($page, $least) = @_;
	my ($database) = $page =~ /(\w+)\.md$/;
	my $text = slurp_file("$FindBin::RealBin/../../$page");
	my @blocks = $text =~ /```sql\n(.*?)```/gs;
	my $shown = '';
	cmp_ok(scalar @blocks, '>=', $least, "$page has examples");
	$node->safe_psql('postgres', qq{CREATE DATABASE "$database"});
	unshift @blocks, 'CREATE EXTENSION fa_agents' if $text !~ /^CREATE EXTENSION fa_agents/m;
	for my $block (@blocks)
	{
		next if $block =~ /^CREATE EXTENSION vector/ && !$has_vector;

		# each is read to its end, so that one message tells all that is wrong
		my ($out, $err) = ('', '');
		my $status = $node->psql($database, $block, stdout => \$out, stderr => \$err, on_error_stop => 1);
		my ($first) = $block =~ /^(.*)/;
		is("$status$err", '0', "$page runs as printed: $first");
		$shown .= "$out\n";
	}
	return $shown;
}

my $shown = runs('README.md', 5);
like($shown, qr/\{"light": \{"on": 0, "off": 1\}\}\|\{"light": "press"\}/, 'belief and action are those of the comment');
like($shown, qr/^\d+\|1\|[^|]*\|\{"door": "open"\}$/m, 'the message arrives');

like(runs('doc/graph.md', 4), qr/^ann$/m, 'an agent is found by what it believes');
like(runs('doc/messages.md', 1), qr/^2\|"run!"\n1\|\{"door": "open"\}$/m, 'messages come by priority');
like(runs('doc/coalitions.md', 1), qr/^\{"context": \{"reward_left": 0.95, "reward_right": 0.05\}\}$/m, 'all know what one has seen');
like(runs('doc/outbox.md', 1), qr/^1\|mind\|1\|\d+\|[^|]*\|\{"location": "\w+"\}$/m, 'a change of mind is read');

$node->stop;
done_testing();
