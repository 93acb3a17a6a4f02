/*-------------------------------------------------------------------------
 *
 * overtime.c
 *	  Batches that do not end, though they were cancelled.
 *
 * Code of users can catch the cancellation, again and again; nothing can catch
 * the end of its process.  The coordinator ends it, and when it is gone, and
 * its locks with it, notes the agents that it was stepping, so that they are
 * not stepped so again and again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pool.h"

#define TOO_LONG 2 /* times the limit that should have ended it */

/* A process that was told to end. */
typedef struct Ended
{
	int			  slot;
	uint32		  generation; /* of the process in that slot */
	Oid			  owner;
	int64		 *ids; /* [count], in TopMemoryContext */
	int			  count;
	struct Ended *next;
} Ended;

static Ended *ended = NULL;

/* Was this process told already? The lock is held. */
static bool
is_known(int slot)
{
	for (Ended *one = ended; one != NULL; one = one->next)
	{
		if (one->slot == slot &&
			one->generation == pool->processes[slot].generation)
			return true;
	}
	return false;
}

/*
 * A sensor worker of this database whose batch is far over its time; -1: there
 * is none. *late is a copy of it.
 */
static int
find_late(PoolProcess *late)
{
	TimestampTz now = GetCurrentTimestamp();
	int			found = -1;

	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; found < 0 && i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state == PROCESS_STEPPING &&
			process->role == ROLE_SENSOR && process->database == MyDatabaseId &&
			!is_known(i) &&
			now - process->since > (int64) fa_batch_timeout * 1000 * TOO_LONG)
			found = i;
	}
	if (found >= 0)
		*late = pool->processes[found];
	LWLockRelease(pool->lock);
	return found;
}

/* Ends the processes whose batches are far over their time. */
void
overtime_end(void)
{
	PoolProcess late;
	int			slot;

	while (fa_batch_timeout > 0 && (slot = find_late(&late)) >= 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		Ended		 *one = palloc0(sizeof(Ended));

		one->slot = slot;
		one->generation = late.generation;
		one->owner = late.owner;
		one->ids = flight_read(slot, &one->count);
		one->next = ended;
		ended = one;
		MemoryContextSwitchTo(old);
		ereport(
			LOG,
			(errmsg("sensor worker %d did not end its batch in time", late.pid),
			 errdetail(
				 "It is terminated, because it did not heed its cancellation.")));
		kill(late.pid, SIGTERM);
	}
}

/*
 * Is somebody's process to be noted yet? Until it is, he gets no other one: it
 * would take the same agents again.
 */
bool
overtime_pending(Oid owner)
{
	for (Ended *one = ended; one != NULL; one = one->next)
	{
		if (one->owner == owner)
			return true;
	}
	return false;
}

/* Is the process gone? */
static bool
is_gone(const Ended *one)
{
	bool result;

	LWLockAcquire(pool->lock, LW_SHARED);
	result = pool->processes[one->slot].generation != one->generation ||
			 pool->processes[one->slot].state == PROCESS_FREE;
	LWLockRelease(pool->lock);
	return result;
}

/*
 * Notes the agents of those that are gone, in the current transaction: if that
 * fails, so does the coordinator, and the next one finds them late again.
 */
void
overtime_note(const Call *call)
{
	for (Ended **at = &ended; *at != NULL;)
	{
		Ended *one = *at;

		if (!is_gone(one))
		{
			at = &one->next;
			continue;
		}
		if (one->ids != NULL)
		{
			retry_after_end(call, one->ids, one->count);
			pfree(one->ids);
		}
		*at = one->next;
		pfree(one);
	}
}
