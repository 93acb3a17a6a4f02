/*-------------------------------------------------------------------------
 *
 * act.c
 *	  Steps through sensors and actuators, as workers make them.
 *
 * Sensors are asked before anything of the agents is locked, then all agents
 * are stepped, then actuators are called, all in the caller's transaction.
 * Code of users runs as the owner of the agents, who must be the caller, in
 * the context of a security-definer function: SET ROLE is refused there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "sensor.h"

PG_FUNCTION_INFO_V1(fa_act);

/* An agent on its way from its sensor to its actuator. */
typedef struct Actor
{
	int64			 agent_id;
	int				 position;			/* in the caller's order */
	const SensorUse *sensor;			/* NULL: it has none */
	bool			 answered;			/* by a row, which may be null */
	const int32		*observation;		/* what that said; NULL: nothing */
	int				 observation_count; /* 0 with an observation: no evidence */
	ActResult		 result;
} Actor;

typedef struct Act
{
	const Call	 *call;
	MemoryContext context; /* of what outlives a block of steps */
	Actor		 *actors;  /* [count], ascending by agent */
	int			  count;
	bool		  skip_paused;
	SensorUse	 *uses; /* [use_count] */
	int			  use_count;
} Act;

/* ---------- sensors ---------- */

static int
compare_actors(const void *a, const void *b)
{
	int64 x = ((const Actor *) a)->agent_id;
	int64 y = ((const Actor *) b)->agent_id;

	return x < y ? -1 : x > y;
}

/* The actor with an id; NULL where it is not one of them. */
static Actor *
find_actor(const Act *act, int64 agent_id)
{
	Actor key = {.agent_id = agent_id};

	return bsearch(&key, act->actors, act->count, sizeof(Actor),
				   compare_actors);
}

/* Keeps what a sensor said of an agent; outcomes are copied. */
static void
perceive(const Act *act, Actor *actor, Datum observation)
{
	MemoryContext old = MemoryContextSwitchTo(act->context);

	actor->observation =
		array_to_int32(DatumGetArrayTypeP(observation),
					   &actor->observation_count, "observation", -1);
	MemoryContextSwitchTo(old);
}

/* Asks a sensor of the single form. */
static void
ask_each(const Act *act, const SensorUse *use)
{
	OutsideFunction *function = outside_function(use);

	for (int i = 0; i < use->count; i++)
	{
		Datum arguments[] = {Int64GetDatum(use->ids[i])};
		bool  isnull;
		Datum observation;

		CHECK_FOR_INTERRUPTS();
		observation = outside_call(function, arguments, &isnull);
		if (!isnull)
			perceive(act, find_actor(act, use->ids[i]), observation);
	}
	outside_done(function);
}

/*
 * Takes a row of a sensor of the set form.  Raises 22023 for one that is not
 * that of an agent that it was asked about: which is meant would be left to
 * chance.
 */
static void
take_row(const Act *act, const SensorUse *use, TupleTableSlot *row)
{
	bool   isnull;
	Datum  id = slot_getattr(row, 1, &isnull);
	int64  agent_id = isnull ? 0 : DatumGetInt64(id);
	Datum  observation = slot_getattr(row, 2, &isnull);
	Actor *actor = find_actor(act, agent_id);

	if (actor == NULL || actor->sensor != use || actor->answered)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "sensor %s returned an unexpected row for agent " INT64_FORMAT,
				 use->name, agent_id),
			 errhint(
				 "Return at most one row for each element of the argument.")));
	else
	{
		actor->answered = true;
		if (!isnull)
			perceive(act, actor, observation);
	}
}

/* The columns of a sensor of the set form. */
static TupleDesc
observation_columns(void)
{
	TupleDesc result = CreateTemplateTupleDesc(2);

	TupleDescInitEntry(result, 1, "agent_id", INT8OID, -1, 0);
	TupleDescInitEntry(result, 2, "observation", INT4ARRAYOID, -1, 0);
	return result;
}

/* Asks a sensor of the set form. */
static void
ask_at_once(const Act *act, const SensorUse *use)
{
	OutsideFunction *function = outside_function(use);
	TupleDesc		 columns = observation_columns();
	TupleTableSlot	*row =
		MakeSingleTupleTableSlot(columns, &TTSOpsMinimalTuple);
	Datum			 arguments[] = {array_from_int64(use->ids, use->count)};
	Tuplestorestate *rows = outside_rows(function, arguments, columns);

	while (tuplestore_gettupleslot(rows, true, false, row))
		take_row(act, use, row);
	ExecDropSingleTupleTableSlot(row);
	outside_done(function);
}

/*
 * Asks all sensors.  The functions of actuators are looked at here too: what is
 * wrong with them is found before anything is computed.
 */
static void
ask_sensors(const Act *act)
{
	for (int i = 0; i < act->use_count; i++)
	{
		SensorUse *use = &act->uses[i];
		Outside	   outside;

		outside_begin(act->call, &outside);
		sensor_hold(use);
		if (use->kind == KIND_SENSOR)
		{
			for (int j = 0; j < use->count; j++)
				find_actor(act, use->ids[j])->sensor = use;
			if (use->at_once)
				ask_at_once(act, use);
			else
				ask_each(act, use);
		}
		outside_end(&outside);
	}
}

/* ---------- steps ---------- */

/*
 * Which agents have something in their inbox, of those whose sensor showed
 * nothing: they are stepped for that.  waiting is [count of actors].
 */
static void
find_waiting(const Act *act, bool *waiting)
{
	int64	  *ids = palloc(sizeof(int64) * Max(act->count, 1));
	int		  *where = palloc(sizeof(int) * Max(act->count, 1));
	InboxRow **heads = palloc(sizeof(InboxRow *) * Max(act->count, 1));
	int		   count = 0;

	for (int i = 0; i < act->count; i++)
	{
		if (act->actors[i].sensor == NULL || act->actors[i].observation != NULL)
			continue;
		where[count] = i;
		ids[count++] = act->actors[i].agent_id;
	}
	if (count > 0)
		inbox_read(act->call, ids, count, 1, heads);
	for (int i = 0; i < count; i++)
		waiting[where[i]] = heads[i] != NULL;
}

/* Keeps a step's result; context is the Act. */
static void
keep_result(void *context, const StepOrder *order, const KernelModel *model,
			const StepRecord *record)
{
	Act			 *act = context;
	ActResult	 *result = &act->actors[order->position].result;
	MemoryContext old = MemoryContextSwitchTo(act->context);

	result->stepped = true;
	result->step = record->step;
	result->vfe = record->vfe;
	result->action_count = model->control_count;
	result->action = palloc(sizeof(int32) * Max(model->control_count, 1));
	memcpy(result->action, record->action,
		   sizeof(int32) * model->control_count);
	MemoryContextSwitchTo(old);
}

/* Steps all agents but those that have nothing to perceive. */
static void
step_actors(Act *act)
{
	StepPlan   plan = {.steps = 1,
					   .trials = 1,
					   .skip_paused = act->skip_paused,
					   .emit = keep_result,
					   .emit_context = act};
	StepOrder *orders = palloc0(sizeof(StepOrder) * Max(act->count, 1));
	bool	  *waiting = palloc0(sizeof(bool) * Max(act->count, 1));
	int		   count = 0;

	find_waiting(act, waiting);
	for (int i = 0; i < act->count; i++)
	{
		const Actor *actor = &act->actors[i];

		if (actor->sensor != NULL && actor->observation == NULL && !waiting[i])
			continue;
		orders[count].agent_id = actor->agent_id;
		orders[count].position = i;
		orders[count].observation = actor->observation;
		orders[count].observation_count = actor->observation_count;
		orders[count++].sensed = actor->observation != NULL;
	}
	step_orders(act->call, orders, count, &plan);
}

/* ---------- actuators ---------- */

/*
 * The actions of a use's agents that were stepped, int4[][]: a row for each,
 * with nulls after those of models with fewer controls.  Their ids become
 * *ids, int8[]; the result is how many there are.
 */
static int
gather_actions(const Act *act, const SensorUse *use, Datum *ids, Datum *actions)
{
	int64 *stepped = palloc(sizeof(int64) * use->count);
	int	   width = 0;
	int	   count = 0;
	int	   dims[2];
	int	   lower[2] = {1, 1};
	Datum *elements;
	bool  *nulls;

	for (int i = 0; i < use->count; i++)
	{
		const ActResult *result = &find_actor(act, use->ids[i])->result;

		if (!result->stepped)
			continue;
		stepped[count++] = use->ids[i];
		width = Max(width, result->action_count);
	}
	dims[0] = count;
	dims[1] = width;
	elements = palloc0(mul_size(sizeof(Datum), mul_size(count, width)) + 1);
	nulls = palloc(mul_size(count, width) + 1);
	for (int i = 0; i < count; i++)
	{
		const ActResult *result = &find_actor(act, stepped[i])->result;

		for (int c = 0; c < width; c++)
		{
			nulls[i * width + c] = c >= result->action_count;
			if (c < result->action_count)
				elements[i * width + c] = Int32GetDatum(result->action[c]);
		}
	}
	*ids = array_from_int64(stepped, count);
	*actions = PointerGetDatum(construct_md_array(elements, nulls, 2, dims,
												  lower, INT4OID, sizeof(int32),
												  true, TYPALIGN_INT));
	return count;
}

/* Calls an actuator of the set form, unless none of its agents was stepped. */
static void
move_at_once(const Act *act, const SensorUse *use)
{
	OutsideFunction *function = outside_function(use);
	Datum			 arguments[2];
	bool			 isnull;

	if (gather_actions(act, use, &arguments[0], &arguments[1]) > 0)
		outside_call(function, arguments, &isnull);
	outside_done(function);
}

/* Calls an actuator of the single form. */
static void
move_each(const Act *act, const SensorUse *use)
{
	OutsideFunction *function = outside_function(use);

	for (int i = 0; i < use->count; i++)
	{
		const ActResult *result = &find_actor(act, use->ids[i])->result;
		Datum			 arguments[2] = {Int64GetDatum(use->ids[i])};
		bool			 isnull;

		CHECK_FOR_INTERRUPTS();
		if (!result->stepped)
			continue;
		arguments[1] = array_from_int32(result->action, result->action_count);
		outside_call(function, arguments, &isnull);
	}
	outside_done(function);
}

static void
call_actuators(const Act *act)
{
	for (int i = 0; i < act->use_count; i++)
	{
		const SensorUse *use = &act->uses[i];
		Outside			 outside;

		if (use->kind != KIND_ACTUATOR)
			continue;
		outside_begin(act->call, &outside);
		if (use->at_once)
			move_at_once(act, use);
		else
			move_each(act, use);
		outside_end(&outside);
	}
}

/* ---------- all of it ---------- */

/*
 * Refuses (42501) to run what another has named.  That he could do as he
 * likes as that other does not matter: he has to say so.
 */
static void
require_owner(const Act *act)
{
	for (int i = 0; i < act->use_count; i++)
	{
		const SensorUse *use = &act->uses[i];

		if (use->owner != act->call->user)
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("sensor or actuator of agent " INT64_FORMAT
						" runs for role \"%s\" alone",
						use->ids[0], GetUserNameFromId(use->owner, true)),
				 errhint(
					 "Call fa_act as the owner of the agent; fa_step calls neither sensors nor actuators.")));
	}
}

/*
 * One step of each agent [count] through its sensor and its actuator, all in
 * the current transaction; results [count] in the order of ids, in the current
 * memory context.
 *
 * Raises what the functions do, what sensor_hold does, 42501 where they are
 * not the caller's, 22023 for a repeated id, and what steps do.
 */
void
act_agents(const Call *call, const int64 *ids, int count, bool skip_paused,
		   ActResult *results)
{
	Act act = {.call = call, .context = CurrentMemoryContext, .count = count};
	int64 *sorted = palloc(sizeof(int64) * Max(count, 1));

	act.actors = palloc0(sizeof(Actor) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		act.actors[i].agent_id = ids[i];
		act.actors[i].position = i;
	}
	qsort(act.actors, count, sizeof(Actor), compare_actors);
	for (int i = 0; i < count; i++)
	{
		sorted[i] = act.actors[i].agent_id;
		if (i > 0 && sorted[i] == sorted[i - 1])
			agent_repeated(sorted[i]);
	}
	/* who may not step them learns nothing of their sensors */
	(void) belief_check(call, sorted, count);
	act.uses = sensor_uses(call, sorted, count, &act.use_count);
	require_owner(&act);
	ask_sensors(&act);
	step_actors(&act);
	call_actuators(&act);
	for (int i = 0; i < count; i++)
		results[act.actors[i].position] = act.actors[i].result;
}

/*
 * fa_act(agent_ids bigint[]) returns setof (agent_id, step, action, vfe), in
 * input order; no row for an agent whose sensor shows nothing and whose inbox
 * is empty.  Agents without a sensor or an actuator are stepped as by
 * fa_step_many.
 *
 * Strict.  Raises what fa_step_many does and what the functions do; 42501 where
 * an agent with a sensor or actuator has another owner than the caller.
 */
Datum
fa_act(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext  own = CurrentMemoryContext;
	ActResult	  *results;
	int64		  *ids;
	int			   count;
	Call		   call;

	call_require_write("fa_act");
	InitMaterializedSRF(fcinfo, 0);
	ids = array_to_int64(PG_GETARG_ARRAYTYPE_P(0), &count, "agent_ids");
	results = palloc(sizeof(ActResult) * Max(count, 1));
	call_begin(&call, fcinfo, false);
	MemoryContextSwitchTo(own);
	act_agents(&call, ids, count, false, results);
	call_end(&call);
	for (int i = 0; i < count; i++)
	{
		const ActResult *result = &results[i];
		Datum values[4] = {Int64GetDatum(ids[i]), Int64GetDatum(result->step),
						   0, Float8GetDatum(result->vfe)};
		bool  nulls[4] = {false};

		if (!result->stepped)
			continue;
		values[2] = array_from_int32(result->action, result->action_count);
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	return (Datum) 0;
}
