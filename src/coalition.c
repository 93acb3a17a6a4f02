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
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "coalition.h"

PG_FUNCTION_INFO_V1(fa_coalition_create);
PG_FUNCTION_INFO_V1(fa_coalition_join);
PG_FUNCTION_INFO_V1(fa_coalition_leave);
PG_FUNCTION_INFO_V1(fa_coalition_dissolve);

/* What a member may weigh. */
#define LEAST_WEIGHT 1e-100
#define MOST_WEIGHT	 1e100

/* by KernelRule */
static const char *const rules[] = {"product", "linear", "log_linear"};

static Statement find_statement = {
	"SELECT coalition_id, owner, rule, factors FROM @.fa_coalition"
	" WHERE name" EQ "$1",
	1,
	{TEXTOID}};
/* Whoever steps it (coalition_step.c) waits for none of them; */
static Statement join_lock_statement = {
	"SELECT 1 FROM @.fa_coalition WHERE coalition_id" EQ "$1 FOR NO KEY UPDATE",
	1,
	{INT8OID}};
/* who dissolves it waits for the step, which leaves something behind. */
static Statement dissolve_lock_statement = {
	"SELECT 1 FROM @.fa_coalition WHERE coalition_id" EQ "$1 FOR UPDATE",
	1,
	{INT8OID}};
static Statement insert_statement = {
	"INSERT INTO @.fa_coalition (coalition_id, name, rule, owner, factors)"
	" VALUES ($1, $2, $3, $4, $5)",
	5,
	{INT8OID, TEXTOID, TEXTOID, REGROLEOID, TEXTARRAYOID}};
static Statement join_statement = {
	"INSERT INTO @.fa_coalition_member (coalition_id, agent_id, weight)"
	" SELECT $1, m.agent_id, m.weight FROM"
	" ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS m (agent_id, weight)"
	" ON CONFLICT DO NOTHING",
	3,
	{INT8OID, INT8ARRAYOID, FLOAT8ARRAYOID}};
static Statement leave_statement = {
	"DELETE FROM @.fa_coalition_member WHERE coalition_id" EQ
	"$1 AND agent_id" EQ "$2",
	2,
	{INT8OID, INT8OID}};
static Statement dissolve_statements[] = {
	{"DELETE FROM @.fa_coalition_member WHERE coalition_id" EQ "$1",
	 1,
	 {INT8OID}},
	{"DELETE FROM @.fa_coalition_outcome WHERE coalition_id" EQ "$1",
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

/* A rule by its name, or -1. */
static int
rule_by_name(const char *name)
{
	for (int i = 0; i < (int) lengthof(rules); i++)
	{
		if (strcmp(name, rules[i]) == 0)
			return i;
	}
	return -1;
}

/* Names of factors [*count] from a text[], in the current memory context. */
static char **
read_factors(ArrayType *array, int *count)
{
	char **factors;
	Datum *elements;
	bool  *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, count);
	factors = palloc(sizeof(char *) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("\"factors\" must not contain nulls")));
		factors[i] = TextDatumGetCString(elements[i]);
	}
	return factors;
}

/* A coalition by its name, in the current memory context; raises 42704. */
Coalition
coalition_find(const Call *call, const char *name)
{
	Datum	  arguments[1] = {CStringGetTextDatum(name)};
	Coalition coalition = {.name = name};
	Datum	  factors;
	bool	  isnull;

	if (statement_run(call, &find_statement, arguments, NULL, 1) == 0)
		coalition_unknown(name);
	coalition.id = result_int64(0, 1);
	coalition.owner = DatumGetObjectId(result_datum(0, 2, &isnull));
	coalition.rule = (KernelRule) rule_by_name(
		TextDatumGetCString(result_datum(0, 3, &isnull)));
	factors = result_datum(0, 4, &isnull);
	if (!isnull)
		coalition.factors =
			read_factors(DatumGetArrayTypeP(factors), &coalition.factor_count);
	return coalition;
}

/*
 * A coalition that the caller has the rights to; its row is locked by that
 * statement.  Raises 42704 and 42501.
 */
static Coalition
find_locked(const Call *call, const char *name, Statement *lock)
{
	Coalition coalition = coalition_find(call, name);
	Datum	  arguments[1] = {Int64GetDatum(coalition.id)};

	if (!has_privs_of_role(call->user, coalition.owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for coalition \"%s\"", name),
			 errdetail(
				 "Only its owner, and who is a member of that role, may change it.")));
	if (statement_run(call, lock, arguments, NULL, 1) == 0)
		coalition_unknown(name);
	return coalition;
}

/*
 * The members of a coalition but one, who must be in it: ids [*count],
 * ascending, in the current memory context.  Raises 42704, and 55000 where the
 * agent is not a member.
 */
int64 *
coalition_others(const Call *call, const char *name, int64 agent_id, int *count)
{
	Datum  arguments[1] = {Int64GetDatum(coalition_find(call, name).id)};
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

/*
 * What was changed becomes an event, if these are wanted: of an agent, or of
 * the coalition (0).
 */
static void
tell_outbox(const Call *call, const char *name, const char *change,
			int64 agent_id, Oid owner)
{
	StringInfoData detail;

	if (!OUTBOX_WANTS(OUTBOX_COALITION))
		return;
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"coalition\": ");
	json_append_string(&detail, name);
	appendStringInfo(&detail, ", \"change\": \"%s\"}", change);
	outbox_add(call, OUTBOX_COALITION, agent_id, 0, owner, detail.data);
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
	if (rule_by_name(rule) >= 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("rule \"%s\" does not exist", rule),
			 errhint("Rules are \"product\", \"linear\" and \"log_linear\".")));
}

/*
 * Raises 22023 for a weight that is not above 0, not finite, or so that those
 * of many members, times the logarithm of a probability, would not be.
 */
static void
check_weight(double weight)
{
	/* NaN is neither */
	if (weight >= LEAST_WEIGHT && weight <= MOST_WEIGHT)
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("weight of a member must be between %g and %g",
						   LEAST_WEIGHT, MOST_WEIGHT),
					errhint("1 is what a member weighs by default.")));
}

/*
 * Weights of members [count] as a float8[]: the array that is given, checked,
 * or ones.  Raises 22023, and 22004 for a null one.
 */
static Datum
new_weights(ArrayType *array, int count)
{
	double *weights = palloc(sizeof(double) * Max(count, 1));
	int		given;

	for (int i = 0; i < count; i++)
		weights[i] = 1.0;
	if (array == NULL)
		return array_from_double(weights, count);
	given = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (given != count)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_plural("\"weights\" has %d element, expected %d",
						   "\"weights\" has %d elements, expected %d", given,
						   given, count),
			 errhint("Give one weight for each member, in the same order.")));
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("\"weights\" must not contain nulls")));
	for (int i = 0; i < count; i++)
		check_weight(((const double *) ARR_DATA_PTR(array))[i]);
	return PointerGetDatum(array);
}

/*
 * fa_coalition_create(name text, members bigint[], rule text, factors text[],
 * weights float8[]) returns bigint, the coalition's id.  It is the caller's;
 * members may be none.  factors null: all that the members have in common;
 * weights [members], null: 1 each.
 *
 * Null where name or rule is.  Raises 42602 and 42710 for the name,
 * 22023 for the rule, a weight, no factors or a repeated member, 42704 and 42501 for a
 * member, 22004 for a null one, or null members, 25006.
 */
Datum
fa_coalition_create(PG_FUNCTION_ARGS)
{
	char  *name;
	char  *rule;
	int	   count;
	int64 *members;
	int64  id;
	Datum  weights;
	Datum  arguments[5];
	Call   call;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	/* what array_agg makes of no rows */
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("members must not be null"),
				 errhint("'{}' makes a coalition that agents join later.")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	members = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(1), &count);
	rule = text_to_cstring(PG_GETARG_TEXT_PP(2));
	check_rule(rule);
	if (!PG_ARGISNULL(3))
	{
		int factors;

		(void) read_factors(PG_GETARG_ARRAYTYPE_P(3), &factors);
		if (factors == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"factors\" must not be empty"),
				 errhint(
					 "Leave it out for all that the members have in common.")));
	}
	weights =
		new_weights(PG_ARGISNULL(4) ? NULL : PG_GETARG_ARRAYTYPE_P(4), count);
	call_require_write("fa_coalition_create");
	call_begin(&call, fcinfo, false);
	check_new_name(&call, name);
	belief_lock(&call, members, count);
	id = nextval_internal(call_relation(&call, "fa_coalition_id_seq"), false);
	arguments[0] = Int64GetDatum(id);
	arguments[1] = CStringGetTextDatum(name);
	arguments[2] = CStringGetTextDatum(rule);
	arguments[3] = ObjectIdGetDatum(call.user);
	arguments[4] = PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3);
	statement_run(&call, &insert_statement, arguments,
				  PG_ARGISNULL(3) ? "    n" : NULL, 0);
	/* as they were given: the weights are in that order */
	arguments[1] = PG_GETARG_DATUM(1);
	arguments[2] = weights;
	statement_run(&call, &join_statement, arguments, NULL, 0);
	tell_outbox(&call, name, "created", 0, call.user);
	call_end(&call);
	PG_RETURN_INT64(id);
}

/*
 * fa_coalition_join(name text, agent_id bigint, weight float8) returns boolean;
 * false: it was in it.  The agent's row is locked, so that it is not dropped
 * meanwhile.
 *
 * Strict.  Raises 42704 and 42501 for the coalition or the agent, 22023 for the
 * weight, 25006.
 */
Datum
fa_coalition_join(PG_FUNCTION_ARGS)
{
	char	 *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64	  agent_id = PG_GETARG_INT64(1);
	double	  weight = PG_GETARG_FLOAT8(2);
	Coalition coalition;
	Datum	  arguments[3];
	bool	  joined;
	Call	  call;

	check_weight(weight);
	call_require_write("fa_coalition_join");
	call_begin(&call, fcinfo, false);
	coalition = find_locked(&call, name, &join_lock_statement);
	arguments[0] = Int64GetDatum(coalition.id);
	belief_lock(&call, &agent_id, 1);
	arguments[1] = array_from_int64(&agent_id, 1);
	arguments[2] = array_from_double(&weight, 1);
	joined = statement_run(&call, &join_statement, arguments, NULL, 0) == 1;
	if (joined)
		tell_outbox(&call, name, "joined", agent_id, coalition.owner);
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
	char	 *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64	  agent_id = PG_GETARG_INT64(1);
	Coalition coalition;
	Datum	  arguments[2];
	bool	  left;
	Call	  call;

	call_require_write("fa_coalition_leave");
	call_begin(&call, fcinfo, false);
	coalition = coalition_find(&call, name);
	arguments[0] = Int64GetDatum(coalition.id);
	arguments[1] = Int64GetDatum(agent_id);
	if (!has_privs_of_role(call.user, coalition.owner))
		(void) belief_check(&call, &agent_id, 1);
	left = statement_run(&call, &leave_statement, arguments, NULL, 0) == 1;
	if (left)
		tell_outbox(&call, name, "left", agent_id, coalition.owner);
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
	char	 *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Coalition coalition;
	Datum	  arguments[1];
	Call	  call;

	call_require_write("fa_coalition_dissolve");
	call_begin(&call, fcinfo, false);
	coalition = find_locked(&call, name, &dissolve_lock_statement);
	arguments[0] = Int64GetDatum(coalition.id);
	for (int i = 0; i < (int) lengthof(dissolve_statements); i++)
		statement_run(&call, &dissolve_statements[i], arguments, NULL, 0);
	tell_outbox(&call, name, "dissolved", 0, coalition.owner);
	call_end(&call);
	PG_RETURN_VOID();
}
