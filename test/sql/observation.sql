-- The inbox: observations that wait, taken exactly once, in their order.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- A ring of four places that are seen for certain, and a lamp seen at random.
\set spec '{"factors": [{"name": "place", "states": ["north", "east", "south", "west"], "actions": ["stay", "on"]}, {"name": "light", "states": ["off", "on"], "controlled_by": []}], "modalities": [{"name": "seen", "outcomes": 4, "depends_on": ["place"]}, {"name": "lamp", "outcomes": 2, "depends_on": ["light"]}], "A": [{"shape": [4, 4], "default": 0, "entries": [[0, 0, 1], [1, 1, 1], [2, 2, 1], [3, 3, 1]]}, [[0.9, 0.1], [0.1, 0.9]]], "B": [{"next": [[0, 1], [1, 2], [2, 3], [3, 0]]}, [[0.5, 0.5], [0.5, 0.5]]], "C": [{"2": 3}, null]}'
SELECT fa_model_create('observation m', :'spec') > 0 AS made;
-- the agent with a world: that begins in the east, with the light on
SELECT fa_world_create('observation w', :'spec'::jsonb || '{"D": [[0, 1, 0, 0], [0, 1]], "A": [{"shape": [4, 4], "default": 0, "entries": [[0, 0, 1], [1, 1, 1], [2, 2, 1], [3, 3, 1]]}, [[1, 0], [0, 1]]]}') > 0 AS made;
SELECT fa_agent_create('observation m', 'observation ann', '{"history": true}') AS ann \gset
SELECT fa_agent_create('observation m', 'observation bob', '{"history": true, "world": "observation w", "seed": 1}') AS bob \gset

-- Observations wait in the order of their arrival.
SELECT fa_observe(:ann, '{0,0}'), fa_observe(:ann, '{1,NULL}'), fa_observe(:ann, '{}');
SELECT observation, received_at <= clock_timestamp() AS received FROM fa_observation
WHERE agent_id = :ann ORDER BY observation_id;
-- an explicit one leaves the inbox alone
SELECT step FROM fa_step(:ann, '{3,1}');
SELECT step FROM fa_step(:ann, '{}');
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
-- each step takes one; then there is no evidence
SELECT step FROM fa_step(:ann);
SELECT step FROM fa_step_many(ARRAY[:ann]);
SELECT step FROM fa_step_many(ARRAY[:ann], '{{NULL,NULL}}');
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
SELECT step FROM fa_step(:ann);
SELECT step, observation FROM fa_history WHERE agent_id = :ann ORDER BY step;

-- An agent that has a world: what the inbox says wins, the world fills in the rest.
SELECT fa_observe(:bob, '{3,-1}'), fa_observe(:bob, '{-1,0}'), fa_observe(:bob, '{}'), fa_observe(:bob, '{2,0}');
SELECT world_state FROM fa_belief WHERE agent_id = :bob;
SELECT step FROM fa_step(:bob);
SELECT h.step, h.observation, b.world_state FROM fa_history h JOIN fa_belief b USING (agent_id)
WHERE agent_id = :bob;
SELECT step FROM fa_step(:bob);
-- did says how the world moves
SELECT step FROM fa_step(:bob, did => '{0}');
SELECT step FROM fa_step(:bob, did => '{1}');
SELECT step, observation[1] AS seen, CASE WHEN step IN (2, 4) THEN observation[2] END AS lamp, action
FROM fa_history WHERE agent_id = :bob ORDER BY step;
SELECT world_state[1] AS place FROM fa_belief WHERE agent_id = :bob;
-- a closed loop takes from the inbox, too
SELECT fa_observe(:bob, '{0,0}'), fa_observe(:bob, '{0,1}');
SELECT step, observation FROM fa_run(:bob, 2);
SELECT fa_observe(:ann, '{0,0}'), fa_observe(:ann, '{0,1}'), fa_observe(:ann, '{1,1}');
SELECT step, observation FROM fa_run_many(ARRAY[:ann], 1, 2) ORDER BY step;
SELECT observation FROM fa_observation WHERE agent_id = :ann;
SELECT count(*) FROM fa_step(:ann);

-- Keys: the same observation twice arrives once, also after it was taken.
SELECT fa_observe(:ann, '{1,0}', 'mail 1'), fa_observe(:ann, '{1,0}', 'mail 1'), fa_observe(:ann, '{1,0}', 'mail 2');
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
SELECT count(*) FROM fa_step(:ann);
SELECT count(*) FROM fa_step(:ann);
SELECT fa_observe(:ann, '{1,0}', 'mail 1'), fa_observe(:ann, '{1,0}', 'mail 2');
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
-- the keys of steps are others
SELECT fa_observe(:ann, '{2,0}', 'mail 3');
SELECT step IS NOT NULL AS stepped FROM fa_step(:ann, '{3,0}', 'mail 3');
SELECT key, kind, observation, step IS NOT NULL AS step FROM fa_key WHERE agent_id = :ann ORDER BY key, kind;
SELECT count(*) FROM fa_step(:ann);
-- rolled back, it never came
BEGIN;
SELECT fa_observe(:ann, '{1,1}', 'mail 4');
ROLLBACK;
SELECT fa_observe(:ann, '{1,0}', 'mail 4');
-- and a step that is rolled back leaves it there
BEGIN;
SELECT count(*) FROM fa_step(:ann);
SELECT count(*) FROM fa_observation WHERE agent_id = :ann;
ROLLBACK;
SELECT observation FROM fa_observation WHERE agent_id = :ann;
SELECT count(*) FROM fa_step(:ann);

-- A retention that has passed
SET fa_agents.key_retention = '1s';
SELECT pg_sleep(1.1);
SELECT fa_observe(:ann, '{3,0}', 'mail 1');
RESET fa_agents.key_retention;
SELECT count(*) FROM fa_step(:ann);

-- What is wrong is said.
SELECT pg_temp.everything() AS before \gset
SELECT call, pg_temp.raises(format('SELECT fa_observe(' || call || ')', :ann)) FROM unnest(ARRAY[
	'%s, ''{4,0}''', '%s, ''{0,-2}''', '%s, ''{0}''', '%s, ''{0,0,0}''', '%s, ''{{0,0}}''', '%s, NULL',
	'NULL, ''{0,0}''', '-1, ''{0,0}''', '%s, ''{0,0}'', ''''', '%s, ''{0,0}'', repeat(''k'', 1001)',
	'%s, ''{0,1}'', ''mail 1''', '%s, ''{}'', ''mail 1''']) AS call;
SELECT pg_temp.everything() = :'before' AS as_before;
-- a full inbox
SET fa_agents.inbox_limit = 2;
SELECT fa_observe(:ann, '{0,0}'), fa_observe(:ann, '{1,0}', 'k5');
SELECT pg_temp.everything() AS before \gset
SELECT pg_temp.raises(format('SELECT fa_observe(%s, ''{2,0}'')', :ann));
SELECT pg_temp.raises(format('SELECT fa_observe(%s, ''{2,0}'', ''k6'')', :ann));
SELECT pg_temp.everything() = :'before' AS as_before;
-- is full for new ones alone
SELECT fa_observe(:ann, '{1,0}', 'k5');
SELECT fa_observe(:bob, '{1,0}');
SELECT count(*) FROM fa_step(:ann);
SELECT fa_observe(:ann, '{2,0}', 'k6');
RESET fa_agents.inbox_limit;
-- an agent's inbox goes with it
SELECT fa_agent_drop(ARRAY[:ann, :bob]);
SELECT fa_model_drop('observation m'), fa_world_drop('observation w');
SELECT count(*) FROM fa_observation;
