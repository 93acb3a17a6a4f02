/*-------------------------------------------------------------------------
 *
 * step_fuse.c
 *	  One step of a block of agents that share what they know.
 *
 * Each perceives alone; then what all of them found is pooled (StepPlan.fuse);
 * then each plans and chooses from the pooled belief.  The second half is an
 * ordinary step from a belief that is the prior as it stands: without an
 * observation its posterior is that belief.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "step_block.h"

/*
 * What each lane [count] perceives alone, in perceived [count], and the
 * kernel's view of its agent, in agents [count].  The posteriors lie where the
 * steps' results will.
 */
static void
perceive(StepBlock *block, KernelAgent *agents, Perceived *perceived)
{
	for (int i = 0; i < block->count; i++)
	{
		Lane			  *lane = &block->lanes[i];
		const CachedModel *cached = lane->row->model;

		CHECK_FOR_INTERRUPTS();
		block_begin_step(block, lane, &agents[i]);
		perceived[i].agent = lane->row;
		perceived[i].prior =
			palloc(sizeof(double) * cached->model->belief_size);
		perceived[i].belief = agents[i].belief;
		if (kernel_perceive(&block->host, cached->model, cached->workspace,
							&agents[i], perceived[i].prior) != KERNEL_OK)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("belief of agent " INT64_FORMAT
							" overflows the range of double precision",
							lane->row->agent_id),
					 errhint("Use smaller numbers for the Dirichlet counts.")));
		perceived[i].vfe = agents[i].vfe;
	}
}

/* All outcomes missing: [modality_count]. */
static const int32 *
no_observation(const KernelModel *model)
{
	int32 *observation = palloc(sizeof(int32) * Max(model->modality_count, 1));

	for (int32 m = 0; m < model->modality_count; m++)
		observation[m] = -1;
	return observation;
}

/*
 * The second half for the lanes of one model, by_model[first .. end): what
 * they perceived comes from agents and perceived, which are in the order of
 * lanes.  The free energy is that of perceiving, whichever half that was.
 */
static void
plan_group(StepBlock *block, int first, int end, const KernelAgent *agents,
		   const Perceived *perceived)
{
	const CachedModel *cached = block->by_model[first]->row->model;
	const int32		  *nothing = no_observation(cached->model);
	bool			   again = block->plan->fuse_priors;
	int				   count = end - first;

	for (int i = 0; i < count; i++)
	{
		Lane *lane = block->by_model[first + i];
		int	  position = (int) (lane - block->lanes);

		block->stepping[i] = lane;
		block->agents[i] = agents[position];
		block->agents[i].did = NULL;
		block->agents[i].prior =
			again ? perceived[position].prior : perceived[position].belief;
		if (!again)
			block->agents[i].observation = nothing;
	}
	block_compute(block, cached, count);
	for (int i = 0; i < count; i++)
	{
		Lane *lane = block->stepping[i];

		if (!again)
			block->agents[i].vfe = perceived[lane - block->lanes].vfe;
		block_end_step(lane, &block->agents[i]);
	}
}

/* One step of all lanes, which are unfinished, together. */
void
block_step_fused(StepBlock *block)
{
	KernelAgent *agents = palloc(sizeof(KernelAgent) * block->count);
	Perceived	*perceived = palloc(sizeof(Perceived) * block->count);

	if (block->count == 0)
		return;
	perceive(block, agents, perceived);
	block->plan->fuse(block->plan->fuse_context, perceived, block->count);
	for (int first = 0, end; first < block->count; first = end)
	{
		end = first + 1;
		while (end < block->count && block->by_model[end]->row->model ==
										 block->by_model[first]->row->model)
			end++;
		plan_group(block, first, end, agents, perceived);
	}
}
