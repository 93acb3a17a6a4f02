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
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_step);
PG_FUNCTION_INFO_V1(fa_step_many);

#define BLOCK_AGENTS		  1024 /* agents gathered at once, at most */
#define FIRST_BLOCK			  16   /* until it is known how large they are */
#define BLOCK_MEMORY		  (64 * 1024 * 1024) /* bytes of a block, about */
#define BLOCK_SUBTRANSACTIONS 32 /* more than 64 slow every backend */
#define OPTIMISTIC_TRIES	  3

/*
 * One agent of a block, on its way through its steps.  All of it lies in the
 * block's memory, which is SPI's.  The pairs [2] are used in turn: what a step
 * reads of the last one must stay while the next is written, and a run of a
 * million steps allocates no more than one step does.
 */
typedef struct Lane
{
	const StepOrder	  *order;
	AgentRow		  *row;
	const KernelModel *world;	 /* that answers it, or NULL */
	InboxRow		  *inbox;	 /* observations that wait */
	const int32		  *executed; /* action before the step that is being made */
	int32	  *world_state[2];	 /* the true state, and room for the next */
	int32	  *action[2];		 /* the last action, and room for the next */
	double	  *belief[2];		 /* the last belief, and room for the next */
	int		   turn;			 /* which of the two is the next */
	int32	   trial_steps;		 /* made in this trial */
	int32	   trials;			 /* finished */
	bool	   finished;
	StepRecord record;
} Lane;

/*
 * Agents that are gathered, stepped and written together; by_model keeps
 * agents of one model side by side, for the kernel steps a model's agents in
 * one call.
 */
typedef struct StepBlock
{
	const Call		*call;
	const StepPlan	*plan;
	int				 count;
	Lane			*lanes;	   /* [count], ascending by agent */
	Lane		   **by_model; /* [count], grouped by model */
	AgentRow		*rows;	   /* [count] */
	KernelAgent		*agents;   /* [count]: room for one group's step */
	Lane		   **stepping; /* [count]: the lanes of agents[] */
	KernelHost		 host;
	ItemPointerData *taken; /* observations taken: [taken_room] */
	int				 taken_count;
	int				 taken_room;
} StepBlock;

/* ---------- gather ---------- */

/*
 * Raises 55000 for a paused agent; no other agent of its call is stepped
 * either.
 */
static void
check_runs(const AgentRow *row)
{
	if (row->paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("agent " INT64_FORMAT " is paused", row->agent_id),
				 errhint("Resume it by fa_agent_resume.")));
}

/*
 * An executed action [did_count] that the caller names.  Raises 22023 where
 * the agent has not acted in this trial, for its belief is then D as it stands
 * and no action leads to it; or for a wrong length; 22003 for an action out of
 * range.
 */
static void
check_did(const AgentRow *row, const StepOrder *order)
{
	const KernelModel *model = row->model->model;

	if (order->did == NULL)
		return;
	if (row->action == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("agent " INT64_FORMAT " has not acted in this trial",
					row->agent_id),
			 errdetail("\"did\" is the action executed after the last step."),
			 errhint("Leave it out in the first step of a trial.")));
	if (order->did_count != model->control_count)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "action \"did\" has %d elements, but the model of agent " INT64_FORMAT
				 " has %d controls",
				 order->did_count, row->agent_id, model->control_count)));
	for (int c = 0; c < order->did_count; c++)
	{
		const KernelControl *control = kernel_control(model, c);

		if (order->did[c] < 0 || order->did[c] >= control->actions)
			ereport(
				ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg(
					 "action %d of control \"%s\" is out of range for agent " INT64_FORMAT,
					 order->did[c], KERNEL_AT(model, char, control->name),
					 row->agent_id),
				 errdetail("Actions count from 0 to %d.",
						   control->actions - 1)));
	}
}

/*
 * How many outcomes an order has for a model: nulls at the end of a row of
 * fa_step_many are missing outcomes as far as the model has modalities, and
 * padding beyond.  Too few or too many are left for observation_check to
 * refuse.
 */
static int
padded_count(const StepOrder *order, const KernelModel *model)
{
	if (order->observation_count < model->modality_count)
		return Min(order->observation_count + order->observation_padding,
				   model->modality_count);
	return order->observation_count;
}

/*
 * Which world answers: a named one; one that runs already; the model in a
 * loop.  NULL: none, and observations come from outside alone.  That one runs
 * already means that an earlier fa_run began it, so a single step goes on in
 * the same world.
 */
static const KernelModel *
lane_world(const AgentRow *row, const StepPlan *plan)
{
	if (row->world != NULL || row->world_state != NULL || plan->closed_loop)
		return belief_world(row);
	return NULL;
}

/*
 * Checks what is asked of one agent, and makes room for what its lane
 * computes, once for all its steps.  The first belief read is belief[0]; q_pi
 * and neg_efe are only asked of the kernel where history keeps them.  ERRORs
 * come before anything is computed.
 */
static void
open_lane(const StepPlan *plan, const StepOrder *order, AgentRow *row,
		  Lane *lane)
{
	const KernelModel *model = row->model->model;

	check_runs(row);
	check_did(row, order);
	if (order->observation != NULL)
		observation_check(model, row->agent_id, order->observation,
						  padded_count(order, model));
	lane->order = order;
	lane->row = row;
	lane->world = lane_world(row, plan);
	lane->record.observation =
		palloc(sizeof(int32) * Max(model->modality_count, 1));
	for (int i = 0; i < 2; i++)
	{
		lane->action[i] = palloc(sizeof(int32) * Max(model->control_count, 1));
		lane->world_state[i] =
			lane->world == NULL ?
				NULL :
				palloc(sizeof(int32) * lane->world->factor_count);
	}
	lane->belief[0] = row->belief;
	lane->belief[1] = palloc(sizeof(double) * model->belief_size);
	lane->turn = 1;
	if (row->history & HISTORY_Q_PI)
		lane->record.q_pi = palloc(sizeof(double) * model->policy_count);
	if (row->history & HISTORY_NEG_EFE)
		lane->record.neg_efe = palloc(sizeof(double) * model->policy_count);
}

/*
 * Lanes by model, and among equals by agent.  The order of models is that of
 * addresses: it changes from session to session, but no result depends on it.
 */
static int
compare_lane_models(const void *a, const void *b)
{
	const Lane *x = *(Lane *const *) a;
	const Lane *y = *(Lane *const *) b;

	if (x->row->model != y->row->model)
		return x->row->model < y->row->model ? -1 : 1;
	return x < y ? -1 : 1;
}

/*
 * The observations that wait for agents whose order brings none: as many as
 * there can be steps, so that the inbox is read once.  Read after the hot
 * rows, see observation.c.
 */
static void
read_inbox(StepBlock *block)
{
	int64	  *ids = palloc(sizeof(int64) * block->count);
	Lane	 **lanes = palloc(sizeof(Lane *) * block->count);
	InboxRow **heads;
	int64	   limit = (int64) block->plan->steps * block->plan->trials;
	int		   count = 0;

	for (int i = 0; i < block->count; i++)
	{
		if (block->lanes[i].order->observation != NULL)
			continue;
		ids[count] = block->lanes[i].row->agent_id;
		lanes[count++] = &block->lanes[i];
	}
	if (count == 0)
		return;
	/* within fa_inbox_limit, or a long run would ask for an endless list */
	heads = palloc(sizeof(InboxRow *) * count);
	inbox_read(block->call, ids, count, (int32) Min(limit, fa_inbox_limit),
			   heads);
	for (int i = 0; i < count; i++)
		lanes[i]->inbox = heads[i];
}

/*
 * Reads the hot rows of a block, and sees to it that their history can be
 * kept. orders [count] are in ascending order of id.  History's lock is taken
 * here, before any hot row is locked.
 */
static void
gather(StepBlock *block, const Call *call, const StepPlan *plan,
	   const StepOrder *orders, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);

	memset(block, 0, sizeof(*block));
	block->call = call;
	block->plan = plan;
	block->count = count;
	for (int i = 0; i < count; i++)
		ids[i] = orders[i].agent_id;
	block->rows = belief_read(call, ids, count);
	for (int i = 0; i < count; i++)
	{
		if (block->rows[i].history == 0)
			continue;
		history_prepare(call);
		break;
	}
}

/*
 * Checks what is asked of each agent, and makes room for it.  Apart from
 * gather, because a repeated key is answered in between, whatever the agent's
 * state is now.
 */
static void
open_lanes(StepBlock *block, const StepOrder *orders)
{
	int count = block->count;

	block->lanes = palloc0(sizeof(Lane) * count);
	block->by_model = palloc(sizeof(Lane *) * count);
	block->agents = palloc(sizeof(KernelAgent) * count);
	block->stepping = palloc(sizeof(Lane *) * count);
	host_init(&block->host, CurrentMemoryContext);
	for (int i = 0; i < count; i++)
	{
		open_lane(block->plan, &orders[i], &block->rows[i], &block->lanes[i]);
		block->by_model[i] = &block->lanes[i];
	}
	if (count > 1)
		qsort(block->by_model, count, sizeof(Lane *), compare_lane_models);
	read_inbox(block);
}

/* ---------- compute ---------- */

/*
 * Brings the world to the time of the step that is being made.  A world that
 * begins when its agent has acted already is drawn first and then moved by
 * that action.  The draws hang on the agent's seed and the step's number
 * alone, so a step that is tried again moves the world alike.
 */
static void
move_world(Lane *lane)
{
	AgentRow	*row = lane->row;
	uint64		 step = row->step + 1;
	const int32 *now = row->world_state;
	int32		*next = lane->world_state[lane->turn];

	if (now == NULL)
	{
		/* the other half, which no state is in yet */
		int32 *start = lane->world_state[1 - lane->turn];

		kernel_world_start(lane->world, NULL, row->seed, step, start);
		now = start;
	}
	if (lane->executed != NULL)
		kernel_world_move(lane->world, row->seed, step, lane->executed, now,
						  next);
	else
		memcpy(next, now, sizeof(int32) * lane->world->factor_count);
	row->world_state = next;
}

/*
 * Lays the first waiting observation over what the world shows, observation
 * [modality_count]: a missing outcome leaves the world's.  It is noted as
 * taken, and deleted when the hot rows went through.  Raises what
 * observation_check does: the agent may have been given another model since.
 */
static void
take_from_inbox(StepBlock *block, Lane *lane, int32 *observation)
{
	InboxRow		  *waiting = lane->inbox;
	const KernelModel *model = lane->row->model->model;

	observation_check(model, lane->row->agent_id, waiting->observation,
					  waiting->count);
	for (int m = 0; m < waiting->count; m++)
	{
		if (waiting->observation[m] >= 0)
			observation[m] = waiting->observation[m];
	}
	lane->inbox = waiting->next;
	/* a run may take several of each agent */
	if (block->taken_count == block->taken_room)
	{
		block->taken_room = Max(2 * block->taken_room, block->count);
		block->taken = block->taken == NULL ?
						   palloc(sizeof(ItemPointerData) * block->taken_room) :
						   repalloc(block->taken, sizeof(ItemPointerData) *
													  block->taken_room);
	}
	block->taken[block->taken_count++] = waiting->where;
}

/*
 * What the agent perceives now: the observation that was given; else the next
 * of the inbox, and the world's where the inbox has none; else nothing, all
 * -1.  One that was given leaves the inbox alone, for who gives it need not
 * know what waits.
 */
static void
find_observation(StepBlock *block, Lane *lane)
{
	const KernelModel *model = lane->row->model->model;
	const StepOrder	  *order = lane->order;
	int32			  *observation = lane->record.observation;

	for (int m = 0; m < model->modality_count; m++)
		observation[m] = -1;
	if (order->observation != NULL)
	{
		memcpy(observation, order->observation,
			   sizeof(int32) * order->observation_count);
		return;
	}
	if (lane->world != NULL)
		kernel_world_observe(lane->world, lane->row->seed, lane->row->step + 1,
							 lane->row->world_state, observation);
	if (lane->inbox != NULL)
		take_from_inbox(block, lane, observation);
}

/*
 * Everything before the kernel's part of a lane's step: the update that is
 * owed, the world, the observation; and the kernel's view of the agent.
 */
static void
begin_step(StepBlock *block, Lane *lane, KernelAgent *agent)
{
	AgentRow *row = lane->row;
	bool	  first = lane->trials == 0 && lane->trial_steps == 0;

	belief_learn_owed(row);
	/*
	 * the caller's "did" is about the first step; later ones execute what was
	 * chosen
	 */
	lane->executed = first && lane->order->did ? lane->order->did : row->action;
	if (lane->world != NULL)
		move_world(lane);
	find_observation(block, lane);

	agent->seed = row->seed;
	agent->step = row->step + 1;
	agent->prior = row->belief;
	agent->did = lane->executed;
	agent->observation = lane->record.observation;
	agent->parameters = row->parameters;
	agent->learned = row->learned;
	agent->belief = lane->belief[lane->turn];
	agent->action = lane->action[lane->turn];
	agent->q_pi = lane->record.q_pi;
	agent->neg_efe = lane->record.neg_efe;
	agent->status = KERNEL_OK;
}

/*
 * The trial's end: the agent begins its next one, or has finished.  After the
 * last trial it is left as its last step left it, so that fa_explain and
 * fa_step go on from there.
 */
static void
end_trial(Lane *lane, const StepPlan *plan)
{
	lane->trials++;
	lane->trial_steps = 0;
	if (lane->trials == plan->trials)
		lane->finished = true;
	else
		belief_start_trial(lane->row);
}

/*
 * Everything after the kernel's part, but for the end of a trial: the results
 * become the lane's state, and the room of the state before becomes that of
 * the next results.  What an agent that learns owes is noted, to be applied at
 * its next step; its pointers are to the lane's room, which the next step
 * overwrites only after it has applied them.
 */
static void
end_step(Lane *lane, const KernelAgent *agent)
{
	AgentRow *row = lane->row;

	row->step++;
	row->vfe = agent->vfe;
	row->vfe_known = true;
	if (row->learned != NULL)
	{
		row->observation = lane->record.observation;
		row->did = lane->executed;
		row->before = lane->executed ? row->belief : NULL;
	}
	row->belief = agent->belief;
	row->action = agent->action;
	lane->turn = 1 - lane->turn;
	lane->trial_steps++;

	lane->record.step = row->step;
	lane->record.trial = row->trial;
	lane->record.vfe = agent->vfe;
	lane->record.action = agent->action;
	lane->record.belief = agent->belief;
}

/*
 * The kernel stopped at one of the agents that are being stepped, [count]:
 * raises 22003 with its id.  The whole call is undone, for the caller could
 * not tell which of its steps count.
 */
static void
report_overflow(const StepBlock *block, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (block->agents[i].status != KERNEL_OK)
			ereport(
				ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("step of agent " INT64_FORMAT
						" overflows the range of double precision",
						block->stepping[i]->row->agent_id),
				 errhint(
					 "Use smaller numbers for gamma, C or the Dirichlet counts.")));
	}
}

/*
 * One step of all unfinished lanes of one model, by_model[first .. end);
 * returns how many there were.  Each world and inbox moves before the kernel
 * is called, each lane's state after it.
 */
static int
step_group(StepBlock *block, int first, int end)
{
	CachedModel *cached = block->by_model[first]->row->model;
	int			 count = 0;

	for (int i = first; i < end; i++)
	{
		Lane *lane = block->by_model[i];

		if (lane->finished)
			continue;
		begin_step(block, lane, &block->agents[count]);
		block->stepping[count++] = lane;
	}
	if (count == 0)
		return 0;
	if (kernel_step(&block->host, cached->model, cached->workspace,
					block->agents, count) != KERNEL_OK)
		report_overflow(block, count);
	for (int i = 0; i < count; i++)
		end_step(block->stepping[i], &block->agents[i]);
	return count;
}

/* One step of all unfinished lanes; returns how many there were. */
static int
step_lanes(StepBlock *block)
{
	int stepped = 0;

	for (int first = 0, end; first < block->count; first = end)
	{
		end = first + 1;
		while (end < block->count && block->by_model[end]->row->model ==
										 block->by_model[first]->row->model)
			end++;
		stepped += step_group(block, first, end);
	}
	return stepped;
}

/* ---------- write ---------- */

/*
 * History rows of the lanes that were just stepped; only_unfinished leaves out
 * those that had finished before.  Those of a run are written step by step, as
 * a record is overwritten by the next.
 */
static void
write_history(StepBlock *block, bool only_unfinished)
{
	const AgentRow	 **agents = palloc(sizeof(AgentRow *) * block->count);
	const StepRecord **records = palloc(sizeof(StepRecord *) * block->count);
	int				   count = 0;

	for (int i = 0; i < block->count; i++)
	{
		if (block->lanes[i].row->history == 0 ||
			(only_unfinished && block->lanes[i].finished))
			continue;
		agents[count] = block->lanes[i].row;
		records[count++] = &block->lanes[i].record;
	}
	if (count > 0)
		history_write(block->call, agents, records, count);
	pfree(agents);
	pfree(records);
}

/* Tells who called of a step: the record is valid during that call only. */
static void
emit(StepBlock *block, const Lane *lane)
{
	if (block->plan->emit != NULL)
		block->plan->emit(block->plan->emit_context, lane->order,
						  lane->row->model->model, &lane->record);
}

/*
 * The hot rows; false where one was no longer as it had been read.  Then
 * nothing else is written, but some hot rows may be: the caller rolls back, or
 * (a block of one) nothing was.  Only who holds the hot rows touches counts
 * and inbox, hence the order.
 */
static bool
write_rows(StepBlock *block)
{
	AgentRow **pointers = palloc(sizeof(AgentRow *) * block->count);
	bool	  *written = palloc(sizeof(bool) * block->count);

	for (int i = 0; i < block->count; i++)
		pointers[i] = &block->rows[i];
	belief_write(block->call, pointers, block->count, written);
	for (int i = 0; i < block->count; i++)
	{
		if (!written[i])
			return false;
	}
	learned_write(block->call, pointers, block->count);
	inbox_take(block->call, block->taken, block->taken_count);
	return true;
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

	gather(&block, call, plan, orders, count);
	if (repeat_step(&block, orders))
		return true;
	open_lanes(&block, orders);
	step_lanes(&block);
	if (!write_rows(&block))
		return false;
	write_history(&block, false);
	if (plan->key != NULL)
		store_key(&block);
	for (int i = 0; i < count; i++)
		emit(&block, &block.lanes[i]);
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

/*
 * A block in a subtransaction of its own; false: rolled back.  SPI's memory of
 * the block goes with it either way; *memory is what it was.  An error has to
 * end the subtransaction before it goes on: the server cleans up only those
 * that the user began.
 *
 * A block that went through keeps its row locks to the end of the whole
 * transaction.  Blocks are made in ascending order of ids, so what is held is
 * always lower than what is waited for.
 */
static bool
try_block(const Call *call, const StepPlan *plan, const StepOrder *orders,
		  int count, Size *memory)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		done = try_one_step(call, plan, orders, count);
		*memory = MemoryContextMemAllocated(CurrentMemoryContext, true);
		SPI_finish();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	if (done)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
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
	if (try_block(call, plan, orders, count, memory))
		return;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	step_locked(call, plan, orders, count);
	SPI_finish();
}

/* ---------- many steps of each, locked ---------- */

/*
 * All steps of a block's agents, in memory, with their rows locked from before
 * they are read to the transaction's end; each hot row is written once.
 * *memory is what the block took.
 *
 * A trial of an agent ends when until holds or the steps are made; agents
 * whose trial is over go on with their next one while others are still in
 * theirs.  An ERROR or a cancel undoes all of it.
 */
static void
run_block(const Call *call, const StepPlan *plan, const StepOrder *orders,
		  int count, Size *memory)
{
	StepBlock block;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lock_orders(call, orders, count);
	gather(&block, call, plan, orders, count);
	open_lanes(&block, orders);
	while (step_lanes(&block) > 0)
	{
		/* before a trial's end puts D in the place of the belief */
		write_history(&block, true);
		for (int i = 0; i < count; i++)
		{
			Lane *lane = &block.lanes[i];

			if (lane->finished)
				continue;
			lane->record.until_met =
				plan->until != NULL &&
				until_met(plan->until, lane->row->model->model, lane->world,
						  lane->record.observation, lane->row->world_state);
			emit(&block, lane);
			if (lane->record.until_met || lane->trial_steps == plan->steps)
				end_trial(lane, plan);
		}
	}
	if (!write_rows(&block))
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
 * Steps agents as planned, in blocks in ascending order of their ids.  Orders
 * are sorted in place; position tells where each stood.  The first block is
 * small; the next ones are as large as memory allows for agents of that size
 * (one that learns may have some MB of counts), and for many agents large
 * enough that there are few subtransactions.
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

	sort_orders(orders, count);
	if (single && count == 1)
	{
		step_one(call, plan, orders);
		return;
	}
	for (int first = 0; first < count;)
	{
		int	 n = Min(size, count - first);
		Size memory = 0;

		CHECK_FOR_INTERRUPTS();
		if (single)
			step_block(call, plan, orders + first, n, &memory);
		else
			run_block(call, plan, orders + first, n, &memory);
		first += n;
		/* memory of the last block is the best guess for the next */
		size = (int) Min(BLOCK_MEMORY / (memory / n + 1), (Size) most);
		size = Max(size, FIRST_BLOCK);
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

/* fa_step's one row; context is its ReturnSetInfo. */
static void
emit_step(void *context, const StepOrder *order, const KernelModel *model,
		  const StepRecord *record)
{
	put_result(context, order->agent_id, record->step,
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
	StepPlan  plan = {.steps = 1, .trials = 1, .emit = emit_step};
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
				 errdetail("There are %d rows for %d agents.",
						   ARR_DIMS(array)[0], count) :
				 errdetail("It has %d dimensions.", ARR_NDIM(array))));
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
