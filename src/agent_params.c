/*-------------------------------------------------------------------------
 *
 * agent_params.c
 *	  What params say about an agent: its own numbers, seed, world, history.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "agent.h"

#include <math.h>

/*
 * Members of params that are ours; all others are numbers of the model, and
 * the kernel refuses a name that is neither: a misspelt "gama" would be
 * believed to be set.
 */
static const char *const own_params[] = {"seed", "world", "belief", "history",
										 NULL};

static Statement params_statement = {
	"SELECT params FROM @.fa_agent WHERE agent_id" EQ "$1", 1, {INT8OID}};

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
				 "The controls with their actions and the modalities with their outcomes must be the same, in the same order."),
			 errhint(
				 "Make the world from a spec like that of the model: SELECT spec FROM fa_model.")));
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
AgentParams
agent_params_parse(const Call *call, const KernelModel *model, Jsonb *params,
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

/*
 * An agent's params as they were given, a copy in the current memory context.
 */
Jsonb *
agent_params_stored(const Call *call, int64 agent_id)
{
	Datum arguments[1] = {Int64GetDatum(agent_id)};
	bool  isnull;

	if (statement_run(call, &params_statement, arguments, NULL, 1) != 1)
		agent_unknown(agent_id);
	return DatumGetJsonbPCopy(result_datum(0, 1, &isnull));
}
