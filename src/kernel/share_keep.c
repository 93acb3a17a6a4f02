/*
 * share_keep.c
 *		Shared numbers as the arrays of the plan.
 */
#include <string.h>

#include "share.h"

/*
 * The lists of the views without what is impossible, and the distinct expected
 * probabilities.  Those of one list stand in the order of outcomes.  False
 * without memory.
 */
bool
sharing_keep_lists(Sharing *sharing, PlanNumbers *out)
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
bool
sharing_keep_numbers(Sharing *sharing, PlanNumbers *out)
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
