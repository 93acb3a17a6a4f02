-- Closed loops: agents and their worlds for many steps in one statement.

CREATE TYPE fa_run_result AS (
	agent_id bigint,
	trial int,
	step bigint,
	observation int[],
	action int[],
	vfe float8
);
COMMENT ON TYPE fa_run_result IS 'one step of a closed loop';

CREATE FUNCTION fa_run(agent_id bigint, steps int) RETURNS SETOF fa_run_result
	AS 'MODULE_PATHNAME', 'fa_run'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 100 COST 100000;
COMMENT ON FUNCTION fa_run(bigint, int) IS
	'steps of one agent in closed loop with its world (its model, if it has none)';

CREATE FUNCTION fa_run_many(agent_ids bigint[], steps int, trials int DEFAULT 1,
							until jsonb DEFAULT NULL)
	RETURNS SETOF fa_run_result
	AS 'MODULE_PATHNAME', 'fa_run_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10000 COST 1000000;
COMMENT ON FUNCTION fa_run_many(bigint[], int, int, jsonb) IS
	'trials of many agents in closed loop; a trial ends after steps, or when until holds: {"observation": {"reward": "reward"}}, {"state": {"location": ["left", "right"]}}';

CREATE PROCEDURE fa_run_commit(agent_ids bigint[], steps int, trials int DEFAULT 1,
							   until jsonb DEFAULT NULL, commit_every int DEFAULT 100)
	AS 'MODULE_PATHNAME', 'fa_run_commit'
	LANGUAGE C;
COMMENT ON PROCEDURE fa_run_commit(bigint[], int, int, jsonb, int) IS
	'as fa_run_many without its rows, committing after every commit_every steps of an agent';
