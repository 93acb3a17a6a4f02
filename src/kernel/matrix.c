/*
 * matrix.c
 *		Arrays of conditional distributions, one column each, and what is
 *		computed from them once for all agents.
 *
 * Which numbers are zero decides how a matrix is kept, not how it was written:
 * the same numbers give the same bytes in every form.
 *
 * A matrix is [columns][rows], a column being one conditional distribution.
 * All that is derived here belongs to the model and is computed once; the
 * tables of an agent that learns are made in learn.c by the same formulas.
 */
#include <math.h>
#include <string.h>

#include "compile.h"

/* pymdp accepts a column by isclose(sum, 1): rtol 1e-5, atol 1e-8. */
#define SUM_TOLERANCE 1.001e-5

/*
 * Gives the host a chance to interrupt, in a loop over numbers, at every 65536th
 * of them.
 */
static void
poll_at(const Reader *reader, int64_t index)
{
	if ((index & 0xffff) == 0)
		reader_poll(reader);
}

/*
 * Is a sparse form of so many entries better?  It is where it takes at most
 * half the bytes: 12 for each entry and 8 for each column against 8 for each
 * number.  A dense column is read in order by vector instructions, so a
 * smaller saving would cost time.  A matrix too large to count is sparse in
 * any case.
 */
static bool
prefer_sparse(int32_t rows, int64_t columns, int64_t entries)
{
	int64_t dense;

	if (__builtin_mul_overflow(columns, (int64_t) rows, &dense) ||
		dense > INT64_MAX / 8)
		return true;
	return 12 * (double) entries + 8 * (double) (columns + 1) <=
		   4 * (double) dense;
}

/*
 * Memory for a matrix whose rows, columns and entries (those not zero) are
 * set.  Dense or sparse is decided here and only here; a dense one has entries
 * for all its numbers afterwards.  path names it in a problem about its size.
 */
static bool
matrix_allocate(Reader *reader, Matrix *matrix, const char *path)
{
	matrix->sparse =
		prefer_sparse(matrix->rows, matrix->columns, matrix->entries);
	if (!matrix->sparse)
	{
		matrix->entries = matrix->rows * matrix->columns;
		matrix->values =
			reader_allocate(reader, matrix->entries, sizeof(double), path);
		return matrix->values != NULL;
	}
	matrix->starts =
		reader_allocate(reader, matrix->columns + 1, sizeof(int64_t), path);
	if (matrix->starts == NULL)
		return false;
	matrix->indices =
		reader_allocate(reader, matrix->entries, sizeof(int32_t), path);
	if (matrix->indices == NULL)
		return false;
	matrix->values =
		reader_allocate(reader, matrix->entries, sizeof(double), path);
	return matrix->values != NULL;
}

/*
 * Fills a matrix from entries in order of position, column * rows + row.  The
 * arrays come zeroed.  starts first holds counts one place further on, and
 * becomes offsets when they are summed up.
 */
static void
matrix_fill(Matrix *matrix, const Entries *entries)
{
	for (int64_t i = 0; i < entries->count; i++)
	{
		const Entry *entry = &entries->items[i];

		if (!matrix->sparse)
			matrix->values[entry->position] = entry->value;
		else
		{
			matrix->starts[entry->position / matrix->rows + 1]++;
			matrix->indices[i] = (int32_t) (entry->position % matrix->rows);
			matrix->values[i] = entry->value;
		}
	}
	for (int64_t i = 0; matrix->sparse && i < matrix->columns; i++)
		matrix->starts[i + 1] += matrix->starts[i];
}

/*
 * The numbers of a dense array that are not zero, as entries.  nonzero is how
 * many there are of the count.
 */
static bool
dense_entries(Reader *reader, const double *dense, int64_t count,
			  int64_t nonzero, Entries *entries, const char *path)
{
	entries->count = 0;
	entries->rest = 0;
	entries->items = reader_allocate(reader, nonzero, sizeof(Entry), path);
	if (entries->items == NULL)
		return false;
	for (int64_t i = 0; i < count; i++)
	{
		if (dense[i] != 0)
			entries->items[entries->count++] = (Entry){i, dense[i]};
	}
	return true;
}

/*
 * Makes a matrix of [columns][rows] numbers.  It is needed only for a sparse
 * form whose default is not zero, but whose entries may be.  dense becomes the
 * matrix's own where it stays dense.
 */
static bool
matrix_from_dense(Reader *reader, Matrix *matrix, double *dense,
				  const char *path)
{
	int64_t count = matrix->rows * matrix->columns;
	Entries entries;

	matrix->entries = 0;
	for (int64_t i = 0; i < count; i++)
	{
		poll_at(reader, i);
		matrix->entries += dense[i] != 0;
	}
	if (!prefer_sparse(matrix->rows, matrix->columns, matrix->entries))
	{
		matrix->entries = count;
		matrix->values = dense;
		return true;
	}
	if (!matrix_allocate(reader, matrix, path) ||
		!dense_entries(reader, dense, count, matrix->entries, &entries, path))
		return false;
	matrix_fill(matrix, &entries);
	return true;
}

/*
 * All elements of an array, in order of position.  NULL with a problem, or
 * where there is no memory.
 */
static double *
read_dense(Reader *reader, const Tensor *tensor)
{
	double *dense = reader_allocate(reader, tensor->layout.elements,
									sizeof(double), tensor->place.path);

	if (dense == NULL || !tensor_dense(reader, tensor, dense))
		return NULL;
	return dense;
}

/*
 * Reads an array in whichever form into a matrix, without spreading out a
 * sparse form: a grid of 900 states and 5 actions has 4,500 entries, but 4
 * million elements.
 */
static bool
read_matrix(Reader *reader, const Tensor *tensor, Matrix *matrix)
{
	const char *path = tensor->place.path;
	Entries		entries;
	int64_t		room = matrix->columns; /* of FORM_NEXT */
	double	   *dense;

	if (tensor->shape.form == FORM_NESTED)
	{
		/* a second walk, rather than keeping what may be mostly zeros */
		if (!tensor_count(reader, tensor, &room))
			return false;
		if (!prefer_sparse(matrix->rows, matrix->columns, room))
		{
			matrix->entries = tensor->layout.elements;
			matrix->values = read_dense(reader, tensor);
			return matrix->values != NULL;
		}
	}
	if (!tensor_entries(reader, tensor, room, &entries))
		return false;

	/*
	 * Nearly every element is the default, so the matrix is dense anyhow,
	 * unless the entries are zeros that outnumber it.
	 */
	if (entries.rest != 0)
	{
		dense = read_dense(reader, tensor);
		return dense != NULL && matrix_from_dense(reader, matrix, dense, path);
	}
	matrix->entries = entries.count;
	if (!matrix_allocate(reader, matrix, path))
		return false;
	matrix_fill(matrix, &entries);
	return true;
}

/*
 * Reads A or B; false with a problem, and matrix->given says the same later.
 * The tensor's shape fits its layout, whose positions are column * rows + row,
 * row being the index on the first axis.
 */
bool
matrix_read(Reader *reader, const Tensor *tensor, Matrix *matrix)
{
	memset(matrix, 0, sizeof(Matrix));
	matrix->rows = (int32_t) tensor->layout.sizes[0];
	matrix->columns = tensor->layout.elements / matrix->rows;
	matrix->given = read_matrix(reader, tensor, matrix);
	return matrix->given;
}

/* ---------- checks of columns ---------- */

/*
 * (2, 0): the place of a column on the axes after the first, as the author of
 * the spec has written them, and not as the columns are numbered here.
 */
static void
column_print(char *buffer, size_t size, const Layout *layout, int64_t column)
{
	int64_t position = column * layout->sizes[0];

	text_print(buffer, size, "(");
	for (int32_t axis = 1; axis < layout->rank; axis++)
		text_add(buffer, size, "%s%lld", axis > 1 ? ", " : "",
				 (long long) (position / layout->strides[axis] %
							  layout->sizes[axis]));
	text_add(buffer, size, ")");
}

/*
 * The sum of a column in the order of its rows, so that the zeros between make
 * no difference to the last bit.
 */
static double
column_sum(const Matrix *matrix, int64_t column)
{
	int64_t from = column * matrix->rows;
	int64_t to = from + matrix->rows;
	double	sum = 0;

	if (matrix->sparse)
	{
		from = matrix->starts[column];
		to = matrix->starts[column + 1];
	}
	for (int64_t i = from; i < to; i++)
		sum += matrix->values[i];
	return sum;
}

/*
 * Columns are used as they are given, never renormalised: pymdp does the same,
 * and results shall agree with it to more digits than the tolerance has.  Only
 * the first bad column is shown, with how many there are: usually all are,
 * because two axes were exchanged.  The matrix need not be nonnegative here:
 * numbers were checked as they were read.
 */
bool
matrix_sum_to_one(Reader *reader, const Tensor *tensor, const Matrix *matrix)
{
	int64_t bad = 0;
	int64_t first = 0;
	char	column[120];
	char	detail[TEXT_SIZE] = "";

	for (int64_t i = 0; i < matrix->columns; i++)
	{
		if ((i & 0xfff) == 0)
			reader_poll(reader);
		if (fabs(column_sum(matrix, i) - 1) <= SUM_TOLERANCE)
			continue;
		if (bad++ == 0)
			first = i;
	}
	if (bad == 0)
		return true;
	column_print(column, sizeof(column), &tensor->layout, first);
	if (bad > 1)
		text_print(detail, sizeof(detail),
				   "So it is in %lld of its %lld "
				   "columns.",
				   (long long) bad, (long long) matrix->columns);
	kernel_problem(reader->problems, KERNEL_INVALID, tensor->place.path, detail,
				   "A column holds the probabilities of all values on the "
				   "first axis, the outcome or next state: exchange the axes "
				   "if they are in another order, else divide by the sums "
				   "over the first.",
				   "%s: column %s sums to %.10g, not to 1", tensor->place.shown,
				   column, column_sum(matrix, first));
	return false;
}

/*
 * Are these Dirichlet counts, [columns][rows]?  They need a positive sum in
 * each column, else there is no expected distribution.  A count of 0 is a
 * transition that can be learned but brings no information gain.
 */
bool
matrix_are_counts(Reader *reader, const Tensor *tensor, const double *counts)
{
	int64_t rows = tensor->layout.sizes[0];
	char	column[120];

	for (int64_t i = 0; i < tensor->layout.elements / rows; i++)
	{
		double sum = 0;

		for (int64_t j = 0; j < rows; j++)
			sum += counts[i * rows + j];
		if (sum > 0 && isfinite(sum))
			continue;
		column_print(column, sizeof(column), &tensor->layout, i);
		kernel_problem(reader->problems, KERNEL_INVALID, tensor->place.path,
					   NULL,
					   "Each column of counts needs a positive, finite "
					   "sum.",
					   "%s: the counts of column %s sum to %.10g",
					   tensor->place.shown, column, sum);
		return false;
	}
	return true;
}

/* ---------- what follows from the columns ---------- */

/*
 * L(A) by outcome: log_A has O columns of P rows, from A's P columns of O
 * rows.  Inference asks what one outcome says about all joint states, so that
 * has to lie in one run.  What is not above the floor has L(0) and is not kept
 * in a sparse matrix.  The caller has made sure that P fits into int32.
 */
bool
matrix_log(Reader *reader, const Matrix *A, const char *path, Matrix *log_A)
{
	double	 lowest = kernel_log(0);
	int64_t *next;

	memset(log_A, 0, sizeof(Matrix));
	log_A->rows = (int32_t) A->columns;
	log_A->columns = A->rows;
	for (int64_t i = 0; i < A->entries; i++)
	{
		poll_at(reader, i);
		log_A->entries += A->values[i] > KERNEL_LOG_FLOOR;
	}
	next =
		reader_allocate(reader, (int64_t) A->rows + 1, sizeof(int64_t), path);
	if (next == NULL || !matrix_allocate(reader, log_A, path))
		return false;

	/* where the next entry of each outcome goes: counted, then summed up */
	for (int64_t i = 0; i < A->entries; i++)
	{
		poll_at(reader, i);
		if (A->values[i] > KERNEL_LOG_FLOOR)
			next[(A->sparse ? A->indices[i] : i % A->rows) + 1]++;
	}
	for (int32_t o = 0; o < A->rows; o++)
		next[o + 1] += next[o];
	if (log_A->sparse)
		memcpy(log_A->starts, next, ((size_t) A->rows + 1) * sizeof(int64_t));
	for (int64_t i = 0; !log_A->sparse && i < log_A->entries; i++)
	{
		poll_at(reader, i);
		log_A->values[i] = lowest;
	}

	/* Joint states in order, so each outcome's rows come out in order too. */
	for (int64_t p = 0; p < A->columns; p++)
	{
		int64_t from = A->sparse ? A->starts[p] : p * A->rows;
		int64_t to = A->sparse ? A->starts[p + 1] : from + A->rows;

		for (int64_t i = from; i < to; i++)
		{
			int64_t o = A->sparse ? A->indices[i] : i - from;

			poll_at(reader, i);
			if (!(A->values[i] > KERNEL_LOG_FLOOR))
				continue;
			if (log_A->sparse)
				log_A->indices[next[o]] = (int32_t) p;
			log_A->values[log_A->sparse ? next[o]++ : o * A->columns + p] =
				kernel_log(A->values[i]);
		}
	}
	log_A->given = true;
	return true;
}

/*
 * The entropy of each column, -sum_o A L(A), in nats: double[P], or NULL.  It
 * says how little an outcome tells when the state is known, the part of the
 * state information gain that does not depend on beliefs (Da Costa et al.
 * 2020, eq.  17-20).
 */
double *
matrix_ambiguity(Reader *reader, const Matrix *A, const char *path)
{
	double *ambiguity =
		reader_allocate(reader, A->columns, sizeof(double), path);

	for (int64_t p = 0; ambiguity != NULL && p < A->columns; p++)
	{
		int64_t from = A->sparse ? A->starts[p] : p * A->rows;
		int64_t to = A->sparse ? A->starts[p + 1] : from + A->rows;
		double	sum = 0;

		for (int64_t i = from; i < to; i++)
		{
			poll_at(reader, i);
			if (A->values[i] != 0)
				sum += A->values[i] * kernel_log(A->values[i]);
		}
		ambiguity[p] = 0 - sum;
	}
	return ambiguity;
}

/*
 * W of all columns of counts [columns][rows], in the same shape, or NULL; see
 * kernel_gain_column().  It belongs to the model as long as an agent has not
 * learned; then the agent has its own.
 */
double *
matrix_gain(Reader *reader, const double *counts, int32_t rows, int64_t columns,
			const char *path)
{
	double *gain =
		reader_allocate(reader, columns * rows, sizeof(double), path);

	for (int64_t i = 0; gain != NULL && i < columns; i++)
	{
		if ((i & 0xff) == 0)
			reader_poll(reader);
		kernel_gain_column(counts + i * rows, rows, gain + i * rows);
	}
	return gain;
}

/*
 * I [depth][S], or NULL: row 0 is H [S]; row i marks the states from which
 * some action leads, with a probability above the threshold, into a state of
 * row i - 1.  The same as kernel_inductive(), but over the entries that are
 * there: a grid of 900 states would take 810,000 comparisons a row.
 */
double *
matrix_inductive(Reader *reader, const Matrix *B, const double *H,
				 double threshold, int32_t depth, const char *path)
{
	int64_t states = B->rows;
	double *I = reader_allocate(reader, depth * states, sizeof(double), path);

	if (I == NULL)
		return NULL;
	memcpy(I, H, (size_t) states * sizeof(double));
	for (int32_t d = 1; d < depth; d++)
	{
		const double *before = I + (d - 1) * states;
		double		 *now = I + d * states;

		reader_poll(reader);
		for (int64_t c = 0; c < B->columns; c++)
		{
			int64_t from = B->sparse ? B->starts[c] : c * states;
			int64_t to = B->sparse ? B->starts[c + 1] : from + states;

			for (int64_t i = from; i < to; i++)
			{
				int64_t row = B->sparse ? B->indices[i] : i - from;

				if (B->values[i] > threshold && before[row] > 0)
					now[c % states] = 1;
			}
		}
	}
	return I;
}
