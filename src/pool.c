/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The memory that launcher, coordinators and workers share: who runs
 *	  where, and which database wants what.
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
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "pool.h"

#define STARTING_SECONDS 10 /* until a process that does not come is given up */
#define TURN_SECONDS	 1	/* that a process may keep a slot others wait for */
#define YOUNG_SECONDS	 5	/* a coordinator that died earlier is ailing */
#define RESTART_MS		 1000
#define AILING_MS		 30000

Pool		*pool = NULL;
PoolProcess *pool_self = NULL;

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
		SpinLockInit(&pool->databases[i].ring_lock);
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
	unused->waiting = 0;
	SpinLockAcquire(&unused->ring_lock);
	unused->ring_first = unused->ring_count = 0;
	unused->ring_lost = true; /* nobody has looked yet */
	unused->sweep_at = 0;
	SpinLockRelease(&unused->ring_lock);
	return unused;
}

/* Wakes the processes of a database that have a role; the lock is held. */
static void
wake(Oid database, ProcessRole role)
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
	wake(database, role);
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
			process->state == PROCESS_FREE)
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
		pool_want(database);
}

/*
 * Something changed in a database: its coordinator, or a new one, is to look
 * at it.  With no room for an entry all databases are looked at in turn; where
 * nothing is scheduled (no entry), new agents are of no interest.  Does nothing
 * that can fail, for it is called after commits.
 */
static void
want(Oid database, bool create)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(database, create);
	if (entry != NULL)
		entry->wanted = true;
	else if (create)
		pool->sweep = true;
	if (entry != NULL || create)
	{
		wake(database, ROLE_COORDINATOR);
		if (pool->launcher != NULL)
			SetLatch(pool->launcher);
	}
	LWLockRelease(pool->lock);
}

/* What is scheduled in a database has changed, or may have. */
void
pool_want(Oid database)
{
	want(database, true);
}

static void
tell_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && (want_at_commit || agents_at_commit))
		want(MyDatabaseId, want_at_commit);
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

/* ---------- processes ---------- */

/* How many processes of a role are there or coming; the lock is held. */
static int
count(ProcessRole role, Oid database)
{
	int result = 0;

	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state != PROCESS_FREE && process->role == role &&
			(process->database == database || !OidIsValid(database)))
			result++;
	}
	return result;
}

/* The same for who does not hold the lock; InvalidOid: in all databases. */
int
pool_count(ProcessRole role, Oid database)
{
	int result;

	LWLockAcquire(pool->lock, LW_SHARED);
	result = count(role, database);
	LWLockRelease(pool->lock);
	return result;
}

/*
 * Does another database wait for a process, and longer than this one? The lock
 * is held.
 */
static bool
other_waits_longer(Oid database)
{
	PoolDatabase *own = pool_database(database, false);

	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (OidIsValid(entry->database) && entry->database != database &&
			entry->waiting != 0 &&
			(own == NULL || own->waiting == 0 || entry->waiting < own->waiting))
			return true;
	}
	return false;
}

/*
 * Reserves a slot for a process; -1 where none may be started.  The lock is
 * held.
 */
static int
reserve(ProcessRole role, Oid database)
{
	PoolDatabase *entry = pool_database(database, false);

	if (entry == NULL || entry->blocked > 0 || entry->stopped ||
		(role == ROLE_WORKER && count(role, InvalidOid) >= fa_max_workers) ||
		(role == ROLE_WORKER && count(role, database) > 0 &&
		 other_waits_longer(database)))
		return -1;
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state != PROCESS_FREE)
			continue;
		process->state = PROCESS_STARTING;
		process->role = role;
		process->generation++;
		process->database = database;
		process->pid = 0;
		process->leave = false;
		process->batch = 0;
		process->started_at = process->since = GetCurrentTimestamp();
		pg_atomic_write_u64(&process->steps, 0);
		pg_atomic_write_u64(&process->busy, 0);
		return i;
	}
	return -1;
}

/* Tells it once, when the server has no slot left or has some again. */
static void
tell_slots(bool out)
{
	if (pool->out_of_slots == out)
		return;
	pool->out_of_slots = out;
	if (out)
		ereport(
			LOG,
			(errmsg("no slot is free for a background process of fa_agents"),
			 errdetail("It is tried again until there is one."),
			 errhint("You may need to increase max_worker_processes.")));
	else
		ereport(LOG, (errmsg("slots are free for background processes again")));
}

/* Notes whether a database waits for a process, and since when. */
static void
note_waiting(Oid database, bool waits)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(database, false);
	if (entry != NULL && (!waits || entry->waiting == 0))
		entry->waiting = waits ? GetCurrentTimestamp() : 0;
	LWLockRelease(pool->lock);
}

/*
 * Starts a process in a database; false where that may not be, or no slot is
 * free.  Who started it is told of its start and end.
 */
bool
pool_start(ProcessRole role, Oid database)
{
	BackgroundWorker worker = {0};
	int				 slot;
	bool			 started;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	slot = reserve(role, database);
	LWLockRelease(pool->lock);
	if (slot >= 0)
	{
		worker.bgw_flags =
			BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
		worker.bgw_restart_time = BGW_NEVER_RESTART;
		worker.bgw_main_arg = Int32GetDatum(slot);
		worker.bgw_notify_pid = MyProcPid;
		strlcpy(worker.bgw_library_name, "fa_agents", BGW_MAXLEN);
		strlcpy(worker.bgw_function_name,
				role == ROLE_WORKER ? "worker_main" : "coordinator_main",
				BGW_MAXLEN);
		strlcpy(worker.bgw_type,
				role == ROLE_WORKER ? "fa_agents worker" :
									  "fa_agents coordinator",
				BGW_MAXLEN);
		strlcpy(worker.bgw_name, worker.bgw_type, BGW_MAXLEN);
		memcpy(worker.bgw_extra, &pool->processes[slot].generation,
			   sizeof(uint32));
	}
	started = slot >= 0 && RegisterDynamicBackgroundWorker(&worker, NULL);
	if (slot >= 0)
		tell_slots(!started);
	if (slot >= 0 && !started)
	{
		LWLockAcquire(pool->lock, LW_EXCLUSIVE);
		pool->processes[slot].state = PROCESS_FREE;
		LWLockRelease(pool->lock);
	}
	note_waiting(database, !started);
	return started;
}

/*
 * A coordinator ends; one that failed is not started again at once, and one
 * that fails again and again not often.  The lock is held.
 */
static void
coordinator_ended(const PoolProcess *process, bool failed)
{
	PoolDatabase *entry = pool_database(process->database, false);
	TimestampTz	  now = GetCurrentTimestamp();
	bool		  young = !TimestampDifferenceExceeds(process->started_at, now,
													  YOUNG_SECONDS * 1000);

	if (entry == NULL || !failed)
		return;
	entry->wanted = false;
	entry->wake_at = TimestampTzPlusMilliseconds(
		now, young && entry->failed ? AILING_MS : RESTART_MS);
	entry->failed = young;
}

/*
 * A worker ends; what it had taken out of the ring may be lost.  The lock is
 * held.
 */
static void
worker_ended(Oid database, bool failed)
{
	PoolDatabase *entry = pool_database(database, false);

	if (failed && entry != NULL)
	{
		SpinLockAcquire(&entry->ring_lock);
		entry->ring_lost = true;
		SpinLockRelease(&entry->ring_lock);
	}
	wake(database, ROLE_COORDINATOR);
}

/* Gives a slot back; the lock is held. */
static void
give_back(PoolProcess *process, bool failed)
{
	if (process->role == ROLE_COORDINATOR)
		coordinator_ended(process, failed);
	process->state = PROCESS_FREE;
	process->pid = 0;
	if (process->role == ROLE_WORKER)
		worker_ended(process->database, failed);
	if (pool->launcher != NULL)
		SetLatch(pool->launcher);
}

/*
 * Slots of processes that were registered and never came, because the server
 * could not fork, or they died before they had their slot.
 */
void
pool_give_up_lost(void)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state == PROCESS_STARTING &&
			TimestampDifferenceExceeds(process->started_at, now,
									   STARTING_SECONDS * 1000))
			give_back(process, true);
	}
	LWLockRelease(pool->lock);
}

/*
 * On exit, whatever its cause.  PGPROC is still ours here, so the lock can be
 * taken.
 */
static void
detach(int code, Datum arg)
{
	flight_clear();
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	give_back(pool_self, code != 0);
	LWLockRelease(pool->lock);
	pool_self = NULL;
}

/*
 * A dynamic process takes the slot that was reserved for it, before it
 * connects; one that comes too late exits.
 */
void
pool_attach(Datum main_arg)
{
	int			 slot = DatumGetInt32(main_arg);
	PoolProcess *process = &pool->processes[slot];
	uint32		 generation;
	bool		 mine;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	mine =
		process->state == PROCESS_STARTING && process->generation == generation;
	if (mine)
	{
		process->state = PROCESS_IDLE;
		process->pid = MyProcPid;
		process->latch = MyLatch;
		process->since = GetCurrentTimestamp();
	}
	LWLockRelease(pool->lock);
	if (!mine)
		proc_exit(0);
	pool_self = process;
	on_shmem_exit(detach, (Datum) 0);
}

/* For whoever looks; a batch is a number of agents. */
void
pool_set_state(ProcessState state, int batch)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_self->state = state;
	pool_self->batch = batch;
	pool_self->since = GetCurrentTimestamp();
	LWLockRelease(pool->lock);
}

/*
 * Is this the process that has run longest?  It is the one that makes room.
 * The lock is held.
 */
static bool
is_oldest(void)
{
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state > PROCESS_STARTING &&
			process->started_at < pool_self->started_at)
			return false;
	}
	return true;
}

/*
 * Has this process been asked to leave, or does a database wait for its slot?
 */
bool
pool_should_leave(void)
{
	Oid			  database = pool_self->database;
	PoolDatabase *entry;
	bool		  result;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(database, false);
	result = pool_self->leave || entry == NULL || entry->blocked > 0 ||
			 entry->stopped ||
			 (TimestampDifferenceExceeds(pool_self->started_at,
										 GetCurrentTimestamp(),
										 TURN_SECONDS * 1000) &&
			  other_waits_longer(database) && is_oldest());
	LWLockRelease(pool->lock);
	return result;
}

/* Between two batches, which follow each other without sleep. */
void
pool_serve(void)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* What views of waiting processes show; it can be named from 17 on. */
static uint32
wait_event(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = new_wait_event("FaAgentsMain");
	return event;
}

/*
 * Sleeps until a time (DT_NOEND: for ever), or until somebody sets the latch.
 */
void
pool_wait(TimestampTz until)
{
	long timeout = -1;

	if (until != DT_NOEND)
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	/* rounded up: else it wakes a little early, and again */
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout < 0 ? 0 : WL_TIMEOUT),
					 timeout < 0 ? -1 : timeout + 1, wait_event());
	pool_serve();
}

/*
 * Signals of all our processes.  SIGTERM is noticed where interrupts are, so
 * nothing is left half done; SIGUSR1 stays the server's, which tells databases
 * being dropped by it.
 */
void
pool_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

/*
 * Statistics of a schedule of this database; NULL where there is no room.
 */
PoolSchedule *
pool_schedule(int64 schedule_id)
{
	PoolSchedule *found = NULL;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < POOL_SCHEDULES; i++)
	{
		PoolSchedule *schedule = &pool->schedules[i];

		if (schedule->database == MyDatabaseId &&
			schedule->schedule_id == schedule_id)
		{
			found = schedule;
			break;
		}
		if (!OidIsValid(schedule->database) && found == NULL)
			found = schedule;
	}
	if (found != NULL && !OidIsValid(found->database))
	{
		found->database = MyDatabaseId;
		found->schedule_id = schedule_id;
	}
	LWLockRelease(pool->lock);
	return found;
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
