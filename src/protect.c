/*-------------------------------------------------------------------------
 *
 * protect.c
 *	  A guard against an absent-minded DROP EXTENSION, which would delete
 *	  every agent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_protect);

#define GUARD "fa_protected"

/*
 * fa_protect() returns boolean, whether the view is new; a second call finds
 * it and does nothing.
 *
 * It makes an ordinary view over fa_agent.  As the view is no member of the
 * extension, DROP EXTENSION refuses to go on without CASCADE.  Its one column
 * is enough: what counts is the dependency.  PUBLIC may not execute it,
 * because it creates an object as the extension's owner.  Raises 25006 where
 * nothing can be written.
 */
Datum
fa_protect(PG_FUNCTION_ARGS)
{
	const char *schema;
	bool		is_new;
	Call		call;

	call_require_write("fa_protect");
	call_begin(&call, fcinfo, false);
	schema = quote_identifier(call_schema_name());
	is_new = !OidIsValid(get_relname_relid(GUARD, call.schema));
	if (is_new &&
		SPI_execute(
			psprintf("CREATE VIEW %s.%s AS SELECT agent_id FROM %s.fa_agent",
					 schema, GUARD, schema),
			false, 0) < 0)
		elog(ERROR, "could not create view \"%s\"", GUARD);
	call_end(&call);
	PG_RETURN_BOOL(is_new);
}
