/*
 * spec.c
 *		Ready specs of the standard tasks: fa_spec_grid, fa_spec_tmaze,
 *		fa_spec_cue_chain and fa_spec_graph.
 *
 * Each is an environment of pymdp 1.0.4 (GridWorld, TMaze, CueChainingEnv,
 * GraphEnv) with its arrays, its order of states and outcomes and its order of
 * actions, so that indices mean the same there and here.  Names and labels are
 * added for people, and the arrays are written sparse where that is shorter:
 * "next" for moves that cannot fail, "entries" for observed locations.
 *
 * A few arguments are ours (noise, preferences); each may only add to what the
 * environment can do, and their defaults are its own.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "spec.h"

/*
 * Limits that keep a spec's text well below the 64 MB that the compiler reads.
 * A cell takes up to 350 bytes, all its moves at risk.  A pair of nodes takes
 * only 13, but all pairs are there: whether an object is seen is known for each
 * place of the agent and each of the object, and an action goes to any node.
 */
#define SPEC_MAX_CELLS		100000
#define SPEC_MAX_POLICY_LEN 1000

/* An axis of the labels of a constant array. */
#define AXIS(name, labels)             \
	{                                  \
		name, lengthof(labels), labels \
	}

/*
 * An action of a factor that nobody moves.  pymdp gives each factor a control,
 * so an action has an entry for it, always 0.
 */
static const char *const no_action_labels[] = {"none"};

/* ---------- arguments ---------- */

/*
 * The functions are not strict, since some arguments mean something by being
 * null: each of the others has to be there, and an error says which is not.
 */
static void
require_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
}

/*
 * An int argument from min to max; raises 22004 for null, 22023 outside of the
 * range.
 */
static int
int_argument(FunctionCallInfo fcinfo, int arg, const char *name, int min,
			 int max)
{
	int value;

	require_argument(fcinfo, arg, name);
	value = PG_GETARG_INT32(arg);
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" is %d, outside its range", name,
							   value),
						errhint("Give a number from %d to %d.", min, max)));
	return value;
}

/* An index below count, or -1 where the argument is null. */
static int
index_argument(FunctionCallInfo fcinfo, int arg, const char *name, int count)
{
	if (PG_ARGISNULL(arg))
		return -1;
	return int_argument(fcinfo, arg, name, 0, count - 1);
}

/* A boolean argument; raises 22004 for null. */
static bool
bool_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	require_argument(fcinfo, arg, name);
	return PG_GETARG_BOOL(arg);
}

/*
 * A float8 from 0 to 1; raises 22004 for null, 22023 otherwise.  The test is
 * written so that NaN fails it.
 */
static double
probability_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	double value;

	require_argument(fcinfo, arg, name);
	value = PG_GETARG_FLOAT8(arg);
	if (!(value >= 0.0 && value <= 1.0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" is %g, not a probability", name,
							   value),
						errhint("Give a number from 0 to 1.")));
	return value;
}

/*
 * A float8 for C, any finite number; raises 22004 for null, 22023 otherwise.
 * JSON has no infinity.
 */
double
spec_preference(FunctionCallInfo fcinfo, int arg, const char *name)
{
	double value;

	require_argument(fcinfo, arg, name);
	value = PG_GETARG_FLOAT8(arg);
	if (!isfinite(value))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is %g, not a finite number", name, value),
			 errhint(
				 "A preference is a number: the larger, the more wanted; below 0 is avoided.")));
	return value;
}

/* How many policies a length makes is for the compiler to bound. */
int
spec_policy_len(FunctionCallInfo fcinfo, int arg)
{
	return int_argument(fcinfo, arg, "policy_len", 1, SPEC_MAX_POLICY_LEN);
}

/*
 * The elements of an int[] argument, any number of dimensions in row-major
 * order; NULL with a count of 0 where it is null or empty.
 */
static int *
int_array_argument(FunctionCallInfo fcinfo, int arg, const char *name,
				   int *count)
{
	ArrayType *array;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain nulls", name)));
	Assert(ARR_ELEMTYPE(array) == INT4OID);
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (int *) ARR_DATA_PTR(array);
}

/*
 * ---------- grids ----------
 *
 * GridWorld has one factor, the cell, which is seen as it is.  It has no noise:
 * ours spreads a part of the chance evenly over all cells, as a user of pymdp
 * would write it.  Walls are cells too (they count in the numbering, and who is
 * put into one can walk out), so that indices agree with an open grid's.
 */

typedef struct SpecGrid
{
	int			width;
	int			height;
	const bool *wall;		/* [width * height], or NULL: none */
	const int  *directions; /* of the actions, as indices of grid_step */
} SpecGrid;

/*
 * Row and column of a step, in GridWorld's order: up, right, down, left, stay.
 * CueChainingEnv has another order of the same steps, hence the directions.
 */
static const int grid_step[][2] = {{-1, 0}, {0, 1}, {1, 0}, {0, -1}, {0, 0}};
static const int grid_directions[] = {0, 1, 2, 3, 4};
static const char *const grid_action_labels[] = {"UP", "RIGHT", "DOWN", "LEFT",
												 "STAY"};

/* A move off the grid or into a wall stays where it is. */
static int
grid_move(const void *task, int from, int action)
{
	const SpecGrid *grid = task;
	const int	   *step = grid_step[grid->directions[action]];
	int				row = from / grid->width + step[0];
	int				column = from % grid->width + step[1];
	int				to = row * grid->width + column;

	if (row < 0 || row >= grid->height || column < 0 || column >= grid->width ||
		(grid->wall && grid->wall[to]))
		return from;
	return to;
}

/* Cells are numbered by rows: "r2c0" is the first cell of the third row. */
static SpecAxis
grid_cells(const char *name, int width, int height)
{
	SpecAxis	 axis = {name, width * height, NULL};
	const char **labels = palloc(axis.size * sizeof(char *));

	for (int cell = 0; cell < axis.size; cell++)
		labels[cell] = psprintf("r%dc%d", cell / width, cell % width);
	axis.labels = labels;
	return axis;
}

/* Which cells are walls; NULL where none is. */
static bool *
grid_walls(FunctionCallInfo fcinfo, int arg, int cells, int *free_cells)
{
	int	  count;
	int	 *walls = int_array_argument(fcinfo, arg, "walls", &count);
	bool *wall = count > 0 ? palloc0(cells * sizeof(bool)) : NULL;

	*free_cells = cells;
	for (int i = 0; i < count; i++)
	{
		if (walls[i] < 0 || walls[i] >= cells)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("wall %d is outside the grid", walls[i]),
					 errdetail(
						 "The grid has the cells 0 to %d, numbered row by row.",
						 cells - 1)));
		if (!wall[walls[i]])
			(*free_cells)--;
		wall[walls[i]] = true;
	}
	return wall;
}

/*
 * Raises 22023 for a cell in a wall; name is the argument's.  A cell that is a
 * default is looked at too: the last one, which is the goal where none is
 * given, may well be a wall.
 */
static void
require_free_cell(const SpecGrid *grid, int cell, const char *name)
{
	if (grid->wall && grid->wall[cell])
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the %s of the grid, cell %d, is a wall", name, cell),
			 errhint("Give argument \"%s\" a cell that is not in \"walls\".",
					 name)));
}

/* The cell that is seen is the true one; with noise, it may be any. */
static void
append_grid_likelihood(StringInfo buf, int cells, double noise)
{
	double elsewhere = noise / cells;

	spec_diagonal(buf, cells, (1.0 - noise) + elsewhere, elsewhere);
}

/* The one or two places where one action may lead from one cell. */
static void
append_risky_move(StringInfo buf, const SpecGrid *grid, int from, int action,
				  double success)
{
	int to = grid_move(grid, from, action);
	int moved[] = {to, from, action};
	int stayed[] = {from, from, action};

	if (to == from)
		spec_entry(buf, 3, stayed, 1.0);
	else
	{
		if (success > 0.0)
			spec_entry(buf, 3, moved, success);
		spec_entry(buf, 3, stayed, 1.0 - success);
	}
}

/* B: the moves; one that fails, where that may be, stays where it is. */
static void
append_grid_transitions(StringInfo buf, const SpecGrid *grid, int actions,
						double success)
{
	int cells = grid->width * grid->height;
	int shape[] = {cells, cells, actions};

	if (success == 1.0)
	{
		spec_moves(buf, cells, actions, grid_move, grid);
		return;
	}
	spec_open_sparse(buf, 3, shape, 0.0);
	for (int from = 0; from < cells; from++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int action = 0; action < actions; action++)
			append_risky_move(buf, grid, from, action, success);
	}
	spec_close_sparse(buf);
}

/* D where the start is unknown: any cell that is not a wall. */
static void
append_grid_anywhere(StringInfo buf, const SpecGrid *grid, int free_cells)
{
	int cells = grid->width * grid->height;

	spec_open_sparse(buf, 1, &cells, 1.0 / free_cells);
	for (int cell = 0; grid->wall && cell < cells; cell++)
	{
		CHECK_FOR_INTERRUPTS();
		if (grid->wall[cell])
			spec_entry(buf, 1, &cell, 0.0);
	}
	spec_close_sparse(buf);
}

/* The arguments of fa_spec_grid, checked. */
typedef struct GridTask
{
	SpecGrid grid;
	int		 cells;
	int		 free_cells;
	int		 goal;
	int		 start; /* -1: anywhere */
	double	 noise;
	double	 success;
	double	 preference;
} GridTask;

/*
 * Width, height and walls, into task.  The product is made in 64 bits: each
 * factor alone may be as large as the whole.
 */
static void
grid_size_arguments(FunctionCallInfo fcinfo, GridTask *task)
{
	SpecGrid *grid = &task->grid;

	grid->width = int_argument(fcinfo, 0, "width", 1, SPEC_MAX_CELLS);
	grid->height = int_argument(fcinfo, 1, "height", 1, SPEC_MAX_CELLS);
	if ((int64) grid->width * grid->height > SPEC_MAX_CELLS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a grid of %d by %d cells is too large", grid->width,
						grid->height),
				 errdetail("A grid has at most %d cells.", SPEC_MAX_CELLS)));
	task->cells = grid->width * grid->height;
	grid->directions = grid_directions;
	grid->wall = grid_walls(fcinfo, 2, task->cells, &task->free_cells);
}

/*
 * The arguments of fa_spec_grid that depend on the grid's size or on each
 * other, checked.
 */
static void
grid_arguments(FunctionCallInfo fcinfo, GridTask *task)
{
	grid_size_arguments(fcinfo, task);
	task->noise = probability_argument(fcinfo, 5, "noise");
	task->success = probability_argument(fcinfo, 6, "success");
	task->preference = spec_preference(fcinfo, 9, "preference");

	task->goal = index_argument(fcinfo, 3, "goal", task->cells);
	if (task->goal < 0)
		task->goal = task->cells - 1;
	require_free_cell(&task->grid, task->goal, "goal");

	/* Who sees exactly loses nothing by starting at a known place. */
	task->start = index_argument(fcinfo, 4, "start", task->cells);
	if (task->start < 0 && task->noise == 0.0)
		task->start = 0;
	if (task->start >= 0)
		require_free_cell(&task->grid, task->start, "start");
}

PG_FUNCTION_INFO_V1(fa_spec_grid);

/*
 * fa_spec_grid(width int, height int, walls int[], goal int, start int, noise
 * float8, success float8, stay boolean, policy_len int, preference float8)
 * returns jsonb, a spec with one factor "location" and one modality "place",
 * both [width * height], cells numbered row by row from 0.
 *
 * walls is a list of cells, null: none; goal null: the last cell; start null:
 * cell 0, or with noise any free cell; noise and success are probabilities;
 * preference is C of the goal, in nats.  Raises 22004 for another null, 22023
 * for values out of range or a goal or start in a wall, 54000 for more than
 * SPEC_MAX_CELLS cells.
 */
Datum
fa_spec_grid(PG_FUNCTION_ARGS)
{
	static const int parents[] = {1};
	GridTask		 task;
	bool			 stay = bool_argument(fcinfo, 7, "stay");
	int				 policy_len = spec_policy_len(fcinfo, 8);
	SpecAxis		 location;
	SpecAxis		 place;
	SpecAxis		 move = {"move", stay ? 5 : 4, grid_action_labels};
	StringInfoData	 buf;

	grid_arguments(fcinfo, &task);
	location = grid_cells("location", task.grid.width, task.grid.height);
	place = location;
	place.name = "place";

	spec_begin(&buf);
	spec_names(&buf, 1, &location, &move, 1, &place, parents);
	spec_open_list(&buf, "A");
	append_grid_likelihood(&buf, task.cells, task.noise);
	spec_next_list(&buf, "B");
	append_grid_transitions(&buf, &task.grid, move.size, task.success);
	spec_next_list(&buf, "C");
	spec_label_value(&buf, &place, task.goal, task.preference);
	spec_next_list(&buf, "D");
	if (task.start < 0)
		append_grid_anywhere(&buf, &task.grid, task.free_cells);
	else
		spec_label_value(&buf, &location, task.start, 1.0);
	return spec_finish(&buf, policy_len);
}

/*
 * ---------- the T-maze ----------
 *
 * The agent starts at the centre of a T.  One arm rewards and the other
 * punishes, which is the context; a cue behind the agent tells it, mostly.
 * Looking at the cue first is worth the way, and that is the point of the task.
 *
 * D is uniform over the context unless it is given.  This serves the agent,
 * which does not know it, and the world, which draws it anew for each trial.
 */

enum
{
	CENTRE,
	LEFT,
	RIGHT,
	CUE,
	MIDDLE
};

static const char *const tmaze_location_labels[] = {"centre", "left", "right",
													"cue", "middle"};
static const char *const tmaze_context_labels[] = {"reward_left",
												   "reward_right"};
static const char *const tmaze_reward_labels[] = {"none", "reward",
												  "punishment"};
static const char *const tmaze_cue_labels[] = {"none", "left", "right"};

static const SpecAxis tmaze_states[] = {AXIS("location", tmaze_location_labels),
										AXIS("context", tmaze_context_labels)};
static const SpecAxis tmaze_actions[] = {AXIS("move", tmaze_location_labels),
										 AXIS("context", no_action_labels)};
static const SpecAxis tmaze_outcomes[] = {AXIS("place", tmaze_location_labels),
										  AXIS("reward", tmaze_reward_labels),
										  AXIS("cue", tmaze_cue_labels)};

/* An action names a location, and leads there from the ones beside it. */
static int
tmaze_move(const void *task, int from, int action)
{
	static const bool beside[lengthof(tmaze_location_labels)][lengthof(
		tmaze_location_labels)] = {
		[CENTRE][CUE] = true,	 [CUE][CENTRE] = true,	[CENTRE][MIDDLE] = true,
		[MIDDLE][CENTRE] = true, [MIDDLE][LEFT] = true, [LEFT][MIDDLE] = true,
		[MIDDLE][RIGHT] = true,	 [RIGHT][MIDDLE] = true};

	return beside[from][action] ? action : from;
}

/*
 * A of "reward", [outcome][location][context]: what the arms give; nowhere
 * else is there anything.
 */
static void
append_tmaze_reward(StringInfo buf, double reward, double punishment,
					bool dependent)
{
	static const int shape[] = {3, 5, 2};
	double			 A[3][5][2] = {0};

	/* With dependent outcomes an arm that does not reward punishes. */
	for (int location = CENTRE; location <= MIDDLE; location++)
		for (int context = 0; context < 2; context++)
		{
			bool   arm = location == LEFT || location == RIGHT;
			bool   good = location == LEFT + context;
			double p = good || dependent ? reward : punishment;
			int	   likely = good ? 1 : 2;
			int	   otherwise = dependent ? 3 - likely : 0;

			if (!arm)
				A[0][location][context] = 1.0;
			else
			{
				A[likely][location][context] = p;
				A[otherwise][location][context] = 1.0 - p;
			}
		}
	spec_dense(buf, 3, shape, &A[0][0][0]);
}

/*
 * A of "cue", [outcome][location][context]: the truth with probability
 * validity at the cue, else the other arm; silent elsewhere.
 */
static void
append_tmaze_cue(StringInfo buf, double validity)
{
	static const int shape[] = {3, 5, 2};
	double			 A[3][5][2] = {0};

	for (int location = CENTRE; location <= MIDDLE; location++)
		for (int context = 0; context < 2; context++)
		{
			if (location != CUE)
				A[0][location][context] = 1.0;
			else
			{
				A[1 + context][location][context] = validity;
				A[2 - context][location][context] = 1.0 - validity;
			}
		}
	spec_dense(buf, 3, shape, &A[0][0][0]);
}

/* Preferences over (nothing, good, bad), by label. */
static void
append_preferences(StringInfo buf, const SpecAxis *axis, double good,
				   double bad)
{
	spec_open(buf, '{');
	spec_write_member(buf, axis->labels[1]);
	spec_double(buf, good);
	spec_write_member(buf, axis->labels[2]);
	spec_double(buf, bad);
	spec_close(buf, '}');
}

PG_FUNCTION_INFO_V1(fa_spec_tmaze);

/*
 * fa_spec_tmaze(cue_validity float8, reward_probability float8,
 * punishment_probability float8, policy_len int, reward_preference float8,
 * punishment_preference float8, reward_condition int, dependent_outcomes
 * boolean) returns jsonb, a spec with factors "location" [5] and "context"
 * [2], modalities "place" [5], "reward" [3] and "cue" [3].
 *
 * The probabilities are from 0 to 1, preferences in nats; reward_condition is
 * 0 (left), 1 (right) or null: open.  Raises 22004 for another null, 22023 for
 * values out of range.
 */
Datum
fa_spec_tmaze(PG_FUNCTION_ARGS)
{
	static const int parents[] = {1, 1 | 2, 1 | 2};
	double			 validity = probability_argument(fcinfo, 0, "cue_validity");
	double reward = probability_argument(fcinfo, 1, "reward_probability");
	double punishment =
		probability_argument(fcinfo, 2, "punishment_probability");
	int			   policy_len = spec_policy_len(fcinfo, 3);
	double		   good = spec_preference(fcinfo, 4, "reward_preference");
	double		   bad = spec_preference(fcinfo, 5, "punishment_preference");
	int			   condition = index_argument(fcinfo, 6, "reward_condition", 2);
	bool		   dependent = bool_argument(fcinfo, 7, "dependent_outcomes");
	StringInfoData buf;

	spec_begin(&buf);
	spec_names(&buf, 2, tmaze_states, tmaze_actions, 3, tmaze_outcomes,
			   parents);
	spec_open_list(&buf, "A");
	spec_diagonal(&buf, tmaze_states[0].size, 1.0, 0.0);
	append_tmaze_reward(&buf, reward, punishment, dependent);
	append_tmaze_cue(&buf, validity);
	spec_next_list(&buf, "B");
	spec_moves(&buf, tmaze_states[0].size, tmaze_actions[0].size, tmaze_move,
			   NULL);
	spec_no_moves(&buf, tmaze_states[1].size);
	spec_next_list(&buf, "C");
	spec_zeros(&buf);
	append_preferences(&buf, &tmaze_outcomes[1], good, bad);
	spec_zeros(&buf);
	spec_next_list(&buf, "D");
	spec_start(&buf, &tmaze_states[0], CENTRE);
	spec_start(&buf, &tmaze_states[1], condition);
	return spec_finish(&buf, policy_len);
}

/*
 * ---------- cue chaining ----------
 *
 * A grid of 5 rows and 7 columns with a chain of cues: the first tells which
 * of four second cues speaks, and that one tells which of two places has the
 * cheese.  As in the T-maze, D leaves open what the cues tell, and a world
 * draws it anew for each trial.
 */

#define CUE_WIDTH			  7
#define CUE_HEIGHT			  5
#define CUE_CELLS			  (CUE_WIDTH * CUE_HEIGHT)
#define CUE_CELL(row, column) ((row) *CUE_WIDTH + (column))

static const char *const cue_action_labels[] = {"UP", "DOWN", "LEFT", "RIGHT",
												"STAY"};
static const char *const cue_second_labels[] = {"L1", "L2", "L3", "L4"};
static const char *const cue_context_labels[] = {"top", "bottom"};
static const char *const cue1_labels[] = {"none", "L1", "L2", "L3", "L4"};
static const char *const cue2_labels[] = {"none", "reward_on_top",
										  "reward_on_bottom"};
static const char *const cue_reward_labels[] = {"none", "cheese", "shock"};

/* Where the cues and the rewards are, as in CueChainingEnv's defaults. */
static const int cue1_cell = CUE_CELL(2, 0);
static const int cue2_cells[] = {CUE_CELL(0, 2), CUE_CELL(1, 3), CUE_CELL(3, 3),
								 CUE_CELL(4, 2)};
static const int reward_cells[] = {CUE_CELL(1, 5), CUE_CELL(3, 5)};

/*
 * A of "cue1", [outcome][cell][second cue]: the first cue tells which of the
 * second cues is the one that speaks; elsewhere it is silent.
 */
static void
append_cue1(StringInfo buf)
{
	static const int shape[] = {5, CUE_CELLS, 4};
	double			 A[5][CUE_CELLS][4] = {0};

	for (int cell = 0; cell < CUE_CELLS; cell++)
		for (int second = 0; second < 4; second++)
			A[cell == cue1_cell ? 1 + second : 0][cell][second] = 1.0;
	spec_dense(buf, 3, shape, &A[0][0][0]);
}

/*
 * A of "cue2", [outcome][cell][second cue][context]: the second cue that
 * speaks tells the context; the others are silent.
 */
static void
append_cue2(StringInfo buf)
{
	static const int shape[] = {3, CUE_CELLS, 4, 2};
	double			 A[3][CUE_CELLS][4][2] = {0};

	for (int cell = 0; cell < CUE_CELLS; cell++)
		for (int second = 0; second < 4; second++)
			for (int context = 0; context < 2; context++)
			{
				bool speaks = cell == cue2_cells[second];

				A[speaks ? 1 + context : 0][cell][second][context] = 1.0;
			}
	spec_dense(buf, 4, shape, &A[0][0][0][0]);
}

/*
 * A of "reward", [outcome][cell][context]: cheese at the place that the
 * context says, a shock at the other, nothing elsewhere.
 */
static void
append_cue_reward(StringInfo buf)
{
	static const int shape[] = {3, CUE_CELLS, 2};
	double			 A[3][CUE_CELLS][2] = {0};

	for (int cell = 0; cell < CUE_CELLS; cell++)
		for (int context = 0; context < 2; context++)
		{
			int outcome = 0;

			for (int i = 0; i < 2; i++)
				if (cell == reward_cells[i])
					outcome = i == context ? 1 : 2;
			A[outcome][cell][context] = 1.0;
		}
	spec_dense(buf, 3, shape, &A[0][0][0]);
}

PG_FUNCTION_INFO_V1(fa_spec_cue_chain);

/*
 * fa_spec_cue_chain(policy_len int, reward_preference float8,
 * punishment_preference float8, cue2_state int, reward_condition int) returns
 * jsonb, a spec with factors "location" [35], "second_cue" [4] and "context"
 * [2], modalities "place" [35], "cue1" [5], "cue2" [3] and "reward" [3].
 *
 * cue2_state (0 to 3) and reward_condition (0 top, 1 bottom) are null where
 * they are open.  Raises 22004 for another null, 22023 for values out of
 * range.
 */
Datum
fa_spec_cue_chain(PG_FUNCTION_ARGS)
{
	static const int parents[] = {1, 1 | 2, 1 | 2 | 4, 1 | 4};
	static const int directions[] = {0, 2, 3, 1, 4}; /* of grid_step */
	int				 policy_len = spec_policy_len(fcinfo, 0);
	double			 good = spec_preference(fcinfo, 1, "reward_preference");
	double			 bad = spec_preference(fcinfo, 2, "punishment_preference");
	int				 second = index_argument(fcinfo, 3, "cue2_state", 4);
	int				 context = index_argument(fcinfo, 4, "reward_condition", 2);
	SpecGrid		 grid = {CUE_WIDTH, CUE_HEIGHT, NULL, directions};
	SpecAxis		 states[] = {grid_cells("location", CUE_WIDTH, CUE_HEIGHT),
								 AXIS("second_cue", cue_second_labels),
								 AXIS("context", cue_context_labels)};
	SpecAxis		 actions[] = {AXIS("move", cue_action_labels),
								  AXIS("second_cue", no_action_labels),
								  AXIS("context", no_action_labels)};
	SpecAxis		 outcomes[] = {{"place", CUE_CELLS, states[0].labels},
								   AXIS("cue1", cue1_labels),
								   AXIS("cue2", cue2_labels),
								   AXIS("reward", cue_reward_labels)};
	StringInfoData	 buf;

	spec_begin(&buf);
	spec_names(&buf, 3, states, actions, 4, outcomes, parents);
	spec_open_list(&buf, "A");
	spec_diagonal(&buf, CUE_CELLS, 1.0, 0.0);
	append_cue1(&buf);
	append_cue2(&buf);
	append_cue_reward(&buf);
	spec_next_list(&buf, "B");
	spec_moves(&buf, CUE_CELLS, actions[0].size, grid_move, &grid);
	spec_no_moves(&buf, states[1].size);
	spec_no_moves(&buf, states[2].size);
	spec_next_list(&buf, "C");
	spec_zeros(&buf);
	spec_zeros(&buf);
	spec_zeros(&buf);
	append_preferences(&buf, &outcomes[3], good, bad);
	spec_next_list(&buf, "D");
	spec_start(&buf, &states[0], CUE_CELL(0, 0));
	spec_start(&buf, &states[1], second);
	spec_start(&buf, &states[2], context);
	return spec_finish(&buf, policy_len);
}

/*
 * ---------- graphs ----------
 *
 * The agent walks along the edges of a graph and looks for an object, which
 * does not move, and which it sees only where it is itself.  GraphEnv puts both
 * at random places; here the agent starts at node 0 and holds all places of
 * the object for equally likely, "absent" included.
 */

static const char *const graph_object_labels[] = {"unseen", "seen"};

typedef struct SpecGraph
{
	int	  nodes;
	bool *connected; /* [nodes][nodes] */
} SpecGraph;

/*
 * An action names a node, and leads there along an edge; without one the agent
 * stays.
 */
static int
graph_move(const void *task, int from, int action)
{
	const SpecGraph *graph = task;

	return graph->connected[from * graph->nodes + action] ? action : from;
}

/* "n0", "n1", ..; one more, "absent", is where an object is that is nowhere. */
static const char *const *
graph_labels(int nodes)
{
	const char **labels = palloc((nodes + 1) * sizeof(char *));

	for (int i = 0; i < nodes; i++)
		labels[i] = psprintf("n%d", i);
	labels[nodes] = "absent";
	return labels;
}

/*
 * Raises 2202E unless edges is [count][2] or empty: a flat list would be read
 * as pairs by chance.
 */
static void
require_pairs(FunctionCallInfo fcinfo, int arg)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(arg);

	if (ARR_NDIM(array) != 0 &&
		(ARR_NDIM(array) != 2 || ARR_DIMS(array)[1] != 2))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"edges\" is not a list of pairs of nodes"),
				 errhint("Write the edges 0-1 and 1-2 as '{{0,1},{1,2}}'.")));
}

/*
 * Nodes and edges, into graph; each edge is used both ways.  Raises 22023 for
 * a node that there is not.
 */
static void
graph_arguments(FunctionCallInfo fcinfo, SpecGraph *graph)
{
	int *edges;
	int	 count;

	graph->nodes = int_argument(fcinfo, 0, "nodes", 1, SPEC_MAX_NODES);
	require_argument(fcinfo, 1, "edges");
	require_pairs(fcinfo, 1);
	edges = int_array_argument(fcinfo, 1, "edges", &count);
	graph->connected =
		palloc0((Size) graph->nodes * graph->nodes * sizeof(bool));
	for (int i = 0; i < count; i += 2)
	{
		int a = edges[i];
		int b = edges[i + 1];

		CHECK_FOR_INTERRUPTS();
		if (a < 0 || a >= graph->nodes || b < 0 || b >= graph->nodes)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("edge %d-%d names a node that the graph lacks", a, b),
				 errdetail("The graph has the nodes 0 to %d.",
						   graph->nodes - 1)));
		graph->connected[a * graph->nodes + b] = true;
		graph->connected[b * graph->nodes + a] = true;
	}
}

/* Whether the object is seen, [2][location][object]: only at its own place. */
static void
append_graph_object(StringInfo buf, int nodes)
{
	spec_open(buf, '[');
	for (int seen = 0; seen < 2; seen++)
	{
		spec_open(buf, '[');
		for (int location = 0; location < nodes; location++)
		{
			CHECK_FOR_INTERRUPTS();
			spec_open(buf, '[');
			for (int object = 0; object <= nodes; object++)
				spec_int(buf, (location == object) == seen);
			spec_close(buf, ']');
		}
		spec_close(buf, ']');
	}
	spec_close(buf, ']');
}

/*
 * The spec of a search: where the agent goes and what it finds; see spec.h.
 */
Datum
spec_search(const SpecSearch *search)
{
	static const int parents[] = {1, 1 | 2};
	SpecAxis		 states[] = {{"location", search->nodes, search->labels},
								 {"object", search->nodes + 1, search->labels}};
	SpecAxis actions[] = {search->moves, AXIS("object", no_action_labels)};
	SpecAxis outcomes[] = {{"place", search->nodes, search->labels},
						   AXIS("sight", graph_object_labels)};
	StringInfoData buf;

	spec_begin(&buf);
	spec_names(&buf, 2, states, actions, 2, outcomes, parents);
	spec_open_list(&buf, "A");
	spec_diagonal(&buf, search->nodes, 1.0, 0.0);
	append_graph_object(&buf, search->nodes);
	spec_next_list(&buf, "B");
	spec_moves(&buf, search->nodes, search->moves.size, search->move,
			   search->task);
	spec_no_moves(&buf, states[1].size);
	spec_next_list(&buf, "C");
	spec_zeros(&buf);
	spec_label_value(&buf, &outcomes[1], 1, search->preference);
	spec_next_list(&buf, "D");
	spec_start(&buf, &states[0], search->start);
	spec_start(&buf, &states[1], search->object);
	return spec_finish(&buf, search->policy_len);
}

PG_FUNCTION_INFO_V1(fa_spec_graph);

/*
 * fa_spec_graph(nodes int, edges int[][], policy_len int, start int, object
 * int, preference float8) returns jsonb, a spec with factors "location"
 * [nodes] and "object" [nodes + 1], modalities "place" [nodes] and "sight"
 * [2]. edges is [count][2], nodes counting from 0; object null: open, nodes:
 * absent.
 *
 * Raises 22004 for another null, 22023 for values out of range or an edge to
 * no node, 2202E for edges that are no pairs.
 */
Datum
fa_spec_graph(PG_FUNCTION_ARGS)
{
	SpecGraph  graph;
	SpecSearch search = {.policy_len = spec_policy_len(fcinfo, 2),
						 .preference = spec_preference(fcinfo, 5, "preference"),
						 .move = graph_move,
						 .task = &graph};

	graph_arguments(fcinfo, &graph);
	search.start = int_argument(fcinfo, 3, "start", 0, graph.nodes - 1);
	search.object = index_argument(fcinfo, 4, "object", graph.nodes + 1);
	search.nodes = graph.nodes;
	search.labels = graph_labels(graph.nodes);
	search.moves = (SpecAxis){"move", graph.nodes, search.labels};
	return spec_search(&search);
}
