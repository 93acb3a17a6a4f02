-- Sensors and actuators: functions of users that give agents their observations
-- and take their actions.

CREATE TABLE fa_sensor (
	owner regrole NOT NULL,
	model text NOT NULL,
	agent_id bigint NOT NULL,
	kind text NOT NULL,
	function text NOT NULL,
	function_owner regrole NOT NULL,
	at_once boolean NOT NULL,
	PRIMARY KEY (owner, model, agent_id, kind)
);
CREATE INDEX fa_sensor_agent ON fa_sensor (agent_id)
	WHERE agent_id OPERATOR(pg_catalog.>) 0;
COMMENT ON TABLE fa_sensor IS
	'functions that give agents what they perceive (kind sensor), or are called with what they chose (kind actuator), as the owner of the agents';
COMMENT ON COLUMN fa_sensor.agent_id IS
	'the agent that it is for; 0: all agents of the model that the owner has';
COMMENT ON COLUMN fa_sensor.function_owner IS
	'who owned the function when it was named; another''s is not called';
COMMENT ON COLUMN fa_sensor.at_once IS
	'it is called once for all agents of a batch, with arrays';

SELECT pg_catalog.pg_extension_config_dump('fa_sensor', '');

ALTER TABLE fa_sensor ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_sensor_owner ON fa_sensor FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_sensor TO PUBLIC;

CREATE FUNCTION fa_sensor_set(model text, function regprocedure,
							  agent_ids bigint[] DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_sensor_set'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_sensor_set(text, regprocedure, bigint[]) IS
	'name the function f(bigint) returns int[], or f(bigint[]) returns table (bigint, int[]), that tells your agents of a model, or some of them, what they perceive; null: none';

CREATE FUNCTION fa_actuator_set(model text, function regprocedure,
								agent_ids bigint[] DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_actuator_set'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_actuator_set(text, regprocedure, bigint[]) IS
	'name the function g(bigint, int[]), or g(bigint[], int[]), that is called with the actions of your agents of a model, or of some of them; null: none';

CREATE FUNCTION fa_act(agent_ids bigint[]) RETURNS SETOF fa_step_result
	AS 'MODULE_PATHNAME', 'fa_act'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000 COST 100000;
COMMENT ON FUNCTION fa_act(bigint[]) IS
	'one step of each of your agents through its sensor and its actuator, as workers make it; no row for one whose sensor shows nothing';
