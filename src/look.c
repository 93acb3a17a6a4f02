/*-------------------------------------------------------------------------
 *
 * look.c
 *	  What is due in a database, by whom it is to be done, and when the next
 *	  will be.
 *
 * Nothing is remembered between two looks: due times stand in the hands of
 * schedules and in fa_retry, and owners may change at any time.
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

/* By runner; $2: of that one only. */
static Statement look_statement = {
	"SELECT" SCHEDULE_RUNNER ", pg_catalog.count(DISTINCT s.schedule_id),"
	" pg_catalog.count(DISTINCT s.schedule_id) FILTER (WHERE s.every IS NULL),"
	" pg_catalog.count(l.due) FILTER (WHERE l.due OPERATOR(pg_catalog.<=) $1),"
	" pg_catalog.min(l.due) FILTER (WHERE l.due" GT "$1)"
	" FROM @.fa_schedule s LEFT JOIN @.fa_schedule_slice l"
	" ON l.schedule_id" EQ "s.schedule_id AND NOT l.empty WHERE" SCHEDULE_ACTIVE
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
	"UPDATE @.fa_schedule s SET error = CASE WHEN NOT EXISTS (SELECT FROM"
	" pg_catalog.pg_roles r WHERE r.oid" EQ "s.owner) THEN"
	" pg_catalog.format('role with OID %s does not exist', s.owner::pg_catalog.oid)"
	" WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid" EQ
	"s.owner AND r.rolcanlogin)"
	" THEN pg_catalog.format('role \"%s\" is not permitted to log in', s.owner)"
	" ELSE pg_catalog.format('role \"%s\" is not permitted to connect to the database', s.owner)"
	" END WHERE s.error IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r"
	" WHERE r.oid" EQ "s.owner AND r.rolcanlogin AND"
	" pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT'))"
	" RETURNING s.name, s.error",
	0,
	{0}};

/*
 * What was named by who is gone runs no more; and it must not be there when the
 * oid is somebody else's, which it may be in a database that a dump is restored
 * in.
 */
static Statement orphans_statement = {
	"WITH gone AS (DELETE FROM @.fa_sensor x WHERE NOT EXISTS"
	" (SELECT FROM pg_catalog.pg_roles r WHERE r.oid" EQ
	"x.owner) RETURNING x.owner) SELECT DISTINCT owner::pg_catalog.oid FROM gone",
	0,
	{0}};

/*
 * Slices that were empty and are not: due at their next turn, for their agents
 * were made after the last.  Who has one locked is about to remove it, and
 * tells that at his commit.
 */
static Statement occupied_statement = {
	"UPDATE @.fa_schedule_slice l SET empty = false, skipped = 0, due = l.due"
	" OPERATOR(pg_catalog.+) (" STEADY_EVERY
	" OPERATOR(pg_catalog.*) GREATEST(0,"
	" pg_catalog.ceil(pg_catalog.date_part('epoch', $1 OPERATOR(pg_catalog.-) l.due)"
	" OPERATOR(pg_catalog./) pg_catalog.date_part('epoch', s.every))))"
	" FROM @.fa_schedule s WHERE s.schedule_id" EQ "l.schedule_id AND l.ctid" EQ
	"ANY (ARRAY (SELECT l.ctid FROM @.fa_schedule_slice l, @.fa_schedule s"
	" WHERE l.empty AND s.schedule_id" EQ "l.schedule_id AND" SLICE_OCCUPIED
	" FOR UPDATE OF l SKIP LOCKED))",
	1,
	{TIMESTAMPTZOID}};

/*
 * Hands that are more than a turn ahead, and tries that are further off than any
 * delay: somebody has set the clock back.  They begin anew, as of now; else
 * their agents would wait until the old time has come again.
 */
static Statement ahead_statements[] = {
	{"UPDATE @.fa_schedule_slice l SET due = $1 OPERATOR(pg_catalog.+)"
	 " (" STEADY_EVERY
	 " OPERATOR(pg_catalog.*) (l.slice OPERATOR(pg_catalog./) 64.0::pg_catalog.float8))"
	 " FROM @.fa_schedule s WHERE s.schedule_id" EQ
	 "l.schedule_id AND l.ctid" EQ
	 "ANY (ARRAY (SELECT l.ctid FROM @.fa_schedule_slice l, @.fa_schedule s"
	 " WHERE s.schedule_id" EQ "l.schedule_id AND l.due" GT
	 "($1 OPERATOR(pg_catalog.+)" STEADY_EVERY
	 " OPERATOR(pg_catalog.+) '1 s') FOR UPDATE OF l SKIP LOCKED))",
	 1,
	 {TIMESTAMPTZOID}},
	{"UPDATE @.fa_retry SET next_try = $1 WHERE ctid" EQ
	 "ANY (ARRAY (SELECT ctid FROM @.fa_retry WHERE next_try" LT
	 "'infinity' AND next_try" GT
	 "($1 OPERATOR(pg_catalog.+) '10 min') FOR UPDATE SKIP LOCKED))",
	 1,
	 {TIMESTAMPTZOID}},
};

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

/* Forgets the statistics of all schedules: none runs where there is no extension. */
void
look_forget_all(void)
{
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_keep_schedules(MyDatabaseId, NULL, 0);
	LWLockRelease(pool->lock);
}

/* Forgets the statistics of schedules that were dropped. */
void
look_forget_dropped(const Call *call)
{
	int	   count = statement_run(call, &ids_statement, NULL, NULL, 0);
	int64 *ids = palloc(sizeof(int64) * Max(count, 1));

	for (int i = 0; i < count; i++)
		ids[i] = result_int64(i, 1);
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	pool_keep_schedules(MyDatabaseId, ids, count);
	LWLockRelease(pool->lock);
}

/*
 * Slices that have got agents since they were found empty.  Somebody has to
 * ask for it after each commit that may have brought some.
 */
void
look_find_occupied(const Call *call)
{
	Datum now = TimestampTzGetDatum(GetCurrentTimestamp());

	statement_run(call, &occupied_statement, &now, NULL, 0);
}

/* Whatever waits for a time that is too far off waits no longer. */
void
look_set_clock(const Call *call)
{
	Datum now = TimestampTzGetDatum(GetCurrentTimestamp());

	for (int i = 0; i < (int) lengthof(ahead_statements); i++)
		statement_run(call, &ahead_statements[i], &now, NULL, 0);
}

/* Forgets the sensors and actuators of roles that were dropped. */
void
look_forget_orphans(const Call *call)
{
	int count = statement_run(call, &orphans_statement, NULL, NULL, 0);

	for (int i = 0; i < count; i++)
	{
		bool isnull;

		ereport(
			LOG,
			(errmsg(
				"sensors and actuators of role with OID %u are removed: it does not exist",
				DatumGetObjectId(result_datum(i, 1, &isnull)))));
	}
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
look_find(const Call *call, MemoryContext context, Look *look)
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
	/* a role that is gone may have left more */
	if (suspended > 0)
		pool_want(MyDatabaseId, false);
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
