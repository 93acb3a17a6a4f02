/*-------------------------------------------------------------------------
 *
 * coalition_step.c
 *	  One step of all members of a coalition, with what they know pooled.
 *
 * The step path is the one of all agents (step.c); what is here is who takes
 * part, the locks, and what is remembered: the belief that the members have in
 * common from then on, and the free energies.
 *
 * Rows are locked all at once or not at all: who waits for one of them holds
 * none of the others.  So two sessions that step two coalitions with common
 * members in opposite orders, each in one transaction, do not deadlock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#include "coalition.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_coalition_step);

static Statement members_statement = {
	"SELECT m.agent_id, m.weight, b.owner, b.history"
	" FROM @.fa_coalition_member m"
	" JOIN @.fa_belief b ON b.agent_id" EQ "m.agent_id"
	" WHERE m.coalition_id" EQ "$1 ORDER BY m.agent_id",
	1,
	{INT8OID}};

/* As belief_lock's: steps and drops wait for it, fa_observe does not. */
#define LOCK_ROWS                                                   \
	"SELECT agent_id FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)" \
	" ORDER BY agent_id FOR NO KEY UPDATE"
static Statement lock_statement = {LOCK_ROWS, 1, {INT8ARRAYOID}};
static Statement try_lock_statement = {
	LOCK_ROWS " SKIP LOCKED", 1, {INT8ARRAYOID}};
/* $5 has the beliefs of all agents one after another */
static Statement common_statement = {
	"INSERT INTO @.fa_coalition_common (agent_id, trial, belief)"
	" SELECT m.agent_id, m.trial, $5[m.first:m.last] FROM ROWS FROM"
	" (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	" pg_catalog.unnest($4)) AS m (agent_id, trial, first, last)"
	" ON CONFLICT (agent_id) DO UPDATE"
	" SET trial = excluded.trial, belief = excluded.belief",
	5,
	{INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, FLOAT8ARRAYOID}};
/*
 * Of a coalition that is there, and stays so until the commit.  One that is
 * being dissolved gets none: to wait for who does that, while we hold the rows
 * of agents that he may be about to drop, could be a deadlock.
 */
static Statement outcome_statement = {
	"INSERT INTO @.fa_coalition_outcome"
	" (coalition_id, agent_ids, weights, vfes, vfe, stepped_at)"
	" SELECT $1, $2, $3, $4, $5, pg_catalog.clock_timestamp()"
	" FROM @.fa_coalition WHERE coalition_id" EQ "$1 FOR KEY SHARE SKIP LOCKED"
	" ON CONFLICT (coalition_id) DO UPDATE SET agent_ids = excluded.agent_ids,"
	" weights = excluded.weights, vfes = excluded.vfes, vfe = excluded.vfe,"
	" stepped_at = excluded.stepped_at",
	5,
	{INT8OID, INT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8OID}};
/*
 * One step of a coalition, on its way, in SPI's memory.  Arrays are [count],
 * by member in ascending order of agents; those who do not take part are left
 * out of them as soon as that is known.
 */
typedef struct CoalitionStep
{
	const Call	  *call;
	Coalition	   coalition;
	ReturnSetInfo *set;	  /* takes the rows */
	bool		   given; /* one observation for all */
	int			   count;
	int64		  *ids;
	double		  *weights;
	Fusion		  *fusion;
	double		  *vfes;	  /* of each alone, in nats */
	double		   log_gain;  /* ln Z of what was perceived, less that of the
							  * priors */
	double		   given_vfe; /* weighted sum, from the pooled priors */

	/* what the members know in common from now on */
	int		emitted; /* members whose step is done */
	int32  *trials;
	int32  *firsts; /* where each one's belief begins in commons, from 1 */
	int32  *lasts;
	double *commons; /* [sum of belief_size] */
} CoalitionStep;

/* ---------- who takes part ---------- */

/*
 * The members, as the step's statement sees them.  Raises 42501 where one is
 * not the caller's.  History is made ready before anything is locked.
 */
static void
read_members(CoalitionStep *step)
{
	Datum arguments[1] = {Int64GetDatum(step->coalition.id)};
	int	  found =
		statement_run(step->call, &members_statement, arguments, NULL, 0);
	bool history = false;

	step->ids = palloc(sizeof(int64) * Max(found, 1));
	step->weights = palloc(sizeof(double) * Max(found, 1));
	for (int i = 0; i < found; i++)
	{
		bool isnull;

		step->ids[i] = result_int64(i, 1);
		step->weights[i] = DatumGetFloat8(result_datum(i, 2, &isnull));
		agent_require_owner(step->call, step->ids[i],
							DatumGetObjectId(result_datum(i, 3, &isnull)));
		history |= DatumGetInt16(result_datum(i, 4, &isnull)) != 0;
	}
	step->count = found;
	SPI_freetuptable(SPI_tuptable);
	if (history)
		history_prepare(step->call);
}

/*
 * Leaves out of the step whoever is not among ids [found], ascending.
 */
static void
keep_members(CoalitionStep *step, const int64 *ids, int found)
{
	int kept = 0;

	for (int i = 0; i < step->count && kept < found; i++)
	{
		if (ids[kept] != step->ids[i])
			continue;
		step->ids[kept] = step->ids[i];
		step->weights[kept++] = step->weights[i];
	}
	step->count = kept;
}

/* ---------- locks ---------- */

/* Runs a locking statement for ids [count]; the ids found go to found [count]. */
static int
lock_rows(const Call *call, Statement *statement, const int64 *ids, int count,
		  int64 *found)
{
	Datum arguments[1] = {array_from_int64(ids, count)};
	int	  rows = statement_run(call, statement, arguments, NULL, 0);

	for (int i = 0; i < rows; i++)
		found[i] = result_int64(i, 1);
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/* One try to lock the members. */
typedef struct LockTry
{
	const CoalitionStep *step;
	int64				 awaited; /* the agent to wait for; 0: none */
	bool				 gone;	  /* it has been dropped */
	int64				*found;	  /* [members]: who was locked, ascending */
	int					 rows;	  /* how many */
} LockTry;

/*
 * Waits for one agent's row and then takes all members' rows that are free;
 * false, to let all go, where some are not.
 */
static bool
try_lock(void *context)
{
	LockTry				*try = context;
	const CoalitionStep *step = try->step;

	try->gone =
		try->awaited != 0 && lock_rows(step->call, &lock_statement,
									   &try->awaited, 1, try->found) == 0;
	try->rows = lock_rows(step->call, &try_lock_statement, step->ids,
						  step->count, try->found);
	return try->rows == step->count;
}

/* The place of the first member that is not among ids [found], ascending. */
static int
first_missing(const CoalitionStep *step, const int64 *ids, int found)
{
	int i = 0;

	while (i < found && ids[i] == step->ids[i])
		i++;
	return i;
}

/* Leaves a member out of the step. */
static void
leave_out(CoalitionStep *step, int64 agent_id)
{
	int kept = 0;

	for (int i = 0; i < step->count; i++)
	{
		if (step->ids[i] == agent_id)
			continue;
		step->ids[kept] = step->ids[i];
		step->weights[kept++] = step->weights[i];
	}
	step->count = kept;
}

/*
 * Locks the members' rows, leaving out those that were dropped meanwhile.  It
 * waits for the first that is not free, without holding any; then it has that
 * one, and sees whether all others are free now.  (C++'s std::lock does the
 * same.)  Whom it waits for has got on, so somebody always does.
 */
static void
lock_members(CoalitionStep *step)
{
	LockTry try = {step};

	try.found = palloc(sizeof(int64) * Max(step->count, 1));
	while (step->count > 0 && !subtransaction_run(try_lock, &try, NULL))
	{
		if (try.gone)
			leave_out(step, try.awaited);
		try.awaited =
			try.gone ? 0 : step->ids[first_missing(step, try.found, try.rows)];
	}
}

/* ---------- what is pooled ---------- */

/*
 * Pools one shared factor: of the priors where one observation is for all,
 * else of what each perceived.  The result goes to every member, in the place
 * of what was pooled.
 */
static void
fuse_factor(CoalitionStep *step, Perceived *agents, int shared,
			FusionBelief *beliefs)
{
	Fusion *fusion = step->fusion;
	int32	states = fusion_shared(fusion, 0, shared)->states;
	double *pooled = palloc(sizeof(double) * states);

	for (int i = 0; i < step->count; i++)
		beliefs[i].belief = agents[i].prior;
	step->log_gain -= fusion_factor(fusion, shared, beliefs, pooled);
	if (!step->given)
	{
		for (int i = 0; i < step->count; i++)
			beliefs[i].belief = agents[i].belief;
		step->log_gain += fusion_factor(fusion, shared, beliefs, pooled);
	}
	for (int i = 0; i < step->count; i++)
	{
		double *target = step->given ? agents[i].prior : agents[i].belief;

		memcpy(target + fusion_shared(fusion, i, shared)->belief_offset, pooled,
			   sizeof(double) * states);
	}
	pfree(pooled);
}

/*
 * StepPlan.fuse: between perceiving and planning.  agents [count] are those
 * who take part: paused ones are left out.
 */
static void
fuse_members(void *context, Perceived *agents, int count)
{
	CoalitionStep	*step = context;
	const AgentRow **rows = palloc(sizeof(AgentRow *) * count);
	FusionBelief	*beliefs = palloc(sizeof(FusionBelief) * count);
	int64			*ids = palloc(sizeof(int64) * count);

	for (int i = 0; i < count; i++)
	{
		rows[i] = agents[i].agent;
		ids[i] = rows[i]->agent_id;
		beliefs[i].prior = agents[i].prior;
	}
	keep_members(step, ids, count);
	step->vfes = palloc(sizeof(double) * count);
	for (int i = 0; i < count; i++)
		step->vfes[i] = agents[i].vfe;
	step->fusion =
		fusion_open(step->call, &step->coalition, rows, step->weights, count);
	for (int k = 0; k < step->fusion->shared; k++)
		fuse_factor(step, agents, k, beliefs);
}

/* ---------- what is remembered ---------- */

/* Room for what all who take part know in common. */
static void
make_commons(CoalitionStep *step)
{
	Size total = 0;

	for (int i = 0; i < step->count; i++)
		total += step->fusion->members[i].agent->model->model->belief_size;
	step->trials = palloc(sizeof(int32) * step->count);
	step->firsts = palloc(sizeof(int32) * step->count);
	step->lasts = palloc(sizeof(int32) * step->count);
	/* an array of SQL has no more */
	if (total > MaxArraySize)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("beliefs of coalition \"%s\" are too large "
							   "together",
							   step->coalition.name),
						errdetail("They have %zu numbers, at most %zu fit.",
								  total, (Size) MaxArraySize)));
	step->commons = palloc_extended(sizeof(double) * total, MCXT_ALLOC_HUGE);
}

/*
 * What the next member knows in common now, from its belief [belief_size]: the
 * shared factors; of the others what it was last pooled to in this trial, or
 * NaN.
 */
static void
keep_common(CoalitionStep *step, const StepRecord *record)
{
	int					i = step->emitted++;
	const FusionMember *member = &step->fusion->members[i];
	int32				size = member->agent->model->model->belief_size;
	int32				first = i == 0 ? 0 : step->lasts[i - 1];

	for (int32 s = 0; s < size; s++)
		step->commons[first + s] = member->common ? member->common[s] : NAN;
	for (int k = 0; k < step->fusion->shared; k++)
	{
		const KernelFactor *factor = fusion_shared(step->fusion, i, k);

		memcpy(step->commons + first + factor->belief_offset,
			   record->belief + factor->belief_offset,
			   sizeof(double) * factor->states);
	}
	step->trials[i] = record->trial;
	step->firsts[i] = first + 1;
	step->lasts[i] = first + size;
}

/* StepPlan.emit: one member's row, in ascending order of agents. */
static void
emit_member(void *context, const StepOrder *order, const KernelModel *model,
			const StepRecord *record)
{
	CoalitionStep *step = context;

	if (step->emitted == 0)
		make_commons(step);
	step->given_vfe += step->weights[step->emitted] * record->vfe;
	keep_common(step, record);
	step_emit(step->set, order, model, record);
}

/*
 * The coalition's free energy, in nats: doc/coalitions.md has the derivation.
 * In pools whose weights sum to 1 they do so here too.
 */
static double
coalition_vfe(const CoalitionStep *step)
{
	double weights = 0.0;
	double alone = 0.0;

	for (int i = 0; i < step->count; i++)
	{
		weights += step->weights[i];
		alone += step->weights[i] * step->vfes[i];
	}
	if (step->given)
		return step->given_vfe / weights;
	if (step->coalition.rule != KERNEL_PRODUCT)
		alone /= weights;
	return alone - step->log_gain;
}

/* Stores it: under the locks of all members' rows. */
static void
write_outcome(const CoalitionStep *step)
{
	Datum common[5] = {
		array_from_int64(step->ids, step->count),
		array_from_int32(step->trials, step->count),
		array_from_int32(step->firsts, step->count),
		array_from_int32(step->lasts, step->count),
		array_from_double(step->commons, step->lasts[step->count - 1])};
	Datum outcome[5] = {Int64GetDatum(step->coalition.id), common[0],
						array_from_double(step->weights, step->count),
						array_from_double(step->vfes, step->count),
						Float8GetDatum(coalition_vfe(step))};

	statement_run(step->call, &common_statement, common, NULL, 0);
	statement_run(step->call, &outcome_statement, outcome, NULL, 0);
}

/* ---------- the SQL functions ---------- */

/* What is asked of each member, [count]. */
static StepOrder *
make_orders(const CoalitionStep *step, const int32 *observation, int outcomes)
{
	StepOrder *orders = palloc0(sizeof(StepOrder) * step->count);

	for (int i = 0; i < step->count; i++)
	{
		orders[i].agent_id = step->ids[i];
		orders[i].position = i;
		orders[i].observation = observation;
		orders[i].observation_count = outcomes;
	}
	return orders;
}

/*
 * fa_coalition_step(name text, observation int[]) returns setof (agent_id,
 * step, action, vfe), a row for each member that is not paused, ascending.
 * With an observation [modality_count] all use that one, from their pooled
 * prior; null: each has its own (inbox, world, or none), and all use what they
 * perceived.  No row where name is null.
 *
 * Raises what fa_step does, 42704 for the coalition, 42501 for a member that is
 * not the caller's, 42804 and 55000 for factors that cannot be pooled.  Then
 * nothing has changed.
 */
Datum
fa_coalition_step(PG_FUNCTION_ARGS)
{
	CoalitionStep step = {0};
	StepPlan	  plan = {.steps = 1, .trials = 1, .skip_paused = true};
	int32		 *observation = NULL;
	int			  outcomes = 0;
	char		 *name;
	Call		  call;

	call_require_write("fa_coalition_step");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		observation = array_to_int32(PG_GETARG_ARRAYTYPE_P(1), &outcomes,
									 "observation", -1);
	step.call = &call;
	step.set = (ReturnSetInfo *) fcinfo->resultinfo;
	step.given = observation != NULL;
	plan.fuse = fuse_members;
	plan.fuse_priors = step.given;
	plan.emit = emit_member;
	plan.fuse_context = plan.emit_context = &step;

	call_begin(&call, fcinfo, false);
	step.coalition = coalition_find(&call, name);
	read_members(&step);
	lock_members(&step);
	if (step.count > 0)
		step_orders(&call, make_orders(&step, observation, outcomes),
					step.count, &plan);
	if (step.emitted > 0)
		write_outcome(&step);
	call_end(&call);
	return (Datum) 0;
}
