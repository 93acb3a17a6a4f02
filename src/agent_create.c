/*-------------------------------------------------------------------------
 *
 * agent_create.c
 *	  New agents, one or many in one statement.
 *
 * Locks: the model and the world, so that they are not dropped meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "agent.h"

PG_FUNCTION_INFO_V1(fa_agent_create);
PG_FUNCTION_INFO_V1(fa_agent_create_many_count);
PG_FUNCTION_INFO_V1(fa_agent_create_many_array);

#define CREATE_LIMIT 10000000 /* agents of one call */

enum
{
	NEW_AGENT_ID,
	NEW_NAME,
	NEW_MODEL_ID,
	NEW_WORLD_ID,
	NEW_OWNER,
	NEW_PARAMS,
	NEW_SEED,
	NEW_HISTORY,
	NEW_MODEL_DIGEST,
	NEW_WORLD_DIGEST,
	NEW_PARAMETERS,
	NEW_BELIEF,
	NEW_COLUMNS
};

static const struct
{
	const char *name;
	Oid			type;
} new_columns[NEW_COLUMNS] = {
	{"agent_id", INT8OID},
	{"name", TEXTOID},
	{"model_id", INT8OID},
	{"world_id", INT8OID},
	{"owner", REGROLEOID},
	{"params", JSONBOID},
	{"seed", INT8OID},
	{"history", INT2OID},
	{"model_digest", BYTEAOID},
	{"world_digest", BYTEAOID},
	{"parameters", FLOAT8ARRAYOID},
	{"belief", FLOAT8ARRAYOID},
};

/* The same as the column list of fa_rows(). */
#define NEW_ROWS                                                     \
	"@.fa_rows() AS r"                                               \
	" (agent_id pg_catalog.int8, name pg_catalog.text, "             \
	"model_id pg_catalog.int8, world_id pg_catalog.int8, "           \
	"owner pg_catalog.regrole, params pg_catalog.jsonb, "            \
	"seed pg_catalog.int8, history pg_catalog.int2, "                \
	"model_digest pg_catalog.bytea, world_digest pg_catalog.bytea, " \
	"parameters pg_catalog.float8[], belief pg_catalog.float8[])"

/*
 * Cold and hot rows in one statement, so that a batch is read once from its
 * store; the CTE is materialized because fa_rows() can be taken only once.
 */
static Statement insert_statement = {
	"WITH new_agents AS MATERIALIZED (SELECT * FROM " NEW_ROWS "), cold AS"
	" (INSERT INTO @.fa_agent (agent_id, name, model_id, world_id, owner, params)"
	" SELECT agent_id, name, model_id, world_id, owner, params FROM new_agents)"
	" INSERT INTO @.fa_belief (agent_id, model_id, world_id, seed, owner, history,"
	" paused, model_digest, world_digest, parameters, trial, step, belief)"
	" SELECT agent_id, model_id, world_id, seed, owner, history, false,"
	" model_digest, world_digest, parameters, 0, 0, belief FROM new_agents",
	0,
	{0}};
static Statement name_statement = {
	"SELECT 1 FROM @.fa_agent WHERE name" EQ "$1", 1, {TEXTOID}};

/*
 * Raises 42602 for a name that is empty, too long, or a number, which is what
 * the graph calls agents without a name; 42710 for one in use.
 * The name is locked first, or two creators would both find it free and the
 * later one would fail at the unique index, whose message says nothing of
 * agents.  Names are unique in a database, also among owners, since they are
 * how agents are told from each other.
 */
static void
check_agent_name(const Call *call, const char *name)
{
	Datum arguments[1] = {CStringGetTextDatum(name)};

	if (name[0] == '\0' || strlen(name) > NAME_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("agent name must have 1 to %d bytes", NAME_LIMIT),
				 errhint("Leave it null for an agent without a name.")));
	if (name[0] == '{')
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("agent name cannot begin with \"{\""),
			 errhint(
				 "Params are the third argument: fa_agent_create(model, params => '{...}').")));
	if (strspn(name, "0123456789") == strlen(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("agent name cannot be a number"),
				 errdetail("Numbers are the ids of agents without a name.")));
	name_lock(call, "fa_agent", name);
	if (statement_run_now(call, &name_statement, arguments) > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("agent name \"%s\" is in use", name),
			 errhint(
				 "Names are those of all users; choose another, or none.")));
}

/*
 * Seeds that are not given: ids scattered (splitmix64), so that neighbours
 * differ in all bits.  A function of the id and not of the clock: a test that
 * makes agents in a new database can be repeated.
 */
static int64
default_seed(int64 agent_id)
{
	uint64 z = (uint64) agent_id + UINT64CONST(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64CONST(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94D049BB133111EB);
	return (int64) (z ^ (z >> 31));
}

/*
 * The columns [NEW_COLUMNS] of one new agent.  Pointers are taken over as they
 * are; the store copies them.
 */
static void
new_values(const Call *call, const ModelRow *model, const KernelModel *compiled,
		   const AgentParams *params, int64 agent_id, int64 seed,
		   const char *name, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * NEW_COLUMNS);
	values[NEW_AGENT_ID] = Int64GetDatum(agent_id);
	nulls[NEW_NAME] = name == NULL;
	values[NEW_NAME] = name == NULL ? (Datum) 0 : CStringGetTextDatum(name);
	values[NEW_MODEL_ID] = Int64GetDatum(model->id);
	nulls[NEW_WORLD_ID] = nulls[NEW_WORLD_DIGEST] = params->world.id == 0;
	values[NEW_WORLD_ID] = Int64GetDatum(params->world.id);
	values[NEW_OWNER] = ObjectIdGetDatum(call->user);
	values[NEW_PARAMS] = JsonbPGetDatum(params->params);
	values[NEW_SEED] = Int64GetDatum(seed);
	values[NEW_HISTORY] = Int16GetDatum(params->history);
	values[NEW_MODEL_DIGEST] = model->digest;
	values[NEW_WORLD_DIGEST] = params->world.digest;
	nulls[NEW_PARAMETERS] = params->packed == NULL;
	values[NEW_PARAMETERS] =
		params->packed == NULL ?
			(Datum) 0 :
			array_from_double(params->packed, params->packed_length);
	values[NEW_BELIEF] =
		array_from_double(params->belief, compiled->belief_size);
}

/*
 * Makes count agents: one for each of params [count], or count alike where
 * only one is given (alike), whose seeds then count up.  Returns their ids,
 * [count], in that order.
 *
 * The model is locked against being dropped until the transaction ends.  Each
 * row is built in a context of its own that is emptied after it, so memory
 * does not grow with count but for the ids; the rows go to a file beyond
 * work_mem.  History's partitions are made before the rows are written: so
 * they are there when the first step wants to keep something.  An ERROR leaves
 * no agent, only a gap in the ids.
 */
static int64 *
create_agents(const Call *call, const char *model_name, const char *name,
			  Jsonb **params, int count, bool alike)
{
	ModelRow model = model_find_for_use(call, TABLE_MODEL, model_name);
	const KernelModel *compiled =
		cache_find(call, TABLE_MODEL, model.id, model.digest)->model;
	Oid				 sequence = call_relation(call, "fa_agent_id_seq");
	TupleDesc		 desc = CreateTemplateTupleDesc(NEW_COLUMNS);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	MemoryContext	 row_context = AllocSetContextCreate(
		   CurrentMemoryContext, "fa_agents new agent", ALLOCSET_DEFAULT_SIZES);
	int64	   *ids = palloc(sizeof(int64) * Max(count, 1));
	AgentParams parsed = {0};
	bool		history = false;

	for (int i = 0; i < NEW_COLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, new_columns[i].name,
						   new_columns[i].type, -1, 0);
	if (name != NULL)
		check_agent_name(call, name);
	if (alike)
		parsed = agent_params_parse(call, compiled, params[0], true);
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		Datum		  values[NEW_COLUMNS];
		bool		  nulls[NEW_COLUMNS];
		int64		  seed;

		CHECK_FOR_INTERRUPTS();
		if (!alike)
			parsed = agent_params_parse(call, compiled, params[i], true);
		history |= parsed.history != 0;
		ids[i] = nextval_internal(sequence, false);
		seed = parsed.has_seed ? parsed.seed + (alike ? i : 0) :
								 default_seed(ids[i]);
		new_values(call, &model, compiled, &parsed, ids[i], seed, name, values,
				   nulls);
		tuplestore_putvalues(store, desc, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	if (history)
		history_prepare(call);
	statement_run_with(call, &insert_statement, NULL, NULL, desc, store);
	pool_agents_at_commit();
	return ids;
}

/*
 * A text argument of a function that is not strict; raises 22004 where it is
 * null.
 */
static char *
required_text(FunctionCallInfo fcinfo, int argument, const char *what)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/*
 * fa_agent_create(model text, name text, params jsonb) returns bigint, the new
 * agent's id.
 *
 * name is null for an agent without one; params null is '{}'.  Raises 22004
 * where model is null, 42704 and 42501 for the model or the world, 42710 and
 * 42602 for the name, 22023 for params, 25006 where nothing can be written.
 */
Datum
fa_agent_create(PG_FUNCTION_ARGS)
{
	const char *model = required_text(fcinfo, 0, "model");
	const char *name =
		PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Jsonb *params =
		PG_ARGISNULL(2) ? jsonb_from_text("{}") : PG_GETARG_JSONB_P(2);
	int64 agent_id;
	Call  call;

	call_require_write("fa_agent_create");
	call_begin(&call, fcinfo, false);
	agent_id = create_agents(&call, model, name, &params, 1, true)[0];
	call_end(&call);
	PG_RETURN_INT64(agent_id);
}

/* Adds ids [count] as the rows of a set that was initialized. */
static Datum
return_ids(FunctionCallInfo fcinfo, const int64 *ids, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int i = 0; i < count; i++)
	{
		Datum value = Int64GetDatum(ids[i]);
		bool  isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/*
 * Both kinds of fa_agent_create_many.  The set is begun before call_begin, so
 * its store is in the query's memory and not in SPI's.
 */
static Datum
create_many(FunctionCallInfo fcinfo, Jsonb **params, int count, bool alike)
{
	const char *model = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64	   *ids;
	Call		call;

	call_require_write("fa_agent_create_many");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	call_begin(&call, fcinfo, false);
	ids = create_agents(&call, model, NULL, params, count, alike);
	return_ids(fcinfo, ids, count);
	call_end(&call);
	return (Datum) 0;
}

/*
 * fa_agent_create_many(model text, count int, params jsonb) returns setof
 * bigint, the ids in ascending order.  All agents have the same params; where
 * these give a seed, the i-th has that seed + i, for equal seeds would make
 * them act alike.
 *
 * Strict.  Raises 22023 for a negative count, else what fa_agent_create
 * raises; then none is made.
 */
Datum
fa_agent_create_many_count(PG_FUNCTION_ARGS)
{
	int32  count = PG_GETARG_INT32(1);
	Jsonb *params = PG_GETARG_JSONB_P(2);

	if (count < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("count must not be negative")));
	return create_many(fcinfo, &params, count, true);
}

/*
 * fa_agent_create_many(model text, params jsonb[]) returns setof bigint, one
 * id for each element, in the array's order; a null element is '{}'.
 *
 * Strict.  Raises what fa_agent_create raises; then none is made.
 */
Datum
fa_agent_create_many_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(1);
	Datum	  *elements;
	bool	  *nulls;
	int		   count;
	Jsonb	 **params;

	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &count);
	params = palloc(sizeof(Jsonb *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		params[i] =
			nulls[i] ? jsonb_from_text("{}") : DatumGetJsonbP(elements[i]);
	return create_many(fcinfo, params, count, false);
}
