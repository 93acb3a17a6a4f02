/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The process that steps agents, and what all processes do around their
 *	  transactions.
 *
 * A worker takes what is most urgent until nothing is due, then sleeps until
 * something is, or until it is woken.  Each batch is a transaction.  An error
 * ends the transaction and not the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "pool.h"

#define PAUSE_MS 1000  /* after an error that is no agent's */
#define CALM_MS	 60000 /* without one, until all is well again */
#define SOON_MS	 10000 /* that a sensor worker stays with nothing to do */

PGDLLEXPORT void worker_main(Datum main_arg);

static int excused = 0; /* errors in a row that were no agent's */

/* ---------- transactions ---------- */

/*
 * Settings that are not left to the database: a transaction that waits for a
 * row sees its newest version, and waits for no session for long.
 */
void
work_settings(void)
{
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET,
					PGC_S_OVERRIDE);
	/* an owner may have given himself another role to begin with */
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname(MyBgworkerEntry->bgw_type);
}

/*
 * Makes a sensor worker as good as new, so that a batch finds nothing of what
 * code of users has left in the session by an earlier one.
 */
void
work_renew(void)
{
	StartTransactionCommand();
	/* what is dropped here may lie out of line in the catalogs */
	PushActiveSnapshot(GetTransactionSnapshot());
	PortalHashTableDeleteAll();
	SetPGVariable("role", NIL, false);
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_appname(MyBgworkerEntry->bgw_type);
}

/*
 * Begins a transaction with a snapshot, which is held to its end; what says
 * what it is for, in pg_stat_activity.
 */
void
work_begin(const char *what)
{
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, what);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Commits it.  Code of users may have left something to be done by the commit,
 * for which the time limit counts too.
 */
void
work_end(void)
{
	bool limited = pool_self->role == ROLE_SENSOR && fa_batch_timeout > 0;

	PopActiveSnapshot();
	if (limited)
	{
		/* it has its own time, and is not over that of the steps */
		pool_set_state(pool_self->state, pool_self->batch);
		enable_timeout_after(STATEMENT_TIMEOUT, fa_batch_timeout);
	}
	CommitTransactionCommand();
	if (limited)
	{
		disable_timeout(STATEMENT_TIMEOUT, false);
		/* one that came too late is not for the next transaction */
		QueryCancelPending = false;
	}
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * Does something in transactions of its own; returns NULL, or the error that
 * it ended with, in the current memory context.  No transaction is left open.
 */
ErrorData *
work_attempt(void (*work)(void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		work(argument);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	PG_END_TRY();
	/* a commit leaves another one */
	MemoryContextSwitchTo(context);
	return error;
}

/*
 * Is an error no agent's fault, because the server lacked something, or somebody
 * was in the way?
 */
bool
work_excuses(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK):
		case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
		case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):
			return true;
		default:
			/* a table that code of users lacks is not one of ours */
			return pool_self->role != ROLE_SENSOR &&
				   (error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION ||
					error->sqlerrcode == ERRCODE_UNDEFINED_TABLE ||
					error->sqlerrcode == ERRCODE_INVALID_TABLE_DEFINITION);
	}
}

/*
 * Are the agents of a batch to be stepped one by one, for this error would come
 * again?  One that is excused need not; where it comes again and again all the
 * same, others must not wait for its agent for ever.
 */
bool
work_blames_agent(const ErrorData *error)
{
	return !work_excuses(error) || ++excused > fa_max_failures;
}

/* Agents were stepped: the server is well. */
void
work_done(void)
{
	excused = 0;
}

/* ---------- its life ---------- */

/* What one turn of a worker came to. */
typedef struct Turn
{
	bool		installed;
	bool		done; /* something was due */
	TimestampTz next; /* when something will be, if not */
} Turn;

/* The most urgent piece of work, or a look at when there will be some. */
static void
make_turn(void *argument)
{
	Turn *turn = argument;
	Look  look = {.next = DT_NOEND};
	Call  call;

	if (pool_self->role == ROLE_SENSOR)
		work_renew();
	turn->done = event_make() || retry_make() || turn_make();
	turn->installed = true;
	if (turn->done)
		return;
	work_begin("looks at what is due");
	turn->installed = call_begin_extension(&call);
	if (turn->installed)
	{
		look_find(&call, CurrentMemoryContext, &look);
		call_end(&call);
	}
	work_end();
	turn->next =
		look.events ?
			Min(look.next,
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											(int64) fa_sweep_interval * 1000)) :
			look.next;
}

/*
 * Has it done so much, or grown so large, that a new one is better?  Models
 * are not counted: they have a limit of their own, and a new worker would load
 * them again.
 */
static bool
is_worn(void)
{
	uint64 steps = pg_atomic_read_u64(&pool_self->steps);
	Size   memory =
		MemoryContextMemAllocated(TopMemoryContext, true) - cache_memory();

	pool_self->memory = memory;
	return (fa_worker_steps > 0 && steps >= (uint64) fa_worker_steps) ||
		   memory / 1024 > (Size) fa_worker_memory;
}

/*
 * One log line when errors begin that are no agent's, and one when there was
 * none for a while; the worker goes on trying.
 */
static void
tell_trouble(const ErrorData *error)
{
	static int		   told = 0;
	static TimestampTz last = 0;

	if (error != NULL)
		last = GetCurrentTimestamp();
	if (error != NULL && error->sqlerrcode != told)
	{
		told = error->sqlerrcode;
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("cannot step agents at the moment: %s", error->message),
				 errdetail("It is tried again each second.")));
	}
	else if (told != 0 &&
			 TimestampDifferenceExceeds(last, GetCurrentTimestamp(), CALM_MS))
	{
		told = 0;
		ereport(LOG, (errmsg("agents are stepped again")));
	}
}

/*
 * One turn of who steps agents.  *next becomes when to make another: 0, at
 * once.  False: the extension is not there.
 */
bool
work_turn(TimestampTz *next)
{
	static MemoryContext context = NULL;
	TimestampTz			 begun = GetCurrentTimestamp();
	Turn				 turn = {.installed = true, .next = DT_NOEND};
	ErrorData			*error;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "fa_agents worker",
										ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	error = work_attempt(make_turn, &turn);
	flight_clear();
	pool_end_turn(begun);
	tell_trouble(error);
	if (error != NULL)
		*next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
	else
		*next = turn.done ? 0 : turn.next;
	MemoryContextSwitchTo(TopMemoryContext);
	return turn.installed;
}

/*
 * When a sensor worker goes, because its owner has had nothing to do for a
 * while; DT_NOEND: never, as far as is known.
 */
static TimestampTz
done_at(TimestampTz next)
{
	static TimestampTz worked = 0;

	if (pool_self->role != ROLE_SENSOR)
		return DT_NOEND;
	if (next == 0 || worked == 0)
		worked = GetCurrentTimestamp();
	return TimestampTzPlusMilliseconds(worked, SOON_MS);
}

/* Leaves; another is started if there is work. */
void
worker_main(Datum main_arg)
{
	TimestampTz next;
	TimestampTz end;

	pool_signals();
	pool_attach(main_arg);
	pool_connect();
	work_settings();
	/* one turn at least: what a process begins with may be much, too */
	while (!room_should_leave() && work_turn(&next) && !is_worn())
	{
		end = done_at(next);
		if (next == 0)
			pool_serve();
		else if (next > end && GetCurrentTimestamp() >= end)
			break;
		else
			pool_wait(Min(next, end));
	}
	proc_exit(0);
}

/*
 * Called when the library is loaded by the postmaster; anywhere else there is
 * no pool, and the functions say so.
 */
void
worker_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	pool_init();
	command_init();
	event_init();
	launcher_register();
}
