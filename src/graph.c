/*-------------------------------------------------------------------------
 *
 * graph.c
 *	  Walks in the knowledge graph, as SQL calls them.
 *
 * Functions run with the rights of who calls them: a statement of ours on a
 * table that he may not read raises what his own would.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "graph.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_graph_neighbors);
PG_FUNCTION_INFO_V1(fa_graph_path);
PG_FUNCTION_INFO_V1(fa_graph_weighted_path);
PG_FUNCTION_INFO_V1(fa_graph_subgraph);
PG_FUNCTION_INFO_V1(fa_graph_find);

/* ---------- begin and end ---------- */

/*
 * Connects to SPI and stays who calls: see call_begin.
 */
void
graph_begin(Call *call, FunctionCallInfo fcinfo, bool read_only)
{
	call_begin_as(call, get_func_namespace(fcinfo->flinfo->fn_oid), GetUserId(),
				  read_only);
}

/* Runs a command that has no plan to keep, in the current call. */
void
graph_run_command(const char *command)
{
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", command);
}

/* Raises 54000 where a walk or its result is larger than the setting allows. */
void
graph_check_rows(int64 rows)
{
	if (rows > fa_max_graph_rows)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("walk in the graph reaches more than %d nodes",
					fa_max_graph_rows),
			 errhint(
				 "Take fewer steps or fewer kinds of edges, or raise fa_agents.max_graph_rows.")));
}

/* ---------- arguments ---------- */

/* Raises 22004 for a null that means nothing. */
static void
require_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", name)));
}

/* An id. */
static int64
id_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	require_argument(fcinfo, argument, name);
	return PG_GETARG_INT64(argument);
}

/* A number of steps; raises 22023 for a negative one. */
static int32
depth_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	require_argument(fcinfo, argument, name);
	if (PG_GETARG_INT32(argument) < 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must not be negative", name),
			 errhint(
				 "It is a number of edges; with 0 a walk stays where it begins.")));
	return PG_GETARG_INT32(argument);
}

/* GRAPH_* by its name; raises 22023 for another. */
static int
direction_argument(FunctionCallInfo fcinfo, int argument)
{
	static const struct
	{
		const char *name;
		int			direction;
	} directions[] = {
		{"out", GRAPH_OUT}, {"in", GRAPH_IN}, {"both", GRAPH_BOTH}};
	const char *name;

	require_argument(fcinfo, argument, "direction");
	name = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; i < (int) lengthof(directions); i++)
	{
		if (strcmp(name, directions[i].name) == 0)
			return directions[i].direction;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown direction \"%s\"", name),
					errhint("It is \"out\", \"in\" or \"both\".")));
	return 0; /* keep the compiler quiet */
}

/*
 * What all walks have in common, kinds, as_of and direction being arguments
 * that follow each other.  Call it before graph_begin: what it allocates is
 * the caller's.
 */
static void
graph_arguments(Graph *graph, FunctionCallInfo fcinfo, int kinds)
{
	memset(graph, 0, sizeof(Graph));
	if (!PG_ARGISNULL(kinds))
		graph->kinds = PG_GETARG_ARRAYTYPE_P(kinds);
	if (graph->kinds != NULL && ARR_NDIM(graph->kinds) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("kinds must be a one-dimensional array")));
	graph->has_as_of = !PG_ARGISNULL(kinds + 1);
	if (graph->has_as_of)
		graph->as_of = PG_GETARG_TIMESTAMPTZ(kinds + 1);
	graph->direction = direction_argument(fcinfo, kinds + 2);
}

/* ---------- where arcs come from ---------- */

/*
 * Begins walks of a function whose arguments kinds, as_of and direction begin
 * at that number.  From here on memory is the call's, until graph_close.
 */
void
graph_open(Graph *graph, FunctionCallInfo fcinfo, int kinds)
{
	graph_arguments(graph, fcinfo, kinds);
	graph_begin(&graph->call, fcinfo, true);
	graph->copy = copy_open(graph);
	if (graph->copy == NULL)
		graph->table = table_graph();
}

void
graph_close(Graph *graph)
{
	copy_close(graph);
	call_end(&graph->call);
}

/* The number of a node; NO_NUMBER where there is none. */
uint32
graph_number(Graph *graph, int64 node_id)
{
	return graph->copy != NULL ? copy_number(graph, node_id) :
								 table_number(graph, node_id);
}

int64
graph_node_id(const Graph *graph, uint32 number)
{
	return graph->copy != NULL ? copy_node_id(graph, number) :
								 table_node_id(graph, number);
}

/*
 * Visits the arcs of nodes [count]: the edges by which the walk goes on from
 * them, or by which it would have come to them (backward).  visit may not
 * change from[], nor run statements.
 */
void
graph_arcs(Graph *graph, const uint32 *from, int count, bool backward,
		   ArcVisitor visit, void *context)
{
	for (int inward = 0; inward <= 1; inward++)
	{
		if ((graph->direction & (inward != backward ? GRAPH_IN : GRAPH_OUT)) ==
			0)
			continue;
		if (graph->copy != NULL)
			copy_arcs(graph, from, count, inward, visit, context);
		else
			table_arcs(graph, from, count, inward, visit, context);
	}
}

/* ---------- results ---------- */

/* Adds a row to a set that was initialized; a null is a node's first edge. */
static void
put_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * fa_graph_neighbors(node bigint, depth int, kinds text[], as_of timestamptz,
 * direction text) returns setof (node_id, depth): all other nodes within depth
 * edges, nearer ones first.  A node that is not there has none.
 *
 * kinds null: all; as_of null: now.  Raises 22004 for another null, 22023,
 * 2202E, 42501, 54000.
 */
Datum
fa_graph_neighbors(PG_FUNCTION_ARGS)
{
	int64		node = id_argument(fcinfo, 0, "node");
	int32		depth = depth_argument(fcinfo, 1, "depth");
	uint32		count = 0;
	WalkedNode *nodes = NULL;
	Graph		graph;
	uint32		number;

	InitMaterializedSRF(fcinfo, 0);
	graph_open(&graph, fcinfo, 2);
	number = graph_number(&graph, node);
	if (number != NO_NUMBER)
		nodes = walk_around(&graph, &number, 1, depth, &count);
	for (uint32 i = 1; i < count; i++)
	{
		Datum values[2] = {
			Int64GetDatum(graph_node_id(&graph, nodes[i].number)),
			Int32GetDatum(nodes[i].depth)};
		bool nulls[2] = {false, false};

		put_row(fcinfo, values, nulls);
	}
	graph_close(&graph);
	return (Datum) 0;
}

/* The steps of a path as rows; with costs they have one column more. */
static void
put_path(FunctionCallInfo fcinfo, const Graph *graph, const PathStep *path,
		 int count)
{
	for (int i = 0; i < count; i++)
	{
		Datum values[4] = {Int32GetDatum(i),
						   Int64GetDatum(graph_node_id(graph, path[i].number)),
						   Int64GetDatum(path[i].edge_id),
						   Float8GetDatum(path[i].cost)};
		bool  nulls[4] = {false, false, i == 0, false};

		put_row(fcinfo, values, nulls);
	}
}

/*
 * fa_graph_path(src bigint, dst bigint, max_depth int, kinds text[], as_of
 * timestamptz, direction text) returns setof (seq, node_id, edge_id), from src
 * on; no rows where there is no path of at most max_depth edges.  Errors as
 * fa_graph_neighbors.
 */
Datum
fa_graph_path(PG_FUNCTION_ARGS)
{
	int64	  src = id_argument(fcinfo, 0, "src");
	int64	  dst = id_argument(fcinfo, 1, "dst");
	int32	  max_depth = depth_argument(fcinfo, 2, "max_depth");
	int		  count = 0;
	PathStep *path = NULL;
	Graph	  graph;
	uint32	  from;
	uint32	  to;

	InitMaterializedSRF(fcinfo, 0);
	graph_open(&graph, fcinfo, 3);
	graph.with_edges = true;
	from = graph_number(&graph, src);
	to = graph_number(&graph, dst);
	if (from != NO_NUMBER && to != NO_NUMBER)
		path = walk_path(&graph, from, to, max_depth, &count);
	put_path(fcinfo, &graph, path, path == NULL ? 0 : count);
	graph_close(&graph);
	return (Datum) 0;
}

/*
 * fa_graph_weighted_path(src bigint, dst bigint, max_cost float8, kinds
 * text[], as_of timestamptz, direction text) returns setof (seq, node_id,
 * edge_id, cost), from src on; no rows where there is no path of at most
 * max_cost.  Raises 22003 where a weight it meets is negative or NaN, and as
 * fa_graph_neighbors.
 */
Datum
fa_graph_weighted_path(PG_FUNCTION_ARGS)
{
	int64	  src = id_argument(fcinfo, 0, "src");
	int64	  dst = id_argument(fcinfo, 1, "dst");
	int		  count = 0;
	PathStep *path = NULL;
	double	  max_cost;
	Graph	  graph;
	uint32	  from;
	uint32	  to;

	require_argument(fcinfo, 2, "max_cost");
	max_cost = PG_GETARG_FLOAT8(2);
	if (isnan(max_cost))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_cost must be a number")));
	InitMaterializedSRF(fcinfo, 0);
	graph_open(&graph, fcinfo, 3);
	graph.with_edges = true;
	from = graph_number(&graph, src);
	to = graph_number(&graph, dst);
	if (from != NO_NUMBER && to != NO_NUMBER && max_cost >= 0)
		path = walk_weighted_path(&graph, from, to, max_cost, &count);
	put_path(fcinfo, &graph, path, path == NULL ? 0 : count);
	graph_close(&graph);
	return (Datum) 0;
}

/* ---------- fa_graph_subgraph ---------- */

typedef struct SubgraphRows
{
	FunctionCallInfo fcinfo;
	const Graph		*graph;
	int64			 rows;
} SubgraphRows;

static void
put_edge(void *context, uint32 from, uint32 to, int64 edge_id, double weight)
{
	SubgraphRows *rows = context;
	Datum		  values[4] = {
				Int64GetDatum(edge_id), Int64GetDatum(graph_node_id(rows->graph, from)),
				Int64GetDatum(graph_node_id(rows->graph, to)), Float8GetDatum(weight)};
	bool nulls[4] = {false, false, false, false};

	graph_check_rows(++rows->rows);
	put_row(rows->fcinfo, values, nulls);
}

/* Numbers of the nodes that are there, of ids [*count], which becomes theirs. */
static uint32 *
numbers_of(Graph *graph, const int64 *ids, int *count)
{
	uint32 *numbers = palloc(sizeof(uint32) * Max(*count, 1));
	int		found = 0;

	for (int i = 0; i < *count; i++)
	{
		uint32 number = graph_number(graph, ids[i]);

		CHECK_FOR_INTERRUPTS();
		if (number != NO_NUMBER)
			numbers[found++] = number;
	}
	*count = found;
	return numbers;
}

/*
 * fa_graph_subgraph(nodes bigint[], depth int, kinds text[], as_of
 * timestamptz, direction text) returns setof (edge_id, src, dst, weight): the
 * edges of these kinds among nodes and all within depth edges of them.
 * Errors as fa_graph_neighbors.
 */
Datum
fa_graph_subgraph(PG_FUNCTION_ARGS)
{
	int32		 depth = depth_argument(fcinfo, 1, "depth");
	SubgraphRows rows = {.fcinfo = fcinfo};
	Graph		 graph;
	int64		*ids;
	int			 id_count;
	uint32		*from;
	uint32		 count;
	WalkedNode	*nodes;

	require_argument(fcinfo, 0, "nodes");
	ids = array_to_int64(PG_GETARG_ARRAYTYPE_P(0), &id_count, "nodes");
	InitMaterializedSRF(fcinfo, 0);
	graph_open(&graph, fcinfo, 2);
	rows.graph = &graph;
	from = numbers_of(&graph, ids, &id_count);
	nodes = walk_around(&graph, from, id_count, depth, &count);
	graph.with_edges = true;
	walk_inside(&graph, nodes, count, put_edge, &rows);
	graph_close(&graph);
	return (Datum) 0;
}

/* ---------- fa_graph_find ---------- */

/*
 * Ids [*count] of the nodes whose props contain these.  Planned anew each
 * time, unlike our other statements: how to find them depends on what they
 * are, and only the planner knows how many there may be.
 */
static int64 *
matching_nodes(const Graph *graph, Datum *arguments, const char *nulls,
			   int *count)
{
	Oid			types[] = {JSONBOID, TEXTOID, TIMESTAMPTZOID};
	const char *schema = quote_identifier(call_schema_name());
	char	   *sql = psprintf(
			  "SELECT n.node_id FROM %s.fa_node%s n"
					" WHERE n.props OPERATOR(pg_catalog.@>) $1 AND ($2 IS NULL OR n.kind" EQ
			  "$2)%s",
			  schema, graph->has_as_of ? "_version" : "",
		  graph->has_as_of ?
				  " AND n.valid_from OPERATOR(pg_catalog.<=) $3 AND $3" LT
			  "n.valid_to" :
				  "");
	int64 *ids;

	if (SPI_execute_with_args(sql, 3, types, arguments, nulls, true,
							  (long) fa_max_graph_rows + 1) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", sql);
	*count = (int) SPI_processed;
	graph_check_rows(*count);
	ids = palloc(sizeof(int64) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		ids[i] = result_int64(i, 1);
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

/* What is around one node that was found; the result is the number of rows. */
static uint32
put_found(FunctionCallInfo fcinfo, Graph *graph, int64 match, int32 depth)
{
	uint32		number = graph_number(graph, match);
	uint32		count = 0;
	WalkedNode *nodes = NULL;

	if (number != NO_NUMBER)
		nodes = walk_around(graph, &number, 1, depth, &count);
	for (uint32 i = 0; i < count; i++)
	{
		Datum values[3] = {Int64GetDatum(match),
						   Int64GetDatum(graph_node_id(graph, nodes[i].number)),
						   Int32GetDatum(nodes[i].depth)};
		bool  nulls[3] = {false, false, false};

		put_row(fcinfo, values, nulls);
	}
	return count;
}

/*
 * fa_graph_find(props jsonb, kind text, depth int, kinds text[], as_of
 * timestamptz, direction text) returns setof (match, node_id, depth): each
 * node of that kind (null: any) whose props contain these, with all within
 * depth edges of it.  Errors as fa_graph_neighbors.
 */
Datum
fa_graph_find(PG_FUNCTION_ARGS)
{
	int32  depth = depth_argument(fcinfo, 2, "depth");
	int64  rows = 0;
	Graph  graph;
	Datum  arguments[3];
	char   nulls[4] = "   ";
	int64 *ids;
	int	   count;

	require_argument(fcinfo, 0, "props");
	arguments[0] = PG_GETARG_DATUM(0);
	arguments[1] = PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	InitMaterializedSRF(fcinfo, 0);
	graph_open(&graph, fcinfo, 3);
	arguments[2] = TimestampTzGetDatum(graph.as_of);
	ids = matching_nodes(&graph, arguments, nulls, &count);
	for (int i = 0; i < count; i++)
	{
		MemoryContext one = AllocSetContextCreate(
			CurrentMemoryContext, "fa_agents walk", ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(one);

		CHECK_FOR_INTERRUPTS();
		rows += put_found(fcinfo, &graph, ids[i], depth);
		graph_check_rows(rows);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(one);
	}
	graph_close(&graph);
	return (Datum) 0;
}
