-- Learning: counts, what they make of A and B, and when.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- Two places that are seen for certain: the counts that come are whole numbers.
\set spec '{"factors": [{"name": "place", "states": 2, "actions": ["stay", "go"]}], "A": [[[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "D": [[1, 0]], "pA": [null, [[1, 1], [1, 1]]], "pB": [[[[3, 1], [1, 3]], [[1, 3], [3, 1]]]], "learn_A": true, "learn_B": true}'
SELECT fa_model_create('learned m', :'spec') > 0 AS made;
SELECT fa_agent_create('learned m', 'learned ann') AS ann \gset
CREATE FUNCTION pg_temp.rounded(value jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN part ~ '\d' THEN round(part::numeric, 9)::float8::text ELSE part END, '' ORDER BY n)
	FROM regexp_split_to_table(regexp_replace(value::text, '(-?\d[\d.]*([eE][-+]?\d+)?)', '~\1~', 'g'), '~')
		WITH ORDINALITY AS p (part, n)
$$;
CREATE FUNCTION pg_temp.counts(agent bigint) RETURNS TABLE (part int, counts numeric[]) LANGUAGE sql AS $$
	SELECT part, array(SELECT round(c::numeric, 9)::float8::numeric FROM unnest(counts) AS c)
	FROM fa_learned WHERE agent_id = agent ORDER BY part
$$;

-- before the first step: no rows, the model's counts; A and B as they were given
SELECT count(*) FROM fa_learned WHERE agent_id = :ann;
SELECT pg_temp.rounded(fa_parameters(:ann)->'A') AS "A", fa_parameters(:ann)->'B' AS "B",
	fa_parameters(:ann)->'pA' AS "pA", fa_parameters(:ann)->'pB' AS "pB";
-- The first observation counts for A; the row owes the update, readers see it.
SELECT action FROM fa_step(:ann, '{0,1}');
SELECT count(*) FROM fa_learned WHERE agent_id = :ann;
SELECT observation, did, before IS NULL AS no_before FROM fa_belief WHERE agent_id = :ann;
SELECT pg_temp.rounded(fa_parameters(:ann)->'A') AS "A", pg_temp.rounded(fa_parameters(:ann)->'pA') AS "pA",
	pg_temp.rounded(fa_parameters(:ann)->'pB') AS "pB";
-- B starts with the second step, with the action that was done
SELECT step FROM fa_step(:ann, '{1,0}', did => '{1}');
SELECT * FROM pg_temp.counts(:ann);
SELECT pg_temp.rounded(fa_parameters(:ann)->'A') AS "A", pg_temp.rounded(fa_parameters(:ann)->'B') AS "B",
	pg_temp.rounded(fa_parameters(:ann)->'pA') AS "pA", pg_temp.rounded(fa_parameters(:ann)->'pB') AS "pB";
-- a missing outcome does not count for A; the transition does; only the slice of the
-- action that was done is written
SELECT part, xmin AS was INTO TEMP written FROM fa_learned WHERE agent_id = :ann;
SELECT step FROM fa_step(:ann, '{1,-1}', did => '{0}');
SELECT part, l.xmin = was AS untouched FROM fa_learned l LEFT JOIN written USING (part) WHERE agent_id = :ann ORDER BY part;
SELECT step FROM fa_step(:ann, '{}', did => '{1}');
SELECT part, counts FROM pg_temp.counts(:ann);
SELECT pg_temp.rounded(fa_parameters(:ann)->'pA') AS "pA", pg_temp.rounded(fa_parameters(:ann)->'pB') AS "pB";
-- a new trial: what is owed is settled, counts are kept, the next step is no transition
SELECT fa_parameters(:ann) AS parameters \gset
SELECT fa_agent_reset(ARRAY[:ann]);
SELECT observation, did, before, belief FROM fa_belief WHERE agent_id = :ann;
SELECT fa_parameters(:ann) = :'parameters' AS same;
SELECT step FROM fa_step(:ann, '{0,0}');
SELECT pg_temp.rounded(fa_parameters(:ann)->'pA') AS "pA", fa_parameters(:ann)->'pB' = :'parameters'::jsonb->'pB' AS same_pb;

-- A step, a batch and a loop learn the same.
SELECT fa_agent_fork(:ann) AS bob \gset
SELECT fa_agent_fork(:ann) AS cat \gset
SELECT count(*) FROM pg_temp.counts(:ann) AS a JOIN pg_temp.counts(:bob) AS b USING (part, counts);
SELECT fa_parameters(:bob) = fa_parameters(:ann) AS same;
SELECT count(*) FROM fa_step(:ann, '{0,1}', did => '{0}');
SELECT count(*) FROM fa_step_many(ARRAY[:bob], '{{0,1}}');
-- (the forks chose to stay, too)
SELECT fa_action(:bob);
SELECT fa_parameters(:bob) = fa_parameters(:ann) AS same, fa_parameters(:cat) = fa_parameters(:ann) AS and_cat;
SELECT count(*) FROM fa_run(:bob, 6);
SELECT count(*) FROM generate_series(1, 6) AS n, fa_run(:ann + 0 * n, 1);
SELECT fa_parameters(:bob) = fa_parameters(:ann) AS same;

-- Rolled back, nothing was learned.
SELECT pg_temp.everything() AS before \gset
BEGIN;
SELECT count(*) FROM fa_run(:ann, 3);
ROLLBACK;
SELECT pg_temp.everything() = :'before' AS as_before;

-- Rates: in the model and in params, one for all or one each; 0 learns nothing.
CREATE FUNCTION pg_temp.learn(spec jsonb, params jsonb, OUT "pA" text, OUT "pB" text) LANGUAGE plpgsql AS $$
DECLARE
	agent bigint;
BEGIN
	PERFORM fa_model_create('learned rate', spec);
	agent := fa_agent_create('learned rate', params => params);
	PERFORM fa_step(agent, '{0,1}');
	PERFORM fa_step(agent, '{1,1}', did => '{1}');
	"pA" := pg_temp.rounded(fa_parameters(agent)->'pA');
	"pB" := pg_temp.rounded(fa_parameters(agent)->'pB');
	PERFORM fa_agent_drop(ARRAY[agent]);
	PERFORM fa_model_drop('learned rate');
END $$;
SELECT added, params, l.* FROM (VALUES ('{}'::jsonb, '{}'::jsonb), ('{"lr_pA": 0.5}', '{}'), ('{"lr_pA": [7, 0.25], "lr_pB": [2]}', '{}'),
		('{"lr_pA": 3}', '{"lr_pA": 0.5}'), ('{}', '{"lr_pB": 0, "lr_pA": 0}'), ('{"learn_B": false}', '{}'),
		('{"learn_A": false}', '{}'), ('{"learn_A": false, "learn_B": false}', '{}')) AS v (added, params)
	CROSS JOIN LATERAL pg_temp.learn(:'spec'::jsonb || added, params) AS l;

-- fa_explain speaks of the parameters with which the agent chose, not of those after.
SELECT fa_model_create('learned gain', :'spec'::jsonb || '{"use_param_info_gain": true}') > 0 AS made;
SELECT fa_agent_create('learned gain', 'learned dan', '{"history": ["neg_efe", "q_pi"]}') AS dan \gset
SELECT count(*) FROM fa_run(:dan, 5);
SELECT bool_and(e.neg_efe = h.neg_efe[e.policy + 1] AND e.probability = h.q_pi[e.policy + 1]) AS as_chosen
FROM fa_history h, fa_explain(:dan) AS e WHERE h.agent_id = :dan AND h.step = 5;
SELECT bool_or(param_info_gain > 0) AS gain FROM fa_explain(:dan);

-- Another model of the same shape keeps the counts, and learns at its own rate.
SELECT fa_model_create('learned m', :'spec'::jsonb || '{"lr_pA": 10, "lr_pB": 10, "gamma": 2}') > 0 AS made;
SELECT fa_parameters(:cat) AS parameters \gset
SELECT fa_agent_set_model(ARRAY[:cat], 'learned m@2');
SELECT fa_parameters(:cat) = :'parameters' AS same;
SELECT count(*) FROM fa_step(:cat, '{0,1}', did => '{0}');
SELECT (fa_parameters(:cat)#>>'{pA,1,1,0}')::float8 - (:'parameters'::jsonb#>>'{pA,1,1,0}')::float8 BETWEEN 9.999999 AND 10.000001 AS rate;
SELECT pg_temp.raises(format('SELECT fa_agent_set_model(ARRAY[%s], ''learned still'')', :cat))
FROM fa_model_create('learned still', :'spec'::jsonb || '{"learn_A": false, "learn_B": false}');

-- An agent that does not learn has A and B alone, and never a row.
SELECT fa_agent_create('learned still', 'learned eve') AS eve \gset
SELECT count(*) FROM fa_run(:eve, 5);
SELECT fa_parameters(:eve);
SELECT count(*) FROM fa_learned WHERE agent_id = :eve;

-- Counts go with their agent.
SELECT count(*) > 0 AS there FROM fa_learned WHERE agent_id IN (:ann, :bob, :cat);
SELECT fa_agent_drop(ARRAY[:ann, :bob, :cat, :dan, :eve]);
SELECT count(*) FROM fa_learned WHERE agent_id IN (:ann, :bob, :cat);
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'learned %') AS m;
