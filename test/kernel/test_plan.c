/*
 * test_plan.c
 *	  Planning without beliefs that are kept: those that are made in portions
 *	  and valued, and those that are foreseen, are worth what others are.
 */
#include <math.h>

#include "spec_test.h"

#define STATES	 40
#define OUTCOMES 3
#define ACTIONS	 11
#define LENGTH	 2
#define POLICIES (ACTIONS * ACTIONS)
#define MOST	 3 /* agents that are stepped together */

static char	  text[1 << 20];
static size_t length;

/* A column of random-looking numbers that sum to 1, none of them equal. */
static double
probability(int row, int rows, int column)
{
	double sum = 0.0;

	for (int i = 0; i < rows; i++)
		sum += 2 + sin(i * 7 + column);
	return (2 + sin(row * 7 + column)) / sum;
}

/* The entries of a dense array of probabilities, its columns by last axes. */
static void
put_entries(int rows, int columns, int width, const char *last)
{
	length += (size_t) sprintf(text + length, "'entries': [");
	for (int c = 0; c < columns; c++)
	{
		for (int r = 0; r < rows; r++)
		{
			length += (size_t) sprintf(text + length, "%s[%d, %d",
									   c + r ? ", " : "", r, c / width);
			if (width > 1)
				length += (size_t) sprintf(text + length, ", %d", c % width);
			length += (size_t) sprintf(text + length, "%s, %.17g]", last,
									   probability(r, rows, c));
		}
	}
	length += (size_t) sprintf(text + length, "]}");
}

/*
 * A factor that is seen alone; or with another one of a single state, which
 * changes nothing but that views have two parents, and all beliefs are kept.
 * With a goal all of its beliefs are valued, so that none is foreseen.
 */
static const KernelModel *
compile_seen(bool alone, bool goal)
{
	length = (size_t) sprintf(
		text,
		"{'policy_len': %d, 'C': [[0.3, 1, -2]], 'use_inductive': %s, "
		"'inductive_depth': 2, 'H': [{'3': 1}%s], 'A_dependencies': [[0%s]], "
		"'A': [{'shape': [%d, %d%s], ",
		LENGTH, goal ? "true" : "false", alone ? "" : ", [1]",
		alone ? "" : ", 1", OUTCOMES, STATES, alone ? "" : ", 1");
	put_entries(OUTCOMES, STATES, 1, alone ? "" : ", 0");
	length +=
		(size_t) sprintf(text + length, "], 'B': [{'shape': [%d, %d, %d], ",
						 STATES, STATES, ACTIONS);
	put_entries(STATES, STATES * ACTIONS, ACTIONS, "");
	sprintf(text + length, "%s]}", alone ? "" : ", [[[1]]]");
	return compiles(text, alone ? "seen alone" : "seen with another");
}

/* neg_efe [MOST][POLICIES] of some agents that are stepped together. */
static void
plan(const KernelModel *model, int count, double neg_efe[][POLICIES])
{
	static const int32_t outcomes[MOST] = {0, 2, 1};
	KernelAgent			 agents[MOST];
	double				 beliefs[MOST][STATES + 1];
	int32_t				 actions[MOST][2];

	for (int i = 0; i < count; i++)
		agents[i] = (KernelAgent){.prior = KERNEL_AT(model, double, model->D),
								  .observation = &outcomes[i],
								  .belief = beliefs[i],
								  .action = actions[i],
								  .neg_efe = neg_efe[i]};
	kernel_step(&host, model, kernel_workspace(&host, model), agents, count);
}

/* Plan steps whose beliefs are made of a model's first factor. */
static int
predicted(const KernelModel *model)
{
	return KERNEL_AT(model, KernelMoves, model->moves)->predicted;
}

/* The same plan with beliefs that are kept and with others. */
static void
test_seen(bool goal)
{
	const KernelModel *alone = compile_seen(true, goal);
	const KernelModel *together = compile_seen(false, goal);
	static double	   got[MOST][POLICIES];
	static double	   expected[MOST][POLICIES];

	for (int count = 1; alone && together && count <= MOST; count += MOST - 1)
	{
		double worst = 0.0;

		plan(alone, count, got);
		plan(together, count, expected);
		for (int i = 0; i < count; i++)
		{
			for (int p = 0; p < POLICIES; p++)
				worst = fmax(worst, fabs(got[i][p] - expected[i][p]));
		}
		ok(worst <= 1e-12, "%d agents%s: off by %.3g", count,
		   goal ? ", a goal" : "", worst);
	}
	ok(alone && together && predicted(together) == LENGTH &&
		   predicted(alone) == (goal ? LENGTH : LENGTH - 1),
	   "the last beliefs are %s", goal ? "made" : "foreseen");
	ok(alone && kernel_workspace_size(alone) <
					kernel_workspace_size(together) - 8 * STATES * 8 * 10,
	   "the beliefs of moves that pass are not all kept");
}

int
main(void)
{
	test_host(&host);
	test_seen(true);
	test_seen(false);
	free_all();
	return tap_done();
}
