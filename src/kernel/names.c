/*
 * names.c
 *		Names of factors, modalities and controls, and labels of their values.
 *
 * Names are compared byte by byte, in whatever encoding the database has.
 * That two spellings of one letter differ is left as it is: nothing here knows
 * about characters, except that a hint may ignore the case of ASCII letters.
 */
#include <stdio.h>
#include <string.h>

#include "compile.h"

/* ---------- a list of names ---------- */

/*
 * FNV-1a.  It need not withstand an adversary: who may create a model may also
 * write one that is slow to compile, and poll() ends that.
 */
static uint32_t
name_hash(const char *name)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char) *name) * UINT32_C(16777619);
	return hash ^ hash >> 15;
}

/*
 * The hash is an open table of at least twice as many slots as names.
 * *repeated becomes the index of the first name that stood there before, or
 * -1. list [count] is kept by reference.  False where there is no memory.
 */
bool
names_make(Reader *reader, Names *names, const char *const *list, int32_t count,
		   int32_t *repeated)
{
	uint32_t slots = 8;

	*repeated = -1;
	while (slots < 2 * (uint32_t) count)
		slots *= 2;
	names->slots = reader_allocate(reader, slots, sizeof(int32_t), "names");
	if (names->slots == NULL)
		return false;
	memset(names->slots, -1, slots * sizeof(int32_t));
	names->mask = slots - 1;
	names->count = count;
	names->names = list;
	for (int32_t i = 0; i < count; i++)
	{
		uint32_t slot = name_hash(list[i]) & names->mask;

		while (names->slots[slot] >= 0 &&
			   strcmp(list[names->slots[slot]], list[i]) != 0)
			slot = (slot + 1) & names->mask;
		if (names->slots[slot] < 0)
			names->slots[slot] = i;
		else if (*repeated < 0)
			*repeated = i;
	}
	return true;
}

/*
 * The index of a name, or -1; also where names is NULL or empty, so that
 * variables without labels need no case of their own.  The table is never
 * full, so the search ends.
 */
int32_t
names_find(const Names *names, const char *name)
{
	uint32_t slot;

	if (names == NULL || names->slots == NULL)
		return -1;
	slot = name_hash(name) & names->mask;
	while (names->slots[slot] >= 0)
	{
		if (strcmp(names->names[names->slots[slot]], name) == 0)
			return names->slots[slot];
		slot = (slot + 1) & names->mask;
	}
	return -1;
}

/* ---------- the nearest name ---------- */

#define NEAR_LENGTH 40 /* longer names are not compared */

/*
 * ASCII only; other letters compare as they are.
 */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/*
 * The smaller of two numbers.
 */
static int
least(int a, int b)
{
	return a < b ? a : b;
}

/*
 * Edits that turn one name into the other: a letter left out, put in, changed
 * or exchanged with its neighbour counts 2, another case 1.  The usual table,
 * of which three rows are kept: rows[0] is the one of the present letter.
 * Neither name may be longer than NEAR_LENGTH.  An exchange of neighbours is
 * told apart because it is the commonest slip of the fingers (Damerau's
 * distance, restricted to one edit a place).
 */
static int
name_distance(const char *from, const char *to)
{
	int	 table[3][NEAR_LENGTH + 1];
	int *rows[3] = {table[0], table[1], table[2]};
	int	 length = (int) strlen(to);

	for (int j = 0; j <= length; j++)
		rows[0][j] = 2 * j;
	for (int i = 1; from[i - 1] != '\0'; i++)
	{
		int *oldest = rows[2];

		rows[2] = rows[1];
		rows[1] = rows[0];
		rows[0] = oldest;
		rows[0][0] = 2 * i;
		for (int j = 1; j <= length; j++)
		{
			int best = rows[1][j - 1];

			if (from[i - 1] != to[j - 1])
				best += lower(from[i - 1]) == lower(to[j - 1]) ? 1 : 2;
			best = least(best, least(rows[1][j], rows[0][j - 1]) + 2);
			if (i > 1 && j > 1 && from[i - 1] == to[j - 2] &&
				from[i - 2] == to[j - 1])
				best = least(best, rows[2][j - 2] + 2);
			rows[0][j] = best;
		}
	}
	return rows[0][length];
}

/*
 * The name in the list that was probably meant, or NULL. Of several that are
 * as near, the first.
 */
const char *
names_nearest(const char *const *list, int32_t count, const char *name)
{
	size_t		length = strlen(name);
	const char *nearest = NULL;
	int			nearest_distance;

	if (length > NEAR_LENGTH)
		return NULL;

	/* up to a third of the letters may differ; of one or two, only the case */
	nearest_distance = length < 3 ? 2 : 2 * (int) (length / 3) + 1;
	for (int32_t i = 0; i < count; i++)
	{
		int distance;

		if (strlen(list[i]) > NEAR_LENGTH)
			continue;
		distance = name_distance(name, list[i]);
		if (distance < nearest_distance)
		{
			nearest = list[i];
			nearest_distance = distance;
		}
	}
	return nearest;
}

/*
 * A hint for a name that is not in the list [count]: the nearest, or all of a
 * few; "" where there is nothing to say.  It looks at no more than 1,000
 * names, since the work grows with their number and a hint is not worth a
 * second.
 */
void
names_hint(char *buffer, size_t size, const char *const *list, int32_t count,
		   const char *name)
{
	const char *nearest;
	char		quoted[80];

	buffer[0] = '\0';
	nearest = names_nearest(list, count < 1000 ? count : 1000, name);
	if (nearest != NULL)
	{
		text_print(buffer, size, "Did you mean %s?",
				   text_quote(quoted, nearest));
		return;
	}
	if (count == 0 || count > 12)
		return;
	text_print(buffer, size, "Known are ");
	for (int32_t i = 0; i < count; i++)
		text_add(buffer, size, "%s%s", i > 0 ? ", " : "",
				 text_quote(quoted, list[i]));
	text_add(buffer, size, ".");
}

/*
 * Is the name in a list that ends with NULL?
 */
static bool
is_known(const char *const *known, const char *name)
{
	for (; known != NULL && *known != NULL; known++)
	{
		if (strcmp(*known, name) == 0)
			return true;
	}
	return false;
}

/*
 * Adds a problem for each member of the object that is neither known nor,
 * where other names are given, known elsewhere; and for those given twice,
 * which jsonb would not let pass but other JSON may.  Lists end with NULL.
 * False where it has added any problem; after eight it stops.
 */
bool
names_check_keys(Reader *reader, const char *path, const JsonValue *object,
				 const char *const *known, const char *const *elsewhere)
{
	int32_t first = reader->problems->count;
	int32_t count = 0;
	char	hint[TEXT_SIZE];
	char	quoted[80];

	while (known[count] != NULL)
		count++;
	for (int32_t i = 0; i < object->count; i++)
	{
		const char *name = object->as.members[i].name;

		if (reader->problems->count - first >= 8)
			break;
		if (is_known(elsewhere, name))
			continue;
		if (!is_known(known, name))
		{
			const char *former = *path == '\0' ? option_former(name) : NULL;

			names_hint(hint, sizeof(hint), known, count, name);
			kernel_problem(
				reader->problems, KERNEL_INVALID, *path != '\0' ? path : name,
				NULL, former ? former : hint, "unknown key %s%s%s",
				text_quote(quoted, name), *path != '\0' ? " in " : "", path);
		}
		else if (&object->as.members[i].value != json_member(object, name))
			kernel_problem(reader->problems, KERNEL_INVALID, name, NULL, NULL,
						   "key %s is given twice", text_quote(quoted, name));
	}
	return reader->problems->count == first;
}

/* ---------- of a compiled model ---------- */

/*
 * The decimal number that a text is, if it is below count; else -1.  Signs,
 * leading zeros and blanks are no such number: "01" may be a label that was
 * mistyped.
 */
int32_t
names_decimal(const char *text, int32_t count)
{
	int64_t number = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (; *text != '\0'; text++)
	{
		if (*text < '0' || *text > '9')
			return -1;
		number = number * 10 + (*text - '0');
		if (number >= count)
			return -1;
	}
	return (int32_t) number;
}

/*
 * The label of value index of a variable, for people: a string in the block,
 * or the number written into buffer where values have no labels.  They are
 * called by their number here and wherever a spec or a parameter names a
 * value.  index must be within range.
 */
const char *
kernel_label(const KernelModel *model, KernelOffset labels, int32_t index,
			 char buffer[16])
{
	if (labels != 0)
		return KERNEL_AT(model, char,
						 KERNEL_AT(model, KernelOffset, labels)[index]);
	snprintf(buffer, 16, "%d", index);
	return buffer;
}

/*
 * The index of a value from its label or number, or -1.  Labels come before
 * numbers: where a label looks like a number, it is the label that is meant.
 */
int32_t
kernel_label_index(const KernelModel *model, KernelOffset labels, int32_t count,
				   const char *label)
{
	const KernelOffset *texts = KERNEL_AT(model, KernelOffset, labels);

	for (int32_t i = 0; labels != 0 && i < count; i++)
	{
		if (strcmp(KERNEL_AT(model, char, texts[i]), label) == 0)
			return i;
	}
	return names_decimal(label, count);
}

/*
 * The index of a factor by its name, or -1.  A linear search: it serves
 * people's queries, not steps.
 */
int32_t
kernel_factor_index(const KernelModel *model, const char *name)
{
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		if (strcmp(KERNEL_AT(model, char, kernel_factor(model, f)->name),
				   name) == 0)
			return f;
	}
	return -1;
}

/*
 * The index of a modality by its name, or -1.
 */
int32_t
kernel_modality_index(const KernelModel *model, const char *name)
{
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		if (strcmp(KERNEL_AT(model, char, kernel_modality(model, m)->name),
				   name) == 0)
			return m;
	}
	return -1;
}

/*
 * The index of a control by its name, or -1.
 */
int32_t
kernel_control_index(const KernelModel *model, const char *name)
{
	for (int32_t c = 0; c < model->control_count; c++)
	{
		if (strcmp(KERNEL_AT(model, char, kernel_control(model, c)->name),
				   name) == 0)
			return c;
	}
	return -1;
}
