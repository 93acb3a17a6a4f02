/*
 * valid.c
 *		Is a block a compiled model, whole, and of this library's layout?
 *
 * It answers for every reference, not for every number: enough that a damaged
 * or foreign block is refused before anything is read through it.
 *
 * A block comes from a table, where an old version of the library or a failing
 * disk may have left anything.  Every read here stays within the size that the
 * caller vouches for, whatever the block says.
 */
#include <string.h>

#include "compile.h"

/*
 * Does an array of count items of size bytes lie within the block, behind its
 * head and aligned for its items?
 */
static bool
within(const KernelModel *model, KernelOffset offset, int64_t count,
	   size_t size)
{
	int64_t bytes;
	int64_t end;

	return count >= 0 && offset >= sizeof(KernelModel) && offset <= INT64_MAX &&
		   offset % 8 == 0 &&
		   !__builtin_mul_overflow(count, (int64_t) size, &bytes) &&
		   !__builtin_add_overflow((int64_t) offset, bytes, &end) &&
		   end <= model->size;
}

/*
 * Likewise, or absent.
 */
static bool
within_or_none(const KernelModel *model, KernelOffset offset, int64_t count,
			   size_t size)
{
	return offset == 0 || within(model, offset, count, size);
}

/*
 * A string must end within the block.
 */
static bool
string_valid(const KernelModel *model, KernelOffset offset)
{
	return offset >= sizeof(KernelModel) &&
		   offset < (KernelOffset) model->size &&
		   memchr(KERNEL_AT(model, char, offset), '\0',
				  (size_t) model->size - offset) != NULL;
}

/*
 * Labels: the array of offsets, and each string.  labels is 0 where there are
 * none.
 */
static bool
labels_valid(const KernelModel *model, KernelOffset labels, int64_t count)
{
	if (labels == 0)
		return true;
	if (!within(model, labels, count, sizeof(KernelOffset)))
		return false;
	for (int64_t i = 0; i < count; i++)
	{
		if (!string_valid(model, KERNEL_AT(model, KernelOffset, labels)[i]))
			return false;
	}
	return true;
}

/*
 * The arrays of a matrix.  The number of entries stands in the block itself,
 * at the end of starts.  Of rows and columns the caller knows what they must
 * be.
 */
static bool
matrix_valid(const KernelModel *model, const KernelMatrix *matrix, int64_t rows,
			 int64_t columns)
{
	int64_t entries;

	if (matrix->rows != rows || matrix->columns != columns || rows < 1 ||
		columns < 1 || __builtin_mul_overflow(rows, columns, &entries))
		return false;
	if (matrix->sparse)
	{
		if (!within(model, matrix->starts, columns + 1, sizeof(int64_t)))
			return false;
		entries = KERNEL_AT(model, int64_t, matrix->starts)[columns];
		if (!within(model, matrix->indices, entries, sizeof(int32_t)))
			return false;
	}
	return within(model, matrix->values, entries, sizeof(double));
}

/*
 * The arrays of a matrix by row, or none of them.
 */
static bool
rows_valid(const KernelModel *model, const KernelRows *rows, int64_t count)
{
	int64_t entries;

	if (rows->starts == 0)
		return true;
	if (count < 1 || !within(model, rows->starts, count + 1, sizeof(int64_t)))
		return false;
	entries = KERNEL_AT(model, int64_t, rows->starts)[count];
	return within(model, rows->columns, entries, sizeof(int32_t)) &&
		   within(model, rows->values, entries, sizeof(double)) &&
		   within_or_none(model, rows->rest, count, sizeof(double));
}

/*
 * A list of indices, each of them below a limit.
 */
static bool
indices_valid(const KernelModel *model, KernelOffset list, int32_t count,
			  int32_t limit)
{
	if (!within(model, list, count, sizeof(int32_t)))
		return false;
	for (int32_t i = 0; i < count; i++)
	{
		int32_t index = KERNEL_AT(model, int32_t, list)[i];

		if (index < 0 || index >= limit)
			return false;
	}
	return true;
}

/*
 * All of one modality.  Its counts are products of sizes from the block, which
 * may be anything.
 */
static bool
modality_valid(const KernelModel *model, const KernelModality *modality)
{
	int64_t states = modality->parent_states;
	int64_t count;

	return modality->outcomes > 0 && string_valid(model, modality->name) &&
		   labels_valid(model, modality->labels, modality->outcomes) &&
		   indices_valid(model, modality->parents, modality->parent_count,
						 model->factor_count) &&
		   matrix_valid(model, &modality->A, modality->outcomes, states) &&
		   matrix_valid(model, &modality->log_A, states, modality->outcomes) &&
		   rows_valid(model, &modality->rows, modality->outcomes) &&
		   (modality->rows.starts != 0 || !modality->A.sparse) &&
		   !__builtin_mul_overflow(states, (int64_t) modality->outcomes,
								   &count) &&
		   within(model, modality->ambiguity, states, sizeof(double)) &&
		   within(model, modality->C,
				  (int64_t) model->policy_length * modality->outcomes,
				  sizeof(double)) &&
		   within_or_none(model, modality->pA, count, sizeof(double)) &&
		   within_or_none(model, modality->gain_A, count, sizeof(double));
}

/*
 * All of one factor.  The products of its sizes are checked likewise.
 */
static bool
factor_valid(const KernelModel *model, const KernelFactor *factor)
{
	int64_t columns;
	int64_t rows;
	int64_t count;

	return factor->states > 0 && string_valid(model, factor->name) &&
		   labels_valid(model, factor->labels, factor->states) &&
		   indices_valid(model, factor->parents, factor->parent_count,
						 model->factor_count) &&
		   indices_valid(model, factor->controls, factor->control_count,
						 model->control_count) &&
		   !__builtin_mul_overflow(factor->actions, factor->parent_states,
								   &columns) &&
		   matrix_valid(model, &factor->B, factor->states, columns) &&
		   !__builtin_mul_overflow(factor->actions, (int64_t) factor->states,
								   &rows) &&
		   rows_valid(model, &factor->rows, rows) &&
		   (factor->rows.starts != 0 || !factor->B.sparse) &&
		   !__builtin_mul_overflow(columns, (int64_t) factor->states, &count) &&
		   within_or_none(model, factor->H, factor->states, sizeof(double)) &&
		   within_or_none(model, factor->I,
						  (int64_t) model->inductive_depth * factor->states,
						  sizeof(double)) &&
		   within_or_none(model, factor->pB, count, sizeof(double)) &&
		   within_or_none(model, factor->gain_B, count, sizeof(double));
}

/*
 * The moves of a factor with so many parents.
 */
static bool
moves_valid(const KernelModel *model, const KernelMoves *moves, int32_t parents)
{
	return within(model, moves->starts, (int64_t) model->policy_length + 1,
				  sizeof(int32_t)) &&
		   moves->predicted >= 0 && moves->predicted <= model->policy_length &&
		   within(model, moves->actions, moves->count, sizeof(int32_t)) &&
		   within(model, moves->parents, (int64_t) moves->count * parents,
				  sizeof(int32_t)) &&
		   indices_valid(model, moves->of_branch, model->branch_count,
						 moves->count);
}

/*
 * The numbers that the views of a modality with so many parents share.  How
 * many sums there are, and how many outcomes are listed, stands in the block
 * itself, at the end of the starts.
 */
static bool
numbers_valid(const KernelModel *model, const KernelNumbers *numbers,
			  int32_t parents, int32_t views)
{
	int64_t sums;
	int64_t listed;

	if (!within(model, numbers->starts, (int64_t) views + 1, sizeof(int32_t)) ||
		!within(model, numbers->sum_starts, (int64_t) parents + 1,
				sizeof(int32_t)))
		return false;
	sums = KERNEL_AT(model, int32_t, numbers->sum_starts)[parents];
	listed = KERNEL_AT(model, int32_t, numbers->starts)[views];
	return within(model, numbers->sums, 2 * sums, sizeof(int32_t)) &&
		   (parents == 1 || within(model, numbers->products,
								   (int64_t) numbers->product_count * parents,
								   sizeof(int32_t))) &&
		   within(model, numbers->terms, 2 * (int64_t) numbers->term_count,
				  sizeof(int32_t)) &&
		   within(model, numbers->weights, numbers->term_count,
				  sizeof(double)) &&
		   indices_valid(model, numbers->expected, numbers->expected_count,
						 numbers->term_count) &&
		   within(model, numbers->outcomes, listed, sizeof(int32_t)) &&
		   within(model, numbers->of_outcome, listed, sizeof(int32_t)) &&
		   indices_valid(model, numbers->ambiguity, views, numbers->term_count);
}

/*
 * Is there a way to make all views of a modality that share no numbers?  The
 * moves of its parents are predicted in all plan steps, or in all but the last,
 * and then it has tables for that.
 */
static bool
ahead_valid(const KernelModel *model, const KernelViews *views,
			const KernelModality *modality)
{
	const int32_t	   *parents = KERNEL_AT(model, int32_t, modality->parents);
	const KernelMoves  *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelFactor *factor = kernel_factor(model, parents[0]);
	int64_t				columns;

	if (views->numbers.starts != 0)
		return true;
	if (modality->parent_count == 1 &&
		moves[parents[0]].predicted == model->policy_length - 1)
		return !__builtin_mul_overflow(factor->actions,
									   (int64_t) factor->states, &columns) &&
			   within(model, views->ahead, columns,
					  (size_t) modality->outcomes * sizeof(double)) &&
			   within(model, views->ahead_ambiguity, columns, sizeof(double));
	for (int32_t i = 0; i < modality->parent_count; i++)
	{
		if (moves[parents[i]].predicted < model->policy_length)
			return false;
	}
	return true;
}

/*
 * The views of a modality with so many parents, likewise.
 */
static bool
views_valid(const KernelModel *model, const KernelViews *views,
			const KernelModality *modality)
{
	int32_t parents = modality->parent_count;
	return within(model, views->starts, (int64_t) model->policy_length + 1,
				  sizeof(int32_t)) &&
		   (views->numbers.starts != 0 ?
				numbers_valid(model, &views->numbers, parents, views->count) :
				within(model, views->moves, (int64_t) views->count * parents,
					   sizeof(int32_t))) &&
		   indices_valid(model, views->axes, parents, parents) &&
		   (!views->contracted ||
			within(model, views->table, modality->parent_states,
				   ((size_t) modality->outcomes + 1) * sizeof(double))) &&
		   indices_valid(model, views->of_branch, model->branch_count,
						 views->count) &&
		   ahead_valid(model, views, modality);
}

/*
 * All factors, modalities and controls.  The arrays of their structures have
 * been found to lie within the block.
 */
static bool
variables_valid(const KernelModel *model)
{
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		if (!factor_valid(model, factor) ||
			!moves_valid(model, KERNEL_AT(model, KernelMoves, model->moves) + f,
						 factor->parent_count))
			return false;
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		if (!modality_valid(model, modality) ||
			!views_valid(model, KERNEL_AT(model, KernelViews, model->views) + m,
						 modality))
			return false;
	}
	for (int32_t c = 0; c < model->control_count; c++)
	{
		const KernelControl *control = kernel_control(model, c);

		if (control->actions < 1 || !string_valid(model, control->name) ||
			!labels_valid(model, control->labels, control->actions))
			return false;
	}
	return true;
}

/*
 * Is this a block [size] of this library's layout, whole?  The head first:
 * nothing else may be read before magic, layout and size are right.  block
 * must be aligned to 8 bytes, or it is not valid.
 *
 * It takes time in proportion to labels and branches, not to matrices, so it
 * can be done each time a model is loaded.
 */
bool
kernel_model_valid(const void *block, size_t size)
{
	const KernelModel *model = block;
	int64_t			   steps;

	if (size < sizeof(KernelModel) || (uintptr_t) block % 8 != 0 ||
		model->magic != KERNEL_MAGIC || model->layout != KERNEL_LAYOUT ||
		model->size != (int64_t) size)
		return false;
	if (model->factor_count < 1 || model->modality_count < 1 ||
		model->control_count < 0 || model->policy_count < 1 ||
		model->policy_length < 1 || model->branch_count < 1)
		return false;
	steps = (int64_t) model->policy_length + 1;
	return within(model, model->factors, model->factor_count,
				  sizeof(KernelFactor)) &&
		   within(model, model->modalities, model->modality_count,
				  sizeof(KernelModality)) &&
		   within(model, model->controls, model->control_count,
				  sizeof(KernelControl)) &&
		   within(model, model->moves, model->factor_count,
				  sizeof(KernelMoves)) &&
		   within(model, model->views, model->modality_count,
				  sizeof(KernelViews)) &&
		   within(model, model->D, model->belief_size, sizeof(double)) &&
		   within(model, model->log_E, model->policy_count, sizeof(double)) &&
		   within(model, model->policies,
				  (int64_t) model->policy_count * model->policy_length,
				  (size_t) model->control_count * sizeof(int32_t)) &&
		   indices_valid(model, model->leaf_of_policy, model->policy_count,
						 model->branch_count) &&
		   within(model, model->branch_starts, steps, sizeof(int32_t)) &&
		   within(model, model->branch_parent, model->branch_count,
				  sizeof(int32_t)) &&
		   variables_valid(model);
}
