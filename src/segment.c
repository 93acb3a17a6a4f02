/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Shared memory that is asked for without raising an error.
 *
 * To share a model is to save memory; where it cannot be done, a session goes
 * on with a copy of its own.  But the server raises an ERROR where a segment
 * cannot be made or mapped: the file system of shared memory is full or
 * forbidden, or main shared memory has nothing to spare.  Here such an ERROR
 * ends.
 *
 * What the server acquires on the way to an ERROR belongs to a resource owner
 * of our own, and the locks that it holds are let go, as the abort of a
 * subtransaction would do.  A subtransaction itself would cost more, and is
 * refused in parallel workers.  No caller may hold an LWLock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifndef WIN32
#include <sys/mman.h>
#endif

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fa_agents.h"

/*
 * What is tried, with its argument; a result other than NULL is kept for the
 * session.
 */
typedef void *(*Attempt)(const void *argument);

/*
 * The ERROR that an attempt raised is told at DEBUG1, for who looks for the
 * reason, and forgotten.  holds is what the count of interrupts' holds was
 * before, which an ERROR sets to 0.
 */
static void
forget_error(MemoryContext context, uint32 holds)
{
	ErrorData *error;

	LWLockReleaseAll();
	InterruptHoldoffCount = holds;
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	ereport(DEBUG1,
			(errmsg_internal("model is not shared: %s", error->message)));
	FreeErrorData(error);
}

/*
 * The result of the attempt, or NULL where it raised an ERROR.  A cancel that
 * comes meanwhile, or was the reason, stays pending.
 */
static void *
attempt(Attempt function, const void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(NULL, "fa_agents segment");
	void *volatile result = NULL;
	uint32 holds;

	/* even a warning would let a cancel through */
	HOLD_INTERRUPTS();
	holds = InterruptHoldoffCount;
	CurrentResourceOwner = owner;
	PG_TRY();
	{
		result = function(argument);
	}
	PG_CATCH();
	{
		forget_error(context, holds);
	}
	PG_END_TRY();
	CurrentResourceOwner = outer;
	/* empty unless the attempt failed half-way */
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(owner);
	RESUME_INTERRUPTS();
	return result;
}

static void *
try_create(const void *argument)
{
	dsm_segment *segment =
		dsm_create(*(const Size *) argument, DSM_CREATE_NULL_IF_MAXSEGMENTS);

	if (segment != NULL)
	{
		dsm_pin_segment(segment);
		dsm_pin_mapping(segment);
	}
	return segment;
}

/*
 * A new segment [size], which stays until segment_discard and is mapped here;
 * NULL where there can be none.
 */
dsm_segment *
segment_create(Size size)
{
	return attempt(try_create, &size);
}

static void *
try_attach(const void *argument)
{
	dsm_segment *segment = dsm_attach(*(const dsm_handle *) argument);

	if (segment != NULL)
		dsm_pin_mapping(segment);
	return segment;
}

/*
 * Another's segment, mapped until dsm_detach; NULL where that fails.  It must
 * not be mapped here already.
 */
dsm_segment *
segment_attach(dsm_handle handle)
{
	return attempt(try_attach, &handle);
}

/*
 * Gives a segment's memory back.  Sessions that have it mapped may sleep for
 * hours, and until they let go the segment is there: so its pages are taken
 * out from under it, where the system can do that.  Nobody may read it any
 * more; where somebody did, he would find zeros.
 *
 * It is mapped here before the call, if it can be, and not after it.
 */
void
segment_discard(dsm_handle handle)
{
	dsm_segment *segment = dsm_find_mapping(handle);

	if (segment == NULL)
		segment = segment_attach(handle);
#ifdef MADV_REMOVE
	if (segment != NULL)
		(void) madvise(dsm_segment_address(segment),
					   dsm_segment_map_length(segment), MADV_REMOVE);
#endif
	dsm_unpin_segment(handle);
	if (segment != NULL)
		dsm_detach(segment);
}

/* What segment_find_named looks for. */
typedef struct Named
{
	const char *name;
	Size		size; /* bytes */
	void (*initialize)(void *block);
} Named;

static void *
try_named(const void *argument)
{
	const Named *named = argument;
	void		*block;
	bool		 found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	block = ShmemInitStruct(named->name, named->size, &found);
	if (!found)
		named->initialize(block);
	LWLockRelease(AddinShmemInitLock);
	return block;
}

/*
 * The block of main shared memory with this name, made and initialized by who
 * comes first, be it the postmaster or any session; NULL where there is no
 * room, or another library has one of another size.
 */
void *
segment_find_named(const char *name, Size size, void (*initialize)(void *))
{
	Named named = {name, size, initialize};

	return attempt(try_named, &named);
}
