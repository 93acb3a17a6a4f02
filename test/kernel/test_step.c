/*
 * test_step.c
 *	  What a step promises besides its numbers: agents that overflow leave the
 *	  others alone, nothing of one call is seen by the next, and none goes on
 *	  for long without asking for interrupts.
 */
#include <setjmp.h>

#include "spec_test.h"

#define ABREAST 8 /* agents of a block */

/* Room for the results of agents of small models. */
typedef struct Result
{
	double	beliefs[4];
	double	q_pi[8];
	double	neg_efe[8];
	int32_t actions[2];
} Result;

static void
give_room(KernelAgent *agent, Result *result)
{
	memset(result, 0xff, sizeof(*result));
	agent->belief = result->beliefs;
	agent->q_pi = result->q_pi;
	agent->neg_efe = result->neg_efe;
	agent->action = result->actions;
}

/* ---------- numbers that are not finite ---------- */

/*
 * Eight agents, of which the bad-th has a prior with such a number in it: its
 * status says so, and the others get what they get without it.
 */
static void
check_not_finite(const KernelModel *model, double number, int bad)
{
	static const int32_t outcome = 1;
	const double		 good[2] = {0.3, 0.7};
	const double		 wrong[2] = {number, 0.7};
	KernelWorkspace		*workspace = kernel_workspace(&host, model);
	KernelAgent			 agents[ABREAST];
	Result				 results[ABREAST];
	Result				 expected;
	KernelAgent			 alone = {.prior = good, .observation = &outcome};
	bool				 right = true;

	give_room(&alone, &expected);
	right = kernel_step(&host, model, workspace, &alone, 1) == KERNEL_OK;
	for (int i = 0; i < ABREAST; i++)
	{
		agents[i] = alone;
		agents[i].prior = i == bad ? wrong : good;
		agents[i].status = KERNEL_MEMORY;
		give_room(&agents[i], &results[i]);
	}
	right &=
		kernel_step(&host, model, workspace, agents, ABREAST) == KERNEL_RANGE;
	for (int i = 0; i < ABREAST; i++)
		right &= i == bad ?
					 agents[i].status == KERNEL_RANGE :
					 agents[i].status == KERNEL_OK &&
						 memcmp(&results[i], &expected, sizeof(expected)) == 0;
	alone.prior = wrong;
	right &= kernel_step(&host, model, workspace, &alone, 1) == KERNEL_RANGE &&
			 alone.status == KERNEL_RANGE;
	ok(right, "%s: a prior of %g at place %d", kernel_instructions(), number,
	   bad);
}

static void
test_not_finite(void)
{
	static const char *const sets[] = {"plain", "sse2", "avx2", "avx512"};
	const KernelModel		*model =
		compiles("{" A2 ", " B2 ", 'C': [[0, 1]], 'policy_len': 2, "
				 "'sampling_mode': 'marginal'}",
				 "two actions");
	const char	*best = kernel_instructions();
	const double nan_prior[2] = {NAN, 0.7};
	double		 belief[2];
	double		 vfe;
	int32_t		 outcome = 1;

	if (model == NULL)
		return;
	for (int set = 0; set < 4; set++)
	{
		if (!kernel_use_instructions(sets[set]))
			continue;
		for (int bad = 0; bad < ABREAST; bad++)
		{
			check_not_finite(model, INFINITY, bad);
			check_not_finite(model, NAN, bad);
		}
		ok(kernel_infer(&host, model, kernel_workspace(&host, model), nan_prior,
						&outcome, belief, &vfe) == KERNEL_RANGE,
		   "%s: inference from a prior of NaN", sets[set]);
	}
	(void) kernel_use_instructions(best);
}

/* ---------- from one call to the next ---------- */

/* What parameters point at may change between calls, at the same place. */
static void
test_parameters_change(void)
{
	const KernelModel *model =
		compiles("{'A': [[[1, 0], [0, 1]]], " B2 "}", "a choice of outcomes");
	double			 C[2] = {0, 3};
	double			 log_E[2] = {0, 0};
	const double	 prior[2] = {0.5, 0.5};
	int32_t			 outcome = -1;
	KernelParameters parameters = {.gamma = 1,
								   .alpha = 1,
								   .inductive_epsilon = 0.1,
								   .C = C,
								   .log_E = log_E};
	KernelAgent		 agent = {
			 .prior = prior, .observation = &outcome, .parameters = &parameters};
	KernelWorkspace *workspace;
	Result			 result;

	if (model == NULL)
		return;
	workspace = kernel_workspace(&host, model);
	give_room(&agent, &result);
	kernel_step(&host, model, workspace, &agent, 1);
	ok(result.actions[0] == 1, "the outcome that is wanted");
	C[0] = 4;
	kernel_step(&host, model, workspace, &agent, 1);
	ok(result.actions[0] == 0, "C is read again");
	log_E[1] = 2;
	kernel_step(&host, model, workspace, &agent, 1);
	ok(result.actions[0] == 1, "and so is E");
}

/*
 * I that was given, without H, stays when B is learned: from state 0, whose
 * goal is two steps away, all of what stays in state 0 is off the way.
 */
static void
test_given_I(void)
{
	const KernelModel *model =
		compiles("{" A2 ", " B2 ", 'I': [[[0, 1], [1, 1]]], "
				 "'use_inductive': true, 'learn_B': true, "
				 "'pB': [[[[1, 1], [1, 1]], [[1, 1], [1, 1]]]]}",
				 "I and learning");
	double			  counts[8] = {3, 1, 1, 1, 1, 4, 1, 1};
	double			  parts[6][2];
	const double	  belief[2] = {1, 0};
	KernelLearned	  learned = {.counts = counts, .B_active = true};
	KernelExplanation explanation = {parts[0], parts[1], parts[2],
									 parts[3], parts[4], parts[5]};

	if (model == NULL)
		return;
	ok(kernel_explain(&host, model, kernel_workspace(&host, model), belief,
					  NULL, &learned, &explanation) == KERNEL_OK,
	   "I is there after a transition");
	is_close(parts[5][0], 0.75 * log(1e-3), 1e-12, "what one action costs");
	is_close(parts[5][1], 0.2 * log(1e-3), 1e-12, "and the other");
}

/* ---------- interruption ---------- */

/* Multiplications between two polls, at most, on the average of a call. */
#define MOST_WORK (4.0 * 1024 * 1024)

static int	   polls;
static int	   cancel_at;
static jmp_buf left_by;

static void
count_poll(void *context)
{
	(void) context;
	if (++polls == cancel_at)
		longjmp(left_by, 1);
}

/*
 * Two factors that are drawn to each other, which a Jacobi iteration makes
 * swing for ever.
 */
static const KernelModel *
compile_swing(int states)
{
	size_t			   size = (size_t) (states * states) * 16 + 10000;
	char			  *text = malloc(size);
	size_t			   at;
	const KernelModel *model;

	at = (size_t) sprintf(text, "{'num_iter': 2000, 'A': [[");
	for (int o = 0; o < 2; o++)
	{
		for (int i = 0; i < states; i++)
		{
			at += (size_t) sprintf(text + at, "%s[",
								   i ? ", " : (o ? "], [" : "["));
			for (int j = 0; j < states; j++)
				at += (size_t) sprintf(text + at, "%s%s", j ? ", " : "",
									   ((i < states / 2) == (j < states / 2)) ==
											   (o == 0) ?
										   "0.9999" :
										   "0.0001");
			at += (size_t) sprintf(text + at, "]");
		}
	}
	at += (size_t) sprintf(text + at, "]]], 'D': [");
	for (int f = 0; f < 2; f++)
	{
		at += (size_t) sprintf(text + at, "%s[", f ? ", " : "");
		for (int s = 0; s < states; s++)
			at += (size_t) sprintf(text + at, "%s%.17g", s ? ", " : "",
								   ((s < states / 2) == (f == 0) ? 1.2 : 0.8) /
									   states);
		at += (size_t) sprintf(text + at, "]");
	}
	at += (size_t) sprintf(text + at, "], 'B': [");
	for (int f = 0; f < 2; f++)
	{
		at += (size_t) sprintf(text + at, "%s{'next': [", f ? ", " : "");
		for (int s = 0; s < states; s++)
			at += (size_t) sprintf(text + at, "%s[%d]", s ? ", " : "", s);
		at += (size_t) sprintf(text + at, "]}");
	}
	sprintf(text + at, "]}");
	model = compiles(text, "two factors that swing");
	free(text);
	return model;
}

/* Inference is polled by work, and can be left anywhere. */
static void
test_inference_polls(void)
{
	const int		   states = 60;
	const KernelModel *model = compile_swing(states);
	KernelWorkspace	  *workspace;
	const double	  *prior;
	double			   beliefs[2][120];
	double			   vfe[2];
	int32_t			   outcome = 0;
	volatile int	   all;

	if (model == NULL)
		return;
	prior = KERNEL_AT(model, double, model->D);
	workspace = kernel_workspace(&host, model);
	host.poll = count_poll;
	polls = cancel_at = 0;
	kernel_infer(&host, model, workspace, prior, &outcome, beliefs[0], &vfe[0]);
	all = polls;
	ok(all * MOST_WORK >= 2.0 * 2000 * states * states && all < 1000,
	   "inference is polled by its work (%d times)", all);
	cancel_at = all / 2 + 1;
	polls = 0;
	if (setjmp(left_by) == 0)
	{
		kernel_infer(&host, model, workspace, prior, &outcome, beliefs[1],
					 &vfe[1]);
		ok(false, "it is left");
	}
	host.poll = NULL;
	kernel_infer(&host, model, workspace, prior, &outcome, beliefs[1], &vfe[1]);
	ok(memcmp(beliefs[0], beliefs[1], sizeof(beliefs[0])) == 0 &&
		   vfe[0] == vfe[1],
	   "the same bits after it was left");
}

/*
 * A dense factor of several actions, none of whose moves are equal, and with a
 * goal, so that all their beliefs are made.
 */
static const KernelModel *
compile_dense(int states, int actions, int length)
{
	size_t			   size = (size_t) (states * states * actions) * 24 + 10000;
	char			  *text = malloc(size);
	size_t			   at;
	double			   sum = 0.0;
	const KernelModel *model;

	for (int next = 0; next < states; next++)
		sum += 1 + next % 7;
	at = (size_t) sprintf(text,
						  "{'A': [{'shape': [1, %d], 'default': 1}], "
						  "'use_inductive': true, 'inductive_depth': 1, "
						  "'H': [{'0': 1}], 'policy_len': %d, 'B': [[",
						  states, length);
	for (int next = 0; next < states; next++)
	{
		at += (size_t) sprintf(text + at, "%s[", next ? ", " : "");
		for (int s = 0; s < states; s++)
		{
			at += (size_t) sprintf(text + at, "%s[", s ? ", " : "");
			for (int u = 0; u < actions; u++)
				at += (size_t) sprintf(text + at, "%s%.12g", u ? ", " : "",
									   (1 + (next + s + u) % states % 7) / sum);
			at += (size_t) sprintf(text + at, "]");
		}
		at += (size_t) sprintf(text + at, "]");
	}
	sprintf(text + at, "]]}");
	model = compiles(text, "a dense factor");
	free(text);
	return model;
}

/* And so is planning, alone and abreast. */
static void
test_planning_polls(void)
{
	const int			 states = 60;
	const double		 moves = 8 + 64 + 512 + 4096;
	static const int32_t outcome = 0;
	const KernelModel	*model = compile_dense(states, 8, 4);
	KernelAgent			 agents[ABREAST];
	double				 beliefs[ABREAST][60];
	int32_t				 actions[ABREAST];
	KernelWorkspace		*workspace;

	if (model == NULL)
		return;
	workspace = kernel_workspace(&host, model);
	for (int i = 0; i < ABREAST; i++)
		agents[i] = (KernelAgent){.prior = KERNEL_AT(model, double, model->D),
								  .observation = &outcome,
								  .belief = beliefs[i],
								  .action = &actions[i]};
	host.poll = count_poll;
	for (int count = 1; count <= ABREAST; count += ABREAST - 1)
	{
		polls = cancel_at = 0;
		kernel_step(&host, model, workspace, agents, count);
		ok(polls * MOST_WORK >= moves * states * states && polls < 5000,
		   "planning of %d is polled by its work (%d times)", count, polls);
	}
	host.poll = NULL;
}

int
main(void)
{
	test_host(&host);
	test_not_finite();
	test_parameters_change();
	test_given_I();
	test_inference_polls();
	test_planning_polls();
	free_all();
	return tap_done();
}
