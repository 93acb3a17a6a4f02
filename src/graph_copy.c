/*-------------------------------------------------------------------------
 *
 * graph_copy.c
 *	  The graph from its copy in memory, corrected by what is in doubt.
 *
 * doc/graph.md tells when it may be used.  Whatever speaks against it, the
 * tables are read instead, and they decide what the caller may see and which
 * error he gets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "graph_copy.h"

/* A copy older than this is not used: numbers of transactions come again. */
#define MAX_AGE (UINT64CONST(1) << 30)

/* The lock of a build: none of a user's has this class. */
#define BUILDING_CLASS 64019

/* The name of the copy among the blocks that are shared; no sha256 is this. */
static const uint8 shared_key[DIGEST_SIZE] = "fa_agents graph";

/* The copy of a session that cannot share it; its context, or NULL. */
static MemoryContext	 private_context = NULL;
static const GraphBlock *private_block = NULL;

/* Rows that this session's walks have read from the tables since a build. */
static double rows_read = 0;

/* ---------- may it be used at all ---------- */

/* May this table be read without the executor?  Asked before it is locked. */
static bool
may_read(Oid table)
{
	return pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		   check_enable_rls(table, InvalidOid, true) == RLS_NONE;
}

/* Is it a table as we made it? */
static bool
is_plain(Relation table, int columns)
{
	return table->rd_rel->relkind == RELKIND_RELATION &&
		   table->rd_rel->relam == HEAP_TABLE_AM_OID &&
		   !table->rd_rel->relhassubclass && !table->rd_rel->relhasrules &&
		   RelationGetNumberOfAttributes(table) >= columns &&
		   OidIsValid(primary_key_index(table));
}

/* Does the copy's snapshot show a row of a catalog, or one that replaced it? */
static void
note_seen(GraphCopy *copy, HeapTuple tuple)
{
	if (!HeapTupleHeaderXminFrozen(tuple->t_data) &&
		XidInMVCCSnapshot(HeapTupleHeaderGetXmin(tuple->t_data),
						  copy->snapshot))
		copy->origin_seen = false;
}

/*
 * The transaction that wrote the row of our trigger on a table, which changes
 * when somebody disables it, if only for a while; InvalidTransactionId where it
 * does not fire always, or is not there.
 */
static TransactionId
trigger_version(GraphCopy *copy, Relation table)
{
	Relation	  triggers = table_open(TriggerRelationId, AccessShareLock);
	TransactionId version = InvalidTransactionId;
	ScanKeyData	  keys[2];
	SysScanDesc	  scan;
	HeapTuple	  tuple;

	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(table)));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("fa_graph_keep"));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 2,
							  keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled == TRIGGER_FIRES_ALWAYS)
	{
		version = HeapTupleHeaderGetRawXmin(tuple->t_data);
		note_seen(copy, tuple);
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return version;
}

/* A row of a catalog by its oid, to be released. */
static HeapTuple
catalog_row(int cache, Oid oid)
{
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for %u", oid);
	return tuple;
}

/*
 * What a copy of the tables as they are now depends on; and whether the
 * snapshot shows all of that.  If not, it is from before, say, triggers were
 * disabled for a while: what was written then is not in it, and no change tells
 * of it, so a copy under it would be wrong for those who come after.
 */
static void
find_origin(GraphCopy *copy)
{
	HeapTuple tuple;

	copy->origin_seen = true;
	for (int i = 0; i < (int) lengthof(copy->tables); i++)
	{
		tuple = catalog_row(RELOID, RelationGetRelid(copy->tables[i]));
		copy->origin.files[i] = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
		note_seen(copy, tuple);
		ReleaseSysCache(tuple);
	}
	for (int i = TABLE_NODES; i <= TABLE_EDGES; i++)
		copy->origin.triggers[i] = trigger_version(copy, copy->tables[i]);
	/* another database may have the oid, and files, of one that was dropped */
	tuple = catalog_row(DATABASEOID, MyDatabaseId);
	copy->origin.database = HeapTupleHeaderGetRawXmin(tuple->t_data);
	ReleaseSysCache(tuple);
}

/*
 * Has this transaction changed the tables in a way that their triggers have not
 * told of yet?  Code that runs in the middle of a statement, a trigger say,
 * sees rows whose changes are only noted at its end.
 */
static bool
changes_pending(const GraphCopy *copy)
{
	return TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		   (AfterTriggerPendingOnRel(
				RelationGetRelid(copy->tables[TABLE_NODES])) ||
			AfterTriggerPendingOnRel(
				RelationGetRelid(copy->tables[TABLE_EDGES])));
}

/* Opens the tables; false where a copy has no business. */
static bool
open_tables(const Graph *graph, GraphCopy *copy)
{
	static const char *const names[] = {"fa_node", "fa_edge",
										"fa_graph_change"};
	Oid						 oids[lengthof(names)];

	for (int i = 0; i < (int) lengthof(names); i++)
		oids[i] = call_relation(&graph->call, names[i]);
	if (fa_graph_copy == GRAPH_COPY_OFF || graph->has_as_of ||
		IsolationIsSerializable() || !ActiveSnapshotSet() ||
		GetActiveSnapshot()->snapshot_type != SNAPSHOT_MVCC ||
		ExecutorCheckPerms_hook != NULL || may_be_distributed() ||
		!may_read(oids[TABLE_NODES]) || !may_read(oids[TABLE_EDGES]))
		return false;
	copy->snapshot = GetActiveSnapshot();
	for (int i = 0; i < (int) lengthof(names); i++)
		copy->tables[i] = table_open(oids[i], AccessShareLock);
	find_origin(copy);
	return is_plain(copy->tables[TABLE_NODES], NODE_COLUMNS) &&
		   is_plain(copy->tables[TABLE_EDGES], EDGE_COLUMNS) &&
		   TransactionIdIsValid(copy->origin.triggers[TABLE_NODES]) &&
		   TransactionIdIsValid(copy->origin.triggers[TABLE_EDGES]) &&
		   !changes_pending(copy);
}

static void
end_use(GraphCopy *copy)
{
	/* it lies in the transaction's memory, and a transaction may walk often */
	if (copy->began != NULL)
		pfree(copy->began);
	copy->began = NULL;
	/* locks are kept to the transaction's end, as statements keep theirs */
	for (int i = 0; i < (int) lengthof(copy->tables); i++)
	{
		if (copy->tables[i] != NULL)
			table_close(copy->tables[i], NoLock);
		copy->tables[i] = NULL;
	}
}

/* ---------- find and build ---------- */

static const GraphBlock *
find_block(void)
{
	SharedPlace		  place;
	Size			  size = 0;
	const GraphBlock *block = shared_find(shared_key, &place, &size);

	if (block != NULL && size >= sizeof(GraphBlock) &&
		block->layout == GRAPH_LAYOUT && block->size <= size)
		return block;
	return private_block;
}

/* Is a copy of the tables as they are, and not from too long ago? */
static bool
fits_tables(const GraphCopy *copy, const GraphBlock *block)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	return memcmp(&block->origin, &copy->origin, sizeof(GraphOrigin)) == 0 &&
		   next - block->xmin < MAX_AGE;
}

/* What came of looking for a copy. */
typedef enum Found
{
	COPY_FITS,
	COPY_NONE, /* or one that is of no use to anybody from now on */
	COPY_NEWER /* than what the caller may see */
} Found;

static Found
use_block(const Graph *graph, GraphCopy *copy, const GraphBlock *block)
{
	if (block == NULL || !fits_tables(copy, block))
		return COPY_NONE;
	if (copy->began != NULL)
		pfree(copy->began);
	copy->block = block;
	copy->began =
		RestoreSnapshot(unconstify(char *, BLOCK_ARRAY(block, char, snapshot)));
	if (!snapshot_sees_all(copy->snapshot, copy->began))
		return COPY_NEWER;
	return doubt_find(graph, copy, copy->snapshot) ? COPY_FITS : COPY_NONE;
}

/*
 * Lets all sessions of the database have a block, or keeps it for this one
 * where that cannot be; its context is handed over then.
 */
static const GraphBlock *
publish(const GraphBlock *block, MemoryContext context)
{
	SharedPlace		  place;
	int				  share_after;
	const GraphBlock *shared =
		shared_publish(shared_key, block, block->size, &place, &share_after);

	if (private_context != NULL)
		MemoryContextDelete(private_context);
	private_context = NULL;
	private_block = NULL;
	if (shared != NULL)
	{
		MemoryContextDelete(context);
		return shared;
	}
	MemoryContextSetParent(context, CacheMemoryContext);
	private_context = context;
	private_block = block;
	return block;
}

/* Has this session read as much as a build would?  See doc/graph.md. */
static bool
is_worth_it(const GraphCopy *copy)
{
	return fa_graph_copy == GRAPH_COPY_ALWAYS ||
		   rows_read >= graph_build_cost(copy->tables[TABLE_NODES],
										 copy->tables[TABLE_EDGES]);
}

/*
 * Makes a copy of what the caller's snapshot shows; NULL where that may not
 * be, or somebody else is at it.
 */
static const GraphBlock *
build_block(const GraphCopy *copy)
{
	MemoryContext	  context;
	MemoryContext	  old;
	const GraphBlock *block;
	LOCKTAG			  tag;

	/* what this transaction has written would look as if it were over */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		copy->snapshot->suboverflowed || !copy->origin_seen ||
		!is_worth_it(copy))
		return NULL;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, BUILDING_CLASS);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return NULL;
	context = AllocSetContextCreate(CurrentMemoryContext, "fa_agents graph",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	block = graph_build(copy->tables[TABLE_NODES], copy->tables[TABLE_EDGES],
						copy->snapshot, &copy->origin);
	MemoryContextSwitchTo(old);
	/* also where it was too large: the next attempt is after as much work */
	rows_read = 0;
	if (block != NULL)
		block = publish(block, context);
	LockRelease(&tag, ExclusiveLock, false);
	return block;
}

/* Which of the copy's kinds are wanted. */
static void
choose_kinds(const Graph *graph, GraphCopy *copy)
{
	const char *name = BLOCK_ARRAY(copy->block, char, kind_names);
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (graph->kinds == NULL)
		return;
	deconstruct_array(graph->kinds, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &count);
	copy->kinds = palloc(sizeof(char *) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			copy->kinds[copy->kind_count++] = TextDatumGetCString(elements[i]);
	}
	copy->wanted = palloc0(sizeof(bool) * Max(copy->block->kinds, 1));
	for (uint32 i = 0; i < copy->block->kinds; i++)
	{
		for (int j = 0; j < copy->kind_count && !copy->wanted[i]; j++)
			copy->wanted[i] = strcmp(name, copy->kinds[j]) == 0;
		name += strlen(name) + 1;
	}
}

/*
 * The copy for a walk that begins, in the current memory context, or NULL: the
 * tables are to be read.  Its tables are open until copy_close.
 */
GraphCopy *
copy_open(Graph *graph)
{
	GraphCopy *copy = palloc0(sizeof(GraphCopy));
	Found	   found;

	if (!open_tables(graph, copy))
	{
		end_use(copy);
		return NULL;
	}
	found = use_block(graph, copy, find_block());
	if (found == COPY_NONE)
		found = use_block(graph, copy, build_block(copy));
	if (found != COPY_FITS)
	{
		end_use(copy);
		return NULL;
	}
	copy->asked = graph_ids_create(CurrentMemoryContext, 16, NULL);
	choose_kinds(graph, copy);
	return copy;
}

/* The end of a walk, from wherever its arcs came. */
void
copy_close(Graph *graph)
{
	if (graph->copy != NULL)
		end_use(graph->copy);
	else if (!graph->has_as_of)
		rows_read += (double) table_rows_read(graph);
}

/* ---------- nodes ---------- */

/* The place of a node by its id; NO_NUMBER where the copy has none. */
uint32
copy_place(const GraphBlock *block, int64 node_id)
{
	const int64 *ids = BLOCK_ARRAY(block, int64, node_ids);
	uint32		 low = 0;
	uint32		 high = block->nodes;

	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;

		if (ids[middle] < node_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < block->nodes && ids[low] == node_id ? low : NO_NUMBER;
}

/* Has the table a node, as the snapshot shows it?  Asked once a walk. */
static bool
is_there(GraphCopy *copy, int64 node_id)
{
	bool			 found;
	graph_ids_entry *entry = graph_ids_insert(copy->asked, node_id, &found);
	Relation		 nodes = copy->tables[TABLE_NODES];
	ScanKeyData		 key;
	SysScanDesc		 scan;

	if (found)
		return entry->number == 1;
	ScanKeyInit(&key, NODE_ID, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(node_id));
	scan = systable_beginscan(nodes, primary_key_index(nodes), true,
							  copy->snapshot, 1, &key);
	entry->number = HeapTupleIsValid(systable_getnext(scan)) ? 1 : 0;
	systable_endscan(scan);
	return entry->number == 1;
}

/* The id of a node by its number. */
static int64
id_of(const GraphCopy *copy, uint32 number)
{
	uint32 nodes = copy->block->nodes;

	return number < nodes ? BLOCK_ARRAY(copy->block, int64, node_ids)[number] :
							copy->doubt->ids[number - nodes];
}

int64
copy_node_id(const Graph *graph, uint32 number)
{
	return id_of(graph->copy, number);
}

/* Does a node of this number count?  The copy alone knows of most. */
static inline bool
node_counts(GraphCopy *copy, uint32 number)
{
	const GraphBlock *block = copy->block;

	if (number < block->nodes && !bit_is_set(copy->doubt->gone, number) &&
		!(block->has_absent &&
		  bit_is_set(BLOCK_ARRAY(block, uint64, absent), number)))
		return true;
	return is_there(copy, id_of(copy, number));
}

/* The number of a node by its id; NO_NUMBER where the graph has none. */
uint32
copy_number(Graph *graph, int64 node_id)
{
	GraphCopy *copy = graph->copy;
	uint32	   number = copy_place(copy->block, node_id);

	if (number != NO_NUMBER)
		return node_counts(copy, number) ? number : NO_NUMBER;
	return is_there(copy, node_id) ?
			   doubt_number(copy->doubt, copy->block, node_id) :
			   NO_NUMBER;
}

/* ---------- arcs ---------- */

static bool
kind_is_wanted(const GraphCopy *copy, const char *kind)
{
	if (copy->wanted == NULL)
		return true;
	for (int i = 0; i < copy->kind_count; i++)
	{
		if (strcmp(kind, copy->kinds[i]) == 0)
			return true;
	}
	return false;
}

/* Visits the edges of a node that are in doubt; end is where it stands. */
static void
doubt_arcs(GraphCopy *copy, uint32 from, int end, ArcVisitor visit,
		   void *context)
{
	const GraphDoubt *doubt = copy->doubt;
	graph_ids_entry	 *entry = graph_ids_lookup(doubt->first[end], from);
	uint32			  i = entry == NULL ? NO_NUMBER : entry->number;

	while (i != NO_NUMBER)
	{
		const DoubtArc *arc = &doubt->arcs[i];

		if (!arc->dead && kind_is_wanted(copy, arc->kind) &&
			node_counts(copy, arc->ends[1 - end]))
			visit(context, from, arc->ends[1 - end], arc->edge_id, arc->weight);
		i = arc->next[end];
	}
}

/* The arrays of one direction. */
typedef struct Side
{
	const uint32 *start;
	const uint32 *node;
	const uint16 *kind;
	const uint32 *arc; /* NULL: an arc's place is its own */
} Side;

/*
 * Visits the edges that the copy has of a node, but for those in doubt.  Most
 * walks have no use for an edge's id, which lies elsewhere.
 */
static void
block_arcs(GraphCopy *copy, const Side *side, uint32 from, bool touched,
		   bool with_edges, ArcVisitor visit, void *context)
{
	const int64	 *edge_ids = BLOCK_ARRAY(copy->block, int64, out_edge);
	const double *weights = BLOCK_ARRAY(copy->block, double, out_weight);

	for (uint32 i = side->start[from]; i < side->start[from + 1]; i++)
	{
		uint32 to = side->node[i];
		int64  edge_id = 0;
		double weight = 0;

		if (copy->wanted != NULL && !copy->wanted[side->kind[i]])
			continue;
		if (with_edges || touched)
		{
			uint32 arc = side->arc == NULL ? i : side->arc[i];

			edge_id = edge_ids[arc];
			weight = weights[arc];
			if (touched &&
				graph_ids_lookup(copy->doubt->edges, edge_id) != NULL)
				continue;
		}
		if (node_counts(copy, to))
			visit(context, from, to, edge_id, weight);
	}
}

/*
 * Visits the edges that lead from nodes [count] outward, or to them (inward).
 */
void
copy_arcs(Graph *graph, const uint32 *from, int count, bool inward,
		  ArcVisitor visit, void *context)
{
	GraphCopy		 *copy = graph->copy;
	const GraphBlock *block = copy->block;
	const Side		  sides[2] = {{BLOCK_ARRAY(block, uint32, out_start),
								   BLOCK_ARRAY(block, uint32, out_node),
								   BLOCK_ARRAY(block, uint16, out_kind), NULL},
								  {BLOCK_ARRAY(block, uint32, in_start),
								   BLOCK_ARRAY(block, uint32, in_node),
								   BLOCK_ARRAY(block, uint16, in_kind),
								   BLOCK_ARRAY(block, uint32, in_arc)}};

	for (int i = 0; i < count; i++)
	{
		bool in_block = from[i] < block->nodes;
		bool touched = !in_block || bit_is_set(copy->doubt->touched, from[i]);

		CHECK_FOR_INTERRUPTS();
		if (in_block)
			block_arcs(copy, &sides[inward], from[i], touched,
					   graph->with_edges, visit, context);
		if (touched)
			doubt_arcs(copy, from[i], inward, visit, context);
	}
}
