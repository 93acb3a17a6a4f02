/*-------------------------------------------------------------------------
 *
 * graph_walk.c
 *	  Walks: breadth first, from both ends, and by weights.
 *
 * None of them knows where arcs come from.  What is kept of a node lies in
 * arrays by its number, which grow as larger numbers are met; only where the
 * bit of "reached" is set has an entry a meaning, so the arrays need no
 * clearing.  All of it lies in the call's memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "graph.h"

#include <math.h>

/* Nodes whose arcs are asked for at once. */
#define FRONTIER 1024

/* ---------- what was reached ---------- */

/* How a walk came to each node. */
typedef struct Reached
{
	uint64 *bits;	   /* [capacity / 64] */
	uint32 *before;	   /* [capacity] the node it was reached from */
	int64  *edge_id;   /* [capacity] and the edge */
	uint32	capacity;  /* a multiple of 64 */
	bool	with_path; /* else before and edge_id are not kept */
} Reached;

/* Room for a number at least; what is there stays. */
static void
reached_grow(Reached *reached, uint32 number)
{
	uint64 wanted = Max((uint64) reached->capacity * 2, 1024);
	Size   old = reached->capacity / 64;

	while (wanted <= number)
		wanted *= 2;
	/* numbers are less than 2^32 - 1: one more bit than they need is lost */
	wanted = Min(wanted, (uint64) PG_UINT32_MAX - 63);
	if (reached->capacity == 0)
		reached->bits = MemoryContextAllocHuge(CurrentMemoryContext,
											   wanted / 64 * sizeof(uint64));
	else
		reached->bits =
			repalloc_huge(reached->bits, wanted / 64 * sizeof(uint64));
	memset(reached->bits + old, 0, (wanted / 64 - old) * sizeof(uint64));
	if (reached->with_path && reached->capacity == 0)
	{
		reached->before = MemoryContextAllocHuge(CurrentMemoryContext,
												 wanted * sizeof(uint32));
		reached->edge_id = MemoryContextAllocHuge(CurrentMemoryContext,
												  wanted * sizeof(int64));
	}
	else if (reached->with_path)
	{
		reached->before =
			repalloc_huge(reached->before, wanted * sizeof(uint32));
		reached->edge_id =
			repalloc_huge(reached->edge_id, wanted * sizeof(int64));
	}
	reached->capacity = (uint32) wanted;
}

static inline bool
reached_has(const Reached *reached, uint32 number)
{
	return number < reached->capacity &&
		   (reached->bits[number / 64] >> (number % 64) & 1) != 0;
}

/* Marks a node; false where it was reached before. */
static inline bool
reached_add(Reached *reached, uint32 number)
{
	uint64 bit = UINT64CONST(1) << (number % 64);

	if (number >= reached->capacity)
		reached_grow(reached, number);
	if ((reached->bits[number / 64] & bit) != 0)
		return false;
	reached->bits[number / 64] |= bit;
	return true;
}

/* ---------- breadth first ---------- */

/* One walk; the nodes of a depth follow those of the one before. */
typedef struct Breadth
{
	Graph		  *graph;
	Reached		   reached;
	WalkedNode	  *nodes; /* [capacity], count of them used */
	uint32		   capacity;
	uint32		   count;
	uint32		   begun; /* first node of the current depth */
	uint32		   first; /* how many it began with */
	int32		   depth; /* of the last nodes */
	bool		   backward;
	const Reached *other; /* of the walk that comes to meet it, or NULL */
	uint32		   met;	  /* a node that both have reached, or NO_NUMBER */
} Breadth;

static void
breadth_add(Breadth *walk, uint32 number, int32 depth)
{
	if (walk->count == walk->capacity)
	{
		walk->capacity = walk->capacity == 0 ? 256 : walk->capacity * 2;
		walk->nodes =
			walk->nodes == NULL ?
				palloc(sizeof(WalkedNode) * walk->capacity) :
				repalloc_huge(walk->nodes, sizeof(WalkedNode) * walk->capacity);
	}
	walk->nodes[walk->count].number = number;
	walk->nodes[walk->count].depth = depth;
	walk->count++;
}

/* An arc of the frontier. */
static void
breadth_visit(void *context, uint32 from, uint32 to, int64 edge_id,
			  double weight)
{
	Breadth *walk = context;

	if (!reached_add(&walk->reached, to))
		return;
	if (walk->reached.with_path)
	{
		walk->reached.before[to] = from;
		walk->reached.edge_id[to] = edge_id;
	}
	breadth_add(walk, to, walk->depth);
	if ((walk->count & 1023) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		graph_check_rows((int64) walk->count - walk->first);
	}
	if (walk->other != NULL && walk->met == NO_NUMBER &&
		reached_has(walk->other, to))
		walk->met = to;
}

/* Where a walk begins. */
static void
breadth_start(Breadth *walk, Graph *graph, const uint32 *from, int count)
{
	walk->graph = graph;
	walk->met = NO_NUMBER;
	for (int i = 0; i < count; i++)
	{
		if (reached_add(&walk->reached, from[i]))
			breadth_add(walk, from[i], 0);
	}
	walk->first = walk->count;
}

/* One step further; false where that leads nowhere. */
static bool
breadth_step(Breadth *walk)
{
	uint32 begun = walk->begun;
	uint32 end = walk->count;
	uint32 chunk[FRONTIER];

	walk->begun = end;
	walk->depth++;
	for (uint32 i = begun; i < end && walk->met == NO_NUMBER;)
	{
		int count = (int) Min(end - i, FRONTIER);

		CHECK_FOR_INTERRUPTS();
		/* a copy: nodes may move as the walk adds to them */
		for (int j = 0; j < count; j++)
			chunk[j] = walk->nodes[i + j].number;
		graph_arcs(walk->graph, chunk, count, walk->backward, breadth_visit,
				   walk);
		i += count;
	}
	graph_check_rows((int64) walk->count - walk->first);
	return walk->count > end;
}

/*
 * All nodes within depth edges of nodes [from_count], these first; the result
 * is [*count], nearer ones before others.
 */
WalkedNode *
walk_around(Graph *graph, const uint32 *from, int from_count, int32 depth,
			uint32 *count)
{
	Breadth walk = {0};

	breadth_start(&walk, graph, from, from_count);
	while (walk.depth < depth && breadth_step(&walk))
		;
	*count = walk.count;
	return walk.nodes;
}

/* ---------- the edges among nodes ---------- */

typedef struct Inside
{
	Reached	   reached;
	ArcVisitor visit;
	void	  *context;
} Inside;

static void
inside_visit(void *context, uint32 from, uint32 to, int64 edge_id,
			 double weight)
{
	Inside *inside = context;

	if (reached_has(&inside->reached, to))
		inside->visit(inside->context, from, to, edge_id, weight);
}

/* Visits each edge once whose ends are both among nodes [count]. */
void
walk_inside(Graph *graph, const WalkedNode *nodes, uint32 count,
			ArcVisitor visit, void *context)
{
	Inside inside = {.visit = visit, .context = context};
	int	   direction = graph->direction;
	uint32 chunk[FRONTIER];

	for (uint32 i = 0; i < count; i++)
		reached_add(&inside.reached, nodes[i].number);
	graph->direction = GRAPH_OUT;
	for (uint32 i = 0; i < count;)
	{
		int part = (int) Min(count - i, FRONTIER);

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < part; j++)
			chunk[j] = nodes[i + j].number;
		graph_arcs(graph, chunk, part, false, inside_visit, &inside);
		i += part;
	}
	graph->direction = direction;
}

/* ---------- a path of fewest edges ---------- */

/* The number of edges by which a walk came to a node. */
static int
edges_to(const Reached *reached, uint32 from, uint32 to)
{
	int edges = 0;

	for (; to != from; to = reached->before[to])
		edges++;
	return edges;
}

/*
 * The path that two walks found: forward from its start to where they met,
 * backward from there to its end.
 */
static PathStep *
join_path(const Reached *forward, const Reached *backward, uint32 from,
		  uint32 met, uint32 to, int *count)
{
	int		  ahead = edges_to(forward, from, met);
	int		  behind = edges_to(backward, to, met);
	PathStep *path = palloc(sizeof(PathStep) * ((Size) ahead + behind + 1));
	uint32	  at = met;

	*count = ahead + behind + 1;
	for (int i = ahead; i > 0; i--)
	{
		path[i].number = at;
		path[i].edge_id = forward->edge_id[at];
		at = forward->before[at];
	}
	path[0].number = from;
	path[0].edge_id = 0;
	at = met;
	for (int i = ahead + 1; i < *count; i++)
	{
		path[i].edge_id = backward->edge_id[at];
		at = backward->before[at];
		path[i].number = at;
	}
	return path;
}

/*
 * A path of fewest edges, at most max_depth; NULL where there is none.  Two
 * walks come to meet each other, each time a step by the one with the smaller
 * frontier.  When one first reaches a node of the other their depths add up
 * to the least number: all nodes nearer were reached in full before.
 */
PathStep *
walk_path(Graph *graph, uint32 from, uint32 to, int32 max_depth, int *count)
{
	Breadth ahead = {.reached.with_path = true};
	Breadth behind = {.reached.with_path = true, .backward = true};

	breadth_start(&ahead, graph, &from, 1);
	breadth_start(&behind, graph, &to, 1);
	ahead.other = &behind.reached;
	behind.other = &ahead.reached;
	if (from == to)
		return join_path(&ahead.reached, &behind.reached, from, to, to, count);
	while (ahead.depth + behind.depth < max_depth)
	{
		bool forward = ahead.count - ahead.begun <= behind.count - behind.begun;
		Breadth *walk = forward ? &ahead : &behind;
		bool	 further = breadth_step(walk);

		if (walk->met != NO_NUMBER)
			return join_path(&ahead.reached, &behind.reached, from, walk->met,
							 to, count);
		if (!further)
			break;
	}
	return NULL;
}

/* ---------- a path of least weight ---------- */

/* A node to look at, at this cost; it may stand there more than once. */
typedef struct Open
{
	double cost;
	uint32 number;
} Open;

/* Dijkstra's algorithm. */
typedef struct Cheapest
{
	Reached reached; /* seen, at cost[] or less */
	double *cost;	 /* [costs] */
	uint32	costs;
	Open   *heap; /* [capacity], the least first */
	Size	capacity;
	Size	open;
	int64	seen;
	double	here;	  /* cost of the node whose arcs are visited */
	double	max_cost; /* paths of more are not looked for */
} Cheapest;

/* Adds a node; the heap's order is by cost alone. */
static void
heap_push(Cheapest *search, uint32 number, double cost)
{
	Size at;

	if (search->open == search->capacity)
	{
		search->capacity = search->capacity == 0 ? 256 : search->capacity * 2;
		search->heap =
			search->heap == NULL ?
				palloc(sizeof(Open) * search->capacity) :
				repalloc_huge(search->heap, sizeof(Open) * search->capacity);
	}
	for (at = search->open++; at > 0 && search->heap[(at - 1) / 2].cost > cost;
		 at = (at - 1) / 2)
		search->heap[at] = search->heap[(at - 1) / 2];
	search->heap[at].cost = cost;
	search->heap[at].number = number;
}

/* Takes the cheapest node; there must be one. */
static Open
heap_pop(Cheapest *search)
{
	Open least = search->heap[0];
	Open last = search->heap[--search->open];
	Size at = 0;

	for (;;)
	{
		Size child = at * 2 + 1;

		if (child >= search->open)
			break;
		if (child + 1 < search->open &&
			search->heap[child + 1].cost < search->heap[child].cost)
			child++;
		if (search->heap[child].cost >= last.cost)
			break;
		search->heap[at] = search->heap[child];
		at = child;
	}
	search->heap[at] = last;
	return least;
}

/* Raises 22003 for a weight that no least sum can have. */
static void
check_weight(int64 edge_id, double weight)
{
	if (!(weight >= 0))
		ereport(
			ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("weight of edge " INT64_FORMAT
					" is negative or not a number",
					edge_id),
			 errdetail("A path of least weight needs weights from 0 on."),
			 errhint(
				 "Leave edges of its kind out, or look for a path of fewest edges by fa_graph_path.")));
}

static void
cheapest_visit(void *context, uint32 from, uint32 to, int64 edge_id,
			   double weight)
{
	Cheapest *search = context;
	double	  cost = search->here + weight;
	bool	  is_new;

	check_weight(edge_id, weight);
	if (cost > search->max_cost)
		return;
	is_new = reached_add(&search->reached, to);
	if (search->costs < search->reached.capacity)
	{
		search->costs = search->reached.capacity;
		search->cost =
			repalloc_huge(search->cost, sizeof(double) * search->costs);
	}
	if (!is_new && search->cost[to] <= cost)
		return;
	if (is_new)
		graph_check_rows(search->seen++);
	search->cost[to] = cost;
	search->reached.before[to] = from;
	search->reached.edge_id[to] = edge_id;
	heap_push(search, to, cost);
}

/* The path to a node that was found, with its costs. */
static PathStep *
cheapest_path(const Cheapest *search, uint32 from, uint32 to, int *count)
{
	PathStep *path =
		join_path(&search->reached, &search->reached, from, to, to, count);

	for (int i = 0; i < *count; i++)
		path[i].cost = search->cost[path[i].number];
	return path;
}

/*
 * A path with the least sum of weights, at most max_cost; NULL where there is
 * none.  Raises 22003 where it meets a negative weight or NaN.
 */
PathStep *
walk_weighted_path(Graph *graph, uint32 from, uint32 to, double max_cost,
				   int *count)
{
	Cheapest search = {.reached.with_path = true, .max_cost = max_cost};

	reached_add(&search.reached, from);
	search.costs = search.reached.capacity;
	search.cost = MemoryContextAllocHuge(CurrentMemoryContext,
										 sizeof(double) * search.costs);
	search.cost[from] = 0;
	heap_push(&search, from, 0);
	while (search.open > 0)
	{
		Open next = heap_pop(&search);

		CHECK_FOR_INTERRUPTS();
		if (next.number == to)
			return cheapest_path(&search, from, to, count);
		/* a cheaper way to it has been found and used since */
		if (next.cost > search.cost[next.number])
			continue;
		search.here = next.cost;
		graph_arcs(graph, &next.number, 1, false, cheapest_visit, &search);
	}
	return NULL;
}
