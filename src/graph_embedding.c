/*-------------------------------------------------------------------------
 *
 * graph_embedding.c
 *	  Nodes are found by their embeddings, where pgvector is installed.
 *
 * Embeddings lie in a table of their own, fa_node_embedding, made on demand.
 * It belongs to the extension's owner but is no member of the extension, so
 * that pg_dump keeps it, index and all; a foreign key takes a node's embedding
 * along when the node goes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "graph.h"

PG_FUNCTION_INFO_V1(fa_graph_embedding_create);
PG_FUNCTION_INFO_V1(fa_graph_similar);

#define EMBEDDING_TABLE	 "fa_node_embedding"
#define EMBEDDING_COLUMN "embedding"

static Statement vector_statement = {
	"SELECT n.nspname FROM pg_catalog.pg_extension e"
	" JOIN pg_catalog.pg_namespace n ON n.oid" EQ
	"e.extnamespace WHERE e.extname" EQ "'vector'",
	0,
	{0}};

/* Where pgvector's objects are, quoted; raises 0A000 where it is not there. */
static const char *
vector_schema(const Call *call)
{
	bool isnull;

	if (statement_run(call, &vector_statement, NULL, NULL, 1) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("embeddings need the extension \"vector\""),
			 errhint(
				 "Install pgvector on the server and run CREATE EXTENSION vector; nothing else in the graph needs it.")));
	return quote_identifier(
		pstrdup(NameStr(*DatumGetName(result_datum(0, 1, &isnull)))));
}

static Oid
owner_of(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * The table of embeddings; InvalidOid: there is none.  Raises 42P07 where
 * something else has its name: who may create in our schema could have made
 * it, and a view would run his code as whoever searches.
 */
static Oid
embedding_table(const Call *call)
{
	Oid table = get_relname_relid(EMBEDDING_TABLE, call->schema);

	if (OidIsValid(table) &&
		(get_rel_relkind(table) != RELKIND_RELATION ||
		 owner_of(table) != owner_of(call_relation(call, "fa_node"))))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" is not the table of embeddings",
						EMBEDDING_TABLE),
				 errdetail("It is no table of the owner of fa_node."),
				 errhint("Rename it, and call fa_graph_embedding_create.")));
	return table;
}

/* Raises 55000 where the table is there with another number of dimensions. */
static void
check_dimensions(Oid table, int dimensions)
{
	Oid	  type;
	Oid	  collation;
	int32 there;

	get_atttypetypmodcoll(table, get_attnum(table, EMBEDDING_COLUMN), &type,
						  &there, &collation);
	if (there != dimensions)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("embeddings have %d dimensions, not %d", there, dimensions),
			 errhint("DROP TABLE %s first, with all embeddings in it.",
					 EMBEDDING_TABLE)));
}

/*
 * Makes the table.  Its index takes rows as they come; versions of pgvector
 * that have none such search without an index.
 */
static void
make_table(const char *vector, int dimensions)
{
	const char *schema = quote_identifier(call_schema_name());

	graph_run_command(psprintf(
		"CREATE TABLE %s." EMBEDDING_TABLE " (node_id bigint PRIMARY KEY"
		" REFERENCES %s.fa_node ON UPDATE CASCADE ON DELETE CASCADE,"
		" " EMBEDDING_COLUMN " %s.vector(%d) NOT NULL)",
		schema, schema, vector, dimensions));
	graph_run_command(
		psprintf("COMMENT ON TABLE %s." EMBEDDING_TABLE
				 " IS 'embeddings of nodes, for fa_graph_similar'",
				 schema));
	if (OidIsValid(get_am_oid("hnsw", true)))
		graph_run_command(psprintf("CREATE INDEX ON %s." EMBEDDING_TABLE
								   " USING hnsw (" EMBEDDING_COLUMN
								   " %s.vector_cosine_ops)",
								   schema, vector));
}

/*
 * fa_graph_embedding_create(dimensions int) returns boolean, whether the table
 * is new.  PUBLIC may not execute it, for it makes a table as the extension's
 * owner.
 *
 * Strict.  Raises 0A000 without pgvector, 55000 for other dimensions than those
 * that are there, 42P07, 25006, and what pgvector raises for a number that it
 * cannot take.
 */
Datum
fa_graph_embedding_create(PG_FUNCTION_ARGS)
{
	int			dimensions = PG_GETARG_INT32(0);
	const char *vector;
	Oid			table;
	Call		call;

	call_require_write("fa_graph_embedding_create");
	call_begin(&call, fcinfo, false);
	vector = vector_schema(&call);
	table = embedding_table(&call);
	if (OidIsValid(table))
		check_dimensions(table, dimensions);
	else
		make_table(vector, dimensions);
	call_end(&call);
	PG_RETURN_BOOL(!OidIsValid(table));
}

/*
 * The rows of a search, in SPI's table.  Planned anew each time, with the
 * user's settings: whether pgvector's index is taken is the planner's choice,
 * and how thoroughly it is searched is a setting of pgvector.
 */
static void
search(const Call *call, Datum *arguments, const char *nulls)
{
	Oid			types[] = {FLOAT4ARRAYOID, INT4OID, TEXTOID};
	const char *vector = vector_schema(call);
	const char *schema = quote_identifier(call_schema_name());
	const char *distance =
		psprintf("e." EMBEDDING_COLUMN " OPERATOR(%s.<=>) $1::%s.vector",
				 vector, vector);
	char *sql = psprintf(
		"SELECT e.node_id, %s FROM %s." EMBEDDING_TABLE
		" e WHERE EXISTS (SELECT FROM %s.fa_node n WHERE n.node_id" EQ
		"e.node_id AND ($3 IS NULL OR n.kind" EQ "$3)) ORDER BY %s LIMIT $2",
		distance, schema, schema, distance);

	if (!OidIsValid(embedding_table(call)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("nodes have no embeddings"),
						errhint("Call fa_graph_embedding_create first.")));
	if (SPI_execute_with_args(sql, lengthof(types), types, arguments, nulls,
							  call->read_only, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", sql);
}

/*
 * fa_graph_similar(embedding real[], count int, kind text) returns setof
 * (node_id, distance): the count nodes of that kind (null: any) nearest to an
 * embedding [dimensions].  A null embedding is near to none.
 *
 * Raises 0A000 without pgvector, 42P01 before there are embeddings, 22004,
 * 22023, 42501, and what pgvector raises for other dimensions.
 */
Datum
fa_graph_similar(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		   arguments[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
								  PG_GETARG_DATUM(2)};
	char		   nulls[] = "   ";
	Call		   call;

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("count must not be null")));
	if (PG_GETARG_INT32(1) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("count must not be negative")));
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	graph_begin(&call, fcinfo, true);
	search(&call, arguments, nulls);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[2];
		bool  isnull[2];

		for (int column = 0; column < 2; column++)
			values[column] = result_datum(i, column + 1, &isnull[column]);
		tuplestore_putvalues(set->setResult, set->setDesc, values, isnull);
	}
	call_end(&call);
	return (Datum) 0;
}
