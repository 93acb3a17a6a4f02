/*
 * spec.c
 *		What ready specs of standard tasks have in common: their arguments.
 *
 * spec_grid.c, spec_tmaze.c, spec_cue.c and spec_search.c have one each.  It is
 * an environment of pymdp 1.0.4 (GridWorld, TMaze, CueChainingEnv, GraphEnv)
 * with its arrays, its order of states and outcomes and its order of actions,
 * so that indices mean the same there and here.  Names and labels are added for
 * people, and the arrays are written sparse where that is shorter: "next" for
 * moves that cannot fail, "entries" for observed locations.
 *
 * A few arguments are ours (noise, preferences); each may only add to what the
 * environment can do, and their defaults are its own.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "spec.h"

#define SPEC_MAX_POLICY_LEN 1000

/* ---------- arguments ---------- */

/*
 * The functions are not strict, since some arguments mean something by being
 * null: each of the others has to be there, and an error says which is not.
 */
void
spec_require_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
}

/*
 * An int argument from min to max; raises 22004 for null, 22023 outside of the
 * range.
 */
int
spec_int_argument(FunctionCallInfo fcinfo, int arg, const char *name, int min,
				  int max)
{
	int value;

	spec_require_argument(fcinfo, arg, name);
	value = PG_GETARG_INT32(arg);
	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" is %d, outside its range", name,
							   value),
						errhint("Give a number from %d to %d.", min, max)));
	return value;
}

/* An index below count, or -1 where the argument is null. */
int
spec_index_argument(FunctionCallInfo fcinfo, int arg, const char *name,
					int count)
{
	if (PG_ARGISNULL(arg))
		return -1;
	return spec_int_argument(fcinfo, arg, name, 0, count - 1);
}

/* A boolean argument; raises 22004 for null. */
bool
spec_bool_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	spec_require_argument(fcinfo, arg, name);
	return PG_GETARG_BOOL(arg);
}

/*
 * A float8 from 0 to 1; raises 22004 for null, 22023 otherwise.  The test is
 * written so that NaN fails it.
 */
double
spec_probability_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	double value;

	spec_require_argument(fcinfo, arg, name);
	value = PG_GETARG_FLOAT8(arg);
	if (!(value >= 0.0 && value <= 1.0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" is %g, not a probability", name,
							   value),
						errhint("Give a number from 0 to 1.")));
	return value;
}

/*
 * A float8 for C, any finite number; raises 22004 for null, 22023 otherwise.
 * JSON has no infinity.
 */
double
spec_preference(FunctionCallInfo fcinfo, int arg, const char *name)
{
	double value;

	spec_require_argument(fcinfo, arg, name);
	value = PG_GETARG_FLOAT8(arg);
	if (!isfinite(value))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" is %g, not a finite number", name, value),
			 errhint(
				 "A preference is a number: the larger, the more wanted; below 0 is avoided.")));
	return value;
}

/* How many policies a length makes is for the compiler to bound. */
int
spec_policy_len(FunctionCallInfo fcinfo, int arg)
{
	return spec_int_argument(fcinfo, arg, "policy_len", 1, SPEC_MAX_POLICY_LEN);
}

/*
 * The elements of an int[] argument, any number of dimensions in row-major
 * order; NULL with a count of 0 where it is null or empty.
 */
int *
spec_int_array_argument(FunctionCallInfo fcinfo, int arg, const char *name,
						int *count)
{
	ArrayType *array;

	*count = 0;
	if (PG_ARGISNULL(arg))
		return NULL;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain nulls", name)));
	Assert(ARR_ELEMTYPE(array) == INT4OID);
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (int *) ARR_DATA_PTR(array);
}

/* Preferences over (nothing, good, bad), by label. */
void
spec_preferences(StringInfo buf, const SpecAxis *axis, double good, double bad)
{
	spec_open(buf, '{');
	spec_write_member(buf, axis->labels[1]);
	spec_double(buf, good);
	spec_write_member(buf, axis->labels[2]);
	spec_double(buf, bad);
	spec_close(buf, '}');
}
