/*
 * test_mistakes.c
 *	  What each mistake in a spec is answered with.
 */
#include "spec_test.h"

typedef struct Mistake
{
	KernelStatus status;
	const char	*spec;
	const char	*part;
} Mistake;

static const Mistake mistakes[] = {
	/* the whole */
	{KERNEL_INVALID, "[1]", "a spec must be an object, not an array"},
	{KERNEL_INVALID, "{" A2 "}", "the spec has no B"},
	{KERNEL_INVALID, "{" B2 "}", "the spec has no A"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'gama': 1}", "Did you mean \"gamma\"?"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'Policy_len': 1}", "\"policy_len\""},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'xyzzy': 1}", "unknown key \"xyzzy\""},
	/* a last letter that is one byte in the encoding of the database */
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'caf\xe9': 1}", "\"caf\xe9\""},
	/* names of earlier releases of pymdp */
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'T': 5}", "fa_run is told how many"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'A_factor_list': [[0]]}",
	 "It is now called \"A_dependencies\"."},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'inference_algo': 'VANILLA'}",
	 "inference_algo \"vanilla\" is not supported"},

	/* numbers in A and B */
	{KERNEL_INVALID, "{'A': [[[0.9, 0.1], [0.1, 0.8]]], " B2 "}",
	 "A[0]: column (1) sums to 0.9, not to 1"},
	{KERNEL_INVALID,
	 "{'A': [[[0.9, 0.1], [0.1, 0.8]]], " B2 ", "
	 "'modalities': [{'name': 'reward'}]}",
	 "A[0] (modality \"reward\"): column (1) sums to 0.9, not to 1"},
	{KERNEL_INVALID,
	 "{" A2 ", 'B': [[[[1, 0], [1, 1]], [[0, 1], [0, 1]]]], "
	 "'factors': [{'name': 'x'}]}",
	 "B[0] (factor \"x\"): column (1, 1) sums to 2, not to 1"},
	{KERNEL_RANGE, "{'A': [[[1.1, 0.1], [-0.1, 0.9]]], " B2 "}",
	 "A[0][1][0] is -0.1, but must not be negative"},
	{KERNEL_RANGE, "{'A': [[[1, 1e999], [0, 0]]], " B2 "}",
	 "A[0][0][1] is too large"},
	{KERNEL_RANGE, "{'A': [[[1, -1e999], [0, 0]]], " B2 "}",
	 "A[0][0][1] is too large"},
	{KERNEL_INVALID, "{'A': [[[1, null], [0, 1]]], " B2 "}",
	 "A[0][0][1] must be a number, not null"},
	{KERNEL_INVALID, "{'A': [[[1, 'NaN'], [0, 1]]], " B2 "}",
	 "must be a number, not the string \"NaN\""},
	{KERNEL_INVALID, "{'A': [[[1, true], [0, 1]]], " B2 "}", "not true"},

	/* shapes */
	{KERNEL_INVALID, "{'A': [], " B2 "}", "one element for each modality"},
	{KERNEL_INVALID, "{" A2 ", 'B': []}", "one element for each factor"},
	{KERNEL_INVALID, "{'A': [[]], " B2 "}", "A[0] has an empty array"},
	{KERNEL_INVALID, "{'A': [[[], []]], " B2 "}", "A[0] has an empty array"},
	{KERNEL_INVALID, "{'A': [[[1, 0], [0]]], " B2 "}",
	 "A[0][1] has length 1, but its neighbours have length 2"},
	{KERNEL_INVALID, "{'A': [[[1, 0], 0]], " B2 "}",
	 "A[0][1] must be an array of length 2, not 0"},
	{KERNEL_INVALID, "{'A': [[[1, 0], [0, [1]]]], " B2 "}",
	 "A[0][1][1] must be a number, not an array"},
	{KERNEL_INVALID, "{'A': [[1, 0]], " B2 "}",
	 "A[0] has shape (2,), expected (?, 2)"},
	{KERNEL_INVALID, "{'A': [[[[0.9, 0.1], [0.1, 0.9]]]], " B2 "}",
	 "begin with an axis for its batch"},
	{KERNEL_INVALID, "{'A': [[[1, 0, 0], [0, 1, 1]]], " B2 "}",
	 "A[0] has shape (2, 3), expected (2, 2)"},
	{KERNEL_INVALID, "{'A': [[[1, 0, 0], [0, 1, 1]]], " B2 "}",
	 "the array may be transposed"},
	{KERNEL_INVALID,
	 "{'A': [[[1, 0], [0, 1]]], 'B': [[[1, 0], [0, 1]], [[1]]]}",
	 "unless A_dependencies or the modality's depends_on"},
	{KERNEL_INVALID, "{'num_controls': [2], " A2 ", 'B': [[[1, 0], [0, 1]]]}",
	 "which only factors with one action may leave out"},
	{KERNEL_INVALID, "{'A': [[[1, 0], [1, 0]]], " B2 "}",
	 "exchange the axes if they are in another order"},
	{KERNEL_INVALID, "{" A2 ", 'B': [[[1, 0, 0], [0, 1, 1]]]}",
	 "the first axis of B[0] has size 2, but that of the same states "
	 "before has size 3"},
	{KERNEL_INVALID, "{" A2 ", 'B': [[[1, 0, 0], [0, 1, 1]]]}",
	 "The actions are the last axis"},
	{KERNEL_INVALID, "{" A2 ", 'B': [[[[[1]], [[0]]], [[[0]], [[1]]]]]}",
	 "The axes are the next state, the states of \"factor_0\", the actions"},
	{KERNEL_INVALID, "{'A': 3, " B2 "}", "A must be an array"},
	{KERNEL_INVALID, "{'A': [3], " B2 "}", "A[0] must be an array, not 3"},
	{KERNEL_INVALID, "{'A': {'x': [[1, 0], [0, 1]]}, " B2 "}",
	 "the modalities have no names"},
	{KERNEL_INVALID, "{'A': [null], " B2 "}", "A[0] is missing"},

	/* the sparse forms */
	{KERNEL_INVALID, "{'A': [{'entries': []}], " B2 "}",
	 "the shape of A[0] must be an array"},
	{KERNEL_INVALID, "{'A': [{'shape': [2, 0], 'entries': []}], " B2 "}",
	 "has 0 as a size"},
	{KERNEL_INVALID,
	 "{'A': [{'shape': [2, 2], 'entries': [[0, 0, 1], "
	 "[1, 1, 1], [0, 0, 1]]}], " B2 "}",
	 "has two entries for [0, 0]"},
	{KERNEL_RANGE, "{'A': [{'shape': [2, 2], 'entries': [[0, 2, 1]]}], " B2 "}",
	 "has 2 as index 1, which counts from 0 to 1"},
	{KERNEL_RANGE,
	 "{'A': [{'shape': [2, 2], 'entries': [[0, 0.5, 1]]}], " B2 "}",
	 "has 0.5 as index 1"},
	{KERNEL_INVALID, "{'A': [{'shape': [2, 2], 'entries': [[0, 1]]}], " B2 "}",
	 "must be an array of 2 indices and a value"},
	{KERNEL_RANGE,
	 "{'A': [{'shape': [2, 2], 'entries': [[0, 1, -1]]}], " B2 "}",
	 "the value of entry 0 of A[0] is -1"},
	{KERNEL_RANGE, "{'A': [{'shape': [2, 2], 'default': 1e999}], " B2 "}",
	 "the default of A[0] is too large"},
	{KERNEL_INVALID, "{'A': [{'shape': [2, 2], 'entires': []}], " B2 "}",
	 "Did you mean \"entries\"?"},
	{KERNEL_RANGE, "{" A2 ", 'B': [{'next': [[0, 2], [0, 1]]}]}",
	 "B[0].next[0][1] is 2, but the states of \"factor_0\" are 0 to 1"},
	{KERNEL_INVALID, "{" A2 ", 'B': [{'next': [[0, 1], [0]]}]}",
	 "B[0].next[1] has length 1"},
	{KERNEL_INVALID, "{'A': [{'next': [0, 1]}], " B2 "}", "unknown key"},

	/* dependencies */
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'A_dependencies': [[1]]}",
	 "A_dependencies[0][0] is 1, which is no factor"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'B_dependencies': [[-1]]}",
	 "B_dependencies[0][0] is -1, which is no factor"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'B_dependencies': [[0, 0]]}",
	 "names factor 0 twice"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'A_dependencies': [[]]}",
	 "names no factor"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'A_dependencies': [[0], [0]]}",
	 "A_dependencies has length 2, but the number of modalities is 1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'A_dependencies': [0]}",
	 "A_dependencies[0] must be an array"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'A_dependencies': 0}",
	 "A_dependencies must be an array"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'num_controls': [3]}",
	 "B[0] has shape (2, 2, 2), expected (2, 2, 3)"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'num_controls': [2, 2]}",
	 "num_controls has length 2, but the number of controls is 1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'control_fac_idx': [1]}", "is no factor"},
	{KERNEL_RANGE, "{" A2 ", 'B': [[[1, 0], [0, 1]]], 'control_fac_idx': [0]}",
	 "names factor 0, which has one action"},

	/* lists for people */
	{KERNEL_INVALID,
	 "{'A': [[[1, 0, 0], [0, 1, 1]]], " B2 ", 'factors': "
	 "[{'name': 'x', 'states': 3}]}",
	 "expected (3, 3, 2)"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', 'states': "
	 "['a', 'a']}]}",
	 "factors[0].states has the label \"a\" twice"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', 'states': "
	 "[]}]}",
	 "not an empty array"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', 'states': "
	 "0}]}",
	 "factors[0].states must be a number from 1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'factors': [{'name': ''}]}",
	 "the name in factors[0] must be a string"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'factors': ['x']}",
	 "factors[0] must be an object"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'factors': {'x': {}}}",
	 "factors must be an array of objects"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', "
	 "'depend_on': []}]}",
	 "Did you mean \"depends_on\"?"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x'}, "
	 "{'name': 'x'}]}",
	 "two factors have the name \"x\""},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x'}], "
	 "'states': {'x': {'size': 2}}}",
	 "both name the factors"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'place'}], "
	 "'modalities': [{'name': 'o', 'depends_on': ['plaec']}]}",
	 "Did you mean \"place\"?"},
	{KERNEL_INVALID,
	 "{'A': [[[1, 0], [0, 1]]], 'B': [[[1, 0], [0, 1]], "
	 "[[1, 0], [0, 1]]], 'factors': [{'name': 'x'}, {'name': 'y'}], "
	 "'modalities': [{'name': 'o', 'depends_on': ['x']}], "
	 "'A_dependencies': [[1]]}",
	 "modalities[0].depends_on and A_dependencies[0] (modality \"o\") "
	 "disagree"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', "
	 "'controlled_by': ['u']}], 'controls': [{'name': 'v'}]}",
	 "which is no control"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', "
	 "'actions': 3}]}",
	 "expected (2, 2, 3)"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'name': 'x', 'actions': "
	 "2}], 'num_controls': [3]}",
	 "num_controls[0] says 3, but elsewhere the size of \"x\" is 2"},
	{KERNEL_INVALID,
	 "{" A2 ", 'B': [[[1, 0], [0, 1]]], 'factors': [{'name': "
	 "'x', 'actions': 2, 'controlled_by': []}]}",
	 "cannot belong to 0 controls"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'controls': [{'name': 'u', 'actions': "
	 "2}, {'name': 'idle'}], 'factors': [{'controlled_by': ['u']}]}",
	 "\"idle\" drives no factor"},
	{KERNEL_INVALID,
	 "{" A2 ", 'B': {'y': [[1, 0], [0, 1]]}, 'factors': "
	 "[{'name': 'x'}]}",
	 "B names \"y\", which is no factor"},

	/* C, D, E, H, I */
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'C': [[0, 1, 2]]}",
	 "C[0] has shape (3,), expected (2,)"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'C': [[[0, 1], [2]]]}",
	 "C[0][1] has shape (1,), expected (2,)"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'C': [[0, 1e999]]}",
	 "C[0][1] is too large"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'C': [[0, 1], [0, 1]]}",
	 "C has length 2, but the number of modalities is 1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'C': [{'cheese': 1}]}",
	 "names \"cheese\", which is not among the values"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'C': [{'1': 'x'}]}",
	 "\"1\" must be a number"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'D': [[0.5, 0.6]]}",
	 "D[0] sums to 1.1, not to 1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'D': [[1.5, -0.5]]}",
	 "must not be negative"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'D': [{'0': 0.5}]}", "D[0] sums to 0.5"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'E': [1]}",
	 "E has shape (1,), expected (2,)"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'E': [0, 0]}",
	 "no policy a positive weight"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'E': [1, -1]}", "E[1] is -1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'H': [[0.5, 0.5]]}",
	 "its elements must be 0 or 1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'I': [[[0, 2]]]}",
	 "its elements must be 0 or 1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'I': [[0, 1]]}",
	 "I[0] has shape (2,), expected (2, 2)"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'use_inductive': true}",
	 "use_inductive needs H or I"},
	{KERNEL_INVALID,
	 "{'A': [[[1, 0], [0, 1]]], 'A_dependencies': [[0]], "
	 "'B': [{'next': [[0, 1], [1, 0]]}, [[1, 0], [0, 1]]], "
	 "'B_dependencies': [[0, 1], [1]], 'H': [[0, 1], [0, 0]], "
	 "'use_inductive': true}",
	 "use_inductive does not work where B[0]"},

	/* counts and rates */
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'learn_A': true}", "learn_A needs pA"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'learn_B': true, 'pB': [null]}",
	 "learn_B needs pB"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'use_param_info_gain': true}",
	 "use_param_info_gain needs pA or pB"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'pA': [[[1, 1]]]}",
	 "pA[0] has shape (1, 2), expected (2, 2)"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'pA': [[[1, -1], [1, 1]]]}",
	 "pA[0][0][1] is -1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'pA': [[[1, 0], [1, 0]]]}",
	 "the counts of column (1) sum to 0"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'lr_pA': -1}", "lr_pA has a rate"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'lr_pB': [1, 1]}",
	 "lr_pB has length 2, but the number of factors is 1"},

	/* numbers and switches */
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'gamma': -1}", "gamma must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'gamma': 1e999}", "gamma must be"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'alpha': '1'}", "alpha must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policy_len': 0}", "policy_len must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policy_len': 1.5}", "policy_len must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'num_iter': 0}", "num_iter must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'inductive_depth': 0}",
	 "inductive_depth must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'inductive_epsilon': 0}",
	 "inductive_epsilon must be"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'inductive_threshold': 2}",
	 "inductive_threshold must be"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'use_utility': 1}",
	 "use_utility must be true or false, not 1"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'sampling_mode': 'half'}",
	 "Known are \"full\", \"marginal\"."},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'action_selection': 'random'}",
	 "action_selection cannot be the string \"random\""},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'inference_algo': 'mmp'}",
	 "inference_algo \"mmp\" is not supported"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'inference_algo': 'magic'}",
	 "Use \"fpi\", fixed-point iteration."},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'learning_mode': 'offline'}",
	 "learning_mode \"offline\" is not supported"},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'learn_C': true}",
	 "learn_C is not supported"},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'categorical_obs': true}",
	 "categorical_obs is not supported"},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'inference_horizon': 4}",
	 "inference_horizon is not supported"},
	{KERNEL_UNSUPPORTED, "{" A2 ", " B2 ", 'search': {'method': 'si'}}",
	 "search is not supported"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'batch_size': 1}",
	 "batch_size does not apply"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'preprocess_fn': 'f'}",
	 "preprocess_fn does not apply"},

	/* policies */
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policies': [[[0]], [[2]]]}",
	 "policies[1][0][0] is 2, but control \"factor_0\" has actions 0 to 1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policies': [[[-1]]]}",
	 "policies[0][0][0] is -1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policies': [[[0.5]]]}",
	 "policies[0][0][0] is 0.5"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': [[[null]]]}",
	 "policies[0][0][0] is null"},
	{KERNEL_INVALID,
	 "{" A2 ", " B2 ", 'factors': [{'actions': ['left', "
	 "'right']}], 'policies': [[['lefd']]]}",
	 "Did you mean \"left\"?"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': [[0], [1]]}",
	 "policies has 2 axes, expected 3 axes"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': [0]}",
	 "policies has 1 axes, expected 3 axes"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': []}",
	 "policies is empty or no array"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': [[[0]], [[0], [1]]]}",
	 "policies[1] is not an array of as many steps as policies[0] has, 1"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policies': {'shape': [1, 20000000, 1]}}",
	 "the length of policies must be an integer from 1 to 1000, not 20000000"},
	{KERNEL_RANGE, "{" A2 ", " B2 ", 'policies': {'shape': [1, 1001, 1]}}",
	 "from 1 to 1000, not 1001"},
	{KERNEL_INVALID, "{" A2 ", " B2 ", 'policies': [[[0, 1]]]}",
	 "policies[0][0] must be an array of length 1"},
};

static void
test_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++)
		fails(mistakes[i].status, mistakes[i].spec, mistakes[i].part);
}

/* All that is wrong is said at once, and one thing once. */
static void
test_many_mistakes(void)
{
	const KernelModel *model;

	compile("{'A': [[[1, 1], [0, 1]]], 'B': [[[[1, 0], [1, 0]], "
			"[[0, 1], [0, 2]]]], 'C': [[1]], 'D': [[1, 1]], 'gamma': 'x', "
			"'alhpa': 1, 'policies': [[[7]]], 'learn_A': true}",
			&model);
	if (!ok(problems.count == 8, "eight mistakes"))
		print_problems();
	compile("{'A': [[[1, 0], [0, 1]]], 'B': [[[[1, 0], [0, 1]]]], "
			"'C': [[0, 0]], 'D': [[1, 0]], 'E': [1, 1], 'H': [[0, 1]], "
			"'pB': [[[[1, 1], [1, 1]]]], 'use_inductive': true}",
			&model);
	if (!ok(problems.count == 1, "a wrong B is one mistake"))
		print_problems();
	ok(strstr(problems.items[0].message, "the first axis of B[0] has "
										 "size 1") != NULL,
	   "namely its shape");
}

/* Long names and other alphabets are cut between characters. */
static void
test_long_names(void)
{
	const KernelModel *model;
	char			   text[1000] = "{" A2 ", " B2 ", '";
	const char		  *message;

	for (int i = 0; i < 200; i++)
		strcat(text, "\xc3\xa9");
	strcat(text, "': 1}");
	compile(text, &model);
	message = problems.items[0].message;
	ok(problems.count == 1 && strstr(message, "\xc3\xa9...\"") != NULL &&
		   strstr(message, "\xc3...") == NULL,
	   "a long name is cut");
}

int
main(void)
{
	test_host(&host);
	test_mistakes();
	test_many_mistakes();
	test_long_names();
	free_all();
	return tap_done();
}
