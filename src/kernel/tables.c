/*
 * tables.c
 *		The tables that a step reads, as pointers: the model's own, where the
 *		agent has not learned others (learn.c).
 */
#include "step.h"

#include <string.h>

/* ---------- what is said once ---------- */

/*
 * Do two modalities depend on the same factors, in the same order?
 */
static bool
same_parents(const KernelModel *model, int32_t one, int32_t other)
{
	const KernelModality *a = kernel_modality(model, one);
	const KernelModality *b = kernel_modality(model, other);

	return a->parent_count == b->parent_count &&
		   memcmp(KERNEL_AT(model, int32_t, a->parents),
				  KERNEL_AT(model, int32_t, b->parents),
				  sizeof(int32_t) * (size_t) a->parent_count) == 0;
}

/*
 * The numbers that views share, as pointers.
 */
static Numbers
numbers_of(const KernelModel *model, const KernelNumbers *numbers)
{
	Numbers out = {.product_count = numbers->product_count,
				   .term_count = numbers->term_count,
				   .expected_count = numbers->expected_count};

	if (numbers->starts == 0)
		return out;
	out.sum_starts = KERNEL_AT(model, int32_t, numbers->sum_starts);
	out.sums = KERNEL_AT(model, int32_t, numbers->sums);
	out.products = KERNEL_AT(model, int32_t, numbers->products);
	out.terms = KERNEL_AT(model, int32_t, numbers->terms);
	out.weights = KERNEL_AT(model, double, numbers->weights);
	out.expected = KERNEL_AT(model, int32_t, numbers->expected);
	out.starts = KERNEL_AT(model, int32_t, numbers->starts);
	out.outcomes = KERNEL_AT(model, int32_t, numbers->outcomes);
	out.of_outcome = KERNEL_AT(model, int32_t, numbers->of_outcome);
	out.ambiguity = KERNEL_AT(model, int32_t, numbers->ambiguity);
	return out;
}

/* Doubles of the beliefs of a portion, more than that only for four of them. */
#define PORTION_DOUBLES 4096

/*
 * The first move of factor f that passes: its belief is kept until its views
 * have been valued.  Those are the moves of the last plan step, from which no
 * other follows, where there is no view that needs more than one of them.  They
 * are made in portions, if there are more than one portion, for many beliefs of
 * many states are more than a cache holds, and memory that each process has of
 * its own.  The number of moves where none passes; of those that are predicted,
 * where the last ones are not.
 *
 * Views of one parent are numbered as its moves are.
 */
int32_t
passing_moves(const KernelModel *model, int32_t f, int32_t *portion)
{
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves) + f;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	int32_t			   first =
		KERNEL_AT(model, int32_t, moves->starts)[model->policy_length - 1];

	*portion = 0;
	if (moves->predicted < model->policy_length)
		return KERNEL_AT(model, int32_t, moves->starts)[moves->predicted];
	*portion = PORTION_DOUBLES / kernel_factor(model, f)->states;
	*portion = *portion < 4 ? 4 : *portion;
	if (moves->count - first <= *portion)
		return moves->count;
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		const int32_t *parents = KERNEL_AT(model, int32_t, modality->parents);

		if (views[m].numbers.starts != 0 || modality->parent_count == 1)
			continue;
		for (int32_t i = 0; i < modality->parent_count; i++)
		{
			if (parents[i] == f)
				return moves->count;
		}
	}
	return first;
}

/*
 * What tables know besides numbers, once and for all: sizes of the parents,
 * the order in which they are summed away, and whose evidence can be added up.
 */
void
set_shapes(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	int32_t			  *shapes = workspace->shapes;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		const int32_t *parents = KERNEL_AT(model, int32_t, modality->parents);
		ModalityTable *table = &workspace->modalities[m];

		table->sizes = shapes;
		for (int32_t i = 0; i < modality->parent_count; i++)
			*shapes++ = kernel_factor(model, parents[i])->states;
		table->axes = KERNEL_AT(model, int32_t, views[m].axes);
		table->numbers = numbers_of(model, &views[m].numbers);
		table->contracted = views[m].contracted;
		table->twin = 0;
		while (!same_parents(model, table->twin, m))
			table->twin++;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		const int32_t *parents = KERNEL_AT(model, int32_t, factor->parents);

		workspace->factors[f].predicted = moves[f].predicted;
		workspace->factors[f].passing =
			passing_moves(model, f, &workspace->factors[f].portion);
		workspace->factors[f].sizes = shapes;
		for (int32_t i = 0; i < factor->parent_count; i++)
			*shapes++ = kernel_factor(model, parents[i])->states;
	}
}

/* ---------- what a call is given ---------- */

/* A pointer, or NULL for the offset 0. */
static const double *
optional(const KernelModel *model, KernelOffset offset)
{
	return offset == 0 ? NULL : KERNEL_AT(model, double, offset);
}

/*
 * A matrix of the model as pointers, which are good as long as the model is.
 */
static Columns
resolve(const KernelModel *model, const KernelMatrix *matrix)
{
	Columns columns = {KERNEL_AT(model, double, matrix->values), NULL, NULL,
					   matrix->rows};

	if (matrix->sparse)
	{
		columns.starts = KERNEL_AT(model, int64_t, matrix->starts);
		columns.indices = KERNEL_AT(model, int32_t, matrix->indices);
	}
	return columns;
}

/*
 * A matrix for predictions, likewise, its groups so many columns wide.
 */
static Mixture
mixture(const KernelModel *model, const KernelMatrix *matrix,
		const KernelRows *rows, int64_t width)
{
	Mixture result = {.dense = KERNEL_AT(model, double, matrix->values),
					  .rows = matrix->rows,
					  .width = width};

	if (rows->starts != 0)
	{
		result.starts = KERNEL_AT(model, int64_t, rows->starts);
		result.columns = KERNEL_AT(model, int32_t, rows->columns);
		result.values = KERNEL_AT(model, double, rows->values);
		result.rest = optional(model, rows->rest);
	}
	return result;
}

/*
 * Points the workspace at the model's own tables.
 */
void
use_model(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		ModalityTable		 *table = &workspace->modalities[m];

		table->A = mixture(model, &modality->A, &modality->rows,
						   modality->parent_states);
		table->log_A = resolve(model, &modality->log_A);
		table->ambiguity = KERNEL_AT(model, double, modality->ambiguity);
		table->table = optional(model, views[m].table);
		table->ahead = optional(model, views[m].ahead);
		table->ahead_ambiguity = optional(model, views[m].ahead_ambiguity);
		table->gain = optional(model, modality->gain_A);
		table->parents = KERNEL_AT(model, int32_t, modality->parents);
		table->parent_count = modality->parent_count;
		table->outcomes = modality->outcomes;
		table->parent_states = modality->parent_states;
		table->offset = modality->outcome_offset;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		FactorTable		   *table = &workspace->factors[f];

		table->B =
			mixture(model, &factor->B, &factor->rows, factor->parent_states);
		table->gain = optional(model, factor->gain_B);
		table->I = model->use_inductive ? optional(model, factor->I) : NULL;
		table->parents = KERNEL_AT(model, int32_t, factor->parents);
		table->parent_count = factor->parent_count;
		table->states = factor->states;
		table->offset = factor->belief_offset;
		table->parent_states = factor->parent_states;
	}
}
