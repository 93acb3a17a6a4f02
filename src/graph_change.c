/*-------------------------------------------------------------------------
 *
 * graph_change.c
 *	  What has changed in the graph: rows that say so, for copies in memory.
 *
 * Written by triggers, so by whatever session changes an edge, and seen by
 * others when the change is.  A transaction that changes much writes one row
 * that puts all in doubt, instead of the rest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#include "graph.h"

/* Changes of one transaction, or subtransaction, that are named. */
#define NAMED 1000

/* By one in so many transactions the table is pruned, */
#define PRUNE_EVERY 4096
/* of the changes of all but the last so many. */
#define PRUNE_KEEPS 131072

/* The lock of pruning: none of a user's has this class. */
#define PRUNING_CLASS 64018

/* What this transaction has noted; a new one begins where an id differs. */
static struct
{
	FullTransactionId xid;
	SubTransactionId  subxid;
	int				  count;
} noted;

static Statement prune_statement = {
	"DELETE FROM @.fa_graph_change WHERE xid" LT "$1", 1, {XID8OID}};

/*
 * Adds a row to a table of ours, with its index entries and whatever else it
 * has.  No rights are asked for: triggers write what the user's statement did.
 */
void
graph_insert_row(const Call *call, const char *table, Datum *values,
				 bool *nulls)
{
	Relation relation =
		table_open(call_relation(call, table), RowExclusiveLock);
	EState		   *executor = CreateExecutorState();
	ResultRelInfo  *result = makeNode(ResultRelInfo);
	TupleTableSlot *slot = ExecInitExtraTupleSlot(
		executor, RelationGetDescr(relation), table_slot_callbacks(relation));
	HeapTuple tuple =
		heap_form_tuple(RelationGetDescr(relation), values, nulls);

	InitResultRelInfo(result, relation, 0, NULL, 0);
	ExecOpenIndices(result, false);
	ExecForceStoreHeapTuple(tuple, slot, true);
	ExecSimpleRelationInsert(result, executor, slot);
	ExecCloseIndices(result);
	ExecResetTupleTable(executor->es_tupleTable, false);
	FreeExecutorState(executor);
	table_close(relation, NoLock);
}

/* A row of fa_graph_change, its columns but the first. */
typedef struct Change
{
	Datum values[CHANGE_COLUMNS];
	bool  nulls[CHANGE_COLUMNS];
} Change;

static void
set_column(Change *change, int column, Datum value)
{
	change->values[column - 1] = value;
	change->nulls[column - 1] = false;
}

/* A change of this transaction that names nothing yet. */
static Change
new_change(void)
{
	Change change = {.nulls = {false, true, true, true, true}};

	change.values[CHANGE_XID - 1] =
		FullTransactionIdGetDatum(GetTopFullTransactionId());
	return change;
}

static void
write_change(const Call *call, Change *change)
{
	graph_insert_row(call, "fa_graph_change", change->values, change->nulls);
}

/* Puts in doubt all that a copy has whose snapshot began before this. */
static void
write_before(const Call *call, uint64 before)
{
	Change change = new_change();

	set_column(&change, CHANGE_BEFORE,
			   FullTransactionIdGetDatum(FullTransactionIdFromU64(before)));
	write_change(call, &change);
}

/*
 * Deletes rows that only a copy of long ago would need, and writes one that
 * tells such a copy so.  One transaction at a time, and nobody waits for it.
 *
 * A copy that was made after this transaction was over needs none of the rows
 * either, for its snapshot shows what they tell of.
 */
static void
prune(FunctionCallInfo fcinfo, const Call *call, uint64 own)
{
	LOCKTAG tag;
	Datum	arguments[1];
	Call	owner;

	/* under a snapshot that lasts, rows that are gone by now would be an error */
	if (own < PRUNE_KEEPS || IsolationUsesXactSnapshot())
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, PRUNING_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	write_before(call, own - PRUNE_KEEPS);
	arguments[0] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(own - PRUNE_KEEPS));
	call_begin(&owner, fcinfo, false);
	statement_run(&owner, &prune_statement, arguments, NULL, 0);
	call_end(&owner);
}

/*
 * May a change be written by its name?  If not, all is in doubt already.  The
 * count is of this subtransaction: its end might undo the row that said so.
 */
static bool
may_name(FunctionCallInfo fcinfo, const Call *call)
{
	FullTransactionId xid = GetTopFullTransactionId();
	SubTransactionId  subxid = GetCurrentSubTransactionId();

	if (!FullTransactionIdEquals(noted.xid, xid) || noted.subxid != subxid)
	{
		noted.xid = xid;
		noted.subxid = subxid;
		noted.count = 0;
		/* hashed: with subtransactions, say, all numbers may be odd */
		if (hash_bytes_uint32(XidFromFullTransactionId(xid)) % PRUNE_EVERY == 0)
			prune(fcinfo, call, U64FromFullTransactionId(xid));
	}
	if (noted.count > NAMED)
		return false;
	if (noted.count++ < NAMED)
		return true;
	/* a snapshot that does not show this transaction began before its end */
	write_before(call, U64FromFullTransactionId(xid) + 1);
	return false;
}

/* An edge has come, gone or changed, between these nodes. */
void
change_edge(FunctionCallInfo fcinfo, const Call *call, int64 edge_id, int64 src,
			int64 dst)
{
	Change change;

	if (!may_name(fcinfo, call))
		return;
	change = new_change();
	set_column(&change, CHANGE_EDGE_ID, Int64GetDatum(edge_id));
	set_column(&change, CHANGE_SRC, Int64GetDatum(src));
	set_column(&change, CHANGE_DST, Int64GetDatum(dst));
	write_change(call, &change);
}

/* A node has gone. */
void
change_node(FunctionCallInfo fcinfo, const Call *call, int64 node_id)
{
	Change change;

	if (!may_name(fcinfo, call))
		return;
	change = new_change();
	set_column(&change, CHANGE_SRC, Int64GetDatum(node_id));
	write_change(call, &change);
}
