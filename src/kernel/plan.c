/*
 * plan.c
 *		The plan of evaluation: what policies share is computed once.
 *
 * Every list of distinct things here (branches, moves, views) is made by the
 * same means, tuples.c.
 *
 * Why so: pymdp follows each policy on its own and predicts the same belief
 * over and over.  With the plan the cost of a step grows with the number of
 * different predictions, which is often a small part of the number of
 * policies times steps.  The results are the same, since what is shared was
 * equal.
 */
#include <string.h>

#include "compile.h"

/* ---------- branches ---------- */

/*
 * A branch is (the branch before, the actions of the step).  Afterwards
 * leaf_of_policy holds each policy's last one.  tuples is as wide as that.
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
			int32_t *tuple = tuples_next(&spec->reader, tuples);

			if (tuple == NULL)
				return false;
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
 * times steps.
 */
static bool
plan_branches(Spec *spec)
{
	Plan   *plan = &spec->plan;
	Reader *reader = &spec->reader;
	int32_t width = 1 + spec->controls.count;
	Tuples	tuples = {.width = width, .key = width};
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
	tuples.most = (int32_t) most;
	tuples.slots = reader_allocate(reader, slots_for(plan->policy_count),
								   sizeof(int32_t), "policies");
	plan->leaf_of_policy = reader_allocate(reader, plan->policy_count,
										   sizeof(int32_t), "policies");
	plan->branch_starts =
		reader_allocate(reader, plan->length + 1, sizeof(int32_t), "policies");
	return tuples.slots != NULL && plan->leaf_of_policy != NULL &&
		   plan->branch_starts != NULL && make_branches(spec, &tuples) &&
		   keep_branches(spec, &tuples);
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
 * Where every column of B is one certain next state, a sequence of actions is a
 * map of states onto states, and sequences that are equal maps lead from any
 * belief to equal beliefs: they are one move.  (3,125 policies of the T-maze
 * come down to some hundred moves.)
 *
 * That holds within a plan step, for a factor that depends on itself alone,
 * whose B the agent does not learn, and where the action itself has no value
 * (information gain of pB).
 *
 * To compose and keep maps costs their length, so the integers that may be
 * composed are limited, for all factors of a model together.  Beyond that
 * moves are no longer merged, but those that are stay so.
 */
typedef struct Maps
{
	const int32_t *next;   /* [U(f)][S(f)]: B as a map; NULL: not merged */
	Tuples		   tuples; /* [count][S(f)]: the map of each move */
} Maps;

/* Bytes of the limit for a model that allow one integer of a map. */
#define BYTES_OF_A_MAP_STATE 16

/* The moves of one factor in the making. */
typedef struct Moves
{
	Tuples	 list;	/* (flat action, moves of the parents) of each move */
	Tuples	 pairs; /* where merged, (action, move before, move) of this step:
						 * branches of one pair need no map of their own */
	Maps	 maps;
	int64_t *left; /* integers that may still be composed; of all factors */
} Moves;

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

		if ((c & 0xfff) == 0)
			reader_poll(&spec->reader);
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
 * Begins the moves of a factor, and decides whether they are merged by their
 * maps.  pB rules it out where it is learned, and where its gain W(pB) counts,
 * which depends on the action as such.  slots is room for two hashes of all
 * branches of a step, which all factors share.  False without memory.
 */
static bool
moves_begin(Spec *spec, int32_t f, int32_t *slots, Moves *moves)
{
	const SpecFactor *factor = &spec->factor[f];
	int32_t			  states = spec->factors.variables[f].size;
	int32_t			  most = spec->plan.branch_count;
	int32_t			  width = 1 + factor->parents.count;
	int32_t			 *others = slots + slots_for(spec->plan.policy_count);

	moves->list =
		(Tuples){.width = width, .key = width, .most = most, .slots = slots};
	moves->pairs = (Tuples){.width = 3, .key = 2, .most = most, .slots = slots};
	moves->maps.tuples =
		(Tuples){.width = states, .key = states, .most = most, .slots = others};
	if (factor->parents.count != 1 || factor->parents.items[0] != f ||
		(factor->pB != NULL &&
		 (spec->options.learn_B || spec->options.use_param_info_gain)))
		return true;
	moves->maps.next = certain_next(spec, &factor->B);
	return !spec->reader.failed;
}

/*
 * The move of a pair [action, move before] by its map, which is composed of
 * the map of the move before and that of the action: one with the same map, or
 * a new one.  An action that is kept for a move stands for all that come to
 * the same.  Without memory -1.
 */
static int32_t
move_by_map(Spec *spec, Moves *moves, const int32_t *pair)
{
	Maps		  *maps = &moves->maps;
	int32_t		   states = maps->tuples.width;
	const int32_t *next = maps->next + (int64_t) pair[0] * states;
	const int32_t *before = NULL;
	int32_t		  *map = tuples_next(&spec->reader, &maps->tuples);

	if (map == NULL)
		return -1;
	if (pair[1] >= 0)
		before = maps->tuples.items + (int64_t) pair[1] * states;
	for (int32_t s = 0; s < states; s++)
		map[s] = next[before == NULL ? s : before[s]];
	*moves->left -= states;
	reader_poll(&spec->reader);
	return tuples_intern(&maps->tuples);
}

/*
 * The move of a pair that is new in this step.  While maps are composed, they
 * and the list of moves have the same numbers; beyond the limit every pair is
 * a move.  Without memory -1.
 */
static int32_t
move_of_pair(Spec *spec, Moves *moves, const int32_t *pair)
{
	Tuples	*list = &moves->list;
	int32_t	 move = list->count;
	int32_t *tuple = tuples_next(&spec->reader, list);

	if (*moves->left >= moves->maps.tuples.width)
		move = move_by_map(spec, moves, pair);
	if (tuple == NULL || move < 0)
		return -1;
	if (move == list->count)
	{
		memcpy(tuple, pair, 2 * sizeof(int32_t));
		list->count++;
	}
	return move;
}

/*
 * Numbers the moves of factor f at plan step t.  Steps must come in order, and
 * a step of all factors before the next one: moves refer to those of parents
 * one step earlier.  False without memory.
 */
static bool
moves_step(Spec *spec, int32_t f, int32_t t, Moves *moves)
{
	const int32_t *starts = spec->plan.branch_starts;
	PlanNodes	  *nodes = &spec->plan.moves[f];
	bool		   merged = moves->maps.next != NULL;
	Tuples		  *tuples = merged ? &moves->pairs : &moves->list;
	int32_t		   branches = starts[t + 1] - starts[t];

	moves->pairs.count = 0; /* those of the step before are not needed */
	tuples_next_step(tuples, branches);
	tuples_next_step(&moves->maps.tuples, branches);
	nodes->starts[t] = moves->list.count;
	for (int32_t b = starts[t]; b < starts[t + 1]; b++)
	{
		int32_t	 before = tuples->count;
		int32_t *tuple = tuples_next(&spec->reader, tuples);
		int32_t	 number;

		if (tuple == NULL)
			return false;
		move_tuple(spec, f, b, tuple);
		number = tuples_intern(tuples);
		if (merged && number == before)
			tuple[2] = move_of_pair(spec, moves, tuple);
		nodes->of_branch[b] =
			merged ? tuples->items[(int64_t) number * 3 + 2] : number;
		if (nodes->of_branch[b] < 0)
			return false;
		if ((b & 0xfff) == 0)
			reader_poll(&spec->reader);
	}
	nodes->starts[t + 1] = moves->list.count;
	return true;
}

/*
 * The moves of all factors, which go through the steps side by side.  slots is
 * as in moves_begin().
 */
static bool
plan_moves(Spec *spec, int32_t *slots)
{
	Plan   *plan = &spec->plan;
	int32_t factors = spec->factors.count;
	int64_t left = spec->reader.host->max_model_size / BYTES_OF_A_MAP_STATE;
	Moves  *moves =
		reader_allocate(&spec->reader, factors, sizeof(Moves), "policies");

	for (int32_t f = 0; f < factors; f++)
	{
		if (moves == NULL || !nodes_begin(spec, &plan->moves[f]) ||
			!moves_begin(spec, f, slots, &moves[f]))
			return false;
		moves[f].left = &left;
	}
	for (int32_t t = 0; t < plan->length; t++)
	{
		for (int32_t f = 0; f < factors; f++)
		{
			if (!moves_step(spec, f, t, &moves[f]))
				return false;
		}
	}
	for (int32_t f = 0; f < factors; f++)
	{
		PlanNodes	 *nodes = &plan->moves[f];
		const Tuples *list = &moves[f].list;

		nodes->count = list->count;
		nodes->actions = copy_items(&spec->reader, list, 0, 1);
		nodes->parents = copy_items(&spec->reader, list, 1, list->width);
		if (moves[f].maps.tuples.count == list->count)
			nodes->maps = moves[f].maps.tuples.items;
		if (nodes->actions == NULL || nodes->parents == NULL)
			return false;
	}
	return true;
}

/*
 * Numbers the views of modality m.  They need the moves of the same step only,
 * so they come after all moves.  False without memory.
 */
static bool
number_views(Spec *spec, int32_t m, int32_t *slots)
{
	const int32_t *starts = spec->plan.branch_starts;
	int32_t		   width = spec->modality[m].parents.count;
	PlanNodes	  *views = &spec->plan.views[m];
	Tuples		   tuples = {.width = width,
							 .key = width,
							 .most = spec->plan.branch_count,
							 .slots = slots};

	for (int32_t t = 0; t < spec->plan.length; t++)
	{
		tuples_next_step(&tuples, starts[t + 1] - starts[t]);
		views->starts[t] = tuples.count;
		for (int32_t b = starts[t]; b < starts[t + 1]; b++)
		{
			int32_t *tuple = tuples_next(&spec->reader, &tuples);

			if (tuple == NULL)
				return false;
			view_tuple(spec, m, b, tuple);
			views->of_branch[b] = tuples_intern(&tuples);
			if ((b & 0xfff) == 0)
				reader_poll(&spec->reader);
		}
		views->starts[t + 1] = tuples.count;
	}
	views->count = tuples.count;
	views->parents = tuples.items;
	return true;
}

/*
 * The views of all modalities, one after another: what it takes to sort them
 * is allocated once.
 */
static bool
plan_views(Spec *spec, int32_t *slots)
{
	Plan	*plan = &spec->plan;
	int64_t	 branches = plan->branch_count;
	ViewRoom room;

	room.order[0] =
		reader_allocate(&spec->reader, branches, sizeof(int32_t), "policies");
	room.order[1] =
		reader_allocate(&spec->reader, branches, sizeof(int32_t), "policies");
	room.tally = reader_allocate(&spec->reader, branches + 1, sizeof(int32_t),
								 "policies");
	if (room.order[0] == NULL || room.order[1] == NULL || room.tally == NULL)
		return false;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		if (!nodes_begin(spec, &plan->views[m]) ||
			!number_views(spec, m, slots) || !views_sort(spec, m, &room))
			return false;
	}
	return true;
}

/*
 * The tables of views that are contracted, after it is known which share
 * numbers instead.
 */
static bool
plan_tables(Spec *spec)
{
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		if (!views_table(spec, m))
			return false;
	}
	return true;
}

/*
 * Does what each branch takes in every factor and modality fit a model?  It is
 * known before any of it is made.
 */
static bool
branches_fit(Spec *spec)
{
	int64_t of_each = (int64_t) spec->factors.count + spec->modalities.count;

	return reader_allows(&spec->reader, spec->plan.branch_count * of_each,
						 sizeof(int32_t), "policies");
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
	slots = reader_allocate(&spec->reader,
							2 * (int64_t) slots_for(plan->policy_count),
							sizeof(int32_t), "policies");
	return plan->moves != NULL && plan->views != NULL && slots != NULL &&
		   plan_branches(spec) && branches_fit(spec) &&
		   plan_moves(spec, slots) && plan_views(spec, slots) &&
		   plan_share(spec) && plan_tables(spec) && plan_foresee(spec);
}
