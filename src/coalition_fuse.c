/*-------------------------------------------------------------------------
 *
 * coalition_fuse.c
 *	  What the members of a coalition believe of the factors that they share,
 *	  pooled by its rule.
 *
 * The arithmetic is the kernel's (kernel/fuse.c).  Here it is found which
 * factors mean the same for all members, and which part of a member's belief
 * the others may know as well: that part is counted once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "coalition.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_coalition_belief);

static Statement common_statement = {
	"SELECT agent_id, trial, belief FROM @.fa_coalition_common"
	" WHERE agent_id" EQ "ANY ($1) ORDER BY agent_id",
	1,
	{INT8ARRAYOID}};
static Statement members_statement = {
	"SELECT agent_id, weight FROM @.fa_coalition_member WHERE coalition_id" EQ
	"$1 ORDER BY agent_id",
	1,
	{INT8OID}};

/* ---------- which factors are shared ---------- */

/* Raises 42704; never returns. */
pg_noreturn static void
factor_unknown(const char *name, int64 agent_id)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("model of agent " INT64_FORMAT " has no factor \"%s\"",
				agent_id, name),
		 errhint(
			 "All members need the factors that the coalition names: create it anew with others, or let the agent leave.")));
	pg_unreachable();
}

/* Are two factors the same to the letter: states, and how they are called? */
static bool
same_factor(const KernelModel *one, const KernelFactor *f,
			const KernelModel *other, const KernelFactor *g)
{
	if (f->states != g->states)
		return false;
	for (int32 s = 0; s < f->states; s++)
	{
		char buffers[2][16];

		if (s % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (strcmp(kernel_label(one, f->labels, s, buffers[0]),
				   kernel_label(other, g->labels, s, buffers[1])) != 0)
			return false;
	}
	return true;
}

/*
 * The factor of an agent's model that means what factor f of the first's does,
 * or -1 where it has none of that name.  Raises 42804 for one of the same name
 * that differs: what it means cannot be told.
 */
static int32
matching_factor(const AgentRow *first, int32 f, const AgentRow *agent)
{
	const KernelModel  *one = first->model->model;
	const KernelModel  *other = agent->model->model;
	const KernelFactor *factor = kernel_factor(one, f);
	const char		   *name = KERNEL_AT(one, char, factor->name);
	int32				found = kernel_factor_index(other, name);

	if (found >= 0 &&
		!same_factor(one, factor, other, kernel_factor(other, found)))
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("factor \"%s\" of agent " INT64_FORMAT
					" differs from that of agent " INT64_FORMAT,
					name, first->agent_id, agent->agent_id),
			 errdetail("Pooled beliefs are about the same states."),
			 errhint(
				 "Make the coalition with the names of those factors that mean the same for all.")));
	return found;
}

/* What members of one model have in common with each other. */
typedef struct FusionModel
{
	const CachedModel *model;
	int32			  *factors; /* [shared] */
	bool			  *stays;	/* [shared] */
} FusionModel;

/*
 * Is the factor there in every model [count]?  Then its index in each goes to
 * their factors[shared].  agents are one of each model.
 */
static bool
share_factor(const AgentRow *const *agents, FusionModel *models, int count,
			 int32 f, int shared)
{
	for (int i = 0; i < count; i++)
	{
		models[i].factors[shared] =
			i == 0 ? f : matching_factor(agents[0], f, agents[i]);
		if (models[i].factors[shared] < 0)
			return false;
	}
	return true;
}

/*
 * The factors that the coalition names, by model; returns how many.  Raises
 * 42704 for one that some model lacks.
 */
static int
share_named(const Coalition *coalition, const AgentRow *const *agents,
			FusionModel *models, int count)
{
	const KernelModel *first = agents[0]->model->model;

	for (int k = 0; k < coalition->factor_count; k++)
	{
		int32 f = kernel_factor_index(first, coalition->factors[k]);

		if (f < 0)
			factor_unknown(coalition->factors[k], agents[0]->agent_id);
		if (share_factor(agents, models, count, f, k))
			continue;
		for (int i = 0; i < count; i++)
		{
			if (models[i].factors[k] < 0)
				factor_unknown(coalition->factors[k], agents[i]->agent_id);
		}
	}
	return coalition->factor_count;
}

/* The factors that all models have, in the first's order. */
static int
share_all(const AgentRow *const *agents, FusionModel *models, int count)
{
	const KernelModel *first = agents[0]->model->model;
	int				   shared = 0;

	for (int32 f = 0; f < first->factor_count; f++)
		shared += share_factor(agents, models, count, f, shared);
	return shared;
}

/*
 * The distinct models of agents [count], in models, with one agent of each in
 * examples; which[i] is the one of agent i.  Agents of one model mostly stand
 * together, so it is looked for from the last one found.
 */
static int
distinct_models(const AgentRow *const *agents, int count, FusionModel *models,
				const AgentRow **examples, int *which)
{
	int found = 0;

	for (int i = 0; i < count; i++)
	{
		int m = found - 1;

		while (m >= 0 && models[m].model != agents[i]->model)
			m--;
		if (m < 0)
		{
			m = found++;
			models[m].model = agents[i]->model;
			examples[m] = agents[i];
		}
		which[i] = m;
	}
	return found;
}

/*
 * Finds what the members share, and whether it stays.  Raises 55000
 * where they have no factor in common, and what matching_factor does.
 */
static void
share_factors(Fusion *fusion, const AgentRow *const *agents)
{
	FusionModel		*models = palloc(sizeof(FusionModel) * fusion->count);
	const AgentRow **examples = palloc(sizeof(AgentRow *) * fusion->count);
	int				*which = palloc(sizeof(int) * fusion->count);
	const Coalition *coalition = fusion->coalition;
	int count = distinct_models(agents, fusion->count, models, examples, which);
	int room =
		Max(coalition->factor_count, examples[0]->model->model->factor_count);

	for (int m = 0; m < count; m++)
	{
		models[m].factors = palloc(sizeof(int32) * Max(room, 1));
		models[m].stays = palloc(sizeof(bool) * Max(room, 1));
	}
	fusion->shared = coalition->factors != NULL ?
						 share_named(coalition, examples, models, count) :
						 share_all(examples, models, count);
	if (fusion->shared == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("members of coalition \"%s\" have no factor in common",
					coalition->name),
			 errdetail(
				 "Factors are in common that have the same name and states in all models."),
			 errhint(
				 "Let those leave that have none of the others' factors, by fa_coalition_leave.")));
	for (int m = 0; m < count; m++)
	{
		for (int k = 0; k < fusion->shared; k++)
			models[m].stays[k] = kernel_factor_stays(
				&fusion->host, models[m].model->model, models[m].factors[k]);
	}
	for (int i = 0; i < fusion->count; i++)
	{
		fusion->members[i].factors = models[which[i]].factors;
		fusion->members[i].stays = models[which[i]].stays;
	}
}

/* ---------- pooling ---------- */

/* What the members knew in common when they were last pooled in this trial. */
static void
read_common(Fusion *fusion)
{
	int64 *ids = palloc(sizeof(int64) * fusion->count);
	Datum  arguments[1];
	int	   found;
	int	   i = 0;

	for (int m = 0; m < fusion->count; m++)
		ids[m] = fusion->members[m].agent->agent_id;
	arguments[0] = array_from_int64(ids, fusion->count);
	found = statement_run(fusion->call, &common_statement, arguments, NULL, 0);
	for (int row = 0; row < found; row++)
	{
		int64			agent_id = result_int64(row, 1);
		const AgentRow *agent;
		bool			isnull;

		while (fusion->members[i].agent->agent_id != agent_id)
			i++;
		agent = fusion->members[i].agent;
		if (DatumGetInt32(result_datum(row, 2, &isnull)) == agent->trial)
			fusion->members[i].common =
				array_doubles(result_datum(row, 3, &isnull),
							  agent->model->model->belief_size, "belief");
	}
}

/*
 * Agents [count] that are to be pooled, ascending by id, at least one, none of them
 * paused, with their weights [count]; in the current memory context.  Raises
 * 42704, 42804 and 55000 where the coalition's factors are not theirs.
 */
Fusion *
fusion_open(const Call *call, const Coalition *coalition,
			const AgentRow *const *agents, const double *weights, int count)
{
	Fusion *fusion = palloc0(sizeof(Fusion));

	fusion->call = call;
	fusion->coalition = coalition;
	host_init(&fusion->host, CurrentMemoryContext);
	fusion->count = count;
	fusion->members = palloc0(sizeof(FusionMember) * count);
	fusion->experts = palloc(sizeof(KernelExpert) * count);
	for (int i = 0; i < count; i++)
	{
		fusion->members[i].agent = agents[i];
		fusion->members[i].weight = weights[i];
	}
	share_factors(fusion, agents);
	read_common(fusion);
	return fusion;
}

/* A shared factor, as one member's model has it. */
const KernelFactor *
fusion_shared(const Fusion *fusion, int member, int shared)
{
	const FusionMember *m = &fusion->members[member];

	return kernel_factor(m->agent->model->model, m->factors[shared]);
}

/* The belief with which the member's trial began, [belief_size]. */
static const double *
initial_belief(const AgentRow *agent)
{
	const KernelModel *model = agent->model->model;

	if (agent->parameters != NULL && agent->parameters->D != NULL)
		return agent->parameters->D;
	return KERNEL_AT(model, double, model->D);
}

/*
 * The part of a member's belief of a shared factor that others may know too,
 * [states]; NULL: all of it.  doc/coalitions.md, "The shared prior is counted
 * once", says why.
 */
static const double *
reference(const FusionMember *member, int shared, const KernelFactor *factor,
		  const double *prior)
{
	const AgentRow *agent = member->agent;
	const double   *initial = initial_belief(agent) + factor->belief_offset;
	const double   *common = NULL;

	if (member->common != NULL && !isnan(member->common[factor->belief_offset]))
		common = member->common + factor->belief_offset;
	if (member->stays[shared])
		return common != NULL ? common : initial;
	/* none of its observations is older than a move */
	if (agent->action == NULL)
		return initial;
	if (prior != NULL)
		return prior + factor->belief_offset;
	return agent->step <= 1 && common == NULL ? initial : NULL;
}

/*
 * pooled [states of the factor] from what each member believes of it; beliefs
 * [count].  Returns the logarithm of what normalised it, see kernel_fuse.
 */
double
fusion_factor(Fusion *fusion, int shared, const FusionBelief *beliefs,
			  double *pooled)
{
	for (int i = 0; i < fusion->count; i++)
	{
		const KernelFactor *factor = fusion_shared(fusion, i, shared);
		KernelExpert	   *expert = &fusion->experts[i];

		expert->weight = fusion->members[i].weight;
		expert->belief = beliefs[i].belief + factor->belief_offset;
		expert->reference =
			reference(&fusion->members[i], shared, factor, beliefs[i].prior);
	}
	return kernel_fuse(&fusion->host, fusion->coalition->rule, fusion->experts,
					   fusion->count, fusion_shared(fusion, 0, shared)->states,
					   pooled);
}

/* ---------- the belief of a coalition ---------- */

/*
 * Its members that are not paused, as agents [*count] and weights; raises
 * 42501 where one is not the caller's.
 */
static const AgentRow **
read_members(const Call *call, int64 id, double **weights, int *count)
{
	Datum			 arguments[1] = {Int64GetDatum(id)};
	int				 found;
	int64			*ids;
	AgentRow		*rows;
	const AgentRow **agents;

	found = statement_run(call, &members_statement, arguments, NULL, 0);
	ids = palloc(sizeof(int64) * Max(found, 1));
	*weights = palloc(sizeof(double) * Max(found, 1));
	agents = palloc(sizeof(AgentRow *) * Max(found, 1));
	for (int i = 0; i < found; i++)
	{
		bool isnull;

		ids[i] = result_int64(i, 1);
		(*weights)[i] = DatumGetFloat8(result_datum(i, 2, &isnull));
	}
	*count = 0;
	if (found == 0)
		return agents;
	rows = belief_read(call, ids, found);
	for (int i = 0; i < found; i++)
	{
		if (rows[i].paused)
			continue;
		(*weights)[*count] = (*weights)[i];
		agents[(*count)++] = &rows[i];
	}
	return agents;
}

/* Each shared factor with its pooled belief, as fa_belief shows one. */
static void
append_beliefs(StringInfo out, Fusion *fusion)
{
	FusionBelief *beliefs = palloc0(sizeof(FusionBelief) * fusion->count);

	for (int i = 0; i < fusion->count; i++)
		beliefs[i].belief = fusion->members[i].agent->belief;
	for (int k = 0; k < fusion->shared; k++)
	{
		const KernelFactor *factor = fusion_shared(fusion, 0, k);
		double			   *pooled = palloc(sizeof(double) * factor->states);

		(void) fusion_factor(fusion, k, beliefs, pooled);
		appendStringInfoString(out, k > 0 ? ", " : "{");
		belief_append_factor(out, fusion->members[0].agent->model->model,
							 factor, pooled);
		pfree(pooled);
	}
	appendStringInfoChar(out, '}');
}

/*
 * fa_coalition_belief(name text) returns jsonb, an object of the shared
 * factors, each an object of states with their pooled probabilities, as of the
 * statement's snapshot; null where no member is there that is not paused.
 *
 * Strict; only reads.  Raises 42704 for an unknown coalition, 42501 for a
 * member of another's, 42804 and 55000 for factors that cannot be pooled.
 */
Datum
fa_coalition_belief(PG_FUNCTION_ARGS)
{
	char			*name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	MemoryContext	 caller = CurrentMemoryContext;
	Jsonb			*result = NULL;
	Coalition		 coalition;
	const AgentRow **agents;
	double			*weights;
	int				 count;
	Call			 call;

	call_begin(&call, fcinfo, true);
	coalition = coalition_find(&call, name);
	agents = read_members(&call, coalition.id, &weights, &count);
	if (count > 0)
	{
		Fusion *fusion = fusion_open(&call, &coalition, agents, weights, count);
		StringInfoData out;

		/* what is returned must outlive call_end */
		MemoryContextSwitchTo(caller);
		initStringInfo(&out);
		append_beliefs(&out, fusion);
		result = jsonb_from_text(out.data);
	}
	call_end(&call);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}
