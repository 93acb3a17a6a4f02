/*
 * spec.c
 *		Factors, modalities and controls: how many, their names and values, and
 *		what they say about each other.
 *
 * There are two ways to name them: our lists ("factors", "modalities",
 * "controls"), whose order is that of everything else, and the objects of
 * pymdp's compile_model configuration ("states", "observations", "controls"),
 * whose order jsonb does not keep and match.c has to find.
 */
#include <string.h>

#include "compile.h"

#define MAX_NAME 255 /* bytes of a name or label */

/*
 * A member of the spec; null is as good as absent, because pymdp's default for
 * most arguments is None.
 */
const JsonValue *
spec_member(const Spec *spec, const char *key)
{
	return option_member(spec->root, key);
}

/* ---------- the values of a variable ---------- */

/*
 * A label as it was written: a string, or an integer in decimal.  NULL with a
 * problem, or without memory.
 */
static const char *
read_label(Spec *spec, const JsonValue *value, const char *path)
{
	char *text;
	char  shown[80];

	if (value->kind == JSON_STRING && value->as.string[0] != '\0' &&
		strlen(value->as.string) <= MAX_NAME)
		return value->as.string;
	if (value->kind == JSON_NUMBER && value->as.number >= 0 &&
		value->as.number <= MAX_COUNT &&
		value->as.number == (int32_t) value->as.number)
	{
		text = reader_allocate(&spec->reader, 16, 1, path);
		if (text != NULL)
			text_print(text, 16, "%d", (int32_t) value->as.number);
		return text;
	}
	kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
				   "a label in %s must be a string of 1 to %d bytes, not %s",
				   path, MAX_NAME, text_value(shown, value));
	return NULL;
}

/*
 * The labels of a variable's values, in their order; each once, because they
 * are looked up by.  False with a problem, or without memory.
 */
static bool
read_labels(Spec *spec, Variable *variable, const char *path,
			const JsonValue *value)
{
	Reader		*reader = &spec->reader;
	const char **list;
	int32_t		 repeated;
	char		 quoted[80];

	list = reader_allocate(reader, value->count, sizeof(char *), path);
	variable->labels = reader_allocate(reader, 1, sizeof(Names), path);
	if (list == NULL || variable->labels == NULL)
		return false;
	for (int32_t i = 0; i < value->count; i++)
	{
		list[i] = read_label(spec, &value->as.elements[i], path);
		if (list[i] == NULL)
			return false;
	}
	if (!names_make(reader, variable->labels, list, value->count, &repeated))
		return false;
	if (repeated >= 0)
		kernel_problem(reader->problems, KERNEL_INVALID, path, NULL, NULL,
					   "%s has the label %s twice", path,
					   text_quote(quoted, list[repeated]));
	return repeated < 0;
}

/*
 * "states": 3, or "states": ["a", "b", "c"] (and outcomes, actions, size,
 * elements).  A size may be said more than once, but then must be the same.
 * What was said first stands, with its labels; path is where value stands.
 */
void
variable_set_size(Spec *spec, Variable *variable, const char *path,
				  const JsonValue *value)
{
	int32_t size = 0;
	char	text[80];
	bool	good = true;
	Names  *labels = variable->labels;

	if (value->kind == JSON_NUMBER && value->as.number >= 1 &&
		value->as.number <= MAX_COUNT &&
		value->as.number == (int32_t) value->as.number)
		size = (int32_t) value->as.number;
	else if (value->kind == JSON_ARRAY && value->count > 0 &&
			 value->count <= MAX_COUNT)
	{
		size = value->count;
		good = read_labels(spec, variable, path, value);
	}
	else
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
					   "%s must be a number from 1 to %d or an array of "
					   "labels, not %s",
					   path, MAX_COUNT,
					   value->kind == JSON_ARRAY ? "an empty array" :
												   text_value(text, value));
		return;
	}
	if (variable->size != 0 && variable->size != size)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, path, NULL, NULL,
					   "%s says %d, but elsewhere the size of \"%s\" is %d",
					   path, size, variable->name, variable->size);
		good = false;
	}
	if (!good)
		variable->labels = labels;
	if (variable->size == 0)
		variable->size = size;
}

/* ---------- the groups ---------- */

/* The words of one kind of group, in our lists and in pymdp's objects. */
typedef struct GroupWords
{
	const char *list;			/* our key */
	const char *size;			/* the key of the number of values or labels */
	const char *object;			/* pymdp's key */
	const char *list_keys[6];	/* members of an object in our list */
	const char *object_keys[5]; /* and of one in pymdp's; NULL ends both */
} GroupWords;

static const GroupWords words[] = {
	{"factors",
	 "states",
	 "states",
	 {"name", "states", "depends_on", "controlled_by", "actions", NULL},
	 {"size", "elements", "depends_on", "controlled_by", NULL}},
	{"modalities",
	 "outcomes",
	 "observations",
	 {"name", "outcomes", "depends_on", NULL},
	 {"size", "elements", "depends_on", NULL}},
	{"controls",
	 "actions",
	 "controls",
	 {"name", "actions", NULL},
	 {"size", "elements", NULL}},
};

/*
 * The words that belong to a group.  It is found by the group's plural, which
 * is one of the lists' keys.
 */
static const GroupWords *
words_of(const Group *group)
{
	int32_t i = 0;

	while (strcmp(words[i].list, group->plural) != 0)
		i++;
	return &words[i];
}

/*
 * The name in one object of a list; NULL where it has none.
 */
static const char *
read_name(Spec *spec, const Variable *variable, const JsonValue *object)
{
	const JsonValue *name = option_member(object, "name");
	char			 text[80];

	if (name == NULL)
		return NULL;
	if (name->kind == JSON_STRING && name->as.string[0] != '\0' &&
		strlen(name->as.string) <= MAX_NAME)
		return name->as.string;
	kernel_problem(spec->reader.problems, KERNEL_INVALID, variable->path, NULL,
				   NULL,
				   "the name in %s must be a string of 1 to %d bytes, "
				   "not %s",
				   variable->path, MAX_NAME, text_value(text, name));
	return NULL;
}

/*
 * One object of "factors", "modalities" or "controls".  What is wrong with it
 * does not stop the others: it keeps an invented name.  False only where the
 * group cannot be filled.
 */
static bool
describe_element(Spec *spec, Group *group, const JsonValue *object)
{
	const GroupWords *of = words_of(group);
	Variable		 *variable = &group->variables[group->count];
	const JsonValue	 *size;
	const char		 *name;
	char			  path[96];
	char			  text[80];

	if (!group_add(&spec->reader, group, NULL))
		return false;
	if (object->kind != JSON_OBJECT)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, variable->path,
					   NULL, NULL,
					   "%s must be an object {\"name\": ..., "
					   "\"%s\": ...}, not %s",
					   variable->path, of->size, text_value(text, object));
		return true;
	}
	(void) names_check_keys(&spec->reader, variable->path, object,
							of->list_keys, NULL);
	variable->said = object;
	name = read_name(spec, variable, object);
	if (name != NULL)
	{
		variable->name = name;
		variable->named = true;
	}
	size = option_member(object, of->size);
	text_print(path, sizeof(path), "%s.%s", variable->path, of->size);
	if (size != NULL)
		variable_set_size(spec, variable, path, size);
	return true;
}

/*
 * One member of pymdp's "states", "observations" or "controls".  The size is
 * "size" or the number of "elements"; where both are given they must agree.
 * False only where the group cannot be filled.
 */
static bool
describe_member(Spec *spec, Group *group, const JsonMember *member)
{
	static const char *const keys[] = {"size", "elements"};
	const GroupWords		*of = words_of(group);
	Variable				*variable = &group->variables[group->count];
	const JsonValue			*size;
	char					 path[96];
	char					 text[80];

	if (!group_add(&spec->reader, group, member->name))
		return false;
	text_print(variable->path, sizeof(variable->path), "%s.%s", of->object,
			   member->name);
	if (member->value.kind != JSON_OBJECT || strlen(member->name) > MAX_NAME)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, variable->path,
					   NULL, NULL,
					   "%s must be an object {\"size\": ...} or "
					   "{\"elements\": [...]}, not %s",
					   variable->path, text_value(text, &member->value));
		return true;
	}
	(void) names_check_keys(&spec->reader, variable->path, &member->value,
							of->object_keys, NULL);
	variable->said = &member->value;
	for (int32_t i = 0; i < lengthof(keys); i++)
	{
		size = option_member(&member->value, keys[i]);
		text_print(path, sizeof(path), "%s.%s", variable->path, keys[i]);
		if (size != NULL)
			variable_set_size(spec, variable, path, size);
	}
	return true;
}

/*
 * The value of a key that describes a whole group: a list, or an object.
 * False where the group cannot be known, with a problem or without memory.
 */
bool
group_describe(Spec *spec, Group *group, const char *key)
{
	const GroupWords *of = words_of(group);
	const JsonValue	 *value = spec_member(spec, key);
	bool	list = strcmp(key, of->list) == 0 && value->kind == JSON_ARRAY;
	bool	object = strcmp(key, of->object) == 0 && value->kind == JSON_OBJECT;
	int32_t room;
	char	text[80];

	if ((!list && !object) || (value->count == 0 && group != &spec->controls))
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, key, NULL, NULL,
					   "%s must be %s, not %s", key,
					   strcmp(key, of->list) == 0 ? "an array of objects" :
													"an object of objects",
					   list || object ? "empty" : text_value(text, value));
		return false;
	}

	/* each factor may yet add a control of its own */
	room = value->count <= MAX_VARIABLES ? value->count : 3 * MAX_VARIABLES;
	if (group == &spec->controls)
		room += spec->factors.count;
	if (!group_begin(&spec->reader, group, room))
		return false;
	group->unordered = object && value->count > 1;
	for (int32_t i = 0; i < value->count; i++)
	{
		if (!(object ? describe_member(spec, group, &value->as.members[i]) :
					   describe_element(spec, group, &value->as.elements[i])))
			return false;
	}
	return group_hash(&spec->reader, group);
}

/*
 * Where nothing has names, there are as many as there are arrays.  An object
 * of arrays would have to be put in some order, which is for the author of the
 * spec to say.  key is that of the arrays.
 */
static bool
group_from_arrays(Spec *spec, Group *group, const char *key)
{
	const JsonValue *arrays = spec_member(spec, key);
	char			 hint[TEXT_SIZE];

	if (arrays == NULL)
		return false; /* that it is missing is said elsewhere */
	if (arrays->kind == JSON_OBJECT)
	{
		text_print(hint, sizeof(hint),
				   "List them in order: \"%s\": "
				   "[{\"name\": ...}, ...].",
				   group->plural);
		kernel_problem(spec->reader.problems, KERNEL_INVALID, key, NULL, hint,
					   "%s is an object by name, but the %s have no names", key,
					   group->plural);
		return false;
	}
	if (arrays->kind != JSON_ARRAY || arrays->count == 0)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, key, NULL, NULL,
					   "%s must be an array with one element for each %s", key,
					   group->noun);
		return false;
	}
	if (!group_begin(&spec->reader, group,
					 arrays->count <= MAX_VARIABLES ? arrays->count :
													  3 * MAX_VARIABLES))
		return false;
	for (int32_t i = 0; i < arrays->count; i++)
	{
		if (!group_add(&spec->reader, group, NULL))
			return false;
	}
	return group_hash(&spec->reader, group);
}

/*
 * The factors or the modalities, from whichever key names them, or else from
 * the number of arrays (the value of the key "B" or "A").
 */
static bool
make_group(Spec *spec, Group *group, const char *arrays)
{
	const GroupWords *of = words_of(group);
	bool			  list = spec_member(spec, of->list) != NULL;
	bool			  object = spec_member(spec, of->object) != NULL;

	if (list && object)
	{
		kernel_problem(spec->reader.problems, KERNEL_INVALID, of->list, NULL,
					   "Give one of them.", "%s and %s both name the %s",
					   of->list, of->object, group->plural);
		return false;
	}
	if (list || object)
		return group_describe(spec, group, list ? of->list : of->object);
	return group_from_arrays(spec, group, arrays);
}

/*
 * The factors and modalities, and room for what belongs to them.  Without them
 * there is nothing to go on with, so false ends the reading; controls come
 * later, as factors may name them.
 */
bool
spec_variables(Spec *spec)
{
	static const char *const arrays[] = {"A", "B"};
	bool					 good = true;

	spec->factors = (Group){.noun = "factor", .plural = "factors"};
	spec->modalities = (Group){.noun = "modality", .plural = "modalities"};
	spec->controls = (Group){.noun = "control", .plural = "controls"};
	for (int32_t i = 0; i < lengthof(arrays); i++)
	{
		if (spec_member(spec, arrays[i]) != NULL)
			continue;
		kernel_problem(spec->reader.problems, KERNEL_INVALID, arrays[i], NULL,
					   arrays[i][0] == 'A' ?
						   "A[m][outcome][states ...], an array for each "
						   "modality." :
						   "B[f][next state][states ...][actions ...], an "
						   "array for each factor.",
					   "the spec has no %s", arrays[i]);
		good = false;
	}
	good &= make_group(spec, &spec->factors, "B");
	good &= make_group(spec, &spec->modalities, "A");
	if (!good || spec->reader.failed)
		return false;
	spec->factor = reader_allocate(&spec->reader, spec->factors.count,
								   sizeof(SpecFactor), "factors");
	spec->modality = reader_allocate(&spec->reader, spec->modalities.count,
									 sizeof(SpecModality), "modalities");
	return spec->factor != NULL && spec->modality != NULL;
}
