/*-------------------------------------------------------------------------
 *
 * sensor.c
 *	  Which functions are the sensors and actuators of which agents.
 *
 * They run as the owner of the agents, so only he names them, for his own
 * agents; what the owner of a model names is not for others' agents of it.
 *
 * A function is stored by its name and form: an oid would not outlive a dump.
 * It is looked up anew for each batch, and must still belong to who owned it
 * when it was named: he could have replaced its body anyway, but nobody else
 * gets his code run by creating a function under a name that became free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "sensor.h"

PG_FUNCTION_INFO_V1(fa_sensor_set);
PG_FUNCTION_INFO_V1(fa_actuator_set);

static const char *const kinds[] = {"sensor", "actuator"};

/* What each kind of function is given: one agent's, and all of a batch. */
static const int argument_counts[] = {1, 2};
static const Oid argument_types[2][2][2] = {
	{{INT8OID}, {INT8ARRAYOID}},
	{{INT8OID, INT4ARRAYOID}, {INT8ARRAYOID, INT4ARRAYOID}}};

static Statement set_statement = {
	"INSERT INTO @.fa_sensor AS x (owner, model, agent_id, kind, function, function_owner,"
	" at_once) SELECT $1, $2, i, $4, $5, $6, $7 FROM pg_catalog.unnest($3) AS i"
	" ON CONFLICT (owner, model, agent_id, kind) DO UPDATE"
	" SET function = $5, function_owner = $6, at_once = $7",
	7,
	{REGROLEOID, TEXTOID, INT8ARRAYOID, TEXTOID, TEXTOID, REGROLEOID, BOOLOID}};
static Statement clear_statement = {
	"DELETE FROM @.fa_sensor WHERE owner" EQ "$1 AND model" EQ
	"$2 AND agent_id" EQ "ANY ($3) AND kind" EQ "$4",
	4,
	{REGROLEOID, TEXTOID, INT8ARRAYOID, TEXTOID}};
static Statement model_statement = {
	"SELECT name FROM @.fa_model WHERE model_id" EQ "$1", 1, {INT8OID}};
/* Of the agents $1, those that are not $2's, or of another model than $3. */
static Statement strangers_statement = {
	"SELECT i, a.owner" EQ "$2 FROM pg_catalog.unnest($1) AS i"
	" LEFT JOIN @.fa_agent a ON a.agent_id" EQ
	"i LEFT JOIN @.fa_model m ON m.model_id" EQ "a.model_id WHERE (a.owner" EQ
	"$2 AND m.name" EQ "$3) IS NOT TRUE ORDER BY i",
	3,
	{INT8ARRAYOID, REGROLEOID, TEXTOID}};

/*
 * The functions for agents $1, and which of them each is for: their own, else
 * that of their model.
 */
static Statement uses_statement = {
	"SELECT x.kind" EQ "'actuator', x.owner, x.function, x.function_owner,"
	" x.at_once, pg_catalog.array_agg(a.agent_id)"
	" FROM pg_catalog.unnest($1) AS i (agent_id), @.fa_agent a, @.fa_model m,"
	" @.fa_sensor x WHERE a.agent_id" EQ "i.agent_id AND m.model_id" EQ
	"a.model_id AND x.owner" EQ "a.owner AND x.model" EQ
	"m.name AND x.agent_id" EQ
	"ANY (ARRAY[0::pg_catalog.int8, a.agent_id]) AND NOT (x.agent_id" EQ
	"0 AND EXISTS (SELECT FROM @.fa_sensor y WHERE y.owner" EQ
	"x.owner AND y.model" EQ "x.model AND y.agent_id" EQ
	"a.agent_id AND y.kind" EQ "x.kind))"
	" GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
	1,
	{INT8ARRAYOID}};

/* ---------- functions ---------- */

/* Does a function return rows of (bigint, int[])? */
static bool
returns_observations(Oid function)
{
	TupleDesc desc = NULL;

	return get_func_retset(function) &&
		   get_func_result_type(function, NULL, &desc) == TYPEFUNC_COMPOSITE &&
		   desc->natts == 2 && TupleDescAttr(desc, 0)->atttypid == INT8OID &&
		   TupleDescAttr(desc, 1)->atttypid == INT4ARRAYOID;
}

/*
 * Can a function be of this kind? Then whether it is called once for all agents
 * of a batch.  Raises 42P13 where it can not.
 */
static bool
check_form(Oid function, SensorKind kind)
{
	Oid	 *types;
	int	  count;
	Oid	  result = get_func_signature(function, &types, &count);
	bool  fits = count == argument_counts[kind];
	bool  at_once = fits && types[0] == INT8ARRAYOID;
	char *signature = format_procedure_qualified(function);

	for (int i = 0; fits && i < count; i++)
		fits = types[i] == argument_types[kind][at_once][i];
	if (get_func_prokind(function) != PROKIND_FUNCTION)
		fits = false;
	if (kind == KIND_SENSOR && at_once)
		fits = fits && returns_observations(function);
	else
		fits = fits && !get_func_retset(function) &&
			   (kind == KIND_ACTUATOR || result == INT4ARRAYOID);
	if (!fits)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("function %s cannot be %s %s", signature,
					kind == KIND_SENSOR ? "a" : "an", kinds[kind]),
			 kind == KIND_SENSOR ?
				 errhint(
					 "It takes a bigint and returns int[], or takes bigint[] and returns a table of bigint and int[].") :
				 errhint(
					 "It takes a bigint and int[], or bigint[] and int[], and returns no set.")));
	return at_once;
}

/* Who owns a function; InvalidOid where it is not there. */
static Oid
function_owner(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The function of a use as it is now; InvalidOid: there is none. */
static Oid
find_function(const SensorUse *use)
{
	return LookupFuncName(qualified_names(use->name),
						  argument_counts[use->kind],
						  argument_types[use->kind][use->at_once], true);
}

/* What the function of a use is given: how many arguments, of these types. */
int
sensor_arguments(const SensorUse *use, const Oid **types)
{
	*types = argument_types[use->kind][use->at_once];
	return argument_counts[use->kind];
}

/*
 * Sees to it that the function of a use is there, and the one that was named,
 * until the transaction ends, and notes which it is.  Called as who is to run
 * it, for he must be able to use its schema.  Raises 42883, 42501 and 42P13.
 */
void
sensor_hold(SensorUse *use)
{
	Oid function = find_function(use);

	if (OidIsValid(function))
	{
		LockDatabaseObject(ProcedureRelationId, function, 0, AccessShareLock);
		/* it may have gone, or another come, while we waited */
		if (find_function(use) != function)
			function = InvalidOid;
	}
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("%s %s of agent " INT64_FORMAT " does not exist",
						kinds[use->kind], use->name, use->ids[0]),
				 errhint("Create the function again, or name another one by "
						 "fa_%s_set.",
						 kinds[use->kind])));
	if (function_owner(function) != use->function_owner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s %s of agent " INT64_FORMAT " has another owner now",
						kinds[use->kind], use->name, use->ids[0]),
				 errhint("If it is still wanted, name it again by fa_%s_set.",
						 kinds[use->kind])));
	check_form(function, use->kind);
	use->function = function;
}

/* ---------- whose ---------- */

/*
 * The functions for agents [count]: [*use_count], in the current memory
 * context.  Each agent has at most one of each kind.
 */
SensorUse *
sensor_uses(const Call *call, const int64 *ids, int count, int *use_count)
{
	Datum	   arguments[1] = {array_from_int64(ids, count)};
	SensorUse *uses;
	bool	   isnull;

	*use_count = statement_run(call, &uses_statement, arguments, NULL, 0);
	uses = palloc(sizeof(SensorUse) * Max(*use_count, 1));
	for (int i = 0; i < *use_count; i++)
	{
		SensorUse *use = &uses[i];

		use->kind = DatumGetBool(result_datum(i, 1, &isnull)) ? KIND_ACTUATOR :
																KIND_SENSOR;
		use->owner = DatumGetObjectId(result_datum(i, 2, &isnull));
		use->name = TextDatumGetCString(result_datum(i, 3, &isnull));
		use->function = InvalidOid;
		use->function_owner = DatumGetObjectId(result_datum(i, 4, &isnull));
		use->at_once = DatumGetBool(result_datum(i, 5, &isnull));
		use->ids =
			array_to_int64(DatumGetArrayTypeP(result_datum(i, 6, &isnull)),
						   &use->count, "agent_ids");
	}
	return uses;
}

/* ---------- fa_sensor_set and fa_actuator_set ---------- */

/*
 * The name of a model that the caller may use; a version is refused (22023),
 * for agents move from one to the next and keep their world.
 */
static Datum
find_model(const Call *call, const char *name)
{
	ModelRow row = model_find_for_use(call, TABLE_MODEL, name);
	Datum	 arguments[1] = {Int64GetDatum(row.id)};
	bool	 isnull;
	Datum	 stored;

	statement_run(call, &model_statement, arguments, NULL, 1);
	stored = result_datum(0, 1, &isnull);
	if (strcmp(TextDatumGetCString(stored), name) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("sensors and actuators are for all versions of a model"),
			 errhint("Leave out the version.")));
	return stored;
}

/*
 * Refuses agents that are not the caller's own (42501): to be a member of the
 * owner's role does not do, for the function will run as the owner.  22023 for
 * one of another model.
 */
static void
require_own(const Call *call, Datum ids, Datum model)
{
	Datum arguments[3] = {ids, ObjectIdGetDatum(call->user), model};
	bool  isnull;
	bool  own;

	if (statement_run(call, &strangers_statement, arguments, NULL, 1) == 0)
		return;
	own = DatumGetBool(result_datum(0, 2, &isnull));
	if (isnull)
		agent_unknown(result_int64(0, 1));
	if (!own)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("agent " INT64_FORMAT " has another owner",
					result_int64(0, 1)),
			 errdetail(
				 "Sensors and actuators run as the owner of the agent, so only he names them."),
			 errhint("A member of his role may SET ROLE first.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("agent " INT64_FORMAT " is not of model \"%s\"",
				result_int64(0, 1), TextDatumGetCString(model)),
		 errhint(
			 "Name its own model: fa_agent.model_id is that of table fa_model.")));
}

/*
 * Stores a function in arguments 4 to 6 of set_statement: its name and form.
 * Raises 42883, 42501 and 42P13.
 */
static void
describe_function(const Call *call, Oid function, SensorKind kind,
				  Datum *arguments)
{
	Oid owner = function_owner(function);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	if (!may_execute(function, call->user))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION,
					   get_func_name(function));
	arguments[4] = CStringGetTextDatum(quote_qualified_identifier(
		get_namespace_name(get_func_namespace(function)),
		get_func_name(function)));
	arguments[5] = ObjectIdGetDatum(owner);
	arguments[6] = BoolGetDatum(check_form(function, kind));
}

/* fa_sensor_set and fa_actuator_set. */
static Datum
set(FunctionCallInfo fcinfo, SensorKind kind)
{
	static const int64 whole_model = 0;
	Datum			   arguments[7];
	int				   count = 1;
	int64			  *ids = NULL;
	Call			   call;

	call_require_write(kind == KIND_SENSOR ? "fa_sensor_set" :
											 "fa_actuator_set");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("model must not be null")));
	if (!PG_ARGISNULL(2))
		ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(2), &count);
	call_begin(&call, fcinfo, false);
	arguments[0] = ObjectIdGetDatum(call.user);
	arguments[1] = find_model(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	arguments[2] = array_from_int64(ids ? ids : &whole_model, count);
	arguments[3] = CStringGetTextDatum(kinds[kind]);
	if (ids != NULL)
		require_own(&call, arguments[2], arguments[1]);
	if (PG_ARGISNULL(1))
		statement_run(&call, &clear_statement, arguments, NULL, 0);
	else
	{
		describe_function(&call, PG_GETARG_OID(1), kind, arguments);
		statement_run(&call, &set_statement, arguments, NULL, 0);
	}
	call_end(&call);
	/* other processes step the agents from now on */
	pool_want_at_commit();
	PG_RETURN_VOID();
}

/*
 * fa_sensor_set(model text, function regprocedure, agent_ids bigint[]) returns
 * void: what the caller's agents of a model, or (agent_ids) these alone,
 * perceive.  function null: no longer.
 *
 * Raises 22004 without a model, 42704 and 42501 for the model, an agent or the
 * function, 42883 and 42P13 for the function, 22023 for a version or an agent
 * of another model, 25006.
 */
Datum
fa_sensor_set(PG_FUNCTION_ARGS)
{
	return set(fcinfo, KIND_SENSOR);
}

/*
 * fa_actuator_set(model text, function regprocedure, agent_ids bigint[])
 * returns void: what is called with their actions.  Raises what fa_sensor_set
 * does.
 */
Datum
fa_actuator_set(PG_FUNCTION_ARGS)
{
	return set(fcinfo, KIND_ACTUATOR);
}
