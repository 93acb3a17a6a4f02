/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Schedules: make, pause, resume and drop them.
 *
 * A change counts from its commit on: then the coordinator is woken.  A slice
 * that a worker is making is locked by it, so pausing and dropping wait for its
 * batch; the worker waits for nobody.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "pool.h"

PG_FUNCTION_INFO_V1(fa_schedule_create);
PG_FUNCTION_INFO_V1(fa_schedule_pause);
PG_FUNCTION_INFO_V1(fa_schedule_resume);
PG_FUNCTION_INFO_V1(fa_schedule_drop);

#define SHORTEST_US INT64CONST(1000)
#define LONGEST_US	(INT64CONST(10) * 366 * USECS_PER_DAY)

enum
{
	NEW_ID,
	NEW_NAME,
	NEW_OWNER,
	NEW_MODEL,
	NEW_VERSION,
	NEW_EVERY,
	NEW_PRIORITY,
	NEW_DEADLINE,
	NEW_CATCH_UP,
	NEW_COLUMNS
};

static Statement insert_statement = {
	"INSERT INTO @.fa_schedule (schedule_id, name, owner, model, version, every,"
	" priority, deadline, catch_up) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	NEW_COLUMNS,
	{INT8OID, TEXTOID, REGROLEOID, TEXTOID, INT4OID, INTERVALOID, INT4OID,
	 INTERVALOID, TEXTOID}};
/* The wheel begins to turn now: slice s is due s/64 of a turn later. */
static Statement slices_statement = {
	"INSERT INTO @.fa_schedule_slice (schedule_id, slice, due, phase, empty)"
	" SELECT s.schedule_id, l.slice, pg_catalog.statement_timestamp() OPERATOR(pg_catalog.+)"
	" (" STEADY_EVERY
	" OPERATOR(pg_catalog.*) (l.slice OPERATOR(pg_catalog./) 64.0::pg_catalog.float8)),"
	" l.slice OPERATOR(pg_catalog.*) 1024, NOT" SLICE_OCCUPIED
	" FROM @.fa_schedule s, pg_catalog.generate_series(0, 63) AS l (slice)"
	" WHERE s.schedule_id" EQ "$1 AND s.every IS NOT NULL",
	1,
	{INT8OID}};
static Statement find_statement = {
	"SELECT schedule_id, owner, paused OR error IS NOT NULL"
	" FROM @.fa_schedule WHERE name" EQ "$1 FOR UPDATE",
	1,
	{TEXTOID}};
static Statement pause_statement = {
	"UPDATE @.fa_schedule SET paused = $2, error = NULL WHERE schedule_id" EQ
	"$1",
	2,
	{INT8OID, BOOLOID}};
/* Other schedules of the same agents go on with them. */
static Statement release_statement = {
	"DELETE FROM @.fa_retry WHERE schedule_id" EQ "$1 AND next_try" LT
	"'infinity'",
	1,
	{INT8OID}};
static Statement drop_statements[] = {
	{"DELETE FROM @.fa_schedule_slice WHERE schedule_id" EQ "$1", 1, {INT8OID}},
	{"DELETE FROM @.fa_retry WHERE schedule_id" EQ "$1", 1, {INT8OID}},
	{"DELETE FROM @.fa_schedule WHERE schedule_id" EQ "$1", 1, {INT8OID}},
};
static Statement name_statement = {
	"SELECT 1 FROM @.fa_schedule WHERE name" EQ "$1", 1, {TEXTOID}};
static Statement version_statement = {
	"SELECT version FROM @.fa_model WHERE model_id" EQ "$1", 1, {INT8OID}};

/* ---------- arguments ---------- */

/* Raises 22004 where an argument is null. */
static void
require_argument(FunctionCallInfo fcinfo, int argument, const char *what)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", what)));
}

/* Is it a time that a turn may take? */
static bool
is_in_reason(const Interval *interval)
{
	int64 days = interval->day + interval->time / USECS_PER_DAY;
	int64 us;

	if (days < 0 || days > LONGEST_US / USECS_PER_DAY)
		return false;
	us = days * USECS_PER_DAY + interval->time % USECS_PER_DAY;
	return us >= SHORTEST_US && us <= LONGEST_US;
}

/*
 * Raises 22023 for an interval that is no fixed time, or out of reason.  A
 * month has no length, so no turn of a wheel.
 */
static void
check_interval(const Interval *interval, const char *what)
{
	if (interval->month != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not have months or years", what),
						errhint("Give it in days or less.")));
	if (!is_in_reason(interval))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 millisecond and 3660 days", what),
				 errhint("Leave \"every\" out for steps at each "
						 "observation, and \"deadline\" for that of "
						 "\"every\".")));
}

/* Raises 42602 for a bad name. */
static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > NAME_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("schedule name must have 1 to %d bytes", NAME_LIMIT)));
}

/* Raises 22023 for another policy than the two that there are. */
static void
check_catch_up(const char *catch_up)
{
	if (strcmp(catch_up, "skip") != 0 && strcmp(catch_up, "all") != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for catch_up: \"%s\"", catch_up),
			 errhint(
				 "\"skip\" leaves out turns that were missed, \"all\" makes them up.")));
}

/*
 * The model's name and, if "name@version" was given, its version.  The model
 * must be there, and the caller's to use.
 */
static void
find_model(const Call *call, const char *model, Datum *values, bool *nulls)
{
	ModelRow	row = model_find_for_use(call, TABLE_MODEL, model);
	Datum		arguments[1] = {Int64GetDatum(row.id)};
	const char *at = strrchr(model, '@');
	bool		isnull;

	statement_run(call, &version_statement, arguments, NULL, 1);
	values[NEW_VERSION] = result_datum(0, 1, &isnull);
	nulls[NEW_VERSION] = at == NULL;
	values[NEW_MODEL] = PointerGetDatum(
		at == NULL ? cstring_to_text(model) :
					 cstring_to_text_with_len(model, (int) (at - model)));
}

/* ---------- create ---------- */

/* Is the role there, with LOGIN? */
static bool
may_log_in(Oid role)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool	  result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Refuses (42501) a schedule of a role that could not log in: no agent runs for
 * who may not run it himself.
 */
static void
require_login(Oid role)
{
	if (!may_log_in(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" is not permitted to log in",
							   GetUserNameFromId(role, false)),
						errhint("A schedule runs for a role with LOGIN.")));
}

/* Stores a schedule with its slices; returns its id. */
static int64
create(const Call *call, Datum *values, const bool *nulls)
{
	char  null_marks[NEW_COLUMNS];
	int64 id =
		nextval_internal(call_relation(call, "fa_schedule_id_seq"), false);

	pool_forget_schedule(id);
	values[NEW_ID] = Int64GetDatum(id);
	for (int i = 0; i < NEW_COLUMNS; i++)
		null_marks[i] = nulls[i] ? 'n' : ' ';
	statement_run(call, &insert_statement, values, null_marks, 0);
	statement_run(call, &slices_statement, values, NULL, 0);
	return id;
}

/*
 * fa_schedule_create(name text, model text, every interval, priority int,
 * deadline interval, catch_up text) returns bigint, the schedule's id.
 *
 * every null: by event; deadline null: as every, or none.  Raises 22004, 22023
 * and 42602 for arguments, 42710 for a name in use, 42704 and 42501 for the
 * model, 42501 for a caller who may not log in, 55000 without workers, 25006.
 */
Datum
fa_schedule_create(PG_FUNCTION_ARGS)
{
	Datum values[NEW_COLUMNS] = {0};
	bool  nulls[NEW_COLUMNS] = {false};
	char *name;
	char *catch_up;
	int64 id;
	Call  call;

	call_require_write("fa_schedule_create");
	pool_require();
	require_argument(fcinfo, 0, "name");
	require_argument(fcinfo, 1, "model");
	require_argument(fcinfo, 3, "priority");
	require_argument(fcinfo, 5, "catch_up");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	catch_up = text_to_cstring(PG_GETARG_TEXT_PP(5));
	check_name(name);
	check_catch_up(catch_up);
	if (!PG_ARGISNULL(2))
		check_interval(PG_GETARG_INTERVAL_P(2), "every");
	if (!PG_ARGISNULL(4))
		check_interval(PG_GETARG_INTERVAL_P(4), "deadline");
	values[NEW_NAME] = PG_GETARG_DATUM(0);
	nulls[NEW_EVERY] = PG_ARGISNULL(2);
	values[NEW_EVERY] = PG_GETARG_DATUM(2);
	values[NEW_PRIORITY] = PG_GETARG_DATUM(3);
	nulls[NEW_DEADLINE] = PG_ARGISNULL(4);
	values[NEW_DEADLINE] = PG_GETARG_DATUM(4);
	values[NEW_CATCH_UP] = PG_GETARG_DATUM(5);

	call_begin(&call, fcinfo, false);
	require_login(call.user);
	values[NEW_OWNER] = ObjectIdGetDatum(call.user);
	name_lock(&call, "fa_schedule", name);
	if (statement_run_now(&call, &name_statement, &values[NEW_NAME]) > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("schedule \"%s\" already exists", name),
			 errhint(
				 "Choose another name, or remove that one by fa_schedule_drop.")));
	find_model(&call, text_to_cstring(PG_GETARG_TEXT_PP(1)), values, nulls);
	id = create(&call, values, nulls);
	call_end(&call);
	pool_want_at_commit();
	PG_RETURN_INT64(id);
}

/* ---------- pause, resume, drop ---------- */

/*
 * Locks a schedule of the caller's; returns its id, and whether it is paused
 * or suspended.  Raises 42704 and 42501.
 */
static int64
find_schedule(const Call *call, Datum name, bool *paused)
{
	bool  isnull;
	int64 id;
	Oid	  owner;
	char *string = TextDatumGetCString(name);

	if (statement_run(call, &find_statement, &name, NULL, 1) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("schedule \"%s\" does not exist", string),
						errhint("Table fa_schedule lists yours.")));
	id = result_int64(0, 1);
	owner = DatumGetObjectId(result_datum(0, 2, &isnull));
	*paused = DatumGetBool(result_datum(0, 3, &isnull));
	if (!has_privs_of_role(call->user, owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for schedule \"%s\"", string),
						errdetail("Only its owner may change it.")));
	return id;
}

/* fa_schedule_pause and fa_schedule_resume. */
static Datum
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	bool  was_paused;
	Datum arguments[2] = {0, BoolGetDatum(paused)};
	Call  call;

	call_require_write(paused ? "fa_schedule_pause" : "fa_schedule_resume");
	if (!paused)
		pool_require();
	call_begin(&call, fcinfo, false);
	arguments[0] =
		Int64GetDatum(find_schedule(&call, PG_GETARG_DATUM(0), &was_paused));
	if (was_paused != paused)
	{
		statement_run(&call, &pause_statement, arguments, NULL, 0);
		/* the wheel starts anew: what was missed was not wanted */
		statement_run(&call, &drop_statements[0], arguments, NULL, 0);
		statement_run(&call, &slices_statement, arguments, NULL, 0);
		statement_run(&call, &release_statement, arguments, NULL, 0);
	}
	call_end(&call);
	pool_want_at_commit();
	PG_RETURN_BOOL(was_paused != paused);
}

/*
 * fa_schedule_pause(name text) returns boolean: false, it was paused or
 * suspended already.  Waits for batches that are being made; after its commit
 * none is.  Strict.  Raises 42704, 42501, 25006.
 */
Datum
fa_schedule_pause(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, true);
}

/*
 * fa_schedule_resume(name text) returns boolean: false, it was running.  What
 * was missed meanwhile is not made up.  Strict.  Raises 42704, 42501, 25006,
 * 55000 without workers.
 */
Datum
fa_schedule_resume(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, false);
}

/*
 * fa_schedule_drop(name text) returns void.  Waits for batches that are being
 * made.  Strict.  Raises 42704, 42501, 25006.
 */
Datum
fa_schedule_drop(PG_FUNCTION_ARGS)
{
	bool  paused;
	Datum arguments[1];
	Call  call;

	call_require_write("fa_schedule_drop");
	call_begin(&call, fcinfo, false);
	arguments[0] =
		Int64GetDatum(find_schedule(&call, PG_GETARG_DATUM(0), &paused));
	for (int i = 0; i < (int) lengthof(drop_statements); i++)
		statement_run(&call, &drop_statements[i], arguments, NULL, 0);
	call_end(&call);
	pool_want_at_commit();
	PG_RETURN_VOID();
}
