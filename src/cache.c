/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  Compiled models, kept by the session.
 *
 * A compiled model never changes, and its key is the sha256 of its bytes, read
 * from a row that the caller's snapshot shows: nothing is ever invalidated.  A
 * digest that was seen in an aborted transaction, in another schema or before
 * the extension was dropped still names the same bytes.
 *
 * A model is pinned while a transaction uses it.  Pins are let go in the
 * callback of the transaction's end, so an error leaves none; one that a
 * rolled back subtransaction left lasts until then, which only keeps memory a
 * little longer.  Memory over fa_agents.cache_size is given back when the next
 * model is loaded, the least recently used first.
 *
 * An entry is in the table only when it is whole.  Its block and its workspace
 * lie in a context of its own under CacheMemoryContext; the table itself lies
 * under TopMemoryContext.  A backend serves one call at a time, so one
 * workspace a model is enough, and no lock is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "fa_agents.h"

static HTAB	 *cache = NULL;
static Size	  cache_used = 0;		/* bytes in all entries */
static uint64 cache_clock = 0;		/* counts look-ups */
static bool	  cache_pinned = false; /* some entry may have pins */

static Statement model_body_statement = {
	"SELECT body, spec FROM @.fa_model WHERE model_id" EQ "$1", 1, {INT8OID}};
static Statement world_body_statement = {
	"SELECT body, spec FROM @.fa_world WHERE world_id" EQ "$1", 1, {INT8OID}};

/*
 * At a transaction's end nobody uses a model any more.  The events before a
 * commit come too early: deferred triggers and the like may still step agents.
 * Nothing here can fail, as it must not in an abort.
 */
static void
cache_unpin_all(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS scan;
	CachedModel	   *entry;

	if (!cache_pinned || event == XACT_EVENT_PRE_COMMIT ||
		event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->pins = 0;
	cache_pinned = false;
}

/*
 * Called once, when the library is loaded.  The table is made here and not at
 * the first use, so that the callback may rely on it.
 */
void
cache_init(void)
{
	HASHCTL info = {0};

	info.keysize = DIGEST_SIZE;
	info.entrysize = sizeof(CachedModel);
	cache = hash_create("fa_agents compiled models", 64, &info,
						HASH_ELEM | HASH_BLOBS);
	RegisterXactCallback(cache_unpin_all, NULL);
}

/*
 * Forgets a model that is not pinned, and frees it.  The context goes first;
 * the digest lies in the table's entry, not in it.
 */
static void
cache_remove(CachedModel *entry)
{
	cache_used -= entry->size;
	MemoryContextDelete(entry->context);
	hash_search(cache, entry->digest, HASH_REMOVE, NULL);
}

/*
 * Gives back memory until size more fits, or all that is left is in use.  The
 * scan of all entries for the oldest is short: it is made only when a model is
 * loaded, which takes much longer.  An entry that is larger than the limit
 * goes at the next load after its transaction.
 */
static void
cache_make_room(Size size)
{
	while (cache_used + size > (Size) fa_cache_size * 1024)
	{
		HASH_SEQ_STATUS scan;
		CachedModel	   *entry;
		CachedModel	   *oldest = NULL;

		hash_seq_init(&scan, cache);
		while ((entry = hash_seq_search(&scan)) != NULL)
		{
			if (entry->pins == 0 &&
				(oldest == NULL || entry->used < oldest->used))
				oldest = entry;
		}
		if (oldest == NULL)
			return;
		cache_remove(oldest);
	}
}

/*
 * A block of another library version, compiled again from its spec in the
 * host's arena.  The row keeps the old block: a call that only reads must not
 * write, and a server on the way to a newer version may have readers of both.
 * An ERROR means that the spec is valid no longer, or that a limit was lowered
 * meanwhile.
 */
static const KernelModel *
compile_again(const KernelHost *host, Jsonb *spec)
{
	KernelProblems	  *problems = palloc0(sizeof(KernelProblems));
	const KernelModel *model = NULL;
	KernelStatus	   status;

	status = kernel_compile(host, json_from_jsonb(host, spec, "stored spec"),
							&model, problems);
	host_report(problems, "stored spec");
	host_check(status, "a model");
	pfree(problems);
	return model;
}

/*
 * The block of a stored model, in the host's arena, aligned to 64 bytes as the
 * kernel's vectors need; a bytea is aligned to 4.
 *
 * The row may be gone although an agent's row named it: the snapshot of a
 * writing call is newer than the one that read the agent.  Then 40001 tells
 * the caller to try again.  Raises 53200 where there is no memory.
 */
static const KernelModel *
load_block(const Call *call, const KernelHost *host, ModelTable table, int64 id)
{
	Statement *statement =
		table == TABLE_MODEL ? &model_body_statement : &world_body_statement;
	Datum  arguments[1] = {Int64GetDatum(id)};
	bytea *body;
	Size   size;
	void  *block;
	bool   isnull;

	if (statement_run(call, statement, arguments, NULL, 1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("%s with id " INT64_FORMAT " was dropped meanwhile",
						table == TABLE_MODEL ? "model" : "world", id),
				 errhint("Try again: the agent has another one now.")));
	body = DatumGetByteaPP(result_datum(0, 1, &isnull));
	size = VARSIZE_ANY_EXHDR(body);
	block = host->allocate(host->context, size);
	if (block != NULL)
		memcpy(block, VARDATA_ANY(body), size);
	else
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
				 errdetail("Failed to load a model of %zu bytes.", size)));
	if (kernel_model_valid(block, size))
		return block;
	return compile_again(host, DatumGetJsonbP(result_datum(0, 2, &isnull)));
}

/*
 * Loads a model into an entry that nothing refers to yet: *loaded is the
 * caller's, not the table's.  Runs a statement, so SPI_tuptable is another one
 * afterwards.
 */
static void
cache_load(const Call *call, ModelTable table, int64 id, CachedModel *loaded)
{
	MemoryContext old;
	KernelHost	  host;

	/* a child of the caller's context until it is whole: an error frees it */
	loaded->context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents model", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(loaded->context);
	host_init(&host, loaded->context);
	loaded->model = load_block(call, &host, table, id);
	loaded->workspace = kernel_workspace(&host, loaded->model);
	if (loaded->workspace == NULL)
		host_check(KERNEL_MEMORY, "a model");
	MemoryContextSwitchTo(old);
	/* what the context took from the system, with its unused rests */
	loaded->size = MemoryContextMemAllocated(loaded->context, true);
}

/*
 * The compiled model with this digest (a bytea of 32 bytes), pinned until the
 * transaction's end. table and id name the row to load it from where it is not
 * cached; two ids with equal digests share an entry.
 *
 * The result stays where it is while it is pinned: entries of the hash table
 * do not move.  Raises XX001 for a damaged digest, and what loading raises;
 * nothing is cached then.
 */
CachedModel *
cache_find(const Call *call, ModelTable table, int64 id, Datum digest)
{
	bytea		*key = DatumGetByteaPP(digest);
	CachedModel	 loaded = {0};
	CachedModel *entry;

	if (VARSIZE_ANY_EXHDR(key) != DIGEST_SIZE)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored digest of model " INT64_FORMAT " is damaged", id)));
	memcpy(loaded.digest, VARDATA_ANY(key), DIGEST_SIZE);
	entry = hash_search(cache, loaded.digest, HASH_FIND, NULL);
	if (entry == NULL)
	{
		cache_load(call, table, id, &loaded);
		/* before it is entered, or it would be thrown out itself */
		cache_make_room(loaded.size);
		entry = hash_search(cache, loaded.digest, HASH_ENTER, NULL);
		*entry = loaded;
		/* whole, and found by all: only now it outlives this call */
		MemoryContextSetParent(entry->context, CacheMemoryContext);
		cache_used += loaded.size;
	}
	entry->used = ++cache_clock;
	entry->pins = 1;
	cache_pinned = true;
	return entry;
}
