/*-------------------------------------------------------------------------
 *
 * message_rotate.c
 *	  Leaves whose messages were all received are truncated, so that the
 *	  tables do not grow under a steady load, and need no vacuum for it.
 *
 * What is left in one moves on, or becomes dead letters.  It is done by who
 * sends (rotation.c has when).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "message.h"

PG_FUNCTION_INFO_V1(fa_message_expire);

/* A leaf with more of them is mostly alive, and no waste. */
#define LEFTOVERS 1000

/* Columns of a leaf that are looked at. */
#define SENT_AT 4

/*
 * The mailboxes of messages' recipients.  Those of agents that were dropped
 * have none, and nobody receives for them.
 */
static Statement make_statement = {
	"INSERT INTO @.fa_mailbox (agent_id) SELECT b.agent_id FROM @.fa_belief b"
	" WHERE b.agent_id" EQ "ANY ($1) ON CONFLICT DO NOTHING",
	1,
	{INT8ARRAYOID}};
static Statement lock_statement = {
	"SELECT agent_id FROM @.fa_mailbox WHERE agent_id" EQ
	"ANY ($1) ORDER BY agent_id FOR NO KEY UPDATE SKIP LOCKED",
	1,
	{INT8ARRAYOID}};

/*
 * A receiver under a snapshot that lasts sees a message neither where it was,
 * once that leaf is truncated, nor where it has gone, and would receive later
 * ones before it: a row that was changed meanwhile makes that an error (40001).
 */
static Statement touch_statement = {
	"UPDATE @.fa_mailbox SET floor = floor WHERE agent_id" EQ "ANY ($1)",
	1,
	{INT8ARRAYOID}};

/* Of messages $1 those whose mailboxes $2 are locked, or that have none. */
#define OURS                                                            \
	" WHERE m.ctid" EQ "ANY ($1) AND (m.recipient" EQ "ANY ($2) OR NOT" \
	" EXISTS (SELECT FROM @.fa_belief b WHERE b.agent_id" EQ "m.recipient))"

#define BURY(leaf)                                                             \
	{                                                                          \
		"WITH gone AS (DELETE FROM @.fa_message_" leaf " m" OURS               \
		" AND (m.sent_at" LT "$3 OR NOT m.recipient" EQ "ANY ($2))"            \
		" RETURNING m.*) INSERT INTO @.fa_dead_letter"                         \
		" (message_id, sender, recipient, sent_at, priority, body, reason)"    \
		" SELECT message_id, sender, recipient, sent_at, priority, body,"      \
		" CASE WHEN recipient" EQ "ANY ($2) THEN 'expired' ELSE 'dropped' END" \
		" FROM gone",                                                          \
			3,                                                                 \
		{                                                                      \
			TIDARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID                          \
		}                                                                      \
	}
#define MOVE(from, to)                                                      \
	{                                                                       \
		"WITH gone AS (DELETE FROM @.fa_message_" from " m" OURS            \
		" RETURNING m.*) INSERT INTO @.fa_message_" to                      \
		" (recipient, message_id, sender, sent_at, priority, leaf, body)"   \
		" SELECT recipient, message_id, sender, sent_at, priority, " to "," \
		" body FROM gone",                                                  \
			2,                                                              \
		{                                                                   \
			TIDARRAYOID, INT8ARRAYOID                                       \
		}                                                                   \
	}

static Statement bury_statements[LEAVES] = {BURY("0"), BURY("1"), BURY("2")};
/* From each leaf to the one that is current when its turn comes next. */
static Statement move_statements[LEAVES] = {MOVE("0", "2"), MOVE("1", "0"),
											MOVE("2", "1")};

/*
 * Some dead letters that are too old, and some of those that are too many;
 * those that others are removing are passed by.
 */
static Statement trim_statements[2] = {
	{"DELETE FROM @.fa_dead_letter WHERE ctid" EQ "ANY (ARRAY"
	 " (SELECT ctid FROM @.fa_dead_letter WHERE died_at" LT
	 "$1 ORDER BY died_at LIMIT 10000 FOR UPDATE SKIP LOCKED))",
	 2,
	 {TIMESTAMPTZOID, INT8OID}},
	{"DELETE FROM @.fa_dead_letter WHERE ctid" EQ "ANY (ARRAY"
	 " (SELECT ctid FROM @.fa_dead_letter WHERE died_at"
	 " OPERATOR(pg_catalog.<=) (SELECT d.died_at FROM @.fa_dead_letter d"
	 " ORDER BY d.died_at DESC OFFSET $2 LIMIT 1)"
	 " ORDER BY died_at LIMIT 10000 FOR UPDATE SKIP LOCKED))",
	 2,
	 {TIMESTAMPTZOID, INT8OID}}};

/* The message that asked for the rotation before this transaction's commit. */
static int64 asked_by;

/* ---------- messages that are left ---------- */

/*
 * Removes dead letters that are too old or too many.  Left out under snapshots
 * that last, where it could only add conflicts.
 */
void
dead_letter_trim(const Call *call)
{
	Datum arguments[2] = {TimestampTzGetDatum(message_cutoff()),
						  Int64GetDatum(fa_dead_letter_limit)};

	if (IsolationUsesXactSnapshot())
		return;
	for (int i = 0; i < (int) lengthof(trim_statements); i++)
		statement_run(call, &trim_statements[i], arguments, NULL, 0);
}

/* Messages of a leaf, as they were found. */
typedef struct Leftovers
{
	int				count;
	ItemPointerData places[LEFTOVERS];
	int64			recipients[LEFTOVERS];
} Leftovers;

/*
 * The ids of those recipients whose mailboxes are now locked, a bigint[]; one
 * that somebody is receiving for is left out.
 */
static Datum
lock_mailboxes(const Call *call, const Leftovers *left)
{
	Datum  arguments[1] = {array_from_int64(left->recipients, left->count)};
	int64 *locked;
	int	   count;

	/* else those that are there have to do */
	if (mailbox_making(call, true))
		statement_run(call, &make_statement, arguments, NULL, 0);
	count = statement_run(call, &lock_statement, arguments, NULL, 0);
	locked = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		locked[i] = result_int64(i, 1);
	SPI_freetuptable(SPI_tuptable);
	return array_from_int64(locked, count);
}

/*
 * Messages that nobody is receiving: those too old, and those without a
 * recipient, become dead letters; the others are moved to the current leaf, if
 * move.  Returns how many became dead letters.
 */
static int64
settle(const Call *call, int leaf, const Leftovers *left, bool move)
{
	Datum *elements = palloc(sizeof(Datum) * Max(left->count, 1));
	Datum  arguments[3];
	int64  buried;

	for (int i = 0; i < left->count; i++)
		elements[i] = PointerGetDatum(&left->places[i]);
	arguments[0] = PointerGetDatum(
		construct_array(elements, left->count, TIDOID, sizeof(ItemPointerData),
						false, TYPALIGN_SHORT));
	arguments[1] = lock_mailboxes(call, left);
	arguments[2] = TimestampTzGetDatum(message_cutoff());
	buried = statement_run(call, &bury_statements[leaf], arguments, NULL, 0);
	if (move &&
		statement_run(call, &move_statements[leaf], arguments, NULL, 0) > 0)
		statement_run(call, &touch_statement, &arguments[1], NULL, 0);
	return buried;
}

/* ---------- looking through a leaf ---------- */

/*
 * The next messages of a scan that were sent before some time, as many as there
 * is room for; false: there are no more.
 */
static bool
next_leftovers(TableScanDesc scan, TupleTableSlot *slot, TimestampTz before,
			   Leftovers *left)
{
	left->count = 0;
	while (left->count < LEFTOVERS)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (!table_scan_getnextslot(scan, ForwardScanDirection, slot))
			return false;
		if (DatumGetTimestampTz(slot_getattr(slot, SENT_AT, &isnull)) >= before)
			continue;
		left->recipients[left->count] =
			DatumGetInt64(slot_getattr(slot, 1, &isnull));
		left->places[left->count++] = slot->tts_tid;
	}
	return true;
}

/*
 * Messages that are in a leaf now, by the newest snapshot; false: there are
 * more than there is room for.
 */
static bool
find_leftovers(Relation leaf, Leftovers *left)
{
	Snapshot		snapshot;
	TableScanDesc	scan;
	TupleTableSlot *slot;
	bool			all;

	/* what this transaction has done counts, too */
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(leaf, NULL);
	scan = table_beginscan(leaf, snapshot, 0, NULL);
	all = !next_leftovers(scan, slot, DT_NOEND, left);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return all;
}

/* ---------- rotation ---------- */

/*
 * LeafFunction: is a leaf empty, or could it be made so?  *oldest: its leftovers
 * move on, for it is the next to be written.
 */
static bool
clear_leaf(const Call *call, Relation leaf, bool alone, void *oldest)
{
	Leftovers *left = palloc(sizeof(Leftovers));
	int		   number = (leaf_of(asked_by) + 1) % LEAVES;

	if (!find_leftovers(leaf, left))
		return false;
	if (left->count == 0)
		return true;
	if (alone || !*(bool *) oldest)
		return false;
	(void) settle(call, number, left, true);
	return find_leftovers(leaf, left) && left->count == 0;
}

/*
 * RotateFunction: both leaves that are not being written, the older one first.
 * One attempt in a leaf's turn, in its middle, may wait for a lock.
 */
static void
rotate_leaves(const Call *call)
{
	bool patient = asked_by % LEAF_IDS == LEAF_IDS / 2;

	for (int i = 1; i < LEAVES; i++)
	{
		bool oldest = i == 1;

		rotation_truncate(call, leaf_names[(leaf_of(asked_by) + i) % LEAVES],
						  patient, clear_leaf, &oldest);
	}
	dead_letter_trim(call);
}

/*
 * A message was given this id; those that end a stretch of ids ask for the
 * leaves to be looked at before the commit.
 */
void
rotate_note(const Call *call, int64 message_id)
{
	if (message_id % ROTATE_IDS != 0)
		return;
	asked_by = message_id;
	rotation_want(call, ROTATION_MESSAGES, "fa_message", rotate_leaves);
}

/* ---------- fa_message_expire ---------- */

/* Those of one leaf; returns how many became dead letters. */
static int64
expire_leaf(const Call *call, int number)
{
	Relation leaf =
		table_open(call_relation(call, leaf_names[number]), RowExclusiveLock);
	Snapshot		snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc	scan = table_beginscan(leaf, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(leaf, NULL);
	Leftovers	   *left = palloc(sizeof(Leftovers));
	int64			buried = 0;
	bool			more = true;

	while (more)
	{
		more = next_leftovers(scan, slot, message_cutoff(), left);
		/* what is needed for some ends with their connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		buried += settle(call, number, left, false);
		SPI_finish();
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(leaf, NoLock);
	return buried;
}

/*
 * fa_message_expire() returns bigint: makes dead letters of all messages that
 * have waited longer than fa_agents.message_retention, and returns how many
 * there were.  Those that somebody is just receiving are left to him.
 *
 * PUBLIC may not execute it: it looks at everybody's messages.  Raises 25006.
 */
Datum
fa_message_expire(PG_FUNCTION_ARGS)
{
	int64 buried = 0;
	Call  call;

	call_require_write("fa_message_expire");
	call_begin(&call, fcinfo, false);
	for (int leaf = 0; leaf < LEAVES; leaf++)
		buried += expire_leaf(&call, leaf);
	dead_letter_trim(&call);
	call_end(&call);
	PG_RETURN_INT64(buried);
}
