/*-------------------------------------------------------------------------
 *
 * host.c
 *	  What the kernel needs of its host: memory, interrupts, errors.
 *
 * The kernel's arena is a memory context.  Its poll() is where a cancel or a
 * timeout leaves the kernel by longjmp; the context is cleaned up with the
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "fa_agents.h"

/*
 * Memory aligned to 64 bytes, a cache line and the widest vector register;
 * NULL where there is none, or where size would overflow.
 *
 * The pointer that palloc knows is not kept: such memory is never freed by
 * itself, only with its context, which is what the kernel means by an arena.
 */
void *
host_allocate(MemoryContext context, Size size)
{
	char *raw = NULL;

	if (size <= MaxAllocHugeSize - 64)
		raw = MemoryContextAllocExtended(context, size + 64,
										 MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	return raw == NULL ? NULL : (void *) TYPEALIGN(64, raw);
}

/*
 * KernelHost.allocate: the arena is a memory context.  NULL and not an ERROR,
 * since the kernel is left by return wherever it can be.
 */
static void *
host_arena(void *context, size_t size)
{
	return host_allocate((MemoryContext) context, size);
}

/*
 * KernelHost.poll: a cancel leaves the kernel by longjmp in the middle of a
 * loop.  That is safe because it keeps nothing between calls, and its
 * workspace holds only values that each call sets anew.
 */
static void
host_poll(void *context)
{
	CHECK_FOR_INTERRUPTS();
}

/*
 * A host whose arena is context, which the caller owns and drops.  The limits
 * are those of the settings now: what was compiled under larger ones stays
 * usable, as they are only looked at while compiling.
 */
void
host_init(KernelHost *host, MemoryContext context)
{
	host->allocate = host_arena;
	host->poll = host_poll;
	host->context = context;
	host->max_policies = fa_max_policies;
	host->max_model_size = (int64) fa_max_model_size * 1024;
}

/*
 * What a kernel's status is in SQL.  KERNEL_INVALID is 22023: the input came
 * from a user, however deep in a document it stood.
 */
static int
status_sqlstate(KernelStatus status)
{
	switch (status)
	{
		case KERNEL_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case KERNEL_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case KERNEL_RANGE:
			return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
		case KERNEL_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		default:
			return ERRCODE_INVALID_PARAMETER_VALUE;
	}
}

/*
 * Raises the first of the problems, if any; what names the thing at fault
 * ("spec", "params").  Returns only where there is none.
 *
 * Only one can be told in an ERROR.  For a spec the detail says how many
 * others there are, since one function lists them all; the other documents are
 * short.
 */
void
host_report(const KernelProblems *problems, const char *what)
{
	const KernelProblem *first = &problems->items[0];
	int					 others = problems->count - 1;

	if (problems->count == 0)
		return;
	ereport(ERROR,
			(errcode(status_sqlstate(first->status)),
			 errmsg("invalid %s: %s", what, first->message),
			 first->detail[0] != '\0' ?
				 errdetail("%s", first->detail) :
			 others > 0 && strcmp(what, "spec") == 0 ?
				 errdetail_plural(
					 "There is %d more problem; fa_model_check lists all.",
					 "There are %d more problems; fa_model_check lists all.",
					 others, others) :
				 0,
			 first->hint[0] != '\0' ? errhint("%s", first->hint) : 0));
}

/*
 * Raises what a kernel call returned without a problem's text; what names what
 * was being computed.  Any status but these would be a mistake of ours, not of
 * a user, so it is an internal error.
 */
void
host_check(KernelStatus status, const char *what)
{
	switch (status)
	{
		case KERNEL_OK:
			return;
		case KERNEL_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					 errdetail("Failed while computing %s.", what)));
		case KERNEL_RANGE:
			ereport(
				ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s overflows the range of double precision", what),
				 errhint(
					 "Use smaller numbers for gamma, C or the Dirichlet counts.")));
		default:
			elog(ERROR, "kernel returned status %d for %s", (int) status, what);
	}
}
