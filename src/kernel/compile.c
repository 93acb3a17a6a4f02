/*
 * compile.c
 *		A spec becomes a model: the order of the work.
 *
 * Names and dependencies come first, then shapes and sizes, then numbers, then
 * the policies, and what follows from all of them last.  A stage leaves out
 * what an earlier one has found wrong, so one mistake is one problem.
 */
#include <string.h>

#include "compile.h"

/* ---------- A and B ---------- */

static bool
read_columns(Reader *reader, const Tensor *tensor, Matrix *matrix)
{
	return matrix_read(reader, tensor, matrix) &&
		   matrix_sum_to_one(reader, tensor, matrix);
}

static void
read_A_and_B(Spec *spec)
{
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		SpecModality *modality = &spec->modality[m];

		if (modality->fits && !spec->reader.failed)
			(void) read_columns(&spec->reader, &modality->tensor, &modality->A);
	}
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];

		if (factor->fits && !spec->reader.failed)
			(void) read_columns(&spec->reader, &factor->tensor, &factor->B);
	}
}

/* Sums of sizes; positions in a belief and in a row of outcomes are int32. */
static bool
add_sizes(Spec *spec, const Group *group, int32_t *sum)
{
	for (int32_t i = 0; i < group->count; i++)
	{
		if (!__builtin_add_overflow(*sum, group->variables[i].size, sum))
			continue;
		kernel_problem(spec->reader.problems, KERNEL_LIMIT, group->plural, NULL,
					   NULL, "the %s have too many values in all",
					   group->plural);
		return false;
	}
	return true;
}

/* ---------- C, D, E and H ---------- */

/* Parts of an optional member; false where it has a problem. */
static bool
optional_items(Spec *spec, const char *key, const Group *group,
			   const JsonValue ***items)
{
	const JsonValue *value = spec_member(spec, key);

	*items = NULL;
	if (value == NULL)
		return true;
	*items = group_items(&spec->reader, group, key, value);
	return *items != NULL;
}

/* Preferences [steps][O]: pymdp's default is 1 / O, a constant shift. */
static void
read_C(Spec *spec)
{
	const JsonValue **items;
	int32_t			  steps = spec->plan.given ? spec->plan.length : 1;
	Place			  place;

	if (!optional_items(spec, "C", &spec->modalities, &items))
		return;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const Variable *outcomes = &spec->modalities.variables[m];
		int64_t			count = (int64_t) steps * outcomes->size;
		double		   *C;

		place_of(&place, "C", &spec->modalities, m);
		C = reader_allocate(&spec->reader, count, sizeof(double), place.path);
		if (C == NULL)
			return;
		for (int64_t i = 0; i < count; i++)
			C[i] = 1.0 / outcomes->size;
		if (items != NULL && items[m] != NULL && outcomes->size > 0)
			(void) vector_C(&spec->reader, &place, items[m], outcomes, steps,
							C);
		spec->modality[m].C = C;
	}
}

/* Initial beliefs [belief_size]: uniform where not given. */
static void
read_D(Spec *spec)
{
	const JsonValue **items;
	double			 *D;
	Place			  place;

	if (!optional_items(spec, "D", &spec->factors, &items))
		return;
	D = spec->D =
		reader_allocate(&spec->reader, spec->belief_size, sizeof(double), "D");
	for (int32_t f = 0; D != NULL && f < spec->factors.count; f++)
	{
		const Variable *states = &spec->factors.variables[f];

		for (int32_t s = 0; s < states->size; s++)
			D[s] = 1.0 / states->size;
		place_of(&place, "D", &spec->factors, f);
		if (items != NULL && items[f] != NULL && states->size > 0)
			(void) vector_D(&spec->reader, &place, items[f], states, D);
		D += states->size;
	}
}

/* Policies are numbered by the actions of the controls, in their order. */
static void
read_E(Spec *spec)
{
	const JsonValue *value = spec_member(spec, "E");
	int32_t			 count = spec->plan.policy_count;

	if (!spec->plan.given)
		return;
	spec->log_E = reader_allocate(&spec->reader, count, sizeof(double), "E");
	if (spec->log_E == NULL)
		return;
	if (value != NULL && spec->controls.unordered && spec->controls.count > 1)
		kernel_problem(spec->reader.problems, KERNEL_INVALID, "E",
					   "Controls were named by the members of an object, whose "
					   "order jsonb does not keep.",
					   "Name the controls in a list \"controls\": [{\"name\": "
					   "...}, ...], or give B_action_dependencies.",
					   "E is given, but the order of the policies is not "
					   "known");
	else if (value != NULL)
		(void) vector_E(&spec->reader, value, count, spec->log_E);
	for (int32_t i = 0; value == NULL && i < count; i++)
		spec->log_E[i] = kernel_log(1.0 / count);
}

/* Goal states; a factor all of whose states are 0 has no goal. */
static void
read_H(Spec *spec)
{
	const JsonValue **items;
	Place			  place;

	if (!optional_items(spec, "H", &spec->factors, &items) || items == NULL)
		return;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const Variable *states = &spec->factors.variables[f];
		bool			goal = false;
		double		   *H;

		place_of(&place, "H", &spec->factors, f);
		if (items[f] == NULL || states->size == 0)
			continue;
		H = reader_allocate(&spec->reader, states->size, sizeof(double),
							place.path);
		if (H == NULL || !vector_H(&spec->reader, &place, items[f], states, H))
			continue;
		for (int32_t s = 0; s < states->size; s++)
			goal |= H[s] > 0;
		spec->factor[f].H = goal ? H : NULL;
	}
}

/* ---------- the inductive term ---------- */

/* Reachability matrices of the spec, instead of those that H leads to. */
static void
read_I(Spec *spec)
{
	const JsonValue **items;
	Place			  place;

	if (!optional_items(spec, "I", &spec->factors, &items) || items == NULL)
		return;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];

		place_of(&place, "I", &spec->factors, f);
		if (items[f] != NULL && spec->factors.variables[f].size > 0)
			(void) vector_I(&spec->reader, &place, items[f],
							spec->factors.variables[f].size, &factor->depth,
							&factor->I);
	}
}

/* All factors have I of one depth in a model; rows of 0 change nothing. */
static bool
pad_I(Spec *spec)
{
	int32_t depth = 1;

	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		if (spec->factor[f].depth > depth)
			depth = spec->factor[f].depth;
	}
	spec->options.inductive_depth = depth;
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];
		int64_t		states = spec->factors.variables[f].size;
		double	   *I;

		if (factor->I == NULL)
			continue;
		I = reader_allocate(&spec->reader, depth * states, sizeof(double), "I");
		if (I == NULL)
			return false;
		memcpy(I, factor->I,
			   (size_t) (factor->depth * states) * sizeof(double));
		factor->I = I;
	}
	return true;
}

/* The term moves one factor at a time, so no factor may depend on another. */
static void
check_inductive(Spec *spec)
{
	if (spec_member(spec, "H") == NULL && spec_member(spec, "I") == NULL)
		kernel_problem(spec->reader.problems, KERNEL_INVALID, "use_inductive",
					   NULL, "Give the goal states of each factor in H.",
					   "use_inductive needs H or I");
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const IndexList *parents = &spec->factor[f].parents;
		Place			 place;

		if (parents->bad || (parents->count == 1 && parents->items[0] == f))
			continue;
		place_of(&place, "B", &spec->factors, f);
		kernel_problem(spec->reader.problems, KERNEL_INVALID, place.path, NULL,
					   "Leave out use_inductive, or let each factor depend on "
					   "itself alone.",
					   "use_inductive does not work where %s "
					   "depends on other factors",
					   place.shown);
		break;
	}
}

/* Once there are no problems: I of each factor that has a goal. */
static bool
make_inductive(Spec *spec)
{
	if (!spec->options.use_inductive)
		return true;
	if (spec_member(spec, "H") == NULL)
		return pad_I(spec);
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];

		factor->I = NULL; /* as in pymdp, H counts for more than I */
		if (factor->H == NULL)
			continue;
		factor->I = matrix_inductive(&spec->reader, &factor->B, factor->H,
									 spec->options.inductive_threshold,
									 spec->options.inductive_depth, "I");
		if (factor->I == NULL)
			return false;
	}
	return true;
}

/* ---------- counts ---------- */

/* Dirichlet counts of the shape of A[m] or B[f], or NULL. */
static double *
read_counts(Spec *spec, const Tensor *like, const char *key, const Group *group,
			int32_t i, const JsonValue *value)
{
	Tensor *tensor = reader_allocate(&spec->reader, 1, sizeof(Tensor), key);
	double *counts;

	if (tensor == NULL)
		return NULL;
	*tensor = *like;
	tensor->value = value;
	place_of(&tensor->place, key, group, i);
	if (!tensor_shape(&spec->reader, &tensor->place, value, false,
					  &tensor->shape) ||
		!tensor_fits(&spec->reader, tensor))
		return NULL;
	counts = reader_allocate(&spec->reader, tensor->layout.elements,
							 sizeof(double), tensor->place.path);
	if (counts == NULL || !tensor_dense(&spec->reader, tensor, counts) ||
		!matrix_are_counts(&spec->reader, tensor, counts))
		return NULL;
	return counts;
}

/* Is there a part that is not null? */
static bool
any_item(const JsonValue **items, int32_t count)
{
	for (int32_t i = 0; items != NULL && i < count; i++)
	{
		if (items[i] != NULL)
			return true;
	}
	return false;
}

static void
need_counts(Spec *spec, const char *key, const char *switch_key)
{
	kernel_problem(spec->reader.problems, KERNEL_INVALID, switch_key, NULL,
				   "Give Dirichlet counts of the shape of A or B; null where "
				   "one is not learned.",
				   "%s needs %s", switch_key, key);
}

/* pA and pB, and what asks for them. */
static void
read_pA_and_pB(Spec *spec)
{
	const JsonValue **pA;
	const JsonValue **pB;
	bool			  good;

	good = optional_items(spec, "pA", &spec->modalities, &pA);
	good &= optional_items(spec, "pB", &spec->factors, &pB);
	for (int32_t m = 0; pA != NULL && m < spec->modalities.count; m++)
	{
		SpecModality *modality = &spec->modality[m];

		if (pA[m] != NULL && modality->fits)
			modality->pA = read_counts(spec, &modality->tensor, "pA",
									   &spec->modalities, m, pA[m]);
	}
	for (int32_t f = 0; pB != NULL && f < spec->factors.count; f++)
	{
		SpecFactor *factor = &spec->factor[f];

		if (pB[f] != NULL && factor->fits)
			factor->pB = read_counts(spec, &factor->tensor, "pB",
									 &spec->factors, f, pB[f]);
	}
	if (!good)
		return;
	good = any_item(pA, spec->modalities.count);
	if (spec->options.learn_A && !good)
		need_counts(spec, "pA", "learn_A");
	good |= any_item(pB, spec->factors.count);
	if (spec->options.learn_B && !any_item(pB, spec->factors.count))
		need_counts(spec, "pB", "learn_B");
	if (spec->options.use_param_info_gain && !good)
		need_counts(spec, "pA or pB", "use_param_info_gain");
}

/* Learning rates: 1 where not given. */
static void
read_rates(Spec *spec)
{
	const char *const keys[] = {"lr_pA", "lr_pB"};
	const Group		 *of[] = {&spec->modalities, &spec->factors};
	double			**rates[] = {&spec->lr_pA, &spec->lr_pB};

	for (int32_t k = 0; k < 2; k++)
	{
		const JsonValue *value = spec_member(spec, keys[k]);
		double			*out = reader_allocate(&spec->reader, of[k]->count,
											   sizeof(double), keys[k]);

		if (out == NULL)
			return;
		for (int32_t i = 0; i < of[k]->count; i++)
			out[i] = 1;
		if (value != NULL)
			(void) vector_rates(&spec->reader, keys[k], value, of[k], out);
		*rates[k] = out;
	}
}

/* ---------- what follows from the numbers ---------- */

static bool
derive_modality(Spec *spec, int32_t m)
{
	SpecModality *modality = &spec->modality[m];
	Place		  place;

	place_of(&place, "A", &spec->modalities, m);
	if (!matrix_log(&spec->reader, &modality->A, place.path, &modality->log_A))
		return false;
	modality->ambiguity =
		matrix_ambiguity(&spec->reader, &modality->A, place.path);
	if (modality->ambiguity == NULL)
		return false;
	if (!spec->options.use_param_info_gain || modality->pA == NULL)
		return true;
	modality->gain = matrix_gain(&spec->reader, modality->pA, modality->A.rows,
								 modality->A.columns, place.path);
	return modality->gain != NULL;
}

static bool
derive_factor(Spec *spec, int32_t f)
{
	SpecFactor *factor = &spec->factor[f];
	Place		place;

	if (!spec->options.use_param_info_gain || factor->pB == NULL)
		return true;
	place_of(&place, "pB", &spec->factors, f);
	factor->gain = matrix_gain(&spec->reader, factor->pB, factor->B.rows,
							   factor->B.columns, place.path);
	return factor->gain != NULL;
}

/* All that is computed once for a model; only where there is no problem. */
static bool
derive(Spec *spec)
{
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		reader_poll(&spec->reader);
		if (!derive_modality(spec, m))
			return false;
	}
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		if (!derive_factor(spec, f))
			return false;
	}
	return make_inductive(spec) && plan_make(spec);
}

/* ---------- the whole ---------- */

/* Reads all parts of a spec; what is wrong is among the problems. */
static void
read_spec(Spec *spec)
{
	(void) names_check_keys(&spec->reader, "", spec->root, option_keys, NULL);
	option_read(&spec->reader, spec->root, &spec->options);
	if (!spec_variables(spec) || !spec_structure(spec) || !spec_shapes(spec) ||
		!add_sizes(spec, &spec->factors, &spec->belief_size) ||
		!add_sizes(spec, &spec->modalities, &spec->outcome_size))
		return;
	read_A_and_B(spec);
	if (!policies_make(spec))
		return;
	read_C(spec);
	read_D(spec);
	read_E(spec);
	read_H(spec);
	read_I(spec);
	if (spec->options.use_inductive)
		check_inductive(spec);
	read_pA_and_pB(spec);
	read_rates(spec);
}

KernelStatus
kernel_compile(const KernelHost *host, const JsonValue *root,
			   const KernelModel **model, KernelProblems *problems)
{
	Spec	spec = {.reader = {host, problems, false}, .root = root};
	int32_t first = problems->count;
	char	text[80];

	*model = NULL;
	if (root->kind != JSON_OBJECT)
		kernel_problem(problems, KERNEL_INVALID, "", NULL,
					   "A spec begins as {\"A\": [...], \"B\": [...]}.",
					   "a spec must be an object, not %s",
					   text_value(text, root));
	else
		read_spec(&spec);
	if (reader_status(&spec.reader, first) != KERNEL_OK)
		return reader_status(&spec.reader, first);
	if (derive(&spec))
		*model = block_make(&spec);
	return reader_status(&spec.reader, first);
}
