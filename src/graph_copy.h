/*
 * graph_copy.h
 *		The copy of the graph in memory, and what is in doubt about it.
 */
#ifndef FA_GRAPH_COPY_H
#define FA_GRAPH_COPY_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "graph.h"
#include "graph_ids.h"

/* Raised whenever GraphBlock changes. */
#define GRAPH_LAYOUT UINT64CONST(0xFA67000000000002)

/*
 * What a copy depends on and fa_graph_change does not tell of.  A copy is of no
 * use once any of it is another; no padding, for it is compared as bytes.
 */
typedef struct GraphOrigin
{
	Oid			  files[3];	   /* of fa_node, fa_edge and fa_graph_change */
	TransactionId triggers[2]; /* who wrote their rows in pg_trigger */
	TransactionId database;	   /* the same of pg_database */
} GraphOrigin;

/*
 * The head of a copy; arrays follow it, whose places are bytes from its start.
 * It never changes.
 */
typedef struct GraphBlock
{
	uint64		layout; /* GRAPH_LAYOUT */
	uint64		stamp;	/* tells it from every other copy */
	Size		size;
	uint64		xmin; /* of the snapshot, with its epoch */
	GraphOrigin origin;
	uint32		nodes;
	uint32		edges;
	uint32		kinds;
	bool		has_absent;
	Size		node_ids;	/* [nodes] int64, ascending */
	Size		out_edge;	/* [edges] int64 */
	Size		out_weight; /* [edges] float8 */
	Size		snapshot;	/* as the server serializes it */
	Size		out_start;	/* [nodes + 1] uint32 */
	Size		in_start;	/* [nodes + 1] uint32 */
	Size		out_node;	/* [edges] uint32 */
	Size		in_node;	/* [edges] uint32 */
	Size		in_arc;		/* [edges] uint32, place among the outward */
	Size		out_kind;	/* [edges] uint16 */
	Size		in_kind;	/* [edges] uint16 */
	Size		absent;		/* [nodes] bits of bytes */
	Size		kind_names; /* one after another, each with its zero byte */
} GraphBlock;

/* The tables of a copy, in the order of GraphOrigin. */
enum
{
	TABLE_NODES,
	TABLE_EDGES,
	TABLE_CHANGES
};

#define BLOCK_ARRAY(block, type, array) \
	((const type *) ((const char *) (block) + (block)->array))

/* An edge that is in doubt, as the snapshot shows it. */
typedef struct DoubtArc
{
	int64		edge_id;
	double		weight;
	const char *kind;
	uint32		ends[2]; /* numbers of src and dst */
	uint32		next[2]; /* arc of the same src, of the same dst */
	bool		dead;	 /* it has been read again since */
} DoubtArc;

/*
 * What may differ from a copy under a snapshot.  Nodes that the copy lacks have
 * numbers from its count on.
 */
typedef struct GraphDoubt
{
	MemoryContext	context; /* owns all of it */
	uint64			stamp;	 /* of the copy */
	Snapshot		snapshot;
	uint64			xmin;	 /* of snapshot, with its epoch */
	graph_ids_hash *edges;	 /* id to the place in arcs, or NO_NUMBER */
	graph_ids_hash *numbers; /* ids of nodes that the copy lacks */
	int64		   *ids;	 /* [id_capacity], of those by number */
	uint32			id_count;
	uint32			id_capacity;
	DoubtArc	   *arcs; /* [arc_capacity] */
	uint32			arc_count;
	uint32			arc_capacity;
	graph_ids_hash *first[2]; /* number of src, of dst, to its first arc */
	uint64		   *touched;  /* [nodes of the copy] bits: some edge of it */
	uint64		   *gone;	  /* [nodes of the copy] bits: it may be */
} GraphDoubt;

/* A copy as one walk uses it. */
struct GraphCopy
{
	const GraphBlock *block;
	Snapshot		  began;	/* the copy's own */
	Snapshot		  snapshot; /* the caller's */
	GraphDoubt		 *doubt;
	Relation		  tables[3]; /* as in GraphOrigin */
	GraphOrigin		  origin;
	bool			  origin_seen; /* by the snapshot: a copy may be built */
	bool			 *wanted;	   /* [kinds]; NULL: all */
	char			**kinds;	   /* [kind_count] that are wanted */
	int				  kind_count;
	graph_ids_hash	 *asked; /* nodes that were looked up: 1 is there */
};

/* ---------- graph_build.c ---------- */

extern const GraphBlock				  *
graph_build(Relation nodes, Relation edges, Snapshot snapshot,
						  const GraphOrigin *origin);
extern double graph_build_cost(Relation nodes, Relation edges);

/* ---------- graph_doubt.c ---------- */

extern bool doubt_find(const Graph *graph, GraphCopy *copy, Snapshot snapshot);
extern uint32
doubt_number(GraphDoubt *doubt, const GraphBlock *block, int64 node_id);
extern bool	  snapshot_sees_all(Snapshot snapshot, Snapshot earlier);
extern uint64 snapshot_xmin(Snapshot snapshot);

/* ---------- graph_copy.c ---------- */

extern uint32 copy_place(const GraphBlock *block, int64 node_id);

static inline bool
bit_is_set(const uint64 *bits, uint32 number)
{
	return (bits[number / 64] >> (number % 64) & 1) != 0;
}

#endif /* FA_GRAPH_COPY_H */
