# Agents run for a role that could run them itself, and for nobody else.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Workers;

my $node = start_node('main', '');
$node->safe_psql('postgres', 'CREATE EXTENSION fa_agents');
sub his { my $what = shift; return "(SELECT $what FROM fa_belief b JOIN fa_agent USING (agent_id) JOIN fa_model m ON m.model_id = b.model_id WHERE m.name = 'his')"; }

# an owner who may not log in any more, or is gone
for my $command ('ALTER ROLE owner NOLOGIN', 'DROP ROLE owner')
{
	$node->safe_psql('postgres', "CREATE ROLE owner LOGIN; SET ROLE owner;
		SELECT fa_model_create('his', fa_spec_grid(3, 3)); SELECT fa_agent_create('his');
		SELECT fa_schedule_create('his', 'his', '10 ms')");
	comes_true($node, his('sum(step)') . ' > 0', "$command: it steps before");
	$node->safe_psql('postgres', $command);
	comes_true($node, "error IS NOT NULL FROM fa_schedule WHERE name = 'his'", "$command: suspended");
	like($node->safe_psql('postgres', "SELECT error FROM fa_schedule WHERE name = 'his'"),
		$command =~ /DROP/ ? qr/role with OID \d+ does not exist/ : qr/role "owner" is not permitted to log in/, "$command: with that error");
	is($node->safe_psql('postgres', "SELECT state FROM fa_schedule_status WHERE name = 'his'"), 'suspended', "$command: the status is seen");
	stands_still($node, 'postgres', $command);
	if ($command =~ /NOLOGIN/)
	{
		$node->safe_psql('postgres', "ALTER ROLE owner LOGIN; SELECT fa_schedule_resume('his')");
		goes_on($node, 'postgres', 'may log in again, and was resumed');
	}
	$node->safe_psql('postgres', "SELECT fa_schedule_drop('his'); SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent; SELECT fa_model_drop('his');"
		. ($command =~ /NOLOGIN/ ? 'DROP ROLE owner' : ''));
}

# a schedule steps the agents that its owner may use, and no others'
$node->safe_psql('postgres', "CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN; CREATE ROLE family; GRANT family TO anna");
$node->safe_psql('postgres', "SELECT fa_model_create('grid', fa_spec_grid(3, 3))");
$node->safe_psql('postgres', "ALTER TABLE fa_agent DISABLE TRIGGER ALL");
for my $role ('anna', 'bert', 'family')
{
	$node->safe_psql('postgres', "SET ROLE $role; SELECT fa_model_create('$role', fa_spec_grid(3, 3)); SELECT fa_agent_create('$role', '$role')");
}
like(($node->psql('postgres', "SET ROLE family; SELECT fa_schedule_create('no', 'family', '1 s')"))[2], qr/role "family" is not permitted to log in/, 'a role that cannot log in has no schedules');
like(($node->psql('postgres', "SET ROLE bert; SELECT fa_schedule_create('no', 'anna', '1 s')"))[2], qr/permission denied for model/, 'nor has one for a model of others');
$node->safe_psql('postgres', "SET ROLE anna; SELECT fa_schedule_create('anna', 'anna', '10 ms'), fa_schedule_create('family', 'family', '10 ms')");
my $made = "step FROM fa_belief JOIN fa_agent USING (agent_id) WHERE name";
comes_true($node, "step > 0 FROM fa_belief JOIN fa_agent USING (agent_id) WHERE name = '$_'", "agents of $_ are stepped for anna") for 'anna', 'family';
$node->safe_psql('postgres', 'REVOKE family FROM anna');
my $before = $node->safe_psql('postgres', "SELECT $made = 'family'");
comes_true($node, "max(step) > $before + 100 FROM fa_belief", 'her own go on');
cmp_ok($node->safe_psql('postgres', "SELECT $made = 'family'"), '<', $before + 50, 'those of a role that she has left do not');
is($node->safe_psql('postgres', "SELECT $made = 'bert'"), 0, 'nor do strangers');
for my $call ("fa_schedule_pause('anna')", "fa_schedule_drop('anna')", "fa_schedule_resume('anna')")
{
	like(($node->psql('postgres', "SET ROLE bert; SELECT $call"))[2], qr/permission denied for schedule "anna"/, "$call: not by others");
}
is($node->safe_psql('postgres', 'SET ROLE bert; SELECT count(*) FROM fa_schedule'), "0", 'who do not see it either');
is($node->safe_psql('postgres', 'SET ROLE anna; SELECT count(*) FROM fa_schedule_status'), "2", 'while she does');
is($node->safe_psql('postgres', 'SET ROLE bert; SELECT count(*) FROM fa_schedule_counters()'), 0, 'nor how it goes');
is($node->safe_psql('postgres', "SET ROLE anna; SELECT count(*) FROM fa_schedule_counters() WHERE steps > 0"), 2, 'as she does');
# suspended agents are counted with their own schedule
$node->safe_psql('postgres', q{INSERT INTO fa_retry SELECT agent_id, schedule_id, 5, 'infinity', '', 'P0001' FROM fa_agent JOIN fa_schedule USING (name) WHERE name = 'anna'});
is($node->safe_psql('postgres', 'SET ROLE anna; SELECT name, suspended FROM fa_schedule_status ORDER BY name'), "anna|1\nfamily|0", 'who is suspended, and by which schedule');
$node->stop('fast');

done_testing();
