/*
 * test_math.c
 *	  Digamma, information gain, the inductive matrix, ties, softmax and random
 *	  numbers against values that others computed (test/reference/analytic.json
 *	  by 50-digit arithmetic; Random123's known answers).
 */
#include "support.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

/* The largest distance, relative where the value is above 1. */
static double
relative(double got, double expected)
{
	return fabs(got - expected) / fmax(1.0, fabs(expected));
}

static void
check_digamma(const JsonValue *c)
{
	const JsonValue *x = json_member(c, "x");
	const JsonValue *y = json_member(c, "y");
	double			 worst = 0.0;

	for (int i = 0; i < x->count; i++)
		worst =
			fmax(worst, relative(kernel_digamma(x->as.elements[i].as.number),
								 y->as.elements[i].as.number));
	is_close(worst, 0.0, 1e-13, "digamma agrees to 1e-13");
}

/* W of a table [row][column]; the kernel takes one column at a time. */
static void
check_gain(const JsonValue *c, const char *name)
{
	const JsonValue *a = json_member(c, "a");
	const JsonValue *w = json_member(c, "w");
	double			 worst = 0.0;

	for (int column = 0; column < a->as.elements[0].count; column++)
	{
		double *counts = malloc(sizeof(double) * (size_t) a->count);
		double *gain = malloc(sizeof(double) * (size_t) a->count);

		for (int row = 0; row < a->count; row++)
			counts[row] = a->as.elements[row].as.elements[column].as.number;
		kernel_gain_column(counts, a->count, gain);
		for (int row = 0; row < a->count; row++)
		{
			double expected = w->as.elements[row].as.elements[column].as.number;

			if (counts[row] > 0.0)
				worst = fmax(worst, fabs(gain[row] - expected) /
										fmax(1e-3, fabs(expected)));
		}
		free(counts);
		free(gain);
	}
	ok(worst <= 1e-11, "W: %s (off by %.2g)", name, worst);
}

/* One factor's I from B [next][state][action] and H. */
static void
check_inductive(const KernelHost *host, const JsonValue *c, const char *name)
{
	const JsonValue *B = &json_member(c, "B")->as.elements[0];
	const JsonValue *H = &json_member(c, "H")->as.elements[0];
	int				 states = H->count;
	int				 actions = B->as.elements[0].as.elements[0].count;
	int				 depth = (int) json_member(c, "depth")->as.number;
	size_t			 cells = (size_t) (states * states * actions);
	double			*dense = malloc(sizeof(double) * cells);
	double *scratch = malloc(sizeof(double) * (size_t) (states * states));
	double *I = malloc(sizeof(double) * (size_t) (depth * states));
	double *goal = malloc(sizeof(double) * (size_t) states);

	for (int next = 0; next < states; next++)
		for (int s = 0; s < states; s++)
			for (int u = 0; u < actions; u++)
				dense[(u * states + s) * states + next] = B->as.elements[next]
															  .as.elements[s]
															  .as.elements[u]
															  .as.number;
	flatten(H, goal);
	kernel_inductive(host, goal, states, (int64_t) states * actions, dense,
					 json_member(c, "threshold")->as.number, depth, scratch, I);
	ok(difference(I, &json_member(c, "I")->as.elements[0], depth * states) ==
		   0.0,
	   "inductive matrix: %s", name);
	free(dense);
	free(scratch);
	free(I);
	free(goal);
}

static void
check_analytic(void)
{
	KernelHost		 host;
	JsonValue		 file;
	const JsonValue *cases;

	test_host(&host);
	file = read_reference(&host, "analytic.json");
	cases = json_member(&file, "cases");
	for (int i = 0; i < cases->count; i++)
	{
		const JsonValue *c = &cases->as.elements[i];
		const char		*kind = json_member(c, "kind")->as.string;
		const char		*name = json_member(c, "name")->as.string;

		if (strcmp(kind, "digamma") == 0)
			check_digamma(c);
		else if (strcmp(kind, "wnorm") == 0)
			check_gain(c, name);
		else if (strcmp(kind, "inductive") == 0)
			check_inductive(&host, c, name);
		else if (strcmp(kind, "constants") == 0)
			is_close(kernel_log(0.0), json_member(c, "log_floor")->as.number,
					 0.0, "the logarithm's floor");
	}
	free_all();
}

/*
 * The action that an agent chooses of three that lead to the same, which only
 * their weights E tell apart; q_pi [3] gets their probabilities.  A utility of
 * 1000 nats is in all of them.
 */
static int32_t
chosen_by_weight(const char *sampling, const char *weights, double *q_pi)
{
	static KernelProblems problems;
	KernelHost			  host;
	JsonValue			  spec;
	const KernelModel	 *model = NULL;
	char				  text[400];
	double				  belief[2];
	int32_t				  action = -1;
	int32_t				  outcome = 0;
	KernelAgent			  agent = {.observation = &outcome,
								   .belief = belief,
								   .action = &action,
								   .q_pi = q_pi};

	snprintf(text, sizeof(text),
			 "{\"A\": [[[1, 0], [0, 1]]], \"C\": [[1000, 0]], \"E\": %s, "
			 "\"sampling_mode\": \"%s\", "
			 "\"B\": [[[[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]]]}",
			 weights, sampling);
	test_host(&host);
	problems.count = 0;
	if (json_parse(&host, text, strlen(text), &spec, &problems) != KERNEL_OK ||
		kernel_compile(&host, &spec, &model, &problems) != KERNEL_OK)
	{
		printf("# %s\n", problems.items[0].message);
		return -1;
	}
	agent.prior = KERNEL_AT(model, double, model->D);
	kernel_step(&host, model, kernel_workspace(&host, model), &agent, 1);
	free_all();
	return action;
}

static void
check_choices(void)
{
	double q_pi[3];

	/* the marginal of a control's action is q_pi here */
	ok(chosen_by_weight("marginal", "[0.2, 0.3999999998, 0.4]", q_pi) == 1 &&
		   q_pi[1] < q_pi[2],
	   "marginals within 1e-9 of the best: the lowest index wins");
	ok(chosen_by_weight("marginal", "[0.2, 0.3999999992, 0.4]", q_pi) == 2,
	   "marginals beyond 1e-9: the best one does");

	/* 5e-10 and 2e-9 below the best */
	ok(chosen_by_weight("full", "[0.2, 0.3999999998, 0.4]", q_pi) == 1,
	   "within 1e-9 of the best the lowest index wins");
	ok(chosen_by_weight("full", "[0.2, 0.3999999992, 0.4]", q_pi) == 2,
	   "beyond 1e-9 the best one does");
	ok(chosen_by_weight("full", "[1, 1, 2]", q_pi) == 2 &&
		   fabs(q_pi[0] - 0.25) < 1e-12 && fabs(q_pi[2] - 0.5) < 1e-12,
	   "large utilities do not overflow");
}

/* Random123's known answer for Philox4x32-10 with all zeros: 6627e8d5 e169c58d. */
static void
check_random(void)
{
	double known = (double) (UINT64_C(0xe169c58d6627e8d5) >> 11) * 0x1p-53;
	double sum = 0.0;
	double squares = 0.0;
	int	   n = 100000;

	ok(kernel_uniform(0, 0, 0, 0) == known, "Philox's known answer");
	ok(kernel_uniform(1, 2, 3, 4) != kernel_uniform(1, 2, 4, 3) &&
		   kernel_uniform(1, 2, 3, 4) != kernel_uniform(2, 1, 3, 4),
	   "each part of the counter matters");
	for (int i = 0; i < n; i++)
	{
		double u = kernel_uniform(42, (uint64_t) i, 0, 0);

		sum += u;
		squares += u * u;
	}
	is_close(sum / n, 0.5, 0.005, "the mean of uniform draws");
	is_close(squares / n, 1.0 / 3, 0.005, "and of their squares");
}

int
main(void)
{
	check_analytic();
	check_choices();
	check_random();
	return tap_done();
}
