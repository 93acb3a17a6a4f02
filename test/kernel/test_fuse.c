/*
 * test_fuse.c
 *	  Pools of beliefs against brute force in plain numbers, and against joint
 *	  inference by one agent that sees what all see.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tap.h"

#define STATES	5
#define EXPERTS 4

static KernelHost host;

/* A distribution over states with no zero. */
static void
draw(unsigned seed, int states, double *out)
{
	double total = 0.0;

	for (int s = 0; s < states; s++)
		total += out[s] = 0.01 + kernel_uniform(seed, 1, 0, (uint32_t) s);
	for (int s = 0; s < states; s++)
		out[s] /= total;
}

static double
farthest(const double *a, const double *b, int count)
{
	double most = 0.0;

	for (int i = 0; i < count; i++)
		most = fmax(most, fabs(a[i] - b[i]));
	return most;
}

static double
normalize(double *x, int count)
{
	double total = 0.0;

	for (int i = 0; i < count; i++)
		total += x[i];
	for (int i = 0; i < count; i++)
		x[i] /= total;
	return total;
}

/* The rules as they are written, without logarithms. */
static double
plain_pool(KernelRule rule, const KernelExpert *experts, int count, int states,
		   double *out)
{
	double weights = 0.0;

	for (int i = 0; i < count; i++)
		weights += experts[i].weight;
	for (int s = 0; s < states; s++)
	{
		out[s] = rule == KERNEL_LINEAR ? 0.0 : 1.0;
		for (int i = 0; i < count; i++)
		{
			double w = experts[i].weight;
			double q = experts[i].belief[s];
			double r = experts[i].reference ? experts[i].reference[s] : q;

			if (rule == KERNEL_LINEAR)
				out[s] += w / weights * q;
			else if (rule == KERNEL_LOG_LINEAR)
				out[s] *= pow(q, w / weights);
			else
				out[s] *= pow(r, w / weights) * pow(q / r, w);
		}
	}
	return log(normalize(out, states));
}

static void
test_random(void)
{
	static const char *const names[] = {"product", "linear", "log_linear"};

	for (int rule = 0; rule < 3; rule++)
	{
		double worst = 0.0;
		double worst_log = 0.0;

		for (unsigned seed = 0; seed < 200; seed++)
		{
			int			 count = 1 + (int) (seed % EXPERTS);
			double		 beliefs[EXPERTS][STATES];
			double		 references[EXPERTS][STATES];
			KernelExpert experts[EXPERTS];
			double		 expected[STATES];
			double		 got[STATES];
			double		 log_sum;
			double		 log_got;

			for (int i = 0; i < count; i++)
			{
				draw(seed * 10 + (unsigned) i, STATES, beliefs[i]);
				draw(seed * 10 + (unsigned) i + 5, STATES, references[i]);
				experts[i].weight =
					0.1 + kernel_uniform(seed, 2, 0, (uint32_t) i);
				experts[i].belief = beliefs[i];
				experts[i].reference = seed % 3 == 0 ? NULL : references[i];
			}
			log_sum =
				plain_pool((KernelRule) rule, experts, count, STATES, expected);
			log_got = kernel_fuse(&host, (KernelRule) rule, experts, count,
								  STATES, got);
			worst = fmax(worst, farthest(got, expected, STATES));
			worst_log = fmax(worst_log, fabs(log_got - log_sum));
		}
		is_close(worst, 0.0, 1e-14, names[rule]);
		is_close(worst_log, 0.0, 1e-12, "and its normaliser");
	}
}

static void
test_defined(void)
{
	double		 p[3] = {0.5, 0.3, 0.2};
	double		 a[3] = {0.5, 0.5, 0.0};
	double		 b[3] = {0.0, 0.5, 0.5};
	double		 c[3] = {0.0, 0.0, 1.0};
	double		 d[3] = {1.0, 0.0, 0.0};
	double		 flat[3] = {1.0 / 3, 1.0 / 3, 1.0 / 3};
	double		 out[3];
	double		 one_two[3] = {0.0, 1.0, 0.0};
	double		 ends[3] = {0.5, 0.0, 0.5};
	KernelExpert two[3] = {{1.0, a, flat}, {1.0, b, flat}};
	double		 many[3];

	kernel_fuse(&host, KERNEL_PRODUCT, two, 1, 3, out);
	is_close(farthest(out, a, 3), 0.0, 1e-15, "one member: its belief");
	two[0].weight = 0.25;
	kernel_fuse(&host, KERNEL_LOG_LINEAR, two, 1, 3, out);
	is_close(farthest(out, a, 3), 0.0, 1e-15, "whatever it weighs");
	two[0].weight = 1.0;
	kernel_fuse(&host, KERNEL_PRODUCT, two, 2, 3, out);
	is_close(farthest(out, one_two, 3), 0.0, 1e-15,
			 "what one rules out is ruled out");
	kernel_fuse(&host, KERNEL_LOG_LINEAR, two, 2, 3, out);
	is_close(farthest(out, one_two, 3), 0.0, 1e-15, "in logarithmic pools too");
	two[0].belief = c;
	two[1].belief = d;
	kernel_fuse(&host, KERNEL_PRODUCT, two, 2, 3, out);
	is_close(farthest(out, ends, 3), 0.0, 1e-15,
			 "flat disagreement: what the fewest rule out");
	two[1].weight = 2.0;
	kernel_fuse(&host, KERNEL_PRODUCT, two, 2, 3, out);
	is_close(farthest(out, d, 3), 0.0, 1e-15, "by weight");
	two[1].weight = 1.0;

	/* no evidence: the prior, however many there are */
	two[0] = (KernelExpert){1.0, p, p};
	two[1] = two[2] = two[0];
	is_close(kernel_fuse(&host, KERNEL_PRODUCT, two, 3, 3, out), 0.0, 1e-15,
			 "no evidence: nothing to normalise");
	is_close(farthest(out, p, 3), 0.0, 1e-15, "and the prior counts once");
	for (int i = 0; i < 3; i++)
		two[i].reference = NULL;
	kernel_fuse(&host, KERNEL_PRODUCT, two, 3, 3, out);
	is_close(farthest(out, p, 3), 0.0, 1e-15, "equal beliefs, nothing fresh");

	/* a thousand members: probabilities of 1e-300 are met on the way */
	{
		KernelExpert *crowd = malloc(1000 * sizeof(KernelExpert));
		double		  log_sum;

		for (int i = 0; i < 1000; i++)
			crowd[i] = (KernelExpert){1.0, p, flat};
		log_sum = kernel_fuse(&host, KERNEL_PRODUCT, crowd, 1000, 3, out);
		for (int s = 0; s < 3; s++)
			many[s] = exp(1000.0 * log(p[s] / p[0]));
		is_close(log_sum, 999.0 * log(3.0) + 1000.0 * log(p[0]), 1e-9,
				 "a thousand members: the normaliser");
		normalize(many, 3);
		is_close(farthest(out, many, 3), 0.0, 1e-12, "and the belief");
		free(crowd);
	}
}

/* Compiles a spec in which ' stands for ". */
static const KernelModel *
compile(const char *spec)
{
	static KernelProblems problems;
	char				 *text = strdup(spec);
	JsonValue			  value;
	const KernelModel	 *model = NULL;

	for (char *c = text; *c != '\0'; c++)
	{
		if (*c == '\'')
			*c = '"';
	}
	problems.count = 0;
	if (json_parse(&host, text, strlen(text), &value, &problems) != KERNEL_OK ||
		kernel_compile(&host, &value, &model, &problems) != KERNEL_OK)
		printf("# %s: %s\n", problems.items[0].path, problems.items[0].message);
	free(text);
	return model;
}

static const char drift[] = "{'A': [[[0.7, 0.2, 0.1], [0.3, 0.8, 0.9]]],"
							" 'B': [[[[0.9, 0.2], [0.1, 0.3], [0.2, 0.1]],"
							"        [[0.05, 0.5], [0.8, 0.3], [0.2, 0.1]],"
							"        [[0.05, 0.3], [0.1, 0.4], [0.6, 0.8]]]],"
							" 'D': [[0.5, 0.3, 0.2]]}";

/*
 * Three members of one prior see an outcome each; one who knows the formula
 * sees all three.  Beliefs and free energies are joint inference's.
 */
static void
test_joint(void)
{
	const KernelModel  *model = compile(drift);
	KernelWorkspace	   *workspace = kernel_workspace(&host, model);
	static const double A[2][3] = {{0.7, 0.2, 0.1}, {0.3, 0.8, 0.9}};
	static const double B[3][3] = {
		{0.2, 0.3, 0.1}, {0.5, 0.3, 0.1}, {0.3, 0.4, 0.8}};
	double	before[3] = {0.6, 0.3, 0.1};
	int32_t did[1] = {1};

	for (int outcomes = 0; outcomes < 8; outcomes++)
	{
		double		 predicted[3][3];
		double		 beliefs[3][3];
		double		 joint[3];
		double		 pooled[3];
		double		 energy = 0.0;
		double		 log_sum;
		KernelExpert experts[3];

		for (int s = 0; s < 3; s++)
		{
			joint[s] = 0.0;
			for (int from = 0; from < 3; from++)
				joint[s] += B[s][from] * before[from];
		}
		for (int i = 0; i < 3; i++)
		{
			int32_t		outcome[1] = {(outcomes >> i) & 1};
			KernelAgent agent = {.prior = before,
								 .did = did,
								 .observation = outcome,
								 .belief = beliefs[i]};

			kernel_perceive(&host, model, workspace, &agent, predicted[i]);
			energy += agent.vfe;
			for (int s = 0; s < 3; s++)
				joint[s] *= A[outcome[0]][s];
			experts[i] = (KernelExpert){1.0, beliefs[i], predicted[i]};
		}
		log_sum = kernel_fuse(&host, KERNEL_PRODUCT, experts, 3, 3, pooled);
		is_close(energy - log_sum, -log(normalize(joint, 3)), 1e-12,
				 "the coalition's free energy is the joint surprise");
		is_close(farthest(pooled, joint, 3), 0.0, 1e-12,
				 "its belief is the joint posterior");
	}
}

static void
test_stays(void)
{
	ok(!kernel_factor_stays(&host, compile(drift), 0), "a factor that moves");
	ok(kernel_factor_stays(
		   &host,
		   compile("{'A': [[[1, 0], [0, 1]]], 'B': [[[[1, 1], [0, 0]], [[0, 0],"
				   " [1, 1]]]], 'D': [[0.5, 0.5]]}"),
		   0),
	   "one that stays whatever is done");
	ok(!kernel_factor_stays(
		   &host,
		   compile("{'A': [[[1, 0], [0, 1]]], 'B': [[[[1, 0], [0, 1]], [[0, 1],"
				   " [1, 0]]]], 'D': [[0.5, 0.5]]}"),
		   0),
	   "one that one of two actions changes");
	ok(!kernel_factor_stays(
		   &host,
		   compile("{'A': [[[1, 0], [0, 1]]], 'B': [[[[1], [0]], [[0], [1]]]],"
				   " 'pB': [[[[1], [0]], [[0], [1]]]], 'learn_B': true,"
				   " 'D': [[0.5, 0.5]]}"),
		   0),
	   "one whose B is learned");
}

int
main(void)
{
	test_host(&host);
	test_random();
	test_defined();
	test_joint();
	test_stays();
	free_all();
	return tap_done();
}
