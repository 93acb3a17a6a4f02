/*
 * policy.c
 *		Planning: expected free energy of every policy, and the choice.
 *
 * Formulas: README.md, section "Planning"; they are pymdp's
 * update_posterior_policies and sample_policy/sample_action.  No policy is
 * followed on its own: the plan made at compile time (KernelMoves, KernelViews)
 * says which predictions differ.
 *
 * Everything here is the negative of expected free energy, neg_efe in nats:
 * larger is better, as in pymdp.  It is a sum over plan steps, and within a
 * step over factors (what a move is worth) and modalities (what a view is
 * worth).
 */
#include "step.h"

#include <math.h>
#include <string.h>

/* How many moves or views are evaluated between two calls of poll(). */
#define POLL_INTERVAL 256

/*
 * Asks for interrupts at every POLL_INTERVAL-th move or view: seldom enough to
 * cost nothing, often enough for a cancel to take effect at once.
 */
static void
poll_now_and_then(const KernelHost *host, int32_t count)
{
	if (host->poll != NULL && count % POLL_INTERVAL == 0)
		host->poll(host->context);
}

/*
 * The row of I that applies to each factor: that of the first step at which
 * the goal can be reached from the most probable state now, less one, because
 * the plan's first move is made already.  -1: no goal, or out of reach
 * (pymdp's calc_inductive_value_t).
 */
static void
find_goal_rows(KernelWorkspace *workspace, const double *belief)
{
	const KernelModel *model = workspace->model;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];
		int32_t			   state;

		workspace->goal_row[f] = -1;
		if (factor->I == NULL)
			continue;
		state = kernel_argmax(belief + factor->offset, factor->states);
		for (int32_t i = 0; i < model->inductive_depth; i++)
		{
			if (factor->I[(int64_t) i * factor->states + state] > 0.0)
			{
				workspace->goal_row[f] = i > 0 ? i - 1 : 0;
				break;
			}
		}
	}
}

/*
 * (1 - I[row]) . q * L(epsilon), for q = predicted [S]: how much of the
 * prediction is off the way to the goal, each unit of it costing -L(epsilon)
 * nats.  It is never positive.
 */
static double
inductive_value(const FactorTable *factor, int32_t row, const double *predicted,
				double log_epsilon)
{
	const double *on_the_way = factor->I + (int64_t) row * factor->states;
	double		  off = 0.0;

	for (int32_t s = 0; s < factor->states; s++)
		off += (1.0 - on_the_way[s]) * predicted[s];
	return off * log_epsilon;
}

/*
 * Parameter information gain in nats, what the counts of these columns would
 * teach (Friston et al.  2017, appendix):
 *
 * 	-sum over columns p and rows r of joint[p] * predicted[r] * W[p][r]
 *
 * with W [columns][rows], joint [columns] and predicted [rows].  W is 0 where
 * there are no counts, so nothing is gained there.
 */
static double
parameter_gain(const double *W, int64_t columns, int32_t rows,
			   const double *joint, const double *predicted)
{
	double gain = 0.0;

	for (int64_t p = 0; p < columns; p++)
	{
		double sum = 0.0;

		if (joint[p] == 0.0)
			continue;
		for (int32_t r = 0; r < rows; r++)
			sum += W[p * rows + r] * predicted[r];
		gain -= joint[p] * sum;
	}
	return gain;
}

/*
 * One move: the factor's predicted belief [S(f)], and what is valued of it,
 * both into the workspace.  belief [belief_size] is the one at the plan's
 * start.  The moves of the parents one step earlier must have been evaluated.
 */
static void
evaluate_move(KernelWorkspace *workspace, const double *belief, int32_t f,
			  int32_t move, double log_epsilon)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves) + f;
	const FactorTable *factor = &workspace->factors[f];
	const int32_t	  *from = KERNEL_AT(model, int32_t, moves->parents) +
						  (int64_t) move * factor->parent_count;
	int32_t action = KERNEL_AT(model, int32_t, moves->actions)[move];
	double *predicted =
		workspace->move_beliefs[f] + (int64_t) move * factor->states;
	MoveValue	 *value = &workspace->move_values[f][move];
	const double *joint;

	for (int32_t i = 0; i < factor->parent_count; i++)
	{
		const FactorTable *parent = &workspace->factors[factor->parents[i]];

		workspace->parent_beliefs[i] =
			from[i] < 0 ? belief + parent->offset :
						  workspace->move_beliefs[factor->parents[i]] +
							  (int64_t) from[i] * parent->states;
	}

	/*
	 * The gain is that of the transition from the belief before the action,
	 * which is the joint of the parents, to the one after it.
	 */
	joint = joint_belief(factor->parents, factor->parent_count,
						 workspace->parent_beliefs, model, workspace->joint);
	propagate(factor, action, joint, predicted);

	value->param_info_gain =
		factor->gain == NULL ?
			0.0 :
			parameter_gain(
				factor->gain + action * factor->parent_states * factor->states,
				factor->parent_states, factor->states, joint, predicted);
	value->inductive = workspace->goal_row[f] < 0 ?
						   0.0 :
						   inductive_value(factor, workspace->goal_row[f],
										   predicted, log_epsilon);
}

/*
 * expected [O(m)] = sum over p of joint[p] * A(. | p), with joint [P(m)] the
 * predicted weights of the joint states (Da Costa et al.  2020, eq.  17-20).
 */
static void
expected_outcomes(const ModalityTable *modality, const double *joint,
				  double *expected)
{
	const Columns *A = &modality->A;

	memset(expected, 0, sizeof(double) * (size_t) modality->outcomes);
	for (int64_t p = 0; p < modality->parent_states; p++)
	{
		double weight = joint[p];

		if (weight == 0.0)
			continue;
		if (A->starts == NULL)
		{
			const double *column = A->values + p * A->rows;

			for (int32_t o = 0; o < A->rows; o++)
				expected[o] += weight * column[o];
		}
		else
		{
			for (int64_t k = A->starts[p]; k < A->starts[p + 1]; k++)
				expected[A->indices[k]] += weight * A->values[k];
		}
	}
}

/*
 * H[expected] - E[H[A]] in nats: how much the outcome is expected to tell
 * about the states, the mutual information of the two (Da Costa et al.  2020,
 * eq.  17-20).  joint is [P(m)], expected [O(m)].
 */
static double
state_info_gain(const ModalityTable *modality, const double *joint,
				const double *expected)
{
	double gain = 0.0;

	for (int32_t o = 0; o < modality->outcomes; o++)
	{
		if (expected[o] > NEGLIGIBLE)
			gain -= expected[o] * kernel_log(expected[o]);
	}
	for (int64_t p = 0; p < modality->parent_states; p++)
		gain -= joint[p] * modality->ambiguity[p];
	return gain;
}

/*
 * One view of a modality at plan step t: expected outcomes and their value,
 * into the workspace.  All moves of the step must have been evaluated.  What
 * the model has switched off is 0.
 */
static void
evaluate_view(KernelWorkspace *workspace, int32_t m, int32_t view, int32_t t)
{
	const KernelModel *model = workspace->model;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views) + m;
	const ModalityTable *modality = &workspace->modalities[m];
	const int32_t		*from = KERNEL_AT(model, int32_t, views->moves) +
						  (int64_t) view * modality->parent_count;
	ViewValue	 *value = &workspace->view_values[m][view];
	double		 *expected = workspace->outcomes;
	const double *C = modality->C + (int64_t) t * modality->outcomes;
	const double *joint;

	for (int32_t i = 0; i < modality->parent_count; i++)
		workspace->parent_beliefs[i] =
			workspace->move_beliefs[modality->parents[i]] +
			(int64_t) from[i] * workspace->factors[modality->parents[i]].states;
	joint = joint_belief(modality->parents, modality->parent_count,
						 workspace->parent_beliefs, model, workspace->joint);
	expected_outcomes(modality, joint, expected);

	memset(value, 0, sizeof(*value));
	if (model->use_utility)
	{
		for (int32_t o = 0; o < modality->outcomes; o++)
			value->utility += expected[o] * C[o];
	}
	if (model->use_states_info_gain)
		value->state_info_gain = state_info_gain(modality, joint, expected);
	if (modality->gain != NULL)
		value->param_info_gain =
			parameter_gain(modality->gain, modality->parent_states,
						   modality->outcomes, joint, expected);
}

/*
 * All moves and views of plan step t, moves first: views are made of them.
 * Steps must come in order, as moves follow from those one step earlier.
 */
static void
evaluate_plan_step(const KernelHost *host, KernelWorkspace *workspace,
				   const double *belief, int32_t t, double log_epsilon)
{
	const KernelModel *model = workspace->model;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelMoves *moves =
			KERNEL_AT(model, KernelMoves, model->moves) + f;
		const int32_t *starts = KERNEL_AT(model, int32_t, moves->starts);

		for (int32_t move = starts[t]; move < starts[t + 1]; move++)
		{
			evaluate_move(workspace, belief, f, move, log_epsilon);
			poll_now_and_then(host, move);
		}
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelViews *views =
			KERNEL_AT(model, KernelViews, model->views) + m;
		const int32_t *starts = KERNEL_AT(model, int32_t, views->starts);

		for (int32_t view = starts[t]; view < starts[t + 1]; view++)
		{
			evaluate_view(workspace, m, view, t);
			poll_now_and_then(host, view);
		}
	}
}

/*
 * Adds, for each branch, the value of its move of factor f to branch_values
 * [branch_count].
 */
static void
add_move_values(KernelWorkspace *workspace, int32_t f)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves) + f;
	const int32_t	  *of_branch = KERNEL_AT(model, int32_t, moves->of_branch);
	const MoveValue	  *values = workspace->move_values[f];

	for (int32_t b = 0; b < model->branch_count; b++)
		workspace->branch_values[b] += values[of_branch[b]].param_info_gain +
									   values[of_branch[b]].inductive;
}

/*
 * Likewise the value of its view of modality m.
 */
static void
add_view_values(KernelWorkspace *workspace, int32_t m)
{
	const KernelModel *model = workspace->model;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views) + m;
	const int32_t	  *of_branch = KERNEL_AT(model, int32_t, views->of_branch);
	const ViewValue	  *values = workspace->view_values[m];

	for (int32_t b = 0; b < model->branch_count; b++)
	{
		const ViewValue *value = &values[of_branch[b]];

		workspace->branch_values[b] +=
			value->utility + value->state_info_gain + value->param_info_gain;
	}
}

/*
 * neg_efe [policy_count] into the workspace, from the belief [belief_size] at
 * the plan's start (pymdp's compute_neg_efe_policy; Da Costa et al.  2020, eq.
 * 17-20).  The tables in use say with which A, B and C.  The host is polled,
 * and poll() may not return.
 */
void
evaluate_policies(const KernelHost *host, KernelWorkspace *workspace,
				  const double *belief, double inductive_epsilon)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *parent = KERNEL_AT(model, int32_t, model->branch_parent);
	const int32_t	  *leaf = KERNEL_AT(model, int32_t, model->leaf_of_policy);
	double			   log_epsilon = kernel_log(inductive_epsilon);

	find_goal_rows(workspace, belief);
	for (int32_t t = 0; t < model->policy_length; t++)
		evaluate_plan_step(host, workspace, belief, t, log_epsilon);

	memset(workspace->branch_values, 0,
		   sizeof(double) * (size_t) model->branch_count);
	for (int32_t m = 0; m < model->modality_count; m++)
		add_view_values(workspace, m);
	for (int32_t f = 0; f < model->factor_count; f++)
		add_move_values(workspace, f);

	/*
	 * A parent branch stands before its children, so one pass in order sums
	 * along the tree.
	 */
	for (int32_t b = 0; b < model->branch_count; b++)
	{
		if (parent[b] >= 0)
			workspace->branch_values[b] += workspace->branch_values[parent[b]];
	}
	for (int32_t p = 0; p < model->policy_count; p++)
		workspace->neg_efe[p] = workspace->branch_values[leaf[p]];
}

/*
 * q_pi = softmax(gamma * neg_efe + L(E)), [policy_count] in the workspace
 * (pymdp's update_posterior_policies).  log_E is [policy_count].  A weight of
 * 0 in E is a cost of 36 nats, not a ban.
 */
void
policy_posterior(KernelWorkspace *workspace, double gamma, const double *log_E)
{
	int32_t count = workspace->model->policy_count;

	for (int32_t p = 0; p < count; p++)
		workspace->q_pi[p] = gamma * workspace->neg_efe[p] + log_E[p];
	kernel_softmax(workspace->q_pi, count);
}

/*
 * The parts of one policy's neg_efe, summed along its branches from the last
 * to the first, for people.  The workspace must hold the values of
 * evaluate_policies().
 */
void
policy_parts(const KernelWorkspace *workspace, int32_t policy, ViewValue *views,
			 MoveValue *moves)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *parent = KERNEL_AT(model, int32_t, model->branch_parent);

	memset(views, 0, sizeof(*views));
	memset(moves, 0, sizeof(*moves));
	for (int32_t b = KERNEL_AT(model, int32_t, model->leaf_of_policy)[policy];
		 b >= 0; b = parent[b])
	{
		for (int32_t m = 0; m < model->modality_count; m++)
		{
			const KernelViews *of =
				KERNEL_AT(model, KernelViews, model->views) + m;
			int32_t view = KERNEL_AT(model, int32_t, of->of_branch)[b];

			views->utility += workspace->view_values[m][view].utility;
			views->state_info_gain +=
				workspace->view_values[m][view].state_info_gain;
			views->param_info_gain +=
				workspace->view_values[m][view].param_info_gain;
		}
		for (int32_t f = 0; f < model->factor_count; f++)
		{
			const KernelMoves *of =
				KERNEL_AT(model, KernelMoves, model->moves) + f;
			int32_t move = KERNEL_AT(model, int32_t, of->of_branch)[b];

			moves->param_info_gain +=
				workspace->move_values[f][move].param_info_gain;
			moves->inductive += workspace->move_values[f][move].inductive;
		}
	}
}

/*
 * One index of probabilities p [count]: the most probable, or one drawn from
 * softmax(alpha * L(p)) by a uniform number in [0, 1).  p is overwritten where
 * it is drawn.  The last index takes what rounding leaves of the sum.
 */
static int32_t
choose(double *p, int32_t count, const KernelModel *model, double alpha,
	   double uniform)
{
	double below = 0.0;

	if (model->selection == KERNEL_DETERMINISTIC)
		return kernel_argmax(p, count);
	for (int32_t i = 0; i < count; i++)
		p[i] = alpha * kernel_log(p[i]);
	kernel_softmax(p, count);
	for (int32_t i = 0; i < count - 1; i++)
	{
		below += p[i];
		if (uniform < below)
			return i;
	}
	return count - 1;
}

/*
 * action [control_count] from q_pi in the workspace: the first action of one
 * policy (full, pymdp's sample_policy), or one action for each control from
 * its own marginal (marginal, pymdp's sample_action).  Each control has a draw
 * of its own, counted by seed and step.  q_pi is overwritten.
 */
void
choose_action(KernelWorkspace *workspace, double alpha, uint64_t seed,
			  uint64_t step, int32_t *action)
{
	const KernelModel *model = workspace->model;
	const int32_t	  *policies = KERNEL_AT(model, int32_t, model->policies);
	int64_t stride = (int64_t) model->policy_length * model->control_count;

	if (model->sampling == KERNEL_FULL)
	{
		int32_t policy =
			choose(workspace->q_pi, model->policy_count, model, alpha,
				   kernel_uniform(seed, step, KERNEL_DRAW_POLICY, 0));

		memcpy(action, policies + policy * stride,
			   sizeof(int32_t) * (size_t) model->control_count);
		return;
	}
	for (int32_t c = 0; c < model->control_count; c++)
	{
		int32_t actions = kernel_control(model, c)->actions;

		/*
		 * A control's marginal is the weight of all policies that begin with
		 * each of its actions; they may agree on no joint action.
		 */
		memset(workspace->marginal, 0, sizeof(double) * (size_t) actions);
		for (int32_t p = 0; p < model->policy_count; p++)
			workspace->marginal[policies[p * stride + c]] += workspace->q_pi[p];
		action[c] = choose(
			workspace->marginal, actions, model, alpha,
			kernel_uniform(seed, step, KERNEL_DRAW_ACTION, (uint32_t) c));
	}
}
