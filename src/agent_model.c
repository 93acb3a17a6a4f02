/*-------------------------------------------------------------------------
 *
 * agent_model.c
 *	  Agents that get another model of the same shape.
 *
 * Locks, in this order: the model, then hot rows in ascending order of id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "agent.h"

PG_FUNCTION_INFO_V1(fa_agent_set_model);

static Statement set_model_belief_statement = {
	"UPDATE @.fa_belief SET model_id = $2, model_digest = $3, parameters = $4,"
	" synced = CASE WHEN synced IS NOT NULL THEN '{}'::pg_catalog.float4[] END"
	" WHERE agent_id" EQ "$1",
	4,
	{INT8OID, INT8OID, BYTEAOID, FLOAT8ARRAYOID}};
static Statement set_model_agent_statement = {
	"UPDATE @.fa_agent SET model_id = $2 WHERE agent_id" EQ "$1",
	2,
	{INT8OID, INT8OID}};
/* Its own sensor and actuator go with it to a model of another name. */
static Statement set_model_sensor_statement = {
	"UPDATE @.fa_sensor x SET model = m.name FROM @.fa_model m WHERE x.agent_id" EQ
	"$1 AND x.agent_id" GT "0 AND m.model_id" EQ "$2",
	2,
	{INT8OID, INT8OID}};

/*
 * Gives a locked agent another model of the same shape; belief and counts are
 * kept, for they mean the same states and outcomes.  The graph does not have
 * that belief under the new model's names. name is the model's, for
 * messages.
 *
 * The packed parameters are made anew from params: their layout may be the
 * same, but numbers that are not overridden are in them too and have to be the
 * new model's.  Raises 22023 for another shape; the caller's transaction
 * undoes those that were done before.
 */
static void
set_model(const Call *call, AgentRow *agent, const ModelRow *model,
		  const KernelModel *compiled, const char *name)
{
	AgentParams params;
	AgentRow   *pointer = agent;
	Datum		arguments[4] = {Int64GetDatum(agent->agent_id),
								Int64GetDatum(model->id), model->digest, 0};

	if (compiled->shape != agent->model->model->shape)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "model \"%s\" has another shape than that of agent " INT64_FORMAT,
				 name, agent->agent_id),
			 errdetail(
				 "Factors, modalities, controls, their sizes and dependencies, and what is learned, must be the same."),
			 errhint("Create a new agent of that model.")));
	/* what the old model's learning rates owe is settled under the old model */
	belief_learn_owed(agent);
	belief_write_locked(call, &pointer, 1);
	learned_write(call, &pointer, 1);

	params = agent_params_parse(
		call, compiled, agent_params_stored(call, agent->agent_id), false);
	if (params.packed != NULL)
		arguments[3] = array_from_double(params.packed, params.packed_length);
	statement_run(call, &set_model_belief_statement, arguments,
				  params.packed ? NULL : "   n", 0);
	statement_run(call, &set_model_agent_statement, arguments, NULL, 0);
	statement_run(call, &set_model_sensor_statement, arguments, NULL, 0);
}

/*
 * fa_agent_set_model(agent_ids bigint[], model text) returns bigint, how many
 * agents have it now. model is "name" or "name@version".
 *
 * Strict.  Raises 22023 where the shapes differ or an id is repeated, 42704
 * and 42501 for the model or an agent, 22004, 25006; then none has changed.
 */
Datum
fa_agent_set_model(PG_FUNCTION_ARGS)
{
	int				   count;
	int64			  *ids = agent_ids_sorted(PG_GETARG_ARRAYTYPE_P(0), &count);
	const char		  *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const KernelModel *compiled;
	ModelRow		   model;
	Call			   call;

	call_require_write("fa_agent_set_model");
	call_begin(&call, fcinfo, false);
	model = model_find_for_use(&call, TABLE_MODEL, name);
	compiled = cache_find(&call, TABLE_MODEL, model.id, model.digest)->model;
	if (count > 0)
		belief_lock(&call, ids, count);
	pool_agents_at_commit();
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		/* each agent's memory ends with its connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		set_model(&call, belief_read(&call, &ids[i], 1), &model, compiled,
				  name);
		SPI_finish();
	}
	call_end(&call);
	PG_RETURN_INT64(count);
}
