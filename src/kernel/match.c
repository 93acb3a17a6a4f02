/*
 * match.c
 *		The order of what pymdp's compile_model configuration names.
 *
 * There factors, modalities and controls are the members of objects, in an
 * order that jsonb does not keep.  The order of the lists A and B is found by
 * shape, and that of the controls by B_action_dependencies.  What is left in
 * doubt is a problem, never a guess.
 *
 * Matching by shape is worth its rules because such configurations are what
 * pymdp's users have: where all shapes differ, as they mostly do, a spec works
 * as it is.
 */
#include <string.h>

#include "compile.h"

/* ---------- by shape ---------- */

/*
 * Says that an array may belong to either of two variables, and how to say to
 * which.  Always false.
 */
static bool
ambiguous(Spec *spec, const Group *group, const char *path, int32_t one,
		  int32_t other)
{
	char hint[TEXT_SIZE];
	char detail[TEXT_SIZE];
	char quoted[2][80];

	text_print(detail, sizeof(detail),
			   "The %s are the members of an object, "
			   "whose order jsonb does not keep, so their order must follow "
			   "from the shapes in the list.",
			   group->plural);
	text_print(hint, sizeof(hint),
			   "Give %.1s as an object by name, or name "
			   "the %s in a list \"%s\": [{\"name\": ...}, ...].",
			   path, group->plural, group->plural);
	kernel_problem(spec->reader.problems, KERNEL_INVALID, path, detail, hint,
				   "%s may belong to %s or to %s", path,
				   text_quote(quoted[0], group->variables[one].name),
				   text_quote(quoted[1], group->variables[other].name));
	return false;
}

/*
 * The one variable whose array has this shape, or -1 with a problem.  Sizes
 * are all known here, except for actions of a factor's own control.  Every
 * variable is looked at even after one was found, as a second one that fits
 * makes the first a guess.
 */
static int32_t
match_one(Spec *spec, const Group *group, const char *path, const Shape *shape)
{
	int32_t found = -1;
	Layout	layout;

	reader_poll(&spec->reader);
	for (int32_t i = 0; i < group->count; i++)
	{
		if (!(group == &spec->factors ? layout_of_B(spec, i, &layout) :
										layout_of_A(spec, i, &layout)) ||
			!layout_fits(&layout, shape))
			continue;
		if (found >= 0)
		{
			(void) ambiguous(spec, group, path, found, i);
			return -1;
		}
		found = i;
	}
	if (found < 0)
		kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
					   "the shape of %s fits none of the %s", path,
					   group->plural);
	return found;
}

/*
 * Finds to [group->count], where to[i] is the place in the list of what is
 * variable i now.  Each array must fit one variable only, and each variable
 * must get one; false where not.
 */
static bool
match_list(Spec *spec, const Group *group, const char *key,
		   const JsonValue *list, int32_t *to)
{
	Place	place;
	Shape	shape;
	int32_t found;

	for (int32_t i = 0; i < group->count; i++)
		to[i] = -1;
	for (int32_t i = 0; i < group->count; i++)
	{
		text_print(place.path, sizeof(place.path), "%s[%d]", key, i);
		text_print(place.shown, sizeof(place.shown), "%s", place.path);
		if (!tensor_shape(&spec->reader, &place, &list->as.elements[i],
						  group == &spec->factors, &shape))
			return false;
		found = match_one(spec, group, place.path, &shape);
		if (found < 0)
			return false;
		if (to[found] >= 0)
		{
			kernel_problem(
				spec->reader.problems, KERNEL_INVALID, place.path, NULL, NULL,
				"%s[%d] and %s both have the shape of "
				"\"%s\"",
				key, to[found], place.path, group->variables[found].name);
			return false;
		}
		to[found] = i;
	}
	return true;
}

/* ---------- putting in order ---------- */

/*
 * Indices into a group whose order has changed.  to[i] is the new index of
 * what was i.
 */
static void
rename_indices(IndexList *list, const int32_t *to)
{
	for (int32_t k = 0; k < list->count; k++)
		list->items[k] = to[list->items[k]];
}

/*
 * Moves item i to place to[i] among count items of size bytes each.  to is a
 * permutation.  False where there is no memory for a copy.
 */
static bool
reorder(Spec *spec, void *items, size_t size, int32_t count, const int32_t *to)
{
	char *copy = reader_allocate(&spec->reader, count, size, "names");

	if (copy == NULL)
		return false;
	memcpy(copy, items, (size_t) count * size);
	for (int32_t i = 0; i < count; i++)
		memcpy((char *) items + (size_t) to[i] * size, copy + (size_t) i * size,
			   size);
	return true;
}

/*
 * Puts the variables of a group in order, which now means something, and makes
 * the hash over their names anew.
 */
static bool
order_group(Spec *spec, Group *group, const int32_t *to)
{
	group->unordered = false;
	return reorder(spec, group->variables, sizeof(Variable), group->count,
				   to) &&
		   group_hash(&spec->reader, group);
}

/*
 * Puts factors or modalities in the order of B or A, and whatever was read
 * about them already.  Arrays given by name need no order.
 */
static bool
match_group(Spec *spec, Group *group, const char *key)
{
	const JsonValue *list = spec_member(spec, key);
	bool			 factors = group == &spec->factors;
	int32_t			*to;

	if (!group->unordered || group->count < 2 || list->kind != JSON_ARRAY)
		return true;
	if (list->count != group->count)
	{
		group->unordered = false; /* the number is what will be said */
		return true;
	}
	to = reader_allocate(&spec->reader, group->count, sizeof(int32_t), key);
	if (to == NULL || !match_list(spec, group, key, list, to) ||
		!order_group(spec, group, to) ||
		!reorder(spec, factors ? (void *) spec->factor : spec->modality,
				 factors ? sizeof(SpecFactor) : sizeof(SpecModality),
				 group->count, to))
		return false;

	/*
	 * Lists that name factors hold the old indices.  Those that name
	 * modalities do not exist.
	 */
	for (int32_t f = 0; factors && f < spec->factors.count; f++)
		rename_indices(&spec->factor[f].parents, to);
	for (int32_t m = 0; factors && m < spec->modalities.count; m++)
		rename_indices(&spec->modality[m].parents, to);
	return true;
}

/*
 * An observation's factors have to be known before anything has an order: the
 * default, all factors in order, would need that very order.
 */
static bool
depends_on_given(Spec *spec)
{
	bool good = true;

	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const Variable *variable = &spec->modalities.variables[m];

		if (!spec->factors.unordered || spec->factors.count < 2 ||
			spec->modality[m].parents.given)
			continue;
		kernel_problem(spec->reader.problems, KERNEL_INVALID, variable->path,
					   NULL,
					   "Give the names of its factors, in the order of "
					   "A's axes.",
					   "%s has no depends_on", variable->path);
		good = false;
	}
	return good;
}

/*
 * Finds the order of factors and modalities that were named by the members of
 * objects; true at once where none were.  Modalities first: their shapes need
 * the sizes of factors but not their order.  False where no order can be
 * found; nothing more can be read then.
 */
bool
match_arrays(Spec *spec)
{
	bool bad = false;

	if (!spec->factors.unordered && !spec->modalities.unordered)
		return true;
	for (int32_t f = 0; f < spec->factors.count; f++)
		bad |= spec->factor[f].parents.bad || spec->factor[f].controls.bad;
	for (int32_t m = 0; m < spec->modalities.count; m++)
		bad |= spec->modality[m].parents.bad;

	/* shapes that are not known cannot tell an order */
	return !bad && depends_on_given(spec) &&
		   match_group(spec, &spec->modalities, "A") &&
		   match_group(spec, &spec->factors, "B");
}

/* ---------- controls, by B_action_dependencies ---------- */

/*
 * One factor: the controls that it names, and the indices that it lists, must
 * be the same controls in the same order.  False where they cannot be.  to[c]
 * is the place of control c, -1 while not known; taken[i] tells whether a
 * place has been given to one.  Lists with problems tell nothing.
 */
static bool
match_lists(const IndexList *named, const JsonValue *indices, int32_t count,
			int32_t *to, bool *taken)
{
	if (!named->given || named->bad || indices->kind != JSON_ARRAY)
		return true;
	if (indices->count != named->count)
		return false;
	for (int32_t k = 0; k < named->count; k++)
	{
		const JsonValue *index = &indices->as.elements[k];
		int32_t			 c = named->items[k];
		int32_t			 wanted;

		if (index->kind != JSON_NUMBER || !(index->as.number >= 0) ||
			!(index->as.number < count))
			return false;
		wanted = (int32_t) index->as.number;
		if (to[c] == wanted)
			continue;
		if (to[c] >= 0 || taken[wanted])
			return false;
		to[c] = wanted;
		taken[wanted] = true;
	}
	return true;
}

/*
 * Those that no list mentions come into the places that are left.  One place
 * that is left is certain, two are not: returns how many there were.  After it
 * to is a permutation.
 */
static int32_t
fill_places(int32_t *to, bool *taken, int32_t count)
{
	int32_t filled = 0;
	int32_t place = 0;

	for (int32_t c = 0; c < count; c++)
	{
		if (to[c] >= 0)
			continue;
		while (taken[place])
			place++;
		taken[place] = true;
		to[c] = place;
		filled++;
	}
	return filled;
}

/*
 * Puts the controls into the order that B_action_dependencies means, by
 * comparing its indices with the names in each factor's controlled_by.  What
 * cannot be matched stays; reading the lists will tell what is wrong.  False
 * only where memory was short.
 *
 * Controls found by mention never had an order of their author's, so the
 * places that are left over may go to any of them.  Members of an object had
 * one, and a doubt about it leaves them unordered.
 */
bool
match_controls(Spec *spec)
{
	Group			*controls = &spec->controls;
	const JsonValue *lists = spec_member(spec, "B_action_dependencies");
	bool			 of_object =
		controls->unordered && spec_member(spec, "controls") != NULL;
	bool	*taken;
	int32_t *to;

	if (!controls->unordered || lists == NULL || lists->kind != JSON_ARRAY ||
		lists->count != spec->factors.count || spec->factors.unordered)
		return true;
	controls->unordered = of_object;
	to = reader_allocate(&spec->reader, controls->count, sizeof(int32_t),
						 "controls");
	taken = reader_allocate(&spec->reader, controls->count, sizeof(bool),
							"controls");
	if (to == NULL || taken == NULL)
		return false;
	for (int32_t c = 0; c < controls->count; c++)
		to[c] = -1;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		if (!match_lists(&spec->factor[f].controls, &lists->as.elements[f],
						 controls->count, to, taken))
			return true;
	}
	of_object &= fill_places(to, taken, controls->count) > 1;
	if (!order_group(spec, controls, to))
		return false;
	controls->unordered = of_object;
	for (int32_t f = 0; f < spec->factors.count; f++)
		rename_indices(&spec->factor[f].controls, to);
	return true;
}
