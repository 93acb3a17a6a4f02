/*
 * tuples.c
 *		Distinct tuples of integers, and their numbers.
 *
 * Everything that a plan shares is found by the same means: a thing is a tuple
 * of integers, and the first of equal tuples of one plan step gets the next
 * number.
 *
 * Room grows as tuples appear.  There may be as many as branches, but there
 * are mostly few, and room for all of them in all factors at once would be
 * more than the model.
 */
#include <string.h>

#include "compile.h"

#define FIRST_ROOM 4 /* tuples; it is doubled where that is not enough */

/*
 * Slots for so many tuples, twice as many and a power of two.  The table is
 * never more than half full.
 */
uint32_t
slots_for(int64_t count)
{
	uint32_t slots = 16;

	while (slots < 2 * (uint64_t) count)
		slots *= 2;
	return slots;
}

/*
 * Forgets the tuples of the step before, but not their numbers: equal tuples
 * of different steps are different things, as C may change along the plan.
 * Only as many slots are cleared as the tuples expected will need, for the
 * clearing would else be the most of the work at early steps.
 */
void
tuples_next_step(Tuples *tuples, int64_t expected)
{
	tuples->mask = slots_for(expected) - 1;
	memset(tuples->slots, -1, ((size_t) tuples->mask + 1) * sizeof(int32_t));
}

/*
 * Where the next tuple is to be written, behind the last one; NULL with a
 * problem, or without memory.
 */
int32_t *
tuples_next(Reader *reader, Tuples *tuples)
{
	int64_t	 used = (int64_t) tuples->count * tuples->width;
	int64_t	 room = tuples->room > 0 ? 2 * (int64_t) tuples->room : FIRST_ROOM;
	int32_t *items;

	if (tuples->count < tuples->room)
		return tuples->items + used;

	/* one more than there can be: the one that is looked up */
	room = room > tuples->most ? (int64_t) tuples->most + 1 : room;
	items = reader_allocate(reader, room * tuples->width, sizeof(int32_t),
							"policies");
	if (items == NULL)
		return NULL;
	if (used > 0)
		memcpy(items, tuples->items, (size_t) used * sizeof(int32_t));
	tuples->items = items;
	tuples->room = (int32_t) room;
	return items + used;
}

/*
 * The number of the tuple that stands at tuples_next(); it stays there if it
 * is new, and else is written over by the next.  Tuples whose key has no
 * integers are all equal.
 */
int32_t
tuples_intern(Tuples *tuples)
{
	size_t	 bytes = (size_t) tuples->key * sizeof(int32_t);
	int32_t *tuple = tuples->items + (int64_t) tuples->count * tuples->width;
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
	uint32_t slot;

	for (int32_t i = 0; i < tuples->key; i++)
	{
		hash = (hash ^ (uint32_t) tuple[i]) * UINT64_C(0xbf58476d1ce4e5b9);
		hash ^= hash >> 29;
	}
	slot = (uint32_t) (hash >> 16) & tuples->mask;
	while (tuples->slots[slot] >= 0)
	{
		int32_t known = tuples->slots[slot];

		if (memcmp(tuples->items + (int64_t) known * tuples->width, tuple,
				   bytes) == 0)
			return known;
		slot = (slot + 1) & tuples->mask;
	}
	tuples->slots[slot] = tuples->count;
	return tuples->count++;
}
