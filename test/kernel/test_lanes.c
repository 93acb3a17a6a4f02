/*
 * test_lanes.c
 *	  An agent's results do not depend on its block: the same bits alone, in
 *	  blocks of any size, at any place and beside any neighbours, on every
 *	  instruction set of the machine.
 *
 * The agents of a block differ in everything that may differ: priors, what they
 * did, outcomes (missing ones too), seeds, parameters; and some have learned.
 */
#include "support.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AGENTS 1000

/* What a step gives one agent. */
typedef struct Result
{
	double	*belief;
	double	*q_pi;
	double	*neg_efe;
	double	 vfe;
	int32_t *action;
} Result;

/* One agent, as it is put into blocks. */
typedef struct Subject
{
	KernelAgent		 agent;
	KernelParameters parameters;
	KernelLearned	 learned;
	Result			 alone;	  /* what it got by itself */
	Result			 abreast; /* and in a block */
} Subject;

static Subject subjects[AGENTS];

static uint64_t draws;

static double
uniform(void)
{
	return kernel_uniform(7, draws++, 0, 0);
}

static double *
numbers(int64_t count)
{
	KernelHost host;

	test_host(&host);
	return host.allocate(host.context, sizeof(double) * (size_t) count);
}

static int32_t *
integers(int64_t count)
{
	return (int32_t *) (void *) numbers(count / 2 + 1);
}

/* Beliefs of every kind: flat, peaked, with zeros, with tiny tails. */
static const double *
random_belief(const KernelModel *model)
{
	double *belief = numbers(model->belief_size);

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		double			   *q = belief + factor->belief_offset;
		double				power = 40.0 * uniform() * uniform();
		bool				zeros = uniform() < 0.3;
		double				sum = 0.0;

		for (int32_t s = 0; s < factor->states; s++)
		{
			q[s] = zeros && uniform() < 0.5 ? 0.0 : pow(uniform(), power);
			sum += q[s];
		}
		if (sum == 0.0)
			q[0] = sum = 1.0;
		for (int32_t s = 0; s < factor->states; s++)
			q[s] /= sum;
	}
	return belief;
}

static const int32_t *
random_action(const KernelModel *model)
{
	int32_t *action = integers(model->control_count);

	for (int32_t c = 0; c < model->control_count; c++)
		action[c] = (int32_t) (uniform() * kernel_control(model, c)->actions);
	return action;
}

static const int32_t *
random_observation(const KernelModel *model)
{
	int32_t *observation = integers(model->modality_count);

	for (int32_t m = 0; m < model->modality_count; m++)
		observation[m] =
			uniform() < 0.2 ?
				-1 :
				(int32_t) (uniform() * kernel_modality(model, m)->outcomes);
	return observation;
}

/* Some have their own C, some their own E, some both. */
static void
random_parameters(const KernelModel *model, KernelParameters *parameters)
{
	int64_t count = (int64_t) model->outcome_size * model->policy_length;
	double *C = numbers(count);
	double *log_E = numbers(model->policy_count);

	*parameters =
		(KernelParameters){.gamma = 0.2 + 3.0 * uniform(),
						   .alpha = 0.2 + 3.0 * uniform(),
						   .inductive_epsilon = 0.001 + 0.1 * uniform()};
	for (int64_t i = 0; i < count; i++)
		C[i] = 4.0 * uniform() - 2.0;
	for (int32_t p = 0; p < model->policy_count; p++)
		log_E[p] = -3.0 * uniform();
	if (uniform() < 0.5)
		parameters->C = C;
	if (uniform() < 0.5)
		parameters->log_E = log_E;
}

static void
make_learned(const KernelModel *model, KernelLearned *learned)
{
	learned->counts = numbers(kernel_learned_size(model));
	kernel_learned_start(model, learned);
	for (int64_t i = 0; i < kernel_learned_size(model); i++)
		learned->counts[i] += uniform();
	learned->A_active = model->learn_A;
	learned->B_active = model->learn_B;
}

static void
make_result(const KernelModel *model, Result *result)
{
	result->belief = numbers(model->belief_size);
	result->q_pi = numbers(model->policy_count);
	result->neg_efe = numbers(model->policy_count);
	result->action = integers(model->control_count);
}

static void
make_subject(const KernelModel *model, Subject *subject)
{
	KernelAgent *agent = &subject->agent;

	memset(subject, 0, sizeof(*subject));
	agent->seed = (uint64_t) (1e9 * uniform());
	agent->step = (uint64_t) (1e3 * uniform());
	agent->prior = random_belief(model);
	agent->did = uniform() < 0.8 ? random_action(model) : NULL;
	agent->observation = random_observation(model);
	if (uniform() < 0.6)
	{
		random_parameters(model, &subject->parameters);
		agent->parameters = &subject->parameters;
	}
	if ((model->learn_A || model->learn_B) && uniform() < 0.3)
	{
		make_learned(model, &subject->learned);
		agent->learned = &subject->learned;
	}
	make_result(model, &subject->alone);
	make_result(model, &subject->abreast);
}

static void
give_room(KernelAgent *agent, const Result *result)
{
	agent->belief = result->belief;
	agent->action = result->action;
	agent->q_pi = result->q_pi;
	agent->neg_efe = result->neg_efe;
}

static bool
same_numbers(const double *a, const double *b, int32_t count)
{
	return memcmp(a, b, sizeof(double) * (size_t) count) == 0;
}

static bool
same_results(const KernelModel *model, const Result *a, const Result *b)
{
	return same_numbers(a->belief, b->belief, model->belief_size) &&
		   same_numbers(&a->vfe, &b->vfe, 1) &&
		   same_numbers(a->q_pi, b->q_pi, model->policy_count) &&
		   same_numbers(a->neg_efe, b->neg_efe, model->policy_count) &&
		   memcmp(a->action, b->action,
				  sizeof(int32_t) * (size_t) model->control_count) == 0;
}

static bool
step_alone(const KernelHost *host, const KernelModel *model,
		   KernelWorkspace *workspace)
{
	for (int i = 0; i < AGENTS; i++)
	{
		KernelAgent agent = subjects[i].agent;

		give_room(&agent, &subjects[i].alone);
		if (kernel_step(host, model, workspace, &agent, 1) != KERNEL_OK)
			return false;
		subjects[i].alone.vfe = agent.vfe;
	}
	return true;
}

/*
 * All agents in blocks of a size, from another one on each time, so that their
 * places and neighbours change; returns how many of them differ.
 */
static int
step_blocks(const KernelHost *host, const KernelModel *model,
			KernelWorkspace *workspace, int size)
{
	static KernelAgent block[AGENTS];
	int				   differ = 0;

	for (int first = 0; first < AGENTS; first += size)
	{
		int count = size < AGENTS - first ? size : AGENTS - first;

		for (int i = 0; i < count; i++)
		{
			Subject *subject = &subjects[(first + i + 3 * size) % AGENTS];

			block[i] = subject->agent;
			give_room(&block[i], &subject->abreast);
		}
		if (kernel_step(host, model, workspace, block, count) != KERNEL_OK)
			return AGENTS;
		for (int i = 0; i < count; i++)
		{
			Subject *subject = &subjects[(first + i + 3 * size) % AGENTS];

			subject->abreast.vfe = block[i].vfe;
			differ += !same_results(model, &subject->alone, &subject->abreast);
		}
	}
	return differ;
}

/*
 * Agents whose C was changed where it lies, as memory that is given back and
 * taken again may lie where it lay: nothing of it is remembered from one call to
 * the next.
 */
static bool
forgets_parameters(const KernelHost *host, const KernelModel *model,
				   KernelWorkspace *workspace)
{
	int64_t count = (int64_t) model->outcome_size * model->policy_length;
	double *C = numbers(count);
	KernelParameters parameters;
	KernelAgent		 block[8];

	random_parameters(model, &parameters);
	parameters.C = C;
	for (int change = 0; change < 2; change++)
	{
		for (int64_t i = 0; i < count; i++)
			C[i] = 4.0 * uniform() - 2.0;
		for (int i = 0; i < 8; i++)
		{
			block[i] = subjects[i].agent;
			block[i].learned = NULL;
			block[i].parameters = &parameters;
			give_room(&block[i], &subjects[i].abreast);
		}
		if (kernel_step(host, model, workspace, block, 8) != KERNEL_OK)
			return false;
	}
	for (int i = 0; i < 8; i++)
	{
		subjects[i].abreast.vfe = block[i].vfe;
		give_room(&block[i], &subjects[i].alone);
		if (kernel_step(host, model, workspace, &block[i], 1) != KERNEL_OK)
			return false;
		subjects[i].alone.vfe = block[i].vfe;
		if (!same_results(model, &subjects[i].alone, &subjects[i].abreast))
			return false;
	}
	return true;
}

static void
check_model(const char *name)
{
	static const char *const sets[] = {"plain", "sse2", "avx2", "avx512"};
	static const int		 lanes[] = {1, 2, 4, 8}; /* of each set */
	static const int		 sizes[] = {1, 2, 3, 7, 8, 9, 64, 1000};
	static KernelProblems	 problems;
	KernelHost				 host;
	JsonValue				 golden;
	const KernelModel		*model = NULL;
	KernelWorkspace			*workspace;

	test_host(&host);
	golden = read_reference(&host, name);
	problems.count = 0;
	if (!ok(kernel_compile(&host, json_member(&golden, "spec"), &model,
						   &problems) == KERNEL_OK,
			"%s compiles", name))
		return;
	workspace = kernel_workspace(&host, model);
	for (int i = 0; i < AGENTS; i++)
		make_subject(model, &subjects[i]);
	for (int set = 0; set < 4; set++)
	{
		if (!kernel_use_instructions(sets[set]))
			continue;
		ok(kernel_abreast(workspace) == lanes[set], "%s, %s: %d lanes", name,
		   sets[set], lanes[set]);
		ok(step_alone(&host, model, workspace), "%s, %s: alone", name,
		   sets[set]);
		for (int i = 0; i < 8; i++)
			ok(step_blocks(&host, model, workspace, sizes[i]) == 0,
			   "%s, %s: the same bits in blocks of %d", name, sets[set],
			   sizes[i]);
		ok(forgets_parameters(&host, model, workspace),
		   "%s, %s: another C at the same place", name, sets[set]);
	}
	free_all();
}

int
main(void)
{
	static const char *const names[] = {
		"golden/grid_h2.json",		"golden/tmaze_h2.json",
		"golden/cue_h1.json",		"golden/rand2_h2.json",
		"golden/coupled3.json",		"golden/inductive_two_factors.json",
		"golden/marginal_cue.json", "golden/alpha.json",
		"golden/gain_a.json",		"golden/learn_ab.json"};

	ok(strcmp(kernel_instructions(), "") != 0, "the best instruction set is %s",
	   kernel_instructions());
	ok(!kernel_use_instructions("abacus"), "no set that the machine has not");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_model(names[i]);
	return tap_done();
}
