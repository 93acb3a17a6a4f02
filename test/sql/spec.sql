-- The ready specs: their arrays, names and errors.  That they equal pymdp's
-- environments is for test/reference/compare_spec.py to show; what it showed
-- to be equal is kept here.

-- what is shown is wide
\pset format unaligned
\set VERBOSITY terse

-- grids: a small one whole
SELECT key, value FROM jsonb_each(fa_spec_grid(3, 2));

-- walls, no STAY, another goal and start
SELECT s->'B' AS "B", s->'C' AS "C", s->'D' AS "D", s->'controls' AS controls
FROM fa_spec_grid(2, 2, walls => '{1}', goal => 2, start => 3, stay => false,
	policy_len => 2, preference => -1.5) s;

-- moves that may fail, and noise: the start is unknown then
SELECT s->'A' AS "A", s->'B' AS "B", s->'D' AS "D"
FROM fa_spec_grid(2, 2, walls => '{1,1}', noise => 0.2, success => 0.75,
	stay => false) s;
-- unless it is given
SELECT fa_spec_grid(2, 2, noise => 0.2, start => 1)->'D' AS "D";
-- moves that always fail
SELECT fa_spec_grid(1, 2, success => 0, stay => false)->'B' AS "B";

-- the same bits whatever extra_float_digits says
SET extra_float_digits = -5;
SELECT fa_spec_tmaze(cue_validity => 0.9)#>>'{A,2,2,3,0}' AS wrong_cue;
RESET extra_float_digits;

-- the T-maze
SELECT key, value FROM jsonb_each(fa_spec_tmaze());
SELECT s#>'{A,1}' AS reward, s#>'{A,2}' AS cue, s#>'{C,1}' AS "C"
FROM fa_spec_tmaze(0.75, 0.5, 0.25, 2, 1, -1) s;
SELECT s#>'{A,1}' AS reward, s->'D' AS "D"
FROM fa_spec_tmaze(reward_probability => 0.75, dependent_outcomes => true,
	reward_condition => 1) s;

-- cue chaining
SELECT s->'factors' AS factors FROM fa_spec_cue_chain() s;
SELECT s->'controls' AS controls, s->'C' AS "C", s->'D' AS "D",
	s->'policy_len' AS policy_len
FROM fa_spec_cue_chain() s;
SELECT s#>'{modalities,1}' AS cue1, s#>'{modalities,2}' AS cue2,
	s#>'{modalities,3}' AS reward
FROM fa_spec_cue_chain() s;
-- where the cues speak and the rewards are
SELECT name, outcome, (cell - 1) / 7 AS row, (cell - 1) % 7 AS column, states
FROM fa_spec_cue_chain() s,
	unnest('{1,2,3}'::int[], '{cue1,cue2,reward}'::text[]) AS m(a, name),
	jsonb_array_elements(s->'A'->a) WITH ORDINALITY AS o(rows, outcome),
	jsonb_array_elements(rows) WITH ORDINALITY AS l(states, cell)
WHERE outcome > 1 AND states::text LIKE '%1%'
ORDER BY a, outcome, cell;
SELECT s#>'{B,0,next,0}' AS corner, s#>'{B,0,next,8}' AS inside,
	s#>'{B,0,next,34}' AS last, s#>'{B,1}' AS second_cue
FROM fa_spec_cue_chain() s;
SELECT s->'C' AS "C", s->'D' AS "D"
FROM fa_spec_cue_chain(2, 1, -1, cue2_state => 2, reward_condition => 0) s;

-- graphs
SELECT key, value FROM jsonb_each(fa_spec_graph(3, '{{0,1},{1,2}}'));
SELECT s->'B' AS "B", s->'D' AS "D", s->'C' AS "C"
FROM fa_spec_graph(2, '{}', start => 1, object => 2, preference => 10) s;
-- direction, repetition and loops make no difference
SELECT fa_spec_graph(3, '{{1,0},{2,1},{1,2},{0,0}}')
	= fa_spec_graph(3, '{{0,1},{1,2}}') AS same;
SELECT fa_spec_graph(3, '[5:6][2:3]={{0,1},{1,2}}')
	= fa_spec_graph(3, '{{0,1},{1,2}}') AS same;

-- sizes grow as the states do, not as their square
SELECT length(fa_spec_grid(30, 30)::text) / 1000 AS kilobytes;
SELECT jsonb_array_length(s#>'{factors,0,states}') AS states,
	jsonb_array_length(s#>'{B,0,next}') AS rows
FROM fa_spec_grid(100, 1000) s;

-- the compiler takes all of them, up to the largest
SELECT count(problem) AS problems
FROM unnest(ARRAY[
		fa_spec_grid(1, 1, stay => false),
		fa_spec_grid(4, 6, walls => '{5,9}', noise => 0.1, success => 0.8),
		fa_spec_grid(2, 2, success => 0),
		fa_spec_grid(100, 1000),
		fa_spec_tmaze(),
		fa_spec_tmaze(reward_condition => 1, dependent_outcomes => true),
		fa_spec_cue_chain(),
		fa_spec_cue_chain(1, cue2_state => 2, reward_condition => 1),
		fa_spec_graph(7, '{{0,1},{0,2},{0,3},{3,4},{3,5},{3,6}}'),
		fa_spec_graph(2, '{}', object => 2),
		fa_spec_graph(1000, '{{0,999}}', policy_len => 1)]) AS spec,
	fa_model_check(spec) AS problem;
-- what is changed with || stays a spec
SELECT count(problem) AS problems
FROM fa_model_check(fa_spec_grid(5, 5) || '{"use_inductive": true,
	"inductive_depth": 9, "H": [{"r4c4": 1}], "gamma": 4}') AS problem;

-- they are immutable, parallel workers may call them, and nulls come through
SELECT proname, provolatile, proparallel, proisstrict
FROM pg_proc WHERE proname LIKE 'fa\_spec\_%' ORDER BY proname;

\set VERBOSITY default

-- what is wrong is said
SELECT fa_spec_grid(0, 3);
SELECT fa_spec_grid(3, -1);
SELECT fa_spec_grid(1000, 101);
SELECT fa_spec_grid(100000, 100000);
SELECT fa_spec_grid(2147483647, 2147483647);
SELECT fa_spec_grid(NULL, 3);
SELECT fa_spec_grid(3, 3, policy_len => NULL);
SELECT fa_spec_grid(3, 3, policy_len => 0);
SELECT fa_spec_grid(3, 3, stay => NULL);
SELECT fa_spec_grid(3, 3, walls => '{9}');
SELECT fa_spec_grid(3, 3, walls => '{-1}');
SELECT fa_spec_grid(3, 3, walls => '{1,NULL}');
SELECT fa_spec_grid(3, 3, walls => '{8}');
SELECT fa_spec_grid(3, 3, walls => '{0}');
SELECT fa_spec_grid(3, 3, goal => 9);
SELECT fa_spec_grid(3, 3, start => -1);
SELECT fa_spec_grid(3, 3, noise => 1.5);
SELECT fa_spec_grid(3, 3, success => 'NaN');
SELECT fa_spec_grid(3, 3, preference => 'Infinity');
SELECT fa_spec_tmaze(cue_validity => -0.1);
SELECT fa_spec_tmaze(punishment_probability => NULL);
SELECT fa_spec_tmaze(reward_preference => 'NaN');
SELECT fa_spec_tmaze(reward_condition => 2);
SELECT fa_spec_cue_chain(cue2_state => 4);
SELECT fa_spec_cue_chain(policy_len => 1001);
SELECT fa_spec_graph(0, '{}');
SELECT fa_spec_graph(1001, '{}');
SELECT fa_spec_graph(3, NULL);
SELECT fa_spec_graph(3, '{0,1}');
SELECT fa_spec_graph(3, '{{0,1,2}}');
SELECT fa_spec_graph(3, '{{0,3}}');
SELECT fa_spec_graph(3, '{{0,NULL}}');
SELECT fa_spec_graph(3, '{{0,1}}', start => 3);
SELECT fa_spec_graph(3, '{{0,1}}', object => 4);
