/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  One copy of each compiled model for all sessions: the index.
 *
 * README.md, section "Compiled models", tells the layout and why it is safe.
 * In short: models lie one after another in chunks (chunk.c), and are found
 * here by their database and digest.  Who finds one gets a pin on its chunk
 * under the lock, so that it cannot be evicted before he has read it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "shared.h"

#define CONTROL_NAME "fa_agents cache"

Control *shared_control = NULL;

static ModelIndex *models = NULL;
static TimestampTz looked = 0; /* for both, last */

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/* ---------- the control block and the index ---------- */

static void
control_initialize(void *block)
{
	Control *new = block;

	memset(new, 0, sizeof(Control));
	new->layout = CONTROL_LAYOUT;
	new->tranche = LWLockNewTrancheId();
	LWLockInitialize(&new->lock, new->tranche);
	new->index = DSM_HANDLE_INVALID;
	new->open = -1;
	for (int i = 0; i < CHUNKS; i++)
		pg_atomic_init_u64(&new->chunks[i].state, 0);
}

static void
index_initialize(ModelIndex *index)
{
	index->free = 0;
	for (int i = 0; i < MODELS; i++)
	{
		index->buckets[i] = -1;
		index->models[i].next = i + 1 < MODELS ? i + 1 : -1;
	}
}

/*
 * Maps the index, and makes it first where nobody has.  Two sessions may both
 * do so; the later one throws its own away.
 */
static void
index_find(void)
{
	dsm_segment *segment = NULL;
	dsm_handle	 spare = DSM_HANDLE_INVALID;
	dsm_handle	 handle;

	LWLockAcquire(&shared_control->lock, LW_SHARED);
	handle = shared_control->index;
	LWLockRelease(&shared_control->lock);
	if (handle == DSM_HANDLE_INVALID)
	{
		segment = segment_create(sizeof(ModelIndex));
		if (segment == NULL)
			return;
		index_initialize(dsm_segment_address(segment));
		LWLockAcquire(&shared_control->lock, LW_EXCLUSIVE);
		if (shared_control->index == DSM_HANDLE_INVALID)
			shared_control->index = dsm_segment_handle(segment);
		else
			spare = dsm_segment_handle(segment);
		handle = shared_control->index;
		LWLockRelease(&shared_control->lock);
	}
	if (spare != DSM_HANDLE_INVALID)
	{
		segment_discard(spare);
		segment = NULL;
	}
	if (segment == NULL)
		segment = segment_attach(handle);
	if (segment != NULL)
		models = dsm_segment_address(segment);
}

/* Room in main shared memory, where the library is preloaded. */
static void
request_memory(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(sizeof(Control));
}

/*
 * Takes that room before others do.  Under the postmaster an ERROR would keep
 * the server from starting, but there the room was asked for.
 */
static void
take_memory(void)
{
	if (previous_startup)
		previous_startup();
	shared_control =
		segment_find_named(CONTROL_NAME, sizeof(Control), control_initialize);
}

/* Called once, when the library is loaded. */
void
shared_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = take_memory;
}

/*
 * Can models be shared?  Where memory is lacking it is not asked for at once
 * again: each attempt costs an error.
 */
bool
shared_available(void)
{
	TimestampTz now;

	if (models != NULL)
		return true;
	now = GetCurrentTimestamp();
	if (looked == 0 || TimestampDifferenceExceeds(looked, now, RETRY_MS))
	{
		looked = now;
		if (shared_control == NULL)
			shared_control = segment_find_named(CONTROL_NAME, sizeof(Control),
												control_initialize);
		if (shared_control != NULL && shared_control->layout == CONTROL_LAYOUT)
		{
			LWLockRegisterTranche(shared_control->tranche, "fa_agents_cache");
			index_find();
		}
	}
	return models != NULL;
}

/* ---------- the index ---------- */

/* The bucket of a digest of our database; the caller holds the lock. */
static int32 *
bucket_of(const uint8 *digest, Oid database)
{
	uint32 hash;

	/* a digest's bits are as good as random */
	memcpy(&hash, digest, sizeof(hash));
	return &models->buckets[hash_combine(hash, database) % MODELS];
}

/* The model, or NULL; the caller holds the lock. */
static const Model *
index_lookup(const uint8 *digest)
{
	int32 i = *bucket_of(digest, MyDatabaseId);

	while (i >= 0 &&
		   (models->models[i].database != MyDatabaseId ||
			memcmp(models->models[i].digest, digest, DIGEST_SIZE) != 0))
		i = models->models[i].next;
	return i < 0 ? NULL : &models->models[i];
}

/* Enters a model; the caller holds the lock, and knows that there is room. */
static void
index_enter(const uint8 *digest, int chunk, Size offset, Size size)
{
	int32 *bucket = bucket_of(digest, MyDatabaseId);
	int32  i = models->free;
	Model *model = &models->models[i];

	models->free = model->next;
	memcpy(model->digest, digest, DIGEST_SIZE);
	model->database = MyDatabaseId;
	model->chunk = chunk;
	model->offset = offset;
	model->size = size;
	model->next = *bucket;
	*bucket = i;
	shared_control->models++;
}

/* Is there no room for another model? */
bool
index_full(void)
{
	return models->free < 0;
}

/* Forgets all models of a chunk. */
void
index_forget(int chunk)
{
	for (int b = 0; b < MODELS; b++)
	{
		int32 *link = &models->buckets[b];

		while (*link >= 0)
		{
			int32  i = *link;
			Model *model = &models->models[i];

			if (model->chunk != chunk)
			{
				link = &model->next;
				continue;
			}
			*link = model->next;
			model->next = models->free;
			models->free = i;
			shared_control->models--;
		}
	}
}

/*
 * The block with this digest in our database, the newest where there are
 * several, pinned until the transaction's end, with its place and size; NULL
 * where it is not shared, or cannot be mapped.  It may be of another library's
 * layout.  Raises nothing.
 */
const void *
shared_find(const uint8 *digest, SharedPlace *place, Size *size)
{
	const Model *model;
	Model		 found = {.chunk = -1};
	char		*start;

	if (!shared_available())
		return NULL;
	LWLockAcquire(&shared_control->lock, LW_SHARED);
	model = index_lookup(digest);
	if (model != NULL)
	{
		found = *model;
		place->generation = chunk_pin_now(found.chunk);
	}
	LWLockRelease(&shared_control->lock);
	if (found.chunk < 0)
		return NULL;
	place->chunk = found.chunk;
	start = chunk_address(found.chunk);
	*size = found.size;
	return start == NULL ? NULL : start + found.offset;
}

/*
 * Copies a block [size] into shared memory and lets all sessions of our
 * database find it under its digest, which the caller has computed.  The
 * result is the copy, pinned until the transaction's end, and its place.
 *
 * NULL where it cannot be shared; *share_after is when it may be worth another
 * attempt, as in CachedModel.  Somebody else's copy of it is no mistake, but wasted: callers see
 * that only one loads.  Raises nothing.
 */
const void *
shared_publish(const uint8 *digest, const void *block, Size size,
			   SharedPlace *place, int *share_after)
{
	Size  offset;
	char *start;

	*share_after = RETRY_MS;
	if (!shared_available())
		return NULL;
	start = chunk_reserve(TYPEALIGN(64, size), place, &offset, share_after);
	if (start == NULL)
		return NULL;
	memcpy(start, block, size);
	LWLockAcquire(&shared_control->lock, LW_EXCLUSIVE);
	if (!index_full())
		index_enter(digest, place->chunk, offset, size);
	LWLockRelease(&shared_control->lock);
	return start;
}

/* What is shared now; zeros where nothing can be. */
SharedState
shared_state(void)
{
	SharedState state = {0};

	if (!shared_available())
		return state;
	LWLockAcquire(&shared_control->lock, LW_SHARED);
	state.models = shared_control->models;
	state.bytes = shared_control->used;
	for (int i = 0; i < CHUNKS; i++)
	{
		uint64 word = pg_atomic_read_u64(&shared_control->chunks[i].state);

		state.chunks += shared_control->chunks[i].size != 0;
		state.chunks_in_use += (word & PINS) != 0;
	}
	LWLockRelease(&shared_control->lock);
	return state;
}
