/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  The outbox: what happened, written in the transaction in which it did.
 *
 * Which kinds are wanted is a setting, so that where nobody wants any a step
 * tests one variable.  outbox_consumer.c reads; doc/outbox.md is the design.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

/* So many events are written by a session until it removes old ones. */
#define SWEEP_EVENTS 1000

static const char *const kind_names[] = {"step", "mind", "failed", "coalition"};

/* $5: details as text[], null elements are none. */
static Statement insert_statement = {
	"INSERT INTO @.fa_outbox (kind, agent_id, step, owner, detail)"
	" SELECT $1, e.agent_id, e.step, e.owner, e.detail::pg_catalog.jsonb"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3),"
	" pg_catalog.unnest($4), pg_catalog.unnest($5))"
	" AS e (agent_id, step, owner, detail)",
	5,
	{TEXTOID, INT8ARRAYOID, INT8ARRAYOID, OIDARRAYOID, TEXTARRAYOID}};

/* Consumers that have not read for long hold nothing back any more. */
static Statement restart_statement = {
	"UPDATE @.fa_outbox_consumer SET restarted = true, batch = NULL WHERE name" EQ
	"ANY (ARRAY (SELECT name FROM @.fa_outbox_consumer WHERE read_at" LT
	"$1 AND NOT restarted FOR UPDATE SKIP LOCKED))",
	1,
	{TIMESTAMPTZOID}};
/* What no other can want: below all that was running in any of their snapshots. */
static Statement sweep_statement = {
	"DELETE FROM @.fa_outbox WHERE ctid" EQ "ANY (ARRAY"
	" (SELECT ctid FROM @.fa_outbox WHERE xid" LT
	"COALESCE((SELECT pg_catalog.min(pg_catalog.pg_snapshot_xmin("
	"CASE WHEN restarted THEN batch ELSE seen END)::pg_catalog.text"
	"::pg_catalog.int8) FROM @.fa_outbox_consumer),"
	" pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())"
	"::pg_catalog.text::pg_catalog.int8)::pg_catalog.text::pg_catalog.xid8"
	" ORDER BY xid LIMIT 10000 FOR UPDATE SKIP LOCKED))",
	0,
	{0}};

/*
 * Events of this session since the last sweep; -1: none yet.  It begins with a
 * number by chance, so that sessions that write few are swept after as well.
 */
static int64 written = -1;

/* The name of a kind, as it stands in the setting and in rows. */
const char *
outbox_kind_name(int number)
{
	return number < (int) lengthof(kind_names) ? kind_names[number] : NULL;
}

/*
 * Removes events that nobody will read.  Left out under snapshots that last,
 * where it could only add conflicts.
 */
static void
sweep(const Call *call)
{
	Datum arguments[1] = {TimestampTzGetDatum(TimestampTzPlusMilliseconds(
		GetCurrentTimestamp(), -(int64) fa_outbox_retention * 1000))};

	written = 0;
	if (IsolationUsesXactSnapshot())
		return;
	statement_run(call, &restart_statement, arguments, NULL, 0);
	statement_run(call, &sweep_statement, NULL, NULL, 0);
}

/* Events of one kind, [count] each; a detail that is NULL is none. */
typedef struct Events
{
	int64 *agent_ids;
	int64 *steps;
	Datum *owners;
	char **details;
	int	   count;
} Events;

/* Room for count events, none of them filled. */
static Events
make_events(int count)
{
	Events events = {0};

	events.agent_ids = palloc(sizeof(int64) * Max(count, 1));
	events.steps = palloc(sizeof(int64) * Max(count, 1));
	events.owners = palloc(sizeof(Datum) * Max(count, 1));
	events.details = palloc(sizeof(char *) * Max(count, 1));
	return events;
}

/* Adds one; there must be room. */
static void
add_event(Events *events, int64 agent_id, int64 step, Oid owner, char *detail)
{
	events->agent_ids[events->count] = agent_id;
	events->steps[events->count] = step;
	events->owners[events->count] = ObjectIdGetDatum(owner);
	events->details[events->count++] = detail;
}

/* text[] of strings [count], NULL ones are null. */
static Datum
text_array(char **strings, int count)
{
	Datum *elements = palloc(sizeof(Datum) * Max(count, 1));
	bool  *nulls = palloc(sizeof(bool) * Max(count, 1));
	int	   bound = 1;

	for (int i = 0; i < count; i++)
	{
		nulls[i] = strings[i] == NULL;
		elements[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(strings[i]);
	}
	return PointerGetDatum(construct_md_array(
		elements, nulls, 1, &count, &bound, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Writes events of one kind; what was wanted was asked before.  Waits for
 * nobody.
 */
static void
write_events(const Call *call, OutboxKind kind, const Events *events)
{
	Datum arguments[5];

	if (events->count == 0)
		return;
	arguments[0] = CStringGetTextDatum(outbox_kind_name(kind));
	arguments[1] = array_from_int64(events->agent_ids, events->count);
	arguments[2] = array_from_int64(events->steps, events->count);
	arguments[3] =
		PointerGetDatum(construct_array(events->owners, events->count, OIDOID,
										sizeof(Oid), true, TYPALIGN_INT));
	arguments[4] = text_array(events->details, events->count);
	statement_run(call, &insert_statement, arguments, NULL, 0);
	if (written < 0)
		written =
			(int64) (pg_prng_double(&pg_global_prng_state) * SWEEP_EVENTS);
	written += events->count;
	if (written >= SWEEP_EVENTS)
		sweep(call);
}

/*
 * Something happened, if its kind is wanted: to an agent (0: to none) of this
 * owner, at a step (0: at none); detail is JSON, or NULL.
 */
void
outbox_add(const Call *call, OutboxKind kind, int64 agent_id, int64 step,
		   Oid owner, char *detail)
{
	Events events;

	if (!OUTBOX_WANTS(kind))
		return;
	events = make_events(1);
	add_event(&events, agent_id, step, owner, detail);
	write_events(call, kind, &events);
}

/*
 * {"factor": "state", ...} of the factors of which another state is most
 * probable than in the row that was read; NULL: there is none.
 */
static char *
changed_mind(const AgentRow *agent)
{
	const KernelModel *model = agent->model->model;
	const double	  *before = array_doubles(agent->stored->values[HOT_BELIEF],
											  model->belief_size, "belief");
	StringInfoData	   out;

	initStringInfo(&out);
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		const double	   *now = agent->belief + factor->belief_offset;
		char				buffer[16];

		if (!mind_turned(before + factor->belief_offset, now, factor->states))
			continue;
		appendStringInfoString(&out, out.len > 0 ? ", " : "{");
		json_append_string(&out, KERNEL_AT(model, char, factor->name));
		appendStringInfoString(&out, ": ");
		json_append_string(&out,
						   kernel_label(model, factor->labels,
										mind_most_probable(now, factor->states),
										buffer));
	}
	if (out.len == 0)
		return NULL;
	appendStringInfoChar(&out, '}');
	return out.data;
}

/*
 * What agents [count] will have changed their minds about, a detail for each
 * or NULL; to be asked before their rows are written over.  NULL: nobody wants
 * to know.
 */
char **
outbox_minds(const AgentRow *agents, int count)
{
	char **details;

	if (!OUTBOX_WANTS(OUTBOX_MIND))
		return NULL;
	details = palloc(sizeof(char *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		details[i] = changed_mind(&agents[i]);
	return details;
}

/* Agents [count] have stepped, and their rows are written. */
void
outbox_steps(const Call *call, const AgentRow *agents, int count, char **minds)
{
	Events steps = make_events(count);
	Events changes = make_events(count);

	for (int i = 0; i < count; i++)
	{
		const AgentRow *agent = &agents[i];

		if (OUTBOX_WANTS(OUTBOX_STEP))
			add_event(&steps, agent->agent_id, agent->step, agent->owner, NULL);
		if (minds != NULL && minds[i] != NULL)
			add_event(&changes, agent->agent_id, agent->step, agent->owner,
					  minds[i]);
	}
	write_events(call, OUTBOX_STEP, &steps);
	write_events(call, OUTBOX_MIND, &changes);
}
