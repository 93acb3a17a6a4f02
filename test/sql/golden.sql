-- The numbers: every sequence of test/reference/golden, made by pymdp itself, and
-- the values of analytic.json, made from the mathematics, agree to 1e-9.  Then
-- the ways to make steps agree with one another bit for bit, over the same models.

SET client_min_messages = warning;	-- DROP .. IF EXISTS and temporary things
\getenv testdir PG_ABS_SRCDIR
\set golden :testdir /reference/golden

CREATE TEMP TABLE golden AS
SELECT left(file, -5) AS name,
	pg_read_file(:'golden' || '/' || file)::jsonb AS doc
FROM pg_ls_dir(:'golden') AS file WHERE file LIKE '%.json';
CREATE TEMP TABLE analytic AS
SELECT c->>'kind' AS kind, c->>'name' AS name, c AS doc
FROM jsonb_array_elements(
	pg_read_file(:'testdir' || '/reference/analytic.json')::jsonb->'cases') AS c;

-- all numbers of nested arrays, in their order
CREATE FUNCTION pg_temp.numbers(value jsonb) RETURNS float8[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(n::float8 ORDER BY at), '{}')
	FROM jsonb_path_query(value, 'strict $.** ? (@.type() == "number")')
		WITH ORDINALITY AS q (n, at)
$$;
CREATE FUNCTION pg_temp.whole_numbers(value jsonb) RETURNS int[] LANGUAGE sql AS $$
	SELECT CASE jsonb_typeof(value) WHEN 'array' THEN pg_temp.numbers(value)::int[] END
$$;
-- the brackets alone
CREATE FUNCTION pg_temp.shape(value jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(value::text, '-?\d[\d.]*([eE][-+]?\d+)?', 'n', 'g')
$$;
-- the largest difference; infinite where the lengths differ or a number is none
CREATE FUNCTION pg_temp.apart(a float8[], b float8[]) RETURNS float8 LANGUAGE sql AS $$
	SELECT CASE WHEN cardinality(a) = cardinality(b) THEN
		(SELECT coalesce(max(CASE WHEN abs(x - y) < 'Infinity' THEN abs(x - y)
								  ELSE 'Infinity' END), 0)
		 FROM unnest(a, b) AS u (x, y))
	ELSE 'Infinity' END
$$;
CREATE FUNCTION pg_temp.apart(a jsonb, b jsonb) RETURNS float8 LANGUAGE sql AS $$
	SELECT CASE WHEN pg_temp.shape(a) = pg_temp.shape(b)
		THEN pg_temp.apart(pg_temp.numbers(a), pg_temp.numbers(b))
		ELSE 'Infinity' END
$$;

-- One file: all its steps, and what was learned.
CREATE FUNCTION pg_temp.walk(name text, doc jsonb,
	OUT steps int, OUT agree boolean, OUT differences text)
LANGUAGE plpgsql AS $$
DECLARE
	agent bigint;
	step jsonb;
	result fa_step_result;
	now fa_belief;
	belief float8;
	vfe float8;
	q_pi float8;
	neg_efe float8;
	parts float8;
	learned float8;
BEGIN
	PERFORM fa_model_create('golden ' || name, doc->'spec');
	agent := fa_agent_create('golden ' || name, 'golden ' || name);
	steps := 0;
	FOR step IN SELECT * FROM jsonb_array_elements(doc->'steps') LOOP
		steps := steps + 1;
		SELECT * INTO STRICT result
		FROM fa_step(agent, pg_temp.whole_numbers(step->'observation'),
			did => pg_temp.whole_numbers(step->'did'));
		SELECT * INTO STRICT now FROM fa_belief WHERE agent_id = agent;
		belief := pg_temp.apart(now.belief, pg_temp.numbers(step->'belief'));
		vfe := pg_temp.apart(ARRAY[result.vfe], pg_temp.numbers(step->'vfe'));
		SELECT pg_temp.apart(array_agg(probability ORDER BY policy),
				pg_temp.numbers(step->'q_pi')),
			pg_temp.apart(array_agg(e.neg_efe ORDER BY policy),
				pg_temp.numbers(step->'neg_efe')),
			pg_temp.apart(array_agg(e.neg_efe),
				array_agg(utility + state_info_gain + param_info_gain + inductive))
		INTO q_pi, neg_efe, parts FROM fa_explain(agent) AS e;
		IF greatest(belief, vfe, q_pi, neg_efe, parts) > 1e-9 OR
			result.action IS DISTINCT FROM pg_temp.whole_numbers(step->'action') OR
			(now.agent_id, now.step, now.action, now.vfe) IS DISTINCT FROM result OR
			result.step <> steps
		THEN
			differences := concat_ws('; ', differences, format(
				'step %s: belief %s, vfe %s, q_pi %s, neg_efe %s, its parts %s, action %s for %s',
				steps, belief, vfe, q_pi, neg_efe, parts, result.action, step->'action'));
		END IF;
	END LOOP;
	FOR step IN SELECT jsonb_build_array(key, value) FROM jsonb_each(doc)
				WHERE key LIKE 'final\_%' LOOP
		learned := pg_temp.apart(fa_parameters(agent)->substr(step->>0, 7), step->1);
		IF learned IS NULL OR learned > 1e-9 THEN
			differences := concat_ws('; ', differences,
				format('%s: %s', step->>0, coalesce(learned::text, 'not there')));
		END IF;
	END LOOP;
	agree := differences IS NULL;
END $$;

-- nothing is in the last column where all is well
SELECT g.name, w.steps, w.agree, w.differences
FROM golden g CROSS JOIN LATERAL pg_temp.walk(g.name, g.doc) AS w
ORDER BY g.name COLLATE "C";
