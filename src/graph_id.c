/*-------------------------------------------------------------------------
 *
 * graph_id.c
 *	  Ids of new nodes and edges.
 *
 * They are a sequence's, but rows may be loaded with ids of their own, and
 * then the sequence would run into them.  So an id is looked up before it is
 * given away; where it is taken, the sequence goes on behind the largest one
 * that there is below 2^62.  Larger ones, such as a hash or the largest bigint,
 * do not move it: it would have no room left, and no id could be given any more.
 * The few of them that it may meet behind others are passed one by one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "graph.h"

PG_FUNCTION_INFO_V1(fa_node_id);
PG_FUNCTION_INFO_V1(fa_edge_id);

/* The lock of moving a sequence: none of a user's has this class. */
#define MOVING_CLASS 64020

/* A table, its sequence, and how that is moved behind the rows. */
typedef struct Numbered
{
	const char *table;
	const char *sequence;
	Statement	move;
} Numbered;

/* Ids from here on (2^62) do not move a sequence. */
#define FAR_IDS "4611686018427387904"

#define MOVE(column, table)                                                 \
	{                                                                       \
		"SELECT pg_catalog.setval($1::pg_catalog.regclass, largest)"        \
		" FROM (SELECT pg_catalog.max(" column ") AS largest FROM @." table \
		" WHERE " column LT FAR_IDS ") AS t WHERE largest" GT               \
		"(SELECT last_value FROM @.fa_" column "_seq)",                     \
			1,                                                              \
		{                                                                   \
			OIDOID                                                          \
		}                                                                   \
	}

static Numbered nodes = {"fa_node", "fa_node_id_seq",
						 MOVE("node_id", "fa_node")};
static Numbered edges = {"fa_edge", "fa_edge_id_seq",
						 MOVE("edge_id", "fa_edge")};

/*
 * Is there a row with this id, or may there soon be one?  The primary key's
 * index tells; where somebody has dropped it, nothing does.
 */
static bool
is_taken(Relation table, int64 id)
{
	Oid			 key = primary_key_index(table);
	SnapshotData dirty;
	ScanKeyData	 wanted;
	SysScanDesc	 scan;
	bool		 taken;

	if (!OidIsValid(key))
		return false;
	InitDirtySnapshot(dirty);
	ScanKeyInit(&wanted, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = systable_beginscan(table, key, true, &dirty, 1, &wanted);
	taken = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	return taken;
}

/*
 * Moves the sequence, as the owner.  One session at a time: another that had
 * read where it stood before could move it back, and ids would come twice.
 */
static void
move_sequence(FunctionCallInfo fcinfo, Numbered *numbered, Oid sequence)
{
	LOCKTAG tag;
	Datum	arguments[1] = {ObjectIdGetDatum(sequence)};
	Call	call;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, sequence, MOVING_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	call_begin(&call, fcinfo, false);
	statement_run(&call, &numbered->move, arguments, NULL, 0);
	call_end(&call);
	LockRelease(&tag, ExclusiveLock, false);
}

/* An id that no row has. */
static int64
next_id(FunctionCallInfo fcinfo, Numbered *numbered)
{
	Call	 call = {.schema = get_func_namespace(fcinfo->flinfo->fn_oid)};
	Oid		 sequence = call_relation(&call, numbered->sequence);
	Relation table =
		table_open(call_relation(&call, numbered->table), AccessShareLock);
	int64 id = nextval_internal(sequence, false);

	if (is_taken(table, id))
	{
		move_sequence(fcinfo, numbered, sequence);
		/* rows of others that are not committed are passed one by one */
		do
		{
			CHECK_FOR_INTERRUPTS();
			id = nextval_internal(sequence, false);
		} while (is_taken(table, id));
	}
	table_close(table, NoLock);
	return id;
}

/* fa_node_id() returns bigint, the default of fa_node.node_id. */
Datum
fa_node_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(next_id(fcinfo, &nodes));
}

/* fa_edge_id() returns bigint, the default of fa_edge.edge_id and .parallel. */
Datum
fa_edge_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(next_id(fcinfo, &edges));
}
