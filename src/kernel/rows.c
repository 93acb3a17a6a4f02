/*
 * rows.c
 *		Matrices by row, as the step reads them.
 *
 * A step asks for the sum over columns p of x[p] * M(r | p), for each row r.
 * By row, only what differs from the row's commonest value (its rest) has to
 * be looked at:
 *
 *		sum = rest[r] * (sum of all x) + sum over entries k of x[p_k] * value_k
 *
 * where the values are what the entries have more than the rest.  So zeros cost
 * nothing, and neither does noise that is the same everywhere.  A row is
 * finished in one go, which is why it is kept by row and not by column.
 *
 * B is as many matrices as there are actions, one after another: groups.
 */
#include <string.h>

#include "compile.h"

/*
 * M(r | c), where row and column count through all groups.
 */
static double
element(const Matrix *matrix, int64_t column, int64_t row)
{
	return matrix->values[column * matrix->rows + row];
}

/*
 * The rest of a dense row's columns [first, first + count): the value that
 * more than half of them have, if there is one (else some value, which does no
 * harm; it is the majority vote of Boyer and Moore: what is left when unequal
 * ones cancel).
 *
 * It is 0 where some value is less: entries must not be negative, or a small
 * probability would be what is left of a difference of large ones.  (With a
 * row [1, 1, 0] and x = [0, 3e-16, 1] it would come out as 0, and the next
 * observation could make a certainty of it.)
 */
static double
commonest(const Matrix *matrix, int64_t first, int64_t count, int64_t row)
{
	double	value = 0.0;
	int64_t votes = 0;

	for (int64_t c = first; c < first + count; c++)
	{
		double other = element(matrix, c, row);

		if (votes == 0)
			value = other;
		votes += other == value ? 1 : -1;
	}
	for (int64_t c = first; c < first + count; c++)
	{
		if (element(matrix, c, row) < value)
			return 0.0;
	}
	return value;
}

/*
 * The rests of a dense matrix's rows, and how many entries differ from them.
 * False without memory.
 */
static bool
find_rests(Reader *reader, const Matrix *matrix, int64_t groups, Rows *rows,
		   const char *path)
{
	int64_t columns = matrix->columns / groups;
	bool	any = false;

	rows->rest = reader_allocate(reader, rows->count, sizeof(double), path);
	for (int64_t i = 0; rows->rest != NULL && i < rows->count; i++)
	{
		int64_t first = i / matrix->rows * columns;

		reader_poll(reader);
		rows->rest[i] = commonest(matrix, first, columns, i % matrix->rows);
		any |= rows->rest[i] != 0.0;
		for (int64_t c = first; c < first + columns; c++)
			rows->entries +=
				element(matrix, c, i % matrix->rows) != rows->rest[i];
	}
	if (rows->rest == NULL)
		return false;
	if (!any)
		rows->rest = NULL;
	return true;
}

/*
 * Where the entries of each row begin, from a matrix whose columns are sparse.
 */
static void
count_sparse(const Matrix *matrix, int64_t columns, Rows *rows)
{
	for (int64_t c = 0; c < matrix->columns; c++)
	{
		for (int64_t k = matrix->starts[c]; k < matrix->starts[c + 1]; k++)
			rows->starts[c / columns * matrix->rows + matrix->indices[k] + 1]++;
	}
	for (int64_t i = 0; i < rows->count; i++)
		rows->starts[i + 1] += rows->starts[i];
}

/*
 * The entries of a matrix whose columns are sparse.  The columns come in
 * order, so the entries of each row do too.  starts move on by one row, and
 * are moved back.
 */
static void
fill_sparse(const Matrix *matrix, int64_t columns, Rows *rows)
{
	for (int64_t c = 0; c < matrix->columns; c++)
	{
		for (int64_t k = matrix->starts[c]; k < matrix->starts[c + 1]; k++)
		{
			int64_t *at =
				&rows->starts[c / columns * matrix->rows + matrix->indices[k]];

			rows->columns[*at] = (int32_t) (c % columns);
			rows->values[(*at)++] = matrix->values[k];
		}
	}
	memmove(rows->starts + 1, rows->starts,
			(size_t) rows->count * sizeof(int64_t));
	rows->starts[0] = 0;
}

/*
 * The entries of a dense matrix: what differs from the rests.
 */
static void
fill_dense(const Reader *reader, const Matrix *matrix, int64_t columns,
		   Rows *rows)
{
	int64_t at = 0;

	for (int64_t i = 0; i < rows->count; i++)
	{
		double	rest = rows->rest ? rows->rest[i] : 0.0;
		int64_t first = i / matrix->rows * columns;

		reader_poll(reader);
		for (int64_t c = 0; c < columns; c++)
		{
			double value = element(matrix, first + c, i % matrix->rows);

			if (value == rest)
				continue;
			rows->columns[at] = (int32_t) c;
			rows->values[at++] = value - rest;
		}
		rows->starts[i + 1] = at;
	}
}

/*
 * A matrix of so many groups of columns by row; rows->starts stays NULL where
 * that does not pay: where it is dense, and looking up an entry, at the price
 * of two numbers read in order, takes longer than reading all of it.  False
 * without memory.
 */
bool
rows_make(Reader *reader, const Matrix *matrix, int64_t groups, Rows *rows,
		  const char *path)
{
	int64_t columns = matrix->columns / groups;

	memset(rows, 0, sizeof(*rows));
	rows->count = groups * matrix->rows;
	rows->entries = matrix->sparse ? matrix->entries : 0;
	if (!matrix->sparse)
	{
		if (!find_rests(reader, matrix, groups, rows, path))
			return false;
		if (2 * (double) rows->entries + (double) matrix->columns >
			(double) matrix->entries)
			return true;
	}
	rows->starts =
		reader_allocate(reader, rows->count + 1, sizeof(int64_t), path);
	rows->columns =
		reader_allocate(reader, rows->entries, sizeof(int32_t), path);
	rows->values = reader_allocate(reader, rows->entries, sizeof(double), path);
	if (rows->starts == NULL || rows->columns == NULL || rows->values == NULL)
		return false;
	if (matrix->sparse)
	{
		count_sparse(matrix, columns, rows);
		fill_sparse(matrix, columns, rows);
	}
	else
		fill_dense(reader, matrix, columns, rows);
	return true;
}
