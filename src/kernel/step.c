/*
 * step.c
 *		One step of a block of agents: perceive, plan, choose.
 *
 * The order within a step is pymdp's: next prior, states, policies, action.
 * What the step owes to learning is applied by the caller (kernel_learn) before
 * the agent's next step, so that what is stored with an agent are always the
 * parameters by which it chose.
 *
 * A block of agents shares one workspace, which holds the intermediate results
 * of as many agents as are taken side by side: what agents have of their own
 * is in KernelAgent, so a thousand of them cost a thousand beliefs and no more.
 *
 * The computing itself is in lanes_*.h, compiled for each instruction set;
 * here is who is stepped together with whom.
 */
#include "step.h"

#include <math.h>
#include <string.h>

/* From so many agents on they are taken side by side; see code_for(). */
#define FEWEST_ABREAST 3

/*
 * The tables of one agent: the model's, with what it has learned, where it has
 * (NULL: it has not).
 */
static void
use_tables(KernelWorkspace *workspace, const KernelLearned *learned)
{
	use_model(workspace);
	if (learned != NULL)
		workspace_use_learned(workspace, learned);
}

/*
 * The flat action u < U(f) of a factor, from an action [control_count].  It is
 * row-major over the factor's controls in their listed order, as the columns
 * of B are; 0 where the factor has no control.  The actions must be within
 * range: nothing is checked here.
 */
int64_t
flat_action(const KernelModel *model, const KernelFactor *factor,
			const int32_t *action)
{
	const int32_t *controls = KERNEL_AT(model, int32_t, factor->controls);
	int64_t		   flat = 0;

	for (int32_t i = 0; i < factor->control_count; i++)
		flat = flat * kernel_control(model, controls[i])->actions +
			   action[controls[i]];
	return flat;
}

/* ---------- the step ---------- */

/*
 * Begins a call: by whom the workspace polls from now on.
 */
static void
use_host(KernelWorkspace *workspace, const KernelHost *host)
{
	workspace->host = host;
	workspace->work = 0;
}

/*
 * Gives the host a chance to interrupt, possibly by a longjmp: what the
 * workspace holds means nothing to the next call.
 */
void
workspace_poll(KernelWorkspace *workspace)
{
	workspace->work = 0;
	if (workspace->host->poll != NULL)
		workspace->host->poll(workspace->host->context);
}

/*
 * Steps some agents [count], at most as many as there are lanes; lanes that
 * are left over repeat the last agent, which costs nothing and changes
 * nothing.  Priors are made one agent after another, because agents do
 * different things.
 */
static void
step_together(KernelWorkspace *workspace, const LaneCode *code,
			  KernelAgent *const *some, int32_t count)
{
	const LaneCode *alone = instructions_in_use()->alone;
	KernelAgent	   *agents[MOST_LANES];
	const double   *priors[MOST_LANES];

	use_lanes(workspace, code->lanes);
	for (int32_t l = 0; l < code->lanes; l++)
	{
		KernelAgent *agent = agents[l] = some[l < count ? l : count - 1];
		double		*room =
			workspace->priors + (int64_t) l * workspace->model->belief_size;

		priors[l] = l < count ? agent->prior : priors[count - 1];
		if (l < count && agent->did != NULL)
		{
			alone->next_prior(workspace, agent->prior, agent->did, room);
			priors[l] = room;
		}
	}
	code->step(workspace, agents, priors);
}

/*
 * An agent that has learned has tables of its own, and is stepped alone.
 */
static void
step_learned(KernelWorkspace *workspace, KernelAgent *agent)
{
	use_tables(workspace, agent->learned);
	step_together(workspace, instructions_in_use()->alone, &agent, 1);
	use_tables(workspace, NULL);
}

/*
 * The compilation for so many agents: side by side from three on.  Two of them
 * one after another take less time than all lanes with most of them idle.
 */
static const LaneCode *
code_for(const KernelWorkspace *workspace, int32_t count)
{
	const Instructions *instructions = instructions_in_use();

	if (instructions->abreast != NULL && workspace->most_lanes > 1 &&
		count >= FEWEST_ABREAST)
		return instructions->abreast;
	return instructions->alone;
}

int32_t
kernel_abreast(const KernelWorkspace *workspace)
{
	return code_for(workspace, FEWEST_ABREAST)->lanes;
}

/*
 * Perceives, plans and chooses for agents [count]; see KernelAgent for what
 * goes in and comes out.  The model is the one that the workspace was made
 * for.
 *
 * Agents that can share lanes are taken together as they come, so none of them
 * sees what its neighbours are.  All of them are done.  Returns KERNEL_OK, or
 * KERNEL_RANGE where some agent's numbers overflow: its status says so too.
 * The host is polled, so agents may be left half done by a longjmp.
 */
KernelStatus
kernel_step(const KernelHost *host, const KernelModel *model,
			KernelWorkspace *workspace, KernelAgent *agents, int32_t count)
{
	KernelAgent	   *together[MOST_LANES];
	const LaneCode *code;
	int32_t			waiting = 0;
	int32_t			sharing = 0; /* agents to come that can share lanes */

	(void) model;
	use_host(workspace, host);
	use_tables(workspace, NULL);
	workspace->spread = 0;
	for (int32_t i = 0; i < count; i++)
		sharing += agents[i].learned == NULL;
	code = code_for(workspace, sharing);
	for (int32_t i = 0; i < count; i++)
	{
		if (agents[i].learned != NULL)
		{
			step_learned(workspace, &agents[i]);
			continue;
		}
		together[waiting++] = &agents[i];
		sharing--;
		if (waiting < code->lanes && sharing > 0)
			continue;
		step_together(workspace, code, together, waiting);
		waiting = 0;
		code = code_for(workspace, sharing);
	}
	for (int32_t i = 0; i < count; i++)
	{
		if (agents[i].status != KERNEL_OK)
			return agents[i].status;
	}
	return KERNEL_OK;
}

/*
 * The posterior alone: belief [belief_size] and free energy *vfe, from prior
 * [belief_size] as it stands and observation [modality_count] (-1: missing).
 * With the model's own A.  Returns KERNEL_RANGE where numbers overflow.
 */
KernelStatus
kernel_infer(const KernelHost *host, const KernelModel *model,
			 KernelWorkspace *workspace, const double *prior,
			 const int32_t *observation, double *belief, double *vfe)
{
	(void) model;
	use_host(workspace, host);
	use_lanes(workspace, 1);
	use_tables(workspace, NULL);
	*vfe = instructions_in_use()->alone->infer(workspace, prior, observation,
											   belief);
	return isfinite(*vfe) ? KERNEL_OK : KERNEL_RANGE;
}

/*
 * The next prior, and the posterior from it; see kernel.h.  The tables are set
 * for each agent, which is little beside its inference.
 */
KernelStatus
kernel_perceive(const KernelHost *host, const KernelModel *model,
				KernelWorkspace *workspace, KernelAgent *agent,
				double *predicted)
{
	const LaneCode *alone = instructions_in_use()->alone;

	use_host(workspace, host);
	use_lanes(workspace, 1);
	use_tables(workspace, agent->learned);
	if (agent->did != NULL)
		alone->next_prior(workspace, agent->prior, agent->did, predicted);
	else
		memcpy(predicted, agent->prior,
			   sizeof(double) * (size_t) model->belief_size);
	agent->vfe =
		alone->infer(workspace, predicted, agent->observation, agent->belief);
	agent->status = isfinite(agent->vfe) ? KERNEL_OK : KERNEL_RANGE;
	return agent->status;
}

/*
 * The parts of one policy's neg_efe, summed along its branches from the last
 * to the first, into the p-th place of each array.  The workspace must hold
 * what evaluate() has found for one agent.
 */
static void
explain_policy(const KernelWorkspace *workspace, int32_t p,
			   KernelExplanation *explanation)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	const int32_t	  *parent = KERNEL_AT(model, int32_t, model->branch_parent);
	int32_t leaf = KERNEL_AT(model, int32_t, model->leaf_of_policy)[p];

	explanation->q_pi[p] = workspace->q_pi[p];
	explanation->neg_efe[p] = workspace->branch_values[leaf];
	explanation->utility[p] = explanation->state_info_gain[p] = 0.0;
	explanation->param_info_gain[p] = explanation->inductive[p] = 0.0;
	for (int32_t b = leaf; b >= 0; b = parent[b])
	{
		for (int32_t m = 0; m < model->modality_count; m++)
		{
			const double *value =
				workspace->view_values[m] +
				KERNEL_AT(model, int32_t, views[m].of_branch)[b] * VIEW_PARTS;

			explanation->utility[p] += value[VIEW_UTILITY];
			explanation->state_info_gain[p] += value[VIEW_INFO_GAIN];
			explanation->param_info_gain[p] += value[VIEW_PARAM_GAIN];
		}
		for (int32_t f = 0; f < model->factor_count; f++)
		{
			const double *value =
				workspace->move_values[f] +
				KERNEL_AT(model, int32_t, moves[f].of_branch)[b] * MOVE_PARTS;

			/* what is not always predicted has no value of its own */
			if (moves[f].predicted < model->policy_length)
				continue;
			explanation->param_info_gain[p] += value[MOVE_PARAM_GAIN];
			explanation->inductive[p] += value[MOVE_INDUCTIVE];
		}
	}
}

/*
 * The parts of each policy's value, from belief [belief_size], the one that
 * chose; see kernel.h.  The plan is evaluated again rather than kept by every
 * step, since explanations are asked for seldom.  Returns KERNEL_RANGE where
 * numbers overflow.
 */
KernelStatus
kernel_explain(const KernelHost *host, const KernelModel *model,
			   KernelWorkspace *workspace, const double *belief,
			   const KernelParameters *parameters, const KernelLearned *learned,
			   KernelExplanation *explanation)
{
	use_host(workspace, host);
	use_lanes(workspace, 1);
	use_tables(workspace, learned);
	if (!instructions_in_use()->alone->evaluate(workspace, belief, parameters))
		return KERNEL_RANGE;
	for (int32_t p = 0; p < model->policy_count; p++)
	{
		explain_policy(workspace, p, explanation);
		worked(workspace, (int64_t) model->policy_length *
							  (model->factor_count + model->modality_count));
	}
	return KERNEL_OK;
}
