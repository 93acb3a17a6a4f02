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

-- The analytic values.  "plan" and "gain": a step without evidence leaves the
-- belief as it is, and fa_explain shows how the policies are valued.
CREATE FUNCTION pg_temp.sliced(flat float8[], spec jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	factor jsonb;
	result jsonb := '[]';
	size int;
BEGIN
	FOR factor IN SELECT * FROM jsonb_array_elements(spec->'B') LOOP
		size := jsonb_array_length(factor);
		result := result || jsonb_build_array(to_jsonb(flat[1:size]));
		flat := flat[size + 1:];
	END LOOP;
	RETURN result;
END $$;

CREATE FUNCTION pg_temp.value_policies(kind text, name text, doc jsonb,
	OUT neg_efe float8, OUT q_pi float8)
LANGUAGE plpgsql AS $$
DECLARE
	model text := format('golden %s %s', kind, name);
	agent bigint;
BEGIN
	PERFORM fa_model_create(model, doc->'spec');
	agent := fa_agent_create(model, params => jsonb_build_object('belief',
		pg_temp.sliced(pg_temp.numbers(doc->'belief'), doc->'spec')));
	PERFORM fa_step(agent, '{}');
	SELECT pg_temp.apart(array_agg(e.neg_efe ORDER BY policy),
			pg_temp.numbers(doc->'neg_efe')),
		pg_temp.apart(array_agg(probability ORDER BY policy),
			coalesce(pg_temp.numbers(doc->'q_pi'), '{}'))
	INTO STRICT neg_efe, q_pi FROM fa_explain(agent) AS e;
	IF NOT doc ? 'q_pi' THEN
		q_pi := 0;
	END IF;
END $$;

SELECT a.kind, a.name, v.neg_efe < 1e-9 AS neg_efe, v.q_pi < 1e-9 AS q_pi
FROM analytic a CROSS JOIN LATERAL pg_temp.value_policies(a.kind, a.name, a.doc) AS v
WHERE a.kind IN ('plan', 'gain')
ORDER BY a.kind, a.name;

-- "infer", but for observations that are probabilities, which are refused
CREATE FUNCTION pg_temp.infer(name text, doc jsonb, OUT belief float8,
	OUT stepped float8, OUT vfe float8)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	model text := 'golden infer ' || name;
	observation int[] := pg_temp.numbers(doc->'observation');
	agent bigint;
	result fa_step_result;
BEGIN
	PERFORM fa_model_create(model, doc->'spec');
	agent := fa_agent_create(model);
	belief := pg_temp.apart(fa_infer(model, NULL, observation),
		pg_temp.numbers(doc->'belief'));
	SELECT * INTO STRICT result FROM fa_step(agent, observation);
	SELECT pg_temp.apart(b.belief, fa_infer(model, NULL, observation))
	INTO stepped FROM fa_belief b WHERE agent_id = agent;
	vfe := CASE WHEN doc ? 'vfe'
		THEN pg_temp.apart(ARRAY[result.vfe], pg_temp.numbers(doc->'vfe')) ELSE 0 END;
END $$;

SELECT a.name, i.belief < 1e-9 AS belief, i.stepped = 0 AS stepped, i.vfe < 1e-9 AS vfe
FROM analytic a CROSS JOIN LATERAL pg_temp.infer(a.name, a.doc) AS i
WHERE a.kind = 'infer' AND a.name <> 'soft_observation'
ORDER BY a.name;
SELECT c.path, c.message, c.hint
FROM analytic a CROSS JOIN LATERAL fa_model_check(a.doc->'spec') AS c
WHERE a.name = 'soft_observation';

-- "filter": the walk of above, without values of policies; and the free energies
-- of exact inference sum to the evidence
CREATE FUNCTION pg_temp.filter(name text, doc jsonb, OUT belief float8, OUT vfe float8,
	OUT evidence float8)
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
	model text := 'golden filter ' || name;
	agent bigint;
	step jsonb;
	result fa_step_result;
BEGIN
	PERFORM fa_model_create(model, doc->'spec');
	agent := fa_agent_create(model);
	belief := 0;
	vfe := 0;
	evidence := 0;
	FOR step IN SELECT * FROM jsonb_array_elements(doc->'steps') LOOP
		SELECT * INTO STRICT result
		FROM fa_step(agent, pg_temp.whole_numbers(step->'observation'),
			did => pg_temp.whole_numbers(step->'did'));
		belief := greatest(belief, (SELECT pg_temp.apart(b.belief,
			pg_temp.numbers(step->'belief')) FROM fa_belief b WHERE agent_id = agent));
		vfe := greatest(vfe, abs(result.vfe - (step->>'vfe')::float8));
		evidence := evidence + result.vfe;
	END LOOP;
	evidence := abs(exp(-evidence) - (doc->>'evidence')::float8);
END $$;

SELECT a.name, f.belief < 1e-9 AS belief, f.vfe < 1e-9 AS vfe,
	f.evidence < 1e-9 AS evidence
FROM analytic a CROSS JOIN LATERAL pg_temp.filter(a.name, a.doc) AS f
WHERE a.kind = 'filter'
ORDER BY a.name;

-- "choice": with E as given and no other term, q_pi is E.  Actions of 20,000
-- agents with the seeds 1, 2, ... come as often as they should, but for five
-- standard deviations.
CREATE FUNCTION pg_temp.choose(name text, doc jsonb, n int)
RETURNS TABLE (action int, times bigint)
LANGUAGE plpgsql AS $$
DECLARE
	model text := 'golden choice ' || name;
	actions int := 1 + (SELECT max(a::int) FROM jsonb_path_query(doc, '$.policies[*][*][*]') AS a);
BEGIN
	PERFORM fa_model_create(model, jsonb_build_object(
		'A', '[[[1]]]'::jsonb,
		'B', jsonb_build_array(jsonb_build_array(jsonb_build_array(
			(SELECT jsonb_agg(1) FROM generate_series(1, actions))))),
		'use_utility', false, 'use_states_info_gain', false,
		'policies', doc->'policies', 'E', doc->'q_pi',
		'sampling_mode', doc->'sampling_mode',
		'alpha', coalesce(doc->'alpha', '16'),
		'action_selection',
			CASE WHEN doc ? 'probabilities' THEN 'stochastic' ELSE 'deterministic' END));
	RETURN QUERY SELECT s.action[1], count(*)
	FROM fa_step_many(ARRAY(SELECT fa_agent_create_many(model, n, '{"seed": 1}')),
		NULL) AS s
	GROUP BY 1;
END $$;

SELECT a.name, c.action AS as_defined, (a.doc->'action'->>0)::int AS wanted
FROM analytic a CROSS JOIN LATERAL pg_temp.choose(a.name, a.doc, 1) AS c
WHERE a.kind = 'choice' AND a.doc ? 'action'
ORDER BY a.name;
SELECT a.name, c.action,
	abs(c.times / 20000.0 - p) < 5 * sqrt(p * (1 - p) / 20000) AS as_often_as_it_should
FROM analytic a CROSS JOIN LATERAL pg_temp.choose(a.name, a.doc, 20000) AS c
	CROSS JOIN LATERAL (SELECT (a.doc#>>ARRAY['probabilities', '0', c.action::text])::float8 AS p) AS p
WHERE a.kind = 'choice' AND a.doc ? 'probabilities'
ORDER BY a.name, c.action;

-- Bit for bit.  Each model as it is and with stochastic selection; agents by role,
-- all of one model with one seed.
SELECT count(fa_model_create('golden ' || name,
	doc->'spec' || '{"action_selection": "stochastic", "alpha": 2}')) AS models
FROM golden;
CREATE TEMP TABLE models AS
SELECT row_number() OVER (ORDER BY g.name COLLATE "C", v) AS seed,
	format('golden %s@%s', g.name, v) AS model, g.doc,
	jsonb_array_length(g.doc#>'{steps,0,observation}') AS modalities
FROM golden g CROSS JOIN generate_series(1, 2) AS v;
CREATE TEMP TABLE agents AS
SELECT m.seed, m.model, role,
	fa_agent_create(m.model, params => jsonb_build_object('seed', m.seed)) AS agent_id
FROM models m CROSS JOIN unnest('{single,many,run,runs,stepped,run_many}'::text[]) AS role;

-- the state of two agents, as bytes, but for what names them
CREATE FUNCTION pg_temp.same(a bigint, b bigint) RETURNS boolean LANGUAGE sql AS $$
	SELECT record_image_eq(
			ROW (x.seed, x.trial, x.step, x.vfe, x.action, x.world_state,
				 x.observation, x.did, x.before, x.belief, x.parameters),
			ROW (y.seed, y.trial, y.step, y.vfe, y.action, y.world_state,
				 y.observation, y.did, y.before, y.belief, y.parameters))
		AND NOT EXISTS (SELECT FROM (SELECT * FROM fa_learned WHERE agent_id = a) AS p
						FULL JOIN (SELECT * FROM fa_learned WHERE agent_id = b) AS q
							USING (part)
						WHERE NOT record_image_eq(ROW (p.counts), ROW (q.counts)))
	FROM fa_belief x, fa_belief y WHERE x.agent_id = a AND y.agent_id = b
$$;
CREATE FUNCTION pg_temp.agent(model text, role text) RETURNS bigint LANGUAGE sql AS $$
	SELECT agent_id FROM agents WHERE agents.model = $1 AND agents.role = $2
$$;

-- fa_step_many over agents of all models at once, observations padded by nulls,
-- equals single steps
CREATE FUNCTION pg_temp.compare_many(turns int, OUT steps bigint, OUT equal bigint,
	OUT states bigint)
LANGUAGE plpgsql AS $$
DECLARE
	width int := (SELECT max(modalities) FROM models);
	ids bigint[];
	observations int[];
BEGIN
	steps := 0;
	equal := 0;
	FOR turn IN 0 .. turns - 1 LOOP
		CREATE TEMP TABLE turn_observations AS
		SELECT m.model, pg_temp.whole_numbers(m.doc->'steps'
				->(turn % jsonb_array_length(m.doc->'steps'))->'observation') AS observation,
			md5(m.model || turn) AS shuffled
		FROM models m;
		-- each row as long as the longest
		SELECT array_agg(a.agent_id ORDER BY o.shuffled),
			array_agg(o.observation || array_fill(NULL::int,
				ARRAY[width - cardinality(o.observation)]) ORDER BY o.shuffled)
		INTO ids, observations
		FROM turn_observations o JOIN agents a USING (model) WHERE a.role = 'many';
		SELECT steps + count(*), equal + count(*) FILTER (WHERE
			record_image_eq(ROW (many.step, many.action, many.vfe),
							ROW (one.step, one.action, one.vfe)))
		INTO steps, equal
		FROM fa_step_many(ids, observations) WITH ORDINALITY AS many
			JOIN agents a ON a.agent_id = ids[many.ordinality] AND a.agent_id = many.agent_id
			JOIN turn_observations o USING (model)
			CROSS JOIN LATERAL fa_step(pg_temp.agent(a.model, 'single'), o.observation) AS one;
		DROP TABLE turn_observations;
	END LOOP;
	SELECT count(*) INTO states FROM models
	WHERE pg_temp.same(pg_temp.agent(model, 'single'), pg_temp.agent(model, 'many'));
END $$;
SELECT * FROM pg_temp.compare_many(8);

-- fa_run(n) equals n times fa_run(1), fa_run_many of all at once, and fa_step once
-- the world runs
CREATE TEMP TABLE runs AS
SELECT a.model, 'run' AS role, r.* FROM agents a
	CROSS JOIN LATERAL fa_run(a.agent_id, 12) AS r WHERE a.role = 'run';
DO $$
BEGIN
	FOR i IN 1 .. 12 LOOP
		INSERT INTO runs SELECT a.model, a.role, r.* FROM agents a
			CROSS JOIN LATERAL fa_run(a.agent_id, 1) AS r WHERE a.role = 'runs';
		IF i = 5 THEN
			INSERT INTO agents SELECT seed, model, 'fork', fa_agent_fork(agent_id)
			FROM agents WHERE role = 'runs';
		END IF;
		IF i = 1 THEN
			INSERT INTO runs SELECT a.model, a.role, r.* FROM agents a
				CROSS JOIN LATERAL fa_run(a.agent_id, 1) AS r WHERE a.role = 'stepped';
		ELSE
			INSERT INTO runs SELECT a.model, a.role, r.agent_id, 0, r.step, NULL, r.action, r.vfe
			FROM agents a CROSS JOIN LATERAL fa_step(a.agent_id) AS r
			WHERE a.role = 'stepped';
		END IF;
	END LOOP;
END $$;
INSERT INTO runs SELECT a.model, a.role, r.*
FROM fa_run_many(ARRAY(SELECT agent_id FROM agents WHERE role = 'run_many'), 12) AS r
	JOIN agents a USING (agent_id);
-- a fork goes on with the same draws, alone or in a batch
INSERT INTO runs SELECT a.model, a.role, r.*
FROM fa_run_many(ARRAY(SELECT agent_id FROM agents WHERE role = 'fork'), 7) AS r
	JOIN agents a USING (agent_id);

SELECT b.role, count(*) AS steps, count(*) FILTER (WHERE
	record_image_eq(ROW (a.trial, a.action, a.vfe), ROW (b.trial, b.action, b.vfe))
	AND (b.role = 'stepped' OR a.observation = b.observation)) AS equal
FROM runs a JOIN runs b USING (model, step)
WHERE a.role = 'run' AND b.role <> 'run'
GROUP BY b.role ORDER BY b.role;
SELECT role, count(*) AS agents, count(*) FILTER (WHERE
	pg_temp.same(agent_id, pg_temp.agent(model, 'run'))) AS same
FROM agents WHERE role IN ('runs', 'stepped', 'run_many', 'fork')
GROUP BY role ORDER BY role;
-- and the draws are no constant
SELECT count(DISTINCT action) > 1 AS actions_vary FROM runs
WHERE model = 'golden no_terms@2' AND role = 'run';

-- nothing of all this stays
SELECT fa_agent_drop(array_agg(agent_id)) > 40000 AS dropped
FROM fa_agent JOIN fa_model USING (model_id) WHERE fa_model.name LIKE 'golden %';
SELECT count(fa_model_drop(name)) AS models
FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'golden %') AS m;
