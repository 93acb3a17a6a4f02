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

/* Who we were before code of a user was called. */
typedef struct Outside
{
	Oid user;
	int security;
} Outside;

/* ---------- code of users ---------- */

/*
 * Becomes the caller, within SPI, until end_outside.  An ERROR in between is
 * cleaned up by the end of the (sub)transaction.
 */
static void
begin_outside(const Call *call, Outside *outside)
{
	GetUserIdAndSecContext(&outside->user, &outside->security);
	SetUserIdAndSecContext(call->user,
						   call->security | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
end_outside(const Outside *outside)
{
	SPI_finish();
	SetUserIdAndSecContext(outside->user, outside->security);
}

/* The plan of a call of a function with arguments of these types [count]. */
static SPIPlanPtr
prepare(const char *head, const SensorUse *use, int count, Oid *types)
{
	char *text =
		psprintf("%s %s($1%s)", head, use->name, count > 1 ? ", $2" : "");
	SPIPlanPtr plan = SPI_prepare(text, count, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", text,
			 SPI_result_code_string(SPI_result));
	return plan;
}

/* Calls it; what came of it is in SPI_tuptable. */
static void
execute(SPIPlanPtr plan, Datum *arguments, const char *nulls)
{
	int result = SPI_execute_plan(plan, arguments, nulls, false, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not call a sensor or an actuator: %s",
			 SPI_result_code_string(result));
}

/* ---------- sensors ---------- */

/*
 * Did a sensor give columns of these types [count]?  It was looked at before,
 * but code that has run since may have made its name mean another function,
 * and results are taken apart by their type.  Raises 42P13.
 */
static void
check_result(const SensorUse *use, const Oid *types, int count)
{
	TupleDesc desc = SPI_tuptable->tupdesc;
	bool	  fits = desc->natts == count;

	for (int i = 0; fits && i < count; i++)
		fits = TupleDescAttr(desc, i)->atttypid == types[i];
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("sensor %s changed while it was called", use->name),
				 errdetail("Its result is not of the type that it had before."),
				 errhint("Name the function again with fa_sensor_set.")));
}

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
	const Oid  given[] = {INT4ARRAYOID};
	Oid		   types[] = {INT8OID};
	SPIPlanPtr plan = prepare("SELECT", use, 1, types);

	for (int i = 0; i < use->count; i++)
	{
		Datum arguments[] = {Int64GetDatum(use->ids[i])};
		Datum observation;
		bool  isnull;

		CHECK_FOR_INTERRUPTS();
		execute(plan, arguments, NULL);
		check_result(use, given, 1);
		/* no row: it became one that returns a set */
		observation =
			SPI_processed == 0 ? (Datum) 0 : result_datum(0, 1, &isnull);
		if (SPI_processed > 0 && !isnull)
			perceive(act, find_actor(act, use->ids[i]), observation);
		SPI_freetuptable(SPI_tuptable);
	}
}

/*
 * Asks a sensor of the set form.  Raises 22023 for a row that is not the one of
 * an agent that it was asked about: which is meant would be left to chance.
 */
static void
ask_at_once(const Act *act, const SensorUse *use)
{
	const Oid given[] = {INT8OID, INT4ARRAYOID};
	Oid		  types[] = {INT8ARRAYOID};
	Datum	  arguments[] = {array_from_int64(use->ids, use->count)};
	uint64	  count;

	execute(prepare("SELECT * FROM", use, 1, types), arguments, NULL);
	check_result(use, given, 2);
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		bool   isnull;
		int64  agent_id = result_int64(i, 1);
		Datum  observation = result_datum(i, 2, &isnull);
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
		const SensorUse *use = &act->uses[i];
		Outside			 outside;

		begin_outside(act->call, &outside);
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
		end_outside(&outside);
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
	Oid	  types[] = {INT8ARRAYOID, INT4ARRAYOID};
	Datum arguments[2];

	if (gather_actions(act, use, &arguments[0], &arguments[1]) > 0)
		execute(prepare("SELECT", use, 2, types), arguments, NULL);
}

/* Calls an actuator of the single form. */
static void
move_each(const Act *act, const SensorUse *use)
{
	Oid		   types[] = {INT8OID, INT4ARRAYOID};
	SPIPlanPtr plan = prepare("SELECT", use, 2, types);

	for (int i = 0; i < use->count; i++)
	{
		const ActResult *result = &find_actor(act, use->ids[i])->result;
		Datum			 arguments[2] = {Int64GetDatum(use->ids[i])};

		CHECK_FOR_INTERRUPTS();
		if (!result->stepped)
			continue;
		arguments[1] = array_from_int32(result->action, result->action_count);
		execute(plan, arguments, NULL);
		SPI_freetuptable(SPI_tuptable);
	}
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
		begin_outside(act->call, &outside);
		if (use->at_once)
			move_at_once(act, use);
		else
			move_each(act, use);
		end_outside(&outside);
	}
}

/*
 * Constraints that were deferred are checked now, as the caller, and so are
 * those that are named as constraints but may do anything.
 */
void
act_check_constraints(const Call *call)
{
	Outside outside;

	begin_outside(call, &outside);
	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) !=
		SPI_OK_UTILITY)
		elog(ERROR, "could not check constraints");
	end_outside(&outside);
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
