/*-------------------------------------------------------------------------
 *
 * graph_field.c
 *	  Declared fields: members of nodes' props with an index of their own.
 *
 * What is declared stands in fa_graph_field, which is dumped; the index is made
 * and dropped by that table's trigger, for pg_dump leaves out indexes that were
 * added to an extension's table.  So a restored row brings its index along.
 *
 * The index is on the jsonb value: it has an order for whatever stands there,
 * so that no write can fail for a value of another type than was expected.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "graph.h"

PG_FUNCTION_INFO_V1(fa_graph_field_create);
PG_FUNCTION_INFO_V1(fa_graph_field_drop);
PG_FUNCTION_INFO_V1(fa_graph_field_index);

/* The columns of fa_graph_field. */
enum
{
	FIELD_KIND = 1,
	FIELD_PATH,
	FIELD_INDEX_NAME
};

static Statement insert_statement = {
	"INSERT INTO @.fa_graph_field (kind, path, index_name) VALUES ($1, $2, $3)"
	" ON CONFLICT (kind, path) DO NOTHING",
	3,
	{TEXTOID, TEXTARRAYOID, NAMEOID}};
static Statement name_statement = {
	"SELECT index_name FROM @.fa_graph_field WHERE kind" EQ "$1 AND path" EQ
	"$2",
	2,
	{TEXTOID, TEXTARRAYOID}};
static Statement delete_statement = {
	"DELETE FROM @.fa_graph_field WHERE kind" EQ "$1 AND path" EQ "$2",
	2,
	{TEXTOID, TEXTARRAYOID}};

/* ---------- the index ---------- */

/* The members of a path that was checked, [*count]. */
static char **
path_members(Datum path, int *count)
{
	Datum *elements;
	char **members;

	deconstruct_array(DatumGetArrayTypeP(path), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, count);
	members = palloc(sizeof(char *) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		members[i] = TextDatumGetCString(elements[i]);
	return members;
}

/*
 * Makes the index of a field, unless fa_node has it; 42P07 where the name is
 * that of something else.
 */
static void
make_index(const Call *call, Datum kind, Datum path, const char *name)
{
	Oid			   index = get_relname_relid(name, call->schema);
	StringInfoData command;
	char		 **members;
	int			   count;

	if (OidIsValid(index) && get_rel_relkind(index) == RELKIND_INDEX &&
		IndexGetRelation(index, false) == call_relation(call, "fa_node"))
		return;
	members = path_members(path, &count);
	initStringInfo(&command);
	appendStringInfo(&command, "CREATE INDEX %s ON %s.fa_node ((props",
					 quote_identifier(name),
					 quote_identifier(call_schema_name()));
	for (int i = 0; i < count; i++)
		appendStringInfo(&command,
						 " OPERATOR(pg_catalog.->) %s::pg_catalog.text",
						 quote_literal_cstr(members[i]));
	appendStringInfo(&command, ")) WHERE kind" EQ "%s::pg_catalog.text",
					 quote_literal_cstr(TextDatumGetCString(kind)));
	graph_run_command(command.data);
}

static void
drop_index(const char *name)
{
	graph_run_command(psprintf("DROP INDEX IF EXISTS %s.%s",
							   quote_identifier(call_schema_name()),
							   quote_identifier(name)));
}

/* A column of a row of the trigger's table, none of which can be null. */
static Datum
column(const TriggerData *trigger, HeapTuple tuple, int number)
{
	bool isnull;

	return heap_getattr(tuple, number, RelationGetDescr(trigger->tg_relation),
						&isnull);
}

/*
 * fa_graph_field_index() returns trigger, after a row of fa_graph_field was
 * written, by whomever: makes the index of a new row, drops that of an old one.
 */
Datum
fa_graph_field_index(PG_FUNCTION_ARGS)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;
	HeapTuple		   old = NULL;
	HeapTuple new = NULL;
	Call call;

	if (!graph_trigger_is_on(fcinfo, TRIGGER_EVENT_AFTER, "fa_graph_field"))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("this trigger is for fa_graph_field only")));
	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		old = trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		new = trigger->tg_trigtuple;
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		new = trigger->tg_newtuple;
	call_begin(&call, fcinfo, false);
	if (old != NULL)
		drop_index(
			NameStr(*DatumGetName(column(trigger, old, FIELD_INDEX_NAME))));
	if (new != NULL)
		make_index(
			&call, column(trigger, new, FIELD_KIND),
			column(trigger, new, FIELD_PATH),
			NameStr(*DatumGetName(column(trigger, new, FIELD_INDEX_NAME))));
	call_end(&call);
	return PointerGetDatum(NULL);
}

/* ---------- declare ---------- */

/*
 * The arguments kind and path, as a statement wants them.  Raises 22004,
 * 2202E, and 22023 for a path without members.
 */
static void
field_arguments(FunctionCallInfo fcinfo, Datum *arguments)
{
	ArrayType *path;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) ||
		array_contains_nulls(PG_GETARG_ARRAYTYPE_P(1)))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("kind and path must not be null")));
	path = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(path) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("path must be a one-dimensional array")));
	if (ARR_NDIM(path) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("path must not be empty"),
						errhint("Name a member of props, and members of it "
								"after it.")));
	arguments[0] = PG_GETARG_DATUM(0);
	arguments[1] = PointerGetDatum(path);
}

/* A name for an index that nothing has, made of kind and path. */
static Name
choose_name(const Call *call, const Datum *arguments)
{
	int			   count;
	char		 **members = path_members(arguments[1], &count);
	StringInfoData path;
	Name		   name = palloc0(sizeof(NameData));

	initStringInfo(&path);
	for (int i = 0; i < count; i++)
		appendStringInfo(&path, "%s%s", i > 0 ? "_" : "", members[i]);
	namestrcpy(name,
			   ChooseRelationName(
				   psprintf("fa_node_%s", TextDatumGetCString(arguments[0])),
				   path.data, "field", call->schema, true));
	return name;
}

/*
 * Begins a change of what is declared.  One at a time: names are chosen, and
 * fa_node is locked after this table.
 */
static void
begin_change(Call *call, FunctionCallInfo fcinfo, const char *function)
{
	call_require_write(function);
	call_begin(call, fcinfo, false);
	LockRelationOid(call_relation(call, "fa_graph_field"),
					ShareRowExclusiveLock);
}

/*
 * fa_graph_field_create(kind text, variadic path text[]) returns boolean,
 * whether the field is new.  An index that somebody has dropped is made again.
 * PUBLIC may not execute it, for it makes an index as the extension's owner.
 *
 * Raises 22004, 2202E, 22023, 25006, and what CREATE INDEX raises: 54000 where
 * a value is too large for an index.
 */
Datum
fa_graph_field_create(PG_FUNCTION_ARGS)
{
	Datum arguments[3];
	bool  is_new;
	Call  call;

	field_arguments(fcinfo, arguments);
	begin_change(&call, fcinfo, "fa_graph_field_create");
	arguments[2] = NameGetDatum(choose_name(&call, arguments));
	is_new = statement_run(&call, &insert_statement, arguments, NULL, 0) > 0;
	if (!is_new &&
		statement_run(&call, &name_statement, arguments, NULL, 1) > 0)
	{
		bool isnull;
		Name name = DatumGetName(result_datum(0, 1, &isnull));

		make_index(&call, arguments[0], arguments[1], pstrdup(NameStr(*name)));
	}
	call_end(&call);
	PG_RETURN_BOOL(is_new);
}

/*
 * fa_graph_field_drop(kind text, variadic path text[]) returns boolean,
 * whether there was such a field.  Raises as fa_graph_field_create.
 */
Datum
fa_graph_field_drop(PG_FUNCTION_ARGS)
{
	Datum arguments[2];
	bool  was_there;
	Call  call;

	field_arguments(fcinfo, arguments);
	begin_change(&call, fcinfo, "fa_graph_field_drop");
	was_there = statement_run(&call, &delete_statement, arguments, NULL, 0) > 0;
	call_end(&call);
	PG_RETURN_BOOL(was_there);
}
