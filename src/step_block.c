/*-------------------------------------------------------------------------
 *
 * step_block.c
 *	  A block of agents: gathered, stepped in lanes, written.
 *
 * All of it lies in the memory context in which it was gathered, which ends
 * with the block.  Whether rows are locked first, and what is done when one was
 * lost, is step.c's.
 *
 * Inbox, history and counts are written only after the hot rows went through.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "step_block.h"

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
 * Makes a block of these lanes [count], grouped by model; count is at most
 * what the block was opened with.
 */
void
block_group(StepBlock *block, Lane *lanes, int count)
{
	block->lanes = lanes;
	block->count = count;
	for (int i = 0; i < count; i++)
		block->by_model[i] = &lanes[i];
	if (count > 1)
		qsort(block->by_model, count, sizeof(Lane *), compare_lane_models);
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
		if (block->lanes[i].order->observation != NULL &&
			!block->lanes[i].order->sensed)
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
 * Leaves those out of a block that are paused, with their orders.  The orders
 * themselves stay as they are, for the block may have to be gathered again.
 */
static void
leave_out_paused(StepBlock *block)
{
	StepOrder *orders = palloc(sizeof(StepOrder) * block->count);
	int		   kept = 0;

	for (int i = 0; i < block->count; i++)
	{
		if (block->rows[i].paused)
			continue;
		block->rows[kept] = block->rows[i];
		orders[kept++] = block->orders[i];
	}
	block->orders = orders;
	block->count = kept;
}

/*
 * Reads the hot rows of a block, and sees to it that their history can be
 * kept. orders [count] are in ascending order of id, and last as long as the
 * block.  History's lock is taken here, before any hot row is locked.
 */
void
block_gather(StepBlock *block, const Call *call, const StepPlan *plan,
			 const StepOrder *orders, int count)
{
	int64 *ids = palloc(sizeof(int64) * count);

	memset(block, 0, sizeof(*block));
	block->call = call;
	block->plan = plan;
	block->count = count;
	block->orders = orders;
	for (int i = 0; i < count; i++)
		ids[i] = orders[i].agent_id;
	block->rows = belief_read(call, ids, count);
	if (plan->skip_paused)
		leave_out_paused(block);
	for (int i = 0; i < block->count; i++)
	{
		if (block->rows[i].history == 0)
			continue;
		history_prepare(call);
		break;
	}
}

/*
 * The lanes of a block whose rows are there.  Checks what is asked of each
 * agent, and makes room for what it computes.
 */
void
block_open_lanes(StepBlock *block)
{
	int count = block->count;

	block->lanes = palloc0(sizeof(Lane) * count);
	block->by_model = palloc(sizeof(Lane *) * count);
	block->agents = palloc(sizeof(KernelAgent) * count);
	block->stepping = palloc(sizeof(Lane *) * count);
	host_init(&block->host, CurrentMemoryContext);
	for (int i = 0; i < count; i++)
		open_lane(block->plan, &block->orders[i], &block->rows[i],
				  &block->lanes[i]);
	block_group(block, block->lanes, count);
}

/*
 * Lanes, and the inbox.  Apart from block_gather, because a repeated key is
 * answered in between, whatever the agent's state is now.
 */
void
block_open(StepBlock *block)
{
	block_open_lanes(block);
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
 * of the inbox, and a sensor's or the world's where the inbox has none; else
 * nothing, all -1.  One that was given leaves the inbox alone, for who gives it need not
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
		if (!order->sensed)
			return;
	}
	else if (lane->world != NULL)
		kernel_world_observe(lane->world, lane->row->seed, lane->row->step + 1,
							 lane->row->world_state, observation);
	if (lane->inbox != NULL)
		take_from_inbox(block, lane, observation);
}

/*
 * Everything before the kernel's part of a lane's step: the update that is
 * owed, the world, the observation; and the kernel's view of the agent.
 */
void
block_begin_step(StepBlock *block, Lane *lane, KernelAgent *agent)
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
void
block_end_step(Lane *lane, const KernelAgent *agent)
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
 * The kernel's part for agents[count] of one model, of lanes stepping[count].
 * Raises 22003 where one's numbers overflow.
 */
void
block_compute(StepBlock *block, const CachedModel *cached, int count)
{
	if (kernel_step(&block->host, cached->model, cached->workspace,
					block->agents, count) != KERNEL_OK)
		report_overflow(block, count);
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
		block_begin_step(block, lane, &block->agents[count]);
		block->stepping[count++] = lane;
	}
	if (count == 0)
		return 0;
	block_compute(block, cached, count);
	for (int i = 0; i < count; i++)
		block_end_step(block->stepping[i], &block->agents[i]);
	return count;
}

/* One step of all unfinished lanes; returns how many there were. */
int
block_step(StepBlock *block)
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
void
block_write_history(StepBlock *block, bool only_unfinished)
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
void
block_emit(StepBlock *block, const Lane *lane)
{
	if (block->plan->emit != NULL)
		block->plan->emit(block->plan->emit_context, lane->order,
						  lane->row->model->model, &lane->record);
}

/*
 * The hot rows; false where one was no longer as it had been read.  Then
 * nothing else is written, but some hot rows may be: the caller rolls back, or
 * (a block of one) nothing was.  Only who holds the hot rows touches counts,
 * inbox and the agents' nodes, hence the order.
 */
bool
block_write(StepBlock *block)
{
	AgentRow **pointers = palloc(sizeof(AgentRow *) * block->count);
	bool	  *written = palloc(sizeof(bool) * block->count);
	AgentRow **told;
	int		   told_count;
	char	 **minds = NULL;

	for (int i = 0; i < block->count; i++)
		pointers[i] = &block->rows[i];
	told =
		graph_belief_decide(block->call, pointers, block->count, &told_count);
	if (fa_outbox_kinds != 0)
		minds = outbox_minds(block->rows, block->count);
	belief_write(block->call, pointers, block->count, written);
	for (int i = 0; i < block->count; i++)
	{
		if (!written[i])
			return false;
	}
	learned_write(block->call, pointers, block->count);
	inbox_take(block->call, block->taken, block->taken_count);
	graph_belief_write(block->call, told, told_count);
	if (fa_outbox_kinds != 0)
		outbox_steps(block->call, block->rows, block->count, minds);
	return true;
}

/* ---------- many steps ---------- */

/*
 * What follows a step of all unfinished lanes: the trial's end, and telling
 * who called.
 */
static void
after_step(StepBlock *block)
{
	const StepPlan *plan = block->plan;

	for (int i = 0; i < block->count; i++)
	{
		Lane *lane = &block->lanes[i];

		if (lane->finished)
			continue;
		lane->record.until_met =
			plan->until != NULL &&
			until_met(plan->until, lane->row->model->model, lane->world,
					  lane->record.observation, lane->row->world_state);
		block_emit(block, lane);
		if (lane->record.until_met || lane->trial_steps == plan->steps)
			end_trial(lane, plan);
	}
}

/*
 * Steps all lanes to the ends of their trials, in memory.  A trial ends when
 * until holds or the steps are made; agents whose trial is over go on with
 * their next one while others are still in theirs.
 *
 * go_on is told after each step how many agents made it; when it returns false
 * the lanes are left where they are.
 */
void
block_run(StepBlock *block, bool (*go_on)(void *context, int stepped),
		  void		*context)
{
	int stepped;

	while ((stepped = block_step(block)) > 0)
	{
		/* the kernel asks only where a step takes long */
		CHECK_FOR_INTERRUPTS();
		/* before a trial's end puts D in the place of the belief */
		block_write_history(block, true);
		after_step(block);
		if (!go_on(context, stepped))
			return;
	}
}

/* Is there a lane whose last trial goes on? */
bool
block_unfinished(const StepBlock *block)
{
	for (int i = 0; i < block->count; i++)
	{
		if (!block->lanes[i].finished)
			return true;
	}
	return false;
}
