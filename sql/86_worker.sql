-- Who runs in the background, and how it goes.

CREATE FUNCTION fa_worker_list(OUT pid int, OUT database_id oid, OUT role text,
							   OUT state text, OUT batch int, OUT steps bigint,
							   OUT since timestamptz, OUT started_at timestamptz,
							   OUT owner regrole)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'fa_worker_list'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION fa_worker_list() IS 'what view fa_worker shows';

CREATE VIEW fa_worker AS
	SELECT w.pid, d.datname AS database, w.role, w.state, w.batch, w.steps,
		w.since, w.started_at, w.owner
	FROM fa_worker_list() w
		LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) w.database_id;
COMMENT ON VIEW fa_worker IS
	'background processes of all databases: what they do, since when, how many agents in this batch, how many steps; owner: as whom a sensor worker runs';
GRANT SELECT ON fa_worker TO PUBLIC;

CREATE FUNCTION fa_schedule_counters(OUT schedule_id bigint, OUT steps bigint,
									 OUT late bigint, OUT missed bigint,
									 OUT errors bigint, OUT p50 float8,
									 OUT p95 float8, OUT p99 float8)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'fa_schedule_counters'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION fa_schedule_counters() IS
	'steps of your schedules in this database since the server started, and their lag in milliseconds';

CREATE VIEW fa_schedule_status WITH (security_invoker = true) AS
	SELECT s.schedule_id, s.name, s.model, s.owner,
		CASE WHEN s.error IS NOT NULL THEN 'suspended'
			WHEN s.paused THEN 'paused' ELSE 'running' END AS state,
		s.error, d.due,
		CASE WHEN d.due OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp()
			THEN pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) d.due
			ELSE '0'::pg_catalog.interval END AS lag,
		COALESCE(c.steps, 0) AS steps, COALESCE(c.late, 0) AS late,
		COALESCE(c.missed, 0) AS missed, COALESCE(c.errors, 0) AS errors,
		COALESCE(r.suspended, 0) AS suspended,
		c.p50, c.p95, c.p99
	FROM fa_schedule s
		LEFT JOIN LATERAL (SELECT pg_catalog.min(l.due) AS due
			FROM fa_schedule_slice l
			WHERE l.schedule_id OPERATOR(pg_catalog.=) s.schedule_id
			AND NOT l.empty) d ON true
		-- once for all schedules: nothing finds a schedule's rows among the others
		LEFT JOIN (SELECT t.schedule_id, pg_catalog.count(*) AS suspended
			FROM fa_retry t
			WHERE t.next_try OPERATOR(pg_catalog.=) 'infinity'
			GROUP BY t.schedule_id) r
			ON r.schedule_id OPERATOR(pg_catalog.=) s.schedule_id
		LEFT JOIN fa_schedule_counters() c
			ON c.schedule_id OPERATOR(pg_catalog.=) s.schedule_id;
COMMENT ON VIEW fa_schedule_status IS
	'schedules: when the next agent is due, how far behind it is, steps since the server started, and the quantiles of their lag in milliseconds';
GRANT SELECT ON fa_schedule_status TO PUBLIC;

CREATE FUNCTION fa_health_list(OUT measure text, OUT value float8, OUT unit text,
							   OUT warn float8, OUT critical float8,
							   OUT state text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'fa_health_list'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 4;
COMMENT ON FUNCTION fa_health_list() IS 'what view fa_health shows';

CREATE VIEW fa_health AS
	SELECT h.measure, h.value, h.unit, h.warn, h.critical, h.state
	FROM fa_health_list() h;
COMMENT ON VIEW fa_health IS
	'how this database''s agents fare: share of workers'' time in use, memory of the largest worker, 95 % of the last minutes'' steps were not later than response, failed steps';
GRANT SELECT ON fa_health TO PUBLIC;

CREATE FUNCTION fa_worker_stop() RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_worker_stop'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_worker_stop() FROM PUBLIC;
COMMENT ON FUNCTION fa_worker_stop() IS
	'end this database''s background processes at once, until fa_worker_start or the server''s next start';
CREATE FUNCTION fa_worker_drain() RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_worker_drain'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_worker_drain() FROM PUBLIC;
COMMENT ON FUNCTION fa_worker_drain() IS
	'end this database''s background processes after the batches that they are making, until fa_worker_start or the server''s next start';
CREATE FUNCTION fa_worker_start() RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_worker_start'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION fa_worker_start() FROM PUBLIC;
COMMENT ON FUNCTION fa_worker_start() IS 'let background processes run again';
