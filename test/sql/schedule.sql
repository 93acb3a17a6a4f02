-- Schedules in a server that was not told to load the library: they are refused
-- with a hint, and everything that reads is empty.
\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all

SELECT fa_model_create('grid', fa_spec_grid(3, 3)) IS NOT NULL AS created;
SELECT pg_temp.raises($$SELECT fa_schedule_create('s', 'grid', '1 s')$$);
SELECT pg_temp.raises($$SELECT fa_schedule_pause('s')$$);
SELECT pg_temp.raises($$SELECT fa_schedule_resume('s')$$);
SELECT pg_temp.raises($$SELECT fa_schedule_drop('s')$$);
SELECT pg_temp.raises($$SELECT fa_worker_stop()$$);
SELECT * FROM fa_worker;
SELECT * FROM fa_schedule_status;
SELECT * FROM fa_health;
SELECT count(*) FROM fa_retry;

-- when in a turn agents are due: the same for 32 in a row, else spread
SELECT count(*) FROM fa_agent_create_many('grid', 320);
SELECT count(DISTINCT phase) BETWEEN 10 AND 11 AS few, min(phase) >= 0 AND max(phase) < 65536 AS in_range FROM fa_agent;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT fa_model_drop('grid');

-- the settings
SELECT name, setting, unit, context FROM pg_settings
WHERE name ~ '^fa_agents\.(batch|databases|max_failures|max_sensor|max_workers|min_workers|notify|retry|sweep|worker|cpu|errors|memory|response)' ORDER BY name;
SET fa_agents.max_workers = 3;
SET fa_agents.cpu_warn = 101;
