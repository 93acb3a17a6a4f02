# Messages under load and through crashes: each is received once, in the order of
# its pair, whatever is killed; leaves are truncated meanwhile, and the tables do
# not grow.

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
# no vacuum: what keeps the tables small is the rotation alone
$node->append_conf('postgresql.conf', q{
autovacuum = off
log_statement = none
max_connections = 30
shared_buffers = 64MB
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(2, 2));
SELECT count(*) FROM fa_agent_create_many('grid', 20);
-- what a receiver has committed
CREATE TABLE got (message_id bigint, recipient bigint, sender bigint, n bigint, at bigserial);
CREATE TABLE sent (sender bigint, recipient bigint, n bigint);
-- a sender numbers its messages to each recipient, in the transaction that sends
CREATE FUNCTION send(sender bigint, recipients bigint[], n bigint) RETURNS void LANGUAGE sql AS $$
	SELECT fa_send_many(sender, recipients, to_jsonb(n), 'n' || n);
	INSERT INTO sent SELECT DISTINCT sender, r, n FROM unnest(recipients) r ON CONFLICT DO NOTHING; $$;
CREATE FUNCTION receive(agent bigint, most int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO got SELECT message_id, agent, sender, body::bigint FROM fa_receive(agent, most); $$;
});
# What was sent and not received, or received twice, or in the wrong order.
my $wrong = q{
SELECT 'lost', sender, recipient, n FROM sent s WHERE NOT EXISTS (SELECT FROM got g WHERE (g.sender, g.recipient, g.n) = (s.sender, s.recipient, s.n))
UNION ALL SELECT 'twice', sender, recipient, n FROM got GROUP BY 2, 3, 4 HAVING count(*) > 1
UNION ALL SELECT 'forged', sender, recipient, n FROM got g WHERE NOT EXISTS (SELECT FROM sent s WHERE (g.sender, g.recipient, g.n) = (s.sender, s.recipient, s.n))
UNION ALL SELECT 'overtaken', sender, recipient, n FROM (SELECT *, lag(n) OVER (PARTITION BY sender, recipient ORDER BY at) AS before FROM got) o WHERE before > n
LIMIT 10};
my $drain = q{SELECT receive(a, 100000000) FROM generate_series(1, 20) a};

# --- 10,000 messages to one agent, in tens ---
$node->safe_psql('postgres', q{SELECT send(1, '{2}', n) FROM generate_series(1, 10000) n});
$node->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1 .. 1001 LOOP PERFORM receive(2, 10); COMMIT; END LOOP; END $$});
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT message_id) FROM got'), '10000|10000', '10,000 messages to one agent');
is($node->safe_psql('postgres', $wrong), '', 'each once, in order');
$node->safe_psql('postgres', 'TRUNCATE got, sent, fa_key');

# --- senders and receivers at once, over several turns of the leaves ---
# senders 1 to 3 write to agents 11 to 14, who are received for by four sessions
# each; another client draws ids, so that the leaves are turned fast
my $senders = join '', map { my $n = $_; "SELECT send(%d, '{11,12,13,14,11}', $n);\n" } 1 .. 400;
start_client($node, sprintf($senders =~ s/%d/$_/gr)) for 1 .. 3;
start_client($node, "SELECT receive(11 + i, 1 + (random() * 20)::int) FROM generate_series(0, 3) i;\n" x 600) for 1 .. 4;
start_client($node, "SELECT count(nextval('fa_message_id_seq')) FROM generate_series(1, 4000);\nSELECT fa_send(5, 15, '0');\n" x 200);
quiet_clients('senders and receivers');
$node->safe_psql('postgres', $drain);
is($node->safe_psql('postgres', "DELETE FROM got WHERE sender = 5 RETURNING 1") =~ tr/1//, 200, 'those of the client that turns the leaves');
# one recipient stands twice in each call
$node->safe_psql('postgres', q{DELETE FROM got g USING got h WHERE (g.sender, g.recipient, g.n) = (h.sender, h.recipient, h.n) AND g.recipient = 11 AND g.message_id < h.message_id});
is($node->safe_psql('postgres', 'SELECT count(*) FROM got'), 3 * 400 * 4, 'all were received');
is($node->safe_psql('postgres', $wrong), '', 'each once, in the order of its pair');
$node->safe_psql('postgres', 'TRUNCATE got, sent, fa_key');

# --- a steady load leaves the tables as small as they were, without vacuum ---
my $round = q{
DO $$ BEGIN
	FOR i IN 1 .. 40 LOOP
		PERFORM fa_send_many(1, array_fill(2, ARRAY[1000])::bigint[] || array_fill(3, ARRAY[1000])::bigint[], '{"some": "text that is like that of a message"}');
		COMMIT;
		PERFORM count(*) FROM fa_receive(2, 10000);
		PERFORM count(*) FROM fa_receive(3, 10000);
		COMMIT;
	END LOOP;
END $$};
my $size = q{SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('fa_message') WHERE isleaf};
my @sizes;
for (1 .. 12)
{
	$node->safe_psql('postgres', $round);
	push @sizes, $node->safe_psql('postgres', $size);
}
note("bytes after each 80,000 messages: @sizes");
my ($first, $last) = (0, 0);
for (0 .. 5) { $first = $sizes[$_] if $sizes[$_] > $first; $last = $sizes[$_ + 6] if $sizes[$_ + 6] > $last; }
cmp_ok($last, '<=', $first * 1.05, 'the tables do not grow');
cmp_ok($last, '<', 60_000_000, 'and are no larger than the leaves of a turn');

# --- a notification, once a commit, where it is wanted ---
my $heard = $node->safe_psql('postgres', q{LISTEN fa_message; SET fa_agents.message_notify = on;
BEGIN; SELECT fa_send(1, 4, '1'), fa_send_many(1, '{4,5}', '2'); COMMIT;
BEGIN; SELECT fa_send(1, 4, '3'); ROLLBACK;
SET fa_agents.message_notify = off; SELECT fa_send(1, 4, '4'); SELECT count(*) FROM generate_series(4, 5) a, fa_receive(a); SELECT 1});
is(scalar(() = $heard =~ /notification "fa_message"/g), 1, 'one notification for one commit that sent');

# --- a receiver that is killed between receive and commit ---
$node->safe_psql('postgres', q{SELECT send(1, '{2}', n) FROM generate_series(1, 3) n});
my ($in, $out, $err) = ('', '', '');
my $timer = IPC::Run::timeout(60);
my $killed = IPC::Run::start([ 'psql', '-XqAt', '-f', '-', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err, $timer);
$in .= "BEGIN;\nSELECT receive(2, 2);\nSELECT 'pid', pg_backend_pid();\n";
$killed->pump until $out =~ /pid\|(\d+)/;
my ($pid) = $out =~ /pid\|(\d+)/;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
$killed->finish;
is($node->safe_psql('postgres', q{SELECT receive(2, 10)}), '', 'received again');
is($node->safe_psql('postgres', $wrong), '', 'once');
$node->safe_psql('postgres', 'TRUNCATE got, sent, fa_key');

# --- the server is killed ---
my %next = map { $_ => 1 } 1 .. 3;
for my $crash (1 .. 3)
{
	for my $sender (1 .. 3)
	{
		my $from = $next{$sender};
		start_client($node, join '', map { "SELECT send($sender, '{11,12}', $_);\n" } $from .. $from + 5000);
	}
	start_client($node, "SELECT receive(11, 7);\n" x 5000);
	start_client($node, "SELECT receive(12, 7);\n" x 5000);
	start_client($node, "SELECT count(nextval('fa_message_id_seq')) FROM generate_series(1, 4000);\nSELECT fa_send(5, 15, '0');\n" x 1000);
	sleep 1.5;
	$node->stop('immediate');
	end_clients();
	$node->start;
	# each sender repeats its last messages with their keys: they were sent once
	for my $sender (1 .. 3)
	{
		my $done = $node->safe_psql('postgres', "SELECT coalesce(max(n), 0) FROM sent WHERE sender = $sender");
		cmp_ok($done, '>=', $next{$sender}, "crash $crash: sender $sender was at it");
		$node->safe_psql('postgres', "SELECT fa_send_many($sender, '{11,12}', to_jsonb($done), 'n$done')");
		$next{$sender} = $done + 1;
	}
}
$node->safe_psql('postgres', $drain);
$node->safe_psql('postgres', 'DELETE FROM got WHERE sender = 5');
is($node->safe_psql('postgres', $wrong), '', 'after the crashes: each once, in order');
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_message'), 0, 'nothing is left');

# --- a reader that stays (as a dump does) keeps leaves, but nobody waits for him ---
my ($in2, $out2, $err2) = ('', '', '');
my $reader = IPC::Run::start([ 'psql', '-XqAt', '-f', '-', $node->connstr('postgres') ], '<', \$in2, '>', \$out2, '2>', \$err2, IPC::Run::timeout(60));
$in2 .= "BEGIN;\nSELECT 'read', count(*) FROM fa_message;\n";
$reader->pump until $out2 =~ /read/;
$node->safe_psql('postgres', $round);
$node->safe_psql('postgres', $round);
is($node->safe_psql('postgres', 'SELECT count(*) FROM fa_message'), 0, 'all were received beside a reader');
$in2 .= "COMMIT;\n\\q\n";
$reader->finish;
$node->safe_psql('postgres', $round) for 1 .. 6;
cmp_ok($node->safe_psql('postgres', $size), '<=', $first * 1.05, 'and after him the tables are small again');

# nothing of it was complained of
my $log = slurp_file($node->logfile);
unlike($log, qr/could not rotate/, 'no rotation failed');
unlike($log, qr/PANIC|TRAP|SIGSEGV|signal 11/, 'no crash but ours');

$node->stop;
done_testing();
