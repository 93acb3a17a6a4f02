/*
 * tensor.c
 *		Arrays of a spec in their three forms: nested lists of numbers, the
 *		sparse form, and the next states of a transition.
 *
 * A form is never turned into a larger one here: the sparse forms become a
 * sorted list of entries, and only the caller decides to spread it out.
 *
 * So the memory that an array takes follows from what was written, not from
 * the sizes that it claims.  Where an element goes is the caller's to say
 * (Layout): axes of the JSON and order in memory need not agree.
 */
#include <math.h>
#include <string.h>

#include "compile.h"

#define MAX_COMPLAINTS 3 /* problems reported for one array */

/* ---------- walking over nested lists ---------- */

typedef enum WalkGoal
{
	WALK_COUNT,	  /* count the numbers that are not zero */
	WALK_ENTRIES, /* and list them */
	WALK_DENSE	  /* put all numbers in their places */
} WalkGoal;

/* A walk over all elements of an array, in the order of its text. */
typedef struct Walk
{
	Reader		 *reader;
	const Tensor *tensor;
	WalkGoal	  goal;
	int32_t		  complaints;		 /* problems added so far */
	int32_t		  indices[MAX_RANK]; /* where it stands */
	int64_t		  count;			 /* of numbers that are not zero */
	Entry		 *entries;			 /* WALK_ENTRIES: room for all of them */
	double		 *dense;			 /* WALK_DENSE: [layout.elements] */
} Walk;

/*
 * Adds a problem at the first so many indices of where the walk stands:
 * B[0][1] where a list is ragged, B[0][1][2] where a number is wrong.
 */
static void
walk_complain(Walk *walk, KernelStatus status, int32_t indices,
			  const char *what)
{
	const Tensor *tensor = walk->tensor;
	int32_t		  first = tensor->shape.form == FORM_NEXT ? 1 : 0;
	char		  path[160];

	text_print(path, sizeof(path), "%s%s", tensor->place.path,
			   first ? ".next" : "");
	for (int32_t i = first; i < indices; i++)
		text_add(path, sizeof(path), "[%d]", walk->indices[i]);
	kernel_problem(walk->reader->problems, status, path, tensor->axes, NULL,
				   "%s %s", path, what);
	walk->complaints++;
}

/*
 * Why a number cannot be used, as the end of a sentence in buffer, and *status
 * for it; or NULL.  Infinities come from texts such as 1e999; they and numbers
 * near the end of the range are refused together, so that no sum or product of
 * them can overflow later.
 */
static const char *
number_fault(const Tensor *tensor, const JsonValue *value, char buffer[160],
			 KernelStatus *status)
{
	char text[80];

	*status = KERNEL_INVALID;
	if (value->kind != JSON_NUMBER)
		text_print(buffer, 160, "must be a number, not %s",
				   text_value(text, value));
	else
	{
		*status = KERNEL_RANGE;
		if (!(fabs(value->as.number) <= MAX_NUMBER))
			text_print(buffer, 160, "is too large: numbers may be up to %g",
					   MAX_NUMBER);
		else if (tensor->nonnegative && value->as.number < 0)
			text_print(buffer, 160, "is %.10g, but must not be negative",
					   value->as.number);
		else
			return NULL;
	}
	return buffer;
}

/*
 * One number at its position.  Zeros are not listed: all forms that list
 * entries have 0 for the rest here, and minus zero must not become a
 * difference between models that are equal.
 */
static void
walk_number(Walk *walk, const JsonValue *value, int64_t position)
{
	KernelStatus status;
	char		 buffer[160];
	const char	*fault = number_fault(walk->tensor, value, buffer, &status);

	if (fault != NULL)
	{
		walk_complain(walk, status, walk->tensor->shape.rank, fault);
		return;
	}
	if (walk->goal == WALK_DENSE)
		walk->dense[position] = value->as.number + 0.0; /* no -0 */
	else if (value->as.number != 0)
	{
		if (walk->goal == WALK_ENTRIES)
			walk->entries[walk->count] = (Entry){position, value->as.number};
		walk->count++;
	}
}

/*
 * An element of "next": the row that holds the 1 of its column.  position is
 * that of the column's first row.
 */
static void
walk_next(Walk *walk, const JsonValue *value, int64_t position)
{
	const Tensor *tensor = walk->tensor;
	int32_t		  row = variable_value(tensor->rows, value);
	char		  what[240];
	char		  text[80];
	char		  quoted[80];

	if (row < 0)
	{
		text_print(what, sizeof(what),
				   "is %s, but the states of %s are 0 "
				   "to %d",
				   text_value(text, value),
				   text_quote(quoted, tensor->rows->name),
				   tensor->rows->size - 1);
		walk_complain(walk, KERNEL_RANGE, tensor->shape.rank, what);
		return;
	}
	position += row * tensor->layout.strides[0];
	if (walk->goal == WALK_ENTRIES)
		walk->entries[walk->count] = (Entry){position, 1.0};
	walk->count++;
}

/*
 * One level of nested lists: value holds the elements along axis, the first of
 * which has this position.  The shape was taken from the first element of each
 * level, so every other must agree with it: this is where ragged lists are
 * found, with their place.
 */
static void
walk_axis(Walk *walk, const JsonValue *value, int32_t axis, int64_t position)
{
	const Tensor *tensor = walk->tensor;
	int64_t		  size = tensor->shape.sizes[axis];
	char		  what[160];
	char		  text[80];

	if (value->kind != JSON_ARRAY || value->count != size)
	{
		if (value->kind == JSON_ARRAY)
			text_print(what, sizeof(what),
					   "has length %d, but its neighbours "
					   "have length %lld",
					   value->count, (long long) size);
		else
			text_print(what, sizeof(what),
					   "must be an array of length %lld, "
					   "not %s",
					   (long long) size, text_value(text, value));
		walk_complain(walk, KERNEL_INVALID, axis, what);
		return;
	}
	reader_poll(walk->reader);
	for (int32_t i = 0; i < size && walk->complaints < MAX_COMPLAINTS; i++)
	{
		const JsonValue *element = &value->as.elements[i];

		walk->indices[axis] = i;
		if (axis + 1 < tensor->shape.rank)
			walk_axis(walk, element, axis + 1, position);
		else if (tensor->shape.form == FORM_NEXT)
			walk_next(walk, element, position);
		else
			walk_number(walk, element, position);
		position += tensor->layout.strides[axis];
	}
}

/*
 * The whole array; false if there was anything to complain of.  After a few
 * complaints it stops: they are usually all of one kind.
 */
static bool
walk_all(Walk *walk)
{
	const JsonValue *value = walk->tensor->value;

	if (walk->tensor->shape.form == FORM_NEXT)
		walk_axis(walk, json_member(value, "next"), 1, 0);
	else
		walk_axis(walk, value, 0, 0);
	return walk->complaints == 0;
}

/*
 * How many numbers of nested lists are not zero, after all of them were
 * checked.  Knowing it, the caller can choose a form and allocate exactly.
 */
bool
tensor_count(Reader *reader, const Tensor *tensor, int64_t *nonzero)
{
	Walk walk = {.reader = reader, .tensor = tensor, .goal = WALK_COUNT};

	if (!walk_all(&walk))
		return false;
	*nonzero = walk.count;
	return true;
}

/* ---------- lists of entries ---------- */

/*
 * Sorts by position, all below positions: a radix sort of one byte at a time,
 * which needs no comparison and takes only as many turns as positions have
 * bytes.  It is stable, and takes as much memory again.
 */
static bool
entries_sort(Reader *reader, Entries *entries, int64_t positions,
			 const char *path)
{
	Entry *from = entries->items;
	Entry *to = reader_allocate(reader, entries->count, sizeof(Entry), path);
	Entry *last;

	if (to == NULL)
		return false;
	for (int shift = 0; shift < 63 && (positions - 1) >> shift > 0; shift += 8)
	{
		int64_t starts[257] = {0};

		for (int64_t i = 0; i < entries->count; i++)
			starts[(from[i].position >> shift & 0xff) + 1]++;
		for (int i = 0; i < 256; i++)
			starts[i + 1] += starts[i];
		for (int64_t i = 0; i < entries->count; i++)
			to[starts[from[i].position >> shift & 0xff]++] = from[i];
		last = from;
		from = to;
		to = last;
		reader_poll(reader);
	}
	entries->items = from;
	return true;
}

/*
 * One entry [i, j, ..., value] of the sparse form.  Its position is the sum
 * over the axes that were written; those left out have size 1. number is its
 * place in the list.
 */
static void
read_entry(Walk *walk, const JsonValue *entry, int32_t number)
{
	const Tensor *tensor = walk->tensor;
	int32_t		  rank = tensor->shape.rank;
	int64_t		  position = 0;
	char		  what[200];
	char		  text[160];
	KernelStatus  status;
	const char	 *fault;

	if (entry->kind != JSON_ARRAY || entry->count != rank + 1)
	{
		text_print(what, sizeof(what),
				   "entry %d of %s must be an array of %d "
				   "indices and a value",
				   number, tensor->place.path, rank);
		kernel_problem(walk->reader->problems, KERNEL_INVALID,
					   tensor->place.path, NULL, NULL, "%s", what);
		walk->complaints++;
		return;
	}
	for (int32_t i = 0; i < rank; i++)
	{
		const JsonValue *index = &entry->as.elements[i];

		if (index->kind != JSON_NUMBER || !(index->as.number >= 0) ||
			!(index->as.number < (double) tensor->shape.sizes[i]) ||
			index->as.number != (int32_t) index->as.number)
		{
			kernel_problem(walk->reader->problems, KERNEL_RANGE,
						   tensor->place.path, NULL, NULL,
						   "entry %d of %s has %s as index %d, which counts "
						   "from 0 to %lld",
						   number, tensor->place.path, text_value(text, index),
						   i, (long long) tensor->shape.sizes[i] - 1);
			walk->complaints++;
			return;
		}
		position += (int32_t) index->as.number * tensor->layout.strides[i];
	}
	fault = number_fault(tensor, &entry->as.elements[rank], text, &status);
	if (fault != NULL)
	{
		kernel_problem(walk->reader->problems, status, tensor->place.path, NULL,
					   NULL, "the value of entry %d of %s %s", number,
					   tensor->place.path, fault);
		walk->complaints++;
		return;
	}
	walk->entries[walk->count++] =
		(Entry){position, entry->as.elements[rank].as.number};
}

/*
 * Are all positions different?  Entries are in order, so equal ones are
 * neighbours.  Two entries of one place say two things, and which of them
 * counts is for nobody to guess.
 */
static bool
entries_differ(Reader *reader, const Tensor *tensor, const Entries *entries)
{
	const Layout *layout = &tensor->layout;
	char		  place[160];

	for (int64_t i = 1; i < entries->count; i++)
	{
		int64_t position = entries->items[i].position;

		if (position != entries->items[i - 1].position)
			continue;
		text_print(place, sizeof(place), "[");
		for (int32_t axis = 0; axis < tensor->shape.rank; axis++)
			text_add(place, sizeof(place), "%s%lld", axis > 0 ? ", " : "",
					 (long long) (position / layout->strides[axis] %
								  layout->sizes[axis]));
		kernel_problem(reader->problems, KERNEL_INVALID, tensor->place.path,
					   NULL, NULL, "%s has two entries for %s]",
					   tensor->place.shown, place);
		return false;
	}
	return true;
}

/*
 * The members "default" and "entries" of a sparse form.  The list of entries
 * is as long as its JSON, whatever size the shape claims.
 */
static bool
read_sparse(Reader *reader, const Tensor *tensor, Walk *walk, Entries *entries)
{
	const JsonValue *rest = json_member(tensor->value, "default");
	const JsonValue *list = json_member(tensor->value, "entries");
	const char		*path = tensor->place.path;
	KernelStatus	 status;
	char			 text[160];
	const char		*fault;

	fault = rest != NULL ? number_fault(tensor, rest, text, &status) : NULL;
	if (fault != NULL)
	{
		kernel_problem(reader->problems, status, path, NULL, NULL,
					   "the default of %s %s", tensor->place.shown, fault);
		return false;
	}
	entries->rest = rest != NULL ? rest->as.number : 0;
	if (list == NULL)
		return true;
	if (list->kind != JSON_ARRAY)
	{
		kernel_problem(reader->problems, KERNEL_INVALID, path, NULL, NULL,
					   "the entries of %s must be an array, not %s",
					   tensor->place.shown, text_value(text, list));
		return false;
	}
	walk->entries = reader_allocate(reader, list->count, sizeof(Entry), path);
	if (walk->entries == NULL)
		return false;
	for (int32_t i = 0; i < list->count; i++)
	{
		if ((i & 0xfff) == 0)
			reader_poll(reader);
		read_entry(walk, &list->as.elements[i], i);
		if (walk->complaints >= MAX_COMPLAINTS)
			break;
	}
	return walk->complaints == 0;
}

/*
 * An array as the entries that differ from the rest, in order of position, in
 * the arena.  room is the number of entries where the caller knows it: for
 * nested lists from tensor_count(), for "next" the number of columns.  False
 * with a problem, or without memory.
 */
bool
tensor_entries(Reader *reader, const Tensor *tensor, int64_t room,
			   Entries *entries)
{
	Walk walk = {.reader = reader, .tensor = tensor, .goal = WALK_ENTRIES};
	const char *path = tensor->place.path;
	int64_t		kept = 0;
	bool		good;

	memset(entries, 0, sizeof(Entries));
	if (tensor->shape.form == FORM_SPARSE)
		good = read_sparse(reader, tensor, &walk, entries);
	else
	{
		walk.entries = reader_allocate(reader, room, sizeof(Entry), path);
		good = walk.entries != NULL && walk_all(&walk);
	}
	if (!good)
		return false;
	entries->items = walk.entries;
	entries->count = walk.count;
	if (!entries_sort(reader, entries, tensor->layout.elements, path) ||
		!entries_differ(reader, tensor, entries))
		return false;

	/* an entry that repeats the default says nothing */
	for (int64_t i = 0; i < entries->count; i++)
	{
		if (entries->items[i].value != entries->rest)
			entries->items[kept++] = entries->items[i];
	}
	entries->count = kept;
	return true;
}

/*
 * An array spread out: out [layout.elements], out[position] for each element.
 * The caller has allocated out, and so has checked that it is not too large.
 * False with a problem, or without memory.
 */
bool
tensor_dense(Reader *reader, const Tensor *tensor, double *out)
{
	Walk walk = {
		.reader = reader, .tensor = tensor, .goal = WALK_DENSE, .dense = out};
	Entries entries;

	if (tensor->shape.form == FORM_NESTED)
		return walk_all(&walk);
	if (!tensor_entries(reader, tensor, tensor->layout.elements, &entries))
		return false;
	for (int64_t i = 0; i < tensor->layout.elements; i++)
	{
		if ((i & 0xffff) == 0)
			reader_poll(reader);
		out[i] = entries.rest + 0.0;
	}
	for (int64_t i = 0; i < entries.count; i++)
		out[entries.items[i].position] = entries.items[i].value + 0.0;
	return true;
}
