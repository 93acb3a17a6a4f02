/*
 * group.c
 *		All factors, all modalities or all controls: names, values, and the
 *		parts of arrays that belong to them.
 *
 * Factors, modalities and controls are treated alike here: each kind is a
 * Group of Variables, found by index or by name.  Arrays that have a part for
 * each (A, C, D, ...) are lists in the group's order or objects by name, and
 * group_items() makes one form of both.
 */
#include <string.h>

#include "compile.h"

/*
 * An empty group with room for so many; group->noun and plural are set.  The
 * limit keeps everything that is quadratic in the number of variables within
 * reason.  It is twice MAX_VARIABLES, because each of so many factors may add
 * a control of its own.
 */
bool
group_begin(Reader *reader, Group *group, int32_t room)
{
	if (room > 2 * MAX_VARIABLES)
	{
		kernel_problem(reader->problems, KERNEL_LIMIT, group->plural, NULL,
					   NULL, "more than %d %s", MAX_VARIABLES, group->plural);
		return false;
	}
	group->count = 0;
	group->room = room;
	group->variables =
		reader_allocate(reader, room, sizeof(Variable), group->plural);
	return group->variables != NULL;
}

/*
 * One variable more; where it has no name, one is invented: factor_0. The name
 * is kept by reference and must live as long as the arena.  Pointers to
 * variables stay good: the room does not grow.
 */
bool
group_add(Reader *reader, Group *group, const char *name)
{
	Variable *variable = &group->variables[group->count];
	char	 *invented;

	if (group->count == group->room || group->count >= 2 * MAX_VARIABLES)
	{
		kernel_problem(reader->problems, KERNEL_LIMIT, group->plural, NULL,
					   NULL, "more than %d %s", group->room, group->plural);
		return false;
	}
	variable->named = name != NULL;
	variable->name = name;
	if (name == NULL)
	{
		invented = reader_allocate(reader, 32, 1, group->plural);
		if (invented == NULL)
			return false;
		text_print(invented, 32, "%s_%d", group->noun, group->count);
		variable->name = invented;
	}
	text_print(variable->path, sizeof(variable->path), "%s[%d]", group->plural,
			   group->count);
	group->count++;
	return true;
}

/*
 * Makes the hash over the names; once more whenever they change.  False where
 * two have one name, as nothing could be said by name then.  Old hashes stay
 * in the arena, a few bytes for each change.
 */
bool
group_hash(Reader *reader, Group *group)
{
	const char **list;
	int32_t		 repeated;
	char		 quoted[80];

	list = reader_allocate(reader, group->count, sizeof(char *), group->plural);
	if (list == NULL)
		return false;
	for (int32_t i = 0; i < group->count; i++)
		list[i] = group->variables[i].name;
	if (!names_make(reader, &group->names, list, group->count, &repeated))
		return false;
	if (repeated >= 0)
		kernel_problem(reader->problems, KERNEL_INVALID, group->plural, NULL,
					   NULL, "two %s have the name %s", group->plural,
					   text_quote(quoted, list[repeated]));
	return repeated < 0;
}

/*
 * key[index], with the name of what it is about.  Invented names are not
 * shown, since the author of the spec has never seen them.
 */
void
place_of(Place *place, const char *key, const Group *group, int32_t index)
{
	const Variable *variable = &group->variables[index];
	char			quoted[80];

	text_print(place->path, sizeof(place->path), "%s[%d]", key, index);
	text_print(place->shown, sizeof(place->shown), "%s", place->path);
	if (variable->named)
		text_add(place->shown, sizeof(place->shown), " (%s %s)", group->noun,
				 text_quote(quoted, variable->name));
}

/*
 * The index that a number or a label in the spec stands for, or -1.  A string
 * of digits counts as a number where no label is like it, since names of
 * members are always strings: {"C": [{"2": 1.5}]}.
 */
int32_t
variable_value(const Variable *variable, const JsonValue *value)
{
	int32_t index;

	if (value->kind == JSON_NUMBER)
	{
		if (value->as.number >= 0 && value->as.number < variable->size &&
			value->as.number == (int32_t) value->as.number)
			return (int32_t) value->as.number;
		return -1;
	}
	if (value->kind != JSON_STRING)
		return -1;
	index = names_find(variable->labels, value->as.string);
	if (index < 0)
		index = names_decimal(value->as.string, variable->size);
	return index;
}

/*
 * An object with a member for each name: items [group->count] becomes the
 * members by index, NULL where there is none.  After eight problems it stops;
 * they are all of one kind, as when names are of another model.
 */
static bool
items_by_name(Reader *reader, const Group *group, const char *key,
			  const JsonValue *value, const JsonValue **items)
{
	int32_t first = reader->problems->count;
	char	hint[TEXT_SIZE];
	char	quoted[80];

	for (int32_t i = 0; i < value->count; i++)
	{
		const JsonMember *member = &value->as.members[i];
		int32_t			  index = names_find(&group->names, member->name);

		if (reader->problems->count - first >= 8)
			break;
		if (index < 0)
		{
			names_hint(hint, sizeof(hint), group->names.names, group->count,
					   member->name);
			kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, hint,
						   "%s names %s, which is no %s", key,
						   text_quote(quoted, member->name), group->noun);
		}
		else if (items[index] != NULL)
			kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, NULL,
						   "%s names %s twice", key,
						   text_quote(quoted, member->name));
		else
			items[index] = &member->value;
	}
	return reader->problems->count == first;
}

/*
 * A list, one element for each of the group.  Its order has to mean something:
 * after names from the members of an object it does not.  A list of which the
 * length is wrong is refused whole, because it is not known which element is
 * missing.
 */
static bool
items_in_order(Reader *reader, const Group *group, const char *key,
			   const JsonValue *value, const JsonValue **items)
{
	char hint[TEXT_SIZE];

	if (group->unordered && group->count > 1)
	{
		text_print(hint, sizeof(hint),
				   "Give %s as an object by name, or name "
				   "the %s in the list \"%s\".",
				   key, group->plural, group->plural);
		kernel_problem(reader->problems, KERNEL_INVALID, key,
					   "They were named by the members of an object, whose "
					   "order jsonb does not keep.",
					   hint,
					   "%s is a list, but the order of the %s is not known",
					   key, group->plural);
		return false;
	}
	if (value->count != group->count)
	{
		text_print(hint, sizeof(hint), "Give one element for each %s.",
				   group->noun);
		kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, hint,
					   "%s has length %d, but the number of %s is %d", key,
					   value->count, group->plural, group->count);
		return false;
	}
	for (int32_t i = 0; i < value->count; i++)
		items[i] = &value->as.elements[i];
	return true;
}

/*
 * The parts of a value that is a list, or an object by name, of what belongs
 * to each of the group: [count] in the arena, in the group's order; NULL for
 * parts that are absent or null.  Returns NULL where the value has a problem,
 * which is said under key.
 */
const JsonValue **
group_items(Reader *reader, const Group *group, const char *key,
			const JsonValue *value)
{
	const JsonValue **items;
	char			  quoted[80];
	bool			  good = false;

	items = reader_allocate(reader, group->count, sizeof(JsonValue *), key);
	if (items == NULL)
		return NULL;
	if (value->kind == JSON_ARRAY)
		good = items_in_order(reader, group, key, value, items);
	else if (value->kind == JSON_OBJECT)
		good = items_by_name(reader, group, key, value, items);
	else
		kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, NULL,
					   "%s must be an array with one element for each %s, "
					   "or an object by name, not %s",
					   key, group->noun, text_value(quoted, value));
	for (int32_t i = 0; i < group->count; i++)
	{
		if (items[i] != NULL && items[i]->kind == JSON_NULL)
			items[i] = NULL;
	}
	return good ? items : NULL;
}
