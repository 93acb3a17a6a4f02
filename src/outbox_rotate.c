/*-------------------------------------------------------------------------
 *
 * outbox_rotate.c
 *	  Which leaf of the outbox is written, and when another one is: leaves
 *	  whose events all consumers have seen are truncated.
 *
 * A leaf is written until it has grown, and one of the others is empty again.
 * So rows are never deleted, and if a consumer is slow the leaf that is being
 * written grows, but not for ever: who is too far behind is begun anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

/* So many events are written by a session until it looks at the leaves. */
#define NOTED_EVENTS 1000
/* A leaf that has so many pages (4 MB) is followed by another. */
#define TURN_BLOCKS 512

static const char *const leaf_names[OUTBOX_LEAVES] = {
	"fa_outbox_0", "fa_outbox_1", "fa_outbox_2"};

/*
 * Consumers that are too far behind hold nothing back any more; those that have
 * begun a batch since they were restarted are behind from there.
 */
static Statement restart_statement = {
	"UPDATE @.fa_outbox_consumer SET restarted = true, batch = NULL,"
	" batch_event = NULL WHERE name" EQ
	"ANY (ARRAY (SELECT name FROM @.fa_outbox_consumer"
	" WHERE (NOT restarted OR batch IS NOT NULL)"
	" AND (read_at" LT "$1 OR"
	" CASE WHEN restarted THEN batch_event ELSE seen_event END" LT
	"(SELECT last_value OPERATOR(pg_catalog.-) $2 FROM @.fa_outbox_id_seq))"
	" FOR UPDATE SKIP LOCKED))",
	2,
	{TIMESTAMPTZOID, INT8OID}};

/*
 * Is there an event in a leaf that some consumer has still to read: one that
 * its cursor does not show?
 */
#define WANTED(leaf)                                                           \
	{                                                                          \
		"SELECT FROM @.fa_outbox_consumer c, LATERAL (SELECT"                  \
		" CASE WHEN c.restarted THEN c.batch ELSE c.seen END AS seen OFFSET 0" \
		") AS s WHERE EXISTS (SELECT FROM @.fa_outbox_" leaf                   \
		" e WHERE e.xid OPERATOR(pg_catalog.>=)"                               \
		" pg_catalog.pg_snapshot_xmax(s.seen))"                                \
		" OR EXISTS (SELECT FROM @.fa_outbox_" leaf " e WHERE e.xid" EQ        \
		"ANY (ARRAY (SELECT pg_catalog.pg_snapshot_xip(s.seen))))",            \
			0,                                                                 \
		{                                                                      \
			0                                                                  \
		}                                                                      \
	}
static Statement wanted_statements[OUTBOX_LEAVES] = {WANTED("0"), WANTED("1"),
													 WANTED("2")};

/*
 * Events of this session since it last looked; -1: none yet.  It begins with a
 * number by chance, so that sessions that write few are looked after as well.
 */
static int64 noted = -1;

/* ---------- whose turn it is ---------- */

/* How many turns there have been. */
static int64
turn(const Call *call)
{
	return DatumGetInt64(DirectFunctionCall1(
		pg_sequence_last_value,
		ObjectIdGetDatum(call_relation(call, "fa_outbox_turn_seq"))));
}

/*
 * The leaf to be written to.  It may be another one's turn before the caller
 * has done so: that leaf has an event more, then, which keeps it.
 */
int
outbox_leaf(const Call *call)
{
	return (int) (turn(call) % OUTBOX_LEAVES);
}

/* ---------- cursors that are being made ---------- */

static bool
lock_cursors(const Call *call, LOCKMODE mode, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId,
					   call_relation(call, "fa_outbox_consumer"), 0, 1);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * To be called before a cursor is made, which nobody else can see until the
 * commit: till then no leaf is truncated, for it might have what was running
 * when the cursor was made.
 */
void
outbox_begin_cursor(const Call *call)
{
	(void) lock_cursors(call, RowExclusiveLock, true);
}

/* ---------- rotation ---------- */

/* LeafFunction: is there nobody who has still to read a leaf? */
static bool
is_seen(const Call *call, Relation leaf, bool alone, void *number)
{
	return statement_run(call, &wanted_statements[*(int *) number], NULL, NULL,
						 1) == 0;
}

static BlockNumber
leaf_blocks(const Call *call, int number)
{
	Relation leaf =
		table_open(call_relation(call, leaf_names[number]), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(leaf);

	table_close(leaf, AccessShareLock);
	return blocks;
}

/*
 * After how many turns comes a leaf that is empty?  0: there is none.  One in
 * between that is not is passed by.
 */
static int
turns_to_empty(const Call *call, int current)
{
	for (int turns = 1; turns < OUTBOX_LEAVES; turns++)
	{
		if (leaf_blocks(call, (current + turns) % OUTBOX_LEAVES) == 0)
			return turns;
	}
	return 0;
}

/*
 * RotateFunction, by one transaction at a time.  A leaf that is being truncated
 * gets its turn later, from somebody who finds it empty: its lock would stop
 * writers.
 */
static void
rotate(const Call *call)
{
	Datum arguments[2] = {
		TimestampTzGetDatum(TimestampTzPlusMilliseconds(
			GetCurrentTimestamp(), -(int64) fa_outbox_retention * 1000)),
		Int64GetDatum(fa_outbox_limit)};
	int current;
	int turns;

	if (!lock_cursors(call, ShareRowExclusiveLock, false))
		return;
	current = outbox_leaf(call);
	turns = turns_to_empty(call, current);
	if (leaf_blocks(call, current) >= TURN_BLOCKS)
	{
		for (int i = 0; i < turns; i++)
			(void) nextval_internal(call_relation(call, "fa_outbox_turn_seq"),
									false);
	}
	statement_run(call, &restart_statement, arguments, NULL, 0);
	for (int i = 1; i < OUTBOX_LEAVES; i++)
	{
		int number = (current + i) % OUTBOX_LEAVES;

		if (i != turns)
			rotation_truncate(call, leaf_names[number], false, is_seen,
							  &number);
	}
}

/* Events [events] were written; mostly that is all. */
void
outbox_note(const Call *call, int events)
{
	if (noted < 0)
		noted = (int64) (pg_prng_double(&pg_global_prng_state) * NOTED_EVENTS);
	noted += events;
	if (noted < NOTED_EVENTS)
		return;
	noted = 0;
	rotation_want(call, ROTATION_OUTBOX, "fa_outbox", rotate);
}
