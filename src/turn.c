/*-------------------------------------------------------------------------
 *
 * turn.c
 *	  Schedules by time: which slice of which schedule is due, and one batch of
 *	  it.
 *
 * The slice's row is locked, its agents are stepped and its hand is moved in
 * one transaction.  Whatever ends that transaction, the work is due again, or
 * it is done.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "pool.h"

#define NAME "fa_agents"

/*
 * Has the schedule agents in a slice l?  LATERAL with a LIMIT: it is one descent
 * of an index, however few agents there were when the statement was planned.
 */
#define OCCUPIED                                                                 \
	" EXISTS (SELECT FROM @.fa_model m, LATERAL (SELECT FROM @.fa_agent a"       \
	" WHERE a.model_id" EQ "m.model_id"                                          \
	" AND a.phase OPERATOR(pg_catalog.>=) (l.slice OPERATOR(pg_catalog.*) 1024)" \
	" AND a.phase" LT                                                            \
	"((l.slice OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.*) 1024)"           \
	" ORDER BY a.phase LIMIT 1) AS x WHERE m.name" EQ                            \
	"s.model AND (s.version IS NULL OR m.version" EQ "s.version))"

/* By runner; $2: of that one only. */
static Statement look_statement = {
	"SELECT" SCHEDULE_RUNNER ", pg_catalog.count(DISTINCT s.schedule_id),"
	" pg_catalog.count(DISTINCT s.schedule_id) FILTER (WHERE s.every IS NULL),"
	" pg_catalog.count(l.due) FILTER (WHERE l.due OPERATOR(pg_catalog.<=) $1),"
	" pg_catalog.min(l.due) FILTER (WHERE l.due" GT "$1)"
	" FROM @.fa_schedule s LEFT JOIN @.fa_schedule_slice l"
	" ON l.schedule_id" EQ "s.schedule_id AND" OCCUPIED " WHERE" SCHEDULE_ACTIVE
	" AND ($2 IS NULL OR" SCHEDULE_RUNNER EQ "$2) GROUP BY 1",
	2,
	{TIMESTAMPTZOID, OIDOID}};
static Statement ids_statement = {
	"SELECT schedule_id FROM @.fa_schedule", 0, {0}};
static Statement look_retry_statement = {
	"SELECT" SCHEDULE_RUNNER ", pg_catalog.count(*)"
	" FILTER (WHERE t.next_try OPERATOR(pg_catalog.<=) $1),"
	" pg_catalog.min(t.next_try) FILTER (WHERE t.next_try" GT "$1)"
	" FROM @.fa_retry t, @.fa_schedule s WHERE t.next_try" LT "'infinity'"
	" AND s.schedule_id" EQ "t.schedule_id AND" SCHEDULE_ACTIVE
	" AND ($2 IS NULL OR" SCHEDULE_RUNNER EQ "$2) GROUP BY 1",
	2,
	{TIMESTAMPTZOID, OIDOID}};
/*
 * An owner who is gone or may not log in has no agents that run.  It is told
 * to whoever looks at the schedule.
 */
static Statement suspend_statement = {
	"UPDATE @.fa_schedule s SET error = CASE WHEN EXISTS (SELECT FROM"
	" pg_catalog.pg_roles r WHERE r.oid" EQ "s.owner)"
	" THEN pg_catalog.format('role \"%s\" is not permitted to log in', s.owner)"
	" ELSE pg_catalog.format('role with OID %s does not exist', s.owner::pg_catalog.oid)"
	" END WHERE s.error IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r"
	" WHERE r.oid" EQ "s.owner AND r.rolcanlogin) RETURNING s.name, s.error",
	0,
	{0}};

/*
 * The most urgent slice of runner $4: a second late weighs as much as a
 * priority.  $2 and $3: only that slice, where they are not null.
 */
static Statement claim_statement = {
	"SELECT l.schedule_id, l.slice, l.due, l.phase, l.agent_id, l.skipped," MICROSECONDS("s.every") "," MICROSECONDS(
		"COALESCE(s.deadline, s.every)") ","
										 " s.catch_up" EQ
										 "'skip', s.owner, s.model, s.version"
										 " FROM @.fa_schedule s, @.fa_schedule_slice l"
										 " WHERE l.schedule_id" EQ
										 "s.schedule_id AND"
										 " l.due OPERATOR(pg_catalog.<=) $1 AND ($2 IS NULL OR (l.schedule_id" EQ
										 "$2 AND l.slice" EQ
										 "$3)) AND" SCHEDULE_ACTIVE
										 " AND" SCHEDULE_RUNNER EQ
										 "$4 AND" OCCUPIED
										 " ORDER BY s.priority OPERATOR(pg_catalog.+) pg_catalog.date_part('epoch',"
										 " $1 OPERATOR(pg_catalog.-) l.due) DESC LIMIT 1 FOR UPDATE OF l SKIP LOCKED",
	4,
	{TIMESTAMPTZOID, INT8OID, INT4OID, OIDOID}};

/*
 * The next agents of a slice after ($3, $4), and whether they are to be
 * stepped now, if they are not paused: that is seen when their rows are read,
 * or ($8) now, where a sensor would be asked before.
 * LATERAL with a LIMIT: no more of a model's are read than are asked for,
 * however many there are.  Nearly always nobody is being retried, which is
 * asked once instead of for each agent.
 */
static Statement read_statement = {
	"SELECT a.phase, a.agent_id, a.created_at,"
	" (" SCHEDULE_MAY_STEP(
		"$7") ") AND (NOT $8 OR EXISTS"
			  " (SELECT FROM @.fa_belief b WHERE b.agent_id" EQ
			  "a.agent_id AND NOT b.paused)) AND (NOT EXISTS (SELECT FROM @.fa_retry)"
			  " OR NOT EXISTS (SELECT FROM @.fa_retry r WHERE r.agent_id" EQ
			  "a.agent_id)) FROM @.fa_model m, LATERAL"
			  " (SELECT a.phase, a.agent_id, a.created_at, a.owner"
			  " FROM @.fa_agent a WHERE a.model_id" EQ "m.model_id"
			  " AND ROW(a.phase, a.agent_id)" GT "ROW($3, $4) AND a.phase" LT
			  "$5"
			  " ORDER BY a.phase, a.agent_id LIMIT $6) AS a"
			  " WHERE m.name" EQ "$1 AND ($2 IS NULL OR m.version" EQ "$2)"
			  " ORDER BY a.phase, a.agent_id LIMIT $6",
	8,
	{TEXTOID, INT4OID, INT4OID, INT8OID, INT4OID, INT8OID, OIDOID, BOOLOID}};
static Statement move_statement = {
	"UPDATE @.fa_schedule_slice SET due = $3, phase = $4, agent_id = $5,"
	" skipped = $6 WHERE schedule_id" EQ "$1 AND slice" EQ "$2",
	6,
	{INT8OID, INT4OID, TIMESTAMPTZOID, INT4OID, INT8OID, INT8OID}};

/* A slice that this worker has locked, and the batch it takes of it. */
typedef struct Slice
{
	int64		schedule_id;
	int32		slice;
	TimestampTz due;	  /* of the turn that is being made */
	int32		phase;	  /* up to where it is made */
	int64		agent_id; /* and which agent of that phase was the last */
	int64		skipped;  /* turns before this one that were not made */
	int64		every;	  /* microseconds */
	int64		deadline;
	bool		skip; /* what was missed is not made up */
	Oid			owner;
	Datum		model;	 /* text, in SPI's memory */
	Datum		version; /* int, if has_version */
	bool		has_version;
	int64	   *ids;	 /* [count]: agents to step */
	int64	   *missed;	 /* [count]: turns that each has missed before */
	bool	   *stepped; /* [count] */
	int			count;
	int			failed;
} Slice;

/*
 * Where a batch failed, up to which agent: this worker makes it one by one.
 */
static struct
{
	int64		schedule_id; /* 0: nowhere */
	int32		slice;
	TimestampTz due;
	int32		phase;
	int64		agent_id;
} cautious;

/* ---------- the extension ---------- */

/*
 * Schema and owner of the extension; false where it is not there, or of
 * another version than this library.
 */
static bool
find_extension(Oid *schema, Oid *owner)
{
	Relation	table = table_open(ExtensionRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(NAME));
	scan = systable_beginscan(table, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		bool			  isnull;
		char			 *version = TextDatumGetCString(
						heap_getattr(tuple, Anum_pg_extension_extversion,
									 RelationGetDescr(table), &isnull));

		*schema = form->extnamespace;
		*owner = form->extowner;
		found = strcmp(version, FA_AGENTS_VERSION) == 0;
		if (!found)
			ereport(
				LOG,
				(errmsg(
					 "agents do not run: the extension's version is %s, the library's %s",
					 version, FA_AGENTS_VERSION),
				 errhint("Run ALTER EXTENSION fa_agents UPDATE.")));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return found;
}

/*
 * Begins a call of a background process into the extension of its database,
 * which is not dropped before the transaction's end; false where there is
 * none, and then nothing was begun.  Who waited here for DROP EXTENSION finds
 * none, or the one that was created since.
 */
bool
call_begin_extension(Call *call)
{
	Oid extension = get_extension_oid(NAME, true);
	Oid schema;
	Oid owner;

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (get_extension_oid(NAME, true) != extension ||
		!find_extension(&schema, &owner))
		return false;
	call_begin_as(call, schema, owner, false);
	return true;
}

/* ---------- looking ---------- */

/* A time of the last result, or DT_NOEND where it is null. */
static TimestampTz
result_time(int column)
{
	bool  isnull;
	Datum value = result_datum(0, column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(value);
}

/* Forgets the statistics of schedules that were dropped. */
void
turn_forget_dropped(const Call *call)
{
	int	   count = statement_run(call, &ids_statement, NULL, NULL, 0);
	int64 *ids = palloc(sizeof(int64) * Max(count, 1));

	for (int i = 0; i < count; i++)
		ids[i] = result_int64(i, 1);
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_keep_schedules(MyDatabaseId, ids, count);
	LWLockRelease(pool->lock);
}

/* The part of a runner, or NULL. */
LookPart *
look_part(Look *look, Oid runner)
{
	for (int i = 0; i < look->part_count; i++)
	{
		if (look->parts[i].runner == runner)
			return &look->parts[i];
	}
	return NULL;
}

/*
 * Adds a part for each row of the last result, or adds it to the runner's: due
 * and next are these columns.
 */
static void
add_parts(Look *look, int rows, int due, int next)
{
	look->parts =
		repalloc(look->parts, sizeof(LookPart) * (look->part_count + rows + 1));
	for (int i = 0; i < rows; i++)
	{
		bool	  isnull;
		Oid		  runner = DatumGetObjectId(result_datum(i, 1, &isnull));
		LookPart *part = look_part(look, runner);
		Datum	  at = result_datum(i, next, &isnull);

		if (part == NULL)
		{
			part = &look->parts[look->part_count++];
			*part = (LookPart){.runner = runner, .next = DT_NOEND};
		}
		part->due += result_int64(i, due);
		if (!isnull)
			part->next = Min(part->next, DatumGetTimestampTz(at));
		look->due += result_int64(i, due);
		look->next = Min(look->next, part->next);
	}
}

/*
 * What is due, and when the next will be: for all runners, or, in a process
 * that makes batches, for its own.  The parts lie in a memory context that is
 * given.
 */
void
turn_look(const Call *call, MemoryContext context, Look *look)
{
	Datum		arguments[2] = {TimestampTzGetDatum(GetCurrentTimestamp()),
								ObjectIdGetDatum(pool_self->owner)};
	const char *nulls = pool_self->role == ROLE_COORDINATOR ? " n" : NULL;
	int suspended = statement_run(call, &suspend_statement, NULL, NULL, 0);
	int found;

	for (int i = 0; i < suspended; i++)
		ereport(LOG, (errmsg("schedule \"%s\" is suspended: %s",
							 SPI_getvalue(SPI_tuptable->vals[i],
										  SPI_tuptable->tupdesc, 1),
							 SPI_getvalue(SPI_tuptable->vals[i],
										  SPI_tuptable->tupdesc, 2))));
	look->installed = true;
	look->parts = MemoryContextAlloc(context, sizeof(LookPart));
	found = statement_run(call, &look_statement, arguments, nulls, 0);
	add_parts(look, found, 4, 5);
	for (int i = 0; i < found; i++)
	{
		look->parts[i].events = result_int64(i, 3) > 0;
		look->schedules += result_int64(i, 2);
		look->events |= look->parts[i].events;
	}
	found = statement_run(call, &look_retry_statement, arguments, nulls, 0);
	add_parts(look, found, 2, 3);
}

/* ---------- a batch of a slice ---------- */

/*
 * Jumps over turns that were missed, unless one was begun: its last agents
 * would else never come to their turn where every turn is late.
 */
static void
catch_up(Slice *slice, TimestampTz now)
{
	int64 turns = (now - slice->due) / slice->every;

	if (slice->phase != slice->slice * SLICE_PHASES || slice->agent_id != 0)
		return;
	slice->skipped = slice->skip ? turns : 0;
	if (slice->skip)
		slice->due += turns * slice->every;
}

/*
 * Locks a slice that is due: the most urgent, or the one where the last batch
 * failed.  False where there is none that nobody else has.
 */
static bool
claim(const Call *call, Slice *slice)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum		arguments[4] = {
			  TimestampTzGetDatum(now), Int64GetDatum(cautious.schedule_id),
			  Int32GetDatum(cautious.slice), ObjectIdGetDatum(pool_self->owner)};
	const char *nulls = cautious.schedule_id ? NULL : " nn ";
	bool		isnull;

	if (statement_run(call, &claim_statement, arguments, nulls, 1) == 0)
		return false;
	slice->schedule_id = result_int64(0, 1);
	slice->slice = DatumGetInt32(result_datum(0, 2, &isnull));
	slice->due = result_time(3);
	slice->phase = DatumGetInt32(result_datum(0, 4, &isnull));
	slice->agent_id = result_int64(0, 5);
	slice->skipped = result_int64(0, 6);
	slice->every = result_int64(0, 7);
	slice->deadline = result_int64(0, 8);
	slice->skip = DatumGetBool(result_datum(0, 9, &isnull));
	slice->owner = DatumGetObjectId(result_datum(0, 10, &isnull));
	slice->model = result_datum(0, 11, &isnull);
	slice->version = result_datum(0, 12, &isnull);
	slice->has_version = !isnull;
	slice->failed = 0;
	catch_up(slice, now);
	return true;
}

/*
 * The next agents of the slice, at most limit, and where its hand stands after
 * them: in the slice, or at its next turn.  An agent that was made after the
 * due time is not owed this turn.
 */
static void
read_agents(const Call *call, Slice *slice, int limit)
{
	int32 end = (slice->slice + 1) * SLICE_PHASES;
	Datum arguments[8] = {slice->model,
						  slice->version,
						  Int32GetDatum(slice->phase),
						  Int64GetDatum(slice->agent_id),
						  Int32GetDatum(end),
						  Int64GetDatum(limit),
						  ObjectIdGetDatum(slice->owner),
						  BoolGetDatum(OidIsValid(pool_self->owner))};
	int	  found = statement_run(call, &read_statement, arguments,
								slice->has_version ? NULL : " n      ", 0);
	bool  isnull;

	slice->ids = palloc(sizeof(int64) * found);
	slice->missed = palloc(sizeof(int64) * found);
	slice->stepped = palloc0(sizeof(bool) * found);
	slice->count = 0;
	for (int i = 0; i < found; i++)
	{
		TimestampTz created = DatumGetTimestampTz(result_datum(i, 3, &isnull));

		if (created > slice->due || !DatumGetBool(result_datum(i, 4, &isnull)))
			continue;
		slice->missed[slice->count] =
			Min(slice->skipped, (slice->due - created) / slice->every);
		slice->ids[slice->count++] = result_int64(i, 2);
	}
	if (found == limit)
	{
		slice->phase = DatumGetInt32(result_datum(found - 1, 1, &isnull));
		slice->agent_id = result_int64(found - 1, 2);
	}
	else
	{
		slice->due += slice->every;
		slice->phase = slice->slice * SLICE_PHASES;
		slice->agent_id = 0;
	}
}

static void
move_hand(const Call *call, const Slice *slice)
{
	Datum arguments[6] = {
		Int64GetDatum(slice->schedule_id), Int32GetDatum(slice->slice),
		TimestampTzGetDatum(slice->due),   Int32GetDatum(slice->phase),
		Int64GetDatum(slice->agent_id),	   Int64GetDatum(slice->skipped)};

	statement_run(call, &move_statement, arguments, NULL, 0);
}

/* Steps that were made, and those that these agents have missed before. */
static void
count_steps(const Slice *slice, int *made, int64 *missed)
{
	*made = 0;
	*missed = 0;
	for (int i = 0; i < slice->count; i++)
	{
		*made += slice->stepped[i];
		*missed += slice->stepped[i] ? slice->missed[i] : 0;
	}
}

/* Is the part that failed behind us? */
static void
end_caution(const Slice *slice)
{
	if (slice->due > cautious.due || (slice->due == cautious.due &&
									  (slice->phase > cautious.phase ||
									   (slice->phase == cautious.phase &&
										slice->agent_id >= cautious.agent_id))))
		cautious.schedule_id = 0;
}

/* The argument is a bool *: whether there was something to do. */
static void
make(void *argument)
{
	bool	   *done = argument;
	bool		singly = cautious.schedule_id != 0;
	TimestampTz due;
	int64		missed;
	int			made;
	Slice		slice;
	Call		call;

	*done = false;
	work_begin("steps agents that are due");
	if (!call_begin_extension(&call))
	{
		work_end();
		return;
	}
	if (claim(&call, &slice))
	{
		*done = true;
		due = slice.due;
		read_agents(&call, &slice, singly ? batch_single_size() : batch_size());
		if (singly)
			slice.failed =
				batch_step_singly(&call, slice.schedule_id, slice.ids,
								  slice.count, false, slice.stepped);
		else
		{
			/* noted before it can fail; forgotten if it does not */
			cautious.schedule_id = slice.schedule_id;
			cautious.slice = slice.slice;
			cautious.due = slice.due;
			cautious.phase = slice.phase;
			cautious.agent_id = slice.agent_id;
			batch_step(&call, slice.ids, slice.count, slice.stepped);
		}
		move_hand(&call, &slice);
		count_steps(&slice, &made, &missed);
		call_end(&call);
		work_end();
		batch_done(made, slice.failed);
		batch_count(slice.schedule_id, made, due, slice.deadline);
		batch_count_faults(slice.schedule_id, slice.failed, missed);
		end_caution(&slice);
		return;
	}
	cautious.schedule_id = 0;
	call_end(&call);
	work_end();
}

/*
 * One batch of the most urgent slice; false: nothing is due.  Where it fails
 * through its agents it is made one by one by the next calls, else the error
 * is raised.
 */
bool
turn_make(void)
{
	bool	   done;
	bool	   singly = cautious.schedule_id != 0;
	ErrorData *error = work_attempt(make, &done);

	if (error == NULL)
		return done || singly;
	if (singly || !work_blames_agent(error))
	{
		cautious.schedule_id = 0;
		ReThrowError(error);
	}
	return true;
}
