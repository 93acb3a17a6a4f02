/*
 * world.c
 *		The process that answers actions with observations: A, B and D of a model,
 *		with one true state for each factor.
 */
#include "kernel.h"

/*
 * An index drawn from one column of a matrix.  The column's own sum is the whole,
 * because sums within 1e-5 of 1 are accepted as given.
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

/* The joint index of some factors' true states, the last factor the fastest. */
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

/* state [factor_count] drawn from D [belief_size], the world's own where NULL. */
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
		double below = 0.0;

		state[f] = 0;
		for (int32_t s = 0; s < factor->states; s++)
		{
			if (p[s] == 0.0)
				continue;
			state[f] = s;
			below += p[s];
			if (uniform < below)
				break;
		}
	}
}

/* next [factor_count] from state [factor_count], all factors at once. */
void
kernel_world_move(const KernelModel *world, uint64_t seed, uint64_t step,
				  const int32_t *action, const int32_t *state, int32_t *next)
{
	for (int32_t f = 0; f < world->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(world, f);
		const int32_t *controls = KERNEL_AT(world, int32_t, factor->controls);
		int64_t		   flat = 0;

		for (int32_t i = 0; i < factor->control_count; i++)
			flat = flat * kernel_control(world, controls[i])->actions +
				   action[controls[i]];
		next[f] = draw_row(
			world, &factor->B,
			flat * factor->parent_states + joint_state(world, factor->parents,
													   factor->parent_count,
													   state),
			kernel_uniform(seed, step, KERNEL_DRAW_WORLD_MOVE, (uint32_t) f));
	}
}

/* observation [modality_count] drawn from A at the true state. */
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
