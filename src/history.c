/*-------------------------------------------------------------------------
 *
 * history.c
 *	  History: steps kept as rows, in partitions by day.
 *
 * Rows are never deleted one by one: a day's partition is dropped whole.  They
 * are made when the first agent that keeps history is created, and a week
 * ahead by whose step finds half of that week used up; making one takes a lock
 * that conflicts only with others who do the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_history_retain);

#define PARTITION_PREFIX "fa_history_"
#define DAYS_AHEAD		 7 /* partitions that are made ahead */

enum
{
	HISTORY_AGENT_ID,
	HISTORY_STEP,
	HISTORY_TRIAL,
	HISTORY_OBSERVATION,
	HISTORY_ACTION,
	HISTORY_VFE,
	HISTORY_COLUMN_BELIEF,
	HISTORY_COLUMN_Q_PI,
	HISTORY_COLUMN_NEG_EFE,
	HISTORY_OWNER,
	HISTORY_COLUMNS
};

static const struct
{
	const char *name;
	Oid			type;
} history_columns[HISTORY_COLUMNS] = {
	{"agent_id", INT8OID},		 {"step", INT8OID},
	{"trial", INT4OID},			 {"observation", INT4ARRAYOID},
	{"action", INT4ARRAYOID},	 {"vfe", FLOAT8OID},
	{"belief", FLOAT8ARRAYOID},	 {"q_pi", FLOAT8ARRAYOID},
	{"neg_efe", FLOAT8ARRAYOID}, {"owner", REGROLEOID},
};

/* The same as the column list of fa_rows(). */
#define HISTORY_ROWS                                         \
	"@.fa_rows() AS r"                                       \
	" (agent_id pg_catalog.int8, step pg_catalog.int8, "     \
	"trial pg_catalog.int4, observation pg_catalog.int4[], " \
	"action pg_catalog.int4[], vfe pg_catalog.float8, "      \
	"belief pg_catalog.float8[], q_pi pg_catalog.float8[], " \
	"neg_efe pg_catalog.float8[], owner pg_catalog.regrole)"

static Statement insert_statement = {
	"INSERT INTO @.fa_history (agent_id, step, trial, at, observation, action, vfe,"
	" belief, q_pi, neg_efe, owner) SELECT agent_id, step, trial, $1, observation, action,"
	" vfe, belief, q_pi, neg_efe, owner FROM " HISTORY_ROWS,
	1,
	{TIMESTAMPTZOID}};
static Statement partitions_statement = {
	"SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c"
	" ON c.oid" EQ "i.inhrelid WHERE i.inhparent" EQ "$1 AND c.relname"
	" OPERATOR(pg_catalog.<) $2 AND c.relnamespace" EQ "$3 AND c.relname"
	" OPERATOR(pg_catalog.~) '^fa_history_[0-9]{8}$' ORDER BY c.relname",
	3,
	{OIDOID, NAMEOID, OIDOID}};

/* ---------- partitions ---------- */

/*
 * "fa_history_20261121", the partition of a day in UTC: a day by the session's
 * TimeZone would make partitions that overlap.
 */
static char *
partition_name(DateADT day)
{
	int year;
	int month;
	int month_day;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &month_day);
	return psprintf(PARTITION_PREFIX "%04d%02d%02d", year, month, month_day);
}

/*
 * Midnight UTC at which a day begins, as text that any TimeZone setting reads
 * alike.
 */
static char *
day_start(DateADT day)
{
	int year;
	int month;
	int month_day;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &month_day);
	return psprintf("%04d-%02d-%02d 00:00:00+00", year, month, month_day);
}

/*
 * Runs a statement that has no plan to save. sql is ours, with names quoted by
 * the caller.
 */
static void
run_utility(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
}

/*
 * Makes the partition of a day.  The table is made apart and then attached:
 * ATTACH PARTITION needs a lock on the parent that lets readers and writers go
 * on, which CREATE TABLE ..  PARTITION OF does not.  Row security without a
 * policy lets nobody look at it but through the parent, whatever privileges
 * new tables get here; and the caller's settings for new tables are not ours.
 */
static void
make_partition(DateADT day)
{
	const char *schema = quote_identifier(call_schema_name());
	const char *name = partition_name(day);
	int			level = NewGUCNestLevel();

	(void) set_config_option("default_tablespace", "", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	run_utility(psprintf(
		"CREATE TABLE %s.%s (LIKE %s.fa_history INCLUDING DEFAULTS) USING heap",
		schema, name, schema));
	run_utility(
		psprintf("ALTER TABLE %s.%s ENABLE ROW LEVEL SECURITY", schema, name));
	run_utility(psprintf("CREATE INDEX %s_agent ON %s.%s (agent_id, step)",
						 name, schema, name));
	run_utility(psprintf("ALTER TABLE %s.fa_history ATTACH PARTITION %s.%s"
						 " FOR VALUES FROM ('%s') TO ('%s')",
						 schema, schema, name, day_start(day),
						 day_start(day + 1)));
	AtEOXact_GUC(true, level);
}

/*
 * Is a day's partition there? A stranger's table in its place is an error
 * (42P07), as is one that was detached: the name is what retention goes by, so
 * rows must not go elsewhere.  Costs a look-up in the server's cache, as it is
 * asked at each step that keeps history.
 */
static bool
partition_exists(const Call *call, DateADT day)
{
	char *name = partition_name(day);
	Oid	  relation = get_relname_relid(name, call->schema);

	if (!OidIsValid(relation))
		return false;
	if (!get_rel_relispartition(relation) ||
		get_partition_parent(relation, true) !=
			call_relation(call, "fa_history"))
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("table \"%s\" is in the place of a partition of fa_history",
					name),
			 errhint("Rename or drop it.")));
	return true;
}

/*
 * Makes what is missing of a day's and the next days' partitions.  The caller
 * holds SHARE UPDATE EXCLUSIVE on the parent.
 */
static void
make_missing(const Call *call, DateADT today)
{
	/* the lock is ours: whoever waited for it finds what was made meanwhile */
	AcceptInvalidationMessages();
	for (DateADT day = today; day <= today + DAYS_AHEAD; day++)
	{
		if (!partition_exists(call, day))
			make_partition(day);
	}
}

/*
 * Sees to it that steps can be kept now and in the next days.  Called before
 * any hot row of a block is touched, so that who waits here holds none of
 * them.  While today's partition is there, the next ones are left to others if
 * they are at it; they are made days ahead, so that hardly anybody ever waits.
 */
void
history_prepare(const Call *call)
{
	DateADT today = (DateADT) (GetCurrentTimestamp() / USECS_PER_DAY);
	Oid		parent;

	if (partition_exists(call, today) &&
		partition_exists(call, today + DAYS_AHEAD / 2))
		return;
	parent = call_relation(call, "fa_history");
	if (partition_exists(call, today))
	{
		if (!ConditionalLockRelationOid(parent, ShareUpdateExclusiveLock))
			return;
	}
	else
		LockRelationOid(parent, ShareUpdateExclusiveLock);
	make_missing(call, today);
}

/* ---------- write ---------- */

/* A float8[] [count]; null where it was not asked for, or not computed. */
static Datum
optional_doubles(const double *values, bool wanted, int count, bool *isnull)
{
	*isnull = !wanted || values == NULL;
	return *isnull ? (Datum) 0 : array_from_double(values, count);
}

/*
 * The columns [HISTORY_COLUMNS] of one step.  The owner is kept in each row,
 * for row security must not look up the agent, which may have been dropped.
 */
static void
history_values(const AgentRow *agent, const StepRecord *record, Datum *values,
			   bool *nulls)
{
	const KernelModel *model = agent->model->model;

	memset(nulls, 0, sizeof(bool) * HISTORY_COLUMNS);
	values[HISTORY_AGENT_ID] = Int64GetDatum(agent->agent_id);
	values[HISTORY_STEP] = Int64GetDatum(record->step);
	values[HISTORY_TRIAL] = Int32GetDatum(record->trial);
	values[HISTORY_OBSERVATION] =
		array_from_int32(record->observation, model->modality_count);
	values[HISTORY_ACTION] =
		array_from_int32(record->action, model->control_count);
	values[HISTORY_VFE] = Float8GetDatum(record->vfe);
	values[HISTORY_OWNER] = ObjectIdGetDatum(agent->owner);
	values[HISTORY_COLUMN_BELIEF] =
		optional_doubles(record->belief, agent->history & HISTORY_BELIEF,
						 model->belief_size, &nulls[HISTORY_COLUMN_BELIEF]);
	values[HISTORY_COLUMN_Q_PI] =
		optional_doubles(record->q_pi, agent->history & HISTORY_Q_PI,
						 model->policy_count, &nulls[HISTORY_COLUMN_Q_PI]);
	values[HISTORY_COLUMN_NEG_EFE] =
		optional_doubles(record->neg_efe, agent->history & HISTORY_NEG_EFE,
						 model->policy_count, &nulls[HISTORY_COLUMN_NEG_EFE]);
}

/*
 * Keeps steps of agents [count], those whose params ask for it: agents[i] made
 * records[i].  All get one time, which is what the partition is chosen by.
 * Called after the hot rows are written, in the same transaction; what it
 * allocates is freed, as a run calls it after each step.
 */
void
history_write(const Call *call, const AgentRow *const *agents,
			  const StepRecord *const *records, int count)
{
	TimestampTz	  at = GetCurrentTimestamp();
	Datum		  arguments[1] = {TimestampTzGetDatum(at)};
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents history", ALLOCSET_DEFAULT_SIZES);
	MemoryContext	 old = MemoryContextSwitchTo(context);
	TupleDesc		 desc = CreateTemplateTupleDesc(HISTORY_COLUMNS);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);

	for (int i = 0; i < HISTORY_COLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, history_columns[i].name,
						   history_columns[i].type, -1, 0);
	if (!partition_exists(call, (DateADT) (at / USECS_PER_DAY)))
		history_prepare(call); /* midnight has passed since */
	for (int i = 0; i < count; i++)
	{
		Datum values[HISTORY_COLUMNS];
		bool  nulls[HISTORY_COLUMNS];

		history_values(agents[i], records[i], values, nulls);
		tuplestore_putvalues(store, desc, values, nulls);
	}
	statement_run_with(call, &insert_statement, arguments, NULL, desc, store);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---------- retention ---------- */

/*
 * fa_history_retain(keep interval) returns int: drops the days that ended
 * before keep ago and tells how many there were.  Days are those of UTC, and
 * only whole ones go.
 *
 * DROP TABLE locks the parent too, so it waits for steps that are being kept
 * and lets none in between.  Only partitions with our names are dropped;
 * others that somebody attached stay.  Strict; PUBLIC may not execute it.
 * Raises 22023 for a negative interval, 25006.
 */
Datum
fa_history_retain(PG_FUNCTION_ARGS)
{
	TimestampTz cutoff = DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_mi_interval, TimestampTzGetDatum(GetCurrentTimestamp()),
		PG_GETARG_DATUM(0)));
	NameData	first_kept;
	Datum		arguments[3];
	char	  **names;
	int			count;
	Call		call;

	if (cutoff > GetCurrentTimestamp())
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("keep must not be negative")));
	call_require_write("fa_history_retain");
	call_begin(&call, fcinfo, false);
	namestrcpy(&first_kept, partition_name((DateADT) (cutoff / USECS_PER_DAY)));
	arguments[0] = ObjectIdGetDatum(call_relation(&call, "fa_history"));
	arguments[1] = NameGetDatum(&first_kept);
	arguments[2] = ObjectIdGetDatum(call.schema);
	count = statement_run(&call, &partitions_statement, arguments, NULL, 0);
	/* copied first: the next statement brings another result */
	names = palloc(sizeof(char *) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		bool isnull;

		names[i] = pstrdup(NameStr(*DatumGetName(result_datum(i, 1, &isnull))));
	}
	for (int i = 0; i < count; i++)
		run_utility(psprintf("DROP TABLE %s.%s",
							 quote_identifier(call_schema_name()),
							 quote_identifier(names[i])));
	call_end(&call);
	PG_RETURN_INT32(count);
}
