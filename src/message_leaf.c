/*-------------------------------------------------------------------------
 *
 * message_leaf.c
 *	  The leaves that messages lie in: rows put in and taken out.
 *
 * Where a leaf is a plain table of ours rows are put in through the table's
 * access method, as COPY does it: a page at a time, and without a statement to
 * begin and end.  Else, as hot.c has it, by a statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
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

const char *const leaf_names[LEAVES] = {"fa_message_0", "fa_message_1",
										"fa_message_2"};

/* Columns of a leaf, in order. */
enum
{
	LEAF_RECIPIENT,
	LEAF_MESSAGE_ID,
	LEAF_SENDER,
	LEAF_SENT_AT,
	LEAF_PRIORITY,
	LEAF_LEAF,
	LEAF_BODY,
	LEAF_COLUMNS
};

/* Rows that are put in at once. */
#define ROWS 128

/*
 * Fills a slot with a row.  It points to the message's body.
 */
static void
fill_slot(TupleTableSlot *slot, int leaf, const Message *message,
		  TimestampTz sent_at, int64 recipient, int64 message_id)
{
	ExecClearTuple(slot);
	slot->tts_values[LEAF_RECIPIENT] = Int64GetDatum(recipient);
	slot->tts_values[LEAF_MESSAGE_ID] = Int64GetDatum(message_id);
	slot->tts_values[LEAF_SENDER] = Int64GetDatum(message->sender);
	slot->tts_values[LEAF_SENT_AT] = TimestampTzGetDatum(sent_at);
	slot->tts_values[LEAF_PRIORITY] = Int16GetDatum(message->priority);
	slot->tts_values[LEAF_LEAF] = Int16GetDatum(leaf);
	slot->tts_values[LEAF_BODY] = message->body;
	memset(slot->tts_isnull, 0, sizeof(bool) * LEAF_COLUMNS);
	ExecStoreVirtualTuple(slot);
}

/*
 * Puts in rows through the table's access method, and their index entries.
 * Slots are made once and filled again.  What it allocates goes with its
 * executor state.
 */
static void
insert_in_place(Relation table, int leaf, const Message *message,
				TimestampTz sent_at, const int64 *recipients,
				const int64 *message_ids, int count)
{
	EState		   *executor = CreateExecutorState();
	MemoryContext	old = MemoryContextSwitchTo(executor->es_query_cxt);
	ResultRelInfo  *indexes = makeNode(ResultRelInfo);
	int				room = Min(count, ROWS);
	TupleTableSlot *slots[ROWS];

	InitResultRelInfo(indexes, table, 0, NULL, 0);
	ExecOpenIndices(indexes, false);
	for (int i = 0; i < room; i++)
		slots[i] =
			MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
	for (int first = 0; first < count; first += room)
	{
		int rows = Min(room, count - first);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < rows; i++)
			fill_slot(slots[i], leaf, message, sent_at, recipients[first + i],
					  message_ids[first + i]);
		/* the access method's own memory */
		MemoryContextSwitchTo(GetPerTupleMemoryContext(executor));
		table_multi_insert(table, slots, rows, GetCurrentCommandId(true), 0,
						   NULL);
		MemoryContextSwitchTo(executor->es_query_cxt);
		for (int i = 0; i < rows; i++)
			insert_new_index_tuples(indexes, slots[i], executor);
		ResetPerTupleExprContext(executor);
	}
	for (int i = 0; i < room; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(indexes);
	MemoryContextSwitchTo(old);
	FreeExecutorState(executor);
}

/*
 * Puts a message into a leaf, once for each of recipients [count], with their
 * ids.  Waits for nobody.
 */
void
leaf_insert(const Call *call, int leaf, const Message *message,
			const int64 *recipients, const int64 *message_ids, int count)
{
	TimestampTz sent_at = GetCurrentTimestamp();
	Relation	table =
		table_open(call_relation(call, leaf_names[leaf]), RowExclusiveLock);
	bool in_place = table_is_plain(table, ACL_INSERT) &&
					RelationGetNumberOfAttributes(table) == LEAF_COLUMNS;

	if (in_place)
	{
		insert_in_place(table, leaf, message, sent_at, recipients, message_ids,
						count);
		/* what follows in this transaction is to see them */
		CommandCounterIncrement();
	}
	table_close(table, NoLock);
	if (!in_place)
	{
		Datum arguments[6] = {array_from_int64(recipients, count),
							  array_from_int64(message_ids, count),
							  Int64GetDatum(message->sender),
							  TimestampTzGetDatum(sent_at),
							  Int16GetDatum(message->priority),
							  message->body};

		statement_run(call, &insert_statements[leaf], arguments, NULL, 0);
	}
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
