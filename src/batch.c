/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Agents that a worker steps in one transaction.
 *
 * All at once first; where that fails, one by one, each in a savepoint, so
 * that the one that fails is found and the others are stepped; where that fails
 * too, for it is the commit that does, each in a transaction of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

#include "pool.h"
#include "sensor.h"

#include <math.h>

#define BATCH_US   50000   /* that a batch should take */
#define SENSING_US 1000000 /* and one with sensors or actuators */
#define FEWEST	   16
#define FIRST_STEP 25.0 /* microseconds of a step, until it is measured */
#define SINGLES \
	32				  /* of a batch that is done one by one; savepoints cost
						 * everybody */
#define FIRST_LAG  16 /* microseconds of the first bucket's upper bound */
#define PER_DOUBLE 4  /* buckets */

/* of one step, the commit included; a moving average of this worker's */
static double step_us = 0; /* 0: none was measured */

/* The batch that is being made. */
static TimestampTz begun;
static int		   asked; /* how many agents it was begun with */

/* What the transaction has stepped, for the case that its commit fails. */
static int	 in_commit = 0;		  /* agents */
static int64 single_schedule = 0; /* of the last one that was stepped singly */
static int64 single_agent = 0;	  /* 0: none was */

/* Does this process run what an owner has named? */
static bool
is_sensing(void)
{
	return OidIsValid(pool_self->owner);
}

/* Microseconds of a step; at first a guess. */
static double
cost(void)
{
	if (step_us > 0)
		return step_us;
	return is_sensing() ? (double) SENSING_US / FEWEST : FIRST_STEP;
}

/*
 * How many agents to step at once.  With code of users it is few at first, for
 * nobody knows how long it takes, and more than what takes a moment, for a set
 * form may cost the same for any number.
 */
int
batch_size(void)
{
	double size = (is_sensing() ? SENSING_US : BATCH_US) / cost();

	return (int) Min(Max(size, FEWEST), FLIGHT_AGENTS);
}

/*
 * How many agents to step one by one in a transaction: with code of users only
 * one, for its deferred constraints have to be looked at before the next one's
 * are set.
 */
int
batch_single_size(void)
{
	return is_sensing() ? 1 : SINGLES;
}

/*
 * Nobody reads results; but one who is paused is left out, and then is not
 * counted. context is bool [count].
 */
static void
note_stepped(void *context, const StepOrder *order, const KernelModel *model,
			 const StepRecord *record)
{
	((bool *) context)[order->position] = true;
}

/* One step of each by our own code. */
static void
compute(const Call *call, const int64 *ids, int count, bool *stepped)
{
	StepPlan   plan = {.steps = 1,
					   .trials = 1,
					   .skip_paused = true,
					   .emit = note_stepped,
					   .emit_context = stepped};
	StepOrder *orders = palloc0(sizeof(StepOrder) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		orders[i].agent_id = ids[i];
		orders[i].position = i;
	}
	step_orders(call, orders, count, &plan);
	pfree(orders);
}

/* One step of each by its sensor and actuator. */
static void
act(const Call *call, const int64 *ids, int count, bool *stepped)
{
	ActResult *results = palloc(sizeof(ActResult) * Max(count, 1));

	act_agents(call, ids, count, true, results);
	/* what waits for the commit would fail there, where nobody is blamed */
	outside_check_constraints(call);
	for (int i = 0; i < count; i++)
		stepped[i] = results[i].stepped;
	pfree(results);
}

/*
 * One step of each that is not paused and has something to perceive, noted in
 * stepped [count]; within the time limit, else an ERROR (57014).
 */
static void
step(const Call *call, const int64 *ids, int count, bool *stepped)
{
	memset(stepped, 0, sizeof(bool) * count);
	if (fa_batch_timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, fa_batch_timeout);
	PG_TRY();
	{
		if (is_sensing())
			act(call, ids, count, stepped);
		else
			compute(call, ids, count, stepped);
	}
	PG_FINALLY();
	{
		disable_timeout(STATEMENT_TIMEOUT, false);
	}
	PG_END_TRY();
}

/* A batch of agents [count] begins. */
static void
begin(int count)
{
	begun = GetCurrentTimestamp();
	asked = count;
}

/*
 * Clients that wait for actions are told at the commit, where that is wanted:
 * notifications make commits wait for each other.  Those of one transaction
 * are one.
 */
static void
notify(void)
{
	if (fa_notify)
		Async_Notify("fa_agents", "");
}

/*
 * One step of each agent [count], all or, with an ERROR, none; stepped [count]
 * are those that were not paused.
 */
void
batch_step(const Call *call, int64 *ids, int count, bool *stepped)
{
	begin(count);
	in_commit += count;
	single_agent = 0;
	pool_set_state(PROCESS_STEPPING, count);
	flight_note(ids, count);
	step(call, ids, count, stepped);
	if (count > 0)
		notify();
}

/* One agent's step. */
typedef struct Single
{
	const Call	*call;
	const int64 *id;
	bool		*stepped; /* false also where it is paused */
} Single;

/* The body of the subtransaction in which it is made. */
static bool
step_single(void *context)
{
	Single *single = context;

	step(single->call, single->id, 1, single->stepped);
	return true;
}

/*
 * One agent in a subtransaction; NULL, or the error, which undid it.  An error
 * that is not the agent's is raised again, unless it is blamed for any.
 */
static ErrorData *
try_single(const Call *call, const int64 *id, bool blame, bool *stepped)
{
	Single	   single = {call, id, stepped};
	ErrorData *error;

	flight_note(id, 1);
	*stepped &= subtransaction_run(step_single, &single, &error);
	if (error != NULL && !blame && !work_blames_agent(error))
		ReThrowError(error);
	return error;
}

/*
 * One step of each agent [count], each by itself; who fails is noted.  Returns
 * how many failed; stepped [count] are those who neither failed nor are paused.
 * blame: also with an error that is not the agent's.
 */
int
batch_step_singly(const Call *call, int64 schedule_id, int64 *ids, int count,
				  bool blame, bool *stepped)
{
	int failed = 0;

	begin(count);
	for (int i = 0; i < count; i++)
	{
		ErrorData *error;

		CHECK_FOR_INTERRUPTS();
		in_commit++;
		single_schedule = schedule_id;
		single_agent = ids[i];
		pool_set_state(PROCESS_STEPPING, 1);
		error = try_single(call, &ids[i], blame, &stepped[i]);
		if (error == NULL)
			continue;
		failed++;
		retry_note(call, schedule_id, ids[i], error);
		FreeErrorData(error);
	}
	if (failed < count)
		notify();
	return failed;
}

/* ---------- commits that fail ---------- */

typedef struct Blame
{
	const ErrorData *error;
	bool			 noted; /* else the agent is paused, or gone */
} Blame;

/* The argument is a Blame *. */
static void
note_single(void *argument)
{
	Blame *blame = argument;
	Call   call;

	work_begin("notes an agent whose commit failed");
	if (call_begin_extension(&call))
	{
		blame->noted =
			retry_note(&call, single_schedule, single_agent, blame->error);
		call_end(&call);
	}
	work_end();
}

/*
 * A transaction with a batch has failed, after its steps: a commit runs
 * deferred triggers and cursors that are kept.  Where one agent was alone in it
 * the error is that agent's, and is noted; false: nobody can be blamed.
 * whatever: also with an error that is not the agent's.
 */
bool
batch_blame(const ErrorData *error, bool whatever)
{
	bool	   single = in_commit == 1 && single_agent != 0;
	Blame	   blame = {error, false};
	ErrorData *trouble;

	in_commit = 0;
	if (!single || (!whatever && !work_blames_agent(error)))
		return false;
	trouble = work_attempt(note_single, &blame);
	if (trouble != NULL)
		ReThrowError(trouble);
	if (blame.noted)
		batch_count_faults(single_schedule, 1, 0);
	return blame.noted;
}

/* ---------- what became of them ---------- */

/* The bucket of a lag in microseconds. */
static int
bucket(int64 lag)
{
	double doublings = lag <= FIRST_LAG ? 0 : log2((double) lag / FIRST_LAG);

	return Min((int) ceil(doublings * PER_DOUBLE), LAG_BUCKETS - 1);
}

/*
 * The lag in microseconds that a share of steps did not exceed, to a quarter
 * of a doubling; -1: there were none. lag is [LAG_BUCKETS].
 */
int64
batch_quantile(const uint64 *lag, double share)
{
	uint64 total = 0;
	uint64 sum = 0;

	for (int i = 0; i < LAG_BUCKETS; i++)
		total += lag[i];
	for (int i = 0; i < LAG_BUCKETS; i++)
	{
		sum += lag[i];
		if (total > 0 && sum >= share * total)
			return (int64) (FIRST_LAG * exp2((double) i / PER_DOUBLE));
	}
	return -1;
}

/* A batch was committed. */
void
batch_done(int steps, int failed)
{
	double elapsed = GetCurrentTimestamp() - begun;

	flight_clear();
	in_commit = 0;
	if (asked == 0)
		return;
	if (failed < asked)
		work_done();
	pg_atomic_fetch_add_u64(&pool_self->steps, steps);
	if (failed == 0)
		step_us = cost() + 0.2 * (elapsed / asked - cost());
}

/*
 * The minute that is counted now; the newest but one is forgotten when another
 * begins.  The lock is held.
 */
static PoolMinute *
this_minute(PoolDatabase *entry)
{
	int64 minute = GetCurrentTimestamp() / USECS_PER_MINUTE;

	if (entry->minutes[0].minute != minute)
	{
		entry->minutes[1] = entry->minutes[0];
		memset(&entry->minutes[0], 0, sizeof(PoolMinute));
		entry->minutes[0].minute = minute;
	}
	return &entry->minutes[0];
}

/* Counts steps with a lag in microseconds, and errors, of this database. */
static void
count_recent(int64 lag, int steps, int errors)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		int to = bucket(lag);

		SpinLockAcquire(&entry->minute_lock);
		this_minute(entry)->lag[to] += steps;
		this_minute(entry)->errors += errors;
		SpinLockRelease(&entry->minute_lock);
	}
	LWLockRelease(pool->lock);
}

/* What became of this database's steps in the last one to two minutes. */
void
batch_recent(PoolMinute *recent)
{
	PoolMinute	  copies[2] = {0};
	PoolDatabase *entry;
	int64		  minute = GetCurrentTimestamp() / USECS_PER_MINUTE;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		SpinLockAcquire(&entry->minute_lock);
		memcpy(copies, entry->minutes, sizeof(copies));
		SpinLockRelease(&entry->minute_lock);
	}
	LWLockRelease(pool->lock);
	memset(recent, 0, sizeof(PoolMinute));
	for (int i = 0; i < 2; i++)
	{
		if (copies[i].minute < minute - 1)
			continue;
		recent->errors += copies[i].errors;
		for (int j = 0; j < LAG_BUCKETS; j++)
			recent->lag[j] += copies[i].lag[j];
	}
}

/*
 * Counts steps that were committed: due is when they were, deadline how much
 * later (microseconds, -1: none) they were to be made at the latest.
 */
void
batch_count(int64 schedule_id, int steps, TimestampTz due, int64 deadline)
{
	int64		  lag = Max(GetCurrentTimestamp() - due, 0);
	PoolSchedule *schedule = pool_schedule(schedule_id);

	count_recent(lag, steps, 0);
	if (schedule == NULL)
		return;
	pg_atomic_fetch_add_u64(&schedule->steps, steps);
	pg_atomic_fetch_add_u64(&schedule->lag[bucket(lag)], steps);
	if (deadline >= 0 && lag > deadline)
		pg_atomic_fetch_add_u64(&schedule->late, steps);
}

/* Counts steps that failed, and those of turns that were skipped. */
void
batch_count_faults(int64 schedule_id, int failed, int64 missed)
{
	PoolSchedule *schedule = pool_schedule(schedule_id);

	count_recent(0, 0, failed);
	if (schedule == NULL)
		return;
	pg_atomic_fetch_add_u64(&schedule->errors, failed);
	pg_atomic_fetch_add_u64(&schedule->missed, missed);
}
