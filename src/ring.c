/*-------------------------------------------------------------------------
 *
 * ring.c
 *	  Which agents were observed: ids on their way from sessions to workers.
 *
 * A database has a ring for whoever computes, and a list of those that sensor
 * workers are to step, as is found by who takes them out of the ring.  Both are
 * hints, of a fixed size: what they lose stands in the inbox.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pool.h"

/* Adds ids [count]; what finds no room has to be looked for in the inbox. */
static void
put(PoolDatabase *entry, const int64 *ids, int count, bool lost)
{
	LWLockAcquire(&entry->ring_lock, LW_EXCLUSIVE);
	entry->ring_lost |= lost;
	for (int i = 0; i < count; i++)
	{
		if (entry->ring_count == RING_SIZE)
		{
			entry->ring_lost = true;
			break;
		}
		entry->ring[(entry->ring_first + entry->ring_count++) % RING_SIZE] =
			ids[i];
	}
	LWLockRelease(&entry->ring_lock);
}

/* The inbox is to be read through; the lock on the pool is held. */
void
ring_lose(PoolDatabase *entry)
{
	put(entry, NULL, 0, true);
}

/*
 * Is the inbox to be read?  Once, to its end, however much has been lost since
 * this was begun: that is another reading's.  The ring's lock is held.
 */
static bool
sweep_due(PoolDatabase *entry)
{
	TimestampTz now = GetCurrentTimestamp();

	/* the clock may have been set back */
	if (!entry->sweeping &&
		(entry->ring_lost || entry->swept_at > now ||
		 TimestampDifferenceExceeds(entry->swept_at, now,
									fa_sweep_interval * 1000)))
	{
		entry->sweeping = true;
		entry->swept_to = PG_INT64_MIN;
		entry->ring_lost = false;
		entry->swept_at = now;
	}
	return entry->sweeping && entry->sweeper == 0;
}

/*
 * Takes at most room ids out of the ring; or *sweep: this worker is to read the
 * next part of the inbox instead.  In turns, so that neither who was observed
 * just now waits for a long inbox, nor the inbox for a ring that is always full.
 * The ring's lock is held.
 */
static int
take_ring(PoolDatabase *entry, int64 *ids, int room, bool *sweep)
{
	static bool swept = false;
	int			count = 0;

	*sweep = swept = (!swept || entry->ring_count == 0) && sweep_due(entry);
	if (*sweep)
	{
		entry->sweeper = MyProcPid;
		return 0;
	}
	while (count < room && entry->ring_count > 0)
	{
		ids[count++] = entry->ring[entry->ring_first];
		entry->ring_first = (entry->ring_first + 1) % RING_SIZE;
		entry->ring_count--;
	}
	return count;
}

/*
 * Takes at most room ids that were passed on to this worker's owner.  When there
 * are no more, those that found no room are looked for again.  The ring's lock is
 * held.
 */
static int
take_passed(PoolDatabase *entry, int64 *ids, int room)
{
	int count = 0;
	int kept = 0;

	for (int i = 0; i < entry->passed_count; i++)
	{
		if (entry->passed[i].runner == pool_self->owner && count < room)
			ids[count++] = entry->passed[i].agent_id;
		else
			entry->passed[kept++] = entry->passed[i];
	}
	entry->passed_count = kept;
	if (count < room && entry->passed_lost)
	{
		entry->passed_lost = false;
		entry->ring_lost = true;
	}
	return count;
}

/*
 * Takes at most room ids of agents that this worker is to step.  *sweep: it is
 * to find them in the inbox.
 */
int
ring_take(int64 *ids, int room, bool *sweep)
{
	PoolDatabase *entry;
	int			  count = 0;

	*sweep = false;
	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL && entry->events)
	{
		LWLockAcquire(&entry->ring_lock, LW_EXCLUSIVE);
		count = OidIsValid(pool_self->owner) ?
					take_passed(entry, ids, room) :
					take_ring(entry, ids, room, sweep);
		LWLockRelease(&entry->ring_lock);
	}
	LWLockRelease(pool->lock);
	return count;
}

/* The part of the inbox that this worker is to read is behind this agent. */
int64
ring_swept_to(void)
{
	PoolDatabase *entry;
	int64		  last = PG_INT64_MIN;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
		last = entry->swept_to;
	LWLockRelease(pool->lock);
	return last;
}

/*
 * The entry of this database, with its ring's lock, where this worker is to read
 * a part of its inbox; else NULL.  The lock on the pool is held.
 */
static PoolDatabase *
lock_swept(void)
{
	PoolDatabase *entry = pool_database(MyDatabaseId, false);

	if (entry == NULL)
		return NULL;
	LWLockAcquire(&entry->ring_lock, LW_EXCLUSIVE);
	if (entry->sweeper == MyProcPid)
		return entry;
	LWLockRelease(&entry->ring_lock);
	return NULL;
}

/*
 * This worker has read the part of the inbox that ends with an agent, and keeps
 * it; all: there are no more.  Others may go on.
 */
void
ring_swept(int64 last, bool all)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = lock_swept();
	if (entry != NULL)
	{
		entry->swept_to = last;
		entry->sweeping = !all;
		entry->sweeper = 0;
		LWLockRelease(&entry->ring_lock);
	}
	LWLockRelease(pool->lock);
	if (!all)
		pool_wake_one(MyDatabaseId);
}

/*
 * This worker does not read the part of the inbox that it was to read, if any.
 */
void
ring_leave_sweep(void)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = lock_swept();
	if (entry != NULL)
	{
		entry->sweeper = 0;
		LWLockRelease(&entry->ring_lock);
	}
	LWLockRelease(pool->lock);
}

/*
 * Adds ids [count] for whoever computes; lost: others too, which are not known.
 * False where no schedule runs by event; when one does, the inbox is read.
 */
bool
ring_add(const int64 *ids, int count, bool lost)
{
	PoolDatabase *entry;
	bool		  wanted;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	wanted = entry != NULL && entry->events;
	if (wanted)
		put(entry, ids, count, lost);
	LWLockRelease(pool->lock);
	return wanted;
}

/*
 * Passes on an agent that another runner is to step, after the commit that found
 * it; 0 is whoever computes.  The coordinator is told, for there may be no
 * sensor worker of that owner yet.
 */
void
ring_pass_on(int64 agent_id, Oid runner)
{
	PoolDatabase *entry;

	if (!OidIsValid(runner))
	{
		ring_add(&agent_id, 1, false);
		pool_wake_one(MyDatabaseId);
		return;
	}
	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		LWLockAcquire(&entry->ring_lock, LW_EXCLUSIVE);
		if (entry->passed_count < PASSED_SIZE)
			entry->passed[entry->passed_count++] =
				(PassedAgent){agent_id, runner};
		else
			entry->passed_lost = true;
		LWLockRelease(&entry->ring_lock);
		pool_wake_held(MyDatabaseId, ROLE_SENSOR);
	}
	LWLockRelease(pool->lock);
	pool_want(MyDatabaseId, false);
}

/*
 * Adds what was passed on to what is due.  What is for nobody, as far as this look
 * has seen, is looked for again: it may be for another by now, or for who has come
 * since.  For the coordinator.
 */
void
ring_count_passed(Look *look)
{
	PoolDatabase *entry;
	int			  kept = 0;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
	{
		LWLockAcquire(&entry->ring_lock, LW_EXCLUSIVE);
		for (int i = 0; i < entry->passed_count; i++)
		{
			LookPart *part = look_part(look, entry->passed[i].runner);

			if (part == NULL || !part->events)
			{
				entry->ring_lost = true;
				continue;
			}
			part->due++;
			look->due++;
			entry->passed[kept++] = entry->passed[i];
		}
		entry->passed_count = kept;
		LWLockRelease(&entry->ring_lock);
	}
	LWLockRelease(pool->lock);
}
