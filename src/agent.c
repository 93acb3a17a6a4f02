/*-------------------------------------------------------------------------
 *
 * agent.c
 *	  Agents: find out whose they are; pause, reset and drop them.
 *
 * Hot rows are locked in ascending order of id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_agent_pause);
PG_FUNCTION_INFO_V1(fa_agent_resume);
PG_FUNCTION_INFO_V1(fa_agent_drop);
PG_FUNCTION_INFO_V1(fa_agent_reset);

#define BLOCK_AGENTS 64 /* agents read at once; one that learns may be large */

static Statement pause_statement = {
	"UPDATE @.fa_belief SET paused = $2 WHERE agent_id" EQ "ANY ($1)"
	" AND paused OPERATOR(pg_catalog.<>) $2",
	2,
	{INT8ARRAYOID, BOOLOID}};
/*
 * The hot row goes first: it is the one that is locked, and that steps look
 * for.  History stays, for its rows are never deleted one by one.
 */
static Statement drop_statements[] = {
	{"DELETE FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_agent WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_learned WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_observation WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_key WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_retry WHERE agent_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}},
	{"DELETE FROM @.fa_coalition_member WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"DELETE FROM @.fa_coalition_common WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	/* a mailbox goes before its messages: who is receiving has locked it */
	{"DELETE FROM @.fa_mailbox WHERE agent_id" EQ "ANY ($1)",
	 1,
	 {INT8ARRAYOID}},
	{"WITH gone AS (DELETE FROM @.fa_message WHERE recipient" EQ
	 "ANY ($1) RETURNING message_id, sender, recipient, sent_at, priority, body)"
	 " INSERT INTO @.fa_dead_letter"
	 " (message_id, sender, recipient, sent_at, priority, body, reason)"
	 " SELECT message_id, sender, recipient, sent_at, priority, body, 'dropped'"
	 " FROM gone",
	 1,
	 {INT8ARRAYOID}},
	/* not those of whole models, which have 0 */
	{"DELETE FROM @.fa_sensor WHERE agent_id" EQ "ANY ($1) AND agent_id" GT "0",
	 1,
	 {INT8ARRAYOID}},
};

/* ---------- checks that every function makes ---------- */

/* Raises 42704; never returns. */
void
agent_unknown(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("agent " INT64_FORMAT " does not exist", agent_id),
		 errhint(
			 "Create agents by fa_agent_create; table fa_agent lists yours.")));
	pg_unreachable();
}

/* An id that stands twice in one call: both could not be the agent's next step. */
void
agent_repeated(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("agent " INT64_FORMAT " is listed more than once", agent_id),
		 errhint(
			 "Give each agent id once; use SELECT DISTINCT where they come from a query.")));
	pg_unreachable();
}

/* Raises 42501; never returns. */
void
agent_denied(int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for agent " INT64_FORMAT, agent_id),
		 errdetail(
			 "Only its owner, and who is a member of that role, may use it.")));
	pg_unreachable();
}

/*
 * Raises 42501 unless the caller has the rights of the agent's owner.  The
 * first test saves the look-up of roles, which for a batch would cost more
 * than reading the rows.
 */
void
agent_require_owner(const Call *call, int64 agent_id, Oid owner)
{
	if (call->user != owner && !has_privs_of_role(call->user, owner))
		agent_denied(agent_id);
}

/*
 * The ids of an argument bigint[], ascending, [*count]; a repeated one is an
 * error (22023), as is a null (22004).  Sorted because rows are locked in that
 * order, and because belief_read relies on it.
 */
int64 *
agent_ids_sorted(ArrayType *array, int *count)
{
	int64 *ids = array_to_int64(array, count, "agent_ids");

	qsort(ids, *count, sizeof(int64), compare_int64);
	for (int i = 1; i < *count; i++)
	{
		if (ids[i] == ids[i - 1])
			agent_repeated(ids[i]);
	}
	return ids;
}

/* ---------- pause, resume, drop, reset ---------- */

/*
 * fa_agent_pause and fa_agent_resume.  Rows that are so already are not
 * written, hence the count.  They are locked first, because an UPDATE of many
 * takes its locks in no promised order.
 */
static Datum
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Datum  arguments[2] = {array_from_int64(ids, count), BoolGetDatum(paused)};
	int	   changed;
	Call   call;

	call_require_write(paused ? "fa_agent_pause" : "fa_agent_resume");
	call_begin(&call, fcinfo, false);
	if (!paused)
	{
		(void) belief_check(&call, ids, count);
		retry_lock(&call, ids, count);
	}
	belief_lock(&call, ids, count);
	changed = statement_run(&call, &pause_statement, arguments, NULL, 0);
	if (!paused)
	{
		changed += retry_forget(&call, ids, count);
		pool_agents_at_commit();
	}
	call_end(&call);
	PG_RETURN_INT64(changed);
}

/*
 * fa_agent_pause(agent_ids bigint[]) returns bigint, how many were not paused
 * before.  Paused agents refuse steps, but take observations.
 *
 * Strict; waits for steps that are being written.  Raises 42704, 42501, 22023
 * for a repeated id, 22004 for a null one, 25006; then none is paused.
 */
Datum
fa_agent_pause(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, true);
}

/*
 * fa_agent_resume(agent_ids bigint[]) returns bigint, how many were paused
 * before, or left out by workers because their steps had failed.  Errors are those of fa_agent_pause.
 */
Datum
fa_agent_resume(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, false);
}

/*
 * fa_agent_drop(agent_ids bigint[]) returns bigint, how many were dropped,
 * with all they know; their history stays until its retention ends.
 *
 * Strict.  The rows stay locked to the transaction's end, so a step waits and
 * then finds no agent.  Raises 42704, 42501, 22023 for a repeated id, 22004,
 * 25006; then none is dropped.
 */
Datum
fa_agent_drop(PG_FUNCTION_ARGS)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Datum  arguments[1] = {array_from_int64(ids, count)};
	Call   call;

	call_require_write("fa_agent_drop");
	call_begin(&call, fcinfo, false);
	(void) belief_check(&call, ids, count);
	retry_lock(&call, ids, count);
	belief_lock(&call, ids, count);
	graph_belief_forget(&call, ids, count);
	for (int i = 0; i < (int) lengthof(drop_statements); i++)
		statement_run(&call, &drop_statements[i], arguments, NULL, 0);
	call_end(&call);
	PG_RETURN_INT64(count);
}

/*
 * Begins the next trial of a block of agents, whose rows are locked by the
 * caller; ids [count] ascending.
 */
static void
reset_block(const Call *call, const int64 *ids, int count)
{
	AgentRow **pointers = palloc(sizeof(AgentRow *) * count);
	AgentRow  *agents = belief_read(call, ids, count);

	for (int i = 0; i < count; i++)
	{
		belief_start_trial(&agents[i]);
		pointers[i] = &agents[i];
	}
	belief_write_locked(call, pointers, count);
	learned_write(call, pointers, count);
}

/*
 * Begins the next trial of agents [count], ids ascending.  All are locked at
 * once, in order, and then done in blocks: what is read of a block is freed
 * before the next, and one agent that learns may have some MB of counts.
 * Locks last to the transaction's end.
 */
void
agent_reset(const Call *call, const int64 *ids, int count)
{
	if (count > 0)
		belief_lock(call, ids, count);
	for (int first = 0; first < count; first += BLOCK_AGENTS)
	{
		CHECK_FOR_INTERRUPTS();
		/* the block's memory ends with its connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		reset_block(call, ids + first, Min(BLOCK_AGENTS, count - first));
		SPI_finish();
	}
}

/*
 * fa_agent_reset(agent_ids bigint[]) returns bigint, how many began a new
 * trial: belief D, no last action, the world drawn anew.  Counts, seed and
 * step go on.
 *
 * Strict; paused agents are reset too.  Raises 42704, 42501, 22023 for a
 * repeated id, 22004, 25006; then none is reset.
 */
Datum
fa_agent_reset(PG_FUNCTION_ARGS)
{
	int	   count;
	int64 *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	Call   call;

	call_require_write("fa_agent_reset");
	call_begin(&call, fcinfo, false);
	agent_reset(&call, ids, count);
	call_end(&call);
	PG_RETURN_INT64(count);
}
