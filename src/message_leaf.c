/*-------------------------------------------------------------------------
 *
 * message_leaf.c
 *	  The leaves that messages lie in: rows put in and taken out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "message.h"

#define INSERT(leaf)                                                      \
	{                                                                     \
		"INSERT INTO @.fa_message_" leaf                                  \
		" (recipient, message_id, sender, sent_at, priority, leaf, body)" \
		" SELECT u.recipient, u.message_id, $3, $4, $5, " leaf ", $6"     \
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"  \
		" AS u (recipient, message_id)",                                  \
			6,                                                            \
		{                                                                 \
			INT8ARRAYOID, INT8ARRAYOID, INT8OID, TIMESTAMPTZOID, INT2OID, \
				JSONBOID                                                  \
		}                                                                 \
	}
#define DELETE(leaf)                                                     \
	{                                                                    \
		"DELETE FROM @.fa_message_" leaf " WHERE ctid" EQ "ANY ($1)", 1, \
		{                                                                \
			TIDARRAYOID                                                  \
		}                                                                \
	}
#define BURY(leaf)                                                             \
	{                                                                          \
		"WITH gone AS (DELETE FROM @.fa_message_" leaf " WHERE ctid" EQ        \
		"ANY ($1) RETURNING message_id, sender, recipient, sent_at, priority," \
		" body) INSERT INTO @.fa_dead_letter"                                  \
		" (message_id, sender, recipient, sent_at, priority, body, reason)"    \
		" SELECT message_id, sender, recipient, sent_at, priority, body,"      \
		" CASE WHEN EXISTS (SELECT FROM @.fa_agent a WHERE a.agent_id" EQ      \
		"recipient) THEN 'expired' ELSE 'dropped' END FROM gone",              \
			1,                                                                 \
		{                                                                      \
			TIDARRAYOID                                                        \
		}                                                                      \
	}

static Statement insert_statements[LEAVES] = {INSERT("0"), INSERT("1"),
											  INSERT("2")};
/* Who deletes has the mailbox locked: rows are where they were read. */
static Statement delete_statements[LEAVES] = {DELETE("0"), DELETE("1"),
											  DELETE("2")};
static Statement bury_statements[LEAVES] = {BURY("0"), BURY("1"), BURY("2")};

/* Messages that were sent before that are not received any more. */
TimestampTz
message_cutoff(void)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -(int64) fa_message_retention * 1000);
}

/*
 * Puts a message into a leaf, once for each of recipients [count], with their
 * ids.  Waits for nobody.
 */
void
leaf_insert(const Call *call, int leaf, const Message *message,
			const int64 *recipients, const int64 *message_ids, int count)
{
	Datum arguments[6] = {array_from_int64(recipients, count),
						  array_from_int64(message_ids, count),
						  Int64GetDatum(message->sender),
						  TimestampTzGetDatum(GetCurrentTimestamp()),
						  Int16GetDatum(message->priority),
						  message->body};

	statement_run(call, &insert_statements[leaf], arguments, NULL, 0);
}

/*
 * Removes rows of a leaf, places a tid[] of count elements; the caller holds
 * the mailboxes of their recipients.  Another number is an internal error,
 * which undoes the call: somebody would receive them twice.
 */
void
leaf_delete(const Call *call, int leaf, Datum places, int count)
{
	if (statement_run(call, &delete_statements[leaf], &places, NULL, 0) !=
		count)
		elog(ERROR, "messages were taken by someone else");
}

/*
 * Makes dead letters of rows of a leaf, places a tid[]; the caller holds the
 * mailboxes of their recipients, if these are there.  Returns how many.
 */
int64
leaf_bury(const Call *call, int leaf, Datum places)
{
	return statement_run(call, &bury_statements[leaf], &places, NULL, 0);
}
