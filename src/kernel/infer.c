/*
 * infer.c
 *		State inference: the next prior, and the iteration to a posterior.
 *
 * Formulas: README.md, section "Perceiving"; they are pymdp's
 * update_empirical_prior, run_factorized_fpi and calc_vfe.
 *
 * Beliefs are [belief_size]: one marginal after another, each at its factor's
 * offset.  The posterior is a product of marginals (mean field), q(s) = prod_f
 * q_f(s_f), chosen to make the free energy small; with one factor it is exact.
 * Nothing here allocates: all room is the workspace's, and its size is that of
 * the largest modality or factor.
 */
#include "step.h"

#include <math.h>
#include <string.h>

/*
 * The product of the parents' marginals [P], row-major over their listed
 * order; room has that many doubles.  beliefs[i] is the marginal of
 * parents[i].
 *
 * With one parent the product is the marginal itself: it is returned as it
 * stands, and room is not written.  That is the usual case, and the copy would
 * be a good part of its cost.  With no parent it is the number 1.
 */
const double *
joint_belief(const int32_t *parents, int32_t parent_count,
			 const double *const *beliefs, const KernelModel *model,
			 double *room)
{
	int64_t size;

	if (parent_count == 1)
		return beliefs[0];
	room[0] = 1.0;
	size = 1;
	for (int32_t i = 0; i < parent_count; i++)
	{
		int32_t states = kernel_factor(model, parents[i])->states;

		/* from the back, so that the shorter product is still there to read */
		for (int64_t j = size - 1; j >= 0; j--)
		{
			double weight = room[j];

			for (int32_t s = states - 1; s >= 0; s--)
				room[j * states + s] = weight * beliefs[i][s];
		}
		size *= states;
	}
	return room;
}

/*
 * next [S] = sum over p of joint[p] * B(. | p, action), with joint [P(f)] the
 * weights of the parents' joint states (Da Costa et al.  2020, eq.  7).  The
 * flat action selects a run of P(f) columns.  next may not overlap joint.
 */
void
propagate(const FactorTable *factor, int64_t action, const double *joint,
		  double *next)
{
	const Columns *B = &factor->B;
	int64_t		   first = action * factor->parent_states;

	memset(next, 0, sizeof(double) * (size_t) factor->states);
	for (int64_t p = 0; p < factor->parent_states; p++)
	{
		double weight = joint[p];

		/*
		 * Exactly nothing: it adds zeros.  After a certain observation nearly
		 * all weights are 0, and skipping them saves most of the work.
		 */
		if (weight == 0.0)
			continue;
		if (B->starts == NULL)
		{
			const double *column = B->values + (first + p) * B->rows;

			for (int32_t s = 0; s < B->rows; s++)
				next[s] += weight * column[s];
		}
		else
		{
			for (int64_t k = B->starts[first + p]; k < B->starts[first + p + 1];
				 k++)
				next[B->indices[k]] += weight * B->values[k];
		}
	}
}

/*
 * The flat action u < U(f) of a factor, from an action [control_count].  It is
 * row-major over the factor's controls in their listed order, as the columns
 * of B are; 0 where the factor has no control.  The actions must be within
 * range: nothing is checked here.
 */
int64_t
flat_action(const KernelModel *model, const KernelFactor *factor,
			const int32_t *action)
{
	const int32_t *controls = KERNEL_AT(model, int32_t, factor->controls);
	int64_t		   flat = 0;

	for (int32_t i = 0; i < factor->control_count; i++)
		flat = flat * kernel_control(model, controls[i])->actions +
			   action[controls[i]];
	return flat;
}

/*
 * Pointers to the marginals of some parents inside one belief, for
 * joint_belief().  marginals has room for parent_count of them.
 */
static void
parent_marginals(const KernelModel *model, const int32_t *parents,
				 int32_t parent_count, const double *belief,
				 const double **marginals)
{
	for (int32_t i = 0; i < parent_count; i++)
		marginals[i] = belief + kernel_factor(model, parents[i])->belief_offset;
}

/*
 * prior [belief_size] = the belief [belief_size] pushed through the action did
 * [control_count] that was done; the belief itself where there was none
 * (NULL), as at the first step of a trial.
 *
 * With several parents it is the product of their marginals that is pushed,
 * not a joint belief: pymdp's update_empirical_prior (Da Costa et al.  2020,
 * eq.  7, under mean field).  prior and belief may not overlap, as factors
 * read each other's old beliefs.
 */
void
empirical_prior(KernelWorkspace *workspace, const double *belief,
				const int32_t *did, double *prior)
{
	const KernelModel *model = workspace->model;

	if (did == NULL)
	{
		memcpy(prior, belief, sizeof(double) * (size_t) model->belief_size);
		return;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const FactorTable *factor = &workspace->factors[f];
		const double	 **marginals = workspace->parent_beliefs;
		const double	  *joint;

		parent_marginals(model, factor->parents, factor->parent_count, belief,
						 marginals);
		joint = joint_belief(factor->parents, factor->parent_count, marginals,
							 model, workspace->joint);
		propagate(factor, flat_action(model, kernel_factor(model, f), did),
				  joint, prior + factor->offset);
	}
}

/*
 * What each outcome says: workspace->evidence[m] is L(A) of the outcome over
 * the joint states [P(m)], or NULL where the outcome is missing (-1), so that
 * a missing one adds nothing anywhere.
 *
 * The model keeps L(A) by outcome, so dense tables are just pointed into.
 * Sparse ones are spread out into workspace->likelihood, whose size is the sum
 * of all P(m): a state that is not listed has L(0) = -36, which counts.
 */
static void
collect_evidence(KernelWorkspace *workspace, const int32_t *observation)
{
	const KernelModel *model = workspace->model;
	const double	   log_zero = kernel_log(0.0);
	double			  *room = workspace->likelihood;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const ModalityTable *modality = &workspace->modalities[m];
		const Columns		*log_A = &modality->log_A;
		int32_t				 outcome = observation[m];

		if (outcome < 0)
			workspace->evidence[m] = NULL;
		else if (log_A->starts == NULL)
			workspace->evidence[m] =
				log_A->values + outcome * modality->parent_states;
		else
		{
			for (int64_t p = 0; p < modality->parent_states; p++)
				room[p] = log_zero;
			for (int64_t k = log_A->starts[outcome];
				 k < log_A->starts[outcome + 1]; k++)
				room[log_A->indices[k]] = log_A->values[k];
			workspace->evidence[m] = room;
			room += modality->parent_states;
		}
	}
}

/*
 * Sums the last axis away: out [size / states] from in [size], weighted by q
 * [states].  out may not be in.  Taking one axis after the other, no product
 * of several beliefs is ever needed, and each sum makes what is left for the
 * next one smaller.
 */
static void
contract_last(const double *in, int64_t size, const double *q, int32_t states,
			  double *out)
{
	for (int64_t i = 0; i < size / states; i++)
	{
		double sum = 0.0;

		for (int32_t s = 0; s < states; s++)
			sum += in[i * states + s] * q[s];
		out[i] = sum;
	}
}

/*
 * Sums the first axis away: out [size / states] from in [size], weighted by q
 * [states].  The loop runs along rows of memory, so out is added to again and
 * again rather than finished element by element.
 */
static void
contract_first(const double *in, int64_t size, const double *q, int32_t states,
			   double *out)
{
	int64_t rest = size / states;

	memset(out, 0, sizeof(double) * (size_t) rest);
	for (int32_t s = 0; s < states; s++)
	{
		for (int64_t i = 0; i < rest; i++)
			out[i] += q[s] * in[s * rest + i];
	}
}

/*
 * The expected evidence of one modality over the states of its target-th
 * parent: all other parents summed away under their current beliefs.  Returns
 * [S of the target], which is one of the two contraction buffers, good until
 * the next call; or, with a single parent, the evidence itself, and then
 * belief may be NULL.
 */
static const double *
message_to(KernelWorkspace *workspace, const ModalityTable *modality,
		   const double *evidence, int32_t target, const double *belief)
{
	const KernelModel *model = workspace->model;
	const double	  *in = evidence;
	int64_t			   size = modality->parent_states;
	int				   turn = 0;

	/*
	 * Axes behind the target go from the back and those before it from the
	 * front, so that the axis to be summed is always an outermost one.  The
	 * two buffers take turns, as a contraction cannot be made in place.
	 */
	for (int32_t i = modality->parent_count - 1; i > target; i--)
	{
		const KernelFactor *factor = kernel_factor(model, modality->parents[i]);
		double			   *out = workspace->contraction[turn];

		contract_last(in, size, belief + factor->belief_offset, factor->states,
					  out);
		size /= factor->states;
		in = out;
		turn = 1 - turn;
	}
	for (int32_t i = 0; i < target; i++)
	{
		const KernelFactor *factor = kernel_factor(model, modality->parents[i]);
		double			   *out = workspace->contraction[turn];

		contract_first(in, size, belief + factor->belief_offset, factor->states,
					   out);
		size /= factor->states;
		in = out;
		turn = 1 - turn;
	}
	return in;
}

/*
 * Adds the messages of those modalities that have more than one parent
 * (several) or exactly one (not several) to messages [belief_size].  Those of
 * a single parent do not depend on beliefs, so belief may be NULL for them.
 * Modalities whose outcome is missing send nothing.
 */
static void
add_messages(KernelWorkspace *workspace, bool several, const double *belief,
			 double *messages)
{
	const KernelModel *model = workspace->model;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const ModalityTable *modality = &workspace->modalities[m];

		if (workspace->evidence[m] == NULL ||
			(modality->parent_count > 1) != several)
			continue;
		for (int32_t i = 0; i < modality->parent_count; i++)
		{
			const KernelFactor *factor =
				kernel_factor(model, modality->parents[i]);
			const double *message = message_to(
				workspace, modality, workspace->evidence[m], i, belief);
			double *out = messages + factor->belief_offset;

			for (int32_t s = 0; s < factor->states; s++)
				out[s] += message[s];
		}
	}
}

/*
 * Makes beliefs of logarithms, in place: each factor's part of belief
 * [belief_size] comes to sum to 1 for itself.
 */
static void
softmax_factors(const KernelModel *model, double *belief)
{
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		kernel_softmax(belief + factor->belief_offset, factor->states);
	}
}

/*
 * Fixed-point iteration (pymdp's run_factorized_fpi): belief [belief_size]
 * from log_prior [belief_size].  All factors are updated at once from the old
 * beliefs (Jacobi), a fixed number of times and without a test of convergence,
 * so that the result is pymdp's: a threshold would make it depend on the last
 * digits.  It starts from uniform beliefs.
 *
 * What does not change between the iterations (the prior, evidence about a
 * single factor) is added up once; with one factor that is all, and the result
 * is exact after one turn.
 */
static void
iterate_beliefs(KernelWorkspace *workspace, const double *log_prior,
				double *belief)
{
	const KernelModel *model = workspace->model;
	size_t			   bytes = sizeof(double) * (size_t) model->belief_size;
	double			  *constant = workspace->messages;
	int32_t iterations = model->factor_count == 1 ? 1 : model->iterations;

	memcpy(constant, log_prior, bytes);
	add_messages(workspace, false, NULL, constant);

	/* the softmax of zeros: uniform beliefs */
	memset(belief, 0, bytes);
	softmax_factors(model, belief);
	for (int32_t i = 0; i < iterations; i++)
	{
		/*
		 * The sums go to a buffer of their own: every factor must still see
		 * the old beliefs of the others.
		 */
		memcpy(workspace->update, constant, bytes);
		add_messages(workspace, true, belief, workspace->update);
		memcpy(belief, workspace->update, bytes);
		softmax_factors(model, belief);
	}
}

/*
 * The variational free energy in nats, pymdp's calc_vfe (Da Costa et al.
 * 2020, eq.  11):
 *
 * 	F = sum_f sum_s q [L(q) - L(prior)] - sum_m E_q[evidence]
 *
 * The expectation over joint states is that under the product of the
 * marginals.  It is taken by way of the message to the first parent, which has
 * all others summed away already.
 */
static double
free_energy(KernelWorkspace *workspace, const double *log_prior,
			const double *belief)
{
	const KernelModel *model = workspace->model;
	double			   energy = 0.0;

	for (int32_t i = 0; i < model->belief_size; i++)
	{
		if (belief[i] > NEGLIGIBLE)
			energy += belief[i] * (kernel_log(belief[i]) - log_prior[i]);
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const ModalityTable *modality = &workspace->modalities[m];
		const double		*message;
		const KernelFactor	*factor;

		if (workspace->evidence[m] == NULL)
			continue;

		/*
		 * with no parent there is one joint state, and nothing to expect over
		 */
		if (modality->parent_count == 0)
		{
			energy -= workspace->evidence[m][0];
			continue;
		}
		factor = kernel_factor(model, modality->parents[0]);
		message =
			message_to(workspace, modality, workspace->evidence[m], 0, belief);
		for (int32_t s = 0; s < factor->states; s++)
			energy -= belief[factor->belief_offset + s] * message[s];
	}
	return energy;
}

/*
 * Perception: belief [belief_size], the posterior, from prior [belief_size]
 * and observation [modality_count] (-1: missing).  The workspace's tables say
 * with which A.  Returns the variational free energy, which is not finite
 * where numbers of the spec overflow; the caller has to look.
 *
 * belief may be prior: the prior is read once, into its logarithms.
 */
double
infer_states(KernelWorkspace *workspace, const double *prior,
			 const int32_t *observation, double *belief)
{
	const KernelModel *model = workspace->model;

	for (int32_t i = 0; i < model->belief_size; i++)
		workspace->log_prior[i] = kernel_log(prior[i]);
	collect_evidence(workspace, observation);
	iterate_beliefs(workspace, workspace->log_prior, belief);
	return free_energy(workspace, workspace->log_prior, belief);
}
