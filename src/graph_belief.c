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

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"

#include "fa_agents.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_belief_sync);

#define DIGITS 3 /* of a probability in the graph */

/* How the agents of a model are synced. */
typedef struct Setting
{
	int64  model_id;
	bool   each_step; /* else at a change of mind */
	double change;
} Setting;

static Statement settings_statement = {
	"SELECT m.model_id, s.mode" EQ "'step', s.change FROM @.fa_model m"
	" JOIN @.fa_belief_sync s ON s.model" EQ "m.name AND s.owner" EQ
	"m.owner WHERE m.model_id" EQ "ANY ($1) ORDER BY m.model_id",
	1,
	{INT8ARRAYOID}};

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

static Statement never_statement = {
	"DELETE FROM @.fa_belief_sync WHERE model" EQ "$1", 1, {TEXTOID}};
static Statement set_statement = {
	"INSERT INTO @.fa_belief_sync (model, owner, mode, change)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (model) DO UPDATE SET"
	" owner = excluded.owner, mode = excluded.mode, change = excluded.change",
	4,
	{TEXTOID, REGROLEOID, TEXTOID, FLOAT8OID}};

/* ---------- which models ---------- */

/*
 * Has a model ever been synced in this database?  Most databases are done
 * with this question, which costs less than a statement.
 */
static bool
any_setting(const Call *call)
{
	Relation table =
		table_open(call_relation(call, "fa_belief_sync"), AccessShareLock);
	bool any = RelationGetNumberOfBlocks(table) > 0;

	table_close(table, NoLock);
	return any;
}

/*
 * How the models of agents [agent_count] are synced: settings [count] in
 * ascending order of id, of those that are.
 */
static Setting *
read_settings(const Call *call, AgentRow **agents, int agent_count, int *count)
{
	int64	*ids = palloc(sizeof(int64) * agent_count);
	int		 distinct;
	Setting *settings;
	Datum	 arguments[1];

	for (int i = 0; i < agent_count; i++)
		ids[i] = agents[i]->model_id;
	distinct = int64_sort_unique(ids, agent_count);
	arguments[0] = array_from_int64(ids, distinct);
	*count = statement_run(call, &settings_statement, arguments, NULL, 0);
	settings = palloc(sizeof(Setting) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		bool isnull;

		settings[i].model_id = result_int64(i, 1);
		settings[i].each_step = DatumGetBool(result_datum(i, 2, &isnull));
		settings[i].change = DatumGetFloat8(result_datum(i, 3, &isnull));
	}
	return settings;
}

/* A model's setting, or NULL: its agents are not synced. */
static const Setting *
find_setting(const Setting *settings, int count, int64 model_id)
{
	/* model_id is first */
	return bsearch(&model_id, settings, count, sizeof(Setting), compare_int64);
}

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
is_due(const AgentRow *agent, const Setting *setting)
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
	AgentRow	 **told;
	const Setting *settings;
	int			   setting_count;

	*due = 0;
	if (count == 0 || !any_setting(call))
		return NULL;
	settings = read_settings(call, agents, count, &setting_count);
	told = palloc(sizeof(AgentRow *) * count);
	for (int i = 0; i < count && setting_count > 0; i++)
	{
		const Setting *setting =
			find_setting(settings, setting_count, agents[i]->model_id);

		CHECK_FOR_INTERRUPTS();
		if (setting == NULL || !is_due(agents[i], setting))
			continue;
		note_synced(agents[i]);
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
	int64 *ids = palloc(sizeof(int64) * Max(count, 1));
	Datum *props = palloc(sizeof(Datum) * Max(count, 1));
	Datum  arguments[2];

	if (count == 0)
		return;
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

/* ---------- fa_belief_sync ---------- */

/*
 * Raises 42501 unless the caller may write nodes himself: from now on his
 * agents' steps do it for him.
 */
static void
require_graph_rights(const Call *call)
{
	const AclMode wanted = ACL_SELECT | ACL_INSERT | ACL_UPDATE;

	if (pg_class_aclmask(call_relation(call, "fa_node"), call->user, wanted,
						 ACLMASK_ALL) != wanted)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for table fa_node"),
			 errdetail(
				 "To have beliefs written to the graph takes SELECT, INSERT and UPDATE on it.")));
}

/* Raises 22023 for another mode, or a change that is no probability. */
static void
check_setting(const char *mode, double change)
{
	if (strcmp(mode, "never") != 0 && strcmp(mode, "step") != 0 &&
		strcmp(mode, "change") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mode \"%s\"", mode),
				 errhint("Modes are \"never\", \"step\" and \"change\".")));
	/* NaN is neither */
	if (!(change >= 0 && change <= 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("change must be between 0 and 1")));
}

/*
 * fa_belief_sync(model text, mode text, change float8): whether beliefs of the
 * agents of all versions of a model are written to the graph.  Steps that
 * begin after the commit go by it.
 *
 * Strict; returns nothing.  Raises 22023 for mode and change, or a version;
 * 42704 and 42501 for the model, 42501 without rights on the graph, 25006.
 */
Datum
fa_belief_sync(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *mode = text_to_cstring(PG_GETARG_TEXT_PP(1));
	double		change = PG_GETARG_FLOAT8(2);
	Datum		arguments[4] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(1),
								Float8GetDatum(change)};
	Call		call;

	call_require_write("fa_belief_sync");
	check_setting(mode, change);
	if (strchr(name, '@') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("beliefs are synced for all versions of a model"),
				 errhint("Name the model without a version.")));
	call_begin(&call, fcinfo, false);
	arguments[1] =
		ObjectIdGetDatum(model_find_for_use(&call, TABLE_MODEL, name).owner);
	if (strcmp(mode, "never") == 0)
		statement_run(&call, &never_statement, arguments, NULL, 0);
	else
	{
		require_graph_rights(&call);
		statement_run(&call, &set_statement, arguments, NULL, 0);
	}
	call_end(&call);
	PG_RETURN_VOID();
}
