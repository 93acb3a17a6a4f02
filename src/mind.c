/*-------------------------------------------------------------------------
 *
 * mind.c
 *	  When an agent changes its mind.
 *
 * Whoever tells others of it (the graph, events) asks here, so that all of
 * them mean the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fa_agents.h"

#include <math.h>

/*
 * Probabilities that differ by less are equal: beliefs that were kept as real
 * have lost that much, and of two states that are equally probable now the
 * one, now the other may be ahead by a rounding.
 */
#define TOLERANCE 1e-6

/* The most probable of states [count]; of equals the first. */
int32
mind_most_probable(const double *belief, int32 count)
{
	int32 best = 0;

	for (int32 s = 1; s < count; s++)
	{
		if (belief[s] > belief[best])
			best = s;
	}
	return best;
}

/*
 * Is another of a factor's states [count] the most probable one now?  Not as
 * long as what was so before is as probable as any.
 */
bool
mind_turned(const double *before, const double *now, int32 count)
{
	return now[mind_most_probable(now, count)] >
		   now[mind_most_probable(before, count)] + TOLERANCE;
}

/*
 * Has the mind changed from one belief to another, [belief_size] each?  It
 * has, if in a factor what was most probable is no longer so, or if any
 * probability differs by more than change, from 0 to 1.
 */
bool
mind_changed(const KernelModel *model, const double *before, const double *now,
			 double change)
{
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		int32				offset = factor->belief_offset;

		if (mind_turned(before + offset, now + offset, factor->states))
			return true;
	}
	for (int32 i = 0; i < model->belief_size; i++)
	{
		if (fabs(now[i] - before[i]) > change + TOLERANCE)
			return true;
	}
	return false;
}
