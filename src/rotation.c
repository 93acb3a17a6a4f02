/*-------------------------------------------------------------------------
 *
 * rotation.c
 *	  Tables of several leaves, of which those that nobody needs any more are
 *	  truncated, so that they do not grow under a steady load, and need no
 *	  vacuum for it.
 *
 * It is done by who writes, right before his commit, since locks on whole
 * leaves are then held for as long as a commit takes.  Nobody waits for long:
 * what cannot be had at once is left for later, but for attempts that may wait
 * LOCK_TIMEOUT.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "fa_agents.h"

#define LOCK_TIMEOUT "50" /* milliseconds */

/* What is to be done before this transaction's commit. */
typedef struct Wanted
{
	RotateFunction rotate; /* NULL: nothing */
	const char	  *table;
	Oid			   schema;
	Oid			   owner;
} Wanted;

static Wanted wanted[ROTATIONS];

/* ---------- one leaf ---------- */

/*
 * Truncates a leaf where it is in no use, and to_be_had says that it may be
 * emptied: it is asked first, when others may still be at it, and again when
 * nobody is.  Whoever reads or writes it and has not committed holds a lock on
 * it, so then all is decided.  patient: it may wait for the lock.
 */
void
rotation_truncate(const Call *call, const char *name, bool patient,
				  LeafFunction to_be_had, void *context)
{
	Oid		 id = call_relation(call, name);
	Relation leaf;
	bool	 had;

	/* somebody may be at it, and may be so for long */
	if (!ConditionalLockRelationOid(id, AccessShareLock))
		return;
	leaf = table_open(id, NoLock);
	had = RelationGetNumberOfBlocks(leaf) > 0 &&
		  to_be_had(call, leaf, false, context);
	if (had && patient)
		LockRelationOid(id, AccessExclusiveLock);
	else if (had)
		had = ConditionalLockRelationOid(id, AccessExclusiveLock);
	had = had && to_be_had(call, leaf, true, context);
	/* the server refuses to truncate what is open */
	table_close(leaf, NoLock);
	if (had && SPI_execute(psprintf("TRUNCATE ONLY %s.%s",
									quote_identifier(call_schema_name()), name),
						   false, 0) < 0)
		elog(ERROR, "could not truncate \"%s\"", name);
}

/* ---------- before the commit ---------- */

/* The body of a subtransaction, which is always kept. */
static bool
rotate(void *context)
{
	const Wanted *what = context;
	int			  level = NewGUCNestLevel();
	Call		  call;

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* at a commit there is no statement any more that would hold one */
	PushActiveSnapshot(GetTransactionSnapshot());
	call_begin_as(&call, what->schema, what->owner, false);
	what->rotate(&call);
	call_end(&call);
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	return true;
}

/*
 * The same in a subtransaction: what the caller writes does not fail for it.  A
 * lock that could not be had is no matter; what else went wrong is logged, but
 * for what is meant to end the caller's transaction.
 */
static void
try_rotate(Wanted *what)
{
	ErrorData *error;

	if (subtransaction_run(rotate, what, &error))
		return;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		error->sqlerrcode != ERRCODE_OBJECT_IN_USE)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("could not rotate \"%s\": %s", what->table,
							 error->message)));
	FreeErrorData(error);
}

/*
 * Under a snapshot that lasts nothing is done: what others have done since
 * would not be seen.  Nor where a transaction is prepared, as that may keep its
 * locks for long.
 */
static void
at_commit(XactEvent event, void *arg)
{
	for (int i = 0; i < ROTATIONS; i++)
	{
		bool now = wanted[i].rotate != NULL && event == XACT_EVENT_PRE_COMMIT &&
				   !IsolationUsesXactSnapshot();

		/* the table is not there where DROP EXTENSION came after */
		if (now &&
			OidIsValid(get_relname_relid(wanted[i].table, wanted[i].schema)))
			try_rotate(&wanted[i]);
		wanted[i].rotate = NULL;
	}
}

/*
 * The leaves of a table are to be looked at before the commit, by a function
 * that is called as the caller's owner is now.
 */
void
rotation_want(const Call *call, int number, const char *table,
			  RotateFunction rotate_table)
{
	wanted[number].rotate = rotate_table;
	wanted[number].table = table;
	wanted[number].schema = call->schema;
	wanted[number].owner = GetUserId();
}

void
rotation_init(void)
{
	RegisterXactCallback(at_commit, NULL);
}
