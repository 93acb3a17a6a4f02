/*
 * fuzz_spec.c
 *	  Any text as a spec: it is refused with a problem, or becomes a model that
 *	  is valid, with which an agent can make a step.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

#define ARENA_BYTES ((size_t) 16 << 20)
#define MAX_PIECES	65536

/* Pieces of exactly the size asked for, so that the sanitizer sees their ends. */
static void	 *pieces[MAX_PIECES];
static int	  piece_count;
static size_t used;

static void *
allocate(void *context, size_t size)
{
	void *piece;

	(void) context;
	if (size > ARENA_BYTES - used || piece_count == MAX_PIECES ||
		posix_memalign(&piece, 64, size) != 0)
		return NULL;
	memset(piece, 0x5a, size);
	used += size;
	pieces[piece_count++] = piece;
	return piece;
}

static void
free_all(void)
{
	while (piece_count > 0)
		free(pieces[--piece_count]);
	used = 0;
}

static void
expect(bool truth)
{
	if (!truth)
		abort();
}

/* Every problem tells something, in texts that end. */
static void
check_problems(const KernelProblems *problems)
{
	for (int i = 0; i < problems->count && i < KERNEL_MAX_PROBLEMS; i++)
	{
		const KernelProblem *problem = &problems->items[i];

		expect(problem->status != KERNEL_OK && problem->message[0] != '\0');
		expect(strlen(problem->path) < sizeof(problem->path) &&
			   strlen(problem->message) < sizeof(problem->message) &&
			   strlen(problem->detail) < sizeof(problem->detail) &&
			   strlen(problem->hint) < sizeof(problem->hint));
	}
}

/* The first outcome of each modality; what comes of it must be in range. */
static void
step(const KernelHost *host, const KernelModel *model)
{
	KernelWorkspace *workspace = kernel_workspace(host, model);
	size_t			 modalities = (size_t) model->modality_count;
	size_t			 controls = (size_t) model->control_count;
	KernelAgent		 agent = {.step = 1};
	int32_t			*observation = allocate(NULL, modalities * sizeof(int32_t));
	int32_t			*action = allocate(NULL, controls * sizeof(int32_t) + 1);
	double			*belief =
		allocate(NULL, (size_t) model->belief_size * sizeof(double));

	if (workspace == NULL || observation == NULL || action == NULL ||
		belief == NULL)
		return;
	memset(observation, 0, modalities * sizeof(int32_t));
	agent.prior = KERNEL_AT(model, double, model->D);
	agent.observation = observation;
	agent.action = action;
	agent.belief = belief;
	expect(kernel_step(host, model, workspace, &agent, 1) == KERNEL_OK);
	for (int32_t c = 0; c < model->control_count; c++)
		expect(action[c] >= 0 && action[c] < kernel_control(model, c)->actions);
	for (int32_t s = 0; s < model->belief_size; s++)
		expect(belief[s] >= 0 && belief[s] <= 1 + 1e-9);
}

static void
use_model(const KernelHost *host, const KernelModel *model,
		  const JsonValue *spec)
{
	static KernelProblems problems;
	KernelParameters	  parameters;
	double				 *packed;
	int32_t				  length;
	double				  work;

	expect(model != NULL && kernel_model_valid(model, (size_t) model->size));

	/* C, D, E and the rest are read as parameters too */
	problems.count = 0;
	(void) kernel_parameters_pack(host, model, spec, NULL, &packed, &length,
								  &problems);
	check_problems(&problems);
	expect(kernel_parameters_unpack(model, packed, length, &parameters));

	/* a step of a model that is not too much work */
	work = (double) model->size *
		   (model->iterations + (double) model->branch_count);
	if (work < 1e7)
		step(host, model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static KernelProblems problems;
	KernelHost			  host = {allocate, NULL, NULL, 4096, 4 << 20};
	const KernelModel	 *model;
	JsonValue			  spec;
	KernelStatus		  status;

	problems.count = 0;
	status = json_parse(&host, (const char *) data, size, &spec, &problems);
	if (status == KERNEL_OK)
	{
		status = kernel_compile(&host, &spec, &model, &problems);
		if (status == KERNEL_OK)
			use_model(&host, model, &spec);
		else
			expect(model == NULL);
	}
	expect(status == KERNEL_OK || status == KERNEL_MEMORY ||
		   problems.count > 0);
	expect(status != KERNEL_OK || problems.count == 0);
	check_problems(&problems);
	free_all();
	return 0;
}
