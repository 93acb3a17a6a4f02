/*-------------------------------------------------------------------------
 *
 * coalition_form.c
 *	  fa_coalition_form: agents and tasks in, coalitions and their reasons out.
 *
 * It reads no table: what agents can do and what tasks are worth is the
 * caller's to know, mostly by a query.  coalition_given.c reads it, and the
 * search is coalition_search.c's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "coalition.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_coalition_form);

/* Kinds to be looked at for one runner-up, of which each row has one. */
#define RUNNER_UP_WORK 100000

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
	bool			  busy = false;

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
	{
		runner_up->ids[i] = forming->agents[forming->starts[members[i]]].id;
		busy |= search->free[members[i]] == 0;
	}
	if (task->value <= search->cost * runner_up->count)
		return "worth no more than its members cost";
	/* where the work sufficed, who is worth it is never left idle */
	return busy ? "its members are worth more in other tasks" :
				  "its members were not found with so much work";
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
		forming_malformed("cost", "must be finite and not below 0",
						  "It is what each member of a coalition costs.");
	if (forming.search.work < 1)
		forming_malformed("work", "must be above 0",
						  "It is how many kinds of agents may be looked at.");
	forming_read_tasks(&forming,
					   json_from_jsonb(&host, PG_GETARG_JSONB_P(1), "tasks"));
	forming_read_agents(&forming, agents);
	forming_make_kinds(&forming);
	search_run(&forming.search);
	hand_out(&forming);
	for (int t = 0; t < forming.task_count; t++)
	{
		CHECK_FOR_INTERRUPTS();
		put_task(set, &forming, t);
	}
	return (Datum) 0;
}
