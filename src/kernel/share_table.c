/*
 * share_table.c
 *		A as shared numbers are made of it: its columns by joint class of states,
 *		its entries by outcome.
 */
#include <string.h>

#include "share.h"

/*
 * The classes of all parents.  False without memory.
 */
bool
sharing_classes(Sharing *sharing)
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
bool
sharing_reduce(Sharing *sharing)
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
