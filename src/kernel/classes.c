/*
 * classes.c
 *		States that a modality does not tell apart.
 *
 * Where columns of A are equal, only the sum of their states' probabilities
 * counts.  In a maze most places look the same to most modalities: of 35
 * places a cue may know two classes, the one where it hangs and all others.
 *
 * Equal means to the bit.  Columns that are nearly equal are different ones.
 */
#include <string.h>

#include "compile.h"

/*
 * A hash of one column, of its zeros only where they are.
 */
static uint64_t
column_hash(const Matrix *A, int64_t column)
{
	int64_t	 first = A->sparse ? A->starts[column] : column * A->rows;
	int64_t	 end = A->sparse ? A->starts[column + 1] : first + A->rows;
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);

	for (int64_t k = first; k < end; k++)
	{
		uint64_t bits;

		memcpy(&bits, &A->values[k], sizeof(bits));
		bits ^= A->sparse ? (uint64_t) A->indices[k] << 32 : 0;
		hash = (hash ^ bits) * UINT64_C(0xbf58476d1ce4e5b9);
		hash ^= hash >> 29;
	}
	return hash;
}

/*
 * Are two columns equal?
 */
static bool
columns_equal(const Matrix *A, int64_t one, int64_t other)
{
	int64_t a = A->sparse ? A->starts[one] : one * A->rows;
	int64_t b = A->sparse ? A->starts[other] : other * A->rows;
	int64_t count = A->sparse ? A->starts[one + 1] - a : A->rows;

	if (A->sparse && (A->starts[other + 1] - b != count ||
					  memcmp(A->indices + a, A->indices + b,
							 (size_t) count * sizeof(int32_t)) != 0))
		return false;
	return memcmp(A->values + a, A->values + b,
				  (size_t) count * sizeof(double)) == 0;
}

/*
 * The i-th of the columns that belong to a state of the parent.
 */
static int64_t
column_of(const Classes *classes, int64_t after, int64_t i, int32_t state)
{
	return (i / after * classes->states + state) * after + i % after;
}

/*
 * Are all columns of two states equal?
 */
static bool
states_equal(const Matrix *A, const Classes *classes, int64_t after,
			 int32_t one, int32_t other)
{
	int64_t others = A->columns / classes->states;

	for (int64_t i = 0; i < others; i++)
	{
		if (!columns_equal(A, column_of(classes, after, i, one),
						   column_of(classes, after, i, other)))
			return false;
	}
	return true;
}

/*
 * The hash of all columns of a state, as a tuple of two integers.
 */
static void
state_hash(const Matrix *A, const Classes *classes, int64_t after,
		   int32_t state, int32_t *tuple)
{
	int64_t	 others = A->columns / classes->states;
	uint64_t hash = 0;

	for (int64_t i = 0; i < others; i++)
		hash = (hash ^ column_hash(A, column_of(classes, after, i, state))) *
			   UINT64_C(0x9fb21c651e98df25);
	tuple[0] = (int32_t) (uint32_t) hash;
	tuple[1] = (int32_t) (uint32_t) (hash >> 32);
}

/*
 * The classes of a parent with classes->states states, whose index in a joint
 * state moves on by after.  States are found by their hash, and then looked at:
 * one that only has the same hash becomes a class of its own.  False without
 * memory.
 */
bool
classes_find(Reader *reader, const Matrix *A, int64_t after, Classes *classes)
{
	int32_t states = classes->states;
	Tuples	hashes = {.width = 3, .key = 2, .most = states};

	classes->count = 0;
	classes->of_state =
		reader_allocate(reader, states, sizeof(int32_t), "policies");
	classes->representative =
		reader_allocate(reader, states, sizeof(int32_t), "policies");
	hashes.slots =
		reader_allocate(reader, slots_for(states), sizeof(int32_t), "policies");
	if (classes->of_state == NULL || classes->representative == NULL ||
		hashes.slots == NULL)
		return false;
	tuples_next_step(&hashes, states);
	for (int32_t s = 0; s < states; s++)
	{
		int32_t *tuple = tuples_next(reader, &hashes);
		int32_t	 known;
		int32_t class = classes->count;

		if (tuple == NULL)
			return false;
		state_hash(A, classes, after, s, tuple);
		tuple[2] = class;
		known = tuples_intern(&hashes);
		tuple = hashes.items + (int64_t) known * hashes.width;
		if (tuple[2] != class &&
			states_equal(A, classes, after, classes->representative[tuple[2]],
						 s))
			class = tuple[2];
		classes->of_state[s] = class;
		if (class == classes->count)
			classes->representative[classes->count++] = s;
		reader_poll(reader);
	}
	return true;
}
