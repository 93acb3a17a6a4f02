/*
 * block.c
 *		The compiled model as one block.
 *
 * A block has no pointers: every reference is an offset from its start, so the
 * same bytes serve in a bytea, in shared memory and in a file, wherever they
 * come to lie.  Its layout is kernel.h's; valid.c checks it on loading.
 *
 * The block is put together twice by the same code: the first time to find its
 * size, the second time to fill it.  So what is measured and what is written
 * cannot disagree.  Each array begins at a multiple of 64 bytes, and what lies
 * between them is zero, so that equal models are equal byte for byte and a
 * digest tells whether two models are the same.
 */
#include <string.h>

#include "compile.h"

/* A block in the making. */
typedef struct Block
{
	char   *base;	  /* in the arena; NULL: only measuring */
	int64_t used;	  /* bytes so far, a multiple of BLOCK_ALIGNMENT */
	bool	overflow; /* the size has left int64, once and for all */
} Block;

/*
 * Room for count items of size bytes each at the end of the block.  Returns
 * its offset, which is never 0 but for the head, reserved first: 0 can mean
 * "absent".  After an overflow offsets mean nothing, and the flag stays until
 * block_make() turns it into a problem.
 */
static KernelOffset
block_reserve(Block *block, int64_t count, size_t size)
{
	int64_t offset = block->used;
	int64_t bytes;

	block->overflow |= __builtin_mul_overflow(count, (int64_t) size, &bytes) ||
					   __builtin_add_overflow(offset, bytes, &block->used) ||
					   block->used > INT64_MAX - BLOCK_ALIGNMENT;
	if (block->overflow)
		block->used = offset;
	block->used =
		(block->used + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;

	/* even an empty array is somewhere: 0 says that there is none */
	if (block->used == offset)
		block->used += BLOCK_ALIGNMENT;
	return (KernelOffset) offset;
}

/*
 * Overwrites what was reserved.  At the first time through there is nothing to
 * write to.  The items stay the caller's.
 */
static void
block_write(Block *block, KernelOffset offset, const void *items, int64_t count,
			size_t size)
{
	if (block->base != NULL && count > 0)
		memcpy(block->base + offset, items, (size_t) count * size);
}

/*
 * A copy of items in the block; 0 for items that are not there.
 */
static KernelOffset
block_put(Block *block, const void *items, int64_t count, size_t size)
{
	KernelOffset offset;

	if (items == NULL)
		return 0;
	offset = block_reserve(block, count, size);
	block_write(block, offset, items, count, size);
	return offset;
}

/*
 * Like block_put() for lists that may have no items, but are lists: a policy
 * without controls, a factor without.  Their items may be NULL, which
 * block_put() would take for an absent array, and valid.c refuses a model
 * without the list.
 */
static KernelOffset
block_list(Block *block, const int32_t *items, int64_t count)
{
	static const int32_t none = 0;

	return block_put(block, count > 0 ? items : &none, count, sizeof(int32_t));
}

/*
 * A name, with its zero byte.
 */
static KernelOffset
block_string(Block *block, const char *string)
{
	return block_put(block, string, (int64_t) strlen(string) + 1, 1);
}

/*
 * Labels as KernelOffset[count], in the order of the values; 0 for NULL.  The
 * strings stand one after another without alignment, as they are read byte by
 * byte, and a thousand of them would else be mostly gaps.
 */
static KernelOffset
block_labels(Block *block, const Names *labels)
{
	KernelOffset offsets;
	KernelOffset strings;
	int64_t		 bytes = 0;

	if (labels == NULL)
		return 0;
	for (int32_t i = 0; i < labels->count; i++)
		bytes += (int64_t) strlen(labels->names[i]) + 1;
	offsets = block_reserve(block, labels->count, sizeof(KernelOffset));
	strings = block_reserve(block, bytes, 1);
	for (int32_t i = 0; i < labels->count; i++)
	{
		int64_t length = (int64_t) strlen(labels->names[i]) + 1;

		block_write(block, strings, labels->names[i], length, 1);
		block_write(block, offsets + (KernelOffset) i * sizeof(KernelOffset),
					&strings, 1, sizeof(KernelOffset));
		strings += (KernelOffset) length;
	}
	return offsets;
}

/*
 * A matrix and its arrays.  A dense one has neither starts nor indices, so
 * these become 0; its entries are all its rows times columns.
 */
static KernelMatrix
block_matrix(Block *block, const Matrix *matrix)
{
	KernelMatrix out = {.sparse = matrix->sparse,
						.rows = matrix->rows,
						.columns = matrix->columns};

	out.values =
		block_put(block, matrix->values, matrix->entries, sizeof(double));
	out.starts =
		block_put(block, matrix->starts, matrix->columns + 1, sizeof(int64_t));
	out.indices =
		block_put(block, matrix->indices, matrix->entries, sizeof(int32_t));
	return out;
}

/*
 * A matrix by row; all 0 where it is not kept so.
 */
static KernelRows
block_rows(Block *block, const Rows *rows)
{
	KernelRows out = {0};

	if (rows->starts == NULL)
		return out;
	out.starts =
		block_put(block, rows->starts, rows->count + 1, sizeof(int64_t));
	out.columns =
		block_put(block, rows->columns, rows->entries, sizeof(int32_t));
	out.values = block_put(block, rows->values, rows->entries, sizeof(double));
	out.rest = block_put(block, rows->rest, rows->count, sizeof(double));
	return out;
}

/* ---------- the parts of a model ---------- */

/*
 * All of one modality.  Every array is there by now, except pA [P(m)][O(m)]
 * and its gain, whose absence means "not learned, no gain".  The caller has
 * set outcome_offset.
 */
static void
put_modality(Block *block, const Spec *spec, int32_t m, KernelModality *out)
{
	const SpecModality *modality = &spec->modality[m];
	const Variable	   *outcomes = &spec->modalities.variables[m];
	int64_t				count = modality->parent_states * outcomes->size;

	out->name = block_string(block, outcomes->name);
	out->labels = block_labels(block, outcomes->labels);
	out->outcomes = outcomes->size;
	out->parent_count = modality->parents.count;
	out->parents =
		block_list(block, modality->parents.items, modality->parents.count);
	out->parent_states = modality->parent_states;
	out->A = block_matrix(block, &modality->A);
	out->rows = block_rows(block, &modality->rows);
	out->log_A = block_matrix(block, &modality->log_A);
	out->ambiguity = block_put(block, modality->ambiguity,
							   modality->parent_states, sizeof(double));
	out->C =
		block_put(block, modality->C,
				  (int64_t) spec->plan.length * outcomes->size, sizeof(double));
	out->pA = block_put(block, modality->pA, count, sizeof(double));
	out->gain_A = block_put(block, modality->gain, count, sizeof(double));
	out->lr_pA = spec->lr_pA[m];
	out->learned = spec->options.learn_A && modality->pA != NULL;
}

/*
 * All of one factor.  H is kept also where the inductive term is off: it says
 * what the goal is.  pB and gain are [U(f)][P(f)][S(f)], or absent as for
 * modalities.  The caller has set belief_offset.
 */
static void
put_factor(Block *block, const Spec *spec, int32_t f, KernelFactor *out)
{
	const SpecFactor *factor = &spec->factor[f];
	const Variable	 *states = &spec->factors.variables[f];
	int64_t			  count = factor->B.columns * states->size;

	out->name = block_string(block, states->name);
	out->labels = block_labels(block, states->labels);
	out->states = states->size;
	out->parent_count = factor->parents.count;
	out->parents =
		block_list(block, factor->parents.items, factor->parents.count);
	out->control_count = factor->controls.count;
	out->controls =
		block_list(block, factor->controls.items, factor->controls.count);
	out->parent_states = factor->parent_states;
	out->actions = factor->actions;
	out->B = block_matrix(block, &factor->B);
	out->rows = block_rows(block, &factor->rows);
	out->H = block_put(block, factor->H, states->size, sizeof(double));
	if (spec->options.use_inductive)
		out->I =
			block_put(block, factor->I,
					  (int64_t) spec->options.inductive_depth * states->size,
					  sizeof(double));
	out->pB = block_put(block, factor->pB, count, sizeof(double));
	out->gain_B = block_put(block, factor->gain, count, sizeof(double));
	out->lr_pB = spec->lr_pB[f];
	out->learned = spec->options.learn_B && factor->pB != NULL;
}

/*
 * The factors, modalities and controls.  Each kind is one array of structures,
 * so that the kernel finds the i-th by its index; the arrays that belong to
 * them follow.
 *
 * Offsets in beliefs and in rows of outcomes are running sums in the order of
 * the spec, which D, C and packed parameters rely on.
 */
static void
put_variables(Block *block, const Spec *spec, KernelModel *model)
{
	int32_t offset = 0;

	model->factors =
		block_reserve(block, spec->factors.count, sizeof(KernelFactor));
	model->modalities =
		block_reserve(block, spec->modalities.count, sizeof(KernelModality));
	model->controls =
		block_reserve(block, spec->controls.count, sizeof(KernelControl));
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		KernelFactor factor = {.belief_offset = offset};

		put_factor(block, spec, f, &factor);
		block_write(block, model->factors + (KernelOffset) f * sizeof(factor),
					&factor, 1, sizeof(factor));
		offset += factor.states;
	}
	offset = 0;
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		KernelModality modality = {.outcome_offset = offset};

		put_modality(block, spec, m, &modality);
		block_write(block,
					model->modalities + (KernelOffset) m * sizeof(modality),
					&modality, 1, sizeof(modality));
		offset += modality.outcomes;
	}
	for (int32_t c = 0; c < spec->controls.count; c++)
	{
		const Variable *actions = &spec->controls.variables[c];
		KernelControl	control = {.actions = actions->size};

		control.name = block_string(block, actions->name);
		control.labels = block_labels(block, actions->labels);
		block_write(block, model->controls + (KernelOffset) c * sizeof(control),
					&control, 1, sizeof(control));
	}
}

/*
 * The moves of all factors, KernelMoves[factor_count], and then their arrays.
 * Parents of moves are [count][parent_count], the parents in the order of the
 * factor's list.
 */
static void
put_moves(Block *block, const Spec *spec, KernelModel *model)
{
	const Plan *plan = &spec->plan;

	model->moves =
		block_reserve(block, spec->factors.count, sizeof(KernelMoves));
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const PlanNodes *nodes = &plan->moves[f];
		KernelMoves		 moves = {
				 .count = nodes->count,
				 .predicted = nodes->predicted ? plan->length - nodes->foreseen : 0};

		moves.starts = block_list(block, nodes->starts, plan->length + 1);
		moves.actions = block_list(block, nodes->actions, nodes->count);
		moves.parents =
			block_list(block, nodes->parents,
					   (int64_t) nodes->count * spec->factor[f].parents.count);
		moves.of_branch =
			block_list(block, nodes->of_branch, plan->branch_count);
		block_write(block, model->moves + (KernelOffset) f * sizeof(moves),
					&moves, 1, sizeof(moves));
	}
}

/*
 * The numbers that the views of a modality share; all 0 where they share none.
 * Numbers of a kind may be none at all (sums, where each is a state).
 */
static KernelNumbers
block_numbers(Block *block, const PlanNumbers *numbers, int32_t parents,
			  int32_t views)
{
	KernelNumbers out = {0};

	if (numbers->starts == NULL)
		return out;
	out.product_count = numbers->product_count;
	out.term_count = numbers->term_count;
	out.expected_count = numbers->expected_count;
	out.sum_starts = block_list(block, numbers->sum_starts, parents + 1);
	out.sums =
		block_list(block, numbers->sums, 2 * numbers->sum_starts[parents]);
	if (parents > 1)
		out.products = block_list(block, numbers->products,
								  (int64_t) numbers->product_count * parents);
	out.terms = block_list(block, numbers->terms, 2 * numbers->term_count);
	out.weights =
		block_put(block, numbers->weights, numbers->term_count, sizeof(double));
	out.expected =
		block_list(block, numbers->expected, numbers->expected_count);
	out.starts = block_list(block, numbers->starts, views + 1);
	out.outcomes = block_list(block, numbers->outcomes, numbers->starts[views]);
	out.of_outcome =
		block_list(block, numbers->of_outcome, numbers->starts[views]);
	out.ambiguity = block_list(block, numbers->ambiguity, views);
	return out;
}

/*
 * The tables of modality m that tell what the last moves lead to, if it has.
 */
static void
put_ahead(Block *block, const Spec *spec, int32_t m, KernelViews *out)
{
	const PlanNodes *nodes = &spec->plan.views[m];
	int64_t			 columns =
		spec->factor[spec->modality[m].parents.items[0]].B.columns;

	out->ahead =
		block_put(block, nodes->ahead,
				  columns * spec->modalities.variables[m].size, sizeof(double));
	out->ahead_ambiguity =
		block_put(block, nodes->ahead_ambiguity, columns, sizeof(double));
}

/*
 * The views of all modalities, KernelViews[modality_count], likewise.  The
 * moves that a view is made of are "parents" of its node in the plan.
 */
static void
put_views(Block *block, const Spec *spec, KernelModel *model)
{
	const Plan *plan = &spec->plan;

	model->views =
		block_reserve(block, spec->modalities.count, sizeof(KernelViews));
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const PlanNodes *nodes = &plan->views[m];
		KernelViews		 views = {.count = nodes->count,
								  .contracted = nodes->contracted};

		views.starts = block_list(block, nodes->starts, plan->length + 1);
		if (nodes->numbers.starts == NULL)
			views.moves = block_list(block, nodes->parents,
									 (int64_t) nodes->count *
										 spec->modality[m].parents.count);
		views.numbers =
			block_numbers(block, &nodes->numbers,
						  spec->modality[m].parents.count, nodes->count);
		views.of_branch =
			block_list(block, nodes->of_branch, plan->branch_count);
		views.axes =
			block_list(block, nodes->axes, spec->modality[m].parents.count);
		views.table = block_put(block, nodes->table,
								spec->modality[m].parent_states *
									(spec->modalities.variables[m].size + 1),
								sizeof(double));
		put_ahead(block, spec, m, &views);
		block_write(block, model->views + (KernelOffset) m * sizeof(views),
					&views, 1, sizeof(views));
	}
}

/*
 * Policies, branches, moves and views.  The actions of branches are left
 * behind: the moves have what is needed of them.
 */
static void
put_plan(Block *block, const Spec *spec, KernelModel *model)
{
	const Plan *plan = &spec->plan;

	model->policy_count = plan->policy_count;
	model->policy_length = plan->length;
	model->branch_count = plan->branch_count;
	model->log_E =
		block_put(block, spec->log_E, plan->policy_count, sizeof(double));
	model->policies = block_list(block, plan->policies,
								 (int64_t) plan->policy_count * plan->length *
									 spec->controls.count);
	model->leaf_of_policy =
		block_list(block, plan->leaf_of_policy, plan->policy_count);
	model->branch_starts =
		block_list(block, plan->branch_starts, plan->length + 1);
	model->branch_parent =
		block_list(block, plan->branch_parent, plan->branch_count);
	put_moves(block, spec, model);
	put_views(block, spec, model);
}

/* ---------- the whole ---------- */

/*
 * Mixes one number into a hash.  Multiplying by an odd number spreads each bit
 * upwards, and the shift brings the high bits down again.  It need not resist
 * an adversary: the hash guards against exchanging models by mistake.
 */
static uint64_t
mix(uint64_t hash, int64_t number)
{
	hash = (hash ^ (uint64_t) number) * UINT64_C(0x9fb21c651e98df25);
	return hash ^ hash >> 32;
}

/*
 * A list of indices, with its length, so that [[0], [1, 2]] and [[0, 1], [2]]
 * differ.
 */
static uint64_t
mix_list(uint64_t hash, const IndexList *list)
{
	hash = mix(hash, list->count);
	for (int32_t i = 0; i < list->count; i++)
		hash = mix(hash, list->items[i]);
	return hash;
}

/*
 * What a belief, an action and learned counts have to agree with.  Names,
 * numbers and policies may change under an agent: its stored state keeps its
 * meaning.
 *
 * The result stands in every block, so whoever changes what goes into it must
 * raise KERNEL_LAYOUT, or agents would no longer fit their own models.
 */
static uint64_t
shape_hash(const Spec *spec)
{
	uint64_t hash = KERNEL_MAGIC;

	hash = mix(hash, spec->controls.count);
	for (int32_t c = 0; c < spec->controls.count; c++)
		hash = mix(hash, spec->controls.variables[c].size);
	hash = mix(hash, spec->factors.count);
	for (int32_t f = 0; f < spec->factors.count; f++)
	{
		const SpecFactor *factor = &spec->factor[f];

		hash = mix(hash, spec->factors.variables[f].size);
		hash = mix_list(hash, &factor->parents);
		hash = mix_list(hash, &factor->controls);
		hash = mix(hash, spec->options.learn_B && factor->pB != NULL);
	}
	hash = mix(hash, spec->modalities.count);
	for (int32_t m = 0; m < spec->modalities.count; m++)
	{
		const SpecModality *modality = &spec->modality[m];

		hash = mix(hash, spec->modalities.variables[m].size);
		hash = mix_list(hash, &modality->parents);
		hash = mix(hash, spec->options.learn_A && modality->pA != NULL);
	}
	return hash;
}

/*
 * Sizes, switches and numbers of the head.  Switches become int32 of 0 or 1
 * and words the numbers of their enum, because the sizes of bool and enum are
 * the compiler's to choose and the layout is not.
 */
static void
put_options(const Spec *spec, KernelModel *model)
{
	const Options *options = &spec->options;

	model->magic = KERNEL_MAGIC;
	model->layout = KERNEL_LAYOUT;
	model->factor_count = spec->factors.count;
	model->modality_count = spec->modalities.count;
	model->control_count = spec->controls.count;
	model->belief_size = spec->belief_size;
	model->outcome_size = spec->outcome_size;
	model->iterations = options->iterations;
	model->inductive_depth = options->inductive_depth;
	model->sampling = options->sampling;
	model->selection = options->selection;
	model->use_utility = options->use_utility;
	model->use_states_info_gain = options->use_states_info_gain;
	model->use_param_info_gain = options->use_param_info_gain;
	model->use_inductive = options->use_inductive;
	model->learn_A = options->learn_A;
	model->learn_B = options->learn_B;
	model->gamma = options->gamma;
	model->alpha = options->alpha;
	model->inductive_threshold = options->inductive_threshold;
	model->inductive_epsilon = options->inductive_epsilon;
	model->shape = shape_hash(spec);
}

/*
 * Everything, in an order that is part of the layout's identity only through
 * the offsets.  The head is written last, when these are known.
 */
static void
put_model(Block *block, const Spec *spec)
{
	KernelModel model = {0};

	(void) block_reserve(block, 1, sizeof(KernelModel));
	put_options(spec, &model);
	put_variables(block, spec, &model);
	model.D = block_put(block, spec->D, spec->belief_size, sizeof(double));
	put_plan(block, spec, &model);
	model.size = block->used;
	block_write(block, 0, &model, 1, sizeof(model));
}

/*
 * Bytes of the block that the spec would be made into as it is now; more than
 * any limit where they cannot be counted.
 */
int64_t
block_size(const Spec *spec)
{
	Block block = {0};

	put_model(&block, spec);
	return block.overflow ? INT64_MAX : block.used;
}

/*
 * The finished block; NULL where it is too large, or there is no memory, with
 * a problem or the reader's flag to tell which.  It lies in the host's arena.
 *
 * Until here everything lies scattered in the arena; a block is made only of
 * what is complete, of a spec without problems.
 */
const KernelModel *
block_make(Spec *spec)
{
	Block block = {0};

	/*
	 * What cannot be counted is refused in the same words as a model that is
	 * merely large.  The memory comes zeroed, which is what makes the gaps
	 * between arrays equal.
	 */
	block.base = reader_allocate(&spec->reader, block_size(spec), 1,
								 "the compiled spec");
	if (block.base == NULL)
		return NULL;
	put_model(&block, spec);
	return (const KernelModel *) (const void *) block.base;
}
