/*
 * control.c
 *		What actions are chosen of: the controls that a spec names, mentions or
 *		merely counts, and how many actions each has.
 *
 * A control is the unit of choice: one action of each control is chosen at
 * every step, and a factor's transition depends on the actions of the controls
 * that drive it.  Several factors may share a control, and a factor may have
 * several or none.  Where a spec says nothing, each factor has one of its own,
 * as in pymdp.
 */
#include <string.h>

#include "compile.h"

/*
 * The number of controls that lists by index speak of; 0: none do.
 * num_controls says it; without it, it is one more than the highest index.
 * What is malformed is skipped: reading the lists will say so, with its place.
 */
static int32_t
controls_by_index(const Spec *spec)
{
	const JsonValue *lists = spec_member(spec, "B_action_dependencies");
	const JsonValue *sizes = spec_member(spec, "num_controls");
	int32_t			 count = 0;

	if (lists == NULL)
		return 0;
	if (sizes != NULL && sizes->kind == JSON_ARRAY)
		count = sizes->count;
	for (int32_t i = 0; lists->kind == JSON_ARRAY && i < lists->count; i++)
	{
		const JsonValue *list = &lists->as.elements[i];

		for (int32_t j = 0; list->kind == JSON_ARRAY && j < list->count; j++)
		{
			const JsonValue *index = &list->as.elements[j];

			if (sizes == NULL && index->kind == JSON_NUMBER &&
				index->as.number >= count && index->as.number < MAX_VARIABLES)
				count = (int32_t) index->as.number + 1;
		}
	}
	return count;
}

/*
 * Adds the names in a list that are not known yet, in the order of first
 * mention.  Indices are left to be read when all controls are known.  Names
 * beyond the room are left out, and will be unknown when the lists are read.
 * The search is linear, as there is no hash over names while they are still
 * being found.
 */
static bool
add_mentioned(Spec *spec, const JsonValue *list, int32_t room)
{
	for (int32_t i = 0; list->kind == JSON_ARRAY && i < list->count; i++)
	{
		const JsonValue *name = &list->as.elements[i];
		int32_t			 j = 0;

		if (name->kind != JSON_STRING)
			continue;
		while (j < spec->controls.count &&
			   strcmp(spec->controls.variables[j].name, name->as.string) != 0)
			j++;
		if (j == spec->controls.count && j < room &&
			!group_add(&spec->reader, &spec->controls, name->as.string))
			return false;
	}
	return true;
}

/*
 * Controls that have no list of their own: those that factors name, and one of
 * its own for each factor that says nothing; or as many as there are by index.
 * False where the controls cannot be known; there is a problem then, or no
 * memory.
 */
bool
controls_by_mention(Spec *spec)
{
	const JsonValue *lists = spec_member(spec, "B_action_dependencies");
	int32_t			 by_index = controls_by_index(spec);
	int64_t			 room = by_index + (int64_t) spec->factors.count;

	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const JsonValue *list =
			option_member(spec->factors.variables[f].said, "controlled_by");

		room += list != NULL ? list->count : 0;
	}
	if (room > 2 * MAX_VARIABLES)
		room = 2 * MAX_VARIABLES;
	if (!group_begin(&spec->reader, &spec->controls, (int32_t) room))
		return false;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const Variable	*factor = &spec->factors.variables[f];
		const JsonValue *list = option_member(factor->said, "controlled_by");
		const JsonValue	 own = {.kind = JSON_STRING, .as.string = factor->name};
		const JsonValue	 itself = {
			 .kind = JSON_ARRAY, .count = 1, .as.elements = &own};

		/*
		 * What a factor says itself comes before what is said by index.  Only
		 * where nothing is said by index at all does a silent factor mention a
		 * control of its own.
		 */
		if (list == NULL && lists != NULL)
			list = lists->kind == JSON_ARRAY && f < lists->count ?
					   &lists->as.elements[f] :
					   lists;
		if (!add_mentioned(spec, list != NULL ? list : &itself, (int32_t) room))
			return false;
	}

	/* names came in an order of ours; the indices may follow another */
	spec->controls.unordered = lists != NULL && spec->controls.count > 0;
	while (spec->controls.count < by_index)
	{
		if (!group_add(&spec->reader, &spec->controls, NULL))
			return false;
	}
	return group_hash(&spec->reader, &spec->controls);
}

/*
 * Does any factor say what controls it?
 */
static bool
any_controlled_by(const Spec *spec)
{
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		if (spec->factor[f].controls.given)
			return true;
	}
	return false;
}

/*
 * A factor that does not say by what it is controlled has a control of its
 * own: the one with its name; else, where all factors are silent and there are
 * as many controls, the one at its place; else a new one.  The two middle
 * rules let people write "controls" as a plain list beside the factors, in
 * pymdp's way.  They are tried for all factors together, because a mixture of
 * names and places would depend on the order of the factors.
 */
bool
own_controls(Spec *spec)
{
	Group *controls = &spec->controls;
	bool   by_place =
		!any_controlled_by(spec) && controls->count == spec->factors.count;

	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		/* a single match by name means that names are meant */
		if (names_find(&controls->names, spec->factors.variables[f].name) >= 0)
			by_place = false;
	}
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		IndexList  *list = &spec->factor[f].controls;
		const char *name = spec->factors.variables[f].name;

		if (list->given)
			continue;
		list->items = reader_allocate(&spec->reader, 1, sizeof(int32_t), name);
		if (list->items == NULL)
			return false;
		list->items[0] = by_place ? f : names_find(&controls->names, name);
		if (list->items[0] < 0)
		{
			list->items[0] = controls->count;
			if (!group_add(&spec->reader, controls, name))
				return false;
		}
		list->count = 1;
		list->given = true;
	}
	return group_hash(&spec->reader, controls);
}

/*
 * A control that nobody named, and that drives one factor alone, has that
 * factor's name: as if it were the factor's own.  A name that another control
 * has already stays with that one.  drives [count] is the number of factors
 * that each control drives.
 */
bool
name_controls(Spec *spec)
{
	Group	*controls = &spec->controls;
	int32_t *drives = reader_allocate(&spec->reader, controls->count,
									  sizeof(int32_t), "controls");

	if (drives == NULL)
		return false;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const IndexList *list = &spec->factor[f].controls;

		for (int32_t k = 0; k < list->count; k++)
			drives[list->items[k]]++;
	}
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const IndexList *list = &spec->factor[f].controls;
		const Variable	*factor = &spec->factors.variables[f];

		if (list->count == 1 && drives[list->items[0]] == 1 &&
			!controls->variables[list->items[0]].named &&
			names_find(&controls->names, factor->name) < 0)
		{
			controls->variables[list->items[0]].name = factor->name;
			controls->variables[list->items[0]].named = factor->named;
		}
	}
	return group_hash(&spec->reader, controls);
}

/* ---------- sizes of controls ---------- */

/*
 * "actions" of a factor are those of its only control.  With several controls,
 * or none, it cannot be said whose they are.
 */
static void
read_factor_actions(Spec *spec, int32_t f)
{
	const Variable	*factor = &spec->factors.variables[f];
	const IndexList *controls = &spec->factor[f].controls;
	const JsonValue *actions = option_member(factor->said, "actions");
	char			 path[96];

	if (actions == NULL || controls->bad)
		return;
	text_print(path, sizeof(path), "%s.actions", factor->path);
	if (controls->count == 1)
		variable_set_size(spec, &spec->controls.variables[controls->items[0]],
						  path, actions);
	else
		kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL,
					   "Give the actions of each in \"controls\": [{\"name\": "
					   "..., \"actions\": ...}].",
					   "%s cannot belong to %d controls", path,
					   controls->count);
}

/*
 * Numbers of actions from the factors' "actions" and from num_controls.  What
 * remains unknown will be seen from B.
 */
void
read_control_sizes(Spec *spec)
{
	const JsonValue	 *sizes = spec_member(spec, "num_controls");
	const JsonValue **items = NULL;
	Place			  place;

	for (int32_t f = 0; f < spec->factors.count; f++)
		read_factor_actions(spec, f);
	if (sizes != NULL)
		items =
			group_items(&spec->reader, &spec->controls, "num_controls", sizes);
	for (int32_t c = 0; items != NULL && c < spec->controls.count; c++)
	{
		place_of(&place, "num_controls", &spec->controls, c);
		if (items[c] != NULL)
			variable_set_size(spec, &spec->controls.variables[c], place.path,
							  items[c]);
	}
}
