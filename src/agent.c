/*-------------------------------------------------------------------------
 *
 * agent.c
 *	  Agents: make, copy, pause, reset and drop them.
 *
 * Locks, in this order: the model and the world (so that they are not dropped
 * meanwhile), then hot rows in ascending order of id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fa_agents.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_agent_create);
PG_FUNCTION_INFO_V1(fa_agent_create_many_count);
PG_FUNCTION_INFO_V1(fa_agent_create_many_array);
PG_FUNCTION_INFO_V1(fa_agent_pause);
PG_FUNCTION_INFO_V1(fa_agent_resume);
PG_FUNCTION_INFO_V1(fa_agent_drop);
PG_FUNCTION_INFO_V1(fa_agent_reset);
PG_FUNCTION_INFO_V1(fa_agent_set_model);
PG_FUNCTION_INFO_V1(fa_agent_fork);

#define BLOCK_AGENTS 64 /* agents read at once; one that learns may be large */
#define CREATE_LIMIT 10000000 /* agents of one call */

/*
 * Members of params that are ours; all others are numbers of the model, and
 * the kernel refuses a name that is neither: a misspelt "gama" would be
 * believed to be set.
 */
static const char *const own_params[] = {"seed", "world", "belief", "history",
										 NULL};

/*
 * What params say, ready to be stored.  Pointers lie in the memory context
 * that was current in parse_params.
 */
typedef struct AgentParams
{
	Jsonb	*params;
	double	*packed; /* overridden numbers, or NULL */
	int32	 packed_length;
	double	*belief;  /* [belief_size]: the initial belief */
	int16	 history; /* HISTORY_* bits */
	bool	 has_seed;
	int64	 seed;
	ModelRow world; /* id 0: none named */
} AgentParams;

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
static Statement pause_statement = {
	"UPDATE @.fa_belief SET paused = $2 WHERE agent_id" EQ "ANY ($1)"
	" AND paused OPERATOR(pg_catalog.<>) $2",
	2,
	{INT8ARRAYOID, BOOLOID}};
static Statement set_model_belief_statement = {
	"UPDATE @.fa_belief SET model_id = $2, model_digest = $3, parameters = $4,"
	" synced = CASE WHEN synced IS NOT NULL THEN '{}'::pg_catalog.float4[] END"
	" WHERE agent_id" EQ "$1",
	4,
	{INT8OID, INT8OID, BYTEAOID, FLOAT8ARRAYOID}};
static Statement set_model_agent_statement = {
	"UPDATE @.fa_agent SET model_id = $2 WHERE agent_id" EQ "$1",
	2,
	{INT8OID, INT8OID}};
/* Its own sensor and actuator go with it to a model of another name. */
static Statement set_model_sensor_statement = {
	"UPDATE @.fa_sensor x SET model = m.name FROM @.fa_model m WHERE x.agent_id" EQ
	"$1 AND x.agent_id" GT "0 AND m.model_id" EQ "$2",
	2,
	{INT8OID, INT8OID}};
static Statement params_statement = {
	"SELECT params FROM @.fa_agent WHERE agent_id" EQ "$1", 1, {INT8OID}};
/* A fork has no name (names are unique) and belongs to who makes it. */
static Statement fork_agent_statement = {
	"INSERT INTO @.fa_agent (agent_id, model_id, world_id, owner, params, forked_from)"
	" SELECT $2, model_id, world_id, $3, $4, agent_id FROM @.fa_agent"
	" WHERE agent_id" EQ "$1",
	4,
	{INT8OID, INT8OID, REGROLEOID, JSONBOID}};
static Statement fork_belief_statement = {
	"INSERT INTO @.fa_belief (agent_id, model_id, world_id, seed, owner, history,"
	" paused, model_digest, world_digest, parameters, trial, step, vfe, action,"
	" world_state, observation, did, before, belief)"
	" SELECT $2, model_id, world_id, COALESCE($4, seed), $3, $5, paused,"
	" model_digest, world_digest, $6, trial, step, vfe, action, world_state,"
	" observation, did, before, belief FROM @.fa_belief WHERE agent_id" EQ "$1",
	6,
	{INT8OID, INT8OID, REGROLEOID, INT8OID, INT2OID, FLOAT8ARRAYOID}};
static Statement fork_learned_statement = {
	"INSERT INTO @.fa_learned (agent_id, part, counts)"
	" SELECT $2, part, counts FROM @.fa_learned WHERE agent_id" EQ "$1",
	2,
	{INT8OID, INT8OID}};
/* what others know too, the copy has of them as well */
static Statement fork_common_statement = {
	"INSERT INTO @.fa_coalition_common (agent_id, trial, belief)"
	" SELECT $2, trial, belief FROM @.fa_coalition_common"
	" WHERE agent_id" EQ "$1",
	2,
	{INT8OID, INT8OID}};
/*
 * SQL's own rule of merging: a member of the second replaces the first's,
 * whole.
 */
static Statement merge_statement = {
	"SELECT $1 OPERATOR(pg_catalog.||) $2", 2, {JSONBOID, JSONBOID}};
/*
 * The hot row goes first: it is the one that is locked, and that steps look
 * for.  History stays, for its rows are never deleted one by one.
 */
static Statement drop_statements[] = {
	{"DELETE FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_agent WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_learned WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_observation WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_key WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_retry WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_coalition_member WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_coalition_common WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	/* a mailbox goes before its messages: who is receiving has locked it */
	{"DELETE FROM @.fa_mailbox WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"WITH gone AS (DELETE FROM @.fa_message WHERE recipient" EQ
	 "ANY ($1) RETURNING message_id, sender, recipient, sent_at, priority, body)"
	 " INSERT INTO @.fa_dead_letter"
	 " (message_id, sender, recipient, sent_at, priority, body, reason)"
	 " SELECT message_id, sender, recipient, sent_at, priority, body, 'dropped'"
	 " FROM gone",
	 1,
	 {INT8ARRAYOID}},
	/* not those of whole models, which have 0 */
	{"DELETE FROM @.fa_sensor WHERE agent_id" EQ "ANY ($1) AND agent_id" GT "0",
	 1,
	 {INT8ARRAYOID}},
};

/* ---------- checks that every function makes ---------- */

/* Raises 42704; never returns. */
void
agent_unknown(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("agent " INT64_FORMAT " does not exist", agent_id),
		 errhint(
			 "Create agents by fa_agent_create; table fa_agent lists yours.")));
	pg_unreachable();
}

/* An id that stands twice in one call: both could not be the agent's next step. */
void
agent_repeated(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("agent " INT64_FORMAT " is listed more than once", agent_id),
		 errhint(
			 "Give each agent id once; use SELECT DISTINCT where they come from a query.")));
	pg_unreachable();
}

/* Raises 42501; never returns. */
void
agent_denied(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for agent " INT64_FORMAT, agent_id),
		 errdetail(
			 "Only its owner, and who is a member of that role, may use it.")));
	pg_unreachable();
}

/*
 * Raises 42501 unless the caller has the rights of the agent's owner.  The
 * first test saves the look-up of roles, which for a batch would cost more
 * than reading the rows.
 */
void
agent_require_owner(const Call *call, int64 agent_id, Oid owner)
{
	if (call->user != owner && !has_privs_of_role(call->user, owner))
		agent_denied(agent_id);
}

/*
 * The ids of an argument bigint[], ascending, [*count]; a repeated one is an
 * error (22023), as is a null (22004).  Sorted because rows are locked in that
 * order, and because belief_read relies on it.
 */
int64 *
agent_ids_sorted(ArrayType *array, int *count)
{
	int64 *ids = array_to_int64(array, count, "agent_ids");

	qsort(ids, *count, sizeof(int64), compare_int64);
	for (int i = 1; i < *count; i++)
	{
		if (ids[i] == ids[i - 1])
			agent_repeated(ids[i]);
	}
	return ids;
}

/* ---------- params ---------- */

/* Raises 22023 for a member of params; never returns. */
static void
invalid_param(const char *name, const char *expected)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for parameter \"%s\"", name),
					errdetail("Expected %s.", expected)));
}

/*
 * HISTORY_* bits of true, false, or a list of what to keep besides.  A list
 * keeps what true keeps too; an absent member is false, as history costs space
 * with each step.
 */
static int16
parse_history(const JsonValue *value)
{
	int16 bits = HISTORY_ON;

	if (value == NULL || value->kind == JSON_FALSE)
		return 0;
	if (value->kind == JSON_TRUE)
		return bits;
	if (value->kind != JSON_ARRAY)
		invalid_param(
			"history",
			"true, false, or a list of \"belief\", \"q_pi\" and \"neg_efe\"");
	for (int32 i = 0; i < value->count; i++)
	{
		const JsonValue *element = &value->as.elements[i];
		const char		*word =
			 element->kind == JSON_STRING ? element->as.string : "";

		if (strcmp(word, "belief") == 0)
			bits |= HISTORY_BELIEF;
		else if (strcmp(word, "q_pi") == 0)
			bits |= HISTORY_Q_PI;
		else if (strcmp(word, "neg_efe") == 0)
			bits |= HISTORY_NEG_EFE;
		else
			invalid_param("history",
						  "a list of \"belief\", \"q_pi\" and \"neg_efe\"");
	}
	return bits;
}

/*
 * A seed is a whole number that a double holds exactly, since JSON numbers are
 * read as doubles: a larger one would silently be another seed.
 */
static void
parse_seed(const JsonValue *value, AgentParams *result)
{
	if (value == NULL)
		return;
	if (value->kind != JSON_NUMBER ||
		value->as.number != rint(value->as.number) ||
		fabs(value->as.number) > 9007199254740992.0)
		invalid_param("seed", "a whole number between -2^53 and 2^53");
	result->has_seed = true;
	result->seed = (int64) value->as.number;
}

/*
 * The agent's actions must be the world's, and the world's outcomes the
 * agent's: only their numbers are compared, as names are for people.  States
 * may differ, for the agent never sees them; a world may well be larger than
 * what its agents believe.  Raises 22023.
 */
static void
check_world(const KernelModel *model, const KernelModel *world,
			const char *name)
{
	bool fits = model->control_count == world->control_count &&
				model->modality_count == world->modality_count;

	for (int32 c = 0; fits && c < model->control_count; c++)
		fits = kernel_control(model, c)->actions ==
			   kernel_control(world, c)->actions;
	for (int32 m = 0; fits && m < model->modality_count; m++)
		fits = kernel_modality(model, m)->outcomes ==
			   kernel_modality(world, m)->outcomes;
	if (!fits)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("world \"%s\" does not fit the agent's model", name),
			 errdetail(
				 "The controls with their actions and the modalities with their outcomes must be the same, in the same order.")));
}

/*
 * The world that params name.  It is locked against being dropped until the
 * transaction ends; the row stores its id and not its name, so the agent stays
 * with this version.
 */
static void
parse_world(const Call *call, const KernelModel *model, const JsonValue *value,
			AgentParams *result)
{
	CachedModel *world;

	if (value == NULL || value->kind == JSON_NULL)
		return;
	if (value->kind != JSON_STRING)
		invalid_param("world", "the name of a world");
	result->world = model_find_for_use(call, TABLE_WORLD, value->as.string);
	world =
		cache_find(call, TABLE_WORLD, result->world.id, result->world.digest);
	check_world(model, world->model, value->as.string);
}

/*
 * D of an agent, [belief_size]: its own where params give one, else the
 * model's.  A copy: the model's lies in the cache, and "belief" in params may
 * write over it.
 */
static void
initial_belief(const KernelModel *model, AgentParams *result)
{
	KernelParameters parameters;
	const double	*D = KERNEL_AT(model, double, model->D);

	if (result->packed != NULL &&
		kernel_parameters_unpack(model, result->packed, result->packed_length,
								 &parameters) &&
		parameters.D != NULL)
		D = parameters.D;
	result->belief = palloc(sizeof(double) * model->belief_size);
	memcpy(result->belief, D, sizeof(double) * model->belief_size);
}

/*
 * Everything that params say about an agent of this model, in the current
 * memory context.  An agent that is there already keeps its world (with_world
 * false): the name may have a new version.
 *
 * Raises 22023 for unknown members and wrong values, 42704 and 42501 for the
 * world.  The first test is for batches of agents without params, which need
 * no JSON parsed.
 */
static AgentParams
parse_params(const Call *call, const KernelModel *model, Jsonb *params,
			 bool with_world)
{
	AgentParams		result = {.params = params};
	KernelProblems *problems;
	JsonValue	   *value;
	KernelHost		host;

	if (JB_ROOT_COUNT(params) == 0 && JB_ROOT_IS_OBJECT(params))
	{
		initial_belief(model, &result);
		return result;
	}
	problems = palloc0(sizeof(KernelProblems));
	host_init(&host, CurrentMemoryContext);
	value = json_from_jsonb(&host, params, "params");
	if (value->kind != JSON_OBJECT)
		invalid_param("params", "a JSON object");
	(void) kernel_parameters_pack(&host, model, value, own_params,
								  &result.packed, &result.packed_length,
								  problems);
	host_report(problems, "params");
	initial_belief(model, &result);
	if (json_member(value, "belief") != NULL)
		(void) kernel_belief_parse(&host, model, json_member(value, "belief"),
								   "belief", result.belief, problems);
	host_report(problems, "params");
	parse_seed(json_member(value, "seed"), &result);
	if (with_world)
		parse_world(call, model, json_member(value, "world"), &result);
	result.history = parse_history(json_member(value, "history"));
	pfree(problems);
	return result;
}

/* ---------- create ---------- */

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
		parsed = parse_params(call, compiled, params[0], true);
	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		Datum		  values[NEW_COLUMNS];
		bool		  nulls[NEW_COLUMNS];
		int64		  seed;

		CHECK_FOR_INTERRUPTS();
		if (!alike)
			parsed = parse_params(call, compiled, params[i], true);
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

/* ---------- pause, resume, drop, reset ---------- */

/*
 * fa_agent_pause and fa_agent_resume.  Rows that are so already are not
 * written, hence the count.  They are locked first, because an UPDATE of many
 * takes its locks in no promised order.
 */
static Datum
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Datum  arguments[2] = {array_from_int64(ids, count), BoolGetDatum(paused)};
	int	   changed;
	Call   call;

	call_require_write(paused ? "fa_agent_pause" : "fa_agent_resume");
	call_begin(&call, fcinfo, false);
	belief_lock(&call, ids, count);
	changed = statement_run(&call, &pause_statement, arguments, NULL, 0);
	if (!paused)
	{
		changed += retry_forget(&call, ids, count);
		pool_agents_at_commit();
	}
	call_end(&call);
	PG_RETURN_INT64(changed);
}

/*
 * fa_agent_pause(agent_ids bigint[]) returns bigint, how many were not paused
 * before.  Paused agents refuse steps, but take observations.
 *
 * Strict; waits for steps that are being written.  Raises 42704, 42501, 22023
 * for a repeated id, 22004 for a null one, 25006; then none is paused.
 */
Datum
fa_agent_pause(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, true);
}

/*
 * fa_agent_resume(agent_ids bigint[]) returns bigint, how many were paused
 * before, or left out by workers because their steps had failed.  Errors are those of fa_agent_pause.
 */
Datum
fa_agent_resume(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, false);
}

/*
 * fa_agent_drop(agent_ids bigint[]) returns bigint, how many were dropped,
 * with all they know; their history stays until its retention ends.
 *
 * Strict.  The rows stay locked to the transaction's end, so a step waits and
 * then finds no agent.  Raises 42704, 42501, 22023 for a repeated id, 22004,
 * 25006; then none is dropped.
 */
Datum
fa_agent_drop(PG_FUNCTION_ARGS)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Datum  arguments[1] = {array_from_int64(ids, count)};
	Call   call;

	call_require_write("fa_agent_drop");
	call_begin(&call, fcinfo, false);
	belief_lock(&call, ids, count);
	graph_belief_forget(&call, ids, count);
	for (int i = 0; i < (int) lengthof(drop_statements); i++)
		statement_run(&call, &drop_statements[i], arguments, NULL, 0);
	call_end(&call);
	PG_RETURN_INT64(count);
}

/*
 * Begins the next trial of a block of agents, whose rows are locked by the
 * caller; ids [count] ascending.
 */
static void
reset_block(const Call *call, const int64 *ids, int count)
{
	AgentRow **pointers = palloc(sizeof(AgentRow *) * count);
	AgentRow  *agents = belief_read(call, ids, count);

	for (int i = 0; i < count; i++)
	{
		belief_start_trial(&agents[i]);
		pointers[i] = &agents[i];
	}
	belief_write_locked(call, pointers, count);
	learned_write(call, pointers, count);
}

/*
 * Begins the next trial of agents [count], ids ascending.  All are locked at
 * once, in order, and then done in blocks: what is read of a block is freed
 * before the next, and one agent that learns may have some MB of counts.
 * Locks last to the transaction's end.
 */
void
agent_reset(const Call *call, const int64 *ids, int count)
{
	if (count > 0)
		belief_lock(call, ids, count);
	for (int first = 0; first < count; first += BLOCK_AGENTS)
	{
		CHECK_FOR_INTERRUPTS();
		/* the block's memory ends with its connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		reset_block(call, ids + first, Min(BLOCK_AGENTS, count - first));
		SPI_finish();
	}
}

/*
 * fa_agent_reset(agent_ids bigint[]) returns bigint, how many began a new
 * trial: belief D, no last action, the world drawn anew.  Counts, seed and
 * step go on.
 *
 * Strict; paused agents are reset too.  Raises 42704, 42501, 22023 for a
 * repeated id, 22004, 25006; then none is reset.
 */
Datum
fa_agent_reset(PG_FUNCTION_ARGS)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Call   call;

	call_require_write("fa_agent_reset");
	call_begin(&call, fcinfo, false);
	agent_reset(&call, ids, count);
	call_end(&call);
	PG_RETURN_INT64(count);
}

/* ---------- set_model ---------- */

/*
 * An agent's params as they were given, a copy in the current memory context.
 */
static Jsonb *
stored_params(const Call *call, int64 agent_id)
{
	Datum arguments[1] = {Int64GetDatum(agent_id)};
	bool  isnull;

	if (statement_run(call, &params_statement, arguments, NULL, 1) != 1)
		agent_unknown(agent_id);
	return DatumGetJsonbPCopy(result_datum(0, 1, &isnull));
}

/*
 * Gives a locked agent another model of the same shape; belief and counts are
 * kept, for they mean the same states and outcomes.  The graph does not have
 * that belief under the new model's names. name is the model's, for
 * messages.
 *
 * The packed parameters are made anew from params: their layout may be the
 * same, but numbers that are not overridden are in them too and have to be the
 * new model's.  Raises 22023 for another shape; the caller's transaction
 * undoes those that were done before.
 */
static void
set_model(const Call *call, AgentRow *agent, const ModelRow *model,
		  const KernelModel *compiled, const char *name)
{
	AgentParams params;
	AgentRow   *pointer = agent;
	Datum		arguments[4] = {Int64GetDatum(agent->agent_id),
								Int64GetDatum(model->id), model->digest, 0};

	if (compiled->shape != agent->model->model->shape)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "model \"%s\" has another shape than that of agent " INT64_FORMAT,
				 name, agent->agent_id),
			 errdetail(
				 "Factors, modalities, controls, their sizes and dependencies, and what is learned, must be the same."),
			 errhint("Create a new agent of that model.")));
	/* what the old model's learning rates owe is settled under the old model */
	belief_learn_owed(agent);
	belief_write_locked(call, &pointer, 1);
	learned_write(call, &pointer, 1);

	params = parse_params(call, compiled, stored_params(call, agent->agent_id),
						  false);
	if (params.packed != NULL)
		arguments[3] = array_from_double(params.packed, params.packed_length);
	statement_run(call, &set_model_belief_statement, arguments,
				  params.packed ? NULL : "   n", 0);
	statement_run(call, &set_model_agent_statement, arguments, NULL, 0);
	statement_run(call, &set_model_sensor_statement, arguments, NULL, 0);
}

/*
 * fa_agent_set_model(agent_ids bigint[], model text) returns bigint, how many
 * agents have it now. model is "name" or "name@version".
 *
 * Strict.  Raises 22023 where the shapes differ or an id is repeated, 42704
 * and 42501 for the model or an agent, 22004, 25006; then none has changed.
 */
Datum
fa_agent_set_model(PG_FUNCTION_ARGS)
{
	int				   count;
	int64			  *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	const char		  *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const KernelModel *compiled;
	ModelRow		   model;
	Call			   call;

	call_require_write("fa_agent_set_model");
	call_begin(&call, fcinfo, false);
	model = model_find_for_use(&call, TABLE_MODEL, name);
	compiled = cache_find(&call, TABLE_MODEL, model.id, model.digest)->model;
	if (count > 0)
		belief_lock(&call, ids, count);
	pool_agents_at_commit();
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		/* each agent's memory ends with its connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		set_model(&call, belief_read(&call, &ids[i], 1), &model, compiled,
				  name);
		SPI_finish();
	}
	call_end(&call);
	PG_RETURN_INT64(count);
}

/* ---------- fork ---------- */

/*
 * The old members, replaced by the added ones; a copy in the current memory
 * context.
 */
static Jsonb *
merge_params(const Call *call, Jsonb *old, Jsonb *added)
{
	Datum arguments[2] = {JsonbPGetDatum(old), JsonbPGetDatum(added)};
	bool  isnull;

	statement_run(call, &merge_statement, arguments, NULL, 1);
	return DatumGetJsonbPCopy(result_datum(0, 1, &isnull));
}

/*
 * What a fork cannot be given: it is the agent's own.  Raises 22023 rather
 * than leaving it unheeded, for a what-if from another belief would give a
 * wrong answer.
 */
static void
check_fork_params(Jsonb *added)
{
	static const char *const kept[] = {"belief", "world"};

	for (int i = 0; i < (int) lengthof(kept); i++)
	{
		if (JB_ROOT_IS_OBJECT(added) &&
			getKeyJsonValueFromContainer(&added->root, kept[i], strlen(kept[i]),
										 NULL) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a fork keeps the %s of its agent", kept[i]),
					 errhint("Create a new agent to begin with another one.")));
	}
}

/*
 * Copies the rows of an agent to fork_id.  The agent's row is locked by the
 * caller, so counts and belief are those of one step; they are copied by SQL,
 * and no large array comes here.
 *
 * added is parsed alone too: the seed is changed only if it stands there.  One
 * that the agent was created with is in the merged params, but an agent of a
 * batch has that seed plus its number.
 */
static void
copy_agent(const Call *call, const AgentRow *agent, Jsonb *added, int64 fork_id)
{
	const KernelModel *model = agent->model->model;
	Jsonb			  *merged =
		merge_params(call, stored_params(call, agent->agent_id), added);
	AgentParams own = parse_params(call, model, added, false);
	AgentParams params = parse_params(call, model, merged, false);
	Datum hot[6] = {Int64GetDatum(agent->agent_id), Int64GetDatum(fork_id),
					ObjectIdGetDatum(call->user),	Int64GetDatum(own.seed),
					Int16GetDatum(params.history),	0};
	Datum cold[4] = {hot[0], hot[1], hot[2], JsonbPGetDatum(merged)};
	char  nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	nulls[3] = own.has_seed ? ' ' : 'n';
	nulls[5] = params.packed ? ' ' : 'n';
	if (params.packed != NULL)
		hot[5] = array_from_double(params.packed, params.packed_length);
	statement_run(call, &fork_agent_statement, cold, NULL, 0);
	statement_run(call, &fork_belief_statement, hot, nulls, 0);
	/* their two arguments are the first two of cold */
	statement_run(call, &fork_learned_statement, cold, NULL, 0);
	statement_run(call, &fork_common_statement, cold, NULL, 0);
}

/*
 * fa_agent_fork(agent_id bigint, params jsonb) returns bigint, the copy's id:
 * the same state, counts, trial and step, so that it goes on as the agent
 * would; params may give another seed, gamma and so on.  Inbox, keys and
 * history stay with the agent.
 *
 * Strict; the copy is the caller's.  Raises 42704, 42501, 22023 for params,
 * 25006.
 */
Datum
fa_agent_fork(PG_FUNCTION_ARGS)
{
	int64	  agent_id = PG_GETARG_INT64(0);
	Jsonb	 *added = PG_GETARG_JSONB_P(1);
	AgentRow *agent;
	int64	  fork_id;
	Call	  call;

	call_require_write("fa_agent_fork");
	check_fork_params(added);
	call_begin(&call, fcinfo, false);
	belief_lock(&call, &agent_id, 1);
	agent = belief_read(&call, &agent_id, 1);
	model_lock(&call, TABLE_MODEL, agent->model_id, AccessShareLock);
	pool_agents_at_commit();
	fork_id = nextval_internal(call_relation(&call, "fa_agent_id_seq"), false);
	copy_agent(&call, agent, added, fork_id);
	call_end(&call);
	PG_RETURN_INT64(fork_id);
}
