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
 * The sum of x [count].
 */
ALWAYS_INLINE Vector
total(const Vector *x, int64_t count)
{
	Vector	sum[4] = {splat(0.0), splat(0.0), splat(0.0), splat(0.0)};
	int64_t i = 0;

	for (; i + 4 <= count; i += 4)
	{
		for (int32_t k = 0; k < 4; k++)
			sum[k] = sum[k] + x[i + k];
	}
	for (int32_t k = 0; i < count; i++, k++)
		sum[k] = sum[k] + x[i];
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/*
 * The sum of x [count] * y [count].
 */
ALWAYS_INLINE Vector
dot(const Vector *x, const Vector *y, int64_t count)
{
	Vector	sum[4] = {splat(0.0), splat(0.0), splat(0.0), splat(0.0)};
	int64_t i = 0;

	for (; i + 4 <= count; i += 4)
	{
		for (int32_t k = 0; k < 4; k++)
			sum[k] = multiply_add(x[i + k], y[i + k], sum[k]);
	}
	for (int32_t k = 0; i < count; i++, k++)
		sum[k] = multiply_add(x[i], y[i], sum[k]);
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/*
 * The same with y of the model, equal for all lanes.
 */
ALWAYS_INLINE Vector
dot_shared(const Vector *x, const double *y, int64_t count)
{
	Vector	sum[4] = {splat(0.0), splat(0.0), splat(0.0), splat(0.0)};
	int64_t i = 0;

	for (; i + 4 <= count; i += 4)
	{
		for (int32_t k = 0; k < 4; k++)
			sum[k] = multiply_add(x[i + k], splat(y[i + k]), sum[k]);
	}
	for (int32_t k = 0; i < count; i++, k++)
		sum[k] = multiply_add(x[i], splat(y[i]), sum[k]);
	return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/*
 * The largest of x [count], count at least 1.  It has no order to keep: no
 * rounding is in it.
 */
ALWAYS_INLINE Vector
largest_of(const Vector *x, int64_t count)
{
	Vector	most[4] = {x[0], x[0], x[0], x[0]};
	int64_t i = 0;

	for (; i + 4 <= count; i += 4)
	{
		for (int32_t k = 0; k < 4; k++)
			most[k] = larger_of(x[i + k], most[k]);
	}
	for (; i < count; i++)
		most[0] = larger_of(x[i], most[0]);
	most[0] = larger_of(most[1], most[0]);
	most[2] = larger_of(most[3], most[2]);
	return larger_of(most[2], most[0]);
}

/*
 * softmax(x) in place, x [count], count at least 1.  The largest is subtracted
 * first, so that no exponential overflows and the sum cannot be 0.  An
 * infinite or NaN number makes its lane NaN, which the caller of a step looks
 * for.
 */
static void
softmax(Vector *x, int64_t count)
{
	Vector largest = largest_of(x, count);
	Vector scale;

	for (int64_t i = 0; i < count; i++)
		x[i] = x[i] - largest;
	exp_array(NUMBERS(x), count * LANES);
	scale = splat(1.0) / total(x, count);
	for (int64_t i = 0; i < count; i++)
		x[i] = x[i] * scale;
}

/*
 * out[r] = sum over c of x[c] * table[c * stride + r], for some rows r < count
 * that fit the registers; count is a constant wherever it is called.  The sum
 * of a row is in the order of c, whatever the number of rows taken at once.
 */
ALWAYS_INLINE void
combine_rows(const double *table, int64_t stride, int64_t columns,
			 const Vector *x, Vector *out, const int32_t count)
{
	Vector sum[8];

	for (int32_t r = 0; r < count; r++)
		sum[r] = splat(0.0);
	for (int64_t c = 0; c < columns; c++)
	{
		const double *column = table + c * stride;

		for (int32_t r = 0; r < count; r++)
			sum[r] = multiply_add(x[c], splat(column[r]), sum[r]);
	}
	for (int32_t r = 0; r < count; r++)
		out[r] = sum[r];
}

/*
 * out [rows] = sum over c < columns of x[c] * table[c * stride + r], with a
 * table of the model: equal for all lanes.
 */
static void
combine(const double *table, int64_t stride, int64_t columns, int64_t rows,
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

/*
 * combine_rows() with a table of each lane.
 */
ALWAYS_INLINE void
combine_own_rows(const Vector *table, int64_t stride, int64_t columns,
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

/*
 * combine() with a table of each lane.
 */
static void
combine_own(const Vector *table, int64_t stride, int64_t columns, int64_t rows,
			const Vector *x, Vector *out)
{
	int64_t r = 0;

	for (; r + 8 <= rows; r += 8)
		combine_own_rows(table + r, stride, columns, x, out + r, 8);
	for (; r + 4 <= rows; r += 4)
		combine_own_rows(table + r, stride, columns, x, out + r, 4);
	if (r + 2 <= rows)
	{
		combine_own_rows(table + r, stride, columns, x, out + r, 2);
		r += 2;
	}
	if (r < rows)
		combine_own_rows(table + r, stride, columns, x, out + r, 1);
}

/*
 * The same with columns of a sparse matrix, [first, first + columns).  What
 * does not stand in it adds nothing.
 */
static void
combine_sparse(const Columns *matrix, int64_t first, int64_t columns,
			   const Vector *x, Vector *out)
{
	for (int32_t r = 0; r < matrix->rows; r++)
		out[r] = splat(0.0);
	for (int64_t c = 0; c < columns; c++)
	{
		for (int64_t k = matrix->starts[first + c];
			 k < matrix->starts[first + c + 1]; k++)
		{
			Vector *row = &out[matrix->indices[k]];

			*row = multiply_add(x[c], splat(matrix->values[k]), *row);
		}
	}
}

/*
 * out [rows] = sum over columns p of weights[p] * matrix(. | first + p), dense
 * or sparse.
 */
ALWAYS_INLINE void
mix_columns(const Columns *matrix, int64_t first, int64_t columns,
			const Vector *weights, Vector *out)
{
	if (matrix->starts != NULL)
		combine_sparse(matrix, first, columns, weights, out);
	else
		combine(matrix->values + first * matrix->rows, matrix->rows, columns,
				matrix->rows, weights, out);
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
