/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  SQL of our own: saved plans, run as the extension's owner.
 *
 * Users have no rights to write the tables, else they could forge beliefs.
 * A function checks the caller's rights in C and then runs its statements
 * as the owner of the extension's functions; for that it switches the user
 * id, which the end of a (sub)transaction restores after an error.
 *
 * A statement's text is fixed but for the schema, which is looked up at each
 * call: DROP and CREATE EXTENSION in one session may move it.  Operators are
 * qualified, so no search_path can put another one in their place.
 *
 * The shape of the plans is pinned.  A plan is made once and used for a table
 * that was empty then and large later; a sequential scan or a hash join that
 * was cheapest at first would stay, take row locks in heap order (two batches
 * could deadlock) and widen the conflicts of SERIALIZABLE transactions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "fa_agents.h"

/*
 * Nothing here is freed by an error or a transaction's end: saved plans, and
 * the name that they were made for, belong to the backend.
 */
/* The schema that saved plans were made for; a change begins a generation. */
static Oid	  current_schema_oid = InvalidOid;
static char	  current_schema_name[NAMEDATALEN];
static uint64 current_generation = 0;

/* Rows for the statement that is being run; NULL: none, or taken already. */
typedef struct HandedRows
{
	Tuplestorestate *rows;
	TupleDesc		 desc;
} HandedRows;

static HandedRows handed = {NULL, NULL};

PG_FUNCTION_INFO_V1(fa_rows);

/*
 * Owner and schema of the function that is being called.  It is asked at each
 * call and not remembered: ALTER FUNCTION ..  OWNER TO and ALTER EXTENSION ..
 * SET SCHEMA may come between two calls.  The result is who our SQL runs as.
 */
static Oid
called_function(Oid function, Oid *schema)
{
	HeapTuple	 tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	Oid			 owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	owner = form->proowner;
	*schema = form->pronamespace;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Notes a move or a new name of our schema.  Plans hold the name as text, so
 * with a new name all of them are out of date; they are made again when they
 * are next used, each by itself.
 */
static void
note_schema(Oid schema)
{
	char *name = get_namespace_name(schema);

	if (name == NULL)
		elog(ERROR, "cache lookup failed for schema %u", schema);
	if (schema != current_schema_oid || strcmp(name, current_schema_name) != 0)
	{
		current_schema_oid = schema;
		strlcpy(current_schema_name, name, NAMEDATALEN);
		current_generation++;
	}
	pfree(name);
}

/*
 * Connects to SPI and becomes the extension's owner.  With read_only,
 * statements see what the calling statement sees; otherwise each has a
 * snapshot of its own and sees what the ones before it wrote.
 *
 * From here on CurrentMemoryContext is SPI's, and goes with call_end: what is
 * to be returned has to be allocated in the caller's.  The function must have
 * an OID of ours (fn_oid), so it cannot be called through DirectFunctionCall.
 * An ERROR needs no clean-up: the end of the (sub)transaction restores the
 * user and SPI's stack.
 */
void
call_begin(Call *call, FunctionCallInfo fcinfo, bool read_only)
{
	Oid schema;
	Oid owner = called_function(fcinfo->flinfo->fn_oid, &schema);

	call_begin_as(call, schema, owner, read_only);
}

/*
 * The same for a process of ours, which no function has called: schema and
 * owner are the extension's.
 */
void
call_begin_as(Call *call, Oid schema, Oid owner, bool read_only)
{
	call->schema = schema;
	note_schema(schema);
	call->read_only = read_only;
	GetUserIdAndSecContext(&call->user, &call->security);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* the last that is done: until here errors are the caller's own */
	SetUserIdAndSecContext(owner,
						   call->security | SECURITY_LOCAL_USERID_CHANGE);
}

/*
 * Becomes the caller again and frees all that was allocated in SPI's context.
 */
void
call_end(Call *call)
{
	SetUserIdAndSecContext(call->user, call->security);
	SPI_finish();
}

/*
 * Refuses a writing function (25006) where nothing may be written, before it
 * has computed or locked anything; the server's own error would name a
 * statement that the caller has never seen. function is its SQL name, without
 * parentheses.
 */
void
call_require_write(const char *function)
{
	if (RecoveryInProgress())
		ereport(
			ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot execute %s() during recovery", function),
			 errhint(
				 "Call it on the primary server; fa_infer, fa_belief and fa_explain work on a standby.")));
	if (XactReadOnly)
		ereport(
			ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot execute %s() in a read-only transaction", function),
			 errhint(
				 "Begin the transaction READ WRITE; fa_infer, fa_belief and fa_explain only read.")));
}

/*
 * The name of our schema, as of the last call_begin; not quoted, in memory
 * that the next one overwrites.
 */
const char *
call_schema_name(void)
{
	return current_schema_name;
}

/*
 * The OID of one of our tables or sequences, for locks and nextval.  Looked up
 * by name because DROP and CREATE EXTENSION give new ones.  Raises 42P01 where
 * the library is newer than the SQL objects.
 */
Oid
call_relation(const Call *call, const char *name)
{
	Oid relation = get_relname_relid(name, call->schema);

	if (!OidIsValid(relation))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s\" of extension fa_agents does not exist", name),
			 errhint(
				 "The extension's SQL objects may be of an older version; run ALTER EXTENSION fa_agents UPDATE.")));
	return relation;
}

/*
 * sql with each "@" replaced by our schema's quoted name, in the current
 * memory context.  No text of ours has an "@" that means itself.
 */
static char *
statement_text(const char *sql)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const char *c = sql; *c != '\0'; c++)
	{
		if (*c == '@')
			appendStringInfoString(&text,
								   quote_identifier(current_schema_name));
		else
			appendStringInfoChar(&text, *c);
	}
	return text.data;
}

/*
 * Makes the plan of a statement for the schema as it is now, and keeps it as
 * long as the backend lives.  CURSOR_OPT_GENERIC_PLAN: a custom plan for each
 * call would cost more than most of our statements take.  If it raises an
 * ERROR the statement has no plan, and the next call tries again.
 */
static void
statement_prepare(Statement *statement)
{
	char	  *text = statement_text(statement->sql);
	SPIPlanPtr plan;

	if (statement->plan != NULL)
	{
		SPI_freeplan(statement->plan);
		statement->plan = NULL;
	}
	plan = SPI_prepare_cursor(text, statement->nargs, statement->types,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", text,
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	statement->plan = plan;
	statement->generation = current_generation;
	pfree(text);
}

/*
 * The planner's switches while our statements are planned.  Whatever a user
 * sets for his own queries, and whatever a table's size was when a plan was
 * made, rows are found by their keys, and in the order of our keys.  (These
 * are the server's variables themselves: to go through the settings costs some
 * microseconds a statement.)
 */
static const struct
{
	bool *setting;
	bool  value;
} pins[] = {
	{&enable_seqscan, false},  {&enable_bitmapscan, false},
	{&enable_hashjoin, false}, {&enable_mergejoin, false},
	{&enable_indexscan, true}, {&enable_tidscan, true},
	{&enable_nestloop, true},  {&enable_sort, true},
	{&enable_material, true},  {&enable_indexonlyscan, true},
	{&jit_enabled, false},
};

/* Other settings that decide which plan is taken. */
typedef struct Costs
{
	bool   pinned[lengthof(pins)];
	int	   cache_mode;
	double random_page;
	double seq_page;
} Costs;

/*
 * Sets what pins[] says, and what else decides the plan, until unpin_planner.
 * The settings matter not only when the plan is made: after an invalidation
 * the server plans again, inside of SPI_execute_plan.
 */
static void
pin_planner(Costs *saved)
{
	for (int i = 0; i < (int) lengthof(pins); i++)
	{
		saved->pinned[i] = *pins[i].setting;
		*pins[i].setting = pins[i].value;
	}
	saved->cache_mode = plan_cache_mode;
	saved->random_page = random_page_cost;
	saved->seq_page = seq_page_cost;
	plan_cache_mode = PLAN_CACHE_MODE_FORCE_GENERIC_PLAN;
	random_page_cost = DEFAULT_RANDOM_PAGE_COST;
	seq_page_cost = DEFAULT_SEQ_PAGE_COST;
}

/*
 * Puts the user's settings back; what is called between the two must not be
 * left by an ERROR without it.
 */
static void
unpin_planner(const Costs *saved)
{
	for (int i = 0; i < (int) lengthof(pins); i++)
		*pins[i].setting = saved->pinned[i];
	plan_cache_mode = saved->cache_mode;
	random_page_cost = saved->random_page;
	seq_page_cost = saved->seq_page;
}

/*
 * Runs a plan, with its rows going to a receiver one by one instead of to
 * SPI's table; none of the values [nargs] is null.
 */
static int
execute_into(const Call *call, const Statement *statement, const Datum *values,
			 DestReceiver *receiver)
{
	ParamListInfo	  params = makeParamList(statement->nargs);
	SPIExecuteOptions options = {
		.params = params, .read_only = call->read_only, .dest = receiver};

	for (int i = 0; i < statement->nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = statement->types[i];
	}
	return SPI_execute_plan_extended(statement->plan, &options);
}

/*
 * Runs a prepared statement under the pinned planner settings, with rows that
 * it may take by fa_rows().  A trigger of somebody's may come back here in
 * between, so what was handed before is put back.  A receiver takes the rows of
 * the result, or SPI does (NULL).
 */
static int
run_pinned(const Call *call, Statement *statement, Datum *values,
		   const char *nulls, int64 limit, const HandedRows *rows,
		   DestReceiver *receiver)
{
	volatile int	 result = 0;
	const HandedRows outer = handed;
	Costs			 saved;

	pin_planner(&saved);
	PG_TRY();
	{
		handed = *rows;
		if (receiver != NULL)
			result = execute_into(call, statement, values, receiver);
		else
			result = SPI_execute_plan(statement->plan, values, nulls,
									  call->read_only, limit);
	}
	PG_CATCH();
	{
		handed = outer;
		unpin_planner(&saved);
		PG_RE_THROW();
	}
	PG_END_TRY();
	handed = outer;
	unpin_planner(&saved);
	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql,
			 SPI_result_code_string(result));
	return (int) SPI_processed;
}

/*
 * statement_run and its kind in common: the plan is made when it is first
 * needed, for the schema that the current call is in.
 */
static int
prepare_and_run(const Call *call, Statement *statement, Datum *values,
				const char *nulls, int64 limit, const HandedRows *rows,
				DestReceiver *receiver)
{
	if (statement->plan == NULL || statement->generation != current_generation)
		statement_prepare(statement);
	return run_pinned(call, statement, values, nulls, limit, rows, receiver);
}

/*
 * Runs a statement with values [nargs] and nulls, one character each as SPI
 * has it (NULL: none is null), for at most limit rows (0: all).
 *
 * Returns the number of rows processed; those of the result, if any, are in
 * SPI_tuptable until the next statement or the call's end.  An ERROR leaves
 * the planner's settings as they were.
 */
int
statement_run(const Call *call, Statement *statement, Datum *values,
			  const char *nulls, int64 limit)
{
	const HandedRows none = {NULL, NULL};

	return prepare_and_run(call, statement, values, nulls, limit, &none, NULL);
}

/*
 * Runs a statement under the newest snapshot; returns how many rows it found,
 * at most one.  What a lock guards must be looked at as it is now, also in a
 * REPEATABLE READ transaction whose own snapshot is older than the lock.  None
 * of the arguments is null. read_only makes SPI use the snapshot that was
 * pushed, and none of its own.
 */
int
statement_run_now(const Call *call, Statement *statement, Datum *arguments)
{
	Call now = *call;
	int	 found;

	PushActiveSnapshot(GetLatestSnapshot());
	now.read_only = true;
	found = statement_run(&now, statement, arguments, NULL, 1);
	PopActiveSnapshot();
	return found;
}

/*
 * The same with rows of ours, which the statement reads by fa_rows(): a batch
 * goes to the executor as it is.  The statement takes the rows over and frees
 * them.
 *
 * (Transition tables would need no function, but when an UPDATE has waited for
 * a row and looks at its condition again, the executor of 15 does not find
 * them.)
 */
int
statement_run_with(const Call *call, Statement *statement, Datum *values,
				   const char *nulls, TupleDesc desc, Tuplestorestate *rows)
{
	const HandedRows handing = {rows, desc};

	return prepare_and_run(call, statement, values, nulls, 0, &handing, NULL);
}

/*
 * The same with a receiver that takes the rows of the result one by one: a
 * million of them need no memory.  It must not run statements itself.  None of
 * the values is null.
 */
void
statement_stream(const Call *call, Statement *statement, Datum *values,
				 DestReceiver *receiver)
{
	const HandedRows none = {NULL, NULL};

	(void) prepare_and_run(call, statement, values, NULL, 0, &none, receiver);
}

/*
 * fa_rows() returns setof record: the rows that the statement being run was
 * handed.  No arguments; the columns are those of the list that the statement
 * writes after it.
 *
 * The rows can be taken once: a plan that scanned the function twice would
 * find the store gone.  The executor owns the store from here on.  Raises
 * 0A000 where a user calls it, or where nothing was handed: it is no way to
 * our data, for it holds nothing between our statements.
 */
Datum
fa_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (handed.rows == NULL || result == NULL || !IsA(result, ReturnSetInfo) ||
		(result->allowedModes & SFRM_Materialize) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("fa_rows() is for statements of the extension itself")));
	result->returnMode = SFRM_Materialize;
	result->setResult = handed.rows;
	result->setDesc = handed.desc;
	handed.rows = NULL;
	return (Datum) 0;
}

/*
 * See fa_agents.h. row counts from 0, column from 1; both must be there, for
 * nothing is checked.  A datum by reference points into the row.
 */
Datum
result_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
						 isnull);
}

/* A bigint; 0 where it is null, which is no id. */
int64
result_int64(uint64 row, int column)
{
	bool  isnull;
	Datum value = result_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}
