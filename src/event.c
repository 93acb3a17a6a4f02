/*-------------------------------------------------------------------------
 *
 * event.c
 *	  Agents that step when an observation arrives.
 *
 * The session that observes puts the agent's id in its database's ring after
 * its commit, and wakes a worker.  The ring is a hint: what it has lost stands
 * in the inbox, which is read through from time to time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "pool.h"

/*
 * The agents' rows are locked before their inbox is looked at: who steps one
 * meanwhile takes its observation, and then there is nothing to step it for.
 * Not so ($2) rows that a sensor worker may be holding for as long as an
 * actuator takes; whether there are any is asked once.  Nor those that wait to
 * be tried again, which somebody may be holding.
 */
#define LOCK_ROWS                                                              \
	"SELECT b.agent_id FROM @.fa_belief b WHERE b.agent_id" EQ                 \
	"ANY ($1) AND (NOT $2 OR NOT (SELECT EXISTS (SELECT FROM @.fa_sensor))"    \
	" OR NOT EXISTS (SELECT FROM @.fa_agent a, @.fa_model m, @.fa_sensor x"    \
	" WHERE a.agent_id" EQ "b.agent_id AND m.model_id" EQ                      \
	"a.model_id AND x.owner" EQ "a.owner AND x.model" EQ                       \
	"m.name)) AND (NOT (SELECT EXISTS (SELECT FROM @.fa_retry)) OR NOT EXISTS" \
	" (SELECT FROM @.fa_retry r WHERE r.agent_id" EQ                           \
	"b.agent_id)) ORDER BY b.agent_id FOR NO KEY UPDATE OF b"
static Statement lock_statement = {LOCK_ROWS, 2, {INT8ARRAYOID, BOOLOID}};
/* After that has waited in vain. */
static Statement lock_free_statement = {
	LOCK_ROWS " SKIP LOCKED", 2, {INT8ARRAYOID, BOOLOID}};
/*
 * Of the agents $1, those that have an observation and a schedule by event;
 * whether they have another one, and who is to step them.
 */
static Statement find_statement = {
	"SELECT a.agent_id, s.schedule_id, s.deadline, o.first, o.more, s.runner"
	" FROM pg_catalog.unnest($1) AS i (agent_id), @.fa_agent a, @.fa_model m,"
	" @.fa_belief b, LATERAL (SELECT s.schedule_id,"
	" COALESCE(" MICROSECONDS(
		"s.deadline") ", -1) AS deadline"
					  "," SCHEDULE_RUNNER
					  " AS runner FROM @.fa_schedule s WHERE s.model" EQ
					  "m.name AND (s.version IS NULL OR s.version" EQ
					  "m.version)"
					  " AND s.every IS NULL AND" SCHEDULE_MAY_STEP(
						  "s.owner") " AND" SCHEDULE_ACTIVE
									 " ORDER BY s.priority DESC, s.schedule_id LIMIT 1) AS s,"
									 " LATERAL (SELECT pg_catalog.min(received_at) AS first, pg_catalog.count(*)" GT
									 "1 AS more FROM (SELECT received_at FROM @.fa_observation w"
									 " WHERE w.agent_id" EQ
									 "a.agent_id ORDER BY w.observation_id LIMIT 2) AS w"
									 " HAVING pg_catalog.count(*)" GT "0) AS o"
									 " WHERE a.agent_id" EQ
									 "i.agent_id AND m.model_id" EQ
									 "a.model_id AND b.agent_id" EQ
									 "a.agent_id AND NOT b.paused"
									 " AND NOT EXISTS (SELECT FROM @.fa_retry r WHERE r.agent_id" EQ
									 "a.agent_id)"
									 " ORDER BY s.schedule_id, a.agent_id",
	1,
	{INT8ARRAYOID}};
/* $2 agents after $1 with something in the inbox, each found by one descent. */
static Statement sweep_statement = {
	"WITH RECURSIVE w (agent_id) AS ((SELECT agent_id FROM @.fa_observation"
	" WHERE agent_id" GT "$1 ORDER BY agent_id LIMIT 1) UNION ALL"
	" SELECT (SELECT o.agent_id FROM @.fa_observation o"
	" WHERE o.agent_id" GT "w.agent_id ORDER BY o.agent_id LIMIT 1)"
	" FROM w WHERE w.agent_id IS NOT NULL)"
	" SELECT agent_id FROM w WHERE agent_id IS NOT NULL LIMIT $2",
	2,
	{INT8OID, INT8OID}};

/* Ids that this transaction has observed, in TopTransactionContext. */
static int64 *observed = NULL;
static int	  observed_count = 0;
static int	  observed_room = 0;
static bool	  observed_lost = false; /* more than the ring could hold */

/* What this worker has taken out of the ring and not yet stepped. */
static int64 taken[FLIGHT_AGENTS];
static int	 taken_count = 0;
static bool	 singly = false; /* the last batch has failed: one by one */
static bool	 alone = false;	 /* and its commit: in transactions of their own */

/* What is known of an agent that is to be stepped. */
typedef struct Event
{
	int64		schedule_id;
	int64		agent_id;
	int64		deadline; /* microseconds, -1: none */
	TimestampTz received;
	bool		more;	 /* another observation waits */
	bool		locked;	 /* by us */
	bool		stepped; /* else its step failed */
	Oid			runner;
} Event;

/* ---------- the session that observes ---------- */

/*
 * After the commit, so that who is woken sees the observation.  Nothing here
 * can fail.
 */
static void
tell_observed(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && observed_count > 0 &&
		ring_add(observed, observed_count, observed_lost))
		pool_wake_one(MyDatabaseId);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
	{
		observed = NULL;
		observed_count = observed_room = 0;
		observed_lost = false;
	}
}

/*
 * An agent has an observation from this transaction's commit on.
 */
void
event_note_at_commit(int64 agent_id)
{
	if (pool == NULL)
		return;
	if (observed_count == RING_SIZE)
	{
		observed_lost = true;
		return;
	}
	if (observed_count == observed_room)
	{
		observed_room = Max(16, observed_room * 2);
		observed = observed == NULL ?
					   MemoryContextAlloc(TopTransactionContext,
										  sizeof(int64) * observed_room) :
					   repalloc(observed, sizeof(int64) * observed_room);
	}
	observed[observed_count++] = agent_id;
}

void
event_init(void)
{
	RegisterXactCallback(tell_observed, NULL);
}

/* ---------- the worker ---------- */

/*
 * Takes the next part of the inbox for a batch.  It is handed on as soon as it
 * is read, so that others read while this one is stepped.
 */
static void
sweep_inbox(const Call *call)
{
	int	  room = batch_size();
	Datum arguments[2] = {Int64GetDatum(ring_swept_to()), Int64GetDatum(room)};
	int	  found = statement_run(call, &sweep_statement, arguments, NULL, 0);

	for (int i = 0; i < found; i++)
		taken[i] = result_int64(i, 1);
	taken_count = found;
	SPI_freetuptable(SPI_tuptable);
	ring_swept(found > 0 ? taken[found - 1] : PG_INT64_MAX, found < room);
}

/*
 * Those of ids [count] that are to be stepped now: [*found].
 */
static Event *
find_events(const Call *call, int64 *ids, int count, int *found)
{
	Datum arguments[2] = {array_from_int64(ids, count),
						  BoolGetDatum(!OidIsValid(pool_self->owner))};
	int	  locked =
		statement_run(call, singly ? &lock_free_statement : &lock_statement,
					  arguments, NULL, 0);
	int64 *locked_ids = palloc(sizeof(int64) * Max(locked, 1));
	Event *events;
	bool   isnull;

	for (int i = 0; i < locked; i++)
		locked_ids[i] = result_int64(i, 1);
	*found = statement_run(call, &find_statement, arguments, NULL, 0);
	events = MemoryContextAlloc(TopTransactionContext,
								sizeof(Event) * Max(*found, 1));
	for (int i = 0; i < *found; i++)
	{
		events[i].agent_id = result_int64(i, 1);
		events[i].schedule_id = result_int64(i, 2);
		events[i].deadline = result_int64(i, 3);
		events[i].received = DatumGetTimestampTz(result_datum(i, 4, &isnull));
		events[i].more = DatumGetBool(result_datum(i, 5, &isnull));
		events[i].runner = DatumGetObjectId(result_datum(i, 6, &isnull));
		events[i].locked = bsearch(&events[i].agent_id, locked_ids, locked,
								   sizeof(int64), compare_int64) != NULL;
	}
	return events;
}

/*
 * Moves events [count] that this worker is to step to the front, in order;
 * returns how many there are.
 */
static int
own_first(Event *events, int count)
{
	Event *others = palloc(sizeof(Event) * Max(count, 1));
	int	   own = 0;
	int	   other = 0;

	for (int i = 0; i < count; i++)
	{
		if (events[i].runner == pool_self->owner)
			events[own++] = events[i];
		else
			others[other++] = events[i];
	}
	memcpy(events + own, others, sizeof(Event) * other);
	pfree(others);
	return own;
}

/* Somebody holds the row of an agent: it is tried again later, alone. */
static void
note_held(const Call *call, const Event *event)
{
	ErrorData error = {.elevel = ERROR,
					   .sqlerrcode = ERRCODE_LOCK_NOT_AVAILABLE,
					   .message =
						   pstrdup("another session holds the agent's row")};

	retry_note(call, event->schedule_id, event->agent_id, &error);
}

/*
 * Steps events [count]; who fails can only be found one by one.  None is
 * paused, for their rows are locked.
 */
static void
step_events(const Call *call, Event *events, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	bool  *stepped = palloc(sizeof(bool) * count);

	for (int i = 0; i < count; i++)
		ids[i] = events[i].agent_id;
	if (!singly)
		batch_step(call, ids, count, stepped);
	else
	{
		/* each under its own schedule, where its failure is noted */
		for (int i = 0; i < count; i++)
		{
			stepped[i] = false;
			if (events[i].locked)
				batch_step_singly(call, events[i].schedule_id, &ids[i], 1,
								  false, &stepped[i]);
			else
				note_held(call, &events[i]);
		}
	}
	for (int i = 0; i < count; i++)
		events[i].stepped = stepped[i];
}

/* Counts what became of events, after their commit. */
static void
count_events(const Event *events, int count)
{
	int made = 0;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		made += events[i].stepped;
		if (events[i].stepped)
			batch_count(events[i].schedule_id, 1, events[i].received,
						events[i].deadline);
		else
			batch_count_faults(events[i].schedule_id, 1, 0);
		/* of one that failed the retry takes care */
		if (events[i].more && events[i].stepped)
			ring_add(&events[i].agent_id, 1, false);
	}
	batch_done(made, count - made);
}

/*
 * One transaction: all that was taken, or, one by one, some of it.  *argument
 * is true where it is to be found in the inbox, until it was read.
 */
static void
make(void *argument)
{
	bool  *sweep = argument;
	int	   room = alone ? 1 : batch_single_size();
	int	   count;
	int	   found = 0;
	int	   own = 0;
	Event *events = NULL;
	Event *copy;
	Call   call;

	work_begin("steps agents that were observed");
	if (!call_begin_extension(&call))
	{
		taken_count = 0;
		work_end();
		return;
	}
	if (*sweep)
	{
		sweep_inbox(&call);
		*sweep = false;
	}
	count = singly ? Min(taken_count, room) : taken_count;
	if (count > 0)
		events = find_events(&call, taken + taken_count - count, count, &found);
	if (found > 0)
		own = own_first(events, found);
	if (own > 0)
		step_events(&call, events, own);
	call_end(&call);
	/* the transaction's memory goes with it */
	copy = MemoryContextAlloc(TopMemoryContext, sizeof(Event) * Max(found, 1));
	if (found > 0)
		memcpy(copy, events, sizeof(Event) * found);
	work_end();
	taken_count -= count;
	count_events(copy, own);
	for (int i = own; i < found; i++)
		ring_pass_on(copy[i].agent_id, copy[i].runner);
	pfree(copy);
}

/*
 * This process makes no more batches: what it has taken and not stepped is for
 * others, who need not wait for a sweep, and so is the inbox that it was reading.
 */
void
event_leave(void)
{
	ring_leave_sweep();
	if (taken_count > 0 && ring_add(taken, taken_count, false))
		pool_wake_one(MyDatabaseId);
	taken_count = 0;
}

/*
 * One batch of agents that were observed; false: there are none.  Where it
 * fails through its agents they are stepped one by one by the next calls, and
 * where that fails as a whole, alone.
 */
bool
event_make(void)
{
	bool	   sweep = false;
	bool	   single;
	ErrorData *error;

	if (taken_count == 0)
	{
		singly = alone = false;
		taken_count =
			int64_sort_unique(taken, ring_take(taken, batch_size(), &sweep));
	}
	if (taken_count == 0 && !sweep)
		return false;
	single = singly && (alone || batch_single_size() == 1);
	error = work_attempt(make, &sweep);
	/* the inbox was not read: that is no agent's fault, or there is no extension */
	if (sweep)
	{
		ring_leave_sweep();
		if (error != NULL)
			ReThrowError(error);
		return false;
	}
	/* one that is blamed waits for its next try, and is not found again */
	if (error == NULL || batch_blame(error, false))
		return true;
	if (single || !work_blames_agent(error))
	{
		ring_add(taken, taken_count, false);
		taken_count = 0;
		ReThrowError(error);
	}
	alone = singly;
	singly = true;
	return true;
}
