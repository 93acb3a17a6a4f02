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
#include <unistd.h>
#endif

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fa_agents.h"

/* What is tried, with what it needs; each needs some of the fields. */
typedef struct Attempt
{
	Size		size; /* bytes */
	dsm_handle	handle;
	const char *name;
	void (*initialize)(void *block);
	void *result; /* kept for the session; NULL: it failed */
} Attempt;

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
	ereport(DEBUG1, (errmsg_internal("no shared memory: %s", error->message)));
	FreeErrorData(error);
}

/*
 * Lets go an owner that has no parent, and what it holds: nothing unless the
 * attempt failed half-way.
 */
static void
release(ResourceOwner owner)
{
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, true);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, true);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, false, true);
	ResourceOwnerDelete(owner);
}

/*
 * Tries function; its result is NULL where it raised an ERROR.  A cancel that
 * comes meanwhile, or was the reason, stays pending.
 */
static void
attempt(void (*function)(Attempt *), Attempt *what)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner outer = CurrentResourceOwner;
	ResourceOwner volatile owner = NULL;
	uint32 holds;

	/* even a warning would let a cancel through */
	HOLD_INTERRUPTS();
	holds = InterruptHoldoffCount;
	what->result = NULL;
	PG_TRY();
	{
		owner = ResourceOwnerCreate(NULL, "fa_agents segment");
		CurrentResourceOwner = owner;
		function(what);
	}
	PG_CATCH();
	{
		what->result = NULL;
		forget_error(context, holds);
	}
	PG_END_TRY();
	CurrentResourceOwner = outer;
	if (owner != NULL)
		release(owner);
	RESUME_INTERRUPTS();
}

static void
try_create(Attempt *what)
{
	dsm_segment *segment =
		dsm_create(what->size, DSM_CREATE_NULL_IF_MAXSEGMENTS);

	if (segment != NULL)
	{
		dsm_pin_segment(segment);
		dsm_pin_mapping(segment);
	}
	what->result = segment;
}

/*
 * A new segment [size], which stays until segment_discard and is mapped here;
 * NULL where there can be none.
 */
dsm_segment *
segment_create(Size size)
{
	Attempt what = {.size = size};

	attempt(try_create, &what);
	return what.result;
}

static void
try_attach(Attempt *what)
{
	dsm_segment *segment = dsm_attach(what->handle);

	if (segment != NULL)
		dsm_pin_mapping(segment);
	what->result = segment;
}

/*
 * Another's segment, mapped until dsm_detach; NULL where that fails.  It must
 * not be mapped here already.
 */
dsm_segment *
segment_attach(dsm_handle handle)
{
	Attempt what = {.handle = handle};

	attempt(try_attach, &what);
	return what.result;
}

/*
 * Takes the pages out from under a segment, where the system can do that.  The
 * server's pages may be smaller than the system's: one that lies only partly in
 * the segment stays.
 */
static void
take_pages(dsm_segment *segment)
{
#ifdef MADV_REMOVE
	uintptr_t start = (uintptr_t) dsm_segment_address(segment);
	uintptr_t end = start + dsm_segment_map_length(segment);
	long	  page = sysconf(_SC_PAGESIZE);

	if (page <= 0)
		return;
	start = TYPEALIGN(page, start);
	end = TYPEALIGN_DOWN(page, end);
	if (start < end)
		(void) madvise((void *) start, end - start, MADV_REMOVE);
#endif
}

/*
 * Gives a segment's memory back.  Sessions that have it mapped may sleep for
 * hours, and until they let go the segment is there: so its pages are taken
 * out from under it.  Nobody may read it any more; where somebody did, he would
 * find zeros.
 *
 * It is mapped here before the call, if it can be, and not after it.
 */
void
segment_discard(dsm_handle handle)
{
	dsm_segment *segment = dsm_find_mapping(handle);

	if (segment == NULL)
		segment = segment_attach(handle);
	if (segment != NULL)
		take_pages(segment);
	dsm_unpin_segment(handle);
	if (segment != NULL)
		dsm_detach(segment);
}

static void
try_named(Attempt *what)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	what->result = ShmemInitStruct(what->name, what->size, &found);
	if (!found)
		what->initialize(what->result);
	LWLockRelease(AddinShmemInitLock);
}

/*
 * The block of main shared memory with this name, made and initialized by who
 * comes first, be it the postmaster or any session; NULL where there is no
 * room, or another library has one of another size.
 */
void *
segment_find_named(const char *name, Size size, void (*initialize)(void *))
{
	Attempt what = {.size = size, .name = name, .initialize = initialize};

	attempt(try_named, &what);
	return what.result;
}
