/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The memory that launcher, coordinators and workers share, and which
 *	  database wants what.
 *
 * One LWLock guards all of it but rings and counters.  It is held for a scan of
 * an array at most, and nothing that can fail is done under it: an exit
 * callback needs it, too.
 *
 * Nothing here has to survive.  After a crash the postmaster makes the memory
 * anew, the launcher starts, and looks at every database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "pool.h"

Pool *pool = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/* What this transaction's commit has to tell. */
static bool want_at_commit = false;	  /* what is scheduled has changed */
static bool agents_at_commit = false; /* there are other agents to step */

/* ---------- the memory ---------- */

static Size
pool_size(void)
{
	return add_size(offsetof(Pool, processes),
					mul_size(sizeof(PoolProcess), max_worker_processes));
}

static void
request_memory(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(pool_size());
	RequestNamedLWLockTranche("fa_agents", 1);
}

/* Counters are for as long as the server runs. */
static void
clear_memory(void)
{
	memset(pool, 0, pool_size());
	pool->lock = &GetNamedLWLockTranche("fa_agents")->lock;
	pool->process_count = max_worker_processes;
	pool->sweep = true;
	for (int i = 0; i < POOL_DATABASES; i++)
	{
		LWLockInitialize(&pool->databases[i].ring_lock, pool->lock->tranche);
		SpinLockInit(&pool->databases[i].minute_lock);
	}
	for (int i = 0; i < pool->process_count; i++)
	{
		pg_atomic_init_u64(&pool->processes[i].steps, 0);
		pg_atomic_init_u64(&pool->processes[i].busy, 0);
	}
	for (int i = 0; i < POOL_SCHEDULES; i++)
	{
		PoolSchedule *schedule = &pool->schedules[i];

		pg_atomic_init_u64(&schedule->steps, 0);
		pg_atomic_init_u64(&schedule->late, 0);
		pg_atomic_init_u64(&schedule->missed, 0);
		pg_atomic_init_u64(&schedule->errors, 0);
		for (int j = 0; j < LAG_BUCKETS; j++)
			pg_atomic_init_u64(&schedule->lag[j], 0);
	}
}

static void
startup_memory(void)
{
	bool found;

	if (previous_startup != NULL)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	pool = ShmemInitStruct("fa_agents", pool_size(), &found);
	if (!found)
	{
		clear_memory();
		flight_collect();
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Refuses (55000) what only works with background processes.
 */
void
pool_require(void)
{
	if (pool == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("agents cannot run by themselves in this server"),
			 errhint(
				 "Add fa_agents to shared_preload_libraries and restart the server; all other functions work without it.")));
}

/* ---------- databases ---------- */

/*
 * The entry of a database; NULL if there is none, or no room for a new one.
 * The lock must be held, exclusively to create.
 */
PoolDatabase *
pool_database(Oid database, bool create)
{
	PoolDatabase *unused = NULL;

	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (entry->database == database)
			return entry;
		if (!OidIsValid(entry->database) && unused == NULL)
			unused = entry;
	}
	if (!create || unused == NULL)
		return NULL;
	unused->database = database;
	unused->wanted = unused->failed = unused->stopped = unused->events = false;
	unused->blocked = 0;
	unused->wake_at = DT_NOEND;
	unused->waiting = unused->sensor_waiting = 0;
	unused->ailing_owner = InvalidOid;
	unused->load = 0;
	unused->due = 0;
	SpinLockAcquire(&unused->minute_lock);
	memset(unused->minutes, 0, sizeof(unused->minutes));
	SpinLockRelease(&unused->minute_lock);
	LWLockAcquire(&unused->ring_lock, LW_EXCLUSIVE);
	unused->ring_first = unused->ring_count = unused->passed_count = 0;
	unused->passed_lost = false;
	unused->ring_lost = true; /* nobody has looked yet */
	unused->sweeping = false;
	unused->sweeper = 0;
	unused->swept_at = 0;
	LWLockRelease(&unused->ring_lock);
	return unused;
}

/* Wakes the processes of a database that have a role; the lock is held. */
void
pool_wake_held(Oid database, ProcessRole role)
{
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->database == database && process->role == role &&
			process->state > PROCESS_STARTING)
			SetLatch(process->latch);
	}
}

/* The same for who does not hold the lock. */
void
pool_wake(Oid database, ProcessRole role)
{
	LWLockAcquire(pool->lock, LW_SHARED);
	pool_wake_held(database, role);
	LWLockRelease(pool->lock);
}

/*
 * Wakes one worker that has nothing to do; where none has, those who are busy
 * look when they are done; where there is none, the coordinator starts one.
 */
void
pool_wake_one(Oid database)
{
	bool workers = false;

	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->database != database || process->role != ROLE_WORKER ||
			!slot_is_used(process))
			continue;
		workers = true;
		if (process->state == PROCESS_IDLE)
		{
			SetLatch(process->latch);
			break;
		}
	}
	LWLockRelease(pool->lock);
	if (!workers)
		pool_want(database, false);
}

/*
 * Something changed in a database: its coordinator, or a new one, is to look
 * at it, and at its inbox where observations may have come in unseen.  With no
 * room for an entry all databases are looked at in turn; where nothing is
 * scheduled (no entry), new agents are of no interest.  Does nothing that can
 * fail, for it is called after commits.
 */
static void
want(Oid database, bool create, bool inbox)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(database, create);
	if (entry != NULL)
		entry->wanted = true;
	else if (create)
		pool->sweep = true;
	if (entry != NULL && inbox)
		ring_lose(entry);
	if (entry != NULL || create)
	{
		pool_wake_held(database, ROLE_COORDINATOR);
		if (pool->launcher != NULL)
			SetLatch(pool->launcher);
	}
	LWLockRelease(pool->lock);
}

/* What is scheduled in a database has changed, or may have. */
void
pool_want(Oid database, bool inbox)
{
	want(database, true, inbox);
}

static void
tell_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && (want_at_commit || agents_at_commit))
		want(MyDatabaseId, want_at_commit, want_at_commit);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		want_at_commit = agents_at_commit = false;
}

/* This transaction changes what is scheduled, from its commit on. */
void
pool_want_at_commit(void)
{
	want_at_commit = pool != NULL;
}

/* This transaction changes which agents there are to step. */
void
pool_agents_at_commit(void)
{
	agents_at_commit = pool != NULL;
}

/* ---------- statistics ---------- */

/* Begins to count for a schedule; the lock is held. */
static void
begin_schedule(PoolSchedule *schedule, int64 schedule_id)
{
	schedule->database = MyDatabaseId;
	schedule->schedule_id = schedule_id;
	pg_atomic_write_u64(&schedule->steps, 0);
	pg_atomic_write_u64(&schedule->late, 0);
	pg_atomic_write_u64(&schedule->missed, 0);
	pg_atomic_write_u64(&schedule->errors, 0);
	for (int i = 0; i < LAG_BUCKETS; i++)
		pg_atomic_write_u64(&schedule->lag[i], 0);
}

/*
 * The statistics of a schedule of this database, else a free place (without a
 * database), else NULL.  The lock is held.
 */
static PoolSchedule *
find_schedule(int64 schedule_id)
{
	PoolSchedule *unused = NULL;

	for (int i = 0; i < POOL_SCHEDULES; i++)
	{
		PoolSchedule *schedule = &pool->schedules[i];

		if (schedule->database == MyDatabaseId &&
			schedule->schedule_id == schedule_id)
			return schedule;
		if (!OidIsValid(schedule->database) && unused == NULL)
			unused = schedule;
	}
	return unused;
}

/*
 * Statistics of a schedule of this database; NULL where there is no room.  They
 * are asked for with each batch or event, and begun once: only that needs the
 * lock exclusively.
 */
PoolSchedule *
pool_schedule(int64 schedule_id)
{
	PoolSchedule *found;

	LWLockAcquire(pool->lock, LW_SHARED);
	found = find_schedule(schedule_id);
	if (found != NULL && !OidIsValid(found->database))
	{
		/* another may have begun them, or taken the place, meanwhile */
		LWLockRelease(pool->lock);
		LWLockAcquire(pool->lock, LW_EXCLUSIVE);
		found = find_schedule(schedule_id);
		if (found != NULL && !OidIsValid(found->database))
			begin_schedule(found, schedule_id);
	}
	LWLockRelease(pool->lock);
	return found;
}

/*
 * Makes room in the statistics: of this database's schedules only ids [count]
 * are there.  Who counts for a dropped one meanwhile may count for a new one,
 * once.  The lock is held.
 */
void
pool_keep_schedules(Oid database, const int64 *ids, int count)
{
	for (int i = 0; i < POOL_SCHEDULES; i++)
	{
		PoolSchedule *schedule = &pool->schedules[i];
		bool		  is_there = false;

		if (schedule->database != database)
			continue;
		for (int j = 0; j < count; j++)
			is_there |= ids[j] == schedule->schedule_id;
		if (!is_there)
			schedule->database = InvalidOid;
	}
}

/*
 * A schedule of this database is new: what was counted under its number was
 * another's, before DROP EXTENSION or a restore.
 */
void
pool_forget_schedule(int64 schedule_id)
{
	PoolSchedule *found;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	found = find_schedule(schedule_id);
	if (found != NULL)
		found->database = InvalidOid;
	LWLockRelease(pool->lock);
}

/* Called by the postmaster, which loads the library before all others. */
void
pool_init(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup_memory;
	RegisterXactCallback(tell_commit, NULL);
}
