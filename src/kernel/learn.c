/*
 * learn.c
 *		Learning: Dirichlet counts of A and B, and the tables that follow.
 *
 * Formulas: README.md, section "Learning"; they are pymdp's
 * update_obs_likelihood_dirichlet and update_state_transition_dirichlet.
 *
 * Counts lie as the model's pA and pB do, columns one after another: those of
 * the learned modalities first, [P(m)][O(m)] each, then those of the learned
 * factors, [U(f)][P(f)][S(f)] each.
 *
 * Counts are those of one agent, in memory of the caller (KernelLearned); the
 * model keeps the ones that all agents begin with.  What follows from counts
 * (A, L(A), ambiguity, B, I, gains) is not stored with an agent but computed
 * anew when its step begins: it is several times as large as the counts.
 */
#include "step.h"

#include <math.h>
#include <string.h>

/*
 * Counts of one modality: P(m) columns of O(m).
 */
static int64_t
modality_counts(const KernelModality *modality)
{
	return modality->parent_states * modality->outcomes;
}

/*
 * Counts of one factor: U(f) * P(f) columns of S(f).
 */
static int64_t
factor_counts(const KernelFactor *factor)
{
	return factor->actions * factor->parent_states * factor->states;
}

/*
 * All counts of one agent, in doubles; 0 where nothing is learned.  It cannot
 * overflow: as many counts stand in the model's own block.
 */
int64_t
kernel_learned_size(const KernelModel *model)
{
	int64_t size = 0;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		if (kernel_modality(model, m)->learned)
			size += modality_counts(kernel_modality(model, m));
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		if (kernel_factor(model, f)->learned)
			size += factor_counts(kernel_factor(model, f));
	}
	return size;
}

/*
 * The parts into which an agent's counts are divided: one for each learned
 * modality, as any joint state may be touched by an outcome; and one for each
 * action of a learned factor, as only the one that was done is touched.
 */
int32_t
kernel_learned_part_count(const KernelModel *model)
{
	int32_t count = 0;

	for (int32_t m = 0; m < model->modality_count; m++)
		count += kernel_modality(model, m)->learned ? 1 : 0;
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		if (kernel_factor(model, f)->learned)
			count += (int32_t) kernel_factor(model, f)->actions;
	}
	return count;
}

/*
 * Where the part-th part lies, part < kernel_learned_part_count(); see
 * kernel.h.  A walk over all arrays before it: there are few, and no table has
 * to be kept.
 */
KernelLearnedPart
kernel_learned_part(const KernelModel *model, int32_t part)
{
	KernelLearnedPart result = {0, 0, 0, 0};

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		if (!kernel_modality(model, m)->learned)
			continue;
		result.array = m;
		result.length = modality_counts(kernel_modality(model, m));
		if (part-- == 0)
			return result;
		result.offset += result.length;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		if (!factor->learned)
			continue;
		result.array = model->modality_count + f;
		result.length = factor->parent_states * factor->states;
		if (part < factor->actions)
		{
			result.slice = part;
			result.offset += part * result.length;
			return result;
		}
		part -= (int32_t) factor->actions;
		result.offset += factor_counts(factor);
	}
	return result;
}

/*
 * Sets counts [kernel_learned_size()] to the model's pA and pB, as before
 * anything was learned.  A and B stay the model's until the first update,
 * since pymdp takes the given A, and not E[pA], at first.
 */
void
kernel_learned_start(const KernelModel *model, KernelLearned *learned)
{
	double *counts = learned->counts;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		if (!modality->learned)
			continue;
		memcpy(counts, KERNEL_AT(model, double, modality->pA),
			   sizeof(double) * (size_t) modality_counts(modality));
		counts += modality_counts(modality);
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		if (!factor->learned)
			continue;
		memcpy(counts, KERNEL_AT(model, double, factor->pB),
			   sizeof(double) * (size_t) factor_counts(factor));
		counts += factor_counts(factor);
	}
	learned->A_active = learned->B_active = false;
}

/* ---------- the update ---------- */

/*
 * The product of the marginals of some parents at one joint state p, taken
 * apart digit by digit from the last parent, which is the fastest.  (An update
 * is made once a step, so it needs no buffer of all products.)
 */
static double
joint_weight(const KernelModel *model, KernelOffset parents,
			 int32_t parent_count, const double *belief, int64_t p)
{
	const int32_t *parent = KERNEL_AT(model, int32_t, parents);
	double		   weight = 1.0;

	for (int32_t i = parent_count - 1; i >= 0; i--)
	{
		const KernelFactor *factor = kernel_factor(model, parent[i]);

		weight *= belief[factor->belief_offset + p % factor->states];
		p /= factor->states;
	}
	return weight;
}

/*
 * a[p][outcome] += rate * q(p), counts [P(m)][O(m)] (pymdp's
 * update_obs_likelihood_dirichlet; Da Costa et al.  2020, eq.  21).  The
 * outcome is one that was observed, not -1.
 */
static void
learn_modality(const KernelModel *model, const KernelModality *modality,
			   double rate, int32_t outcome, const double *belief,
			   double *counts)
{
	for (int64_t p = 0; p < modality->parent_states; p++)
		counts[p * modality->outcomes + outcome] +=
			rate * joint_weight(model, modality->parents,
								modality->parent_count, belief, p);
}

/*
 * b[u][p][s] += rate * q_before(p) * q_now(s), for the action u that was done
 * (pymdp's update_state_transition_dirichlet; Da Costa et al.  2020, eq.  22).
 * counts [P(f)][S(f)] are those of u alone.  The pair of beliefs is a product
 * of marginals: no belief about two steps together is kept.
 */
static void
learn_factor(const KernelModel *model, const KernelFactor *factor, double rate,
			 const double *before, const double *belief, double *counts)
{
	for (int64_t p = 0; p < factor->parent_states; p++)
	{
		double weight = rate * joint_weight(model, factor->parents,
											factor->parent_count, before, p);

		for (int32_t s = 0; s < factor->states; s++)
			counts[p * factor->states + s] +=
				weight * belief[factor->belief_offset + s];
	}
}

/*
 * The Dirichlet update that one step owes: A with observation [modality_count]
 * (-1: missing, nothing is learned from it) and belief [belief_size], the
 * posterior of the step; B with before [belief_size], the posterior of the
 * step before, did [control_count], the action between, and belief.  before is
 * NULL at the first step of a trial, and B is left alone then.
 *
 * Rates are those of parameters where it has them, else the model's.  changed
 * [kernel_learned_part_count()] is set for what differs and never cleared, so
 * that a caller may gather several updates.  The first update of A (or B)
 * makes all its counts the agent's own, so all parts of it count as changed;
 * later ones change what they touch.
 */
void
kernel_learn(const KernelModel *model, const KernelParameters *parameters,
			 KernelLearned *learned, const int32_t *observation,
			 const double *belief, const double *before, const int32_t *did,
			 bool *changed)
{
	bool	update_B = model->learn_B && before != NULL;
	int32_t count = kernel_learned_part_count(model);

	for (int32_t i = 0; i < count; i++)
	{
		KernelLearnedPart part = kernel_learned_part(model, i);
		double			 *counts = learned->counts + part.offset;

		if (part.array < model->modality_count)
		{
			const KernelModality *modality = kernel_modality(model, part.array);
			double				  rate = parameters && parameters->lr_pA ?
											 parameters->lr_pA[part.array] :
											 modality->lr_pA;

			changed[i] |= !learned->A_active || observation[part.array] >= 0;
			if (observation[part.array] >= 0)
				learn_modality(model, modality, rate, observation[part.array],
							   belief, counts);
		}
		else
		{
			int32_t				f = part.array - model->modality_count;
			const KernelFactor *factor = kernel_factor(model, f);
			double				rate = parameters && parameters->lr_pB ?
										   parameters->lr_pB[f] :
										   factor->lr_pB;
			bool				touched =
				update_B && flat_action(model, factor, did) == part.slice;

			changed[i] |= update_B && (!learned->B_active || touched);
			if (touched)
				learn_factor(model, factor, rate, before, belief, counts);
		}
	}
	learned->A_active = learned->A_active || model->learn_A;
	learned->B_active = learned->B_active || update_B;
}

/* ---------- the tables that follow from counts ---------- */

/*
 * result [columns][rows] = E[Dirichlet(counts)], counts [columns][rows]: each
 * column divided by its sum.  A count of zero is taken as the log floor, as
 * pymdp does, so no column is all zero and a division by 0 cannot happen.
 */
static void
expected_columns(const double *counts, int64_t columns, int32_t rows,
				 double *result)
{
	for (int64_t c = 0; c < columns; c++)
	{
		double sum = 0.0;

		for (int32_t r = 0; r < rows; r++)
			sum += fmax(counts[c * rows + r], KERNEL_LOG_FLOOR);
		for (int32_t r = 0; r < rows; r++)
			result[c * rows + r] =
				fmax(counts[c * rows + r], KERNEL_LOG_FLOOR) / sum;
	}
}

/*
 * W of each column of counts [columns][rows]; see kernel_gain_column().
 */
static void
gain_columns(KernelWorkspace *workspace, const double *counts, int64_t columns,
			 int32_t rows, double *gain)
{
	for (int64_t c = 0; c < columns; c++)
	{
		kernel_gain_column(counts + c * rows, rows, gain + c * rows);
		worked(workspace, (int64_t) COST_OF_LOG * rows);
	}
}

/*
 * Doubles of the tables of one learned modality.
 */
static int64_t
modality_table_size(const KernelModality *modality)
{
	/* A, log_A, gain; ambiguity */
	return 3 * modality_counts(modality) + modality->parent_states;
}

/*
 * Doubles of the tables of one learned factor.  They hold the room for I
 * whether it is used or not, so that a size never depends on a switch.
 */
static int64_t
factor_table_size(const KernelModel *model, const KernelFactor *factor)
{
	/* B, gain; I and the scratch of making it */
	return 2 * factor_counts(factor) +
		   (int64_t) (model->inductive_depth + factor->states) * factor->states;
}

/*
 * Doubles needed by workspace_use_learned(), for all learned tables of one
 * agent at a time.
 */
int64_t
learned_tables_size(const KernelModel *model)
{
	int64_t size = 0;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		if (kernel_modality(model, m)->learned)
			size += modality_table_size(kernel_modality(model, m));
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		if (kernel_factor(model, f)->learned)
			size += factor_table_size(model, kernel_factor(model, f));
	}
	return size;
}

/*
 * Points a table at A = E[pA], with its logarithms by outcome [O(m)][P(m)] and
 * its ambiguity by column [P(m)], or where views are contracted, with the table
 * that is summed over, in the place of gain and ambiguity: there is no gain
 * then.  room is modality_table_size() doubles; its third part is left for the
 * gain.  Always dense: after an update hardly any
 * count is zero.
 */
static void
use_learned_modality(KernelWorkspace *workspace, ModalityTable *table,
					 const double *counts, double *room)
{
	int64_t size = table->parent_states * table->outcomes;
	double *A = room;
	double *log_A = room + size;
	double *ambiguity = room + 3 * size;
	double *summed = room + 2 * size; /* [P(m)][O(m) + 1] */

	expected_columns(counts, table->parent_states, table->outcomes, A);
	worked(workspace, size);
	for (int64_t p = 0; p < table->parent_states; p++)
	{
		double uncertain = 0.0;

		worked(workspace, (int64_t) COST_OF_LOG * table->outcomes);
		for (int32_t o = 0; o < table->outcomes; o++)
		{
			double value = A[p * table->outcomes + o];
			double logarithm = kernel_log(value);

			log_A[o * table->parent_states + p] = logarithm;
			uncertain -= value > 0.0 ? value * logarithm : 0.0;
		}
		if (table->contracted)
		{
			double *column =
				summed + kernel_place_by_axes(p, table->sizes, table->axes,
											  table->parent_count) *
							 (table->outcomes + 1);

			memcpy(column, A + p * table->outcomes,
				   (size_t) table->outcomes * sizeof(double));
			column[table->outcomes] = uncertain;
		}
		else
			ambiguity[p] = uncertain;
	}
	table->A = (Mixture){
		.dense = A, .rows = table->outcomes, .width = table->parent_states};
	table->log_A = (Columns){log_A, NULL, NULL, (int32_t) table->parent_states};
	table->ambiguity = ambiguity;
	table->table = summed;
}

/*
 * Points a table at B = E[pB], and at the way to the goal in it, which changes
 * with B.  An I given by the spec, without H, stays as it is.  room is
 * factor_table_size() doubles; its second part is left for the gain.
 */
static void
use_learned_factor(KernelWorkspace *workspace, const KernelFactor *factor,
				   FactorTable *table, const double *counts, double *room)
{
	const KernelModel *model = workspace->model;
	int64_t			   columns = factor->actions * factor->parent_states;
	double			  *B = room;
	double			  *I = room + 2 * factor_counts(factor);

	expected_columns(counts, columns, factor->states, B);
	worked(workspace, columns * factor->states);
	table->B = (Mixture){
		.dense = B, .rows = factor->states, .width = factor->parent_states};
	if (table->I != NULL && factor->H != 0)
	{
		kernel_inductive(workspace->host, KERNEL_AT(model, double, factor->H),
						 factor->states, columns, B, model->inductive_threshold,
						 model->inductive_depth,
						 I + (int64_t) model->inductive_depth * factor->states,
						 I);
		table->I = I;
	}
}

/*
 * Overlays the model's tables, which workspace_use_model() has set, with those
 * that follow from an agent's counts.  Until A (or B) is first updated the
 * model's stay: they are what the agent uses, and its gains come from the same
 * counts.
 *
 * The tables lie in the workspace and are the agent's until the next call.
 */
void
workspace_use_learned(KernelWorkspace *workspace, const KernelLearned *learned)
{
	const KernelModel *model = workspace->model;
	const double	  *counts = learned->counts;
	double			  *room = workspace->learned;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		ModalityTable		 *table = &workspace->modalities[m];
		int64_t				  size = modality_counts(modality);

		if (!modality->learned)
			continue;
		if (learned->A_active)
		{
			use_learned_modality(workspace, table, counts, room);
			if (table->gain != NULL)
			{
				gain_columns(workspace, counts, modality->parent_states,
							 modality->outcomes, room + 2 * size);
				table->gain = room + 2 * size;
			}
		}
		counts += size;
		room += modality_table_size(modality);
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		FactorTable		   *table = &workspace->factors[f];
		int64_t				size = factor_counts(factor);

		if (!factor->learned)
			continue;
		if (learned->B_active)
		{
			use_learned_factor(workspace, factor, table, counts, room);
			if (table->gain != NULL)
			{
				gain_columns(workspace, counts,
							 factor->actions * factor->parent_states,
							 factor->states, room + size);
				table->gain = room + size;
			}
		}
		counts += size;
		room += factor_table_size(model, factor);
	}
}

/* ---------- for people: the columns as they are now ---------- */

/*
 * A matrix of the model into columns [columns][rows], spread out.
 */
static void
copy_columns(const KernelModel *model, const KernelMatrix *matrix,
			 double *columns)
{
	const double  *values = KERNEL_AT(model, double, matrix->values);
	const int64_t *starts = KERNEL_AT(model, int64_t, matrix->starts);
	const int32_t *indices = KERNEL_AT(model, int32_t, matrix->indices);
	size_t size = sizeof(double) * (size_t) (matrix->columns * matrix->rows);

	if (!matrix->sparse)
	{
		memcpy(columns, values, size);
		return;
	}
	memset(columns, 0, size);
	for (int64_t c = 0; c < matrix->columns; c++)
	{
		for (int64_t k = starts[c]; k < starts[c + 1]; k++)
			columns[c * matrix->rows + indices[k]] = values[k];
	}
}

/*
 * The counts of one array (m, or modality_count + f), or NULL where the agent
 * has none of its own.  A factor's first part is where all its counts begin.
 */
static const double *
counts_of(const KernelModel *model, const KernelLearned *learned, int32_t array)
{
	int32_t count = learned ? kernel_learned_part_count(model) : 0;

	for (int32_t i = 0; i < count; i++)
	{
		KernelLearnedPart part = kernel_learned_part(model, i);

		if (part.array == array)
			return learned->counts + part.offset;
	}
	return NULL;
}

/*
 * A as an agent sees it now, for people: columns [P(m)][O(m)].  learned is
 * NULL for the model's own.
 */
void
kernel_learned_A(const KernelModel *model, const KernelLearned *learned,
				 int32_t modality, double *columns)
{
	const KernelModality *of = kernel_modality(model, modality);
	const double		 *counts = counts_of(model, learned, modality);

	if (counts != NULL && learned->A_active)
		expected_columns(counts, of->parent_states, of->outcomes, columns);
	else
		copy_columns(model, &of->A, columns);
}

/*
 * B as an agent sees it now: columns [U(f)][P(f)][S(f)].
 */
void
kernel_learned_B(const KernelModel *model, const KernelLearned *learned,
				 int32_t factor, double *columns)
{
	const KernelFactor *of = kernel_factor(model, factor);
	const double	   *counts =
		counts_of(model, learned, model->modality_count + factor);

	if (counts != NULL && learned->B_active)
		expected_columns(counts, of->actions * of->parent_states, of->states,
						 columns);
	else
		copy_columns(model, &of->B, columns);
}
