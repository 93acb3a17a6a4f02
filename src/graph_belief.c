/*-------------------------------------------------------------------------
 *
 * graph_belief.c
 *	  What agents believe, as props of their nodes in the graph.
 *
 * A step decides before it writes the hot rows, for what the graph is told is
 * kept there (column synced), and writes the nodes after them: as who holds an
 * agent's hot row is the only one to write its node, steps never wait for each
 * other's nodes.  doc/graph.md tells the rest.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "fa_agents.h"

#include <math.h>

#define DIGITS 3 /* of a probability in the graph */

/* An agent's node is found by this; fa_agent has another collation. */
#define AGENT_NODE_NAME                                     \
	"(SELECT COALESCE(a.name, a.agent_id::pg_catalog.text)" \
	" COLLATE pg_catalog.\"C\" FROM @.fa_agent a WHERE a.agent_id"

/*
 * There is no join whose order a planner could choose: rows come, and are
 * locked, in the order of the array, whatever the sizes of the tables.
 */
static Statement put_statement = {
	"INSERT INTO @.fa_node AS o (kind, name, props) SELECT 'agent'," AGENT_NODE_NAME
		EQ "u.agent_id), u.props"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
	" WITH ORDINALITY AS u (agent_id, props, n) ORDER BY u.n"
	" ON CONFLICT (kind, name) DO UPDATE"
	" SET props = o.props OPERATOR(pg_catalog.||) excluded.props",
	2,
	{INT8ARRAYOID, JSONBARRAYOID}};

static Statement synced_statement = {
	"SELECT agent_id FROM @.fa_belief WHERE agent_id" EQ
	"ANY ($1) AND synced IS NOT NULL ORDER BY agent_id",
	1,
	{INT8ARRAYOID}};

/* A node that nobody else has given anything, and what is ours of another. */
#define NODE_OF_AGENT \
	" WHERE kind" EQ "'agent' AND name" EQ AGENT_NODE_NAME EQ "$1)"
#define OTHER_PROPS                \
	"props OPERATOR(pg_catalog.-)" \
	" ARRAY['agent_id', 'belief', 'believes']::pg_catalog.text[]"
static Statement forget_statements[] = {
	{"DELETE FROM @.fa_node n" NODE_OF_AGENT " AND " OTHER_PROPS EQ
	 "'{}' AND NOT EXISTS (SELECT FROM @.fa_edge WHERE src" EQ
	 "n.node_id OFFSET 0) AND NOT EXISTS (SELECT FROM @.fa_edge WHERE dst" EQ
	 "n.node_id OFFSET 0)",
	 1,
	 {INT8OID}},
	{"UPDATE @.fa_node SET props = " OTHER_PROPS NODE_OF_AGENT, 1, {INT8OID}},
};

/* ---------- whether ---------- */

/*
 * The belief [size] that the graph has of an agent, which was kept as real;
 * NULL: none, or one under another model's names.  Raises XX001 where it does
 * not fit the model.
 */
static double *
synced_belief(const AgentRow *agent, int size)
{
	const float4 *stored;
	double		 *belief;
	Datum		  synced = agent->stored->values[HOT_SYNCED];

	if (agent->stored->nulls[HOT_SYNCED] ||
		ARR_NDIM(DatumGetArrayTypeP(synced)) == 0)
		return NULL;
	stored = array_floats(synced, size, "belief in the graph");
	belief = palloc(sizeof(double) * size);
	for (int i = 0; i < size; i++)
		belief[i] = stored[i];
	return belief;
}

/* Has the graph to be told what the agent believes now? */
static bool
is_due(const AgentRow *agent, const SyncSetting *setting)
{
	const KernelModel *model = agent->model->model;
	double			  *before;
	bool			   changed;

	if (setting->each_step)
		return true;
	before = synced_belief(agent, model->belief_size);
	if (before == NULL)
		return true;
	changed = mind_changed(model, before, agent->belief, setting->change);
	pfree(before);
	return changed;
}

/* Notes in the row that is about to be written what the graph will have. */
static void
note_synced(AgentRow *agent)
{
	int		size = agent->model->model->belief_size;
	float4 *belief = palloc(sizeof(float4) * size);

	for (int i = 0; i < size; i++)
		belief[i] = (float4) agent->belief[i];
	agent->stored->values[HOT_SYNCED] = array_from_float(belief, size);
	agent->stored->nulls[HOT_SYNCED] = false;
	pfree(belief);
}

/*
 * Which of agents [count] the graph has to be told of: [*due], in the same
 * order, in the current memory context.  It is noted in their hot rows, which
 * are to be written next; graph_belief_write follows.
 */
AgentRow **
graph_belief_decide(const Call *call, AgentRow **agents, int count, int *due)
{
	AgentRow  **told = NULL;
	SyncSetting setting = {.model_id = 0};

	*due = 0;
	sync_begin();
	for (int i = 0; i < count; i++)
	{
		/* agents that follow each other are mostly of one model */
		if (i == 0 || agents[i]->model_id != setting.model_id)
			setting = sync_setting(call, agents[i]->model_id);
		CHECK_FOR_INTERRUPTS();
		if (!setting.synced || !is_due(agents[i], &setting))
			continue;
		note_synced(agents[i]);
		if (told == NULL)
			told = palloc(sizeof(AgentRow *) * count);
		told[(*due)++] = agents[i];
	}
	return told;
}

/* ---------- as props ---------- */

/* The string is copied when the whole value is made, and must last till then. */
static void
push_string(JsonbParseState **state, JsonbIteratorToken token,
			const char *string)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.len = (int) strlen(string);
	value.val.string.val = unconstify(char *, string);
	(void) pushJsonbValue(state, token, &value);
}

static void
push_numeric(JsonbParseState **state, Numeric number)
{
	JsonbValue value;

	value.type = jbvNumeric;
	value.val.numeric = number;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* A label; a number, which states without labels have, is a copy. */
static const char *
label_of(const KernelModel *model, const KernelFactor *factor, int32 state)
{
	char		buffer[16];
	const char *label = kernel_label(model, factor->labels, state, buffer);

	return label == buffer ? pstrdup(label) : label;
}

/* thousandths > 0, without zeros at the end. */
static Numeric
short_numeric(int64 thousandths)
{
	int digits = DIGITS;

	for (; digits > 0 && thousandths % 10 == 0; digits--)
		thousandths /= 10;
	return int64_div_fast_to_numeric(thousandths, digits);
}

/* {"state": probability, ...} of one factor, belief [states]. */
static void
push_factor(JsonbParseState **state, const KernelModel *model,
			const KernelFactor *factor, const double *belief)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int32 s = 0; s < factor->states; s++)
	{
		int64 thousandths = (int64) rint(belief[s] * 1000);

		if (thousandths <= 0)
			continue;
		push_string(state, WJB_KEY, label_of(model, factor, s));
		push_numeric(state, short_numeric(thousandths));
	}
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* An agent's members of its node's props. */
static Jsonb *
agent_props(const AgentRow *agent)
{
	const KernelModel *model = agent->model->model;
	JsonbParseState	  *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "agent_id");
	push_numeric(&state, int64_to_numeric(agent->agent_id));
	push_string(&state, WJB_KEY, "believes");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		int32 best = mind_most_probable(agent->belief + factor->belief_offset,
										factor->states);

		push_string(&state, WJB_KEY, KERNEL_AT(model, char, factor->name));
		push_string(&state, WJB_VALUE, label_of(model, factor, best));
	}
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	push_string(&state, WJB_KEY, "belief");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		push_string(&state, WJB_KEY, KERNEL_AT(model, char, factor->name));
		push_factor(&state, model, factor,
					agent->belief + factor->belief_offset);
	}
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---------- written ---------- */

/*
 * Writes what agents [count] believe to their nodes.  Their hot rows are
 * written, and so held, by this transaction; ascending by id, as they are.
 */
void
graph_belief_write(const Call *call, AgentRow **agents, int count)
{
	int64 *ids;
	Datum *props;
	Datum  arguments[2];

	if (count == 0)
		return;
	ids = palloc(sizeof(int64) * count);
	props = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ids[i] = agents[i]->agent_id;
		props[i] = JsonbPGetDatum(agent_props(agents[i]));
	}
	arguments[0] = array_from_int64(ids, count);
	arguments[1] = PointerGetDatum(
		construct_array(props, count, JSONBOID, -1, false, TYPALIGN_INT));
	statement_run(call, &put_statement, arguments, NULL, 0);
}

/*
 * Agents [count] are about to be dropped, and their hot rows are locked: takes
 * what they believe out of the graph, and nodes that then have nothing.  One by
 * one: a unique key is the only condition that no plan can pass by.
 */
void
graph_belief_forget(const Call *call, const int64 *ids, int count)
{
	Datum  arguments[1] = {array_from_int64(ids, count)};
	int	   found = statement_run(call, &synced_statement, arguments, NULL, 0);
	int64 *synced = palloc(sizeof(int64) * Max(found, 1));

	for (int i = 0; i < found; i++)
		synced[i] = result_int64(i, 1);
	for (int i = 0; i < found; i++)
	{
		CHECK_FOR_INTERRUPTS();
		arguments[0] = Int64GetDatum(synced[i]);
		for (int j = 0; j < (int) lengthof(forget_statements); j++)
			statement_run(call, &forget_statements[j], arguments, NULL, 0);
	}
}
