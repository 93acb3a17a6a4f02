/*
 * shape.c
 *		The shape of an array as it was written, and the one it must have.
 *
 * Both are compared before any number is read: an array whose shape is wrong
 * has one problem, and not one for each number that is out of place.  Sizes
 * from a spec are bounded here (MAX_COUNT), products of them are checked for
 * overflow.
 */
#include <string.h>

#include "compile.h"

/*
 * (5, 3, ?), or (5,) as people who know numpy write it; 0: not known.  size is
 * that of the buffer.
 */
static void
shape_print(char *buffer, size_t size, const int64_t *sizes, int32_t rank)
{
	text_print(buffer, size, "(");
	for (int32_t i = 0; i < rank; i++)
	{
		text_add(buffer, size, "%s", i > 0 ? ", " : "");
		if (sizes[i] == 0)
			text_add(buffer, size, "?");
		else
			text_add(buffer, size, "%lld", (long long) sizes[i]);
	}
	text_add(buffer, size, rank == 1 ? ",)" : ")");
}

/*
 * Tells the sparse form from an object by label.  Labels named "shape" or
 * "entries" cannot be given by label; they can still be given in a list.
 */
bool
tensor_is_sparse(const JsonValue *value)
{
	return json_member(value, "shape") != NULL ||
		   json_member(value, "entries") != NULL;
}

/*
 * The shape of nested lists, as the first element of each level shows it, into
 * the axes from "from" on.  Whether the others agree is seen when the numbers
 * are read, as it takes a walk over all of them.
 */
static bool
shape_of_nested(Reader *reader, const Place *place, const JsonValue *value,
				int32_t from, Shape *shape)
{
	shape->rank = from;
	for (; value->kind == JSON_ARRAY; value = &value->as.elements[0])
	{
		if (value->count == 0)
		{
			kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
						   NULL, "%s has an empty array", place->shown);
			return false;
		}
		if (shape->rank == MAX_RANK)
		{
			kernel_problem(reader->problems, KERNEL_LIMIT, place->path, NULL,
						   NULL, "%s has more than %d axes", place->shown,
						   MAX_RANK);
			return false;
		}
		shape->sizes[shape->rank++] = value->count;
	}
	return true;
}

/*
 * The member "shape" of a sparse form, and that it has no members which would
 * be ignored.  It is believed as it stands: nothing is allocated by it alone.
 */
static bool
shape_of_sparse(Reader *reader, const Place *place, const JsonValue *value,
				Shape *shape)
{
	static const char *const keys[] = {"shape", "default", "entries", NULL};
	const JsonValue			*sizes = json_member(value, "shape");
	char					 text[80];

	if (!names_check_keys(reader, place->path, value, keys, NULL))
		return false;
	if (sizes == NULL || sizes->kind != JSON_ARRAY || sizes->count == 0 ||
		sizes->count > MAX_RANK)
	{
		kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
					   "Write {\"shape\": [3, 3], \"default\": 0, "
					   "\"entries\": [[0, 1, 1.0]]}.",
					   "the shape of %s must be an array of its sizes",
					   place->shown);
		return false;
	}
	shape->rank = sizes->count;
	for (int32_t i = 0; i < sizes->count; i++)
	{
		const JsonValue *size = &sizes->as.elements[i];

		if (size->kind != JSON_NUMBER || !(size->as.number >= 1) ||
			size->as.number > MAX_COUNT ||
			size->as.number != (int32_t) size->as.number)
		{
			kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL,
						   NULL, "the shape of %s has %s as a size",
						   place->shown, text_value(text, size));
			return false;
		}
		shape->sizes[i] = (int32_t) size->as.number;
	}
	return true;
}

/*
 * The shape of an array as it is written, in whichever form; next_allowed for
 * B alone.  False with a problem at place.
 */
bool
tensor_shape(Reader *reader, const Place *place, const JsonValue *value,
			 bool next_allowed, Shape *shape)
{
	static const char *const next_keys[] = {"next", NULL};
	const JsonValue			*next = json_member(value, "next");
	char					 text[80];

	memset(shape, 0, sizeof(Shape));
	if (value->kind == JSON_ARRAY)
		return shape_of_nested(reader, place, value, 0, shape);
	if (next_allowed && next != NULL)
	{
		shape->form = FORM_NEXT;
		return names_check_keys(reader, place->path, value, next_keys, NULL) &&
			   shape_of_nested(reader, place, next, 1, shape);
	}
	shape->form = FORM_SPARSE;
	if (value->kind == JSON_OBJECT)
		return shape_of_sparse(reader, place, value, shape);
	kernel_problem(reader->problems, KERNEL_INVALID, place->path, NULL, NULL,
				   "%s must be an array, not %s", place->shown,
				   text_value(text, value));
	return false;
}

/*
 * One axis more; false where the elements can no longer be counted.  A size of
 * 0 is one that is not known, and makes the elements 0.
 */
bool
layout_add_axis(Layout *layout, int64_t size)
{
	if (layout->rank == 0)
		layout->elements = 1;
	if (layout->rank == MAX_RANK ||
		__builtin_mul_overflow(layout->elements, size, &layout->elements))
		return false;
	layout->sizes[layout->rank++] = size;
	return true;
}

/*
 * Positions as in C: the last axis is the fastest.  For arrays whose order in
 * memory is that of their axes; A and B have one of their own (size.c).
 */
void
layout_row_major(Layout *layout)
{
	int64_t stride = 1;

	for (int32_t i = layout->rank; i-- > 0;)
	{
		layout->strides[i] = stride;
		stride *= layout->sizes[i];
	}
}

/*
 * Optional axes may be absent, all of them; unknown sizes (0) fit any.
 */
bool
layout_fits(const Layout *layout, const Shape *shape)
{
	if (shape->rank != layout->rank &&
		shape->rank != layout->rank - layout->optional)
		return false;
	for (int32_t i = 0; i < shape->rank; i++)
	{
		if (shape->sizes[i] != layout->sizes[i] && shape->sizes[i] != 0 &&
			layout->sizes[i] != 0)
			return false;
	}
	return true;
}

/*
 * Are count axes of the shape that was written, from its start-th on, those of
 * the layout from its first-th on?
 */
static bool
axes_match(const Shape *shape, int32_t start, const Layout *layout,
		   int32_t first, int32_t count)
{
	for (int32_t i = 0; i < count; i++)
	{
		if (layout->sizes[first + i] != 0 &&
			layout->sizes[first + i] != shape->sizes[start + i])
			return false;
	}
	return true;
}

/*
 * What may be meant by a shape that does not fit: the commonest mistakes of
 * those who come from pymdp, or NULL.  An Agent's arrays have an axis for its
 * batch before all others.
 */
static const char *
shape_hint(const Tensor *tensor)
{
	const Layout *layout = &tensor->layout;
	const Shape	 *shape = &tensor->shape;
	int32_t		  rank = layout->rank;

	if (shape->form != FORM_NESTED)
		return NULL;
	if (shape->rank == rank + 1 && axes_match(shape, 1, layout, 0, rank))
		return "Arrays of a pymdp Agent begin with an axis for its batch: "
			   "leave that axis out.";
	/* an array of two axes has none of actions, and one parent */
	if (shape->rank < rank && shape->rank >= 2 && tensor->fewer != NULL)
		return tensor->fewer;
	if (shape->rank == rank - 1 && axes_match(shape, 0, layout, 1, rank - 1))
		return "A and B are lists, with an array for each modality and for "
			   "each factor; put one that is alone into brackets, too.";
	/* (the size of the first axis may be known from this array alone) */
	if (shape->rank == rank && rank == 2 && axes_match(shape, 0, layout, 1, 1))
		return "The first axis is that of the outcomes, or next states: the "
			   "array may be transposed.";
	if (shape->rank == rank && rank > 2 &&
		axes_match(shape, 1, layout, 0, rank - 1) &&
		axes_match(shape, 0, layout, rank - 1, 1))
		return "The actions are the last axis: numpy.moveaxis(B, 0, -1).";
	return NULL;
}

/*
 * Complains, and is false, where the shape that was written is not the one
 * that must be.  Both are shown, and what the axes mean: the usual mistake is
 * an axis left out or two exchanged.
 */
bool
tensor_fits(Reader *reader, const Tensor *tensor)
{
	int32_t		skip = tensor->shape.form == FORM_NEXT ? 1 : 0;
	const char *hint = shape_hint(tensor);
	char		found[160];
	char		wanted[160];

	if (layout_fits(&tensor->layout, &tensor->shape))
		return true;
	shape_print(found, sizeof(found), tensor->shape.sizes + skip,
				tensor->shape.rank - skip);
	shape_print(wanted, sizeof(wanted), tensor->layout.sizes + skip,
				tensor->layout.rank - skip);
	kernel_problem(reader->problems, KERNEL_INVALID, tensor->place.path,
				   tensor->axes, hint, "%s%s has shape %s, expected %s",
				   skip ? "\"next\" of " : "", tensor->place.shown, found,
				   wanted);
	return false;
}
