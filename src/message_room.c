/*-------------------------------------------------------------------------
 *
 * message_room.c
 *	  How many messages may wait for an agent: who sends to one whose inbox is
 *	  full is told so.
 *
 * Messages are plain rows, and to count them costs as much as there are.  So a
 * session counts those of an agent once, and then allows itself an eighth of
 * what is free before it counts again: the less is free, the more often, and
 * close to the limit at each send.  What others send meanwhile is not seen;
 * the limit guards against a sender without a reader and need not be exact.
 *
 * Few messages are counted by their index entries, all agents of a call at
 * once: those of rows that are gone are among them, so it is only told by them
 * that there is room.  Where it might be short, rows are counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "message.h"

#define SHARE			8	 /* of what is free, until it is counted again */
#define MOST_ALLOWANCES 8192 /* agents that a session remembers */
#define FEW				1000 /* index entries that are counted of an agent */

/*
 * No more than $2 + 1 of each kind are counted; those of priority 0 from the
 * mailbox's floor on, for below it there are but index entries of rows that
 * are gone.
 */
static Statement count_statement = {
	"SELECT (SELECT pg_catalog.count(*) FROM (SELECT FROM @.fa_message"
	" WHERE recipient" EQ "$1 AND priority" EQ "0 AND message_id" GT
	"COALESCE((SELECT b.floor FROM @.fa_mailbox b WHERE b.agent_id" EQ
	"$1), 0) LIMIT $2) AS n) OPERATOR(pg_catalog.+)"
	" (SELECT pg_catalog.count(*) FROM (SELECT FROM @.fa_message"
	" WHERE recipient" EQ
	"$1 AND priority OPERATOR(pg_catalog.<>) 0 LIMIT $2) AS s)",
	2,
	{INT8OID, INT8OID}};

/* What this session may still send to an agent without counting. */
typedef struct Allowance
{
	int64 agent_id; /* the hash key */
	int64 left;
} Allowance;

/* Under CacheMemoryContext; valid for the limit that it was made under. */
static HTAB *allowances = NULL;
static int	 allowances_limit;

/*
 * The table, emptied where it is full or the limit was changed.
 */
static HTAB *
open_allowances(void)
{
	HASHCTL control = {.keysize = sizeof(int64),
					   .entrysize = sizeof(Allowance),
					   .hcxt = CacheMemoryContext};

	if (allowances != NULL &&
		(allowances_limit != fa_mailbox_limit ||
		 hash_get_num_entries(allowances) >= MOST_ALLOWANCES))
	{
		hash_destroy(allowances);
		allowances = NULL;
	}
	if (allowances == NULL)
	{
		allowances = hash_create("fa_agents allowances", 256, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		allowances_limit = fa_mailbox_limit;
	}
	return allowances;
}

/* Messages that wait for an agent; exact up to the limit. */
static int64
count_waiting(const Call *call, int64 agent_id)
{
	Datum arguments[2] = {Int64GetDatum(agent_id),
						  Int64GetDatum((int64) fa_mailbox_limit + 1)};

	statement_run(call, &count_statement, arguments, NULL, 1);
	return result_int64(0, 1);
}

/* An agent that is about to be sent to, and what is known of it. */
typedef struct Recipient
{
	int64 agent_id;
	int64 messages; /* of this call */
	int64 waiting;	/* at most so many, up to the limit */
} Recipient;

/*
 * Adds to waiting the index entries of recipients [count] in a leaf, until
 * there are more than FEW of one.
 */
static void
count_entries(Relation leaf, Relation key, Recipient *recipients, int count)
{
	IndexScanDesc scan = begin_index_scan(leaf, key, GetActiveSnapshot(), 1);
	ScanKeyData	  wanted;

	ScanKeyInit(&wanted, 1, BTEqualStrategyNumber, F_INT8EQ, (Datum) 0);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		wanted.sk_argument = Int64GetDatum(recipients[i].agent_id);
		index_rescan(scan, &wanted, 1, NULL, 0);
		while (recipients[i].waiting <= FEW &&
			   index_getnext_tid(scan, ForwardScanDirection) != NULL)
			recipients[i].waiting++;
	}
	index_endscan(scan);
}

/*
 * The same for a leaf by its name; false where it has no index to tell.  A leaf
 * that is being truncated has nothing to count.
 */
static bool
count_leaf(const Call *call, const char *name, Recipient *recipients, int count)
{
	Oid		 id = call_relation(call, name);
	Relation leaf;
	Oid		 key;
	bool	 counted = true;

	if (!ConditionalLockRelationOid(id, AccessShareLock))
		return true;
	leaf = table_open(id, NoLock);
	key = primary_key_index(leaf);
	if (RelationGetNumberOfBlocks(leaf) > 0)
	{
		Relation index =
			OidIsValid(key) ? index_open(key, AccessShareLock) : NULL;

		counted = index != NULL && index->rd_rel->relam == BTREE_AM_OID &&
				  index->rd_index->indkey.values[0] == 1;
		if (counted)
			count_entries(leaf, index, recipients, count);
		if (index != NULL)
			index_close(index, AccessShareLock);
	}
	/* nothing is taken from it: the lock would only be in the way of rotation */
	table_close(leaf, AccessShareLock);
	return counted;
}

/*
 * Finds out how many messages wait for recipients [count], and raises 53400
 * where those of this call are too many.
 */
static void
count_recipients(const Call *call, Recipient *recipients, int count)
{
	bool counted = true;

	for (int i = 0; i < LEAVES && count > 0; i++)
		counted &= count_leaf(call, leaf_names[i], recipients, count);
	for (int i = 0; i < count; i++)
	{
		Recipient *recipient = &recipients[i];
		Allowance *allowance;

		if (!counted || recipient->waiting > FEW ||
			recipient->waiting + recipient->messages > fa_mailbox_limit)
			recipient->waiting = count_waiting(call, recipient->agent_id);
		if (recipient->waiting + recipient->messages > fa_mailbox_limit)
			ereport(
				ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("inbox of agent " INT64_FORMAT " is full",
						recipient->agent_id),
				 errdetail(
					 INT64_FORMAT
					 " messages wait; the limit fa_agents.mailbox_limit is %d.",
					 recipient->waiting, fa_mailbox_limit),
				 errhint("Receive them by fa_receive, or send fewer.")));
		allowance = hash_search(open_allowances(), &recipient->agent_id,
								HASH_ENTER, NULL);
		allowance->left =
			(fa_mailbox_limit - recipient->waiting - recipient->messages) /
			SHARE;
	}
}

/*
 * A message is about to be sent to each of recipients [count]; one that is
 * repeated gets as many, and is counted once.  Raises 53400 where that would be too many for an
 * inbox.
 *
 * Not asked under SERIALIZABLE: to count would conflict with whoever sends or
 * receives anything.
 */
void
room_take(const Call *call, const int64 *recipients, int count)
{
	Recipient *unknown = palloc(sizeof(Recipient) * Max(count, 1));
	int64	  *sorted = palloc(sizeof(int64) * Max(count, 1));
	int		   found = 0;

	if (IsolationIsSerializable() || count == 0)
		return;
	memcpy(sorted, recipients, sizeof(int64) * count);
	qsort(sorted, count, sizeof(int64), compare_int64);
	for (int i = 0; i < count; i++)
	{
		Allowance *allowance =
			hash_search(open_allowances(), &sorted[i], HASH_FIND, NULL);

		if (allowance != NULL && allowance->left > 0)
			allowance->left--;
		else if (found > 0 && unknown[found - 1].agent_id == sorted[i])
			unknown[found - 1].messages++;
		else
			unknown[found++] = (Recipient){sorted[i], 1, 0};
	}
	count_recipients(call, unknown, found);
	pfree(unknown);
	pfree(sorted);
}
