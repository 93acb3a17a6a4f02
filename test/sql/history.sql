-- History: what is kept of whom, in partitions by day.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

SELECT fa_model_create('history m', fa_spec_grid(2, 2)) > 0 AS made;
SELECT fa_agent_create('history m', 'history none') AS none \gset
SELECT fa_agent_create('history m', 'history off', '{"history": false}') AS off \gset
SELECT fa_agent_create('history m', 'history on', '{"history": true}') AS on \gset
SELECT fa_agent_create('history m', 'history empty', '{"history": []}') AS empty \gset
SELECT fa_agent_create('history m', 'history belief', '{"history": ["belief"]}') AS belief \gset
SELECT fa_agent_create('history m', 'history q_pi', '{"history": ["q_pi"]}') AS q_pi \gset
SELECT fa_agent_create('history m', 'history neg_efe', '{"history": ["neg_efe"]}') AS neg_efe \gset
SELECT fa_agent_create('history m', 'history all', '{"history": ["belief", "q_pi", "neg_efe"]}') AS all \gset

-- a row for each step, by whatever way it was made
SELECT count(*) FROM fa_step_many(ARRAY[:none, :off, :on, :empty, :belief, :q_pi, :neg_efe, :all],
	'{{0},{0},{0},{0},{0},{0},{0},{0}}');
SELECT count(*) FROM fa_step(:on, '{}', 'k');
SELECT count(*) FROM fa_step(:on, '{}', 'k');
SELECT count(*) FROM fa_run_many(ARRAY[:none, :off, :on, :empty, :belief, :q_pi, :neg_efe, :all], 2, 2);
SELECT count(*) FROM fa_run(:on, 2);
SELECT fa_agent_reset(ARRAY[:on, :all]);
CALL fa_run_commit(ARRAY[:on], 3, commit_every => 2);
SELECT name, h.trial, h.step, h.observation, h.action, round(h.vfe::numeric, 9) AS vfe,
	cardinality(h.belief) AS belief, cardinality(q_pi) AS q_pi, cardinality(neg_efe) AS neg_efe
FROM fa_history h JOIN fa_agent USING (agent_id) WHERE name LIKE 'history %' ORDER BY agent_id, step;

-- the last row is what the agent's row and fa_explain say
SELECT count(*) FROM fa_step(:all, '{2}');
SELECT (h.step, h.trial, h.action, h.vfe, h.belief) = (b.step, b.trial, b.action, b.vfe, b.belief) AS row,
	h.q_pi = (SELECT array_agg(probability ORDER BY policy) FROM fa_explain(:all)) AS q_pi,
	h.neg_efe = (SELECT array_agg(neg_efe ORDER BY policy) FROM fa_explain(:all)) AS neg_efe
FROM fa_history h JOIN fa_belief b USING (agent_id) WHERE agent_id = :all ORDER BY h.step DESC LIMIT 1;

-- rolled back, there is no trace
SELECT count(*) AS rows FROM fa_history \gset
BEGIN;
SELECT count(*) FROM fa_run(:all, 5);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM fa_step_many(ARRAY[:all, :on]);
ROLLBACK TO s;
COMMIT;
SELECT count(*) = :rows AS as_before FROM fa_history;

-- Partitions: of today and tomorrow in UTC, made when they are needed.
SELECT count(*) >= 2 AS made, count(*) FILTER (WHERE relname = 'fa_history_' || to_char(at, 'YYYYMMDD')
	AND pg_get_expr(relpartbound, oid) IS NOT NULL) AS of_the_day
FROM pg_class, (SELECT max(at) AT TIME ZONE 'UTC' AS at FROM fa_history) AS last
WHERE relispartition AND relname LIKE 'fa\_history\_________' AND relkind = 'r';
SELECT bool_and(h.tableoid::regclass::text = 'fa_history_' || to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD')) AS in_their_days,
	bool_and(at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS at
FROM fa_history h;
-- partitions have the index of the table
SELECT count(*) FILTER (WHERE i.indexrelid IS NULL) AS without
FROM pg_inherits LEFT JOIN pg_index i ON indrelid = inhrelid WHERE inhparent = 'fa_history'::regclass;

-- Retention: whole days go.
SET timezone = 'UTC';
CREATE TABLE fa_history_20200101 PARTITION OF fa_history FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2020-01-02 00:00:00+00');
CREATE TABLE fa_history_20200102 PARTITION OF fa_history FOR VALUES FROM ('2020-01-02 00:00:00+00') TO ('2020-01-03 00:00:00+00');
RESET timezone;
INSERT INTO fa_history (agent_id, step, trial, at, observation, action, vfe, owner)
SELECT agent_id, step, trial, '2020-01-01 12:00:00+00', observation, action, vfe, owner
FROM fa_history WHERE agent_id = :on AND step = 1;
SELECT fa_history_retain('100 years'), fa_history_retain(NULL);
BEGIN;
SELECT fa_history_retain('1 day');
ROLLBACK;
SELECT count(*) FROM fa_history WHERE at < '2020-01-03';
SELECT fa_history_retain('1 day');
SELECT to_regclass('fa_history_20200101') IS NULL AND to_regclass('fa_history_20200102') IS NULL AS gone;
SELECT count(*) = :rows AS others_stay FROM fa_history;
SELECT fa_history_retain('0 seconds') AS today_stays, count(*) = :rows AS as_before FROM fa_history;
SELECT pg_temp.raises('SELECT fa_history_retain(''-1 day'')');
-- the next step makes what is missing
DO $$
DECLARE
	day regclass;
BEGIN
	FOR day IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'fa_history'::regclass LOOP
		EXECUTE format('DROP TABLE %s', day);
	END LOOP;
END $$;
SELECT count(*) FROM fa_history;
SELECT count(*) FROM fa_run(:on, 2);
SELECT count(*) FROM fa_history;
SELECT count(*) FROM pg_inherits WHERE inhparent = 'fa_history'::regclass;

-- an agent's history outlives it, until its day goes
SELECT fa_agent_drop(ARRAY[:on]);
SELECT count(*) FROM fa_history WHERE agent_id = :on;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE name LIKE 'history %';
SELECT fa_model_drop('history m');
