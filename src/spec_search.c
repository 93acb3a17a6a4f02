/*
 * spec_search.c
 *		The spec of a search on a graph: fa_spec_graph of numbers.
 *
 * The agent walks along the edges of a graph and looks for an object, which
 * does not move, and which it sees only where it is itself.  GraphEnv puts both
 * at random places; here the agent starts at node 0 and holds all places of
 * the object for equally likely, "absent" included.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "spec.h"

static const char *const graph_object_labels[] = {"unseen", "seen"};

typedef struct SpecGraph
{
	int	  nodes;
	bool *connected; /* [nodes][nodes] */
} SpecGraph;

/*
 * An action names a node, and leads there along an edge; without one the agent
 * stays.
 */
static int
graph_move(const void *task, int from, int action)
{
	const SpecGraph *graph = task;

	return graph->connected[from * graph->nodes + action] ? action : from;
}

/* "n0", "n1", ..; one more, "absent", is where an object is that is nowhere. */
static const char *const *
graph_labels(int nodes)
{
	const char **labels = palloc((nodes + 1) * sizeof(char *));

	for (int i = 0; i < nodes; i++)
		labels[i] = psprintf("n%d", i);
	labels[nodes] = "absent";
	return labels;
}

/*
 * Raises 2202E unless edges is [count][2] or empty: a flat list would be read
 * as pairs by chance.
 */
static void
require_pairs(FunctionCallInfo fcinfo, int arg)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(arg);

	if (ARR_NDIM(array) != 0 &&
		(ARR_NDIM(array) != 2 || ARR_DIMS(array)[1] != 2))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"edges\" is not a list of pairs of nodes"),
				 errhint("Write the edges 0-1 and 1-2 as '{{0,1},{1,2}}'.")));
}

/*
 * Nodes and edges, into graph; each edge is used both ways.  Raises 22023 for
 * a node that there is not.
 */
static void
graph_arguments(FunctionCallInfo fcinfo, SpecGraph *graph)
{
	int *edges;
	int	 count;

	graph->nodes = spec_int_argument(fcinfo, 0, "nodes", 1, SPEC_MAX_NODES);
	spec_require_argument(fcinfo, 1, "edges");
	require_pairs(fcinfo, 1);
	edges = spec_int_array_argument(fcinfo, 1, "edges", &count);
	graph->connected =
		palloc0((Size) graph->nodes * graph->nodes * sizeof(bool));
	for (int i = 0; i < count; i += 2)
	{
		int a = edges[i];
		int b = edges[i + 1];

		CHECK_FOR_INTERRUPTS();
		if (a < 0 || a >= graph->nodes || b < 0 || b >= graph->nodes)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("edge %d-%d names a node that the graph lacks", a, b),
				 errdetail("The graph has the nodes 0 to %d.",
						   graph->nodes - 1)));
		graph->connected[a * graph->nodes + b] = true;
		graph->connected[b * graph->nodes + a] = true;
	}
}

/* Whether the object is seen, [2][location][object]: only at its own place. */
static void
append_graph_object(StringInfo buf, int nodes)
{
	spec_open(buf, '[');
	for (int seen = 0; seen < 2; seen++)
	{
		spec_open(buf, '[');
		for (int location = 0; location < nodes; location++)
		{
			CHECK_FOR_INTERRUPTS();
			spec_open(buf, '[');
			for (int object = 0; object <= nodes; object++)
				spec_int(buf, (location == object) == seen);
			spec_close(buf, ']');
		}
		spec_close(buf, ']');
	}
	spec_close(buf, ']');
}

/*
 * The spec of a search: where the agent goes and what it finds; see spec.h.
 */
Datum
spec_search(const SpecSearch *search)
{
	static const int parents[] = {1, 1 | 2};
	SpecAxis		 states[] = {{"location", search->nodes, search->labels},
								 {"object", search->nodes + 1, search->labels}};
	SpecAxis		 actions[] = {search->moves,
								  SPEC_AXIS("object", spec_no_action_labels)};
	SpecAxis		 outcomes[] = {{"place", search->nodes, search->labels},
								   SPEC_AXIS("sight", graph_object_labels)};
	StringInfoData	 buf;

	spec_begin(&buf);
	spec_names(&buf, 2, states, actions, 2, outcomes, parents);
	spec_open_list(&buf, "A");
	spec_diagonal(&buf, search->nodes, 1.0, 0.0);
	append_graph_object(&buf, search->nodes);
	spec_next_list(&buf, "B");
	spec_moves(&buf, search->nodes, search->moves.size, search->move,
			   search->task);
	spec_no_moves(&buf, states[1].size);
	spec_next_list(&buf, "C");
	spec_zeros(&buf);
	spec_label_value(&buf, &outcomes[1], 1, search->preference);
	spec_next_list(&buf, "D");
	spec_start(&buf, &states[0], search->start);
	spec_start(&buf, &states[1], search->object);
	return spec_finish(&buf, search->policy_len);
}

PG_FUNCTION_INFO_V1(fa_spec_graph);

/*
 * fa_spec_graph(nodes int, edges int[][], policy_len int, start int, object
 * int, preference float8) returns jsonb, a spec with factors "location"
 * [nodes] and "object" [nodes + 1], modalities "place" [nodes] and "sight"
 * [2]. edges is [count][2], nodes counting from 0; object null: open, nodes:
 * absent.
 *
 * Raises 22004 for another null, 22023 for values out of range or an edge to
 * no node, 2202E for edges that are no pairs.
 */
Datum
fa_spec_graph(PG_FUNCTION_ARGS)
{
	SpecGraph  graph;
	SpecSearch search = {.policy_len = spec_policy_len(fcinfo, 2),
						 .preference = spec_preference(fcinfo, 5, "preference"),
						 .move = graph_move,
						 .task = &graph};

	graph_arguments(fcinfo, &graph);
	search.start = spec_int_argument(fcinfo, 3, "start", 0, graph.nodes - 1);
	search.object = spec_index_argument(fcinfo, 4, "object", graph.nodes + 1);
	search.nodes = graph.nodes;
	search.labels = graph_labels(graph.nodes);
	search.moves = (SpecAxis){"move", graph.nodes, search.labels};
	return spec_search(&search);
}
