/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings, in alphabetical order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "fa_agents.h"

/*
 * The values that the server reads and writes; README.md and fa_agents.h give
 * their units. None has a hook: each is looked at where it is used, so a
 * change counts from the next call on.
 */
int fa_cache_size;
int fa_inbox_limit;
int fa_key_retention;
int fa_max_model_size;
int fa_max_parallel;
int fa_max_policies;

/*
 * Defines every setting; called once, when the library is loaded.
 *
 * What bounds the load that one user puts on the server, or how long others'
 * keys are kept, is for who administers it (SUSET).  The cache is one for all
 * sessions, so its size can only be one (SIGHUP).
 */
void
guc_define(void)
{
	/* sizes end at MAX_KILOBYTES, so that they are a Size in bytes too */
	DefineCustomIntVariable(
		"fa_agents.cache_size", "Sets the shared memory for compiled models.",
		"Each session may keep as much of its own for working with them.",
		&fa_cache_size, 256 * 1024, 0, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.inbox_limit",
		"Sets how many observations may wait for one agent.", NULL,
		&fa_inbox_limit, 1000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"fa_agents.key_retention",
		"Sets for how long the keys of steps and observations are remembered.",
		NULL, &fa_key_retention, 24 * 60 * 60, 1, INT_MAX, PGC_SUSET,
		GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("fa_agents.max_model_size",
							"Sets the largest size of one compiled model.",
							NULL, &fa_max_model_size, 256 * 1024, 64,
							MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomIntVariable(
		"fa_agents.max_parallel",
		"Sets how many other processes may help with a long run.",
		"-1 takes max_parallel_workers_per_gather.", &fa_max_parallel, -1, -1,
		64, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("fa_agents.max_policies",
							"Sets the largest number of policies of one model.",
							NULL, &fa_max_policies, 65536, 1, 16 * 1024 * 1024,
							PGC_SUSET, 0, NULL, NULL, NULL);
	/* a setting misspelt in postgresql.conf is told, not silently kept */
	MarkGUCPrefixReserved("fa_agents");
}
