/*
 * world.c
 *		The process that answers actions with observations: A, B and D of a
 *		model, with one true state for each factor.
 *
 * A world is a compiled model like an agent's, whose preferences and policies
 * are never looked at.  It need not be the agent's own: an agent may believe
 * what is not so.  States and outcomes are drawn with counted random numbers,
 * so a world has no memory besides its states, which the caller keeps.
 */
#include "step.h"

/*
 * A row drawn from one column of a matrix, by a uniform number in [0, 1).  The
 * column's own sum is the whole, because sums within 1e-5 of 1 are accepted as
 * given.  A row whose probability is 0 is never drawn, not even where rounding
 * leaves the sum a little short: then it is the last row that is possible.
 */
static int32_t
draw_row(const KernelModel *world, const KernelMatrix *matrix, int64_t column,
		 double uniform)
{
	const double  *values = KERNEL_AT(world, double, matrix->values);
	const int32_t *indices = NULL;
	int64_t		   first = column * matrix->rows;
	int64_t		   end = first + matrix->rows;
	double		   sum = 0.0;
	double		   below = 0.0;
	int64_t		   last = first;

	if (matrix->sparse)
	{
		const int64_t *starts = KERNEL_AT(world, int64_t, matrix->starts);

		indices = KERNEL_AT(world, int32_t, matrix->indices);
		first = last = starts[column];
		end = starts[column + 1];
	}
	for (int64_t k = first; k < end; k++)
		sum += values[k];
	for (int64_t k = first; k < end; k++)
	{
		if (values[k] == 0.0)
			continue;
		last = k;
		below += values[k];
		if (uniform * sum < below)
			break;
	}
	return indices ? indices[last] : (int32_t) (last - column * matrix->rows);
}

/*
 * The joint index of some factors' true states, the last factor the fastest:
 * the column of A, or of B within one action, that applies.  state is
 * [factor_count].
 */
static int64_t
joint_state(const KernelModel *world, KernelOffset parents,
			int32_t parent_count, const int32_t *state)
{
	const int32_t *parent = KERNEL_AT(world, int32_t, parents);
	int64_t		   joint = 0;

	for (int32_t i = 0; i < parent_count; i++)
		joint =
			joint * kernel_factor(world, parent[i])->states + state[parent[i]];
	return joint;
}

/*
 * Draws state [factor_count] from D [belief_size], the world's own where NULL,
 * one factor at a time, by the factor's own sum as in draw_row().  seed and
 * step say which draw it is: the same ones give the same state.
 */
void
kernel_world_start(const KernelModel *world, const double *D, uint64_t seed,
				   uint64_t step, int32_t *state)
{
	if (D == NULL)
		D = KERNEL_AT(world, double, world->D);
	for (int32_t f = 0; f < world->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(world, f);
		const double	   *p = D + factor->belief_offset;
		double				uniform =
			kernel_uniform(seed, step, KERNEL_DRAW_WORLD_START, (uint32_t) f);
		double sum = 0.0;
		double below = 0.0;

		state[f] = 0;
		for (int32_t s = 0; s < factor->states; s++)
			sum += p[s];
		for (int32_t s = 0; s < factor->states; s++)
		{
			if (p[s] == 0.0)
				continue;

			/* where rounding ends the loop, the last state that is possible */
			state[f] = s;
			below += p[s];
			if (uniform * sum < below)
				break;
		}
	}
}

/*
 * Draws next [factor_count] from state [factor_count] and action
 * [control_count], all factors at once: each from the old states of its
 * parents.  next may not be state.  Indices must be within range; nothing is
 * checked here.
 */
void
kernel_world_move(const KernelModel *world, uint64_t seed, uint64_t step,
				  const int32_t *action, const int32_t *state, int32_t *next)
{
	for (int32_t f = 0; f < world->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(world, f);
		int64_t				flat = flat_action(world, factor, action);
		next[f] = draw_row(
			world, &factor->B,
			flat * factor->parent_states + joint_state(world, factor->parents,
													   factor->parent_count,
													   state),
			kernel_uniform(seed, step, KERNEL_DRAW_WORLD_MOVE, (uint32_t) f));
	}
}

/*
 * Draws observation [modality_count] from A at the true state [factor_count].
 * A world never leaves an outcome missing.
 */
void
kernel_world_observe(const KernelModel *world, uint64_t seed, uint64_t step,
					 const int32_t *state, int32_t *observation)
{
	for (int32_t m = 0; m < world->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(world, m);

		observation[m] =
			draw_row(world, &modality->A,
					 joint_state(world, modality->parents,
								 modality->parent_count, state),
					 kernel_uniform(seed, step, KERNEL_DRAW_WORLD_OUTCOME,
									(uint32_t) m));
	}
}
