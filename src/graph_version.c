/*-------------------------------------------------------------------------
 *
 * graph_version.c
 *	  The triggers on fa_node and fa_edge: old versions go to the history.
 *
 * Two on each table.  Before an update, when the row is locked, the new version
 * gets its time; only then is the clock later than the time of every version
 * before it.  After it the old version is kept: a trigger of a user's may still
 * have changed or stopped the update in between.
 *
 * Versions that only their own transaction ever saw are not kept: the row's
 * time stays that of the transaction's first edit, so that the history has no
 * gap.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "graph.h"

PG_FUNCTION_INFO_V1(fa_graph_stamp);
PG_FUNCTION_INFO_V1(fa_graph_keep);

/* A table whose versions are kept, and where. */
typedef struct Versioned
{
	const char *table;
	const char *what;	 /* a row of it is */
	const char *history; /* the same columns, then valid_to */
	int			columns;
	int			valid_from;
} Versioned;

static const Versioned versioned[] = {
	{"fa_node", "node", "fa_node_history", NODE_COLUMNS, NODE_VALID_FROM},
	{"fa_edge", "edge", "fa_edge_history", EDGE_COLUMNS, EDGE_VALID_FROM}};

#define NODES (&versioned[0])

/* A row, taken apart. */
typedef struct Row
{
	Datum values[EDGE_COLUMNS + 1]; /* from 0, with room for valid_to */
	bool  nulls[EDGE_COLUMNS + 1];
} Row;

/*
 * Is this a call by a trigger for each row, with this timing, of our table of
 * that name?
 */
bool
graph_trigger_is_on(FunctionCallInfo fcinfo, TriggerEvent timing,
					const char *table)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	return CALLED_AS_TRIGGER(fcinfo) &&
		   TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
		   (trigger->tg_event & TRIGGER_EVENT_TIMINGMASK) == timing &&
		   RelationGetNamespace(trigger->tg_relation) ==
			   get_func_namespace(fcinfo->flinfo->fn_oid) &&
		   strcmp(RelationGetRelationName(trigger->tg_relation), table) == 0;
}

/*
 * Which table a trigger is on.  Raises 0A000 on one of somebody else's: it
 * would write to our history what its owner likes.
 */
static const Versioned *
trigger_table(FunctionCallInfo fcinfo, TriggerEvent timing)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	for (int i = 0; i < (int) lengthof(versioned); i++)
	{
		if (graph_trigger_is_on(fcinfo, timing, versioned[i].table) &&
			RelationGetNumberOfAttributes(trigger->tg_relation) >=
				versioned[i].columns)
			return &versioned[i];
	}
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("this trigger is for fa_node and fa_edge only")));
	return NULL; /* keep the compiler quiet */
}

static void
take_apart(const TriggerData *trigger, HeapTuple tuple, const Versioned *table,
		   Row *row)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);

	memset(row, 0, sizeof(Row));
	for (int i = 0; i < table->columns; i++)
		row->values[i] = heap_getattr(tuple, i + 1, desc, &row->nulls[i]);
}

static TimestampTz
valid_from(const Versioned *table, const Row *row)
{
	return DatumGetTimestampTz(row->values[table->valid_from - 1]);
}

/* The time at which a version ends: now, but after it began. */
static TimestampTz
end_of(const Versioned *table, const Row *row)
{
	return Max(GetCurrentTimestamp(), valid_from(table, row) + 1);
}

/* Was this version made by the current transaction? */
static bool
is_own(HeapTuple tuple)
{
	return TransactionIdIsCurrentTransactionId(
		HeapTupleHeaderGetXmin(tuple->t_data));
}

/* Do two versions differ in a column? */
static bool
differs(const TriggerData *trigger, const Row *a, const Row *b, int column)
{
	Form_pg_attribute attribute =
		TupleDescAttr(RelationGetDescr(trigger->tg_relation), column - 1);

	return !datum_image_eq(a->values[column - 1], b->values[column - 1],
						   attribute->attbyval, attribute->attlen);
}

/*
 * Do two versions differ in what is not the time?  A null is none of ours: the
 * server is about to refuse it.
 */
static bool
is_changed(const TriggerData *trigger, const Versioned *table, const Row *a,
		   const Row *b)
{
	for (int column = 1; column <= table->columns; column++)
	{
		if (column != table->valid_from && !a->nulls[column - 1] &&
			!b->nulls[column - 1] && differs(trigger, a, b, column))
			return true;
	}
	return false;
}

/* ---------- before ---------- */

/*
 * fa_graph_stamp() returns trigger, before an update of a row: sets its
 * valid_from.  A row that stays as it was keeps its time, and so gets no
 * version.
 */
Datum
fa_graph_stamp(PG_FUNCTION_ARGS)
{
	const Versioned *table = trigger_table(fcinfo, TRIGGER_EVENT_BEFORE);
	TriggerData		*trigger = (TriggerData *) fcinfo->context;
	HeapTuple		 old_tuple = trigger->tg_trigtuple;
	HeapTuple		 new_tuple = trigger->tg_newtuple;
	bool			 isnull = false;
	Row				 old;
	Row new;
	Datum time;

	take_apart(trigger, old_tuple, table, &old);
	take_apart(trigger, new_tuple, table, &new);
	time = TimestampTzGetDatum(is_changed(trigger, table, &old, &new) &&
									   !is_own(old_tuple) ?
								   end_of(table, &old) :
								   valid_from(table, &old));
	return PointerGetDatum(heap_modify_tuple_by_cols(
		new_tuple, RelationGetDescr(trigger->tg_relation), 1,
		unconstify(int *, &table->valid_from), &time, &isnull));
}

/* ---------- after ---------- */

/* Writes a version that is over. */
static void
keep_version(const Call *call, const Versioned *table, const Row *old,
			 TimestampTz valid_to)
{
	Row row = *old;

	row.values[table->columns] = TimestampTzGetDatum(valid_to);
	row.nulls[table->columns] = false;
	graph_insert_row(call, table->history, row.values, row.nulls);
}

/*
 * Edges of a node that is deleted, in ascending order of their ids, which the
 * index gives them in: the node at the other end may be deleted at once.
 */
static Statement delete_edges_statement = {
	"DELETE FROM @.fa_edge WHERE edge_id" EQ
	"ANY (ARRAY(SELECT edge_id FROM @.fa_edge WHERE src" EQ
	"$1 UNION SELECT edge_id FROM @.fa_edge WHERE dst" EQ "$1))",
	1,
	{INT8OID}};

/*
 * A node is gone, with its edges; as the owner, as a foreign key would do it.
 */
static void
node_is_gone(FunctionCallInfo fcinfo, int64 node_id)
{
	Datum arguments[1] = {Int64GetDatum(node_id)};
	Call  call;

	call_begin(&call, fcinfo, false);
	change_node(fcinfo, &call, node_id);
	statement_run(&call, &delete_edges_statement, arguments, NULL, 0);
	call_end(&call);
}

static int64
id_of(const Row *row, int column)
{
	return DatumGetInt64(row->values[column - 1]);
}

/* Notes an edge by its ends in one version. */
static void
note_edge(FunctionCallInfo fcinfo, const Call *call, const Row *edge)
{
	change_edge(fcinfo, call, id_of(edge, EDGE_ID), id_of(edge, EDGE_SRC),
				id_of(edge, EDGE_DST));
}

/* Notes what an update changed of what walks see. */
static void
note_update(FunctionCallInfo fcinfo, const Call *call, const Versioned *table,
			const Row *old, const Row *new)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	if (table == NODES)
	{
		if (id_of(old, NODE_ID) != id_of(new, NODE_ID))
			node_is_gone(fcinfo, id_of(old, NODE_ID));
		return;
	}
	if (!differs(trigger, old, new, EDGE_SRC) &&
		!differs(trigger, old, new, EDGE_DST) &&
		!differs(trigger, old, new, EDGE_ID) &&
		!differs(trigger, old, new, EDGE_KIND) &&
		!differs(trigger, old, new, EDGE_WEIGHT))
		return;
	note_edge(fcinfo, call, old);
	if (differs(trigger, old, new, EDGE_SRC) ||
		differs(trigger, old, new, EDGE_DST) ||
		differs(trigger, old, new, EDGE_ID))
		note_edge(fcinfo, call, new);
}

/* The change of a row becomes an event, if these are wanted. */
static void
tell_outbox(FunctionCallInfo fcinfo, const Versioned *table, const Row *row,
			const char *change)
{
	Call call;

	if (!OUTBOX_WANTS(OUTBOX_GRAPH))
		return;
	call_begin(&call, fcinfo, false);
	outbox_add(&call, OUTBOX_GRAPH, 0, 0, InvalidOid,
			   psprintf("{\"%s\": " INT64_FORMAT ", \"change\": \"%s\"}",
						table->what, id_of(row, 1), change));
	call_end(&call);
}

/*
 * fa_graph_keep() returns trigger, after a row was written: keeps the version
 * that is over, and notes what the copy in memory has to know.
 */
Datum
fa_graph_keep(PG_FUNCTION_ARGS)
{
	const Versioned	  *table = trigger_table(fcinfo, TRIGGER_EVENT_AFTER);
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;
	Call call = {.schema = RelationGetNamespace(trigger->tg_relation)};
	Row	 old;
	Row new;

	/* the tuple of an insert is the new one */
	take_apart(trigger, trigger->tg_trigtuple, table, &old);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		/* a new node is in no walk until an edge leads to it */
		if (table != NODES)
			note_edge(fcinfo, &call, &old);
		tell_outbox(fcinfo, table, &old, "made");
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		take_apart(trigger, trigger->tg_newtuple, table, &new);
		if (valid_from(table, &new) != valid_from(table, &old))
			keep_version(&call, table, &old, valid_from(table, &new));
		note_update(fcinfo, &call, table, &old, &new);
		if (is_changed(trigger, table, &old, &new))
			tell_outbox(fcinfo, table, &new, "changed");
	}
	else
	{
		if (!is_own(trigger->tg_trigtuple))
			keep_version(&call, table, &old, end_of(table, &old));
		if (table == NODES)
			node_is_gone(fcinfo, id_of(&old, NODE_ID));
		else
			note_edge(fcinfo, &call, &old);
		tell_outbox(fcinfo, table, &old, "dropped");
	}
	return PointerGetDatum(NULL);
}
