/*
 * structure.c
 *		What depends on what: factors and modalities on factors, factors on
 *		controls; as said for each by name, and as listed by index.
 *
 * The order of depends_on and controlled_by is the order of an array's axes,
 * so lists are kept as they were written and never sorted.
 */
#include <string.h>

#include "compile.h"

/* ---------- lists of indices ---------- */

/*
 * An index or a name in a list, as an index; -1 with a problem.  at is its
 * place in the list.
 */
static int32_t
read_index(Spec *spec, const char *path, int32_t at, const JsonValue *value,
		   const Group *group)
{
	int32_t index = -1;
	char	hint[TEXT_SIZE] = "";
	char	text[80];

	if (value->kind == JSON_NUMBER && value->as.number >= 0 &&
		value->as.number < group->count &&
		value->as.number == (int32_t) value->as.number)
		index = (int32_t) value->as.number;
	else if (value->kind == JSON_STRING)
		index = names_find(&group->names, value->as.string);
	if (index >= 0)
		return index;
	if (value->kind == JSON_STRING)
		names_hint(hint, sizeof(hint), group->names.names, group->count,
				   value->as.string);
	else
		text_print(hint, sizeof(hint),
				   "The number of %s is %d; they count "
				   "from 0.",
				   group->plural, group->count);
	kernel_problem(spec->reader.problems,
				   value->kind == JSON_NUMBER ? KERNEL_RANGE : KERNEL_INVALID,
				   path, NULL, hint, "%s[%d] is %s, which is no %s", path, at,
				   text_value(text, value), group->noun);
	return -1;
}

/*
 * A list of indices or names, each at most once, into list.  list->bad stays
 * where anything is wrong with it, so that nothing is concluded from it.
 */
static void
index_list_read(Spec *spec, const char *path, const JsonValue *value,
				const Group *group, IndexList *list)
{
	bool *seen;
	char  text[80];

	list->given = list->bad = true;
	if (value->kind != JSON_ARRAY)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
					   "%s must be an array of %s, not %s", path, group->plural,
					   text_value(text, value));
		return;
	}
	/* one more than can be right is where reading stops at the latest */
	list->items = reader_allocate(&spec->reader,
								  value->count < group->count ? value->count :
																group->count,
								  sizeof(int32_t), path);
	seen = reader_allocate(&spec->reader, group->count, sizeof(bool), path);
	if (list->items == NULL || seen == NULL)
		return;
	for (int32_t i = 0; i < value->count; i++)
	{
		int32_t index =
			read_index(spec, path, i, &value->as.elements[i], group);

		if (index < 0)
			return;
		if (seen[index])
		{
			kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL,
						   NULL, "%s names %s %d twice", path, group->noun,
						   index);
			return;
		}
		seen[index] = true;
		list->items[list->count++] = index;
	}
	list->bad = false;
}

/*
 * A factor or modality depends on one factor at least, as in pymdp, whose
 * arrays have no meaning otherwise.  A problem makes the list bad.
 */
static void
check_parents(Spec *spec, const char *path, IndexList *list)
{
	if (list->bad || list->count > 0)
		return;
	kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
				   "%s names no factor", path);
	list->bad = true;
}

/*
 * The list that a variable's own object has under a key, which leads into
 * group.  Names are the point of it, but indices will do.
 */
static void
read_said(Spec *spec, const Variable *variable, const char *key,
		  const Group *group, IndexList *list)
{
	const JsonValue *value = option_member(variable->said, key);
	char			 path[96];

	if (value == NULL)
		return;
	text_print(path, sizeof(path), "%s.%s", variable->path, key);
	index_list_read(spec, path, value, group, list);
	if (group == &spec->factors)
		check_parents(spec, path, list);
}

/*
 * The list of variable i of one index form, such as B_dependencies; value is
 * its part.  Where a list was given by name too, both must say the same: which
 * of them was meant cannot be known.
 */
static void
read_by_index(Spec *spec, const char *key, const Group *of, int32_t i,
			  const JsonValue *value, const Group *group, IndexList *list)
{
	IndexList indices = {0};
	Place	  place;
	char	  detail[TEXT_SIZE];
	char	  one[100];
	char	  other[100];

	place_of(&place, key, of, i);
	index_list_read(spec, place.path, value, group, &indices);
	if (group == &spec->factors)
		check_parents(spec, place.path, &indices);
	if (!list->given || list->bad || indices.bad)
	{
		indices.bad |= list->bad;
		*list = indices;
		return;
	}
	if (indices.count == list->count &&
		memcmp(indices.items, list->items,
			   (size_t) list->count * sizeof(int32_t)) == 0)
		return;
	text_list(one, sizeof(one), list->items, list->count);
	text_list(other, sizeof(other), indices.items, indices.count);
	text_print(detail, sizeof(detail),
			   "The one says %s, the other %s, as "
			   "indices.",
			   one, other);
	kernel_problem(spec->reader.problems, KERNEL_INVALID, place.path, detail,
				   "Leave out one of them.", "%s.%s and %s disagree",
				   of->variables[i].path,
				   group == &spec->factors ? "depends_on" : "controlled_by",
				   place.shown);
	list->bad = true;
}

/*
 * A_dependencies, B_dependencies and B_action_dependencies.  They may also
 * hold names, and be objects by name, where there are names.  A form that is
 * wrong as a whole makes all its lists bad.
 */
static void
structure_by_index(Spec *spec)
{
	const char *const keys[] = {"A_dependencies", "B_dependencies",
								"B_action_dependencies"};
	const Group *of[] = {&spec->modalities, &spec->factors, &spec->factors};
	const Group *to[] = {&spec->factors, &spec->factors, &spec->controls};

	for (int32_t k = 0; k < lengthof(keys); k++)
	{
		const JsonValue	 *value = spec_member(spec, keys[k]);
		const JsonValue **items;

		if (value == NULL || (k == 2 && spec->controls_bad))
			continue;
		items = group_items(&spec->reader, of[k], keys[k], value);
		for (int32_t i = 0; i < of[k]->count; i++)
		{
			IndexList *list = k == 0 ? &spec->modality[i].parents :
							  k == 1 ? &spec->factor[i].parents :
									   &spec->factor[i].controls;

			if (items == NULL)
				list->given = list->bad = true;
			else if (items[i] != NULL)
				read_by_index(spec, keys[k], of[k], i, items[i], to[k], list);
		}
	}
}

/* ---------- the whole ---------- */

/*
 * What nobody said: a factor depends on itself, a modality on all factors.
 * Both are pymdp's defaults.  False only without memory.
 */
static bool
default_parents(Spec *spec)
{
	for (int32_t i = 0; i < spec->factors.count + spec->modalities.count; i++)
	{
		bool	   factor = i < spec->factors.count;
		IndexList *list = factor ?
							  &spec->factor[i].parents :
							  &spec->modality[i - spec->factors.count].parents;

		if (list->given)
			continue;
		list->given = true;
		list->count = factor ? 1 : spec->factors.count;
		list->items = reader_allocate(&spec->reader, list->count,
									  sizeof(int32_t), "dependencies");
		if (list->items == NULL)
			return false;
		for (int32_t k = 0; k < list->count; k++)
			list->items[k] = factor ? i : k;
	}
	return true;
}

/*
 * What each factor and modality says in its own object, by name.  Where the
 * controls are not known, lists of them are bad without a problem of their
 * own.
 */
static void
read_all_said(Spec *spec)
{
	for (int32_t m = 0; m < spec->modalities.count; m++)
		read_said(spec, &spec->modalities.variables[m], "depends_on",
				  &spec->factors, &spec->modality[m].parents);
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		read_said(spec, &spec->factors.variables[f], "depends_on",
				  &spec->factors, &spec->factor[f].parents);
		if (spec->controls_bad)
			spec->factor[f].controls = (IndexList){true, true, 0, NULL};
		else
			read_said(spec, &spec->factors.variables[f], "controlled_by",
					  &spec->controls, &spec->factor[f].controls);
	}
}

/*
 * All dependencies, after the variables are known.  The order matters: what
 * members of objects say by name comes first, then their order is found from
 * the arrays, and only then can lists by index be read.  False where nothing
 * more can be read.
 */
bool
spec_structure(Spec *spec)
{
	if (spec_member(spec, "controls") != NULL)
		spec->controls_bad = !group_describe(spec, &spec->controls, "controls");
	else
		spec->controls_bad = !controls_by_mention(spec);
	if (spec->reader.failed)
		return false;
	read_all_said(spec);
	if (!match_arrays(spec) || (!spec->controls_bad && !match_controls(spec)))
		return false;
	structure_by_index(spec);
	if (!default_parents(spec))
		return false;
	if (!spec->controls_bad)
	{
		spec->controls_bad = !own_controls(spec) || !name_controls(spec);
		if (!spec->controls_bad)
			read_control_sizes(spec);
	}
	return !spec->reader.failed;
}
