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
static void
log_array(const double *x, int64_t count, double *out)
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
static void
exp_array(double *x, int64_t count)
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

/*
 * What dot(), dot_shared() and total() have in common: the sum of term(i), i <
 * count, in four running sums.  The last terms are written out, so that the
 * sums can stay in registers.
 */
#define SUM_OF_TERMS(term, count)                \
	Vector	a = splat(0.0), b = a, c = a, d = a; \
	int64_t i = 0;                               \
	for (; i + 4 <= (count); i += 4)             \
	{                                            \
		a = term(i, a);                          \
		b = term(i + 1, b);                      \
		c = term(i + 2, c);                      \
		d = term(i + 3, d);                      \
	}                                            \
	if (i < (count))                             \
		a = term(i, a);                          \
	if (i + 1 < (count))                         \
		b = term(i + 1, b);                      \
	if (i + 2 < (count))                         \
		c = term(i + 2, c);                      \
	return (a + b) + (c + d)

/*
 * The sum of x [count].
 */
ALWAYS_INLINE Vector
total(const Vector *x, int64_t count)
{
#define TERM(i, sum) ((sum) + x[i])
	SUM_OF_TERMS(TERM, count);
#undef TERM
}

/*
 * The sum of x [count] * y [count].
 */
ALWAYS_INLINE Vector
dot(const Vector *x, const Vector *y, int64_t count)
{
#define TERM(i, sum) multiply_add(x[i], y[i], sum)
	SUM_OF_TERMS(TERM, count);
#undef TERM
}

/*
 * The same with y of the model, equal for all lanes.
 */
ALWAYS_INLINE Vector
dot_shared(const Vector *x, const double *y, int64_t count)
{
#define TERM(i, sum) multiply_add(x[i], splat(y[i]), sum)
	SUM_OF_TERMS(TERM, count);
#undef TERM
}

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
softmax(Vector *x, int64_t count)
{
	subtract_largest(x, count, x);
	exp_array(NUMBERS(x), count * LANES);
	divide_by_total(x, count);
}

/*
 * The tables of combine(): what is read of them at once, a Unit, is one row of
 * all lanes, or several rows of one lane.
 */
#if LANES == 1
#define UNIT			  WIDTH
#define unit_splat(x)	  wide_splat(x)
#define unit_of(table, i) wide_load((table) + (i))
#define unit_add(x, u, s) wide_multiply_add(wide_splat(x), u, s)
#define unit_store		  wide_store
typedef Wide Unit;
#else
#define UNIT			  1
#define unit_splat(x)	  splat(x)
#define unit_of(table, i) splat((table)[i])
#define unit_add(x, u, s) multiply_add(x, u, s)
#define unit_store(to, x) (*(to) = (x))
typedef Vector Unit;
#endif

/*
 * out[r] = sum over c of x[c] * table[c * stride + r], for some rows r < count
 * * UNIT that fit the registers; count is a constant wherever it is called.
 * The sum of a row is in the order of c, whatever the number of rows taken at
 * once.
 */
ALWAYS_INLINE void
combine_units(const double *table, int64_t stride, int64_t columns,
			  const Vector *x, Vector *out, const int32_t count)
{
	Unit sum[8];

	for (int32_t i = 0; i < count; i++)
		sum[i] = unit_splat(0.0);
	for (int64_t c = 0; c < columns; c++)
	{
		const double *column = table + c * stride;

		for (int32_t i = 0; i < count; i++)
			sum[i] = unit_add(x[c], unit_of(column, i * UNIT), sum[i]);
	}
	for (int32_t i = 0; i < count; i++)
		unit_store(out + i * UNIT, sum[i]);
}

/*
 * The same for count < UNIT rows that are left over, and with a table of each
 * lane.
 */
ALWAYS_INLINE void
combine_rows(const Vector *table, int64_t stride, int64_t columns,
			 const Vector *x, Vector *out, const int32_t count)
{
	Vector sum[8];

	for (int32_t r = 0; r < count; r++)
		sum[r] = splat(0.0);
	for (int64_t c = 0; c < columns; c++)
	{
		const Vector *column = table + c * stride;

		for (int32_t r = 0; r < count; r++)
			sum[r] = multiply_add(x[c], column[r], sum[r]);
	}
	for (int32_t r = 0; r < count; r++)
		out[r] = sum[r];
}

#if LANES > 1
/*
 * out [rows] = sum over c < columns of x[c] * table[c * stride + r], with a
 * table of each lane.
 */
static void
combine_own(const Vector *table, int64_t stride, int64_t columns, int64_t rows,
			const Vector *x, Vector *out)
{
	int64_t r = 0;

	for (; r + 8 <= rows; r += 8)
		combine_rows(table + r, stride, columns, x, out + r, 8);
	for (; r + 4 <= rows; r += 4)
		combine_rows(table + r, stride, columns, x, out + r, 4);
	if (r + 2 <= rows)
	{
		combine_rows(table + r, stride, columns, x, out + r, 2);
		r += 2;
	}
	if (r < rows)
		combine_rows(table + r, stride, columns, x, out + r, 1);
}
#endif

/*
 * The same with a table of the model, equal for all lanes.
 */
static void
combine(const double *table, int64_t stride, int64_t columns, int64_t rows,
		const Vector *x, Vector *out)
{
	int64_t r = 0;

	for (; r + 8 * UNIT <= rows; r += 8 * UNIT)
		combine_units(table + r, stride, columns, x, out + r, 8);
	for (; r + 4 * UNIT <= rows; r += 4 * UNIT)
		combine_units(table + r, stride, columns, x, out + r, 4);
	if (r + 2 * UNIT <= rows)
	{
		combine_units(table + r, stride, columns, x, out + r, 2);
		r += 2 * UNIT;
	}
	if (r + UNIT <= rows)
	{
		combine_units(table + r, stride, columns, x, out + r, 1);
		r += UNIT;
	}
#if LANES == 1
	for (; r + 4 <= rows; r += 4)
		combine_rows(table + r, stride, columns, x, out + r, 4);
	for (; r < rows; r++)
		combine_rows(table + r, stride, columns, x, out + r, 1);
#endif
}

#if LANES == 1
#define combine_own combine
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
