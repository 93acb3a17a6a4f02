/*
 * spec_tmaze.c
 *		The spec of the T-maze: fa_spec_tmaze.
 *
 * The agent starts at the centre of a T.  One arm rewards and the other
 * punishes, which is the context; a cue behind the agent tells it, mostly.
 * Looking at the cue first is worth the way, and that is the point of the task.
 *
 * D is uniform over the context unless it is given.  This serves the agent,
 * which does not know it, and the world, which draws it anew for each trial.
 */
#include "postgres.h"

#include "fmgr.h"

#include "spec.h"

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

static const SpecAxis tmaze_states[] = {
	SPEC_AXIS("location", tmaze_location_labels),
	SPEC_AXIS("context", tmaze_context_labels)};
static const SpecAxis tmaze_actions[] = {
	SPEC_AXIS("move", tmaze_location_labels),
	SPEC_AXIS("context", spec_no_action_labels)};
static const SpecAxis tmaze_outcomes[] = {
	SPEC_AXIS("place", tmaze_location_labels),
	SPEC_AXIS("reward", tmaze_reward_labels),
	SPEC_AXIS("cue", tmaze_cue_labels)};

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
	double validity = spec_probability_argument(fcinfo, 0, "cue_validity");
	double reward = spec_probability_argument(fcinfo, 1, "reward_probability");
	double punishment =
		spec_probability_argument(fcinfo, 2, "punishment_probability");
	int	   policy_len = spec_policy_len(fcinfo, 3);
	double good = spec_preference(fcinfo, 4, "reward_preference");
	double bad = spec_preference(fcinfo, 5, "punishment_preference");
	int	   condition = spec_index_argument(fcinfo, 6, "reward_condition", 2);
	bool   dependent = spec_bool_argument(fcinfo, 7, "dependent_outcomes");
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
	spec_preferences(&buf, &tmaze_outcomes[1], good, bad);
	spec_zeros(&buf);
	spec_next_list(&buf, "D");
	spec_start(&buf, &tmaze_states[0], CENTRE);
	spec_start(&buf, &tmaze_states[1], condition);
	return spec_finish(&buf, policy_len);
}
