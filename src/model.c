/*-------------------------------------------------------------------------
 *
 * model.c
 *	  Models and worlds: create, check, drop, and find by name.
 *
 * Both are compiled specs under a name with versions, in tables of the same
 * shape; a world is one whose A, B and D are used as the truth.
 *
 * Locks, in this order: the name (while a version is added), then the id: in
 * ACCESS SHARE by whoever makes agents of it, in ACCESS EXCLUSIVE by whoever
 * drops it.  A foreign key would do the same by a multixact on one row that
 * every creator touches.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "fa_agents.h"


PG_FUNCTION_INFO_V1(fa_model_create);
PG_FUNCTION_INFO_V1(fa_model_check);
PG_FUNCTION_INFO_V1(fa_model_drop);
PG_FUNCTION_INFO_V1(fa_world_create);
PG_FUNCTION_INFO_V1(fa_world_drop);

/* What differs between the two tables. */
typedef struct TableTexts
{
	const char *word; /* in messages */
	const char *relation;
	const char *sequence;
	Statement	newest; /* owner and version of a name */
	Statement	insert;
	Statement	find; /* a version, or the newest where $2 is null */
	Statement	all;  /* ids of a name, of one version where $2 is not null */
	Statement	exists;
	Statement	users; /* an agent that uses one of the ids */
	Statement	remove;
	Statement	keep; /* the count of versions, in those that are left */
} TableTexts;

/*
 * Both are written out: a statement is fixed text, which can be searched for
 * and read as SQL.  The plans in them are saved, each when it is first used.
 */
static TableTexts texts[] = {
	[TABLE_MODEL] =
		{
			.word = "model",
			.relation = "fa_model",
			.sequence = "fa_model_id_seq",
			.newest = {"SELECT owner, version FROM @.fa_model WHERE name" EQ
					   "$1"
					   " ORDER BY version DESC LIMIT 1",
					   1,
					   {TEXTOID}},
			.insert =
				{"INSERT INTO @.fa_model (model_id, name, version, versions, owner, spec, body)"
				 " VALUES ($1, $2, $3, $3, $4, $5, $6)",
				 6,
				 {INT8OID, TEXTOID, INT4OID, REGROLEOID, JSONBOID, BYTEAOID}},
			.find =
				{"SELECT model_id, digest, owner FROM @.fa_model WHERE name" EQ
				 "$1"
				 " AND ($2 IS NULL OR version" EQ
				 "$2) ORDER BY version DESC LIMIT 1",
				 2,
				 {TEXTOID, INT4OID}},
			.all = {"SELECT model_id, owner FROM @.fa_model WHERE name" EQ "$1"
					" AND ($2 IS NULL OR version" EQ "$2) ORDER BY model_id",
					2,
					{TEXTOID, INT4OID}},
			.exists = {"SELECT 1 FROM @.fa_model WHERE model_id" EQ "$1",
					   1,
					   {INT8OID}},
			.users = {"SELECT agent_id FROM @.fa_agent WHERE model_id" EQ
					  "$1 LIMIT 1",
					  1,
					  {INT8OID}},
			.remove = {"DELETE FROM @.fa_model WHERE model_id" EQ "$1"
					   " RETURNING name, versions",
					   1,
					   {INT8OID}},
			.keep = {"UPDATE @.fa_model SET versions = $2 WHERE name" EQ "$1"
					 " AND versions" LT "$2",
					 2,
					 {TEXTOID, INT4OID}},
		},
	[TABLE_WORLD] =
		{
			.word = "world",
			.relation = "fa_world",
			.sequence = "fa_world_id_seq",
			.newest = {"SELECT owner, version FROM @.fa_world WHERE name" EQ
					   "$1"
					   " ORDER BY version DESC LIMIT 1",
					   1,
					   {TEXTOID}},
			.insert =
				{"INSERT INTO @.fa_world (world_id, name, version, versions, owner, spec, body)"
				 " VALUES ($1, $2, $3, $3, $4, $5, $6)",
				 6,
				 {INT8OID, TEXTOID, INT4OID, REGROLEOID, JSONBOID, BYTEAOID}},
			.find =
				{"SELECT world_id, digest, owner FROM @.fa_world WHERE name" EQ
				 "$1"
				 " AND ($2 IS NULL OR version" EQ
				 "$2) ORDER BY version DESC LIMIT 1",
				 2,
				 {TEXTOID, INT4OID}},
			.all = {"SELECT world_id, owner FROM @.fa_world WHERE name" EQ "$1"
					" AND ($2 IS NULL OR version" EQ "$2) ORDER BY world_id",
					2,
					{TEXTOID, INT4OID}},
			.exists = {"SELECT 1 FROM @.fa_world WHERE world_id" EQ "$1",
					   1,
					   {INT8OID}},
			.users = {"SELECT agent_id FROM @.fa_agent WHERE world_id" EQ
					  "$1 LIMIT 1",
					  1,
					  {INT8OID}},
			.remove = {"DELETE FROM @.fa_world WHERE world_id" EQ "$1"
					   " RETURNING name, versions",
					   1,
					   {INT8OID}},
			.keep = {"UPDATE @.fa_world SET versions = $2 WHERE name" EQ "$1"
					 " AND versions" LT "$2",
					 2,
					 {TEXTOID, INT4OID}},
		},
};

/* What was set for a name is not for another model of that name. */
static Statement unsync_statement = {
	"DELETE FROM @.fa_belief_sync WHERE model" EQ
	"$1 AND NOT EXISTS (SELECT FROM @.fa_model WHERE name" EQ "$1)",
	1,
	{TEXTOID}};

/* ---------- names ---------- */

/*
 * Splits "name@version"; *version is 0 where none is said.  A name itself
 * holds no "@", so the two cannot be confused.  The result is the caller's to
 * free.  Raises 22023 for what is no version; nine digits at most, so that
 * atoi cannot overflow.
 */
static char *
split_name(const char *name, int32 *version)
{
	const char *at = strrchr(name, '@');

	*version = 0;
	if (at == NULL)
		return pstrdup(name);
	if (at[1] == '\0' || strlen(at + 1) > 9 ||
		strspn(at + 1, "0123456789") != strlen(at + 1) || atoi(at + 1) < 1)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid version in name \"%s\"", name),
			 errhint(
				 "Write \"name\" for the newest version, or \"name@2\" for the second.")));
	*version = atoi(at + 1);
	return pnstrdup(name, at - name);
}

/*
 * Raises 42602 for a name that could not be written in fa_agent_create, or
 * would not fit an index entry.  The message shows no more of it than a name
 * may have.
 */
static void
check_new_name(ModelTable table, const char *name)
{
	if (name[0] == '\0' || strlen(name) > NAME_LIMIT ||
		strchr(name, '@') != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("invalid %s name \"%.*s\"", texts[table].word, NAME_LIMIT,
					name),
			 errdetail(
				 "A name has 1 to %d bytes and no \"@\"; versions are numbered by themselves.",
				 NAME_LIMIT)));
}

/*
 * Raises 42501 unless the caller has the rights of the owner's role, as a
 * member does.  Nobody else may even use a model: a compiled model tells its
 * spec.
 */
static void
require_owner(const Call *call, ModelTable table, const char *name, Oid owner)
{
	if (!has_privs_of_role(call->user, owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for %s \"%s\"", texts[table].word, name),
			 errdetail(
				 "Only its owner, and who is a member of that role, may use, change or drop it.")));
}

/* Raises 42704; never returns. */
static void
unknown_name(ModelTable table, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s \"%s\" does not exist", texts[table].word, name),
			 strrchr(name, '@') != NULL ?
				 errhint("Look at the names and versions in table %s.",
						 texts[table].relation) :
				 errhint("Create it by %s, or look at the names in table %s.",
						 table == TABLE_MODEL ? "fa_model_create" :
												"fa_world_create",
						 texts[table].relation)));
}

/* ---------- locks ---------- */

/*
 * Locks a model's or a world's id until the transaction ends.  The lock is of
 * an object in the table, not of a row: it writes nothing, and makers of
 * agents of one model do not meet.
 */
void
model_lock(const Call *call, ModelTable table, int64 id, LOCKMODE mode)
{
	/* two ids that share their low 32 bits share a lock, which is harmless */
	LockDatabaseObject(call_relation(call, texts[table].relation), (Oid) id, 0,
					   mode);
}

/*
 * Who adds something under a name waits for others who do, until the
 * transaction ends.  Names have no rows yet, so their hash is locked; two
 * names with one hash wait for each other, no more.  The sub-id 1 keeps it
 * apart from model_lock's.
 */
void
name_lock(const Call *call, const char *relation, const char *name)
{
	Oid hash = hash_bytes((const unsigned char *) name, strlen(name));

	LockDatabaseObject(call_relation(call, relation), hash, 1, ExclusiveLock);
}


/* Is there a row, as of now? For questions that a lock has just settled. */
static bool
found_now(const Call *call, Statement *statement, int64 id)
{
	Datum arguments[1] = {Int64GetDatum(id)};

	return statement_run_now(call, statement, arguments) > 0;
}

/* ---------- find ---------- */

/*
 * The newest version of a name, or the one that it says, as the statement's
 * snapshot shows it; the digest is a copy in the current memory context.
 * Raises 42704 where there is none, 42501 where it is another's, 22023 for a
 * wrong "@version".
 */
ModelRow
model_find(const Call *call, ModelTable table, const char *name)
{
	int32	 version;
	char	*base = split_name(name, &version);
	Datum	 arguments[2] = {CStringGetTextDatum(base), Int32GetDatum(version)};
	ModelRow row;
	bool	 isnull;

	if (statement_run(call, &texts[table].find, arguments,
					  version == 0 ? " n" : NULL, 1) == 0)
		unknown_name(table, name);
	/* the statement's limit of 1 makes it the newest */
	row.id = result_int64(0, 1);
	row.digest =
		PointerGetDatum(DatumGetByteaPCopy(result_datum(0, 2, &isnull)));
	row.owner = DatumGetObjectId(result_datum(0, 3, &isnull));
	require_owner(call, table, name, row.owner);
	return row;
}

/*
 * The same, kept from being dropped until the transaction ends: it holds
 * ACCESS SHARE on the id.  It is looked for again under the lock, because who
 * dropped it in between held the lock until his commit, and no snapshot of
 * ours need show that.
 */
ModelRow
model_find_for_use(const Call *call, ModelTable table, const char *name)
{
	ModelRow row = model_find(call, table, name);

	model_lock(call, table, row.id, AccessShareLock);
	if (!found_now(call, &texts[table].exists, row.id))
		unknown_name(table, name);
	return row;
}

/* ---------- create ---------- */

/*
 * Compiles a spec in the current memory context, which is the kernel's arena
 * here; its problems are added, and the result is NULL where there are any.
 *
 * A model whose workspace would be over the limit is refused too: it could be
 * stored, but no session could ever step an agent of it.  JSON that cannot be
 * read at all is an ERROR and not a problem.
 */
static const KernelModel *
compile(Jsonb *spec, KernelProblems *problems)
{
	const KernelModel *model = NULL;
	KernelHost		   host;
	KernelStatus	   status;
	int64			   workspace;

	host_init(&host, CurrentMemoryContext);
	status = kernel_compile(&host, json_from_jsonb(&host, spec, "spec"), &model,
							problems);
	if (problems->count > 0)
		return NULL;
	host_check(status, "a model");
	workspace = kernel_workspace_size(model);
	if (workspace < 0 || workspace > host.max_model_size)
	{
		kernel_problem(
			problems, KERNEL_LIMIT, "policies", "",
			"Use fewer policies or smaller factors, or raise fa_agents.max_model_size.",
			"planning would need %lld kB of memory, the limit is %d kB",
			(long long) (workspace < 0 ? -1 : workspace / 1024),
			fa_max_model_size);
		return NULL;
	}
	return model;
}

/*
 * The version that a new spec of this name gets, and its owner: who made the
 * first one.  The name is locked by the caller, else two creators would find
 * the same number.  It is read as of now, for the lock may have been waited
 * for.  Raises 42710 where the name is another's; a member of the owner's role
 * adds versions that are the owner's.
 */
static int32
next_version(const Call *call, ModelTable table, const char *name, Oid *owner)
{
	Datum arguments[1] = {CStringGetTextDatum(name)};
	bool  isnull;

	*owner = call->user;
	if (statement_run_now(call, &texts[table].newest, arguments) == 0)
		return 1;
	*owner = DatumGetObjectId(result_datum(0, 1, &isnull));
	if (!has_privs_of_role(call->user, *owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("%s name \"%s\" is in use by another owner",
					texts[table].word, name),
			 errhint("Choose another name; only the owner adds versions.")));
	return DatumGetInt32(result_datum(0, 2, &isnull)) + 1;
}

/*
 * fa_model_create and fa_world_create.  Compiles before anything is locked or
 * read, and as the caller: compilation may take seconds, and a wrong spec must
 * not cost others anything.  The id is from a sequence, so an aborted creation
 * leaves a gap, no more.
 */
static int64
create(FunctionCallInfo fcinfo, ModelTable table)
{
	Oid				   owner;
	const char		  *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb			  *spec = PG_GETARG_JSONB_P(1);
	KernelProblems	  *problems = palloc0(sizeof(KernelProblems));
	const KernelModel *model;
	bytea			  *body;
	Datum			   arguments[6];
	int64			   id;
	Call			   call;

	call_require_write(table == TABLE_MODEL ? "fa_model_create" :
											  "fa_world_create");
	check_new_name(table, name);
	model = compile(spec, problems);
	host_report(problems, "spec");
	/* a bytea has 1 GB at most, whatever fa_agents.max_model_size allows */
	if (model->size > (int64) (MaxAllocSize - VARHDRSZ))
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("compiled %s of " INT64_FORMAT " bytes does not fit a row",
					texts[table].word, (int64) model->size),
			 errhint(
				 "Give A and B in the sparse forms \"entries\" or \"next\".")));
	body = palloc(VARHDRSZ + model->size);
	SET_VARSIZE(body, VARHDRSZ + model->size);
	memcpy(VARDATA(body), model, model->size);

	call_begin(&call, fcinfo, false);
	name_lock(&call, texts[table].relation, name);
	id = nextval_internal(call_relation(&call, texts[table].sequence), false);
	arguments[0] = Int64GetDatum(id);
	arguments[1] = CStringGetTextDatum(name);
	arguments[2] = Int32GetDatum(next_version(&call, table, name, &owner));
	arguments[3] = ObjectIdGetDatum(owner);
	arguments[4] = JsonbPGetDatum(spec);
	arguments[5] = PointerGetDatum(body);
	statement_run(&call, &texts[table].insert, arguments, NULL, 0);
	call_end(&call);
	return id;
}

/*
 * fa_model_create(name text, spec jsonb) returns bigint, the id of the new
 * version.
 *
 * Strict.  Raises 22023, 22003, 0A000 or 54000 for what is wrong with the spec
 * (with the first problem's text), 42602 for the name, 42710 where the name is
 * another owner's, 25006 where nothing can be written.
 */
Datum
fa_model_create(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(create(fcinfo, TABLE_MODEL));
}

/*
 * fa_world_create(name text, spec jsonb) returns bigint, the id of the new
 * version; errors are those of fa_model_create.
 */
Datum
fa_world_create(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(create(fcinfo, TABLE_WORLD));
}

/* The kernel has "" where there is no text; in SQL that is null. */
static Datum
text_or_null(const char *string, bool *isnull)
{
	*isnull = string[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(string);
}

/*
 * fa_model_check(spec jsonb) returns a row (path, message, detail, hint) for
 * each problem, at most KERNEL_MAX_PROBLEMS; none: fa_model_create will take
 * it.
 *
 * Reads and writes no table, so that anybody may ask it anywhere.  Strict.
 * Raises an ERROR only for a document that is too large or too deep to be
 * read.
 */
Datum
fa_model_check(PG_FUNCTION_ARGS)
{
	Jsonb		   *spec = PG_GETARG_JSONB_P(0);
	KernelProblems *problems = palloc0(sizeof(KernelProblems));
	ReturnSetInfo  *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	(void) compile(spec, problems);
	for (int i = 0; i < Min(problems->count, KERNEL_MAX_PROBLEMS); i++)
	{
		const KernelProblem *problem = &problems->items[i];
		Datum				 values[4];
		bool				 nulls[4];

		values[0] = text_or_null(problem->path, &nulls[0]);
		values[1] = text_or_null(problem->message, &nulls[1]);
		values[2] = text_or_null(problem->detail, &nulls[2]);
		values[3] = text_or_null(problem->hint, &nulls[3]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---------- drop ---------- */

/*
 * Drops one version, if no agent has it.  The exclusive lock waits for
 * everyone who is making agents of it; after that nobody can begin to, so what
 * is then found of its users is final.  Raises 2BP01 where there is one, 42704
 * where another dropped it first.
 */
static void
drop_one(const Call *call, ModelTable table, const char *name, int64 id)
{
	Datum arguments[1] = {Int64GetDatum(id)};

	model_lock(call, table, id, AccessExclusiveLock);
	if (!found_now(call, &texts[table].exists, id))
		unknown_name(table, name);
	if (found_now(call, &texts[table].users, id))
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop %s \"%s\" because agents use it",
					texts[table].word, name),
			 errhint(
				 "Drop the agents by fa_agent_drop first; they are in table fa_agent with %s_id " INT64_FORMAT
				 ".",
				 texts[table].word, id)));
	if (statement_run(call, &texts[table].remove, arguments, NULL, 0) == 1)
	{
		Datum dropped[2];
		bool  isnull;

		dropped[0] = result_datum(0, 1, &isnull);
		dropped[1] = result_datum(0, 2, &isnull);
		statement_run(call, &texts[table].keep, dropped, NULL, 0);
	}
}

/*
 * fa_model_drop and fa_world_drop.  All ids are read before the first is
 * dropped, in ascending order, so that two who drop the same name lock in the
 * same order.
 */
static void
drop(FunctionCallInfo fcinfo, ModelTable table)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int32		version;
	char	   *base = split_name(name, &version);
	Datum  arguments[2] = {CStringGetTextDatum(base), Int32GetDatum(version)};
	bool   isnull;
	int	   count;
	int64 *ids;
	Call   call;

	call_require_write(table == TABLE_MODEL ? "fa_model_drop" :
											  "fa_world_drop");
	call_begin(&call, fcinfo, false);
	count = statement_run(&call, &texts[table].all, arguments,
						  version == 0 ? " n" : NULL, 0);
	if (count == 0)
		unknown_name(table, name);
	ids = palloc(sizeof(int64) * count);
	for (int i = 0; i < count; i++)
	{
		/* before any lock: a stranger must not make others wait */
		require_owner(&call, table, name,
					  DatumGetObjectId(result_datum(i, 2, &isnull)));
		ids[i] = result_int64(i, 1);
	}
	for (int i = 0; i < count; i++)
		drop_one(&call, table, name, ids[i]);
	if (table == TABLE_MODEL)
		statement_run(&call, &unsync_statement, arguments, NULL, 0);
	call_end(&call);
}

/*
 * fa_model_drop(name text): all versions, or the one that "name@2" says.
 * Strict; returns nothing.  Raises 42704, 42501, 2BP01 where an agent uses one
 * of them (then none is dropped), 25006.
 */
Datum
fa_model_drop(PG_FUNCTION_ARGS)
{
	drop(fcinfo, TABLE_MODEL);
	PG_RETURN_VOID();
}

/* fa_world_drop(name text): the same for worlds. */
Datum
fa_world_drop(PG_FUNCTION_ARGS)
{
	drop(fcinfo, TABLE_WORLD);
	PG_RETURN_VOID();
}
