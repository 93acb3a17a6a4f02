/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  The outbox: what happened, written in the transaction in which it did.
 *
 * Which kinds are wanted is a setting, so that where nobody wants any a step
 * tests one variable.  outbox_consumer.c reads, outbox_rotate.c removes what
 * was read; doc/outbox.md is the design.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "fa_agents.h"

static const char *const kind_names[] = {"step", "mind", "failed", "coalition",
										 "graph"};

/*
 * $4: owners, 0 is none; $5: details as text[], null elements are none.  (NULLIF
 * would look for its operator on the caller's search_path.)
 */
#define INSERT(leaf)                                                       \
	{                                                                      \
		"INSERT INTO @.fa_outbox_" leaf                                    \
		" (kind, agent_id, step, owner, detail, leaf)"                     \
		" SELECT $1, e.agent_id, e.step,"                                  \
		" CASE WHEN e.owner OPERATOR(pg_catalog.<>) 0::pg_catalog.oid"     \
		" THEN e.owner END,"                                               \
		" e.detail::pg_catalog.jsonb, " leaf                               \
		" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3),"   \
		" pg_catalog.unnest($4), pg_catalog.unnest($5))"                   \
		" AS e (agent_id, step, owner, detail)",                           \
			5,                                                             \
		{                                                                  \
			TEXTOID, INT8ARRAYOID, INT8ARRAYOID, OIDARRAYOID, TEXTARRAYOID \
		}                                                                  \
	}
static Statement insert_statements[OUTBOX_LEAVES] = {INSERT("0"), INSERT("1"),
													 INSERT("2")};

/* The name of a kind, as it stands in the setting and in rows. */
const char *
outbox_kind_name(int number)
{
	return number < (int) lengthof(kind_names) ? kind_names[number] : NULL;
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
	statement_run(call, &insert_statements[outbox_leaf(call)], arguments, NULL,
				  0);
	outbox_note(call, events->count);
}

/*
 * Something happened, if its kind is wanted: to an agent (0: to none) of this
 * owner (none: for who may read the graph), at a step (0: at none); detail is
 * JSON, or NULL.
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
