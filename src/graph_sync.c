/*-------------------------------------------------------------------------
 *
 * graph_sync.c
 *	  Which models' agents have their beliefs written to the graph.
 *
 * Every block of steps asks, and most databases sync nothing.  So a session
 * remembers what fa_belief_sync says of each model that it has stepped, and
 * forgets it when the table changes: a trigger of the table has the server tell
 * all sessions, as it tells them of a table that was altered.  That message
 * comes when the change is committed, and not where it is rolled back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_belief_sync);
PG_FUNCTION_INFO_V1(fa_belief_sync_changed);

/* Models that a session remembers at most, or it forgets all. */
#define REMEMBERED 1000

/* SyncSettings by model_id; NULL: none yet.  Lives as long as the session. */
static HTAB *remembered = NULL;

/* The table that they were read from, and whether they still hold. */
static Oid	  source = InvalidOid;
static bool	  holds = false;
static uint64 changes = 0; /* of the table that were heard of */

static Statement setting_statement = {
	"SELECT s.mode" EQ "'step', s.change FROM @.fa_model m"
	" JOIN @.fa_belief_sync s ON s.model" EQ "m.name AND s.owner" EQ
	"m.owner WHERE m.model_id" EQ "$1",
	1,
	{INT8OID}};
static Statement never_statement = {
	"DELETE FROM @.fa_belief_sync WHERE model" EQ "$1", 1, {TEXTOID}};
static Statement set_statement = {
	"INSERT INTO @.fa_belief_sync (model, owner, mode, change)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (model) DO UPDATE SET"
	" owner = excluded.owner, mode = excluded.mode, change = excluded.change",
	4,
	{TEXTOID, REGROLEOID, TEXTOID, FLOAT8OID}};

/* ---------- what is remembered ---------- */

/* A table has changed, or any may have; called by the server. */
static void
forget_settings(Datum argument, Oid table)
{
	if (table == source || !OidIsValid(table))
	{
		holds = false;
		changes++;
	}
}

/* Makes room for what is read from now on. */
static void
begin_anew(const Call *call)
{
	HASHCTL how = {.keysize = sizeof(int64),
				   .entrysize = sizeof(SyncSetting),
				   .hcxt = CacheMemoryContext};
	HTAB   *before = remembered;

	if (!OidIsValid(source))
		CacheRegisterRelcacheCallback(forget_settings, (Datum) 0);
	source = call_relation(call, "fa_belief_sync");
	remembered = NULL;
	if (before != NULL)
		hash_destroy(before);
	remembered = hash_create("fa_agents belief sync", 16, &how,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	holds = true;
}

/*
 * A model's setting as it is now, be the caller's snapshot older or not: what
 * is remembered serves later ones too.
 */
static SyncSetting
read_setting(const Call *call, int64 model_id)
{
	SyncSetting setting = {.model_id = model_id};
	Datum		arguments[1] = {Int64GetDatum(model_id)};
	bool		isnull;

	setting.synced = statement_run_now(call, &setting_statement, arguments) > 0;
	if (setting.synced)
	{
		setting.each_step = DatumGetBool(result_datum(0, 1, &isnull));
		setting.change = DatumGetFloat8(result_datum(0, 2, &isnull));
	}
	return setting;
}

/*
 * To be called before sync_setting: hears of what others have committed, which
 * a transaction that has all its locks would not.
 */
void
sync_begin(void)
{
	AcceptInvalidationMessages();
}

/* How the agents of a model are synced, if they are. */
SyncSetting
sync_setting(const Call *call, int64 model_id)
{
	SyncSetting *entry = NULL;
	SyncSetting	 setting;
	uint64		 before;

	if (holds)
		entry = hash_search(remembered, &model_id, HASH_FIND, NULL);
	if (entry != NULL)
		return *entry;
	if (!holds || hash_get_num_entries(remembered) >= REMEMBERED)
		begin_anew(call);
	before = changes;
	setting = read_setting(call, model_id);
	/* what came meanwhile may be later than what was read */
	if (before == changes && holds)
	{
		entry = hash_search(remembered, &model_id, HASH_ENTER, NULL);
		*entry = setting;
	}
	return setting;
}

/*
 * fa_belief_sync_changed() returns trigger, after a statement on
 * fa_belief_sync: lets all sessions know when it is committed.
 */
Datum
fa_belief_sync_changed(PG_FUNCTION_ARGS)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("this trigger is for fa_belief_sync only")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/* ---------- fa_belief_sync ---------- */

/*
 * Raises 42501 unless the caller may write nodes himself: from now on his
 * agents' steps do it for him.
 */
static void
require_graph_rights(const Call *call)
{
	const AclMode wanted = ACL_SELECT | ACL_INSERT | ACL_UPDATE;

	if (pg_class_aclmask(call_relation(call, "fa_node"), call->user, wanted,
						 ACLMASK_ALL) != wanted)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for table fa_node"),
			 errdetail(
				 "To have beliefs written to the graph takes SELECT, INSERT and UPDATE on it.")));
}

/* Raises 22023 for another mode, or a change that is no probability. */
static void
check_setting(const char *mode, double change)
{
	if (strcmp(mode, "never") != 0 && strcmp(mode, "step") != 0 &&
		strcmp(mode, "change") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid mode \"%s\"", mode),
				 errhint("Modes are \"never\", \"step\" and \"change\".")));
	/* NaN is neither */
	if (!(change >= 0 && change <= 1))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("change must be between 0 and 1"),
			 errhint(
				 "It is a difference of probabilities: 0.2 for 20 percent.")));
}

/*
 * fa_belief_sync(model text, mode text, change float8): whether beliefs of the
 * agents of all versions of a model are written to the graph.  Steps that
 * begin after the commit go by it.
 *
 * Strict; returns nothing.  Raises 22023 for mode and change, or a version;
 * 42704 and 42501 for the model, 42501 without rights on the graph, 25006.
 */
Datum
fa_belief_sync(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *mode = text_to_cstring(PG_GETARG_TEXT_PP(1));
	double		change = PG_GETARG_FLOAT8(2);
	Datum		arguments[4] = {PG_GETARG_DATUM(0), 0, PG_GETARG_DATUM(1),
								Float8GetDatum(change)};
	Call		call;

	call_require_write("fa_belief_sync");
	check_setting(mode, change);
	if (strchr(name, '@') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("beliefs are synced for all versions of a model"),
				 errhint("Name the model without a version.")));
	call_begin(&call, fcinfo, false);
	arguments[1] =
		ObjectIdGetDatum(model_find_for_use(&call, TABLE_MODEL, name).owner);
	if (strcmp(mode, "never") == 0)
		statement_run(&call, &never_statement, arguments, NULL, 0);
	else
	{
		require_graph_rights(&call);
		statement_run(&call, &set_statement, arguments, NULL, 0);
	}
	call_end(&call);
	PG_RETURN_VOID();
}
