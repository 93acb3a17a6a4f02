/*-------------------------------------------------------------------------
 *
 * belief.c
 *	  Hot rows: read, lock and write the state of agents.
 *
 * A batch is read by one plain SELECT and written by one UPDATE that goes
 * through only for row versions that are still the newest.  Nothing else ever
 * guards a row: a step does not lock before it computes.
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

/*
 * Columns of table fa_belief, in order, which is that of the row value that is
 * read; new ones are only ever added at the end.  Constant ones come first, so
 * that the log record of an update need not repeat them.
 */
enum
{
	READ_AGENT_ID,
	READ_MODEL_ID,
	READ_WORLD_ID,
	READ_SEED,
	READ_OWNER,
	READ_HISTORY,
	READ_PAUSED,
	READ_MODEL_DIGEST,
	READ_WORLD_DIGEST,
	READ_PARAMETERS,
	READ_TRIAL,
	READ_STEP,
	READ_VFE,
	READ_ACTION,
	READ_WORLD_STATE,
	READ_OBSERVATION,
	READ_DID,
	READ_BEFORE,
	READ_BELIEF,
	READ_COLUMNS
};

/*
 * The row is read as one value: to begin a statement, the executor looks up
 * the type of each column of its result, which for twenty of them costs as
 * much as to find the row. ctid and xmin are read with it and say which
 * version it was.
 */
static Statement read_one_statement = {
	"SELECT ctid, xmin, b FROM @.fa_belief b WHERE agent_id" EQ "$1",
	1,
	{INT8OID}};
static Statement read_many_statement = {
	"SELECT ctid, xmin, b FROM @.fa_belief b WHERE agent_id" EQ "ANY ($1)",
	1,
	{INT8ARRAYOID}};
/*
 * what can be asked without a lock and without the belief, which may be in
 * TOAST
 */
static Statement check_statement = {
	"SELECT agent_id, owner, history FROM @.fa_belief WHERE agent_id" EQ
	"ANY ($1)",
	1,
	{INT8ARRAYOID}};
/*
 * NO KEY UPDATE conflicts with steps and with a drop, but not with fa_observe,
 * which holds the key only
 */
static Statement lock_statement = {
	"SELECT agent_id, owner FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)"
	" ORDER BY agent_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID}};

/*
 * Columns of a written row; the first three say which version it replaces.
 * The statement for one row has them as its arguments, in the same order, so
 * $1 is WRITE_AGENT_ID.
 */
enum
{
	WRITE_AGENT_ID,
	WRITE_CTID,
	WRITE_XMIN,
	WRITE_TRIAL,
	WRITE_STEP,
	WRITE_VFE,
	WRITE_ACTION,
	WRITE_WORLD_STATE,
	WRITE_OBSERVATION,
	WRITE_DID,
	WRITE_BEFORE,
	WRITE_BELIEF,
	WRITE_COLUMNS
};

static const struct
{
	const char *name;
	Oid			type;
} write_columns[WRITE_COLUMNS] = {
	{"agent_id", INT8OID},
	{"read_ctid", TIDOID},
	{"read_xmin", XIDOID},
	{"trial", INT4OID},
	{"step", INT8OID},
	{"vfe", FLOAT8OID},
	{"action", INT4ARRAYOID},
	{"world_state", INT4ARRAYOID},
	{"observation", INT4ARRAYOID},
	{"did", INT4ARRAYOID},
	{"before", FLOAT8ARRAYOID},
	{"belief", FLOAT8ARRAYOID},
};

/* The same as the column list of fa_rows(). */
#define WRITE_ROWS                                                            \
	"@.fa_rows() AS r"                                                        \
	" (agent_id pg_catalog.int8, read_ctid pg_catalog.tid, "                  \
	"read_xmin pg_catalog.xid, trial pg_catalog.int4, step pg_catalog.int8, " \
	"vfe pg_catalog.float8, action pg_catalog.int4[], "                       \
	"world_state pg_catalog.int4[], observation pg_catalog.int4[], "          \
	"did pg_catalog.int4[], before pg_catalog.float8[], "                     \
	"belief pg_catalog.float8[])"

/*
 * A version that is no longer the newest is not found under a new snapshot; one
 * that is replaced while we wait for it has another xmin when the condition is
 * looked at again.  (ctid alone would not do: it is not looked at again.)
 */
static Statement write_one_statement = {
	"UPDATE @.fa_belief SET trial = $4, step = $5, vfe = $6, action = $7,"
	" world_state = $8, observation = $9, did = $10, before = $11, belief = $12"
	" WHERE ctid" EQ "$2 AND xmin" EQ "$3 AND agent_id" EQ "$1",
	WRITE_COLUMNS,
	{INT8OID, TIDOID, XIDOID, INT4OID, INT8OID, FLOAT8OID, INT4ARRAYOID,
	 INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID}};
static Statement write_many_statement = {
	"UPDATE @.fa_belief b SET trial = r.trial, step = r.step, vfe = r.vfe,"
	" action = r.action, world_state = r.world_state, observation = r.observation,"
	" did = r.did, before = r.before, belief = r.belief FROM " WRITE_ROWS
	" WHERE b.ctid" EQ "r.read_ctid AND b.xmin" EQ "r.read_xmin"
	" RETURNING b.agent_id",
	0,
	{0}};

/* ---------- read ---------- */

/*
 * The model with this id and digest; mostly that of the row before, whose
 * look-up is saved: to compare 32 bytes costs less than to hash them.
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
 * One row from its columns; last is the row before, for its models, or NULL.
 * The fields ctid and xmin are set already, all others here.
 *
 * The belief is copied, as a step may overwrite it; other arrays stay where
 * the result has them and are only read.  Every length is checked against the
 * model (XX001).
 */
static void
read_row(const Call *call, const Datum *values, const bool *nulls,
		 const AgentRow *last, AgentRow *agent)
{
	const KernelModel *model;
	const KernelModel *world;

	agent->agent_id = DatumGetInt64(values[READ_AGENT_ID]);
	agent->model_id = DatumGetInt64(values[READ_MODEL_ID]);
	agent->world_id =
		nulls[READ_WORLD_ID] ? 0 : DatumGetInt64(values[READ_WORLD_ID]);
	agent->seed = DatumGetInt64(values[READ_SEED]);
	agent->owner = DatumGetObjectId(values[READ_OWNER]);
	agent->history = DatumGetInt16(values[READ_HISTORY]);
	agent->paused = DatumGetBool(values[READ_PAUSED]);
	agent->trial = DatumGetInt32(values[READ_TRIAL]);
	agent->step = DatumGetInt64(values[READ_STEP]);
	agent->vfe_known = !nulls[READ_VFE];
	agent->vfe = agent->vfe_known ? DatumGetFloat8(values[READ_VFE]) : 0.0;

	agent->model =
		row_model(call, TABLE_MODEL, agent->model_id, values[READ_MODEL_DIGEST],
				  last ? last->model : NULL);
	model = agent->model->model;
	agent->world =
		nulls[READ_WORLD_DIGEST] ?
			NULL :
			row_model(call, TABLE_WORLD, agent->world_id,
					  values[READ_WORLD_DIGEST], last ? last->world : NULL);
	world = belief_world(agent);
	agent->parameters = nulls[READ_PARAMETERS] ?
							NULL :
							row_parameters(model, values[READ_PARAMETERS]);
	agent->action = optional_int32s(values[READ_ACTION], nulls[READ_ACTION],
									model->control_count, "action");
	agent->world_state =
		optional_int32s(values[READ_WORLD_STATE], nulls[READ_WORLD_STATE],
						world->factor_count, "world state");
	agent->observation =
		optional_int32s(values[READ_OBSERVATION], nulls[READ_OBSERVATION],
						model->modality_count, "observation");
	agent->did = optional_int32s(values[READ_DID], nulls[READ_DID],
								 model->control_count, "executed action");
	agent->before =
		nulls[READ_BEFORE] ?
			NULL :
			array_doubles(values[READ_BEFORE], model->belief_size, "belief");
	agent->belief = palloc(sizeof(double) * model->belief_size);
	memcpy(agent->belief,
		   array_doubles(values[READ_BELIEF], model->belief_size, "belief"),
		   sizeof(double) * model->belief_size);
	agent->learned = NULL;
	agent->changed = NULL;
}

/*
 * The columns [READ_COLUMNS] of the i-th row of a reading, and which version
 * it is.  The row type is looked up in the backend's cache, not in the
 * catalog.  Raises 42P16 where the table is that of another version of the
 * extension.
 */
static void
row_columns(SPITupleTable *table, int i, AgentRow *agent, Datum *values,
			bool *nulls)
{
	HeapTuple	  tuple = table->vals[i];
	TupleDesc	  desc = table->tupdesc;
	bool		  isnull;
	HeapTupleData row;
	TupleDesc	  row_desc;

	row.t_data =
		DatumGetHeapTupleHeader(SPI_getbinval(tuple, desc, 3, &isnull));
	row.t_len = HeapTupleHeaderGetDatumLength(row.t_data);
	ItemPointerSetInvalid(&row.t_self);
	row.t_tableOid = InvalidOid;
	/* the datum's header names its type; it has no place in the table */
	row_desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row.t_data),
									  HeapTupleHeaderGetTypMod(row.t_data));
	if (row_desc->natts == READ_COLUMNS)
		heap_deform_tuple(&row, row_desc, values, nulls);
	else
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("table fa_belief has %d columns, expected %d",
					row_desc->natts, READ_COLUMNS),
			 errhint(
				 "The library and the extension's SQL objects may be of different versions; run ALTER EXTENSION fa_agents UPDATE.")));
	ReleaseTupleDesc(row_desc);
	agent->ctid =
		*(ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 1, &isnull));
	agent->xmin = DatumGetTransactionId(SPI_getbinval(tuple, desc, 2, &isnull));
}

/*
 * Where an id stands among sorted ones; expected is where it most likely is:
 * the plan is an index scan, so rows come in the order of ids, unless some are
 * missing.  The id must be among them.
 */
static int
position_of(const int64 *ids, int count, int expected, int64 id)
{
	int low = 0;
	int high = count - 1;

	if (expected < count && ids[expected] == id)
		return expected;
	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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
	AgentRow	  *agents = palloc0(sizeof(AgentRow) * count);
	Datum		   arguments[1];
	SPITupleTable *table;
	int			   found;

	if (count == 1)
	{
		arguments[0] = Int64GetDatum(ids[0]);
		found = statement_run(call, &read_one_statement, arguments, NULL, 0);
	}
	else
	{
		arguments[0] = array_from_int64(ids, count);
		found = statement_run(call, &read_many_statement, arguments, NULL, 0);
	}
	/* kept here, for loading a model runs statements of its own */
	table = SPI_tuptable;
	for (int i = 0, at = -1; i < found; i++)
	{
		Datum			values[READ_COLUMNS];
		bool			nulls[READ_COLUMNS];
		const AgentRow *last = at < 0 ? NULL : &agents[at];
		AgentRow		read = {0};

		row_columns(table, i, &read, values, nulls);
		at = position_of(ids, count, at + 1,
						 DatumGetInt64(values[READ_AGENT_ID]));
		agents[at] = read;
		agent_require_owner(call, ids[at],
							DatumGetObjectId(values[READ_OWNER]));
		read_row(call, values, nulls, last, &agents[at]);
	}
	if (found < count)
	{
		for (int i = 0; i < count; i++)
		{
			if (agents[i].model == NULL)
				agent_unknown(ids[i]);
		}
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

/*
 * Are all of these agents there, and the caller's? Raises 42704 or 42501 if
 * not.  Returns whether one of them keeps history.  Asked before anything is
 * locked: to lock first would let anybody stop everybody's agents.
 */
bool
belief_check(const Call *call, const int64 *ids, int count)
{
	Datum arguments[1] = {array_from_int64(ids, count)};
	int	  found = statement_run(call, &check_statement, arguments, NULL, 0);
	bool *seen = palloc0(sizeof(bool) * Max(count, 1));
	bool  history = false;

	for (int i = 0; i < found; i++)
	{
		bool  isnull;
		int64 id = result_int64(i, 1);

		seen[position_of(ids, count, i, id)] = true;
		agent_require_owner(call, id,
							DatumGetObjectId(result_datum(i, 2, &isnull)));
		history |= DatumGetInt16(result_datum(i, 3, &isnull)) != 0;
	}
	for (int i = 0; i < count; i++)
	{
		if (!seen[i])
			agent_unknown(ids[i]);
	}
	SPI_freetuptable(SPI_tuptable);
	pfree(seen);
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
 * The columns [WRITE_COLUMNS] of one written row, in the current memory
 * context but for ctid, which stays the agent's.
 */
static void
write_values(const AgentRow *agent, Datum *values, bool *nulls)
{
	const KernelModel *model = agent->model->model;
	const KernelModel *world = belief_world(agent);

	memset(nulls, 0, sizeof(bool) * WRITE_COLUMNS);
	values[WRITE_AGENT_ID] = Int64GetDatum(agent->agent_id);
	values[WRITE_CTID] = PointerGetDatum(&agent->ctid);
	values[WRITE_XMIN] = TransactionIdGetDatum(agent->xmin);
	values[WRITE_TRIAL] = Int32GetDatum(agent->trial);
	values[WRITE_STEP] = Int64GetDatum(agent->step);
	values[WRITE_VFE] = Float8GetDatum(agent->vfe);
	nulls[WRITE_VFE] = !agent->vfe_known;
	values[WRITE_ACTION] = optional_array(agent->action, model->control_count,
										  &nulls[WRITE_ACTION]);
	values[WRITE_WORLD_STATE] = optional_array(
		agent->world_state, world->factor_count, &nulls[WRITE_WORLD_STATE]);
	values[WRITE_OBSERVATION] = optional_array(
		agent->observation, model->modality_count, &nulls[WRITE_OBSERVATION]);
	values[WRITE_DID] =
		optional_array(agent->did, model->control_count, &nulls[WRITE_DID]);
	nulls[WRITE_BEFORE] = agent->before == NULL;
	values[WRITE_BEFORE] =
		agent->before == NULL ?
			(Datum) 0 :
			array_from_double(agent->before, model->belief_size);
	values[WRITE_BELIEF] = array_from_double(agent->belief, model->belief_size);
}

/* One row: false if it was no longer the newest version. */
static bool
write_one(const Call *call, const AgentRow *agent)
{
	Datum values[WRITE_COLUMNS];
	bool  nulls[WRITE_COLUMNS];
	char  flags[WRITE_COLUMNS];

	write_values(agent, values, nulls);
	for (int i = 0; i < WRITE_COLUMNS; i++)
		flags[i] = nulls[i] ? 'n' : ' ';
	return statement_run(call, &write_one_statement, values, flags, 0) == 1;
}

/*
 * The rows as write_many_statement reads them.  Each is built in a context of
 * its own that is emptied after it: the store keeps a copy, and a block's
 * beliefs would otherwise be in memory three times.  Beyond work_mem the store
 * goes to a file.
 */
static Tuplestorestate *
write_store(AgentRow **agents, int count, TupleDesc desc)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	MemoryContext	 row_context = AllocSetContextCreate(
		   CurrentMemoryContext, "fa_agents written row", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);
		Datum		  values[WRITE_COLUMNS];
		bool		  nulls[WRITE_COLUMNS];

		write_values(agents[i], values, nulls);
		tuplestore_putvalues(store, desc, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	MemoryContextDelete(row_context);
	return store;
}

/*
 * Writes agents [count], in ascending order of id. written[i] tells whether
 * the row was still as it had been read; if not, it is unchanged.
 *
 * Waits for whoever has changed one of the rows and is not finished;
 * afterwards the rows that went through are locked by us.  Under a snapshot
 * that lasts, a row that another has changed is an ERROR (40001) and never a
 * false.
 */
void
belief_write(const Call *call, AgentRow **agents, int count, bool *written)
{
	TupleDesc		 desc;
	Tuplestorestate *store;
	int				 found;

	if (count == 1)
	{
		written[0] = write_one(call, agents[0]);
		return;
	}
	desc = CreateTemplateTupleDesc(WRITE_COLUMNS);
	for (int i = 0; i < WRITE_COLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, write_columns[i].name,
						   write_columns[i].type, -1, 0);
	store = write_store(agents, count, desc);
	found = statement_run_with(call, &write_many_statement, NULL, NULL, desc,
							   store);

	memset(written, 0, sizeof(bool) * count);
	for (int i = 0, at = 0; i < found; i++)
	{
		int64 id = result_int64(i, 1);

		while (at < count && agents[at]->agent_id != id)
			at = (at + 1) % count; /* the executor keeps our order */
		written[at] = true;
	}
	SPI_freetuptable(SPI_tuptable);
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
static void
append_factor(StringInfo out, const KernelModel *model,
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
		append_factor(&out, model, kernel_factor(model, f),
					  agent->belief + kernel_factor(model, f)->belief_offset);
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
