/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The one process that is always there: starts a coordinator in each
 *	  database that has something to do.
 *
 * It is connected to no database, so it stands in the way of none.  It is the
 * alarm clock of databases whose coordinator has gone because nothing was due,
 * and it looks at all databases when it starts, and from then on rarely: what
 * changes is told by the session that changes it, at its commit.  The rare look
 * finds what has come in unseen, such as rows that a restore has copied in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "pool.h"

#define RESTART_SECONDS 5
#define SWEEP_SECONDS	600
#define BUSY_MS			1000 /* between tries while something waits for a slot */

PGDLLEXPORT void launcher_main(Datum main_arg);

/* The postmaster starts it after recovery: on a standby, when promoted. */
void
launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "fa_agents", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "fa_agents launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_name, worker.bgw_type, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

static void
forget_latch(int code, Datum arg)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool->launcher = NULL;
	LWLockRelease(pool->lock);
}

/* May agents run in this database, by the setting fa_agents.databases? */
static bool
is_wanted(const char *name)
{
	char	 *copy = pstrdup(fa_databases);
	List	 *names;
	ListCell *cell;

	/* a list that cannot be parsed was refused when it was set */
	if (!SplitIdentifierString(copy, ',', &names) || names == NIL)
		return true;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/*
 * The database of a row, if agents may run in it: others may neither connect
 * to a template nor to one that refuses connections.
 */
static bool
is_open(Form_pg_database form)
{
	return !form->datistemplate && form->datallowconn &&
		   form->datconnlimit != -2 && is_wanted(NameStr(form->datname));
}

/* Asks the processes of a database to leave it; the lock is held. */
static void
ask_to_leave(Oid database)
{
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->database != database)
			continue;
		/* there is nowhere left to note what it was stepping */
		if (process->state == PROCESS_ENDED)
			process->state = PROCESS_FREE;
		else if (process->state > PROCESS_STARTING)
		{
			process->leave = true;
			SetLatch(process->latch);
		}
	}
}

/* Entries of databases that are gone or closed; [count] are the open ones. */
static void
close_others(const Oid *open, int count)
{
	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];
		bool		  is_there = false;

		for (int j = 0; j < count; j++)
			is_there |= open[j] == entry->database;
		if (!OidIsValid(entry->database) || is_there)
			continue;
		ask_to_leave(entry->database);
		pool_keep_schedules(entry->database, NULL, 0);
		if (entry->blocked == 0)
			entry->database = InvalidOid;
	}
}

/* Oids of the databases in which agents may run: [*count]. */
static Oid *
open_databases(int *count)
{
	int			  room = 64;
	Oid			 *open = palloc(sizeof(Oid) * room);
	Relation	  table = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(table, 0, NULL);
	HeapTuple	  tuple;

	*count = 0;
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (!is_open(form))
			continue;
		if (*count == room)
		{
			room *= 2;
			open = repalloc(open, mul_size(sizeof(Oid), room));
		}
		open[(*count)++] = form->oid;
	}
	table_endscan(scan);
	table_close(table, AccessShareLock);
	return open;
}

/*
 * Makes the next coordinators look at databases after the last that was looked
 * at, as many as there is room for; true when all have had their turn.
 */
static bool
sweep(const Oid *open, int count, Oid *last)
{
	bool all = true;

	for (int i = 0; i < count; i++)
	{
		PoolDatabase *entry;

		if (open[i] <= *last)
			continue;
		entry = pool_database(open[i], true);
		if (entry == NULL)
		{
			all = false;
			break;
		}
		entry->wanted = true;
		pool_wake_held(open[i], ROLE_COORDINATOR);
		*last = open[i];
	}
	if (all)
		*last = InvalidOid;
	return all;
}

/* For qsort. */
static int
compare_oids(const void *a, const void *b)
{
	Oid x = *(const Oid *) a;
	Oid y = *(const Oid *) b;

	return x < y ? -1 : x > y;
}

/*
 * Looks at pg_database: closes what is gone, and, if asked to, has the others
 * looked at.
 */
static bool
look_at_databases(bool all, Oid *last)
{
	Oid *open;
	int	 count;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	open = open_databases(&count);
	qsort(open, count, sizeof(Oid), compare_oids);
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	close_others(open, count);
	all = !all || sweep(open, count, last);
	LWLockRelease(pool->lock);
	CommitTransactionCommand();
	return all;
}

/*
 * Has this database something to do, and nobody who does it?  None has while a
 * look at all of them is asked for: this one may be closed by now.
 */
static bool
needs_coordinator(const PoolDatabase *entry, TimestampTz now)
{
	if (pool->sweep || !OidIsValid(entry->database) || entry->blocked > 0 ||
		entry->stopped || !(entry->wanted || entry->wake_at <= now))
		return false;
	for (int i = 0; i < pool->process_count; i++)
	{
		if (slot_is_used(&pool->processes[i]) &&
			pool->processes[i].role == ROLE_COORDINATOR &&
			pool->processes[i].database == entry->database)
			return false;
	}
	return true;
}

/*
 * The database that has waited longest for a coordinator; InvalidOid: none
 * does. *wake_at becomes when the next one will.
 */
static Oid
next_database(TimestampTz now, TimestampTz *wake_at)
{
	PoolDatabase *best = NULL;
	Oid			  result;

	*wake_at = DT_NOEND;
	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (needs_coordinator(entry, now))
		{
			if (best == NULL || (best->waiting == 0 && entry->waiting != 0) ||
				(entry->waiting != 0 && entry->waiting < best->waiting))
				best = entry;
		}
		else if (OidIsValid(entry->database) && entry->wake_at > now)
			*wake_at = Min(*wake_at, entry->wake_at);
	}
	result = best ? best->database : InvalidOid;
	LWLockRelease(pool->lock);
	return result;
}

/* All that need a coordinator wait for it, from now on if not before. */
static void
note_all_waiting(TimestampTz now)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (needs_coordinator(entry, now) && entry->waiting == 0)
			entry->waiting = now;
	}
	LWLockRelease(pool->lock);
}

/*
 * Starts coordinators where they are needed; returns when to try again.
 */
static TimestampTz
start_coordinators(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake_at;
	Oid			database;

	while (OidIsValid(database = next_database(now, &wake_at)))
	{
		if (pool_start(ROLE_COORDINATOR, database, InvalidOid))
			continue;
		note_all_waiting(now);
		return TimestampTzPlusMilliseconds(now, BUSY_MS);
	}
	return wake_at;
}

/* Takes its place, in which sessions find the latch to set. */
static void
take_place(void)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool->launcher = MyLatch;
	pool->sweep = true;
	LWLockRelease(pool->lock);
	on_shmem_exit(forget_latch, (Datum) 0);
}

/* Is a look at all databases asked for? It is no longer, then. */
static bool
sweep_asked(void)
{
	bool result;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	result = pool->sweep;
	pool->sweep = false;
	LWLockRelease(pool->lock);
	return result;
}

/* Is it time for a look at all databases? Also where the clock was set back. */
static bool
sweep_due(TimestampTz sweep_at)
{
	TimestampTz now = GetCurrentTimestamp();

	return now >= sweep_at ||
		   sweep_at > TimestampTzPlusMilliseconds(now, SWEEP_SECONDS * 1000);
}

/*
 * Sleeps until something is due or told.  What fails here ends the process,
 * and the postmaster starts it again: it has nothing to lose.
 */
void
launcher_main(Datum main_arg)
{
	TimestampTz sweep_at = 0;
	Oid			last = InvalidOid;

	pool_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	take_place();
	pgstat_report_appname("fa_agents launcher");
	for (;;)
	{
		TimestampTz wake_at;

		pool_give_up_lost();
		if (sweep_asked() || sweep_due(sweep_at))
			sweep_at =
				look_at_databases(true, &last) ?
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												SWEEP_SECONDS * 1000) :
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_MS);
		wake_at = start_coordinators();
		pool_wait(Min(wake_at, sweep_at));
	}
}
