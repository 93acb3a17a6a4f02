/*-------------------------------------------------------------------------
 *
 * graph_table.c
 *	  The graph as the tables have it: arcs by statements, one for a frontier.
 *
 * This is always right, for the statements run under the caller's snapshot and
 * rights, and for any time.  It takes some microseconds for each edge, most
 * of them to look whether the node at its end is there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "graph.h"
#include "graph_ids.h"

struct GraphTable
{
	graph_ids_hash *numbers;
	int64		   *ids; /* [capacity], by number */
	uint32			capacity;
	uint32			count;
	int64			read;	   /* rows so far */
	ArrayType	   *any_kinds; /* empty, where no kinds are given */
};

/* ---------- statements ---------- */

#define LE " OPERATOR(pg_catalog.<=) "

/* Versions that hold at the time $3. */
#define HOLDS(alias) \
	" AND " alias ".valid_from" LE "$3 AND $3" LT alias ".valid_to"
#define ANY_TIME(alias) ""

/*
 * Edges from near to far ends, near ones being $1, with the far node there.
 * The order of columns is what receive_arc expects.
 *
 * OFFSET 0 keeps the far nodes from being joined.  Where a few nodes have most
 * of the edges, the planner expects so many for any node that it would read all
 * nodes first, and look for the edges of each.
 */
#define ARCS(near, far, suffix, time, kinds)                                  \
	"SELECT e." near ", e." far ", e.edge_id, e.weight FROM @.fa_edge" suffix \
	" e WHERE e." near EQ                                                     \
	"ANY ($1)" kinds   time("e") " AND EXISTS (SELECT FROM @.fa_node" suffix  \
							   " n WHERE n.node_id" EQ                        \
							   "e." far time("n") " OFFSET 0)"

#define ANY_KIND ""
#define THESE	 " AND e.kind" EQ "ANY ($2)"
#define ARCS_TYPES                                 \
	3,                                             \
	{                                              \
		INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID \
	}

/* By whether it is inward, kinds are given, and a time is. */
static Statement arcs_statements[2][2][2] = {
	{{{ARCS("src", "dst", "", ANY_TIME, ANY_KIND), ARCS_TYPES},
	  {ARCS("src", "dst", "_version", HOLDS, ANY_KIND), ARCS_TYPES}},
	 {{ARCS("src", "dst", "", ANY_TIME, THESE), ARCS_TYPES},
	  {ARCS("src", "dst", "_version", HOLDS, THESE), ARCS_TYPES}}},
	{{{ARCS("dst", "src", "", ANY_TIME, ANY_KIND), ARCS_TYPES},
	  {ARCS("dst", "src", "_version", HOLDS, ANY_KIND), ARCS_TYPES}},
	 {{ARCS("dst", "src", "", ANY_TIME, THESE), ARCS_TYPES},
	  {ARCS("dst", "src", "_version", HOLDS, THESE), ARCS_TYPES}}}};

/* By whether a time is given. */
static Statement node_statements[2] = {
	{"SELECT FROM @.fa_node n WHERE n.node_id" EQ "$1", 1, {INT8OID}},
	{"SELECT FROM @.fa_node_version n WHERE n.node_id" EQ
	 "$1 AND n.valid_from" LE "$2 AND $2" LT "n.valid_to",
	 2,
	 {INT8OID, TIMESTAMPTZOID}}};

/* ---------- numbers ---------- */

/* Begins a walk in the tables, in the current memory context. */
GraphTable *
table_graph(void)
{
	GraphTable *table = palloc0(sizeof(GraphTable));

	table->numbers = graph_ids_create(CurrentMemoryContext, 64, NULL);
	table->capacity = 64;
	table->ids = palloc(sizeof(int64) * table->capacity);
	table->any_kinds = construct_empty_array(TEXTOID);
	return table;
}

/* The number of a node that is there; it gets one where it has none. */
static uint32
number_of(GraphTable *table, int64 node_id)
{
	bool			 found;
	graph_ids_entry *entry = graph_ids_insert(table->numbers, node_id, &found);

	if (found)
		return entry->number;
	if (table->count == table->capacity)
	{
		table->capacity *= 2;
		table->ids = repalloc_huge(table->ids, sizeof(int64) * table->capacity);
	}
	entry->number = table->count;
	table->ids[table->count++] = node_id;
	return entry->number;
}

/* The number of a node by its id; NO_NUMBER where the graph has none. */
uint32
table_number(Graph *graph, int64 node_id)
{
	Datum arguments[2] = {Int64GetDatum(node_id),
						  TimestampTzGetDatum(graph->as_of)};

	if (statement_run(&graph->call, &node_statements[graph->has_as_of],
					  arguments, NULL, 1) == 0)
		return NO_NUMBER;
	return number_of(graph->table, node_id);
}

/* The id of a node by its number. */
int64
table_node_id(const Graph *graph, uint32 number)
{
	return graph->table->ids[number];
}

/* ---------- arcs ---------- */

/* Takes the rows of an arcs statement. */
typedef struct ArcReceiver
{
	DestReceiver pub;
	GraphTable	*table;
	ArcVisitor	 visit;
	void		*context;
} ArcReceiver;

static bool
receive_arc(TupleTableSlot *slot, DestReceiver *self)
{
	ArcReceiver *receiver = (ArcReceiver *) self;
	uint32		 from;
	uint32		 to;

	slot_getallattrs(slot);
	from = number_of(receiver->table, DatumGetInt64(slot->tts_values[0]));
	to = number_of(receiver->table, DatumGetInt64(slot->tts_values[1]));
	receiver->table->read++;
	receiver->visit(receiver->context, from, to,
					DatumGetInt64(slot->tts_values[2]),
					DatumGetFloat8(slot->tts_values[3]));
	return true;
}

static void
receive_nothing(DestReceiver *self)
{
}

static void
receive_start(DestReceiver *self, int operation, TupleDesc desc)
{
}

/*
 * Visits the edges that lead from nodes [count] outward, or to them (inward).
 */
void
table_arcs(Graph *graph, const uint32 *from, int count, bool inward,
		   ArcVisitor visit, void *context)
{
	Statement *statement =
		&arcs_statements[inward][graph->kinds != NULL][graph->has_as_of];
	ArcReceiver receiver = {{receive_arc, receive_start, receive_nothing,
							 receive_nothing, DestNone},
							graph->table,
							visit,
							context};
	int64	   *ids = palloc(sizeof(int64) * count);
	Datum		arguments[3];

	for (int i = 0; i < count; i++)
		ids[i] = graph->table->ids[from[i]];
	arguments[0] = array_from_int64(ids, count);
	/* also what a statement does not use is a value: others may log it */
	arguments[1] = PointerGetDatum(
		graph->kinds != NULL ? graph->kinds : graph->table->any_kinds);
	arguments[2] = TimestampTzGetDatum(graph->as_of);
	statement_stream(&graph->call, statement, arguments, &receiver.pub);
	pfree(DatumGetPointer(arguments[0]));
	pfree(ids);
}

/* How many rows walks have read from the tables in this call. */
int64
table_rows_read(const Graph *graph)
{
	return graph->table == NULL ? 0 : graph->table->read;
}
