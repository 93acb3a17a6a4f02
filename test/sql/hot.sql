-- Hot rows are written in place where the table is a plain one, and by statements
-- where something wants the executor.  Both ways give the same rows.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

SELECT fa_model_create('hot m', fa_spec_grid(3, 3)) > 0 AS made;
SELECT fa_model_create('hot learner', '{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]], "pA": [[[9, 1], [1, 9]]], "learn_A": true}') > 0 AS made;

-- Pairs of agents that draw the same numbers: one of each steps in place, the other
-- by statements.
CREATE TEMP TABLE pair AS
SELECT model, member, fa_agent_create(model, params => '{"seed": 5}') AS agent_id
FROM unnest('{hot m,hot learner}'::text[]) AS model, generate_series(1, 2) AS member;

CREATE FUNCTION pg_temp.work(of int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[] := array(SELECT agent_id FROM pair WHERE member = of ORDER BY model);
BEGIN
	PERFORM fa_step(ids[1], '{1}');
	PERFORM fa_step(ids[2], '{1}', NULL, NULL);
	PERFORM fa_step_many(ids);
	PERFORM fa_step_many(ids, '{{0},{1}}');
	PERFORM fa_observe(ids[1], '{0}');
	PERFORM fa_step(ids[1]);
	PERFORM fa_run_many(ids, 3, trials => 2);
	PERFORM fa_agent_reset(ids);
	PERFORM fa_step(ids[1], '{1}');
END $$;

-- Do the members of each pair agree in all but the id?
CREATE FUNCTION pg_temp.agree() RETURNS TABLE (model text, rows bigint, different bigint) LANGUAGE sql AS $$
	SELECT model, count(*), count(DISTINCT to_jsonb(b) - 'agent_id') FROM pair p
	JOIN fa_belief b USING (agent_id) GROUP BY model ORDER BY model COLLATE "C"
$$;

CREATE TEMP TABLE seen (operation text, agent_id bigint);
GRANT ALL ON seen TO PUBLIC;
CREATE FUNCTION pg_temp.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO pg_temp.seen VALUES (TG_OP, new.agent_id);
	RETURN new;
END $$;

SELECT pg_temp.work(1);

-- a trigger sees every write, before or after, and may be gone again
BEGIN;
CREATE TRIGGER see AFTER UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
SELECT model, operation, count(*) FROM seen JOIN pair USING (agent_id) GROUP BY model, operation ORDER BY model COLLATE "C";
DROP TRIGGER see ON fa_belief;
SELECT pg_temp.work(2), pg_temp.work(1);
SELECT * FROM pg_temp.agree();
SELECT model, operation, count(*) FROM seen JOIN pair USING (agent_id) GROUP BY model, operation ORDER BY model COLLATE "C";
ROLLBACK;

-- one that keeps every write back: no step is reported that was not stored
BEGIN;
CREATE FUNCTION pg_temp.keep_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep_back BEFORE UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION pg_temp.keep_back();
SELECT pg_temp.raises(format('SELECT fa_step(%s)', agent_id)) FROM pair WHERE model = 'hot m' AND member = 1;
SELECT pg_temp.raises(format('SELECT fa_step_many(array[%s])', string_agg(agent_id::text, ','))) FROM pair;
ROLLBACK;

-- check constraints hold
BEGIN;
ALTER TABLE fa_belief ADD CONSTRAINT short_life CHECK (step < 20);
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
SELECT left(pg_temp.raises(format('SELECT fa_run(%s, 20)', agent_id)), 5) AS state FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;

-- so does NOT NULL
BEGIN;
UPDATE fa_belief SET action = '{0}' WHERE action IS NULL;
ALTER TABLE fa_belief ALTER action SET NOT NULL;
SELECT split_part(pg_temp.raises(format('SELECT fa_agent_reset(array[%s])', agent_id)), E'\n', 1) AS raises FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;

-- and an owner's rights
BEGIN;
CREATE ROLE regress_fa_hot;
DO $$
DECLARE
	command text;
BEGIN
	FOR command IN SELECT format('ALTER %s OWNER TO regress_fa_hot', CASE classid WHEN 'pg_proc'::regclass
			THEN 'ROUTINE ' || objid::regprocedure ELSE 'TABLE ' || objid::regclass END)
		FROM pg_depend LEFT JOIN pg_class ON classid = 'pg_class'::regclass AND pg_class.oid = objid
		WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'fa_agents')
			AND deptype = 'e' AND (classid = 'pg_proc'::regclass OR relkind IN ('r', 'p', 'S'))
	LOOP
		EXECUTE command;
	END LOOP;
END $$;
SELECT fa_step(agent_id) IS NULL FROM pair WHERE model = 'hot m' AND member = 1;
REVOKE UPDATE ON fa_belief FROM regress_fa_hot;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', agent_id)) FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;

-- A trigger that steps the agent which is being stepped: its version is the newest
-- one, and ours is refused.
BEGIN;
SELECT fa_agent_create('hot m', params => '{"history": true}') AS kept \gset
CREATE FUNCTION pg_temp.step_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.step < 3 THEN
		PERFORM fa_step(new.agent_id);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER again AFTER INSERT ON fa_history FOR EACH ROW EXECUTE FUNCTION pg_temp.step_again();
SELECT replace(pg_temp.raises(format('SELECT fa_run(%s, 1)', :kept)), :'kept', 'KEPT') AS in_place;
CREATE TRIGGER see AFTER UPDATE ON fa_belief FOR EACH ROW EXECUTE FUNCTION pg_temp.see();
SELECT replace(pg_temp.raises(format('SELECT fa_run(%s, 1)', :kept)), :'kept', 'KEPT') AS by_statement;
SELECT step FROM fa_belief WHERE agent_id = :kept;
ROLLBACK;

-- so do rules, and tables that inherit
BEGIN;
CREATE RULE nothing AS ON UPDATE TO fa_belief WHERE new.step > 15 DO INSTEAD NOTHING;
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
SELECT left(pg_temp.raises(format('SELECT fa_run(%s, 20)', agent_id)), 5) AS state FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;
BEGIN;
CREATE TABLE fa_belief_more () INHERITS (fa_belief);
WITH moved AS (DELETE FROM ONLY fa_belief WHERE agent_id IN (SELECT agent_id FROM pair WHERE member = 2) RETURNING *)
INSERT INTO fa_belief_more SELECT * FROM moved;
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
ROLLBACK;

-- without the key's index
BEGIN;
ALTER TABLE fa_belief DROP CONSTRAINT fa_belief_pkey;
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
ROLLBACK;

-- An index that somebody made on what a step changes is kept: each new version is
-- entered, and the old entries lead nowhere.
BEGIN;
CREATE INDEX hot_step ON fa_belief (step);
CREATE UNIQUE INDEX hot_trial ON fa_belief (agent_id, trial);
SELECT pg_temp.work(2);
SELECT * FROM pg_temp.agree();
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM fa_belief WHERE step > 0;
SELECT count(*) AS through_index FROM fa_belief WHERE step > 0 AND agent_id IN (SELECT agent_id FROM pair);
ROLLBACK;

-- A belief that the page cannot hold twice is stored out of line, and stays whole.
SELECT fa_model_create('hot wide', fa_spec_grid(25, 25)) > 0 AS made;
SELECT fa_agent_create('hot wide') AS wide \gset
BEGIN;
SELECT count(*) FROM fa_run(:wide, 50);
SELECT step, array_length(belief, 1), round((SELECT sum(b) FROM unnest(belief) b)::numeric, 12) AS sum FROM fa_belief WHERE agent_id = :wide;
COMMIT;

-- many versions in one transaction find no room in their page and move
BEGIN;
SELECT fa_step(agent_id, '{1}') IS NULL FROM pair, generate_series(1, 100) WHERE model = 'hot m' AND member = 1 GROUP BY 1;
SELECT step FROM pair JOIN fa_belief USING (agent_id) WHERE model = 'hot m' AND member = 1;
COMMIT;
SET enable_seqscan = off;
SELECT step FROM pair JOIN fa_belief USING (agent_id) WHERE model = 'hot m' AND member = 1;
RESET enable_seqscan;

-- a published table without an identity cannot be updated, in whatever way
BEGIN;
ALTER TABLE fa_belief REPLICA IDENTITY NOTHING;
SET LOCAL client_min_messages = error;
CREATE PUBLICATION hot FOR TABLE fa_belief;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', agent_id)) FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;

-- the columns are ours
BEGIN;
ALTER TABLE fa_belief ADD COLUMN more int;
SELECT pg_temp.raises(format('SELECT fa_step(%s)', agent_id)) FROM pair WHERE model = 'hot m' AND member = 1;
SELECT pg_temp.raises(format('SELECT fa_belief(%s)', agent_id)) FROM pair WHERE model = 'hot m' AND member = 1;
ROLLBACK;

SELECT count(*) FROM pair WHERE fa_agent_drop(ARRAY[agent_id]) = 1;
SELECT fa_agent_drop(ARRAY[:wide]);
SELECT fa_model_drop('hot m'), fa_model_drop('hot learner'), fa_model_drop('hot wide');
