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

/* An array of probabilities [rows][columns][width], or where width is 0
 * [rows][columns]; the last axes are those of a column. */
static void
put_array(int rows, int columns, int width)
{
	int last = width > 0 ? width : 1;

	for (int r = 0; r < rows; r++)
	{
		for (int c = 0; c < columns * last; c++)
		{
			const char *begin = c % last > 0 ? ", " : c > 0 ? ", [" : "[[";
			const char *end = c % last < last - 1 ? "" : "]";

			if (width == 0)
			{
				begin = c > 0 ? ", " : "[";
				end = "";
			}
			length += (size_t) sprintf(text + length, "%s%s%.17g%s",
									   c == 0 && r > 0 ? ", " : "", begin,
									   probability(r, rows, c), end);
		}
		length += (size_t) sprintf(text + length, "]");
	}
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
		"'A': [[",
		LENGTH, goal ? "true" : "false", alone ? "" : ", [1]",
		alone ? "" : ", 1");
	put_array(OUTCOMES, STATES, alone ? 0 : 1);
	length += (size_t) sprintf(text + length, "]], 'B': [[");
	put_array(STATES, STATES, ACTIONS);
	sprintf(text + length, "]%s]}", alone ? "" : ", [[[1]]]");
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

/* Has a model what it could be without: foreseen moves, a contraction? */
static bool
has_tables(const KernelModel *model, bool alone)
{
	return alone ? predicted(model) < LENGTH :
				   KERNEL_AT(model, KernelViews, model->views)->contracted != 0;
}

/*
 * No model is refused for what is made to be fast with: under a limit that is a
 * byte less than it takes with the tables of foreseen moves (alone), or of a
 * contraction, it is made without, and worth the same.  A little above (room is
 * reckoned with gaps of 64 bytes) it has them.
 */
static void
test_room(bool alone)
{
	const KernelModel *ample = compile_seen(alone, false);
	int64_t			   limit = host.max_model_size;
	static double	   got[MOST][POLICIES];
	static double	   expected[MOST][POLICIES];

	for (int less = 0; ample && less < 2; less++)
	{
		const KernelModel *model;
		double			   worst = 0.0;

		host.max_model_size = ample->size + (less ? -1 : 2 * 64);
		model = compile_seen(alone, false);
		host.max_model_size = limit;
		if (model == NULL)
			continue;
		plan(ample, MOST, expected);
		plan(model, MOST, got);
		for (int i = 0; i < MOST * POLICIES; i++)
			worst = fmax(worst, fabs(got[i / POLICIES][i % POLICIES] -
									 expected[i / POLICIES][i % POLICIES]));
		ok(worst <= 1e-12 && has_tables(model, alone) == !less,
		   "%s%s: off by %.3g", less ? "a byte too few" : "room enough",
		   alone ? "" : " to contract", worst);
	}
}

/* What is foreseen is explained too: the parts are all there is to neg_efe. */
static void
test_explained(void)
{
	const KernelModel *model = compile_seen(true, false);
	static double	   parts[6][POLICIES];
	KernelExplanation  explanation = {parts[0], parts[1], parts[2],
									  parts[3], parts[4], parts[5]};
	double			   worst = 0.0;

	if (model == NULL)
		return;
	ok(kernel_explain(&host, model, kernel_workspace(&host, model),
					  KERNEL_AT(model, double, model->D), NULL, NULL,
					  &explanation) == KERNEL_OK,
	   "an explanation of what was foreseen");
	for (int p = 0; p < POLICIES; p++)
	{
		double off =
			parts[1][p] - parts[2][p] - parts[3][p] - parts[4][p] - parts[5][p];

		worst = off == off ? fmax(worst, fabs(off)) : INFINITY;
	}
	ok(worst <= 1e-12, "its parts are off by %.3g", worst);
}

/* A block without the tables by which alone its views can be made. */
static void
test_tables_missing(void)
{
	const KernelModel *model = compile_seen(true, false);

	for (int table = 0; model && table < 2; table++)
	{
		KernelModel *copy = aligned_alloc(64, (size_t) model->size);
		KernelViews *views;

		memcpy(copy, model, (size_t) model->size);
		views = (KernelViews *) (void *) ((char *) copy + copy->views);
		if (table == 0)
			views->ahead = 0;
		else
			views->ahead_ambiguity = 0;
		ok(!kernel_model_valid(copy, (size_t) model->size),
		   "a model without its %s table", table ? "second" : "first");
		free(copy);
	}
}

int
main(void)
{
	test_host(&host);
	test_room(true);
	test_room(false);
	test_explained();
	test_tables_missing();
	test_seen(true);
	test_seen(false);
	free_all();
	return tap_done();
}
