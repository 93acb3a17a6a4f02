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
#include <string.h>

#include "compile.h"

/*
 * Numbers that may be looked up for all modalities of a model: one for so many
 * bytes that a model may have.  It bounds time and memory; a model beyond it is
 * evaluated view by view.
 */
#define BYTES_OF_A_LOOKUP 256

/* And in any case, so that twice as many integers can be counted. */
#define MOST_LOOKUPS (INT32_MAX / 4)

/* The numbers of one modality in the making. */
typedef struct Sharing
{
	Spec			   *spec;
	const SpecModality *modality;
	PlanNodes		   *views;
	int32_t				parents;
	int32_t				outcomes;
	Classes			   *classes; /* [parents] */
	Tuples			   *sums;	 /* [parents]: (sum before, state) */
	int32_t		*
		*class_sums; /* [parents]: [moves][classes]: the sum, -1: of none */
	int32_t *all;		 /* [parents]: the sum of all states, with rests */
	const double *rests; /* [outcomes], or NULL: all 0 */
	int64_t		  joint; /* joint classes: the product of their numbers */
	int64_t		  ambiguous; /* of which have an ambiguity other than 0 */
	int64_t		 *columns;	 /* [joint]: the column of A that stands for each */
	int64_t		 *starts;  /* [outcomes + 1]: A by outcome, as Rows, into ... */
	int32_t		 *entries; /* [entries]: joint class */
	double		 *values;  /* [entries] */
	Tuples		  products; /* (sum of each parent) */
	int32_t *of_joint; /* [joint]: the product of each, in one view; -1: 0 */
	Tuples	 terms;	   /* (term before, product, weight) */
	Tuples	 lists;	   /* of each view: (term of each outcome, ambiguity) */
} Sharing;

/*
 * Room for so many distinct tuples.  False without memory.
 */
static bool
tuples_begin(Reader *reader, Tuples *tuples, int32_t width, int64_t most)
{
	*tuples = (Tuples){.width = width, .key = width, .most = (int32_t) most};
	tuples->slots =
		reader_allocate(reader, slots_for(most), sizeof(int32_t), "policies");
	if (tuples->slots == NULL)
		return false;
	tuples_next_step(tuples, most);
	return true;
}

/*
 * The number of a pair.  -1 without memory.
 */
static int32_t
intern_pair(Reader *reader, Tuples *tuples, int32_t first, int32_t second)
{
	int32_t *tuple = tuples_next(reader, tuples);

	if (tuple == NULL)
		return -1;
	tuple[0] = first;
	tuple[1] = second;
	return tuples_intern(tuples);
}

/* ---------- what is shared ---------- */

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
 * The classes of all parents.  False without memory.
 */
static bool
find_classes(Sharing *sharing)
{
	Reader	*reader = &sharing->spec->reader;
	int64_t	 after = sharing->modality->parent_states;
	int32_t *factors = sharing->modality->parents.items;

	sharing->joint = 1;
	for (int32_t i = 0; i < sharing->parents; i++)
	{
		Classes *classes = &sharing->classes[i];

		classes->states = sharing->spec->factors.variables[factors[i]].size;
		after /= classes->states;
		if (!classes_find(reader, &sharing->modality->A, after, classes))
			return false;
		sharing->joint *= classes->count;
	}
	return true;
}

/*
 * The k-th number of A, in a column: its outcome, and what it has more than the
 * rest of the outcome's row.
 */
static double
entry(const Sharing *sharing, int64_t k, int64_t column, int32_t *outcome)
{
	const Matrix *A = &sharing->modality->A;

	*outcome = A->sparse ? A->indices[k] : (int32_t) (k - column * A->rows);
	return A->values[k] - (sharing->rests ? sharing->rests[*outcome] : 0.0);
}

/*
 * A by outcome, of the columns that stand for the joint classes alone: its
 * entries are counted, or (fill) written at sharing->starts, which move on by
 * one row.
 */
static void
visit_entries(Sharing *sharing, bool fill)
{
	const Matrix *A = &sharing->modality->A;

	for (int64_t j = 0; j < sharing->joint; j++)
	{
		int64_t column = sharing->columns[j];
		int64_t first = A->sparse ? A->starts[column] : column * A->rows;
		int64_t end = A->sparse ? A->starts[column + 1] : first + A->rows;

		for (int64_t k = first; k < end; k++)
		{
			int32_t outcome;
			double	value = entry(sharing, k, column, &outcome);

			if (value == 0.0)
				continue;
			if (fill)
			{
				int64_t at = sharing->starts[outcome];

				sharing->entries[at] = (int32_t) j;
				sharing->values[at] = value;
			}
			sharing->starts[outcome + !fill]++;
		}
		reader_poll(&sharing->spec->reader);
	}
}

/*
 * The columns that stand for the joint classes, those of their first states,
 * and how many of them are ambiguous.
 */
static void
list_columns(Sharing *sharing)
{
	for (int64_t j = 0; j < sharing->joint; j++)
	{
		int64_t left = j;
		int64_t after = 1;

		sharing->columns[j] = 0;
		for (int32_t i = sharing->parents - 1; i >= 0; i--)
		{
			const Classes *classes = &sharing->classes[i];

			sharing->columns[j] +=
				after * classes->representative[left % classes->count];
			left /= classes->count;
			after *= classes->states;
		}
		sharing->ambiguous +=
			sharing->modality->ambiguity[sharing->columns[j]] != 0.0;
	}
}

/*
 * A by outcome.  False without memory.
 */
static bool
reduce_A(Sharing *sharing)
{
	Reader *reader = &sharing->spec->reader;
	int64_t outcomes = sharing->outcomes;
	int64_t count;

	sharing->columns =
		reader_allocate(reader, sharing->joint, sizeof(int64_t), "policies");
	sharing->starts =
		reader_allocate(reader, outcomes + 1, sizeof(int64_t), "policies");
	if (sharing->columns == NULL || sharing->starts == NULL)
		return false;
	list_columns(sharing);
	visit_entries(sharing, false);
	for (int64_t o = 0; o < outcomes; o++)
		sharing->starts[o + 1] += sharing->starts[o];
	count = sharing->starts[outcomes];
	sharing->entries =
		reader_allocate(reader, count, sizeof(int32_t), "policies");
	sharing->values =
		reader_allocate(reader, count, sizeof(double), "policies");
	if (sharing->entries == NULL || sharing->values == NULL)
		return false;
	visit_entries(sharing, true);
	memmove(sharing->starts + 1, sharing->starts,
			(size_t) outcomes * sizeof(int64_t));
	sharing->starts[0] = 0;
	return true;
}

/*
 * Sums that can be looked up for the i-th parent: each state once for each
 * move, and once for the sum of all.
 */
static int64_t
sums_bound(const Sharing *sharing, int32_t i)
{
	int32_t f = sharing->modality->parents.items[i];

	return ((int64_t) sharing->spec->plan.moves[f].count + 1) *
		   sharing->classes[i].states;
}

/*
 * Products and terms likewise, for each view: all joint classes and their
 * total; all entries, the rests of all outcomes, and what is ambiguous.
 */
static int64_t
products_bound(const Sharing *sharing)
{
	return sharing->views->count * (sharing->joint + 1);
}

static int64_t
terms_bound(const Sharing *sharing)
{
	int64_t of_view = sharing->starts[sharing->outcomes] + sharing->ambiguous;

	of_view += sharing->rests != NULL ? sharing->outcomes : 0;

	return sharing->views->count * of_view + 1;
}

/*
 * Takes all lookups that may be needed off *left, or refuses.  No product here
 * overflows: each factor is a part of what was compiled.
 */
static bool
within_bounds(const Sharing *sharing, int64_t *left)
{
	int64_t lookups = products_bound(sharing) + terms_bound(sharing) +
					  (int64_t) sharing->views->count * sharing->outcomes;

	for (int32_t i = 0; i < sharing->parents; i++)
		lookups += sums_bound(sharing, i);
	if (lookups > *left)
		return false;
	*left -= lookups;
	return true;
}

/* ---------- sums ---------- */

/*
 * The sum of some states of the i-th parent, list [count] in order, all of them
 * from low on and before high.  It is made of the sums of the lower half and of
 * the upper half: so sums that differ in a few states share almost all, and
 * none waits for more than a few additions.  A state alone is its own sum; the
 * others count on from there.  -1 for no state, and without memory.
 */
static int32_t
sum_of(Sharing *sharing, int32_t i, const int32_t *list, int32_t count,
	   int32_t low, int32_t high)
{
	int32_t middle = low + (high - low) / 2;
	int32_t below = 0;
	int32_t sums[2];
	int32_t number;

	if (count <= 1)
		return count == 0 ? -1 : list[0];
	while (below < count && list[below] < middle)
		below++;
	sums[0] = sum_of(sharing, i, list, below, low, middle);
	sums[1] = sum_of(sharing, i, list + below, count - below, middle, high);
	if (below == 0 || below == count)
		return sums[below == 0];
	number = intern_pair(&sharing->spec->reader, &sharing->sums[i], sums[0],
						 sums[1]);
	return number < 0 ? -1 : number + sharing->classes[i].states;
}

/*
 * For each class of the i-th parent's states the sum of the states that a map
 * leads there, into sums [classes].  list [states] and starts [classes + 1] are
 * room for sorting the states by class, which keeps their order.
 */
static void
sum_classes(Sharing *sharing, int32_t i, const int32_t *map, int32_t *list,
			int32_t *starts, int32_t *sums)
{
	const Classes *classes = &sharing->classes[i];

	memset(starts, 0, ((size_t) classes->count + 1) * sizeof(int32_t));
	for (int32_t s = 0; s < classes->states; s++)
		starts[classes->of_state[map[s]] + 1]++;
	for (int32_t c = 0; c < classes->count; c++)
		starts[c + 1] += starts[c];
	for (int32_t s = 0; s < classes->states; s++)
		list[starts[classes->of_state[map[s]]]++] = s;
	for (int32_t c = 0; c < classes->count; c++)
	{
		int32_t first = c == 0 ? 0 : starts[c - 1];

		sums[c] = sum_of(sharing, i, list + first, starts[c] - first, 0,
						 classes->states);
	}
}

/*
 * The sums of all moves of the i-th parent, and that of all states.  False
 * without memory.
 */
static bool
make_sums(Sharing *sharing, int32_t i)
{
	Reader			*reader = &sharing->spec->reader;
	int32_t			 f = sharing->modality->parents.items[i];
	const PlanNodes *moves = &sharing->spec->plan.moves[f];
	const Classes	*classes = &sharing->classes[i];
	int32_t			 states = classes->states;
	int32_t			*list =
		reader_allocate(reader, states, sizeof(int32_t), "policies");
	int32_t *starts = reader_allocate(reader, (int64_t) classes->count + 1,
									  sizeof(int32_t), "policies");
	int32_t *sums =
		reader_allocate(reader, (int64_t) moves->count * classes->count,
						sizeof(int32_t), "policies");

	if (list == NULL || starts == NULL || sums == NULL ||
		!tuples_begin(reader, &sharing->sums[i], 2, sums_bound(sharing, i)))
		return false;
	sharing->class_sums[i] = sums;
	for (int32_t move = 0; move < moves->count; move++, sums += classes->count)
	{
		sum_classes(sharing, i, moves->maps + (int64_t) move * states, list,
					starts, sums);
		reader_poll(reader);
	}
	for (int32_t s = 0; s < states; s++)
		list[s] = s;
	if (sharing->rests != NULL)
		sharing->all[i] = sum_of(sharing, i, list, states, 0, states);
	return !reader->failed && !reader->exceeded;
}

/* ---------- products, terms, views ---------- */

/*
 * The number of a product of sums [parents]; with one parent the sum itself.
 * -1 without memory.
 */
static int32_t
product_of(Sharing *sharing, const int32_t *sums)
{
	int32_t *tuple;

	if (sharing->parents == 1)
		return sums[0];
	tuple = tuples_next(&sharing->spec->reader, &sharing->products);
	if (tuple == NULL)
		return -1;
	memcpy(tuple, sums, (size_t) sharing->parents * sizeof(int32_t));
	return tuples_intern(&sharing->products);
}

/*
 * sharing->of_joint: the products of one view, view [parents] being the moves
 * that it is made of; sums is room for [parents].  False without memory.
 */
static bool
make_products(Sharing *sharing, const int32_t *view, int32_t *sums)
{
	for (int64_t j = 0; j < sharing->joint; j++)
	{
		int64_t left = j;
		bool	possible = true;

		for (int32_t i = sharing->parents - 1; i >= 0; i--)
		{
			int32_t count = sharing->classes[i].count;

			sums[i] =
				sharing
					->class_sums[i][(int64_t) view[i] * count + left % count];
			possible = possible && sums[i] >= 0;
			left /= count;
		}
		sharing->of_joint[j] = possible ? product_of(sharing, sums) : -1;
		if (possible && sharing->of_joint[j] < 0)
			return false;
	}
	return true;
}

/*
 * The term that has weight times a product more than the one before.  0, the
 * number of the term that is nothing, for -1 and without memory.
 */
static int32_t
add_term(Sharing *sharing, int32_t before, int32_t product, double weight)
{
	int32_t *tuple;

	if (product < 0)
		return before;
	tuple = tuples_next(&sharing->spec->reader, &sharing->terms);
	if (tuple == NULL)
		return 0;
	tuple[0] = before;
	tuple[1] = product;
	memcpy(tuple + 2, &weight, sizeof(weight));
	return tuples_intern(&sharing->terms);
}

/*
 * The terms of one view, into list [outcomes + 1]: the expected probability of
 * each outcome, and the expected ambiguity.  total is the product that is the
 * sum of all joint states, where there are rests.
 */
static void
list_terms(Sharing *sharing, int32_t total, int32_t *list)
{
	const double *rests = sharing->rests;

	for (int32_t o = 0; o < sharing->outcomes; o++)
	{
		int32_t term = 0;

		if (rests != NULL && rests[o] != 0.0)
			term = add_term(sharing, 0, total, rests[o]);
		for (int64_t k = sharing->starts[o]; k < sharing->starts[o + 1]; k++)
			term =
				add_term(sharing, term, sharing->of_joint[sharing->entries[k]],
						 sharing->values[k]);
		list[o] = term;
	}
	list[sharing->outcomes] = 0;
	for (int64_t j = 0; j < sharing->joint; j++)
	{
		double ambiguity = sharing->modality->ambiguity[sharing->columns[j]];

		if (ambiguity != 0.0)
			list[sharing->outcomes] = add_term(sharing, list[sharing->outcomes],
											   sharing->of_joint[j], ambiguity);
	}
}

/*
 * Numbers the views of a plan step anew: those of which all terms are equal are
 * one.  of_view [views] gets the number of each.  False without memory.
 */
static bool
merge_views(Sharing *sharing, int32_t t, int32_t *of_view, int32_t *sums)
{
	Reader	*reader = &sharing->spec->reader;
	int32_t *starts = sharing->views->starts;
	int32_t	 total = 0;

	if (sharing->rests != NULL)
		total = product_of(sharing, sharing->all);
	tuples_next_step(&sharing->lists, starts[t + 1] - starts[t]);
	for (int32_t v = starts[t]; v < starts[t + 1]; v++)
	{
		int32_t *list = tuples_next(reader, &sharing->lists);

		if (total < 0 || list == NULL ||
			!make_products(
				sharing,
				sharing->views->parents + (int64_t) v * sharing->parents, sums))
			return false;
		list_terms(sharing, total, list);
		of_view[v] = tuples_intern(&sharing->lists);
		reader_poll(reader);
	}
	return !reader->failed && !reader->exceeded;
}

/*
 * The room for all that, and the term that is nothing.  False without memory.
 */
static bool
terms_begin(Sharing *sharing)
{
	Reader	*reader = &sharing->spec->reader;
	int32_t	 views = sharing->views->count;
	int32_t *nothing;

	sharing->of_joint =
		reader_allocate(reader, sharing->joint, sizeof(int32_t), "policies");
	if (sharing->of_joint == NULL ||
		!tuples_begin(reader, &sharing->products, sharing->parents,
					  sharing->parents > 1 ? products_bound(sharing) : 0) ||
		!tuples_begin(reader, &sharing->terms, 4, terms_bound(sharing)) ||
		!tuples_begin(reader, &sharing->lists, sharing->outcomes + 1, views))
		return false;
	nothing = tuples_next(reader, &sharing->terms);
	if (nothing == NULL)
		return false;
	memset(nothing, -1, 4 * sizeof(int32_t));
	(void) tuples_intern(&sharing->terms);
	return true;
}

/* ---------- the plan's arrays ---------- */

/*
 * The lists of the views without what is impossible, and the distinct expected
 * probabilities.  Those of one list stand in the order of outcomes.  False
 * without memory.
 */
static bool
keep_lists(Sharing *sharing, PlanNumbers *out)
{
	Reader	*reader = &sharing->spec->reader;
	int32_t	 views = sharing->lists.count;
	int64_t	 most = (int64_t) views * sharing->outcomes;
	int32_t *of_term = reader_allocate(reader, sharing->terms.count,
									   sizeof(int32_t), "policies");
	int32_t	 at = 0;

	out->expected = reader_allocate(reader, sharing->terms.count,
									sizeof(int32_t), "policies");
	out->starts =
		reader_allocate(reader, views + 1, sizeof(int32_t), "policies");
	out->outcomes = reader_allocate(reader, most, sizeof(int32_t), "policies");
	out->of_outcome =
		reader_allocate(reader, most, sizeof(int32_t), "policies");
	out->ambiguity =
		reader_allocate(reader, views, sizeof(int32_t), "policies");
	if (of_term == NULL || out->expected == NULL || out->starts == NULL ||
		out->outcomes == NULL || out->of_outcome == NULL ||
		out->ambiguity == NULL)
		return false;
	memset(of_term, -1, (size_t) sharing->terms.count * sizeof(int32_t));
	for (int32_t v = 0; v < views; v++)
	{
		const int32_t *list =
			sharing->lists.items + (int64_t) v * sharing->lists.width;

		for (int32_t o = 0; o < sharing->outcomes; o++)
		{
			int32_t term = list[o];

			if (term == 0)
				continue;
			if (of_term[term] < 0)
			{
				of_term[term] = out->expected_count;
				out->expected[out->expected_count++] = term;
			}
			out->outcomes[at] = o;
			out->of_outcome[at++] = of_term[term];
		}
		out->ambiguity[v] = list[sharing->outcomes];
		out->starts[v + 1] = at;
	}
	return true;
}

/*
 * The sums of all parents, one after another, and the terms.  False without
 * memory.
 */
static bool
keep_numbers(Sharing *sharing, PlanNumbers *out)
{
	Reader *reader = &sharing->spec->reader;
	int64_t sums = 0;

	out->sum_starts = reader_allocate(reader, sharing->parents + 1,
									  sizeof(int32_t), "policies");
	for (int32_t i = 0; out->sum_starts != NULL && i < sharing->parents; i++)
		out->sum_starts[i + 1] = (int32_t) (sums += sharing->sums[i].count);
	out->sums = reader_allocate(reader, 2 * sums, sizeof(int32_t), "policies");
	out->product_count = sharing->products.count;
	out->products = sharing->products.items;
	out->term_count = sharing->terms.count;
	out->terms = reader_allocate(reader, 2 * (int64_t) out->term_count,
								 sizeof(int32_t), "policies");
	out->weights =
		reader_allocate(reader, out->term_count, sizeof(double), "policies");
	if (out->sum_starts == NULL || out->sums == NULL || out->terms == NULL ||
		out->weights == NULL)
		return false;
	for (int32_t i = 0; i < sharing->parents; i++)
	{
		if (sharing->sums[i].count > 0)
			memcpy(out->sums + 2 * (int64_t) out->sum_starts[i],
				   sharing->sums[i].items,
				   2 * (size_t) sharing->sums[i].count * sizeof(int32_t));
	}
	for (int32_t k = 1; k < out->term_count; k++)
	{
		const int32_t *tuple = sharing->terms.items + 4 * (int64_t) k;

		memcpy(out->terms + 2 * (int64_t) k, tuple, 2 * sizeof(int32_t));
		memcpy(&out->weights[k], tuple + 2, sizeof(double));
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

	if (!find_classes(sharing))
		return false;
	if (sharing->joint > *left)
		return true;
	if (!reduce_A(sharing))
		return false;
	if (!within_bounds(sharing, left))
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
		if (!make_sums(sharing, i))
			return false;
	}
	if (!terms_begin(sharing))
		return false;
	for (int32_t t = 0; t < length; t++)
	{
		if (!merge_views(sharing, t, of_view, sums))
			return false;
		starts[t + 1] = sharing->lists.count;
	}
	if (!keep_numbers(sharing, &numbers) || !keep_lists(sharing, &numbers))
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
