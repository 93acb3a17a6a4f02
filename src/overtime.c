/*-------------------------------------------------------------------------
 *
 * overtime.c
 *	  Batches that end with their process.
 *
 * Code of users can catch its cancellation, again and again; nothing can catch
 * the end of its process, so the coordinator ends it.  Or that code ends its
 * process itself.  Either way the batch is undone, and due again, and would end
 * the next process as well.
 *
 * So a sensor worker that is terminated in its batch leaves its slot behind, as
 * ended, and in the file what it was stepping.  When its locks are gone the
 * coordinator notes these agents, and then frees the slot.  A coordinator that
 * fails meanwhile has freed none: the next one notes them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pool.h"

#define TOO_LONG 2 /* times the limit that should have ended it */

/* Slots of ended processes that are noted in this look: [process_count]. */
static bool *found = NULL;

/*
 * Terminates a sensor worker of this database whose batch is far over its time,
 * and returns its process id; 0: there is none.  All under one lock:
 * a process that has got to its next batch meanwhile is not hit for the last.
 */
static int
end_one(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int			pid = 0;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; pid == 0 && i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (process->state != PROCESS_STEPPING ||
			process->role != ROLE_SENSOR || process->database != MyDatabaseId ||
			process->overtime ||
			now - process->since <= (int64) fa_batch_timeout * 1000 * TOO_LONG)
			continue;
		process->overtime = true;
		pid = process->pid;
		kill(pid, SIGTERM);
	}
	LWLockRelease(pool->lock);
	return pid;
}

/* Ends the processes whose batches are far over their time. */
void
overtime_end(void)
{
	int pid;

	while (fa_batch_timeout > 0 && (pid = end_one()) != 0)
		ereport(
			LOG,
			(errmsg("sensor worker %d did not end its batch in time", pid),
			 errdetail(
				 "It is terminated, because it did not heed its cancellation.")));
}

/*
 * When the coordinator has to look for such a batch at the latest, though nothing
 * is due and nobody wakes it; DT_NOEND: there are no sensor workers.  Who is
 * between two batches may begin one at this moment.
 */
TimestampTz
overtime_next(void)
{
	TimestampTz next = DT_NOEND;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; fa_batch_timeout > 0 && i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (slot_is_used(process) && process->role == ROLE_SENSOR &&
			process->database == MyDatabaseId && !process->overtime)
			next =
				Min(next, (process->state == PROCESS_STEPPING ? process->since :
																now) +
							  (int64) fa_batch_timeout * 1000 * TOO_LONG);
	}
	LWLockRelease(pool->lock);
	return next;
}

/*
 * Is a batch of somebody's to be noted yet? Until it is, he gets no other
 * process: it would take the same agents again.
 */
bool
overtime_pending(Oid owner)
{
	bool result = false;

	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		result |= process->database == MyDatabaseId &&
				  process->owner == owner &&
				  (process->state == PROCESS_ENDED ||
				   (process->state != PROCESS_FREE && process->overtime));
	}
	LWLockRelease(pool->lock);
	return result;
}

/* Finds the processes that have ended so; they are noted and then released. */
void
overtime_find(void)
{
	if (found == NULL)
		found = MemoryContextAlloc(TopMemoryContext,
								   sizeof(bool) * pool->process_count);
	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < pool->process_count; i++)
		found[i] = pool->processes[i].state == PROCESS_ENDED &&
				   pool->processes[i].database == MyDatabaseId;
	LWLockRelease(pool->lock);
}

/*
 * Notes the agents of those that were found, in the current transaction.
 * Nobody else changes their slots, or what they have left in the file.
 */
void
overtime_note(const Call *call)
{
	for (int i = 0; i < pool->process_count; i++)
	{
		int64 *ids;
		int	   count;

		if (!found[i])
			continue;
		ids = flight_read(i, &count);
		if (ids != NULL)
			retry_after_end(call, ids, count, pool->processes[i].overtime);
	}
}

/* They were noted and committed; or there is no extension to note them in. */
void
overtime_release(void)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pool->process_count; i++)
	{
		if (found[i])
			pool->processes[i].state = PROCESS_FREE;
		found[i] = false;
	}
	LWLockRelease(pool->lock);
}
