/*-------------------------------------------------------------------------
 *
 * subtransaction.c
 *	  Work that is kept or undone as a whole, within a transaction.
 *
 * The server cleans up by itself only those subtransactions that the user
 * began; one of ours has to be ended here, also when an error passes through.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fa_agents.h"

/*
 * Runs body(context) in a subtransaction, with a connection to SPI whose
 * memory goes with it.  It is kept if body returns true, else undone; returns
 * which.
 *
 * An error undoes it; then it is raised again if error is NULL, else *error is
 * it, in the caller's memory context (NULL: there was none).
 */
bool
subtransaction_run(bool (*body)(void *context), void *context,
				   ErrorData **error)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile caught = NULL;
	volatile bool keep = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		keep = body(context);
		SPI_finish();
		if (keep)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		caught = CopyErrorData();
		FlushErrorState();
		keep = false;
	}
	PG_END_TRY();
	if (!keep)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	if (error != NULL)
		*error = caught;
	else if (caught != NULL)
		ReThrowError(caught);
	return keep;
}
