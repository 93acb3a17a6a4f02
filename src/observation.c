/*-------------------------------------------------------------------------
 *
 * observation.c
 *	  The inbox, and the keys that make calls repeatable.
 *
 * An observation is taken by the step whose write of the hot row goes through,
 * and deleted in the same transaction: exactly once.  The inbox is read after
 * the hot row; had another step taken the row in between, the hot row would
 * have changed and this step's write would not go through.
 *
 * A key is looked up after the hot row is read, for the same reason: of two
 * concurrent steps with one key the later one's write does not go through, and
 * its second reading finds the key with the result of the first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_observe);

/*
 * LATERAL with a LIMIT reads no more of an agent's inbox than will be taken,
 * however long it has grown.  The ids that it was given come first, so rows
 * come in their order.  Where nothing waits for anybody from $3 to $4, which is
 * most often so, that is found once instead of for each agent.
 */
static Statement read_statement = {
	"SELECT a.agent_id, o.ctid, o.observation"
	" FROM pg_catalog.unnest($1) AS a (agent_id), LATERAL"
	" (SELECT ctid, observation FROM @.fa_observation i"
	" WHERE i.agent_id" EQ "a.agent_id ORDER BY observation_id LIMIT $2) AS o"
	" WHERE EXISTS (SELECT FROM @.fa_observation WHERE agent_id"
	" OPERATOR(pg_catalog.>=) $3 AND agent_id OPERATOR(pg_catalog.<=) $4)",
	4,
	{INT8ARRAYOID, INT4OID, INT8OID, INT8OID}};

/*
 * Rows are never updated, and only who holds the agent's row removes them, so
 * they are where they were read.
 */
static Statement take_statement = {
	"DELETE FROM @.fa_observation WHERE ctid" EQ "ANY ($1)", 1, {TIDARRAYOID}};
/* Keeps the agent from being dropped; steps go on. */
static Statement hold_statement = {"SELECT 1 FROM @.fa_belief WHERE agent_id" EQ
								   "$1 FOR KEY SHARE",
								   1,
								   {INT8OID}};
static Statement count_statement = {
	"SELECT 1 FROM @.fa_observation WHERE agent_id" EQ "$1 LIMIT $2",
	2,
	{INT8OID, INT4OID}};
static Statement insert_statement = {
	"INSERT INTO @.fa_observation (agent_id, observation_id, observation)"
	" VALUES ($1, $2, $3)",
	3,
	{INT8OID, INT8OID, INT4ARRAYOID}};

/* An expired key is as good as none: it is taken over. */
static Statement store_key_statement = {
	"INSERT INTO @.fa_key AS k (agent_id, kind, key, observation, step, action, vfe)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (agent_id, kind, key)"
	" DO UPDATE SET at = excluded.at, observation = excluded.observation,"
	" step = excluded.step, action = excluded.action, vfe = excluded.vfe"
	" WHERE k.at" LT "$8",
	8,
	{INT8OID, CHAROID, TEXTOID, INT4ARRAYOID, INT8OID, INT4ARRAYOID, FLOAT8OID,
	 TIMESTAMPTZOID}};
/*
 * IS TRUE keeps the planner from the index by time, which would read all keys.
 */
static Statement find_key_statement = {
	"SELECT observation, step, action, vfe FROM @.fa_key WHERE agent_id" EQ "$1"
	" AND kind" EQ "$2 AND key" EQ
	"$3 AND (at OPERATOR(pg_catalog.>=) $4) IS TRUE",
	4,
	{INT8OID, CHAROID, TEXTOID, TIMESTAMPTZOID}};

/* Each stored key sweeps up to two expired ones, so the table stays bounded. */
static Statement sweep_keys_statement = {
	"DELETE FROM @.fa_key WHERE ctid" EQ "ANY (ARRAY"
	" (SELECT ctid FROM @.fa_key WHERE at" LT "$1 ORDER BY at LIMIT 2"
	" FOR UPDATE SKIP LOCKED))",
	1,
	{TIMESTAMPTZOID}};

/* ---------- checks ---------- */

/*
 * Whom an observation is for, in messages: "agent 5", or the model where there
 * is no agent.
 */
static const char *
receiver(int64 agent_id)
{
	return agent_id == 0 ? "the model" :
						   psprintf("agent " INT64_FORMAT, agent_id);
}

/*
 * An observation from outside: one outcome for each modality, or none at all
 * (no evidence); -1 is a missing one. agent_id is 0 where only a model is
 * asked.
 *
 * Raises 22023 for a wrong length, 22003 for an outcome out of range.  Asked
 * when an observation is sent and again when it is taken: the agent may have
 * another model then.
 */
void
observation_check(const KernelModel *model, int64 agent_id,
				  const int32 *observation, int count)
{
	if (count != 0 && count != model->modality_count)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_plural("observation for %s has %d outcome, expected %d",
						   "observation for %s has %d outcomes, expected %d",
						   count, receiver(agent_id), count,
						   model->modality_count),
			 errhint(
				 "Give one outcome for each modality, a number from 0, or -1 where it is missing; not one-hot vectors.")));
	for (int m = 0; m < count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		if (observation[m] < -1 || observation[m] >= modality->outcomes)
			ereport(
				ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("outcome %d of modality \"%s\" is out of range for %s",
						observation[m], KERNEL_AT(model, char, modality->name),
						receiver(agent_id)),
				 errdetail("Outcomes count from 0 to %d; -1 is a missing one.",
						   modality->outcomes - 1)));
	}
}

/* ---------- the inbox ---------- */

/*
 * The first limit observations that wait for each agent: heads[i] is the list
 * of ids[i], in the order of their arrival, NULL where none waits. ids [count],
 * at least one, ascend.  Takes no lock and removes nothing; the lists lie in the
 * current memory context.
 */
void
inbox_read(const Call *call, const int64 *ids, int count, int32 limit,
		   InboxRow **heads)
{
	Datum arguments[4] = {array_from_int64(ids, count), Int32GetDatum(limit),
						  Int64GetDatum(ids[0]), Int64GetDatum(ids[count - 1])};
	int	  found = statement_run(call, &read_statement, arguments, NULL, 0);
	InboxRow **tail = NULL;

	memset(heads, 0, sizeof(InboxRow *) * count);
	for (int i = 0, at = -1; i < found; i++)
	{
		InboxRow *row = palloc(sizeof(InboxRow));
		int64	  id = result_int64(i, 1);
		bool	  isnull;

		if (at < 0 || ids[at] != id)
		{
			do
				at =
					(at + 1) % count; /* the executor keeps the array's order */
			while (ids[at] != id);
			tail = &heads[at];
		}
		row->where =
			*(ItemPointer) DatumGetPointer(result_datum(i, 2, &isnull));
		row->observation =
			array_to_int32(DatumGetArrayTypeP(result_datum(i, 3, &isnull)),
						   &row->count, "observation", -1);
		row->next = NULL;
		*tail = row;
		tail = &row->next;
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Removes observations that were taken, [count] rows by their ctid.  The hot
 * rows of their agents are written, so nobody else can have taken them:
 * another number is an internal error, which undoes the step.
 */
void
inbox_take(const Call *call, const ItemPointerData *taken, int count)
{
	Datum *elements = palloc(sizeof(Datum) * Max(count, 1));
	Datum  arguments[1];

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
		elements[i] = PointerGetDatum(&taken[i]);
	arguments[0] = PointerGetDatum(construct_array(elements, count, TIDOID,
												   sizeof(ItemPointerData),
												   false, TYPALIGN_SHORT));
	if (statement_run(call, &take_statement, arguments, NULL, 0) != count)
		elog(ERROR, "observations were taken by someone else");
}

/* ---------- keys ---------- */

/*
 * Before when a key is forgotten, as timestamptz.  Looked at by the clock and
 * not by the transaction's start, for a transaction may last longer than the
 * retention.
 */
static Datum
key_cutoff(void)
{
	return TimestampTzGetDatum(TimestampTzPlusMilliseconds(
		GetCurrentTimestamp(), -(int64) fa_key_retention * 1000));
}

/*
 * Raises 22023 for a key that is empty, or could come near the size of an
 * index entry.
 */
static void
check_key(const char *key)
{
	if (key[0] == '\0' || strlen(key) > 1000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("key must have 1 to 1000 bytes")));
}

/*
 * The stored observation of a key must be the one given now (of a message: what
 * its digest is); else 22023, since the answer that the caller would get is to
 * another question.  A null observation is equal to a null one only: what the
 * inbox then gave does not matter, as the call was the same.
 */
static void
check_same(uint64 row, char kind, const char *key, const int32 *observation,
		   int count)
{
	bool   isnull;
	Datum  stored = result_datum(row, 1, &isnull);
	int	   stored_count = 0;
	int32 *values = isnull ? NULL :
							 array_to_int32(DatumGetArrayTypeP(stored),
											&stored_count, "observation", -1);

	if (isnull != (observation == NULL) || (!isnull && stored_count != count) ||
		(!isnull && memcmp(values, observation, sizeof(int32) * count) != 0))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 kind == 'm' ?
				 errmsg("key \"%s\" was used for another message", key) :
				 errmsg("key \"%s\" was used with another observation", key),
			 errhint(
				 "Use a new key for each new %s; a key repeats the very same call.",
				 kind == 'm' ? "message" : "observation")));
}

/*
 * Is a key of this kind ('s': of a step, 'o': of an observation, 'm': of a
 * message) remembered, and for the same? Its row is then in SPI_tuptable.
 * Raises 22023 if what was asked for differs.
 */
static bool
find_key(const Call *call, int64 agent_id, char kind, const char *key,
		 const int32 *observation, int count)
{
	Datum arguments[4] = {Int64GetDatum(agent_id), CharGetDatum(kind),
						  CStringGetTextDatum(key), key_cutoff()};

	if (statement_run(call, &find_key_statement, arguments, NULL, 1) == 0)
		return false;
	check_same(0, kind, key, observation, count);
	return true;
}

/*
 * Stores a key; false where a concurrent call has stored it first. result is
 * NULL for an observation's key.  Sweeping is left out under snapshots that
 * last, where it could only add conflicts.
 *
 * Waits for whoever is storing the same key: if he aborts, ours goes in.
 */
static bool
store_key(const Call *call, int64 agent_id, char kind, const char *key,
		  const int32 *observation, int count, const KeyResult *result)
{
	Datum arguments[8] = {Int64GetDatum(agent_id),
						  CharGetDatum(kind),
						  CStringGetTextDatum(key),
						  observation ? array_from_int32(observation, count) :
										(Datum) 0,
						  0,
						  0,
						  0,
						  key_cutoff()};
	char  nulls[8] = {' ', ' ', ' ', ' ', 'n', 'n', 'n', ' '};

	nulls[3] = observation == NULL ? 'n' : ' ';
	if (result != NULL)
	{
		arguments[4] = Int64GetDatum(result->step);
		arguments[5] = result->action;
		arguments[6] = Float8GetDatum(result->vfe);
		nulls[4] = ' ';
		/* a message's key has no more than its answer */
		nulls[5] = nulls[6] = kind == 's' ? ' ' : 'n';
	}
	if (!IsolationUsesXactSnapshot())
		statement_run(call, &sweep_keys_statement, &arguments[7], NULL, 0);
	return statement_run(call, &store_key_statement, arguments, nulls, 0) == 1;
}

/*
 * Was this step made already? Then its result, in the current context. count
 * is the length of observation, which may be NULL.  Raises 22023 for a bad key
 * or another observation.
 */
bool
key_find_step(const Call *call, int64 agent_id, const char *key,
			  const int32 *observation, int count, KeyResult *result)
{
	bool isnull;

	check_key(key);
	if (!find_key(call, agent_id, 's', key, observation, count))
		return false;
	result->step = result_int64(0, 2);
	result->action =
		PointerGetDatum(DatumGetArrayTypePCopy(result_datum(0, 3, &isnull)));
	result->vfe = DatumGetFloat8(result_datum(0, 4, &isnull));
	return true;
}

/*
 * Remembers what a step with a key gave, in the transaction that made it: a
 * key without its step, or a step without its key, is never seen.
 */
void
key_store_step(const Call *call, int64 agent_id, const char *key,
			   const int32 *observation, int count, const KeyResult *result)
{
	/* the hot row is ours, so nobody else can be storing a step's key */
	if (!store_key(call, agent_id, 's', key, observation, count, result))
		elog(ERROR,
			 "key \"%s\" of agent " INT64_FORMAT " appeared during its step",
			 key, agent_id);
}

/*
 * Was a message sent with this key? Then that call's answer. asked [2] is the
 * digest of what is to be sent.  Raises 22023 for a bad key or another message.
 */
bool
key_find_message(const Call *call, int64 sender, const char *key,
				 const int32 *asked, int64 *answer)
{
	check_key(key);
	if (!find_key(call, sender, 'm', key, asked, 2))
		return false;
	*answer = result_int64(0, 2);
	return true;
}

/*
 * Remembers the answer to a send with a key; false where a concurrent one has
 * stored it first, whose answer *answer is then.
 */
bool
key_store_message(const Call *call, int64 sender, const char *key,
				  const int32 *asked, int64 *answer)
{
	KeyResult result = {.step = *answer};

	if (store_key(call, sender, 'm', key, asked, 2, &result))
		return true;
	/* under READ COMMITTED what the other one stored can be seen now */
	if (!key_find_message(call, sender, key, asked, answer))
		elog(ERROR,
			 "key \"%s\" of agent " INT64_FORMAT " is stored, but unseen", key,
			 sender);
	return false;
}

/* ---------- fa_observe ---------- */

/*
 * Raises 53400 where the inbox is full.  Two who send at once may both find a
 * place: the limit guards against a sender without a reader, and need not be
 * exact.  The count stops at the limit, so it costs no more when it is raised
 * and missed by far.
 */
static void
check_inbox_limit(const Call *call, int64 agent_id)
{
	Datum arguments[2] = {Int64GetDatum(agent_id),
						  Int32GetDatum(fa_inbox_limit)};

	if (statement_run(call, &count_statement, arguments, NULL, 0) >=
		fa_inbox_limit)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("inbox of agent " INT64_FORMAT " is full", agent_id),
			 errdetail(
				 "%d observations wait, which is the limit fa_agents.inbox_limit.",
				 fa_inbox_limit),
			 errhint("Step the agent, or send fewer observations.")));
}

/*
 * Puts an observation [count] in the inbox; false: its key was there already.
 * The lock on the hot row is of its key only, so that senders do not wait for
 * steps, nor steps for senders.  key may be NULL.  Raises what fa_observe does.
 */
bool
inbox_put(const Call *call, int64 agent_id, const int32 *observation, int count,
		  const char *key)
{
	AgentRow *agent = belief_read(call, &agent_id, 1);
	Datum	  hold[1] = {Int64GetDatum(agent_id)};
	Datum	  arguments[3];

	observation_check(agent->model->model, agent_id, observation, count);
	if (statement_run(call, &hold_statement, hold, NULL, 0) != 1)
		agent_unknown(agent_id);
	if (key != NULL)
	{
		check_key(key);
		if (!store_key(call, agent_id, 'o', key, observation, count, NULL))
		{
			/* under READ COMMITTED what the other one stored can be seen now */
			(void) find_key(call, agent_id, 'o', key, observation, count);
			return false;
		}
	}
	/* to count would conflict with whoever observes anything */
	if (!IsolationIsSerializable())
		check_inbox_limit(call, agent_id);
	arguments[0] = Int64GetDatum(agent_id);
	arguments[1] = Int64GetDatum(
		nextval_internal(call_relation(call, "fa_observation_id_seq"), false));
	arguments[2] = array_from_int32(observation, count);
	statement_run(call, &insert_statement, arguments, NULL, 0);
	event_note_at_commit(agent_id);
	return true;
}

/*
 * fa_observe(agent_id bigint, observation int[], key text) returns boolean:
 * true, or false where this key has put the same observation there before.
 * observation is [modality_count], or empty for no evidence; null elements and
 * -1 are missing outcomes.
 *
 * key may be null.  Raises 22004 for the other arguments, 22023 for a wrong
 * length, a bad key or one used with another observation, 22003 for an outcome
 * out of range, 53400 where the inbox is full, 42704, 42501, 25006.
 */
Datum
fa_observe(PG_FUNCTION_ARGS)
{
	const char *key =
		PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	int	   count;
	int32 *observation;
	bool   added;
	Call   call;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null",
							   PG_ARGISNULL(0) ? "agent_id" : "observation")));
	call_require_write("fa_observe");
	observation =
		array_to_int32(PG_GETARG_ARRAYTYPE_P(1), &count, "observation", -1);
	call_begin(&call, fcinfo, false);
	added = inbox_put(&call, PG_GETARG_INT64(0), observation, count, key);
	call_end(&call);
	PG_RETURN_BOOL(added);
}
