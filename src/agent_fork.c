/*-------------------------------------------------------------------------
 *
 * agent_fork.c
 *	  Copies of agents, to ask what would be if.
 *
 * Locks, in this order: the agent's hot row, then its model.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"

#include "agent.h"

PG_FUNCTION_INFO_V1(fa_agent_fork);

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
		merge_params(call, agent_params_stored(call, agent->agent_id), added);
	AgentParams own = agent_params_parse(call, model, added, false);
	AgentParams params = agent_params_parse(call, model, merged, false);
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
