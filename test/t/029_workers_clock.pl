# The clock is set back while the background processes sleep: whoever changes
# something is heard at once, not when the old time has come again.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

# The server's clock is the machine's, less the seconds that are the size of a file.
my $dir = PostgreSQL::Test::Utils::tempdir;
my $shift = "$dir/shift";
append_to_file("$dir/clock.c", <<"END");
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
int gettimeofday(struct timeval *tv, void *zone)
{
	struct stat file;
	int result = (int) syscall(SYS_gettimeofday, tv, zone);
	if (stat("$shift", &file) == 0)
		tv->tv_sec -= file.st_size;
	return result;
}
END
my $cc = `pg_config --cc`;
chomp $cc;
plan skip_all => 'no compiler' if system("${\($cc || 'cc')} -shared -fPIC -o $dir/clock.so $dir/clock.c") != 0;
chmod 0755, $dir;

$ENV{LD_PRELOAD} = "$dir/clock.so";
my $node = start_node('main', 'fa_agents.sweep_interval = 1h');
delete $ENV{LD_PRELOAD};
sub sql { return $node->safe_psql('postgres', shift); }
sub seconds { return sql('SELECT extract(epoch FROM clock_timestamp())::bigint') - time; }

# an agent that is due in some seconds, for which the coordinator waits, and one
# by event, for which it stays
sql(q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create(n, fa_spec_grid(2, 2)), fa_agent_create(n) FROM unnest('{a, b}'::text[]) AS n;
	SELECT fa_schedule_create('event', 'a')});
sql("SELECT fa_observe(1, '{0}')");
comes_true($node, 'step = 1 FROM fa_belief WHERE agent_id = 1', 'an observed agent steps');
my $asleep = q{count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'fa_agents coordinator' AND state = 'idle' AND state_change < clock_timestamp() - interval '3 s'};
comes_true($node, $asleep, 'the coordinator sleeps');
append_to_file($shift, 'x' x 3600);
cmp_ok(seconds(), '<', -3500, 'the clock is set back by an hour');
sql("SELECT fa_observe(1, '{0}')");
comes_true($node, 'step = 2 FROM fa_belief WHERE agent_id = 1', 'an observed agent steps');
sql("SELECT fa_agent_create('b'), fa_schedule_create('often', 'b', '100 ms')");
comes_true($node, 'step > 2 FROM fa_belief WHERE agent_id = 3', 'what is scheduled now is done now');
comes_true($node, 'step > 2 FROM fa_belief WHERE agent_id = 2', 'also of who was made when it was later');
$node->stop('fast');

done_testing();
