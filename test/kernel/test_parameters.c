/*
 * test_parameters.c
 *	  Numbers that differ by agent, and beliefs: packed, taken apart, refused.
 */
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tap.h"

static KernelHost		  host;
static KernelProblems	  problems;
static const KernelModel *model;

static const char *const elsewhere[] = {"seed", "world", NULL};

/* JSON in which ' stands for ". */
static JsonValue
json(const char *text)
{
	char	 *copy = strdup(text);
	JsonValue value = {.kind = JSON_NULL};

	for (char *c = copy; *c != '\0'; c++)
	{
		if (*c == '\'')
			*c = '"';
	}
	problems.count = 0;
	if (json_parse(&host, copy, strlen(copy), &value, &problems) != KERNEL_OK)
		printf("# %s\n", problems.items[0].message);
	free(copy);
	return value;
}

/* Two factors (2 and 3 states), two modalities (2 and 3 outcomes), 2 steps. */
static const char spec[] =
	"{'factors': [{'name': 'place', 'states': ['left', 'right']}, "
	"{'name': 'rule', 'states': 3, 'controlled_by': []}], "
	"'modalities': [{'name': 'where', 'outcomes': ['left', 'right'], "
	"'depends_on': ['place']}, {'name': 'cue', 'depends_on': ['rule']}], "
	"'A': [[[1, 0], [0, 1]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]], "
	"'B': [{'next': [[0, 1], [0, 1]]}, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]], "
	"'C': [[1, 2], [3, 4, 5]], 'D': [[1, 0], [0.5, 0.25, 0.25]], "
	"'gamma': 4, 'policy_len': 2, 'lr_pA': [0.5, 0.25]}";

static double		   *packed;
static int32_t			length;
static KernelParameters parameters;

static KernelStatus
pack(const char *text)
{
	JsonValue params = json(text);

	return kernel_parameters_pack(&host, model, &params, elsewhere, &packed,
								  &length, &problems);
}

static void
print_problems(void)
{
	for (int i = 0; i < problems.count && i < KERNEL_MAX_PROBLEMS; i++)
		printf("# [%d] %s: %s. %s %s\n", (int) problems.items[i].status,
			   problems.items[i].path, problems.items[i].message,
			   problems.items[i].detail, problems.items[i].hint);
}

static void
packs(const char *text, const char *name)
{
	if (!ok(pack(text) == KERNEL_OK &&
				kernel_parameters_unpack(model, packed, length, &parameters),
			"%s", name))
		print_problems();
}

static void
fails(KernelStatus status, const char *text, const char *part)
{
	const KernelProblem *problem = &problems.items[0];

	if (!ok(pack(text) == status && problems.count == 1 && packed == NULL &&
				(strstr(problem->message, part) != NULL ||
				 strstr(problem->hint, part) != NULL),
			"%s", part))
		print_problems();
}

static void
test_pack(void)
{
	packs("{}", "nothing");
	ok(packed == NULL && length == 0 && parameters.gamma == 4 &&
		   parameters.C == NULL && parameters.D == NULL &&
		   parameters.log_E == NULL,
	   "the model's numbers");
	packs("{'seed': 7, 'world': 'w', 'gamma': null}", "names known elsewhere");
	ok(packed == NULL, "are not packed");
	packs("{'gamma': 2.5}", "gamma");
	ok(length == 4 && parameters.gamma == 2.5 && parameters.alpha == 1 &&
		   parameters.C == NULL,
	   "gamma alone");
	packs("{'C': {'where': {'right': 9}}, 'D': {'place': {'right': 1}}, "
		  "'E': [1, 0, 2, 1], 'alpha': 3, 'lr_pA': {'cue': 2}, "
		  "'lr_pB': 0.125, 'inductive_epsilon': 0.5}",
		  "all parts");
	ok(length == 4 + 2 * 5 + 5 + 4 + 2 + 2 && parameters.alpha == 3 &&
		   parameters.inductive_epsilon == 0.5,
	   "length and numbers");
	ok(parameters.C[0] == 0 && parameters.C[1] == 9 && parameters.C[2] == 0 &&
		   parameters.C[3] == 9,
	   "C of a modality, for each step");
	ok(parameters.C[4] == 3 && parameters.C[9] == 5,
	   "C of the other from the model");
	ok(parameters.D[0] == 0 && parameters.D[1] == 1 && parameters.D[2] == 0.5,
	   "D of a factor, and of the other from the model");
	ok(parameters.log_E[0] == 0 && parameters.log_E[1] == kernel_log(0) &&
		   parameters.log_E[2] == log(2.0),
	   "logarithms of E");
	ok(parameters.lr_pA[0] == 0.5 && parameters.lr_pA[1] == 2 &&
		   parameters.lr_pB[0] == 0.125 && parameters.lr_pB[1] == 0.125,
	   "rates");
	packs("{'C': [[[1, 0], [0, 1]], [0, 0, 1]]}", "C along the plan");
	ok(parameters.C[0] == 1 && parameters.C[2] == 0 && parameters.C[3] == 1 &&
		   parameters.D == NULL,
	   "its rows");
}

static void
test_mistakes(void)
{
	fails(KERNEL_INVALID, "[]", "params must be an object");
	fails(KERNEL_INVALID, "{'gama': 1}", "Did you mean \"gamma\"?");
	fails(KERNEL_INVALID, "{'sed': 1}", "Did you mean \"seed\"?");
	fails(KERNEL_INVALID, "{'policy_len': 2}", "cannot differ by agent");
	fails(KERNEL_INVALID, "{'A': []}", "cannot differ by agent");
	fails(KERNEL_RANGE, "{'gamma': -1}", "gamma must be");
	fails(KERNEL_RANGE, "{'alpha': 1e999}", "alpha must be");
	fails(KERNEL_INVALID, "{'gamma': 'NaN'}", "not the string \"NaN\"");
	fails(KERNEL_RANGE, "{'inductive_epsilon': 0}", "inductive_epsilon must");
	fails(KERNEL_INVALID, "{'C': [[1, 2]]}",
		  "C has length 1, but the number of modalities is 2");
	fails(KERNEL_INVALID, "{'C': {'were': [1, 2]}}", "Did you mean \"where\"?");
	fails(KERNEL_INVALID, "{'C': {'where': {'up': 1}}}", "names \"up\"");
	fails(KERNEL_INVALID, "{'D': {'place': [0.5, 0.6]}}",
		  "D[0] (factor \"place\") sums to 1.1");
	fails(KERNEL_INVALID, "{'E': [1, 1]}", "E has shape (2,), expected (4,)");
	fails(KERNEL_RANGE, "{'E': [0, 0, 0, 0]}", "no policy a positive weight");
	fails(KERNEL_RANGE, "{'lr_pB': -0.5}", "lr_pB has a rate that is -0.5");
	fails(KERNEL_INVALID, "{'lr_pA': {'x': 1}}", "which is no modality");
	pack("{'gamma': -1, 'alpah': 2, 'D': 3}");
	ok(problems.count == 3, "all mistakes at once");
}

/* Arrays that cannot be of this model are not taken apart. */
static void
test_unpack(void)
{
	double copy[40];

	packs("{'D': [[0.5, 0.5], [1, 0, 0]], 'lr_pA': 1}", "an array to damage");
	memcpy(copy, packed, (size_t) length * sizeof(double));
	ok(!kernel_parameters_unpack(model, copy, length - 1, &parameters) &&
		   !kernel_parameters_unpack(model, copy, length + 1, &parameters) &&
		   !kernel_parameters_unpack(model, copy, 0, &parameters),
	   "lengths");
	copy[0] = 1000;
	ok(!kernel_parameters_unpack(model, copy, length, &parameters), "parts");
	copy[0] = 2.5;
	ok(!kernel_parameters_unpack(model, copy, length, &parameters), "mask");
	copy[0] = packed[0];
	copy[1] = NAN;
	ok(!kernel_parameters_unpack(model, copy, length, &parameters), "NaN");
}

static void
test_beliefs(void)
{
	JsonValue value;
	double	  belief[5];

	value = json("{'rule': [0, 0, 1]}");
	ok(kernel_belief_parse(&host, model, &value, "belief", belief, &problems) ==
			   KERNEL_OK &&
		   belief[0] == 1 && belief[4] == 1,
	   "a belief in one factor");
	value = json("[{'left': 0.5, 'right': 0.5}, {'1': 1}]");
	ok(kernel_belief_parse(&host, model, &value, "belief", belief, &problems) ==
			   KERNEL_OK &&
		   belief[1] == 0.5 && belief[3] == 1 && belief[4] == 0,
	   "by label and by number");
	value = json("[[0.5, 0.25], [1, 0, 0]]");
	ok(kernel_belief_parse(&host, model, &value, "belief", belief, &problems) ==
			   KERNEL_INVALID &&
		   strstr(problems.items[0].message,
				  "belief[0] (factor \"place\") sums to "
				  "0.75") != NULL,
	   "no distribution");
	value = json("[[1, 0]]");
	ok(kernel_belief_parse(&host, model, &value, "belief", belief, &problems) ==
		   KERNEL_INVALID,
	   "too few factors");
}

int
main(void)
{
	JsonValue value;

	test_host(&host);
	value = json(spec);
	if (!ok(kernel_compile(&host, &value, &model, &problems) == KERNEL_OK,
			"the model"))
	{
		print_problems();
		return tap_done();
	}
	test_pack();
	test_mistakes();
	test_unpack();
	test_beliefs();
	free_all();
	return tap_done();
}
