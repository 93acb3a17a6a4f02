# Clients that run scripts beside the test.

package Clients;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_client end_clients quiet_clients);

my @clients;	# their processes, and where their errors are

# A psql that runs a script; its answers are of no interest.
sub start_client
{
	my ($node, $script) = @_;
	my $path = $node->basedir . '/client' . @clients;

	open my $file, '>', "$path.sql" or die $!;
	print $file $script;
	close $file;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		open STDOUT, '>', "$path.out" or die $!;
		open STDERR, '>', "$path.err" or die $!;
		exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$path.sql", $node->connstr('postgres') or die $!;
	}
	push @clients, [ $pid, "$path.err" ];
	return;
}

# Waits for all of them, whatever became of them.
sub end_clients
{
	waitpid $_->[0], 0 for @clients;
	my @errors = map { slurp_file($_->[1]) } @clients;
	@clients = ();
	return @errors;
}

# Waits for all of them; none may have had an error.
sub quiet_clients
{
	my ($name) = @_;

	is(join('', end_clients()), '', "$name: no client had an error");
	return;
}

1;
