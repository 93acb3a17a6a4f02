/*
 * fuse.c
 *		Beliefs of several agents about one factor, pooled by a rule.
 *
 * Formulas: README.md, section "Pooling".  Everything is done in logarithms
 * and normalised at the end by the largest, so that neither many members nor
 * small probabilities leave the range of a double.
 */
#include "kernel.h"

#include <float.h>
#include <math.h>

/* Logarithms between two polls: some milliseconds. */
#define WORK_PER_POLL 1000000

/*
 * ln q, where a state that is ruled out costs 708 nats: enough to rule it out
 * for all, and finite, so that states which all are ruled out by somebody can
 * still be told apart.
 */
static double
log_belief(double q)
{
	return log(q > DBL_MIN ? q : DBL_MIN);
}

/*
 * The logarithm of what a state is worth to all experts [count], before it is
 * normalised; share is 1 / (sum of weights).
 *
 * In a product an expert's weight is on its evidence, q / reference, which is
 * taken with the logarithm that inference took of the prior; what is not fresh
 * is pooled with weights that sum to 1.  Without a reference nothing is fresh,
 * and that is the logarithmic pool.
 */
static double
log_pool(KernelRule rule, const KernelExpert *experts, int32_t count,
		 int32_t state, double share)
{
	double sum = 0.0;

	for (int32_t i = 0; i < count; i++)
	{
		const KernelExpert *expert = &experts[i];
		double				belief = log_belief(expert->belief[state]);
		double				known = belief;

		if (rule == KERNEL_PRODUCT && expert->reference != NULL)
			known = kernel_log(expert->reference[state]);
		sum += expert->weight * (share * known + (belief - known));
	}
	return sum;
}

/*
 * pooled [states] = exp of itself, normalised; returns the logarithm of the
 * sum.
 */
static double
normalize_logs(double *pooled, int32_t states)
{
	double largest = pooled[0];
	double total;

	for (int32_t s = 1; s < states; s++)
		largest = fmax(largest, pooled[s]);
	total = pooled[0] = exp(pooled[0] - largest);
	for (int32_t s = 1; s < states; s++)
		total += pooled[s] = exp(pooled[s] - largest);
	for (int32_t s = 0; s < states; s++)
		pooled[s] /= total;
	return largest + log(total);
}

/*
 * pooled [states] = the mean of the beliefs, by weight.
 */
static void
mix(const KernelHost *host, const KernelExpert *experts, int32_t count,
	int32_t states, double share, double *pooled)
{
	for (int32_t s = 0; s < states; s++)
		pooled[s] = 0.0;
	for (int32_t i = 0; i < count; i++)
	{
		double weight = experts[i].weight * share;

		if (host->poll != NULL)
			host->poll(host->context);
		for (int32_t s = 0; s < states; s++)
			pooled[s] += weight * experts[i].belief[s];
	}
}

/*
 * See kernel.h.
 */
double
kernel_fuse(const KernelHost *host, KernelRule rule,
			const KernelExpert *experts, int32_t count, int32_t states,
			double *pooled)
{
	double	weights = 0.0;
	int64_t work = 0;

	for (int32_t i = 0; i < count; i++)
		weights += experts[i].weight;
	if (rule == KERNEL_LINEAR)
	{
		mix(host, experts, count, states, 1.0 / weights, pooled);
		return 0.0;
	}
	for (int32_t s = 0; s < states; s++)
	{
		work += count;
		if (work > WORK_PER_POLL && host->poll != NULL)
		{
			host->poll(host->context);
			work = 0;
		}
		pooled[s] = log_pool(rule, experts, count, s, 1.0 / weights);
	}
	return normalize_logs(pooled, states);
}

/*
 * Is this column of B the state itself?
 */
static bool
keeps_state(const KernelModel *model, const KernelMatrix *B, int64_t column,
			int32_t state)
{
	const double  *values = KERNEL_AT(model, double, B->values);
	const int64_t *starts;
	const int32_t *indices;

	if (!B->sparse)
		return values[column * B->rows + state] == 1.0;
	starts = KERNEL_AT(model, int64_t, B->starts);
	indices = KERNEL_AT(model, int32_t, B->indices);
	for (int64_t k = starts[column]; k < starts[column + 1]; k++)
	{
		if (indices[k] == state)
			return values[k] == 1.0;
	}
	return false;
}

/*
 * See kernel.h.
 */
bool
kernel_factor_stays(const KernelHost *host, const KernelModel *model, int32_t f)
{
	const KernelFactor *factor = kernel_factor(model, f);

	if (factor->learned || factor->parent_count != 1 ||
		KERNEL_AT(model, int32_t, factor->parents)[0] != f)
		return false;
	for (int64_t column = 0; column < factor->B.columns; column++)
	{
		if (column % WORK_PER_POLL == 0 && host->poll != NULL)
			host->poll(host->context);
		if (!keeps_state(model, &factor->B, column,
						 (int32_t) (column % factor->states)))
			return false;
	}
	return true;
}
