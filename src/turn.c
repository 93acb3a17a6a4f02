/*-------------------------------------------------------------------------
 *
 * turn.c
 *	  Schedules by time: which slice of which schedule is due, and one batch of
 *	  it.
 *
 * The slice's row is locked, its agents are stepped and its hand is moved in
 * one transaction.  Whatever ends that transaction, the work is due again, or
 * it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "pool.h"

/*
 * The $3 most urgent slices of runner $2: a second late weighs as much as a
 * priority.
 */
static Statement claim_statement = {
	"SELECT l.schedule_id, l.slice, l.due, l.phase, l.agent_id, l.skipped," MICROSECONDS("s.every") "," MICROSECONDS(
		"COALESCE(s.deadline, s.every)") ","
										 " s.catch_up" EQ
										 "'skip', s.owner, s.model, s.version"
										 " FROM @.fa_schedule s, @.fa_schedule_slice l"
										 " WHERE l.schedule_id" EQ
										 "s.schedule_id AND NOT l.empty AND"
										 " l.due OPERATOR(pg_catalog.<=) $1 AND" SCHEDULE_ACTIVE
										 " AND" SCHEDULE_RUNNER EQ
										 "$2 ORDER BY s.priority OPERATOR(pg_catalog.+) pg_catalog.date_part('epoch',"
										 " $1 OPERATOR(pg_catalog.-) l.due) DESC LIMIT $3 FOR UPDATE OF l SKIP LOCKED",
	3,
	{TIMESTAMPTZOID, OIDOID, INT8OID}};

/*
 * The next agents of a slice after ($3, $4), and whether they are to be
 * stepped now, if they are not paused: that is seen when their rows are read,
 * or ($8) now, where a sensor would be asked before.
 * LATERAL with a LIMIT: no more of a model's are read than are asked for,
 * however many there are.  Nearly always nobody is being retried, which is
 * asked once instead of for each agent.
 */
static Statement read_statement = {
	"SELECT a.phase, a.agent_id, a.created_at,"
	" (" SCHEDULE_MAY_STEP(
		"$7") ") AND (NOT $8 OR EXISTS"
			  " (SELECT FROM @.fa_belief b WHERE b.agent_id" EQ
			  "a.agent_id AND NOT b.paused)) AND (NOT EXISTS (SELECT FROM @.fa_retry)"
			  " OR NOT EXISTS (SELECT FROM @.fa_retry r WHERE r.agent_id" EQ
			  "a.agent_id)) FROM @.fa_model m, LATERAL"
			  " (SELECT a.phase, a.agent_id, a.created_at, a.owner"
			  " FROM @.fa_agent a WHERE a.model_id" EQ "m.model_id"
			  " AND ROW(a.phase, a.agent_id)" GT "ROW($3, $4) AND a.phase" LT
			  "$5"
			  " ORDER BY a.phase, a.agent_id LIMIT $6) AS a"
			  " WHERE m.name" EQ "$1 AND ($2 IS NULL OR m.version" EQ "$2)"
			  " ORDER BY a.phase, a.agent_id LIMIT $6",
	8,
	{TEXTOID, INT4OID, INT4OID, INT8OID, INT4OID, INT8OID, OIDOID, BOOLOID}};
static Statement move_statement = {
	"UPDATE @.fa_schedule_slice SET due = $3, phase = $4, agent_id = $5,"
	" skipped = $6, empty = $7 WHERE schedule_id" EQ "$1 AND slice" EQ "$2",
	7,
	{INT8OID, INT4OID, TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID, BOOLOID}};

/* A slice that this worker has locked, and what it takes of it. */
typedef struct Slice
{
	int64		schedule_id;
	int32		slice;
	TimestampTz due;	  /* of the turn that is being made */
	int32		phase;	  /* up to where it is made */
	int64		agent_id; /* and which agent of that phase was the last */
	int64		skipped;  /* turns before this one that were not made */
	int64		every;	  /* microseconds */
	int64		deadline;
	bool		skip; /* what was missed is not made up */
	Oid			owner;
	Datum		model;	 /* text, in SPI's memory */
	Datum		version; /* int, if has_version */
	bool		has_version;
	TimestampTz was_due; /* its due time, before the hand moved on */
	bool		empty;	 /* it has no agents */
	int			first;	 /* of the batch: its agents */
	int			count;
} Slice;

/*
 * A batch: agents of one slice or, where these have few, of several.  Agents
 * and slices lie side by side.
 */
typedef struct Batch
{
	Slice *slices; /* [slice_count] */
	int	   slice_count;
	int	   room;	/* for agents */
	int64 *ids;		/* [count]: agents to step */
	int64 *missed;	/* [count]: turns that each has missed before */
	bool  *stepped; /* [count] */
	int	   count;
	int	   failed;
} Batch;

/*
 * So many agents are to be made one by one, because a batch of as many has
 * failed.
 */
static int cautious = 0;

/* ... each in a transaction of its own, because a commit has failed. */
static bool alone = false;

/* How many agents a slice has, about: a moving average of this worker's. */
static double slice_agents = FLIGHT_AGENTS;

/* ---------- a batch of slices ---------- */

/*
 * Jumps over turns that were missed, unless one was begun: its last agents
 * would else never come to their turn where every turn is late.
 */
static void
catch_up(Slice *slice, TimestampTz now)
{
	int64 turns = (now - slice->due) / slice->every;

	if (slice->phase != slice->slice * SLICE_PHASES || slice->agent_id != 0)
		return;
	slice->skipped = slice->skip ? turns : 0;
	if (slice->skip)
		slice->due += turns * slice->every;
}

/* A slice from the i-th row of the last result. */
static void
take_slice(int i, TimestampTz now, Slice *slice)
{
	bool isnull;

	memset(slice, 0, sizeof(*slice));
	slice->schedule_id = result_int64(i, 1);
	slice->slice = DatumGetInt32(result_datum(i, 2, &isnull));
	slice->due = DatumGetTimestampTz(result_datum(i, 3, &isnull));
	slice->phase = DatumGetInt32(result_datum(i, 4, &isnull));
	slice->agent_id = result_int64(i, 5);
	slice->skipped = result_int64(i, 6);
	slice->every = result_int64(i, 7);
	slice->deadline = result_int64(i, 8);
	slice->skip = DatumGetBool(result_datum(i, 9, &isnull));
	slice->owner = DatumGetObjectId(result_datum(i, 10, &isnull));
	slice->model = result_datum(i, 11, &isnull);
	slice->version = result_datum(i, 12, &isnull);
	slice->has_version = !isnull;
	catch_up(slice, now);
	slice->was_due = slice->due;
}

/*
 * Locks slices that are due, the most urgent first, as many as may fill the
 * batch; they are fewer, or none, where others have them.
 */
static void
claim(const Call *call, Batch *batch)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		wanted = cautious > 0 ? 1 :
										Min((int64) (batch->room / slice_agents),
											room_fair_part());
	Datum		arguments[3] = {TimestampTzGetDatum(now),
								ObjectIdGetDatum(pool_self->owner),
								Int64GetDatum(Max(wanted, 1))};

	batch->slice_count =
		statement_run(call, &claim_statement, arguments, NULL, 0);
	batch->slices = palloc(sizeof(Slice) * batch->slice_count);
	for (int i = 0; i < batch->slice_count; i++)
		take_slice(i, now, &batch->slices[i]);
}

/*
 * Is an agent owed the turn that was due at that time? Not one that was made after
 * it; but who seems to be made in the future was made before the clock was set back.
 */
static bool
is_owed(TimestampTz created, TimestampTz due, TimestampTz now)
{
	return created <= due || created > now;
}

/*
 * Adds the next agents of a slice to the batch, as many as there is room for,
 * and moves its hand behind them: in the slice, or to its next turn.
 */
static void
read_agents(const Call *call, Batch *batch, Slice *slice)
{
	int32 begin = slice->slice * SLICE_PHASES;
	int	  limit = batch->room - batch->count;
	Datum arguments[8] = {slice->model,
						  slice->version,
						  Int32GetDatum(slice->phase),
						  Int64GetDatum(slice->agent_id),
						  Int32GetDatum(begin + SLICE_PHASES),
						  Int64GetDatum(limit),
						  ObjectIdGetDatum(slice->owner),
						  BoolGetDatum(OidIsValid(pool_self->owner))};
	int	  found = statement_run(call, &read_statement, arguments,
								slice->has_version ? NULL : " n      ", 0);
	/* after they were read: whoever was made by then was made before */
	TimestampTz now = GetCurrentTimestamp();
	bool		isnull;

	slice->first = batch->count;
	for (int i = 0; i < found; i++)
	{
		TimestampTz created = DatumGetTimestampTz(result_datum(i, 3, &isnull));

		if (!is_owed(created, slice->due, now) ||
			!DatumGetBool(result_datum(i, 4, &isnull)))
			continue;
		batch->missed[batch->count] =
			Max(Min(slice->skipped, (slice->due - created) / slice->every), 0);
		batch->ids[batch->count++] = result_int64(i, 2);
	}
	slice->count = batch->count - slice->first;
	slice->empty = found == 0 && slice->phase == begin && slice->agent_id == 0;
	if (found == limit)
	{
		slice->phase = DatumGetInt32(result_datum(found - 1, 1, &isnull));
		slice->agent_id = result_int64(found - 1, 2);
	}
	else
	{
		slice->due += slice->every;
		slice->phase = begin;
		slice->agent_id = 0;
	}
}

/*
 * Is there a slice of another schedule of the same model in the batch, before
 * this one?  They may have an agent in common, and it makes one step a batch.
 */
static bool
may_overlap(const Batch *batch, const Slice *slice)
{
	char *model = TextDatumGetCString(slice->model);

	for (const Slice *other = batch->slices; other < slice; other++)
	{
		if (other->schedule_id != slice->schedule_id &&
			strcmp(TextDatumGetCString(other->model), model) == 0)
			return true;
	}
	return false;
}

/*
 * Fills the batch from its slices, and moves their hands; those that are not
 * needed stay as they are.
 */
static void
fill(const Call *call, Batch *batch)
{
	int used = 0;

	batch->ids = palloc(sizeof(int64) * batch->room);
	batch->missed = palloc(sizeof(int64) * batch->room);
	batch->stepped = palloc0(sizeof(bool) * batch->room);
	while (used < batch->slice_count && batch->count < batch->room &&
		   !may_overlap(batch, &batch->slices[used]))
		read_agents(call, batch, &batch->slices[used++]);
	batch->slice_count = used;
	if (used > 0)
		slice_agents += 0.3 * ((double) batch->count / used - slice_agents);
	slice_agents = Max(slice_agents, 1);
}

static void
move_hand(const Call *call, const Slice *slice)
{
	Datum arguments[7] = {
		Int64GetDatum(slice->schedule_id), Int32GetDatum(slice->slice),
		TimestampTzGetDatum(slice->due),   Int32GetDatum(slice->phase),
		Int64GetDatum(slice->agent_id),	   Int64GetDatum(slice->skipped),
		BoolGetDatum(slice->empty)};

	statement_run(call, &move_statement, arguments, NULL, 0);
}

/*
 * Steps the agents, together or, after a failure, one by one: then there is one
 * slice.
 */
static void
step_batch(const Call *call, Batch *batch)
{
	if (cautious > 0)
	{
		cautious = Max(cautious - Max(batch->count, 1), 0);
		batch->failed =
			batch_step_singly(call, batch->slices[0].schedule_id, batch->ids,
							  batch->count, false, batch->stepped);
		return;
	}
	/* noted before it can fail; forgotten if it does not */
	cautious = batch->count;
	batch_step(call, batch->ids, batch->count, batch->stepped);
}

/* Counts what became of a slice's agents, after the commit. */
static void
count_slice(const Batch *batch, const Slice *slice)
{
	int	  made = 0;
	int64 missed = 0;

	for (int i = slice->first; i < slice->first + slice->count; i++)
	{
		made += batch->stepped[i];
		missed += batch->stepped[i] ? batch->missed[i] : 0;
	}
	batch_count(slice->schedule_id, made, slice->was_due, slice->deadline);
	/* where steps fail there is one slice */
	batch_count_faults(slice->schedule_id, batch->failed, missed);
}

/*
 * Counts the whole batch, after the commit.  Who made an agent while we found
 * its slice empty has told the coordinator before the slice was marked: it is
 * to look once more.
 */
static void
count_batch(const Batch *batch)
{
	int	 made = 0;
	bool empty = false;

	for (int i = 0; i < batch->count; i++)
		made += batch->stepped[i];
	batch_done(made, batch->failed);
	for (int i = 0; i < batch->slice_count; i++)
	{
		count_slice(batch, &batch->slices[i]);
		empty |= batch->slices[i].empty;
	}
	if (empty)
		pool_want(MyDatabaseId, false);
}

/* A batch in the worker's own memory, for what is counted after the commit. */
static void
keep(Batch *batch, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Slice		 *slices = batch->slices;
	int64		 *missed = batch->missed;
	bool		 *stepped = batch->stepped;
	int			  count = Max(batch->count, 1);

	batch->slices = palloc(sizeof(Slice) * Max(batch->slice_count, 1));
	memcpy(batch->slices, slices, sizeof(Slice) * batch->slice_count);
	batch->missed = palloc(sizeof(int64) * count);
	memcpy(batch->missed, missed, sizeof(int64) * batch->count);
	batch->stepped = palloc(sizeof(bool) * count);
	memcpy(batch->stepped, stepped, sizeof(bool) * batch->count);
	MemoryContextSwitchTo(old);
}

/* The argument is a bool *: whether there was something to do. */
static void
make(void *argument)
{
	bool		 *done = argument;
	bool		  singly = cautious > 0;
	MemoryContext context = CurrentMemoryContext;
	Batch		  batch = {0};
	Call		  call;

	*done = false;
	work_begin("steps agents that are due");
	if (!call_begin_extension(&call))
	{
		work_end();
		return;
	}
	batch.room = !singly ? batch_size() : alone ? 1 : batch_single_size();
	claim(&call, &batch);
	*done = batch.slice_count > 0;
	if (!*done)
		cautious = 0;
	fill(&call, &batch);
	if (*done)
		step_batch(&call, &batch);
	for (int i = 0; i < batch.slice_count; i++)
		move_hand(&call, &batch.slices[i]);
	keep(&batch, context);
	call_end(&call);
	work_end();
	if (!singly)
		cautious = 0;
	count_batch(&batch);
}

/*
 * One batch of the most urgent slices; false: nothing is due.  Where it fails
 * through its agents they are stepped one by one by the next calls, and where
 * that fails as a whole, alone; else the error is raised.
 */
bool
turn_make(void)
{
	bool	   done;
	int		   before = cautious;
	bool	   singly = before > 0;
	bool	   single = singly && (alone || batch_single_size() == 1);
	ErrorData *error = work_attempt(make, &done);

	alone &= cautious > 0;
	if (error == NULL)
		return done || singly;
	if (batch_blame(error, false))
		return true;
	/* where no batch was begun it is no agent's fault */
	if (single || cautious + before == 0 || !work_blames_agent(error))
	{
		cautious = 0;
		alone = false;
		ReThrowError(error);
	}
	if (singly)
	{
		alone = true;
		cautious = before;
	}
	return true;
}
