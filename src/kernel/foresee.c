/*
 * foresee.c
 *		What the last move of a plan leads to, told from the belief before it.
 *
 * No move follows the last one, so its belief q' = B q is there for its views
 * alone, and where these ask for nothing but sums over it, A q' and its
 * ambiguity, the products A B and (ambiguity) B are made when the model is
 * compiled: a view is then one sum in place of two.
 *
 * Only for a factor that depends on itself alone and modalities that see it
 * alone: with other parents the beliefs of several moves are multiplied, and a
 * product of tables would be of the joint, which is not what mean field says.
 * Not where tables may be learned, nor where the belief is valued itself.
 */
#include "compile.h"

/* Is this a modality that sees factor f, and shares no numbers? */
static bool
sees(const Spec *spec, int32_t m, int32_t f)
{
	const IndexList *parents = &spec->modality[m].parents;

	for (int32_t i = 0; i < parents->count; i++)
	{
		if (parents->items[i] == f)
			return spec->plan.views[m].numbers.starts == NULL;
	}
	return false;
}

/* Is the belief of factor f's moves needed by nobody but their views? */
static bool
is_seen_only(const Spec *spec, int32_t f)
{
	const SpecFactor *factor = &spec->factor[f];

	return spec->plan.moves[f].predicted && factor->parents.count == 1 &&
		   factor->parents.items[0] == f && factor->gain == NULL &&
		   !(spec->options.use_inductive && factor->I != NULL) &&
		   !(spec->options.learn_B && factor->pB != NULL);
}

/* Is A of this modality the model's for all agents, and all that is asked? */
static bool
is_fixed(const Spec *spec, const SpecModality *modality)
{
	return modality->parents.count == 1 && modality->gain == NULL &&
		   !(spec->options.learn_A && modality->pA != NULL);
}

/*
 * Does it pay for factor f?  Counted in multiplications of one move and its
 * views.
 */
static bool
pays(const Spec *spec, int32_t f)
{
	const SpecFactor *factor = &spec->factor[f];
	double			  states = factor->B.rows;
	double			  made = states * states;
	double			  foreseen = 0.0;

	if (!is_seen_only(spec, f) || factor->B.sparse ||
		factor->rows.starts != NULL)
		return false;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const SpecModality *modality = &spec->modality[m];

		if (!sees(spec, m, f))
			continue;
		if (!is_fixed(spec, modality))
			return false;
		made += modality->rows.starts != NULL ?
					(double) modality->rows.entries :
					(double) modality->A.entries;
		foreseen += states * modality->A.rows;
	}
	return foreseen < made;
}

/*
 * How many numbers the tables for factor f have, and the gaps behind them in
 * the block.  As a double, for nobody has checked that they can be counted.
 */
static double
table_numbers(const Spec *spec, int32_t f)
{
	const double gap = BLOCK_ALIGNMENT / (double) sizeof(double);
	double		 numbers = 0.0;

	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		if (sees(spec, m, f))
			numbers += (double) spec->factor[f].B.columns *
						   (spec->modality[m].A.rows + 1) +
					   2.0 * gap;
	}
	return numbers;
}

/* out [A.rows] += weight * column p of A. */
static void
add_column(const Matrix *A, int64_t p, double weight, double *out)
{
	if (A->sparse)
	{
		for (int64_t k = A->starts[p]; k < A->starts[p + 1]; k++)
			out[A->indices[k]] += weight * A->values[k];
		return;
	}
	for (int32_t o = 0; o < A->rows; o++)
		out[o] += weight * A->values[p * A->rows + o];
}

/*
 * The tables of modality m, which sees factor f: ahead [U(f)][S(f)][O(m)] and
 * ahead_ambiguity [U(f)][S(f)], as in KernelViews.  False without memory.
 */
static bool
make_tables(Spec *spec, int32_t f, int32_t m)
{
	const SpecModality *modality = &spec->modality[m];
	const Matrix	   *B = &spec->factor[f].B;
	PlanNodes		   *views = &spec->plan.views[m];
	int32_t				outcomes = modality->A.rows;

	views->ahead = reader_allocate(&spec->reader, B->columns * outcomes,
								   sizeof(double), "policies");
	views->ahead_ambiguity =
		reader_allocate(&spec->reader, B->columns, sizeof(double), "policies");
	if (views->ahead == NULL || views->ahead_ambiguity == NULL)
		return false;
	for (int64_t c = 0; c < B->columns; c++)
	{
		const double *column = B->values + c * B->rows;

		for (int32_t s = 0; s < B->rows; s++)
		{
			add_column(&modality->A, s, column[s], views->ahead + c * outcomes);
			views->ahead_ambiguity[c] += column[s] * modality->ambiguity[s];
		}
		reader_poll(&spec->reader);
	}
	return true;
}

/*
 * How many numbers there is room for in all tables: no model that could be
 * without them is refused because of them.
 */
static double
numbers_left(const Spec *spec)
{
	int64_t left =
		reader_left(&spec->reader, block_size(spec)) / (int64_t) sizeof(double);
	int64_t most = spec->reader.host->max_model_size / BYTES_OF_A_TABLE_ENTRY;

	return (double) (left < most ? left : most);
}

/*
 * Foresees what can be foreseen, after all else of the model is made.  False
 * with a problem, or without memory.
 */
bool
plan_foresee(Spec *spec)
{
	double left = numbers_left(spec);

	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		double numbers = table_numbers(spec, f);

		if (!pays(spec, f) || numbers > left)
			continue;
		left -= numbers;
		spec->plan.moves[f].foreseen = true;
		for (int32_t m = 0; m < spec->modalities.count; m++)
		{
			if (sees(spec, m, f) && !make_tables(spec, f, m))
				return false;
		}
	}
	return true;
}
