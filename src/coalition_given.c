/*-------------------------------------------------------------------------
 *
 * coalition_given.c
 *	  What fa_coalition_form is given, as numbers: skills, tasks, and kinds of
 *	  agents.
 *
 * Only skills that some task needs count; agents that have the same of these
 * are one kind, so that many agents alike are no more work than one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

#include "coalition.h"

#include <errno.h>
#include <math.h>

/* Raises 22023 for a part of an argument; never returns. */
pg_noreturn void
forming_malformed(const char *argument, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" %s", argument, what), errhint("%s", hint)));
	pg_unreachable();
}

#define AGENTS_HINT                                                               \
	"Write '{\"12\": [\"vision\", \"speech\"], \"13\": []}': an agent's id, and " \
	"the names of its skills."
#define TASKS_HINT                                                         \
	"Write '[{\"name\": \"search\", \"skills\": [\"vision\"], \"value\": " \
	"5}]'."

/* Raises 22023 where a list of skills is none of names. */
static void
check_skills(const JsonValue *skills, const char *argument, const char *hint)
{
	bool given = skills != NULL && skills->kind == JSON_ARRAY;

	if (!given)
		forming_malformed(argument, "must have an array of skills for each",
						  hint);
	for (int i = 0; given && i < skills->count; i++)
	{
		if (skills->as.elements[i].kind != JSON_STRING)
			forming_malformed(argument, "must name skills by strings", hint);
	}
}

/* Raises 22023 where a task lacks a part. */
static void
check_task(const JsonValue *task)
{
	const JsonValue *name = json_member(task, "name");
	const JsonValue *value = json_member(task, "value");
	const JsonValue *skills = json_member(task, "skills");

	if (name == NULL || name->kind != JSON_STRING)
		forming_malformed("tasks", "must have a name for each", TASKS_HINT);
	if (value == NULL || value->kind != JSON_NUMBER ||
		!isfinite(value->as.number))
		forming_malformed("tasks", "must have a finite value for each",
						  TASKS_HINT);
	check_skills(skills, "tasks", TASKS_HINT);
	if (skills->count == 0)
		forming_malformed("tasks", "must need at least one skill each",
						  TASKS_HINT);
}

/* For qsort and bsearch. */
static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The number of a skill that some task needs, or -1. */
static int
skill_number(const Forming *forming, const char *name)
{
	const char **found = bsearch(&name, forming->skills, forming->skill_count,
								 sizeof(char *), compare_names);

	return found == NULL ? -1 : (int) (found - forming->skills);
}

/* The skills that tasks need, each once, sorted. */
static void
collect_skills(Forming *forming, const JsonValue *tasks)
{
	Size total = 0;
	int	 count = 0;

	for (int t = 0; t < tasks->count; t++)
	{
		check_task(&tasks->as.elements[t]);
		total += json_member(&tasks->as.elements[t], "skills")->count;
	}
	forming->skills = palloc(sizeof(char *) * Max(total, 1));
	for (int t = 0; t < tasks->count; t++)
	{
		const JsonValue *skills = json_member(&tasks->as.elements[t], "skills");

		for (int i = 0; i < skills->count; i++)
			forming->skills[count++] = skills->as.elements[i].as.string;
	}
	qsort(forming->skills, count, sizeof(char *), compare_names);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || strcmp(forming->skills[i],
							 forming->skills[forming->skill_count - 1]) != 0)
			forming->skills[forming->skill_count++] = forming->skills[i];
	}
}

/* For qsort of skill numbers. */
static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/*
 * Raises 22023 where the values add up to more than a double holds: then no
 * sum of them could be told from another.
 */
static void
check_values(const JsonValue *tasks)
{
	double sum = 0.0;

	for (int t = 0; t < tasks->count; t++)
		sum += fabs(json_member(&tasks->as.elements[t], "value")->as.number);
	if (!isfinite(sum))
		forming_malformed("tasks", "must have values with a finite sum",
						  TASKS_HINT);
}

/* The tasks, with their needs as numbers, each once. */
void
forming_read_tasks(Forming *forming, const JsonValue *tasks)
{
	Search *search = &forming->search;

	if (tasks->kind != JSON_ARRAY)
		forming_malformed("tasks", "must be an array", TASKS_HINT);
	collect_skills(forming, tasks);
	check_values(tasks);
	forming->task_count = search->task_count = tasks->count;
	forming->names = palloc(sizeof(char *) * Max(tasks->count, 1));
	forming->ids = palloc0(sizeof(int64 *) * Max(tasks->count, 1));
	search->tasks = palloc0(sizeof(SearchTask) * Max(tasks->count, 1));
	for (int t = 0; t < tasks->count; t++)
	{
		const JsonValue *given = &tasks->as.elements[t];
		const JsonValue *skills = json_member(given, "skills");
		SearchTask		*task = &search->tasks[t];
		int				*needs = palloc(sizeof(int) * skills->count);

		for (int i = 0; i < skills->count; i++)
			needs[i] = skill_number(forming, skills->as.elements[i].as.string);
		qsort(needs, skills->count, sizeof(int), compare_ints);
		for (int i = 0; i < skills->count; i++)
		{
			if (i == 0 || needs[i] != needs[task->need_count - 1])
				needs[task->need_count++] = needs[i];
		}
		forming->names[t] = json_member(given, "name")->as.string;
		task->needs = needs;
		task->value = json_member(given, "value")->as.number;
		task->members = palloc(sizeof(int) * task->need_count);
		task->trying = palloc(sizeof(int) * task->need_count);
	}
}

/* Those with the most skills first; of equal skills by id. */
static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *x = a;
	const Candidate *y = b;
	int				 order = y->skill_count - x->skill_count;

	if (order == 0)
		order = memcmp(x->skills, y->skills, sizeof(uint64) * x->words);
	if (order == 0)
		order = x->id < y->id ? -1 : x->id > y->id;
	return order;
}

/* Raises 22023 where a key is no number that an id can be. */
static int64
read_agent_id(const char *key)
{
	char *end;
	int64 id;

	errno = 0;
	id = strtoi64(key, &end, 10);
	if (end == key || *end != '\0' || errno != 0)
		forming_malformed("agents", "must have ids of agents as keys",
						  AGENTS_HINT);
	return id;
}

/* The agents that have some skill that some task needs, by kind. */
void
forming_read_agents(Forming *forming, const JsonValue *agents)
{
	int	   words = (forming->skill_count + 63) / 64;
	int64 *ids;

	if (agents->kind != JSON_OBJECT)
		forming_malformed("agents", "must be an object", AGENTS_HINT);
	forming->search.words = words;
	forming->agents = palloc(sizeof(Candidate) * Max(agents->count, 1));
	ids = palloc(sizeof(int64) * Max(agents->count, 1));
	for (int i = 0; i < agents->count; i++)
	{
		const JsonMember *given = &agents->as.members[i];
		Candidate		 *agent = &forming->agents[forming->agent_count];

		agent->id = ids[i] = read_agent_id(given->name);
		agent->words = words;
		agent->skills = palloc0(sizeof(uint64) * Max(words, 1));
		agent->skill_count = 0;
		check_skills(&given->value, "agents", AGENTS_HINT);
		for (int s = 0; s < given->value.count; s++)
		{
			int skill =
				skill_number(forming, given->value.as.elements[s].as.string);

			if (skill >= 0)
				agent->skills[skill / 64] |= UINT64CONST(1) << (skill % 64);
		}
		for (int w = 0; w < words; w++)
			agent->skill_count += pg_popcount64(agent->skills[w]);
		if (agent->skill_count > 0)
			forming->agent_count++;
	}
	/* members of an object differ as texts, but "1" and "01" are one number */
	if (int64_sort_unique(ids, agents->count) != agents->count)
		forming_malformed("agents", "must name each agent once", AGENTS_HINT);
	pfree(ids);
	qsort(forming->agents, forming->agent_count, sizeof(Candidate),
		  compare_candidates);
}

/* Agents of the same skills are one kind; and which kinds have each skill. */
void
forming_make_kinds(Forming *forming)
{
	Search *search = &forming->search;
	int		count = forming->agent_count;
	Size	bytes = sizeof(uint64) * search->words;
	uint64 *skills = palloc_extended(bytes * Max(count, 1), MCXT_ALLOC_HUGE);
	int	   *having_starts;
	int	   *having;
	int		total = 0;

	forming->starts = palloc(sizeof(int) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		if (i > 0 && memcmp(forming->agents[i].skills,
							forming->agents[i - 1].skills, bytes) == 0)
			continue;
		memcpy(skills + (Size) search->kind_count * search->words,
			   forming->agents[i].skills, bytes);
		forming->starts[search->kind_count++] = i;
		total += forming->agents[i].skill_count;
	}
	forming->starts[search->kind_count] = count;
	search->skills = skills;
	search->free = palloc(sizeof(int) * Max(search->kind_count, 1));
	forming->taken = palloc0(sizeof(int) * Max(search->kind_count, 1));
	for (int kind = 0; kind < search->kind_count; kind++)
		search->free[kind] = forming->starts[kind + 1] - forming->starts[kind];
	having_starts = palloc(sizeof(int) * (forming->skill_count + 1));
	having =
		palloc_extended(sizeof(int) * Max((Size) total, 1), MCXT_ALLOC_HUGE);
	total = 0;
	for (int skill = 0; skill < forming->skill_count; skill++)
	{
		CHECK_FOR_INTERRUPTS();
		having_starts[skill] = total;
		for (int kind = 0; kind < search->kind_count; kind++)
		{
			if (search_kind_has(search, kind, skill))
				having[total++] = kind;
		}
	}
	having_starts[forming->skill_count] = total;
	search->having_starts = having_starts;
	search->having = having;
}
