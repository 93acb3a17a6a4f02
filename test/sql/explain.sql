-- Why an agent did what it did, by numbers and by names.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

SELECT fa_model_create('explain tmaze', fa_spec_tmaze(policy_len => 2)) > 0 AS made;
SELECT fa_agent_create('explain tmaze', 'explain ann') AS ann \gset

-- before it acted there is nothing to explain
SELECT pg_temp.raises(format('SELECT fa_explain(%s)', :ann));
SELECT fa_action(:ann), fa_belief(:ann);
-- (a T-maze at its start: the cue is worth ln 2 - H(0.95), twice where it is seen twice)
SELECT action FROM fa_step(:ann, '{0,0,0}');
SELECT policy, actions, round(probability::numeric, 9) AS probability, round(neg_efe::numeric, 9) AS neg_efe,
	round(utility::numeric, 9) AS utility, round(state_info_gain::numeric, 9) AS state_info_gain,
	param_info_gain, inductive
FROM fa_explain(:ann);
-- by names; what is shown is rounded where only noise is left
SELECT fa_action(:ann), fa_belief(:ann);
SELECT count(*) = 1 AS one, bool_and(c.probability >= e.best * (1 - 1e-9)) AS the_best, bool_and(c.policy = first) AS the_first
FROM (SELECT max(probability) AS best, (array_agg(policy ORDER BY probability DESC, policy))[1] AS first FROM fa_explain(:ann)) AS e,
	fa_explain(:ann) AS c, fa_belief b
WHERE b.agent_id = :ann AND c.policy = (SELECT min(policy) FROM fa_explain(:ann) AS f WHERE f.probability >= e.best * (1 - 1e-9))
	AND c.actions[1:1][1:2] = ARRAY[b.action];
SELECT sum(probability)::numeric(20, 12) AS sum,
	max(abs(neg_efe - utility - state_info_gain - param_info_gain - inductive)) < 1e-12 AS parts
FROM fa_explain(:ann);
-- it changes nothing, and says the same again
SELECT md5(string_agg(e::text, ',')) AS said FROM fa_explain(:ann) AS e \gset
SELECT md5(string_agg(e::text, ',')) = :'said' AS same FROM fa_explain(:ann) AS e;
-- also while the agent is paused; a new trial has nothing to explain
SELECT fa_agent_pause(ARRAY[:ann]);
SELECT count(*) FROM fa_explain(:ann);
SELECT fa_agent_resume(ARRAY[:ann]), fa_agent_reset(ARRAY[:ann]);
SELECT pg_temp.raises(format('SELECT fa_explain(%s)', :ann));
SELECT count(*) FROM fa_explain(NULL);
SELECT fa_belief(NULL) IS NULL AND fa_action(NULL) IS NULL AND fa_parameters(NULL) IS NULL AS nothing;
SELECT pg_temp.raises('SELECT fa_explain(-1)');

-- What reads sees what its statement sees: the agent as it was when that began.
SELECT s.step, fa_action(:ann) AS before FROM fa_step(:ann, '{0,0,0}') AS s;
SELECT fa_action(:ann) IS NOT NULL AS after;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT fa_action(:ann) IS NOT NULL AS acted;
SELECT count(*) FROM fa_explain(:ann);
COMMIT;

-- Terms that are switched off are 0.
CREATE FUNCTION pg_temp.terms(name text, spec jsonb, OUT utility boolean, OUT state_info_gain boolean,
	OUT param_info_gain boolean, OUT inductive boolean, OUT probability numeric[])
LANGUAGE plpgsql AS $$
DECLARE
	agent bigint;
BEGIN
	PERFORM fa_model_create(name, spec);
	agent := fa_agent_create(name);
	PERFORM fa_step(agent, '{0}');
	SELECT bool_or(e.utility <> 0), bool_or(e.state_info_gain > 1e-9), bool_or(e.param_info_gain <> 0),
		bool_or(e.inductive <> 0), array_agg(round(e.probability::numeric, 9) ORDER BY policy)
	INTO utility, state_info_gain, param_info_gain, inductive, probability FROM fa_explain(agent) AS e;
	PERFORM fa_agent_drop(ARRAY[agent]);
	PERFORM fa_model_drop(name);
END $$;
\set spec '{"A": [[[0.9, 0.2], [0.1, 0.8]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 2]], "E": [3, 1], "pA": [[[9, 2], [1, 8]]]}'
SELECT name, t.* FROM (VALUES ('explain all', '{"use_param_info_gain": true}'::jsonb),
	('explain no utility', '{"use_utility": false}'), ('explain no gain', '{"use_states_info_gain": false}'),
	('explain none', '{"use_utility": false, "use_states_info_gain": false}'),
	('explain no gamma', '{"gamma": 0}'), ('explain no E', '{"E": null}')) AS v (name, added)
	CROSS JOIN LATERAL pg_temp.terms(name, jsonb_strip_nulls(:'spec'::jsonb || added)) AS t;
SELECT t.* FROM pg_temp.terms('explain inductive', fa_spec_grid(2, 2)
	|| '{"use_inductive": true, "H": [{"r1c1": 1}], "inductive_depth": 5, "C": [[0, 0, 0, 0]]}') AS t;

-- Shapes: policies of several controls and steps, a model without a choice
SELECT fa_model_create('explain two', '{"A": [[[1, 0], [0, 1]]], "A_dependencies": [[0]], "controls": [{"name": "hand", "actions": ["left", "right"]}, {"name": "foot", "actions": 3}, {"name": "idle", "actions": 1}], "factors": [{"name": "here", "states": 2, "controlled_by": ["foot", "hand"]}, {"name": "there", "states": ["x", "y z", "\"q\""], "controlled_by": ["idle"]}],
	"B": [{"next": [[[0, 1], [1, 1], [0, 0]], [[1, 0], [0, 0], [1, 1]]]}, {"next": [[1], [2], [0]]}], "policies": [[["right", 2, 0], ["left", 0, 0]], [["left", 1, 0], ["right", 1, 0]]]}') > 0 AS made;
SELECT fa_agent_create('explain two', 'explain bob') AS bob \gset
SELECT action FROM fa_step(:bob, '{1}');
SELECT policy, actions, array_dims(actions) AS dims FROM fa_explain(:bob);
SELECT fa_action(:bob), fa_belief(:bob);
SELECT fa_model_create('explain still', '{"A": [[[0.9, 0.2], [0.1, 0.8]]], "B": [[[0.8, 0.3], [0.2, 0.7]]], "factors": [{"controlled_by": []}]}') > 0 AS made;
SELECT fa_agent_create('explain still', 'explain cat') AS cat \gset
SELECT action FROM fa_step(:cat, '{1}');
SELECT policy, actions, probability FROM fa_explain(:cat);
SELECT fa_action(:cat);

SELECT fa_agent_drop(array_agg(agent_id)) FROM fa_agent WHERE name LIKE 'explain %';
SELECT count(fa_model_drop(name)) FROM (SELECT DISTINCT name FROM fa_model WHERE name LIKE 'explain %') AS m;
