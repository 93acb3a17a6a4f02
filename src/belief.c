/*-------------------------------------------------------------------------
 *
 * belief.c
 *	  The state of agents, made of hot rows: read, locked and written.
 *
 * A write goes through only for row versions that are still the newest (see
 * hot.c).  Nothing else ever guards a row: a step does not lock before it
 * computes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "fa_agents.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_belief);
PG_FUNCTION_INFO_V1(fa_action);

/* How many agents are looked at together before they are locked. */
#define CHECKED_AT_ONCE 1024

/*
 * NO KEY UPDATE conflicts with steps and with a drop, but not with fa_observe,
 * which holds the key only
 */
static Statement lock_statement = {
	"SELECT agent_id, owner FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)"
	" ORDER BY agent_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID}};

/* ---------- read ---------- */

/*
 * The model with this id and digest; mostly that of the row before, whose
 * look-up is saved: to compare 24 bytes costs less than to hash them.
 */
static CachedModel *
row_model(const Call *call, ModelTable table, int64 id, Datum digest,
		  CachedModel *last)
{
	if (last != NULL &&
		VARSIZE_ANY_EXHDR(DatumGetPointer(digest)) == DIGEST_SIZE &&
		memcmp(last->digest, VARDATA_ANY(DatumGetPointer(digest)),
			   DIGEST_SIZE) == 0)
		return last;
	return cache_find(call, table, id, digest);
}

/* A stored int[] that may be absent; see array_int32s for what is checked. */
static const int32 *
optional_int32s(Datum value, bool isnull, int expected, const char *what)
{
	return isnull ? NULL : array_int32s(value, expected, what);
}

/*
 * The agent's own numbers, pointing into the stored array (or its decompressed
 * copy), which lives as long as the row.  The kernel knows the length that a
 * model's parts have; XX001 where the array has another.
 */
static const KernelParameters *
row_parameters(const KernelModel *model, Datum value)
{
	KernelParameters *parameters = palloc(sizeof(KernelParameters));
	ArrayType		 *array = DatumGetArrayTypeP(value);
	int				  count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (!kernel_parameters_unpack(model, array_doubles(value, -1, "parameters"),
								  count, parameters))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored parameters do not fit the agent's model")));
	return parameters;
}

/*
 * One agent from its row; last is the agent before, for its models, or NULL.
 *
 * The belief is copied, as a step may overwrite it; other arrays stay in the
 * row and are only read.  Every length is checked against the model (XX001).
 */
static void
read_row(const Call *call, HotRow *row, const AgentRow *last, AgentRow *agent)
{
	const Datum		  *values = row->values;
	const bool		  *nulls = row->nulls;
	const KernelModel *model;
	const KernelModel *world;

	agent->stored = row;
	agent->agent_id = DatumGetInt64(values[HOT_AGENT_ID]);
	agent->model_id = DatumGetInt64(values[HOT_MODEL_ID]);
	agent->world_id =
		nulls[HOT_WORLD_ID] ? 0 : DatumGetInt64(values[HOT_WORLD_ID]);
	agent->seed = DatumGetInt64(values[HOT_SEED]);
	agent->owner = DatumGetObjectId(values[HOT_OWNER]);
	agent->history = DatumGetInt16(values[HOT_HISTORY]);
	agent->paused = DatumGetBool(values[HOT_PAUSED]);
	agent->trial = DatumGetInt32(values[HOT_TRIAL]);
	agent->step = DatumGetInt64(values[HOT_STEP]);
	agent->vfe_known = !nulls[HOT_VFE];
	agent->vfe = agent->vfe_known ? DatumGetFloat8(values[HOT_VFE]) : 0.0;

	agent->model =
		row_model(call, TABLE_MODEL, agent->model_id, values[HOT_MODEL_DIGEST],
				  last ? last->model : NULL);
	model = agent->model->model;
	agent->world =
		nulls[HOT_WORLD_DIGEST] ?
			NULL :
			row_model(call, TABLE_WORLD, agent->world_id,
					  values[HOT_WORLD_DIGEST], last ? last->world : NULL);
	world = belief_world(agent);
	agent->parameters = nulls[HOT_PARAMETERS] ?
							NULL :
							row_parameters(model, values[HOT_PARAMETERS]);
	agent->action = optional_int32s(values[HOT_ACTION], nulls[HOT_ACTION],
									model->control_count, "action");
	agent->world_state =
		optional_int32s(values[HOT_WORLD_STATE], nulls[HOT_WORLD_STATE],
						world->factor_count, "world state");
	agent->observation =
		optional_int32s(values[HOT_OBSERVATION], nulls[HOT_OBSERVATION],
						model->modality_count, "observation");
	agent->did = optional_int32s(values[HOT_DID], nulls[HOT_DID],
								 model->control_count, "executed action");
	agent->before =
		nulls[HOT_BEFORE] ?
			NULL :
			array_doubles(values[HOT_BEFORE], model->belief_size, "belief");
	agent->belief = palloc(sizeof(double) * model->belief_size);
	memcpy(agent->belief,
		   array_doubles(values[HOT_BELIEF], model->belief_size, "belief"),
		   sizeof(double) * model->belief_size);
	agent->learned = NULL;
	agent->changed = NULL;
}

/*
 * The rows of agents by ids [count], ascending and without repetition, in that
 * order; with the counts of those that learn.  Allocated in the current memory
 * context.
 *
 * No lock is taken: whoever writes them says which version he has read.  An
 * unknown id (42704), or one that the caller may not use (42501), is an error;
 * so is a row whose arrays do not fit its model (XX001).
 */
AgentRow *
belief_read(const Call *call, const int64 *ids, int count)
{
	AgentRow *agents = palloc0(sizeof(AgentRow) * count);
	HotRow	 *rows = palloc(sizeof(HotRow) * count);

	hot_read(call, ids, count, rows);
	for (int i = 0; i < count; i++)
	{
		if (!rows[i].found)
			agent_unknown(ids[i]);
		agent_require_owner(call, ids[i],
							DatumGetObjectId(rows[i].values[HOT_OWNER]));
		read_row(call, &rows[i], i > 0 ? &agents[i - 1] : NULL, &agents[i]);
	}
	learned_read(call, agents, count);
	return agents;
}

/*
 * The model that answers the agent's actions: the named world, or its own,
 * whose A, B and D are then the truth.
 */
const KernelModel *
belief_world(const AgentRow *agent)
{
	return agent->world ? agent->world->model : agent->model->model;
}

/* ---------- lock ---------- */

/* belief_check for agents [count], in the current memory context. */
static bool
check_some(const Call *call, const int64 *ids, int count)
{
	HotRow *rows = palloc(sizeof(HotRow) * count);
	bool	history = false;

	hot_read(call, ids, count, rows);
	for (int i = 0; i < count; i++)
	{
		if (!rows[i].found)
			agent_unknown(ids[i]);
		agent_require_owner(call, ids[i],
							DatumGetObjectId(rows[i].values[HOT_OWNER]));
		history |= DatumGetInt16(rows[i].values[HOT_HISTORY]) != 0;
	}
	return history;
}

/*
 * Are all of these agents there, and the caller's? Raises 42704 or 42501 if
 * not.  Returns whether one of them keeps history.  Asked before anything is
 * locked: to lock first would let anybody stop everybody's agents.
 */
bool
belief_check(const Call *call, const int64 *ids, int count)
{
	bool history = false;

	for (int first = 0; first < count; first += CHECKED_AT_ONCE)
	{
		/* what is read of some ends with their connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		history |=
			check_some(call, ids + first, Min(CHECKED_AT_ONCE, count - first));
		SPI_finish();
	}
	return history;
}

/*
 * Locks rows in the order of their ids, ascending, so that batches that
 * overlap wait for each other and never in a circle.  Held until the
 * (sub)transaction ends.
 *
 * Under READ COMMITTED a row that was waited for is locked in its newest
 * version, and read anew by whoever asks next; under a snapshot that lasts the
 * wait ends in 40001.  Raises 42704 for an agent that was dropped meanwhile.
 */
void
belief_lock(const Call *call, const int64 *ids, int count)
{
	Datum arguments[1] = {array_from_int64(ids, count)};
	int	  found;

	(void) belief_check(call, ids, count);
	found = statement_run(call, &lock_statement, arguments, NULL, 0);
	for (int i = 0; i < count; i++)
	{
		bool isnull;

		/* in the same order, so the first gap is one dropped meanwhile */
		if (i >= found || result_int64(i, 1) != ids[i])
			agent_unknown(ids[i]);
		agent_require_owner(call, ids[i],
							DatumGetObjectId(result_datum(i, 2, &isnull)));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* ---------- write ---------- */

/* An int[] that may be null; NULL values are. */
static Datum
optional_array(const int32 *values, int count, bool *isnull)
{
	*isnull = values == NULL;
	return *isnull ? (Datum) 0 : array_from_int32(values, count);
}

/*
 * The columns that a step changes, into the stored row, in the current memory
 * context.
 */
static void
write_values(const AgentRow *agent)
{
	const KernelModel *model = agent->model->model;
	const KernelModel *world = belief_world(agent);
	Datum			  *values = agent->stored->values;
	bool			  *nulls = agent->stored->nulls;

	values[HOT_TRIAL] = Int32GetDatum(agent->trial);
	values[HOT_STEP] = Int64GetDatum(agent->step);
	values[HOT_VFE] = Float8GetDatum(agent->vfe);
	nulls[HOT_VFE] = !agent->vfe_known;
	values[HOT_ACTION] =
		optional_array(agent->action, model->control_count, &nulls[HOT_ACTION]);
	values[HOT_WORLD_STATE] = optional_array(
		agent->world_state, world->factor_count, &nulls[HOT_WORLD_STATE]);
	values[HOT_OBSERVATION] = optional_array(
		agent->observation, model->modality_count, &nulls[HOT_OBSERVATION]);
	values[HOT_DID] =
		optional_array(agent->did, model->control_count, &nulls[HOT_DID]);
	nulls[HOT_BEFORE] = agent->before == NULL;
	if (agent->before != NULL)
		values[HOT_BEFORE] =
			array_from_double(agent->before, model->belief_size);
	values[HOT_BELIEF] = array_from_double(agent->belief, model->belief_size);
}

/*
 * Writes agents [count], in ascending order of id, so that batches that
 * overlap wait for each other and never in a circle. written[i] tells whether
 * the row was still as it had been read; if not, it is unchanged.  What a row
 * needs on its way is freed before the next: a block's beliefs would otherwise
 * be in memory twice.
 *
 * Waits and errors are those of hot_write.  The agents' rows cannot be written
 * a second time from what was read.
 */
void
belief_write(const Call *call, AgentRow **agents, int count, bool *written)
{
	HotWriter	 *writer = hot_write_begin(call);
	MemoryContext row_context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents written row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row_context);

	for (int i = 0; i < count; i++)
	{
		write_values(agents[i]);
		written[i] = hot_write(writer, agents[i]->stored);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	hot_write_end(writer);
}

/*
 * Writes agents whose rows are locked.  That can only fail if somebody's
 * trigger changed or kept back a row; then an ERROR, for to try again would
 * end the same.
 */
void
belief_write_locked(const Call *call, AgentRow **agents, int count)
{
	bool *written = palloc(sizeof(bool) * count);

	belief_write(call, agents, count, written);
	for (int i = 0; i < count; i++)
	{
		if (!written[i])
			belief_changed(agents[i]->agent_id);
	}
	pfree(written);
}

/*
 * A row that is ours alone was not as we left it.  Raises 40001; never
 * returns.
 */
void
belief_changed(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
		 errmsg("row of agent " INT64_FORMAT " changed while it was locked",
				agent_id),
		 errhint(
			 "A trigger may have changed table fa_belief; try again without it.")));
}

/* ---------- changes of state that are no step ---------- */

/*
 * Applies to an agent's counts the update that its last step owes, in memory;
 * the parts that it changed are marked, and learned_write stores them.
 * Afterwards nothing is owed, so a second call does nothing.
 *
 * It is owed and not done at once so that the stored counts are those that
 * chose the last action, which is what fa_explain has to show.
 */
void
belief_learn_owed(AgentRow *agent)
{
	if (agent->learned == NULL || agent->observation == NULL)
		return;
	kernel_learn(agent->model->model, agent->parameters, agent->learned,
				 agent->observation, agent->belief, agent->before, agent->did,
				 agent->changed);
	agent->observation = agent->did = NULL;
	agent->before = NULL;
}

/*
 * The next trial, in memory: belief D (the agent's own, where its params give
 * one), no last action, the world to be drawn anew.  What was learned stays,
 * and the last step's update is applied first, for it needs the belief that is
 * overwritten here. step goes on, so no draw is repeated.
 */
void
belief_start_trial(AgentRow *agent)
{
	const KernelModel *model = agent->model->model;
	const double	  *D = agent->parameters && agent->parameters->D ?
							   agent->parameters->D :
							   KERNEL_AT(model, double, model->D);

	belief_learn_owed(agent);
	memcpy(agent->belief, D, sizeof(double) * model->belief_size);
	agent->action = NULL;
	agent->world_state = NULL;
	agent->vfe_known = false;
	agent->trial++;
}

/* ---------- belief and action by name ---------- */

/*
 * {"label": probability, ...} of one factor, belief [states].  This is for
 * people: what is below half of 1e-12 is shown as 0; the column
 * fa_belief.belief has all digits.
 */
void
belief_append_factor(StringInfo out, const KernelModel *model,
					 const KernelFactor *factor, const double *belief)
{
	json_append_string(out, KERNEL_AT(model, char, factor->name));
	appendStringInfoString(out, ": {");
	for (int32 s = 0; s < factor->states; s++)
	{
		char buffer[16];

		appendStringInfoString(out, s > 0 ? ", " : "");
		json_append_string(out, kernel_label(model, factor->labels, s, buffer));
		appendStringInfoString(out, ": ");
		json_append_number(out, rint(belief[s] * 1e12) / 1e12);
	}
	appendStringInfoChar(out, '}');
}

/*
 * fa_belief(agent_id bigint) returns jsonb, an object of factors, each an
 * object of states with their probabilities, as of the statement's snapshot.
 *
 * Strict; only reads.  Raises 42704 for an unknown agent, 42501 for another's.
 */
Datum
fa_belief(PG_FUNCTION_ARGS)
{
	int64			   agent_id = PG_GETARG_INT64(0);
	MemoryContext	   caller = CurrentMemoryContext;
	StringInfoData	   out;
	const AgentRow	  *agent;
	const KernelModel *model;
	Call			   call;

	call_begin(&call, fcinfo, true);
	agent = belief_read(&call, &agent_id, 1);
	model = agent->model->model;
	/* what is returned must outlive call_end */
	MemoryContextSwitchTo(caller);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int32 f = 0; f < model->factor_count; f++)
	{
		appendStringInfoString(&out, f > 0 ? ", " : "");
		belief_append_factor(&out, model, kernel_factor(model, f),
							 agent->belief +
								 kernel_factor(model, f)->belief_offset);
	}
	appendStringInfoChar(&out, '}');
	call_end(&call);
	PG_RETURN_JSONB_P(jsonb_from_text(out.data));
}

/*
 * fa_action(agent_id bigint) returns jsonb, {"control": "action", ...}; null
 * where the agent has not acted in this trial.
 *
 * Strict; only reads.  Raises 42704 for an unknown agent, 42501 for another's.
 */
Datum
fa_action(PG_FUNCTION_ARGS)
{
	int64			agent_id = PG_GETARG_INT64(0);
	MemoryContext	caller = CurrentMemoryContext;
	StringInfoData	out;
	const AgentRow *agent;
	bool			acted;
	Call			call;

	call_begin(&call, fcinfo, true);
	agent = belief_read(&call, &agent_id, 1);
	acted = agent->action != NULL;
	/* what is returned must outlive call_end */
	MemoryContextSwitchTo(caller);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int32 c = 0; acted && c < agent->model->model->control_count; c++)
	{
		const KernelModel	*model = agent->model->model;
		const KernelControl *control = kernel_control(model, c);
		char				 buffer[16];

		appendStringInfoString(&out, c > 0 ? ", " : "");
		json_append_string(&out, KERNEL_AT(model, char, control->name));
		appendStringInfoString(&out, ": ");
		json_append_string(&out, kernel_label(model, control->labels,
											  agent->action[c], buffer));
	}
	appendStringInfoChar(&out, '}');
	call_end(&call);
	if (!acted)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(jsonb_from_text(out.data));
}
