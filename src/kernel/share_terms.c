/*
 * share_terms.c
 *		The shared numbers of a modality: sums of states, products of sums, terms,
 *		and the views that have equal ones.
 */
#include <string.h>

#include "share.h"

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

/* ---------- how many there may be ---------- */

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
bool
sharing_within(const Sharing *sharing, int64_t *left)
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
bool
sharing_sums(Sharing *sharing, int32_t i)
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
bool
sharing_merge_views(Sharing *sharing, int32_t t, int32_t *of_view,
					int32_t *sums)
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
bool
sharing_terms_begin(Sharing *sharing)
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
