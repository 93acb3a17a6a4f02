/*
 * lanes_share.h
 *		Planning by the numbers that views share.
 *
 * share.c says what they are, KernelNumbers how they are kept.  All plan steps
 * are done at once: every number follows from the belief now.  What is added
 * up here is never negative and nothing is taken away, so small probabilities
 * stay what they are.
 */
#ifndef FA_KERNEL_LANES_SHARE_H
#define FA_KERNEL_LANES_SHARE_H

#include "lanes_infer.h"

/*
 * C [policy_length][O(m)] of the lanes for modality m.  That of one agent is
 * read where it is.
 */
ALWAYS_INLINE const Vector *
outcome_values(const KernelWorkspace *workspace, int32_t m)
{
	const KernelModality *modality = kernel_modality(workspace->model, m);
	int64_t				  start =
		(int64_t) modality->outcome_offset * workspace->model->policy_length;

#if LANES == 1
	if (workspace->C_of[0] == NULL)
		return KERNEL_AT(workspace->model, double, modality->C);
	return workspace->C_of[0] + start;
#else
	return VECTORS(workspace->C) + start;
#endif
}

/*
 * Items of an array, from first on, that may be done before they are counted.
 */
ALWAYS_INLINE int32_t
items_end(int32_t first, int32_t count)
{
	return count - first < SLICE ? count : first + SLICE;
}

/*
 * workspace->sums[i]: the belief in the states of the i-th parent, and the sums
 * of several states behind them.
 */
static void
add_up_states(KernelWorkspace *workspace, const ModalityTable *modality,
			  int32_t i)
{
	const Numbers *numbers = &modality->numbers;
	int32_t		   states = modality->sizes[i];
	int32_t		   count = numbers->sum_starts[i + 1] - numbers->sum_starts[i];
	const int32_t *sums = numbers->sums + 2 * (int64_t) numbers->sum_starts[i];
	Vector		  *x = VECTORS(workspace->sums[i]);

	memcpy(x,
		   VECTORS(workspace->belief) +
			   workspace->factors[modality->parents[i]].offset,
		   sizeof(Vector) * (size_t) states);
	for (int32_t first = 0; first < count;)
	{
		int32_t end = items_end(first, count);

		worked_on(workspace, end - first);
		for (; first < end; first++)
			x[states + first] = x[sums[2 * first]] + x[sums[2 * first + 1]];
	}
}

/*
 * The products of the parents' sums; those of one parent are its sums.
 */
static const Vector *
multiply_sums(KernelWorkspace *workspace, const ModalityTable *modality)
{
	const Numbers *numbers = &modality->numbers;
	int32_t		   parents = modality->parent_count;
	const int32_t *of = numbers->products;
	Vector		  *products = VECTORS(workspace->products);

	if (parents == 1)
		return VECTORS(workspace->sums[0]);
	for (int32_t first = 0; first < numbers->product_count;)
	{
		int32_t end = items_end(first, numbers->product_count);

		worked_on(workspace, (end - first) * (int64_t) parents);
		for (; first < end; first++, of += parents)
		{
			Vector product = VECTORS(workspace->sums[0])[of[0]];

			for (int32_t i = 1; i < parents; i++)
				product = product * VECTORS(workspace->sums[i])[of[i]];
			products[first] = product;
		}
	}
	return products;
}

/*
 * workspace->terms: weighted products added up.
 */
static void
add_up_terms(KernelWorkspace *workspace, const ModalityTable *modality,
			 const Vector *products)
{
	const Numbers *numbers = &modality->numbers;
	const int32_t *of = numbers->terms;
	Vector		  *terms = VECTORS(workspace->terms);

	terms[0] = splat(0.0);
	for (int32_t first = 1; first < numbers->term_count;)
	{
		int32_t end = items_end(first, numbers->term_count);

		worked_on(workspace, end - first);
		for (; first < end; first++)
			terms[first] = multiply_add(products[of[2 * first + 1]],
										splat(numbers->weights[first]),
										terms[of[2 * first]]);
	}
}

/*
 * The distinct expected probabilities, side by side, and p L(p) of each.
 */
static void
find_entropies(KernelWorkspace *workspace, const Numbers *numbers)
{
	const Vector *terms = VECTORS(workspace->terms);
	Vector		 *expected = VECTORS(workspace->expected);
	Vector		 *entropies = VECTORS(workspace->logarithms);

	for (int32_t k = 0; k < numbers->expected_count; k++)
		expected[k] = terms[numbers->expected[k]];
	worked(workspace, numbers->expected_count);
	if (!workspace->model->use_states_info_gain)
		return;
	log_array(workspace, workspace->expected,
			  (int64_t) numbers->expected_count * LANES, workspace->logarithms);
	for (int32_t k = 0; k < numbers->expected_count; k++)
		entropies[k] = entropies[k] * expected[k];
	worked(workspace, numbers->expected_count);
}

/*
 * The sum of x[indices[i]], i < count.
 */
ALWAYS_INLINE Vector
total_of(const Vector *x, const int32_t *indices, int64_t count)
{
#define TERM(i, sum) ((sum) + x[indices[i]])
	SUM_OF_EACH_TERM(TERM, count);
#undef TERM
}

/*
 * The sum of x[indices[i]] * y[others[i]], i < count.
 */
ALWAYS_INLINE Vector
dot_of(const Vector *x, const int32_t *indices, const Vector *y,
	   const int32_t *others, int64_t count)
{
#define TERM(i, sum) multiply_add(x[indices[i]], y[others[i]], sum)
	SUM_OF_EACH_TERM(TERM, count);
#undef TERM
}

/*
 * What a view is worth, from its list of expected probabilities; C is [O(m)].
 */
ALWAYS_INLINE void
value_view(KernelWorkspace *workspace, const Numbers *numbers, int32_t view,
		   const Vector *C, Vector *value)
{
	const KernelModel *model = workspace->model;
	int32_t			   first = numbers->starts[view];
	int32_t			   count = numbers->starts[view + 1] - first;
	const int32_t	  *of = numbers->of_outcome + first;

	value[VIEW_PARAM_GAIN] = splat(0.0);
	value[VIEW_UTILITY] = splat(0.0);
	value[VIEW_INFO_GAIN] = splat(0.0);
	if (model->use_utility)
		value[VIEW_UTILITY] = dot_of(VECTORS(workspace->expected), of, C,
									 numbers->outcomes + first, count);
	if (model->use_states_info_gain)
		value[VIEW_INFO_GAIN] =
			splat(0.0) - VECTORS(workspace->terms)[numbers->ambiguity[view]] -
			total_of(VECTORS(workspace->logarithms), of, count);
	value[VIEW_SUM] = value[VIEW_UTILITY] + value[VIEW_INFO_GAIN];
}

/*
 * All views of a modality that shares numbers.
 */
static void
evaluate_shared(KernelWorkspace *workspace, int32_t m)
{
	const KernelModel	*model = workspace->model;
	const ModalityTable *modality = &workspace->modalities[m];
	const Numbers		*numbers = &modality->numbers;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views) + m;
	const int32_t	  *starts = KERNEL_AT(model, int32_t, views->starts);
	const Vector	  *C = outcome_values(workspace, m);
	Vector			  *values = VECTORS(workspace->view_values[m]);

	for (int32_t i = 0; i < modality->parent_count; i++)
		add_up_states(workspace, modality, i);
	add_up_terms(workspace, modality, multiply_sums(workspace, modality));
	find_entropies(workspace, numbers);
	for (int32_t t = 0; t < model->policy_length; t++, C += modality->outcomes)
	{
		for (int32_t v = starts[t]; v < starts[t + 1];)
		{
			int32_t end =
				v + rounds_at_once(starts[t + 1] - v, 2 * modality->outcomes);

			worked(workspace, (int64_t) 2 * (end - v) * modality->outcomes);
			for (; v < end; v++)
				value_view(workspace, numbers, v, C,
						   values + (int64_t) v * VIEW_PARTS);
		}
	}
}

#endif /* FA_KERNEL_LANES_SHARE_H */
