/*-------------------------------------------------------------------------
 *
 * cache.c
 *	  Compiled models, as a session finds them.
 *
 * A compiled model never changes, and its key is of the sha256 of its bytes, read
 * from a row that the caller's snapshot shows: nothing is ever invalidated.  A
 * digest that was seen in an aborted transaction, in another schema or before
 * the extension was dropped still names the same bytes.
 *
 * The block is the one that all sessions share (shared.c), or a private copy
 * where it cannot be.  The workspace is the session's: a backend serves one
 * call at a time, so one a model is enough, and no lock is needed.
 *
 * A model is pinned while a transaction uses it.  Pins are let go in the
 * callback of the transaction's end, so an error leaves none; one that a
 * rolled back subtransaction left lasts until then, which only keeps memory a
 * little longer.  The session's own memory over fa_agents.cache_size is given
 * back when a model is loaded and when a transaction ends, the least recently
 * used first.
 *
 * An entry is in the table only when it is whole.  What it owns lies in a
 * context of its own under CacheMemoryContext; the table itself lies under
 * TopMemoryContext.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

PG_FUNCTION_INFO_V1(fa_cache);

static HTAB	 *cache = NULL;
static Size	  cache_used = 0;		/* bytes of all entries */
static uint64 cache_clock = 0;		/* counts look-ups */
static bool	  cache_pinned = false; /* some entry may be pinned */

/* A stored block, as it was read. */
typedef struct StoredModel
{
	const KernelModel *model;
	bool			   own;		  /* its row is this transaction's */
	bool			   shareable; /* it is what its digest names */
} StoredModel;

#define BODY_COLUMNS "SELECT body, spec, xmin FROM @."

static Statement model_body_statement = {
	BODY_COLUMNS "fa_model WHERE model_id" EQ "$1", 1, {INT8OID}};
static Statement world_body_statement = {
	BODY_COLUMNS "fa_world WHERE world_id" EQ "$1", 1, {INT8OID}};

/*
 * Forgets a model that is not pinned, and frees what the session has of it.
 * The context goes first; the digest lies in the table's entry, not in it.
 */
static void
cache_remove(CachedModel *entry)
{
	cache_used -= entry->size;
	MemoryContextDelete(entry->context);
	hash_search(cache, entry->digest, HASH_REMOVE, NULL);
}

/*
 * Gives back memory until size more fits, or all that is left is in use: what a
 * transaction uses it may have, whatever the limit.  The scan of all entries
 * for the oldest is made only where one goes, whose loading took much longer.
 * Cannot fail.
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
			if (!entry->pinned &&
				(oldest == NULL || entry->used < oldest->used))
				oldest = entry;
		}
		if (oldest == NULL)
			return;
		cache_remove(oldest);
	}
}

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

	if (event == XACT_EVENT_PRE_COMMIT ||
		event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;
	/* also after an error between a pin and its entry */
	chunk_unpin_all();
	if (!cache_pinned)
		return;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		entry->pinned = false;
		if (entry->place.chunk < 0 && entry->share_after == 0)
			cache_remove(entry);
	}
	cache_pinned = false;
	cache_make_room(0);
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

/* Bytes of the session's own memory that models take at the moment. */
Size
cache_memory(void)
{
	return cache_used;
}

/* ---------- loading ---------- */

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
 * Are these the bytes that the digest names?  Computed and not believed: the
 * tables' owner can store another digest, and what is shared under one must be
 * the same for all.
 */
static bool
is_digest_of(const uint8 *digest, const bytea *body)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	uint8			   found[PG_SHA256_DIGEST_LENGTH];
	bool			   computed;

	if (context == NULL)
		return false;
	computed = pg_cryptohash_init(context) == 0 &&
			   pg_cryptohash_update(context, (const uint8 *) VARDATA_ANY(body),
									VARSIZE_ANY_EXHDR(body)) == 0 &&
			   pg_cryptohash_final(context, found, sizeof(found)) == 0;
	pg_cryptohash_free(context);
	return computed && memcmp(found, digest, DIGEST_SIZE) == 0;
}

/*
 * The row of a model, as the last result.
 *
 * The row may be gone although an agent's row named it: the snapshot of a
 * writing call is newer than the one that read the agent.  Then 40001 tells
 * the caller to try again.
 */
static void
read_model_row(const Call *call, ModelTable table, int64 id)
{
	Statement *statement =
		table == TABLE_MODEL ? &model_body_statement : &world_body_statement;
	Datum arguments[1] = {Int64GetDatum(id)};

	if (statement_run(call, statement, arguments, NULL, 1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("%s with id " INT64_FORMAT " was dropped meanwhile",
						table == TABLE_MODEL ? "model" : "world", id),
				 errhint("Try again: the agent has another one now.")));
}

/*
 * The block of a stored model, in the host's arena, aligned to 64 bytes as the
 * kernel's vectors need; a bytea is aligned to 4.  Runs a statement, so
 * SPI_tuptable is gone afterwards.  Raises 53200 where there is no
 * memory.
 */
static StoredModel
load_block(const Call *call, const KernelHost *host, ModelTable table, int64 id,
		   const uint8 *digest)
{
	StoredModel stored = {NULL, false, false};
	bytea	   *body;
	Size		size;
	void	   *block;
	Datum		stored_body;
	bool		isnull;

	read_model_row(call, table, id);
	stored_body = result_datum(0, 1, &isnull);
	body = DatumGetByteaPP(stored_body);
	size = VARSIZE_ANY_EXHDR(body);
	block = host->allocate(host->context, size);
	if (block != NULL)
		memcpy(block, VARDATA_ANY(body), size);
	else
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
				 errdetail("Failed to load a model of %zu bytes.", size)));
	stored.own = TransactionIdIsCurrentTransactionId(
		DatumGetTransactionId(result_datum(0, 3, &isnull)));
	if (kernel_model_valid(block, size))
	{
		stored.shareable = is_digest_of(digest, body);
		stored.model = block;
	}
	else
		stored.model =
			compile_again(host, DatumGetJsonbP(result_datum(0, 2, &isnull)));
	/* a batch may load many models, and its memory ends with all of them */
	if ((Pointer) body != DatumGetPointer(stored_body))
		pfree(body);
	SPI_freetuptable(SPI_tuptable);
	return stored;
}

/*
 * Loads a block into a context of its own, and shares it if it can be;
 * otherwise it stays there, as the entry's.  What this transaction has made
 * stays private until its end, when it may be gone.
 */
static void
load_and_share(const Call *call, ModelTable table, int64 id,
			   CachedModel *loaded)
{
	MemoryContext private = AllocSetContextCreate(
		loaded->context, "fa_agents block", ALLOCSET_DEFAULT_SIZES);
	const KernelModel *shared = NULL;
	StoredModel		   stored;
	KernelHost		   host;

	host_init(&host, private);
	stored = load_block(call, &host, table, id, loaded->digest);
	loaded->model = stored.model;
	/* others' rows are visible when they are committed, ours before that */
	loaded->share_after = -1;
	if (stored.own && shared_available())
		loaded->share_after = 0;
	else if (stored.shareable)
		shared =
			shared_publish(loaded->digest, stored.model, stored.model->size,
						   &loaded->place, &loaded->share_after);
	loaded->loaded_at = GetCurrentTimestamp();
	if (shared != NULL)
	{
		loaded->model = shared;
		MemoryContextDelete(private);
	}
	else
		loaded->place.chunk = -1;
}

/* The lock under which a digest is loaded: none of a user's has this class. */
#define LOADING_CLASS 64017

static void
loading_lock(LOCKTAG *tag, const uint8 *digest)
{
	uint32 halves[2];

	/* two digests with equal halves wait for each other, no more */
	memcpy(halves, digest, sizeof(halves));
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, halves[0], halves[1],
						 LOADING_CLASS);
	(void) LockAcquire(tag, ExclusiveLock, false, false);
}

/* Locks all that reading a row of a table may lock: indexes, and what lies out
 * of line. */
static void
lock_to_read(Oid id)
{
	Relation  table = table_open(id, AccessShareLock);
	List	 *indexes = RelationGetIndexList(table);
	ListCell *cell;

	foreach(cell, indexes)
		LockRelationOid(lfirst_oid(cell), AccessShareLock);
	list_free(indexes);
	if (OidIsValid(table->rd_rel->reltoastrelid))
		lock_to_read(table->rd_rel->reltoastrelid);
	table_close(table, NoLock);
}

/* A model that is shared, if this library can use it. */
static const KernelModel *
find_shared(const uint8 *digest, SharedPlace *place)
{
	Size		size = 0;
	const void *block = shared_find(digest, place, &size);

	return block != NULL && kernel_model_valid(block, size) ? block : NULL;
}

/*
 * The block of a model that was not shared a moment ago.  One session loads
 * it while others wait: a hundred that begin at once would each need the
 * memory that sharing is to save.
 *
 * It is a lock of the lock manager, so that waiting can be cancelled, and an
 * error lets it go.  Who has it must not wait for anybody: so those on the
 * table and what belongs to it come first.
 */
static void
find_or_load(const Call *call, ModelTable table, int64 id, CachedModel *loaded)
{
	LOCKTAG tag;

	lock_to_read(
		call_relation(call, table == TABLE_MODEL ? "fa_model" : "fa_world"));
	loading_lock(&tag, loaded->digest);
	loaded->model = find_shared(loaded->digest, &loaded->place);
	if (loaded->model == NULL)
		load_and_share(call, table, id, loaded);
	LockRelease(&tag, ExclusiveLock, false);
}

/*
 * Fills an entry that nothing refers to yet: *loaded is the caller's, not the
 * table's.
 */
static void
cache_load(const Call *call, ModelTable table, int64 id, CachedModel *loaded)
{
	KernelHost host;

	/* a child of the caller's context until it is whole: an error frees it */
	loaded->context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents model", ALLOCSET_DEFAULT_SIZES);
	loaded->model = find_shared(loaded->digest, &loaded->place);
	if (loaded->model == NULL && shared_available())
		find_or_load(call, table, id, loaded);
	else if (loaded->model == NULL)
		load_and_share(call, table, id, loaded);
	host_init(&host, loaded->context);
	loaded->workspace = kernel_workspace(&host, loaded->model);
	if (loaded->workspace == NULL)
		host_check(KERNEL_MEMORY, "a model");
	/* what the context took from the system, with its unused rests */
	loaded->size = MemoryContextMemAllocated(loaded->context, true);
}

/* ---------- finding ---------- */

/*
 * Is the block still where it was found, and is that where it is to stay?  A
 * private one is loaded again when it may be shared.  Takes no lock.
 */
static bool
still_there(const CachedModel *entry)
{
	if (entry->place.chunk >= 0)
		return chunk_pin(&entry->place);
	return entry->pinned || entry->share_after <= 0 ||
		   !TimestampDifferenceExceeds(entry->loaded_at,
									   GetCurrentStatementStartTimestamp(),
									   entry->share_after);
}

/*
 * The compiled model with this digest (a bytea of 24 bytes), pinned until the
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
	if (entry != NULL && !still_there(entry))
	{
		cache_remove(entry);
		entry = NULL;
	}
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
	entry->pinned = true;
	cache_pinned = true;
	return entry;
}

/*
 * fa_cache() returns fa_cache_state: what all sessions share, and what this
 * one has of its own.  Not for everybody: it tells how much others work.
 */
Datum
fa_cache(PG_FUNCTION_ARGS)
{
	SharedState		shared = shared_state();
	Datum			values[7];
	bool			nulls[7] = {false};
	int64			copies = 0;
	HASH_SEQ_STATUS scan;
	CachedModel	   *entry;
	TupleDesc		desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("fa_cache() returns another type than the library's"),
			 errhint(
				 "The library and the extension's SQL objects may be of different versions; run ALTER EXTENSION fa_agents UPDATE.")));
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		copies += entry->place.chunk < 0;
	values[0] = Int32GetDatum(shared.models);
	values[1] = Int32GetDatum(shared.chunks);
	values[2] = Int32GetDatum(shared.chunks_in_use);
	values[3] = Int64GetDatum((int64) shared.bytes);
	values[4] = Int64GetDatum(hash_get_num_entries(cache));
	values[5] = Int64GetDatum(copies);
	values[6] = Int64GetDatum((int64) cache_used);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
