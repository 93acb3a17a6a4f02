/*
 * numbers.c
 *		The arrays of a spec, once it is known what they belong to.
 *
 * Each reader leaves its array in the spec's arena, or leaves it absent where
 * there is a problem; nothing is derived from an array before all are read, so
 * an absent one hurts nobody.
 */
#include <string.h>

#include "compile.h"

/* ---------- A and B ---------- */

/*
 * A or B: columns of probabilities.  That numbers are not negative is seen as
 * they are read.
 */
static bool
read_columns(Reader *reader, const Tensor *tensor, Matrix *matrix)
{
	return matrix_read(reader, tensor, matrix) &&
		   matrix_sum_to_one(reader, tensor, matrix);
}

/*
 * The arrays that fit.  Others have their problem already.  A problem with one
 * does not keep the others from being read, but a lack of memory does.
 */
void
spec_read_A_and_B(Spec *spec)
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

/*
 * Adds the sizes of a group up into *sum, which begins at 0; false where that
 * overflows.  Positions in a belief and in a row of outcomes are int32.
 */
bool
spec_add_sizes(Spec *spec, const Group *group, int32_t *sum)
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

/*
 * Parts of an optional member, in *items [group->count] as by group_items().
 * False where it has a problem; true, and *items NULL, where it is absent.
 */
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

/*
 * Preferences [steps][O] of each modality, in nats up to a constant: raw as in
 * pymdp, no softmax is taken.  The default is pymdp's too, 1 / O for each
 * outcome: a constant, which moves neg_efe but no probability.  One step will
 * do to check C where the policies have a problem.
 */
void
spec_read_C(Spec *spec)
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

/*
 * Initial beliefs [belief_size], one factor after another; uniform where not
 * given.  A belief over the whole is the product of these.
 */
void
spec_read_D(Spec *spec)
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

/*
 * Weights of the policies, as log_E [policy_count] = L(E).  Policies are
 * numbered by the actions of the controls, in their order, so there has to be
 * one.
 */
void
spec_read_E(Spec *spec)
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

/*
 * Goal states of each factor, H [S] of 0 and 1.  A factor all of whose states
 * are 0 has no goal, as in pymdp, where such a row adds nothing.
 */
void
spec_read_H(Spec *spec)
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

/*
 * Reachability matrices of the spec, [depth][S] with a depth for each factor,
 * which pymdp takes instead of H.  compile.c makes their depths equal.
 */
void
spec_read_I(Spec *spec)
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

/*
 * The term follows one factor at a time, so none may depend on another.  pymdp
 * takes such models and computes something else.  One such factor is enough to
 * say so; the others are not listed.
 */
void
spec_check_inductive(Spec *spec)
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

/* ---------- counts ---------- */

/*
 * Dirichlet counts in the layout of A[m] or B[f] (like), [columns][rows]; NULL
 * with a problem.  Always dense, even where A is sparse: learning fills what
 * is 0 now, and a part of the counts is stored for each action in one piece.
 */
static double *
read_counts(Spec *spec, const Tensor *like, const char *key, const Group *group,
			int32_t i, const JsonValue *value)
{
	Tensor *tensor = reader_allocate(&spec->reader, 1, sizeof(Tensor), key);
	double *counts;

	if (tensor == NULL)
		return NULL;

	/* all of like but the place and the text: counts have its layout */
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

/*
 * Is there a part that is not null?
 */
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

/*
 * Something was asked for that nothing was given for.  The problem is placed
 * at the switch: leaving that out mends it too.
 */
static void
need_counts(Spec *spec, const char *key, const char *switch_key)
{
	kernel_problem(spec->reader.problems, KERNEL_INVALID, switch_key, NULL,
				   "Give Dirichlet counts of the shape of A or B; null where "
				   "one is not learned.",
				   "%s needs %s", switch_key, key);
}

/*
 * pA and pB, and what asks for them.  Counts that nothing uses are kept: an
 * agent's world or a later version may.  An array whose A or B does not fit is
 * passed over, as its shape is not known.
 */
void
spec_read_pA_and_pB(Spec *spec)
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

/*
 * Learning rates [modalities] and [factors]; 1 where not given, as in pymdp's
 * infer_parameters().
 */
void
spec_read_rates(Spec *spec)
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
