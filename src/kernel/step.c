/*
 * step.c
 *		One step of a block of agents: perceive, plan, choose; the workspace.
 *
 * The order within a step is pymdp's: next prior, states, policies, action.
 * What the step owes to learning is applied by the caller (kernel_learn) before
 * the agent's next step, so that what is stored with an agent are always the
 * parameters by which it chose.
 *
 * A block of agents shares one workspace, which holds the intermediate results
 * of as many agents as are taken side by side: what agents have of their own
 * is in KernelAgent, so a thousand of them cost a thousand beliefs and no more.
 *
 * The computing itself is in lanes_*.h, compiled for each instruction set;
 * here are the workspace, the tables and who is stepped together with whom.
 */
#include "step.h"

#include <math.h>
#include <string.h>

/* Bytes of a workspace for several lanes, at most; see workspace_lanes(). */
#define LANES_LIMIT (64 * 1024 * 1024)

/* From so many agents on they are taken side by side; see code_for(). */
#define FEWEST_ABREAST 3

/* ---------- the workspace ---------- */

/* The sizes on which a workspace depends. */
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
 * Several pieces of count doubles of each lane, and the array of pointers to
 * them: their number is the model's.
 */
static double **
lanes_pieces(Pieces *pieces, int32_t number, int64_t count, int32_t lanes)
{
	double **pointers = PIECE(pieces, double *, number);

	for (int32_t i = 0; i < number; i++)
	{
		double *room = lanes_piece(pieces, count, lanes);

		/* while counting there is nothing to write the pointers to */
		if (pieces->base != NULL)
			pointers[i] = room;
	}
	return pointers;
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
	double			 **beliefs = PIECE(pieces, double *, model->factor_count);
	double **move_values = PIECE(pieces, double *, model->factor_count);
	double **view_values = PIECE(pieces, double *, model->modality_count);

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		int32_t states =
			moves[f].predicted ? kernel_factor(model, f)->states : 0;
		double *belief =
			lanes_piece(pieces, (int64_t) moves[f].count * states, lanes);
		double *value =
			lanes_piece(pieces, (int64_t) moves[f].count * MOVE_PARTS, lanes);

		if (pieces->base != NULL)
		{
			beliefs[f] = belief;
			move_values[f] = value;
		}
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		double *value =
			lanes_piece(pieces, (int64_t) views[m].count * VIEW_PARTS, lanes);

		if (pieces->base != NULL)
			view_values[m] = value;
	}
	workspace->move_beliefs = beliefs;
	workspace->move_values = move_values;
	workspace->view_values = view_values;
	workspace->partial =
		lanes_pieces(pieces, sizes->parents, sizes->columns, lanes);

	workspace->sums = lanes_pieces(pieces, sizes->parents, sizes->sums, lanes);
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
 * Room for inference, and for the evidence of each modality.
 */
static void
lay_out_inference(const KernelModel *model, Pieces *pieces,
				  const WorkspaceSizes *sizes, KernelWorkspace *workspace)
{
	int32_t	 lanes = workspace->lanes;
	double **evidence = PIECE(pieces, double *, model->modality_count);

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		double *room = lanes_piece(
			pieces, kernel_modality(model, m)->parent_states, lanes);

		if (pieces->base != NULL)
			evidence[m] = room;
	}
	workspace->evidence = evidence;
	workspace->log_prior = lanes_piece(pieces, model->belief_size, lanes);
	workspace->constant = lanes_piece(pieces, model->belief_size, lanes);
	workspace->update = lanes_piece(pieces, model->belief_size, lanes);
	workspace->last_update = lanes_piece(pieces, model->belief_size, lanes);
	workspace->belief = lanes_piece(pieces, model->belief_size, lanes);
	workspace->spread_evidence = lanes_piece(pieces, sizes->joint, lanes);
	workspace->suffix =
		lanes_pieces(pieces, sizes->parents, sizes->joint, lanes);
	workspace->contraction[0] = lanes_piece(pieces, sizes->joint, lanes);
	workspace->contraction[1] = lanes_piece(pieces, sizes->joint, lanes);
	workspace->parent_beliefs = PIECE(pieces, const double *, sizes->parents);
	workspace->joint = lanes_piece(pieces, sizes->joint, lanes);
}

/*
 * The whole workspace into pieces; the struct itself is the caller's, who has
 * set lanes.  While only counting its pointers become NULL and mean nothing.
 */
static void
lay_out(const KernelModel *model, Pieces *pieces, KernelWorkspace *workspace)
{
	WorkspaceSizes sizes = workspace_sizes(model);
	int32_t		   lanes = workspace->lanes;

	workspace->model = model;
	workspace->modalities = PIECE(pieces, ModalityTable, model->modality_count);
	workspace->factors = PIECE(pieces, FactorTable, model->factor_count);
	workspace->shapes = PIECE(pieces, int32_t, 2 * sizes.all_parents);
	workspace->learned = PIECE(pieces, double, learned_tables_size(model));
	workspace->priors = lanes_piece(pieces, model->belief_size, lanes);
	workspace->zeros = PIECE(pieces, double, sizes.joint);
	workspace->C = lanes_piece(
		pieces, (int64_t) model->outcome_size * model->policy_length, lanes);
	workspace->log_E = lanes_piece(pieces, model->policy_count, lanes);
	lay_out_inference(model, pieces, &sizes, workspace);
	lay_out_planning(model, pieces, &sizes, workspace);
}

/*
 * Bytes of a workspace for so many lanes, or -1 where they overflow.
 */
static int64_t
workspace_size(const KernelModel *model, int32_t lanes)
{
	Pieces			pieces = {NULL, sizeof(KernelWorkspace) + 63, false};
	KernelWorkspace unused = {.lanes = lanes};

	lay_out(model, &pieces, &unused);
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
 * Do two modalities depend on the same factors, in the same order?
 */
static bool
same_parents(const KernelModel *model, int32_t one, int32_t other)
{
	const KernelModality *a = kernel_modality(model, one);
	const KernelModality *b = kernel_modality(model, other);

	return a->parent_count == b->parent_count &&
		   memcmp(KERNEL_AT(model, int32_t, a->parents),
				  KERNEL_AT(model, int32_t, b->parents),
				  sizeof(int32_t) * (size_t) a->parent_count) == 0;
}

/*
 * The numbers that views share, as pointers.
 */
static Numbers
numbers_of(const KernelModel *model, const KernelNumbers *numbers)
{
	Numbers out = {.product_count = numbers->product_count,
				   .term_count = numbers->term_count,
				   .expected_count = numbers->expected_count};

	if (numbers->starts == 0)
		return out;
	out.sum_starts = KERNEL_AT(model, int32_t, numbers->sum_starts);
	out.sums = KERNEL_AT(model, int32_t, numbers->sums);
	out.products = KERNEL_AT(model, int32_t, numbers->products);
	out.terms = KERNEL_AT(model, int32_t, numbers->terms);
	out.weights = KERNEL_AT(model, double, numbers->weights);
	out.expected = KERNEL_AT(model, int32_t, numbers->expected);
	out.starts = KERNEL_AT(model, int32_t, numbers->starts);
	out.outcomes = KERNEL_AT(model, int32_t, numbers->outcomes);
	out.of_outcome = KERNEL_AT(model, int32_t, numbers->of_outcome);
	out.ambiguity = KERNEL_AT(model, int32_t, numbers->ambiguity);
	return out;
}

/*
 * What tables know besides numbers, once and for all: sizes of the parents,
 * the order in which they are summed away, and whose evidence can be added up.
 */
static void
set_shapes(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	int32_t			  *shapes = workspace->shapes;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		const int32_t *parents = KERNEL_AT(model, int32_t, modality->parents);
		ModalityTable *table = &workspace->modalities[m];

		table->sizes = shapes;
		for (int32_t i = 0; i < modality->parent_count; i++)
			*shapes++ = kernel_factor(model, parents[i])->states;
		table->axes = KERNEL_AT(model, int32_t, views[m].axes);
		table->numbers = numbers_of(model, &views[m].numbers);
		table->contracted = views[m].contracted;
		table->twin = 0;
		while (!same_parents(model, table->twin, m))
			table->twin++;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		const int32_t *parents = KERNEL_AT(model, int32_t, factor->parents);

		workspace->factors[f].predicted = moves[f].predicted;
		workspace->factors[f].sizes = shapes;
		for (int32_t i = 0; i < factor->parent_count; i++)
			*shapes++ = kernel_factor(model, parents[i])->states;
	}
}

/*
 * A workspace in the host's arena, good for any number of calls with this
 * model and for one caller at a time; NULL where it cannot be had.  Its
 * contents mean nothing between calls.  The model must live as long.
 */
KernelWorkspace *
kernel_workspace(const KernelHost *host, const KernelModel *model)
{
	int64_t size = kernel_workspace_size(model);
	Pieces	pieces = {NULL, (sizeof(KernelWorkspace) + 63) & ~63, false};
	KernelWorkspace *workspace;

	if (size < 0)
		return NULL;
	pieces.base = host->allocate(host->context, (size_t) size);
	if (pieces.base == NULL)
		return NULL;
	workspace = (KernelWorkspace *) (void *) pieces.base;
	memset(workspace, 0, sizeof(*workspace));
	workspace->lanes = workspace_lanes(model);
	lay_out(model, &pieces, workspace);
	memset(workspace->zeros, 0,
		   sizeof(double) * (size_t) workspace_sizes(model).joint);
	set_shapes(workspace);
	return workspace;
}

/* ---------- the tables ---------- */

/* A pointer, or NULL for the offset 0. */
static const double *
optional(const KernelModel *model, KernelOffset offset)
{
	return offset == 0 ? NULL : KERNEL_AT(model, double, offset);
}

/*
 * A matrix of the model as pointers, which are good as long as the model is.
 */
static Columns
resolve(const KernelModel *model, const KernelMatrix *matrix)
{
	Columns columns = {KERNEL_AT(model, double, matrix->values), NULL, NULL,
					   matrix->rows};

	if (matrix->sparse)
	{
		columns.starts = KERNEL_AT(model, int64_t, matrix->starts);
		columns.indices = KERNEL_AT(model, int32_t, matrix->indices);
	}
	return columns;
}

/*
 * A matrix for predictions, likewise, its groups so many columns wide.
 */
static Mixture
mixture(const KernelModel *model, const KernelMatrix *matrix,
		const KernelRows *rows, int64_t width)
{
	Mixture result = {.dense = KERNEL_AT(model, double, matrix->values),
					  .rows = matrix->rows,
					  .width = width};

	if (rows->starts != 0)
	{
		result.starts = KERNEL_AT(model, int64_t, rows->starts);
		result.columns = KERNEL_AT(model, int32_t, rows->columns);
		result.values = KERNEL_AT(model, double, rows->values);
		result.rest = optional(model, rows->rest);
	}
	return result;
}

/*
 * Points the workspace at the model's own tables.
 */
static void
use_model(KernelWorkspace *workspace)
{
	const KernelModel *model = workspace->model;
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		ModalityTable		 *table = &workspace->modalities[m];

		table->A = mixture(model, &modality->A, &modality->rows,
						   modality->parent_states);
		table->log_A = resolve(model, &modality->log_A);
		table->ambiguity = KERNEL_AT(model, double, modality->ambiguity);
		table->table = optional(model, views[m].table);
		table->gain = optional(model, modality->gain_A);
		table->parents = KERNEL_AT(model, int32_t, modality->parents);
		table->parent_count = modality->parent_count;
		table->outcomes = modality->outcomes;
		table->parent_states = modality->parent_states;
		table->offset = modality->outcome_offset;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		FactorTable		   *table = &workspace->factors[f];

		table->B =
			mixture(model, &factor->B, &factor->rows, factor->parent_states);
		table->gain = optional(model, factor->gain_B);
		table->I = model->use_inductive ? optional(model, factor->I) : NULL;
		table->parents = KERNEL_AT(model, int32_t, factor->parents);
		table->parent_count = factor->parent_count;
		table->states = factor->states;
		table->offset = factor->belief_offset;
		table->parent_states = factor->parent_states;
	}
}

/*
 * The tables of one agent: the model's, with what it has learned, where it has
 * (NULL: it has not).
 */
static void
use_tables(KernelWorkspace *workspace, const KernelLearned *learned)
{
	use_model(workspace);
	if (learned != NULL)
		workspace_use_learned(workspace, learned);
}

/*
 * The flat action u < U(f) of a factor, from an action [control_count].  It is
 * row-major over the factor's controls in their listed order, as the columns
 * of B are; 0 where the factor has no control.  The actions must be within
 * range: nothing is checked here.
 */
int64_t
flat_action(const KernelModel *model, const KernelFactor *factor,
			const int32_t *action)
{
	const int32_t *controls = KERNEL_AT(model, int32_t, factor->controls);
	int64_t		   flat = 0;

	for (int32_t i = 0; i < factor->control_count; i++)
		flat = flat * kernel_control(model, controls[i])->actions +
			   action[controls[i]];
	return flat;
}

/* ---------- the step ---------- */

/*
 * Begins a call: by whom the workspace polls from now on.
 */
static void
use_host(KernelWorkspace *workspace, const KernelHost *host)
{
	workspace->host = host;
	workspace->work = 0;
}

/*
 * Gives the host a chance to interrupt, possibly by a longjmp: what the
 * workspace holds means nothing to the next call.
 */
void
workspace_poll(KernelWorkspace *workspace)
{
	workspace->work = 0;
	if (workspace->host->poll != NULL)
		workspace->host->poll(workspace->host->context);
}

/*
 * Steps some agents [count], at most as many as there are lanes; lanes that
 * are left over repeat the last agent, which costs nothing and changes
 * nothing.  Priors are made one agent after another, because agents do
 * different things.
 */
static void
step_together(KernelWorkspace *workspace, const LaneCode *code,
			  KernelAgent *const *some, int32_t count)
{
	const LaneCode *alone = instructions_in_use()->alone;
	KernelAgent	   *agents[MOST_LANES];
	const double   *priors[MOST_LANES];

	for (int32_t l = 0; l < code->lanes; l++)
	{
		KernelAgent *agent = agents[l] = some[l < count ? l : count - 1];
		double		*room =
			workspace->priors + (int64_t) l * workspace->model->belief_size;

		priors[l] = l < count ? agent->prior : priors[count - 1];
		if (l < count && agent->did != NULL)
		{
			alone->next_prior(workspace, agent->prior, agent->did, room);
			priors[l] = room;
		}
	}
	code->step(workspace, agents, priors);
}

/*
 * An agent that has learned has tables of its own, and is stepped alone.
 */
static void
step_learned(KernelWorkspace *workspace, KernelAgent *agent)
{
	use_tables(workspace, agent->learned);
	step_together(workspace, instructions_in_use()->alone, &agent, 1);
	use_tables(workspace, NULL);
}

/*
 * The compilation for so many agents: side by side from three on.  Two of them
 * one after another take less time than all lanes with most of them idle.
 */
static const LaneCode *
code_for(const KernelWorkspace *workspace, int32_t count)
{
	const Instructions *instructions = instructions_in_use();

	if (instructions->abreast != NULL && workspace->lanes > 1 &&
		count >= FEWEST_ABREAST)
		return instructions->abreast;
	return instructions->alone;
}

/*
 * Perceives, plans and chooses for agents [count]; see KernelAgent for what
 * goes in and comes out.  The model is the one that the workspace was made
 * for.
 *
 * Agents that can share lanes are taken together as they come, so none of them
 * sees what its neighbours are.  All of them are done.  Returns KERNEL_OK, or
 * KERNEL_RANGE where some agent's numbers overflow: its status says so too.
 * The host is polled, so agents may be left half done by a longjmp.
 */
KernelStatus
kernel_step(const KernelHost *host, const KernelModel *model,
			KernelWorkspace *workspace, KernelAgent *agents, int32_t count)
{
	KernelAgent	   *together[MOST_LANES];
	const LaneCode *code;
	int32_t			waiting = 0;
	int32_t			sharing = 0; /* agents to come that can share lanes */

	(void) model;
	use_host(workspace, host);
	use_tables(workspace, NULL);
	workspace->spread = 0;
	for (int32_t i = 0; i < count; i++)
		sharing += agents[i].learned == NULL;
	code = code_for(workspace, sharing);
	for (int32_t i = 0; i < count; i++)
	{
		if (agents[i].learned != NULL)
		{
			step_learned(workspace, &agents[i]);
			continue;
		}
		together[waiting++] = &agents[i];
		sharing--;
		if (waiting < code->lanes && sharing > 0)
			continue;
		step_together(workspace, code, together, waiting);
		waiting = 0;
		code = code_for(workspace, sharing);
	}
	for (int32_t i = 0; i < count; i++)
	{
		if (agents[i].status != KERNEL_OK)
			return agents[i].status;
	}
	return KERNEL_OK;
}

/*
 * The posterior alone: belief [belief_size] and free energy *vfe, from prior
 * [belief_size] as it stands and observation [modality_count] (-1: missing).
 * With the model's own A.  Returns KERNEL_RANGE where numbers overflow.
 */
KernelStatus
kernel_infer(const KernelHost *host, const KernelModel *model,
			 KernelWorkspace *workspace, const double *prior,
			 const int32_t *observation, double *belief, double *vfe)
{
	(void) model;
	use_host(workspace, host);
	use_tables(workspace, NULL);
	*vfe = instructions_in_use()->alone->infer(workspace, prior, observation,
											   belief);
	return isfinite(*vfe) ? KERNEL_OK : KERNEL_RANGE;
}

/*
 * The next prior, and the posterior from it; see kernel.h.  The tables are set
 * for each agent, which is little beside its inference.
 */
KernelStatus
kernel_perceive(const KernelHost *host, const KernelModel *model,
				KernelWorkspace *workspace, KernelAgent *agent,
				double *predicted)
{
	const LaneCode *alone = instructions_in_use()->alone;

	use_host(workspace, host);
	use_tables(workspace, agent->learned);
	if (agent->did != NULL)
		alone->next_prior(workspace, agent->prior, agent->did, predicted);
	else
		memcpy(predicted, agent->prior,
			   sizeof(double) * (size_t) model->belief_size);
	agent->vfe =
		alone->infer(workspace, predicted, agent->observation, agent->belief);
	agent->status = isfinite(agent->vfe) ? KERNEL_OK : KERNEL_RANGE;
	return agent->status;
}

/*
 * The parts of one policy's neg_efe, summed along its branches from the last
 * to the first, into the p-th place of each array.  The workspace must hold
 * what evaluate() has found for one agent.
 */
static void
explain_policy(const KernelWorkspace *workspace, int32_t p,
			   KernelExplanation *explanation)
{
	const KernelModel *model = workspace->model;
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	const int32_t	  *parent = KERNEL_AT(model, int32_t, model->branch_parent);
	int32_t leaf = KERNEL_AT(model, int32_t, model->leaf_of_policy)[p];

	explanation->q_pi[p] = workspace->q_pi[p];
	explanation->neg_efe[p] = workspace->branch_values[leaf];
	explanation->utility[p] = explanation->state_info_gain[p] = 0.0;
	explanation->param_info_gain[p] = explanation->inductive[p] = 0.0;
	for (int32_t b = leaf; b >= 0; b = parent[b])
	{
		for (int32_t m = 0; m < model->modality_count; m++)
		{
			const double *value =
				workspace->view_values[m] +
				KERNEL_AT(model, int32_t, views[m].of_branch)[b] * VIEW_PARTS;

			explanation->utility[p] += value[VIEW_UTILITY];
			explanation->state_info_gain[p] += value[VIEW_INFO_GAIN];
			explanation->param_info_gain[p] += value[VIEW_PARAM_GAIN];
		}
		for (int32_t f = 0; f < model->factor_count; f++)
		{
			const double *value =
				workspace->move_values[f] +
				KERNEL_AT(model, int32_t, moves[f].of_branch)[b] * MOVE_PARTS;

			/* what nobody predicts has no value of its own */
			if (!moves[f].predicted)
				continue;
			explanation->param_info_gain[p] += value[MOVE_PARAM_GAIN];
			explanation->inductive[p] += value[MOVE_INDUCTIVE];
		}
	}
}

/*
 * The parts of each policy's value, from belief [belief_size], the one that
 * chose; see kernel.h.  The plan is evaluated again rather than kept by every
 * step, since explanations are asked for seldom.  Returns KERNEL_RANGE where
 * numbers overflow.
 */
KernelStatus
kernel_explain(const KernelHost *host, const KernelModel *model,
			   KernelWorkspace *workspace, const double *belief,
			   const KernelParameters *parameters, const KernelLearned *learned,
			   KernelExplanation *explanation)
{
	use_host(workspace, host);
	use_tables(workspace, learned);
	workspace->spread = 0;
	if (!instructions_in_use()->alone->evaluate(workspace, belief, parameters))
		return KERNEL_RANGE;
	for (int32_t p = 0; p < model->policy_count; p++)
	{
		explain_policy(workspace, p, explanation);
		worked(workspace, (int64_t) model->policy_length *
							  (model->factor_count + model->modality_count));
	}
	return KERNEL_OK;
}
