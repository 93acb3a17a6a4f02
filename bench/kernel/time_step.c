/*
 * time_step.c
 *		Times steps of agents of one model in the kernel alone, without a
 *		server.
 *
 *	time_step SPEC.json AGENTS BLOCK SECONDS [INSTRUCTIONS]
 *
 * One line of JSON: us, the time of one step of one agent, how many steps were
 * timed, and with which instruction set (avx512, avx2, sse2 or plain; the best
 * of the machine unless one is named).  A step is what kernel_step() does: next prior, inference of
 * states and policies, choice.  What the worlds answer is drawn beforehand, so
 * that their work is not in the time: each agent has a tape of actions and the
 * observations that follow them, and is told the tape's action as the one that
 * was done.  So its beliefs stay as informed as those of an agent at large.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel.h"

#define TAPE		  64 /* steps of a tape, then it starts anew with a new trial */
#define STEPS_AT_ONCE 16 /* between looks at the clock, at least */
#define SLICES		  31 /* parts of the time; the median of them is told */

typedef struct Population
{
	const KernelModel *model;
	KernelWorkspace	  *workspace;
	int32_t			   count;
	KernelAgent		  *agents;	 /* [count] */
	double			  *beliefs;	 /* [count][belief_size] */
	int32_t			  *actions;	 /* [count][control_count]: chosen, unused */
	int32_t			  *observed; /* [TAPE][count][modality_count] */
	int32_t			  *done;	 /* [TAPE][count][control_count] */
	int32_t			   block;	 /* agents of one call */
	int32_t			   position; /* on the tape, of all agents */
	int64_t			   steps;	 /* made in all */
} Population;

static void
stop(const char *message, const char *detail)
{
	fprintf(stderr, "time_step: %s %s\n", message, detail);
	exit(1);
}

static void *
room(size_t count, size_t size)
{
	size_t bytes;
	void  *memory = NULL;

	if (!__builtin_mul_overflow(count + 1, size, &bytes))
		memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (memory == NULL)
		stop("out of memory", "");
	memset(memory, 0, bytes);
	return memory;
}

static void *
allocate(void *context, size_t size)
{
	(void) context;
	return room(size, 1);
}

static char *
read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rb");
	char *text;
	long  size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 ||
		(size = ftell(file)) < 0)
		stop("cannot read", path);
	rewind(file);
	text = room((size_t) size, 1);
	*length = (size_t) size;
	if (fread(text, 1, *length, file) != *length)
		stop("cannot read", path);
	fclose(file);
	return text;
}

static const KernelModel *
compile(const KernelHost *host, const char *path)
{
	static KernelProblems problems;
	const KernelModel	 *model = NULL;
	JsonValue			  spec;
	size_t				  length;
	char				 *text = read_file(path, &length);

	if (json_parse(host, text, length, &spec, &problems) != KERNEL_OK ||
		kernel_compile(host, &spec, &model, &problems) != KERNEL_OK)
		stop(path, problems.items[0].message);
	free(text);
	return model;
}

/* One agent's tape: a trial of a world that is moved by random actions. */
static void
record_tape(Population *population, int32_t agent)
{
	const KernelModel *model = population->model;
	int32_t *state = room((size_t) model->factor_count, sizeof(int32_t));
	int32_t *next = room((size_t) model->factor_count, sizeof(int32_t));
	uint64_t seed = (uint64_t) agent + 1;

	kernel_world_start(model, NULL, seed, 0, state);
	for (int32_t t = 0; t < TAPE; t++)
	{
		int64_t	 place = (int64_t) t * population->count + agent;
		int32_t *done = population->done + place * model->control_count;

		for (int32_t c = 0; c < model->control_count; c++)
			done[c] = (int32_t) (kernel_uniform(seed, (uint64_t) t, 99,
												(uint32_t) c) *
								 kernel_control(model, c)->actions);
		if (t > 0)
		{
			kernel_world_move(model, seed, (uint64_t) t, done, state, next);
			memcpy(state, next, sizeof(int32_t) * (size_t) model->factor_count);
		}
		kernel_world_observe(model, seed, (uint64_t) t, state,
							 population->observed +
								 place * model->modality_count);
	}
	free(state);
	free(next);
}

static void
populate(Population *population, int32_t count)
{
	const KernelModel *model = population->model;
	size_t			   agents = (size_t) count;

	population->count = count;
	population->agents = room(agents, sizeof(KernelAgent));
	population->beliefs =
		room(agents * (size_t) model->belief_size, sizeof(double));
	population->actions =
		room(agents * (size_t) model->control_count, sizeof(int32_t));
	population->observed =
		room(TAPE * agents * (size_t) model->modality_count, sizeof(int32_t));
	population->done =
		room(TAPE * agents * (size_t) model->control_count, sizeof(int32_t));
	for (int32_t i = 0; i < count; i++)
	{
		KernelAgent *agent = &population->agents[i];

		agent->seed = (uint64_t) i + 1;
		agent->belief = population->beliefs + (int64_t) i * model->belief_size;
		agent->action =
			population->actions + (int64_t) i * model->control_count;
		record_tape(population, i);
	}
}

/* A step of one block; at the tape's start the agents begin a new trial. */
static void
step_block(const KernelHost *host, Population *population, int32_t first)
{
	const KernelModel *model = population->model;
	int32_t			   count = population->count - first;

	count = count < population->block ? count : population->block;
	for (int32_t i = first; i < first + count; i++)
	{
		KernelAgent *agent = &population->agents[i];
		int64_t place = (int64_t) population->position * population->count + i;

		agent->step++;
		agent->prior = population->position == 0 ?
						   KERNEL_AT(model, double, model->D) :
						   agent->belief;
		agent->did = population->position == 0 ?
						 NULL :
						 population->done + place * model->control_count;
		agent->observation =
			population->observed + place * model->modality_count;
	}
	if (kernel_step(host, model, population->workspace,
					population->agents + first, count) != KERNEL_OK)
		stop("a step failed", "");
	population->steps += count;
}

/*
 * Seconds of processor time: what other programs take of the machine is not
 * ours.
 */
static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double) time.tv_sec + 1e-9 * (double) time.tv_nsec;
}

static int
compare_numbers(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

/*
 * At least so many steps, that to look at the clock, a system call, does not
 * count beside them.  *first is the next agent, before and after.
 */
static void
step_some(const KernelHost *host, Population *population, int32_t *first)
{
	for (int32_t made = 0; made < STEPS_AT_ONCE; made += population->block)
	{
		step_block(host, population, *first);
		*first += population->block;
		if (*first >= population->count)
		{
			*first = 0;
			population->position = (population->position + 1) % TAPE;
		}
	}
}

/*
 * Seconds of one step: the median of slices, so that what else the machine
 * does now and then is left out.  A slice is cut at any block, as one round of
 * large agents may take longer than all the time there is.
 */
static double
time_steps(const KernelHost *host, Population *population, double seconds)
{
	double	slices[SLICES];
	int32_t first = 0;

	/* the first slice warms caches, and is not counted */
	for (int slice = -1; slice < SLICES; slice++)
	{
		double	start = now();
		double	spent;
		int64_t before = population->steps;

		do
		{
			step_some(host, population, &first);
			spent = now() - start;
		} while (spent < seconds / SLICES);
		if (slice >= 0)
			slices[slice] = spent / (double) (population->steps - before);
	}
	qsort(slices, SLICES, sizeof(double), compare_numbers);
	return slices[SLICES / 2];
}

int
main(int argc, char **argv)
{
	KernelHost host = {allocate, NULL, NULL, INT32_MAX, INT64_MAX};
	Population population = {0};
	double	   time;

	if (argc < 5 || argc > 6 || atoi(argv[2]) < 1 || atoi(argv[3]) < 1 ||
		atof(argv[4]) <= 0)
		stop("usage: time_step",
			 "SPEC.json AGENTS BLOCK SECONDS [INSTRUCTIONS]");
	if (argc == 6 && !kernel_use_instructions(argv[5]))
		stop("this machine does not have", argv[5]);
	population.model = compile(&host, argv[1]);
	population.workspace = kernel_workspace(&host, population.model);
	if (population.workspace == NULL)
		stop("out of memory", "");
	population.block = atoi(argv[3]);
	populate(&population, atoi(argv[2]));
	time = time_steps(&host, &population, atof(argv[4]));
	printf("{\"us\": %.4f, \"steps\": %lld, \"instructions\": \"%s\"}\n",
		   1e6 * time, (long long) population.steps, kernel_instructions());
	return 0;
}
