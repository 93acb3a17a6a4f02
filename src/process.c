/*-------------------------------------------------------------------------
 *
 * process.c
 *	  The background processes: starting them, their slots, and how they sleep.
 *
 * A slot is reserved by whoever registers the process.  The process attaches
 * to it before it connects and gives it back in its exit callback, so a slot
 * is free when, and only when, nobody uses it or is about to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "pool.h"

#define STARTING_SECONDS 10 /* until a process that does not come is given up */
#define YOUNG_SECONDS	 5	/* a coordinator that died earlier is ailing */
#define RESTART_MS		 1000
#define AILING_MS		 30000
#define CALM_MS			 60000 /* without want of slots, until it is over */

PoolProcess *pool_self = NULL;

/* As fa_worker shows it. */
const char *
pool_role_name(ProcessRole role)
{
	static const char *const names[ROLE_SENSOR + 1] = {
		[ROLE_LAUNCHER] = "launcher",
		[ROLE_COORDINATOR] = "coordinator",
		[ROLE_WORKER] = "worker",
		[ROLE_SENSOR] = "sensor worker",
	};

	return names[role];
}

/* ---------- starting ---------- */

/*
 * Reserves a slot for a process; -1 where none may be started now.  The lock
 * is held.
 */
static int
reserve(ProcessRole role, PoolDatabase *entry, Oid owner)
{
	if (!room_for(role, entry, owner))
		return -1;
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state != PROCESS_FREE)
			continue;
		process->state = PROCESS_STARTING;
		process->role = role;
		process->generation++;
		process->database = entry->database;
		process->owner = owner;
		process->connected = false;
		process->pid = 0;
		process->leave = process->overtime = false;
		process->batch = 0;
		process->memory = 0;
		process->started_at = process->since = GetCurrentTimestamp();
		pg_atomic_write_u64(&process->steps, 0);
		pg_atomic_write_u64(&process->busy, 0);
		return i;
	}
	return -1;
}

/*
 * Tells it once when the server has no slot left, and once when there were
 * enough for a while: not each time that databases take turns.
 */
static void
tell_slots(bool out)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		tell;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	tell = pool->out_of_slots != out &&
		   (out || TimestampDifferenceExceeds(pool->out_at, now, CALM_MS));
	if (out)
		pool->out_at = now;
	if (tell)
		pool->out_of_slots = out;
	LWLockRelease(pool->lock);
	if (tell && out)
		ereport(
			LOG,
			(errmsg("no slot is free for a background process of fa_agents"),
			 errdetail("Databases take turns until there are enough."),
			 errhint("You may need to increase max_worker_processes.")));
	else if (tell)
		ereport(LOG, (errmsg("slots are free for background processes again")));
}

/* Has the server a slot for the process that this one of ours is for? */
static bool
register_process(ProcessRole role, int slot)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(slot);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "fa_agents", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name,
			role == ROLE_COORDINATOR ? "coordinator_main" : "worker_main",
			BGW_MAXLEN);
	snprintf(worker.bgw_type, BGW_MAXLEN, "fa_agents %s", pool_role_name(role));
	strlcpy(worker.bgw_name, worker.bgw_type, BGW_MAXLEN);
	memcpy(worker.bgw_extra, &pool->processes[slot].generation, sizeof(uint32));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * Starts a process in a database, for an owner where it is a sensor worker;
 * false where that may not be, or no slot is free.  Who started it is told of
 * its start and end.
 */
bool
pool_start(ProcessRole role, Oid database, Oid owner)
{
	PoolDatabase *entry;
	int			  slot = -1;
	bool		  allowed;
	bool		  started;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(database, false);
	/* where all databases are to be looked at, this one may be closed */
	allowed = entry != NULL && entry->blocked == 0 && !entry->stopped &&
			  !(role == ROLE_COORDINATOR && pool->sweep);
	if (allowed)
		slot = reserve(role, entry, owner);
	LWLockRelease(pool->lock);

	started = slot >= 0 && register_process(role, slot);

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	if (slot >= 0 && !started)
		pool->processes[slot].state = PROCESS_FREE;
	entry = pool_database(database, false);
	if (entry != NULL)
		room_note_waiting(entry, role, owner, started || !allowed);
	LWLockRelease(pool->lock);
	if (slot >= 0)
		tell_slots(!started);
	return started;
}

/* ---------- ending ---------- */

/*
 * A coordinator ends; one that failed is not started again at once, and one
 * that fails again and again not often.  Where it worked alone, it may have
 * ended while it read the inbox through.  The lock is held.
 */
static void
coordinator_ended(const PoolProcess *process, bool failed)
{
	PoolDatabase *entry = pool_database(process->database, false);
	TimestampTz	  now = GetCurrentTimestamp();
	bool		  young = !TimestampDifferenceExceeds(process->started_at, now,
													  YOUNG_SECONDS * 1000);

	if (entry == NULL)
		return;
	entry->waiting = entry->sensor_waiting = 0;
	if (!failed)
		return;
	ring_lose(entry);
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
worker_ended(const PoolProcess *process, bool failed)
{
	PoolDatabase *entry = pool_database(process->database, false);

	if (failed && entry != NULL)
		ring_lose(entry);
	/* it would fail again: once in a while is enough to find out */
	if (failed && entry != NULL && process->role == ROLE_SENSOR &&
		!process->connected)
	{
		entry->ailing_owner = process->owner;
		entry->ailing_until =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AILING_MS);
	}
	pool_wake_held(process->database, ROLE_COORDINATOR);
	/* one who waited for its place need not wait for its next look */
	entry = room_next(process->role, process->database);
	if (entry != NULL)
		pool_wake_held(entry->database, ROLE_COORDINATOR);
}

/*
 * Was a process terminated in the batch that it was making, by its overtime, or
 * by nobody who has told us? Then it may be that batch's doing.  It is what
 * runs code of users, or nobody's fault.  The lock is held.
 */
static bool
ended_in_batch(const PoolProcess *process)
{
	PoolDatabase *entry = pool_database(process->database, false);

	return process->role == ROLE_SENSOR && process->state == PROCESS_STEPPING &&
		   !process->leave && entry != NULL && entry->blocked == 0 &&
		   !entry->stopped;
}

/*
 * Gives a slot back; or, where its last batch has to be noted first, leaves
 * that to the coordinator.  The lock is held.
 */
static void
give_back(PoolProcess *process, bool failed, bool in_batch)
{
	bool noted = failed && in_batch && ended_in_batch(process);

	if (process->role == ROLE_COORDINATOR)
		coordinator_ended(process, failed);
	process->state = noted ? PROCESS_ENDED : PROCESS_FREE;
	process->pid = 0;
	if (noted)
		pool_database(process->database, false)->wanted = true;
	if (process->role >= ROLE_WORKER)
		worker_ended(process, failed);
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
			give_back(process, true, false);
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
	bool in_batch = flight_leave();

	event_leave();
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	give_back(pool_self, code != 0, in_batch);
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

/*
 * Connects to the database: a sensor worker as its owner, all others as the
 * bootstrap superuser.  FATAL where the owner may not log in.
 */
void
pool_connect(void)
{
	BackgroundWorkerInitializeConnectionByOid(pool_self->database,
											  pool_self->owner, 0);
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_self->connected = true;
	LWLockRelease(pool->lock);
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
 * A turn of a worker is over.  Its time counts whole: where batches are small,
 * most of it is spent on finding them.
 */
void
pool_end_turn(TimestampTz begun)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_self->state = PROCESS_IDLE;
	pool_self->batch = 0;
	pool_self->since = GetCurrentTimestamp();
	pg_atomic_fetch_add_u64(&pool_self->busy, pool_self->since - begun);
	LWLockRelease(pool->lock);
}

/* ---------- sleeping ---------- */

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
		/* agents may be to run in other databases: the launcher looks */
		if (pool_self == NULL)
			pool->sweep = true;
	}
}

/*
 * What pg_stat_activity shows while a process sleeps; it can be named from 17
 * on.
 */
uint32
pool_wait_event(PoolWait what)
{
	static const char *const names[] = {
		"FaAgentsLauncher", "FaAgentsCoordinator", "FaAgentsWorker",
		"FaAgentsSensorWorker", "FaAgentsLeave"};
	static uint32 events[lengthof(names)];

	if (events[what] == 0)
		events[what] = new_wait_event(names[what]);
	return events[what];
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
	/* rounded up: else it wakes a little early, and again; weeks are capped */
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout < 0 ? 0 : WL_TIMEOUT),
					 timeout < 0 ? -1 : Min(timeout, INT_MAX - 1) + 1,
					 pool_wait_event(pool_self ? (PoolWait) pool_self->role :
												 WAIT_LAUNCHER));
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
	pqsignal(SIGQUIT, flight_crash_exit);
	BackgroundWorkerUnblockSignals();
}
