/*-------------------------------------------------------------------------
 *
 * coalition_search.c
 *	  Who should do which task: groups of agents that cover the skills of tasks.
 *
 * Agents with the same skills are interchangeable, so what is searched are
 * kinds of agents, of which so many are free.  A coalition of least cost has
 * no two agents of a kind, and none whose skills the others have.
 *
 * First greedily: the best task by value for each member, its cover by the
 * most missing skills for each agent (Chvatal 1979; Shehory and Kraus 1998).
 * Then depth first over tasks, and within a task over who has its scarcest
 * missing skill, cut off where even the most that is left would not beat the
 * best.  The work is counted and limited.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "coalition.h"

#include <float.h>
#include <math.h>

/*
 * One member of a coalition that is being put together: of those that have the
 * skill, kinds before this one have been tried in its place and are not tried
 * again below, or each set would be met once in every order.
 */
typedef struct Frame
{
	const struct Frame *before;
	int					skill;
	int					kind;
} Frame;

/* ---------- skills ---------- */

/* Does a set of skills [words] have this one? */
static bool
has_skill(const uint64 *skills, int skill)
{
	return (skills[skill / 64] >> (skill % 64)) & 1;
}

bool
search_kind_has(const Search *search, int kind, int skill)
{
	return has_skill(search->skills + (Size) kind * search->words, skill);
}

/* Is it missing, whoever of members [count] is left out (-1: nobody)? */
static bool
is_missing(const Search *search, const int *members, int count, int left_out,
		   int skill)
{
	for (int i = 0; i < count; i++)
	{
		if (i != left_out && search_kind_has(search, members[i], skill))
			return false;
	}
	return true;
}

/* Would the others do without the member at this place? */
static bool
is_needless(const Search *search, const SearchTask *task, const int *members,
			int count, int place)
{
	for (int i = 0; i < task->need_count; i++)
	{
		if (is_missing(search, members, count, place, task->needs[i]))
			return false;
	}
	return true;
}

/* What a task brings with so many members. */
static double
net_value(const Search *search, const SearchTask *task, int count)
{
	return task->value - search->cost * count;
}

/* ---------- greedily ---------- */

/* How many skills of a task its members [count] lack and this kind has. */
static int
new_skills(const Search *search, const SearchTask *task, const int *members,
		   int count, int kind)
{
	int found = 0;

	for (int i = 0; i < task->need_count; i++)
		found += search_kind_has(search, kind, task->needs[i]) &&
				 is_missing(search, members, count, -1, task->needs[i]);
	return found;
}

/*
 * A cover of a task by free kinds: whoever adds most, again and again, and
 * then without those that later ones have made needless.  members has room for
 * need_count.  Returns how many, 0 where the task cannot be covered.
 */
static int
cover_greedily(const Search *search, const SearchTask *task, int *members)
{
	int covered = 0;
	int count = 0;

	while (covered < task->need_count)
	{
		int best = -1;
		int most = 0;

		CHECK_FOR_INTERRUPTS();
		for (int kind = 0; kind < search->kind_count; kind++)
		{
			int found = search->free[kind] > 0 ?
							new_skills(search, task, members, count, kind) :
							0;

			if (found > most)
			{
				most = found;
				best = kind;
			}
		}
		if (best < 0)
			return 0;
		members[count++] = best;
		covered += most;
	}
	for (int i = count - 1; i >= 0; i--)
	{
		if (is_needless(search, task, members, count, i))
		{
			memmove(members + i, members + i + 1,
					sizeof(int) * (count - i - 1));
			count--;
		}
	}
	return count;
}

/* Are all members of a cover still free? */
static bool
is_free(const Search *search, const SearchTask *task)
{
	for (int i = 0; i < task->trying_count; i++)
	{
		if (search->free[task->trying[i]] == 0)
			return false;
	}
	return true;
}

/* Takes a task's members out of those that are free, or gives them back. */
static void
take_members(Search *search, const int *members, int count, int change)
{
	for (int i = 0; i < count; i++)
	{
		search->free[members[i]] += change;
		search->idle += change;
	}
}

/*
 * The task that brings most for each member, of those that are not done, or
 * NULL.  trying of each is its cover, made anew where others have taken from
 * it; a task that cannot be covered any more has none.
 */
static SearchTask *
best_task(Search *search)
{
	SearchTask *best = NULL;
	double		most = 0.0;

	for (int t = 0; t < search->task_count; t++)
	{
		SearchTask *task = &search->tasks[t];
		double		rate;

		if (task->count > 0 || task->trying_count == 0)
			continue;
		if (!is_free(search, task))
			task->trying_count = cover_greedily(search, task, task->trying);
		if (task->trying_count == 0)
			continue;
		rate = net_value(search, task, task->trying_count) / task->trying_count;
		if (rate > most)
		{
			most = rate;
			best = task;
		}
	}
	return best;
}

/* A first result: best task after best task. */
static void
search_greedily(Search *search)
{
	SearchTask *task;

	for (int t = 0; t < search->task_count; t++)
	{
		task = &search->tasks[t];
		task->trying_count = cover_greedily(search, task, task->trying);
	}
	while ((task = best_task(search)) != NULL)
	{
		task->count = task->trying_count;
		memcpy(task->members, task->trying, sizeof(int) * task->count);
		take_members(search, task->members, task->count, -1);
		search->best += net_value(search, task, task->count);
	}
	for (int t = 0; t < search->task_count; t++)
		take_members(search, search->tasks[t].members, search->tasks[t].count,
					 1);
}

/* ---------- exactly ---------- */

static void visit_task(Search *search, int place);

/* Counts work; false once there is none left. */
static bool
go_on(Search *search, int64 work)
{
	if (search->work <= 0)
		return false;
	search->unpolled += work;
	if (search->unpolled > 100000)
	{
		CHECK_FOR_INTERRUPTS();
		search->unpolled = 0;
	}
	search->work -= work;
	return true;
}

/* Has this kind been tried in the place of a member before? */
static bool
was_tried(const Search *search, const Frame *frame, int kind)
{
	for (; frame != NULL; frame = frame->before)
	{
		if (kind < frame->kind && search_kind_has(search, kind, frame->skill))
			return true;
	}
	return false;
}

/*
 * The missing skill that the fewest free kinds have that were not tried; -1
 * where none is missing.
 */
static int
scarcest_skill(Search *search, const SearchTask *task, const Frame *frame)
{
	int scarcest = -1;
	int fewest = PG_INT32_MAX;

	for (int i = 0; i < task->need_count; i++)
	{
		int skill = task->needs[i];
		int found = 0;

		if (!is_missing(search, task->trying, task->trying_count, -1, skill))
			continue;
		for (int k = search->having_starts[skill];
			 k < search->having_starts[skill + 1]; k++)
		{
			int kind = search->having[k];

			found += search->free[kind] > 0 && !was_tried(search, frame, kind);
		}
		search->work -=
			search->having_starts[skill + 1] - search->having_starts[skill];
		if (found < fewest)
		{
			fewest = found;
			scarcest = skill;
		}
	}
	return scarcest;
}

/*
 * Could this be more than the best, if as many tasks from place on as there are
 * idle agents came off, each by the fewest?
 */
static bool
could_win(const Search *search, double value, int place)
{
	int last = (int) Min((int64) place + search->idle, search->task_count);

	return value + search->hope[last] - search->hope[place] >
		   search->best + search->tie;
}

/*
 * Adds members to the task at this place of the order until it is covered,
 * and goes on with the next task then.
 */
static void
extend(Search *search, int place, const Frame *frame)
{
	SearchTask *task = search->order[place];
	int			skill;

	if (!go_on(search, 1))
		return;
	skill = scarcest_skill(search, task, frame);
	if (skill < 0)
	{
		double before = search->value;

		for (int i = 0; i < task->trying_count; i++)
		{
			if (is_needless(search, task, task->trying, task->trying_count, i))
				return;
		}
		/* taking it off again would leave a rounding behind each time */
		search->value += net_value(search, task, task->trying_count);
		visit_task(search, place + 1);
		search->value = before;
		return;
	}
	if (!could_win(search,
				   search->value +
					   net_value(search, task, task->trying_count + 1),
				   place + 1))
		return;
	for (int k = search->having_starts[skill];
		 k < search->having_starts[skill + 1]; k++)
	{
		int	  kind = search->having[k];
		Frame next = {frame, skill, kind};

		if (search->free[kind] == 0 || was_tried(search, frame, kind))
			continue;
		task->trying[task->trying_count++] = kind;
		take_members(search, &kind, 1, -1);
		extend(search, place, &next);
		take_members(search, &kind, 1, 1);
		task->trying_count--;
	}
}

/* What is being tried is the best so far. */
static void
keep_best(Search *search)
{
	search->best = search->value;
	for (int t = 0; t < search->task_count; t++)
	{
		SearchTask *task = &search->tasks[t];

		task->count = task->trying_count;
		memcpy(task->members, task->trying, sizeof(int) * task->count);
	}
}

/*
 * All that can be done with the tasks from this place of the order on.  Where
 * so many are done at once that the stack ends, the search does too.
 */
static void
visit_task(Search *search, int place)
{
	if (stack_is_too_deep())
		search->work = 0;
	for (; place < search->task_count; place++)
	{
		SearchTask *task = search->order[place];

		if (!go_on(search, 1) || !could_win(search, search->value, place))
			return;
		if (net_value(search, task, task->least) > 0.0)
			extend(search, place, NULL);
		task->trying_count = 0;
	}
	if (search->work > 0 && could_win(search, search->value, place))
		keep_best(search);
}

/* Those that can bring most first; equal ones as they were given. */
static int
compare_tasks(const void *a, const void *b)
{
	const SearchTask *x = *(SearchTask *const *) a;
	const SearchTask *y = *(SearchTask *const *) b;

	if (x->most != y->most)
		return x->most > y->most ? -1 : 1;
	return x < y ? -1 : x > y;
}

/*
 * What each task can bring at most: that it is done by the fewest who could
 * cover it.  The order of tasks follows from that.
 */
static void
prepare(Search *search)
{
	int count = search->task_count;

	search->order = palloc(sizeof(SearchTask *) * Max(count, 1));
	search->hope = palloc0(sizeof(double) * (count + 1));
	for (int t = 0; t < count; t++)
	{
		SearchTask *task = search->order[t] = &search->tasks[t];
		int			skills = 1;

		CHECK_FOR_INTERRUPTS();
		for (int kind = 0; kind < search->kind_count; kind++)
		{
			int found = new_skills(search, task, NULL, 0, kind);

			if (found > skills)
				skills = found;
		}
		task->least = 0;
		for (int covered = 0; covered < task->need_count; covered += skills)
			task->least++;
		task->most = fmax(0.0, net_value(search, task, task->least));
	}
	qsort(search->order, count, sizeof(SearchTask *), compare_tasks);
	for (int t = 0; t < count; t++)
		search->hope[t + 1] = search->hope[t] + search->order[t]->most;
	/* sums in another order may differ by that, and more is a difference */
	search->tie = search->hope[count] * DBL_EPSILON * count;
	search->idle = 0;
	for (int kind = 0; kind < search->kind_count; kind++)
		search->idle += search->free[kind];
}

/*
 * Finds coalitions: tasks' members [count] are kinds, none where the task is
 * not done.  exact is set where no others bring more.  Cancellable; uses work.
 */
void
search_run(Search *search)
{
	prepare(search);
	search_greedily(search);
	for (int t = 0; t < search->task_count; t++)
		search->tasks[t].trying_count = 0;
	visit_task(search, 0);
	search->exact = search->work > 0;
}

/*
 * The least coalition for one task out of those that are free: its members
 * into members (room for need_count); returns how many, 0 for none.  By the
 * same search, of that task alone; where the work does not suffice, the best
 * that was found.
 */
int
search_one(const Search *search, const SearchTask *task, int64 work,
		   int *members)
{
	Search	   alone = *search;
	SearchTask copy = *task;

	copy.members = members;
	copy.trying = palloc(sizeof(int) * task->need_count);
	copy.count = 0;
	/* so much that more members are always worse, and never too many */
	copy.value = 1.0;
	alone.cost = 0.5 / (task->need_count + 1);
	alone.tasks = &copy;
	alone.task_count = 1;
	alone.work = work;
	alone.best = alone.value = 0.0;
	search_run(&alone);
	pfree(copy.trying);
	return copy.count;
}
