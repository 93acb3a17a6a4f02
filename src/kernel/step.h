/*
 * step.h
 *		What the parts of a step share: tables resolved to pointers, and the
 *		workspace.  Private to infer.c, policy.c, step.c and learn.c.
 */
#ifndef FA_KERNEL_STEP_H
#define FA_KERNEL_STEP_H

#include "kernel.h"

/*
 * Probabilities below this are left out of sums of p L(p), where nothing is
 * inferred from them: each would add at most 36 times itself, so a million of
 * them less than 1e-22, far below the rounding of such a sum.  (A state that an
 * observation excludes keeps some 1e-32, and most logarithms of a step would
 * be spent on those.)
 */
#define NEGLIGIBLE 1e-30

/* A KernelMatrix whose offsets have become pointers. */
typedef struct Columns
{
	const double  *values;	/* [columns][rows], or sparse: [entries] */
	const int64_t *starts;	/* [columns + 1]; NULL: dense */
	const int32_t *indices; /* sparse: [entries], the row of each value */
	int32_t		   rows;
} Columns;

/* One modality as an agent sees it: the model's, or what the agent learned. */
typedef struct ModalityTable
{
	Columns		   A;		  /* P(m) columns of O(m) rows */
	Columns		   log_A;	  /* O(m) columns of P(m) rows */
	const double  *ambiguity; /* [P(m)], nats */
	const double  *gain;	  /* [P(m)][O(m)] of W, or NULL: none */
	const double  *C;		  /* [policy_length][O(m)], nats */
	const int32_t *parents;	  /* [parent_count] factors */
	int32_t		   parent_count;
	int32_t		   outcomes;	  /* O(m) */
	int64_t		   parent_states; /* P(m) */
} ModalityTable;

/* One factor, likewise. */
typedef struct FactorTable
{
	Columns		   B;		 /* U(f) * P(f) columns of S(f) rows */
	const double  *gain;	 /* [U(f)][P(f)][S(f)] of W, or NULL */
	const double  *I;		 /* [inductive_depth][S(f)], or NULL */
	const int32_t *parents;	 /* [parent_count] factors */
	const int32_t *controls; /* [control_count] */
	int32_t		   parent_count;
	int32_t		   control_count;
	int32_t		   states;		  /* S(f) */
	int32_t		   offset;		  /* of this factor in a belief */
	int64_t		   parent_states; /* P(f) */
} FactorTable;

/* Parts of neg_efe, in nats, that arise at one view (of a modality) ... */
typedef struct ViewValue
{
	double utility;
	double state_info_gain;
	double param_info_gain;
} ViewValue;

/* ... and at one move (of a factor). */
typedef struct MoveValue
{
	double param_info_gain;
	double inductive;
} MoveValue;

/*
 * Room for one agent's step, in one piece of memory of the host's arena
 * (step.c lays it out).  "Largest" is over all factors, modalities or controls
 * of the model.
 */
struct KernelWorkspace
{
	const KernelModel *model;

	/* the tables in use: the model's own, or overlaid by what was learned */
	ModalityTable *modalities; /* [modality_count] */
	FactorTable	  *factors;	   /* [factor_count] */
	double		  *learned;	   /* [learned_tables_size()] */

	/* inference */
	double		  *prior;	   /* [belief_size] */
	double		  *log_prior;  /* [belief_size] */
	double		  *messages;   /* [belief_size]: what no iteration changes */
	double		  *update;	   /* [belief_size]: one iteration's sum */
	double		  *likelihood; /* [sum of P(m)]: expanded log likelihoods */
	const double **evidence; /* [modality_count]: ln P(outcome | joint states),
								 * NULL: missing */
	double		  *joint;	 /* [largest P]: product of the parents' beliefs */
	const double **parent_beliefs; /* [largest parent_count] */
	double		  *contraction[2]; /* [largest P] each: partial sums */

	/* planning */
	double	   *outcomes;	   /* [largest O(m)]: expected outcomes */
	double	  **move_beliefs;  /* [factor_count]: [moves][S(f)] */
	MoveValue **move_values;   /* [factor_count]: [moves] */
	ViewValue **view_values;   /* [modality_count]: [views] */
	double	   *branch_values; /* [branch_count]: neg_efe up to each branch */
	double	   *neg_efe;	   /* [policy_count], nats */
	double	   *q_pi;		   /* [policy_count] */
	double	   *marginal;	   /* [largest number of actions of a control] */
	int32_t	   *goal_row; /* [factor_count]: row of I that applies, -1: none */
};

/* step.c */
extern void workspace_use_model(KernelWorkspace		   *workspace,
								const KernelParameters *parameters);

/* learn.c */
extern int64_t learned_tables_size(const KernelModel *model);
extern void
workspace_use_learned(KernelWorkspace *workspace, const KernelLearned *learned);

/* infer.c */
extern const double *joint_belief(const int32_t *parents, int32_t parent_count,
								  const double *const *beliefs,
								  const KernelModel *model, double *room);
extern void			 propagate(const FactorTable *factor, int64_t action,
							   const double *joint, double *next);
extern void	   empirical_prior(KernelWorkspace *workspace, const double *belief,
							   const int32_t *did, double *prior);
extern double  infer_states(KernelWorkspace *workspace, const double *prior,
							const int32_t *observation, double *belief);
extern int64_t flat_action(const KernelModel *model, const KernelFactor *factor,
						   const int32_t *action);

/* policy.c */
extern void
evaluate_policies(const KernelHost *host, KernelWorkspace *workspace,
				  const double *belief, double inductive_epsilon);
extern void
policy_posterior(KernelWorkspace *workspace, double gamma, const double *log_E);
extern void choose_action(KernelWorkspace *workspace, double alpha,
						  uint64_t seed, uint64_t step, int32_t *action);
extern void policy_parts(const KernelWorkspace *workspace, int32_t policy,
						 ViewValue *views, MoveValue *moves);

#endif /* FA_KERNEL_STEP_H */
