/*
 * kernel.h
 *		The pure kernel: models, state inference, planning, learning, random
 *		numbers.  Plain C11, without one PostgreSQL header.
 *
 * The kernel takes its memory from its caller (KernelHost), returns status
 * codes, does no input or output and never aborts.  It keeps nothing between
 * calls, so the host's poll() may leave it by longjmp at any time.
 *
 * Axis conventions, used everywhere below:
 *	S(f)   number of states of factor f			O(m)  outcomes of modality m
 *	P(m)   joint states of the parents of m		P(f)  of the parents of f
 *	U(f)   joint actions of the controls of f
 * Joint indices are row-major over the listed order: the last listed parent
 * (or control) is the fastest.  "Column" means one conditional distribution:
 * A of modality m has P(m) columns of O(m) rows; B of factor f has U(f) * P(f)
 * columns of S(f) rows, column index u * P(f) + p.
 *
 * README.md in this folder has the mathematics and the source of each formula.
 */
#ifndef FA_KERNEL_H
#define FA_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---------- the host: memory, interruption, limits ---------- */

typedef enum KernelStatus
{
	KERNEL_OK = 0,
	KERNEL_INVALID,		/* bad input; see the problem */
	KERNEL_LIMIT,		/* over a limit of KernelHost */
	KERNEL_UNSUPPORTED, /* valid in pymdp, not here */
	KERNEL_RANGE,		/* a number outside its range */
	KERNEL_MEMORY		/* the host gave none; there is no problem to read */
} KernelStatus;

/*
 * Memory is an arena: allocate() returns memory aligned to 64 bytes, or NULL,
 * and nothing is ever freed by the kernel; the caller drops the arena whole.
 * poll() is called from every loop that can be long, after some milliseconds of
 * work at most, and may not return.
 */
typedef struct KernelHost
{
	void *(*allocate)(void *context, size_t size);
	void (*poll)(void *context);
	void   *context;
	int64_t max_policies;	/* policies of one model */
	int64_t max_model_size; /* bytes of one compiled model */
} KernelHost;

/* One thing that is wrong.  Texts follow PostgreSQL's message style. */
typedef struct KernelProblem
{
	KernelStatus status;
	char		 path[96];	   /* where: "B[1]", "policies[3][0]" */
	char		 message[320]; /* primary message, without final period */
	char		 detail[320];  /* a sentence, or "" */
	char		 hint[320];	   /* a sentence, or "" */
} KernelProblem;

/* All that is wrong with one input; the first KERNEL_MAX_PROBLEMS are kept. */
#define KERNEL_MAX_PROBLEMS 64
typedef struct KernelProblems
{
	int			  count; /* found in all, kept or not */
	KernelProblem items[KERNEL_MAX_PROBLEMS];
} KernelProblems;

/* Adds one; texts may be NULL and are cut to fit. */
extern void
kernel_problem(KernelProblems *problems, KernelStatus status, const char *path,
			   const char *detail, const char *hint, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* ---------- JSON (json.c): text to a tree in the arena ---------- */

typedef enum JsonKind
{
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
} JsonKind;

/* One value of a tree; all of it lies in the arena of its parsing. */
typedef struct JsonValue JsonValue;
struct JsonValue
{
	JsonKind kind;
	int32_t	 count; /* elements of an array, members of an object */
	union
	{
		double			 number;   /* infinite where the text overflows */
		const char		*string;   /* zero-terminated; holds no zero byte */
		const JsonValue *elements; /* [count] */
		const struct JsonMember *members; /* [count], in the text's order */
	} as;
};

typedef struct JsonMember
{
	const char *name;
	JsonValue	value;
} JsonMember;

#define JSON_MAX_DEPTH 64 /* arrays and objects within each other */
#define JSON_MAX_BYTES (64 * 1024 * 1024) /* of one text */

/* A text of length bytes, whole, as a tree; it is not needed afterwards. */
extern KernelStatus
json_parse(const KernelHost *host, const char *text, size_t length,
		   JsonValue *value, KernelProblems *problems);

/* A member of an object, or NULL: absent, or no object. */
extern const JsonValue *json_member(const JsonValue *object, const char *name);

/* ---------- the compiled model: one aligned, relocatable block ---------- */

/*
 * Every reference inside the block is an offset from its start (0: absent),
 * so it may lie in a bytea, in shared memory or in a file.  Every array is
 * aligned to 64 bytes.  The block never changes once compiled.
 */
typedef uint64_t KernelOffset;
#define KERNEL_AT(model, type, offset) \
	((const type *) ((const char *) (model) + (offset)))

#define KERNEL_MAGIC  UINT64_C(0x6c656e72656b6166) /* "fakernel" */
#define KERNEL_LAYOUT 4 /* raised whenever the block's layout changes */

#define KERNEL_LOG_FLOOR \
	2.220446049250313e-16 /* pymdp's eps: L(x) = ln max(x, eps) */
#define KERNEL_TIE 1e-9	  /* relative width of a tie */

/* A set of columns (conditional distributions), dense or sparse. */
typedef struct KernelMatrix
{
	int32_t		 sparse; /* 0: values is [columns][rows] */
	int32_t		 rows;
	int64_t		 columns;
	KernelOffset values;  /* double, [columns][rows] or [entries] */
	KernelOffset starts;  /* sparse: int64_t[columns + 1] into the next two */
	KernelOffset indices; /* sparse: int32_t[entries], the row of each value */
} KernelMatrix;

/*
 * The same by row, as a step reads it: sum over p of x[p] * M(r | p) is rest[r]
 * times the sum of x, plus x[columns[k]] * values[k] for the entries k of the
 * row.  Of B there is a group of S(f) rows for each action.  starts is 0 where
 * the matrix is dense and this does not pay.
 */
typedef struct KernelRows
{
	KernelOffset starts;  /* int64_t[rows + 1] into the next two */
	KernelOffset columns; /* int32_t[entries], within the group */
	KernelOffset values;  /* double[entries]: what is more than the rest */
	KernelOffset rest;	  /* double[rows], or 0: all 0 */
} KernelRows;

typedef struct KernelModality
{
	KernelOffset name;	   /* zero-terminated string */
	KernelOffset labels;   /* KernelOffset[outcomes] of strings, or 0 */
	int32_t		 outcomes; /* O(m) */
	int32_t		 parent_count;
	KernelOffset parents;		/* int32_t[parent_count], factor indices */
	int64_t		 parent_states; /* P(m) */
	KernelMatrix A;				/* P(m) columns of O(m) rows */
	KernelRows	 rows;			/* the same by row */

	/*
	 * L(A) by outcome: O(m) columns of P(m) rows, what one outcome says about
	 * the joint states.  Where sparse, a row not listed holds L(0).
	 */
	KernelMatrix log_A;
	KernelOffset ambiguity; /* double[P(m)]: -sum_o A L(A), in nats */
	KernelOffset C;			/* double[policy_length][O(m)], raw as in pymdp */
	KernelOffset pA;		/* double[P(m)][O(m)] counts, or 0 */
	double		 lr_pA;		/* rate: counts added by one observation */
	int32_t		 outcome_offset; /* of this modality in a row of all outcomes */
	int32_t		 learned; /* learn_A and pA given: counts are the agent's */
	KernelOffset gain_A;  /* double[P(m)][O(m)]: W(pA) where pA > 0, else 0;
								 * or 0: absent, no gain */
} KernelModality;

typedef struct KernelFactor
{
	KernelOffset name;			/* zero-terminated string */
	KernelOffset labels;		/* KernelOffset[states], or 0 */
	int32_t		 states;		/* S(f) */
	int32_t		 belief_offset; /* of this factor in a belief */
	int32_t		 parent_count;
	int32_t		 control_count;
	KernelOffset parents;		/* int32_t[parent_count], factor indices */
	KernelOffset controls;		/* int32_t[control_count], control indices */
	int64_t		 parent_states; /* P(f) */
	int64_t		 actions;		/* U(f); 1 where control_count is 0 */
	KernelMatrix B;				/* U(f) * P(f) columns of S(f) rows */
	KernelRows	 rows;			/* the same by row */
	KernelOffset H;		  /* double[states] of 0 and 1, or 0 where absent */
	KernelOffset I;		  /* double[inductive_depth][states] of 0 and 1, or
								 * 0: no goal in this factor */
	KernelOffset pB;	  /* double[U(f)][P(f)][S(f)] counts, or 0 */
	KernelOffset gain_B;  /* the same shape: W(pB) where pB > 0, or 0 */
	double		 lr_pB;	  /* rate: counts added by one transition */
	int32_t		 learned; /* learn_B and pB given */
	int32_t		 padding; /* 0, so that no byte of a block is undefined */
} KernelFactor;

typedef struct KernelControl
{
	KernelOffset name;	  /* zero-terminated string */
	KernelOffset labels;  /* KernelOffset[actions], or 0 */
	int32_t		 actions; /* at least 1 */
	int32_t		 padding; /* 0 */
} KernelControl;

/*
 * The plan of evaluation: what all policies share is computed once.
 *
 * The policies form a tree of action prefixes ("branches", breadth first, so
 * that the branches of one plan step are contiguous).  What a factor's
 * predicted belief depends on is only the actions of the controls that reach it
 * (its own, and those of its ancestors along B's parents), so each factor has a
 * smaller tree of "moves"; and what a modality's expected outcomes depend on is
 * only the moves of its parents, its "views".  The value of a branch is its
 * parent's plus the values of its moves and views.
 *
 * Moves and views are numbered by plan step too: those of plan step t are
 * [starts[t], starts[t + 1]).  A move number of -1 is the current belief.
 */
typedef struct KernelMoves /* of one factor */
{
	KernelOffset starts;	/* int32_t[policy_length + 1] */
	KernelOffset actions;	/* int32_t[count]: flat action u < U(f) */
	KernelOffset parents;	/* int32_t[count][parent_count]: the move of each
								 * parent factor one step before, -1 at step 0 */
	KernelOffset of_branch; /* int32_t[branch_count]: this factor's move */
	int32_t		 count;
	int32_t		 predicted; /* plan steps whose moves' beliefs are needed as
								 * such: all of them; all but the last, which
								 * is foreseen (foresee.c); or 0, where all that
								 * see the factor share numbers */
} KernelMoves;

/*
 * Numbers that the views of one modality share, where all its parents move by
 * maps: a predicted probability is the sum of the current ones of some states,
 * and equal sums, products and expected probabilities are there once.  Each
 * one is made of one before it and of something more, so that they are computed
 * in order.
 */
typedef struct KernelNumbers
{
	KernelOffset sum_starts; /* int32_t[parent_count + 1]: sums by parent */
	KernelOffset sums;		 /* int32_t[][2]: sum before and state that is
								 * added; the first S(f) sums of a parent are its
								 * states, which are not listed */
	KernelOffset products;	 /* int32_t[product_count][parent_count]: the sum
								 * of each parent; 0 for one parent, whose sums
								 * are the products */
	KernelOffset terms;		 /* int32_t[term_count][2]: term before, and the
								 * product that is added ... */
	KernelOffset weights;	 /* double[term_count]: ... times this; term 0 is
								 * the number 0 */
	KernelOffset expected;	 /* int32_t[expected_count]: the term that is an
								 * expected probability */
	KernelOffset starts;	 /* int32_t[views + 1] into the next two; 0: the
								 * modality shares no numbers */
	KernelOffset outcomes;	 /* int32_t[]: outcomes of a view that are not
								 * impossible */
	KernelOffset of_outcome; /* int32_t[]: and which expected probability */
	KernelOffset ambiguity;	 /* int32_t[views]: the term that it is */
	int32_t		 product_count;
	int32_t		 term_count;
	int32_t		 expected_count;
	int32_t		 padding;
} KernelNumbers;

typedef struct KernelViews /* of one modality */
{
	KernelOffset starts;	/* int32_t[policy_length + 1] */
	KernelOffset moves;		/* int32_t[count][parent_count]: the move of each
								 * parent factor at the same step; 0 where
								 * numbers are shared */
	KernelOffset of_branch; /* int32_t[branch_count]: this modality's view */
	KernelOffset axes;		/* int32_t[parent_count]: the order in which parents
								 * are summed away; views that agree in the
								 * first of them are neighbours */
	int32_t		 count;
	int32_t		 contracted; /* 1: parents are summed away one after another;
								 * 0: by the product of their beliefs */
	KernelOffset table; /* where contracted, double[P(m)][O(m) + 1]: the columns
								 * of A, each with its ambiguity behind it, the
								 * parents in the order of axes */
	KernelOffset ahead; /* where the one parent's last moves are foreseen,
								 * double[U(f)][S(f)][O(m)]: the columns of A B,
								 * by the state before; else 0 */
	KernelOffset ahead_ambiguity; /* likewise double[U(f)][S(f)], in nats */
	KernelNumbers numbers;
} KernelViews;

/*
 * The place of a joint state of the parents [count], row-major as they are
 * listed, in a table that has them in the order of axes (view_order.c).
 */
extern int64_t kernel_place_by_axes(int64_t joint, const int32_t *sizes,
									const int32_t *axes, int32_t count);

typedef enum KernelSampling /* pymdp's sampling_mode: what is chosen */
{
	KERNEL_FULL,	/* a policy, of which the first actions are done */
	KERNEL_MARGINAL /* an action of each control, for itself */
} KernelSampling;

typedef enum KernelSelection /* pymdp's action_selection: how */
{
	KERNEL_DETERMINISTIC, /* the most probable, by the rule of ties */
	KERNEL_STOCHASTIC	  /* one drawn */
} KernelSelection;

/* The head of a block; all arrays follow in the same block. */
typedef struct KernelModel
{
	uint64_t	 magic;	 /* KERNEL_MAGIC */
	uint32_t	 layout; /* KERNEL_LAYOUT */
	int32_t		 factor_count;
	int64_t		 size; /* bytes of the whole block */
	int32_t		 modality_count;
	int32_t		 control_count;
	int32_t		 belief_size;  /* sum of S(f) */
	int32_t		 outcome_size; /* sum of O(m) */
	int32_t		 policy_count;
	int32_t		 policy_length; /* plan steps */
	int32_t		 branch_count;
	int32_t		 iterations; /* of fixed-point inference, pymdp's num_iter */
	int32_t		 inductive_depth; /* rows of I of every factor */
	int32_t		 sampling;		  /* KernelSampling */
	int32_t		 selection;		  /* KernelSelection */
	int32_t		 use_utility; /* pymdp's use_* and learn_* switches, 0 or 1 */
	int32_t		 use_states_info_gain;
	int32_t		 use_param_info_gain;
	int32_t		 use_inductive;
	int32_t		 learn_A;
	int32_t		 learn_B;
	int32_t		 padding;			  /* 0 */
	double		 gamma;				  /* precision of policies, 1/nats */
	double		 alpha;				  /* precision of drawn actions */
	double		 inductive_threshold; /* a transition must exceed it */
	double		 inductive_epsilon;	  /* in (0, 1]; its ln is a cost */
	KernelOffset factors;			  /* KernelFactor[factor_count] */
	KernelOffset modalities;		  /* KernelModality[modality_count] */
	KernelOffset controls;			  /* KernelControl[control_count] */
	KernelOffset D;					  /* double[belief_size] */
	KernelOffset log_E;				  /* double[policy_count]: L(E) */
	KernelOffset
		policies; /* int32_t[policy_count][policy_length][control_count] */
	KernelOffset leaf_of_policy; /* int32_t[policy_count]: its last branch */
	KernelOffset branch_starts;	 /* int32_t[policy_length + 1] */
	KernelOffset branch_parent;	 /* int32_t[branch_count], -1 at plan step 0 */
	KernelOffset moves;			 /* KernelMoves[factor_count] */
	KernelOffset views;			 /* KernelViews[modality_count] */
	uint64_t	 shape; /* hash of what a belief and counts need: sizes,
								 * dependencies, what is learned; equal shapes
								 * may be swapped under an agent */
} KernelModel;

#define kernel_factor(model, f) \
	(KERNEL_AT(model, KernelFactor, (model)->factors) + (f))
#define kernel_modality(model, m) \
	(KERNEL_AT(model, KernelModality, (model)->modalities) + (m))
#define kernel_control(model, c) \
	(KERNEL_AT(model, KernelControl, (model)->controls) + (c))

/*
 * kernel_compile (compile.c, which names the files that do the work)
 *
 * Validates a spec (the JSON object of README.md, section "The spec") and lays
 * it out.  All problems that can be told apart are added to *problems; the
 * model, in the host's arena, is set only when there is none.
 */
extern KernelStatus
kernel_compile(const KernelHost *host, const JsonValue *spec,
			   const KernelModel **model, KernelProblems *problems);

/* Is this a whole block of this library's layout?  (cheap, on loading) */
extern bool kernel_model_valid(const void *block, size_t size);

/* Label of one state, outcome or action into buffer; invented where unnamed. */
extern const char *kernel_label(const KernelModel *model, KernelOffset labels,
								int32_t index, char buffer[16]);

/* Index of a label among count, or -1; a decimal number within range counts. */
extern int32_t kernel_label_index(const KernelModel *model, KernelOffset labels,
								  int32_t count, const char *label);

/* Index of a factor, modality or control by name, or -1. */
extern int32_t kernel_factor_index(const KernelModel *model, const char *name);
extern int32_t
kernel_modality_index(const KernelModel *model, const char *name);
extern int32_t kernel_control_index(const KernelModel *model, const char *name);

/* ---------- parameters that differ by agent (parameters.c) ---------- */

/*
 * A packed override is an array of doubles that is stored with the agent:
 * [0] a bit mask of the parts present, then gamma, alpha, inductive_epsilon,
 * then for each part present, in this order: C [sum over m of policy_length *
 * O(m)], D [belief_size], log_E [policy_count], lr_pA [modality_count],
 * lr_pB [factor_count].
 */
enum
{
	KERNEL_HAS_C = 1,
	KERNEL_HAS_D = 2,
	KERNEL_HAS_E = 4,
	KERNEL_HAS_LR_A = 8,
	KERNEL_HAS_LR_B = 16
};

/*
 * A packed override, unpacked: pointers into it, so it has to stay.  The three
 * numbers are always set, from the model where the agent has none.
 */
typedef struct KernelParameters
{
	double		  gamma;
	double		  alpha;
	double		  inductive_epsilon;
	const double *C;	 /* [m][policy_length][O(m)], or NULL: the model's */
	const double *D;	 /* [belief_size], or NULL */
	const double *log_E; /* [policy_count], or NULL */
	const double *lr_pA; /* [modality_count], or NULL */
	const double *lr_pB; /* [factor_count], or NULL */
} KernelParameters;

/*
 * Packs those members of an agent's params object that are numbers of the
 * model: gamma, alpha, inductive_epsilon, C, D, E, lr_pA, lr_pB.  Other members
 * are left to the caller, who passes the names that it knows (NULL-terminated)
 * so that the unknown ones are problems here.  *packed is NULL where nothing
 * is overridden.
 */
extern KernelStatus
kernel_parameters_pack(const KernelHost *host, const KernelModel *model,
					   const JsonValue	 *params,
					   const char *const *known_elsewhere, double **packed,
					   int32_t *length, KernelProblems *problems);

/*
 * Points parameters into packed [length]; at the model's numbers for NULL.
 * False where the array cannot belong to this model.
 */
extern bool
kernel_parameters_unpack(const KernelModel *model, const double *packed,
						 int32_t length, KernelParameters *parameters);

/* One belief [belief_size] from JSON: arrays by factor, or objects by name. */
extern KernelStatus
kernel_belief_parse(const KernelHost *host, const KernelModel *model,
					const JsonValue *value, const char *path, double *belief,
					KernelProblems *problems);

/* ---------- random numbers (random.c) ---------- */

typedef enum KernelPurpose /* what a draw is for: part of its counter */
{
	KERNEL_DRAW_POLICY,
	KERNEL_DRAW_ACTION,
	KERNEL_DRAW_WORLD_START,
	KERNEL_DRAW_WORLD_MOVE,
	KERNEL_DRAW_WORLD_OUTCOME
} KernelPurpose;

/* Uniform in [0, 1), a function of its arguments alone (Philox4x32-10). */
extern double
kernel_uniform(uint64_t seed, uint64_t step, uint32_t purpose, uint32_t index);

/* ---------- a step of a block of agents (step.c and others) ---------- */

/*
 * What one agent has learned: its own counts in place of the model's, in the
 * layout of the model's pA and pB.  Arrays are those of learned modalities one
 * after another, then of learned factors; see kernel_learned_parts().
 */
typedef struct KernelLearned
{
	double *counts;	  /* [kernel_learned_size()] */
	bool	A_active; /* A is E[pA]; before the first update A is the
								 * model's */
	bool	B_active; /* likewise B */
} KernelLearned;

/*
 * One agent's step: what goes in, and room for what comes out.  All arrays are
 * the caller's, who keeps them between steps.
 */
typedef struct KernelAgent
{
	/* in */
	uint64_t	   seed;  /* of all its draws */
	uint64_t	   step;  /* the life step that is being made, from 1 */
	const double  *prior; /* [belief_size]: the belief that the last step
								 * left, or the initial one */
	const int32_t *did;	  /* [control_count]: the action executed since, or
								 * NULL: prior is the prior as it stands */
	const int32_t *observation;			/* [modality_count], -1: missing */
	const KernelParameters *parameters; /* NULL: the model's */
	const KernelLearned	   *learned;	/* NULL: the model's A and B */

	/* out */
	double		*belief;  /* [belief_size]: the posterior; may be prior */
	int32_t		*action;  /* [control_count] */
	double		 vfe;	  /* variational free energy, nats */
	double		*q_pi;	  /* [policy_count], or NULL if not wanted */
	double		*neg_efe; /* [policy_count], or NULL */
	KernelStatus status;  /* KERNEL_OK, or KERNEL_RANGE */
} KernelAgent;

typedef struct KernelWorkspace KernelWorkspace;

/*
 * Room for the intermediate results of some agents at a time; good for any
 * number of calls.  kernel_workspace_size() is its bytes, or -1 where they overflow;
 * kernel_workspace() returns NULL where the host gives no memory.
 */
extern int64_t kernel_workspace_size(const KernelModel *model);
extern KernelWorkspace *
kernel_workspace(const KernelHost *host, const KernelModel *model);

/*
 * How many agents of a model kernel_step() takes side by side on this machine,
 * at the time of one: 1 where it takes them one after another, as it does with
 * all that have learned.
 */
extern int32_t kernel_abreast(const KernelWorkspace *workspace);

/*
 * Perceive, plan and choose for each of the block's agents.  Where an agent's
 * numbers overflow, or its prior is not finite, its status is KERNEL_RANGE and
 * what was written for it means nothing; the call returns KERNEL_RANGE too.
 * All other agents are done as if it were not there.
 *
 * Agents without learned counts are taken several at a time, in the vector
 * instructions of the machine.  An agent's results are the same to the bit
 * alone, in any block and at any place in it, on one instruction set.
 */
extern KernelStatus
kernel_step(const KernelHost *host, const KernelModel *model,
			KernelWorkspace *workspace, KernelAgent *agents, int32_t count);

/*
 * The instruction set in use: "avx512", "avx2", "sse2" or "plain".  It is the
 * best one of the machine; tests may have another one, if the machine has it
 * (else false).  All agree to the tolerance of the golden data.
 */
extern const char *kernel_instructions(void);
extern bool		   kernel_use_instructions(const char *name);

/*
 * The posterior alone, belief [belief_size] and its free energy, from prior
 * [belief_size] as it stands and observation [modality_count]: fa_infer.
 */
extern KernelStatus
kernel_infer(const KernelHost *host, const KernelModel *model,
			 KernelWorkspace *workspace, const double *prior,
			 const int32_t *observation, double *belief, double *vfe);

/*
 * The first half of a step, for agents who pool what they perceive before they
 * plan: predicted [belief_size] is the next prior, agent->belief the posterior
 * from it, agent->vfe its free energy.  Parameters do not matter to it.
 */
extern KernelStatus
kernel_perceive(const KernelHost *host, const KernelModel *model,
				KernelWorkspace *workspace, KernelAgent *agent,
				double *predicted);

/*
 * Why: the parts of each policy's neg_efe, from the belief that chose.
 * Each output is double[policy_count], room of the caller.  neg_efe is the sum
 * of the four below it, in nats; a part that is switched off is 0.
 */
typedef struct KernelExplanation
{
	double *q_pi;
	double *neg_efe;
	double *utility;
	double *state_info_gain;
	double *param_info_gain;
	double *inductive;
} KernelExplanation;

extern KernelStatus
kernel_explain(const KernelHost *host, const KernelModel *model,
			   KernelWorkspace *workspace, const double *belief,
			   const KernelParameters *parameters, const KernelLearned *learned,
			   KernelExplanation *explanation);

/* ---------- pooling beliefs (fuse.c) ---------- */

typedef enum KernelRule
{
	KERNEL_PRODUCT,	  /* evidence multiplied, what is shared counted once */
	KERNEL_LINEAR,	  /* the mean, weights summing to 1 */
	KERNEL_LOG_LINEAR /* the mean of the logarithms, likewise */
} KernelRule;

/* What one agent believes of a factor. */
typedef struct KernelExpert
{
	double		  weight;	 /* above 0 */
	const double *belief;	 /* [states] */
	const double *reference; /* [states]: the part of it that others may know
							  * too, or NULL: all of it; only in a product */
} KernelExpert;

/*
 * pooled [states] from the beliefs of experts [count], at least one; returns
 * the logarithm of the sum that normalised it, 0 for a linear pool.
 */
extern double kernel_fuse(const KernelHost *host, KernelRule rule,
						  const KernelExpert *experts, int32_t count,
						  int32_t states, double *pooled);

/*
 * Does factor f never change, whatever is done?  Then observations of different
 * times are evidence of the same state.  False where its B is learned.
 */
extern bool kernel_factor_stays(const KernelHost  *host,
								const KernelModel *model, int32_t f);

/* ---------- learning (learn.c) ---------- */

/*
 * Counts are stored in parts, so that a step rewrites only those that changed:
 * one part for each learned modality, and one for each flat action of each
 * learned factor.
 */
typedef struct KernelLearnedPart
{
	int32_t array;	/* m, or modality_count + f */
	int32_t slice;	/* 0, or the flat action u */
	int64_t offset; /* into KernelLearned.counts */
	int64_t length;
} KernelLearnedPart;


/* Doubles of one agent's counts, and the parts that they are divided into. */
extern int64_t kernel_learned_size(const KernelModel *model);
extern int32_t kernel_learned_part_count(const KernelModel *model);
extern KernelLearnedPart
kernel_learned_part(const KernelModel *model, int32_t part);

/* The model's own counts, before anything was learned. */
extern void
kernel_learned_start(const KernelModel *model, KernelLearned *learned);

/*
 * The Dirichlet update that one step owes (A with its outcomes and posterior;
 * B with the posterior before, the action between and the posterior, where
 * before is not NULL).  changed[part] is set for each part that differs.
 */
extern void
kernel_learn(const KernelModel *model, const KernelParameters *parameters,
			 KernelLearned *learned, const int32_t *observation,
			 const double *belief, const double *before, const int32_t *did,
			 bool *changed);

/*
 * Columns as they are now, for people: E[pA] or the model's A into
 * [P(m)][O(m)], E[pB] or the model's B into [U(f)][P(f)][S(f)].  learned may
 * be NULL.
 */
extern void
kernel_learned_A(const KernelModel *model, const KernelLearned *learned,
				 int32_t modality, double *columns);
extern void
kernel_learned_B(const KernelModel *model, const KernelLearned *learned,
				 int32_t factor, double *columns);

/* ---------- worlds (world.c): the process that answers actions ---------- */

/*
 * A world's state is [factor_count], one true state of each factor.  It starts
 * from D [belief_size] (the world's own where NULL), moves by an action
 * [control_count], and shows an observation [modality_count].  Equal seeds and
 * steps give equal draws.
 */
extern void kernel_world_start(const KernelModel *world, const double *D,
							   uint64_t seed, uint64_t step, int32_t *state);
extern void
kernel_world_move(const KernelModel *world, uint64_t seed, uint64_t step,
				  const int32_t *action, const int32_t *state, int32_t *next);
extern void
kernel_world_observe(const KernelModel *world, uint64_t seed, uint64_t step,
					 const int32_t *state, int32_t *observation);

/* ---------- numbers (math.c) ---------- */

extern double kernel_log(double x);		/* L(x) = ln max(x, KERNEL_LOG_FLOOR) */
extern double kernel_digamma(double x); /* psi(x), x > 0 */

/*
 * W of README.md, "Planning": -[ln a0 - ln a + psi(a + 1) - psi(a0 + 1)] for
 * one column of counts a [rows], 0 where a is 0; a0 is their sum.
 */
extern void
kernel_gain_column(const double *counts, int32_t rows, double *gain);

/*
 * I [depth][states] from H [states] and B (U * states columns): exactly-i-step
 * predecessors, pymdp's generate_I_matrix.  scratch is [states * states].
 */
extern void
kernel_inductive(const KernelHost *host, const double *H, int32_t states,
				 int64_t columns, const double *dense_B, double threshold,
				 int32_t depth, double *scratch, double *I);

#endif /* FA_KERNEL_H */
