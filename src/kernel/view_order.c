/*
 * view_order.c
 *		The order in which the views of a modality are evaluated.
 *
 * A dense A with several parents is summed over one parent after another, and
 * views that agree in the first of them share those sums (lanes_plan.h).  So
 * the parent with the fewest moves comes first, and views are numbered in such
 * an order that those that agree are neighbours.
 */
#include <string.h>

#include "compile.h"

/*
 * axes [parents]: the parents by their number of moves, the fewest first;
 * among equals as they are listed.
 */
static void
order_axes(const Spec *spec, const IndexList *parents, int32_t *axes)
{
	const PlanNodes *moves = spec->plan.moves;

	for (int32_t i = 0; i < parents->count; i++)
	{
		int32_t at = i;

		while (at > 0 && moves[parents->items[axes[at - 1]]].count >
							 moves[parents->items[i]].count)
		{
			axes[at] = axes[at - 1];
			at--;
		}
		axes[at] = i;
	}
}

/*
 * One pass of a sort by counting: the views in the order from [count], by
 * their move of one parent, into the order to [count]; those with equal moves
 * stay as they were.  tally has room for moves + 1.
 */
static void
sort_by_parent(const PlanNodes *views, int32_t width, int32_t axis,
			   int32_t moves, const int32_t *from, int32_t *to, int32_t *tally)
{
	const int32_t *parents = views->parents + axis;

	memset(tally, 0, ((size_t) moves + 1) * sizeof(int32_t));
	for (int32_t v = 0; v < views->count; v++)
		tally[parents[(int64_t) v * width] + 1]++;
	for (int32_t i = 0; i < moves; i++)
		tally[i + 1] += tally[i];
	for (int32_t v = 0; v < views->count; v++)
		to[tally[parents[(int64_t) from[v] * width]]++] = from[v];
}

/*
 * Gives the views the numbers that are their places in order [count].
 * numbers [count] and parents [count][width] are room for what replaces the
 * old ones.
 */
static void
renumber(const Spec *spec, PlanNodes *views, const int32_t *order,
		 int32_t width, int32_t *numbers, int32_t *parents)
{
	for (int32_t v = 0; v < views->count; v++)
	{
		memcpy(parents + (int64_t) v * width,
			   views->parents + (int64_t) order[v] * width,
			   (size_t) width * sizeof(int32_t));
		numbers[order[v]] = v;
	}
	views->parents = parents;
	for (int32_t b = 0; b < spec->plan.branch_count; b++)
		views->of_branch[b] = numbers[views->of_branch[b]];
}

/*
 * Is it less work to sum one parent after another away than to make the
 * products of all parents' beliefs?  Counted in multiplications, over all
 * views, what neighbours share being done once.  Sets views->contracted and
 * views->work.
 */
static void
choose_contraction(const Spec *spec, int32_t m, PlanNodes *views)
{
	const SpecModality *modality = &spec->modality[m];
	const IndexList	   *parents = &modality->parents;
	double				contracted = 0.0;
	double				mixed =
		(double) views->count * (3.0 * (double) modality->parent_states +
								 (modality->rows.starts != NULL ?
									  2.0 * (double) modality->rows.entries :
									  (double) modality->A.entries));

	views->work = mixed;
	if (parents->count < 2 || modality->A.sparse || modality->gain != NULL ||
		modality->A.entries >
			spec->reader.host->max_model_size / BYTES_OF_A_TABLE_ENTRY)
		return;
	for (int32_t v = 0; v < views->count; v++)
	{
		const int32_t *view = views->parents + (int64_t) v * parents->count;
		double size = (double) modality->parent_states * (modality->A.rows + 1);
		bool   same = v > 0;

		for (int32_t i = 0; i < parents->count; i++)
		{
			int32_t axis = views->axes[i];

			same = same && i < parents->count - 1 &&
				   view[axis] == view[axis - parents->count];
			contracted += same ? 0.0 : size;
			size /= spec->factors.variables[parents->items[axis]].size;
		}
	}
	views->contracted = contracted < mixed;
	if (views->contracted)
		views->work = contracted;
}

/*
 * The place of a joint state [count] of the parents, row-major as they are
 * listed, once they are in the order of axes.
 */
int64_t
kernel_place_by_axes(int64_t joint, const int32_t *sizes, const int32_t *axes,
					 int32_t count)
{
	int64_t place = 0;

	for (int32_t k = 0; k < count; k++)
	{
		int64_t after = 1;

		for (int32_t i = axes[k] + 1; i < count; i++)
			after *= sizes[i];
		place = place * sizes[axes[k]] + joint / after % sizes[axes[k]];
	}
	return place;
}

/*
 * Is there room for the table of modality m in a model that could be without?
 */
static bool
has_room(const Spec *spec, int32_t m)
{
	const SpecModality *modality = &spec->modality[m];
	double bytes = (double) modality->parent_states * (modality->A.rows + 1) *
					   sizeof(double) +
				   BLOCK_ALIGNMENT;

	return bytes <= (double) reader_left(&spec->reader, block_size(spec));
}

/*
 * The table that is summed over: the columns of A with their ambiguity behind
 * them, which comes out of the same sums, and the parents in the order in which
 * they are summed away, so that what is left is always one piece.  Only where
 * views are contracted and there is room.  False without memory.
 */
bool
views_table(Spec *spec, int32_t m)
{
	PlanNodes		   *views = &spec->plan.views[m];
	const SpecModality *modality = &spec->modality[m];
	int32_t				parents = modality->parents.count;
	int32_t				outcomes = modality->A.rows;
	int32_t			   *sizes;

	if (views->contracted && !has_room(spec, m))
		views->contracted = false;
	if (!views->contracted)
		return true;
	sizes =
		reader_allocate(&spec->reader, parents, sizeof(int32_t), "policies");
	views->table =
		reader_allocate(&spec->reader, modality->parent_states * (outcomes + 1),
						sizeof(double), "policies");
	if (sizes == NULL || views->table == NULL)
		return false;
	for (int32_t i = 0; i < parents; i++)
		sizes[i] = spec->factors.variables[modality->parents.items[i]].size;
	for (int64_t p = 0; p < modality->parent_states; p++)
	{
		double *column = views->table +
						 kernel_place_by_axes(p, sizes, views->axes, parents) *
							 (outcomes + 1);

		memcpy(column, modality->A.values + p * outcomes,
			   (size_t) outcomes * sizeof(double));
		column[outcomes] = modality->ambiguity[p];
		if ((p & 0xfff) == 0)
			reader_poll(&spec->reader);
	}
	return true;
}

/*
 * Sorts the views of modality m by their moves in the order of views->axes,
 * which is set here.  The last axis is the first to be sorted by, as each pass
 * keeps the order of the one before.  Moves are numbered by plan step, so the
 * views of a step stay together and the steps in order.  False without memory.
 */
bool
views_sort(Spec *spec, int32_t m, const ViewRoom *room)
{
	Reader			*reader = &spec->reader;
	const IndexList *parents = &spec->modality[m].parents;
	PlanNodes		*views = &spec->plan.views[m];
	int32_t			*order = room->order[0];
	int32_t			*sorted = room->order[1];
	int32_t			*axes;
	int32_t			*renumbered;

	axes = reader_allocate(reader, parents->count, sizeof(int32_t), "policies");
	renumbered =
		reader_allocate(reader, (int64_t) views->count * parents->count,
						sizeof(int32_t), "policies");
	if (axes == NULL || renumbered == NULL)
		return false;
	order_axes(spec, parents, axes);
	views->axes = axes;
	for (int32_t v = 0; v < views->count; v++)
		order[v] = v;
	for (int32_t i = parents->count - 1; i >= 0; i--)
	{
		int32_t *swap = order;

		sort_by_parent(views, parents->count, axes[i],
					   spec->plan.moves[parents->items[axes[i]]].count, order,
					   sorted, room->tally);
		order = sorted;
		sorted = swap;
		reader_poll(reader);
	}
	renumber(spec, views, order, parents->count, sorted, renumbered);
	choose_contraction(spec, m, views);
	return true;
}
