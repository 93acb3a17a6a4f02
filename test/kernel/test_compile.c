/*
 * test_compile.c
 *	  Specs to models: the forms that say the same, the plan, the limits.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec_test.h"

/* ---------- forms that say the same ---------- */

/* Both texts give the same bytes. */
static void
same(const char *one, const char *other, const char *name)
{
	const KernelModel *model[2];
	bool			   equal;

	compile(one, &model[0]);
	print_problems();
	compile(other, &model[1]);
	print_problems();
	equal = model[0] != NULL && model[1] != NULL &&
			model[0]->size == model[1]->size &&
			memcmp(model[0], model[1], (size_t) model[0]->size) == 0;
	ok(equal, "same block: %s", name);
}

static void
test_equal_forms(void)
{
	same("{" A2 ", " B2 "}",
		 "{" A2 ", 'B': [{'shape': [2, 2, 2], 'entries': "
		 "[[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1], [1, 0, 1, 1]]}]}",
		 "sparse B, in any order");
	same("{" A2 ", " B2 "}", "{" A2 ", 'B': [{'next': [[0, 1], [0, 1]]}]}",
		 "B as next states");
	same("{" A2 ", " B2 "}",
		 "{'A': [{'shape': [2, 2], 'default': 0.1, 'entries': "
		 "[[0, 0, 0.9], [1, 1, 0.9]]}], " B2 "}",
		 "A with a default");
	same("{" A2 ", " B2 "}",
		 "{'A': [{'shape': [2, 2], 'entries': [[0, 0, 0.9], [1, 0, 0.1], "
		 "[0, 1, 0.1], [1, 1, 0.9]]}], " B2 "}",
		 "A sparse, but full");
	same("{" A2 ", " B2 "}",
		 "{'A': [[[0.9, 1e-1], [0.10, 9e-1]]], 'B': [[[[1.0, -0], [1, 0.0]], "
		 "[[0, 1], [-0.0, 1]]]]}",
		 "other spellings of numbers");
	same("{" A2 ", " B2 "}",
		 "{" A2 ", " B2 ", 'C': null, 'D': [[0.5, 0.5]], 'E': [0.5, 0.5], "
		 "'gamma': 1, 'alpha': 1.0, 'policy_len': 1, 'num_iter': 16, "
		 "'use_utility': true, 'use_states_info_gain': true, "
		 "'use_param_info_gain': false, 'use_inductive': false, "
		 "'inductive_depth': 1, 'inductive_threshold': 0.1, "
		 "'inductive_epsilon': 0.001, 'action_selection': 'deterministic', "
		 "'sampling_mode': 'full', 'inference_algo': 'fpi', "
		 "'learning_mode': 'online', 'learn_A': false, 'lr_pA': 1, "
		 "'lr_pB': [1], 'categorical_obs': false, 'search': null}",
		 "the defaults, written out");
	same("{" A2 ", " B2 ", 'C': [[0.5, 0.5]], 'policy_len': 2}",
		 "{" A2 ", " B2 ", 'C': [[[0.5, 0.5], [0.5, 0.5]]], "
		 "'A_dependencies': [[0]], 'B_dependencies': [[0]], "
		 "'B_action_dependencies': [[0]], 'num_controls': [2], "
		 "'policy_len': 2, "
		 "'control_fac_idx': [0]}",
		 "dependencies, written out");
	same("{" A2 ", " B2 ", 'policies': [[[0]], [[1]]]}", "{" A2 ", " B2 "}",
		 "policies, written out");
	same("{" A2 ", " B2 ", 'C': [[0, 3]], 'D': [[1, 0]]}",
		 "{" A2 ", " B2 ", 'C': [{'1': 3}], 'D': {'factor_0': {'0': 1}}}",
		 "values by number");
	same("{" A2 ", " B2 ", 'C': [[[0, 3], [1, 4]]], 'policy_len': 3}",
		 "{" A2 ", " B2 ", 'C': [{'shape': [2, 2], 'default': 1, 'entries': "
		 "[[0, 0, 0], [0, 1, 3], [1, 1, 4]]}], 'policy_len': 3}",
		 "sparse C along the plan");
	same("{" A2 ", " B2 ", 'C': [[[0, 3], [1, 4]]], 'policy_len': 3}",
		 "{" A2 ", " B2 ", 'C': [[[0, 3], [1, 4], {'0': 1, '1': 4}, [7, 7]]], "
		 "'policy_len': 3}",
		 "the last row of C is repeated");
	same("{" A2 ", " B2 ", 'policies': [[[0], [1]], [[1], [1]]]}",
		 "{" A2 ", " B2 ", 'policies': {'shape': [2, 2, 1], 'default': 1, "
		 "'entries': [[0, 0, 0, 0]]}}",
		 "sparse policies");
	same("{" A2 ", " B2 ", 'pA': [[[2, 1], [1, 2]]]}",
		 "{" A2 ", " B2 ", 'pA': [{'shape': [2, 2], 'default': 1, "
		 "'entries': [[0, 0, 2], [1, 1, 2]]}]}",
		 "sparse pA");
}

#define NAMED                                                                 \
	"'factors': ["                                                            \
	"{'name': 'place', 'states': ['left', 'right'], 'actions': ['l', 'r']}, " \
	"{'name': 'rule', 'states': ['a', 'b', 'c'], 'controlled_by': []}], "     \
	"'modalities': ["                                                         \
	"{'name': 'where', 'outcomes': ['left', 'right'], "                       \
	"'depends_on': ['place']}, "                                              \
	"{'name': 'cue', 'outcomes': 3, 'depends_on': ['rule', 'place']}]"
#define CUE                                     \
	"[[[0.8, 0.5], [0.1, 0.5], [0.1, 0.5]], "   \
	"[[0.1, 0.25], [0.8, 0.25], [0.1, 0.25]], " \
	"[[0.1, 0.25], [0.1, 0.25], [0.8, 0.25]]]"
#define RULE  "[[1, 0, 0], [0, 1, 0], [0, 0, 1]]"
#define PLACE "[[[1, 0], [1, 0]], [[0, 1], [0, 1]]]"

static void
test_named(void)
{
	const KernelModel  *model;
	const KernelFactor *place;
	char				buffer[16];

	model = compiles("{" NAMED ", 'A': [[[1, 0], [0, 1]], " CUE "], "
					 "'B': [" PLACE ", " RULE "]}",
					 "lists for people");
	if (model == NULL)
		return;
	place = kernel_factor(model, 0);
	ok(kernel_factor_index(model, "rule") == 1 &&
		   kernel_modality_index(model, "cue") == 1 &&
		   kernel_control_index(model, "place") == 0 &&
		   model->control_count == 1 && kernel_factor_index(model, "x") == -1,
	   "names");
	ok(strcmp(kernel_label(model, place->labels, 1, buffer), "right") == 0 &&
		   strcmp(kernel_label(model, kernel_modality(model, 1)->labels, 2,
							   buffer),
				  "2") == 0,
	   "labels");
	ok(kernel_label_index(model, place->labels, 2, "right") == 1 &&
		   kernel_label_index(model, place->labels, 2, "1") == 1 &&
		   kernel_label_index(model, place->labels, 2, "2") == -1 &&
		   kernel_label_index(model, place->labels, 2, "01") == -1 &&
		   kernel_label_index(model, place->labels, 2, "") == -1,
	   "label indices");
	ok(kernel_modality(model, 1)->parent_states == 6 &&
		   KERNEL_AT(model, int32_t, kernel_modality(model, 1)->parents)[0] ==
			   1,
	   "parents in the listed order");

	same("{" NAMED ", 'A': [[[1, 0], [0, 1]], " CUE "], "
		 "'B': [" PLACE ", " RULE "], 'C': [[0, 2], [1, 0, 0]], "
		 "'D': [[1, 0], [0, 0.5, 0.5]], 'policies': [[[0]], [[1]]]}",
		 "{" NAMED ", 'A': {'cue': " CUE ", 'where': [[1, 0], [0, 1]]}, "
		 "'B': {'rule': " RULE ", 'place': {'next': [['left', 'right'], "
		 "['left', 'right']]}}, 'C': {'where': {'right': 2}, 'cue': "
		 "{'0': 1}}, 'D': {'place': {'left': 1}, 'rule': {'b': 0.5, "
		 "'c': 0.5}}, 'policies': [[['l']], [['r']]], "
		 "'A_dependencies': [[0], [1, 0]], 'B_dependencies': [[0], ['rule']], "
		 "'B_action_dependencies': [['place'], []], 'num_controls': [2]}",
		 "by name and by index");
	same("{" NAMED ", 'A': [[[1, 0], [0, 1]], " CUE "], "
		 "'B': [" PLACE ", " RULE "]}",
		 "{" NAMED ", 'A': [[[1, 0], [0, 1]], " CUE "], "
		 "'B': [" PLACE ", [[[1], [0], [0]], [[0], [1], [0]], "
		 "[[0], [0], [1]]]]}",
		 "no control, an axis of size 1");
}

/* Several controls for a factor, and one control for several factors. */
static void
test_controls(void)
{
	const char *arrays = "'A': [[[1, 0], [0, 1]], [[1, 0, 0], [0, 1, 0], "
						 "[0, 0, 1]]], 'A_dependencies': [[0], [1]], 'B': ["
						 "[[[[1, 0, 1], [0, 1, 0]], [[1, 0, 1], [0, 1, 0]]], "
						 "[[[0, 1, 0], [1, 0, 1]], [[0, 1, 0], [1, 0, 1]]]], "
						 "{'next': [[0, 1], [1, 2], [2, 0]]}]";
	const KernelModel *model;
	char			   one[1200];
	char			   other[1200];

	snprintf(one, sizeof(one),
			 "{%s, 'B_action_dependencies': [[0, 1], [0]], "
			 "'num_controls': [2, 3]}",
			 arrays);
	model = compiles(one, "controls by index");
	ok(model != NULL && model->control_count == 2 &&
		   kernel_factor(model, 0)->actions == 6 && model->policy_count == 6,
	   "their joint actions");
	snprintf(other, sizeof(other),
			 "{%s, 'B_action_dependencies': [[0, 1], "
			 "[0]]}",
			 arrays);
	same(one, other, "numbers of actions from B");
	snprintf(other, sizeof(other),
			 "{%s, 'factors': [{'name': 'factor_0', "
			 "'controlled_by': ['control_0', 'control_1']}, "
			 "{'name': 'factor_1', 'controlled_by': ['control_0']}]}",
			 arrays);
	same(one, other, "controls by mention");
	snprintf(other, sizeof(other),
			 "{%s, 'controls': [{'name': 'control_0', "
			 "'actions': 2}, {'name': 'control_1'}], 'factors': [{'name': "
			 "'factor_0', 'controlled_by': [0, 'control_1']}, "
			 "{'name': 'factor_1', 'controlled_by': [0]}]}",
			 arrays);
	same(one, other, "controls by list");
}

#define CONFIGURATION                                                     \
	"'states': {"                                                         \
	"'place': {'elements': ['left', 'right'], 'depends_on': ['place'], "  \
	"'controlled_by': ['move']}, "                                        \
	"'rule': {'size': 3, 'depends_on': ['rule'], 'controlled_by': []}}, " \
	"'observations': {"                                                   \
	"'cue': {'size': 3, 'depends_on': ['rule', 'place']}, "               \
	"'where': {'size': 2, 'depends_on': ['place']}}, "                    \
	"'controls': {'move': {'elements': ['l', 'r']}}"

/* pymdp's compile_model configuration: the order comes from the shapes. */
static void
test_configuration(void)
{
	const KernelModel *model;

	model = compiles("{" CONFIGURATION ", 'A': [[[1, 0], [0, 1]], " CUE "], "
					 "'B': [" PLACE ", " RULE "], 'C': [[0, 1], [0, 0, 1]]}",
					 "a configuration, arrays as lists");
	ok(model != NULL && kernel_factor_index(model, "place") == 0 &&
		   kernel_modality_index(model, "where") == 0 &&
		   kernel_control_index(model, "move") == 0,
	   "its order from A and B");
	model = compiles("{" CONFIGURATION ", 'A': [" CUE ", [[1, 0], [0, 1]]], "
					 "'B': [" RULE ", " PLACE "]}",
					 "another order");
	ok(model != NULL && kernel_factor_index(model, "place") == 1 &&
		   kernel_modality_index(model, "where") == 1,
	   "is followed");
	ok(model != NULL && KERNEL_AT(model, int32_t,
								  kernel_modality(model, 0)->parents)[1] == 1,
	   "and so are the parents");
	(void) compiles("{" CONFIGURATION ", 'A': {'where': [[1, 0], [0, 1]], "
					"'cue': " CUE "}, 'B': {'rule': " RULE ", 'place': " PLACE
					"}, 'D': {'rule': [1, 0, 0]}}",
					"a configuration, arrays by name");
	fails(KERNEL_INVALID,
		  "{" CONFIGURATION ", 'A': {'where': [[1, 0], "
		  "[0, 1]], 'cue': " CUE "}, 'B': {'rule': " RULE ", 'place': " PLACE
		  "}, 'D': [[1, 0], [1, 0, 0]]}",
		  "order of the factors is not known");
	fails(KERNEL_INVALID,
		  "{" CONFIGURATION ", 'A': [[[1, 0], [0, 1]], "
		  "[[1, 0], [0, 1]]], 'B': [" PLACE ", " RULE "]}",
		  "both have the shape of");
	fails(KERNEL_INVALID,
		  "{" CONFIGURATION ", 'A': [[[1, 0, 0], [0, 1, 1]], " CUE
		  "], 'B': [" PLACE ", " RULE "]}",
		  "fits none of the modalities");
	fails(KERNEL_INVALID,
		  "{'states': {'x': {'size': 2}, 'y': {'size': 2}}, "
		  "'observations': {'o': {'size': 2, 'depends_on': ['x']}}, "
		  "'A': [[[1, 0], [0, 1]]], 'B': [[[1, 0], [0, 1]], "
		  "[[1, 0], [0, 1]]]}",
		  "may belong to");
	fails(KERNEL_INVALID,
		  "{'states': {'x': {'size': 2}, 'y': {'size': 3}}, "
		  "'observations': {'o': {'size': 2}}, 'A': [[[1, 0], [0, 1]]], "
		  "'B': [[[1, 0], [0, 1]], " RULE "]}",
		  "has no depends_on");
}

/* The order of controls in objects is that of B_action_dependencies. */
static void
test_configured_controls(void)
{
	const char *parts =
		"'states': {'x': {'size': 2, 'depends_on': ['x'], "
		"'controlled_by': ['u', 'v']}}, 'observations': {'o': {'size': 2, "
		"'depends_on': ['x']}}, 'controls': {'u': {'size': 2}, "
		"'v': {'size': 3}}, 'A': [[[1, 0], [0, 1]]], "
		"'B': [{'next': [[[0, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 1]]]}]";
	const KernelModel *model;
	char			   text[1200];

	snprintf(text, sizeof(text),
			 "{%s, 'B_action_dependencies': [[1, 0]], "
			 "'num_controls': [3, 2], 'policies': [[[2, 1]]]}",
			 parts);
	model = compiles(text, "controls of a configuration");
	ok(model != NULL && kernel_control_index(model, "v") == 0 &&
		   KERNEL_AT(model, int32_t, kernel_factor(model, 0)->controls)[0] == 1,
	   "in the order of B_action_dependencies");
	snprintf(text, sizeof(text), "{%s, 'policies': [[[1, 2]]]}", parts);
	fails(KERNEL_INVALID, text, "order of the controls is not known");
	snprintf(text, sizeof(text), "{%s, 'E': [1, 1, 1, 1, 1, 1]}", parts);
	fails(KERNEL_INVALID, text, "order of the policies is not known");
}

/* ---------- the plan ---------- */

/* A T-maze in shape: five places that an action leads to, and a context. */
static const char tmaze[] =
	"{'A': [{'shape': [5, 5], 'entries': [[0, 0, 1], [1, 1, 1], [2, 2, 1], "
	"[3, 3, 1], [4, 4, 1]]}, {'shape': [2, 5, 2], 'default': 0.5}, "
	"{'shape': [2, 2], 'default': 0.5}], "
	"'A_dependencies': [[0], [0, 1], [1]], "
	"'B': [{'next': [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], "
	"[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]}, [[1, 0], [0, 1]]], "
	"'policy_len': 3}";

static void
test_plan(void)
{
	const KernelModel *model = compiles(tmaze, "T-maze of 3 steps");
	const KernelMoves *moves;
	const KernelViews *views;
	const int32_t	  *starts;

	if (model == NULL)
		return;
	moves = KERNEL_AT(model, KernelMoves, model->moves);
	views = KERNEL_AT(model, KernelViews, model->views);
	starts = KERNEL_AT(model, int32_t, model->branch_starts);
	ok(model->policy_count == 125 && model->control_count == 2 &&
		   model->branch_count == 5 + 25 + 125 && starts[0] == 0 &&
		   starts[1] == 5 && starts[2] == 30 && starts[3] == 155,
	   "branches by step");
	ok(moves[0].count == 15 && moves[1].count == 3,
	   "moves of each factor: equal maps are one");
	ok(views[0].count == 15 && views[1].count == 3 && views[2].count == 3,
	   "views of each modality: what it does not tell apart is one");
	starts = KERNEL_AT(model, int32_t, moves[1].starts);
	ok(starts[1] == 1 && starts[2] == 2 && starts[3] == 3 &&
		   KERNEL_AT(model, int32_t, moves[1].parents)[0] == -1 &&
		   KERNEL_AT(model, int32_t, moves[1].parents)[2] == 1,
	   "one move of the context at each step");
	ok(KERNEL_AT(model, int32_t, model->leaf_of_policy)[0] == 30 &&
		   KERNEL_AT(model, int32_t, model->leaf_of_policy)[124] == 154 &&
		   KERNEL_AT(model, int32_t, model->branch_parent)[0] == -1 &&
		   KERNEL_AT(model, int32_t, model->branch_parent)[154] == 29,
	   "leaves and parents");
	ok(KERNEL_AT(model, int32_t, model->policies)[124 * 6] == 4 &&
		   KERNEL_AT(model, int32_t, model->policies)[123 * 6 + 4] == 3 &&
		   KERNEL_AT(model, int32_t, model->policies)[123 * 6 + 5] == 0,
	   "lexicographic policies");
}

/* The numbers that modality 0 shares; starts is 0 where there are none. */
static const KernelNumbers *
numbers_of(const KernelModel *model)
{
	return &KERNEL_AT(model, KernelViews, model->views)[0].numbers;
}

/*
 * Three places in a row, left and right, nothing beyond: in two steps.  Sums
 * are of the places that end up in one: {0 1} and {1 2} after one step, and
 * {0 1 2}; the places themselves are not listed.
 */
#define ROW3                                                  \
	"'B': [{'next': [['0', '1'], ['0', '2'], ['1', '2']]}], " \
	"'policy_len': 2"
#define IDENTITY3 "'A': [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]"

static bool
shares(const char *text, const char *name)
{
	const KernelModel *model = compiles(text, name);

	return model != NULL && numbers_of(model)->starts != 0;
}

static void
test_sharing(void)
{
	const KernelModel	*model = compiles("{" IDENTITY3 ", " ROW3 "}", "a row");
	const KernelNumbers *numbers;
	const int32_t		*sums;

	if (model == NULL)
		return;
	numbers = numbers_of(model);
	sums = KERNEL_AT(model, int32_t, numbers->sums);
	ok(numbers->starts != 0 &&
		   KERNEL_AT(model, int32_t, numbers->sum_starts)[1] == 3 &&
		   sums[0] == 0 && sums[1] == 1 && sums[2] == 1 && sums[3] == 2 &&
		   sums[4] == 0 && sums[5] == 4,
	   "sums of states, each of one before it");
	ok(numbers->term_count == 1 + 5 && numbers->expected_count == 5,
	   "an expected probability for each distinct sum");
	ok(KERNEL_AT(model, KernelMoves, model->moves)[0].predicted == 0,
	   "nobody asks for the predicted beliefs");
	model = compiles("{'A': [[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], "
					 "[0.1, 0.1, 0.8]]], " ROW3 "}",
					 "a row in fog");
	ok(model != NULL && numbers_of(model)->expected_count == 5 + 1,
	   "noise that is the same everywhere adds the impossible outcome");
}

/*
 * The table of views that are contracted: the parent with the fewest moves
 * first, whatever the order in A, and the ambiguity behind each column.
 */
static void
test_table(void)
{
	const KernelModel *model = compiles(
		"{'A': [[[[0.9, 0.2], [0.8, 0.3], [0.7, 0.4]], "
		"[[0.1, 0.8], [0.2, 0.7], [0.3, 0.6]]]], "
		"'B': [[[[0.6, 0.3], [0.5, 0.2], [0.4, 0.1]], "
		"[[0.3, 0.3], [0.3, 0.3], [0.3, 0.3]], "
		"[[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]], [[0.9, 0.1], [0.1, 0.9]]], "
		"'policy_len': 3}",
		"two parents that are not certain");
	const KernelViews *views;
	const double	  *table;
	const double	  *ambiguity;
	bool			   right = true;

	if (model == NULL)
		return;
	views = KERNEL_AT(model, KernelViews, model->views);
	ambiguity = KERNEL_AT(model, double, kernel_modality(model, 0)->ambiguity);
	if (!ok(views[0].contracted && views[0].table != 0 &&
				KERNEL_AT(model, int32_t, views[0].axes)[0] == 1,
			"the second parent, which has one move a step, goes first"))
		return;
	table = KERNEL_AT(model, double, views[0].table);
	for (int s1 = 0; s1 < 2; s1++)
	{
		for (int s0 = 0; s0 < 3; s0++, table += 3)
			right &= table[0] == KERNEL_AT(model, double,
										   kernel_modality(model, 0)
											   ->A.values)[(s0 * 2 + s1) * 2] &&
					 table[2] == ambiguity[s0 * 2 + s1];
	}
	ok(right, "and the table is in that order, with the ambiguities");
}

/* What must not be shared: each of these would give wrong numbers. */
static void
test_not_shared(void)
{
	const KernelModel *model;

	ok(!shares("{" IDENTITY3 ", 'B': [[[[1, 0.999], [1, 0], [0, 0]], "
			   "[[0, 0.001], [0, 0], [1, 0]], [[0, 0], [0, 1], [0, 1]]]], "
			   "'policy_len': 2}",
			   "an uncertain row"),
	   "moves that are not certain have no sums of states");
	ok(!shares("{" IDENTITY3 ", " ROW3 ", 'learn_A': true, "
			   "'pA': [[[1, 1, 1], [1, 1, 1], [1, 1, 1]]]}",
			   "A that is learned"),
	   "A of an agent's own");
	ok(!shares("{" IDENTITY3 ", " ROW3 ", 'use_param_info_gain': true, "
			   "'pA': [[[1, 1, 1], [1, 1, 1], [1, 1, 1]]]}",
			   "a gain of pA"),
	   "counts of states that A does not tell apart");
	model = compiles("{'A': [[[0.5, 0.5, 0.5000000000000001], "
					 "[0.5, 0.5, 0.4999999999999999]]], " ROW3 "}",
					 "columns that differ in the last bit");
	ok(model != NULL && numbers_of(model)->starts != 0 &&
		   KERNEL_AT(model, int32_t, numbers_of(model)->sum_starts)[1] > 0 &&
		   KERNEL_AT(model, KernelViews, model->views)[0].count > 2,
	   "columns are equal to the bit, or not at all");
	model = compiles("{'A': [[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]], " ROW3 "}",
					 "equal columns");
	ok(model != NULL &&
		   KERNEL_AT(model, KernelViews, model->views)[0].count == 2,
	   "but where all are, the steps have one view each");
}

/* How many moves factor 0 has in a model of two steps. */
static int
moves_of(const char *text, const char *name)
{
	const KernelModel *model = compiles(text, name);

	return model == NULL ? -1 :
						   KERNEL_AT(model, KernelMoves, model->moves)[0].count;
}

/* What must not be merged: each of these would give wrong numbers. */
static void
test_merging(void)
{
	ok(moves_of("{" A2 ", " B2 ", 'policy_len': 2}", "certain moves") == 2 + 2,
	   "equal maps are merged within a step, never across steps");
	ok(moves_of("{" A2 ", 'B': [[[[0.999, 0], [1, 0]], [[0.001, 1], [0, 1]]]], "
				"'policy_len': 2}",
				"uncertain moves") == 2 + 4,
	   "a move that is not certain is not merged");
	ok(moves_of("{" A2 ", " B2
				", 'pB': [[[[1, 1], [1, 1]], [[1, 1], [1, 1]]]], "
				"'learn_B': true, 'policy_len': 2}",
				"learned moves") == 2 + 4,
	   "moves that are learned are not merged");
	ok(moves_of("{" A2 ", " B2
				", 'pB': [[[[1, 1], [1, 1]], [[1, 1], [1, 1]]]], "
				"'use_param_info_gain': true, 'policy_len': 2}",
				"moves with a gain") == 2 + 4,
	   "moves whose action tells about pB are not merged");
	ok(moves_of("{" A2 ", 'B': [[[[1, 0.999995], [0, 0]], "
				"[[0, 0], [1, 0.999995]]]], 'policy_len': 2}",
				"moves that are nearly certain") == 2 + 4,
	   "what is not exactly certain is not merged");
}

/* A factor that an action moves on by a state, or leaves where it is. */
static const KernelModel *
compile_ring(int states, int length, int64_t limit)
{
	size_t			   size = (size_t) states * 40 + 400;
	char			  *text = malloc(size);
	size_t			   at;
	const KernelModel *model;

	at = (size_t) snprintf(
		text, size,
		"{'A': [{'shape': [1, %d], 'default': 1}], "
		"'policy_len': %d, 'use_inductive': true, "
		"'inductive_depth': 6, 'H': [{'%d': 1}], 'B': [{'next': [",
		states, length, length);
	for (int s = 0; s < states; s++)
		at += (size_t) snprintf(text + at, size - at, "%s[%d, %d]",
								s > 0 ? ", " : "", s, (s + 1) % states);
	snprintf(text + at, size - at, "]}]}");
	host.max_model_size = limit;
	compile(text, &model);
	print_problems();
	host.max_model_size = 256 << 20;
	free(text);
	return model;
}

/* neg_efe of the policies of a ring, from its first state on. */
static void
value_ring(const KernelModel *model, double *neg_efe)
{
	int32_t		outcome = 0;
	int32_t		action;
	double	   *prior = calloc((size_t) model->belief_size, sizeof(double));
	double	   *belief = calloc((size_t) model->belief_size, sizeof(double));
	KernelAgent agent = {.prior = prior,
						 .observation = &outcome,
						 .belief = belief,
						 .action = &action,
						 .neg_efe = neg_efe};

	prior[0] = 1.0;
	kernel_step(&host, model, kernel_workspace(&host, model), &agent, 1);
	free(prior);
	free(belief);
}

/* Beyond the limit moves are no longer merged, which changes no value. */
static void
test_merging_limit(void)
{
	const KernelModel *whole = compile_ring(2000, 5, 256 << 20);
	const KernelModel *part = compile_ring(2000, 5, 400000);
	double			   values[2][32];
	bool			   equal = true;

	if (!ok(whole != NULL && part != NULL, "a ring, with room and without"))
		return;
	ok(KERNEL_AT(whole, KernelMoves, whole->moves)[0].count ==
		   2 + 3 + 4 + 5 + 6,
	   "with room, moves are as many as distances");
	ok(KERNEL_AT(part, KernelMoves, part->moves)[0].count == 2 + 3 + 4 + 8 + 16,
	   "without, what is merged stays so");
	ok(numbers_of(whole)->starts != 0 && numbers_of(part)->starts == 0,
	   "and no numbers are shared");
	value_ring(whole, values[0]);
	value_ring(part, values[1]);
	for (int p = 0; p < 32; p++)
		equal &= fabs(values[0][p] - values[1][p]) <= 1e-12;
	ok(equal && values[0][0] < values[0][31] - 1.0, "and the values are equal");
}

/* Long plans of many large factors are merged as well as small ones. */
static void
test_merging_many(void)
{
	size_t			   size = 1 << 20;
	char			  *text = malloc(size);
	size_t			   at;
	const KernelModel *model;
	int				   moves = 0;

	at = (size_t) snprintf(text, size,
						   "{'A': [{'shape': [1, 250], 'default': 1}], "
						   "'A_dependencies': [[0]], 'policy_len': 8, "
						   "'num_controls': [4], 'B_action_dependencies': [");
	for (int f = 0; f < 20; f++)
		at += (size_t) snprintf(text + at, size - at, "%s[0]", f ? ", " : "");
	at += (size_t) snprintf(text + at, size - at, "], 'B': [");
	for (int f = 0; f < 20; f++)
	{
		at += (size_t) snprintf(text + at, size - at, "%s{'next': [",
								f ? ", " : "");
		for (int s = 0; s < 250; s++)
			at += (size_t) snprintf(text + at, size - at, "%s[%d, %d, %d, %d]",
									s ? ", " : "", s, s, s, s);
		at += (size_t) snprintf(text + at, size - at, "]}");
	}
	snprintf(text + at, size - at, "]}");
	model = compiles(text, "twenty factors, 65,536 policies of 8 steps");
	for (int f = 0; model != NULL && f < 20; f++)
		moves += KERNEL_AT(model, KernelMoves, model->moves)[f].count;
	ok(moves == 20 * 8, "a move of each factor for each step");
	free(text);
}

/* A factor whose parent is driven sees that one's past, not its present. */
static void
test_coupled_plan(void)
{
	const KernelModel *model;
	const KernelMoves *moves;

	model = compiles("{'A': [[[1, 0], [0, 1]]], 'A_dependencies': [[1]], "
					 "'B': [{'next': [[0, 1], [0, 1]]}, "
					 "{'next': [[0, 1], [1, 1]]}], 'B_dependencies': [[0], "
					 "[1, 0]], 'B_action_dependencies': [[0], []], "
					 "'policy_len': 3}",
					 "coupled factors");
	if (model == NULL)
		return;
	moves = KERNEL_AT(model, KernelMoves, model->moves);
	ok(model->branch_count == 2 + 4 + 8 && moves[0].count == 2 + 2 + 2 &&
		   moves[1].count == 1 + 2 + 4,
	   "moves lag behind their parent's");
	ok(KERNEL_AT(model, KernelViews, model->views)[0].count == 7,
	   "and views follow the moves");
}

static void
test_given_policies(void)
{
	const KernelModel *model;

	model = compiles("{" A2 ", " B2 ", 'policies': [[[0], [1]], [[0], [0]], "
					 "[[0], [1]], [[1], [1]]]}",
					 "policies, one of them twice");
	ok(model != NULL && model->policy_count == 4 && model->policy_length == 2 &&
		   model->branch_count == 2 + 3 &&
		   KERNEL_AT(model, int32_t, model->leaf_of_policy)[0] ==
			   KERNEL_AT(model, int32_t, model->leaf_of_policy)[2],
	   "equal policies share a leaf");
	model = compiles("{" A2 ", 'B': [[[1, 0], [0, 1]]], "
					 "'factors': [{'name': 'x', 'controlled_by': []}], "
					 "'policy_len': 3}",
					 "nothing to control");
	ok(model != NULL && model->policy_count == 1 && model->control_count == 0 &&
		   model->branch_count == 3,
	   "one policy, a branch for each step");
	model = compiles("{" A2 ", 'B': [[[1, 0], [0, 1]]]}", "no action axis");
	ok(model != NULL && model->control_count == 1 &&
		   kernel_control(model, 0)->actions == 1,
	   "one action");
}

/* ---------- large models ---------- */

static KernelHost real; /* what host is in all other tests */
static size_t	  asked;

static void *
counting_allocate(void *context, size_t size)
{
	asked += size;
	return real.allocate(context, size);
}

/* A grid of 900 states, five moves, in one of its forms; ' for ". */
static char *
grid(bool next)
{
	static const int dx[] = {0, 1, 0, -1, 0};
	static const int dy[] = {-1, 0, 1, 0, 0};
	size_t			 size = 1 << 20;
	char			*text = malloc(size);
	size_t			 at;

	at = (size_t) snprintf(text, size,
						   "{'A': [{'shape': [900, 900], "
						   "'entries': [");
	for (int s = 0; s < 900; s++)
		at += (size_t) snprintf(text + at, size - at, "%s[%d, %d, 1]",
								s > 0 ? ", " : "", s, s);
	at += (size_t) snprintf(text + at, size - at, "]}], 'B': [{%s",
							next ? "'next': [" :
								   "'shape': [900, 900, 5], 'entries': [");
	for (int s = 0; s < 900; s++)
	{
		at += (size_t) snprintf(text + at, size - at, "%s%s", s > 0 ? ", " : "",
								next ? "[" : "");
		for (int u = 0; u < 5; u++)
		{
			int x = s % 30 + dx[u];
			int y = s / 30 + dy[u];
			int to = x < 0 || x > 29 || y < 0 || y > 29 ? s : y * 30 + x;

			if (next)
				at += (size_t) snprintf(text + at, size - at, "%s%d",
										u > 0 ? ", " : "", to);
			else
				at +=
					(size_t) snprintf(text + at, size - at, "%s[%d, %d, %d, 1]",
									  u > 0 ? ", " : "", to, s, u);
		}
		at += (size_t) snprintf(text + at, size - at, next ? "]" : "");
	}
	snprintf(text + at, size - at, "]}], 'policy_len': 2}");
	return text;
}

static void
test_grid(void)
{
	char			  *next = grid(true);
	char			  *sparse = grid(false);
	const KernelModel *model;

	same(next, sparse, "a grid of 900 states");
	asked = 0;
	host.allocate = counting_allocate;
	compile(next, &model);
	host.allocate = real.allocate;
	/* dense, B alone would take 32 MB */
	ok(model != NULL && asked < 3 << 20 && model->size < 1 << 20,
	   "a sparse grid stays small (%zu bytes)", asked);
	ok(model != NULL && kernel_factor(model, 0)->B.sparse &&
		   kernel_modality(model, 0)->log_A.sparse,
	   "and sparse");
	free(next);
	free(sparse);
}

/* The inductive matrix is that of the dense definition. */
static void
test_inductive(void)
{
	const KernelModel *model;
	double dense[2 * 3 * 3] = {0, 0.9, 0.1, 0, 0.2, 0.8, 0,	   0,	 1,
							   1, 0,   0,	1, 0,	0,	 0.05, 0.95, 0};
	double H[3] = {0, 0, 1};
	double scratch[9];
	double I[4 * 3];

	model = compiles("{'A': [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]], 'B': [["
					 "[[0, 1], [0, 1], [0, 0.05]], "
					 "[[0.9, 0], [0.2, 0], [0, 0.95]], "
					 "[[0.1, 0], [0.8, 0], [1, 0]]]], 'H': [[0, 0, 1]], "
					 "'use_inductive': true, 'inductive_depth': 4}",
					 "an inductive model");
	if (model == NULL)
		return;
	kernel_inductive(&host, H, 3, 6, dense, 0.1, 4, scratch, I);
	ok(memcmp(I, KERNEL_AT(model, double, kernel_factor(model, 0)->I),
			  sizeof(I)) == 0,
	   "I as by kernel_inductive()");
	model = compiles("{" A2 ", " B2 ", 'H': [[0, 0]], 'use_inductive': true}",
					 "no goal anywhere");
	ok(model != NULL && kernel_factor(model, 0)->I == 0, "no I");
	model = compiles("{" A2 ", " B2 ", 'I': [[[0, 1], [1, 1], [1, 1]]], "
					 "'use_inductive': true}",
					 "I given");
	ok(model != NULL && model->inductive_depth == 3 &&
		   kernel_factor(model, 0)->I != 0,
	   "with its depth");
}

static void
test_learning(void)
{
	const KernelModel  *model;
	const KernelFactor *factor;

	model = compiles("{" A2 ", " B2 ", 'pA': [null], 'pB': [[[[1, 0.5], "
					 "[1, 0.5]], [[0, 1], [2, 1]]]], 'learn_B': true, "
					 "'use_param_info_gain': true, 'lr_pB': 0.25}",
					 "counts of B alone");
	if (model == NULL)
		return;
	factor = kernel_factor(model, 0);
	ok(kernel_modality(model, 0)->pA == 0 &&
		   kernel_modality(model, 0)->gain_A == 0 && factor->pB != 0 &&
		   factor->learned && factor->lr_pB == 0.25,
	   "learned");
	ok(factor->gain_B != 0 && KERNEL_AT(model, double, factor->pB)[3] == 2 &&
		   KERNEL_AT(model, double, factor->gain_B)[1] == 0 &&
		   KERNEL_AT(model, double, factor->gain_B)[2] < 0,
	   "counts and gain");
	model = compiles("{" A2 ", " B2 ", 'pA': [[[1, 1], [1, 1]]]}",
					 "counts, but no use of them");
	ok(model != NULL && kernel_modality(model, 0)->gain_A == 0 &&
		   !kernel_modality(model, 0)->learned,
	   "neither learned nor a gain");
}

static void
test_shape_hash(void)
{
	const KernelModel *model[4];

	compile("{" A2 ", " B2 "}", &model[0]);
	compile("{" A2 ", " B2 ", 'C': [[0, 1]], 'gamma': 3, 'policy_len': 2, "
			"'factors': [{'name': 'x'}]}",
			&model[1]);
	compile("{" A2 ", " B2 ", 'pA': [[[1, 1], [1, 1]]], 'learn_A': true}",
			&model[2]);
	compile("{" A2 ", 'B': [[[1, 0], [0, 1]]]}", &model[3]);
	ok(model[0]->shape == model[1]->shape, "one shape");
	ok(model[0]->shape != model[2]->shape && model[0]->shape != model[3]->shape,
	   "other shapes");
}

/* ---------- limits ---------- */

static void *
no_memory(void *context, size_t size)
{
	int *left = context;

	return (*left)-- > 0 ? real.allocate(NULL, size) : NULL;
}

static void
test_limits(void)
{
	const KernelModel *model;
	KernelProblems	  *found = &problems;
	JsonValue		   spec;
	int				   left;
	int				   failures = 0;

	fails(KERNEL_LIMIT, "{" A2 ", " B2 ", 'policy_len': 17}",
		  "131072 policies");
	ok(strstr(found->items[0].detail, "fa_agents.max_policies is 65536") !=
		   NULL,
	   "the limit and its setting");
	fails(KERNEL_LIMIT, "{" A2 ", " B2 ", 'policy_len': 900}", "e+270");
	(void) compiles("{" A2 ", " B2 ", 'policy_len': 16}", "65536 policies");
	host.max_model_size = 100000;
	fails(KERNEL_LIMIT, "{" A2 ", " B2 ", 'policy_len': 12}",
		  "fa_agents.max_model_size is 100000");
	fails_among_others(KERNEL_LIMIT,
					   "{'A': [{'shape': [200, 200], 'default': 0.005}], "
					   "'B': [{'shape': [200, 200], 'default': 0.005}]}",
					   "320000 bytes");
	host.max_model_size = real.max_model_size;
	fails_among_others(
		KERNEL_LIMIT,
		"{'A': [{'shape': [1000000000, 1000000000, "
		"1000000000]}], 'B': [{'shape': [1000000000, 1000000000]}, "
		"{'shape': [1000000000, 1000000000]}]}",
		"too many");

	/* each allocation that may fail, in turn */
	host.allocate = no_memory;
	host.context = &left;
	for (int i = 1; i < 500; i++)
	{
		left = 1000000;
		found->count = 0;
		if (json_parse(&host,
					   "{\"A\":[[[1,0],[0,1]]],\"B\":[[[1,0],[0,1]]],"
					   "\"C\":[{\"0\":1}],\"pA\":[[[1,1],[1,1]]],\"learn_A\":"
					   "true,\"H\":[[0,1]],\"use_inductive\":true}",
					   111 + 13, &spec, found) != KERNEL_OK)
			break;
		left = i;
		if (kernel_compile(&host, &spec, &model, found) == KERNEL_OK)
			break;
		failures += found->count == 0 && kernel_compile(&host, &spec, &model,
														found) == KERNEL_MEMORY;
	}
	ok(failures > 20 && model != NULL, "no memory at %d places", failures);
	host = real;
}

/* Pieces that are small, each by itself, but not together. */
static void
test_total_limit(void)
{
	char   text[4000];
	size_t at;

	/* 2 * (2 + 4 + ... + 4096) branches in 41 arrays */
	at = (size_t) snprintf(text, sizeof(text),
						   "{'A': [[[1]]], 'A_dependencies': [[0]], "
						   "'num_controls': [2], 'policy_len': 12, "
						   "'B_action_dependencies': [[0]");
	for (int f = 1; f < 40; f++)
		at += (size_t) snprintf(text + at, sizeof(text) - at, ", []");
	at +=
		(size_t) snprintf(text + at, sizeof(text) - at, "], 'B': [[[[1, 1]]]");
	for (int f = 1; f < 40; f++)
		at += (size_t) snprintf(text + at, sizeof(text) - at, ", [[1]]");
	snprintf(text + at, sizeof(text) - at, "]}");
	host.allocate = counting_allocate;
	host.max_model_size = 1000000;
	asked = 0;
	fails(KERNEL_LIMIT, text,
		  "It would take 1343160 bytes; fa_agents.max_model_size is 1000000");
	ok(asked < 1500000, "before it is asked for (%zu bytes)", asked);

	/* twenty arrays of 80,000 bytes, and as much again of each */
	at = (size_t) snprintf(text, sizeof(text), "{'B': [[[1]]], 'A': [");
	for (int m = 0; m < 20; m++)
		at += (size_t) snprintf(text + at, sizeof(text) - at,
								"%s{'shape': [10000, 1], 'default': 0.0001}",
								m ? ", " : "");
	snprintf(text + at, sizeof(text) - at, "]}");
	host.max_model_size = 100000;
	asked = 0;
	fails(KERNEL_LIMIT, text,
		  "more than 400000 bytes, 4 times fa_agents.max_model_size");
	ok(asked < 600000, "and not taken (%zu bytes)", asked);
	host = real;
	(void) compiles(text, "but under another limit");
}

/* ---------- interruption ---------- */

static int polls;

static void
count_poll(void *context)
{
	(void) context;
	polls++;
}

/*
 * However little there is to read, a spec of many arrays can be left: each of
 * the twelve loops over them polls at every array.
 */
static void
test_polls(void)
{
	const int		   count = 2000;
	char			  *text = malloc(100000);
	size_t			   at = (size_t) sprintf(text, "{'A': [[1]");
	const KernelModel *model;

	for (int m = 1; m < count; m++)
		at += (size_t) sprintf(text + at, ", [1]");
	at += (size_t) sprintf(text + at, "], 'B': [[[[1]]]");
	for (int f = 1; f < count; f++)
		at += (size_t) sprintf(text + at, ", [[[1]]]");
	sprintf(text + at, "]}");
	host.poll = count_poll;
	polls = 0;
	compile(text, &model);
	host = real;
	ok(problems.count == count && polls >= 12 * count,
	   "polled for every array (%d times)", polls);
	free(text);
}

/* A block that is not whole, or not ours, is not taken. */
static void
test_valid(void)
{
	const KernelModel *model = compiles(tmaze, "a block to damage");
	KernelModel		  *copy;
	size_t			   size;

	if (model == NULL)
		return;
	size = (size_t) model->size;
	copy = aligned_alloc(64, size);
	memcpy(copy, model, size);
	ok(kernel_model_valid(copy, size), "a copy elsewhere");
	ok(!kernel_model_valid(copy, size - 64), "cut short");
	ok(!kernel_model_valid(copy, 8), "a few bytes");
	copy->layout++;
	ok(!kernel_model_valid(copy, size), "another layout");
	copy->layout--;
	copy->magic = 0;
	ok(!kernel_model_valid(copy, size), "something else");
	copy->magic = KERNEL_MAGIC;
	copy->factors = size - 8;
	ok(!kernel_model_valid(copy, size), "a reference to the outside");
	copy->factors = model->factors;
	copy->factor_count = 1000;
	ok(!kernel_model_valid(copy, size), "a wrong count");

	/* no single damaged word may lead outside (sanitizers watch) */
	for (size_t i = 0; i < size / 8; i++)
	{
		memcpy(copy, model, size);
		((uint64_t *) (void *) copy)[i] = UINT64_C(0x7fffffff00000000) + i;
		(void) kernel_model_valid(copy, size);
	}
	ok(true, "damaged words");
	free(copy);
}

int
main(void)
{
	test_host(&host);
	real = host;
	test_equal_forms();
	test_named();
	test_controls();
	test_configuration();
	test_configured_controls();
	test_plan();
	test_merging();
	test_sharing();
	test_table();
	test_not_shared();
	test_merging_limit();
	test_merging_many();
	test_coupled_plan();
	test_given_policies();
	test_grid();
	test_inductive();
	test_learning();
	test_shape_hash();
	test_limits();
	test_total_limit();
	test_polls();
	test_valid();
	free_all();
	return tap_done();
}
