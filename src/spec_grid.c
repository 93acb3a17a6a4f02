/*
 * spec_grid.c
 *		The spec of a grid: fa_spec_grid.
 *
 * GridWorld has one factor, the cell, which is seen as it is.  It has no noise:
 * ours spreads a part of the chance evenly over all cells, as a user of pymdp
 * would write it.  Walls are cells too (they count in the numbering, and who is
 * put into one can walk out), so that indices agree with an open grid's.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "spec.h"

/*
 * Row and column of a step, in GridWorld's order: up, right, down, left, stay.
 * CueChainingEnv has another order of the same steps, hence the directions.
 */
static const int grid_step[][2] = {{-1, 0}, {0, 1}, {1, 0}, {0, -1}, {0, 0}};
static const int grid_directions[] = {0, 1, 2, 3, 4};
static const char *const grid_action_labels[] = {"UP", "RIGHT", "DOWN", "LEFT",
												 "STAY"};

/* A move off the grid or into a wall stays where it is. */
int
spec_grid_move(const void *task, int from, int action)
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
SpecAxis
spec_cells(const char *name, int width, int height)
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
	int	 *walls = spec_int_array_argument(fcinfo, arg, "walls", &count);
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
	int to = spec_grid_move(grid, from, action);
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
		spec_moves(buf, cells, actions, spec_grid_move, grid);
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

	grid->width = spec_int_argument(fcinfo, 0, "width", 1, SPEC_MAX_CELLS);
	grid->height = spec_int_argument(fcinfo, 1, "height", 1, SPEC_MAX_CELLS);
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
	task->noise = spec_probability_argument(fcinfo, 5, "noise");
	task->success = spec_probability_argument(fcinfo, 6, "success");
	task->preference = spec_preference(fcinfo, 9, "preference");

	task->goal = spec_index_argument(fcinfo, 3, "goal", task->cells);
	if (task->goal < 0)
		task->goal = task->cells - 1;
	require_free_cell(&task->grid, task->goal, "goal");

	/* Who sees exactly loses nothing by starting at a known place. */
	task->start = spec_index_argument(fcinfo, 4, "start", task->cells);
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
	bool			 stay = spec_bool_argument(fcinfo, 7, "stay");
	int				 policy_len = spec_policy_len(fcinfo, 8);
	SpecAxis		 location;
	SpecAxis		 place;
	SpecAxis		 move = {"move", stay ? 5 : 4, grid_action_labels};
	StringInfoData	 buf;

	grid_arguments(fcinfo, &task);
	location = spec_cells("location", task.grid.width, task.grid.height);
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
