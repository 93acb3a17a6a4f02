/*-------------------------------------------------------------------------
 *
 * array.c
 *	  SQL arrays in and out.
 *
 * Arguments may have any lower bound, null elements and more dimensions than
 * we can use; stored arrays should be what we wrote, and are checked all the
 * same, because a table owner can write anything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/qunique.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "fa_agents.h"

/*
 * Raises 2202E for arrays of two and more dimensions.  An empty array has none
 * at all, and passes; lower bounds do not matter, for nobody below asks for
 * them.
 */
static void
check_one_dimension(ArrayType *array, const char *what)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must be a one-dimensional array", what),
						errdetail("It has %d dimensions.", ARR_NDIM(array)),
						errhint("Write it as '{1,2}'.")));
}

/*
 * Ids from a bigint[], [*count], in memory of their own: callers sort them,
 * and an argument must stay as it was.  A null among them is an error (22004),
 * since there is no agent that it could mean.  The result is never NULL.
 */
int64 *
array_to_int64(ArrayType *array, int *count, const char *what)
{
	int64 *result;

	check_one_dimension(array, what);
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not contain nulls", what)));
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	result = palloc(sizeof(int64) * Max(*count, 1));
	memcpy(result, ARR_DATA_PTR(array), sizeof(int64) * *count);
	return result;
}

/*
 * Elements of an int[], [*count], with for_null in the place of nulls; callers
 * pass -1, which is a missing outcome to the kernel and no valid action.  The
 * result is never NULL: an empty array is "no evidence", and a null one is
 * something else.
 */
int32 *
array_to_int32(ArrayType *array, int *count, const char *what, int32 for_null)
{
	Datum *elements;
	bool  *nulls;
	int32 *result;

	check_one_dimension(array, what);
	deconstruct_array(array, INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &elements, &nulls, count);
	result = palloc(sizeof(int32) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		result[i] = nulls[i] ? for_null : DatumGetInt32(elements[i]);
	pfree(elements);
	pfree(nulls);
	return result;
}

/*
 * A one-dimensional array of fixed-size elements, copied from values:
 * construct_array would want a Datum of each of them first.
 *
 * Zeroed, so that no undefined byte gets into a table.  The limit of 1 GB also
 * keeps count in the range of int.
 */
static Datum
make_array(Oid type, const void *values, Size element, int64 count)
{
	Size	   size = ARR_OVERHEAD_NONULLS(1) + element * count;
	ArrayType *array;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(type));
	if (!AllocSizeIsValid(size))
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("array of " INT64_FORMAT " elements is too large", count)));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = type;
	ARR_DIMS(array)[0] = (int) count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), values, element * count);
	return PointerGetDatum(array);
}

/* int[] of values [count], in the current memory context. */
Datum
array_from_int32(const int32 *values, int count)
{
	return make_array(INT4OID, values, sizeof(int32), count);
}

/*
 * float8[] of values [count], in the current memory context.  NaN and
 * infinities go in as they are.
 */
Datum
array_from_double(const double *values, int64 count)
{
	return make_array(FLOAT8OID, values, sizeof(double), count);
}

/* real[] of values [count], in the current memory context. */
Datum
array_from_float(const float4 *values, int64 count)
{
	return make_array(FLOAT4OID, values, sizeof(float4), count);
}

/*
 * The data of a stored array, if it is a plain array of that type and length;
 * expected < 0 takes any length.
 *
 * The result points into the datum, or into a copy in the current memory
 * context where it was compressed or out of line; it is read only in either
 * case.  Raises XX001: the kernel trusts lengths, so an array that somebody
 * has forged or damaged must stop here and not read beyond its end.
 */
static void *
stored_data(Datum datum, Oid type, int expected, const char *what)
{
	ArrayType *array = DatumGetArrayTypeP(datum);
	int		   count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_ELEMTYPE(array) != type || ARR_NDIM(array) > 1 ||
		array_contains_nulls(array) || (expected >= 0 && count != expected))
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored %s does not fit the agent's model", what),
			 errdetail("It has %d elements, expected %d.", count, expected)));
	return ARR_DATA_PTR(array);
}

/* The elements of a stored float8[]; see stored_data. */
const double *
array_doubles(Datum array, int expected, const char *what)
{
	return stored_data(array, FLOAT8OID, expected, what);
}

/* The elements of a stored real[]; see stored_data. */
const float4 *
array_floats(Datum array, int expected, const char *what)
{
	return stored_data(array, FLOAT4OID, expected, what);
}

/* The elements of a stored int[]; see stored_data. */
const int32 *
array_int32s(Datum array, int expected, const char *what)
{
	return stored_data(array, INT4OID, expected, what);
}

/* bigint[] of values [count], in the current memory context. */
Datum
array_from_int64(const int64 *values, int64 count)
{
	return make_array(INT8OID, values, sizeof(int64), count);
}

/* For qsort and bsearch. Not a difference: that could overflow. */
int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Sorts values [count] in place, each once; returns how many are left. */
int
int64_sort_unique(int64 *values, int count)
{
	qsort(values, count, sizeof(int64), compare_int64);
	return (int) qunique(values, count, sizeof(int64), compare_int64);
}
