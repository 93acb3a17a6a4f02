-- Coalitions: agents that act together; doc/coalitions.md is the design.

CREATE SEQUENCE fa_coalition_id_seq;

CREATE TABLE fa_coalition (
	coalition_id bigint PRIMARY KEY,
	name text UNIQUE NOT NULL,
	rule text NOT NULL,
	factors text[],
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE fa_coalition IS 'agents that act together';
COMMENT ON COLUMN fa_coalition.rule IS
	'how its members'' beliefs are pooled: product, linear or log_linear';
COMMENT ON COLUMN fa_coalition.factors IS
	'the factors about which they are; null: all that the members have in common';

CREATE TABLE fa_coalition_member (
	coalition_id bigint NOT NULL,
	agent_id bigint NOT NULL,
	weight float8 NOT NULL DEFAULT 1,
	joined_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (coalition_id, agent_id)
);
CREATE INDEX fa_coalition_member_agent ON fa_coalition_member (agent_id, coalition_id);
COMMENT ON TABLE fa_coalition_member IS 'which agents are in which coalitions';
COMMENT ON COLUMN fa_coalition_member.weight IS
	'what its belief weighs; in linear and log_linear pools, against that of the others';

-- A row for each agent that has ever been pooled; no index on what a step changes.
CREATE TABLE fa_coalition_common (
	agent_id bigint PRIMARY KEY,
	trial int NOT NULL,
	belief float8[] NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE fa_coalition_common IS
	'what an agent knew in common with others when a coalition last pooled it';
COMMENT ON COLUMN fa_coalition_common.trial IS 'the agent''s trial in which that was';
COMMENT ON COLUMN fa_coalition_common.belief IS
	'the pooled belief, laid out as fa_belief.belief; NaN for factors that were not pooled';

CREATE TABLE fa_coalition_outcome (
	coalition_id bigint PRIMARY KEY,
	agent_ids bigint[] NOT NULL,
	weights float8[] NOT NULL,
	vfes float8[] NOT NULL,
	vfe float8 NOT NULL,
	stepped_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE fa_coalition_outcome IS
	'the free energies of each coalition''s last step, in nats';
COMMENT ON COLUMN fa_coalition_outcome.vfes IS 'of each member alone';
COMMENT ON COLUMN fa_coalition_outcome.vfe IS 'of the coalition';

SELECT pg_catalog.pg_extension_config_dump('fa_coalition_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition_member', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition_common', '');
SELECT pg_catalog.pg_extension_config_dump('fa_coalition_outcome', '');

-- seen by its owner, and by whoever has an agent in it
ALTER TABLE fa_coalition_member ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_member_owner ON fa_coalition_member FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_coalition_member.agent_id));
GRANT SELECT ON fa_coalition_member TO PUBLIC;
ALTER TABLE fa_coalition ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_owner ON fa_coalition FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE')
		   OR EXISTS (SELECT FROM fa_coalition_member m
					  WHERE m.coalition_id OPERATOR(pg_catalog.=) fa_coalition.coalition_id));
GRANT SELECT ON fa_coalition TO PUBLIC;

-- what was pooled is seen by whoever sees the agents
ALTER TABLE fa_coalition_common ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_common_owner ON fa_coalition_common FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_coalition_common.agent_id));
GRANT SELECT ON fa_coalition_common TO PUBLIC;
ALTER TABLE fa_coalition_outcome ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_coalition_outcome_owner ON fa_coalition_outcome FOR SELECT
	USING (NOT EXISTS (SELECT FROM pg_catalog.unnest(agent_ids) AS i (agent_id)
					   WHERE NOT EXISTS (SELECT FROM fa_agent a
										 WHERE a.agent_id OPERATOR(pg_catalog.=) i.agent_id)));
GRANT SELECT ON fa_coalition_outcome TO PUBLIC;

CREATE FUNCTION fa_coalition_create(name text, members bigint[],
									rule text DEFAULT 'product',
									factors text[] DEFAULT NULL,
									weights float8[] DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_coalition_create'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_create(text, bigint[], text, text[], float8[]) IS
	'let agents act together: pool what they believe of factors (null: of all that they have in common) by rule product, linear or log_linear, and be written to by each other';

CREATE FUNCTION fa_coalition_join(name text, agent_id bigint,
								  weight float8 DEFAULT 1) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_coalition_join'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_join(text, bigint, float8) IS
	'add an agent to a coalition; false: it was in it, and its weight stays';

CREATE FUNCTION fa_coalition_leave(name text, agent_id bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'fa_coalition_leave'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_leave(text, bigint) IS
	'take an agent out of a coalition; false: it was not in it';

CREATE FUNCTION fa_coalition_dissolve(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'fa_coalition_dissolve'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_coalition_dissolve(text) IS
	'remove a coalition; its agents stay';

CREATE FUNCTION fa_coalition_belief(name text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'fa_coalition_belief'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION fa_coalition_belief(text) IS
	'the pooled belief of a coalition''s members, by the names of the spec; null: it has none that is not paused';

CREATE FUNCTION fa_coalition_step(name text, observation int[] DEFAULT NULL)
	RETURNS SETOF fa_step_result
	AS 'MODULE_PATHNAME', 'fa_coalition_step'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 COST 10000;
COMMENT ON FUNCTION fa_coalition_step(text, int[]) IS
	'one step of all members: they pool what they know, and each plans from it; an observation is used by all, with a null one each has its own';

CREATE TYPE fa_coalition_energy AS (
	agent_id bigint,
	weight float8,
	vfe float8
);
COMMENT ON TYPE fa_coalition_energy IS
	'free energy of a member alone, or, where agent_id is null, of the coalition';

CREATE FUNCTION fa_coalition_free_energy(name text) RETURNS SETOF fa_coalition_energy
	AS 'MODULE_PATHNAME', 'fa_coalition_free_energy'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 10 COST 100;
COMMENT ON FUNCTION fa_coalition_free_energy(text) IS
	'the free energies of a coalition''s last step: of each member alone, and of all together';

CREATE TYPE fa_coalition_formed AS (
	task text,
	agent_ids bigint[],
	value float8,
	covers jsonb,
	next_agent_ids bigint[],
	next_value float8,
	exact boolean,
	reason text
);
COMMENT ON TYPE fa_coalition_formed IS
	'who should do a task, what that brings, which skills each covers, and the best others; or the reason why nobody does it';

CREATE FUNCTION fa_coalition_form(agents jsonb, tasks jsonb, cost float8 DEFAULT 0,
								  work bigint DEFAULT 10000000)
	RETURNS SETOF fa_coalition_formed
	AS 'MODULE_PATHNAME', 'fa_coalition_form'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 COST 100000;
COMMENT ON FUNCTION fa_coalition_form(jsonb, jsonb, float8, bigint) IS
	'which agents, {"id": ["skill", ...]}, should do which tasks, [{"name": "", "skills": [], "value": 1}], each in one coalition at most; a member costs cost; work bounds the search';
