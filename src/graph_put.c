/*-------------------------------------------------------------------------
 *
 * graph_put.c
 *	  Nodes and edges are made, changed and dropped.
 *
 * A put is one INSERT .. ON CONFLICT for all elements, so that sessions which
 * put the same node at once end with one node and no error.  Elements are
 * sorted by their key: two calls lock their rows in the same order, and of
 * those with the same key, which one statement must not write twice, the last
 * is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "graph.h"

PG_FUNCTION_INFO_V1(fa_node_put);
PG_FUNCTION_INFO_V1(fa_node_put_many);
PG_FUNCTION_INFO_V1(fa_edge_put);
PG_FUNCTION_INFO_V1(fa_edge_put_many);
PG_FUNCTION_INFO_V1(fa_node_drop);
PG_FUNCTION_INFO_V1(fa_edge_drop);

/* One node or edge that is put; what does not belong to it is not set. */
typedef struct Put
{
	int64  src;
	int64  dst;
	text  *kind;
	text  *name; /* NULL: an edge */
	float8 weight;
	Jsonb *props;
	int	   place; /* in the caller's order */
	int64  id;	  /* what it became */
} Put;

/*
 * The rows are inserted, and so returned, in the order of n.
 */
static Statement node_statement = {
	"INSERT INTO @.fa_node AS o (kind, name, props)"
	" SELECT kind, name, props FROM ROWS FROM (pg_catalog.unnest($1),"
	" pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY"
	" AS u (kind, name, props, n) ORDER BY n"
	" ON CONFLICT (kind, name) DO UPDATE SET props = excluded.props"
	" RETURNING o.node_id",
	3,
	{TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID}};

/*
 * Edges between nodes that are there.  What INSERT or COPY brought has numbers
 * in parallel; the least of them is the edge to change.
 */
static Statement edge_statement = {
	"INSERT INTO @.fa_edge AS o (src, dst, kind, weight, props, parallel)"
	" SELECT src, dst, kind, weight, props, COALESCE((SELECT e.parallel"
	" FROM @.fa_edge e WHERE e.src" EQ "u.src AND e.kind" EQ
	"u.kind AND e.dst" EQ "u.dst ORDER BY e.parallel LIMIT 1), 0)"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
	" pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))"
	" WITH ORDINALITY AS u (src, dst, kind, weight, props, n)"
	" WHERE EXISTS (SELECT FROM @.fa_node a WHERE a.node_id" EQ
	"u.src) AND EXISTS (SELECT FROM @.fa_node b WHERE b.node_id" EQ
	"u.dst) ORDER BY n ON CONFLICT (src, kind, dst, parallel)"
	" DO UPDATE SET weight = excluded.weight, props = excluded.props"
	" RETURNING o.edge_id",
	5,
	{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID, JSONBARRAYOID}};

/*
 * The same for one node or edge: to take arrays apart and sort them costs as
 * much as to write a row.
 */
static Statement one_node_statement = {
	"INSERT INTO @.fa_node AS o (kind, name, props) VALUES ($1, $2, $3)"
	" ON CONFLICT (kind, name) DO UPDATE SET props = excluded.props"
	" RETURNING o.node_id",
	3,
	{TEXTOID, TEXTOID, JSONBOID}};
static Statement one_edge_statement = {
	"INSERT INTO @.fa_edge AS o (src, dst, kind, weight, props, parallel)"
	" SELECT $1, $2, $3, $4, $5, COALESCE((SELECT e.parallel"
	" FROM @.fa_edge e WHERE e.src" EQ "$1 AND e.kind" EQ "$3 AND e.dst" EQ
	"$2 ORDER BY e.parallel LIMIT 1), 0)"
	" WHERE EXISTS (SELECT FROM @.fa_node a WHERE a.node_id" EQ
	"$1) AND EXISTS (SELECT FROM @.fa_node b WHERE b.node_id" EQ
	"$2) ON CONFLICT (src, kind, dst, parallel)"
	" DO UPDATE SET weight = excluded.weight, props = excluded.props"
	" RETURNING o.edge_id",
	5,
	{INT8OID, INT8OID, TEXTOID, FLOAT8OID, JSONBOID}};

static Statement node_exists_statement = {
	"SELECT FROM @.fa_node WHERE node_id" EQ "$1", 1, {INT8OID}};

/* ---------- order ---------- */

/* Texts as COLLATE "C" compares them. */
static int
compare_texts(const text *a, const text *b)
{
	Size length_a = VARSIZE_ANY_EXHDR(a);
	Size length_b = VARSIZE_ANY_EXHDR(b);
	int	 result =
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));

	if (result != 0)
		return result;
	return (length_a > length_b) - (length_a < length_b);
}

/* By what the unique index of the table has. */
static int
compare_keys(const Put *a, const Put *b)
{
	int result = (a->src > b->src) - (a->src < b->src);

	if (result == 0)
		result = compare_texts(a->kind, b->kind);
	if (result == 0)
		result = (a->dst > b->dst) - (a->dst < b->dst);
	if (result == 0 && a->name != NULL)
		result = compare_texts(a->name, b->name);
	return result;
}

static int
compare_puts(const void *a, const void *b)
{
	const Put *first = a;
	const Put *second = b;
	int		   result = compare_keys(first, second);

	return result != 0 ? result : first->place - second->place;
}

static int
compare_places(const void *a, const void *b)
{
	return ((const Put *) a)->place - ((const Put *) b)->place;
}

/* Is there another with the same key behind it? */
static bool
is_superseded(const Put *puts, int count, int i)
{
	return i + 1 < count && compare_keys(&puts[i], &puts[i + 1]) == 0;
}

/* ---------- write ---------- */

/* Elements of one argument as an array; it takes them from the puts. */
typedef Datum (*PutColumn)(const Put *put);

static Datum
put_src(const Put *put)
{
	return Int64GetDatum(put->src);
}

static Datum
put_dst(const Put *put)
{
	return Int64GetDatum(put->dst);
}

static Datum
put_kind(const Put *put)
{
	return PointerGetDatum(put->kind);
}

static Datum
put_name(const Put *put)
{
	return PointerGetDatum(put->name);
}

static Datum
put_weight(const Put *put)
{
	return Float8GetDatum(put->weight);
}

static Datum
put_props(const Put *put)
{
	return PointerGetDatum(put->props);
}

static Datum
column_array(Put **rows, int count, PutColumn column, Oid type, int length,
			 char align)
{
	Datum *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = column(rows[i]);
	return PointerGetDatum(construct_array(
		elements, count, type, length, length > 0 && FLOAT8PASSBYVAL, align));
}

/*
 * Raises 23503 for the first node of an edge that is not there; otherwise
 * 55000, for then a trigger of somebody's has swallowed a row.
 */
static void
complain_of_missing(const Call *call, Put **rows, int count)
{
	for (int i = 0; i < 2 * count; i++)
	{
		int64 node_id = i % 2 == 0 ? rows[i / 2]->src : rows[i / 2]->dst;
		Datum arguments[1] = {Int64GetDatum(node_id)};

		if (rows[0]->name == NULL && statement_run(call, &node_exists_statement,
												   arguments, NULL, 1) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					 errmsg("node " INT64_FORMAT " does not exist", node_id),
					 errdetail("An edge needs both of its nodes."),
					 errhint("Make it by fa_node_put first.")));
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("not all rows were written"),
			 errdetail("A trigger or a rule has left some of them out.")));
}

/* Writes one row; the result is how many were written. */
static int
write_one(const Call *call, const Put *put)
{
	Datum node[] = {put_kind(put), put_name(put), put_props(put)};
	Datum edge[] = {put_src(put), put_dst(put), put_kind(put), put_weight(put),
					put_props(put)};

	if (put->name != NULL)
		return statement_run(call, &one_node_statement, node, NULL, 0);
	return statement_run(call, &one_edge_statement, edge, NULL, 0);
}

/* Writes several rows by one statement; the result is how many. */
static int
write_several(const Call *call, Put **rows, int count)
{
	Datum props =
		column_array(rows, count, put_props, JSONBOID, -1, TYPALIGN_INT);
	Datum kinds =
		column_array(rows, count, put_kind, TEXTOID, -1, TYPALIGN_INT);
	Datum arguments[5];

	if (rows[0]->name != NULL)
	{
		arguments[0] = kinds;
		arguments[1] =
			column_array(rows, count, put_name, TEXTOID, -1, TYPALIGN_INT);
		arguments[2] = props;
		return statement_run(call, &node_statement, arguments, NULL, 0);
	}
	arguments[0] = column_array(rows, count, put_src, INT8OID, sizeof(int64),
								TYPALIGN_DOUBLE);
	arguments[1] = column_array(rows, count, put_dst, INT8OID, sizeof(int64),
								TYPALIGN_DOUBLE);
	arguments[2] = kinds;
	arguments[3] = column_array(rows, count, put_weight, FLOAT8OID,
								sizeof(float8), TYPALIGN_DOUBLE);
	arguments[4] = props;
	return statement_run(call, &edge_statement, arguments, NULL, 0);
}

/* Writes rows [count], distinct and sorted; their ids come with them. */
static void
write_rows(const Call *call, Put **rows, int count)
{
	int written = count == 1 ? write_one(call, rows[0]) :
							   write_several(call, rows, count);

	if (written != count)
		complain_of_missing(call, rows, count);
	for (int i = 0; i < count; i++)
		rows[i]->id = result_int64(i, 1);
}

/* Puts nodes or edges [count]; afterwards each has its id. */
static void
put_all(const Call *call, Put *puts, int count)
{
	Put **rows = palloc(sizeof(Put *) * Max(count, 1));
	int	  distinct = 0;

	if (count == 0)
		return;
	qsort(puts, count, sizeof(Put), compare_puts);
	for (int i = 0; i < count; i++)
	{
		if (!is_superseded(puts, count, i))
			rows[distinct++] = &puts[i];
	}
	write_rows(call, rows, distinct);
	for (int i = count - 1; i >= 0; i--)
	{
		if (is_superseded(puts, count, i))
			puts[i].id = puts[i + 1].id;
	}
	qsort(puts, count, sizeof(Put), compare_places);
}

/* ---------- arguments ---------- */

/* Raises 22004 for a null that has no default. */
static void
require(bool isnull, const char *what)
{
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", what)));
}

/*
 * Props that were given, or none.  Raises 22023 for what has no members: a step
 * that writes beliefs to a node adds members, and containment looks for them.
 */
static Jsonb *
props_given(bool isnull, Datum props)
{
	Jsonb *given;

	if (isnull)
		return jsonb_from_text("{}");
	given = DatumGetJsonbP(props);
	if (!JB_ROOT_IS_OBJECT(given))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("props must be an object"),
						errhint("Give names to values: '{\"floor\": 1}'.")));
	return given;
}

/* The elements of an array argument, or none of them (count -1): null. */
typedef struct Elements
{
	Datum *values;
	bool  *nulls;
	int	   count;
} Elements;

/*
 * An argument that is an array, or null where it may be.  Raises 22004 and
 * 2202E.
 */
static Elements
elements_argument(FunctionCallInfo fcinfo, int argument, const char *name,
				  bool may_be_null, Oid type, int length, char align)
{
	Elements   elements = {.count = -1};
	ArrayType *array;

	if (PG_ARGISNULL(argument) && may_be_null)
		return elements;
	require(PG_ARGISNULL(argument), name);
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must be a one-dimensional array", name),
						errdetail("It has %d dimensions.", ARR_NDIM(array))));
	deconstruct_array(array, type, length, length > 0 && FLOAT8PASSBYVAL, align,
					  &elements.values, &elements.nulls, &elements.count);
	return elements;
}

static Elements
texts_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	return elements_argument(fcinfo, argument, name, false, TEXTOID, -1,
							 TYPALIGN_INT);
}

static Elements
ids_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	return elements_argument(fcinfo, argument, name, false, INT8OID,
							 sizeof(int64), TYPALIGN_DOUBLE);
}

static Elements
props_argument(FunctionCallInfo fcinfo, int argument)
{
	return elements_argument(fcinfo, argument, "props", true, JSONBOID, -1,
							 TYPALIGN_INT);
}

/* The i-th element; raises 22004 for a null one. */
static Datum
element(const Elements *elements, int i, const char *what)
{
	require(elements->nulls[i], what);
	return elements->values[i];
}

/* Is there an i-th element that is not null? */
static bool
has_element(const Elements *elements, int i)
{
	return elements->count >= 0 && !elements->nulls[i];
}

/* Raises 2202E unless an array, if there is one, has as many elements. */
static void
check_count(const Elements *elements, int count, const char *name)
{
	if (elements->count >= 0 && elements->count != count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg_plural("%s has %d element, expected %d",
							   "%s has %d elements, expected %d",
							   elements->count, name, elements->count, count),
				 errhint("Give one for each element of the first array.")));
}

/* The ids as the rows of a set that was initialized. */
static Datum
return_ids(FunctionCallInfo fcinfo, const Put *puts, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int i = 0; i < count; i++)
	{
		Datum value = Int64GetDatum(puts[i].id);
		bool  isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/* ---------- nodes ---------- */

/*
 * fa_node_put(kind text, name text, props jsonb) returns bigint, the id of
 * the node.  props null is '{}'.  Raises 22004 for another null, 22023 for props
 * that are no object, 42501 where the caller may not write the table, 25006
 * where nothing can be written.
 */
Datum
fa_node_put(PG_FUNCTION_ARGS)
{
	Put	 put = {0};
	Call call;

	require(PG_ARGISNULL(0), "kind");
	require(PG_ARGISNULL(1), "name");
	put.kind = PG_GETARG_TEXT_PP(0);
	put.name = PG_GETARG_TEXT_PP(1);
	put.props = props_given(PG_ARGISNULL(2), PG_GETARG_DATUM(2));
	call_require_write("fa_node_put");
	graph_begin(&call, fcinfo, false);
	put_all(&call, &put, 1);
	call_end(&call);
	PG_RETURN_INT64(put.id);
}

/*
 * fa_node_put_many(kinds text[], names text[], props jsonb[]) returns setof
 * bigint, the ids in input order.  props, or an element of it, null is '{}'.
 * Raises 2202E where the arrays differ in length, and as fa_node_put.
 */
Datum
fa_node_put_many(PG_FUNCTION_ARGS)
{
	Elements kinds = texts_argument(fcinfo, 0, "kinds");
	Elements names = texts_argument(fcinfo, 1, "names");
	Elements props = props_argument(fcinfo, 2);
	Jsonb	*nothing = jsonb_from_text("{}");
	Put		*puts = palloc0(mul_size(sizeof(Put), Max(kinds.count, 1)));
	Call	 call;

	check_count(&names, kinds.count, "names");
	check_count(&props, kinds.count, "props");
	for (int i = 0; i < kinds.count; i++)
	{
		puts[i].place = i;
		puts[i].kind = DatumGetTextPP(element(&kinds, i, "kind"));
		puts[i].name = DatumGetTextPP(element(&names, i, "name"));
		puts[i].props = has_element(&props, i) ?
							props_given(false, props.values[i]) :
							nothing;
	}
	call_require_write("fa_node_put_many");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	graph_begin(&call, fcinfo, false);
	put_all(&call, puts, kinds.count);
	call_end(&call);
	return return_ids(fcinfo, puts, kinds.count);
}

/* ---------- edges ---------- */

/*
 * fa_edge_put(src bigint, dst bigint, kind text, weight float8, props jsonb)
 * returns bigint, the id of the edge.  weight null is 1, props null '{}'.
 * Raises 22004 for another null, 23503 for a node that is not there, and as
 * fa_node_put.
 */
Datum
fa_edge_put(PG_FUNCTION_ARGS)
{
	Put	 put = {0};
	Call call;

	require(PG_ARGISNULL(0), "src");
	require(PG_ARGISNULL(1), "dst");
	require(PG_ARGISNULL(2), "kind");
	put.src = PG_GETARG_INT64(0);
	put.dst = PG_GETARG_INT64(1);
	put.kind = PG_GETARG_TEXT_PP(2);
	put.weight = PG_ARGISNULL(3) ? 1 : PG_GETARG_FLOAT8(3);
	put.props = props_given(PG_ARGISNULL(4), PG_GETARG_DATUM(4));
	call_require_write("fa_edge_put");
	graph_begin(&call, fcinfo, false);
	put_all(&call, &put, 1);
	call_end(&call);
	PG_RETURN_INT64(put.id);
}

/*
 * fa_edge_put_many(src bigint[], dst bigint[], kinds text[], weights float8[],
 * props jsonb[]) returns setof bigint, the ids in input order.  weights or
 * props, or elements of them, may be null.  Raises 2202E where the arrays
 * differ in length, and as fa_edge_put.
 */
Datum
fa_edge_put_many(PG_FUNCTION_ARGS)
{
	Elements src = ids_argument(fcinfo, 0, "src");
	Elements dst = ids_argument(fcinfo, 1, "dst");
	Elements kinds = texts_argument(fcinfo, 2, "kinds");
	Elements weights = elements_argument(fcinfo, 3, "weights", true, FLOAT8OID,
										 sizeof(float8), TYPALIGN_DOUBLE);
	Elements props = props_argument(fcinfo, 4);
	Jsonb	*nothing = jsonb_from_text("{}");
	Put		*puts = palloc0(mul_size(sizeof(Put), Max(src.count, 1)));
	Call	 call;

	check_count(&dst, src.count, "dst");
	check_count(&kinds, src.count, "kinds");
	check_count(&weights, src.count, "weights");
	check_count(&props, src.count, "props");
	for (int i = 0; i < src.count; i++)
	{
		puts[i].place = i;
		puts[i].src = DatumGetInt64(element(&src, i, "src"));
		puts[i].dst = DatumGetInt64(element(&dst, i, "dst"));
		puts[i].kind = DatumGetTextPP(element(&kinds, i, "kind"));
		puts[i].weight =
			has_element(&weights, i) ? DatumGetFloat8(weights.values[i]) : 1;
		puts[i].props = has_element(&props, i) ?
							props_given(false, props.values[i]) :
							nothing;
	}
	call_require_write("fa_edge_put_many");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	graph_begin(&call, fcinfo, false);
	put_all(&call, puts, src.count);
	call_end(&call);
	return return_ids(fcinfo, puts, src.count);
}

/* ---------- drop ---------- */

static Statement drop_nodes_statement = {
	"DELETE FROM @.fa_node WHERE node_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}};
static Statement drop_edges_statement = {
	"DELETE FROM @.fa_edge WHERE edge_id" EQ "ANY ($1)", 1, {INT8ARRAYOID}};

/* Deletes rows by ids in ascending order, which the index gives them in. */
static int64
drop_rows(FunctionCallInfo fcinfo, Statement *statement, const char *function)
{
	Datum arguments[1] = {PG_GETARG_DATUM(0)};
	int64 count;
	Call  call;

	call_require_write(function);
	graph_begin(&call, fcinfo, false);
	count = statement_run(&call, statement, arguments, NULL, 0);
	call_end(&call);
	return count;
}

/*
 * fa_node_drop(node_ids bigint[]) returns bigint, how many there were; a
 * trigger drops their edges.  Strict.  Raises 42501, 25006.
 */
Datum
fa_node_drop(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(drop_rows(fcinfo, &drop_nodes_statement, "fa_node_drop"));
}

/*
 * fa_edge_drop(edge_ids bigint[]) returns bigint, how many there were.
 * Strict.  Raises 42501, 25006.
 */
Datum
fa_edge_drop(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(drop_rows(fcinfo, &drop_edges_statement, "fa_edge_drop"));
}
