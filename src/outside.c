/*-------------------------------------------------------------------------
 *
 * outside.c
 *	  Code of users: who it runs as, and how it is called.
 *
 * A function is called by its oid, never by its name.  The name was looked up,
 * and the function behind it locked and checked, by sensor_hold; but what a
 * name means can change while the lock is held, for no lock keeps a schema
 * from being renamed, and another one from being made in its place.
 *
 * The expression is made by hand and evaluated by the executor, which checks
 * the right to execute the function, honours its settings and its security
 * definer, and takes apart sets in each way that a function may return them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "sensor.h"

/* A function that is called once or for each agent, with all its memory. */
struct OutsideFunction
{
	EState		 *state;
	ExprContext	 *context;
	ParamListInfo arguments;	 /* $1 and $2 of the expression */
	ExprState	 *value;		 /* of one that returns no set */
	SetExprState *rows;			 /* of one that does */
	MemoryContext argument_room; /* of what rows are made from */
};

/*
 * Becomes the caller until outside_end.  An ERROR in between is cleaned up by
 * the end of the (sub)transaction.
 */
void
outside_begin(const Call *call, Outside *outside)
{
	GetUserIdAndSecContext(&outside->user, &outside->security);
	SetUserIdAndSecContext(call->user,
						   call->security | SECURITY_LOCAL_USERID_CHANGE);
}

void
outside_end(const Outside *outside)
{
	SetUserIdAndSecContext(outside->user, outside->security);
}

/* ---------- calls ---------- */

/* The expression function($1, ...) for arguments of these types [count]. */
static FuncExpr *
make_expression(Oid function, const Oid *types, int count)
{
	List	 *arguments = NIL;
	FuncExpr *result;

	for (int i = 0; i < count; i++)
	{
		Param *param = makeNode(Param);

		param->paramkind = PARAM_EXTERN;
		param->paramid = i + 1;
		param->paramtype = types[i];
		param->paramtypmod = -1;
		param->location = -1;
		arguments = lappend(arguments, param);
	}
	result = makeFuncExpr(function, get_func_rettype(function), arguments,
						  InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	result->funcretset = get_func_retset(function);
	return result;
}

/*
 * Makes a function ready to be called, in the current memory context; it was
 * held by sensor_hold before.  Raises 42883 where code that has run since has
 * dropped it, and 42501 where the current user may not execute it.
 */
OutsideFunction *
outside_function(const SensorUse *use)
{
	OutsideFunction *result = palloc0(sizeof(OutsideFunction));
	const Oid		*types;
	int				 count = sensor_arguments(use, &types);
	FuncExpr		*expression;

	if (!SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(use->function)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s was dropped while it was in use",
							   use->name)));
	expression = make_expression(use->function, types, count);
	result->state = CreateExecutorState();
	result->context = CreateExprContext(result->state);
	result->arguments = makeParamList(count);
	for (int i = 0; i < count; i++)
		result->arguments->params[i] = (ParamExternData){.ptype = types[i]};
	result->context->ecxt_param_list_info = result->arguments;
	if (expression->funcretset)
	{
		result->argument_room =
			AllocSetContextCreate(result->state->es_query_cxt,
								  "fa_agents arguments", ALLOCSET_SMALL_SIZES);
		result->rows = ExecInitTableFunctionResult((Expr *) expression,
												   result->context, NULL);
	}
	else
		result->value = ExecInitExpr((Expr *) expression, NULL);
	return result;
}

/*
 * Before each call: it sees what this transaction has written, and what others
 * have committed, as a statement of a client does.
 */
static void
begin_call(OutsideFunction *function, const Datum *arguments)
{
	ResetExprContext(function->context);
	for (int i = 0; i < function->arguments->numParams; i++)
		function->arguments->params[i].value = arguments[i];
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
end_call(void)
{
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/*
 * Calls a function that returns no set.  The result lives until the next call.
 */
Datum
outside_call(OutsideFunction *function, const Datum *arguments, bool *isnull)
{
	Datum result;

	begin_call(function, arguments);
	result =
		ExecEvalExprSwitchContext(function->value, function->context, isnull);
	end_call();
	return result;
}

/*
 * Calls a function that returns a set.  Its rows are of these columns, else
 * 42804 is raised: a composite type may be altered at any time.
 */
Tuplestorestate *
outside_rows(OutsideFunction *function, const Datum *arguments,
			 TupleDesc columns)
{
	MemoryContext	 old;
	Tuplestorestate *result;

	begin_call(function, arguments);
	old = MemoryContextSwitchTo(function->state->es_query_cxt);
	result =
		ExecMakeTableFunctionResult(function->rows, function->context,
									function->argument_room, columns, false);
	MemoryContextSwitchTo(old);
	end_call();
	return result;
}

/* Gives back what a function has needed, its last result too. */
void
outside_done(OutsideFunction *function)
{
	FreeExecutorState(function->state);
	pfree(function);
}

/* ---------- constraints ---------- */

/*
 * Constraints that were deferred are checked now, as the caller, and so are
 * those that are named as constraints but may do anything.
 */
void
outside_check_constraints(const Call *call)
{
	Outside outside;

	outside_begin(call, &outside);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) !=
		SPI_OK_UTILITY)
		elog(ERROR, "could not check constraints");
	SPI_finish();
	outside_end(&outside);
}
