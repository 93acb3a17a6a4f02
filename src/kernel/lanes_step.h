/*
 * lanes_step.h
 *		One step of the agents in the lanes: parameters, perceiving, planning and
 *		the choice; and the compilation's table of functions.
 *
 * Formulas of the choice: README.md, section "Planning"; they are pymdp's
 * update_posterior_policies and sample_policy/sample_action.
 */
#ifndef FA_KERNEL_LANES_STEP_H
#define FA_KERNEL_LANES_STEP_H

#include "lanes_plan.h"

#if LANES == 1
/*
 * C and log_E of the agent: where they are; NULL: the model's.  parameters[0]
 * may be NULL.
 */
static void
use_parameters(KernelWorkspace				 *workspace,
			   const KernelParameters *const *parameters)
{
	workspace->C_of[0] = parameters[0] ? parameters[0]->C : NULL;
	workspace->log_E_of[0] = parameters[0] ? parameters[0]->log_E : NULL;
	workspace->spread = 0;
}
#else
/*
 * Copies a vector [count] of each lane to out [count][LANES].
 */
static void
spread_lanes(const double *const *from, int64_t count, double *out)
{
	for (int64_t i = 0; i < count; i++)
	{
		for (int32_t l = 0; l < LANES; l++)
			out[i * LANES + l] = from[l][i];
	}
}

/*
 * C and log_E of each lane into the workspace: the agent's, or the model's.
 * They stay there while the next agents' are the same, as agents of a block
 * mostly have the model's.  parameters may be NULL for each.
 */
static void
use_parameters(KernelWorkspace				 *workspace,
			   const KernelParameters *const *parameters)
{
	const KernelModel *model = workspace->model;
	const double	  *C_of[LANES];
	const double	  *log_E_of[LANES];
	const double	  *from[LANES];

	for (int32_t l = 0; l < LANES; l++)
	{
		C_of[l] = parameters[l] ? parameters[l]->C : NULL;
		log_E_of[l] = parameters[l] ? parameters[l]->log_E : NULL;
	}
	if (workspace->spread == LANES &&
		memcmp(workspace->C_of, C_of, sizeof(C_of)) == 0 &&
		memcmp(workspace->log_E_of, log_E_of, sizeof(log_E_of)) == 0)
		return;
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		int64_t				  start =
			(int64_t) modality->outcome_offset * model->policy_length;

		for (int32_t l = 0; l < LANES; l++)
			from[l] = C_of[l] ? C_of[l] + start :
								KERNEL_AT(model, double, modality->C);
		spread_lanes(from, (int64_t) modality->outcomes * model->policy_length,
					 workspace->C + start * LANES);
	}
	worked(workspace, ((int64_t) model->outcome_size * model->policy_length +
					   model->policy_count) *
						  LANES);
	for (int32_t l = 0; l < LANES; l++)
		from[l] =
			log_E_of[l] ? log_E_of[l] : KERNEL_AT(model, double, model->log_E);
	spread_lanes(from, model->policy_count, workspace->log_E);
	memcpy(workspace->C_of, C_of, sizeof(C_of));
	memcpy(workspace->log_E_of, log_E_of, sizeof(log_E_of));
	workspace->spread = LANES;
}
#endif

/*
 * L(epsilon) of the lanes: what a unit of belief off the way to the goal
 * costs.
 */
static Vector
log_epsilons(const KernelModel			   *model,
			 const KernelParameters *const *parameters)
{
	double logs[LANES];

	for (int32_t l = 0; l < LANES; l++)
		logs[l] = kernel_log(parameters[l] ? parameters[l]->inductive_epsilon :
											 model->inductive_epsilon);
	return lanes_load(logs);
}

/*
 * L(E) [policy_count] of the lanes.
 */
ALWAYS_INLINE const Vector *
log_habits(const KernelWorkspace *workspace)
{
#if LANES == 1
	if (workspace->log_E_of[0] == NULL)
		return KERNEL_AT(workspace->model, double, workspace->model->log_E);
	return workspace->log_E_of[0];
#else
	return VECTORS(workspace->log_E);
#endif
}

/*
 * workspace->weights [policy_count] = gamma * neg_efe + L(E), of which q_pi is
 * the softmax (pymdp's update_posterior_policies).  A weight of 0 in E is a
 * cost of 36 nats, not a ban.  Returns 0 where all of them are finite, else
 * NaN.
 */
static Vector
weigh_policies(KernelWorkspace				 *workspace,
			   const KernelParameters *const *parameters)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *leaf = KERNEL_AT(model, int32_t, model->leaf_of_policy);
	const Vector	  *values = VECTORS(workspace->branch_values);
	const Vector	  *log_E = log_habits(workspace);
	Vector			  *weights = VECTORS(workspace->weights);
	Vector			   finite = splat(0.0);
	Vector			   gamma;
	double			   gammas[LANES];

	for (int32_t l = 0; l < LANES; l++)
		gammas[l] = parameters[l] ? parameters[l]->gamma : model->gamma;
	gamma = lanes_load(gammas);
	for (int32_t p = 0; p < model->policy_count; p++)
	{
		weights[p] = multiply_add(gamma, values[leaf[p]], log_E[p]);
		finite = finite + weights[p] * splat(0.0);
	}
	worked(workspace, model->policy_count);
	return finite;
}

/* ---------- the choice ---------- */

/*
 * For each lane the lowest index of x [count] that is not below least.  It is
 * there: least is below the largest of them.
 */
static void
first_not_below(const Vector *x, Vector least, int32_t *chosen)
{
	const double *numbers = NUMBERS(x);
	double		  limits[LANES];

	lanes_store(limits, least);
	for (int32_t l = 0; l < LANES; l++)
	{
		chosen[l] = 0;
		while (numbers[(int64_t) chosen[l] * LANES + l] < limits[l])
			chosen[l]++;
	}
}

/*
 * One index for each lane, drawn from softmax(alpha * L(p)) by uniform [LANES]
 * in [0, 1), with p [count] probabilities, which are overwritten.  The last
 * index takes what rounding leaves of the sum.
 */
static void
draw(KernelWorkspace *workspace, Vector *p, int32_t count,
	 KernelAgent *const *agents, const double *uniform, int32_t *chosen)
{
	const double *numbers = NUMBERS(p);
	double		  alphas[LANES];
	Vector		  alpha;

	for (int32_t l = 0; l < LANES; l++)
		alphas[l] = agents[l]->parameters ? agents[l]->parameters->alpha :
											workspace->model->alpha;
	alpha = lanes_load(alphas);
	log_array(workspace, numbers, (int64_t) count * LANES, NUMBERS(p));
	for (int32_t i = 0; i < count; i++)
		p[i] = p[i] * alpha;
	softmax(workspace, p, count);
	for (int32_t l = 0; l < LANES; l++)
	{
		double	below = 0.0;
		int32_t i = -1;

		do
			below += numbers[(int64_t) ++i * LANES + l];
		while (i < count - 1 && !(uniform[l] < below));
		chosen[l] = i;
	}
}

/*
 * The lanes' draws for a purpose, index being that of the control.
 */
static void
draw_uniform(KernelAgent *const *agents, KernelPurpose purpose, int32_t index,
			 double *uniform)
{
	for (int32_t l = 0; l < LANES; l++)
		uniform[l] = kernel_uniform(agents[l]->seed, agents[l]->step, purpose,
									(uint32_t) index);
}

/*
 * The policy of each lane (pymdp's sample_policy) from q_pi [policy_count]:
 * drawn, or the most probable.
 *
 * The most probable one is told from the weights before the softmax, of which
 * a relative difference of probabilities is an absolute one: most steps need
 * no softmax at all.
 */
static void
choose_policies(KernelWorkspace *workspace, KernelAgent *const *agents,
				Vector heaviest, int32_t *chosen)
{
	const KernelModel *model = workspace->model;
	double			   uniform[LANES];

	if (model->selection == KERNEL_DETERMINISTIC)
	{
		first_not_below(VECTORS(workspace->weights),
						heaviest + splat(log1p(-KERNEL_TIE)), chosen);
		return;
	}
	draw_uniform(agents, KERNEL_DRAW_POLICY, 0, uniform);
	draw(workspace, VECTORS(workspace->q_pi), model->policy_count, agents,
		 uniform, chosen);
}

/*
 * One action of each control from its own marginal (pymdp's sample_action):
 * the weight of all policies that begin with each of its actions; they may
 * agree on no joint action.  Each control has a draw of its own.
 */
static void
choose_marginal_actions(KernelWorkspace *workspace, KernelAgent *const *agents)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *policies = KERNEL_AT(model, int32_t, model->policies);
	int64_t stride = (int64_t) model->policy_length * model->control_count;
	const Vector *q_pi = VECTORS(workspace->q_pi);
	Vector		 *marginal = VECTORS(workspace->marginal);
	double		  uniform[LANES];
	int32_t		  chosen[LANES];

	for (int32_t c = 0; c < model->control_count; c++)
	{
		int32_t actions = kernel_control(model, c)->actions;

		for (int32_t u = 0; u < actions; u++)
			marginal[u] = splat(0.0);
		for (int32_t p = 0; p < model->policy_count; p++)
		{
			int32_t u = policies[p * stride + c];

			marginal[u] = marginal[u] + q_pi[p];
		}
		worked(workspace, model->policy_count + actions);
		if (model->selection == KERNEL_DETERMINISTIC)
			first_not_below(marginal,
							largest_of(marginal, actions) *
								splat(1.0 - KERNEL_TIE),
							chosen);
		else
		{
			draw_uniform(agents, KERNEL_DRAW_ACTION, c, uniform);
			draw(workspace, marginal, actions, agents, uniform, chosen);
		}
		for (int32_t l = 0; l < LANES; l++)
			agents[l]->action[c] = chosen[l];
	}
}

/* ---------- the step ---------- */

/*
 * workspace->q_pi [policy_count], the softmax of the weights.
 */
static void
normalize_policies(KernelWorkspace *workspace)
{
	memcpy(workspace->q_pi, workspace->weights,
		   sizeof(Vector) * (size_t) workspace->model->policy_count);
	softmax(workspace, VECTORS(workspace->q_pi),
			workspace->model->policy_count);
}

/*
 * What planning found for one lane, where the agent wants it.
 */
static void
give_policies(const KernelWorkspace *workspace, KernelAgent *agent,
			  int32_t lane)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *leaf = KERNEL_AT(model, int32_t, model->leaf_of_policy);

	for (int32_t p = 0; agent->neg_efe != NULL && p < model->policy_count; p++)
		agent->neg_efe[p] =
			workspace->branch_values[(int64_t) leaf[p] * LANES + lane];
	for (int32_t p = 0; agent->q_pi != NULL && p < model->policy_count; p++)
		agent->q_pi[p] = workspace->q_pi[(int64_t) p * LANES + lane];
}

/*
 * The choice of all lanes, and what else they want of their policies.  q_pi is
 * made only where somebody needs it.
 */
static void
choose(KernelWorkspace *workspace, KernelAgent *const *agents)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *policies = KERNEL_AT(model, int32_t, model->policies);
	int64_t stride = (int64_t) model->policy_length * model->control_count;
	Vector	heaviest =
		largest_of(VECTORS(workspace->weights), model->policy_count);
	bool needed = model->sampling != KERNEL_FULL ||
				  model->selection != KERNEL_DETERMINISTIC;
	int32_t chosen[LANES];

	for (int32_t l = 0; l < LANES; l++)
		needed |= agents[l]->q_pi != NULL;
	if (needed)
		normalize_policies(workspace);
	for (int32_t l = 0; l < LANES; l++)
		give_policies(workspace, agents[l], l);
	if (model->sampling != KERNEL_FULL)
	{
		choose_marginal_actions(workspace, agents);
		return;
	}
	choose_policies(workspace, agents, heaviest, chosen);
	for (int32_t l = 0; l < LANES; l++)
		memcpy(agents[l]->action, policies + chosen[l] * stride,
			   sizeof(int32_t) * (size_t) model->control_count);
}

/* ---------- the step ---------- */

/*
 * The posterior and its free energy, to the agents.
 */
static void
give_beliefs(const KernelWorkspace *workspace, KernelAgent *const *agents,
			 Vector energy)
{
	double energies[LANES];

	lanes_store(energies, energy);
	for (int32_t l = 0; l < LANES; l++)
	{
		double *belief = agents[l]->belief;

		agents[l]->vfe = energies[l];
		for (int32_t i = 0; i < workspace->model->belief_size; i++)
			belief[i] = workspace->belief[(int64_t) i * LANES + l];
	}
}

/*
 * Perceives, plans and chooses for the agents [LANES], in pymdp's order; see
 * LaneCode.  An agent whose numbers are not finite gets KERNEL_RANGE: what
 * follows from NaN is no choice at all.  Its lane is finished like the others,
 * which know nothing of it; comparisons with NaN end every search.
 */
static void
step_lanes(KernelWorkspace *workspace, KernelAgent *const *agents,
		   const double *const *priors)
{
	const KernelModel	   *model = workspace->model;
	const KernelParameters *parameters[LANES];
	double					finite[LANES];
	Vector					energy;

	for (int32_t l = 0; l < LANES; l++)
		parameters[l] = agents[l]->parameters;
	use_parameters(workspace, parameters);
	energy = infer_states(workspace, agents, priors);
	give_beliefs(workspace, agents, energy);
	evaluate_policies(workspace, log_epsilons(model, parameters));
	lanes_store(finite,
				weigh_policies(workspace, parameters) + energy * splat(0.0));
	for (int32_t l = 0; l < LANES; l++)
		agents[l]->status = isfinite(finite[l]) ? KERNEL_OK : KERNEL_RANGE;
	choose(workspace, agents);
}

#if LANES == 1
/*
 * Perception of one agent, see LaneCode.  belief may be prior.
 */
static double
infer_alone(KernelWorkspace *workspace, const double *prior,
			const int32_t *observation, double *belief)
{
	KernelAgent	 agent = {.observation = observation};
	KernelAgent *agents = &agent;
	double		 energy = infer_states(workspace, &agents, &prior);

	memcpy(belief, workspace->belief,
		   sizeof(double) * (size_t) workspace->model->belief_size);
	return energy;
}

/*
 * Planning of one agent from a belief; what it found stays in the workspace.
 * False where numbers overflow.
 */
static bool
evaluate_alone(KernelWorkspace *workspace, const double *belief,
			   const KernelParameters *parameters)
{
	double finite;

	use_parameters(workspace, &parameters);
	memcpy(workspace->belief, belief,
		   sizeof(double) * (size_t) workspace->model->belief_size);
	evaluate_policies(workspace, log_epsilons(workspace->model, &parameters));
	finite = weigh_policies(workspace, &parameters);
	normalize_policies(workspace);
	return isfinite(finite);
}

#define LANE_CODE                                                 \
	{                                                             \
		.lanes = 1, .step = step_lanes, .next_prior = next_prior, \
		.infer = infer_alone, .evaluate = evaluate_alone          \
	}
#else
#define LANE_CODE                          \
	{                                      \
		.lanes = LANES, .step = step_lanes \
	}
#endif

#endif /* FA_KERNEL_LANES_STEP_H */
