/*-------------------------------------------------------------------------
 *
 * coalition_energy.c
 *	  The free energy of a coalition, and of its members alone.
 *
 * They are those of the last step, which has stored them: the beliefs that
 * they were made of are gone by then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "coalition.h"

PG_FUNCTION_INFO_V1(fa_coalition_free_energy);

static Statement present_statement = {
	"SELECT agent_id, owner FROM @.fa_belief WHERE agent_id" EQ "ANY ($1)"
	" ORDER BY agent_id",
	1,
	{INT8ARRAYOID}};
static Statement energy_statement = {
	"SELECT agent_ids, weights, vfes, vfe FROM @.fa_coalition_outcome"
	" WHERE coalition_id" EQ "$1",
	1,
	{INT8OID}};

/* One row (agent_id, weight, vfe) of fa_coalition_energy; id 0 is null. */
static void
put_energy(ReturnSetInfo *set, int64 agent_id, double weight, double vfe)
{
	Datum values[3] = {Int64GetDatum(agent_id), Float8GetDatum(weight),
					   Float8GetDatum(vfe)};
	bool  nulls[3] = {agent_id == 0};

	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/* Raises 42501 where one of these agents is there and not the caller's. */
static void
check_owners(const Call *call, Datum ids)
{
	Datum arguments[1] = {ids};
	int	  found = statement_run(call, &present_statement, arguments, NULL, 0);

	for (int i = 0; i < found; i++)
	{
		bool isnull;

		agent_require_owner(call, result_int64(i, 1),
							DatumGetObjectId(result_datum(i, 2, &isnull)));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * fa_coalition_free_energy(name text) returns setof (agent_id, weight, vfe): of
 * the coalition's last step each member's free energy alone, ascending by
 * agent, then the coalition's, with a null agent and the sum of the weights.
 * No row before its first step.
 *
 * Strict; only reads.  Raises 42704 and 42501.
 */
Datum
fa_coalition_free_energy(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	char		  *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	double		   weights = 0.0;
	Datum		   arguments[1];
	Datum		   outcome[4];
	Call		   call;

	InitMaterializedSRF(fcinfo, 0);
	call_begin(&call, fcinfo, true);
	arguments[0] = Int64GetDatum(coalition_find(&call, name).id);
	if (statement_run(&call, &energy_statement, arguments, NULL, 1) > 0)
	{
		int			  count;
		int64		 *ids;
		const double *weight;
		const double *vfe;
		bool		  isnull;

		for (int i = 0; i < 4; i++)
			outcome[i] = result_datum(0, i + 1, &isnull);
		check_owners(&call, outcome[0]);
		ids =
			array_to_int64(DatumGetArrayTypeP(outcome[0]), &count, "agent_ids");
		weight = array_doubles(outcome[1], count, "weights");
		vfe = array_doubles(outcome[2], count, "free energies");
		for (int i = 0; i < count; i++)
		{
			put_energy(set, ids[i], weight[i], vfe[i]);
			weights += weight[i];
		}
		put_energy(set, 0, weights, DatumGetFloat8(outcome[3]));
	}
	call_end(&call);
	return (Datum) 0;
}
