/*
 * size.c
 *		The shapes of A and B, and the sizes of variables that follow from them.
 *
 * A of modality m is [O(m)][S of each parent], B of factor f is
 * [S(f)][S of each parent][actions of each control].  In memory a column is
 * contiguous, and B's columns are ordered by the flat action first:
 *		A: position = p * O(m) + o
 *		B: position = (u * P(f) + p) * S(f) + s
 *
 * Columns are contiguous because a step reads whole columns; the action comes
 * first because a step of the plan reads those of one action.
 *
 * Sizes come from three sources: what people said, what arrays show, and what
 * follows.  The first counts for most, and each array is then held against it.
 */
#include <string.h>

#include "compile.h"

/*
 * Strides of axes [from, to), the last one the fastest; returns the stride of
 * what comes above them.  stride is that of the last of them.
 */
static int64_t
set_strides(Layout *layout, int32_t from, int32_t to, int64_t stride)
{
	for (int32_t axis = to; axis-- > from;)
	{
		layout->strides[axis] = stride;
		stride *= layout->sizes[axis];
	}
	return stride;
}

/*
 * A: the outcome, then the parents.  Sizes not known are 0.  False if there
 * are too many axes or elements to count.  Without parents given they are all
 * factors, as by default.
 */
bool
layout_of_A(const Spec *spec, int32_t m, Layout *layout)
{
	const IndexList *parents = &spec->modality[m].parents;
	int32_t count = parents->given ? parents->count : spec->factors.count;

	memset(layout, 0, sizeof(Layout));
	if (!layout_add_axis(layout, spec->modalities.variables[m].size))
		return false;
	for (int32_t k = 0; k < count; k++)
	{
		int32_t parent = parents->given ? parents->items[k] : k;

		if (!layout_add_axis(layout, spec->factors.variables[parent].size))
			return false;
	}
	layout->strides[0] = 1;
	(void) set_strides(layout, 1, layout->rank, layout->sizes[0]);
	return true;
}

/*
 * B: the next state, the parents, the controls.  Where all its controls have
 * one action, their axes may be left out; what has not been said about
 * dependencies yet is taken as the default, so that match.c can use it.
 */
bool
layout_of_B(const Spec *spec, int32_t f, Layout *layout)
{
	const SpecFactor *factor = &spec->factor[f];
	int32_t parents = factor->parents.given ? factor->parents.count : 1;
	int32_t controls = factor->controls.given ? factor->controls.count : 1;
	int64_t stride;

	memset(layout, 0, sizeof(Layout));
	layout->optional = controls;
	if (!layout_add_axis(layout, spec->factors.variables[f].size))
		return false;
	for (int32_t k = 0; k < parents; k++)
	{
		int32_t parent = factor->parents.given ? factor->parents.items[k] : f;

		if (!layout_add_axis(layout, spec->factors.variables[parent].size))
			return false;
	}
	for (int32_t k = 0; k < controls; k++)
	{
		int64_t size =
			factor->controls.given ?
				spec->controls.variables[factor->controls.items[k]].size :
				0;

		if (!layout_add_axis(layout, size))
			return false;
		if (size > 1)
			layout->optional = 0;
	}

	/* no control: an axis of size 1 may be there all the same */
	if (controls == 0 && layout_add_axis(layout, 1))
		layout->optional = 1;
	layout->strides[0] = 1;
	stride = set_strides(layout, 1, 1 + parents, layout->sizes[0]);
	(void) set_strides(layout, 1 + parents, layout->rank, stride);
	return true;
}

/* ---------- measuring ---------- */

/*
 * Sets a size that is not known yet.  What was said comes before what is seen:
 * an array that differs is the one to complain of.
 */
static void
learn_size(Variable *variable, int64_t size)
{
	if (variable->size == 0)
		variable->size = (int32_t) size;
}

/*
 * The shape of one array as it is written, into tensor; false with a problem.
 * value is NULL where there is no array.
 */
static bool
measure(Spec *spec, const Group *group, int32_t i, const char *key,
		const JsonValue *value, Tensor *tensor)
{
	place_of(&tensor->place, key, group, i);
	tensor->nonnegative = true;
	tensor->value = value;
	if (value == NULL)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID,
					   tensor->place.path, NULL, NULL, "%s is missing",
					   tensor->place.shown);
		return false;
	}
	return tensor_shape(&spec->reader, &tensor->place, value,
						group == &spec->factors, &tensor->shape);
}

/*
 * The shapes of all A, and the numbers of outcomes that they show.  Only the
 * first axis is of use: the sizes of the others belong to factors, and B shows
 * those.
 */
static void
measure_A(Spec *spec)
{
	const JsonValue **items = group_items(&spec->reader, &spec->modalities, "A",
										  spec_member(spec, "A"));

	for (int32_t m = 0; items != NULL && m < spec->modalities.count; m++)
	{
		SpecModality *modality = &spec->modality[m];

		reader_poll(&spec->reader);
		modality->shaped = measure(spec, &spec->modalities, m, "A", items[m],
								   &modality->tensor);

		/* an array with the wrong number of axes shows nothing */
		if (modality->shaped && !modality->parents.bad &&
			modality->tensor.shape.rank == 1 + modality->parents.count)
			learn_size(&spec->modalities.variables[m],
					   modality->tensor.shape.sizes[0]);
	}
}

/*
 * The size of B's axis for the factor's own state; 0 where there is none.  For
 * {"next": ...} it is the only one that shows the number of states.
 */
static int64_t
own_axis(const SpecFactor *factor, int32_t f)
{
	const Shape *shape = &factor->tensor.shape;

	for (int32_t k = 0; k < factor->parents.count; k++)
	{
		if (factor->parents.items[k] == f && 1 + k < shape->rank)
			return shape->sizes[1 + k];
	}
	return 0;
}

/*
 * Does B have this many axes, with those of the actions or without?  Without
 * knowing the controls any number will do.
 */
static bool
has_rank(const SpecFactor *factor, int32_t rank)
{
	int32_t states = 1 + factor->parents.count;

	return factor->controls.bad || rank == states ||
		   rank == states + factor->controls.count ||
		   (factor->controls.count == 0 && rank == states + 1);
}

/*
 * The number of states that B shows, where nobody has given it: by its first
 * axis, and by that of the factor's own state where it has one.  They must
 * agree, as it is not to be seen which of them is wrong.
 */
static void
measure_states(Spec *spec, int32_t f)
{
	SpecFactor	*factor = &spec->factor[f];
	Variable	*states = &spec->factors.variables[f];
	const Shape *shape = &factor->tensor.shape;
	int64_t		 own = own_axis(factor, f);

	if (states->size != 0 || factor->parents.bad ||
		!has_rank(factor, shape->rank))
		return;
	if (shape->form == FORM_NEXT || own == 0 || own == shape->sizes[0])
	{
		learn_size(states, shape->form == FORM_NEXT ? own : shape->sizes[0]);
		return;
	}
	kernel_problem(spec->reader.problems, KERNEL_INVALID,
				   factor->tensor.place.path,
				   "The first axis of B is the next state; those after it are "
				   "the states of the factors that it depends on.",
				   "The actions are the last axis: B[f][next state][states "
				   "...][actions ...].",
				   "the first axis of %s has size %lld, but that of the same "
				   "states before has size %lld",
				   factor->tensor.place.shown, (long long) shape->sizes[0],
				   (long long) own);
	factor->shaped = false;
}

/*
 * The shapes of all B, and the numbers of states that they show.
 */
static void
measure_B(Spec *spec)
{
	const JsonValue **items =
		group_items(&spec->reader, &spec->factors, "B", spec_member(spec, "B"));

	for (int32_t f = 0; items != NULL && f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];

		reader_poll(&spec->reader);
		factor->shaped =
			measure(spec, &spec->factors, f, "B", items[f], &factor->tensor);
		factor->tensor.rows = &spec->factors.variables[f];
		if (factor->shaped)
			measure_states(spec, f);
	}
}

/*
 * Numbers of actions that nobody gave: B's last axes show them.  Of several
 * factors that share a control, the first shows it and the others are checked
 * against it.
 */
static void
measure_controls(Spec *spec)
{
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const SpecFactor *factor = &spec->factor[f];
		const IndexList	 *controls = &factor->controls;
		const Shape		 *shape = &factor->tensor.shape;
		int32_t			  first = 1 + factor->parents.count;

		reader_poll(&spec->reader);
		if (!factor->shaped || factor->parents.bad || controls->bad)
			continue;
		for (int32_t k = 0; k < controls->count; k++)
		{
			Variable *control = &spec->controls.variables[controls->items[k]];

			if (shape->rank == first + controls->count)
				learn_size(control, shape->sizes[first + k]);
		}
	}

	/* no axis for them: one action each */
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const SpecFactor *factor = &spec->factor[f];
		const IndexList	 *controls = &factor->controls;

		if (!factor->shaped || factor->parents.bad || controls->bad ||
			factor->tensor.shape.rank != 1 + factor->parents.count)
			continue;
		for (int32_t k = 0; k < controls->count; k++)
			learn_size(&spec->controls.variables[controls->items[k]], 1);
	}
}

/* ---------- checking ---------- */

/*
 * What the axes of an array mean, for the detail of problems with it, as one
 * sentence into tensor->axes; it ends where the room does, however many there
 * are; and why some of them may be missing.  controls is NULL for A.
 */
static void
describe_axes(Tensor *tensor, const Spec *spec, const char *first,
			  const IndexList *parents, const IndexList *controls)
{
	size_t size = sizeof(tensor->axes);
	char   quoted[80];

	text_print(tensor->axes, size, "The axes are %s", first);
	for (int32_t k = 0; k < parents->count && strlen(tensor->axes) < size - 1;
		 k++)
		text_add(tensor->axes, size, ", the states of %s",
				 text_quote(quoted,
							spec->factors.variables[parents->items[k]].name));
	for (int32_t k = 0; controls != NULL && k < controls->count &&
						strlen(tensor->axes) < size - 1;
		 k++)
		text_add(tensor->axes, size, ", the actions of %s",
				 text_quote(quoted,
							spec->controls.variables[controls->items[k]].name));
	text_add(tensor->axes, size, ".");
	if (controls == NULL)
		tensor->fewer = "An array of A depends on all factors, unless "
						"A_dependencies or the modality's depends_on names "
						"those that it has axes for.";
	else if (controls->count > 0)
		tensor->fewer = "The last axis of B is that of the actions, which only "
						"factors with one action may leave out.";
}

/*
 * Does the array fit, and is all known that it takes to read it?  laid_out
 * tells whether its layout could be made at all.
 */
static bool
check_layout(Spec *spec, Tensor *tensor, bool laid_out)
{
	if (!laid_out)
	{
		kernel_problem(spec->reader.problems, KERNEL_LIMIT, tensor->place.path,
					   tensor->axes,
					   "Name the dependencies: without them A "
					   "depends on all factors.",
					   "%s has too many axes or elements", tensor->place.shown);
		return false;
	}
	return tensor_fits(&spec->reader, tensor) && tensor->layout.elements > 0;
}

/*
 * The layout of A, and that the array fits it.  L(A) is kept by outcome, with
 * the joint states as rows, so these must be countable by int32.
 * modality->fits says that the array may be read.
 */
static void
check_A(Spec *spec, int32_t m)
{
	SpecModality *modality = &spec->modality[m];
	Tensor		 *tensor = &modality->tensor;

	if (!modality->shaped || modality->parents.bad)
		return;
	describe_axes(tensor, spec, "the outcome", &modality->parents, NULL);
	if (!check_layout(spec, tensor, layout_of_A(spec, m, &tensor->layout)))
		return;
	modality->parent_states = tensor->layout.elements / tensor->layout.sizes[0];
	modality->fits = modality->parent_states <= INT32_MAX;
	if (!modality->fits)
		kernel_problem(spec->reader.problems, KERNEL_LIMIT, tensor->place.path,
					   tensor->axes,
					   "Name the dependencies: without them A "
					   "depends on all factors.",
					   "%s has %lld columns, more than the limit of %d",
					   tensor->place.shown, (long long) modality->parent_states,
					   INT32_MAX);
}

/*
 * The layout of B, and that the array fits it; and the numbers of joint
 * actions and of joint states that follow.  factor->fits says that the array
 * may be read.
 */
static void
check_B(Spec *spec, int32_t f)
{
	SpecFactor *factor = &spec->factor[f];
	Tensor	   *tensor = &factor->tensor;

	if (!factor->shaped || factor->parents.bad || factor->controls.bad)
		return;
	describe_axes(tensor, spec, "the next state", &factor->parents,
				  &factor->controls);
	if (!check_layout(spec, tensor, layout_of_B(spec, f, &tensor->layout)))
	{
		if (tensor->shape.form == FORM_NEXT &&
			spec->factors.variables[f].size == 0)
			kernel_problem(
				spec->reader.problems, KERNEL_INVALID, tensor->place.path,
				"\"next\" shows it only where "
				"the factor depends on itself.",
				"Give the factor its \"states\".",
				"the number of states of %s is not known", tensor->place.shown);
		return;
	}
	factor->actions = 1;
	for (int32_t axis = 1 + factor->parents.count; axis < tensor->layout.rank;
		 axis++)
		factor->actions *= tensor->layout.sizes[axis];
	factor->parent_states =
		tensor->layout.elements / tensor->layout.sizes[0] / factor->actions;
	factor->fits = factor->actions <= INT32_MAX;
	if (!factor->fits)
		kernel_problem(spec->reader.problems, KERNEL_LIMIT, tensor->place.path,
					   tensor->axes, NULL,
					   "%s has %lld joint actions, more "
					   "than the limit of %d",
					   tensor->place.shown, (long long) factor->actions,
					   INT32_MAX);
}

/*
 * A control that drives nothing has no array to show its size.  Where some B
 * has a problem of its own, that may be the reason, and nothing is said.
 */
static void
check_controls(Spec *spec)
{
	bool blamed = false;
	char quoted[80];

	for (int32_t f = 0; f < spec->factors.count; f++)
		blamed |= !spec->factor[f].fits;
	for (int32_t c = 0; !blamed && c < spec->controls.count; c++)
	{
		if (spec->controls.variables[c].size == 0)
			kernel_problem(
				spec->reader.problems, KERNEL_INVALID, "controls", NULL, NULL,
				"control %s drives no factor and has no "
				"number of actions",
				text_quote(quoted, spec->controls.variables[c].name));
	}
}

/*
 * All sizes that can be known, and the arrays that fit them (fits).  False
 * only where memory was short: problems leave their arrays out.
 */
bool
spec_shapes(Spec *spec)
{
	measure_A(spec);
	measure_B(spec);
	if (!spec->controls_bad)
		measure_controls(spec);
	if (spec->reader.failed)
		return false;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		reader_poll(&spec->reader);
		check_A(spec, m);
	}
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		reader_poll(&spec->reader);
		check_B(spec, f);
	}
	check_controls(spec);
	return true;
}
