/*
 * option.c
 *		The switches and numbers of a spec: pymdp's own names and defaults.
 *
 * Names and meaning are pymdp's, so that a call of its Agent can be written
 * down as a spec without a look at the manual.  An option is never corrected
 * silently: outside its range it is a problem.
 */
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "compile.h"

/*
 * All keys of a spec; ends with NULL.  Those that are refused as unsupported
 * stand here too, so that they are not called unknown.
 */
const char *const option_keys[] = {
	/* arrays */
	"A", "B", "C", "D", "E", "H", "I", "pA", "pB", "policies",
	/* what depends on what */
	"A_dependencies", "B_dependencies", "B_action_dependencies", "num_controls",
	"control_fac_idx",
	/* the same for people, and pymdp's compile_model configuration */
	"factors", "modalities", "controls", "observations", "states",
	/* numbers and switches */
	"policy_len", "gamma", "alpha", "inductive_depth", "inductive_threshold",
	"inductive_epsilon", "use_utility", "use_states_info_gain",
	"use_param_info_gain", "use_inductive", "categorical_obs",
	"action_selection", "sampling_mode", "inference_algo", "inference_horizon",
	"num_iter", "learning_mode", "learn_A", "learn_B", "learn_C", "learn_D",
	"learn_E", "lr_pA", "lr_pB", "lr_pC", "lr_pD", "lr_pE", "search",
	"window_prior", "batch_size", "preprocess_fn", NULL};

/*
 * What earlier releases of pymdp call things, and people's scripts: what to do
 * with them here.
 */
static const struct
{
	const char *key;
	const char *hint;
} former[] = {
	{"T", "Leave it out: fa_run is told how many steps to make."},
	{"num_obs", "Leave it out: sizes follow from A; or list the modalities."},
	{"num_modalities", "Leave it out: A has one array for each modality."},
	{"num_states",
	 "Leave it out: sizes follow from A and B; or list the factors."},
	{"num_factors", "Leave it out: B has one array for each factor."},
	{"A_factor_list", "It is now called \"A_dependencies\"."},
	{"B_factor_list", "It is now called \"B_dependencies\"."},
	{"pD", "Leave it out: D is not learned."},
	{"pE", "Leave it out: E is not learned."},
	{"modalities_to_learn",
	 "Give pA, null for the modalities that do not learn."},
	{"factors_to_learn", "Give pB, null for the factors that do not learn."},
	{"inference_params", "Use \"num_iter\"."},
	{"use_BMA", "Leave it out: only marginal message passing has it."},
	{"policy_sep_prior", "Leave it out: only marginal message passing has it."},
	{"save_belief_hist",
	 "Leave it out: give the agents the param \"history\"."},
};

/* What to do with a key of earlier releases; NULL: it is none of these. */
const char *
option_former(const char *key)
{
	for (int32_t i = 0; i < lengthof(former); i++)
	{
		if (strcmp(former[i].key, key) == 0)
			return former[i].hint;
	}
	return NULL;
}

/*
 * The member, or NULL where it is absent or null, which says the same: pymdp's
 * default for most arguments is None.
 */
const JsonValue *
option_member(const JsonValue *object, const char *key)
{
	const JsonValue *value = json_member(object, key);

	return value != NULL && value->kind != JSON_NULL ? value : NULL;
}

/* ---------- numbers ---------- */

/* What a number may be. */
typedef struct Range
{
	const char *key;
	double		low;   /* the least that it may be */
	double		high;  /* and the greatest */
	bool		above; /* low itself is not in the range */
	const char *text;  /* the range in words, after "must be" */
} Range;

/*
 * inductive_epsilon is above 0 because its logarithm is taken.  gamma and
 * alpha may be 0: then all policies, or all actions, are equal.
 */
static const Range numbers[] = {
	{"gamma", 0, MAX_NUMBER, false, "a number from 0 to 1e100"},
	{"alpha", 0, MAX_NUMBER, false, "a number from 0 to 1e100"},
	{"inductive_threshold", 0, 1, false, "a probability, from 0 to 1"},
	{"inductive_epsilon", 0, 1, true, "above 0 and at most 1"},
};

/*
 * The limits are far above any use.  They keep a slip of the pen from making a
 * step that takes an hour, or a size that overflows.
 */
static const Range integers[] = {
	{"policy_len", 1, 1000, false, "an integer from 1 to 1000"},
	{"inductive_depth", 1, 1000000, false, "an integer from 1 to 1000000"},
	{"num_iter", 1, 10000, false, "an integer from 1 to 10000"},
};

/*
 * A number within a range into *out, which stays where it is absent; false
 * with a problem.  NaN cannot arrive, infinities fall outside every range.
 */
static bool
read_range(Reader *reader, const JsonValue *object, const Range *range,
		   double *out)
{
	const JsonValue *value = option_member(object, range->key);
	char			 text[80];

	if (value == NULL)
		return true;
	if (value->kind == JSON_NUMBER && value->as.number >= range->low &&
		value->as.number <= range->high &&
		!(range->above && value->as.number == range->low))
	{
		*out = value->as.number + 0.0; /* no -0 */
		return true;
	}
	kernel_problem(reader->problems,
				   value->kind == JSON_NUMBER ? KERNEL_RANGE : KERNEL_INVALID,
				   range->key, NULL, NULL, "%s must be %s, not %s", range->key,
				   range->text, text_value(text, value));
	return false;
}

/*
 * A number of the spec or of an agent's parameters; *out stays if absent.  key
 * is one of the table above; false with a problem.
 */
bool
option_number(Reader *reader, const JsonValue *object, const char *key,
			  double *out)
{
	for (int32_t i = 0; i < lengthof(numbers); i++)
	{
		if (strcmp(numbers[i].key, key) == 0)
			return read_range(reader, object, &numbers[i], out);
	}
	return false;
}

/*
 * The same for numbers that must be whole.  JSON has but one kind of number,
 * so 3.0 is 3.
 */
static void
option_integer(Reader *reader, const JsonValue *object, const char *key,
			   int32_t *out)
{
	double			 number = *out;
	const JsonValue *value = option_member(object, key);

	for (int32_t i = 0; i < lengthof(integers); i++)
	{
		if (strcmp(integers[i].key, key) != 0 ||
			!read_range(reader, object, &integers[i], &number))
			continue;
		if (number == (int32_t) number)
			*out = (int32_t) number;
		else
			kernel_problem(reader->problems, KERNEL_RANGE, key, NULL, NULL,
						   "%s must be %s, not %.10g", key, integers[i].text,
						   value->as.number);
	}
}

/* ---------- switches ---------- */

/*
 * Only true and false: 0 and 1 may be anything that a program forgot to
 * convert.
 */
static void
option_switch(Reader *reader, const JsonValue *object, const char *key,
			  bool *out)
{
	const JsonValue *value = option_member(object, key);
	char			 text[80];

	if (value == NULL)
		return;
	if (value->kind == JSON_TRUE || value->kind == JSON_FALSE)
		*out = value->kind == JSON_TRUE;
	else
		kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, NULL,
					   "%s must be true or false, not %s", key,
					   text_value(text, value));
}

/*
 * One of some words, as its index in words [count]; *out stays if absent or
 * unknown, the latter with a problem.
 */
static void
option_word(Reader *reader, const JsonValue *object, const char *key,
			const char *const *words, int32_t count, int32_t *out)
{
	const JsonValue *value = option_member(object, key);
	char			 hint[TEXT_SIZE] = "";
	char			 text[80];

	if (value == NULL)
		return;
	for (int32_t i = 0; value->kind == JSON_STRING && i < count; i++)
	{
		if (strcmp(value->as.string, words[i]) == 0)
		{
			*out = i;
			return;
		}
	}
	text_print(hint, sizeof(hint), "Known are ");
	for (int32_t i = 0; i < count; i++)
		text_add(hint, sizeof(hint), "%s\"%s\"", i > 0 ? ", " : "", words[i]);
	text_add(hint, sizeof(hint), ".");
	kernel_problem(reader->problems, KERNEL_INVALID, key, NULL, hint,
				   "%s cannot be %s", key, text_value(text, value));
}

/* ---------- what pymdp has and this does not ---------- */

/*
 * A thing that pymdp has.  It is told apart from a mistake because the spec is
 * right, and because a later version may take it.  what is the thing as the
 * message names it.
 */
static void
unsupported(Reader *reader, const char *key, const char *hint, const char *what)
{
	kernel_problem(reader->problems, KERNEL_UNSUPPORTED, key, NULL, hint,
				   "%s is not supported", what);
}

/* Is it this word, in small letters or capitals?  pymdp takes both. */
static bool
is_word(const JsonValue *value, const char *word)
{
	const char *said;

	if (value->kind != JSON_STRING)
		return false;
	said = value->as.string;
	while (*said != '\0' && tolower((unsigned char) *said) == *word)
	{
		said++;
		word++;
	}
	return *said == *word;
}

/*
 * Which inference and which learning.  Names of pymdp's other algorithms are
 * known, so that they are not called a misspelling.
 */
static void
check_algorithm(Reader *reader, const JsonValue *spec)
{
	static const char *const others[] = {"vmp",	  "mmp",	 "ovf",
										 "exact", "vanilla", "bp"};
	static const char *const modes[] = {"online", "offline"};
	static const char *const hint = "Use \"fpi\", fixed-point iteration.";
	const JsonValue			*said = option_member(spec, "inference_algo");
	bool					 known = said == NULL || is_word(said, "fpi");
	int32_t					 mode = 0;
	char					 what[80];

	for (int32_t i = 0; !known && i < lengthof(others); i++)
	{
		known = is_word(said, others[i]);
		text_print(what, sizeof(what), "inference_algo \"%s\"", others[i]);
		if (known)
			unsupported(reader, "inference_algo", hint, what);
	}
	if (!known)
		kernel_problem(reader->problems, KERNEL_INVALID, "inference_algo", NULL,
					   hint, "inference_algo cannot be %s",
					   text_value(what, said));
	option_word(reader, spec, "learning_mode", modes, lengthof(modes), &mode);
	if (mode != 0)
		unsupported(reader, "learning_mode",
					"Use \"online\": an agent learns at every step.",
					"learning_mode \"offline\"");
}

/*
 * Arguments that would change what an agent does are never just ignored.  A
 * switch that is false is no such argument: it asks for what is done anyhow.
 */
static void
check_unsupported(Reader *reader, const JsonValue *spec)
{
	static const char *const switches[] = {"learn_C", "learn_D", "learn_E",
										   "categorical_obs"};
	static const char *const arguments[] = {"lr_pC",		"lr_pD",
											"lr_pE",		"inference_horizon",
											"window_prior", "search"};
	bool					 on;

	for (int32_t i = 0; i < lengthof(switches); i++)
	{
		on = false;
		option_switch(reader, spec, switches[i], &on);
		if (on)
			unsupported(reader, switches[i],
						"Leave it out, or set it to "
						"false.",
						switches[i]);
	}
	for (int32_t i = 0; i < lengthof(arguments); i++)
	{
		if (option_member(spec, arguments[i]) != NULL)
			unsupported(reader, arguments[i], "Leave it out.", arguments[i]);
	}
	if (option_member(spec, "batch_size") != NULL)
		kernel_problem(reader->problems, KERNEL_INVALID, "batch_size", NULL,
					   "Leave it out, and create as many agents as you need.",
					   "batch_size does not apply: a model is for one agent");
	if (option_member(spec, "preprocess_fn") != NULL)
		kernel_problem(reader->problems, KERNEL_INVALID, "preprocess_fn", NULL,
					   "Leave it out, and give each step the outcomes.",
					   "preprocess_fn does not apply: a function cannot be "
					   "stored in a spec");
}

/*
 * All switches and numbers, with pymdp's defaults.  Problems do not stop the
 * reading: each option stands for itself.  The numbers of KernelSampling and
 * KernelSelection are those of the words.
 */
void
option_read(Reader *reader, const JsonValue *spec, Options *options)
{
	static const char *const samplings[] = {"full", "marginal"};
	static const char *const selections[] = {"deterministic", "stochastic"};
	int32_t					 sampling = KERNEL_FULL;
	int32_t					 selection = KERNEL_DETERMINISTIC;

	*options = (Options){.gamma = 1,
						 .alpha = 1,
						 .inductive_threshold = 0.1,
						 .inductive_epsilon = 1e-3,
						 .policy_length = 1,
						 .iterations = 16,
						 .inductive_depth = 1,
						 .use_utility = true,
						 .use_states_info_gain = true};

	(void) option_number(reader, spec, "gamma", &options->gamma);
	(void) option_number(reader, spec, "alpha", &options->alpha);
	(void) option_number(reader, spec, "inductive_threshold",
						 &options->inductive_threshold);
	(void) option_number(reader, spec, "inductive_epsilon",
						 &options->inductive_epsilon);
	option_integer(reader, spec, "policy_len", &options->policy_length);
	option_integer(reader, spec, "num_iter", &options->iterations);
	option_integer(reader, spec, "inductive_depth", &options->inductive_depth);
	option_switch(reader, spec, "use_utility", &options->use_utility);
	option_switch(reader, spec, "use_states_info_gain",
				  &options->use_states_info_gain);
	option_switch(reader, spec, "use_param_info_gain",
				  &options->use_param_info_gain);
	option_switch(reader, spec, "use_inductive", &options->use_inductive);
	option_switch(reader, spec, "learn_A", &options->learn_A);
	option_switch(reader, spec, "learn_B", &options->learn_B);
	option_word(reader, spec, "sampling_mode", samplings, lengthof(samplings),
				&sampling);
	option_word(reader, spec, "action_selection", selections,
				lengthof(selections), &selection);
	options->sampling = (KernelSampling) sampling;
	options->selection = (KernelSelection) selection;
	check_algorithm(reader, spec);
	check_unsupported(reader, spec);
}
