/*-------------------------------------------------------------------------
 *
 * coalition_form.c
 *	  fa_coalition_form: agents and tasks in, coalitions and their reasons out.
 *
 * It reads no table: what agents can do and what tasks are worth is the
 * caller's to know, mostly by a query.  The search is coalition_search.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

#include "coalition.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_coalition_form);

/* Kinds to be looked at for one runner-up, of which each row has one. */
#define RUNNER_UP_WORK 100000

/* One agent, with those of its skills that some task needs. */
typedef struct Candidate
{
	int64	id;
	uint64 *skills; /* [words] */
	int		words;
	int		skill_count;
} Candidate;

/* All that is known, in the function's memory. */
typedef struct Forming
{
	int			 skill_count;
	const char **skills; /* [skill_count], sorted */
	int			 task_count;
	const char **names; /* [task_count] */
	int			 agent_count;
	Candidate	*agents; /* [agent_count], by kind, then ascending by id */
	int			*starts; /* [kind_count + 1]: agents of each kind */
	int			*taken;	 /* [kind_count]: how many have a task */
	int64	   **ids;	 /* [task_count]: the members of each, [count] */
	Search		 search;
} Forming;

/* ---------- what is given ---------- */

/* Raises 22023 for a part of an argument; never returns. */
pg_noreturn static void
malformed(const char *argument, const char *what, const char *hint)
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
		malformed(argument, "must have an array of skills for each", hint);
	for (int i = 0; given && i < skills->count; i++)
	{
		if (skills->as.elements[i].kind != JSON_STRING)
			malformed(argument, "must name skills by strings", hint);
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
		malformed("tasks", "must have a name for each", TASKS_HINT);
	if (value == NULL || value->kind != JSON_NUMBER ||
		!isfinite(value->as.number))
		malformed("tasks", "must have a finite value for each", TASKS_HINT);
	check_skills(skills, "tasks", TASKS_HINT);
	if (skills->count == 0)
		malformed("tasks", "must need at least one skill each", TASKS_HINT);
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

/* The tasks, with their needs as numbers, each once. */
static void
read_tasks(Forming *forming, const JsonValue *tasks)
{
	Search *search = &forming->search;

	if (tasks->kind != JSON_ARRAY)
		malformed("tasks", "must be an array", TASKS_HINT);
	collect_skills(forming, tasks);
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

/* The agents that have some skill that some task needs, by kind. */
static void
read_agents(Forming *forming, const JsonValue *agents)
{
	int words = (forming->skill_count + 63) / 64;

	if (agents->kind != JSON_OBJECT)
		malformed("agents", "must be an object", AGENTS_HINT);
	forming->search.words = words;
	forming->agents = palloc(sizeof(Candidate) * Max(agents->count, 1));
	for (int i = 0; i < agents->count; i++)
	{
		const JsonMember *given = &agents->as.members[i];
		Candidate		 *agent = &forming->agents[forming->agent_count];

		agent->id = DatumGetInt64(
			DirectFunctionCall1(int8in, CStringGetDatum(given->name)));
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
	qsort(forming->agents, forming->agent_count, sizeof(Candidate),
		  compare_candidates);
}

/* Agents of the same skills are one kind; and which kinds have each skill. */
static void
make_kinds(Forming *forming)
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

/* ---------- what is found ---------- */

/* Gives each task agents of the kinds that were found for it, lowest first. */
static void
hand_out(Forming *forming)
{
	Search *search = &forming->search;

	for (int t = 0; t < search->task_count; t++)
	{
		const SearchTask *task = &search->tasks[t];

		forming->ids[t] = palloc(sizeof(int64) * Max(task->count, 1));
		for (int i = 0; i < task->count; i++)
		{
			int kind = task->members[i];

			forming->ids[t][i] =
				forming->agents[forming->starts[kind] + forming->taken[kind]++]
					.id;
			search->free[kind]--;
		}
	}
}

/* ids [count] as a bigint[], ascending; null where there are none. */
static Datum
ids_datum(const int64 *ids, int count, bool *isnull)
{
	int64 *sorted = palloc(sizeof(int64) * Max(count, 1));

	*isnull = count == 0;
	for (int i = 0; i < count; i++)
	{
		int k = i;

		for (; k > 0 && sorted[k - 1] > ids[i]; k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = ids[i];
	}
	return *isnull ? (Datum) 0 : array_from_int64(sorted, count);
}

/* {"agent": ["skill", ...]} of a task's members: what each can do for it. */
static Datum
covers_datum(const Forming *forming, int t)
{
	const SearchTask *task = &forming->search.tasks[t];
	StringInfoData	  out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < task->count; i++)
	{
		const char *comma = "";

		appendStringInfo(&out, "%s\"" INT64_FORMAT "\": [", i > 0 ? ", " : "",
						 forming->ids[t][i]);
		for (int k = 0; k < task->need_count; k++)
		{
			if (!search_kind_has(&forming->search, task->members[i],
								 task->needs[k]))
				continue;
			appendStringInfoString(&out, comma);
			json_append_string(&out, forming->skills[task->needs[k]]);
			comma = ", ";
		}
		appendStringInfoChar(&out, ']');
	}
	appendStringInfoChar(&out, '}');
	return JsonbPGetDatum(jsonb_from_text(out.data));
}

/* Whoever could do a task instead, all others staying as they are. */
typedef struct RunnerUp
{
	int64 *ids;
	int	   count; /* 0: nobody */
} RunnerUp;

/* The agents of members [count], kinds, without the one that is left out. */
static void
name_runner_up(const Forming *forming, int t, int left_out, const int *members,
			   RunnerUp *runner_up)
{
	const SearchTask *task = &forming->search.tasks[t];

	for (int i = 0; i < runner_up->count; i++)
	{
		int	  kind = members[i];
		int64 id =
			forming->agents[forming->starts[kind] + forming->taken[kind]].id;

		for (int own = 0; own < task->count; own++)
		{
			if (own != left_out && task->members[own] == kind)
				id = forming->ids[t][own];
		}
		runner_up->ids[i] = id;
	}
}

/*
 * The best other coalition for a task that is done.  It lacks at least one of
 * the members, so each is left out in turn.
 */
static RunnerUp
find_runner_up(Forming *forming, int t)
{
	Search			 *search = &forming->search;
	const SearchTask *task = &search->tasks[t];
	int				 *members = palloc(sizeof(int) * task->need_count);
	RunnerUp		  best = {palloc(sizeof(int64) * task->need_count), 0};

	for (int i = 0; i < task->count; i++)
		search->free[task->members[i]]++;
	for (int i = 0; i < task->count; i++)
	{
		int count;

		search->free[task->members[i]]--;
		count = search_one(search, task, RUNNER_UP_WORK, members);
		search->free[task->members[i]]++;
		if (count == 0 || (best.count > 0 && count >= best.count))
			continue;
		best.count = count;
		name_runner_up(forming, t, i, members, &best);
	}
	for (int i = 0; i < task->count; i++)
		search->free[task->members[i]]--;
	return best;
}

/*
 * Why nobody does a task; and who would, if nobody had anything else to do.
 */
static const char *
find_reason(Forming *forming, int t, RunnerUp *runner_up)
{
	Search			 *search = &forming->search;
	const SearchTask *task = &search->tasks[t];
	int				 *members = palloc(sizeof(int) * task->need_count);

	for (int i = 0; i < task->need_count; i++)
	{
		int skill = task->needs[i];

		if (search->having_starts[skill] == search->having_starts[skill + 1])
			return psprintf("no agent has skill \"%s\"",
							forming->skills[skill]);
	}
	for (int kind = 0; kind < search->kind_count; kind++)
		search->free[kind] += forming->taken[kind];
	runner_up->count = search_one(search, task, RUNNER_UP_WORK, members);
	for (int kind = 0; kind < search->kind_count; kind++)
		search->free[kind] -= forming->taken[kind];
	runner_up->ids = palloc(sizeof(int64) * task->need_count);
	for (int i = 0; i < runner_up->count; i++)
		runner_up->ids[i] = forming->agents[forming->starts[members[i]]].id;
	if (task->value <= search->cost * runner_up->count)
		return "worth no more than its members cost";
	return "its members are worth more in other tasks";
}

/* One row of fa_coalition_formed. */
static void
put_task(ReturnSetInfo *set, Forming *forming, int t)
{
	const Search	 *search = &forming->search;
	const SearchTask *task = &search->tasks[t];
	RunnerUp		  next = {NULL, 0};
	Datum			  values[8];
	bool			  nulls[8] = {false};

	values[0] = CStringGetTextDatum(forming->names[t]);
	values[1] = ids_datum(forming->ids[t], task->count, &nulls[1]);
	nulls[2] = nulls[3] = task->count == 0;
	nulls[7] = task->count > 0;
	if (task->count > 0)
	{
		next = find_runner_up(forming, t);
		values[2] = Float8GetDatum(task->value - search->cost * task->count);
		values[3] = covers_datum(forming, t);
	}
	else
		values[7] = CStringGetTextDatum(find_reason(forming, t, &next));
	values[4] = ids_datum(next.ids, next.count, &nulls[4]);
	values[5] = Float8GetDatum(task->value - search->cost * next.count);
	nulls[5] = next.count == 0;
	values[6] = BoolGetDatum(search->exact);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * fa_coalition_form(agents jsonb, tasks jsonb, cost float8, work bigint)
 * returns setof fa_coalition_formed, a row for each task, in order.  agents is
 * {"id": [skill, ...]}, tasks [{"name", "skills", "value"}]; a member costs
 * cost.  exact: no coalitions bring more in all; false where work (kinds of
 * agents to be looked at) did not suffice to know.
 *
 * Strict; reads nothing.  Raises 22023 for arguments of another form, a cost
 * below 0 or work below 1; 22P02 for an id that is no number.
 */
Datum
fa_coalition_form(PG_FUNCTION_ARGS)
{
	ReturnSetInfo	*set = (ReturnSetInfo *) fcinfo->resultinfo;
	Forming			 forming = {0};
	KernelHost		 host;
	const JsonValue *agents;

	InitMaterializedSRF(fcinfo, 0);
	host_init(&host, CurrentMemoryContext);
	agents = json_from_jsonb(&host, PG_GETARG_JSONB_P(0), "agents");
	forming.search.cost = PG_GETARG_FLOAT8(2);
	forming.search.work = PG_GETARG_INT64(3);
	if (!isfinite(forming.search.cost) || forming.search.cost < 0.0)
		malformed("cost", "must be finite and not below 0",
				  "It is what each member of a coalition costs.");
	if (forming.search.work < 1)
		malformed("work", "must be above 0",
				  "It is how many kinds of agents may be looked at.");
	read_tasks(&forming, json_from_jsonb(&host, PG_GETARG_JSONB_P(1), "tasks"));
	read_agents(&forming, agents);
	make_kinds(&forming);
	search_run(&forming.search);
	hand_out(&forming);
	for (int t = 0; t < forming.task_count; t++)
	{
		CHECK_FOR_INTERRUPTS();
		put_task(set, &forming, t);
	}
	return (Datum) 0;
}
