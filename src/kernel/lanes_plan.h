/*
 * lanes_plan.h
 *		Planning: what every move and every view is worth.
 *
 * Formulas: README.md, section "Planning".  No policy is followed on its own:
 * the plan made at compile time (KernelMoves, KernelViews) says which
 * predictions differ.
 *
 * Everything here is the negative of expected free energy, neg_efe in nats:
 * larger is better, as in pymdp.  It is a sum over plan steps, and within a
 * step over factors (what a move is worth) and modalities (what a view is
 * worth).
 */
#ifndef FA_KERNEL_LANES_PLAN_H
#define FA_KERNEL_LANES_PLAN_H

#include "lanes_share.h"

/*
 * The row of I that applies to a factor in one lane: that of the first step at
 * which the goal can be reached from the most probable state now, less one,
 * because the plan's first move is made already.  -1: out of reach (pymdp's
 * calc_inductive_value_t).
 */
static int32_t
goal_row(const KernelWorkspace *workspace, const FactorTable *factor,
		 int32_t lane)
{
	const double *belief = workspace->belief + factor->offset * LANES + lane;
	double		  most = belief[0];
	int32_t		  state = 0;

	for (int32_t s = 1; s < factor->states; s++)
		most = fmax(belief[(int64_t) s * LANES], most);
	while (belief[(int64_t) state * LANES] < most * (1.0 - KERNEL_TIE))
		state++;
	for (int32_t i = 0; i < workspace->model->inductive_depth; i++)
	{
		if (factor->I[(int64_t) i * factor->states + state] > 0.0)
			return i > 0 ? i - 1 : 0;
	}
	return -1;
}

/*
 * workspace->off_the_way [belief_size]: 1 - I of each lane's row, the states
 * that are off the way to the goal; 0 where there is none to reach.
 */
static void
find_goals(KernelWorkspace *workspace)
{
	for (int32_t f = 0; f < workspace->model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];
		double *off = workspace->off_the_way + (int64_t) factor->offset * LANES;

		for (int32_t l = 0; factor->I != NULL && l < LANES; l++)
		{
			int32_t		  row = goal_row(workspace, factor, l);
			const double *on =
				row < 0 ? NULL : factor->I + (int64_t) row * factor->states;

			worked(workspace, factor->states +
								  (int64_t) workspace->model->inductive_depth);
			for (int32_t s = 0; s < factor->states; s++)
				off[(int64_t) s * LANES + l] = on == NULL ? 0.0 : 1.0 - on[s];
		}
	}
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
static Vector
parameter_gain(const double *W, int64_t columns, int32_t rows,
			   const Vector *joint, const Vector *predicted)
{
	Vector gain = splat(0.0);

	for (int64_t p = 0; p < columns; p++)
		gain = gain -
			   joint[p] * dot_shared(predicted, W + p * (int64_t) rows, rows);
	return gain;
}

/*
 * Where the belief of a move of factor f is, one that passes in its portion.
 */
ALWAYS_INLINE Vector *
belief_of_move(const KernelWorkspace *workspace, int32_t f, int32_t move)
{
	const FactorTable *factor = &workspace->factors[f];

	if (move >= factor->passing)
		move = factor->passing + (move - factor->passing) % factor->portion;
	return VECTORS(workspace->move_beliefs[f]) +
		   (int64_t) move * factor->states;
}

/*
 * One move: the factor's predicted belief [S(f)], and what is valued of it,
 * both into the workspace.  The moves of the parents one step earlier must
 * have been evaluated; a move of -1 is the belief now.
 */
static void
evaluate_move(KernelWorkspace *workspace, int32_t f, int32_t move,
			  Vector log_epsilon)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves) + f;
	const FactorTable *factor = &workspace->factors[f];
	const int32_t	  *from = KERNEL_AT(model, int32_t, moves->parents) +
						  (int64_t) move * factor->parent_count;
	const Vector **marginals = (const Vector **) workspace->parent_beliefs;
	int64_t		   action = KERNEL_AT(model, int32_t, moves->actions)[move];
	Vector		  *predicted = belief_of_move(workspace, f, move);
	Vector *value = VECTORS(workspace->move_values[f]) + move * MOVE_PARTS;
	const Vector *joint;

	for (int32_t i = 0; i < factor->parent_count; i++)
	{
		int32_t parent = factor->parents[i];

		marginals[i] = from[i] < 0 ? VECTORS(workspace->belief) +
										 workspace->factors[parent].offset :
									 belief_of_move(workspace, parent, from[i]);
	}

	/*
	 * The gain is that of the transition from the belief before the action,
	 * which is the joint of the parents, to the one after it.
	 */
	joint = joint_of(marginals, factor->sizes, factor->parent_count,
					 VECTORS(workspace->joint));
	mix_columns(&factor->B, action, joint, predicted);
	value[MOVE_PARAM_GAIN] = splat(0.0);
	value[MOVE_INDUCTIVE] = splat(0.0);
	if (factor->gain != NULL)
		value[MOVE_PARAM_GAIN] = parameter_gain(
			factor->gain + action * factor->parent_states * factor->states,
			factor->parent_states, factor->states, joint, predicted);
	if (factor->I != NULL)
		value[MOVE_INDUCTIVE] =
			log_epsilon * dot(VECTORS(workspace->off_the_way) + factor->offset,
							  predicted, factor->states);
	value[MOVE_SUM] = value[MOVE_PARAM_GAIN] + value[MOVE_INDUCTIVE];
}

/* ---------- views ---------- */

/*
 * The belief that a view has of its i-th parent.
 */
ALWAYS_INLINE const Vector *
view_belief(const KernelWorkspace *workspace, const ModalityTable *modality,
			const int32_t *from, int32_t i)
{
	return belief_of_move(workspace, modality->parents[i], from[i]);
}

/*
 * Views by contraction [count], which agree in all parents but the last: one
 * parent after another is summed away, and no product of beliefs is made.  The
 * first levels, up to level same, are those of the view before, too.  expected
 * [count][O(m)] and ambiguities [count] are set.
 */
static void
contract_views(KernelWorkspace *workspace, const ModalityTable *modality,
			   const int32_t *from, int32_t count, int32_t same,
			   Vector *expected, Vector *ambiguities)
{
	int32_t		  last = modality->parent_count - 1;
	int32_t		  axis = modality->axes[last];
	int32_t		  outcomes = modality->outcomes;
	int64_t		  rows = modality->parent_states * (outcomes + 1);
	const Vector *x[VIEWS_AT_ONCE];
	Vector		 *out[VIEWS_AT_ONCE];

	for (int32_t level = 0; level < last; level++)
	{
		int32_t		  states = modality->sizes[modality->axes[level]];
		const Vector *belief =
			view_belief(workspace, modality, from, modality->axes[level]);
		Vector *partial = VECTORS(workspace->partial[level]);

		rows /= states;
		if (level == 0 && same == 0)
			combine(modality->table, rows, states, rows, belief, partial);
		else if (level >= same)
			combine_own(VECTORS(workspace->partial[level - 1]), rows, states,
						rows, belief, partial);
	}
	for (int32_t i = 0; i < count; i++)
	{
		x[i] = view_belief(workspace, modality,
						   from + (int64_t) i * modality->parent_count, axis);
		out[i] = VECTORS(workspace->partial[last]) + i * (outcomes + 1);
	}
	combine_own_each(VECTORS(workspace->partial[last - 1]), outcomes + 1,
					 modality->sizes[axis], outcomes + 1, x, out, count);
	for (int32_t i = 0; i < count; i++)
	{
		for (int32_t o = 0; o < outcomes; o++)
			expected[(int64_t) i * outcomes + o] = out[i][o];
		ambiguities[i] = out[i][outcomes];
	}
}

/*
 * A view by the product of its parents' beliefs [P(m)]; with one parent there
 * is none to be made.
 */
static Vector
mix_view(KernelWorkspace *workspace, const ModalityTable *modality,
		 const int32_t *from, Vector *expected, Vector *param_gain)
{
	const Vector **marginals = (const Vector **) workspace->parent_beliefs;
	const Vector  *joint;

	for (int32_t i = 0; i < modality->parent_count; i++)
		marginals[i] = view_belief(workspace, modality, from, i);
	joint = joint_of(marginals, modality->sizes, modality->parent_count,
					 VECTORS(workspace->joint));
	mix_columns(&modality->A, 0, joint, expected);
	if (modality->gain != NULL)
		*param_gain = parameter_gain(modality->gain, modality->parent_states,
									 modality->outcomes, joint, expected);
	return dot_shared(joint, modality->ambiguity, modality->parent_states);
}

/*
 * Views of one parent by a dense A [count]; what is read of A serves them all.
 */
static void
mix_views(KernelWorkspace *workspace, const ModalityTable *modality,
		  const int32_t *from, int32_t count, Vector *expected,
		  Vector *ambiguities)
{
	const Vector *x[VIEWS_AT_ONCE];
	Vector		 *out[VIEWS_AT_ONCE];

	for (int32_t i = 0; i < count; i++)
	{
		x[i] = view_belief(workspace, modality, from + i, 0);
		out[i] = expected + (int64_t) i * modality->outcomes;
		ambiguities[i] =
			dot_shared(x[i], modality->ambiguity, modality->parent_states);
	}
	combine_each(modality->A.dense, modality->outcomes, modality->parent_states,
				 modality->outcomes, x, out, count);
}

/*
 * Views of the last plan step [count], which see one factor alone, from the
 * beliefs before their moves: those with equal actions together, as they share
 * a table.
 */
static void
foresee_views(KernelWorkspace *workspace, const ModalityTable *modality,
			  const int32_t *from, int32_t count, Vector *expected,
			  Vector *ambiguities)
{
	const KernelModel *model = workspace->model;
	int32_t			   f = modality->parents[0];
	const FactorTable *factor = &workspace->factors[f];
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves) + f;
	const int32_t	  *actions = KERNEL_AT(model, int32_t, moves->actions);
	const int32_t	  *before = KERNEL_AT(model, int32_t, moves->parents);
	bool			   done[VIEWS_AT_ONCE] = {false};
	const Vector	  *x[VIEWS_AT_ONCE];
	Vector			  *out[VIEWS_AT_ONCE];

	for (int32_t first = 0; first < count; first++)
	{
		int64_t state = (int64_t) actions[from[first]] * factor->states;
		int32_t equal = 0;

		if (done[first])
			continue;
		for (int32_t i = first; i < count; i++)
		{
			int32_t move = before[from[i]];

			if (actions[from[i]] != actions[from[first]])
				continue;
			x[equal] = move < 0 ? VECTORS(workspace->belief) + factor->offset :
								  belief_of_move(workspace, f, move);
			ambiguities[i] = dot_shared(
				x[equal], modality->ahead_ambiguity + state, factor->states);
			out[equal++] = expected + (int64_t) i * modality->outcomes;
			done[i] = true;
		}
		combine_each(modality->ahead + state * modality->outcomes,
					 modality->outcomes, factor->states, modality->outcomes, x,
					 out, equal);
	}
}

/*
 * How many levels of a contraction two views have in common.
 */
static int32_t
levels_shared(const ModalityTable *modality, const int32_t *view,
			  const int32_t *before)
{
	int32_t level = 0;

	while (level < modality->parent_count - 1 &&
		   view[modality->axes[level]] == before[modality->axes[level]])
		level++;
	return level;
}

/*
 * All views by contraction [count]: those that agree in all parents but the
 * last together.
 */
static void
contract_all(KernelWorkspace *workspace, const ModalityTable *modality,
			 const int32_t *from, int32_t count, Vector *expected,
			 Vector *ambiguities)
{
	int32_t parents = modality->parent_count;
	int32_t same = 0;

	for (int32_t first = 0; first < count;)
	{
		const int32_t *view = from + (int64_t) first * parents;
		int32_t		   end = first;
		int32_t		   shared = same;

		do
		{
			end++;
			if (end < count)
				same = levels_shared(modality, view + (end - first) * parents,
									 view + (end - first - 1) * parents);
		} while (end < count && same == parents - 1);
		contract_views(workspace, modality, view, end - first, shared,
					   expected + (int64_t) first * modality->outcomes,
					   ambiguities + first);
		first = end;
	}
}

/*
 * expected [count][O(m)] and ambiguities [count] of some views, foreseen or
 * made of the beliefs of their moves, in the way that
 * is best for the modality.  What the counts of A would teach is known only to
 * mix_view(), so it goes straight to the values.
 */
static void
expect_views(KernelWorkspace *workspace, const ModalityTable *modality,
			 bool foreseen, const int32_t *from, int32_t count,
			 Vector *ambiguities, Vector *values)
{
	Vector *expected = VECTORS(workspace->expected);

	for (int32_t i = 0; i < count; i++)
		values[i * VIEW_PARTS + VIEW_PARAM_GAIN] = splat(0.0);
	if (foreseen)
		foresee_views(workspace, modality, from, count, expected, ambiguities);
	else if (modality->contracted)
		contract_all(workspace, modality, from, count, expected, ambiguities);
	else if (modality->parent_count == 1 && modality->A.starts == NULL &&
			 modality->gain == NULL)
		mix_views(workspace, modality, from, count, expected, ambiguities);
	else
	{
		for (int32_t i = 0; i < count; i++)
			ambiguities[i] =
				mix_view(workspace, modality,
						 from + (int64_t) i * modality->parent_count,
						 expected + (int64_t) i * modality->outcomes,
						 &values[i * VIEW_PARTS + VIEW_PARAM_GAIN]);
	}
}

/*
 * H[expected] in nats for some views of one modality, expected [count][O(m)]:
 * added to their information gains, from which the ambiguity is taken off
 * already.  Together they are how much the outcome is expected to tell about
 * the states, the mutual information of the two (Da Costa et al.  2020, eq.
 * 17-20).
 */
static void
add_entropies(KernelWorkspace *workspace, const ModalityTable *modality,
			  int32_t count, Vector *values)
{
	const Vector *expected = VECTORS(workspace->expected);
	const Vector *logarithms = VECTORS(workspace->logarithms);
	int32_t		  outcomes = modality->outcomes;

	log_array(workspace, workspace->expected,
			  (int64_t) count * outcomes * LANES, workspace->logarithms);
	for (int32_t i = 0; i < count; i++)
		values[i * VIEW_PARTS + VIEW_INFO_GAIN] =
			values[i * VIEW_PARTS + VIEW_INFO_GAIN] -
			dot(expected + (int64_t) i * outcomes,
				logarithms + (int64_t) i * outcomes, outcomes);
}

/*
 * Some views [first, end) of a modality at plan step t, no more than
 * VIEWS_AT_ONCE: expected outcomes and their value, into the workspace.  All
 * moves of the step must have been evaluated.  What the model has switched off
 * is 0.
 */
static void
evaluate_views(KernelWorkspace *workspace, int32_t m, int32_t t, int32_t first,
			   int32_t end)
{
	const KernelModel *model = workspace->model;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views) + m;
	const ModalityTable *modality = &workspace->modalities[m];
	const int32_t		*from = KERNEL_AT(model, int32_t, views->moves) +
						  (int64_t) first * modality->parent_count;
	Vector *values =
		VECTORS(workspace->view_values[m]) + (int64_t) first * VIEW_PARTS;
	const Vector *expected = VECTORS(workspace->expected);
	const Vector *C =
		outcome_values(workspace, m) + (int64_t) t * modality->outcomes;
	Vector ambiguities[VIEWS_AT_ONCE];

	expect_views(workspace, modality,
				 t >= workspace->factors[modality->parents[0]].predicted, from,
				 end - first, ambiguities, values);
	for (int32_t i = 0; i < end - first; i++)
	{
		Vector *value = values + (int64_t) i * VIEW_PARTS;

		value[VIEW_INFO_GAIN] = splat(0.0) - ambiguities[i];
		value[VIEW_UTILITY] =
			model->use_utility ?
				dot(expected + (int64_t) i * modality->outcomes, C,
					modality->outcomes) :
				splat(0.0);
	}
	if (model->use_states_info_gain)
		add_entropies(workspace, modality, end - first, values);
	for (int32_t i = 0; i < end - first; i++)
	{
		Vector *value = values + (int64_t) i * VIEW_PARTS;

		if (!model->use_states_info_gain)
			value[VIEW_INFO_GAIN] = splat(0.0);
		value[VIEW_SUM] = (value[VIEW_UTILITY] + value[VIEW_INFO_GAIN]) +
						  value[VIEW_PARAM_GAIN];
	}
}

/*
 * The moves [move, end) of factor f.
 */
static void
evaluate_moves(KernelWorkspace *workspace, int32_t f, int32_t move, int32_t end,
			   Vector log_epsilon)
{
	const FactorTable *factor = &workspace->factors[f];
	int64_t			   cost = factor->parent_states * (factor->states + 1);

	while (move < end)
	{
		int32_t rounds = rounds_at_once(end - move, cost);

		for (int32_t i = 0; i < rounds; i++)
			evaluate_move(workspace, f, move + i, log_epsilon);
		move += rounds;
		worked(workspace, rounds * cost);
	}
}

/*
 * The views [view, end) of modality m, all of plan step t.
 */
static void
evaluate_all_views(KernelWorkspace *workspace, int32_t m, int32_t t,
				   int32_t view, int32_t end)
{
	const ModalityTable *modality = &workspace->modalities[m];
	int64_t cost = modality->parent_states * (modality->outcomes + 1) +
				   (int64_t) COST_OF_LOG * modality->outcomes;

	while (view < end)
	{
		int32_t left = end - view;
		int32_t count =
			rounds_at_once(left < VIEWS_AT_ONCE ? left : VIEWS_AT_ONCE, cost);

		evaluate_views(workspace, m, t, view, view + count);
		view += count;
		worked(workspace, count * cost);
	}
}

/*
 * The moves [move, end) of factor f, which pass, and all their views: a portion
 * of them after the other.
 */
static void
evaluate_passing(KernelWorkspace *workspace, int32_t f, int32_t t, int32_t move,
				 int32_t end, Vector log_epsilon)
{
	int32_t portion = workspace->factors[f].portion;

	for (; move < end; move += portion)
	{
		int32_t last = end - move < portion ? end : move + portion;

		evaluate_moves(workspace, f, move, last, log_epsilon);
		for (int32_t m = 0; m < workspace->model->modality_count; m++)
		{
			const ModalityTable *modality = &workspace->modalities[m];

			if (modality->numbers.starts == NULL && modality->parents[0] == f)
				evaluate_all_views(workspace, m, t, move, last);
		}
	}
}

/*
 * All moves and views of plan step t, moves first: views are made of them.
 * Steps must come in order, as moves follow from those one step earlier.
 */
static void
evaluate_plan_step(KernelWorkspace *workspace, int32_t t, Vector log_epsilon)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];
		const int32_t	  *starts = KERNEL_AT(model, int32_t, moves[f].starts);

		if (t >= factor->predicted)
			continue;
		if (starts[t] >= factor->passing)
			evaluate_passing(workspace, f, t, starts[t], starts[t + 1],
							 log_epsilon);
		else
			evaluate_moves(workspace, f, starts[t], starts[t + 1], log_epsilon);
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const int32_t *starts = KERNEL_AT(model, int32_t, views[m].starts);
		const ModalityTable *modality = &workspace->modalities[m];
		int32_t				 parent = modality->parents[0];

		/* if one of its parents passes, or is foreseen, there are no others */
		if (modality->numbers.starts == NULL &&
			(t >= workspace->factors[parent].predicted ||
			 KERNEL_AT(model, int32_t, moves[parent].starts)[t] <
				 workspace->factors[parent].passing))
			evaluate_all_views(workspace, m, t, starts[t], starts[t + 1]);
	}
}

/*
 * Does a move of the factor have a value of its own?
 */
ALWAYS_INLINE bool
moves_matter(const FactorTable *factor)
{
	return factor->gain != NULL || factor->I != NULL;
}

/*
 * sums [branch_count] += the value of each branch's move or view, the number
 * of which is of [branch_count]; values are [count][parts].
 */
static void
add_values(KernelWorkspace *workspace, const int32_t *of, const Vector *values,
		   int32_t parts, Vector *sums)
{
	int32_t count = workspace->model->branch_count;

	for (int32_t first = 0; first < count; first += SLICE)
	{
		int32_t end = count - first < SLICE ? count : first + SLICE;

		for (int32_t b = first; b < end; b++)
			sums[b] = sums[b] + values[(int64_t) of[b] * parts];
		worked(workspace, end - first);
	}
}

/*
 * workspace->branch_values [branch_count]: the value of each branch, its own
 * and that of all before it.  A parent branch stands before its children, so
 * one pass in order sums along the tree.
 */
static void
sum_branches(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	const int32_t	  *parent = KERNEL_AT(model, int32_t, model->branch_parent);
	Vector			  *sums = VECTORS(workspace->branch_values);

	for (int32_t b = 0; b < model->branch_count; b++)
		sums[b] = splat(0.0);
	for (int32_t m = 0; m < model->modality_count; m++)
		add_values(workspace, KERNEL_AT(model, int32_t, views[m].of_branch),
				   VECTORS(workspace->view_values[m]) + VIEW_SUM, VIEW_PARTS,
				   sums);
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		if (moves_matter(&workspace->factors[f]))
			add_values(workspace, KERNEL_AT(model, int32_t, moves[f].of_branch),
					   VECTORS(workspace->move_values[f]) + MOVE_SUM,
					   MOVE_PARTS, sums);
	}
	for (int32_t b = 0; b < model->branch_count; b++)
	{
		if (parent[b] >= 0)
			sums[b] = sums[b] + sums[parent[b]];
	}
}

/*
 * neg_efe of all branches, from workspace->belief at the plan's start (pymdp's
 * compute_neg_efe_policy; Da Costa et al.  2020, eq.  17-20).  log_epsilon is
 * what a unit of belief off the way to the goal costs.
 */
static void
evaluate_policies(KernelWorkspace *workspace, Vector log_epsilon)
{
	find_goals(workspace);
	for (int32_t t = 0; t < workspace->model->policy_length; t++)
		evaluate_plan_step(workspace, t, log_epsilon);
	for (int32_t m = 0; m < workspace->model->modality_count; m++)
	{
		if (workspace->modalities[m].numbers.starts != NULL)
			evaluate_shared(workspace, m);
	}
	sum_branches(workspace);
}

#endif /* FA_KERNEL_LANES_PLAN_H */
