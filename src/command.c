/*-------------------------------------------------------------------------
 *
 * command.c
 *	  Commands that want a database empty, or change what there is to run.
 *
 * DROP DATABASE and its kind wait five seconds for others to leave, and signal
 * nobody but autovacuum.  So before such a command runs our processes are asked
 * to leave that database, from whichever database the command is given in:
 * idle ones go at once, busy ones are terminated, which undoes a batch that is
 * made again.  None is started before the end of its transaction.
 *
 * CREATE and ALTER EXTENSION, COPY and COMMIT PREPARED may bring schedules that
 * no function of ours has seen.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "pool.h"

#define POLITE_MS  500	/* before who is busy is terminated */
#define PATIENT_MS 4000 /* before the command goes on and fails by itself */
#define POLL_MS	   10

static ProcessUtility_hook_type previous_utility = NULL;

/* Databases that this transaction keeps empty, in TopMemoryContext. */
static List *blocked = NIL;

/* A text option of a command; NULL where it is not given. */
static const char *
option(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *element = lfirst(cell);

		if (strcmp(element->defname, name) == 0 && element->arg != NULL)
			return defGetString(element);
	}
	return NULL;
}

/*
 * The database that a command needs to have for itself; NULL: none.  (ALTER
 * DATABASE ...  ALLOW_CONNECTIONS false is one, too: who runs there leaves, and
 * is not started again.)
 */
static const char *
wanted_database(Node *command)
{
	const char *name;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) command)->dbname;
		case T_CreatedbStmt:
			name = option(((CreatedbStmt *) command)->options, "template");
			return name ? name : "template1";
		case T_AlterDatabaseStmt:
			return ((AlterDatabaseStmt *) command)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) command)->subname;
			return NULL;
		default:
			return NULL;
	}
}

/*
 * May the current user create databases?  The server's have_createdb_privilege
 * is not to be had in all minor versions of 15.
 */
static bool
may_create_databases(void)
{
	HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool	  may;

	if (!HeapTupleIsValid(role))
		return false;
	may = ((Form_pg_authid) GETSTRUCT(role))->rolcreatedb;
	ReleaseSysCache(role);
	return may;
}

/*
 * May this user give such commands for the database? Else anybody could stop
 * its agents by commands that are refused.
 */
static bool
may_empty(Oid database, bool copies)
{
	return superuser() || database_owned(database, GetUserId()) ||
		   (copies && may_create_databases());
}

/* ---------- asking processes to leave ---------- */

/*
 * Asks, or with a signal tells, the processes of a database to leave; how many
 * are still there.  One that is starting has no process id yet: it finds the
 * database blocked when it has come.
 */
static int
tell_to_leave(Oid database, bool terminate)
{
	int count = 0;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	for (int i = 0; i < pool->process_count; i++)
	{
		PoolProcess *process = &pool->processes[i];

		if (!slot_is_used(process) || process->database != database)
			continue;
		count++;
		if (process->state == PROCESS_STARTING)
			continue;
		process->leave = true;
		SetLatch(process->latch);
		if (terminate)
			kill(process->pid, SIGTERM);
	}
	LWLockRelease(pool->lock);
	return count;
}

/*
 * Waits until nobody of ours is in the database.  Who is busy is terminated
 * after so many milliseconds, and then not waited for for ever; -1: never.
 */
void
command_empty(Oid database, int polite_ms)
{
	TimestampTz begun = GetCurrentTimestamp();
	bool		terminated = false;

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		bool		late =
			polite_ms >= 0 && TimestampDifferenceExceeds(begun, now, polite_ms);

		if (tell_to_leave(database, late && !terminated) == 0 ||
			(late && TimestampDifferenceExceeds(begun, now, PATIENT_MS)))
			return;
		terminated |= late;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, pool_wait_event(WAIT_LEAVE));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Blocks a database, or ends that; others may have blocked it, too.  The entry
 * is made if there is none, so that the launcher starts nothing.
 */
static void
block(Oid database, int change)
{
	PoolDatabase *entry;

	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(database, true);
	if (entry != NULL)
		entry->blocked = Max(entry->blocked + change, 0);
	LWLockRelease(pool->lock);
}

/*
 * Who has left comes back when the transaction has ended and others see what
 * it did, also where the session is terminated; what is gone, renamed or new is
 * found by a look at all databases.  Nothing here can fail.
 */
static void
unblock_all(XactEvent event, void *arg)
{
	ListCell *cell;

	if (blocked == NIL ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		 event != XACT_EVENT_PREPARE))
		return;
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool->sweep = true;
	LWLockRelease(pool->lock);
	foreach(cell, blocked)
	{
		block(lfirst_oid(cell), -1);
		pool_want(lfirst_oid(cell), false);
	}
	list_free(blocked);
	blocked = NIL;
}

/* Has a database emptied, and kept empty to the transaction's end. */
static void
empty_for_command(Oid database)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	/* what can fail comes first */
	blocked = lappend_oid(blocked, database);
	MemoryContextSwitchTo(old);
	block(database, 1);
	command_empty(database, POLITE_MS);
}

/* ---------- the hook ---------- */

/* What may bring schedules, or another version of the extension. */
static bool
may_bring_work(Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreateExtensionStmt:
			return strcmp(((CreateExtensionStmt *) command)->extname,
						  "fa_agents") == 0;
		case T_AlterExtensionStmt:
			return strcmp(((AlterExtensionStmt *) command)->extname,
						  "fa_agents") == 0;
		case T_CopyStmt:
			return ((CopyStmt *) command)->is_from &&
				   ((CopyStmt *) command)->relation != NULL &&
				   strncmp(((CopyStmt *) command)->relation->relname, "fa_",
						   3) == 0;
		case T_TransactionStmt:
			return ((TransactionStmt *) command)->kind ==
				   TRANS_STMT_COMMIT_PREPARED;
		default:
			return false;
	}
}

static void
run(PlannedStmt *statement, const char *query, bool read_only_tree,
	ProcessUtilityContext context, ParamListInfo parameters,
	QueryEnvironment *environment, DestReceiver *receiver,
	QueryCompletion *completion)
{
	if (previous_utility != NULL)
		previous_utility(statement, query, read_only_tree, context, parameters,
						 environment, receiver, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context,
								parameters, environment, receiver, completion);
}

static void
utility(PlannedStmt *statement, const char *query, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo parameters,
		QueryEnvironment *environment, DestReceiver *receiver,
		QueryCompletion *completion)
{
	Node	   *command = statement->utilityStmt;
	const char *name = wanted_database(command);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;
	bool		brings_work = may_bring_work(command);

	if (OidIsValid(database) && may_empty(database, IsA(command, CreatedbStmt)))
		empty_for_command(database);
	run(statement, query, read_only_tree, context, parameters, environment,
		receiver, completion);
	if (!brings_work)
		return;
	/* what was prepared is committed already, in no transaction of ours */
	if (IsTransactionState() && !IsA(command, TransactionStmt))
		pool_want_at_commit();
	else
		pool_want(MyDatabaseId, true);
}

void
command_init(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	RegisterXactCallback(unblock_all, NULL);
}
