/*
 * lanes_infer.h
 *		State inference: the next prior, and the iteration to a posterior.
 *
 * Formulas: README.md, section "Perceiving"; they are pymdp's
 * update_empirical_prior, run_factorized_fpi and calc_vfe.
 *
 * Beliefs are [belief_size]: one marginal after another, each at its factor's
 * offset.  The posterior is a product of marginals (mean field), q(s) = prod_f
 * q_f(s_f), chosen to make the free energy small; with one factor it is exact.
 */
#ifndef FA_KERNEL_LANES_INFER_H
#define FA_KERNEL_LANES_INFER_H

#include "lanes_math.h"

/*
 * The marginals of some parents in one belief [belief_size], for joint_of().
 */
ALWAYS_INLINE const Vector *const *
marginals_of(KernelWorkspace *workspace, const int32_t *parents, int32_t count,
			 const Vector *belief)
{
	const Vector **marginals = (const Vector **) workspace->parent_beliefs;

	for (int32_t i = 0; i < count; i++)
		marginals[i] = belief + workspace->factors[parents[i]].offset;
	return marginals;
}

#if LANES == 1
/*
 * prior [belief_size] = the belief [belief_size] pushed through the action did
 * [control_count] that was done; pymdp's update_empirical_prior (Da Costa et
 * al.  2020, eq.  7).  With several parents it is the product of their
 * marginals that is pushed, not a joint belief.  prior and belief may not
 * overlap, as factors read each other's old beliefs.
 *
 * Agents do different things, so this is done for each of them alone.
 */
static void
next_prior(KernelWorkspace *workspace, const double *belief, const int32_t *did,
		   double *prior)
{
	const KernelModel *model = workspace->model;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];
		int64_t		  action = flat_action(model, kernel_factor(model, f), did);
		const double *joint =
			joint_of(marginals_of(workspace, factor->parents,
								  factor->parent_count, belief),
					 factor->sizes, factor->parent_count, workspace->joint);

		mix_columns(&factor->B, action, joint, prior + factor->offset);
		worked_on(workspace, factor->parent_states * factor->states);
	}
}
#endif

/*
 * What the outcomes of one modality say: out [P(m)] = L(A) of each lane's
 * outcome, 0 where it is missing (-1).  L(A) is kept by outcome; a sparse one
 * holds L(0) where no entry stands.
 */
static void
spread_evidence(KernelWorkspace *workspace, int32_t m,
				KernelAgent *const *agents, Vector *out)
{
	const ModalityTable *modality = &workspace->modalities[m];
	const Columns		*log_A = &modality->log_A;
	double				*numbers = NUMBERS(out);
	double				 rest[LANES];
	const double		*rows[LANES];
	bool				 by_row =
		log_A->starts == NULL && (LANES > 1 || agents[0]->observation[m] >= 0);

	/* of several agents some may miss what others have: they have zeros */
	for (int32_t l = 0; l < LANES; l++)
	{
		int32_t outcome = agents[l]->observation[m];

		rest[l] = outcome < 0 ? 0.0 : LOG_OF_FLOOR;
		rows[l] = outcome < 0 || log_A->starts != NULL ?
					  workspace->zeros :
					  log_A->values + outcome * modality->parent_states;
	}
	if (by_row)
	{
		for (int64_t p = 0; p < modality->parent_states; p++)
		{
			for (int32_t l = 0; l < LANES; l++)
				numbers[p * LANES + l] = rows[l][p];
		}
		return;
	}
	for (int64_t p = 0; p < modality->parent_states; p++)
		memcpy(numbers + p * LANES, rest, sizeof(rest));
	for (int32_t l = 0; l < LANES; l++)
	{
		int32_t outcome = agents[l]->observation[m];

		if (outcome < 0)
			continue;
		for (int64_t k = log_A->starts[outcome]; k < log_A->starts[outcome + 1];
			 k++)
			numbers[log_A->indices[k] * (int64_t) LANES + l] = log_A->values[k];
	}
}

/*
 * The evidence of all modalities, those with the same parents added up to one
 * table: the iterations then take one instead of several.
 */
static void
collect_evidence(KernelWorkspace *workspace, KernelAgent *const *agents)
{
	const KernelModel *model = workspace->model;
	int64_t			   work = 0;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const ModalityTable *modality = &workspace->modalities[m];
		Vector *table = VECTORS(workspace->evidence[modality->twin]);
		Vector *spread = VECTORS(workspace->spread_evidence);

		work = pending(workspace, work + modality->parent_states * LANES);
		if (modality->twin == m)
		{
			spread_evidence(workspace, m, agents, table);
			continue;
		}
		spread_evidence(workspace, m, agents, spread);
		for (int64_t p = 0; p < modality->parent_states; p++)
			table[p] = table[p] + spread[p];
	}
}

/*
 * out [count] = in [count][states], weighted by q [states]; count is a
 * constant.
 */
ALWAYS_INLINE void
contract_rows(const Vector *restrict in, const Vector *q, int32_t states,
			  Vector *restrict out, const int32_t count)
{
	Vector sum[4];

	for (int32_t i = 0; i < count; i++)
		sum[i] = splat(0.0);
	for (int32_t s = 0; s < states; s++)
	{
		for (int32_t i = 0; i < count; i++)
			sum[i] = multiply_add(in[i * states + s], q[s], sum[i]);
	}
	for (int32_t i = 0; i < count; i++)
		out[i] = sum[i];
}

/*
 * Sums the last axis away: out [size / states] from in [size], weighted by q
 * [states].  Taking one axis after the other, no product of several beliefs is
 * ever needed, and each sum makes what is left for the next one smaller.
 */
static void
contract_last(const Vector *restrict in, int64_t size, const Vector *q,
			  int32_t states, Vector *restrict out)
{
	int64_t count = size / states;
	int64_t i = 0;

	/* four at once, that one addition need not wait for the one before it */
	for (; i + 4 <= count; i += 4)
		contract_rows(in + i * states, q, states, out + i, 4);
	for (; i < count; i++)
		contract_rows(in + i * states, q, states, out + i, 1);
}

/*
 * What the evidence of modality m (and its twins) says once the last axes are
 * summed away under belief [belief_size]: workspace->suffix[i] keeps the axes
 * before i, down to first.
 */
static void
contract_suffixes(KernelWorkspace *workspace, int32_t m, const Vector *belief,
				  int32_t first)
{
	const ModalityTable *modality = &workspace->modalities[m];
	const Vector		*in = VECTORS(workspace->evidence[m]);
	int64_t				 size = modality->parent_states;

	for (int32_t i = modality->parent_count - 1; i >= first; i--)
	{
		int32_t states = modality->sizes[i];
		Vector *out = VECTORS(workspace->suffix[i]);

		contract_last(in, size,
					  belief + workspace->factors[modality->parents[i]].offset,
					  states, out);
		size /= states;
		in = out;
	}
}

/*
 * The expected evidence over the states of the target-th parent: all others
 * summed away under their beliefs, those behind it by contract_suffixes()
 * before.  Returns [S of the target], good until the next call.
 */
static const Vector *
message_to(KernelWorkspace *workspace, int32_t m, int32_t target,
		   const Vector *belief)
{
	const ModalityTable *modality = &workspace->modalities[m];
	const Vector		*in = VECTORS(target + 1 < modality->parent_count ?
										  workspace->suffix[target + 1] :
										  workspace->evidence[m]);
	int64_t				 rest = 1;

	for (int32_t i = 0; i <= target; i++)
		rest *= modality->sizes[i];

	/* the two buffers take turns, as a contraction cannot be made in place */
	for (int32_t i = 0; i < target; i++)
	{
		Vector *out = VECTORS(workspace->contraction[i % 2]);

		rest /= modality->sizes[i];
		combine_own(in, rest, modality->sizes[i], rest,
					belief + workspace->factors[modality->parents[i]].offset,
					out);
		in = out;
	}
	return in;
}

/*
 * Adds to sums [belief_size] what modality m (and its twins) says about each
 * of its parents.
 */
static void
add_messages(KernelWorkspace *workspace, int32_t m, const Vector *belief,
			 Vector *sums)
{
	const ModalityTable *modality = &workspace->modalities[m];

	if (modality->parent_count > 1)
		contract_suffixes(workspace, m, belief, 1);
	for (int32_t i = 0; i < modality->parent_count; i++)
	{
		const Vector *message = message_to(workspace, m, i, belief);
		Vector *sum = sums + workspace->factors[modality->parents[i]].offset;

		worked_on(workspace, 2 * modality->parent_states);
		for (int32_t s = 0; s < modality->sizes[i]; s++)
			sum[s] = sum[s] + message[s];
	}
}

/*
 * Does any evidence table have more than one parent?  Without one the factors
 * do not bear on each other, and the first iteration is the last.
 */
static bool
is_coupled(const KernelWorkspace *workspace)
{
	for (int32_t m = 0; m < workspace->model->modality_count; m++)
	{
		if (workspace->modalities[m].parent_count > 1)
			return true;
	}
	return false;
}

/*
 * belief [belief_size] = the softmax of update [belief_size], for each factor.
 * The exponentials of all factors are taken together.
 */
static void
normalize_factors(KernelWorkspace *workspace, const Vector *update,
				  Vector *belief)
{
	const KernelModel *model = workspace->model;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];

		subtract_largest(update + factor->offset, factor->states,
						 belief + factor->offset);
	}
	worked_on(workspace, model->belief_size);
	exp_array(workspace, NUMBERS(belief), (int64_t) model->belief_size * LANES);
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];

		divide_by_total(belief + factor->offset, factor->states);
	}
}

/*
 * Fixed-point iteration (pymdp's run_factorized_fpi): workspace->belief from
 * workspace->constant, the prior and what is known of single factors.  All
 * factors are updated at once from the old beliefs (Jacobi), from uniform ones
 * at first, a fixed number of times: a test of convergence with a threshold
 * would make the result depend on its last digits.
 *
 * Where an update is the same as the last one, to the bit, all later ones are
 * too, and need not be made.
 */
static void
iterate_beliefs(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	size_t			   bytes = sizeof(Vector) * (size_t) model->belief_size;
	Vector			  *belief = VECTORS(workspace->belief);
	double			  *update = workspace->update;
	double			  *last = workspace->last_update;
	int64_t			   work = 0;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];

		for (int32_t s = 0; s < factor->states; s++)
			belief[factor->offset + s] = splat(1.0 / factor->states);
	}
	for (int32_t i = 0; i < model->iterations; i++)
	{
		double *swap = last;

		memcpy(update, workspace->constant, bytes);
		for (int32_t m = 0; m < model->modality_count; m++)
		{
			const ModalityTable *modality = &workspace->modalities[m];

			if (modality->twin != m || modality->parent_count == 1)
				continue;
			add_messages(workspace, m, belief, VECTORS(update));
			work = pending(workspace, work + 2 * modality->parent_count *
												 modality->parent_states);
		}
		work = pending(workspace,
					   work + (int64_t) COST_OF_LOG * model->belief_size);
		if (i > 0 && memcmp(update, last, bytes) == 0)
			break;
		normalize_factors(workspace, VECTORS(update), belief);
		last = update;
		update = swap;
	}
	worked(workspace, work);
}

/*
 * The variational free energy in nats, pymdp's calc_vfe (Da Costa et al.
 * 2020, eq.  11):
 *
 * 	F = sum_f sum_s q [L(q) - L(prior)] - sum_m E_q[evidence]
 *
 * The expectation over joint states is that under the product of the
 * marginals.
 */
static Vector
free_energy(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const Vector	  *belief = VECTORS(workspace->belief);
	const Vector	  *log_prior = VECTORS(workspace->log_prior);
	Vector			  *difference = VECTORS(workspace->update);
	Vector			   energy;
	int64_t			   work = 0;

	log_array(workspace, NUMBERS(belief), (int64_t) model->belief_size * LANES,
			  NUMBERS(difference));
	for (int32_t i = 0; i < model->belief_size; i++)
		difference[i] = difference[i] - log_prior[i];
	energy = dot(belief, difference, model->belief_size);
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const ModalityTable *modality = &workspace->modalities[m];
		const Vector		*evidence;

		if (modality->twin != m)
			continue;
		evidence = VECTORS(workspace->evidence[m]);
		work = pending(workspace, work + 2 * modality->parent_states);
		if (modality->parent_count > 1)
		{
			contract_suffixes(workspace, m, belief, 1);
			evidence = VECTORS(workspace->suffix[1]);
		}
		energy = energy -
				 dot(evidence,
					 belief + workspace->factors[modality->parents[0]].offset,
					 modality->sizes[0]);
	}
	return energy;
}

/*
 * Perception: workspace->belief, the posterior, from the lanes' priors
 * [belief_size] and the agents' observations [modality_count] (-1: missing).
 * Returns the free energy, which is not finite where numbers of the spec
 * overflow or the prior is not finite; the caller has to look.  NaN in a prior
 * has to be looked for before the logarithm, which takes it for an
 * impossible state.
 */
static Vector
infer_states(KernelWorkspace *workspace, KernelAgent *const *agents,
			 const double *const *priors)
{
	const KernelModel *model = workspace->model;
	double			  *log_prior = workspace->log_prior;
	Vector			  *constant = VECTORS(workspace->constant);
	Vector			   finite; /* 0, or NaN */

	for (int32_t i = 0; i < model->belief_size; i++)
	{
		for (int32_t l = 0; l < LANES; l++)
			log_prior[i * LANES + l] = priors[l][i];
	}
	worked(workspace, (int64_t) model->belief_size * LANES);
	finite = total(VECTORS(log_prior), model->belief_size) * splat(0.0);
	log_array(workspace, log_prior, (int64_t) model->belief_size * LANES,
			  log_prior);
	collect_evidence(workspace, agents);
	memcpy(constant, log_prior, sizeof(Vector) * (size_t) model->belief_size);
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		if (workspace->modalities[m].twin == m &&
			workspace->modalities[m].parent_count == 1)
			add_messages(workspace, m, VECTORS(workspace->belief), constant);
	}
	if (is_coupled(workspace))
		iterate_beliefs(workspace);
	else
		normalize_factors(workspace, constant, VECTORS(workspace->belief));
	return free_energy(workspace) + finite;
}

#endif /* FA_KERNEL_LANES_INFER_H */
