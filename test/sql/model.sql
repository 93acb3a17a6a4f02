-- Models: what a spec may say, what is refused and with which words, versions.
-- (That the numbers are right is for golden to show.)

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
-- what is shown is wide
\pset format unaligned

-- Two factors, one of them driven by a control; names for all.
CREATE TEMP TABLE base AS SELECT '{
	"factors": [{"name": "place", "states": ["home", "park", "work"], "actions": ["stay", "go"]},
				{"name": "weather", "states": 2, "depends_on": ["weather"], "controlled_by": []}],
	"modalities": [{"name": "scene", "outcomes": 3, "depends_on": ["place"]},
				   {"name": "clouds", "outcomes": ["blue", "grey"], "depends_on": ["place", "weather"]}],
	"A": [[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
		  [[[0.9, 0.2], [0.8, 0.3], [0.5, 0.5]], [[0.1, 0.8], [0.2, 0.7], [0.5, 0.5]]]],
	"B": [[[[1, 0], [0, 0], [0, 1]], [[0, 1], [1, 0], [0, 0]], [[0, 0], [0, 1], [1, 0]]],
		  [[0.8, 0.3], [0.2, 0.7]]],
	"C": [{"2": 1}, null],
	"D": [[1, 0, 0], null]
}'::jsonb AS spec;
SELECT c.* FROM base, fa_model_check(spec) AS c;

-- Everything that is wrong is said: where, what, what would do.  The last column is
-- what fa_model_create raises.
CREATE TEMP TABLE wrong (label text, at text[], value jsonb);
INSERT INTO wrong VALUES
('column of A', '{A,0,0,1}', '0.1'),
('column of A with two parents', '{A,1,1,2,1}', '0.6'),
('column of B', '{B,0,2,1,1}', '0'),
('column just outside the tolerance', '{A,0,0,1}', '0.0000101'),
('negative', '{A,1,0,0,1}', '-0.2'),
('negative in B', '{B,1,0,0}', '-0.8'),
('1e999', '{A,0,0,0}', '1e999'),
('-1e999 ', '{C,1}', '[-1e999, 0]'),
('null', '{A,0,0,0}', 'null'),
('NaN', '{A,0,0,0}', '"NaN"'),
('Infinity', '{C,1}', '["Infinity", 0]'),
('true', '{B,1,0,0}', 'true'),
('an object', '{B,1,0,0}', '{}'),
('empty', '{A,0}', '[]'),
('empty row', '{A,0,1}', '[]'),
('no modality', '{A}', '[]'),
('no array', '{A}', '7'),
('ragged', '{A,0,1}', '[0, 1]'),
('ragged deep', '{B,0,1,2}', '[0, 0, 0]'),
('wrong rank', '{A,0}', '[1, 0, 0]'),
('wrong rank of B', '{B,1}', '[[[[0.8], [0.3]]], [[[0.2], [0.7]]]]'),
('B of wrong shape', '{B,1}', '[[0.8, 0.3, 0], [0.2, 0.7, 0]]'),
('B not square', '{B,0}', '[[[1, 1], [1, 0], [1, 0]], [[0, 0], [0, 1], [0, 1]]]'),
('wrong dependency', '{factors,1,depends_on}', '["wether"]'),
('wrong dependency index', '{A_dependencies}', '[[0], [0, 2]]'),
('negative dependency index', '{B_dependencies}', '[[0], [-1]]'),
('dependency twice', '{modalities,1,depends_on}', '["place", "place"]'),
('dependency on nothing', '{modalities,0,depends_on}', '[]'),
('forms that disagree', '{A_dependencies}', '[[0], [1, 0]]'),
('forms that disagree', '{B_dependencies}', '[[0], [0, 1]]'),
('forms that disagree', '{num_controls}', '[3]'),
('wrong control', '{B_action_dependencies}', '[[1], []]'),
('states unlike A', '{factors,0,states}', '4'),
('outcomes unlike A', '{modalities,1,outcomes}', '["blue"]'),
('labels twice', '{modalities,1,outcomes}', '["blue", "blue"]'),
('names twice', '{factors,1,name}', '"place"'),
('unknown key', '{gama}', '16'),
('unknown key, unlike any', '{colour}', '16'),
('unknown key of a factor', '{factors,0,depend_on}', '[]'),
('unknown key of an array', '{A,0}', '{"shape": [3, 3], "defualt": 0, "entries": []}'),
('unknown label', '{C,1}', '{"gray": 1}'),
('policy out of range', '{policies}', '[[[2]]]'),
('policy of a label', '{policies}', '[[["sty"]]]'),
('policy too short', '{policies}', '[[[0]], [[0], [1]]]'),
('policies of rank 2', '{policies}', '[[0], [1]]'),
('policies empty', '{policies}', '[]'),
('D', '{D,0}', '[0.5, 0.6, 0]'),
('D too short', '{D,0}', '[1, 0]'),
('E', '{E}', '[1]'),
('E without weight', '{E}', '[0, 0]'),
('C too long', '{C,0}', '[0, 0, 1, 2]'),
('gamma', '{gamma}', '-1'),
('gamma as text', '{gamma}', '"16"'),
('policy_len', '{policy_len}', '0'),
('policy_len broken', '{policy_len}', '1.5'),
('use_utility', '{use_utility}', '1'),
('sampling_mode', '{sampling_mode}', '"marginals"'),
('inference_algo', '{inference_algo}', '"vmp"'),
('learning_mode', '{learning_mode}', '"offline"'),
('learn_C', '{learn_C}', 'true'),
('batch_size', '{batch_size}', '8'),
('use_inductive', '{use_inductive}', 'true'),
('H', '{H}', '[[0, 2, 0], [0, 0]]'),
('learn_A without pA', '{learn_A}', 'true'),
('pA of wrong shape', '{pA}', '[[[1, 1], [1, 1]], null]'),
('pA negative', '{pA}', '[[[1, 1, 1], [1, -1, 1], [1, 1, 1]], null]'),
('lr_pA', '{lr_pA}', '-1'),
('sparse: index', '{A,0}', '{"shape": [3, 3], "default": 0, "entries": [[0, 3, 1]]}'),
('sparse: twice', '{A,0}', '{"shape": [3, 3], "default": 0, "entries": [[0, 0, 1], [0, 0, 1]]}'),
('sparse: length', '{A,0}', '{"shape": [3, 3], "default": 0, "entries": [[0, 1]]}'),
('sparse: shape', '{A,0}', '{"shape": [3, 2], "default": 0, "entries": []}'),
('sparse: shape', '{A,0}', '{"shape": [3, -3], "default": 0, "entries": []}'),
('sparse: huge', '{A,0}', '{"shape": [4000000000, 4000000000], "default": 0, "entries": []}'),
('next: state', '{B,0}', '{"next": [[0, 1], [1, 2], [2, 3]]}'),
('next: column', '{B,0}', '{"next": [[0, 1], [1, 2]]}');
\pset fieldsep ' | '
SELECT label, c.path, c.message, c.detail, c.hint,
	split_part(pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)', s)), ' ', 1) AS state
FROM base, wrong CROSS JOIN LATERAL jsonb_set(spec, at, value) AS s
	LEFT JOIN LATERAL fa_model_check(s) AS c ON true;
-- a message in full; a problem that is not the only one
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	jsonb_set(spec, '{A,0,0,0}', '-1'))) FROM base;
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	spec || '{"gama": 1, "policy_lenght": 2, "A_dependency": []}')) FROM base;
SELECT count(*) AS shown FROM base, fa_model_check(spec || (
	SELECT jsonb_object_agg('k' || i, 0) FROM generate_series(1, 1000) AS i));
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''[]'')');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{}'')');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''null'')');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{"A": [[[1]]]}'')');
SELECT pg_temp.raises('SELECT fa_world_create(''wrong'', ''{"B": [[[1]]]}'')');
-- a null argument makes nothing
SELECT fa_model_create(NULL, spec) IS NULL AND fa_model_create('wrong', NULL) IS NULL AS nothing
FROM base;

-- what is at the edge is taken
SELECT c.* FROM base, fa_model_check(jsonb_set(spec, '{A,0,0,1}', '0.00001')) AS c;

-- limits: each message says the number, and the setting
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)', spec || '{"policy_len": 17}')) FROM base;
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)', spec || '{"policy_len": 1000}')) FROM base;
SET fa_agents.max_policies = 3;
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)', spec || '{"policy_len": 2}')) FROM base;
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	spec || '{"policies": [[[0]], [[0]], [[0]], [[1]]]}')) FROM base;
SELECT c.* FROM base, fa_model_check(spec || '{"policies": [[[0]], [[1]], [[1]]]}') AS c;
RESET fa_agents.max_policies;
SET fa_agents.max_model_size = '1MB';
SELECT regexp_replace(pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	fa_spec_grid(20, 20) || '{"policy_len": 6}')), 'need \d+', 'need N');
SELECT regexp_replace(pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	fa_spec_grid(20, 20) || '{"policy_len": 4}')), 'need \d+', 'need N');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{"A": [{"shape": [1000, 1000], "default": 0.001, "entries": []}], "B": [{"shape": [1000, 1000, 1], "default": 0.001, "entries": []}]}'')');
RESET fa_agents.max_model_size;
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{"A": [{"shape": [100000, 100000], "default": 1e-5, "entries": []}], "B": [{"shape": [100000, 100000], "default": 1e-5, "entries": []}]}'')');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{"A": [{"shape": [1000000000, 1000000000, 1000000000], "default": 0, "entries": []}], "B": [{"shape": [1000000000, 1000000000], "default": 0, "entries": []}, {"shape": [1000000000, 1000000000], "default": 0, "entries": []}]}'')');
SELECT pg_temp.raises('SELECT fa_model_create(''wrong'', ''{"factors": [{"states": 999999999}], "modalities": [{"outcomes": 2}], "A": [{"shape": [2, 999999999], "default": 0.5, "entries": []}], "B": [{"next": [0]}]}'')');

-- JSON that is deep or large
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	format('{"A": %s1%s}', repeat('[', 70), repeat(']', 70))::jsonb));
SELECT pg_temp.raises(format('SELECT fa_model_create(''wrong'', %L)',
	format('{"A": %s1%s}', repeat('[', 5000), repeat(']', 5000))::jsonb));
CREATE FUNCTION pg_temp.raises_for(spec jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM fa_model_create('wrong', spec);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '\d{4,}', 'N');
END $$;
SELECT pg_temp.raises_for(jsonb_build_object('A', repeat('x', 100000000)));
SELECT pg_temp.raises_for(jsonb_build_object('A', jsonb_build_array(
	(SELECT jsonb_agg(0.123456789) FROM generate_series(1, 4500000)))));

-- names and versions
SELECT pg_temp.raises(format('SELECT fa_model_create(%L, %L)', name, spec))
FROM base, unnest(ARRAY['', 'model@1', repeat('x', 256)]) AS name;
SELECT fa_model_create('model v', spec) < fa_model_create('model v', spec || '{"gamma": 8}') AS ids
FROM base;
SELECT name, version, owner = quote_ident(current_user)::regrole AS mine, spec ? 'gamma' AS gamma,
	digest = substr(sha256(body), 1, 24) AS digest
FROM fa_model WHERE name = 'model v' ORDER BY version;
-- a name alone is the newest; a version stays what it was
CREATE TEMP TABLE made AS SELECT v AS said, fa_agent_create(v) AS agent_id
FROM unnest('{model v,model v@1,model v@2}'::text[]) AS v;
SELECT said, version FROM made JOIN fa_agent USING (agent_id) JOIN fa_model USING (model_id)
ORDER BY said;
SELECT pg_temp.raises(format('SELECT fa_agent_create(%L)', name))
FROM unnest('{no model,model v@3,model v@0,model v@,model v@-1,model v@99999999999,@1,""}'::text[]) AS name;
SELECT pg_temp.raises(format('SELECT fa_model_drop(%L)', name))
FROM unnest('{no model,model v@3,model v@x}'::text[]) AS name;

-- in use
SELECT pg_temp.raises('SELECT fa_model_drop(''model v'')');
SELECT pg_temp.raises('SELECT fa_model_drop(''model v@1'')');
SELECT fa_agent_drop(array_agg(agent_id)) FROM made WHERE said = 'model v@1';
SELECT fa_model_drop('model v@1');
SELECT pg_temp.raises('SELECT fa_model_drop(''model v'')');
SELECT version FROM fa_model WHERE name = 'model v';
SELECT fa_agent_drop(array_agg(agent_id)) FROM made WHERE said <> 'model v@1';
SELECT fa_model_drop('model v');
SELECT count(*) FROM fa_model WHERE name = 'model v';

-- worlds are named, versioned, refused and dropped as models are
SELECT fa_world_create('model w', spec) < fa_world_create('model w', spec) AS ids FROM base;
SELECT fa_model_create('model w', spec) IS NOT NULL AS of_the_same_name FROM base;
SELECT name, version, digest = substr(sha256(body), 1, 24) AS digest FROM fa_world
WHERE name = 'model w' ORDER BY version;
SELECT pg_temp.raises(format('SELECT fa_world_create(%L, %L)', 'a@b', spec)) FROM base;
SELECT pg_temp.raises(format('SELECT fa_world_create(%L, %L)', 'w', spec || '{"gama": 1}')) FROM base;
SELECT pg_temp.raises('SELECT fa_world_drop(''no world'')');
SELECT fa_agent_create('model w', params => '{"world": "model w@1"}') AS agent \gset
SELECT pg_temp.raises('SELECT fa_world_drop(''model w@1'')');
SELECT pg_temp.raises('SELECT fa_world_drop(''model w'')');
SELECT fa_world_drop('model w@2');
SELECT pg_temp.raises(format('SELECT fa_agent_create(''model w'', params => ''{"world": %s}'')', name))
FROM unnest('{"\"model w@2\"","\"no world\"",7,"[\"model w\"]"}'::text[]) AS name;
-- the actions and outcomes of a world must be the agent's
SELECT fa_world_create('model w3', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT pg_temp.raises('SELECT fa_agent_create(''model w'', params => ''{"world": "model w3"}'')');
SELECT fa_agent_drop(ARRAY[:agent]);
SELECT fa_world_drop('model w'), fa_world_drop('model w3'), fa_model_drop('model w');

-- The same model in other words: what an agent computes with is the same.
CREATE TEMP TABLE forms (form text, spec jsonb);
INSERT INTO forms SELECT 'as it is', spec FROM base;
INSERT INTO forms SELECT 'indices', spec - '{factors,modalities}'::text[]
	|| '{"A_dependencies": [[0], [0, 1]], "B_dependencies": [[0], [1]],
		 "B_action_dependencies": [[0], []], "num_controls": [2], "C": [[0, 0, 1], null]}'
FROM base;
INSERT INTO forms SELECT 'both', f.spec || jsonb_build_object('factors', base.spec->'factors',
	'modalities', base.spec->'modalities') FROM base, forms f WHERE form = 'indices';
INSERT INTO forms SELECT 'plain arrays',
	jsonb_set(jsonb_set(spec, '{A,0}', (SELECT jsonb_agg(
			(SELECT jsonb_agg(jsonb_build_array(v, v)) FROM jsonb_array_elements(row) AS v))
			FROM jsonb_array_elements(spec#>'{A,0}') AS row)),
		'{B,1}', '[[[0.8], [0.3]], [[0.2], [0.7]]]')
	- '{factors,modalities}'::text[] || '{"C": [[0, 0, 1], [0.5, 0.5]]}'
FROM base;
INSERT INTO forms SELECT 'sparse', jsonb_set(jsonb_set(spec, '{A,0}',
		'{"shape": [3, 3], "default": 0, "entries": [[0, 0, 1], [1, 1, 1], [2, 2, 1]]}'),
		'{A,1}', '{"shape": [2, 3, 2], "default": 0.5, "entries": [[0, 0, 0, 0.9],
			[0, 0, 1, 0.2], [0, 1, 0, 0.8], [0, 1, 1, 0.3], [1, 0, 0, 0.1],
			[1, 0, 1, 0.8], [1, 1, 0, 0.2], [1, 1, 1, 0.7]]}')
	|| '{"D": [{"home": 1}, null]}' FROM base;
INSERT INTO forms SELECT 'next', jsonb_set(spec, '{B,0}', '{"next": [[0, 1], [1, 2], [2, 0]]}')
FROM base;
INSERT INTO forms SELECT 'objects by name', spec || jsonb_build_object(
	'A', jsonb_build_object('clouds', spec#>'{A,1}', 'scene', spec#>'{A,0}'),
	'B', jsonb_build_object('weather', spec#>'{B,1}', 'place', spec#>'{B,0}'),
	'C', '{"scene": [0, 0, 1]}'::jsonb, 'D', '{"place": {"home": 1}}'::jsonb) FROM base;
INSERT INTO forms SELECT 'policies', spec || '{"policies": [[["stay"]], [["go"]]]}' FROM base;
INSERT INTO forms SELECT 'compile_model', spec - '{factors,modalities,C,D}'::text[] || '{
	"states": {"place": {"elements": ["home", "park", "work"], "depends_on": ["place"],
			"controlled_by": ["move"]},
		"weather": {"size": 2, "depends_on": ["weather"], "controlled_by": []}},
	"observations": {"scene": {"size": 3, "depends_on": ["place"]},
		"clouds": {"elements": ["blue", "grey"], "depends_on": ["place", "weather"]}},
	"controls": {"move": {"elements": ["stay", "go"]}},
	"C": {"scene": [0, 0, 1]}, "D": {"place": [1, 0, 0]}}' FROM base;
SELECT form, message, hint FROM forms CROSS JOIN LATERAL fa_model_check(spec) ORDER BY form;
CREATE TEMP TABLE forms_made AS
SELECT form, fa_model_create('model form ' || form, spec) AS model_id,
	fa_agent_create('model form ' || form, params => '{"seed": 5}') AS agent_id
FROM forms;
-- names, where the spec has them; else they are invented
SELECT form, fa_belief(agent_id) FROM forms_made
WHERE form IN ('as it is', 'plain arrays', 'compile_model') ORDER BY form;
CREATE TEMP TABLE forms_stepped AS
SELECT form, forms_made.agent_id, turn, s.action, s.vfe
FROM forms_made CROSS JOIN generate_series(1, 4) AS turn
	CROSS JOIN LATERAL fa_step(forms_made.agent_id, ARRAY[turn % 3, turn % 2]) AS s;
SELECT f.form, bool_and(f.action[1] = g.action[1]) AS actions,
	max(abs(f.vfe - g.vfe)) < 1e-9 AS vfe,
	fa_parameters(f.agent_id) = fa_parameters(g.agent_id) AS parameters
FROM forms_stepped f, forms_stepped g
WHERE g.form = 'as it is' AND f.turn = g.turn
GROUP BY f.form, f.agent_id, g.agent_id ORDER BY f.form;
SELECT form, fa_action(agent_id) FROM forms_made
WHERE form IN ('as it is', 'plain arrays', 'compile_model') ORDER BY form;
SELECT fa_agent_drop(array_agg(agent_id)) > 0 AS dropped FROM forms_made;
SELECT count(fa_model_drop('model form ' || form)) FROM forms;

-- nothing was left by the errors
SELECT count(*) FROM fa_model WHERE name = 'wrong';
SELECT count(*) FROM fa_world WHERE name = 'wrong';
