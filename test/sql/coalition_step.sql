-- Coalitions: what members believe together, and steps with it.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- The formulas are written out here in plain numbers, and
-- held against one agent that sees what all see.
CREATE FUNCTION pg_temp.close(x float8[], y float8[]) RETURNS boolean LANGUAGE sql AS $$
	SELECT cardinality(x) = cardinality(y) AND max(abs(a - b)) <= 1e-12
	FROM ROWS FROM (unnest(x), unnest(y)) AS t (a, b)
$$;
CREATE FUNCTION pg_temp.normalize(x float8[]) RETURNS float8[] LANGUAGE sql AS $$
	SELECT array_agg(v / (SELECT sum(w) FROM unnest(x) w) ORDER BY i) FROM unnest(x) WITH ORDINALITY t (v, i)
$$;
-- the pooled belief of a coalition's first factor
CREATE FUNCTION pg_temp.pooled(coalition text) RETURNS float8[] LANGUAGE sql AS $$
	SELECT array_agg(p.value::float8 ORDER BY p.key) FROM (SELECT * FROM jsonb_each(fa_coalition_belief(coalition)) LIMIT 1) f,
		jsonb_each_text(f.value) p
$$;
CREATE FUNCTION pg_temp.belief(agent bigint) RETURNS float8[] LANGUAGE sql AS $$
	SELECT belief FROM fa_belief WHERE agent_id = agent
$$;
-- D^(1 - W) * product of q_i^w_i of three agents, normalised
CREATE FUNCTION pg_temp.product(d float8[], a bigint, b bigint, c bigint, w float8[] DEFAULT '{1,1,1}') RETURNS float8[] LANGUAGE sql AS $$
	SELECT pg_temp.normalize(array_agg(d[s] ^ (1 - w[1] - w[2] - w[3]) * (pg_temp.belief(a))[s] ^ w[1] * (pg_temp.belief(b))[s] ^ w[2]
		* (pg_temp.belief(c))[s] ^ w[3] ORDER BY s)) FROM generate_subscripts(d, 1) s
$$;
-- a hidden rule that stays, and a place that moves; one agent's outcomes, and all of three agents'
SELECT fa_model_create('rule', '{"factors": [{"name": "rule"}], "A": [[[0.7, 0.2, 0.1], [0.3, 0.8, 0.9]]],
	"B": [{"next": [[0, 0], [1, 1], [2, 2]]}], "C": [[0, 1]], "D": [[0.5, 0.3, 0.2]]}') IS NOT NULL AS made;
SELECT fa_model_create('place', '{"factors": [{"name": "place"}], "A": [[[0.7, 0.2, 0.1], [0.3, 0.8, 0.9]]],
	"B": [[[[0.9, 0.2], [0.1, 0.3], [0.2, 0.1]], [[0.05, 0.5], [0.8, 0.3], [0.2, 0.1]], [[0.05, 0.3], [0.1, 0.4], [0.6, 0.8]]]],
	"C": [[0, 1]], "D": [[0.5, 0.3, 0.2]]}') IS NOT NULL AS made;
SELECT fa_model_create(name || ' of all', spec || jsonb_build_object('A', jsonb_build_array(spec #> '{A,0}', spec #> '{A,0}', spec #> '{A,0}'),
	'C', '[[0, 1], [0, 1], [0, 1]]'::jsonb)) IS NOT NULL AS made FROM fa_model WHERE name IN ('rule', 'place');
SELECT min(i) AS a, min(i) + 1 AS b, min(i) + 2 AS c FROM fa_agent_create_many('rule', 3) i \gset
SELECT fa_agent_create('rule of all') AS all_of_it \gset
SELECT fa_coalition_create('product', ARRAY[:c, :b, :a]), fa_coalition_create('weighted', ARRAY[:a, :b], weights => '{0.5,0.25}'),
	fa_coalition_create('linear', ARRAY[:c, :a, :b], 'linear', weights => '{3,1,2}'), fa_coalition_create('log', ARRAY[:a, :b, :c], 'log_linear'),
	fa_coalition_join('weighted', :c, 2) \gset made_
-- they begin from one prior, which counts once
SELECT pg_temp.pooled('product') AS product, pg_temp.close(pg_temp.pooled('linear'), '{0.5,0.3,0.2}') AS linear,
	pg_temp.close(pg_temp.pooled('log'), '{0.5,0.3,0.2}') AS log_linear;
SELECT count(*) FROM fa_step_many(ARRAY[:a, :b, :c], '{{0},{1},{1}}');
SELECT count(*) FROM fa_step(:all_of_it, '{0,1,1}');
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.product('{0.5,0.3,0.2}', :a, :b, :c)) AS formula,
	pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it)) AS one_who_sees_all,
	pg_temp.close(pg_temp.pooled('weighted'), pg_temp.product('{0.5,0.3,0.2}', :a, :b, :c, '{0.5,0.25,2}')) AS weights;
SELECT pg_temp.close(pg_temp.pooled('linear'), array_agg((1 * x + 2 * y + 3 * z) / 6)) AS linear,
	pg_temp.close(pg_temp.pooled('log'), pg_temp.normalize(array_agg((x * y * z) ^ (1 / 3.0::float8)))) AS log_linear
	FROM ROWS FROM (unnest(pg_temp.belief(:a)), unnest(pg_temp.belief(:b)), unnest(pg_temp.belief(:c))) AS t (x, y, z);
-- a rule that stays is one state, whenever each has seen what
SELECT count(*) FROM (SELECT fa_step(:a, '{1}'), fa_step(:a, '{0}'), fa_step(:c, '{1}'), fa_step(:all_of_it, '{1,0,1}')) t;
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it));
-- a step with an observation: evidence once, however many use it
SELECT count(*) AS rows, count(DISTINCT action) AS actions FROM fa_coalition_step('product', '{0}');
SELECT vfe AS all_vfe FROM fa_step(:all_of_it, '{0,-1,-1}') \gset
SELECT pg_temp.close(pg_temp.belief(i), pg_temp.belief(:all_of_it)), (SELECT pg_temp.close(ARRAY[vfe], ARRAY[:all_vfe]) FROM fa_belief WHERE agent_id = i)
	FROM unnest(ARRAY[:a, :b, :c]) i;
SELECT agent_id - :a AS agent, weight, pg_temp.close(ARRAY[vfe], ARRAY[:all_vfe]) AS joint FROM fa_coalition_free_energy('product') ORDER BY 1;
-- what was pooled counts once from then on: in this coalition, and in another one that they are in
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it)) AS same, pg_temp.close(pg_temp.pooled('weighted'), pg_temp.belief(:all_of_it)) AS other;
SELECT count(*) FROM (SELECT fa_step(:a, '{1}'), fa_step(:b, '{1}'), fa_step(:all_of_it, '{1,1,-1}')) t;
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it));
-- a fork brings what it has in common with others, and no more
SELECT fa_agent_fork(:c) AS fork \gset
SELECT fa_coalition_create('fork', ARRAY[:a, :b, :fork]) IS NOT NULL AS made;
SELECT pg_temp.close(pg_temp.pooled('fork'), pg_temp.belief(:all_of_it)), fa_coalition_dissolve('fork'), fa_agent_drop(ARRAY[:fork]);
SELECT fa_coalition_dissolve('product'), fa_coalition_create('product', ARRAY[:a, :b, :c]) IS NOT NULL AS again;
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it));
-- a step in which each sees for itself, after one of them has gone on alone
SELECT count(*) FROM (SELECT fa_observe(:a, '{0}'), fa_observe(:b, '{1}'), fa_step(:c, '{0}'), fa_step(:all_of_it, '{0,-1,-1}')) t;
SELECT vfe AS all_vfe FROM fa_step(:all_of_it, '{0,1,-1}') \gset
SELECT agent_id - :a AS agent, step, action FROM fa_coalition_step('product');
SELECT bool_and(pg_temp.close(pg_temp.belief(i), pg_temp.belief(:all_of_it))) FROM unnest(ARRAY[:a, :b, :c]) i;
SELECT pg_temp.close(ARRAY[vfe], ARRAY[:all_vfe]) AS joint FROM fa_coalition_free_energy('product') WHERE agent_id IS NULL;
SELECT bool_and(e.vfe = b.vfe) AS members_alone FROM fa_coalition_free_energy('product') e JOIN fa_belief b USING (agent_id);
-- the next trial begins from D
SELECT fa_agent_reset(ARRAY[:a, :b, :c, :all_of_it]);
SELECT pg_temp.close(pg_temp.pooled('product'), '{0.5,0.3,0.2}');
SELECT count(*) FROM (SELECT fa_step(:a, '{1}'), fa_step(:b, '{1}'), fa_step(:all_of_it, '{1,1,-1}')) t;
SELECT pg_temp.close(pg_temp.pooled('product'), pg_temp.belief(:all_of_it));

-- a place that moves: the prior of each step is what they share
SELECT min(i) AS a, min(i) + 1 AS b, min(i) + 2 AS c FROM fa_agent_create_many('place', 3) i \gset
SELECT fa_agent_create('place of all') AS all_of_it \gset
SELECT fa_coalition_create('place', ARRAY[:a, :b, :c]) IS NOT NULL AS made;
SELECT count(*) FROM fa_step_many(ARRAY[:a, :b, :c, :all_of_it], '{{0,NULL,NULL},{1,NULL,NULL},{1,NULL,NULL},{0,1,1}}');
SELECT pg_temp.close(pg_temp.pooled('place'), pg_temp.belief(:all_of_it)) AS first_step;
SELECT fa_agent_reset(ARRAY[:a, :b, :c, :all_of_it]);
CREATE FUNCTION pg_temp.together(ids bigint[], one bigint, outcomes int[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	acted int[];
	energy float8;
	joint float8;
BEGIN
	SELECT action INTO acted FROM fa_belief WHERE agent_id = ids[1];
	PERFORM fa_observe(ids[i], outcomes[i:i]) FROM generate_subscripts(ids, 1) i;
	PERFORM fa_coalition_step('place');
	SELECT vfe INTO energy FROM fa_step(one, outcomes, did => acted);
	SELECT vfe INTO joint FROM fa_coalition_free_energy('place') WHERE agent_id IS NULL;
	RETURN format('belief %s, free energy %s', (SELECT bool_and(pg_temp.close(pg_temp.belief(i), pg_temp.belief(one))) FROM unnest(ids) i),
		pg_temp.close(ARRAY[energy], ARRAY[joint]));
END $$;
SELECT pg_temp.together(ARRAY[:a, :b, :c], :all_of_it, outcomes) FROM (VALUES ('{0,0,1}'::int[]), ('{1,1,1}'), ('{-1,0,-1}'), ('{0,0,0}')) v (outcomes);
-- between steps nothing is fresh
SELECT pg_temp.close(pg_temp.pooled('place'), pg_temp.belief(:a));
SELECT count(*) FROM (SELECT fa_step(:a, '{1}', did => '{1}'), fa_step(:b, '{0}', did => '{0}')) t;
SELECT pg_temp.close(pg_temp.pooled('place'), pg_temp.normalize(array_agg((x * y * z) ^ (1 / 3.0::float8))))
	FROM ROWS FROM (unnest(pg_temp.belief(:a)), unnest(pg_temp.belief(:b)), unnest(pg_temp.belief(:c))) AS t (x, y, z);
-- those that acted differently have different priors: these are pooled, and what is new is multiplied
CREATE TEMP TABLE forks AS SELECT i, fa_agent_fork(i) AS blind, fa_agent_fork(i) AS seeing FROM unnest(ARRAY[:a, :b, :c]) i;
SELECT count(*) FROM forks, fa_step(blind, '{-1}') UNION ALL SELECT count(*) FROM forks, fa_step(seeing, '{0}');
SELECT fa_observe(i, '{0}') FROM unnest(ARRAY[:a, :b, :c]) i;
SELECT count(*) FROM fa_coalition_step('place');
SELECT pg_temp.close(pg_temp.belief(:a), pg_temp.normalize(array_agg(value ORDER BY s))) FROM (
	SELECT s, exp(sum(ln((pg_temp.belief(blind))[s]) / 3 + ln((pg_temp.belief(seeing))[s] / (pg_temp.belief(blind))[s]))) AS value
	FROM forks, generate_series(1, 3) s GROUP BY s) t;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE forked_from IS NOT NULL;

-- one member: as fa_step, to the bit but for the posterior taken once more
SELECT fa_agent_create('place', params => '{"seed": 1}') AS alone \gset
SELECT fa_agent_fork(:alone) AS fork \gset
SELECT fa_coalition_create('alone', ARRAY[:alone]) IS NOT NULL AS made, fa_observe(:alone, '{1}');
SELECT c.step = s.step AS step, c.action = s.action AS action, c.vfe = s.vfe AS vfe, pg_temp.close(pg_temp.belief(:alone), pg_temp.belief(:fork)) AS belief
	FROM fa_coalition_step('alone') c, fa_step(:fork, '{1}') s;
-- members that flatly disagree: what the fewest rule out
SELECT fa_model_create('sure', '{"A": [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], "B": [{"next": [[0], [1], [2]]}], "D": [[0.4, 0.4, 0.2]]}') IS NOT NULL AS made;
SELECT min(i) AS x, min(i) + 1 AS y, min(i) + 2 AS z FROM fa_agent_create_many('sure', 3) i \gset
SELECT count(*) FROM fa_step_many(ARRAY[:x, :y, :z], '{{0},{1},{1}}');
SELECT fa_coalition_create('sure', ARRAY[:x, :y]) IS NOT NULL AS made;
SELECT fa_coalition_belief('sure');
SELECT fa_coalition_join('sure', :z);
SELECT fa_coalition_belief('sure');
-- who is paused is left out, who was dropped is gone
SELECT fa_agent_pause(ARRAY[:z]);
SELECT fa_coalition_belief('sure');
SELECT agent_id - :x AS agent, step FROM fa_coalition_step('sure');
SELECT agent_id - :x AS agent FROM fa_coalition_free_energy('sure');
SELECT fa_agent_drop(ARRAY[:y]);
SELECT fa_coalition_belief('sure'), (SELECT count(*) FROM fa_coalition_common WHERE agent_id = :y) AS left;
SELECT fa_agent_pause(ARRAY[:x]);
SELECT fa_coalition_belief('sure');
SELECT count(*) FROM fa_coalition_step('sure');
SELECT fa_coalition_create('none', '{}') IS NOT NULL AS made;
SELECT count(*) FROM fa_coalition_step('none') UNION ALL SELECT count(*) FROM fa_coalition_step(NULL) UNION ALL SELECT count(*) FROM fa_coalition_free_energy('none');
SELECT fa_coalition_belief('none');

-- factors that are shared, and those that are each one's own
SELECT fa_model_create('two', '{"factors": [{"name": "here", "states": ["left", "right"]}, {"name": "rule", "states": ["0", "1", "2"], "controlled_by": []}],
	"A": [[[1, 0], [0, 1]], [[0.7, 0.2, 0.1], [0.3, 0.8, 0.9]]], "modalities": [{"depends_on": ["here"]}, {"depends_on": ["rule"]}],
	"B": [{"next": [[0, 1], [0, 1]]}, {"next": [[0], [1], [2]]}], "D": [[0.5, 0.5], [0.5, 0.3, 0.2]]}') IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b FROM fa_agent_create_many('two', 2) i \gset
SELECT fa_agent_create('rule') AS c \gset
SELECT fa_coalition_create('rule', ARRAY[:a, :b], factors => '{rule}'), fa_coalition_create('common', ARRAY[:a, :b, :c]) \gset made_
SELECT count(*) FROM fa_step_many(ARRAY[:a, :b, :c], '{{0,0},{1,1},{0,NULL}}');
SELECT fa_coalition_belief('rule'), fa_coalition_belief('common');
SELECT fa_observe(:a, '{-1,1}');
SELECT count(*) FROM fa_coalition_step('rule');
SELECT fa_belief(:a), fa_belief(:b);
SELECT belief = (SELECT belief FROM fa_belief WHERE agent_id = :b) AS same, belief[1:2] FROM fa_coalition_common WHERE agent_id = :a;
-- models that differ are asked for what they have in common; steps of all need outcomes that fit all
SELECT count(*) FROM fa_coalition_step('common');
SELECT (SELECT belief[3:5] FROM fa_belief WHERE agent_id = :a) = pg_temp.belief(:c) AS same;
SELECT fa_model_create('other', '{"factors": [{"name": "rule", "states": ["red", "blue", "green"]}], "A": [[[1, 0, 0], [0, 1, 1]]], "B": [{"next": [[0], [1], [2]]}], "D": [[1, 0, 0]]}') IS NOT NULL AS made;
SELECT fa_model_create('nothing', '{"factors": [{"name": "mood"}], "A": [[[1, 0], [0, 1]]], "B": [{"next": [[0], [1]]}], "D": [[1, 0]]}') IS NOT NULL AS made;
SELECT fa_coalition_create('other', ARRAY[:a, fa_agent_create('other')]), fa_coalition_create('nothing', ARRAY[:a, fa_agent_create('nothing')]),
	fa_coalition_create('unknown', ARRAY[:a, :c], factors => '{here}'), fa_coalition_create('unknown here', ARRAY[:a, :c], factors => '{x}') \gset made_
SELECT pg_temp.raises(command) FROM unnest(ARRAY[
	'SELECT fa_coalition_belief(''other'')', 'SELECT fa_coalition_step(''other'')', 'SELECT fa_coalition_belief(''nothing'')',
	'SELECT fa_coalition_belief(''unknown'')', 'SELECT fa_coalition_belief(''unknown here'')', 'SELECT fa_coalition_step(''common'', ''{0}'')',
	'SELECT fa_coalition_step(''common'', ''{0,2}'')', 'SELECT fa_coalition_belief(''x'')', 'SELECT fa_coalition_step(''x'')',
	'SELECT fa_coalition_free_energy(''x'')', 'SELECT fa_coalition_join(''rule'', 1, 0)', 'SELECT fa_coalition_join(''rule'', 1, ''infinity'')', 'SELECT fa_coalition_join(''rule'', 1, ''NaN'')', 'SELECT fa_coalition_join(''rule'', 1, 1e101)',
	format('SELECT fa_coalition_create(''w'', ARRAY[%s], weights => ''{1,2}'')', :a), format('SELECT fa_coalition_create(''w'', ARRAY[%s], weights => ''{-1}'')', :a), format('SELECT fa_coalition_create(''w'', ARRAY[%s], weights => ''{NaN}'')', :a),
	format('SELECT fa_coalition_create(''w'', ARRAY[%s], weights => ''{NULL}'')', :a), format('SELECT fa_coalition_create(''w'', ARRAY[%s], factors => ''{NULL}'')', :a)]) AS command;
SELECT fa_coalition_create(NULL, '{}');
-- nothing was changed by what failed
SELECT max(step) FROM fa_belief WHERE agent_id IN (:a, :b, :c);
-- members that learn do so from the pooled belief; history has it too
SELECT fa_model_create('pupil', '{"factors": [{"name": "rule"}], "A": [[[0.7, 0.2], [0.3, 0.8]]], "B": [{"next": [[0], [1]]}], "D": [[0.5, 0.5]], "pA": [[[7, 2], [3, 8]]], "learn_A": true}') IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b FROM fa_agent_create_many('pupil', 2, '{"history": ["belief"]}') i \gset
SELECT fa_coalition_create('pupils', ARRAY[:a, :b]) IS NOT NULL AS made FROM (SELECT fa_observe(:a, '{0}'), fa_observe(:b, '{0}')) t;
SELECT count(*) FROM fa_coalition_step('pupils');
SELECT belief = pg_temp.belief(agent_id) AS same, observation FROM fa_history WHERE agent_id IN (:a, :b) ORDER BY agent_id;
SELECT pg_temp.close(ARRAY[(fa_parameters(:a) #>> '{pA,0,0,0}')::float8], ARRAY[7 + (pg_temp.belief(:a))[1]]) AS learned;

-- what each believes then is what the graph is told: the pooled belief, of a member who saw nothing as well, and only at a change of mind
SELECT fa_model_create('told', '{"factors": [{"name": "rule", "states": ["red", "blue"]}], "A": [[[0.75, 0.25], [0.25, 0.75]]], "B": [{"next": [[0], [1]]}], "D": [[0.5, 0.5]]}') IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b FROM fa_agent_create_many('told', 2) i \gset
SELECT fa_belief_sync('told', 'change', 0.3), fa_coalition_create('told', ARRAY[:a, :b]) IS NOT NULL AS made;
CREATE VIEW pg_temp.told AS SELECT (props ->> 'agent_id')::bigint AS agent_id, props - 'agent_id' AS props FROM fa_node WHERE kind = 'agent';
SELECT fa_observe(:a, '{1}');
SELECT count(*) FROM fa_coalition_step('told');
SELECT agent_id - :a AS agent, props, fa_belief(agent_id) = props -> 'belief' AS same FROM pg_temp.told ORDER BY 1;
SELECT count(*) FROM fa_coalition_step('told', '{1}');
SELECT agent_id - :a AS agent, props, fa_belief(agent_id) = props -> 'belief' AS same FROM pg_temp.told ORDER BY 1;
SELECT count(*) FROM generate_series(1, 3) i, fa_coalition_step('told', ARRAY[0 * i]);
SELECT agent_id - :a AS agent, props #>> '{believes,rule}' AS believes FROM pg_temp.told ORDER BY 1;
SELECT fa_belief_sync('told', 'never'), fa_agent_drop(ARRAY[:a, :b]);
SELECT count(*) FROM pg_temp.told;
DROP VIEW pg_temp.told;
DELETE FROM fa_node_history;
ALTER SEQUENCE fa_node_id_seq RESTART;

-- the rights are those of each member's owner
CREATE ROLE regress_fa_ann;
CREATE ROLE regress_fa_bob;
SET ROLE regress_fa_bob;
SELECT fa_model_create('bob''s', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT fa_agent_create('bob''s') AS bob \gset
SET ROLE regress_fa_ann;
SELECT fa_model_create('ann''s', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT fa_agent_create('ann''s') AS ann \gset
RESET ROLE;
SET ROLE regress_fa_ann;
SELECT fa_coalition_create('ann''s', ARRAY[:ann]) IS NOT NULL AS made;
SELECT step FROM fa_coalition_step('ann''s');
SELECT count(*) FROM fa_coalition_common UNION ALL SELECT count(*) FROM fa_coalition_outcome;
RESET ROLE;
SELECT fa_coalition_join('ann''s', :bob);
SET ROLE regress_fa_ann;
SELECT pg_temp.raises(command) FROM unnest(ARRAY['SELECT fa_coalition_belief(''ann''''s'')', 'SELECT fa_coalition_step(''ann''''s'')', 'SELECT fa_coalition_belief(''rule'')']) AS command;
SELECT count(*) FROM fa_coalition_free_energy('ann''s');
RESET ROLE;
SELECT count(*) FROM fa_coalition_step('ann''s');
SET ROLE regress_fa_ann;
SELECT pg_temp.raises('SELECT fa_coalition_free_energy(''ann''''s'')');
SELECT count(*) FROM fa_coalition_common UNION ALL SELECT count(*) FROM fa_coalition_outcome;
RESET ROLE;
BEGIN READ ONLY;
SELECT fa_coalition_belief('pupils') IS NOT NULL AS read, (SELECT count(*) FROM fa_coalition_free_energy('pupils')) AS rows;
SELECT fa_coalition_step('pupils');
ROLLBACK;

SELECT fa_coalition_dissolve(name) FROM fa_coalition;
SELECT count(*) FROM fa_coalition_outcome;
SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent;
SELECT count(*) FROM fa_coalition_common;
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model) m;
DROP ROLE regress_fa_ann, regress_fa_bob;
