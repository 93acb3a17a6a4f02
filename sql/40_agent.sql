-- Agents.  fa_agent is what rarely changes; fa_belief is the hot row, with all
-- that a step reads and writes; fa_learned the counts of those that learn.

CREATE SEQUENCE fa_agent_id_seq;

CREATE TABLE fa_agent (
	agent_id bigint PRIMARY KEY,
	name text UNIQUE,
	model_id bigint NOT NULL,
	world_id bigint,
	owner regrole NOT NULL
		DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
	phase int NOT NULL GENERATED ALWAYS AS
		(((agent_id OPERATOR(pg_catalog.>>) 5 OPERATOR(pg_catalog.&) 65535)
			OPERATOR(pg_catalog.*) 40503
			OPERATOR(pg_catalog.&) 65535)::pg_catalog.int4) STORED,
	params jsonb NOT NULL DEFAULT '{}',
	forked_from bigint,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE INDEX fa_agent_model ON fa_agent (model_id, phase, agent_id);
CREATE INDEX fa_agent_world ON fa_agent (world_id) WHERE world_id IS NOT NULL;
COMMENT ON TABLE fa_agent IS 'agents: what rarely changes';
COMMENT ON COLUMN fa_agent.params IS
	'the params it was created with: numbers that override the model''s, seed, world, history';
COMMENT ON COLUMN fa_agent.forked_from IS 'the agent that this one was copied from';
COMMENT ON COLUMN fa_agent.phase IS
	'when in each turn of a schedule it is due: 0 to 65535, the same for 32 ids in a row';

-- Constant columns come first: an update's log record leaves out what old and
-- new row share at the front.  No index on anything that a step changes, and two
-- versions of a row have to fit a page, else no update is HOT.  Of each page more
-- than half stays empty, for the first step makes a row longer (an action, a free
-- energy), and a batch steps all of a page's rows at once.  Short arrays stand side
-- by side: with their one-byte headers (not PLAIN, then) they need no alignment.
CREATE TABLE fa_belief (
	agent_id bigint PRIMARY KEY,
	model_id bigint NOT NULL,
	world_id bigint,
	seed bigint NOT NULL,
	owner regrole NOT NULL,
	trial int NOT NULL,
	history smallint NOT NULL,
	paused boolean NOT NULL,
	model_digest bytea NOT NULL,
	world_digest bytea,
	parameters float8[],
	action int[],
	world_state int[],
	observation int[],
	did int[],
	step bigint NOT NULL,
	vfe float8,
	before float8[],
	belief float8[] NOT NULL,
	synced real[]
) WITH (fillfactor = 45, toast_tuple_target = 4080,
	toast.autovacuum_vacuum_scale_factor = 0.02,
	toast.autovacuum_vacuum_threshold = 1000);
ALTER TABLE fa_belief
	ALTER COLUMN parameters SET STORAGE EXTERNAL,
	ALTER COLUMN before SET STORAGE EXTERNAL,
	ALTER COLUMN belief SET STORAGE EXTERNAL,
	ALTER COLUMN synced SET STORAGE EXTERNAL,
	ALTER COLUMN model_digest SET STORAGE MAIN,
	ALTER COLUMN world_digest SET STORAGE MAIN,
	ALTER COLUMN action SET STORAGE MAIN,
	ALTER COLUMN world_state SET STORAGE MAIN,
	ALTER COLUMN observation SET STORAGE MAIN,
	ALTER COLUMN did SET STORAGE MAIN;
COMMENT ON TABLE fa_belief IS
	'the hot row of each agent: its state after the last step';
COMMENT ON COLUMN fa_belief.parameters IS
	'numbers that override the model''s, packed by the library; null: none';
COMMENT ON COLUMN fa_belief.trial IS 'how often fa_agent_reset began a trial';
COMMENT ON COLUMN fa_belief.step IS 'steps made in this life; never restarts';
COMMENT ON COLUMN fa_belief.vfe IS
	'variational free energy of the last step, in nats';
COMMENT ON COLUMN fa_belief.action IS
	'action chosen by the last step, one entry for each control; null: none in this trial';
COMMENT ON COLUMN fa_belief.world_state IS
	'true state of the agent''s world, one entry for each factor; null: not begun in this trial';
COMMENT ON COLUMN fa_belief.observation IS
	'agents that learn: the last observation, whose update the next step applies';
COMMENT ON COLUMN fa_belief.did IS
	'agents that learn: the action executed before that observation';
COMMENT ON COLUMN fa_belief.before IS
	'agents that learn: the belief before that action';
COMMENT ON COLUMN fa_belief.belief IS
	'the factors'' marginals one after another: the posterior of the last step';
COMMENT ON COLUMN fa_belief.synced IS
	'the belief that the knowledge graph was last told; null: none; empty: under another model''s names';

CREATE TABLE fa_learned (
	agent_id bigint NOT NULL,
	part int NOT NULL,
	counts float8[] NOT NULL,
	PRIMARY KEY (agent_id, part)
) WITH (fillfactor = 50, toast_tuple_target = 4080,
	toast.autovacuum_vacuum_scale_factor = 0.02,
	toast.autovacuum_vacuum_threshold = 1000);
ALTER TABLE fa_learned ALTER COLUMN counts SET STORAGE EXTERNAL;
COMMENT ON TABLE fa_learned IS
	'Dirichlet counts of agents that learn; a part is one modality''s pA, or one action''s slice of a factor''s pB; no rows: the model''s';

SELECT pg_catalog.pg_extension_config_dump('fa_agent_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('fa_agent', '');
SELECT pg_catalog.pg_extension_config_dump('fa_belief', '');
SELECT pg_catalog.pg_extension_config_dump('fa_learned', '');

ALTER TABLE fa_agent ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_agent_owner ON fa_agent FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_agent TO PUBLIC;
ALTER TABLE fa_belief ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_belief_owner ON fa_belief FOR SELECT
	USING (pg_catalog.pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT ON fa_belief TO PUBLIC;
-- what has no owner of its own is seen by whoever sees the agent
ALTER TABLE fa_learned ENABLE ROW LEVEL SECURITY;
CREATE POLICY fa_learned_owner ON fa_learned FOR SELECT
	USING (EXISTS (SELECT FROM fa_agent a
				   WHERE a.agent_id OPERATOR(pg_catalog.=) fa_learned.agent_id));
GRANT SELECT ON fa_learned TO PUBLIC;

CREATE FUNCTION fa_agent_create(model text, name text DEFAULT NULL,
								params jsonb DEFAULT '{}') RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_create'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_create(text, text, jsonb) IS
	'make an agent of a model ("name" or "name@version"); params override numbers of the model, and name seed, world, belief and history';

CREATE FUNCTION fa_agent_create_many(model text, count int,
									 params jsonb DEFAULT '{}')
	RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'fa_agent_create_many_count'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION fa_agent_create_many(text, int, jsonb) IS
	'make count agents alike; with a seed, the seeds count up from it';

CREATE FUNCTION fa_agent_create_many(model text, params jsonb[])
	RETURNS SETOF bigint
	AS 'MODULE_PATHNAME', 'fa_agent_create_many_array'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION fa_agent_create_many(text, jsonb[]) IS
	'make one agent for each element of params';

CREATE FUNCTION fa_agent_pause(agent_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_pause'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_pause(bigint[]) IS
	'let agents take no steps until fa_agent_resume; returns how many were not paused before';

CREATE FUNCTION fa_agent_resume(agent_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_resume'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_resume(bigint[]) IS
	'let paused agents step again, and those that workers have suspended; returns how many there were';

CREATE FUNCTION fa_agent_drop(agent_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_drop'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_drop(bigint[]) IS
	'remove agents with all they know; their history stays until its retention ends';

CREATE FUNCTION fa_agent_reset(agent_ids bigint[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_reset'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_reset(bigint[]) IS
	'begin the next trial: belief D, no last action, the world drawn anew; what was learned is kept';

CREATE FUNCTION fa_agent_set_model(agent_ids bigint[], model text) RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_set_model'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_set_model(bigint[], text) IS
	'give agents another model of the same shape; belief and counts are kept';

CREATE FUNCTION fa_agent_fork(agent_id bigint, params jsonb DEFAULT '{}')
	RETURNS bigint
	AS 'MODULE_PATHNAME', 'fa_agent_fork'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION fa_agent_fork(bigint, jsonb) IS
	'a what-if copy of an agent: the same state, counts and draws; params may give another seed, gamma, ...';
