/*-------------------------------------------------------------------------
 *
 * graph_spec.c
 *	  A model spec whose states are nodes of the knowledge graph, and whose
 *	  moves are its edges.
 *
 * The task is that of the other fa_spec_graph (spec_search.c): the agent walks, and
 * looks for an object that it sees only where it is itself.  But an action is
 * not a node's name, for there may be hundreds: it is the number of an edge
 * among those that lead on from where the agent is, and 0 stays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "graph.h"
#include "graph_ids.h"
#include "spec.h"

PG_FUNCTION_INFO_V1(fa_spec_graph_nodes);

/* The nodes and where edges lead from each. */
typedef struct Territory
{
	int64		   *ids;	/* [nodes], in the caller's order */
	const char	  **labels; /* [nodes + 1], the last is "absent" */
	int				nodes;
	graph_ids_hash *place;	/* number in the walk to the place in ids */
	bool		   *leads;	/* [nodes][nodes] */
	int			   *next;	/* [nodes][moves]: where each action leads */
	int				moves;	/* with 0, to stay */
	bool			both;	/* edges are used both ways */
	bool			inward; /* edges are used against their direction */
} Territory;

/* ---------- nodes ---------- */

/* Names of nodes, null for those that are not there, in the order of ids. */
static Statement names_statements[2] = {
	{"SELECT n.name FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (id, place)"
	 " LEFT JOIN @.fa_node n ON n.node_id" EQ "u.id ORDER BY u.place",
	 1,
	 {INT8ARRAYOID}},
	{"SELECT n.name FROM pg_catalog.unnest($1) WITH ORDINALITY AS u (id, place)"
	 " LEFT JOIN @.fa_node_version n ON n.node_id" EQ
	 "u.id AND n.valid_from OPERATOR(pg_catalog.<=) $2 AND $2" LT
	 "n.valid_to ORDER BY u.place",
	 2,
	 {INT8ARRAYOID, TIMESTAMPTZOID}}};

/*
 * A name as the text of a spec can have it: JSON, without the quotes.  Names
 * that are empty, taken, or the one of no place, get the node's id behind.
 */
static const char *
label_of(const char *name, int64 node_id, bool needs_id)
{
	StringInfoData buf;

	if (needs_id || *name == '\0' || strcmp(name, "absent") == 0)
		name = psprintf("%s#" INT64_FORMAT, name, node_id);
	initStringInfo(&buf);
	escape_json(&buf, name);
	buf.data[buf.len - 1] = '\0';
	return buf.data + 1;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Are there two equal names among names [count]? */
static bool
has_twins(const char *const *names, int count)
{
	const char **sorted = palloc(sizeof(char *) * Max(count, 1));
	bool		 twins = false;

	memcpy(sorted, names, sizeof(char *) * count);
	qsort(sorted, count, sizeof(char *), compare_names);
	for (int i = 1; i < count; i++)
		twins |= strcmp(sorted[i - 1], sorted[i]) == 0;
	pfree(sorted);
	return twins;
}

/*
 * Reads the names of the nodes.  Raises 42704 for one that is not there.
 */
static void
read_labels(const Graph *graph, Territory *land)
{
	Datum		 arguments[2] = {array_from_int64(land->ids, land->nodes),
								 TimestampTzGetDatum(graph->as_of)};
	const char **names = palloc(sizeof(char *) * land->nodes);
	bool		 twins;

	if (statement_run(&graph->call, &names_statements[graph->has_as_of],
					  arguments, NULL, 0) != land->nodes)
		elog(ERROR, "nodes are there more than once");
	for (int i = 0; i < land->nodes; i++)
	{
		bool  isnull;
		Datum name = result_datum(i, 1, &isnull);

		if (isnull)
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("node " INT64_FORMAT " does not exist", land->ids[i]),
				 errhint(
					 "Table fa_node lists the nodes; those of a time \"as_of\" are in view fa_node_version.")));
		names[i] = TextDatumGetCString(name);
	}
	twins = has_twins(names, land->nodes);
	land->labels = palloc(sizeof(char *) * (land->nodes + 1));
	for (int i = 0; i < land->nodes; i++)
		land->labels[i] = label_of(names[i], land->ids[i], twins);
	land->labels[land->nodes] = "absent";
}

/* The place of a node among those of the spec, by its id, or -1. */
static int
place_of(const Territory *land, int64 node_id)
{
	for (int i = 0; i < land->nodes; i++)
	{
		if (land->ids[i] == node_id)
			return i;
	}
	return -1;
}

/* ---------- edges ---------- */

/* An edge between two nodes of the spec. */
static void
add_edge(void *context, uint32 from, uint32 to, int64 edge_id, double weight)
{
	Territory *land = context;
	int		   src = (int) graph_ids_lookup(land->place, from)->number;
	int		   dst = (int) graph_ids_lookup(land->place, to)->number;

	if (!land->inward || land->both)
		land->leads[src * land->nodes + dst] = true;
	if (land->inward || land->both)
		land->leads[dst * land->nodes + src] = true;
}

/*
 * Reads the edges among the nodes.  Raises 22023 where a node stands twice.
 */
static void
read_edges(Graph *graph, Territory *land)
{
	WalkedNode *walked = palloc(sizeof(WalkedNode) * land->nodes);
	bool		found;

	land->place = graph_ids_create(CurrentMemoryContext, land->nodes, NULL);
	land->leads = palloc0(mul_size(land->nodes, land->nodes));
	for (int i = 0; i < land->nodes; i++)
	{
		graph_ids_entry *entry;

		walked[i].number = graph_number(graph, land->ids[i]);
		walked[i].depth = 0;
		entry = graph_ids_insert(land->place, walked[i].number, &found);
		if (found)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("node " INT64_FORMAT " is given more than once",
							land->ids[i])));
		entry->number = i;
	}
	walk_inside(graph, walked, land->nodes, add_edge, land);
}

/* Numbers the moves of each node, by the order in which nodes were given. */
static void
number_moves(Territory *land)
{
	int most = 0;

	for (int from = 0; from < land->nodes; from++)
	{
		int count = 0;

		for (int to = 0; to < land->nodes; to++)
			count += to != from && land->leads[from * land->nodes + to];
		most = Max(most, count);
	}
	land->moves = most + 1;
	land->next =
		palloc(mul_size(sizeof(int), mul_size(land->nodes, land->moves)));
	for (int from = 0; from < land->nodes; from++)
	{
		int *next = &land->next[from * land->moves];
		int	 count = 1;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < land->moves; i++)
			next[i] = from;
		for (int to = 0; to < land->nodes; to++)
		{
			if (to != from && land->leads[from * land->nodes + to])
				next[count++] = to;
		}
	}
}

/* ---------- the spec ---------- */

static int
territory_move(const void *task, int from, int action)
{
	const Territory *land = task;

	return land->next[from * land->moves + action];
}

/* "stay", "edge 1", "edge 2", .. */
static const char *const *
move_labels(int moves)
{
	const char **labels = palloc(sizeof(char *) * moves);

	labels[0] = "stay";
	for (int i = 1; i < moves; i++)
		labels[i] = psprintf("edge %d", i);
	return labels;
}

/* Raises 22023 where a node was given that the spec has not; null is fallback. */
static int
place_argument(FunctionCallInfo fcinfo, int argument, const char *what,
			   const Territory *land, int fallback)
{
	int place;

	if (PG_ARGISNULL(argument))
		return fallback;
	place = place_of(land, PG_GETARG_INT64(argument));
	if (place < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s " INT64_FORMAT " is not among the nodes",
							   what, PG_GETARG_INT64(argument))));
	return place;
}

/* The nodes, 1 to SPEC_MAX_NODES of them.  Raises 22004, 22023, 2202E. */
static void
nodes_argument(FunctionCallInfo fcinfo, Territory *land)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"nodes\" must not be null")));
	land->ids = array_to_int64(PG_GETARG_ARRAYTYPE_P(0), &land->nodes, "nodes");
	if (land->nodes < 1 || land->nodes > SPEC_MAX_NODES)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"nodes\" has %d elements, outside its range",
					land->nodes),
			 errhint("Give 1 to %d nodes, such as fa_graph_neighbors returns.",
					 SPEC_MAX_NODES)));
}

/*
 * fa_spec_graph(nodes bigint[], policy_len int, start bigint, object bigint,
 * preference float8, kinds text[], as_of timestamptz, direction text) returns
 * jsonb, a spec with factors "location" [nodes] and "object" [nodes + 1],
 * modalities "place" [nodes] and "sight" [2].  The states are called as the
 * nodes are.
 *
 * start null: the first node; object null: open; kinds null: all; as_of null:
 * now.  Raises 22004 for another null, 42704 for a node that is not there,
 * 22023 for values out of range, 42501.
 */
Datum
fa_spec_graph_nodes(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	Territory	  land = {0};
	SpecSearch	  search = {.policy_len = spec_policy_len(fcinfo, 1),
							.preference = spec_preference(fcinfo, 4, "preference"),
							.move = territory_move,
							.task = &land};
	Graph		  graph;

	nodes_argument(fcinfo, &land);
	search.nodes = land.nodes;
	search.start = place_argument(fcinfo, 2, "start", &land, 0);
	search.object = place_argument(fcinfo, 3, "object", &land, -1);
	graph_open(&graph, fcinfo, 5);
	/* what is read outlives the connection */
	MemoryContextSwitchTo(caller);
	land.both = graph.direction == GRAPH_BOTH;
	land.inward = graph.direction == GRAPH_IN;
	read_labels(&graph, &land);
	read_edges(&graph, &land);
	graph_close(&graph);
	number_moves(&land);
	search.labels = land.labels;
	search.moves = (SpecAxis){"move", land.moves, move_labels(land.moves)};
	return spec_search(&search);
}
