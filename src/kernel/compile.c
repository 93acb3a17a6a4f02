/*
 * compile.c
 *		A spec becomes a model: the order of the work.
 *
 * Names and dependencies come first, then shapes and sizes, then numbers, then
 * the policies, and what follows from all of them last.  A stage leaves out
 * what an earlier one has found wrong, so one mistake is one problem.
 *
 * Everything that is read lies in the host's arena and is given back with it;
 * the block is one more piece of that arena.  A function that returns false
 * has either added a problem or found no memory (Reader.failed), and
 * reader_status() tells the two apart at the end.
 */
#include <string.h>

#include "compile.h"

/* ---------- the inductive term ---------- */

/*
 * All factors have I of one depth [inductive_depth][S(f)] in a model, but a
 * spec may give each another.  Rows of 0 after the last change nothing: the
 * term asks for the first row that reaches a state.
 */
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

/*
 * I of each factor that has a goal, once there are no problems; absent for the
 * others, whose inductive term is 0.  I is made of H and B where H is given,
 * else taken from the spec.
 */
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

/* ---------- what follows from the numbers ---------- */

/*
 * What follows from A and pA: L(A) by outcome (O(m) columns of P(m) rows), A by
 * row, the ambiguity [P(m)] and the gain W(pA) [P(m)][O(m)].  All of it would else be
 * computed again by every agent at every step.
 */
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
	if (modality->ambiguity == NULL ||
		!rows_make(&spec->reader, &modality->A, 1, &modality->rows, place.path))
		return false;
	if (!spec->options.use_param_info_gain || modality->pA == NULL)
		return true;
	modality->gain = matrix_gain(&spec->reader, modality->pA, modality->A.rows,
								 modality->A.columns, place.path);
	return modality->gain != NULL;
}

/*
 * What follows from B and pB: B by row, and the gain W(pB) [U(f)][P(f)][S(f)].
 * From B follows I, which is made later because it needs H too.
 */
static bool
derive_factor(Spec *spec, int32_t f)
{
	SpecFactor *factor = &spec->factor[f];
	Place		place;

	place_of(&place, "B", &spec->factors, f);
	if (!rows_make(&spec->reader, &factor->B, factor->actions, &factor->rows,
				   place.path))
		return false;
	if (!spec->options.use_param_info_gain || factor->pB == NULL)
		return true;
	place_of(&place, "pB", &spec->factors, f);
	factor->gain = matrix_gain(&spec->reader, factor->pB, factor->B.rows,
							   factor->B.columns, place.path);
	return factor->gain != NULL;
}

/*
 * All that is computed once for a model.  Only for a spec without problems:
 * everything that was read is there.  The plan comes last, because which moves
 * are equal depends on B and on whether it is learned.
 */
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

/*
 * Reads all parts of a spec; what is wrong is among the problems.  Only where
 * names or dependencies cannot be known does it stop early.
 */
static void
read_spec(Spec *spec)
{
	(void) names_check_keys(&spec->reader, "", spec->root, option_keys, NULL);
	option_read(&spec->reader, spec->root, &spec->options);

	/*
	 * Nothing below can be checked without names, dependencies and sizes; and
	 * messages about it would only repeat what is said already.
	 */
	if (!spec_variables(spec) || !spec_structure(spec) || !spec_shapes(spec) ||
		!spec_add_sizes(spec, &spec->factors, &spec->belief_size) ||
		!spec_add_sizes(spec, &spec->modalities, &spec->outcome_size))
		return;
	spec_read_A_and_B(spec);

	/*
	 * Policies come before the vectors: C has a row for each plan step, and E
	 * a weight for each policy.
	 */
	if (!policies_make(spec))
		return;
	spec_read_C(spec);
	spec_read_D(spec);
	spec_read_E(spec);
	spec_read_H(spec);
	spec_read_I(spec);
	if (spec->options.use_inductive)
		spec_check_inductive(spec);
	spec_read_pA_and_pB(spec);
	spec_read_rates(spec);
}

/*
 * Compiles a spec, a tree of json_parse(), into *model, which lies in the
 * host's arena; NULL unless KERNEL_OK is returned.
 *
 * Returns KERNEL_MEMORY where the host gave none; else the status of the first
 * problem (KERNEL_INVALID, KERNEL_RANGE, KERNEL_LIMIT or KERNEL_UNSUPPORTED),
 * all of which are in *problems.  Problems that were there before the call
 * stay and do not count.  The tree must outlive the call, not the model: names
 * are copied.
 */
KernelStatus
kernel_compile(const KernelHost *host, const JsonValue *spec,
			   const KernelModel **model, KernelProblems *problems)
{
	Spec work = {.reader = {.host = host, .problems = problems}, .root = spec};
	int32_t first = problems->count;
	char	text[80];

	*model = NULL;
	if (spec->kind != JSON_OBJECT)
		kernel_problem(problems, KERNEL_INVALID, "", NULL,
					   "A spec begins as {\"A\": [...], \"B\": [...]}.",
					   "a spec must be an object, not %s",
					   text_value(text, spec));
	else
		read_spec(&work);
	if (reader_status(&work.reader, first) != KERNEL_OK)
		return reader_status(&work.reader, first);
	if (derive(&work))
		*model = block_make(&work);
	return reader_status(&work.reader, first);
}
