/*
 * test_golden.c
 *	  Every step of the golden data, which pymdp made: belief, vfe, q_pi and
 *	  neg_efe to 1e-9, actions under the tie rule, learned parameters: alone and
 *	  in a block of three, on every instruction set of the machine.
 */
#include "support.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-9

/* One agent on its way through a sequence of steps. */
typedef struct Walker
{
	const KernelModel *model;
	KernelLearned	   learned;
	bool			  *changed;
	bool			   owes; /* an update of the last step */
	double			  *belief;
	double			  *before; /* the belief one step earlier */
	double			  *q_pi;
	double			  *neg_efe;
	int32_t			  *action;
	int32_t			  *observation;
	int32_t			  *did;
	bool			   moved; /* did and before are set */
	double			   vfe;
	int				   copies; /* of the agent in a block: 1 or 3 */
} Walker;

static void *
room(size_t count, size_t size)
{
	return calloc(count + 1, size);
}

static void
open_walker(Walker *walker, const KernelModel *model, int copies)
{
	memset(walker, 0, sizeof(*walker));
	walker->model = model;
	walker->copies = copies;
	walker->belief = room((size_t) model->belief_size, sizeof(double));
	walker->before = room((size_t) model->belief_size, sizeof(double));
	walker->q_pi = room((size_t) model->policy_count, sizeof(double));
	walker->neg_efe = room((size_t) model->policy_count, sizeof(double));
	walker->action = room((size_t) model->control_count, sizeof(int32_t));
	walker->did = room((size_t) model->control_count, sizeof(int32_t));
	walker->observation = room((size_t) model->modality_count, sizeof(int32_t));
	walker->learned.counts =
		room((size_t) kernel_learned_size(model), sizeof(double));
	walker->changed =
		room((size_t) kernel_learned_part_count(model), sizeof(bool));
	kernel_learned_start(model, &walker->learned);
	memcpy(walker->belief, KERNEL_AT(model, double, model->D),
		   sizeof(double) * (size_t) model->belief_size);
}

static void
close_walker(Walker *walker)
{
	free(walker->belief);
	free(walker->before);
	free(walker->q_pi);
	free(walker->neg_efe);
	free(walker->action);
	free(walker->did);
	free(walker->observation);
	free(walker->learned.counts);
	free(walker->changed);
}

static bool
learns(const KernelModel *model)
{
	return model->learn_A || model->learn_B;
}

/* The update that the last step owes, as the server applies it. */
static void
settle(Walker *walker)
{
	if (walker->owes)
		kernel_learn(walker->model, NULL, &walker->learned, walker->observation,
					 walker->belief, walker->moved ? walker->before : NULL,
					 walker->did, walker->changed);
	walker->owes = false;
}

static KernelStatus
walk(const KernelHost *host, KernelWorkspace *workspace, Walker *walker,
	 const JsonValue *step)
{
	const KernelModel *model = walker->model;
	const JsonValue	  *did = json_member(step, "did");
	double		*prior = room((size_t) model->belief_size, sizeof(double));
	KernelAgent	 agents[3];
	KernelAgent	 agent = {0};
	KernelStatus status;

	settle(walker);
	memcpy(prior, walker->belief, sizeof(double) * (size_t) model->belief_size);
	walker->moved = did != NULL && did->kind == JSON_ARRAY;
	if (walker->moved)
		flatten_ints(did, walker->did);
	flatten_ints(json_member(step, "observation"), walker->observation);

	agent.seed = 1;
	agent.step = 1;
	agent.prior = prior;
	agent.did = walker->moved ? walker->did : NULL;
	agent.observation = walker->observation;
	agent.learned = learns(model) ? &walker->learned : NULL;
	agent.belief = walker->belief;
	agent.action = walker->action;
	agent.q_pi = walker->q_pi;
	agent.neg_efe = walker->neg_efe;
	for (int i = 0; i < walker->copies; i++)
	{
		agents[i] = agent;
		if (i > 0)
			agents[i].belief =
				room((size_t) model->belief_size, sizeof(double));
	}
	status = kernel_step(host, model, workspace, agents, walker->copies);
	for (int i = 1; i < walker->copies; i++)
	{
		if (memcmp(agents[i].belief, agent.belief,
				   sizeof(double) * (size_t) model->belief_size) != 0)
			status = KERNEL_INVALID;
		free(agents[i].belief);
	}
	walker->vfe = agents[0].vfe;
	memcpy(walker->before, prior, sizeof(double) * (size_t) model->belief_size);
	free(prior);
	walker->owes = learns(model);
	return status;
}

/* One step against what pymdp gave; what differs is printed. */
static bool
agrees(const Walker *walker, const JsonValue *step, int number)
{
	const KernelModel *model = walker->model;
	double			   off[4] = {
					difference(walker->belief, json_member(step, "belief"),
							   model->belief_size),
					fabs(walker->vfe - json_member(step, "vfe")->as.number),
					difference(walker->q_pi, json_member(step, "q_pi"),
							   model->policy_count),
					difference(walker->neg_efe, json_member(step, "neg_efe"),
							   model->policy_count),
	};
	int32_t *action = room((size_t) model->control_count, sizeof(int32_t));
	bool	 same = flatten_ints(json_member(step, "action"), action) ==
					model->control_count &&
				memcmp(action, walker->action,
					   sizeof(int32_t) * (size_t) model->control_count) == 0;

	free(action);
	for (int i = 0; i < 4; i++)
		same = same && off[i] <= TOLERANCE;
	if (!same)
		printf(
			"# step %d off by: belief %.3g, vfe %.3g, q_pi %.3g, neg_efe %.3g; action %d\n",
			number, off[0], off[1], off[2], off[3], walker->action[0]);
	return same;
}

/*
 * E[pA] and E[pB] at the end; in the data [row][column], here [column][row] (and
 * of B [action][parents]; with one control the data has it last).
 */
static bool
final_agrees(Walker *walker, const JsonValue *expected, bool of_A)
{
	const KernelModel *model = walker->model;
	bool			   same = true;

	for (int i = 0; expected != NULL && i < expected->count; i++)
	{
		const JsonValue *table = &expected->as.elements[i];
		int64_t			 rows = of_A ? kernel_modality(model, i)->outcomes :
									   kernel_factor(model, i)->states;
		int64_t parents = of_A ? kernel_modality(model, i)->parent_states :
								 kernel_factor(model, i)->parent_states;
		int64_t actions = of_A ? 1 : kernel_factor(model, i)->actions;
		size_t	size = (size_t) (rows * parents * actions);
		double *got;
		double *want;

		if (table->kind == JSON_NULL)
			continue;
		got = room(size, sizeof(double));
		want = room((size_t) count_numbers(table), sizeof(double));
		same = same && (size_t) flatten(table, want) == size;
		if (of_A)
			kernel_learned_A(model, &walker->learned, i, got);
		else
			kernel_learned_B(model, &walker->learned, i, got);
		for (int64_t r = 0; same && r < rows; r++)
			for (int64_t p = 0; p < parents; p++)
				for (int64_t u = 0; u < actions; u++)
					same =
						same && fabs(got[(u * parents + p) * rows + r] -
									 want[(r * parents + p) * actions + u]) <=
									TOLERANCE;
		free(got);
		free(want);
	}
	return same;
}

/* All steps of a case on one instruction set, the agent alone or in a block. */
static void
check_walk(const KernelHost *host, const KernelModel *model,
		   const JsonValue *golden, const char *name, int copies)
{
	KernelWorkspace *workspace = kernel_workspace(host, model);
	const JsonValue *steps = json_member(golden, "steps");
	Walker			 walker;
	bool			 same = true;

	open_walker(&walker, model, copies);
	for (int i = 0; i < steps->count; i++)
	{
		const JsonValue *step = &steps->as.elements[i];
		KernelStatus	 status = walk(host, workspace, &walker, step);

		if (status != KERNEL_OK)
			printf("# step %d: status %d\n", i, (int) status);
		same = status == KERNEL_OK && agrees(&walker, step, i) && same;
	}
	ok(same && steps->count > 0, "%s, %s, blocks of %d: %d steps agree", name,
	   kernel_instructions(), copies, steps->count);
	if (learns(model))
	{
		settle(&walker);
		ok(final_agrees(&walker, json_member(golden, "final_A"), true) &&
			   final_agrees(&walker, json_member(golden, "final_B"), false),
		   "%s: what was learned agrees", name);
	}
	close_walker(&walker);
}

static void
check_case(const char *name)
{
	static const char *const sets[] = {"plain", "sse2", "avx2", "avx512"};
	static KernelProblems	 problems;
	KernelHost				 host;
	JsonValue				 golden;
	const KernelModel		*model = NULL;

	test_host(&host);
	golden = read_reference(&host, name);
	problems.count = 0;
	if (!ok(kernel_compile(&host, json_member(&golden, "spec"), &model,
						   &problems) == KERNEL_OK,
			"%s compiles", name))
	{
		printf("# %s: %s\n", problems.items[0].path, problems.items[0].message);
		free_all();
		return;
	}
	for (int set = 0; set < 4; set++)
	{
		if (!kernel_use_instructions(sets[set]))
			continue;
		check_walk(&host, model, &golden, name, 1);
		check_walk(&host, model, &golden, name, 3);
	}
	free_all();
}

int
main(void)
{
	int	   count;
	char **names = reference_files("golden", &count);

	ok(count >= 60, "the golden data is there");
	for (int i = 0; i < count; i++)
	{
		check_case(names[i]);
		free(names[i]);
	}
	free(names);
	return tap_done();
}
