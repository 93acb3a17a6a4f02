/*
 * spec.h
 *		The text of a ready spec: what spec.c says and spec_write.c writes.
 */
#ifndef FA_SPEC_H
#define FA_SPEC_H

#include "fmgr.h"
#include "lib/stringinfo.h"

/* A factor's states, a modality's outcomes or a control's actions. */
typedef struct SpecAxis
{
	const char		  *name;
	int				   size;
	const char *const *labels;
} SpecAxis;

/* Where an action leads: the next state of one factor, with certainty. */
typedef int (*SpecMove)(const void *task, int from, int action);

/* An axis of the labels of a constant array. */
#define SPEC_AXIS(name, labels)        \
	{                                  \
		name, lengthof(labels), labels \
	}

/*
 * Limits that keep a spec's text well below the 64 MB that the compiler reads.
 * A cell takes up to 350 bytes, all its moves at risk.  A pair of nodes takes
 * only 13, but all pairs are there: whether an object is seen is known for each
 * place of the agent and each of the object, and an action goes to any node.
 */
#define SPEC_MAX_CELLS 100000
#define SPEC_MAX_NODES 1000

/*
 * The action of a factor that nobody moves.  pymdp gives each factor a control,
 * so an action has an entry for it, always 0.
 */
static const char *const spec_no_action_labels[] = {"none"};

/* A grid, whose actions are five steps in an order of their own. */
typedef struct SpecGrid
{
	int			width;
	int			height;
	const bool *wall;		/* [width * height], or NULL: none */
	const int  *directions; /* of the actions: up, right, down, left,
							 * stay are 0 to 4 */
} SpecGrid;

/* A search on a graph: states, moves, and an object that is looked for. */
typedef struct SpecSearch
{
	int				   nodes;
	const char *const *labels; /* [nodes + 1], the last where nothing is */
	SpecAxis		   moves;
	SpecMove		   move;
	const void		  *task; /* of move */
	int				   start;
	int				   object; /* nodes: nowhere; -1: open */
	double			   preference;
	int				   policy_len;
} SpecSearch;

/* ---------- spec.c ---------- */

extern void
spec_require_argument(FunctionCallInfo fcinfo, int arg, const char *name);
extern int spec_int_argument(FunctionCallInfo fcinfo, int arg, const char *name,
							 int min, int max);
extern int spec_index_argument(FunctionCallInfo fcinfo, int arg,
							   const char *name, int count);
extern bool
spec_bool_argument(FunctionCallInfo fcinfo, int arg, const char *name);
extern double
spec_probability_argument(FunctionCallInfo fcinfo, int arg, const char *name);
extern int *spec_int_array_argument(FunctionCallInfo fcinfo, int arg,
									const char *name, int *count);
extern int	spec_policy_len(FunctionCallInfo fcinfo, int arg);
extern void
spec_preferences(StringInfo buf, const SpecAxis *axis, double good, double bad);
extern double
spec_preference(FunctionCallInfo fcinfo, int arg, const char *name);

/* ---------- spec_grid.c ---------- */

extern int		spec_grid_move(const void *task, int from, int action);
extern SpecAxis spec_cells(const char *name, int width, int height);

/* ---------- spec_search.c ---------- */

extern Datum spec_search(const SpecSearch *search);

/* ---------- spec_write.c ---------- */

/* A whole spec: names, then the lists A, B, C and D one after another. */
extern void	 spec_begin(StringInfo buf);
extern void	 spec_names(StringInfo buf, int factors, const SpecAxis *states,
						const SpecAxis *actions, int modalities,
						const SpecAxis *outcomes, const int *parents);
extern void	 spec_open_list(StringInfo buf, const char *name);
extern void	 spec_next_list(StringInfo buf, const char *name);
extern Datum spec_finish(StringInfo buf, int policy_len);

/* Arrays, each an element of such a list. */
extern const double *
spec_dense(StringInfo buf, int rank, const int *shape, const double *values);
extern void
spec_open_sparse(StringInfo buf, int rank, const int *shape, double others);
extern void
spec_entry(StringInfo buf, int rank, const int *index, double value);
extern void spec_close_sparse(StringInfo buf);
extern void
spec_diagonal(StringInfo buf, int size, double diagonal, double others);
extern void spec_moves(StringInfo buf, int states, int actions, SpecMove move,
					   const void *task);
extern void spec_no_moves(StringInfo buf, int states);
extern void spec_zeros(StringInfo buf);
extern void
spec_label_value(StringInfo buf, const SpecAxis *axis, int index, double value);
extern void spec_start(StringInfo buf, const SpecAxis *axis, int known);

/* What these are made of. */
extern void spec_open(StringInfo buf, char bracket);
extern void spec_close(StringInfo buf, char bracket);
extern void spec_write_member(StringInfo buf, const char *name);
extern void spec_int(StringInfo buf, int value);
extern void spec_double(StringInfo buf, double value);

#endif /* FA_SPEC_H */
