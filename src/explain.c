/*-------------------------------------------------------------------------
 *
 * explain.c
 *	  Why an agent did what it did, and what a model would believe: fa_explain
 *	  and fa_infer.  Both only read, and work on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "fa_agents.h"

#include <math.h>

PG_FUNCTION_INFO_V1(fa_explain);
PG_FUNCTION_INFO_V1(fa_infer);

/* ---------- fa_explain ---------- */

/*
 * Room for what the kernel tells of each policy, arrays of [policy_count] in
 * the current memory context.
 */
static void
allocate_explanation(const KernelModel *model, KernelExplanation *explanation)
{
	double **parts[] = {&explanation->q_pi,
						&explanation->neg_efe,
						&explanation->utility,
						&explanation->state_info_gain,
						&explanation->param_info_gain,
						&explanation->inductive};

	for (int i = 0; i < (int) lengthof(parts); i++)
		*parts[i] = palloc(sizeof(double) * model->policy_count);
}

/*
 * A policy's actions as int[][], [plan step][control], counting from 0; empty
 * where the model has no control.
 */
static Datum
policy_actions(const KernelModel *model, int32 policy)
{
	int			 dims[2] = {model->policy_length, model->control_count};
	int			 bounds[2] = {1, 1};
	int			 count = dims[0] * dims[1];
	const int32 *actions =
		KERNEL_AT(model, int32_t, model->policies) + (int64) policy * count;
	Datum	  *elements;
	ArrayType *array;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(INT4OID));
	elements = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(actions[i]);
	array = construct_md_array(elements, NULL, 2, dims, bounds, INT4OID,
							   sizeof(int32), true, TYPALIGN_INT);
	pfree(elements);
	return PointerGetDatum(array);
}

/*
 * A row for each policy.  A model may have tens of thousands, so each row's
 * array is freed at once and a cancel is heard.
 */
static void
put_policies(ReturnSetInfo *set, const KernelModel *model,
			 const KernelExplanation *explanation)
{
	for (int32 p = 0; p < model->policy_count; p++)
	{
		Datum values[8] = {Int32GetDatum(p),
						   policy_actions(model, p),
						   Float8GetDatum(explanation->q_pi[p]),
						   Float8GetDatum(explanation->neg_efe[p]),
						   Float8GetDatum(explanation->utility[p]),
						   Float8GetDatum(explanation->state_info_gain[p]),
						   Float8GetDatum(explanation->param_info_gain[p]),
						   Float8GetDatum(explanation->inductive[p])};
		bool  nulls[8] = {false};

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
		pfree(DatumGetPointer(values[1]));
	}
}

/*
 * fa_explain(agent_id bigint) returns a row (policy, actions int[][],
 * probability, neg_efe and its four parts, in nats) for each policy, in the
 * model's order, valued with the belief and the parameters by which the last
 * action was chosen.
 *
 * The counts are therefore read without the update that the last step owes.
 * Strict; only reads.  Raises 55000 where the agent has not acted in this
 * trial, 42704, 42501, 22003 on overflow.
 */
Datum
fa_explain(PG_FUNCTION_ARGS)
{
	int64			   agent_id = PG_GETARG_INT64(0);
	KernelExplanation  explanation;
	const AgentRow	  *agent;
	const KernelModel *model;
	KernelHost		   host;
	Call			   call;

	InitMaterializedSRF(fcinfo, 0);
	call_begin(&call, fcinfo, true);
	agent = belief_read(&call, &agent_id, 1);
	model = agent->model->model;
	if (agent->action == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("agent " INT64_FORMAT " has not acted in this trial",
						agent_id),
				 errhint("Step it by fa_step first.")));
	allocate_explanation(model, &explanation);
	host_init(&host, CurrentMemoryContext);
	host_check(kernel_explain(&host, model, agent->model->workspace,
							  agent->belief, agent->parameters, agent->learned,
							  &explanation),
			   "an explanation");
	put_policies((ReturnSetInfo *) fcinfo->resultinfo, model, &explanation);
	call_end(&call);
	return (Datum) 0;
}

/* ---------- fa_infer ---------- */

/*
 * A prior from outside [belief_size], the factors' marginals one after
 * another: each factor's part sums to 1, to the tolerance that a spec's D has;
 * null is the model's D.  Raises 22023; the test is written so that NaN fails
 * it.
 */
static const double *
parse_prior(FunctionCallInfo fcinfo, const KernelModel *model)
{
	ArrayType	 *array;
	const double *prior;
	int			  count;

	if (PG_ARGISNULL(1))
		return KERNEL_AT(model, double, model->D);
	array = PG_GETARG_ARRAYTYPE_P(1);
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array) ||
		count != model->belief_size)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("prior must be an array of %d numbers without nulls",
					model->belief_size),
			 errdetail(
				 "Its length is %d; the marginals of all factors follow one another, in one dimension.",
				 count)));
	prior = (const double *) ARR_DATA_PTR(array);
	for (int32 f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		double				sum = 0.0;
		bool				negative = false;

		for (int32 s = 0; s < factor->states; s++)
		{
			sum += prior[factor->belief_offset + s];
			negative = negative || !(prior[factor->belief_offset + s] >= 0.0);
		}
		if (negative || !(fabs(sum - 1.0) <= 1.001e-5))
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("prior of factor \"%s\" is no probability distribution",
						KERNEL_AT(model, char, factor->name)),
				 errdetail(
					 "Its %d numbers must not be negative, and must sum to 1.",
					 factor->states)));
	}
	return prior;
}

/*
 * fa_infer(model text, prior float8[], observation int[]) returns float8[],
 * the posterior belief [belief_size]. prior is [belief_size], null: the
 * model's D; observation is [modality_count], -1 or null a missing outcome, or
 * empty for no evidence.  Null where model or observation is.
 *
 * Asks a model and no agent, so it writes nothing and nobody's state matters.
 * Raises 42704 and 42501 for the model, 22023 for the prior or a wrong length,
 * 22003 for an outcome out of range or an overflow.
 */
Datum
fa_infer(PG_FUNCTION_ARGS)
{
	MemoryContext	   caller = CurrentMemoryContext;
	int				   count = 0;
	int32			  *observation;
	int32			  *complete;
	double			  *belief;
	double			   vfe;
	const KernelModel *model;
	CachedModel		  *cached;
	ModelRow		   row;
	KernelHost		   host;
	Call			   call;
	Datum			   result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	observation =
		array_to_int32(PG_GETARG_ARRAYTYPE_P(2), &count, "observation", -1);
	call_begin(&call, fcinfo, true);
	row = model_find(&call, TABLE_MODEL, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cached = cache_find(&call, TABLE_MODEL, row.id, row.digest);
	model = cached->model;
	observation_check(model, 0, observation, count);
	complete = palloc(sizeof(int32) * model->modality_count);
	for (int m = 0; m < model->modality_count; m++)
		complete[m] = count == 0 ? -1 : observation[m];
	belief = palloc(sizeof(double) * model->belief_size);
	host_init(&host, CurrentMemoryContext);
	host_check(kernel_infer(&host, model, cached->workspace,
							parse_prior(fcinfo, model), complete, belief, &vfe),
			   "a posterior");
	/* what is returned must outlive call_end */
	MemoryContextSwitchTo(caller);
	result = array_from_double(belief, model->belief_size);
	call_end(&call);
	PG_RETURN_DATUM(result);
}
