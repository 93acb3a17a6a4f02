/*-------------------------------------------------------------------------
 *
 * coalition.c
 *	  Coalitions: which agents act together.
 *
 * Who changes a coalition needs the rights of its owner, and those of the
 * agent's owner who lets one join: by that it may be written to by the other
 * members, whoever owns them.  The coalition's row is locked while its members
 * change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_coalition_create);
PG_FUNCTION_INFO_V1(fa_coalition_join);
PG_FUNCTION_INFO_V1(fa_coalition_leave);
PG_FUNCTION_INFO_V1(fa_coalition_dissolve);

static const char *const rules[] = {"product", "linear", "log_linear"};

static Statement find_statement = {
	"SELECT coalition_id, owner FROM @.fa_coalition WHERE name" EQ "$1",
	1,
	{TEXTOID}};
static Statement lock_statement = {
	"SELECT 1 FROM @.fa_coalition WHERE coalition_id" EQ "$1 FOR UPDATE",
	1,
	{INT8OID}};
static Statement insert_statement = {
	"INSERT INTO @.fa_coalition (coalition_id, name, rule, owner)"
	" VALUES ($1, $2, $3, $4)",
	4,
	{INT8OID, TEXTOID, TEXTOID, REGROLEOID}};
static Statement join_statement = {
	"INSERT INTO @.fa_coalition_member (coalition_id, agent_id)"
	" SELECT $1, m.agent_id FROM pg_catalog.unnest($2) AS m (agent_id)"
	" ON CONFLICT DO NOTHING",
	2,
	{INT8OID, INT8ARRAYOID}};
static Statement leave_statement = {
	"DELETE FROM @.fa_coalition_member WHERE coalition_id" EQ
	"$1 AND agent_id" EQ "$2",
	2,
	{INT8OID, INT8OID}};
static Statement dissolve_statements[2] = {
	{"DELETE FROM @.fa_coalition_member WHERE coalition_id" EQ "$1",
	 1,
	 {INT8OID}},
	{"DELETE FROM @.fa_coalition WHERE coalition_id" EQ "$1", 1, {INT8OID}}};
static Statement members_statement = {
	"SELECT agent_id FROM @.fa_coalition_member WHERE coalition_id" EQ
	"$1 ORDER BY agent_id",
	1,
	{INT8OID}};

/* ---------- one by its name ---------- */

/* Raises 42704; never returns. */
static void
coalition_unknown(const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("coalition \"%s\" does not exist", name),
		 errhint(
			 "Make one by fa_coalition_create; table fa_coalition lists yours.")));
}

/* The id of a coalition; 42704 where there is none of this name. */
static int64
find(const Call *call, const char *name, Oid *owner)
{
	Datum arguments[1] = {CStringGetTextDatum(name)};
	bool  isnull;

	if (statement_run(call, &find_statement, arguments, NULL, 1) == 0)
		coalition_unknown(name);
	*owner = DatumGetObjectId(result_datum(0, 2, &isnull));
	return result_int64(0, 1);
}

/*
 * The id of a coalition that the caller has the rights to; its row is locked.
 * Raises 42704 and 42501.
 */
static int64
find_locked(const Call *call, const char *name)
{
	Oid	  owner;
	int64 id = find(call, name, &owner);
	Datum arguments[1] = {Int64GetDatum(id)};

	if (!has_privs_of_role(call->user, owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for coalition \"%s\"", name),
			 errdetail(
				 "Only its owner, and who is a member of that role, may change it.")));
	if (statement_run(call, &lock_statement, arguments, NULL, 1) == 0)
		coalition_unknown(name);
	return id;
}

/*
 * The members of a coalition but one, who must be in it: ids [*count],
 * ascending, in the current memory context.  Raises 42704, and 55000 where the
 * agent is not a member.
 */
int64 *
coalition_others(const Call *call, const char *name, int64 agent_id, int *count)
{
	Oid	   owner;
	Datum  arguments[1] = {Int64GetDatum(find(call, name, &owner))};
	int	   found = statement_run(call, &members_statement, arguments, NULL, 0);
	int64 *others = palloc(sizeof(int64) * Max(found, 1));

	*count = 0;
	for (int i = 0; i < found; i++)
	{
		int64 member = result_int64(i, 1);

		if (member != agent_id)
			others[(*count)++] = member;
	}
	if (*count == found)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("agent " INT64_FORMAT " is not in coalition \"%s\"",
						agent_id, name),
				 errhint("Let it join by fa_coalition_join.")));
	SPI_freetuptable(SPI_tuptable);
	return others;
}

/* ---------- the SQL functions ---------- */

/* Raises 42602 for a name that is empty or too long, 42710 for one in use. */
static void
check_new_name(const Call *call, const char *name)
{
	Datum arguments[1] = {CStringGetTextDatum(name)};

	if (name[0] == '\0' || strlen(name) > NAME_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("coalition name must have 1 to %d bytes", NAME_LIMIT)));
	/* or two creators would both find it free */
	name_lock(call, "fa_coalition", name);
	if (statement_run_now(call, &find_statement, arguments) > 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("coalition \"%s\" already exists", name),
						errhint("Choose another name.")));
}

/* Raises 22023 for a rule that there is not. */
static void
check_rule(const char *rule)
{
	for (int i = 0; i < (int) lengthof(rules); i++)
	{
		if (strcmp(rule, rules[i]) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("rule \"%s\" does not exist", rule),
			 errhint("Rules are \"product\", \"linear\" and \"log_linear\".")));
}

/*
 * fa_coalition_create(name text, members bigint[], rule text) returns bigint,
 * the coalition's id.  It is the caller's; members may be none.
 *
 * Strict.  Raises 42602 and 42710 for the name, 22023 for the rule or a
 * repeated member, 42704 and 42501 for a member, 22004 for a null one, 25006.
 */
Datum
fa_coalition_create(PG_FUNCTION_ARGS)
{
	char  *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int	   count;
	int64 *members = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(1), &count);
	char  *rule = text_to_cstring(PG_GETARG_TEXT_PP(2));
	int64  id;
	Datum  arguments[4];
	Call   call;

	check_rule(rule);
	call_require_write("fa_coalition_create");
	call_begin(&call, fcinfo, false);
	check_new_name(&call, name);
	belief_lock(&call, members, count);
	id = nextval_internal(call_relation(&call, "fa_coalition_id_seq"), false);
	arguments[0] = Int64GetDatum(id);
	arguments[1] = CStringGetTextDatum(name);
	arguments[2] = CStringGetTextDatum(rule);
	arguments[3] = ObjectIdGetDatum(call.user);
	statement_run(&call, &insert_statement, arguments, NULL, 0);
	arguments[1] = array_from_int64(members, count);
	statement_run(&call, &join_statement, arguments, NULL, 0);
	call_end(&call);
	PG_RETURN_INT64(id);
}

/*
 * fa_coalition_join(name text, agent_id bigint) returns boolean; false: it was
 * in it.  The agent's row is locked, so that it is not dropped meanwhile.
 *
 * Strict.  Raises 42704 and 42501 for the coalition or the agent, 25006.
 */
Datum
fa_coalition_join(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64 agent_id = PG_GETARG_INT64(1);
	Datum arguments[2];
	bool  joined;
	Call  call;

	call_require_write("fa_coalition_join");
	call_begin(&call, fcinfo, false);
	arguments[0] = Int64GetDatum(find_locked(&call, name));
	belief_lock(&call, &agent_id, 1);
	arguments[1] = array_from_int64(&agent_id, 1);
	joined = statement_run(&call, &join_statement, arguments, NULL, 0) == 1;
	call_end(&call);
	PG_RETURN_BOOL(joined);
}

/*
 * fa_coalition_leave(name text, agent_id bigint) returns boolean; false: it was
 * not in it.  Who has the rights of the coalition's owner or of the agent's may
 * do that.
 *
 * Strict.  Raises 42704 and 42501, 25006.
 */
Datum
fa_coalition_leave(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64 agent_id = PG_GETARG_INT64(1);
	Oid	  owner;
	Datum arguments[2];
	bool  left;
	Call  call;

	call_require_write("fa_coalition_leave");
	call_begin(&call, fcinfo, false);
	arguments[0] = Int64GetDatum(find(&call, name, &owner));
	arguments[1] = Int64GetDatum(agent_id);
	if (!has_privs_of_role(call.user, owner))
		(void) belief_check(&call, &agent_id, 1);
	left = statement_run(&call, &leave_statement, arguments, NULL, 0) == 1;
	call_end(&call);
	PG_RETURN_BOOL(left);
}

/*
 * fa_coalition_dissolve(name text) returns void.  Strict.  Raises 42704, 42501,
 * 25006.
 */
Datum
fa_coalition_dissolve(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum arguments[1];
	Call  call;

	call_require_write("fa_coalition_dissolve");
	call_begin(&call, fcinfo, false);
	arguments[0] = Int64GetDatum(find_locked(&call, name));
	for (int i = 0; i < (int) lengthof(dissolve_statements); i++)
		statement_run(&call, &dissolve_statements[i], arguments, NULL, 0);
	call_end(&call);
	PG_RETURN_VOID();
}
