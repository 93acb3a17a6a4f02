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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "message.h"

#define SHARE			8	 /* of what is free, until it is counted again */
#define MOST_ALLOWANCES 8192 /* agents that a session remembers */

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

/*
 * A message is about to be sent to each of recipients [count]; one that is
 * repeated gets as many.  Raises 53400 where that would be too many for an
 * inbox.
 *
 * Not asked under SERIALIZABLE: to count would conflict with whoever sends or
 * receives anything.
 */
void
room_take(const Call *call, const int64 *recipients, int count)
{
	if (IsolationIsSerializable())
		return;
	for (int i = 0; i < count; i++)
	{
		Allowance *allowance;
		bool	   found;
		int64	   waiting;

		allowance =
			hash_search(open_allowances(), &recipients[i], HASH_FIND, &found);
		if (found && allowance->left > 0)
		{
			allowance->left--;
			continue;
		}
		waiting = count_waiting(call, recipients[i]);
		/* those of this call are not there yet */
		for (int j = 0; j < i; j++)
			waiting += recipients[j] == recipients[i];
		if (waiting >= fa_mailbox_limit)
			ereport(
				ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("inbox of agent " INT64_FORMAT " is full",
						recipients[i]),
				 errdetail(
					 "%d messages wait, which is the limit fa_agents.mailbox_limit.",
					 fa_mailbox_limit),
				 errhint("Receive them by fa_receive, or send fewer.")));
		allowance =
			hash_search(open_allowances(), &recipients[i], HASH_ENTER, &found);
		allowance->left = (fa_mailbox_limit - waiting - 1) / SHARE;
	}
}
