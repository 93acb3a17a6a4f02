# What the README shows is what a newcomer types: all its SQL runs as printed,
# from the first line to the last, in one database, with the answers that its
# comments promise.

use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $text = slurp_file("$FindBin::RealBin/../../README.md");
my @blocks = $text =~ /```sql\n(.*?)```/gs;
cmp_ok(scalar @blocks, '>=', 5, 'the README has examples');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'fa_agents'");
$node->start;

my $shown = '';
for my $block (@blocks)
{
	# each is read to its end, so that one message tells all that is wrong
	my ($out, $err) = ('', '');
	my $status = $node->psql('postgres', $block, stdout => \$out, stderr => \$err, on_error_stop => 1);
	my ($first) = $block =~ /^(.*)/;
	is("$status$err", '0', "runs as printed: $first");
	$shown .= "$out\n";
}
like($shown, qr/\{"light": \{"on": 0, "off": 1\}\}\|\{"light": "press"\}/, 'belief and action are those of the comment');
like($shown, qr/^\d+\|1\|[^|]*\|\{"door": "open"\}$/m, 'the message arrives');

$node->stop;
done_testing();
