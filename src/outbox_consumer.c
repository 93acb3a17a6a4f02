/*-------------------------------------------------------------------------
 *
 * outbox_consumer.c
 *	  Who reads the outbox: cursors of two snapshots.
 *
 * A batch is what is visible in the second snapshot and not in the first.  So
 * what commits late is skipped by no cursor, and what stays open holds none
 * back.  doc/outbox.md tells why.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_outbox_subscribe);
PG_FUNCTION_INFO_V1(fa_outbox_read);
PG_FUNCTION_INFO_V1(fa_outbox_done);
PG_FUNCTION_INFO_V1(fa_outbox_unsubscribe);

/*
 * What is visible now, as text; our own transaction counts as running, for it
 * may still write.
 */
#define NOW                                                                       \
	"(SELECT (LEAST(pg_catalog.pg_snapshot_xmin(s.now)::pg_catalog.text"          \
	"::pg_catalog.int8, o.own)::pg_catalog.text OPERATOR(pg_catalog.||) ':'"      \
	" OPERATOR(pg_catalog.||) GREATEST(pg_catalog.pg_snapshot_xmax(s.now)"        \
	"::pg_catalog.text::pg_catalog.int8, o.own OPERATOR(pg_catalog.+) 1)"         \
	"::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||)"       \
	" (SELECT pg_catalog.string_agg(x::pg_catalog.text, ',' ORDER BY x)"          \
	" FROM (SELECT r::pg_catalog.text::pg_catalog.int8 FROM"                      \
	" pg_catalog.pg_snapshot_xip(s.now) AS r UNION SELECT g FROM"                 \
	" pg_catalog.generate_series(pg_catalog.pg_snapshot_xmax(s.now)"              \
	"::pg_catalog.text::pg_catalog.int8, o.own) AS g UNION SELECT o.own)"         \
	" AS t (x)))::pg_catalog.pg_snapshot"                                         \
	" FROM (SELECT pg_catalog.pg_current_snapshot()) AS s (now),"                 \
	" (SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8)" \
	" AS o (own))"

/* The event that was numbered last; none with a lower number comes any more,
 * but what is being written. */
#define LAST_EVENT "(SELECT last_value FROM @.fa_outbox_id_seq)"

static Statement lock_statement = {
	"SELECT owner, restarted OR origin OPERATOR(pg_catalog.<>) $2,"
	" batch IS NOT NULL FROM @.fa_outbox_consumer WHERE name" EQ
	"$1 FOR UPDATE",
	2,
	{TEXTOID, TEXTOID}};
static Statement insert_statement = {
	"INSERT INTO @.fa_outbox_consumer"
	" (name, owner, kinds, seen, seen_event, origin)"
	" SELECT $1, $2, $3, " NOW ", " LAST_EVENT ", $4",
	4,
	{TEXTOID, REGROLEOID, TEXTARRAYOID, TEXTOID}};
static Statement kinds_statement = {
	"UPDATE @.fa_outbox_consumer SET kinds = $2 WHERE name" EQ "$1",
	2,
	{TEXTOID, TEXTARRAYOID}};
static Statement begin_statement = {
	"UPDATE @.fa_outbox_consumer SET batch = " NOW ", batch_event = " LAST_EVENT
	", restarted = $2, origin = $3, read_at = pg_catalog.clock_timestamp()"
	" WHERE name" EQ "$1",
	3,
	{TEXTOID, BOOLOID, TEXTOID}};
static Statement again_statement = {
	"UPDATE @.fa_outbox_consumer SET read_at = pg_catalog.clock_timestamp()"
	" WHERE name" EQ "$1",
	1,
	{TEXTOID}};
static Statement done_statement = {
	"UPDATE @.fa_outbox_consumer SET seen = batch, batch = NULL,"
	" seen_event = batch_event, batch_event = NULL,"
	" restarted = false, read_at = pg_catalog.clock_timestamp()"
	" WHERE name" EQ "$1 AND batch IS NOT NULL",
	1,
	{TEXTOID}};
static Statement remove_statement = {
	"DELETE FROM @.fa_outbox_consumer WHERE name" EQ "$1", 1, {TEXTOID}};

/* No NULLIF: it would look for its operator on the caller's search_path. */
#define EVENT                                                               \
	"SELECT e.event_id, e.kind,"                                            \
	" CASE WHEN e.agent_id OPERATOR(pg_catalog.<>) 0 THEN e.agent_id END"   \
	" AS agent_id,"                                                         \
	" CASE WHEN e.step OPERATOR(pg_catalog.<>) 0 THEN e.step END AS step,"  \
	" e.at, e.detail"                                                       \
	" FROM c, @.fa_outbox e WHERE pg_catalog.pg_visible_in_snapshot(e.xid," \
	" c.batch) AND (c.kinds IS NULL OR e.kind" EQ "ANY (c.kinds))"          \
	" AND CASE WHEN e.owner IS NULL"                                        \
	" THEN pg_catalog.has_table_privilege(c.owner, $2, 'SELECT')"           \
	" AND pg_catalog.has_table_privilege(c.owner, $3, 'SELECT') ELSE"       \
	" pg_catalog.pg_has_role(c.owner, e.owner::pg_catalog.oid, 'USAGE') END"

/*
 * Those that ended after the first snapshot's end, and those that ran in it;
 * $2 and $3 are the graph's tables.
 */
static Statement read_statement = {
	"WITH c AS MATERIALIZED (SELECT batch, seen, kinds, owner::pg_catalog.oid"
	" AS owner FROM @.fa_outbox_consumer WHERE name" EQ "$1) " EVENT
	" AND e.xid OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmax(c.seen)"
	" AND e.xid" LT "pg_catalog.pg_snapshot_xmax(c.batch)"
	" UNION ALL " EVENT " AND e.xid" EQ
	"ANY (ARRAY (SELECT pg_catalog.pg_snapshot_xip(c.seen)))"
	" ORDER BY agent_id NULLS FIRST, event_id",
	3,
	{TEXTOID, OIDOID, OIDOID}};

/* ---------- one by its name ---------- */

/*
 * Where transaction ids are those of a cursor: the server, the database, and
 * the table, which is another one after DROP and CREATE EXTENSION.
 */
static Datum
origin(const Call *call)
{
	return CStringGetTextDatum(psprintf(UINT64_FORMAT "/%u/%u",
										GetSystemIdentifier(), MyDatabaseId,
										call_relation(call, "fa_outbox")));
}

/*
 * Locks a consumer's row; false: there is none.  Waits for whoever is reading.
 * Raises 42501 where it is another's.
 */
static bool
find(const Call *call, const char *name, bool *restarted, bool *begun)
{
	Datum arguments[2] = {CStringGetTextDatum(name), origin(call)};
	bool  isnull;

	if (statement_run(call, &lock_statement, arguments, NULL, 1) == 0)
		return false;
	if (!has_privs_of_role(call->user,
						   DatumGetObjectId(result_datum(0, 1, &isnull))))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for consumer \"%s\"", name),
			 errdetail(
				 "Only its owner, and who is a member of that role, may use it.")));
	*restarted = DatumGetBool(result_datum(0, 2, &isnull));
	*begun = DatumGetBool(result_datum(0, 3, &isnull));
	return true;
}

/* The same where it must be there; raises 42704. */
static void
find_known(const Call *call, const char *name, bool *restarted, bool *begun)
{
	if (!find(call, name, restarted, begun))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("consumer \"%s\" does not exist", name),
						errhint("Make it by fa_outbox_subscribe.")));
}

/*
 * The bits of kinds of events, 1 << OutboxKind.  Raises 22023 for one that there
 * is not, 22004 for a null one.
 */
static int
read_kinds(ArrayType *array)
{
	Datum *elements;
	bool  *nulls;
	int	   count;
	int	   bits = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		char *kind = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		bool  found = false;

		if (kind == NULL)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("kinds must not contain nulls")));
		for (int k = 0; outbox_kind_name(k) != NULL; k++)
			if (strcmp(kind, outbox_kind_name(k)) == 0)
			{
				bits |= 1 << k;
				found = true;
			}
		if (!found)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind of event \"%s\" does not exist", kind),
				 errhint(
					 "Kinds are \"step\", \"mind\", \"failed\", \"coalition\" and \"graph\".")));
	}
	return bits;
}

/*
 * A consumer of events that nobody writes would read nothing for ever, and not
 * know why.  It may be made before the setting, and sessions differ, so it is
 * no error.
 */
static void
warn_of_unwritten(const char *name, int wanted)
{
	if ((wanted & ~fa_outbox_kinds) == 0)
		return;
	ereport(
		WARNING,
		(errmsg("consumer \"%s\" waits for events that are not written", name),
		 errdetail("In this session \"fa_agents.outbox\" is \"%s\".",
				   GetConfigOption("fa_agents.outbox", false, false)),
		 errhint("Name their kinds in this setting of the database or the "
				 "server; sessions that begin afterwards write them.")));
}

/* ---------- the SQL functions ---------- */

/*
 * fa_outbox_subscribe(consumer text, kinds text[]) returns boolean; false: it
 * was there.  kinds may be null, for all.
 *
 * Raises 22004 for a null name, 42602 for an empty or long one, 22023 for an
 * unknown kind, 42501, 23505 where two make it at once, 25006.
 */
Datum
fa_outbox_subscribe(PG_FUNCTION_ARGS)
{
	char *name;
	bool  known;
	bool  restarted;
	bool  begun;
	int	  wanted = fa_outbox_kinds != 0 ? fa_outbox_kinds : ~0;
	Datum arguments[4];
	char  nulls[4] = {' ', ' ', ' ', ' '};
	Call  call;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("consumer must not be null")));
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (name[0] == '\0' || strlen(name) > NAME_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("consumer name must have 1 to %d bytes", NAME_LIMIT)));
	if (!PG_ARGISNULL(1))
		wanted = read_kinds(PG_GETARG_ARRAYTYPE_P(1));
	call_require_write("fa_outbox_subscribe");
	call_begin(&call, fcinfo, false);
	known = find(&call, name, &restarted, &begun);
	arguments[0] = PG_GETARG_DATUM(0);
	arguments[known ? 1 : 2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[known ? 1 : 2] = PG_ARGISNULL(1) ? 'n' : ' ';
	if (known)
		statement_run(&call, &kinds_statement, arguments, nulls, 0);
	else
	{
		outbox_begin_cursor(&call);
		arguments[1] = ObjectIdGetDatum(call.user);
		arguments[3] = origin(&call);
		statement_run(&call, &insert_statement, arguments, nulls, 0);
	}
	call_end(&call);
	warn_of_unwritten(name, wanted);
	PG_RETURN_BOOL(!known);
}

/* The one event of a consumer that may have missed something. */
static void
put_restarted(ReturnSetInfo *set)
{
	Datum values[6] = {0};
	bool  nulls[6] = {true, false, true, true, false, true};

	values[1] = CStringGetTextDatum("restarted");
	values[4] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/* The events of a batch that was begun. */
static void
put_events(const Call *call, Datum name, ReturnSetInfo *set)
{
	Datum arguments[3] = {name,
						  ObjectIdGetDatum(call_relation(call, "fa_node")),
						  ObjectIdGetDatum(call_relation(call, "fa_edge"))};
	int	  count = statement_run(call, &read_statement, arguments, NULL, 0);

	for (int i = 0; i < count; i++)
	{
		Datum values[6];
		bool  nulls[6];

		CHECK_FOR_INTERRUPTS();
		for (int column = 0; column < 6; column++)
			values[column] = result_datum(i, column + 1, &nulls[column]);
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
}

/*
 * fa_outbox_read(consumer text) returns setof (event_id, kind, agent_id, step,
 * at, detail): the batch that is being read, or a new one.
 *
 * Strict.  Waits for whoever reads for the same consumer.  Raises 42704, 42501,
 * 25006; 40001 under a snapshot that lasts where another has read meanwhile.
 */
Datum
fa_outbox_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		   arguments[3] = {PG_GETARG_DATUM(0)};
	bool		   restarted;
	bool		   begun;
	Call		   call;

	call_require_write("fa_outbox_read");
	InitMaterializedSRF(fcinfo, 0);
	call_begin(&call, fcinfo, false);
	find_known(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)), &restarted,
			   &begun);
	arguments[1] = BoolGetDatum(restarted);
	arguments[2] = origin(&call);
	if (restarted)
		outbox_begin_cursor(&call);
	statement_run(&call,
				  begun && !restarted ? &again_statement : &begin_statement,
				  arguments, NULL, 0);
	if (restarted)
		put_restarted(set);
	else
		put_events(&call, arguments[0], set);
	call_end(&call);
	return (Datum) 0;
}

/*
 * fa_outbox_done(consumer text) returns boolean; false: no batch was begun.
 * Strict.  Raises 42704, 42501, 25006.
 */
Datum
fa_outbox_done(PG_FUNCTION_ARGS)
{
	Datum arguments[1] = {PG_GETARG_DATUM(0)};
	bool  restarted;
	bool  begun;
	bool  done;
	Call  call;

	call_require_write("fa_outbox_done");
	call_begin(&call, fcinfo, false);
	find_known(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)), &restarted,
			   &begun);
	done = statement_run(&call, &done_statement, arguments, NULL, 0) == 1;
	call_end(&call);
	PG_RETURN_BOOL(done);
}

/*
 * fa_outbox_unsubscribe(consumer text) returns void.  Strict.  Raises 42704,
 * 42501, 25006.
 */
Datum
fa_outbox_unsubscribe(PG_FUNCTION_ARGS)
{
	Datum arguments[1] = {PG_GETARG_DATUM(0)};
	bool  restarted;
	bool  begun;
	Call  call;

	call_require_write("fa_outbox_unsubscribe");
	call_begin(&call, fcinfo, false);
	find_known(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)), &restarted,
			   &begun);
	statement_run(&call, &remove_statement, arguments, NULL, 0);
	call_end(&call);
	PG_RETURN_VOID();
}
