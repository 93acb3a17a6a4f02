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
 * of one agent at a time: what agents have of their own is in KernelAgent, so
 * a thousand of them cost a thousand beliefs and no more.
 */
#include "step.h"

#include <math.h>
#include <string.h>

/* ---------- the workspace ---------- */

/* The sizes on which a workspace depends. */
typedef struct WorkspaceSizes
{
	int64_t joint;		/* largest number of joint states */
	int64_t outcomes;	/* largest O(m) */
	int64_t actions;	/* largest number of actions of a control */
	int64_t parents;	/* largest number of parents */
	int64_t likelihood; /* sum of P(m) */
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
 * The sizes on which a workspace depends, from the model alone: what an agent
 * has of its own never needs more.
 */
static WorkspaceSizes
workspace_sizes(const KernelModel *model)
{
	WorkspaceSizes sizes = {1, 1, 1, 1, 0};

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);

		sizes.joint = larger(sizes.joint, modality->parent_states);
		sizes.outcomes = larger(sizes.outcomes, modality->outcomes);
		sizes.parents = larger(sizes.parents, modality->parent_count);
		sizes.likelihood += modality->parent_states;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);

		sizes.joint = larger(sizes.joint, factor->parent_states);
		sizes.parents = larger(sizes.parents, factor->parent_count);
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
 * Room for what planning finds: for each factor a belief [moves][S(f)] and a
 * value for each of its moves, for each modality a value for each of its
 * views.  The pointers themselves lie in pieces too, as their number is the
 * model's.
 */
static void
lay_out_planning(const KernelModel *model, Pieces *pieces,
				 KernelWorkspace *workspace)
{
	const KernelMoves *moves = KERNEL_AT(model, KernelMoves, model->moves);
	const KernelViews *views = KERNEL_AT(model, KernelViews, model->views);
	double			 **beliefs = PIECE(pieces, double *, model->factor_count);
	MoveValue **move_values = PIECE(pieces, MoveValue *, model->factor_count);
	ViewValue **view_values = PIECE(pieces, ViewValue *, model->modality_count);

	for (int32_t f = 0; f < model->factor_count; f++)
	{
		double *belief =
			PIECE(pieces, double,
				  (int64_t) moves[f].count *kernel_factor(model, f)->states);
		MoveValue *value = PIECE(pieces, MoveValue, moves[f].count);

		/* while counting there is nothing to write the pointers to */
		if (pieces->base != NULL)
		{
			beliefs[f] = belief;
			move_values[f] = value;
		}
	}
	for (int32_t m = 0; m < model->modality_count; m++)
	{
		ViewValue *value = PIECE(pieces, ViewValue, views[m].count);

		if (pieces->base != NULL)
			view_values[m] = value;
	}
	workspace->move_beliefs = beliefs;
	workspace->move_values = move_values;
	workspace->view_values = view_values;
}

/*
 * The whole workspace into pieces; the struct itself is the caller's.  While
 * only counting its pointers become NULL and mean nothing.
 */
static void
lay_out(const KernelModel *model, Pieces *pieces, KernelWorkspace *workspace)
{
	WorkspaceSizes sizes = workspace_sizes(model);

	workspace->model = model;
	workspace->modalities = PIECE(pieces, ModalityTable, model->modality_count);
	workspace->factors = PIECE(pieces, FactorTable, model->factor_count);
	workspace->learned = PIECE(pieces, double, learned_tables_size(model));
	workspace->prior = PIECE(pieces, double, model->belief_size);
	workspace->log_prior = PIECE(pieces, double, model->belief_size);
	workspace->messages = PIECE(pieces, double, model->belief_size);
	workspace->update = PIECE(pieces, double, model->belief_size);
	workspace->likelihood = PIECE(pieces, double, sizes.likelihood);
	workspace->evidence = PIECE(pieces, const double *, model->modality_count);
	workspace->joint = PIECE(pieces, double, sizes.joint);
	workspace->parent_beliefs = PIECE(pieces, const double *, sizes.parents);
	workspace->contraction[0] = PIECE(pieces, double, sizes.joint);
	workspace->contraction[1] = PIECE(pieces, double, sizes.joint);
	workspace->outcomes = PIECE(pieces, double, sizes.outcomes);
	workspace->branch_values = PIECE(pieces, double, model->branch_count);
	workspace->neg_efe = PIECE(pieces, double, model->policy_count);
	workspace->q_pi = PIECE(pieces, double, model->policy_count);
	workspace->marginal = PIECE(pieces, double, sizes.actions);
	workspace->goal_row = PIECE(pieces, int32_t, model->factor_count);
	lay_out_planning(model, pieces, workspace);
}

/*
 * Bytes of a workspace, or -1 where they overflow.  The host compares it with
 * its limits before it asks for one.
 */
int64_t
kernel_workspace_size(const KernelModel *model)
{
	Pieces			pieces = {NULL, sizeof(KernelWorkspace), false};
	KernelWorkspace unused;

	lay_out(model, &pieces, &unused);
	return pieces.overflow ? -1 : pieces.used;
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
	pieces.base = host->allocate(host->context, (size_t) size + 64);
	if (pieces.base == NULL)
		return NULL;
	workspace = (KernelWorkspace *) pieces.base;
	lay_out(model, &pieces, workspace);
	return workspace;
}

/* ---------- the tables ---------- */

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

/* A pointer, or NULL for the offset 0. */
static const double *
optional(const KernelModel *model, KernelOffset offset)
{
	return offset == 0 ? NULL : KERNEL_AT(model, double, offset);
}

/*
 * Points the workspace at the model's own tables, C from parameters where
 * given: one run [m][policy_length][O(m)].  parameters may be NULL.
 */
void
workspace_use_model(KernelWorkspace		   *workspace,
					const KernelParameters *parameters)
{
	const KernelModel *model = workspace->model;
	const double	  *C = parameters ? parameters->C : NULL;

	for (int32_t m = 0; m < model->modality_count; m++)
	{
		const KernelModality *modality = kernel_modality(model, m);
		ModalityTable		 *table = &workspace->modalities[m];

		table->A = resolve(model, &modality->A);
		table->log_A = resolve(model, &modality->log_A);
		table->ambiguity = KERNEL_AT(model, double, modality->ambiguity);
		table->gain = optional(model, modality->gain_A);
		table->C = C ? C : KERNEL_AT(model, double, modality->C);
		table->parents = KERNEL_AT(model, int32_t, modality->parents);
		table->parent_count = modality->parent_count;
		table->outcomes = modality->outcomes;
		table->parent_states = modality->parent_states;
		if (C != NULL)
			C += (int64_t) model->policy_length * modality->outcomes;
	}
	for (int32_t f = 0; f < model->factor_count; f++)
	{
		const KernelFactor *factor = kernel_factor(model, f);
		FactorTable		   *table = &workspace->factors[f];

		table->B = resolve(model, &factor->B);
		table->gain = optional(model, factor->gain_B);
		table->I = model->use_inductive ? optional(model, factor->I) : NULL;
		table->parents = KERNEL_AT(model, int32_t, factor->parents);
		table->controls = KERNEL_AT(model, int32_t, factor->controls);
		table->parent_count = factor->parent_count;
		table->control_count = factor->control_count;
		table->states = factor->states;
		table->offset = factor->belief_offset;
		table->parent_states = factor->parent_states;
	}
}

/*
 * The tables of one agent: the model's, with its own C and with what it has
 * learned, where it has such (NULL: it has not).
 */
static void
use_tables(KernelWorkspace *workspace, const KernelParameters *parameters,
		   const KernelLearned *learned)
{
	workspace_use_model(workspace, parameters);
	if (learned != NULL)
		workspace_use_learned(workspace, learned);
}

/*
 * L(E) [policy_count], the agent's where it has one.
 */
static const double *
log_E_of(const KernelModel *model, const KernelParameters *parameters)
{
	if (parameters != NULL && parameters->log_E != NULL)
		return parameters->log_E;
	return KERNEL_AT(model, double, model->log_E);
}

/* ---------- the step ---------- */

/*
 * One agent, its tables being in use; fills what KernelAgent calls "out".  The
 * order is that of pymdp's loop: prior, states, policies, action.
 *
 * Returns KERNEL_RANGE where numbers are not finite.  They mean that
 * parameters of the spec were so large that their sums overflow; the caller
 * has to refuse the step, because what follows from NaN is no choice at all.
 */
static KernelStatus
step_agent(const KernelHost *host, KernelWorkspace *workspace,
		   KernelAgent *agent)
{
	const KernelModel	   *model = workspace->model;
	const KernelParameters *parameters = agent->parameters;
	double gamma = parameters ? parameters->gamma : model->gamma;
	double alpha = parameters ? parameters->alpha : model->alpha;
	double epsilon =
		parameters ? parameters->inductive_epsilon : model->inductive_epsilon;
	size_t policies = sizeof(double) * (size_t) model->policy_count;

	empirical_prior(workspace, agent->prior, agent->did, workspace->prior);
	agent->vfe = infer_states(workspace, workspace->prior, agent->observation,
							  agent->belief);
	evaluate_policies(host, workspace, agent->belief, epsilon);
	policy_posterior(workspace, gamma, log_E_of(model, parameters));

	/* one NaN among the policies makes all of q_pi NaN: the first tells */
	if (!isfinite(agent->vfe) || !isfinite(workspace->q_pi[0]))
		return KERNEL_RANGE;
	if (agent->neg_efe != NULL)
		memcpy(agent->neg_efe, workspace->neg_efe, policies);
	if (agent->q_pi != NULL)
		memcpy(agent->q_pi, workspace->q_pi, policies);
	choose_action(workspace, alpha, agent->seed, agent->step, agent->action);
	return KERNEL_OK;
}

/*
 * Perceives, plans and chooses for agents [count], in their order; see
 * KernelAgent for what goes in and comes out.  The model is the one that the
 * workspace was made for.
 *
 * Returns KERNEL_OK, or KERNEL_RANGE where an agent's numbers overflow: its
 * status says so too, those before it are done and those behind it are not.
 * The tables stay in use from one agent to the next while nothing about them
 * differs.  The host is polled, so agents may be left half done by a longjmp.
 */
KernelStatus
kernel_step(const KernelHost *host, const KernelModel *model,
			KernelWorkspace *workspace, KernelAgent *agents, int32_t count)
{
	const double *C_in_use = NULL;
	bool		  learned_in_use = false;
	KernelStatus  status = KERNEL_OK;

	(void) model;
	use_tables(workspace, NULL, NULL);
	for (int32_t i = 0; i < count && status == KERNEL_OK; i++)
	{
		KernelAgent	 *agent = &agents[i];
		const double *C = agent->parameters ? agent->parameters->C : NULL;

		if (agent->learned != NULL || learned_in_use || C != C_in_use)
			use_tables(workspace, agent->parameters, agent->learned);
		C_in_use = C;
		learned_in_use = agent->learned != NULL;
		status = agent->status = step_agent(host, workspace, agent);
		if (host->poll != NULL && i % 64 == 63)
			host->poll(host->context);
	}
	return status;
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
	(void) host;
	(void) model;
	use_tables(workspace, NULL, NULL);
	*vfe = infer_states(workspace, prior, observation, belief);
	return isfinite(*vfe) ? KERNEL_OK : KERNEL_RANGE;
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
	double gamma = parameters ? parameters->gamma : model->gamma;
	double epsilon =
		parameters ? parameters->inductive_epsilon : model->inductive_epsilon;
	size_t policies = sizeof(double) * (size_t) model->policy_count;

	use_tables(workspace, parameters, learned);
	evaluate_policies(host, workspace, belief, epsilon);
	policy_posterior(workspace, gamma, log_E_of(model, parameters));
	if (!isfinite(workspace->q_pi[0]))
		return KERNEL_RANGE;
	memcpy(explanation->q_pi, workspace->q_pi, policies);
	memcpy(explanation->neg_efe, workspace->neg_efe, policies);
	for (int32_t p = 0; p < model->policy_count; p++)
	{
		ViewValue views;
		MoveValue moves;

		policy_parts(workspace, p, &views, &moves);
		explanation->utility[p] = views.utility;
		explanation->state_info_gain[p] = views.state_info_gain;
		explanation->param_info_gain[p] =
			views.param_info_gain + moves.param_info_gain;
		explanation->inductive[p] = moves.inductive;
	}
	return KERNEL_OK;
}
