/*
 * workspace.c
 *		Room for the intermediate results of a step, and the model's tables as
 *		pointers.
 */
#include "step.h"

#include <string.h>

/* Bytes of a workspace for several lanes, at most; see workspace_lanes(). */
#define LANES_LIMIT (64 * 1024 * 1024)

/* The sizes on which a workspace depends, from the model alone. */
typedef struct WorkspaceSizes
{
	int64_t joint;	  /* largest number of joint states */
	int64_t outcomes; /* largest O(m) */
	int64_t columns;  /* largest table of what is contracted */
	int64_t actions;  /* largest number of actions of a control */
	int64_t sums;	  /* largest numbers of what views share */
	int64_t products;
	int64_t terms;
	int64_t expected;	 /* at once, shared or not */
	int32_t parents;	 /* largest number of parents */
	int64_t all_parents; /* of all modalities and factors */
} WorkspaceSizes;

/*
 * The larger of two numbers.
 */
static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * What the views of a modality take for expected probabilities: all of them at
 * once where they share numbers, else some views at a time.
 */
static void
add_view_sizes(const KernelModel *model, int32_t m, WorkspaceSizes *sizes)
{
	const KernelModality *modality = kernel_modality(model, m);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views) + m;
	const KernelNumbers *numbers = &views->numbers;
	const int32_t		*parents = KERNEL_AT(model, int32_t, modality->parents);
	const int32_t		*starts;

	const int32_t *axes = KERNEL_AT(model, int32_t, views->axes);

	if (views->contracted)
	{
		int32_t first = kernel_factor(model, parents[axes[0]])->states;
		int64_t width = modality->outcomes + 1;

		sizes->columns =
			larger(sizes->columns, modality->parent_states / first * width);
		sizes->columns = larger(sizes->columns, VIEWS_AT_ONCE * width);
	}
	if (numbers->starts == 0)
	{
		sizes->expected = larger(sizes->expected,
								 VIEWS_AT_ONCE * (int64_t) modality->outcomes);
		return;
	}
	starts = KERNEL_AT(model, int32_t, numbers->sum_starts);
	for (int32_t i = 0; i < modality->parent_count; i++)
		sizes->sums =
			larger(sizes->sums, kernel_factor(model, parents[i])->states +
									starts[i + 1] - starts[i]);
	sizes->products = larger(sizes->products, numbers->product_count);
	sizes->terms = larger(sizes->terms, numbers->term_count);
	sizes->expected = larger(sizes->expected, numbers->expected_count);
}

/*
 * The sizes on which a workspace depends, from the model alone: what an agent
 * has of its own never needs more.
 */
static WorkspaceSizes
workspace_sizes(const KernelModel *model)
{
	WorkspaceSizes sizes = {.joint = 1,
							.outcomes = 1,
							.columns = 1,
							.actions = 1,
							.expected = 1,
							.parents = 1};

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		sizes.joint = larger(sizes.joint, modality->parent_states);
		sizes.outcomes = larger(sizes.outcomes, modality->outcomes);
		add_view_sizes(model, m, &sizes);
		sizes.parents = (int32_t) larger(sizes.parents, modality->parent_count);
		sizes.all_parents += modality->parent_count;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		sizes.joint = larger(sizes.joint, factor->parent_states);
		sizes.parents = (int32_t) larger(sizes.parents, factor->parent_count);
		sizes.all_parents += factor->parent_count;
	}
	for (int32_t c = 0; c < model->control_count; c++)
		sizes.actions =
			larger(sizes.actions, kernel_control(model, c)->actions);
	return sizes;
}

/*
 * Hands out consecutive aligned pieces.  Without a base it only counts, so that
 * measuring and laying out are one piece of code and cannot disagree.
 */
typedef struct Pieces
{
	char   *base;	  /* aligned to 64 bytes; NULL: only counting */
	int64_t used;	  /* bytes handed out */
	bool	overflow; /* they have left int64 */
} Pieces;

/*
 * The next piece, of count items of size bytes each; NULL where it is only
 * counting, or after an overflow.  Each is rounded up to 64 bytes, so that no
 * two of them share a cache line.
 */
static void *
piece(Pieces *pieces, int64_t count, size_t size)
{
	int64_t bytes;
	int64_t at = pieces->used;

	if (__builtin_mul_overflow(count, (int64_t) size, &bytes) ||
		__builtin_add_overflow(bytes, INT64_C(63), &bytes) ||
		__builtin_add_overflow(at, bytes & ~INT64_C(63), &pieces->used))
	{
		pieces->overflow = true;
		return NULL;
	}
	return pieces->base ? pieces->base + at : NULL;
}

#define PIECE(pieces, type, count) ((type *) piece(pieces, count, sizeof(type)))

/*
 * count doubles of each lane.
 */
static double *
lanes_piece(Pieces *pieces, int64_t count, int32_t lanes)
{
	if (__builtin_mul_overflow(count, (int64_t) lanes, &count))
		pieces->overflow = true;
	return PIECE(pieces, double, count);
}

/*
 * The next piece of count doubles of each lane, to the i-th of some pointers.
 */
static void
lanes_piece_to(Pieces *pieces, double **pointers, int32_t i, int64_t count,
			   int32_t lanes)
{
	double *room = lanes_piece(pieces, count, lanes);

	/* while counting there is nothing to write the pointer to */
	if (pieces->base != NULL)
		pointers[i] = room;
}

/*
 * Several pieces of count doubles of each lane, to pointers [number].
 */
static void
lanes_pieces(Pieces *pieces, double **pointers, int32_t number, int64_t count,
			 int32_t lanes)
{
	for (int32_t i = 0; i < number; i++)
		lanes_piece_to(pieces, pointers, i, count, lanes);
}

/*
 * Room for inference, and for the evidence of each modality.
 */
static void
lay_out_inference(const KernelModel *model, Pieces *pieces,
				  const WorkspaceSizes *sizes, KernelWorkspace *workspace)
{
	int32_t lanes = workspace->lanes;

	for (int32_t m = 0; m < model->modality_count; m++)
		lanes_piece_to(pieces, workspace->evidence, m,
					   kernel_modality(model, m)->parent_states, lanes);
	workspace->log_prior = lanes_piece(pieces, model->belief_size, lanes);
	workspace->constant = lanes_piece(pieces, model->belief_size, lanes);
	workspace->update = lanes_piece(pieces, model->belief_size, lanes);
	workspace->last_update = lanes_piece(pieces, model->belief_size, lanes);
	workspace->spread_evidence = lanes_piece(pieces, sizes->joint, lanes);
	lanes_pieces(pieces, workspace->suffix, sizes->parents, sizes->joint,
				 lanes);
	lanes_pieces(pieces, workspace->contraction, 2, sizes->joint, lanes);
}

/*
 * Room for what planning finds: for each factor a belief [moves][S(f)] and a
 * value for each of its moves, for each modality a value for each of its
 * views, and what is computed on the way.
 */
static void
lay_out_planning(const KernelModel *model, Pieces *pieces,
				 const WorkspaceSizes *sizes, KernelWorkspace *workspace)
{
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	int32_t			   lanes = workspace->lanes;

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		int32_t states =
			moves[f].predicted ? kernel_factor(model, f)->states : 0;
		int32_t portion;
		int64_t beliefs = passing_moves(model, f, &portion);

		if (beliefs < moves[f].count)
			beliefs += portion;
		lanes_piece_to(pieces, workspace->move_beliefs, f, beliefs * states,
					   lanes);
		lanes_piece_to(pieces, workspace->move_values, f,
					   (int64_t) moves[f].count * MOVE_PARTS, lanes);
	}
	for (int32_t m = 0; m < model->modality_count; m++)
		lanes_piece_to(pieces, workspace->view_values, m,
					   (int64_t) views[m].count * VIEW_PARTS, lanes);
	lanes_pieces(pieces, workspace->partial, sizes->parents, sizes->columns,
				 lanes);
	lanes_pieces(pieces, workspace->sums, sizes->parents, sizes->sums, lanes);
	workspace->products = lanes_piece(pieces, sizes->products, lanes);
	workspace->terms = lanes_piece(pieces, sizes->terms, lanes);
	workspace->expected = lanes_piece(pieces, sizes->expected, lanes);
	workspace->logarithms = lanes_piece(pieces, sizes->expected, lanes);
	workspace->off_the_way = lanes_piece(pieces, model->belief_size, lanes);
	workspace->branch_values = lanes_piece(pieces, model->branch_count, lanes);
	workspace->weights = lanes_piece(pieces, model->policy_count, lanes);
	workspace->q_pi = lanes_piece(pieces, model->policy_count, lanes);
	workspace->marginal = lanes_piece(pieces, sizes->actions, lanes);
}

/*
 * What is not by lane, pointers among it, which stays where it is.
 */
static void
lay_out_tables(const KernelModel *model, Pieces *pieces,
			   const WorkspaceSizes *sizes, KernelWorkspace *workspace)
{
	workspace->modalities = PIECE(pieces, ModalityTable, model->modality_count);
	workspace->factors = PIECE(pieces, FactorTable, model->factor_count);
	workspace->shapes = PIECE(pieces, int32_t, 2 * sizes->all_parents);
	workspace->evidence = PIECE(pieces, double *, model->modality_count);
	workspace->suffix = PIECE(pieces, double *, sizes->parents);
	workspace->parent_beliefs = PIECE(pieces, const double *, sizes->parents);
	workspace->partial = PIECE(pieces, double *, sizes->parents);
	workspace->sums = PIECE(pieces, double *, sizes->parents);
	workspace->move_beliefs = PIECE(pieces, double *, model->factor_count);
	workspace->move_values = PIECE(pieces, double *, model->factor_count);
	workspace->view_values = PIECE(pieces, double *, model->modality_count);
	workspace->learned = PIECE(pieces, double, learned_tables_size(model));
}

/*
 * What is by lane.  Planning takes the place of inference, of which it needs
 * the belief alone.
 */
static void
lay_out_lanes(const KernelModel *model, Pieces *pieces,
			  const WorkspaceSizes *sizes, KernelWorkspace *workspace)
{
	int32_t lanes = workspace->lanes;
	Pieces	inference;

	workspace->priors = lanes_piece(pieces, model->belief_size, lanes);
	workspace->belief = lanes_piece(pieces, model->belief_size, lanes);
	workspace->joint = lanes_piece(pieces, sizes->joint, lanes);
	if (lanes > 1)
	{
		workspace->zeros = PIECE(pieces, double, sizes->joint);
		workspace->C = lanes_piece(
			pieces, (int64_t) model->outcome_size * model->policy_length,
			lanes);
		workspace->log_E = lanes_piece(pieces, model->policy_count, lanes);
	}
	inference = *pieces;
	lay_out_inference(model, &inference, sizes, workspace);
	lay_out_planning(model, pieces, sizes, workspace);
	pieces->used = larger(pieces->used, inference.used);
	pieces->overflow |= inference.overflow;
}

/*
 * Makes the workspace one for so many lanes, at most as many as there is room
 * for.  Agents that are alone have their numbers side by side, or they would
 * touch eight times as many pages of the memory that each process has of its
 * own.  What the lanes held is lost.
 */
void
use_lanes(KernelWorkspace *workspace, int32_t lanes)
{
	Pieces		   pieces = {workspace->by_lane, 0, false};
	WorkspaceSizes sizes;

	if (workspace->lanes == lanes)
		return;
	sizes = workspace_sizes(workspace->model);
	workspace->lanes = lanes;
	workspace->spread = 0;
	lay_out_lanes(workspace->model, &pieces, &sizes, workspace);
	if (lanes > 1)
		memset(workspace->zeros, 0, sizeof(double) * (size_t) sizes.joint);
}

/*
 * Bytes of a workspace for so many lanes, or -1 where they overflow.
 */
static int64_t
workspace_size(const KernelModel *model, int32_t lanes)
{
	Pieces			pieces = {NULL, sizeof(KernelWorkspace) + 63, false};
	KernelWorkspace unused = {.lanes = lanes};
	WorkspaceSizes	sizes = workspace_sizes(model);

	lay_out_tables(model, &pieces, &sizes, &unused);
	lay_out_lanes(model, &pieces, &sizes, &unused);
	return pieces.overflow ? -1 : pieces.used;
}

/*
 * Agents side by side: as many as there can be, unless their intermediate
 * results would be so large that they leave the caches, where nothing is
 * gained by vectors any more.
 */
static int32_t
workspace_lanes(const KernelModel *model)
{
	int64_t size = workspace_size(model, MOST_LANES);

	return size < 0 || size > LANES_LIMIT ? 1 : MOST_LANES;
}

/*
 * Bytes of a workspace, or -1 where they overflow.  The host compares it with
 * its limits before it asks for one.
 */
int64_t
kernel_workspace_size(const KernelModel *model)
{
	return workspace_size(model, workspace_lanes(model));
}

/*
 * A workspace in the host's arena, good for any number of calls with this
 * model and for one caller at a time; NULL where it cannot be had.  Its
 * contents mean nothing between calls.  The model must live as long.
 */
KernelWorkspace *
kernel_workspace(const KernelHost *host, const KernelModel *model)
{
	int64_t		   size = kernel_workspace_size(model);
	Pieces		   pieces = {NULL, (sizeof(KernelWorkspace) + 63) & ~63, false};
	WorkspaceSizes sizes = workspace_sizes(model);
	KernelWorkspace *workspace;

	if (size < 0)
		return NULL;
	pieces.base = host->allocate(host->context, (size_t) size);
	if (pieces.base == NULL)
		return NULL;
	workspace = (KernelWorkspace *) (void *) pieces.base;
	memset(workspace, 0, sizeof(*workspace));
	workspace->model = model;
	workspace->most_lanes = workspace_lanes(model);
	lay_out_tables(model, &pieces, &sizes, workspace);
	workspace->by_lane = pieces.base + pieces.used;
	set_shapes(workspace);
	return workspace;
}
