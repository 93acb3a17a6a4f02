-- Formation of coalitions: who should do which task.

\getenv testdir PG_ABS_SRCDIR
\set helpers :testdir /helpers.sql
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset null NULL

-- each row tells who covers what, and who else could
SELECT * FROM fa_coalition_form('{"1": ["see"], "2": ["hear"], "3": ["see", "hear"], "4": ["walk"], "5": ["swim"]}',
	'[{"name": "watch", "skills": ["see", "hear"], "value": 5}, {"name": "carry", "skills": ["walk", "walk"], "value": 3},
	  {"name": "fly", "skills": ["wings", "see"], "value": 100}, {"name": "guard", "skills": ["see"], "value": 1}]', 0.5);
-- a task gives way to one that is worth more, and says so; cheap ones are not worth their members
SELECT task, agent_ids, value, next_agent_ids, next_value, reason FROM fa_coalition_form('{"1": ["a"], "2": ["a", "b"]}',
	'[{"name": "x", "skills": ["a"], "value": 4}, {"name": "y", "skills": ["a", "b"], "value": 2}, {"name": "z", "skills": ["b"], "value": 3},
	  {"name": "cheap", "skills": ["a"], "value": 1}, {"name": "loss", "skills": ["a"], "value": -2}]', 1);
-- what looks best first is not best in all; without work it is all that is found
SELECT task, agent_ids, work, exact FROM (VALUES (1), (1000)) w (work), fa_coalition_form('{"1": ["a", "b"], "2": ["a"]}',
	'[{"name": "x", "skills": ["a"], "value": 3}, {"name": "y", "skills": ["b"], "value": 2}]', work => work) ORDER BY work, task;
SELECT count(*) FROM fa_coalition_form('{}', '[]');
SELECT * FROM fa_coalition_form('{}', '[{"name": "it''s \"日本\"", "skills": ["\"quoted\""], "value": 1}]');
SELECT agent_ids, covers FROM fa_coalition_form('{"-7": ["\"quoted\""], "9223372036854775807": []}', '[{"name": "", "skills": ["\"quoted\""], "value": 1}]');
SELECT pg_temp.raises(format('SELECT fa_coalition_form(%L, %L, %s, %s)', agents, tasks, cost, work)) FROM (VALUES
	('[]', '[]', '0', 1), ('{}', '{}', '0', 1), ('{"a": []}', '[]', '0', 1), ('{"99999999999999999999": []}', '[]', '0', 1), ('{"1": 3}', '[]', '0', 1), ('{"1": [3]}', '[]', '0', 1),
	('{}', '[3]', '0', 1), ('{}', '[{"name": "x", "skills": ["a"]}]', '0', 1), ('{}', '[{"name": "x", "skills": ["a"], "value": "1"}]', '0', 1),
	('{}', '[{"name": "x", "skills": ["a"], "value": 1e999}]', '0', 1), ('{}', '[{"name": "x", "skills": [], "value": 1}]', '0', 1), ('{}', '[{"name": "x", "skills": [null], "value": 1}]', '0', 1),
	('{"1": ["a"], " 01": ["a"]}', '[]', '0', 1), ('{}', '[{"name": "x", "skills": ["a"], "value": 1e308}, {"name": "y", "skills": ["a"], "value": -1e308}]', '0', 1),
	('{}', '[{"name": 5, "skills": ["a"], "value": 1}]', '0', 1), ('{}', '[]', '-1', 1), ('{}', '[]', '''infinity''', 1), ('{}', '[]', '0', 0)) AS v (agents, tasks, cost, work);

-- against all ways to give six agents one of three tasks, or none; skills are the bits of a number
CREATE TEMP TABLE form AS
	SELECT c, (c % 3) * 0.45::float8 AS cost,
		(SELECT array_agg(abs(hashint4(c * 100 + i)) % 16 ORDER BY i) FROM generate_series(1, 6) i) AS agents,
		(SELECT array_agg(abs(hashint4(c * 100 + 50 + t)) % 15 + 1 ORDER BY t) FROM generate_series(1, 3) t) AS needs,
		(SELECT array_agg(1 + abs(hashint4(c * 100 + 80 + t)) % 40 / 10.0::float8 ORDER BY t) FROM generate_series(1, 3) t) AS worth
	FROM generate_series(1, 60) c;
CREATE FUNCTION pg_temp.names(skills int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT coalesce(jsonb_agg('skill ' || b), '[]') FROM generate_series(0, 3) b WHERE skills >> b & 1 = 1
$$;
CREATE TEMP TABLE formed AS
	SELECT c, f.* FROM form, fa_coalition_form((SELECT jsonb_object_agg(i, pg_temp.names(s)) FROM unnest(agents) WITH ORDINALITY a (s, i)),
		(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', pg_temp.names(n), 'value', worth[t]) ORDER BY t) FROM unnest(needs) WITH ORDINALITY a (n, t)), cost) f;
CREATE TEMP TABLE best AS
	SELECT c, max(total) AS total FROM (
		SELECT c, w, sum(CASE WHEN have & needs[t] = needs[t] THEN worth[t] ELSE 0 END - cost * members) AS total FROM (
			SELECT c, cost, needs, worth, w, t, coalesce(bit_or(agents[i]) FILTER (WHERE w >> (2 * (i - 1)) & 3 = t), 0) AS have,
				count(*) FILTER (WHERE w >> (2 * (i - 1)) & 3 = t) AS members
			FROM form, generate_series(0, 4095) w, generate_series(1, 3) t, generate_series(1, 6) i WHERE c <= 12 GROUP BY c, cost, needs, worth, w, t) p
		GROUP BY c, w) q
	GROUP BY c;
SELECT count(*) AS cases, bool_and(exact) AS exact, bool_and(abs(total - found) < 1e-9) AS best
	FROM best JOIN (SELECT c, bool_and(exact) AS exact, coalesce(sum(value), 0) AS found FROM formed GROUP BY c) f USING (c);
-- coalitions have all skills, no member too many, nobody twice, and the values add up
SELECT bool_and(have & needs[task::int] = needs[task::int]) AS covered, bool_and(abs(value - worth[task::int] + cost * cardinality(agent_ids)) < 1e-9) AS value
	FROM formed JOIN form USING (c), LATERAL (SELECT bit_or(agents[i]) AS have FROM unnest(agent_ids) i) h WHERE agent_ids IS NOT NULL;
SELECT count(*) AS needless FROM formed JOIN form USING (c), unnest(agent_ids) AS one
	WHERE (SELECT coalesce(bit_or(agents[i]), 0) FROM unnest(agent_ids) i WHERE i <> one) & needs[task::int] = needs[task::int];
SELECT count(*) AS twice FROM (SELECT c, i FROM formed, unnest(agent_ids) i GROUP BY c, i HAVING count(*) > 1) t;
-- runners-up are other coalitions that could do it, and the least of those: against all sets of who is free
SELECT count(*) > 20 AS some, bool_and(have & needs[task::int] = needs[task::int]) AS covered, bool_and(next_agent_ids <> agent_ids) AS others
	FROM formed JOIN form USING (c), LATERAL (SELECT bit_or(agents[i]) AS have FROM unnest(next_agent_ids) i) h WHERE next_agent_ids IS NOT NULL AND agent_ids IS NOT NULL;
-- whichever of its members is the one who is hard to replace
SELECT agent_ids, next_agent_ids, next_value FROM (VALUES ('{ab,cd,ab,c,d}'::text[]), ('{ab,cd,cd,a,b}')) v (agents),
	fa_coalition_form((SELECT jsonb_object_agg(i, string_to_array(a, NULL)) FROM unnest(agents) WITH ORDINALITY a (a, i)), '[{"name": "x", "skills": ["a", "b", "c", "d"], "value": 9}]', 1);
CREATE TEMP TABLE others AS SELECT f.c, f.task, min(members) AS members FROM formed f JOIN form USING (c),
	LATERAL (SELECT array_agg(i) AS free FROM generate_series(1, 6) i
		WHERE NOT EXISTS (SELECT FROM formed o WHERE o.c = f.c AND o.task <> f.task AND i = ANY (o.agent_ids))) a,
	LATERAL (SELECT w, bit_or(agents[i]) AS have, count(*) AS members, array_agg(i::bigint ORDER BY i) AS ids FROM generate_series(1, 63) w, unnest(free) i WHERE w >> (i - 1) & 1 = 1
		GROUP BY w HAVING bit_count(w::bit(6)) = count(*)) s
	WHERE f.agent_ids IS NOT NULL AND have & needs[task::int] = needs[task::int] AND NOT ids @> agent_ids GROUP BY f.c, f.task;
SELECT count(*) AS rows, bool_and(cardinality(next_agent_ids) IS NOT DISTINCT FROM members) AS least FROM formed LEFT JOIN others USING (c, task) WHERE agent_ids IS NOT NULL;

-- without work it is what the heuristic finds: who has most of what is missing, without those that later ones made needless;
SELECT task, agent_ids, next_agent_ids, exact FROM fa_coalition_form('{"1": ["b", "c", "d", "e"], "2": ["a", "b", "c"], "3": ["d", "e", "f"]}',
	'[{"name": "x", "skills": ["a", "b", "c", "d", "e", "f"], "value": 9}]', work => 1);
-- a cover that others have taken from is made anew;
SELECT task, agent_ids FROM fa_coalition_form('{"1": ["a", "b"], "2": ["a"]}',
	'[{"name": "x", "skills": ["a"], "value": 5}, {"name": "y", "skills": ["a"], "value": 3}, {"name": "z", "skills": ["b"], "value": 1}]', work => 1);
-- by value for each member, of equal ones the first, and of agents alike the lowest
SELECT task, agent_ids FROM fa_coalition_form('{"1": ["a"], "2": ["b"]}',
	'[{"name": "x", "skills": ["a", "b"], "value": 10}, {"name": "y", "skills": ["a"], "value": 6}]', work => 1);
SELECT task, agent_ids, value, exact FROM (VALUES (1), (1000)) w (work), fa_coalition_form('{"7": ["a"]}',
	'[{"name": "x", "skills": ["a"], "value": 1}, {"name": "y", "skills": ["a"], "value": 1}]', work => work);
SELECT task, agent_ids FROM (VALUES (1), (1000)) w (work), fa_coalition_form('{"9": ["a"], "8": ["b"], "10": ["a"]}', '[{"name": "x", "skills": ["b", "a", "b"], "value": 1}]', work => work);
-- value that is as much as what the members cost is nothing, and a skill nobody else has decides for whom it is worth it
SELECT task, agent_ids, value, next_agent_ids, next_value, reason FROM fa_coalition_form('{"1": ["a"], "2": ["a"], "3": ["b"]}',
	'[{"name": "x", "skills": ["a"], "value": 1}, {"name": "y", "skills": ["a", "b"], "value": 2.5}]', 1);
-- more work never finds less, and so much suffices: what cannot win is not looked at, and no set of agents twice
CREATE FUNCTION pg_temp.formed(c int, work bigint) RETURNS TABLE (total float8, exact boolean) LANGUAGE sql AS $$
	SELECT coalesce(sum(f.value), 0), bool_and(f.exact) FROM form, fa_coalition_form((SELECT jsonb_object_agg(i, pg_temp.names(s)) FROM unnest(agents) WITH ORDINALITY a (s, i)),
		(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', pg_temp.names(n), 'value', worth[t]) ORDER BY t) FROM unnest(needs) WITH ORDINALITY a (n, t)), cost, work) f
	WHERE form.c = formed.c
$$;
SELECT count(*) AS cases, bool_and(total >= before) AS never_less, count(*) FILTER (WHERE total > before) AS more
	FROM (SELECT total, lag(total, 1, 0) OVER (PARTITION BY c ORDER BY work) AS before FROM generate_series(1, 60) c, generate_series(1, 60) work, pg_temp.formed(c, work) f) t;
SELECT c, min(work) AS suffices FROM generate_series(1, 10) c, generate_series(1, 400) work, pg_temp.formed(c::int, work) f WHERE exact GROUP BY c ORDER BY c;
-- a difference is one beside a value that is far larger, as long as their sum can hold it
SELECT sum(value) - 1e15 AS value, bool_and(exact) AS exact FROM fa_coalition_form('{"1": ["b"], "2": ["a"], "3": ["a", "b"]}',
	'[{"name": "w", "skills": ["b"], "value": 1e15}, {"name": "x", "skills": ["a", "b"], "value": 2}, {"name": "y", "skills": ["a"], "value": 5}, {"name": "z", "skills": ["a", "b"], "value": 4}]');
-- what was not found for want of work is not said to be better elsewhere
SELECT work, task, agent_ids, next_agent_ids, reason, exact FROM (VALUES (1), (1000)) w (work), fa_coalition_form(
	(SELECT jsonb_object_agg(i, string_to_array(skills, NULL)) FROM unnest('{abcdefg,hijklmn,abcdhijk,eflm,gn}'::text[]) WITH ORDINALITY a (skills, i)),
	jsonb_build_array(jsonb_build_object('name', 'x', 'skills', string_to_array('abcdefghijklmn', NULL), 'value', 2.5)), 1, work) ORDER BY work;
-- who can do nothing of it is no hope for any task: a glance suffices to see that there is no better
SELECT count(agent_ids), sum(value), bool_and(exact) AS exact FROM fa_coalition_form((SELECT jsonb_object_agg(i, CASE WHEN i > 2 THEN '["z"]' ELSE '["a"]' END::jsonb) FROM generate_series(1, 50) i),
	(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', '["a"]'::jsonb, 'value', t)) FROM generate_series(1, 20) t), work => 10);
-- a search without end can be cancelled
SET statement_timeout = '200ms';
SELECT count(*) FROM fa_coalition_form((SELECT jsonb_object_agg(i, (SELECT jsonb_agg(DISTINCT abs(hashint4(i * 10 + k)) % 30 || '') FROM generate_series(1, 3) k)) FROM generate_series(1, 300) i),
		(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', (SELECT jsonb_agg(DISTINCT abs(hashint4(t * 10 - k)) % 30 || '') FROM generate_series(1, 4) k), 'value', 1 + t % 7)) FROM generate_series(1, 100) t), 0.1, 9000000000000000000);
RESET statement_timeout;

-- many agents and tasks: the work is limited, and what was found is a result all the same
SELECT count(*) AS tasks, count(agent_ids) > 50 AS many, bool_and(exact) AS exact, count(*) FILTER (WHERE agent_ids IS NULL AND reason IS NULL) AS unexplained
	FROM fa_coalition_form((SELECT jsonb_object_agg(i, (SELECT jsonb_agg(DISTINCT abs(hashint4(i * 10 + k)) % 30 || '') FROM generate_series(1, 3) k)) FROM generate_series(1, 300) i),
		(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', (SELECT jsonb_agg(DISTINCT abs(hashint4(t * 10 - k)) % 30 || '') FROM generate_series(1, 4) k), 'value', 1 + t % 7)) FROM generate_series(1, 100) t), 0.1);
-- agents alike are one kind, so that many of them are no more work
SELECT count(agent_ids) AS done, bool_and(exact) AS exact FROM fa_coalition_form((SELECT jsonb_object_agg(i, '["a"]'::jsonb) FROM generate_series(1, 1000) i),
	(SELECT jsonb_agg(jsonb_build_object('name', t || '', 'skills', '["a"]'::jsonb, 'value', 1)) FROM generate_series(1, 1500) t));
-- what is found is made by one more call
SELECT fa_model_create('form', fa_spec_grid(2, 2)) IS NOT NULL AS made;
SELECT min(i) AS a, min(i) + 1 AS b FROM fa_agent_create_many('form', 2) i \gset
SELECT count(fa_coalition_create(task, agent_ids)) FROM fa_coalition_form(jsonb_build_object(:a, '["see"]'::jsonb, :b, '["hear"]'::jsonb), '[{"name": "watch", "skills": ["see", "hear"], "value": 1}]') WHERE agent_ids IS NOT NULL;
SELECT agent_id = :a AS a, agent_id = :b AS b FROM fa_coalition_member ORDER BY agent_id;
SELECT fa_coalition_dissolve('watch'), fa_agent_drop(ARRAY[:a, :b]), fa_model_drop('form');
