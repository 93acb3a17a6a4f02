/*
 * compile.h
 *		What the files of the spec compiler share; private to them.
 *
 *	problem.c	problems, places in a spec, memory with the limits applied
 *	names.c		names and labels: look-up, the nearest one
 *	group.c		all factors, modalities or controls, and what belongs to each
 *	shape.c		shapes of arrays, as written and as they must be
 *	tensor.c	arrays in their three forms: nested, sparse, next
 *	matrix.c	arrays of conditional distributions, and what follows from them
 *	vector.c	C, D, H, I, E and rates: also by label, also of one agent
 *	spec.c		factors, modalities and controls: names and values
 *	structure.c	what depends on what, by name and by index
 *	control.c	the controls, listed, mentioned or counted
 *	match.c		the order of what was named by an object
 *	size.c		the shapes of A and B, and the sizes that follow from them
 *	option.c	switches and numbers of the spec
 *	numbers.c	the arrays: A, B, C, D, E, H, I, pA, pB
 *	policy_set.c	the policies, enumerated or given
 *	rows.c		A and B by row
 *	tuples.c	distinct tuples of integers, and their numbers
 *	plan.c		the plan of evaluation
 *	view_order.c	the order of its views
 *	compile.c	the order of the work
 *	block.c		the compiled model as one block
 *	valid.c		the check of a block on loading
 *	parameters.c	the numbers that differ by agent
 *
 * A stage that finds a problem adds it and goes on with what does not depend on
 * it: sizes that are not known are 0, arrays that are not usable are absent.
 */
#ifndef FA_KERNEL_COMPILE_H
#define FA_KERNEL_COMPILE_H

#include "kernel.h"

#define lengthof(array) ((int32_t) (sizeof(array) / sizeof((array)[0])))

/* ---------- problem.c ---------- */

#define MAX_RANK	  60		 /* axes of an array; below JSON_MAX_DEPTH */
#define MAX_COUNT	  1000000000 /* states of a factor, outcomes, actions */
#define MAX_VARIABLES 4096		 /* factors, modalities or controls */
#define MAX_NUMBER	  1e100 /* sums and products of such numbers are finite */
#define TEXT_SIZE	  320	/* of a detail, as in KernelProblem */

/*
 * All pieces of one reading may take so many times the limit for a model:
 * arrays of numbers, what follows from them, lists that were sorted or have
 * grown, and at last the block.  Ordinary specs take two or three times it.
 */
#define ALLOCATED_LIMIT 4

/* What every reading needs.  The host and the problems are the caller's. */
typedef struct Reader
{
	const KernelHost *host;
	KernelProblems	 *problems;	 /* new ones are added to it */
	bool			  failed;	 /* the host gave no memory; give up */
	int64_t			  allocated; /* bytes of all pieces so far */
	bool			  exceeded;	 /* they were to be more than they may */
} Reader;

/* Where something stands in the spec, for messages. */
typedef struct Place
{
	char path[96];	 /* A[1] */
	char shown[200]; /* A[1] (modality "reward") */
} Place;

extern void *
reader_allocate(Reader *reader, int64_t count, size_t size, const char *path);
extern bool
reader_allows(Reader *reader, int64_t count, size_t size, const char *path);
extern int64_t		reader_left(const Reader *reader, int64_t size);
extern void			reader_poll(const Reader *reader);
extern KernelStatus reader_status(const Reader *reader, int32_t first);

extern void text_print(char *buffer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void text_add(char *buffer, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern const char *text_quote(char buffer[80], const char *text);
extern const char *text_value(char buffer[80], const JsonValue *value);
extern void
text_list(char *buffer, size_t size, const int32_t *items, int32_t count);

/* ---------- names.c ---------- */

/* A list of names with a hash over it. */
typedef struct Names
{
	int32_t			   count;
	const char *const *names; /* [count] */
	int32_t			  *slots; /* [mask + 1], -1: free; NULL: look at all */
	uint32_t		   mask;  /* slots less one; slots are a power of two */
} Names;

extern bool	   names_make(Reader *reader, Names *names, const char *const *list,
						  int32_t count, int32_t *repeated);
extern int32_t names_find(const Names *names, const char *name);
extern const char *
names_nearest(const char *const *list, int32_t count, const char *name);
extern void	   names_hint(char *buffer, size_t size, const char *const *list,
						  int32_t count, const char *name);
extern int32_t names_decimal(const char *text, int32_t count);
extern bool
names_check_keys(Reader *reader, const char *path, const JsonValue *object,
				 const char *const *known, const char *const *elsewhere);

/* ---------- group.c ---------- */

/* A factor's states, a modality's outcomes or a control's actions. */
typedef struct Variable
{
	const char		*name;
	bool			 named;	   /* by a person; not invented here */
	int32_t			 size;	   /* 0: not known (yet) */
	Names			*labels;   /* of the [size] values, or NULL */
	const JsonValue *said;	   /* the object that describes it, or NULL */
	char			 path[64]; /* of that object in the spec */
} Variable;

/* All factors, all modalities or all controls. */
typedef struct Group
{
	const char *noun;	/* "factor" */
	const char *plural; /* "factors", also the key of their list */
	int32_t		count;
	int32_t		room;
	Variable   *variables; /* [room], the first count are in use */
	Names		names;	   /* of them; made by group_hash() */
	bool		unordered; /* from the members of an object: lists that
								 * follow the order cannot be told apart */
} Group;

extern bool group_begin(Reader *reader, Group *group, int32_t room);
extern bool group_add(Reader *reader, Group *group, const char *name);
extern bool group_hash(Reader *reader, Group *group);
extern void
place_of(Place *place, const char *key, const Group *group, int32_t index);
extern int32_t variable_value(const Variable *variable, const JsonValue *value);
extern const JsonValue **group_items(Reader *reader, const Group *group,
									 const char *key, const JsonValue *value);

/* ---------- tensor.c ---------- */

/* How an array is written; README.md, "Arrays". */
typedef enum Form
{
	FORM_NESTED, /* lists of lists of numbers */
	FORM_SPARSE, /* {"shape": .., "default": .., "entries": ..} */
	FORM_NEXT	 /* {"next": ..}: of B, the next state of each column */
} Form;

/* The shape of an array as it was written. */
typedef struct Shape
{
	Form	form;
	int32_t rank;			 /* axes */
	int64_t sizes[MAX_RANK]; /* [rank]; FORM_NEXT: sizes[0] is 0, not written */
} Shape;

/*
 * The shape that an array must have, and where its elements go: the element
 * at [i, j, ...] has the position i * strides[0] + j * strides[1] + ...
 */
typedef struct Layout
{
	int32_t rank;
	int32_t optional;		   /* last axes, of size 1, that may be left out */
	int64_t sizes[MAX_RANK];   /* [rank], 0: not known (yet) */
	int64_t strides[MAX_RANK]; /* [rank], in elements */
	int64_t elements;		   /* product of the sizes */
} Layout;

/* One array of a spec: as it is written, and as it must be. */
typedef struct Tensor
{
	Place			 place;
	const JsonValue *value;			  /* in the tree of the spec */
	Shape			 shape;			  /* set by tensor_shape() */
	Layout			 layout;		  /* set by whoever knows what it must be */
	bool			 nonnegative;	  /* numbers below 0 are a problem */
	char			 axes[TEXT_SIZE]; /* a sentence on the axes, for a detail */
	const char		*fewer; /* NULL or a hint, for who gave fewer axes */
	const Variable	*rows;	/* FORM_NEXT: the values of the first axis */
} Tensor;

/* One element, where only those that differ from the rest are kept. */
typedef struct Entry
{
	int64_t position; /* as in Layout */
	double	value;
} Entry;

/* An array as its entries, in the arena. */
typedef struct Entries
{
	int64_t count;
	Entry  *items; /* by position, each once */
	double	rest;  /* the value of all the others */
} Entries;

extern bool tensor_is_sparse(const JsonValue *value);
extern bool
tensor_shape(Reader *reader, const Place *place, const JsonValue *value,
			 bool next_allowed, Shape *shape);
extern bool layout_add_axis(Layout *layout, int64_t size);
extern void layout_row_major(Layout *layout);
extern bool layout_fits(const Layout *layout, const Shape *shape);
extern bool tensor_fits(Reader *reader, const Tensor *tensor);
extern bool
tensor_count(Reader *reader, const Tensor *tensor, int64_t *nonzero);
extern bool tensor_entries(Reader *reader, const Tensor *tensor, int64_t room,
						   Entries *entries);
extern bool tensor_dense(Reader *reader, const Tensor *tensor, double *out);

/* ---------- matrix.c ---------- */

/* As KernelMatrix, but with pointers.  given: false where it has a problem. */
typedef struct Matrix
{
	bool	 given;
	bool	 sparse;
	int32_t	 rows;	  /* values of the variable: outcomes or next states */
	int64_t	 columns; /* conditions: P(m), or U(f) * P(f) */
	int64_t	 entries; /* numbers in values */
	double	*values;  /* [columns][rows] or [entries] */
	int64_t *starts;  /* sparse: [columns + 1] */
	int32_t *indices; /* sparse: [entries] */
} Matrix;

extern bool matrix_read(Reader *reader, const Tensor *tensor, Matrix *matrix);
extern bool
matrix_sum_to_one(Reader *reader, const Tensor *tensor, const Matrix *matrix);
extern bool
matrix_are_counts(Reader *reader, const Tensor *tensor, const double *counts);
extern bool
matrix_log(Reader *reader, const Matrix *A, const char *path, Matrix *log_A);
extern double *
matrix_ambiguity(Reader *reader, const Matrix *A, const char *path);
extern double *matrix_gain(Reader *reader, const double *counts, int32_t rows,
						   int64_t columns, const char *path);
extern double *
matrix_inductive(Reader *reader, const Matrix *B, const double *H,
				 double threshold, int32_t depth, const char *path);

/* ---------- rows.c ---------- */

/* As KernelRows, but with pointers. */
typedef struct Rows
{
	int64_t	 count;	  /* rows of all groups */
	int64_t	 entries; /* that differ from the rest of their row */
	int64_t *starts;  /* [count + 1]; NULL: kept by column alone */
	int32_t *columns; /* [entries] */
	double	*values;  /* [entries] */
	double	*rest;	  /* [count], or NULL: all 0 */
} Rows;

extern bool rows_make(Reader *reader, const Matrix *matrix, int64_t groups,
					  Rows *rows, const char *path);

/* ---------- vector.c ---------- */

extern bool vector_C(Reader *reader, const Place *place, const JsonValue *value,
					 const Variable *outcomes, int32_t steps, double *out);
extern bool vector_D(Reader *reader, const Place *place, const JsonValue *value,
					 const Variable *states, double *out);
extern bool vector_H(Reader *reader, const Place *place, const JsonValue *value,
					 const Variable *states, double *out);
extern bool vector_I(Reader *reader, const Place *place, const JsonValue *value,
					 int32_t states, int32_t *depth, double **out);
extern bool vector_E(Reader *reader, const JsonValue *value, int32_t policies,
					 double *log_E);
extern bool
vector_rates(Reader *reader, const char *key, const JsonValue *value,
			 const Group *group, double *out);

/* ---------- option.c ---------- */

/* Switches and numbers of a spec, with pymdp's meaning. */
typedef struct Options
{
	double			gamma; /* precision of policies, 1/nats */
	double			alpha; /* precision of actions, where they are drawn */
	double			inductive_threshold; /* a probability */
	double			inductive_epsilon;	 /* in (0, 1]; its ln is a cost */
	int32_t			policy_length;		 /* plan steps (policy_len) */
	int32_t			iterations;			 /* of inference (num_iter) */
	int32_t			inductive_depth;	 /* rows of I */
	KernelSampling	sampling;
	KernelSelection selection;
	bool			use_utility;
	bool			use_states_info_gain;
	bool			use_param_info_gain;
	bool			use_inductive;
	bool			learn_A;
	bool			learn_B;
} Options;

extern const char *const option_keys[];
extern const JsonValue *option_member(const JsonValue *object, const char *key);
extern const char	   *option_former(const char *key);
extern bool				option_number(Reader *reader, const JsonValue *object,
									  const char *key, double *out);
extern bool				option_allows_length(Reader *reader, int64_t length);
extern void
option_read(Reader *reader, const JsonValue *spec, Options *options);

/* ---------- spec.c, structure.c ---------- */

/* Indices into a group, as a spec lists them. */
typedef struct IndexList
{
	bool	 given; /* said in the spec, or the default since filled in */
	bool	 bad;	/* given, but with a problem: nothing follows from it */
	int32_t	 count;
	int32_t *items; /* [count], in the order of the array's axes */
} IndexList;

/*
 * What is known of one modality, besides its Variable.  Arrays are NULL until
 * they are read, and stay so where they have a problem.
 */
typedef struct SpecModality
{
	IndexList parents;		 /* factors */
	int64_t	  parent_states; /* 0: not known */
	Tensor	  tensor;		 /* A as written */
	bool	  shaped;		 /* tensor.shape is set */
	bool	  fits;			 /* and as it must be */
	Matrix	  A;			 /* P(m) columns of O(m) rows */
	Rows	  rows;			 /* the same by row */
	Matrix	  log_A;		 /* O(m) columns of P(m) rows */
	double	 *ambiguity;	 /* [P(m)], nats */
	double	 *C;			 /* [policy_length][O(m)] */
	double	 *pA;			 /* [P(m)][O(m)] counts, or NULL */
	double	 *gain;			 /* likewise, W(pA) in nats */
} SpecModality;

/* And of one factor, likewise. */
typedef struct SpecFactor
{
	IndexList parents; /* factors, often this one alone */
	IndexList controls;
	int64_t	  parent_states; /* P(f); 0: not known */
	int64_t	  actions;		 /* U(f); 0: not known */
	Tensor	  tensor;		 /* B as written */
	bool	  shaped;		 /* tensor.shape is set */
	bool	  fits;			 /* and as it must be */
	Matrix	  B;			 /* U(f) * P(f) columns of S(f) rows */
	Rows	  rows;			 /* the same by row, one group for each action */
	double	 *H;			 /* [S(f)], or NULL */
	double	 *I;			 /* [depth][S(f)], or NULL */
	int32_t	  depth;		 /* of I as given */
	double	 *pB;			 /* [U(f)][P(f)][S(f)] counts, or NULL */
	double	 *gain;			 /* likewise, W(pB) in nats */
} SpecFactor;

/* As KernelNumbers, but with pointers; starts is NULL where there are none. */
typedef struct PlanNumbers
{
	int32_t *sum_starts;
	int32_t *sums;
	int32_t *products;
	int32_t *terms;
	double	*weights;
	int32_t *expected;
	int32_t *starts;
	int32_t *outcomes;
	int32_t *of_outcome;
	int32_t *ambiguity;
	int32_t	 product_count;
	int32_t	 term_count;
	int32_t	 expected_count;
} PlanNumbers;

/* Moves of a factor or views of a modality; see KernelMoves. */
typedef struct PlanNodes
{
	int32_t	 count;
	int32_t *starts;	/* [length + 1]: those of step t are [t] to [t + 1] */
	int32_t *actions;	/* [count] flat actions, of moves only */
	int32_t *parents;	/* [count][parent_count] moves of the parents */
	int32_t *of_branch; /* [branch_count]: the node of each branch */
	int32_t *axes; /* [parent_count] of views: the order in which parents are
						 * summed away */
	bool	 contracted;	  /* of views: one parent after another */
	double	*table;			  /* of views: where contracted, see KernelViews */
	double	*ahead;			  /* of views: see KernelViews */
	double	*ahead_ambiguity; /* likewise */
	double	 work;			  /* of views: multiplications of all of them */
	const int32_t *maps;	  /* [count][S] of moves that are maps; else NULL */
	bool		   predicted; /* of moves: their beliefs are needed as such, */
	bool		   foreseen;  /* but for those of the last plan step */
	PlanNumbers	   numbers;	  /* of views: see KernelNumbers */
} PlanNodes;

/* A policy set and its plan; all arrays as in KernelModel. */
typedef struct Plan
{
	bool		   given; /* the policies are there */
	int32_t		   policy_count;
	int32_t		   length;
	int32_t		   branch_count;
	int32_t		  *policies;	   /* [policy_count][length][controls] */
	int32_t		  *leaf_of_policy; /* [policy_count] */
	int32_t		  *branch_starts;  /* [length + 1] */
	int32_t		  *branch_parent;  /* [branch_count] */
	const int32_t *branch_actions; /* [branch_count][controls] */
	PlanNodes	  *moves;		   /* [factors] */
	PlanNodes	  *views;		   /* [modalities] */
} Plan;

/*
 * A spec in the course of being compiled.  It lives on the stack of
 * kernel_compile(), its arrays in the arena.
 */
typedef struct Spec
{
	Reader			 reader;
	const JsonValue *root; /* the whole spec, an object */
	Group			 factors;
	Group			 modalities;
	Group			 controls;
	SpecFactor		*factor;	   /* [factors.count] */
	SpecModality	*modality;	   /* [modalities.count] */
	bool			 controls_bad; /* not known what the controls are */
	Options			 options;
	int32_t			 belief_size;  /* sum of S(f) */
	int32_t			 outcome_size; /* sum of O(m) */
	double			*D;			   /* [belief_size] */
	double			*log_E;		   /* [policy_count]: L(E) */
	double			*lr_pA; /* [modalities.count], counts per observation */
	double			*lr_pB; /* [factors.count], counts per transition */
	Plan			 plan;
} Spec;

extern const JsonValue *spec_member(const Spec *spec, const char *key);
extern bool				spec_variables(Spec *spec);
extern void variable_set_size(Spec *spec, Variable *variable, const char *path,
							  const JsonValue *value);
extern bool group_describe(Spec *spec, Group *group, const char *key);

/* ---------- structure.c, control.c, match.c, size.c ---------- */

extern bool controls_by_mention(Spec *spec);
extern bool own_controls(Spec *spec);
extern bool name_controls(Spec *spec);
extern void read_control_sizes(Spec *spec);
extern bool spec_structure(Spec *spec);
extern bool match_controls(Spec *spec);
extern bool match_arrays(Spec *spec);
extern bool spec_shapes(Spec *spec);
extern bool layout_of_A(const Spec *spec, int32_t m, Layout *layout);
extern bool layout_of_B(const Spec *spec, int32_t f, Layout *layout);

/* ---------- numbers.c ---------- */

extern void spec_read_A_and_B(Spec *spec);
extern bool spec_add_sizes(Spec *spec, const Group *group, int32_t *sum);
extern void spec_read_C(Spec *spec);
extern void spec_read_D(Spec *spec);
extern void spec_read_E(Spec *spec);
extern void spec_read_H(Spec *spec);
extern void spec_read_I(Spec *spec);
extern void spec_check_inductive(Spec *spec);
extern void spec_read_pA_and_pB(Spec *spec);
extern void spec_read_rates(Spec *spec);

/* ---------- tuples.c ---------- */

/* Distinct tuples and their numbers. */
typedef struct Tuples
{
	int32_t	 width; /* integers of a tuple; may be 0 */
	int32_t	 key;	/* of which the first so many tell tuples apart */
	int32_t	 most;	/* tuples that there can be */
	int32_t	 count; /* of tuples, those of earlier steps too */
	int32_t	 room;	/* tuples that items has room for */
	int32_t *items; /* [room][width] */
	int32_t *slots; /* of a hash over those of this step; -1: free */
	uint32_t mask;	/* slots in use, less one */
} Tuples;

extern uint32_t slots_for(int64_t count);
extern void		tuples_next_step(Tuples *tuples, int64_t expected);
extern int32_t *tuples_next(Reader *reader, Tuples *tuples);
extern int32_t	tuples_intern(Tuples *tuples);

/* ---------- policy_set.c, plan.c ---------- */

extern bool policies_make(Spec *spec);
extern bool plan_make(Spec *spec);

/*
 * A table that is made beside A, to be summed over (view_order.c) or to foresee
 * with (foresee.c, all of them): only as long as it takes a quarter of what a
 * model may.
 */
#define BYTES_OF_A_TABLE_ENTRY (4 * (int64_t) sizeof(double))

/* ---------- view_order.c ---------- */

/* Room for sorting the views of any modality, one after another. */
typedef struct ViewRoom
{
	int32_t *order[2]; /* [branch_count] views, before a pass and after it */
	int32_t *tally;	   /* [branch_count + 1], by move */
} ViewRoom;

extern bool views_sort(Spec *spec, int32_t m, const ViewRoom *room);
extern bool views_table(Spec *spec, int32_t m);

/* ---------- classes.c ---------- */

/*
 * The states of a parent that A of a modality does not tell apart are one
 * class: it is enough to know how probable the class is.
 */
typedef struct Classes
{
	int32_t	 states;
	int32_t	 count;
	int32_t *of_state;		 /* [states] */
	int32_t *representative; /* [count]: the first state of each */
} Classes;

extern bool
classes_find(Reader *reader, const Matrix *A, int64_t after, Classes *classes);

/* ---------- share.c ---------- */

extern bool plan_share(Spec *spec);

/* ---------- foresee.c ---------- */

extern bool plan_foresee(Spec *spec);

/* ---------- block.c ---------- */

/* Bytes: a cache line, and the widest vector load. */
#define BLOCK_ALIGNMENT 64

extern int64_t			  block_size(const Spec *spec);
extern const KernelModel *block_make(Spec *spec);

#endif /* FA_KERNEL_COMPILE_H */
