-- Schedules: agents that the workers step.

CREATE SEQUENCE fa_schedule_id_seq;

CREATE TABLE fa_schedule (
	schedule_id bigint PRIMARY KEY,
	name text UNIQUE NOT NULL,
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	model text NOT NULL,
	version int,
	every interval,
	priority int NOT NULL,
	deadline interval,
	catch_up text NOT NULL,
	paused boolean NOT NULL DEFAULT false,
	error text,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	-- one row that cannot be computed with would stop all schedules
	CONSTRAINT fa_schedule_every CHECK (every OPERATOR(pg_catalog.>=) '1 ms'
		AND every OPERATOR(pg_catalog.<=) '3660 days'),
	CONSTRAINT fa_schedule_deadline CHECK (deadline OPERATOR(pg_catalog.>=) '1 ms'
		AND deadline OPERATOR(pg_catalog.<=) '3660 days')
);
COMMENT ON TABLE fa_schedule IS
	'which models'' agents are stepped by workers, and how often';
COMMENT ON COLUMN fa_schedule.version IS
	'of the model; null: agents of all its versions';
COMMENT ON COLUMN fa_schedule.every IS
	'how often each agent is stepped; null: when an observation arrives';
COMMENT ON COLUMN fa_schedule.error IS
	'why it is suspended, until fa_schedule_resume; null: it is not';

-- A slice of the agents, by phase; due is when its turn comes, phase and
-- agent_id how far in that turn it is.
CREATE TABLE fa_schedule_slice (
	schedule_id bigint NOT NULL,
	slice int NOT NULL,
	due timestamptz NOT NULL,
	phase int NOT NULL,
	agent_id bigint NOT NULL DEFAULT 0,
	skipped bigint NOT NULL DEFAULT 0,
	empty boolean NOT NULL DEFAULT false,
	PRIMARY KEY (schedule_id, slice),
	CONSTRAINT fa_schedule_slice_slice CHECK (slice OPERATOR(pg_catalog.>=) 0
		AND slice OPERATOR(pg_catalog.<) 64),
	CONSTRAINT fa_schedule_slice_due CHECK (pg_catalog.isfinite(due))
) WITH (fillfactor = 25);
COMMENT ON TABLE fa_schedule_slice IS
	'the hands of a schedule: agents of a slice are due together, and stepped by one worker';
COMMENT ON COLUMN fa_schedule_slice.empty IS
	'no agent was found in it; it is not due until there is one';

CREATE TABLE fa_retry (
	agent_id bigint PRIMARY KEY,
	schedule_id bigint NOT NULL,
	attempts int NOT NULL,
	next_try timestamptz NOT NULL,
	error text NOT NULL,
	sqlstate text NOT NULL,
	failed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX fa_retry_next ON fa_retry (next_try);
COMMENT ON TABLE fa_retry IS
	'agents whose last step by a worker failed; next_try infinity: suspended until fa_agent_resume';

SELECT pg_catalog.pg_extension_config_dump('fa_schedule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_schedule', '');
SELECT pg_catalog.pg_extension_config_dump('fa_schedule_slice', '');
SELECT pg_catalog.pg_extension_config_dump('fa_retry', '');

ALTER TABLE fa_schedule ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_schedule_owner ON fa_schedule FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_schedule TO PUBLIC;
ALTER TABLE fa_schedule_slice ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_schedule_slice_owner ON fa_schedule_slice FOR SELECT
	USING (EXISTS (SELECT FROM fa_schedule s
				   WHERE s.schedule_id OPERATOR(pg_catalog.=) fa_schedule_slice.schedule_id));
GRANT SELECT ON fa_schedule_slice TO PUBLIC;
ALTER TABLE fa_retry ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_retry_owner ON fa_retry FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_retry.agent_id));
GRANT SELECT ON fa_retry TO PUBLIC;

CREATE FUNCTION fa_schedule_create(name text, model text,
								   every interval DEFAULT NULL,
								   priority int DEFAULT 0,
								   deadline interval DEFAULT NULL,
								   catch_up text DEFAULT 'skip') RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_schedule_create'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_schedule_create(text, text, interval, int, interval, text) IS
	'let workers step every agent of a model each interval, or (null) when an observation arrives; those of higher priority first, steps later than deadline (every) are counted as late; catch_up: skip missed turns, or make up all';

CREATE FUNCTION fa_schedule_pause(name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_schedule_pause'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_schedule_pause(text) IS
	'stop stepping by this schedule until fa_schedule_resume; false: it was paused';

CREATE FUNCTION fa_schedule_resume(name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_schedule_resume'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_schedule_resume(text) IS
	'go on with a paused or suspended schedule; what was missed is not made up; false: it was running';

CREATE FUNCTION fa_schedule_drop(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_schedule_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_schedule_drop(text) IS
	'remove a schedule; its agents stay';
