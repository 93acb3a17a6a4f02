/*-------------------------------------------------------------------------
 *
 * step.c
 *	  The one step path: gather, compute in lanes, write.
 *
 * fa_step, fa_step_many, fa_run, fa_run_many and whatever else steps agents end
 * in step_orders.  A single step is a block of one.
 *
 * One step of each agent is optimistic: rows are read without a lock and
 * written only if they are as they were read.  A block of one whose write did
 * not go through is read again; after three tries it locks first.  A larger
 * block is a subtransaction: if any of its rows changed meanwhile it is rolled
 * back, so that its row locks are let go, and done again with the rows locked
 * in the order of their ids.  (To hold some and wait for lower ones would be a
 * deadlock.)  Many steps at once lock first, for they take long anyway.
 *
 * Inbox, history, counts and keys are written only after the hot rows went
 * through.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "step_block.h"

PG_FUNCTION_INFO_V1(fa_step);
PG_FUNCTION_INFO_V1(fa_step_many);

#define BLOCK_AGENTS		  1024 /* agents gathered at once, at most */
#define FIRST_BLOCK			  16   /* by which it is found how large they are */
#define BLOCK_MEMORY		  (64 * 1024 * 1024) /* bytes of a block, about */
#define BLOCK_SUBTRANSACTIONS 32 /* more than 64 slow every backend */
#define OPTIMISTIC_TRIES	  3
#define PROGRESS_MILLISECONDS 5000
#define ALONE_MILLISECONDS	  10 /* of a run, before others are asked to help */

/*
 * How far a call is, for whoever waits for it.  Most are over before there is
 * anything to tell.
 */
typedef struct Progress
{
	int64		steps; /* made */
	double		most;  /* that there may be: trials can end early */
	TimestampTz begun;
	TimestampTz told;
} Progress;

/*
 * Is it time to say again how far a long call is? Once in a while, by a
 * NOTICE: it reaches the caller while the statement runs, and nobody else.
 */
bool
progress_due(TimestampTz *told)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(*told, now, PROGRESS_MILLISECONDS))
		return false;
	*told = now;
	return true;
}

/* Counts steps that were made, and tells of it once in a while. */
static void
tell_progress(Progress *progress, int steps)
{
	progress->steps += steps;
	if (!progress_due(&progress->told))
		return;
	ereport(
		NOTICE,
		(errmsg(INT64_FORMAT
				" of at most %.0f steps made (%.0f %%), %.0f a second",
				progress->steps, progress->most,
				100.0 * progress->steps / progress->most,
				1e6 * progress->steps / (progress->told - progress->begun))));
}

/* ---------- one step of each, optimistic ---------- */

/* Remembers what the block's one step gave, under the plan's key. */
static void
store_key(const StepBlock *block)
{
	const Lane *lane = &block->lanes[0];
	KeyResult	result = {
		  lane->record.step, lane->record.vfe,
		  array_from_int32(lane->record.action,
						   lane->row->model->model->control_count)};

	key_store_step(block->call, lane->row->agent_id, block->plan->key,
				   lane->order->observation, lane->order->observation_count,
				   &result);
}

/*
 * Emits the result of an earlier step with the same key, if there is one;
 * before anything else is checked, because it asks nothing of the agent as it
 * is now.  False: there is none, or no key was given.  Of the record only
 * step, action and vfe are set.
 */
static bool
repeat_step(const StepBlock *block, const StepOrder *order)
{
	const AgentRow	  *row = &block->rows[0];
	const KernelModel *model = row->model->model;
	StepRecord		   record = {0};
	KeyResult		   result;

	if (block->plan->key == NULL ||
		!key_find_step(block->call, row->agent_id, block->plan->key,
					   order->observation, order->observation_count, &result))
		return false;
	record.step = result.step;
	record.vfe = result.vfe;
	record.action = unconstify(
		int32 *, array_int32s(result.action, model->control_count, "action"));
	block->plan->emit(block->plan->emit_context, order, model, &record);
	return true;
}

/*
 * Gather, compute, write; false where a row changed meanwhile, and then
 * nothing was emitted.  The caller gets its results only after all was
 * written, so a second try repeats none of them.
 */
static bool
try_one_step(const Call *call, const StepPlan *plan, const StepOrder *orders,
			 int count)
{
	StepBlock block;

	block_gather(&block, call, plan, orders, count);
	if (repeat_step(&block, orders))
		return true;
	block_open(&block);
	if (plan->fuse != NULL)
		block_step_fused(&block);
	else
		block_step(&block);
	if (!block_write(&block))
		return false;
	block_write_history(&block, false);
	if (plan->key != NULL)
		store_key(&block);
	for (int i = 0; i < block.count; i++)
		block_emit(&block, &block.lanes[i]);
	return true;
}

/*
 * Locks the rows of a block, orders [count] ascending; history is made ready
 * before any of them is held: to make a partition may wait for another, who
 * may be waiting for one of these rows.
 */
static void
lock_orders(const Call *call, const StepOrder *orders, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);

	for (int i = 0; i < count; i++)
		ids[i] = orders[i].agent_id;
	if (belief_check(call, ids, count))
		history_prepare(call);
	belief_lock(call, ids, count);
	pfree(ids);
}

/*
 * The same for rows that are locked first, after optimism has failed.  Then a
 * write can only fail if the caller's own doing changed them, such as a
 * trigger's.
 */
static void
step_locked(const Call *call, const StepPlan *plan, const StepOrder *orders,
			int count)
{
	lock_orders(call, orders, count);
	if (!try_one_step(call, plan, orders, count))
		belief_changed(orders[0].agent_id);
}

/*
 * One step of one agent.  What lost tries have allocated is small and goes
 * with the call.  A try that loses costs what a wait for the lock would have;
 * the lock first would make every step pay for it.
 */
static void
step_one(const Call *call, const StepPlan *plan, const StepOrder *order)
{
	for (int i = 0; i < OPTIMISTIC_TRIES; i++)
	{
		if (try_one_step(call, plan, order, 1))
			return;
	}
	step_locked(call, plan, order, 1);
}

/* One try of a block, and what it took of memory. */
typedef struct Try
{
	const Call		*call;
	const StepPlan	*plan;
	const StepOrder *orders; /* [count] */
	int				 count;
	Size			 memory; /* bytes */
} Try;

/*
 * The body of a block's subtransaction; false: to be undone.
 *
 * A block that went through keeps its row locks to the end of the whole
 * transaction.  Blocks are made in ascending order of ids, so what is held is
 * always lower than what is waited for.
 */
static bool
try_block(void *context)
{
	Try *try = context;
	bool done = try_one_step(try->call, try->plan, try->orders, try->count);

	try->memory = MemoryContextMemAllocated(CurrentMemoryContext, true);
	return done;
}

/*
 * One step of each of a block [count]; *memory is what the first try took,
 * which is the same.
 */
static void
step_block(const Call *call, const StepPlan *plan, const StepOrder *orders,
		   int count, Size *memory)
{
	Try	 try = {call, plan, orders, count, 0};
	bool done = subtransaction_run(try_block, &try, NULL);

	*memory = try.memory;
	if (done)
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	step_locked(call, plan, orders, count);
	SPI_finish();
}

/* ---------- many steps of each, locked ---------- */

/* A run of a block: whether it is worth while to share is found by trying. */
typedef struct Run
{
	Progress *progress;
	bool	  may_share;
} Run;

/*
 * After each step of all lanes; false once the caller alone has been at it for
 * so long that to start other processes does not count any more.
 */
static bool
made_steps(void *context, int stepped)
{
	Run *run = context;

	tell_progress(run->progress, stepped);
	return !run->may_share || !(parallel_forced() ||
								TimestampDifferenceExceeds(
									run->progress->begun, GetCurrentTimestamp(),
									ALONE_MILLISECONDS));
}

/*
 * All steps of a block's agents, in memory, with their rows locked from before
 * they are read to the transaction's end; each hot row is written once.
 * *memory is what the block took.  An ERROR or a cancel undoes all of it.
 */
static void
run_block(const Call *call, const StepPlan *plan, const StepOrder *orders,
		  int count, Progress *progress, Size *memory)
{
	Run		  run = {progress};
	StepBlock block;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lock_orders(call, orders, count);
	block_gather(&block, call, plan, orders, count);
	block_open(&block);
	run.may_share = parallel_possible(&block);
	block_run(&block, made_steps, &run);
	if (run.may_share && block_unfinished(&block) &&
		!parallel_run(&block, made_steps, &run))
	{
		run.may_share = false;
		block_run(&block, made_steps, &run);
	}
	if (!block_write(&block))
		belief_changed(orders[0].agent_id);
	*memory = MemoryContextMemAllocated(CurrentMemoryContext, true);
	SPI_finish();
}

/* ---------- all of them ---------- */

#define ST_SORT			sort_by_agent
#define ST_ELEMENT_TYPE StepOrder
#define ST_COMPARE(a, b) \
	((a)->agent_id < (b)->agent_id ? -1 : (a)->agent_id > (b)->agent_id)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Orders by agent, in place.  A repeated agent is an error (22023): which of
 * its observations comes first would be left to chance.  Sorted because rows
 * are locked in that order, and because a block is read by sorted ids.
 */
static void
sort_orders(StepOrder *orders, int count)
{
	sort_by_agent(orders, count);
	for (int i = 1; i < count; i++)
	{
		if (orders[i].agent_id == orders[i - 1].agent_id)
			agent_repeated(orders[i].agent_id);
	}
}

/*
 * The bytes that orders [count] take as a block.  They are gathered for it and
 * left again, which is little beside their many steps.
 */
static Size
measure_block(const Call *call, const StepPlan *plan, const StepOrder *orders,
			  int count)
{
	StepBlock block;
	Size	  memory;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	block_gather(&block, call, plan, orders, count);
	block_open_lanes(&block);
	memory = MemoryContextMemAllocated(CurrentMemoryContext, true);
	SPI_finish();
	return memory;
}

/*
 * How many agents to take at once, where a block of count took so many bytes
 * (one agent that learns may have some MB of counts): at most as many as there
 * is memory for.
 */
static int
block_size(Size memory, int count, int most)
{
	int size = (int) Min(BLOCK_MEMORY / (memory / count + 1), (Size) most);

	return Max(size, FIRST_BLOCK);
}

/*
 * Steps agents as planned, in blocks in ascending order of their ids.  Orders
 * are sorted in place; position tells where each stood.  How large blocks may
 * be is found by the first agents: steps by stepping them in a small block, and
 * runs before they begin, for all of a run's agents should be there to be
 * shared.  For many agents blocks are so large that there are few
 * subtransactions.
 *
 * What was emitted counts only if it returns: an ERROR in the last block
 * undoes the first, too.
 */
void
step_orders(const Call *call, StepOrder *orders, int count,
			const StepPlan *plan)
{
	bool single = plan->steps == 1 && plan->trials == 1 && !plan->closed_loop;
	int	 most = Max(BLOCK_AGENTS, count / BLOCK_SUBTRANSACTIONS);
	int	 size = FIRST_BLOCK;
	Progress progress = {0};

	sort_orders(orders, count);
	if (plan->fuse != NULL)
	{
		/* locked, so that only the caller's own doing can have changed a row */
		if (!try_one_step(call, plan, orders, count))
			belief_changed(orders[0].agent_id);
		return;
	}
	if (single && count == 1)
	{
		step_one(call, plan, orders);
		return;
	}
	progress.most = (double) count * plan->steps * plan->trials;
	progress.begun = progress.told = GetCurrentTimestamp();
	if (!single && count > FIRST_BLOCK)
		size = block_size(measure_block(call, plan, orders, FIRST_BLOCK),
						  FIRST_BLOCK, most);
	for (int first = 0; first < count;)
	{
		int	 n = Min(size, count - first);
		Size memory = 0;

		CHECK_FOR_INTERRUPTS();
		if (single)
		{
			step_block(call, plan, orders + first, n, &memory);
			tell_progress(&progress, n);
		}
		else
			run_block(call, plan, orders + first, n, &progress, &memory);
		first += n;
		/* memory of the last block is the best guess for the next */
		size = block_size(memory, n, most);
	}
}

/* ---------- fa_step and fa_step_many ---------- */

/* A row (agent_id, step, action, vfe) of fa_step_result. */
static void
put_result(ReturnSetInfo *set, int64 agent_id, int64 step, Datum action,
		   double vfe)
{
	Datum values[4] = {Int64GetDatum(agent_id), Int64GetDatum(step), action,
					   Float8GetDatum(vfe)};
	bool  nulls[4] = {false};

	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/* One row of a step that was made; set is the function's ReturnSetInfo. */
void
step_emit(void *set, const StepOrder *order, const KernelModel *model,
		  const StepRecord *record)
{
	put_result(set, order->agent_id, record->step,
			   array_from_int32(record->action, model->control_count),
			   record->vfe);
}

/*
 * fa_step(agent_id bigint, observation int[], key text, did int[]) returns
 * setof (agent_id, step, action, vfe), one row; none where agent_id is null.
 * observation is [modality_count], -1 or null a missing outcome, empty for no
 * evidence; null: from the inbox, the world, or none. did is [control_count],
 * what was executed after the last step, null: what was chosen. action is
 * [control_count], counting from 0; vfe is in nats.
 *
 * With the key of an earlier step the row is that one's, and nothing is done.
 * Raises 22023 for wrong lengths, a did without an action, or a key used with
 * another observation; 22003 for what is out of range or overflows; 55000 for
 * a paused agent; 42704, 42501, 25006; 40001 under REPEATABLE READ and
 * SERIALIZABLE where another has changed the agent.  Then nothing has changed.
 */
Datum
fa_step(PG_FUNCTION_ARGS)
{
	StepOrder order = {0};
	StepPlan  plan = {.steps = 1, .trials = 1, .emit = step_emit};
	Call	  call;

	call_require_write("fa_step");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	order.agent_id = PG_GETARG_INT64(0);
	if (!PG_ARGISNULL(1))
		order.observation =
			array_to_int32(PG_GETARG_ARRAYTYPE_P(1), &order.observation_count,
						   "observation", -1);
	if (!PG_ARGISNULL(2))
		plan.key = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		order.did = array_to_int32(PG_GETARG_ARRAYTYPE_P(3), &order.did_count,
								   "did", -1);
	plan.emit_context = fcinfo->resultinfo;

	call_begin(&call, fcinfo, false);
	step_orders(&call, &order, 1, &plan);
	call_end(&call);
	return (Datum) 0;
}

/*
 * Results of fa_step_many, kept until all are known: the output is in input
 * order.  Blocks are done in the order of ids, and their memory ends with
 * them; context is the function's own.
 */
typedef struct StepResults
{
	MemoryContext context;
	int64		 *steps; /* [count], as the others */
	double		 *vfe;
	Datum		 *actions; /* int4[] */
} StepResults;

/*
 * Puts one result where its order stood in the input; the array is copied out
 * of the block's memory.
 */
static void
keep_result(void *context, const StepOrder *order, const KernelModel *model,
			const StepRecord *record)
{
	StepResults	 *results = context;
	MemoryContext old = MemoryContextSwitchTo(results->context);

	results->steps[order->position] = record->step;
	results->vfe[order->position] = record->vfe;
	results->actions[order->position] =
		array_from_int32(record->action, model->control_count);
	MemoryContextSwitchTo(old);
}

/*
 * Rows of observations [count][width] into orders.  A row that is all null is
 * a null observation; nulls at the end pad the rows of smaller models, since
 * an SQL array has no ragged rows.  Raises 2202E where there is not one row
 * for each agent.
 */
static void
parse_observations(ArrayType *array, StepOrder *orders, int count)
{
	int	   width = ARR_NDIM(array) == 2 ? ARR_DIMS(array)[1] : 0;
	Datum *elements;
	bool  *nulls;
	int	   total;

	if (ARR_NDIM(array) != 2 || ARR_DIMS(array)[0] != count)
		ereport(
			ERROR,
			(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
			 errmsg(
				 "observations must be a two-dimensional array with one row for each agent"),
			 ARR_NDIM(array) == 2 ?
				 errdetail_plural("It has %d row, expected %d.",
								  "It has %d rows, expected %d.",
								  ARR_DIMS(array)[0], ARR_DIMS(array)[0],
								  count) :
				 errdetail_plural("It has %d dimension.",
								  "It has %d dimensions.", ARR_NDIM(array),
								  ARR_NDIM(array)),
			 errhint(
				 "Write '{{0},{1}}': a row for each agent, an outcome for each modality.")));
	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &elements, &nulls, &total);
	for (int i = 0; i < count; i++)
	{
		int32 *row = palloc(sizeof(int32) * width);
		int	   used = width;

		while (used > 0 && nulls[i * width + used - 1])
			used--;
		for (int m = 0; m < width; m++)
			row[m] = nulls[i * width + m] ?
						 -1 :
						 DatumGetInt32(elements[i * width + m]);
		orders[i].observation = used == 0 ? NULL : row;
		orders[i].observation_count = used;
		orders[i].observation_padding = width - used;
	}
}

/*
 * fa_step_many(agent_ids bigint[], observations int[][]) returns setof
 * (agent_id, step, action, vfe), in input order. observations has a row for
 * each agent, [count][width], width the most modalities of any; null, or a row
 * of nulls: from the inbox, the world, or none.  No row where agent_ids is
 * null or empty.
 *
 * Raises what fa_step does, 22023 for a repeated id, 22004 for a null one,
 * 2202E for observations of another shape.  One bad agent fails the call, and
 * then none was stepped.
 */
Datum
fa_step_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	StepPlan	   plan = {.steps = 1, .trials = 1, .emit = keep_result};
	StepResults	   results;
	StepOrder	  *orders;
	int64		  *ids;
	int			   count;
	Call		   call;

	call_require_write("fa_step_many");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	ids = array_to_int64(PG_GETARG_ARRAYTYPE_P(0), &count, "agent_ids");
	orders = palloc0(sizeof(StepOrder) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		orders[i].agent_id = ids[i];
		orders[i].position = i;
	}
	if (!PG_ARGISNULL(1) && count > 0)
		parse_observations(PG_GETARG_ARRAYTYPE_P(1), orders, count);
	results.context = CurrentMemoryContext;
	results.steps = palloc(sizeof(int64) * Max(count, 1));
	results.vfe = palloc(sizeof(double) * Max(count, 1));
	results.actions = palloc(sizeof(Datum) * Max(count, 1));
	plan.emit_context = &results;

	call_begin(&call, fcinfo, false);
	step_orders(&call, orders, count, &plan);
	call_end(&call);
	for (int i = 0; i < count; i++)
		put_result(set, ids[i], results.steps[i], results.actions[i],
				   results.vfe[i]);
	return (Datum) 0;
}
