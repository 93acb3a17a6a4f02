/*
 * share.c
 *		Numbers that the views of a modality share.
 *
 * Where all parents of a modality move by maps, a predicted probability is the
 * sum of the current probabilities of some states.  Different moves ask for the
 * same sums over and over: on a grid, a step to the left gives all places but
 * those at two walls the probability of their neighbour.  So each distinct
 * sum, each distinct product of sums of several parents, and each distinct
 * expected probability (a weighted sum of products) is numbered here, and the
 * step computes it once, with its logarithm, however many views need it.
 *
 * Every number is made of one before it and one thing more: a sum of a sum and
 * a state, an expected probability of a term and a weighted product.  So a
 * number is a tuple of fixed width (tuples.c), beginnings are shared as well,
 * and each costs the step one addition.
 *
 * A probability of no state at all is exactly 0 and is left out; nothing else
 * is, however small.
 */
#include "share.h"

/*
 * Numbers that may be looked up for all modalities of a model: one for so many
 * bytes that a model may have.  It bounds time and memory; a model beyond it is
 * evaluated view by view.
 */
#define BYTES_OF_A_LOOKUP 256

/* And in any case, so that twice as many integers can be counted. */
#define MOST_LOOKUPS (INT32_MAX / 4)

/*
 * Can the views of modality m share numbers?  Not where A may differ by agent,
 * nor where what its counts would teach is asked for, which takes all columns.
 */
static bool
can_share(const Spec *spec, int32_t m)
{
	const SpecModality *modality = &spec->modality[m];

	if (modality->gain != NULL ||
		(spec->options.learn_A && modality->pA != NULL))
		return false;
	for (int32_t i = 0; i < modality->parents.count; i++)
	{
		if (spec->plan.moves[modality->parents.items[i]].maps == NULL)
			return false;
	}
	return true;
}

/*
 * Are the shared numbers less work than the views one by one?  Counted as in
 * view_order.c; what has to be looked up counts twice, a logarithm sixteen
 * times.
 */
static bool
sharing_pays(const Sharing *sharing, const PlanNumbers *numbers)
{
	const PlanNodes *views = sharing->views;
	double			 listed = (double) numbers->starts[sharing->lists.count];
	double			 shared =
		2.0 * (numbers->sum_starts[sharing->parents] + numbers->term_count) +
		(double) sharing->parents * numbers->product_count +
		16.0 * numbers->expected_count + 2.0 * listed;

	return shared <
		   views->work + 16.0 * (double) views->count * sharing->outcomes;
}

/*
 * The views get their new numbers; those of a step stay together.
 */
static void
renumber(Sharing *sharing, const int32_t *of_view, int32_t *starts)
{
	Plan	  *plan = &sharing->spec->plan;
	PlanNodes *views = sharing->views;

	for (int32_t b = 0; b < plan->branch_count; b++)
		views->of_branch[b] = of_view[views->of_branch[b]];
	views->starts = starts;
	views->count = sharing->lists.count;
}

/*
 * The numbers of one modality, if it has any that are worth it.  sharing has
 * its room for lists of parents.  False without memory.
 */
static bool
share_views(Sharing *sharing, int64_t *left)
{
	Reader	   *reader = &sharing->spec->reader;
	int32_t		length = sharing->spec->plan.length;
	PlanNumbers numbers = {0};
	int32_t	   *starts;
	int32_t	   *of_view;
	int32_t	   *sums;

	if (!sharing_classes(sharing))
		return false;
	if (sharing->joint > *left)
		return true;
	if (!sharing_reduce(sharing))
		return false;
	if (!sharing_within(sharing, left))
		return true;
	starts = reader_allocate(reader, length + 1, sizeof(int32_t), "policies");
	of_view = reader_allocate(reader, sharing->views->count, sizeof(int32_t),
							  "policies");
	sums =
		reader_allocate(reader, sharing->parents, sizeof(int32_t), "policies");
	if (starts == NULL || of_view == NULL || sums == NULL)
		return false;
	for (int32_t i = 0; i < sharing->parents; i++)
	{
		if (!sharing_sums(sharing, i))
			return false;
	}
	if (!sharing_terms_begin(sharing))
		return false;
	for (int32_t t = 0; t < length; t++)
	{
		if (!sharing_merge_views(sharing, t, of_view, sums))
			return false;
		starts[t + 1] = sharing->lists.count;
	}
	if (!sharing_keep_numbers(sharing, &numbers) ||
		!sharing_keep_lists(sharing, &numbers))
		return false;
	if (sharing_pays(sharing, &numbers))
	{
		sharing->views->numbers = numbers;
		sharing->views->contracted = false;
		renumber(sharing, of_view, starts);
	}
	return true;
}

/*
 * Begins with modality m.  False without memory.
 */
static bool
sharing_begin(Spec *spec, int32_t m, Sharing *sharing)
{
	Reader *reader = &spec->reader;
	int32_t parents = spec->modality[m].parents.count;

	*sharing = (Sharing){.spec = spec,
						 .modality = &spec->modality[m],
						 .views = &spec->plan.views[m],
						 .parents = parents,
						 .outcomes = spec->modalities.variables[m].size,
						 .rests = spec->modality[m].rows.starts != NULL ?
									  spec->modality[m].rows.rest :
									  NULL};
	sharing->classes =
		reader_allocate(reader, parents, sizeof(Classes), "policies");
	sharing->sums =
		reader_allocate(reader, parents, sizeof(Tuples), "policies");
	sharing->class_sums =
		reader_allocate(reader, parents, sizeof(int32_t *), "policies");
	sharing->all =
		reader_allocate(reader, parents, sizeof(int32_t), "policies");
	return sharing->classes != NULL && sharing->sums != NULL &&
		   sharing->class_sums != NULL && sharing->all != NULL;
}

/*
 * The factors of which somebody asks for predicted beliefs: they have values of
 * their own, bear on other factors, or are seen by a modality without shared
 * numbers.
 */
static void
mark_predicted(Spec *spec)
{
	PlanNodes *moves = spec->plan.moves;

	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const IndexList *parents = &spec->factor[f].parents;

		moves[f].predicted |=
			spec->factor[f].gain != NULL ||
			(spec->options.use_inductive && spec->factor[f].I != NULL);
		for (int32_t i = 0; i < parents->count; i++)
			moves[parents->items[i]].predicted |= parents->items[i] != f;
	}
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const IndexList *parents = &spec->modality[m].parents;

		for (int32_t i = 0; i < parents->count; i++)
			moves[parents->items[i]].predicted |=
				spec->plan.views[m].numbers.starts == NULL;
	}
}

/*
 * Shares what can be shared, after moves and views are numbered.  False with a
 * problem, or without memory.
 */
bool
plan_share(Spec *spec)
{
	int64_t left = spec->reader.host->max_model_size / BYTES_OF_A_LOOKUP;
	Sharing sharing;

	if (left > MOST_LOOKUPS)
		left = MOST_LOOKUPS;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		if (can_share(spec, m) && (!sharing_begin(spec, m, &sharing) ||
								   !share_views(&sharing, &left)))
			return false;
	}
	mark_predicted(spec);
	return true;
}
