# The extension in a schema with a strange name, under a new name while sessions
# have saved plans, dropped and created again in one session, in two databases at
# once, and dropped without a trace.

use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

# What the extension is for, once round, with its objects found by search_path.
my $round = q{
SELECT fa_model_create('grid', fa_spec_grid(3, 3));
SELECT fa_model_create('learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]],
	"B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],
	"pA": [[[9, 1], [1, 9]]], "learn_A": true}');
SELECT fa_world_create('world', fa_spec_grid(3, 3));
SELECT fa_agent_create('grid', 'a', '{"history": true, "world": "world", "seed": 1}');
SELECT count(*) FROM fa_agent_create_many('learner', 3);
};
my $again = q{
SELECT step FROM fa_step(1, key => 'k' || (SELECT step FROM fa_belief WHERE agent_id = 1));
SELECT step FROM fa_step_many('{4,3,2}', '{{0},{1},{NULL}}');
SELECT step FROM fa_run(2, 2);
SELECT fa_observe(3, '{1}');
SELECT step FROM fa_step(3);
SELECT fa_agent_reset('{4}');
SELECT fa_belief(1) IS NOT NULL, fa_action(1) IS NOT NULL, fa_parameters(2) IS NOT NULL;
SELECT count(*) FROM fa_explain(1);
SELECT count(*) FROM fa_history;
SELECT fa_history_retain('1 day');
SELECT fa_agent_drop(ARRAY[fa_agent_fork(1)]);
};
my $first = "1\n1\n1\n1\n2\n3\nt\n2\n1\nt|t|t\n5\n1\n0\n1";
my $second = "2\n2\n3\n4\n5\n6\nt\n4\n1\nt|t|t\n5\n2\n0\n1";

my $created = "1\n2\n1\n1\n3";

# a strange name
my $strange = 'We"ird; $$ schema\'s @.%s {}';
(my $quoted = $strange) =~ s/"/""/g;
$quoted = qq{"$quoted"};
$node->safe_psql('postgres', "CREATE SCHEMA $quoted; CREATE EXTENSION fa_agents SCHEMA $quoted");
is($node->safe_psql('postgres', "SET search_path = $quoted; $round"), $created, 'created in a schema with a strange name');

# a session keeps its saved plans under the schema's new names, and others' names
# that look like ours are not in its way
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe("SET search_path = $quoted");
is($session->query_safe($again), $first, 'steps in a schema with a strange name');
$node->safe_psql('postgres', qq{ALTER SCHEMA $quoted RENAME TO plain;
	CREATE SCHEMA $quoted; CREATE TABLE $quoted.fa_belief (); CREATE TABLE public.fa_belief (); CREATE TABLE public.fa_model ()});
$session->query_safe("SET search_path = plain");
is($session->query_safe($again), $second, 'goes on after the schema was renamed');
$node->safe_psql('postgres', qq{DROP SCHEMA $quoted CASCADE; ALTER SCHEMA plain RENAME TO $quoted});
$session->query_safe("SET search_path = $quoted");
is($session->query_safe('SELECT step FROM fa_step(1)'), 3, 'and after it was renamed back');
is($session->query_safe("BEGIN; ALTER SCHEMA $quoted RENAME TO passing; SELECT step FROM passing.fa_step(1); ROLLBACK; SELECT step FROM fa_step(1)"),
	"4\n4", 'and when the renaming is rolled back');

# dropped and created again, here and elsewhere, with plans for what is gone
$session->query_safe("DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents SCHEMA $quoted");
is($session->query_safe($round), $created, 'created again in the same schema by the same session');
is($session->query_safe($again), $first, 'and steps again');
$session->query_safe("DROP EXTENSION fa_agents; DROP TABLE public.fa_belief, public.fa_model; CREATE EXTENSION fa_agents SCHEMA public; SET search_path = public");
is($session->query_safe($round), $created, 'created again in another schema by the same session');
is($session->query_safe($again), $first, 'and steps again');
$node->safe_psql('postgres', 'DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents');
is($session->query_safe($round), $created, 'created again by another session');
is($session->query_safe($again), $first, 'and steps again');
$session->query_safe("BEGIN; DROP EXTENSION fa_agents; CREATE EXTENSION fa_agents SCHEMA $quoted; SET LOCAL search_path = $quoted");
is($session->query_safe($round . $again), "$created\n$first", 'created again in a transaction');
$session->query_safe('ROLLBACK');
is($session->query_safe($again), $second, 'that is rolled back: the old agents step');

# it stays where it was put
my ($status, $out, $error) = $node->psql('postgres', "ALTER EXTENSION fa_agents SET SCHEMA $quoted");
like($error, qr/does not support SET SCHEMA/, 'it is not relocatable');

# two databases: the same ids, other models
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION fa_agents;
	SELECT fa_model_create('grid', fa_spec_grid(4, 4));
	SELECT fa_agent_create('grid', 'a', '{"seed": 1}')});
my $other = $node->background_psql('other');
is($other->query_safe('SELECT step FROM fa_step(1); SELECT cardinality(belief) FROM fa_belief'), "1\n16", 'agent 1 of the other database');
is($session->query_safe('SELECT step FROM fa_step(1); SELECT cardinality(belief) FROM fa_belief WHERE agent_id = 1'), "3\n9", 'agent 1 of this one');
$other->quit;
# a copy of a database brings the same agents
$session->quit;
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
is($node->safe_psql('copy', 'SELECT step FROM fa_step(1)'), 2, 'a copied database steps');
is($node->safe_psql('other', 'SELECT step FROM fa_belief'), 1, 'and the original stays as it was');

# the version by name
$node->safe_psql('postgres', 'CREATE DATABASE version');
my $version = $node->safe_psql('other', "SELECT extversion FROM pg_extension WHERE extname = 'fa_agents'");
$node->safe_psql('version', "CREATE EXTENSION fa_agents VERSION '$version'");
is($node->safe_psql('version', 'SELECT fa_version()'), $version, 'created by version, which is the library\'s');
$node->safe_psql('version', "ALTER EXTENSION fa_agents UPDATE");
is($node->safe_psql('version', "SELECT count(*) FROM pg_extension_update_paths('fa_agents') WHERE source = '$version' AND path IS NULL"), 0, 'there is nothing newer');

# everything that a database can hold, by name
my $objects = q{
SELECT 'relation ' || relname || ' ' || relkind::text FROM pg_class WHERE relname !~ '^pg_toast_\d+' UNION ALL
SELECT 'toast ' || count(*) FROM pg_class WHERE relname ~ '^pg_toast_\d+' UNION ALL
SELECT 'function ' || oid::regprocedure FROM pg_proc UNION ALL
SELECT 'type ' || typname FROM pg_type WHERE typname !~ 'pg_toast_\d+' UNION ALL
SELECT 'operator ' || oid::regoperator FROM pg_operator UNION ALL
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_\d+' UNION ALL
SELECT 'policy ' || polname FROM pg_policy UNION ALL
SELECT 'trigger ' || tgname FROM pg_trigger UNION ALL
SELECT 'event trigger ' || evtname FROM pg_event_trigger UNION ALL
SELECT 'constraint ' || conname FROM pg_constraint UNION ALL
SELECT 'rule ' || ev_class::regclass || rulename FROM pg_rewrite UNION ALL
SELECT 'dependency of ' || pg_describe_object(classid, objid, objsubid) FROM pg_depend d JOIN pg_extension e
	ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid WHERE extname = 'fa_agents' UNION ALL
SELECT 'setting of ' || setrole FROM pg_db_role_setting UNION ALL
SELECT 'privileges at creation ' || objoid FROM pg_init_privs WHERE objoid >= 16384 UNION ALL
SELECT 'language ' || lanname FROM pg_language ORDER BY 1};
$node->safe_psql('postgres', 'CREATE DATABASE guest');
my $before = $node->safe_psql('guest', $objects);
$node->safe_psql('guest', "CREATE EXTENSION fa_agents; $round $again");
isnt($node->safe_psql('guest', $objects), $before, 'an extension in use has objects');
is($node->safe_psql('guest', q{SELECT count(*) > 0 FROM pg_class WHERE relname ~ '^fa_history_\d+$'}), 't', 'partitions too');
$node->safe_psql('guest', 'DROP EXTENSION fa_agents');
is($node->safe_psql('guest', $objects), $before, 'nothing is left when it is dropped');
$node->safe_psql('guest', "CREATE EXTENSION fa_agents; $round $again");
is($node->safe_psql('guest', 'SELECT count(*) FROM fa_history'), 1, 'and no history of former agents');

$node->stop;
done_testing();
