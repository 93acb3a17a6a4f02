-- Ready specs of the standard tasks, as pymdp 1.0.4 defines them: the same
-- arrays, the same order of states, outcomes and actions.  What they return is
-- an ordinary spec: look at it with jsonb_pretty(), change it with ||.

CREATE FUNCTION fa_spec_grid(
	width int,
	height int,
	walls int[] DEFAULT NULL,
	goal int DEFAULT NULL,
	start int DEFAULT NULL,
	noise float8 DEFAULT 0,
	success float8 DEFAULT 1,
	stay boolean DEFAULT true,
	policy_len int DEFAULT 1,
	preference float8 DEFAULT 2)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fa_spec_grid'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION fa_spec_grid(int, int, int[], int, int, float8, float8, boolean, int, float8) IS
'spec of a grid world (pymdp: GridWorld): cells numbered row by row from 0; actions UP, RIGHT, DOWN, LEFT, STAY; a move into a wall, off the grid or without success stays; goal: the last cell unless given; start: cell 0, or with noise any cell that is no wall; noise: the part of the chance with which any cell is seen';

CREATE FUNCTION fa_spec_tmaze(
	cue_validity float8 DEFAULT 0.95,
	reward_probability float8 DEFAULT 1,
	punishment_probability float8 DEFAULT 1,
	policy_len int DEFAULT 3,
	reward_preference float8 DEFAULT 2,
	punishment_preference float8 DEFAULT -3,
	reward_condition int DEFAULT NULL,
	dependent_outcomes boolean DEFAULT false)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fa_spec_tmaze'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION fa_spec_tmaze(float8, float8, float8, int, float8, float8, int, boolean) IS
'spec of the T-maze (pymdp: TMaze): one arm rewards, the other punishes, a cue tells which; the agent''s D is uniform over the context, and the world''s true context is drawn from it for each trial; reward_condition (0 left, 1 right) fixes it instead, as for a world of its own';

CREATE FUNCTION fa_spec_cue_chain(
	policy_len int DEFAULT 4,
	reward_preference float8 DEFAULT 3,
	punishment_preference float8 DEFAULT -6,
	cue2_state int DEFAULT NULL,
	reward_condition int DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fa_spec_cue_chain'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION fa_spec_cue_chain(int, float8, float8, int, int) IS
'spec of epistemic cue chaining (pymdp: CueChainingEnv): a first cue tells which second cue speaks, that one tells where the cheese is; the agent''s D is uniform over both, and the world''s true context is drawn from it for each trial; cue2_state (0 to 3) and reward_condition (0 top, 1 bottom) fix it instead, as for a world of its own';

CREATE FUNCTION fa_spec_graph(
	nodes int,
	edges int[],
	policy_len int DEFAULT 2,
	start int DEFAULT 0,
	object int DEFAULT NULL,
	preference float8 DEFAULT 1)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fa_spec_graph'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION fa_spec_graph(int, int[], int, int, int, float8) IS
'spec of a search on a graph (pymdp: GraphEnv): edges are pairs of nodes, used both ways; the object that is searched is at some node or absent (index nodes), all equally likely, and the world''s true place is drawn for each trial; object fixes it instead';
