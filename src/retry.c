/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Agents whose step by a worker failed: tried again after a delay, then
 *	  suspended.
 *
 * An agent with a row in fa_retry is left out by its schedule and stepped from
 * here, alone in a transaction.  A step that succeeds removes the row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"

#include "pool.h"

#include <math.h>

#define LONGEST_DELAY_MS 300000.0
#define JITTER			 0.25 /* of the delay, to both sides */

/*
 * A failure more; $6: milliseconds until the next try, by attempts from 1 on:
 * delay * 2^(attempts - 1).  Of a dropped or paused agent nothing is noted.
 */
static Statement note_statement = {
	"INSERT INTO @.fa_retry AS r (agent_id, schedule_id, attempts, next_try, error, sqlstate)"
	" SELECT agent_id, $2, 1, $5, $3, $4 FROM @.fa_belief"
	" WHERE agent_id" EQ "$1 AND NOT paused"
	" ON CONFLICT (agent_id) DO UPDATE SET attempts = $6, next_try = $5,"
	" error = $3, sqlstate = $4, failed_at = pg_catalog.clock_timestamp()",
	6,
	{INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID}};
static Statement attempts_statement = {
	"SELECT attempts FROM @.fa_retry WHERE agent_id" EQ "$1", 1, {INT8OID}};

/*
 * The one that has waited longest, of those of runner $2; and whether it is not
 * to be stepped any more: it is paused, gone, or no longer the schedule's.
 */
static Statement claim_statement = {
	"SELECT t.agent_id, t.schedule_id, COALESCE((SELECT b.paused FROM @.fa_belief b"
	" WHERE b.agent_id" EQ "t.agent_id), true) OR NOT EXISTS"
	" (SELECT FROM @.fa_agent a, @.fa_model m WHERE a.agent_id" EQ
	"t.agent_id AND m.model_id" EQ "a.model_id AND" SCHEDULE_MAY_STEP(
		"s.owner") ")"
				   " FROM @.fa_retry t, @.fa_schedule s WHERE t.next_try"
				   " OPERATOR(pg_catalog.<=) $1 AND s.schedule_id" EQ
				   "t.schedule_id AND" SCHEDULE_ACTIVE " AND" SCHEDULE_RUNNER EQ
				   "$2 ORDER BY t.next_try LIMIT 1 FOR UPDATE OF t SKIP LOCKED",
	2,
	{TIMESTAMPTZOID, OIDOID}};
static Statement lock_all_statement = {
	"SELECT FROM @.fa_retry WHERE agent_id" EQ
	"ANY ($1) ORDER BY agent_id FOR UPDATE",
	1,
	{INT8ARRAYOID}};
static Statement forget_all_statement = {
	"DELETE FROM @.fa_retry WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}};
static Statement forget_statement = {
	"DELETE FROM @.fa_retry WHERE agent_id" EQ "$1", 1, {INT8OID}};

/*
 * The agents that were in flight when the server crashed, or their process was
 * ended; but for those that another process is stepping again already.
 */
static Statement crash_statement = {
	"WITH free AS (SELECT agent_id FROM @.fa_retry WHERE agent_id" EQ
	"ANY ($1) FOR UPDATE SKIP LOCKED)"
	" INSERT INTO @.fa_retry AS r (agent_id, schedule_id, attempts, next_try, error, sqlstate)"
	" SELECT a.agent_id, s.schedule_id, 1, $2, $3, $4"
	" FROM @.fa_agent a, @.fa_model m, LATERAL (SELECT schedule_id FROM @.fa_schedule s"
	" WHERE s.model" EQ "m.name AND (s.version IS NULL OR s.version" EQ
	"m.version) AND" SCHEDULE_MAY_STEP(
		"s.owner") " ORDER BY (" SCHEDULE_ACTIVE
				   ") DESC, schedule_id LIMIT 1) AS s"
				   " WHERE a.agent_id" EQ "ANY ($1) AND m.model_id" EQ
				   "a.model_id AND (NOT EXISTS (SELECT FROM @.fa_retry t"
				   " WHERE t.agent_id" EQ
				   "a.agent_id) OR EXISTS (SELECT FROM free f WHERE f.agent_id" EQ
				   "a.agent_id)) ON CONFLICT (agent_id)"
				   " DO UPDATE SET attempts = r.attempts OPERATOR(pg_catalog.+) 1,"
				   " next_try = excluded.next_try, error = excluded.error,"
				   " sqlstate = excluded.sqlstate, failed_at = pg_catalog.clock_timestamp()",
	4,
	{INT8ARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}};

/* How often an agent has failed. */
static int
attempts_of(const Call *call, int64 agent_id)
{
	Datum arguments[1] = {Int64GetDatum(agent_id)};
	bool  isnull;

	if (statement_run(call, &attempts_statement, arguments, NULL, 1) == 0)
		return 0;
	return DatumGetInt32(result_datum(0, 1, &isnull));
}

/*
 * When an agent that has failed so often is tried again.  The delay doubles,
 * and is a little different for each, so that agents that failed together do
 * not come back together.
 */
static TimestampTz
next_try(int attempts)
{
	double delay = fa_retry_delay * exp2(Min(attempts - 1, 30));

	delay = Min(delay, LONGEST_DELAY_MS);
	delay *= 1 - JITTER + 2 * JITTER * pg_prng_double(&pg_global_prng_state);
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) delay);
}

static Statement owner_statement = {
	"SELECT owner, step FROM @.fa_belief WHERE agent_id" EQ "$1", 1, {INT8OID}};

/* A failure becomes an event, unless the agent was dropped. */
static void
tell_outbox(const Call *call, int64 agent_id, const ErrorData *error)
{
	Datum		   arguments[1] = {Int64GetDatum(agent_id)};
	StringInfoData detail;
	bool		   isnull;

	if (statement_run(call, &owner_statement, arguments, NULL, 1) == 0)
		return;
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"error\": ");
	json_append_string(&detail, error->message ? error->message : "");
	appendStringInfo(&detail, ", \"sqlstate\": \"%s\"}",
					 unpack_sql_state(error->sqlerrcode));
	outbox_add(call, OUTBOX_FAILED, agent_id, result_int64(0, 2),
			   DatumGetObjectId(result_datum(0, 1, &isnull)), detail.data);
}

/*
 * Notes that an agent's step has failed, in the current transaction, which
 * must not be the one that failed.  Where somebody else holds the agent's row
 * for long, or the server lacks something, it is no fault of the agent's, and
 * it is not suspended for it.  False: it is paused, or gone.
 */
bool
retry_note(const Call *call, int64 schedule_id, int64 agent_id,
		   const ErrorData *error)
{
	int	 attempts = attempts_of(call, agent_id) + 1;
	bool suspend = attempts >= fa_max_failures && !work_excuses(error) &&
				   error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	Datum arguments[6] = {
		Int64GetDatum(agent_id),
		Int64GetDatum(schedule_id),
		CStringGetTextDatum(error->message ? error->message : ""),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)),
		TimestampTzGetDatum(suspend ? DT_NOEND : next_try(attempts)),
		Int32GetDatum(attempts)};

	if (statement_run(call, &note_statement, arguments, NULL, 0) == 0)
		return false;
	if (OUTBOX_WANTS(OUTBOX_FAILED))
		tell_outbox(call, agent_id, error);
	if (attempts == 1 || suspend)
		ereport(
			LOG,
			(errcode(error->sqlerrcode),
			 errmsg(suspend ? "agent " INT64_FORMAT " is suspended: %s" :
							  "step of agent " INT64_FORMAT " failed: %s",
					agent_id, error->message),
			 errhint(
				 "fa_retry has the error; fa_agent_resume lets it go on.")));
	return true;
}

/* The argument is a bool *: whether there was something to do. */
static void
make(void *argument)
{
	bool *done = argument;
	Datum arguments[2] = {TimestampTzGetDatum(GetCurrentTimestamp()),
						  ObjectIdGetDatum(pool_self->owner)};
	int64 agent_id = 0;
	int64 schedule_id = 0;
	int	  failed = 0;
	bool  paused = false;
	bool  stepped = false;
	bool  isnull;
	Call  call;

	*done = false;
	work_begin("steps agents that failed before");
	if (!call_begin_extension(&call))
	{
		work_end();
		return;
	}
	if (statement_run(&call, &claim_statement, arguments, NULL, 1) > 0)
	{
		*done = true;
		agent_id = result_int64(0, 1);
		schedule_id = result_int64(0, 2);
		paused = DatumGetBool(result_datum(0, 3, &isnull));
		if (!paused)
			failed = batch_step_singly(&call, schedule_id, &agent_id, 1, true,
									   &stepped);
		/* one that is paused, gone or another's will not be asked for */
		arguments[0] = Int64GetDatum(agent_id);
		if (failed == 0)
			statement_run(&call, &forget_statement, arguments, NULL, 0);
	}
	call_end(&call);
	work_end();
	if (!*done || paused)
		return;
	batch_done(stepped, failed);
	batch_count_faults(schedule_id, failed, 0);
}

/* One agent whose time to be tried again has come; false: there is none. */
bool
retry_make(void)
{
	bool	   done;
	ErrorData *error = work_attempt(make, &done);

	if (error != NULL && !batch_blame(error, true))
		ReThrowError(error);
	return done || error != NULL;
}

/*
 * Waits until none of the agents [count], which are the caller's, is being
 * tried again, and none will be until the transaction ends.  To be called
 * before their hot rows are locked, which is the order of who tries: his sensor
 * may take long between the two.
 */
void
retry_lock(const Call *call, const int64 *ids, int count)
{
	Datum arguments[1] = {array_from_int64(ids, count)};

	statement_run(call, &lock_all_statement, arguments, NULL, 0);
}

/*
 * Forgets the failures of agents [count], which are then stepped as others
 * are; how many had any.  What waits in an inbox is looked at after the commit.
 */
int
retry_forget(const Call *call, const int64 *ids, int count)
{
	Datum arguments[1] = {array_from_int64(ids, count)};

	for (int i = 0; i < count; i++)
		event_note_at_commit(ids[i]);
	return statement_run(call, &forget_all_statement, arguments, NULL, 0);
}

/*
 * Notes agents [count] of a batch that ended with its process, and when they
 * are tried again; returns how many there still are.
 */
static int
note_ended(const Call *call, const int64 *ids, int count, const char *error,
		   int sqlstate, TimestampTz next)
{
	Datum arguments[4] = {array_from_int64(ids, count),
						  TimestampTzGetDatum(next), CStringGetTextDatum(error),
						  CStringGetTextDatum(unpack_sql_state(sqlstate))};
	int	  noted = statement_run(call, &crash_statement, arguments, NULL, 0);

	if (noted > 0 && next == DT_NOEND)
		ereport(LOG, (errmsg("agent " INT64_FORMAT " is suspended: %s", ids[0],
							 error),
					  errhint("fa_agent_resume lets it go on.")));
	return noted;
}

/*
 * When to try agents [count] again that may have done what nobody wants to see
 * again and again: several one by one, at once, to find the one; one that was
 * alone, once more, for somebody else may have killed its process; then never.
 */
static TimestampTz
once_more(const Call *call, const int64 *ids, int count)
{
	if (count > 1)
		return GetCurrentTimestamp();
	return attempts_of(call, ids[0]) == 0 ? next_try(1) : DT_NOEND;
}

/*
 * The same where it is likely that somebody else ended the process: one that was
 * alone has as many tries as with an error.
 */
static TimestampTz
after_failure(const Call *call, const int64 *ids, int count)
{
	int attempts = attempts_of(call, ids[0]) + 1;

	if (count > 1)
		return GetCurrentTimestamp();
	return attempts >= fa_max_failures ? DT_NOEND : next_try(attempts);
}

/*
 * Agents that were being stepped by a process that crashed; or when the server
 * ended without a word, which may be nobody's doing.
 */
void
retry_after_crash(const Call *call)
{
	int64 *ids;
	int	   count;
	bool   crash;

	while ((ids = flight_take(&count, &crash)) != NULL)
	{
		TimestampTz next = crash ? once_more(call, ids, count) :
								   after_failure(call, ids, count);

		if (note_ended(call, ids, count, "the server crashed during its step",
					   ERRCODE_INTERNAL_ERROR, next) > 0 &&
			count > 1)
			ereport(
				LOG,
				(errmsg("%d agents were being stepped when the server crashed",
						count),
				 errdetail("They are stepped one by one.")));
	}
}

/*
 * Agents [count] that were being stepped by a process that had to be ended
 * (overtime), or was by whomever.
 */
void
retry_after_end(const Call *call, const int64 *ids, int count, bool overtime)
{
	if (overtime)
		note_ended(call, ids, count,
				   "its step did not end when it was cancelled",
				   ERRCODE_QUERY_CANCELED, once_more(call, ids, count));
	else
		note_ended(call, ids, count,
				   "its process was terminated during its step",
				   ERRCODE_ADMIN_SHUTDOWN, after_failure(call, ids, count));
}
