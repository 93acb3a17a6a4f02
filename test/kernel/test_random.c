/*
 * test_random.c
 *	  Random models against the formulas of src/kernel/README.md, written here as
 *	  plainly as they stand there.
 *
 * The reference knows no plan, no sparse matrices, no merged moves and no order
 * of contraction: it follows each policy on its own, and every expectation is a
 * sum over all joint states of all factors.  What the kernel saves by sharing
 * must not change a number.  The golden data pins the formulas; this pins what
 * depends on how factors, controls and policies happen to be connected.
 */
#include "support.h"
#include "tap.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MODELS	  10000
#define STEPS	  5
#define TOLERANCE 1e-10

/* The largest models: every list and axis has at most so many. */
#define MANY	 3
#define JOINT	 27 /* joint states of MANY factors */
#define FLAT	 9	/* flat actions of two controls */
#define POLICIES 48

/* Indices in a listed order, which is the order of axes. */
typedef struct List
{
	int count;
	int items[MANY];
} List;

typedef struct Toy
{
	int	 factors;
	int	 modalities;
	int	 controls;
	int	 states[MANY];
	int	 outcomes[MANY];
	int	 actions[MANY]; /* of a control */
	List parents[MANY]; /* of a factor */
	List drivers[MANY]; /* the controls of a factor */
	List sees[MANY];	/* the factors of a modality */

	double A[MANY][MANY][JOINT]; /* [m][outcome][joint state of sees] */
	double pA[MANY][MANY][JOINT];
	double B[MANY][MANY][JOINT][FLAT]; /* [f][next][parents][drivers] */
	double pB[MANY][MANY][JOINT][FLAT];
	bool   has_pA[MANY];
	bool   has_pB[MANY];
	bool   certain[MANY];		/* B[f] is a map of states */
	double C[MANY][MANY][MANY]; /* [m][row][outcome] */
	int	   rows_of_C;			/* 0: one for all plan steps */
	double D[MANY][MANY];
	double H[MANY][MANY];

	int	   length;
	int	   policies;
	int	   policy[POLICIES][MANY][MANY]; /* [policy][plan step][control] */
	bool   listed;						 /* in the spec, not enumerated */
	double E[POLICIES];
	double gamma;
	int	   iterations;
	int	   depth;
	bool   utility;
	bool   info_gain;
	bool   param_gain;
	bool   inductive;
	bool   learn_A;
	bool   learn_B;
	double rate_A;
	double rate_B;
} Toy;

typedef double Belief[MANY][MANY]; /* [factor][state] */

/* ---------- chance ---------- */

static uint64_t model_seed;
static uint64_t draws;

static double
uniform(void)
{
	return kernel_uniform(model_seed, draws++, 0, 0);
}

/* A whole number from low to high, both included. */
static int
between(int low, int high)
{
	return low + (int) (uniform() * (high - low + 1));
}

static bool
chance(double probability)
{
	return uniform() < probability;
}

/* Some of the numbers below size, in any order. */
static List
some(int size, int fewest, int most)
{
	List list = {0, {0}};
	int	 all[MANY] = {0, 1, 2};

	list.count = between(fewest, most < size ? most : size);
	for (int i = 0; i < list.count; i++)
	{
		int at = between(i, size - 1);

		list.items[i] = all[at];
		all[at] = all[i];
	}
	return list;
}

/* ---------- joint indices ---------- */

static int
volume(const List *list, const int *sizes)
{
	int size = 1;

	for (int i = 0; i < list->count; i++)
		size *= sizes[list->items[i]];
	return size;
}

/* Row-major over the listed order: the last is the fastest. */
static int
joint_index(const List *list, const int *sizes, const int *values)
{
	int index = 0;

	for (int i = 0; i < list->count; i++)
		index = index * sizes[list->items[i]] + values[list->items[i]];
	return index;
}

/* Takes the number of a joint state of all factors apart; false after the last. */
static bool
joint_state(const Toy *toy, int number, int *state)
{
	for (int f = toy->factors - 1; f >= 0; f--)
	{
		state[f] = number % toy->states[f];
		number /= toy->states[f];
	}
	return number == 0;
}

/* The product of the factors' beliefs at a joint state, one factor left out. */
static double
weight(const Toy *toy, Belief q, const int *state, int left_out)
{
	double product = 1.0;

	for (int f = 0; f < toy->factors; f++)
		product *= f == left_out ? 1.0 : q[f][state[f]];
	return product;
}

static bool
contains(const List *list, int item)
{
	for (int i = 0; i < list->count; i++)
	{
		if (list->items[i] == item)
			return true;
	}
	return false;
}

/* ---------- random models ---------- */

/*
 * One column, its rows a stride apart: certain, with zeros, dense, or with
 * probabilities that are tiny, down to the least numbers there are.  A kind for
 * each: what is merged, what is left out where it is zero, what must not be left
 * out, and the rest.
 */
static void
random_column(double *column, int rows, int stride, bool certain)
{
	double sum = 0.0;
	int	   sure = between(0, rows - 1);
	bool   zeros = chance(0.4);
	bool   tiny = chance(0.3);

	for (int r = 0; r < rows; r++)
	{
		double value = 0.02 + uniform();

		if (tiny)
			value = pow(10.0, -320.0 * uniform() * uniform() * uniform());
		if (certain || (zeros && chance(0.5)))
			value = 0.0;
		column[r * stride] = r == sure ? 1.0 : value;
		sum += column[r * stride];
	}
	for (int r = 0; r < rows; r++)
		column[r * stride] /= sum;
}

static void
random_connections(Toy *toy)
{
	/* the inductive term asks for factors that depend on themselves alone */
	bool alone = toy->inductive = chance(0.25);

	toy->factors = between(1, MANY);
	toy->modalities = between(1, MANY);
	toy->controls = between(1, MANY);
	for (int c = 0; c < toy->controls; c++)
		toy->actions[c] = between(1, MANY);
	for (int m = 0; m < toy->modalities; m++)
	{
		toy->outcomes[m] = between(1, MANY);
		toy->sees[m] = some(toy->factors, 1, MANY);
	}
	for (int f = 0; f < toy->factors; f++)
	{
		toy->states[f] = between(2, MANY);
		toy->drivers[f] = some(toy->controls, 0, 2);
		toy->parents[f] = some(toy->factors, 1, MANY);
		if (alone || chance(0.4))
			toy->parents[f] = (List){1, {f}};
	}
}

static void
random_arrays(Toy *toy)
{
	bool counted = chance(0.6); /* counts keep equal moves apart */

	for (int m = 0; m < toy->modalities; m++)
	{
		for (int p = 0; p < volume(&toy->sees[m], toy->states); p++)
			random_column(&toy->A[m][0][p], toy->outcomes[m], JOINT,
						  chance(0.2));
		for (int i = 0; i < MANY * MANY; i++)
			toy->C[m][i / MANY][i % MANY] = 4.0 * uniform() - 2.0;
		toy->has_pA[m] = counted && chance(0.7);
		for (int i = 0; i < MANY * JOINT; i++)
			toy->pA[m][i / JOINT][i % JOINT] = 0.1 + 5.0 * uniform();
	}
	for (int f = 0; f < toy->factors; f++)
	{
		toy->certain[f] = chance(0.5);
		for (int p = 0; p < volume(&toy->parents[f], toy->states); p++)
		{
			for (int u = 0; u < volume(&toy->drivers[f], toy->actions); u++)
				random_column(&toy->B[f][0][p][u], toy->states[f], JOINT * FLAT,
							  toy->certain[f]);
		}
		random_column(toy->D[f], toy->states[f], 1, false);
		for (int s = 0; s < MANY; s++)
			toy->H[f][s] = chance(0.3) ? 1.0 : 0.0;
		toy->has_pB[f] = counted && chance(0.7);
		for (int i = 0; i < MANY * JOINT * FLAT; i++)
			toy->pB[f][i / (JOINT * FLAT)][i / FLAT % JOINT][i % FLAT] =
				0.1 + 5.0 * uniform();
	}
}

/* Every policy, in lexicographic order, or some of them in any. */
static void
random_policies(Toy *toy)
{
	List every = {toy->controls, {0, 1, 2}};
	int	 joint = volume(&every, toy->actions);
	int	 count = joint;

	toy->length = 1;
	while (toy->length < MANY && count * joint <= POLICIES && chance(0.8))
	{
		count *= joint;
		toy->length++;
	}
	toy->listed = chance(0.3);
	toy->policies = toy->listed ? between(1, 12) : count;
	for (int p = 0; p < toy->policies; p++)
	{
		int rest = toy->listed ? between(0, count - 1) : p;

		for (int i = toy->length * toy->controls - 1; i >= 0; i--)
		{
			int c = i % toy->controls;

			toy->policy[p][i / toy->controls][c] = rest % toy->actions[c];
			rest /= toy->actions[c];
		}
		toy->E[p] = p > 0 && chance(0.1) ? 0.0 : 0.1 + uniform();
	}
}

static void
random_model(Toy *toy)
{
	bool any_pA = false;
	bool any_pB = false;

	memset(toy, 0, sizeof(*toy));
	random_connections(toy);
	random_arrays(toy);
	random_policies(toy);
	for (int m = 0; m < toy->modalities; m++)
		any_pA |= toy->has_pA[m];
	for (int f = 0; f < toy->factors; f++)
		any_pB |= toy->has_pB[f];
	toy->learn_A = any_pA && chance(0.4);
	toy->learn_B = any_pB && chance(0.4);
	toy->param_gain = (any_pA || any_pB) && chance(0.6);
	toy->utility = chance(0.8);
	toy->info_gain = chance(0.8);
	toy->rows_of_C = between(0, MANY);
	toy->gamma = 4.0 * uniform();
	toy->iterations = between(1, 16);
	toy->depth = between(1, 4);
	toy->rate_A = 0.2 + 2.0 * uniform();
	toy->rate_B = 0.2 + 2.0 * uniform();
}

/* ---------- the model as a spec ---------- */

static char	  spec_text[1 << 18];
static size_t spec_length;

static void __attribute__((format(printf, 1, 2))) put(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	spec_length += (size_t) vsnprintf(
		spec_text + spec_length, sizeof(spec_text) - spec_length, format, args);
	va_end(args);
}

/* Nested lists of numbers, row-major; returns where the next number lies. */
static const double *
put_numbers(const int *sizes, int rank, const double *numbers)
{
	if (rank == 0)
	{
		put("%.17g", *numbers);
		return numbers + 1;
	}
	for (int i = 0; i < sizes[0]; i++)
	{
		put("%s", i == 0 ? "[" : ", ");
		numbers = put_numbers(sizes + 1, rank - 1, numbers);
	}
	put("]");
	return numbers;
}

static void
put_ints(const int *numbers, int count)
{
	put("[");
	for (int i = 0; i < count; i++)
		put("%s%d", i == 0 ? "" : ", ", numbers[i]);
	put("]");
}

static void
put_lists(const char *key, const List *lists, int count)
{
	put(", \"%s\": [", key);
	for (int i = 0; i < count; i++)
	{
		put("%s", i == 0 ? "" : ", ");
		put_ints(lists[i].items, lists[i].count);
	}
	put("]");
}

static int
add_axes(int *sizes, int rank, const List *list, const int *of)
{
	for (int i = 0; i < list->count; i++)
		sizes[rank++] = of[list->items[i]];
	return rank;
}

static void
put_of_A(const Toy *toy, const double table[][JOINT], int m)
{
	double flat[MANY * JOINT];
	int	   sizes[1 + MANY] = {toy->outcomes[m]};
	int	   rank = add_axes(sizes, 1, &toy->sees[m], toy->states);
	int	   joint = volume(&toy->sees[m], toy->states);

	for (int i = 0; i < toy->outcomes[m] * joint; i++)
		flat[i] = table[i / joint][i % joint];
	put_numbers(sizes, rank, flat);
}

static void
put_of_B(const Toy *toy, const double table[][JOINT][FLAT], int f)
{
	double flat[MANY * JOINT * FLAT];
	int	   sizes[1 + MANY + 2] = {toy->states[f]};
	int	   rank = add_axes(sizes, 1, &toy->parents[f], toy->states);
	int	   joint = volume(&toy->parents[f], toy->states);
	int	   actions = volume(&toy->drivers[f], toy->actions);

	rank = add_axes(sizes, rank, &toy->drivers[f], toy->actions);
	for (int i = 0; i < toy->states[f] * joint * actions; i++)
		flat[i] = table[i / actions / joint][i / actions % joint][i % actions];
	put_numbers(sizes, rank, flat);
}

/* A certain B by the next states. */
static void
put_next(const Toy *toy, int f)
{
	double flat[JOINT * FLAT] = {0};
	int	   sizes[MANY + 2];
	int	   rank = add_axes(sizes, 0, &toy->parents[f], toy->states);
	int	   actions = volume(&toy->drivers[f], toy->actions);
	int	   count = volume(&toy->parents[f], toy->states) * actions;

	rank = add_axes(sizes, rank, &toy->drivers[f], toy->actions);
	for (int i = 0; i < count; i++)
	{
		for (int s = 0; s < toy->states[f]; s++)
			flat[i] += s * toy->B[f][s][i / actions][i % actions];
	}
	put("{\"next\": ");
	put_numbers(sizes, rank, flat);
	put("}");
}

static void
put_modalities(const Toy *toy)
{
	put("{\"A\": [");
	for (int m = 0; m < toy->modalities; m++)
	{
		put("%s", m == 0 ? "" : ", ");
		put_of_A(toy, toy->A[m], m);
	}
	put("], \"pA\": [");
	for (int m = 0; m < toy->modalities; m++)
	{
		put("%s", m == 0 ? "" : ", ");
		if (toy->has_pA[m])
			put_of_A(toy, toy->pA[m], m);
		else
			put("null");
	}
	put("], \"C\": [");
	for (int m = 0; m < toy->modalities; m++)
	{
		put("%s", m == 0 ? "" : ", ");
		for (int i = 0; i < toy->rows_of_C; i++)
		{
			put("%s", i == 0 ? "[" : ", ");
			put_numbers(&toy->outcomes[m], 1, toy->C[m][i]);
		}
		if (toy->rows_of_C == 0)
			put_numbers(&toy->outcomes[m], 1, toy->C[m][0]);
		else
			put("]");
	}
	put("]");
}

static void
put_factors(const Toy *toy)
{
	put(", \"B\": [");
	for (int f = 0; f < toy->factors; f++)
	{
		put("%s", f == 0 ? "" : ", ");
		/* next says nothing of the number of states; the parents must */
		if (toy->certain[f] && f % 2 == 1 && contains(&toy->parents[f], f))
			put_next(toy, f);
		else
			put_of_B(toy, toy->B[f], f);
	}
	put("], \"pB\": [");
	for (int f = 0; f < toy->factors; f++)
	{
		put("%s", f == 0 ? "" : ", ");
		if (toy->has_pB[f])
			put_of_B(toy, toy->pB[f], f);
		else
			put("null");
	}
	put("], \"D\": [");
	for (int f = 0; f < toy->factors; f++)
	{
		put("%s", f == 0 ? "" : ", ");
		put_numbers(&toy->states[f], 1, toy->D[f]);
	}
	put("], \"H\": [");
	for (int f = 0; f < toy->factors; f++)
	{
		put("%s", f == 0 ? "" : ", ");
		put_numbers(&toy->states[f], 1, toy->H[f]);
	}
	put("]");
}

static void
put_policies(const Toy *toy)
{
	put(", \"policies\": [");
	for (int p = 0; p < toy->policies; p++)
	{
		for (int t = 0; t < toy->length; t++)
		{
			put("%s", t > 0 ? ", " : p > 0 ? ", [" : "[");
			put_ints(toy->policy[p][t], toy->controls);
		}
		put("]");
	}
	put("]");
}

static const char *
truth(bool value)
{
	return value ? "true" : "false";
}

static void
put_spec(const Toy *toy)
{
	spec_length = 0;
	put_modalities(toy);
	put_factors(toy);
	put_lists("A_dependencies", toy->sees, toy->modalities);
	put_lists("B_dependencies", toy->parents, toy->factors);
	put_lists("B_action_dependencies", toy->drivers, toy->factors);
	put(", \"num_controls\": ");
	put_ints(toy->actions, toy->controls);
	if (toy->listed)
		put_policies(toy);
	else
		put(", \"policy_len\": %d", toy->length);
	put(", \"E\": ");
	put_numbers(&toy->policies, 1, toy->E);
	put(", \"gamma\": %.17g, \"num_iter\": %d, \"use_utility\": %s, "
		"\"use_states_info_gain\": %s, \"use_param_info_gain\": %s, "
		"\"learn_A\": %s, \"learn_B\": %s, \"lr_pA\": %.17g, "
		"\"lr_pB\": %.17g, \"use_inductive\": %s, \"inductive_depth\": %d, "
		"\"inductive_threshold\": 0.2, \"inductive_epsilon\": 0.01}",
		toy->gamma, toy->iterations, truth(toy->utility), truth(toy->info_gain),
		truth(toy->param_gain), truth(toy->learn_A), truth(toy->learn_B),
		toy->rate_A, toy->rate_B, truth(toy->inductive), toy->depth);
}

/* ---------- the formulas ---------- */

static double
floored_log(double x)
{
	return log(fmax(x, 2.220446049250313e-16));
}

static void
softmax(double *x, int count)
{
	double largest = x[0];
	double sum = 0.0;

	for (int i = 1; i < count; i++)
		largest = fmax(largest, x[i]);
	for (int i = 0; i < count; i++)
		sum += x[i] = exp(x[i] - largest);
	for (int i = 0; i < count; i++)
		x[i] /= sum;
}

/* next = the belief after one action. */
static void
predict(const Toy *toy, Belief q, const int *action, Belief next)
{
	int state[MANY];

	memset(next, 0, sizeof(Belief));
	for (int f = 0; f < toy->factors; f++)
	{
		int u = joint_index(&toy->drivers[f], toy->actions, action);

		for (int n = 0; joint_state(toy, n, state); n++)
		{
			int p = joint_index(&toy->parents[f], toy->states, state);

			for (int s = 0; s < toy->states[f]; s++)
				next[f][s] += weight(toy, q, state, -1) * toy->B[f][s][p][u];
		}
	}
}

/* ln P(outcome | joint state), 0 where the outcome is missing. */
static double
evidence(const Toy *toy, int m, int outcome, const int *state)
{
	if (outcome < 0)
		return 0.0;
	return floored_log(
		toy->A[m][outcome][joint_index(&toy->sees[m], toy->states, state)]);
}

/* The posterior; returns the free energy. */
static double
perceive(const Toy *toy, Belief prior, const int *outcomes, Belief q)
{
	Belief update;
	double energy = 0.0;
	int	   state[MANY];

	for (int f = 0; f < toy->factors; f++)
	{
		for (int s = 0; s < toy->states[f]; s++)
			q[f][s] = 1.0 / toy->states[f];
	}
	for (int i = 0; i < (toy->factors == 1 ? 1 : toy->iterations); i++)
	{
		memset(update, 0, sizeof(update));
		for (int f = 0; f < toy->factors; f++)
		{
			for (int s = 0; s < toy->states[f]; s++)
				update[f][s] = floored_log(prior[f][s]);
			for (int m = 0; m < toy->modalities; m++)
			{
				for (int n = 0;
					 contains(&toy->sees[m], f) && joint_state(toy, n, state);
					 n++)
					update[f][state[f]] += weight(toy, q, state, f) *
										   evidence(toy, m, outcomes[m], state);
			}
			softmax(update[f], toy->states[f]);
		}
		memcpy(q, update, sizeof(update));
	}
	for (int f = 0; f < toy->factors; f++)
	{
		for (int s = 0; s < toy->states[f]; s++)
			energy +=
				q[f][s] * (floored_log(q[f][s]) - floored_log(prior[f][s]));
	}
	for (int n = 0; joint_state(toy, n, state); n++)
	{
		for (int m = 0; m < toy->modalities; m++)
			energy -= weight(toy, q, state, -1) *
					  evidence(toy, m, outcomes[m], state);
	}
	return energy;
}

/* psi(x): moved up to where three terms of the series are enough. */
static long double
digamma(long double x)
{
	long double shift = 0.0L;
	long double power;

	for (; x < 60.0L; x += 1.0L)
		shift += 1.0L / x;
	power = 1.0L / (x * x);
	return logl(x) - 0.5L / x -
		   power * (1.0L / 12 - power * (1.0L / 120 - power / 252)) - shift;
}

/* -W of a count a in a column that sums to a0. */
static double
count_gain(long double a, long double a0)
{
	return (double) (logl(a0) - logl(a) + digamma(a + 1) - digamma(a0 + 1));
}

/* What one modality is worth where q is expected, at plan step t. */
static double
value_of_outcomes(const Toy *toy, int m, int t, Belief q)
{
	const double *C = toy->C[m][t < toy->rows_of_C ? t :
								toy->rows_of_C > 0 ? toy->rows_of_C - 1 :
													 0];
	double		  expected[MANY] = {0};
	double		  value = 0.0;
	int			  state[MANY];

	for (int n = 0; joint_state(toy, n, state); n++)
	{
		int p = joint_index(&toy->sees[m], toy->states, state);

		for (int o = 0; o < toy->outcomes[m]; o++)
			expected[o] += weight(toy, q, state, -1) * toy->A[m][o][p];
	}
	for (int o = 0; o < toy->outcomes[m]; o++)
	{
		value += toy->utility ? expected[o] * C[o] : 0.0;
		value -= toy->info_gain ? expected[o] * floored_log(expected[o]) : 0.0;
	}
	for (int n = 0; joint_state(toy, n, state); n++)
	{
		int	   p = joint_index(&toy->sees[m], toy->states, state);
		double w = weight(toy, q, state, -1);
		double sum = 0.0;

		for (int o = 0; o < toy->outcomes[m]; o++)
		{
			sum += toy->pA[m][o][p];
			if (toy->info_gain)
				value += w * toy->A[m][o][p] * floored_log(toy->A[m][o][p]);
		}
		for (int o = 0; o < toy->outcomes[m]; o++)
		{
			if (toy->param_gain && toy->has_pA[m])
				value += w * expected[o] * count_gain(toy->pA[m][o][p], sum);
		}
	}
	return value;
}

/* What the move itself teaches: from the belief before to the one after. */
static double
value_of_move(const Toy *toy, int f, const int *action, Belief before,
			  Belief after)
{
	int	   u = joint_index(&toy->drivers[f], toy->actions, action);
	double value = 0.0;
	int	   state[MANY];

	for (int n = 0;
		 toy->param_gain && toy->has_pB[f] && joint_state(toy, n, state); n++)
	{
		int	   p = joint_index(&toy->parents[f], toy->states, state);
		double sum = 0.0;

		for (int s = 0; s < toy->states[f]; s++)
			sum += toy->pB[f][s][p][u];
		for (int s = 0; s < toy->states[f]; s++)
			value += weight(toy, before, state, -1) * after[f][s] *
					 count_gain(toy->pB[f][s][p][u], sum);
	}
	return value;
}

/* Does some action lead from a state to another with more than the threshold? */
static bool
reaches(const Toy *toy, int f, int from, int to)
{
	for (int u = 0; u < volume(&toy->drivers[f], toy->actions); u++)
	{
		if (toy->B[f][to][from][u] > 0.2)
			return true;
	}
	return false;
}

/* I[row][state], by its definition: reached the goal in exactly row steps. */
static bool
on_the_way(const Toy *toy, int f, int row, int state)
{
	if (row == 0)
		return toy->H[f][state] > 0.0;
	for (int to = 0; to < toy->states[f]; to++)
	{
		if (reaches(toy, f, state, to) && on_the_way(toy, f, row - 1, to))
			return true;
	}
	return false;
}

/* The rule of ties: the lowest index within 1e-9 of the largest. */
static int
most_probable(const double *p, int count)
{
	double largest = p[0];
	int	   i = 0;

	for (int k = 1; k < count; k++)
		largest = fmax(largest, p[k]);
	while (p[i] < largest * (1.0 - KERNEL_TIE))
		i++;
	return i;
}

static double
inductive_value(const Toy *toy, int f, Belief now, Belief after)
{
	int	   likely = most_probable(now[f], toy->states[f]);
	double off = 0.0;
	int	   row = 0;

	while (row < toy->depth && !on_the_way(toy, f, row, likely))
		row++;
	if (row == toy->depth)
		return 0.0;
	for (int s = 0; s < toy->states[f]; s++)
	{
		if (!on_the_way(toy, f, row > 0 ? row - 1 : 0, s))
			off += after[f][s];
	}
	return off * log(0.01);
}

/* neg_efe of one policy, followed alone. */
static double
follow(const Toy *toy, int policy, Belief now)
{
	Belief before;
	Belief after;
	double value = 0.0;

	memcpy(before, now, sizeof(Belief));
	for (int t = 0; t < toy->length; t++)
	{
		const int *action = toy->policy[policy][t];

		predict(toy, before, action, after);
		for (int m = 0; m < toy->modalities; m++)
			value += value_of_outcomes(toy, m, t, after);
		for (int f = 0; f < toy->factors; f++)
		{
			value += value_of_move(toy, f, action, before, after);
			if (toy->inductive)
				value += inductive_value(toy, f, now, after);
		}
		memcpy(before, after, sizeof(Belief));
	}
	return value;
}

/* ---------- learning ---------- */

static void
learn_outcomes(Toy *toy, const int *outcomes, Belief q)
{
	int state[MANY];

	for (int m = 0; m < toy->modalities; m++)
	{
		int joint = volume(&toy->sees[m], toy->states);

		for (int n = 0; outcomes[m] >= 0 && joint_state(toy, n, state); n++)
			toy->pA[m][outcomes[m]]
				   [joint_index(&toy->sees[m], toy->states, state)] +=
				toy->has_pA[m] ? toy->rate_A * weight(toy, q, state, -1) : 0.0;
		for (int p = 0; toy->has_pA[m] && p < joint; p++)
		{
			double sum = 0.0;

			for (int o = 0; o < toy->outcomes[m]; o++)
				sum += toy->pA[m][o][p];
			for (int o = 0; o < toy->outcomes[m]; o++)
				toy->A[m][o][p] = toy->pA[m][o][p] / sum;
		}
	}
}

static void
learn_move(Toy *toy, int f, const int *action, Belief before, Belief q)
{
	int done = joint_index(&toy->drivers[f], toy->actions, action);
	int joint = volume(&toy->parents[f], toy->states);
	int actions = volume(&toy->drivers[f], toy->actions);
	int state[MANY];

	for (int n = 0; joint_state(toy, n, state); n++)
	{
		int p = joint_index(&toy->parents[f], toy->states, state);

		for (int s = 0; s < toy->states[f]; s++)
			toy->pB[f][s][p][done] +=
				toy->rate_B * weight(toy, before, state, -1) * q[f][s];
	}
	for (int i = 0; i < joint * actions; i++)
	{
		double sum = 0.0;

		for (int s = 0; s < toy->states[f]; s++)
			sum += toy->pB[f][s][i / actions][i % actions];
		for (int s = 0; s < toy->states[f]; s++)
			toy->B[f][s][i / actions][i % actions] =
				toy->pB[f][s][i / actions][i % actions] / sum;
	}
}

/* ---------- the comparison ---------- */

/* One agent in both implementations. */
typedef struct Pair
{
	Toy				   toy;
	Belief			   q; /* the reference's belief */
	const KernelModel *model;
	KernelWorkspace	  *workspace;
	KernelLearned	   learned;
	bool			  *changed;
	double			   belief[MANY * MANY]; /* the kernel's */
	double			   q_pi[POLICIES];
	double			   neg_efe[POLICIES];
	double			   worst;	/* difference so far */
	bool			   chooses; /* equal actions so far */
} Pair;

static void
differ(Pair *pair, double got, double expected)
{
	double off = fabs(got - expected);

	if (!(off <= pair->worst))
		pair->worst = isnan(off) ? INFINITY : off;
}

/* Does a block of three, which shares lanes, give the same bits? */
static bool
same_abreast(const Pair *pair, const KernelHost *host, const KernelAgent *alone)
{
	double		beliefs[3][MANY * MANY];
	double		q_pi[POLICIES];
	double		neg_efe[POLICIES];
	int32_t		action[MANY];
	KernelAgent agents[3];

	for (int i = 0; i < 3; i++)
	{
		agents[i] = *alone;
		agents[i].belief = beliefs[i];
		agents[i].q_pi = q_pi;
		agents[i].neg_efe = neg_efe;
		agents[i].action = action;
	}
	return kernel_step(host, pair->model, pair->workspace, agents, 3) ==
			   KERNEL_OK &&
		   memcmp(beliefs[1], alone->belief,
				  sizeof(double) * (size_t) pair->model->belief_size) == 0 &&
		   memcmp(q_pi, alone->q_pi,
				  sizeof(double) * (size_t) pair->toy.policies) == 0 &&
		   memcmp(neg_efe, alone->neg_efe,
				  sizeof(double) * (size_t) pair->toy.policies) == 0 &&
		   memcmp(action, alone->action,
				  sizeof(int32_t) * (size_t) pair->toy.controls) == 0;
}

/* The kernel's step, after the update that the last one owes. */
static double
kernel_side(Pair *pair, const KernelHost *host, const int *outcomes,
			const int *did, const int *last_outcomes, const int *last_did,
			int32_t *action)
{
	static double before[MANY * MANY]; /* the belief one step earlier */
	double		  prior[MANY * MANY];
	KernelAgent	  agent = {.seed = 1,
						   .step = 1,
						   .prior = prior,
						   .did = did,
						   .observation = outcomes,
						   .belief = pair->belief,
						   .action = action,
						   .q_pi = pair->q_pi,
						   .neg_efe = pair->neg_efe};

	if (did != NULL)
		kernel_learn(pair->model, NULL, &pair->learned, last_outcomes,
					 pair->belief, last_did != NULL ? before : NULL, last_did,
					 pair->changed);
	if (pair->model->learn_A || pair->model->learn_B)
		agent.learned = &pair->learned;
	memcpy(prior, pair->belief, sizeof(prior));
	memcpy(before, prior, sizeof(prior));
	if (kernel_step(host, pair->model, pair->workspace, &agent, 1) !=
			KERNEL_OK ||
		!same_abreast(pair, host, &agent))
		pair->worst = INFINITY;
	return agent.vfe;
}

/* Would rounding decide the choice?  Then it is not compared. */
static bool
near_the_border(const double *q_pi, int count)
{
	double best = 0.0;

	for (int p = 0; p < count; p++)
		best = fmax(best, q_pi[p]);
	for (int p = 0; p < count; p++)
	{
		double below = 1.0 - q_pi[p] / best;

		if (below > KERNEL_TIE / 10 && below < KERNEL_TIE * 10)
			return true;
	}
	return false;
}

/* The same step by the formulas, and what differs. */
static void
reference_side(Pair *pair, const int *outcomes, const int *did, double vfe,
			   const int32_t *action)
{
	Toy	  *toy = &pair->toy;
	Belief before;
	Belief prior;
	double neg_efe[POLICIES];
	double q_pi[POLICIES];
	int	   offset = 0;
	int	   best;

	memcpy(before, pair->q, sizeof(Belief));
	if (did != NULL)
		predict(toy, before, did, prior);
	else
		memcpy(prior, before, sizeof(Belief));
	differ(pair, vfe, perceive(toy, prior, outcomes, pair->q));
	for (int f = 0; f < toy->factors; f++)
	{
		for (int s = 0; s < toy->states[f]; s++)
			differ(pair, pair->belief[offset++], pair->q[f][s]);
	}
	for (int p = 0; p < toy->policies; p++)
	{
		neg_efe[p] = follow(toy, p, pair->q);
		q_pi[p] = toy->gamma * neg_efe[p] + floored_log(toy->E[p]);
		differ(pair, pair->neg_efe[p], neg_efe[p]);
	}
	softmax(q_pi, toy->policies);
	for (int p = 0; p < toy->policies; p++)
		differ(pair, pair->q_pi[p], q_pi[p]);
	best = most_probable(q_pi, toy->policies);
	if (!near_the_border(q_pi, toy->policies) &&
		memcmp(action, toy->policy[best][0],
			   sizeof(int) * (size_t) toy->controls) != 0)
		pair->chooses = false;
	if (toy->learn_A)
		learn_outcomes(toy, outcomes, pair->q);
	for (int f = 0; toy->learn_B && did != NULL && f < toy->factors; f++)
	{
		if (toy->has_pB[f])
			learn_move(toy, f, did, before, pair->q);
	}
}

static void
walk(Pair *pair, const KernelHost *host)
{
	int		outcomes[STEPS][MANY];
	int		did[STEPS][MANY]; /* before the step; any action at all */
	int32_t action[MANY];

	for (int t = 0; t < STEPS; t++)
	{
		const int *now = t > 0 ? did[t] : NULL;
		double	   vfe;

		for (int m = 0; m < pair->toy.modalities; m++)
			outcomes[t][m] =
				between(chance(0.3) ? -1 : 0, pair->toy.outcomes[m] - 1);
		for (int c = 0; c < pair->toy.controls; c++)
			did[t][c] = between(0, pair->toy.actions[c] - 1);
		vfe = kernel_side(pair, host, outcomes[t], now,
						  t > 0 ? outcomes[t - 1] : NULL,
						  t > 1 ? did[t - 1] : NULL, action);
		reference_side(pair, outcomes[t], now, vfe, action);
	}
}

static bool
compile_toy(Pair *pair, const KernelHost *host)
{
	static KernelProblems problems;
	JsonValue			  spec;
	KernelStatus		  status;

	put_spec(&pair->toy);
	problems.count = 0;
	status = json_parse(host, spec_text, spec_length, &spec, &problems);
	if (status == KERNEL_OK)
		status = kernel_compile(host, &spec, &pair->model, &problems);
	if (status != KERNEL_OK)
	{
		printf("# %s\n", problems.items[0].message);
		return false;
	}
	pair->workspace = kernel_workspace(host, pair->model);
	pair->learned.counts =
		calloc((size_t) kernel_learned_size(pair->model) + 1, sizeof(double));
	pair->changed =
		calloc((size_t) kernel_learned_part_count(pair->model) + 1, 1);
	return true;
}

/* Both agents as at their birth; the toy is one that has learned nothing. */
static void
begin(Pair *pair, const Toy *toy)
{
	pair->toy = *toy;
	kernel_learned_start(pair->model, &pair->learned);
	memcpy(pair->belief, KERNEL_AT(pair->model, double, pair->model->D),
		   sizeof(double) * (size_t) pair->model->belief_size);
	memcpy(pair->q, toy->D, sizeof(Belief));
}

/*
 * Did the compiler find different actions that are the same move?  (Asked of
 * the first plan step, where all of them begin a policy.)
 */
static bool
has_merged_moves(const Pair *pair)
{
	const Toy *toy = &pair->toy;

	for (int f = 0; !toy->listed && f < toy->factors; f++)
	{
		const KernelMoves *moves =
			KERNEL_AT(pair->model, KernelMoves, pair->model->moves) + f;

		if (KERNEL_AT(pair->model, int32_t, moves->starts)[1] <
			volume(&toy->drivers[f], toy->actions))
			return true;
	}
	return false;
}

/*
 * Does a modality share numbers, of several factors at that?
 */
static bool
has_shared_products(const Pair *pair)
{
	for (int m = 0; m < pair->toy.modalities; m++)
	{
		if (KERNEL_AT(pair->model, KernelViews, pair->model->views)[m]
				.numbers.product_count > 0)
			return true;
	}
	return false;
}

static const char *const sets[] = {"plain", "sse2", "avx2", "avx512"};

/* One random model on every instruction set; returns the largest difference. */
static double
check_model(int number, int *merged, int *shared)
{
	static Pair pair;
	static Toy	toy;
	KernelHost	host;
	bool		compiled;

	memset(&pair, 0, sizeof(pair));
	pair.chooses = true;
	model_seed = (uint64_t) number;
	draws = 0;
	test_host(&host);
	random_model(&pair.toy);
	toy = pair.toy;
	compiled = compile_toy(&pair, &host);
	for (int set = 0; compiled && set < 4; set++)
	{
		if (!kernel_use_instructions(sets[set]))
			continue;
		begin(&pair, &toy);
		walk(&pair, &host);
	}
	*merged += compiled && has_merged_moves(&pair);
	*shared += compiled && has_shared_products(&pair);
	if (!compiled || !(pair.worst <= TOLERANCE) || !pair.chooses)
		ok(false, "random model %d: off by %.3g, actions %s", number,
		   pair.worst, pair.chooses ? "agree" : "differ");
	free(pair.learned.counts);
	free(pair.changed);
	free_all();
	return pair.worst;
}

int
main(void)
{
	double worst = 0.0;
	int	   merged = 0;
	int	   shared = 0;

	for (int i = 1; i <= MODELS; i++)
		worst = fmax(worst, check_model(i, &merged, &shared));
	printf("# largest difference: %.3g\n", worst);
	ok(worst <= TOLERANCE,
	   "%d random models follow the formulas, on each instruction set", MODELS);
	ok(merged >= MODELS / 40, "%d of them have moves that are equal", merged);
	ok(shared >= MODELS / 50, "%d of them share products of beliefs", shared);
	return tap_done();
}
