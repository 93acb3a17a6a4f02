/*-------------------------------------------------------------------------
 *
 * coordinator.c
 *	  The process that keeps as many workers in its database as there is work
 *	  for.
 *
 * It looks at what is due, once a second while workers are busy, and otherwise
 * when the next agent is due or somebody has changed something.  Where nothing
 * is due for a while it leaves, and the launcher starts another one in time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "pool.h"

#define LOOK_MS		 1000  /* between looks while there is work */
#define CALM_MS		 100   /* between looks at the least */
#define LINGER_MS	 60000 /* it stays for what is due within this time */
#define IDLE_MS		 10000 /* so does its last worker */
#define GROW_ABOVE	 0.70  /* share of time in which workers were busy */
#define SHRINK_BELOW 0.20
#define SHRINK_LOOKS 10 /* looks that all have to say so */

PGDLLEXPORT void coordinator_main(Datum main_arg);

/* The workers of this database, as of the last look. */
typedef struct Workers
{
	int			count;	 /* running or coming */
	int			sensing; /* sensor workers */
	double		load;	 /* share of the time in which they had a batch */
	TimestampTz at;		 /* when that was measured */
	uint64	   *busy;	 /* [process_count], microseconds until then */
	int			calm;	 /* looks in a row that found little load */
} Workers;

/* An owner who had a sensor worker. */
typedef struct Served
{
	Oid			owner;
	TimestampTz at; /* when it was started */
} Served;

/* ---------- how busy the workers are ---------- */

/* For whoever looks at fa_health. */
static void
publish_load(double load)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
		entry->load = (float) load;
	LWLockRelease(pool->lock);
}

/*
 * Counts workers, and measures the share of the time since the last time in
 * which they had a batch.
 */
static void
measure(Workers *workers)
{
	TimestampTz now = GetCurrentTimestamp();
	double		elapsed = Max(now - workers->at, 1);
	double		sum = 0;

	workers->count = workers->sensing = 0;
	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];
		uint64		 total;

		if (!slot_is_used(process) || process->database != MyDatabaseId)
			continue;
		workers->sensing += process->role == ROLE_SENSOR;
		if (process->role != ROLE_WORKER)
			continue;
		workers->count++;
		total = pg_atomic_read_u64(&process->busy);
		/* one that is in a batch has not counted it yet */
		if (process->state == PROCESS_STEPPING)
			total += now - process->since;
		sum += total > workers->busy[i] ? total - workers->busy[i] : 0;
		workers->busy[i] = total;
	}
	LWLockRelease(pool->lock);
	workers->at = now;
	workers->load =
		workers->count == 0 ? 0 : Min(sum / elapsed / workers->count, 1.0);
	publish_load(workers->load);
}

/* Asks the worker that has done least to leave. */
static void
dismiss_worker(void)
{
	PoolProcess *found = NULL;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state > PROCESS_STARTING && !process->leave &&
			process->role == ROLE_WORKER && process->database == MyDatabaseId &&
			(found == NULL || pg_atomic_read_u64(&process->steps) <
								  pg_atomic_read_u64(&found->steps)))
			found = process;
	}
	if (found != NULL)
	{
		found->leave = true;
		SetLatch(found->latch);
	}
	LWLockRelease(pool->lock);
}

/* ---------- how many there should be ---------- */

/*
 * How many workers there should be.  It grows by one where the load is high
 * and something waits all the same, and shrinks by one where it was low for
 * some looks; the last one stays while something is due soon, for to start a
 * process costs more than a small batch.
 */
static int
wanted_workers(Look *look, Workers *workers)
{
	const LookPart *computing = look_part(look, InvalidOid);
	int64			due = computing ? computing->due : 0;
	int				wanted = workers->count;
	bool			soon =
		look->events ||
		(computing != NULL &&
		 computing->next < TimestampTzPlusMilliseconds(workers->at, IDLE_MS));

	workers->calm = workers->load < SHRINK_BELOW ? workers->calm + 1 : 0;
	if (wanted == 0 && (due > 0 || look->events))
		wanted = 1;
	else if (workers->load > GROW_ABOVE && due > 0)
		wanted++;
	else if (workers->calm >= SHRINK_LOOKS && (wanted > 1 || !soon))
	{
		wanted--;
		workers->calm = 0;
	}
	return Min(Max(wanted, fa_min_workers), fa_max_workers);
}

/*
 * Starts or dismisses workers.  A change is one log line, but for the first and
 * the last worker, which come and go with the work.
 */
static void
resize(const char *database, Look *look, Workers *workers)
{
	int wanted = wanted_workers(look, workers);
	int before = workers->count;

	for (; workers->count > wanted; workers->count--)
		dismiss_worker();
	while (workers->count < wanted &&
		   pool_start(ROLE_WORKER, MyDatabaseId, InvalidOid))
		workers->count++;
	if (workers->count != before)
		ereport(Min(workers->count, before) > 0 ? LOG : DEBUG1,
				(errmsg("workers of fa_agents in database \"%s\": %d, were %d",
						database, workers->count, before),
				 errdetail("They were busy %.0f %% of the time.",
						   workers->load * 100)));
}

/* ---------- sensor workers ---------- */

/* How many sensor workers an owner has, and how many of them have a batch. */
static int
sensor_workers(Oid owner, int *busy)
{
	int result = 0;

	*busy = 0;
	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (!slot_is_used(process) || process->role != ROLE_SENSOR ||
			process->database != MyDatabaseId || process->owner != owner)
			continue;
		result++;
		*busy += process->state == PROCESS_STEPPING;
	}
	LWLockRelease(pool->lock);
	return result;
}

/* Could this owner's last sensor worker not connect, a moment ago? */
static bool
is_ailing(Oid owner)
{
	PoolDatabase *entry;
	bool		  result;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	result = entry != NULL && entry->ailing_owner == owner &&
			 GetCurrentTimestamp() < entry->ailing_until;
	LWLockRelease(pool->lock);
	return result;
}

/* When an owner got a sensor worker for the last time; 0: never. */
static TimestampTz *
served_at(Oid owner)
{
	static HTAB *served = NULL;
	TimestampTz *entry;
	bool		 found;

	if (served == NULL)
	{
		HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(Served)};

		served = hash_create("fa_agents owners", 16, &control,
							 HASH_ELEM | HASH_BLOBS);
	}
	entry = &((Served *) hash_search(served, &owner, HASH_ENTER, &found))->at;
	if (!found)
		*entry = 0;
	return entry;
}

/*
 * The owner who is to get a sensor worker next: one who has something due and
 * none, whose last was longest ago; where each has one (more), one all of whose
 * workers are busy.  NULL: nobody.
 */
static LookPart *
next_owner(Look *look, bool more)
{
	LookPart *best = NULL;

	for (int i = 0; i < look->part_count; i++)
	{
		LookPart *part = &look->parts[i];
		int		  busy;
		int		  workers;

		if (!OidIsValid(part->runner) || part->due == 0 ||
			is_ailing(part->runner) || overtime_pending(part->runner))
			continue;
		workers = sensor_workers(part->runner, &busy);
		if (more ? busy < workers : workers > 0)
			continue;
		if (best == NULL || *served_at(part->runner) < *served_at(best->runner))
			best = part;
	}
	return best;
}

/*
 * Starts sensor workers: one for each owner who has something due and none; and,
 * where that is possible for all, one more for one whose workers are all busy,
 * for what they wait for may take long.
 */
static void
serve_owners(Look *look)
{
	LookPart *part;

	while ((part = next_owner(look, false)) != NULL)
	{
		if (!pool_start(ROLE_SENSOR, MyDatabaseId, part->runner))
			return;
		*served_at(part->runner) = GetCurrentTimestamp();
	}
	room_no_owner_waits();
	part = next_owner(look, true);
	if (part != NULL && pool_start(ROLE_SENSOR, MyDatabaseId, part->runner))
		*served_at(part->runner) = GetCurrentTimestamp();
}

/* All workers look for themselves. */
static void
wake_workers(void)
{
	pool_wake(MyDatabaseId, ROLE_WORKER);
	pool_wake(MyDatabaseId, ROLE_SENSOR);
}

/* ---------- its life ---------- */

static MemoryContext look_context = NULL; /* of the parts of the last look */

/*
 * Looks at what is due.  What changes from now on is seen by the next look.
 */
static void
look_at_work(Look *look, bool first)
{
	PoolDatabase *entry;
	bool		  changed = first;
	Call		  call;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		changed |= entry->wanted;
		entry->wanted = false;
	}
	LWLockRelease(pool->lock);

	if (look_context == NULL)
		look_context = AllocSetContextCreate(TopMemoryContext, "fa_agents look",
											 ALLOCSET_SMALL_SIZES);
	MemoryContextReset(look_context);
	memset(look, 0, sizeof(Look));
	look->next = DT_NOEND;
	overtime_end();
	overtime_find();
	work_begin("looks at what is due");
	if (call_begin_extension(&call))
	{
		overtime_note(&call);
		if (first)
			retry_after_crash(&call);
		/* each time: a batch that was under way may count afterwards */
		look_forget_dropped(&call);
		if (changed)
		{
			look_forget_orphans(&call);
			look_set_clock(&call);
			look_find_occupied(&call);
		}
		look_find(&call, look_context, look);
		call_end(&call);
		ring_count_passed(look);
	}
	else
		look_forget_all();
	work_end();
	overtime_release();

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		entry->failed = false;
		entry->due = look->due;
		/* what was observed before stands in the inbox only */
		if (look->events && !entry->events)
			entry->ring_lost = true;
		entry->events = look->events;
	}
	LWLockRelease(pool->lock);
}

/*
 * Ends the process.  The launcher starts another one when something is due, or
 * wanted; a database in which nothing is scheduled is forgotten.  Its workers,
 * if any, are told to look for themselves.
 */
static void
leave(const Look *look)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		entry->wake_at = look->next;
		entry->waiting = 0;
		entry->load = 0;
		if (look->schedules == 0 && look->next == DT_NOEND && !entry->wanted &&
			!entry->stopped && entry->blocked == 0)
			entry->database = InvalidOid;
	}
	LWLockRelease(pool->lock);
	wake_workers();
	proc_exit(0);
}

/* Is there no reason to stay? */
static bool
is_idle(const Look *look, const Workers *workers)
{
	if (!look->installed || (look->schedules == 0 && look->next == DT_NOEND))
		return true;
	return workers->count == 0 && workers->sensing == 0 && look->due == 0 &&
		   !look->events && fa_min_workers == 0 &&
		   look->next > TimestampTzPlusMilliseconds(workers->at, LINGER_MS);
}

/*
 * Where the server has no slot for a worker, the coordinator steps agents
 * itself, until its next look.
 */
static void
work_alone(const Workers *workers)
{
	TimestampTz until = TimestampTzPlusMilliseconds(workers->at, LOOK_MS);
	TimestampTz next = 0;

	while (next == 0 && GetCurrentTimestamp() < until && !room_should_leave() &&
		   work_turn(&next))
		pool_serve();
	event_leave();
}

/*
 * Was the last look, at that time, only a moment ago? It was not where it is still
 * to come: then the clock was set back, and nobody is to wait for the old time.
 */
static bool
is_calm(TimestampTz looked_at)
{
	TimestampTz now = GetCurrentTimestamp();

	return now >= looked_at &&
		   now < TimestampTzPlusMilliseconds(looked_at, CALM_MS);
}

/* Sleeps until the next look. */
static void
wait_for_look(const Look *look, const Workers *workers)
{
	bool active = workers->count > 0 || workers->sensing > 0 || look->due > 0;
	TimestampTz until = Min(look->next, overtime_next());
	TimestampTz calm = TimestampTzPlusMilliseconds(workers->at, CALM_MS);

	/* with a worker that only waits there is nothing to look after */
	if (active && (look->due > 0 || workers->calm < SHRINK_LOOKS ||
				   workers->count > fa_min_workers + 1))
		until = Min(until, TimestampTzPlusMilliseconds(workers->at, LOOK_MS));
	pool_wait(until);
	while (!room_should_leave() && is_calm(workers->at))
		pool_wait(calm);
}

/*
 * Its errors end it: the launcher starts another one, after a delay.
 */
void
coordinator_main(Datum main_arg)
{
	Workers workers = {0};
	Look	look;
	char   *database;

	pool_signals();
	pool_attach(main_arg);
	pool_connect();
	work_settings();
	workers.busy = MemoryContextAllocZero(TopMemoryContext,
										  sizeof(uint64) * pool->process_count);
	workers.at = GetCurrentTimestamp();
	work_begin("starts");
	database =
		MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	work_end();
	measure(&workers);
	for (bool first = true;; first = false)
	{
		look_at_work(&look, first);
		measure(&workers);
		if (room_should_leave())
		{
			if (look.due > 0 || look.events)
				look.next = GetCurrentTimestamp();
			leave(&look);
		}
		if (look.installed)
		{
			resize(database, &look, &workers);
			serve_owners(&look);
		}
		/* they sleep until what was the next when they looked */
		wake_workers();
		if (is_idle(&look, &workers))
			leave(&look);
		if (workers.count == 0 && room_lacks_slots())
			work_alone(&workers);
		wait_for_look(&look, &workers);
	}
}
