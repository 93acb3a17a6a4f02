/*-------------------------------------------------------------------------
 *
 * run.c
 *	  Trials in closed loop: fa_run, fa_run_many and fa_run_commit.
 *
 * The loops themselves are step.c's; here are the arguments, the condition that
 * ends a trial, and the procedure that commits in between.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_run);
PG_FUNCTION_INFO_V1(fa_run_many);
PG_FUNCTION_INFO_V1(fa_run_commit);

/* ---------- until ---------- */

/*
 * One line of a condition: a modality (or factor) and what it may be.  Names
 * and accepted point into the parsed JSON, which lives as long as the Until.
 */
typedef struct UntilRule
{
	bool		of_state; /* of the world's true state, else of the outcome */
	const char *name;	  /* of the modality or factor */
	const JsonValue *accepted; /* a label, a number, or a list of them */
	int32			 index;	   /* of name, in the models resolved for */
	bool *accepts; /* [outcomes or states], in the models resolved for */
} UntilRule;

/*
 * A trial ends when all rules hold.  Names are resolved for a model and its
 * world, anew when a block comes to agents of others.
 */
struct Until
{
	MemoryContext	   context;
	Jsonb			  *source;
	const KernelModel *model;
	const KernelModel *world;
	int				   count;
	UntilRule		  *rules;
};

/* Raises 22023 with one detail; never returns. */
static void
invalid_until(const char *detail)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("invalid value for parameter \"until\""),
		 errdetail("%s", detail),
		 errhint(
			 "Write {\"observation\": {\"modality\": \"outcome\"}} or {\"state\": {\"factor\": [\"one\", \"other\"]}}.")));
}

/*
 * The members of one object of a condition, each a rule that is added; room
 * for them is there.  Names mean nothing yet: they are resolved when it is
 * known for which model.
 */
static void
parse_rules(const JsonValue *object, bool of_state, Until *until)
{
	if (object == NULL)
		return;
	if (object->kind != JSON_OBJECT)
		invalid_until("\"observation\" and \"state\" are objects by name.");
	for (int32 i = 0; i < object->count; i++)
	{
		UntilRule *rule = &until->rules[until->count++];

		rule->of_state = of_state;
		rule->name = object->as.members[i].name;
		rule->accepted = &object->as.members[i].value;
	}
}

/*
 * A condition, in the current memory context.  Raises 22023 for what could
 * never hold or says nothing: a misspelt member would otherwise be a trial
 * that never ends early.
 */
Until *
until_parse(Jsonb *jsonb)
{
	Until			*until = palloc0(sizeof(Until));
	const JsonValue *value;
	const JsonValue *observation;
	const JsonValue *state;
	KernelHost		 host;

	host_init(&host, CurrentMemoryContext);
	value = json_from_jsonb(&host, jsonb, "until");
	if (value->kind != JSON_OBJECT)
		invalid_until("It is not an object.");
	observation = json_member(value, "observation");
	state = json_member(value, "state");
	if (value->count != (observation != NULL) + (state != NULL) ||
		value->count == 0)
		invalid_until("Its members are \"observation\" and \"state\".");
	until->context = CurrentMemoryContext;
	until->source = jsonb;
	until->rules =
		palloc0(sizeof(UntilRule) * ((observation ? observation->count : 0) +
									 (state ? state->count : 0) + 1));
	parse_rules(observation, false, until);
	parse_rules(state, true, until);
	if (until->count == 0)
		invalid_until("It names nothing to wait for.");
	return until;
}

/* What it was parsed from. */
Jsonb *
until_source(const Until *until)
{
	return until->source;
}

/*
 * Marks one accepted label or number among count.  A number counts from 0, as
 * outcomes do in an observation.  Raises 22023 where there is no such state or
 * outcome.
 */
static void
accept(const KernelModel *model, KernelOffset labels, int32 count,
	   const JsonValue *value, UntilRule *rule)
{
	int32 index = -1;

	if (value->kind == JSON_STRING)
		index = kernel_label_index(model, labels, count, value->as.string);
	else if (value->kind == JSON_NUMBER && value->as.number >= 0 &&
			 value->as.number < count &&
			 value->as.number == rint(value->as.number))
		index = (int32) value->as.number;
	if (index < 0)
		invalid_until(psprintf("\"%s\" has no such %s.", rule->name,
							   rule->of_state ? "state" : "outcome"));
	rule->accepts[index] = true;
}

/*
 * Looks up a rule's names in the models that until is set to, and makes its
 * table of what is accepted.  A table and not a list: it is asked after each
 * step of each agent.  In the Until's own context, since a block's memory ends
 * before the condition does.
 */
static void
resolve_rule(Until *until, UntilRule *rule)
{
	const KernelModel *model = rule->of_state ? until->world : until->model;
	KernelOffset	   labels;
	int32			   count;

	rule->index = rule->of_state ? kernel_factor_index(model, rule->name) :
								   kernel_modality_index(model, rule->name);
	if (rule->index < 0)
		invalid_until(psprintf("There is no %s \"%s\".",
							   rule->of_state ? "factor" : "modality",
							   rule->name));
	labels = rule->of_state ? kernel_factor(model, rule->index)->labels :
							  kernel_modality(model, rule->index)->labels;
	count = rule->of_state ? kernel_factor(model, rule->index)->states :
							 kernel_modality(model, rule->index)->outcomes;
	if (rule->accepts != NULL)
		pfree(rule->accepts); /* of the models before */
	rule->accepts = MemoryContextAllocZero(until->context, count);
	if (rule->accepted->kind != JSON_ARRAY)
		accept(model, labels, count, rule->accepted, rule);
	else
	{
		for (int32 i = 0; i < rule->accepted->count; i++)
			accept(model, labels, count, &rule->accepted->as.elements[i], rule);
	}
}

/*
 * Does a trial end with this observation [modality_count] and true state
 * [factor_count of the world]? All rules have to hold.  A missing outcome (-1)
 * meets no rule.  Agents come grouped by block and not by model, so models
 * that alternate are resolved anew each time: right, if slow.
 */
bool
until_met(Until *until, const KernelModel *model, const KernelModel *world,
		  const int32 *observation, const int32 *world_state)
{
	if (until->model != model || until->world != world)
	{
		until->model = model;
		until->world = world;
		for (int i = 0; i < until->count; i++)
			resolve_rule(until, &until->rules[i]);
	}
	for (int i = 0; i < until->count; i++)
	{
		const UntilRule *rule = &until->rules[i];
		int32			 value = rule->of_state ? world_state[rule->index] :
												  observation[rule->index];

		if (value < 0 || !rule->accepts[value])
			return false;
	}
	return true;
}

/* ---------- arguments and rows ---------- */

/* Raises 22023 for a number of steps, trials or commits below 1. */
static void
check_count(int32 value, const char *name)
{
	if (value < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be at least 1", name)));
}

/*
 * Orders that bring no observation: those come from the worlds.  In the
 * current memory context.
 */
static StepOrder *
run_orders(const int64 *ids, int count)
{
	StepOrder *orders = palloc0(sizeof(StepOrder) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		orders[i].agent_id = ids[i];
		orders[i].position = i;
	}
	return orders;
}

/*
 * A row (agent_id, trial, step, observation, action, vfe); the tuplestore
 * copies it, and a long run must not keep each step's arrays until its block
 * ends.
 */
static void
emit_run(void *context, const StepOrder *order, const KernelModel *model,
		 const StepRecord *record)
{
	ReturnSetInfo *set = context;
	Datum		   values[6] = {
				 Int64GetDatum(order->agent_id),
				 Int32GetDatum(record->trial),
				 Int64GetDatum(record->step),
				 array_from_int32(record->observation, model->modality_count),
				 array_from_int32(record->action, model->control_count),
				 Float8GetDatum(record->vfe)};
	bool nulls[6] = {false};

	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	pfree(DatumGetPointer(values[3]));
	pfree(DatumGetPointer(values[4]));
}

/*
 * fa_run(agent_id bigint, steps int) returns setof (agent_id, trial, step,
 * observation, action, vfe), a row for each step, in order.  The agent's world
 * answers it; its own model, if it has none.
 *
 * Strict.  The row is locked first, and written once at the end: an ERROR or a
 * cancel undoes all steps.  Raises 22023 for steps below 1, else what fa_step
 * does without an observation.
 */
Datum
fa_run(PG_FUNCTION_ARGS)
{
	int64	 agent_id = PG_GETARG_INT64(0);
	StepPlan plan = {
		.steps = PG_GETARG_INT32(1), .trials = 1, .closed_loop = true};
	Call call;

	check_count(plan.steps, "steps");
	call_require_write("fa_run");
	InitMaterializedSRF(fcinfo, 0);
	plan.emit = emit_run;
	plan.emit_context = fcinfo->resultinfo;
	call_begin(&call, fcinfo, false);
	step_orders(&call, run_orders(&agent_id, 1), 1, &plan);
	call_end(&call);
	return (Datum) 0;
}

/*
 * fa_run_many(agent_ids bigint[], steps int, trials int, until jsonb) returns
 * setof (agent_id, trial, step, observation, action, vfe), a row for each
 * step; agents of a block alternate, each one's steps are in order. steps is
 * the most of one trial; trials null is 1, until null never holds.  No row
 * where agent_ids or steps is null.
 *
 * Raises 22023 for numbers below 1, a wrong until or a repeated id, 22004 for
 * a null id, else what fa_run does; then no agent was stepped.
 */
Datum
fa_run_many(PG_FUNCTION_ARGS)
{
	StepPlan plan = {.closed_loop = true};
	int64	*ids;
	int		 count;
	Call	 call;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	ids = array_to_int64(PG_GETARG_ARRAYTYPE_P(0), &count, "agent_ids");
	plan.steps = PG_GETARG_INT32(1);
	plan.trials = PG_ARGISNULL(2) ? 1 : PG_GETARG_INT32(2);
	check_count(plan.steps, "steps");
	check_count(plan.trials, "trials");
	call_require_write("fa_run_many");
	plan.until = PG_ARGISNULL(3) ? NULL : until_parse(PG_GETARG_JSONB_P(3));
	plan.emit = emit_run;
	plan.emit_context = fcinfo->resultinfo;
	call_begin(&call, fcinfo, false);
	step_orders(&call, run_orders(ids, count), count, &plan);
	call_end(&call);
	return (Datum) 0;
}

/* ---------- the procedure ---------- */

/* A long run in pieces: what is left to do, in memory that outlives commits. */
typedef struct CommittedRun
{
	FunctionCallInfo fcinfo;
	int64			*ids; /* [count]: all agents */
	int				 count;
	int64			*running; /* [running_count]: whose trial goes on */
	int				 running_count;
	bool			*met;	  /* [running_count]: until held for it */
	Jsonb			*until;	  /* or NULL */
	TimestampTz		 noticed; /* when progress was last told */
} CommittedRun;

/*
 * Keeps whether the condition held after an agent's last step, by its place
 * among the running ones.
 */
static void
note_met(void *context, const StepOrder *order, const KernelModel *model,
		 const StepRecord *record)
{
	CommittedRun *run = context;

	run->met[order->position] = record->until_met;
}

/*
 * At most steps more of the running agents, committed; those whose trial has
 * ended are taken out.
 *
 * After the commit locks, snapshot, pins and SPI's inner memory are gone, so
 * all that is needed next lies in run, in the procedure's context. until is
 * parsed anew in each piece for that reason.  An ERROR undoes this piece;
 * those before it stay committed.
 */
static void
run_piece(CommittedRun *run, int32 steps)
{
	StepPlan plan = {.steps = steps,
					 .trials = 1,
					 .closed_loop = true,
					 .emit = note_met,
					 .emit_context = run};
	int		 left = 0;
	Call	 call;

	PushActiveSnapshot(GetTransactionSnapshot());
	call_begin(&call, run->fcinfo, false);
	memset(run->met, 0, sizeof(bool) * run->running_count);
	plan.until = run->until ? until_parse(run->until) : NULL;
	step_orders(&call, run_orders(run->running, run->running_count),
				run->running_count, &plan);
	call_end(&call);
	PopActiveSnapshot();
	SPI_commit();

	for (int i = 0; i < run->running_count; i++)
	{
		if (!run->met[i])
			run->running[left++] = run->running[i];
	}
	run->running_count = left;
}

/* Begins the next trial of all agents, in a transaction of its own. */
static void
reset_all(CommittedRun *run)
{
	Call call;

	PushActiveSnapshot(GetTransactionSnapshot());
	call_begin(&call, run->fcinfo, false);
	agent_reset(&call, run->ids, run->count);
	call_end(&call);
	PopActiveSnapshot();
	SPI_commit();
}

/*
 * A NOTICE once in a while: a call that commits for hours has no other sign of
 * life.
 */
static void
tell_progress(CommittedRun *run, int32 trial, int32 trials, int32 step,
			  int32 steps)
{
	if (!progress_due(&run->noticed))
		return;
	ereport(
		NOTICE,
		(errmsg("trial %d of %d, step %d of at most %d, %d of %d agents go on",
				trial, trials, step, steps, run->running_count, run->count)));
}

/*
 * fa_run_commit(agent_ids bigint[], steps int, trials int, until jsonb,
 * commit_every int), a procedure: as fa_run_many, but commits after each
 * commit_every steps and returns no rows (history keeps them).  Locks are let
 * go with each commit, so others may step the agents in between.
 *
 * The trial that the agents are in is the first one; each further trial begins
 * with a reset.  A cancel or an ERROR leaves what was committed, and the
 * agents can go on from there.  Raises 22004 where anything but until is null,
 * 22023 for numbers below 1 or a repeated id, 2D000 inside of a transaction
 * block or a function, 25006, else what fa_run does.
 */
Datum
fa_run_commit(PG_FUNCTION_ARGS)
{
	bool atomic = fcinfo->context == NULL ||
				  !IsA(fcinfo->context, CallContext) ||
				  castNode(CallContext, fcinfo->context)->atomic;
	int32		 steps;
	int32		 trials;
	int32		 every;
	CommittedRun run = {.fcinfo = fcinfo};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		PG_ARGISNULL(4))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("only until may be null")));
	steps = PG_GETARG_INT32(1);
	trials = PG_GETARG_INT32(2);
	every = PG_GETARG_INT32(4);
	check_count(steps, "steps");
	check_count(trials, "trials");
	check_count(every, "commit_every");
	call_require_write("fa_run_commit");
	if (atomic)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
			 errmsg("fa_run_commit cannot commit inside a transaction block"),
			 errhint("CALL it outside of BEGIN, or use fa_run_many.")));

	/*
	 * this connection's memory outlives the commits; the pieces have their own
	 */
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	run.ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &run.count);
	run.running = palloc(sizeof(int64) * Max(run.count, 1));
	run.met = palloc(sizeof(bool) * Max(run.count, 1));
	run.until = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P_COPY(3);
	run.noticed = GetCurrentTimestamp();
	for (int32 trial = 1; trial <= trials && run.count > 0; trial++)
	{
		if (trial > 1)
			reset_all(&run);
		memcpy(run.running, run.ids, sizeof(int64) * run.count);
		run.running_count = run.count;
		for (int64 step = 0; step < steps && run.running_count > 0;
			 step += every)
		{
			run_piece(&run, (int32) Min(every, steps - step));
			tell_progress(&run, trial, trials, (int32) Min(step + every, steps),
						  steps);
		}
	}
	SPI_finish();
	return (Datum) 0;
}
