/*-------------------------------------------------------------------------
 *
 * room.c
 *	  Where there are too few processes for all: who may have one, who waits,
 *	  and who makes room for whom.
 *
 * Databases have the same share of workers; owners, who have processes of
 * their own, take turns with them.  Nobody is ended for another: who has had
 * his turn sees between two batches that somebody waits, and leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pool.h"

#define TURN_SECONDS 1 /* that a process may keep a slot others wait for */

/* ---------- counting ---------- */

/* How many processes of a role are there or coming; the lock is held. */
static int
count(ProcessRole role, Oid database)
{
	int result = 0;

	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (slot_is_used(process) && process->role == role &&
			(process->database == database || !OidIsValid(database)))
			result++;
	}
	return result;
}

/*
 * What is due in this process's database, as far as is known, by the number of
 * those of its kind: one who took more at once would leave the others idle.
 */
int64
room_fair_part(void)
{
	PoolDatabase *entry;
	int64		  result = 0;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
		result =
			entry->due / Max(count(pool_self->role, pool_self->database), 1);
	LWLockRelease(pool->lock);
	return result;
}

/* Is a worker wanted in vain, because the server has no slot for one? */
bool
room_lacks_slots(void)
{
	bool result;

	LWLockAcquire(pool->lock, LW_SHARED);
	result =
		pool->out_of_slots && count(ROLE_WORKER, InvalidOid) < fa_max_workers;
	LWLockRelease(pool->lock);
	return result;
}

/*
 * The database that has waited longest for a process, other than this one;
 * NULL: none waits.  idle: only of those that have no coordinator, so nobody
 * who could step their agents.  The lock is held.
 */
static PoolDatabase *
longest_waiting(Oid database, bool idle)
{
	PoolDatabase *longest = NULL;

	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (OidIsValid(entry->database) && entry->database != database &&
			entry->waiting != 0 &&
			!(idle && count(ROLE_COORDINATOR, entry->database) > 0) &&
			(longest == NULL || entry->waiting < longest->waiting))
			longest = entry;
	}
	return longest;
}

/*
 * The database in which an owner has waited longest for a sensor worker, other
 * than this one; NULL: none does.  The lock is held.
 */
static PoolDatabase *
longest_sensing(Oid database)
{
	PoolDatabase *longest = NULL;

	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (OidIsValid(entry->database) && entry->database != database &&
			entry->sensor_waiting != 0 &&
			(longest == NULL ||
			 entry->sensor_waiting < longest->sensor_waiting))
			longest = entry;
	}
	return longest;
}

/*
 * Is there no slot for any sensor worker, though one is wanted? Then the next
 * is for one: what is to be computed coordinators can do as well.  The lock is
 * held.
 */
static bool
sensors_starve(void)
{
	return fa_max_sensor_workers > 0 && longest_sensing(InvalidOid) != NULL &&
		   count(ROLE_SENSOR, InvalidOid) == 0;
}

/*
 * How many workers each database may have where there are not enough: those
 * that have some, or wait, get the same.  The lock is held.
 */
static int
fair_share(void)
{
	int served = 0;

	for (int i = 0; i < POOL_DATABASES; i++)
	{
		PoolDatabase *entry = &pool->databases[i];

		if (OidIsValid(entry->database) &&
			(entry->waiting != 0 || count(ROLE_WORKER, entry->database) > 0))
			served++;
	}
	return Max(fa_max_workers / Max(served, 1), 1);
}

/* ---------- who may have one ---------- */

/*
 * May a worker be started in a database?  Not where the limit is reached, and
 * not before others who wait and have less than their share.  The lock is held.
 */
static bool
may_have_worker(PoolDatabase *entry)
{
	PoolDatabase *other = longest_waiting(entry->database, false);
	int			  own = count(ROLE_WORKER, entry->database);

	if (count(ROLE_WORKER, InvalidOid) >= fa_max_workers || sensors_starve())
		return false;
	if (other == NULL)
		return true;
	return own == 0 ? entry->waiting != 0 && entry->waiting <= other->waiting :
					  own < fair_share();
}

/* How many sensor workers an owner has in a database.  The lock is held. */
static int
sensors_of(Oid database, Oid owner)
{
	int result = 0;

	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		result += slot_is_used(process) && process->role == ROLE_SENSOR &&
				  process->database == database && process->owner == owner;
	}
	return result;
}

/*
 * May a sensor worker be started for an owner? His first, unless owners in
 * other databases have waited longer.  Another one, unless anybody waits, and
 * never in the last place: code of users may wait as long as it is let, and who
 * has none should not have to wait for it.  The lock is held.
 */
static bool
may_have_sensor(PoolDatabase *entry, Oid owner)
{
	PoolDatabase *other = longest_sensing(entry->database);
	int			  left = fa_max_sensor_workers - count(ROLE_SENSOR, InvalidOid);

	if (sensors_of(entry->database, owner) > 0)
		return left > 1 && longest_sensing(InvalidOid) == NULL;
	return left > 0 &&
		   (other == NULL || (entry->sensor_waiting != 0 &&
							  entry->sensor_waiting <= other->sensor_waiting));
}

/*
 * May a process of a role be started in a database, and for this owner where
 * it is a sensor worker? The lock is held.
 */
bool
room_for(ProcessRole role, PoolDatabase *entry, Oid owner)
{
	switch (role)
	{
		case ROLE_WORKER:
			return may_have_worker(entry);
		case ROLE_SENSOR:
			return may_have_sensor(entry, owner);
		default:
			return true;
	}
}

/* ---------- who waits ---------- */

/*
 * The database that waits for a process such as the one that ends in this
 * database; NULL: none.  The lock is held.
 */
PoolDatabase *
room_next(ProcessRole role, Oid database)
{
	return role == ROLE_SENSOR ? longest_sensing(database) :
								 longest_waiting(database, false);
}

/*
 * A database has got a process, or waits for one: then others are woken, to
 * see whether they are to make room.  Who only wants more than its share does
 * not wait.  The lock is held.
 */
void
room_note_waiting(PoolDatabase *entry, ProcessRole role, Oid owner,
				  bool started)
{
	bool		 waits = !started;
	TimestampTz *since =
		role == ROLE_SENSOR ? &entry->sensor_waiting : &entry->waiting;

	if (role == ROLE_WORKER)
		waits &= count(ROLE_WORKER, entry->database) < fair_share();
	else if (role == ROLE_SENSOR)
		waits &= sensors_of(entry->database, owner) == 0;
	if (!waits)
		*since = 0;
	else if (*since == 0)
		*since = GetCurrentTimestamp();
	for (int i = 0; waits && i < pool->process_count; i++)
	{
		if (pool->processes[i].state > PROCESS_STARTING)
			SetLatch(pool->processes[i].latch);
	}
}

/* All owners of a database who have something to do have a sensor worker. */
void
room_no_owner_waits(void)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, false);
	if (entry != NULL)
		entry->sensor_waiting = 0;
	LWLockRelease(pool->lock);
}

/* ---------- who makes room ---------- */

/*
 * Is this one of the processes that make room for others, and the one of them
 * that has run longest?  Workers of the databases that have most of them do;
 * where there are none, coordinators.  The lock is held.
 */
static bool
is_next_to_leave(void)
{
	bool workers = count(ROLE_WORKER, InvalidOid) > 0;
	int	 own = count(ROLE_WORKER, pool_self->database);

	if (workers != (pool_self->role == ROLE_WORKER))
		return false;
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];
		int			 its;

		if (!slot_is_used(process) || process->role != pool_self->role)
			continue;
		its = count(ROLE_WORKER, process->database);
		if (its > own ||
			(its == own && process->started_at < pool_self->started_at))
			return false;
	}
	return true;
}

/*
 * Is this process to make room for a database that waits for one?  It does so
 * where that has none, or this one has more than its share.  The lock is held.
 */
static bool
makes_room(void)
{
	PoolDatabase *other = longest_waiting(pool_self->database,
										  pool_self->role == ROLE_COORDINATOR);

	if (pool_self->role == ROLE_WORKER && sensors_starve())
		return is_next_to_leave();
	if (other == NULL ||
		!TimestampDifferenceExceeds(pool_self->started_at,
									GetCurrentTimestamp(), TURN_SECONDS * 1000))
		return false;
	return (count(ROLE_COORDINATOR, other->database) == 0 ||
			count(ROLE_WORKER, other->database) == 0 ||
			count(ROLE_WORKER, pool_self->database) > fair_share()) &&
		   is_next_to_leave();
}

/*
 * Is this sensor worker, which is between two batches, to make room for one of
 * an owner who has none?  Who is in a batch may be there for long and cannot;
 * of the others it is one whose owner has most, and of those the oldest.  One
 * at a time leaves.  The lock is held exclusively.
 */
static bool
sensor_makes_room(void)
{
	int own = sensors_of(pool_self->database, pool_self->owner);

	if (longest_sensing(InvalidOid) == NULL ||
		!TimestampDifferenceExceeds(pool_self->started_at,
									GetCurrentTimestamp(), TURN_SECONDS * 1000))
		return false;
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];
		int			 its;

		if (process->state != PROCESS_IDLE || process->role != ROLE_SENSOR ||
			process == pool_self)
			continue;
		its = sensors_of(process->database, process->owner);
		if (process->leave || its > own ||
			(its == own && process->started_at < pool_self->started_at))
			return false;
	}
	pool_self->leave = true;
	return true;
}

/*
 * Has this process been asked to leave, or does another wait for its slot?
 */
bool
room_should_leave(void)
{
	PoolDatabase *entry;
	bool		  result;

	LWLockAcquire(pool->lock,
				  pool_self->role == ROLE_SENSOR ? LW_EXCLUSIVE : LW_SHARED);
	entry = pool_database(pool_self->database, false);
	result =
		pool_self->leave || entry == NULL || entry->blocked > 0 ||
		entry->stopped ||
		(pool_self->role == ROLE_SENSOR ? sensor_makes_room() : makes_room());
	LWLockRelease(pool->lock);
	return result;
}
