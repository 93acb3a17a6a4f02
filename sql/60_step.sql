-- Steps: the hot path.

CREATE TYPE fa_step_result AS (
	agent_id bigint,
	step bigint,
	action int[],
	vfe float8
);
COMMENT ON TYPE fa_step_result IS 'what one step did';

CREATE FUNCTION fa_step(agent_id bigint, observation int[] DEFAULT NULL,
						key text DEFAULT NULL, did int[] DEFAULT NULL)
	RETURNS SETOF fa_step_result
	AS 'MODULE_PATHNAME', 'fa_step'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1 COST 1000;
COMMENT ON FUNCTION fa_step(bigint, int[], text, int[]) IS
	'one step: perceive, plan, choose; -1 is a missing outcome, a null observation comes from the inbox or the world; with the key of an earlier step, that one''s result';

CREATE FUNCTION fa_step_many(agent_ids bigint[], observations int[][] DEFAULT NULL)
	RETURNS SETOF fa_step_result
	AS 'MODULE_PATHNAME', 'fa_step_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 COST 100000;
COMMENT ON FUNCTION fa_step_many(bigint[], int[]) IS
	'one step of each agent, in one statement, observations having a row for each; null: as in fa_step; rows in input order';

CREATE FUNCTION fa_infer(model text, prior float8[], observation int[])
	RETURNS float8[]
	AS 'MODULE_PATHNAME', 'fa_infer'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION fa_infer(text, float8[], int[]) IS
	'posterior belief of a model from a prior (null: D) and an observation; writes nothing';

CREATE FUNCTION fa_belief(agent_id bigint) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'fa_belief'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION fa_belief(bigint) IS
	'the belief by the names of the spec: {"location": {"centre": 0.93, ...}}';

CREATE FUNCTION fa_action(agent_id bigint) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'fa_action'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION fa_action(bigint) IS
	'the last action by the names of the spec; null: none in this trial';

CREATE TYPE fa_explanation AS (
	policy int,
	actions int[],
	probability float8,
	neg_efe float8,
	utility float8,
	state_info_gain float8,
	param_info_gain float8,
	inductive float8
);
COMMENT ON TYPE fa_explanation IS
	'one policy: its actions [plan step][control], its probability, and the parts that sum to neg_efe';

CREATE FUNCTION fa_explain(agent_id bigint) RETURNS SETOF fa_explanation
	AS 'MODULE_PATHNAME', 'fa_explain'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 100 COST 1000;
COMMENT ON FUNCTION fa_explain(bigint) IS
	'why the last action was chosen: a row for each policy';

CREATE FUNCTION fa_parameters(agent_id bigint) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'fa_parameters'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION fa_parameters(bigint) IS
	'A, B and, for an agent that learns, its counts pA and pB, with the last step''s update applied';
