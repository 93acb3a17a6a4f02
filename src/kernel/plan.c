/*
 * plan.c
 *		The plan of evaluation: what policies share is computed once.
 *
 * Every list of distinct things here (branches, moves, views) is made by the
 * same means: a thing is a tuple of integers, and the first of equal tuples
 * of one plan step gets the next number.
 *
 * Why so: pymdp follows each policy on its own and predicts the same belief
 * over and over.  With the plan the cost of a step grows with the number of
 * different predictions, which is often a small part of the number of
 * policies times steps.  The results are the same, since what is shared was
 * equal.
 */
#include <string.h>

#include "compile.h"

/*
 * Distinct tuples and their numbers.  The tuple to be looked up is written
 * behind the last, so items has room for one more than there can be.
 */
typedef struct Tuples
{
	int32_t	 width; /* integers of a tuple; may be 0 */
	int32_t	 count; /* of tuples, those of earlier steps too */
	int32_t *items; /* [room][width] */
	int32_t *slots; /* of a hash over those of this step; -1: free */
	uint32_t mask;	/* slots in use, less one */
} Tuples;

/*
 * Slots for so many tuples, twice as many and a power of two.  The table is
 * never more than half full.
 */
static uint32_t
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
static void
tuples_next_step(Tuples *tuples, int64_t expected)
{
	tuples->mask = slots_for(expected) - 1;
	memset(tuples->slots, -1, ((size_t) tuples->mask + 1) * sizeof(int32_t));
}

/*
 * The number of the tuple that stands at items[count]; it stays there if it is
 * new, and else is written over by the next.  Tuples of width 0 are all equal.
 */
static int32_t
tuples_intern(Tuples *tuples)
{
	size_t	 bytes = (size_t) tuples->width * sizeof(int32_t);
	int32_t *tuple = tuples->items + (int64_t) tuples->count * tuples->width;
	uint64_t hash = UINT64_C(0x9e3779b97f4a7c15);
	uint32_t slot;

	for (int32_t i = 0; i < tuples->width; i++)
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

/* ---------- branches ---------- */

/*
 * A branch is (the branch before, the actions of the step).  Afterwards
 * leaf_of_policy holds each policy's last one.  tuples is as wide as that and
 * has room for all.
 */
static bool
make_branches(Spec *spec, Tuples *tuples)
{
	Plan   *plan = &spec->plan;
	int32_t controls = spec->controls.count;
	size_t	row = (size_t) controls * sizeof(int32_t);

	memset(plan->leaf_of_policy, -1,
		   (size_t) plan->policy_count * sizeof(int32_t));
	for (int32_t t = 0; t < plan->length; t++)
	{
		/*
		 * leaf_of_policy is the branch of the step before until it is
		 * overwritten
		 */
		tuples_next_step(tuples, plan->policy_count);
		plan->branch_starts[t] = tuples->count;
		for (int32_t p = 0; p < plan->policy_count; p++)
		{
			int32_t *tuple =
				tuples->items + (int64_t) tuples->count * tuples->width;

			tuple[0] = plan->leaf_of_policy[p];
			memcpy(tuple + 1,
				   plan->policies + ((int64_t) p * plan->length + t) * controls,
				   row);
			plan->leaf_of_policy[p] = tuples_intern(tuples);
		}
		reader_poll(&spec->reader);
	}
	plan->branch_starts[plan->length] = tuples->count;
	plan->branch_count = tuples->count;
	return true;
}

/*
 * Takes the branches apart: parents [branch_count], and their actions
 * [branch_count][controls], which moves are made from.  The order is that of
 * their numbers, so a parent stands before its children.
 */
static bool
keep_branches(Spec *spec, const Tuples *tuples)
{
	Plan	*plan = &spec->plan;
	int32_t	 controls = spec->controls.count;
	int32_t *actions;

	plan->branch_parent = reader_allocate(&spec->reader, tuples->count,
										  sizeof(int32_t), "policies");
	actions = reader_allocate(&spec->reader, (int64_t) tuples->count * controls,
							  sizeof(int32_t), "policies");
	if (plan->branch_parent == NULL || actions == NULL)
		return false;
	for (int32_t b = 0; b < tuples->count; b++)
	{
		const int32_t *tuple = tuples->items + (int64_t) b * tuples->width;

		plan->branch_parent[b] = tuple[0];
		memcpy(actions + (int64_t) b * controls, tuple + 1,
			   (size_t) controls * sizeof(int32_t));
	}
	plan->branch_actions = actions;
	return true;
}

/*
 * The tree of action prefixes.  There cannot be more branches than policies
 * times steps; the tuples get that much room while the tree is made, and the
 * finished arrays are as long as they need be.
 */
static bool
plan_branches(Spec *spec)
{
	Plan   *plan = &spec->plan;
	Reader *reader = &spec->reader;
	Tuples	tuples = {.width = 1 + spec->controls.count};
	int64_t most;

	if (__builtin_mul_overflow((int64_t) plan->policy_count, plan->length,
							   &most) ||
		most >= INT32_MAX)
	{
		kernel_problem(reader->problems, KERNEL_LIMIT, "policies", NULL, NULL,
					   "%d policies of %d steps are too many",
					   plan->policy_count, plan->length);
		return false;
	}
	tuples.items = reader_allocate(reader, (most + 1) * tuples.width,
								   sizeof(int32_t), "policies");
	tuples.slots = reader_allocate(reader, slots_for(plan->policy_count),
								   sizeof(int32_t), "policies");
	plan->leaf_of_policy = reader_allocate(reader, plan->policy_count,
										   sizeof(int32_t), "policies");
	plan->branch_starts =
		reader_allocate(reader, plan->length + 1, sizeof(int32_t), "policies");
	return tuples.items != NULL && tuples.slots != NULL &&
		   plan->leaf_of_policy != NULL && plan->branch_starts != NULL &&
		   make_branches(spec, &tuples) && keep_branches(spec, &tuples);
}

/* ---------- moves and views ---------- */

/*
 * The flat action of a factor in a branch: row-major over its controls in the
 * listed order, so that the last is the fastest.  It is the number of a block
 * of B's columns.
 */
static int32_t
flat_action(const Spec *spec, int32_t f, int32_t branch)
{
	const IndexList *controls = &spec->factor[f].controls;
	const int32_t	*actions =
		spec->plan.branch_actions + (int64_t) branch * spec->controls.count;
	int32_t u = 0;

	for (int32_t k = 0; k < controls->count; k++)
	{
		int32_t c = controls->items[k];

		u = u * spec->controls.variables[c].size + actions[c];
	}
	return u;
}

/*
 * The tuple of a factor's move: its flat action, and the moves of its parents
 * in the branch before.  tuple has room for 1 + parents.  -1 for a parent is
 * the belief at the plan's start.
 */
static void
move_tuple(const Spec *spec, int32_t f, int32_t branch, int32_t *tuple)
{
	const IndexList *parents = &spec->factor[f].parents;
	int32_t			 before = spec->plan.branch_parent[branch];

	*tuple++ = flat_action(spec, f, branch);
	for (int32_t k = 0; k < parents->count; k++)
		*tuple++ = before < 0 ?
					   -1 :
					   spec->plan.moves[parents->items[k]].of_branch[before];
}

/*
 * The tuple of a modality's view: the moves of its parents in this branch.
 * tuple has room for the parents.
 */
static void
view_tuple(const Spec *spec, int32_t m, int32_t branch, int32_t *tuple)
{
	const IndexList *parents = &spec->modality[m].parents;

	for (int32_t k = 0; k < parents->count; k++)
		*tuple++ = spec->plan.moves[parents->items[k]].of_branch[branch];
}

/*
 * Copies finished tuples: items [from, to) of each, as [count][to - from], so
 * that actions and parents lie in arrays of their own.  NULL without memory.
 */
static int32_t *
copy_items(Reader *reader, const Tuples *tuples, int32_t from, int32_t to)
{
	int32_t	 width = to - from;
	int32_t *copy = reader_allocate(reader, (int64_t) tuples->count * width,
									sizeof(int32_t), "policies");

	for (int32_t i = 0; copy != NULL && i < tuples->count; i++)
		memcpy(copy + (int64_t) i * width,
			   tuples->items + (int64_t) i * tuples->width + from,
			   (size_t) width * sizeof(int32_t));
	return copy;
}

/*
 * The arrays of moves or views whose length is known beforehand.
 */
static bool
nodes_begin(Spec *spec, PlanNodes *nodes)
{
	nodes->starts = reader_allocate(&spec->reader, spec->plan.length + 1,
									sizeof(int32_t), "policies");
	nodes->of_branch = reader_allocate(&spec->reader, spec->plan.branch_count,
									   sizeof(int32_t), "policies");
	return nodes->starts != NULL && nodes->of_branch != NULL;
}

/*
 * Tuples of a width for all branches, with the hash that is shared.  One more
 * is needed for the tuple that is looked up.
 */
static bool
tuples_begin(Spec *spec, Tuples *tuples, int32_t width, int32_t *slots)
{
	tuples->width = width;
	tuples->slots = slots;
	tuples->items = reader_allocate(
		&spec->reader, ((int64_t) spec->plan.branch_count + 1) * width,
		sizeof(int32_t), "policies");
	return tuples->items != NULL;
}

/*
 * Where every column of B is one certain next state, a sequence of actions is a
 * map of states onto states, and sequences that are equal maps lead from any
 * belief to equal beliefs: they are one move.  (3,125 policies of the T-maze
 * come down to some hundred moves.)
 *
 * That holds within a plan step, for a factor that depends on itself alone,
 * whose B the agent does not learn, and where the action itself has no value
 * (information gain of pB).
 */
typedef struct Maps
{
	bool		   used;   /* the moves of this factor are merged */
	const int32_t *next;   /* [U(f)][S(f)]: B as a map */
	Tuples		   tuples; /* [count][S(f)]: the map of each move */
} Maps;

/* No more than so many numbers are spent on the maps of one factor. */
#define MAPS_LIMIT (16 * 1024 * 1024)

/*
 * B [U * S columns] as a map [U][S], or NULL where some column is not certain
 * (or there is no memory, which the reader knows).  Certain is exactly 1.0:
 * with any other number equal maps would not mean equal beliefs.
 */
static const int32_t *
certain_next(Spec *spec, const Matrix *B)
{
	int32_t *next =
		reader_allocate(&spec->reader, B->columns, sizeof(int32_t), "policies");

	for (int64_t c = 0; next != NULL && c < B->columns; c++)
	{
		int64_t first = B->sparse ? B->starts[c] : c * B->rows;
		int64_t end = B->sparse ? B->starts[c + 1] : first + B->rows;
		int64_t at = first;

		while (at < end && B->values[at] == 0.0)
			at++;
		if (at == end || B->values[at] != 1.0)
			return NULL;
		next[c] = B->sparse ? B->indices[at] : (int32_t) (at - first);
		while (++at < end)
		{
			if (B->values[at] != 0.0)
				return NULL;
		}
	}
	return next;
}

/*
 * Decides whether a factor's moves are merged by their maps, and makes room
 * for the maps.  pB rules it out where it is learned, and where its gain W(pB)
 * counts, which depends on the action as such.  False only without memory.
 */
static bool
maps_begin(Spec *spec, int32_t f, int32_t *slots, Maps *maps)
{
	const SpecFactor *factor = &spec->factor[f];
	int32_t			  states = spec->factors.variables[f].size;

	if (factor->parents.count != 1 || factor->parents.items[0] != f ||
		(factor->pB != NULL &&
		 (spec->options.learn_B || spec->options.use_param_info_gain)) ||
		((int64_t) spec->plan.branch_count + 1) * states > MAPS_LIMIT)
		return true;
	maps->next = certain_next(spec, &factor->B);
	maps->used = maps->next != NULL;
	return !maps->used || tuples_begin(spec, &maps->tuples, states, slots);
}

/*
 * The number of a branch's move by its map: composed of the map of the move
 * before and that of the action.  tuple [action, move before] stands at the
 * end of tuples, and is kept for a new move, so that both lists have the same
 * numbers.  An action that is kept stands for all that come to the same.
 */
static int32_t
move_by_map(Maps *maps, Tuples *tuples, const int32_t *tuple)
{
	int32_t		   states = maps->tuples.width;
	const int32_t *next = maps->next + (int64_t) tuple[0] * states;
	const int32_t *before =
		tuple[1] < 0 ? NULL : maps->tuples.items + (int64_t) tuple[1] * states;
	int32_t *map = maps->tuples.items + (int64_t) maps->tuples.count * states;
	int32_t	 move;

	for (int32_t s = 0; s < states; s++)
	{
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it has room */
		map[s] = next[before == NULL ? s : before[s]];
	}
	move = tuples_intern(&maps->tuples);
	if (move == tuples->count)
		tuples->count++;
	return move;
}

/*
 * Numbers the moves of factor i, or the views of modality i, of plan step t.
 * maps is NULL where they are not merged by maps.  Steps must come in order.
 */
static void
nodes_step(Spec *spec, PlanNodes *nodes, Tuples *tuples, int32_t t, int32_t i,
		   bool moves, Maps *maps)
{
	const int32_t *starts = spec->plan.branch_starts;

	tuples_next_step(maps != NULL ? &maps->tuples : tuples,
					 starts[t + 1] - starts[t]);
	nodes->starts[t] = tuples->count;
	for (int32_t b = starts[t]; b < starts[t + 1]; b++)
	{
		int32_t *tuple =
			tuples->items + (int64_t) tuples->count * tuples->width;

		if (moves)
			move_tuple(spec, i, b, tuple);
		else
			view_tuple(spec, i, b, tuple);
		nodes->of_branch[b] = maps != NULL ? move_by_map(maps, tuples, tuple) :
											 tuples_intern(tuples);
	}
	nodes->starts[t + 1] = tuples->count;
	reader_poll(&spec->reader);
}

/*
 * The moves of all factors.  They refer to moves of other factors one step
 * earlier, so the factors go through the steps side by side.  slots is room
 * for one hash: each factor clears it before it numbers its moves of a step.
 */
static bool
plan_moves(Spec *spec, int32_t *slots)
{
	Plan   *plan = &spec->plan;
	int32_t factors = spec->factors.count;
	Tuples *tuples =
		reader_allocate(&spec->reader, factors, sizeof(Tuples), "policies");
	Maps *maps =
		reader_allocate(&spec->reader, factors, sizeof(Maps), "policies");

	for (int32_t f = 0; f < factors; f++)
	{
		if (tuples == NULL || maps == NULL ||
			!nodes_begin(spec, &plan->moves[f]) ||
			!tuples_begin(spec, &tuples[f], 1 + spec->factor[f].parents.count,
						  slots) ||
			!maps_begin(spec, f, slots, &maps[f]))
			return false;
	}
	for (int32_t t = 0; t < plan->length; t++)
	{
		for (int32_t f = 0; f < factors; f++)
			nodes_step(spec, &plan->moves[f], &tuples[f], t, f, true,
					   maps[f].used ? &maps[f] : NULL);
	}
	for (int32_t f = 0; f < factors; f++)
	{
		PlanNodes *moves = &plan->moves[f];

		moves->count = tuples[f].count;
		moves->actions = copy_items(&spec->reader, &tuples[f], 0, 1);
		moves->parents =
			copy_items(&spec->reader, &tuples[f], 1, tuples[f].width);
		if (moves->actions == NULL || moves->parents == NULL)
			return false;
	}
	return true;
}

/*
 * The views of all modalities.  They need the moves of the same step only, so
 * they come after all moves, one modality at a time.
 */
static bool
plan_views(Spec *spec, int32_t *slots)
{
	Plan *plan = &spec->plan;

	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		PlanNodes *views = &plan->views[m];
		Tuples	   tuples = {0};

		if (!nodes_begin(spec, views) ||
			!tuples_begin(spec, &tuples, spec->modality[m].parents.count,
						  slots))
			return false;
		for (int32_t t = 0; t < plan->length; t++)
			nodes_step(spec, views, &tuples, t, m, false, NULL);
		views->count = tuples.count;
		views->parents = copy_items(&spec->reader, &tuples, 0, tuples.width);
		if (views->parents == NULL || !views_sort(spec, m))
			return false;
	}
	return true;
}

/*
 * The plan of the policies; only for a spec that has no problem.  False with a
 * problem, or without memory.  65,536 policies take some 20 ms.
 */
bool
plan_make(Spec *spec)
{
	Plan	*plan = &spec->plan;
	int32_t *slots;

	plan->moves = reader_allocate(&spec->reader, spec->factors.count,
								  sizeof(PlanNodes), "policies");
	plan->views = reader_allocate(&spec->reader, spec->modalities.count,
								  sizeof(PlanNodes), "policies");
	slots = reader_allocate(&spec->reader, slots_for(plan->policy_count),
							sizeof(int32_t), "policies");
	return plan->moves != NULL && plan->views != NULL && slots != NULL &&
		   plan_branches(spec) && plan_moves(spec, slots) &&
		   plan_views(spec, slots);
}
