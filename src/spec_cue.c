/*
 * spec_cue.c
 *		The spec of cue chaining: fa_spec_cue_chain.
 *
 * A grid of 5 rows and 7 columns with a chain of cues: the first tells which
 * of four second cues speaks, and that one tells which of two places has the
 * cheese.  As in the T-maze, D leaves open what the cues tell, and a world
 * draws it anew for each trial.
 */
#include "postgres.h"

#include "fmgr.h"

#include "spec.h"

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
	int				 second = spec_index_argument(fcinfo, 3, "cue2_state", 4);
	int		 context = spec_index_argument(fcinfo, 4, "reward_condition", 2);
	SpecGrid grid = {CUE_WIDTH, CUE_HEIGHT, NULL, directions};
	SpecAxis states[] = {spec_cells("location", CUE_WIDTH, CUE_HEIGHT),
						 SPEC_AXIS("second_cue", cue_second_labels),
						 SPEC_AXIS("context", cue_context_labels)};
	SpecAxis actions[] = {SPEC_AXIS("move", cue_action_labels),
						  SPEC_AXIS("second_cue", spec_no_action_labels),
						  SPEC_AXIS("context", spec_no_action_labels)};
	SpecAxis outcomes[] = {{"place", CUE_CELLS, states[0].labels},
						   SPEC_AXIS("cue1", cue1_labels),
						   SPEC_AXIS("cue2", cue2_labels),
						   SPEC_AXIS("reward", cue_reward_labels)};
	StringInfoData buf;

	spec_begin(&buf);
	spec_names(&buf, 3, states, actions, 4, outcomes, parents);
	spec_open_list(&buf, "A");
	spec_diagonal(&buf, CUE_CELLS, 1.0, 0.0);
	append_cue1(&buf);
	append_cue2(&buf);
	append_cue_reward(&buf);
	spec_next_list(&buf, "B");
	spec_moves(&buf, CUE_CELLS, actions[0].size, spec_grid_move, &grid);
	spec_no_moves(&buf, states[1].size);
	spec_no_moves(&buf, states[2].size);
	spec_next_list(&buf, "C");
	spec_zeros(&buf);
	spec_zeros(&buf);
	spec_zeros(&buf);
	spec_preferences(&buf, &outcomes[3], good, bad);
	spec_next_list(&buf, "D");
	spec_start(&buf, &states[0], CUE_CELL(0, 0));
	spec_start(&buf, &states[1], second);
	spec_start(&buf, &states[2], context);
	return spec_finish(&buf, policy_len);
}
