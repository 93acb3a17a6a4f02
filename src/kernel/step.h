/*
 * step.h
 *		What the parts of a step share: tables resolved to pointers, the
 *		workspace, and the compilations of the compute code.  Private to step.c,
 *		learn.c, instructions.c and lanes_*.
 */
#ifndef FA_KERNEL_STEP_H
#define FA_KERNEL_STEP_H

#include "kernel.h"

#include <stdlib.h>

/* Agents side by side, at most: the doubles of the widest register. */
#define MOST_LANES 8

/* Views of one modality whose logarithms are taken together. */
#define VIEWS_AT_ONCE 16

/* A KernelMatrix whose offsets have become pointers. */
typedef struct Columns
{
	const double  *values;	/* [columns][rows], or sparse: [entries] */
	const int64_t *starts;	/* [columns + 1]; NULL: dense */
	const int32_t *indices; /* sparse: [entries], the row of each value */
	int32_t		   rows;
} Columns;

/*
 * What predictions are made with: columns of A, or of B for each action.  By
 * row as in KernelRows, where starts is there; else dense.
 */
typedef struct Mixture
{
	const double  *dense;  /* [columns][rows]; not read where starts is there */
	const int64_t *starts; /* [groups * rows + 1], or NULL */
	const int32_t *columns; /* [entries] */
	const double  *values;	/* [entries] */
	const double  *rest;	/* [groups * rows], or NULL: all 0 */
	int32_t		   rows;	/* of one group */
	int64_t		   width;	/* columns of one group */
} Mixture;

/* The numbers that the views of a modality share, see KernelNumbers. */
typedef struct Numbers
{
	const int32_t *sum_starts; /* [parents + 1] */
	const int32_t *sums;	   /* [][2] */
	const int32_t *products;   /* [product_count][parents] */
	const int32_t *terms;	   /* [term_count][2] */
	const double  *weights;	   /* [term_count] */
	const int32_t *expected;   /* [expected_count] */
	const int32_t *starts;	   /* [views + 1]; NULL: none are shared */
	const int32_t *outcomes;   /* [] */
	const int32_t *of_outcome; /* [] */
	const int32_t *ambiguity;  /* [views] */
	int32_t		   product_count;
	int32_t		   term_count;
	int32_t		   expected_count;
} Numbers;

/* One modality as an agent sees it: the model's, or what the agent learned. */
typedef struct ModalityTable
{
	Mixture		   A;		  /* P(m) columns of O(m) rows */
	Columns		   log_A;	  /* O(m) columns of P(m) rows */
	const double  *ambiguity; /* [P(m)], nats; not read where contracted */
	const double  *table;	  /* where contracted, see KernelViews */
	const double  *ahead;	  /* [U(f)][S(f)][O(m)], see KernelViews, or NULL */
	const double  *ahead_ambiguity; /* likewise [U(f)][S(f)] */
	const double  *gain;			/* [P(m)][O(m)] of W, or NULL: none */
	const int32_t *parents;			/* [parent_count] factors */
	const int32_t *sizes;			/* [parent_count]: S of each parent */
	const int32_t *axes; /* [parent_count]: the order of contraction */
	int32_t		   parent_count;
	int32_t		   outcomes;	  /* O(m) */
	int64_t		   parent_states; /* P(m) */
	int32_t		   offset;		  /* of this modality in a row of outcomes */
	bool		   contracted;	  /* see KernelViews */
	Numbers		   numbers;
	int32_t		   twin; /* the first modality with the same parents, whose
								 * evidence table it shares */
} ModalityTable;

/* One factor, likewise. */
typedef struct FactorTable
{
	Mixture		   B;		/* U(f) groups of P(f) columns of S(f) rows */
	const double  *gain;	/* [U(f)][P(f)][S(f)] of W, or NULL */
	const double  *I;		/* [inductive_depth][S(f)], or NULL */
	const int32_t *parents; /* [parent_count] factors */
	const int32_t *sizes;	/* [parent_count]: S of each parent */
	int32_t		   parent_count;
	int32_t		   states;		  /* S(f) */
	int32_t		   offset;		  /* of this factor in a belief */
	int64_t		   parent_states; /* P(f) */
	int32_t		   predicted;	  /* plan steps, see KernelMoves */
	int32_t		   passing;		  /* the first of the moves that pass, see
							 * passing_moves(); the number of moves: none do */
	int32_t		   portion;		  /* of them at once */
} FactorTable;

/*
 * Room for one step of up to lanes agents, in one piece of memory of the
 * host's arena (workspace.c lays it out).  "Largest" is over all factors,
 * modalities or controls of the model.  Unless it says otherwise each number
 * is there for each lane, the lanes of one number side by side: [..][lanes].
 */
struct KernelWorkspace
{
	const KernelModel *model;
	int32_t			   most_lanes; /* there is room for: MOST_LANES or 1 */
	int32_t			   lanes;	/* laid out for; 0: none yet, see use_lanes() */
	char			  *by_lane; /* where what is by lane begins */
	const KernelHost  *host;	/* of the call that is being made */
	int64_t			   work;	/* operations since the host was last polled */

	/* the tables in use: the model's own, or overlaid by what was learned */
	ModalityTable *modalities; /* [modality_count], not by lane */
	FactorTable	  *factors;	   /* [factor_count], not by lane */
	int32_t		  *shapes;	   /* sizes and axes of the tables, not by lane */
	double		  *learned;	   /* [learned_tables_size()], not by lane */
	double		  *zeros;	   /* of several lanes: [largest P] of 0 */
	double		  *priors;	   /* [lanes][belief_size]: lane after lane */

	/* all along a step */
	double		  *belief; /* [belief_size]: the posterior */
	double		  *joint;  /* [largest P]: product of the parents' beliefs */
	const double **parent_beliefs; /* [largest parent_count], not by lane */

	/* parameters of the agents */
	const double *C_of[MOST_LANES];		/* where they are; NULL: the model's */
	const double *log_E_of[MOST_LANES]; /* likewise */
	int32_t		  spread; /* lanes that C and log_E are filled for; 0: none */
	double		 *C;	  /* of several: [modality][policy_length][O(m)] */
	double		 *log_E;  /* of several: [policy_count] */

	/* inference; planning takes its place */
	double	*log_prior;		  /* [belief_size] */
	double	*constant;		  /* [belief_size]: what no iteration changes */
	double	*update;		  /* [belief_size]: one iteration's sum */
	double	*last_update;	  /* [belief_size]: that of the iteration before */
	double **evidence;		  /* [modality_count]: [P(m)] of ln P(outcomes |
								 * joint states), of all twins together */
	double	*spread_evidence; /* [largest P]: that of one modality */
	double **suffix;		  /* [largest parent_count]: [largest P] each:
								 * last parents summed away */
	double	*contraction[2];  /* [largest P] each: partial sums */

	/* planning */
	double **partial;		/* [largest parent_count]: a table with first
								 * axes summed away each; the last: [VIEWS_AT_ONCE]
								 * [largest O + 1] */
	double **sums;			/* [largest parent_count]: [largest number of
								 * shared sums] each */
	double	*products;		/* [largest number of shared products] */
	double	*terms;			/* [largest number of shared terms] */
	double	*expected;		/* [VIEWS_AT_ONCE][largest O], or shared ones */
	double	*logarithms;	/* likewise */
	double **move_beliefs;	/* [factor_count]: [moves][S(f)], and one portion
							 * of those that pass; nothing where no belief is
							 * predicted */
	double **move_values;	/* [factor_count]: [moves][MOVE_PARTS] */
	double **view_values;	/* [modality_count]: [views][VIEW_PARTS] */
	double	*off_the_way;	/* [belief_size]: 1 - I of the row that applies */
	double	*branch_values; /* [branch_count]: neg_efe up to each branch */
	double	*weights;		/* [policy_count]: gamma * neg_efe + L(E) */
	double	*q_pi;			/* [policy_count]: their softmax */
	double	*marginal;		/* [largest number of actions of a control] */
};

/* Parts of neg_efe, in nats, that arise at one view of a modality ... */
enum
{
	VIEW_UTILITY,
	VIEW_INFO_GAIN,	 /* about states */
	VIEW_PARAM_GAIN, /* about parameters */
	VIEW_SUM,		 /* of the three */
	VIEW_PARTS
};

/* ... and at one move of a factor. */
enum
{
	MOVE_PARAM_GAIN,
	MOVE_INDUCTIVE,
	MOVE_SUM, /* of the two */
	MOVE_PARTS
};

/*
 * One compilation of the compute code.  step() is for as many agents as it has
 * lanes; an agent may stand in several lanes.  priors[l] is the agent's prior,
 * already pushed through what it did.  The other functions are those of one
 * lane, and NULL in the compilations of several.
 */
typedef struct LaneCode
{
	int32_t lanes;
	void (*step)(KernelWorkspace *workspace, KernelAgent *const *agents,
				 const double *const *priors);
	void (*next_prior)(KernelWorkspace *workspace, const double *belief,
					   const int32_t *did, double *prior);
	double (*infer)(KernelWorkspace *workspace, const double *prior,
					const int32_t *observation, double *belief);
	bool (*evaluate)(KernelWorkspace *workspace, const double *belief,
					 const KernelParameters *parameters);
} LaneCode;

/* An instruction set: both compilations for it. */
typedef struct Instructions
{
	const char	   *name;
	const LaneCode *alone;
	const LaneCode *abreast; /* NULL: plain C has no lanes */
} Instructions;

/*
 * Vector instructions need a processor that has them, a compiler that knows
 * them, and glibc's vector logarithm and exponential.
 */
#if defined(__x86_64__) && defined(__GNUC__) && defined(__GLIBC__)
#define HAVE_VECTORS 1
extern const LaneCode lanes_alone_sse2;
extern const LaneCode lanes_alone_avx2;
extern const LaneCode lanes_alone_avx512;
extern const LaneCode lanes_abreast_sse2;
extern const LaneCode lanes_abreast_avx2;
extern const LaneCode lanes_abreast_avx512;
#endif
extern const LaneCode lanes_alone_plain;

/* instructions.c */
extern const Instructions *instructions_in_use(void);

/*
 * Operations between two calls of the host's poll(): some milliseconds.  An
 * operation is about what a multiplication with a number of a table takes, for
 * all lanes at once.
 */
#define WORK_BETWEEN_POLLS (1024 * 1024)

/* Operations with one array that are counted by themselves, at least. */
#define LARGE_PIECE (64 * 1024)

/* Operations of a logarithm or an exponential, of a whole register. */
#define COST_OF_LOG 16

/* workspace.c */
extern void use_lanes(KernelWorkspace *workspace, int32_t lanes);

/* tables.c */
extern int32_t
passing_moves(const KernelModel *model, int32_t f, int32_t *portion);
extern void set_shapes(KernelWorkspace *workspace);
extern void use_model(KernelWorkspace *workspace);

/* step.c */
extern void	   workspace_poll(KernelWorkspace *workspace) __attribute__((cold));
extern int64_t flat_action(const KernelModel *model, const KernelFactor *factor,
						   const int32_t *action);

/* learn.c */
extern int64_t learned_tables_size(const KernelModel *model);
extern void
workspace_use_learned(KernelWorkspace *workspace, const KernelLearned *learned);

/*
 * Counts operations that were done.  By work and not by rounds of some loop:
 * one round may be a multiplication or sixteen million.
 */
static inline void
worked(KernelWorkspace *workspace, int64_t operations)
{
	workspace->work += operations;
	if (workspace->work >= WORK_BETWEEN_POLLS)
		workspace_poll(workspace);
}

/*
 * Counts what was done with one array, where it is large.  Small ones are too
 * many to be counted one by one: that would take a tenth of a step.  Loops
 * over them count them together (pending).
 */
static inline void
worked_on(KernelWorkspace *workspace, int64_t operations)
{
	if (operations >= LARGE_PIECE)
		worked(workspace, operations);
}

/*
 * The operations that a loop has yet to count, from those that it has done.
 */
static inline int64_t
pending(KernelWorkspace *workspace, int64_t operations)
{
	if (operations < WORK_BETWEEN_POLLS)
		return operations;
	workspace_poll(workspace);
	return 0;
}

/*
 * How many of the rounds left of a loop may be done before they are counted,
 * each of so many operations.  The innermost loops are left without a call
 * that might poll: registers would have to be saved around it.
 */
static inline int32_t
rounds_at_once(int32_t left, int64_t operations)
{
	/* mostly all of them, and a division would take as long as a round */
	if (left * operations <= WORK_BETWEEN_POLLS)
		return left;
	return 1 + (int32_t) (WORK_BETWEEN_POLLS / operations);
}

#endif /* FA_KERNEL_STEP_H */
