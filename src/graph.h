/*
 * graph.h
 *		What the files of the knowledge graph share; doc/graph.md tells the
 *		design.
 *
 * While a walk lasts a node is a number: 0, 1, .. in the order in which it was
 * met, or its place in the copy in memory.
 */
#ifndef FA_GRAPH_H
#define FA_GRAPH_H

#include "commands/trigger.h"
#include "datatype/timestamp.h"

#include "fa_agents.h"

/* The columns of fa_node and fa_edge, in order, from 1. */
enum
{
	NODE_ID = 1,
	NODE_KIND,
	NODE_NAME,
	NODE_PROPS,
	NODE_VALID_FROM,
	NODE_COLUMNS = NODE_VALID_FROM
};

enum
{
	EDGE_ID = 1,
	EDGE_SRC,
	EDGE_DST,
	EDGE_KIND,
	EDGE_WEIGHT,
	EDGE_PROPS,
	EDGE_VALID_FROM,
	EDGE_PARALLEL,
	EDGE_COLUMNS = EDGE_PARALLEL
};

/* The columns of fa_graph_change. */
enum
{
	CHANGE_XID = 1,
	CHANGE_EDGE_ID,
	CHANGE_SRC,
	CHANGE_DST,
	CHANGE_BEFORE,
	CHANGE_COLUMNS = CHANGE_BEFORE
};

#define NO_NUMBER PG_UINT32_MAX

/* Which way edges are followed: bits. */
#define GRAPH_OUT  1
#define GRAPH_IN   2
#define GRAPH_BOTH (GRAPH_OUT | GRAPH_IN)

/* Told of each edge that leads on from a node of a frontier. */
typedef void (*ArcVisitor)(void *context, uint32 from, uint32 to, int64 edge_id,
						   double weight);

typedef struct GraphTable GraphTable;
typedef struct GraphCopy  GraphCopy;

/* What a walk sees. */
typedef struct Graph
{
	Call		call;
	int			direction;
	ArrayType  *kinds;	   /* NULL: all */
	bool		has_as_of; /* else: now */
	TimestampTz as_of;
	bool		with_edges; /* visitors want ids and weights of edges */
	GraphTable *table;
	GraphCopy  *copy; /* NULL: the tables are read */
} Graph;

/* ---------- graph.c ---------- */

extern void	  graph_begin(Call *call, FunctionCallInfo fcinfo, bool read_only);
extern void	  graph_open(Graph *graph, FunctionCallInfo fcinfo, int kinds);
extern void	  graph_close(Graph *graph);
extern void	  graph_run_command(const char *command);
extern void	  graph_check_rows(int64 rows);
extern uint32 graph_number(Graph *graph, int64 node_id);
extern int64  graph_node_id(const Graph *graph, uint32 number);
extern void	  graph_arcs(Graph *graph, const uint32 *from, int count,
						 bool backward, ArcVisitor visit, void *context);

/* ---------- graph_walk.c ---------- */

typedef struct WalkedNode
{
	uint32 number;
	int32  depth;
} WalkedNode;

typedef struct PathStep
{
	uint32 number;
	int64  edge_id; /* that led to it; 0 for the first */
	double cost;	/* of all up to it */
} PathStep;

extern WalkedNode *walk_around(Graph *graph, const uint32 *from, int from_count,
							   int32 depth, uint32 *count);
extern void walk_inside(Graph *graph, const WalkedNode *nodes, uint32 count,
						ArcVisitor visit, void *context);
extern PathStep *
walk_path(Graph *graph, uint32 from, uint32 to, int32 max_depth, int *count);
extern PathStep *walk_weighted_path(Graph *graph, uint32 from, uint32 to,
									double max_cost, int *count);

/* ---------- graph_table.c ---------- */

extern GraphTable *table_graph(void);
extern uint32	   table_number(Graph *graph, int64 node_id);
extern int64	   table_node_id(const Graph *graph, uint32 number);
extern void table_arcs(Graph *graph, const uint32 *from, int count, bool inward,
					   ArcVisitor visit, void *context);
extern int64 table_rows_read(const Graph *graph);

/* ---------- graph_copy.c ---------- */

extern GraphCopy *copy_open(Graph *graph);
extern void		  copy_close(Graph *graph);
extern uint32	  copy_number(Graph *graph, int64 node_id);
extern int64	  copy_node_id(const Graph *graph, uint32 number);
extern void copy_arcs(Graph *graph, const uint32 *from, int count, bool inward,
					  ArcVisitor visit, void *context);

/* ---------- graph_change.c ---------- */

extern void change_edge(FunctionCallInfo fcinfo, const Call *call,
						int64 edge_id, int64 src, int64 dst);
extern void
change_node(FunctionCallInfo fcinfo, const Call *call, int64 node_id);
extern void graph_insert_row(const Call *call, const char *table, Datum *values,
							 bool *nulls);

/* ---------- graph_version.c ---------- */

extern bool graph_trigger_is_on(FunctionCallInfo fcinfo, TriggerEvent timing,
								const char *table);

#endif /* FA_GRAPH_H */
