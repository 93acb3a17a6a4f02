/*-------------------------------------------------------------------------
 *
 * fa_agents.c
 *	  The module's entry: what happens when the server loads the library.
 *
 * The library may be loaded by any backend at its first call of a function,
 * or by the postmaster through shared_preload_libraries.  Nothing here may
 * fail: pg_upgrade loads every library of the old cluster in a server that
 * has none of our objects.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "fa_agents.h"

FA_MODULE_MAGIC;

void _PG_init(void);

PG_FUNCTION_INFO_V1(fa_version);

/*
 * Called once by each backend that loads the library, or once by the
 * postmaster under shared_preload_libraries, whose children inherit all of it.
 * In a server of pg_upgrade nothing is set up, since no agent is stepped
 * there.
 */
void
_PG_init(void)
{
	if (IsBinaryUpgrade)
		return;
	guc_define();
	shared_init();
	cache_init();
	worker_init();
	rotation_init();
}

/*
 * fa_version() returns text, the version of this library, which need not be
 * that of the installed SQL objects: ALTER EXTENSION UPDATE brings those up.
 * Raises nothing and reads no table, so that it answers also where the two
 * differ.
 */
Datum
fa_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(FA_AGENTS_VERSION));
}
