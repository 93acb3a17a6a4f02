/*-------------------------------------------------------------------------
 *
 * graph_doubt.c
 *	  What a snapshot may show otherwise than the copy in memory has it.
 *
 * fa_graph_change names the edges; how they are now is read from fa_edge under
 * the snapshot itself.  So whatever is named, the answer is the table's.
 * doc/graph.md has the rules, and why they suffice.
 *
 * A session keeps what it has read, with the snapshot that it was read under,
 * and the next call reads only what came after.  What is kept is marked as not
 * valid while it changes, so an error in between makes the next call begin
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "graph_copy.h"

/* Of a copy's edges one in so many may be in doubt, and some more. */
#define DOUBT_SHARE 16
#define DOUBT_LEAST 1000

/* What this session has read; its stamp is 0 while it is of no use. */
static GraphDoubt kept;

/* Edges and nodes that rows of fa_graph_change name. */
typedef struct Named
{
	int64 *edges; /* [count] with capacity */
	int64 *src;
	int64 *dst;
	bool  *is_node; /* src is a node that may be gone */
	uint32 count;
	uint32 capacity;
	uint32 limit; /* more are too many */
	bool   all;	  /* all of the copy is in doubt, or too much */
} Named;

/* ---------- snapshots ---------- */

/*
 * Does a snapshot show all that an earlier one did?  It does if whatever it
 * takes for running, or not yet begun, was so for the earlier one.  Top-level
 * transactions are enough: their subtransactions share their fate.
 */
bool
snapshot_sees_all(Snapshot snapshot, Snapshot earlier)
{
	if (TransactionIdPrecedes(snapshot->xmax, earlier->xmax))
		return false;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		if (!XidInMVCCSnapshot(snapshot->xip[i], earlier))
			return false;
	}
	/* on a standby all stand in the other array */
	for (int32 i = 0; snapshot->takenDuringRecovery && i < snapshot->subxcnt;
		 i++)
	{
		if (!XidInMVCCSnapshot(snapshot->subxip[i], earlier))
			return false;
	}
	return true;
}

/* The first transaction that was running for a snapshot, with its epoch. */
uint64
snapshot_xmin(Snapshot snapshot)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64 full = (next & ~(uint64) PG_UINT32_MAX) | snapshot->xmin;

	return full > next ? full - (UINT64CONST(1) << 32) : full;
}

/* Was this transaction, whose changes we see, over for a snapshot? */
static bool
was_over(Snapshot snapshot, FullTransactionId xid)
{
	return !XidInMVCCSnapshot(XidFromFullTransactionId(xid), snapshot);
}

/* ---------- what is named ---------- */

static void
name(Named *named, int64 edge, int64 src, int64 dst, bool is_node)
{
	if (named->count == named->capacity)
	{
		uint32 capacity = Max(named->capacity * 2, 64);
		Size   size = sizeof(int64) * capacity;

		if (named->capacity == 0)
		{
			named->edges = palloc(size);
			named->src = palloc(size);
			named->dst = palloc(size);
			named->is_node = palloc(capacity);
		}
		else
		{
			named->edges = repalloc_huge(named->edges, size);
			named->src = repalloc_huge(named->src, size);
			named->dst = repalloc_huge(named->dst, size);
			named->is_node = repalloc_huge(named->is_node, capacity);
		}
		named->capacity = capacity;
	}
	named->edges[named->count] = edge;
	named->src[named->count] = src;
	named->dst[named->count] = dst;
	named->is_node[named->count++] = is_node;
}

/* Takes a row of fa_graph_change that since did not show. */
static void
take_change(Named *named, const GraphCopy *copy, Snapshot since,
			HeapTuple tuple, TupleDesc desc)
{
	Datum			  values[CHANGE_COLUMNS];
	bool			  nulls[CHANGE_COLUMNS];
	FullTransactionId xid;

	heap_deform_tuple(tuple, desc, values, nulls);
	xid = DatumGetFullTransactionId(values[CHANGE_XID - 1]);
	if (was_over(since, xid))
		return;
	if (!nulls[CHANGE_BEFORE - 1])
	{
		if (U64FromFullTransactionId(DatumGetFullTransactionId(
				values[CHANGE_BEFORE - 1])) > copy->block->xmin)
			named->all = true;
	}
	else
		name(named, DatumGetInt64(values[CHANGE_EDGE_ID - 1]),
			 DatumGetInt64(values[CHANGE_SRC - 1]),
			 DatumGetInt64(values[CHANGE_DST - 1]), nulls[CHANGE_EDGE_ID - 1]);
	if (named->count > named->limit)
		named->all = true;
}

/*
 * Reads what has changed since a snapshot, whose xmin is given with its epoch:
 * all that it did not show has been done by transactions from xmin on.
 *
 * Our own transaction's rows are read whatever command wrote them.  A trigger
 * writes a row some commands after the change that it tells of, and a cursor
 * that was opened in between shows the one without the other.
 */
static void
read_changes(const Call *call, const GraphCopy *copy, Snapshot snapshot,
			 Snapshot since, uint64 xmin, Named *named)
{
	Relation	 table = copy->tables[TABLE_CHANGES];
	SnapshotData all_own = *snapshot;
	SysScanDesc	 scan;
	HeapTuple	 tuple;
	ScanKeyData	 from;

	all_own.curcid = InvalidCommandId;

	ScanKeyInit(&from, CHANGE_XID, BTGreaterEqualStrategyNumber, F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(xmin)));
	scan = systable_beginscan(table, call_relation(call, "fa_graph_change_xid"),
							  true, &all_own, 1, &from);
	while (!named->all && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		take_change(named, copy, since, tuple, RelationGetDescr(table));
	}
	systable_endscan(scan);
}

/* ---------- what is in doubt ---------- */

/* Begins anew, in a context of its own below the given one. */
static void
doubt_reset(GraphDoubt *doubt, const GraphBlock *block, MemoryContext parent)
{
	Size bits = sizeof(uint64) * ((Size) block->nodes / 64 + 1);

	if (doubt->context != NULL)
		MemoryContextDelete(doubt->context);
	memset(doubt, 0, sizeof(GraphDoubt));
	doubt->context = AllocSetContextCreate(parent, "fa_agents graph doubt",
										   ALLOCSET_DEFAULT_SIZES);
	doubt->edges = graph_ids_create(doubt->context, 64, NULL);
	doubt->numbers = graph_ids_create(doubt->context, 64, NULL);
	doubt->first[0] = graph_ids_create(doubt->context, 64, NULL);
	doubt->first[1] = graph_ids_create(doubt->context, 64, NULL);
	doubt->touched = MemoryContextAllocExtended(
		doubt->context, bits, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	doubt->gone = MemoryContextAllocExtended(doubt->context, bits,
											 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/*
 * The number of a node, be it there or not; those that the copy lacks get one.
 * Current memory context: any, for what is kept grows in its own.
 */
uint32
doubt_number(GraphDoubt *doubt, const GraphBlock *block, int64 node_id)
{
	uint32			 number = copy_place(block, node_id);
	graph_ids_entry *entry;
	bool			 found;

	if (number != NO_NUMBER)
		return number;
	entry = graph_ids_insert(doubt->numbers, node_id, &found);
	if (found)
		return entry->number;
	entry->number = block->nodes + doubt->id_count;
	if (doubt->id_count == doubt->id_capacity)
	{
		uint32 capacity = Max(doubt->id_capacity * 2, 64);

		doubt->ids =
			doubt->ids == NULL ?
				MemoryContextAlloc(doubt->context, sizeof(int64) * capacity) :
				repalloc_huge(doubt->ids, sizeof(int64) * capacity);
		doubt->id_capacity = capacity;
	}
	doubt->ids[doubt->id_count++] = node_id;
	return entry->number;
}

static void
set_bit(uint64 *bits, const GraphBlock *block, int64 node_id)
{
	uint32 place = copy_place(block, node_id);

	if (place != NO_NUMBER)
		bits[place / 64] |= UINT64CONST(1) << (place % 64);
}

/* Puts an arc in front of those of its node, by src (0) and by dst (1). */
static void
link_arc(GraphDoubt *doubt, uint32 place, int end)
{
	DoubtArc		*arc = &doubt->arcs[place];
	bool			 found;
	graph_ids_entry *entry =
		graph_ids_insert(doubt->first[end], arc->ends[end], &found);

	arc->next[end] = found ? entry->number : NO_NUMBER;
	entry->number = place;
}

/* Adds an edge as the table has it; the result is its place in arcs. */
static uint32
add_arc(GraphDoubt *doubt, const GraphBlock *block, const Datum *values)
{
	MemoryContext old = MemoryContextSwitchTo(doubt->context);
	uint32		  place = doubt->arc_count;
	DoubtArc	 *arc;

	if (place == doubt->arc_capacity)
	{
		uint32 capacity = Max(doubt->arc_capacity * 2, 64);

		doubt->arcs =
			doubt->arcs == NULL ?
				palloc(sizeof(DoubtArc) * capacity) :
				repalloc_huge(doubt->arcs, sizeof(DoubtArc) * capacity);
		doubt->arc_capacity = capacity;
	}
	arc = &doubt->arcs[place];
	arc->edge_id = DatumGetInt64(values[EDGE_ID - 1]);
	arc->weight = DatumGetFloat8(values[EDGE_WEIGHT - 1]);
	arc->kind = TextDatumGetCString(values[EDGE_KIND - 1]);
	arc->ends[0] =
		doubt_number(doubt, block, DatumGetInt64(values[EDGE_SRC - 1]));
	arc->ends[1] =
		doubt_number(doubt, block, DatumGetInt64(values[EDGE_DST - 1]));
	arc->dead = false;
	doubt->arc_count++;
	link_arc(doubt, place, 0);
	link_arc(doubt, place, 1);
	MemoryContextSwitchTo(old);
	return place;
}

/* How an edge is under the snapshot: its place in arcs, or NO_NUMBER. */
static uint32
read_edge(GraphDoubt *doubt, const GraphCopy *copy, Snapshot snapshot,
		  int64 edge_id)
{
	Relation	table = copy->tables[TABLE_EDGES];
	uint32		place = NO_NUMBER;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, EDGE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(edge_id));
	scan = systable_beginscan(table, primary_key_index(table), true, snapshot,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum values[EDGE_WEIGHT];
		bool  isnull;

		for (int i = 0; i < EDGE_WEIGHT; i++)
			values[i] =
				heap_getattr(tuple, i + 1, RelationGetDescr(table), &isnull);
		place = add_arc(doubt, copy->block, values);
	}
	systable_endscan(scan);
	return place;
}

/* Puts what was named in doubt, and reads how it is. */
static void
doubt_add(GraphDoubt *doubt, const GraphCopy *copy, Snapshot snapshot,
		  const Named *named)
{
	for (uint32 i = 0; i < named->count; i++)
	{
		graph_ids_entry *entry;
		bool			 found;
		uint32			 place;

		CHECK_FOR_INTERRUPTS();
		if (named->is_node[i])
		{
			set_bit(doubt->gone, copy->block, named->src[i]);
			continue;
		}
		set_bit(doubt->touched, copy->block, named->src[i]);
		set_bit(doubt->touched, copy->block, named->dst[i]);
		entry = graph_ids_lookup(doubt->edges, named->edges[i]);
		if (entry != NULL && entry->number != NO_NUMBER)
			doubt->arcs[entry->number].dead = true;
		place = read_edge(doubt, copy, snapshot, named->edges[i]);
		entry = graph_ids_insert(doubt->edges, named->edges[i], &found);
		entry->number = place;
	}
}

/* A limit that grows with the copy. */
static uint32
doubt_limit(const GraphBlock *block)
{
	return block->edges / DOUBT_SHARE + DOUBT_LEAST;
}

/*
 * What is in doubt for this call alone: its snapshot is older than that of what
 * is kept.
 */
static bool
doubt_for_call(const Call *call, GraphCopy *copy, Snapshot snapshot)
{
	Named		named = {.limit = doubt_limit(copy->block)};
	GraphDoubt *doubt;

	read_changes(call, copy, snapshot, copy->began, copy->block->xmin, &named);
	if (named.all)
		return false;
	doubt = palloc0(sizeof(GraphDoubt));
	doubt_reset(doubt, copy->block, CurrentMemoryContext);
	doubt_add(doubt, copy, snapshot, &named);
	copy->doubt = doubt;
	return true;
}

/*
 * A snapshot that outlives its transaction, for asking which transactions it
 * takes for running.  (The server's own copies go with the transaction.)
 */
static Snapshot
keep_snapshot(Snapshot snapshot, MemoryContext context)
{
	Size	 running = mul_size(sizeof(TransactionId), snapshot->xcnt);
	Size	 others = snapshot->subxcnt <= 0 ?
						  0 :
						  mul_size(sizeof(TransactionId), snapshot->subxcnt);
	Snapshot result = MemoryContextAlloc(
		context, add_size(sizeof(SnapshotData), add_size(running, others)));

	*result = *snapshot;
	result->xip = (TransactionId *) (result + 1);
	result->subxip = result->xip + snapshot->xcnt;
	if (running > 0)
		memcpy(result->xip, snapshot->xip, running);
	if (others > 0)
		memcpy(result->subxip, snapshot->subxip, others);
	return result;
}

/*
 * Sets copy->doubt to what the snapshot may show otherwise; false where the
 * copy is of no use for it.  The caller has seen to it that the snapshot shows
 * all that the copy has.
 */
bool
doubt_find(const Graph *graph, GraphCopy *copy, Snapshot snapshot)
{
	const GraphBlock *block = copy->block;
	Named			  named = {.limit = doubt_limit(block)};
	bool			  again = kept.stamp == block->stamp;
	Snapshot		  since = again ? kept.snapshot : copy->began;

	if (again && !snapshot_sees_all(snapshot, kept.snapshot))
		return doubt_for_call(&graph->call, copy, snapshot);
	read_changes(&graph->call, copy, snapshot, since,
				 again ? kept.xmin : block->xmin, &named);
	if (named.all)
		return false;
	if (named.count == 0 && again)
	{
		copy->doubt = &kept;
		return true;
	}
	/* not valid while it changes */
	kept.stamp = 0;
	if (!again)
		doubt_reset(&kept, block, CacheMemoryContext);
	doubt_add(&kept, copy, snapshot, &named);
	if (kept.arc_count > doubt_limit(block))
		return false;
	/*
	 * A snapshot does not tell of its own transaction, which may yet write, or
	 * take back what it has written: then this serves one call.
	 */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		!snapshot->suboverflowed)
	{
		if (kept.snapshot != NULL)
			pfree(kept.snapshot);
		kept.snapshot = keep_snapshot(snapshot, kept.context);
		kept.xmin = snapshot_xmin(snapshot);
		kept.stamp = block->stamp;
	}
	copy->doubt = &kept;
	return true;
}
