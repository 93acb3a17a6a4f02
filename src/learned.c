/*-------------------------------------------------------------------------
 *
 * learned.c
 *	  What agents learned: Dirichlet counts, stored in parts.
 *
 * An agent has no rows until its first update; its counts are the model's.  A
 * part is one modality's pA, or the slice of one action of a factor's pB, so
 * that a step rewrites what it changed and not all that the agent knows.
 *
 * Rows are read and written only under the rule of the hot row: whoever writes
 * them has written that first, in the same transaction, and so holds its lock.
 * Counts that a snapshot shows with a hot row are therefore those of its step.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_parameters);

static Statement read_statement = {
	"SELECT agent_id, part, counts FROM @.fa_learned WHERE agent_id" EQ
	"ANY ($1)"
	" ORDER BY agent_id, part",
	1,
	{INT8ARRAYOID}};
static Statement write_statement = {
	"INSERT INTO @.fa_learned (agent_id, part, counts) VALUES ($1, $2, $3)"
	" ON CONFLICT (agent_id, part) DO UPDATE SET counts = excluded.counts",
	3,
	{INT8OID, INT4OID, FLOAT8ARRAYOID}};

/*
 * One stored part into an agent's counts.  The array is active from then on:
 * the agent uses E[pA] or E[pB] and no longer the model's A or B, which need
 * not agree with the counts.  Raises XX001 where part or length are not of the
 * model.
 */
static void
read_part(AgentRow *agent, int32 part, Datum counts)
{
	const KernelModel *model = agent->model->model;
	KernelLearnedPart  where;

	if (part < 0 || part >= kernel_learned_part_count(model))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("stored counts of agent " INT64_FORMAT
							   " do not fit its model",
							   agent->agent_id)));
	where = kernel_learned_part(model, part);
	memcpy(agent->learned->counts + where.offset,
		   array_doubles(counts, (int) where.length, "counts"),
		   sizeof(double) * where.length);
	if (where.array < model->modality_count)
		agent->learned->A_active = true;
	else
		agent->learned->B_active = true;
}

/*
 * Gives each agent whose model learns its counts: the model's, overlaid by
 * what is stored. agents [count] are in ascending order of id; the counts lie
 * in the current memory context, beyond 1 GB if need be.  Agents that do not
 * learn are left as they are, and where none learns no statement is run.
 */
void
learned_read(const Call *call, AgentRow *agents, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);
	int	   learners = 0;
	Datum  arguments[1];
	int	   found;

	for (int i = 0; i < count; i++)
	{
		const KernelModel *model = agents[i].model->model;
		int32			   parts;

		if (!model->learn_A && !model->learn_B)
			continue;
		parts = kernel_learned_part_count(model);
		agents[i].learned = palloc(sizeof(KernelLearned));
		agents[i].learned->counts = MemoryContextAllocHuge(
			CurrentMemoryContext,
			sizeof(double) * Max(kernel_learned_size(model), 1));
		agents[i].changed = palloc0(sizeof(bool) * Max(parts, 1));
		kernel_learned_start(model, agents[i].learned);
		ids[learners++] = agents[i].agent_id;
	}
	if (learners == 0)
		return;
	arguments[0] = array_from_int64(ids, learners);
	found = statement_run(call, &read_statement, arguments, NULL, 0);
	for (int i = 0, at = 0; i < found; i++)
	{
		bool isnull;

		while (agents[at].agent_id != result_int64(i, 1))
			at++; /* both are in the order of ids */
		read_part(&agents[at], DatumGetInt32(result_datum(i, 2, &isnull)),
				  result_datum(i, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Stores the parts that changed, of agents [count]; those that do not learn
 * have none.  Each part is a statement, so no more than one array is held
 * twice.  The caller has written the hot rows: an ERROR here undoes both.
 */
void
learned_write(const Call *call, AgentRow **agents, int count)
{
	for (int i = 0; i < count; i++)
	{
		const AgentRow *agent = agents[i];
		int32			parts = agent->learned == NULL ?
									0 :
									kernel_learned_part_count(agent->model->model);

		for (int32 part = 0; part < parts; part++)
		{
			KernelLearnedPart where =
				kernel_learned_part(agent->model->model, part);
			Datum arguments[3];

			if (!agent->changed[part])
				continue;
			arguments[0] = Int64GetDatum(agent->agent_id);
			arguments[1] = Int32GetDatum(part);
			arguments[2] = array_from_double(
				agent->learned->counts + where.offset, where.length);
			statement_run(call, &write_statement, arguments, NULL, 0);
			pfree(DatumGetPointer(arguments[2]));
			agent->changed[part] = false;
		}
	}
}

/* ---------- parameters by name ---------- */

/*
 * A tensor as nested JSON arrays. columns is [P][rows] (of B: [U][P][rows])
 * and is shown as the spec has it, [row][parents ...][controls ...]: axes are
 * the sizes after the row's, strides what one step along each is worth in
 * columns; column is where the axes before have led.  Recursion goes as deep
 * as a factor has parents and controls.
 */
static void
append_tensor(StringInfo out, const double *columns, int rows, int row,
			  const int64 *sizes, const int64 *strides, int axes, int64 column)
{
	if (axes == 0)
	{
		json_append_number(out, columns[column * rows + row]);
		return;
	}
	CHECK_FOR_INTERRUPTS();
	appendStringInfoChar(out, '[');
	for (int64 i = 0; i < sizes[0]; i++)
	{
		appendStringInfoString(out, i > 0 ? "," : "");
		append_tensor(out, columns, rows, row, sizes + 1, strides + 1, axes - 1,
					  column + i * strides[0]);
	}
	appendStringInfoChar(out, ']');
}

/* The outermost axis, the rows: sizes and strides [axes] are of the others. */
static void
append_rows(StringInfo out, const double *columns, int rows, const int64 *sizes,
			const int64 *strides, int axes)
{
	appendStringInfoChar(out, '[');
	for (int row = 0; row < rows; row++)
	{
		appendStringInfoString(out, row > 0 ? "," : "");
		append_tensor(out, columns, rows, row, sizes, strides, axes, 0);
	}
	appendStringInfoChar(out, ']');
}

/*
 * Strides [axes] of row-major axes of sizes [axes], the last one being worth
 * unit columns.
 */
static void
row_major(const int64 *sizes, int axes, int64 unit, int64 *strides)
{
	for (int i = axes - 1; i >= 0; i--)
	{
		strides[i] = unit;
		unit *= sizes[i];
	}
}

/*
 * A or pA of a modality from columns [P(m)][O(m)], as [outcome][parents ...].
 */
static void
append_modality(StringInfo out, const KernelModel *model, int32 m,
				const double *columns)
{
	const KernelModality *modality = kernel_modality(model, m);
	const int32 *parents = KERNEL_AT(model, int32_t, modality->parents);
	int64 *sizes = palloc(sizeof(int64) * 2 * (modality->parent_count + 1));
	int64 *strides = sizes + modality->parent_count + 1;

	for (int32 i = 0; i < modality->parent_count; i++)
		sizes[i] = kernel_factor(model, parents[i])->states;
	row_major(sizes, modality->parent_count, 1, strides);
	append_rows(out, columns, modality->outcomes, sizes, strides,
				modality->parent_count);
}

/*
 * B or pB of a factor from columns [U(f)][P(f)][S(f)], as [to][parents
 * ...][controls ...].  In the kernel the action is the slowest axis and in a
 * spec the last: hence strides.
 */
static void
append_factor(StringInfo out, const KernelModel *model, int32 f,
			  const double *columns)
{
	const KernelFactor *factor = kernel_factor(model, f);
	const int32		   *parents = KERNEL_AT(model, int32_t, factor->parents);
	const int32		   *controls = KERNEL_AT(model, int32_t, factor->controls);
	int					axes = factor->parent_count + factor->control_count;
	int64			   *sizes = palloc(sizeof(int64) * 2 * (axes + 1));
	int64			   *strides = sizes + axes + 1;

	for (int32 i = 0; i < factor->parent_count; i++)
		sizes[i] = kernel_factor(model, parents[i])->states;
	for (int32 i = 0; i < factor->control_count; i++)
		sizes[factor->parent_count + i] =
			kernel_control(model, controls[i])->actions;
	row_major(sizes, factor->parent_count, 1, strides);
	row_major(sizes + factor->parent_count, factor->control_count,
			  factor->parent_states, strides + factor->parent_count);
	append_rows(out, columns, factor->states, sizes, strides, axes);
}

/*
 * The counts of one array (m, or modality_count + f), or NULL where it is not
 * learned.  The parts of one array follow each other, so the first one's place
 * is the whole array's.
 */
static const double *
learned_counts(const AgentRow *agent, int32 array)
{
	const KernelModel *model = agent->model->model;

	if (agent->learned == NULL)
		return NULL;
	for (int32 part = 0; part < kernel_learned_part_count(model); part++)
	{
		KernelLearnedPart where = kernel_learned_part(model, part);

		if (where.array == array)
			return agent->learned->counts + where.offset;
	}
	return NULL;
}

/*
 * Room for the largest A or B of a model, [columns * rows], used for one after
 * another.  Not limited to 1 GB, as models are not.
 */
static double *
room_for(const KernelModel *model)
{
	int64 largest = 1;

	for (int32 m = 0; m < model->modality_count; m++)
		largest = Max(largest, kernel_modality(model, m)->parent_states *
								   kernel_modality(model, m)->outcomes);
	for (int32 f = 0; f < model->factor_count; f++)
		largest = Max(largest, kernel_factor(model, f)->actions *
								   kernel_factor(model, f)->parent_states *
								   kernel_factor(model, f)->states);
	return MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(double) * largest);
}

/*
 * "A": [...], "B": [...], or "pA", "pB": the counts, null where not learned.
 * room is what room_for gave; it holds the columns of one array at a time.
 */
static void
append_parameters(StringInfo out, const AgentRow *agent, bool counts,
				  double *room)
{
	const KernelModel *model = agent->model->model;

	appendStringInfoString(out, counts ? "\"pA\": [" : "\"A\": [");
	for (int32 m = 0; m < model->modality_count; m++)
	{
		const double *columns = counts ? learned_counts(agent, m) : room;

		appendStringInfoString(out, m > 0 ? ", " : "");
		if (!counts)
			kernel_learned_A(model, agent->learned, m, room);
		if (columns == NULL)
			appendStringInfoString(out, "null");
		else
			append_modality(out, model, m, columns);
	}
	appendStringInfoString(out, counts ? "], \"pB\": [" : "], \"B\": [");
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const double *columns =
			counts ? learned_counts(agent, model->modality_count + f) : room;

		appendStringInfoString(out, f > 0 ? ", " : "");
		if (!counts)
			kernel_learned_B(model, agent->learned, f, room);
		if (columns == NULL)
			appendStringInfoString(out, "null");
		else
			append_factor(out, model, f, columns);
	}
	appendStringInfoChar(out, ']');
}

/*
 * fa_parameters(agent_id bigint) returns jsonb: A and B as the agent will use
 * them next, and its counts pA and pB if it learns, in the shapes of a spec.
 *
 * The update that the last step owes is applied here in memory and not stored,
 * as the function only reads.  Strict.  Raises 42704, 42501, and 54000 where
 * the result does not fit a jsonb.
 */
Datum
fa_parameters(PG_FUNCTION_ARGS)
{
	int64		   agent_id = PG_GETARG_INT64(0);
	MemoryContext  caller = CurrentMemoryContext;
	StringInfoData out;
	AgentRow	  *agent;
	double		  *room;
	Call		   call;

	call_begin(&call, fcinfo, true);
	agent = belief_read(&call, &agent_id, 1);
	belief_learn_owed(agent);
	MemoryContextSwitchTo(caller);
	room = room_for(agent->model->model);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_parameters(&out, agent, false, room);
	if (agent->learned != NULL)
	{
		appendStringInfoString(&out, ", ");
		append_parameters(&out, agent, true, room);
	}
	appendStringInfoChar(&out, '}');
	call_end(&call);
	PG_RETURN_JSONB_P(jsonb_from_text(out.data));
}
