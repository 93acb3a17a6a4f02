/*-------------------------------------------------------------------------
 *
 * graph_build.c
 *	  The copy of the graph in memory is made, by one scan of both tables.
 *
 * Nodes get numbers in the order in which they are met, edges are kept by these
 * numbers; at the end nodes are put in the order of their ids, and edges in
 * that of their ends.  All that is needed on the way lies in a context that
 * goes with the build.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "graph_copy.h"

/* A kind and its number; kinds have no zero byte within. */
typedef struct kinds_entry
{
	const char *name;
	uint32		number;
	char		status; /* of the table's own */
} kinds_entry;

#define SH_PREFIX		kinds
#define SH_ELEMENT_TYPE kinds_entry
#define SH_KEY_TYPE		const char *
#define SH_KEY			name
#define SH_HASH_KEY(tb, key) \
	hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp(a, b) == 0)
#define SH_SCOPE		   static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define MAX_KINDS PG_UINT16_MAX

/* Bytes that an edge and a node take in a copy. */
#define EDGE_BYTES 32
#define NODE_BYTES 16

/* What has been read so far; numbers are those of the order of reading. */
typedef struct Build
{
	graph_ids_hash *numbers;
	int64		   *ids; /* [node_capacity] */
	uint32			nodes;
	uint32			node_capacity;
	uint32			present; /* nodes of the table; those after are absent */
	uint32		   *src;	 /* [edge_capacity], and so on */
	uint32		   *dst;
	uint16		   *kind;
	int64		   *edge_id;
	double		   *weight;
	uint32			edges;
	uint32			edge_capacity;
	kinds_hash	   *kinds;
	const char	  **kind_names; /* [kind_count] */
	uint32			kind_capacity;
	uint32			last_kind;
	Size			limit; /* bytes that a copy may have */
	bool			too_large;
} Build;

/* ---------- reading ---------- */

static void *
grow(void *array, Size element, uint32 capacity)
{
	Size size = mul_size(element, capacity);

	return array == NULL ? MemoryContextAllocHuge(CurrentMemoryContext, size) :
						   repalloc_huge(array, size);
}

/* Is there room for more?  The copy is bounded by the cache that it lies in. */
static bool
has_room(Build *build)
{
	Size size =
		(Size) build->edges * EDGE_BYTES + (Size) build->nodes * NODE_BYTES;

	if (size > build->limit || build->edges >= PG_UINT32_MAX / 2 ||
		build->nodes >= PG_UINT32_MAX / 2)
		build->too_large = true;
	return !build->too_large;
}

static uint32
build_node(Build *build, int64 node_id)
{
	bool			 found;
	graph_ids_entry *entry = graph_ids_insert(build->numbers, node_id, &found);

	if (found)
		return entry->number;
	if (build->nodes == build->node_capacity)
	{
		build->node_capacity = Max(build->node_capacity * 2, 1024);
		build->ids = grow(build->ids, sizeof(int64), build->node_capacity);
	}
	entry->number = build->nodes;
	build->ids[build->nodes] = node_id;
	return build->nodes++;
}

/* The number of a kind; edges that follow each other often have the same. */
static uint16
build_kind(Build *build, Datum datum)
{
	text		*kind = DatumGetTextPP(datum);
	int			 length = (int) VARSIZE_ANY_EXHDR(kind);
	kinds_entry *entry;
	const char	*last;
	char		*name;
	bool		 found;

	if (build->kinds->members > 0)
	{
		last = build->kind_names[build->last_kind];
		if (strncmp(last, VARDATA_ANY(kind), length) == 0 &&
			last[length] == '\0')
			return (uint16) build->last_kind;
	}
	name = text_to_cstring(kind);
	entry = kinds_insert(build->kinds, name, &found);
	if (!found)
	{
		entry->number = build->kinds->members - 1;
		if (entry->number == build->kind_capacity)
		{
			build->kind_capacity = Max(build->kind_capacity * 2, 64);
			build->kind_names =
				grow(build->kind_names, sizeof(char *), build->kind_capacity);
		}
		build->kind_names[entry->number] = name;
		build->too_large |= entry->number >= MAX_KINDS;
	}
	else
		pfree(name);
	if ((Pointer) kind != DatumGetPointer(datum))
		pfree(kind);
	build->last_kind = entry->number;
	return (uint16) entry->number;
}

static void
build_edge(Build *build, TupleTableSlot *slot)
{
	uint32 i = build->edges;

	if (i == build->edge_capacity)
	{
		build->edge_capacity = Max(build->edge_capacity * 2, 1024);
		build->src = grow(build->src, sizeof(uint32), build->edge_capacity);
		build->dst = grow(build->dst, sizeof(uint32), build->edge_capacity);
		build->kind = grow(build->kind, sizeof(uint16), build->edge_capacity);
		build->edge_id =
			grow(build->edge_id, sizeof(int64), build->edge_capacity);
		build->weight =
			grow(build->weight, sizeof(double), build->edge_capacity);
	}
	slot_getsomeattrs(slot, EDGE_WEIGHT);
	build->edge_id[i] = DatumGetInt64(slot->tts_values[EDGE_ID - 1]);
	build->src[i] =
		build_node(build, DatumGetInt64(slot->tts_values[EDGE_SRC - 1]));
	build->dst[i] =
		build_node(build, DatumGetInt64(slot->tts_values[EDGE_DST - 1]));
	build->kind[i] = build_kind(build, slot->tts_values[EDGE_KIND - 1]);
	build->weight[i] = DatumGetFloat8(slot->tts_values[EDGE_WEIGHT - 1]);
	build->edges++;
}

/* Reads one table; nodes first, so that those of edges alone come last. */
static void
read_table(Build *build, Relation table, Snapshot snapshot, bool is_edges)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc	scan = table_beginscan(table, snapshot, 0, NULL);

	while (has_room(build) &&
		   table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_edges)
			build_edge(build, slot);
		else
		{
			slot_getsomeattrs(slot, NODE_ID);
			build_node(build, DatumGetInt64(slot->tts_values[NODE_ID - 1]));
		}
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* ---------- the block ---------- */

/* Reserves an array in the block that is being laid out. */
static Size
place_array(Size *size, Size element, Size count)
{
	Size place = TYPEALIGN(MAXIMUM_ALIGNOF, *size);

	*size = add_size(place, mul_size(element, count));
	return place;
}

/* Where everything is, and how large the block is. */
static void
lay_out(GraphBlock *block, const Build *build, Snapshot snapshot)
{
	Size size = sizeof(GraphBlock);
	Size names = 0;

	for (uint32 i = 0; i < build->kinds->members; i++)
		names = add_size(names, strlen(build->kind_names[i]) + 1);
	block->node_ids = place_array(&size, sizeof(int64), build->nodes);
	block->out_edge = place_array(&size, sizeof(int64), build->edges);
	block->out_weight = place_array(&size, sizeof(double), build->edges);
	block->snapshot = place_array(&size, 1, EstimateSnapshotSpace(snapshot));
	block->out_start =
		place_array(&size, sizeof(uint32), (Size) build->nodes + 1);
	block->in_start =
		place_array(&size, sizeof(uint32), (Size) build->nodes + 1);
	block->out_node = place_array(&size, sizeof(uint32), build->edges);
	block->in_node = place_array(&size, sizeof(uint32), build->edges);
	block->in_arc = place_array(&size, sizeof(uint32), build->edges);
	block->out_kind = place_array(&size, sizeof(uint16), build->edges);
	block->in_kind = place_array(&size, sizeof(uint16), build->edges);
	block->absent =
		place_array(&size, sizeof(uint64), (Size) build->nodes / 64 + 1);
	block->kind_names = place_array(&size, 1, names);
	block->size = size;
}

#define FILL(block, type, array) ((type *) ((char *) (block) + (block)->array))

/* A node's id and the number that it had while reading. */
typedef struct NodeOrder
{
	int64  id;
	uint32 number;
} NodeOrder;

/* By id; a sort of millions takes long enough to be cancelled. */
#define ST_SORT			 sort_nodes
#define ST_ELEMENT_TYPE	 NodeOrder
#define ST_COMPARE(a, b) (((a)->id > (b)->id) - ((a)->id < (b)->id))
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Puts nodes in the order of their ids; the result, [nodes], leads from the
 * number of reading to the place.
 */
static uint32 *
fill_nodes(GraphBlock *block, const Build *build)
{
	NodeOrder *order = grow(NULL, sizeof(NodeOrder), Max(build->nodes, 1));
	uint32	  *place = grow(NULL, sizeof(uint32), Max(build->nodes, 1));
	int64	  *ids = FILL(block, int64, node_ids);
	uint64	  *absent = FILL(block, uint64, absent);

	for (uint32 i = 0; i < build->nodes; i++)
	{
		order[i].id = build->ids[i];
		order[i].number = i;
	}
	sort_nodes(order, build->nodes);
	memset(absent, 0, sizeof(uint64) * ((Size) build->nodes / 64 + 1));
	for (uint32 i = 0; i < build->nodes; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ids[i] = order[i].id;
		place[order[i].number] = i;
		if (order[i].number >= build->present)
			absent[i / 64] |= UINT64CONST(1) << (i % 64);
	}
	pfree(order);
	return place;
}

/*
 * Where the arcs of each node begin: counts become sums.  start is [nodes + 1],
 * ends [edges] are those that the arcs belong to.
 */
static void
fill_starts(uint32 *start, uint32 nodes, const uint32 *ends, uint32 edges,
			const uint32 *place)
{
	memset(start, 0, sizeof(uint32) * ((Size) nodes + 1));
	for (uint32 i = 0; i < edges; i++)
	{
		CHECK_FOR_INTERRUPTS();
		start[place[ends[i]] + 1]++;
	}
	for (uint32 i = 0; i < nodes; i++)
		start[i + 1] += start[i];
}

/* Each arc goes to the next free place of its node, outward and inward. */
static void
fill_arcs(GraphBlock *block, const Build *build, const uint32 *place)
{
	uint32 *out_next = grow(NULL, sizeof(uint32), build->nodes + 1);
	uint32 *in_next = grow(NULL, sizeof(uint32), build->nodes + 1);

	fill_starts(FILL(block, uint32, out_start), build->nodes, build->src,
				build->edges, place);
	fill_starts(FILL(block, uint32, in_start), build->nodes, build->dst,
				build->edges, place);
	memcpy(out_next, FILL(block, uint32, out_start),
		   sizeof(uint32) * ((Size) build->nodes + 1));
	memcpy(in_next, FILL(block, uint32, in_start),
		   sizeof(uint32) * ((Size) build->nodes + 1));
	for (uint32 i = 0; i < build->edges; i++)
	{
		uint32 src = place[build->src[i]];
		uint32 dst = place[build->dst[i]];
		uint32 out = out_next[src]++;
		uint32 in = in_next[dst]++;

		CHECK_FOR_INTERRUPTS();
		FILL(block, int64, out_edge)[out] = build->edge_id[i];
		FILL(block, double, out_weight)[out] = build->weight[i];
		FILL(block, uint32, out_node)[out] = dst;
		FILL(block, uint16, out_kind)[out] = build->kind[i];
		FILL(block, uint32, in_node)[in] = src;
		FILL(block, uint32, in_arc)[in] = out;
		FILL(block, uint16, in_kind)[in] = build->kind[i];
	}
}

/* The block of what has been read, in the given context. */
static GraphBlock *
make_block(const Build *build, Snapshot snapshot, MemoryContext context)
{
	GraphBlock	head = {.layout = GRAPH_LAYOUT,
						.nodes = build->nodes,
						.edges = build->edges,
						.kinds = build->kinds->members,
						.xmin = snapshot_xmin(snapshot),
						.has_absent = build->present < build->nodes};
	GraphBlock *block;
	char	   *names;

	lay_out(&head, build, snapshot);
	block = MemoryContextAllocHuge(context, head.size);
	*block = head;
	if (!pg_strong_random(&block->stamp, sizeof(block->stamp)))
		elog(ERROR, "could not generate random values");
	SerializeSnapshot(snapshot, FILL(block, char, snapshot));
	fill_arcs(block, build, fill_nodes(block, build));
	names = FILL(block, char, kind_names);
	for (uint32 i = 0; i < head.kinds; i++)
	{
		strcpy(names, build->kind_names[i]);
		names += strlen(names) + 1;
	}
	return block;
}

/* ---------- build ---------- */

/*
 * How many rows a build would read, as the planner estimates it.
 */
double
graph_build_cost(Relation nodes, Relation edges)
{
	double		rows[2];
	double		all_visible;
	BlockNumber pages;

	estimate_rel_size(nodes, NULL, &pages, &rows[0], &all_visible);
	estimate_rel_size(edges, NULL, &pages, &rows[1], &all_visible);
	return rows[0] + rows[1];
}

/*
 * A copy of what the snapshot shows, in the current memory context; NULL where
 * it would be larger than fa_agents.cache_size, or has too many kinds.  Nothing
 * but tables are read: the caller sees to rights and locks.
 */
const GraphBlock *
graph_build(Relation nodes, Relation edges, Snapshot snapshot,
			const GraphOrigin *origin)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents graph build", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Build		  build = {.limit = (Size) fa_cache_size * 1024};
	GraphBlock	 *block = NULL;

	build.numbers = graph_ids_create(context, 1024, NULL);
	build.kinds = kinds_create(context, 64, NULL);
	read_table(&build, nodes, snapshot, false);
	build.present = build.nodes;
	read_table(&build, edges, snapshot, true);
	if (!build.too_large)
	{
		block = make_block(&build, snapshot, result);
		block->origin = *origin;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return block;
}
