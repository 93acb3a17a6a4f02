/*-------------------------------------------------------------------------
 *
 * hot.c
 *	  The hot rows as they lie in table fa_belief: found by id, replaced by
 *	  newer versions.
 *
 * Two statements a step, prepared or not, cost more than all else of a step:
 * the executor is started and ended twice to find one row by its key.  So
 * where the table is a plain one of ours its rows are found by the primary
 * key's index and replaced through the table's access method, as a logical
 * replication worker does.  What guards them, logs them and wakes those who
 * wait lies below that and is the same.
 *
 * What lies above it is the executor's, and where any of it is wanted the same
 * is done by statements: triggers, rules, check constraints, row security that
 * holds for the owner too, rights that he lacks, a null where none may be, a
 * table that is partitioned, foreign or distributed over other servers (then
 * this one is an empty shell).
 *
 * A row is written only if it is still the version that was read.  Nobody can
 * put another row in its place meanwhile: the statement that called us holds a
 * snapshot at least as old as the one we read under, so what we have read is
 * not pruned before the statement ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "fa_agents.h"

/*
 * One writing.  Locks are kept to the transaction's end, as statements keep
 * theirs.
 */
struct HotWriter
{
	const Call	   *call;
	MemoryContext	context; /* its own memory lives there */
	Relation		table;	 /* NULL: by statements */
	TupleTableSlot *slot;
	EState		   *executor; /* for index entries; NULL: none were needed */
	ResultRelInfo  *indexes;
};

/*
 * The row is read as one value: to begin a statement, the executor looks up
 * the type of each column of its result, which for twenty of them costs as
 * much as to find the row. ctid and xmin say which version it was.
 */
static Statement read_statement = {
	"SELECT ctid, xmin, b FROM @.fa_belief b WHERE agent_id" EQ "ANY ($1)",
	1,
	{INT8ARRAYOID}};

/* Columns that a step changes, in the order of write_statement's arguments. */
static const int written_columns[] = {
	HOT_AGENT_ID, HOT_TRIAL,	   HOT_STEP,		HOT_VFE,
	HOT_ACTION,	  HOT_WORLD_STATE, HOT_OBSERVATION, HOT_DID,
	HOT_BEFORE,	  HOT_BELIEF,	   HOT_SYNCED};

#define WRITTEN ((int) lengthof(written_columns))

/*
 * A version that is no longer the newest is not found under a new snapshot; one
 * that is replaced while we wait for it has another xmin when the condition is
 * looked at again.  (ctid alone would not do: it is not looked at again.)
 */
static Statement write_statement = {
	"UPDATE @.fa_belief SET trial = $2, step = $3, vfe = $4, action = $5,"
	" world_state = $6, observation = $7, did = $8, before = $9, belief = $10,"
	" synced = $11 WHERE ctid" EQ "$12 AND xmin" EQ "$13 AND agent_id" EQ "$1",
	WRITTEN + 2,
	{INT8OID, INT4OID, INT8OID, FLOAT8OID, INT4ARRAYOID, INT4ARRAYOID,
	 INT4ARRAYOID, INT4ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT4ARRAYOID,
	 TIDOID, XIDOID}};

/* ---------- which way ---------- */

/*
 * Is this table spread over other servers?  That takes a planner of another
 * module, and its catalog; most servers are done with the first question.
 */
bool
may_be_distributed(void)
{
	return planner_hook != NULL &&
		   OidIsValid(
			   get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE));
}

/*
 * Would the executor let us read and write?  An owner may have lost his rights,
 * and a module may have rules of its own, or want to hear of it.
 */
static bool
has_rights(Oid table, AclMode wanted)
{
	return ExecutorCheckPerms_hook == NULL &&
		   pg_class_aclmask(table, GetUserId(), wanted, ACLMASK_ALL) == wanted;
}

/*
 * May the rows of this table be touched without the executor, by who has these
 * rights?  See the head of this file.  The owner is asked for because no row
 * security applies to him.
 */
bool
table_is_plain(Relation table, AclMode wanted)
{
	Form_pg_class	   form = table->rd_rel;
	const TupleConstr *constraints = table->rd_att->constr;

	return form->relkind == RELKIND_RELATION &&
		   form->relam == HEAP_TABLE_AM_OID && form->relowner == GetUserId() &&
		   !form->relforcerowsecurity && !form->relhasrules &&
		   !form->relhassubclass && table->trigdesc == NULL &&
		   (constraints == NULL || (constraints->num_check == 0 &&
									!constraints->has_generated_stored)) &&
		   has_rights(RelationGetRelid(table), wanted) && !may_be_distributed();
}

/*
 * Raises 42P16 where the table is that of another version of the extension:
 * rows are taken apart by the place of their columns.
 */
static void
check_columns(int columns)
{
	if (columns != HOT_COLUMNS)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("table fa_belief has %d columns, expected %d", columns,
					HOT_COLUMNS),
			 errhint(
				 "The library and the extension's SQL objects may be of different versions; run ALTER EXTENSION fa_agents UPDATE.")));
}

/*
 * Opens the table; NULL where its rows are for statements.
 */
static Relation
open_plain(const Call *call, LOCKMODE mode)
{
	Relation table = table_open(call_relation(call, "fa_belief"), mode);

	if (table_is_plain(table, ACL_SELECT | ACL_UPDATE))
	{
		check_columns(RelationGetNumberOfAttributes(table));
		return table;
	}
	table_close(table, NoLock);
	return NULL;
}

/* ---------- read ---------- */

/*
 * The index of the primary key, if it is one by which an id can be found; NULL
 * where somebody has dropped or rebuilt it as another.
 */
static Relation
open_key(Relation table)
{
	Oid		 key = primary_key_index(table);
	Relation index;

	if (!OidIsValid(key))
		return NULL;
	index = index_open(key, AccessShareLock);
	if (index->rd_rel->relam == BTREE_AM_OID &&
		index->rd_index->indnatts == 1 && index->rd_index->indisvalid &&
		index->rd_index->indkey.values[0] == HOT_AGENT_ID + 1)
		return index;
	index_close(index, NoLock);
	return NULL;
}

/*
 * A row as it was found: which version it is, and its columns, which point
 * into the tuple.
 */
static void
take_tuple(HeapTuple tuple, TupleDesc desc, HotRow *row)
{
	row->found = true;
	row->command = GetCurrentCommandId(false);
	row->ctid = tuple->t_self;
	row->xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	heap_deform_tuple(tuple, desc, row->values, row->nulls);
}

/*
 * The row that a scan has found.  A copy, for the slot's tuple lies in a page
 * that is pinned.
 */
static void
take_slot(TupleTableSlot *slot, HotRow *row)
{
	take_tuple(ExecCopySlotHeapTuple(slot), slot->tts_tupleDescriptor, row);
}

/* Finds one id. */
static void
find_one(Relation table, Relation key, Snapshot snapshot, TupleTableSlot *slot,
		 int64 id, HotRow *row)
{
	IndexScanDesc scan = begin_index_scan(table, key, snapshot, 1);
	ScanKeyData	  wanted;

	ScanKeyInit(&wanted, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(scan, &wanted, 1, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
		take_slot(slot, row);
	index_endscan(scan);
}

/*
 * Finds ids [count], ascending, by reading through the part of the index that
 * they lie in, instead of descending to each of them.  The scan has room for
 * two keys.
 */
static void
find_run(IndexScanDesc scan, TupleTableSlot *slot, const int64 *ids, int count,
		 HotRow *rows)
{
	ScanKeyData range[2];
	int			i = 0;

	ScanKeyInit(&range[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(ids[0]));
	ScanKeyInit(&range[1], 1, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum(ids[count - 1]));
	index_rescan(scan, range, 2, NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool  isnull;
		int64 id = DatumGetInt64(
			index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull));

		CHECK_FOR_INTERRUPTS();
		while (ids[i] < id)
			i++;
		/* an id may stand there several times: dead versions are passed by */
		if (ids[i] == id && !rows[i].found && index_fetch_heap(scan, slot))
			take_slot(slot, &rows[i]);
	}
}

/* Ids that are no further from each other are read in one run. */
#define NEAR 4

/*
 * Finds ids [count], ascending, run by run.  One scan is begun for all of them:
 * to begin one costs as much as to find a row.
 */
static void
find_runs(Relation table, Relation key, Snapshot snapshot, TupleTableSlot *slot,
		  const int64 *ids, int count, HotRow *rows)
{
	IndexScanDesc scan = begin_index_scan(table, key, snapshot, 2);

	/* the id stands in the index: rows of others are not looked at */
	scan->xs_want_itup = true;
	for (int first = 0, end; first < count; first = end)
	{
		CHECK_FOR_INTERRUPTS();
		end = first + 1;
		while (end < count && (uint64) ids[end] - (uint64) ids[end - 1] <= NEAR)
			end++;
		find_run(scan, slot, ids + first, end - first, rows + first);
	}
	index_endscan(scan);
}

/* Finds rows by ids [count], ascending, in their index. */
static void
find_rows(Relation table, Relation key, Snapshot snapshot, const int64 *ids,
		  int count, HotRow *rows)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);

	if (count == 1)
		find_one(table, key, snapshot, slot, ids[0], rows);
	else
		find_runs(table, key, snapshot, slot, ids, count, rows);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Reads rows in place; false where that may not be.  A call that writes sees
 * what it and others have written up to now, one that only reads what its
 * statement sees.
 */
static bool
read_in_place(const Call *call, const int64 *ids, int count, HotRow *rows)
{
	Relation table =
		open_plain(call, call->read_only ? AccessShareLock : RowExclusiveLock);
	Relation key = table ? open_key(table) : NULL;

	if (key != NULL)
	{
		if (call->read_only)
			find_rows(table, key, GetActiveSnapshot(), ids, count, rows);
		else
		{
			CommandCounterIncrement();
			PushActiveSnapshot(GetTransactionSnapshot());
			find_rows(table, key, GetActiveSnapshot(), ids, count, rows);
			PopActiveSnapshot();
		}
		index_close(key, NoLock);
	}
	if (table != NULL)
		table_close(table, NoLock);
	return key != NULL;
}

/*
 * Where an id stands among sorted ones [count]; expected is where it most
 * likely is, for the plan is an index scan and gives rows in the order of ids,
 * unless some are missing.  The id must be among them.
 */
static int
position_of(const int64 *ids, int count, int expected, int64 id)
{
	int low = 0;
	int high = count - 1;

	if (expected < count && ids[expected] == id)
		return expected;
	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The i-th row of a reading by statement, and its place in rows [count], which
 * is returned.  The row's type is looked up in the backend's cache.
 */
static int
take_result(int i, const int64 *ids, int count, int expected, HotRow *rows)
{
	HeapTuple	  result = SPI_tuptable->vals[i];
	TupleDesc	  result_desc = SPI_tuptable->tupdesc;
	HotRow		  row;
	HeapTupleData tuple;
	TupleDesc	  desc;
	bool		  isnull;
	int			  at;

	tuple.t_data =
		DatumGetHeapTupleHeader(SPI_getbinval(result, result_desc, 3, &isnull));
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	tuple.t_tableOid = InvalidOid;
	/* the datum's header names its type and has no place in the table */
	tuple.t_self = *(ItemPointer) DatumGetPointer(
		SPI_getbinval(result, result_desc, 1, &isnull));
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(tuple.t_data),
								  HeapTupleHeaderGetTypMod(tuple.t_data));
	check_columns(desc->natts);
	take_tuple(&tuple, desc, &row);
	ReleaseTupleDesc(desc);
	row.xmin =
		DatumGetTransactionId(SPI_getbinval(result, result_desc, 2, &isnull));
	at = position_of(ids, count, expected,
					 DatumGetInt64(row.values[HOT_AGENT_ID]));
	rows[at] = row;
	return at;
}

/*
 * Rows by ids [count], ascending and without repetition, into rows [count];
 * one that is not there has found false.  Values lie in the current memory
 * context, or SPI's.
 *
 * No lock is taken: whoever writes a row says which version he has read.
 */
void
hot_read(const Call *call, const int64 *ids, int count, HotRow *rows)
{
	Datum arguments[1];
	int	  found;

	for (int i = 0; i < count; i++)
		rows[i].found = false;
	if (read_in_place(call, ids, count, rows))
		return;
	arguments[0] = array_from_int64(ids, count);
	found = statement_run(call, &read_statement, arguments, NULL, 0);
	for (int i = 0, at = -1; i < found; i++)
		at = take_result(i, ids, count, at + 1, rows);
}

/* ---------- write ---------- */

/*
 * Index entries for a version that found no room in the page of the old one.
 * The slot knows where it lies.
 */
static void
insert_index_entries(HotWriter *writer, UpdatedIndexes updated)
{
	if (writer->executor == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->context);

		writer->executor = CreateExecutorState();
		writer->indexes = makeNode(ResultRelInfo);
		InitResultRelInfo(writer->indexes, writer->table, 0, NULL, 0);
		ExecOpenIndices(writer->indexes, false);
		MemoryContextSwitchTo(old);
	}
	insert_index_tuples(writer->indexes, writer->slot, writer->executor,
						updated);
	ResetPerTupleExprContext(writer->executor);
}

/*
 * A row is not as it was read: false, for it may be read again; or an ERROR
 * where the transaction must not see what others have done since (40001, in
 * the server's own words).
 */
static bool
row_was_lost(TM_Result result)
{
	if (result == TM_SelfModified)
		return false;
	if (result != TM_Updated && result != TM_Deleted)
		elog(ERROR, "unexpected result %d of an update of fa_belief", result);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent %s",
						result == TM_Updated ? "update" : "delete")));
	return false;
}

/* Is there a null in a column that may have none? */
static bool
has_wrong_null(TupleDesc desc, const HotRow *row)
{
	for (int i = 0; i < HOT_COLUMNS; i++)
	{
		if (row->nulls[i] && TupleDescAttr(desc, i)->attnotnull)
			return true;
	}
	return false;
}

/*
 * By the table's access method; see hot_write.  The command is the one that
 * read the row: what a later one of ours has made of it, code of users that ran
 * meanwhile, is a change like another's.
 */
static bool
write_in_place(HotWriter *writer, HotRow *row)
{
	HeapTuple	   tuple = heap_form_tuple(RelationGetDescr(writer->table),
										   row->values, row->nulls);
	TM_FailureData failure;
	LockTupleMode  mode;
	UpdatedIndexes updated;
	TM_Result	   result;

	/* what follows in this transaction is to see the new version */
	(void) GetCurrentCommandId(true);
	ExecForceStoreHeapTuple(tuple, writer->slot, false);
	result = table_tuple_update(
		writer->table, &row->ctid, writer->slot, row->command,
		GetActiveSnapshot(), InvalidSnapshot, true, &failure, &mode, &updated);
	if (result == TM_Ok && updated != UPDATED_NO_INDEX)
		insert_index_entries(writer, updated);
	ExecClearTuple(writer->slot);
	heap_freetuple(tuple);
	return result == TM_Ok || row_was_lost(result);
}

/* By a statement; see hot_write. */
static bool
write_by_statement(HotWriter *writer, HotRow *row)
{
	Datum arguments[WRITTEN + 2];
	char  nulls[WRITTEN + 2];

	for (int i = 0; i < WRITTEN; i++)
	{
		arguments[i] = row->values[written_columns[i]];
		nulls[i] = row->nulls[written_columns[i]] ? 'n' : ' ';
	}
	arguments[WRITTEN] = PointerGetDatum(&row->ctid);
	arguments[WRITTEN + 1] = TransactionIdGetDatum(row->xmin);
	nulls[WRITTEN] = nulls[WRITTEN + 1] = ' ';
	return statement_run(writer->call, &write_statement, arguments, nulls, 0) ==
		   1;
}

/*
 * Begins to write rows, until hot_write_end; an ERROR needs no end.  The
 * current memory context must last as long; hot_write may be called in another
 * one, which is emptied after each row.
 */
HotWriter *
hot_write_begin(const Call *call)
{
	HotWriter *writer = palloc0(sizeof(HotWriter));

	writer->call = call;
	writer->context = CurrentMemoryContext;
	writer->table = open_plain(call, RowExclusiveLock);
	if (writer->table != NULL)
	{
		/* a publication may refuse updates of a table without an identity */
		CheckCmdReplicaIdentity(writer->table, CMD_UPDATE);
		writer->slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->table),
												&TTSOpsHeapTuple);
	}
	return writer;
}

/*
 * Replaces a row that was read by its new values; false if the version that
 * was read is no longer the newest, and then nothing has changed.
 *
 * Waits for whoever is about to replace it; from then on the row is locked by
 * us.  Under a snapshot that lasts, a row that another has changed is an ERROR
 * (40001) and never a false.
 */
bool
hot_write(HotWriter *writer, HotRow *row)
{
	CHECK_FOR_INTERRUPTS();
	if (writer->table != NULL &&
		!has_wrong_null(RelationGetDescr(writer->table), row))
		return write_in_place(writer, row);
	return write_by_statement(writer, row);
}

/*
 * What was written is seen by whatever this transaction does next.
 */
void
hot_write_end(HotWriter *writer)
{
	if (writer->executor != NULL)
	{
		ExecCloseIndices(writer->indexes);
		FreeExecutorState(writer->executor);
	}
	if (writer->table != NULL)
	{
		ExecDropSingleTupleTableSlot(writer->slot);
		table_close(writer->table, NoLock);
		CommandCounterIncrement();
	}
	pfree(writer);
}
