/*
 * lanes_math.h
 *		Logarithms and exponentials of arrays, sums, and products with tables.
 *
 * Sums are made in an order that depends on their length alone: four running
 * sums take turns, so that one addition need not wait for the one before it.
 */
#ifndef FA_KERNEL_LANES_MATH_H
#define FA_KERNEL_LANES_MATH_H

#include "lanes.h"

/* ln eps = -52 ln 2: the logarithm of everything that is not above eps */
#define LOG_OF_FLOOR -36.04365338911715

/* below it e^x is less than any normal number, and is taken as 0 */
#define EXP_FLOOR -708.0

/*
 * L of WIDTH numbers.  The floor is put in by choice and not by the logarithm,
 * so that leaving out a logarithm that nobody needs changes no bit.
 */
ALWAYS_INLINE Wide
wide_L(Wide x)
{
	Wide floor = wide_splat(KERNEL_LOG_FLOOR);

	if (!wide_any_above(x, floor))
		return wide_splat(LOG_OF_FLOOR);
	return wide_above(x, floor, wide_log(wide_above(x, floor, x, floor)),
					  wide_splat(LOG_OF_FLOOR));
}

/*
 * e^x of WIDTH numbers that are not above 0.  NaN stays NaN, so that it cannot
 * pass for an impossible state.
 */
ALWAYS_INLINE Wide
wide_power(Wide x)
{
	Wide floor = wide_splat(EXP_FLOOR);

	return wide_above(floor, x, wide_splat(0.0),
					  wide_exp(wide_above(floor, x, floor, x)));
}

/*
 * out [count] = L(x) [count], in place too.  What is left over at the end is
 * filled up to a whole register with ones.
 */
static __attribute__((noinline)) void
log_slice(const double *x, int64_t count, double *out)
{
	int64_t i = 0;

	for (; i + WIDTH <= count; i += WIDTH)
		wide_store(out + i, wide_L(wide_load(x + i)));
	if (i < count)
	{
		double rest[WIDTH];

		for (int32_t k = 0; k < WIDTH; k++)
			rest[k] = i + k < count ? x[i + k] : 1.0;
		wide_store(rest, wide_L(wide_load(rest)));
		memcpy(out + i, rest, (size_t) (count - i) * sizeof(double));
	}
}

/*
 * x [count] = e^x, in place, likewise.
 */
static __attribute__((noinline)) void
exp_slice(double *x, int64_t count)
{
	int64_t i = 0;

	for (; i + WIDTH <= count; i += WIDTH)
		wide_store(x + i, wide_power(wide_load(x + i)));
	if (i < count)
	{
		double rest[WIDTH];

		for (int32_t k = 0; k < WIDTH; k++)
			rest[k] = i + k < count ? x[i + k] : 0.0;
		wide_store(rest, wide_power(wide_load(rest)));
		memcpy(x + i, rest, (size_t) (count - i) * sizeof(double));
	}
}

/* Numbers of an array that are done at a time: whole registers. */
#define SLICE 65536

/*
 * The same for arrays of any length: a logarithm takes much longer than what
 * else is done with a number, so they are done slice by slice.  (The functions
 * of a slice stand by themselves, so that their code is there once: twice the
 * code makes small steps slower.)
 */
static void
log_array(KernelWorkspace *workspace, const double *x, int64_t count,
		  double *out)
{
	for (; count > SLICE; count -= SLICE, x += SLICE, out += SLICE)
	{
		log_slice(x, SLICE, out);
		worked(workspace, SLICE * COST_OF_LOG / WIDTH);
	}
	log_slice(x, count, out);
}

static void
exp_array(KernelWorkspace *workspace, double *x, int64_t count)
{
	for (; count > SLICE; count -= SLICE, x += SLICE)
	{
		exp_slice(x, SLICE);
		worked(workspace, SLICE * COST_OF_LOG / WIDTH);
	}
	exp_slice(x, count);
}

/*
 * What dot(), dot_shared() and total() have in common: the sum of term(i), i <
 * count, in four running sums.  The last terms are written out, so that the
 * sums can stay in registers.  Of one lane the four are one vector, and quad(i)
 * adds to all of them, where the terms lie side by side
 * (SUM_OF_EACH_TERM: where they do not).
 */
#define SUM_OF_LAST_TERMS(term, count) \
	if (i < (count))                   \
		a = term(i, a);                \
	if (i + 1 < (count))               \
		b = term(i + 1, b);            \
	if (i + 2 < (count))               \
		c = term(i + 2, c);            \
	return (a + b) + (c + d)

#if LANES == 1 && WIDTH >= 4
#define SUM_OF_TERMS(term, quad, count) \
	__m256d sums = _mm256_setzero_pd(); \
	double	four[4];                    \
	double	a, b, c, d;                 \
	int64_t i = 0;                      \
	for (; i + 4 <= (count); i += 4)    \
		sums = quad(i, sums);           \
	_mm256_storeu_pd(four, sums);       \
	a = four[0];                        \
	b = four[1];                        \
	c = four[2];                        \
	d = four[3];                        \
	SUM_OF_LAST_TERMS(term, count)
#else
#define SUM_OF_TERMS(term, quad, count) SUM_OF_EACH_TERM(term, count)
#endif
#define SUM_OF_EACH_TERM(term, count)            \
	Vector	a = splat(0.0), b = a, c = a, d = a; \
	int64_t i = 0;                               \
	for (; i + 4 <= (count); i += 4)             \
	{                                            \
		a = term(i, a);                          \
		b = term(i + 1, b);                      \
		c = term(i + 2, c);                      \
		d = term(i + 3, d);                      \
	}                                            \
	SUM_OF_LAST_TERMS(term, count)

/*
 * The sum of x [count].
 */
ALWAYS_INLINE Vector
total(const Vector *x, int64_t count)
{
#define TERM(i, sum) ((sum) + x[i])
#define QUAD(i, sum) _mm256_add_pd(sum, _mm256_loadu_pd(x + (i)))
	SUM_OF_TERMS(TERM, QUAD, count);
#undef TERM
#undef QUAD
}

/*
 * The sum of x [count] * y [count].
 */
ALWAYS_INLINE Vector
dot(const Vector *x, const Vector *y, int64_t count)
{
#define TERM(i, sum) multiply_add(x[i], y[i], sum)
#define QUAD(i, sum) \
	_mm256_fmadd_pd(_mm256_loadu_pd(x + (i)), _mm256_loadu_pd(y + (i)), sum)
	SUM_OF_TERMS(TERM, QUAD, count);
#undef TERM
#undef QUAD
}

/*
 * The same with y of the model, equal for all lanes.
 */
#if LANES == 1
#define dot_shared dot
#else
ALWAYS_INLINE Vector
dot_shared(const Vector *x, const double *y, int64_t count)
{
#define TERM(i, sum) multiply_add(x[i], splat(y[i]), sum)
	SUM_OF_TERMS(TERM, , count);
#undef TERM
}
#endif

/*
 * The largest of x [count], count at least 1.  It has no order to keep: no
 * rounding is in it.
 */
ALWAYS_INLINE Vector
largest_of(const Vector *x, int64_t count)
{
	Vector	a = x[0], b = a, c = a, d = a;
	int64_t i = 1;

	for (; i + 4 <= count; i += 4)
	{
		a = larger_of(x[i], a);
		b = larger_of(x[i + 1], b);
		c = larger_of(x[i + 2], c);
		d = larger_of(x[i + 3], d);
	}
	for (; i < count; i++)
		a = larger_of(x[i], a);
	return larger_of(larger_of(d, c), larger_of(b, a));
}

/*
 * out [count] = x [count] less the largest of them, so that no exponential of
 * it overflows and their sum cannot be 0.  An infinite or NaN number makes its
 * lane NaN, which the caller of a step looks for.
 */
ALWAYS_INLINE void
subtract_largest(const Vector *x, int64_t count, Vector *out)
{
	Vector largest = largest_of(x, count);

	for (int64_t i = 0; i < count; i++)
		out[i] = x[i] - largest;
}

/*
 * x [count] divided by their sum, in place.
 */
ALWAYS_INLINE void
divide_by_total(Vector *x, int64_t count)
{
	Vector scale = splat(1.0) / total(x, count);

	for (int64_t i = 0; i < count; i++)
		x[i] = x[i] * scale;
}

/*
 * softmax(x) in place, x [count], count at least 1.
 */
static void
softmax(KernelWorkspace *workspace, Vector *x, int64_t count)
{
	subtract_largest(x, count, x);
	exp_array(workspace, NUMBERS(x), count * LANES);
	divide_by_total(x, count);
}

/*
 * The tables of combine(): what is read of them at once, a Unit, is one row of
 * all lanes, or several rows of one lane, the last n of a table too.
 */
#if LANES == 1
#define UNIT					  WIDTH
#define unit_splat(x)			  wide_splat(x)
#define unit_of(table, i)		  wide_load((table) + (i))
#define unit_of_last(table, i, n) wide_load_some((table) + (i), n)
#define unit_add(x, u, s)		  wide_multiply_add(wide_splat(x), u, s)
#define unit_of_own(table, n)	  wide_load(table)
#define unit_store				  wide_store
#define unit_store_last(to, x, n) wide_store_some(to, x, n)
typedef Wide Unit;
#else
#define UNIT					  1
#define unit_splat(x)			  splat(x)
#define unit_of(table, i)		  splat((table)[i])
#define unit_of_last(table, i, n) ((void) (n), splat((table)[i]))
#define unit_add(x, u, s)		  multiply_add(x, u, s)
#define unit_of_own(table, n)	  ((void) (n), *(table))
#define unit_store(to, x)		  (*(to) = (x))
#define unit_store_last(to, x, n) (*(to) = (x))
typedef Vector Unit;
#endif

/*
 * Units whose sums are made at once, of one belief and of each of several: they
 * fit the registers of every set, and eight rows side by side are a cache line
 * of the table, which is then read once.
 */
#define UNITS_AT_ONCE	8
#define UNITS_OF_EACH	(WIDTH < 8 ? 2 : LANES == 1 ? 4 : 8)
#define BELIEFS_AT_ONCE (WIDTH == 8 && LANES > 1 ? 2 : 4)

/*
 * out[k][r] = sum over c of x[k][c] * table[c * stride + r], for the rows of
 * some units from r on, of which the last has last rows, and for some beliefs.
 * The table is one of the model, equal for all lanes (shared), or one of each
 * lane (own); the other is NULL.  count and beliefs are constants wherever it
 * is called.  The sum of a row is in the order of c, whatever the number of
 * rows and beliefs taken at once.
 */
ALWAYS_INLINE void
combine_units(const double *shared, const Vector *own, int64_t stride,
			  int64_t columns, const Vector *const *x, Vector *const *out,
			  int64_t r, int32_t last, const int32_t beliefs,
			  const int32_t count)
{
	Unit sum[BELIEFS_AT_ONCE][UNITS_AT_ONCE];

	for (int32_t k = 0; k < beliefs; k++)
	{
		for (int32_t i = 0; i < count; i++)
			sum[k][i] = unit_splat(0.0);
	}
	for (int64_t c = 0; c < columns; c++)
	{
		int64_t at = c * stride + r;

		for (int32_t i = 0; i < count; i++)
		{
			Unit unit;

			if (own != NULL)
				unit = unit_of_own(own + at + i * UNIT,
								   i < count - 1 ? UNIT : last);
			else if (i < count - 1)
				unit = unit_of(shared + at, i * UNIT);
			else
				unit = unit_of_last(shared + at, i * UNIT, last);
			for (int32_t k = 0; k < beliefs; k++)
				sum[k][i] = unit_add(x[k][c], unit, sum[k][i]);
		}
	}
	for (int32_t k = 0; k < beliefs; k++)
	{
		for (int32_t i = 0; i < count - 1; i++)
			unit_store(out[k] + r + i * UNIT, sum[k][i]);
		unit_store_last(out[k] + r + (count - 1) * UNIT, sum[k][count - 1],
						last);
	}
}

/*
 * How many units to take at once: no more than most, and as many each time, for
 * to take one alone is to wait for each of its additions.
 */
ALWAYS_INLINE int64_t
units_at_once(int64_t units, int64_t most)
{
	int64_t times = (units + most - 1) / most;

	return times == 0 ? 1 : (units + times - 1) / times;
}

/* Calls function with a count, 1 to UNITS_AT_ONCE, as a constant. */
#define WITH_CONSTANT(count, function, ...) \
	switch (count)                          \
	{                                       \
		case 1:                             \
			function(__VA_ARGS__, 1);       \
			break;                          \
		case 2:                             \
			function(__VA_ARGS__, 2);       \
			break;                          \
		case 3:                             \
			function(__VA_ARGS__, 3);       \
			break;                          \
		case 4:                             \
			function(__VA_ARGS__, 4);       \
			break;                          \
		case 5:                             \
			function(__VA_ARGS__, 5);       \
			break;                          \
		case 6:                             \
			function(__VA_ARGS__, 6);       \
			break;                          \
		case 7:                             \
			function(__VA_ARGS__, 7);       \
			break;                          \
		default:                            \
			function(__VA_ARGS__, 8);       \
	}

/*
 * The rows of one belief, with the table of combine_units().
 */
ALWAYS_INLINE void
combine_rows(const double *shared, const Vector *own, int64_t stride,
			 int64_t columns, int64_t rows, const Vector *x, Vector *out)
{
	int64_t step =
		units_at_once((rows + UNIT - 1) / UNIT, UNITS_AT_ONCE) * UNIT;

	for (int64_t r = 0; r < rows; r += step)
	{
		int64_t left = rows - r < step ? rows - r : step;
		int32_t count = (int32_t) ((left + UNIT - 1) / UNIT);
		int32_t last = (int32_t) (left - (count - 1) * UNIT);

		WITH_CONSTANT(count, combine_units, shared, own, stride, columns, &x,
					  &out, r, last, 1);
	}
}

/*
 * The rows of BELIEFS_AT_ONCE beliefs: what is read of the table serves them
 * all, and while one sum waits for its addition there are others to be made.
 */
ALWAYS_INLINE void
combine_rows_of_each(const double *shared, const Vector *own, int64_t stride,
					 int64_t columns, int64_t rows, const Vector *const *x,
					 Vector *const *out)
{
	int64_t step =
		units_at_once((rows + UNIT - 1) / UNIT, UNITS_OF_EACH) * UNIT;

	for (int64_t r = 0; r < rows; r += step)
	{
		int64_t left = rows - r < step ? rows - r : step;
		int32_t count = (int32_t) ((left + UNIT - 1) / UNIT);
		int32_t last = (int32_t) (left - (count - 1) * UNIT);

		WITH_CONSTANT(count, combine_units, shared, own, stride, columns, x,
					  out, r, last, BELIEFS_AT_ONCE);
	}
}

/*
 * out [rows] = sum over c < columns of x[c] * table[c * stride + r], with a
 * table of the model, equal for all lanes.
 */
static void
combine(const double *table, int64_t stride, int64_t columns, int64_t rows,
		const Vector *x, Vector *out)
{
	combine_rows(table, NULL, stride, columns, rows, x, out);
}

/*
 * The same for several beliefs x [beliefs], each with its out.
 */
static void
combine_each(const double *table, int64_t stride, int64_t columns, int64_t rows,
			 const Vector *const *x, Vector *const *out, int32_t beliefs)
{
	int32_t k = 0;

	for (; k + BELIEFS_AT_ONCE <= beliefs; k += BELIEFS_AT_ONCE)
		combine_rows_of_each(table, NULL, stride, columns, rows, x + k,
							 out + k);
	for (; k < beliefs; k++)
		combine(table, stride, columns, rows, x[k], out[k]);
}

/*
 * The same two with a table of each lane.
 */
#if LANES == 1
#define combine_own		 combine
#define combine_own_each combine_each
#else
static void
combine_own(const Vector *table, int64_t stride, int64_t columns, int64_t rows,
			const Vector *x, Vector *out)
{
	combine_rows(NULL, table, stride, columns, rows, x, out);
}

static void
combine_own_each(const Vector *table, int64_t stride, int64_t columns,
				 int64_t rows, const Vector *const *x, Vector *const *out,
				 int32_t beliefs)
{
	int32_t k = 0;

	for (; k + BELIEFS_AT_ONCE <= beliefs; k += BELIEFS_AT_ONCE)
		combine_rows_of_each(NULL, table, stride, columns, rows, x + k,
							 out + k);
	for (; k < beliefs; k++)
		combine_own(table, stride, columns, rows, x[k], out[k]);
}
#endif

/*
 * out [rows] = sum over columns p of weights[p] * M(. | p), for one group of
 * columns.
 */
static void
mix_columns(const Mixture *mixture, int64_t group, const Vector *weights,
			Vector *out)
{
	int32_t		   count = mixture->rows;
	const int64_t *starts = mixture->starts;
	const int32_t *columns = mixture->columns;
	const double  *values = mixture->values;
	Vector		   all;

	if (starts == NULL)
	{
		combine(mixture->dense + group * mixture->width * count, count,
				mixture->width, count, weights, out);
		return;
	}
	starts += group * count;
	if (mixture->rest == NULL)
	{
		for (int32_t r = 0; r < count; r++)
			out[r] = splat(0.0);
	}
	else
	{
		all = total(weights, mixture->width);
		for (int32_t r = 0; r < count; r++)
			out[r] = all * splat(mixture->rest[group * count + r]);
	}
	for (int32_t r = 0; r < count; r++)
	{
		Vector sum = out[r];

		for (int64_t k = starts[r]; k < starts[r + 1]; k++)
			sum = multiply_add(weights[columns[k]], splat(values[k]), sum);
		out[r] = sum;
	}
}

/*
 * The product of some marginals [P], row-major; room has that many vectors.
 * One marginal is its own product: it is returned as it stands.
 */
static const Vector *
joint_of(const Vector *const *marginals, const int32_t *sizes, int32_t count,
		 Vector *room)
{
	int64_t size = 1;

	if (count == 1)
		return marginals[0];
	room[0] = splat(1.0);
	for (int32_t i = 0; i < count; i++)
	{
		/* from the back, so that the shorter product is still there to read */
		for (int64_t j = size - 1; j >= 0; j--)
		{
			Vector weight = room[j];

			for (int32_t s = sizes[i] - 1; s >= 0; s--)
				room[j * sizes[i] + s] = weight * marginals[i][s];
		}
		size *= sizes[i];
	}
	return room;
}

#endif /* FA_KERNEL_LANES_MATH_H */
