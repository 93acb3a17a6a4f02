/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  One copy of each compiled model for all sessions.
 *
 * README.md, section "Compiled models", tells the layout and why it is safe.
 * In short: models lie one after another in chunks, which are segments of
 * dynamic shared memory, and are evicted by whole chunks.  The state of a
 * chunk is one atomic word.  Its generation is raised when it is evicted, only
 * while nobody has a pin on it; so who holds a pin may read, and who
 * remembers a generation can pin without a lock, or learns that it is gone.
 *
 * control->lock guards everything but the states.  It is held for no system
 * call, no allocation and nothing else that could raise an ERROR.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "fa_agents.h"

/*
 * Raised whenever Control, ModelIndex or the meaning of a state changes: sessions of
 * an older library may go on beside those of a newer one.
 */
#define CONTROL_LAYOUT 1

#define CONTROL_NAME "fa_agents cache"
#define CHUNKS		 128 /* two for each share of the cache, see chunk_size() */
#define SHARES		 64	 /* parts of the cache that a chunk is one of */
#define MODELS		 8192 /* in all chunks */

/* The parts of a chunk's state. */
#define PIN					 UINT64CONST(1)
#define PINS				 (USED - 1) /* more than sessions can be */
#define USED				 (UINT64CONST(1) << 20)
#define GENERATION			 (UINT64CONST(1) << 21)
#define generation_of(state) ((state) / GENERATION)

/* A segment that models are written into, or a free place (size 0). */
typedef struct Chunk
{
	pg_atomic_uint64 state;
	Size			 size;	 /* bytes, also while its segment is being made */
	Size			 filled; /* bytes given to models */
	dsm_handle		 handle; /* DSM_HANDLE_INVALID: being made */
} Chunk;

/* In main shared memory. */
typedef struct Control
{
	int32	   layout; /* CONTROL_LAYOUT; the first, in every layout */
	int		   tranche;
	LWLock	   lock;
	dsm_handle index;  /* segment of ModelIndex, once it is made */
	int		   open;   /* the chunk to write into next, or -1 */
	int		   hand;   /* of the clock: the chunk to look at next */
	int		   models; /* in the index */
	Size	   used;   /* bytes of all chunks */
	Chunk	   chunks[CHUNKS];
} Control;

/* Where a model is. */
typedef struct Model
{
	uint8 digest[DIGEST_SIZE];
	Oid	  database;
	int32 next; /* in its bucket or the list of free ones, -1: the last */
	int32 chunk;
	Size  offset; /* bytes from the chunk's start, a multiple of 64 */
	Size  size;	  /* bytes */
} Model;

typedef struct ModelIndex
{
	int32 free;			   /* the first, or -1 */
	int32 buckets[MODELS]; /* the first model, or -1 */
	Model models[MODELS];
} ModelIndex;

/* What this session has of a chunk. */
typedef struct Mine
{
	bool		 pinned;
	uint64		 generation; /* of the pin */
	uint64		 mapped;	 /* generation of segment */
	dsm_segment *segment;	 /* NULL: not mapped */
} Mine;

static Control	  *control = NULL; /* NULL: not looked for, or not to be had */
static ModelIndex *models = NULL;
static bool		   looked = false;
static Mine		   mine[CHUNKS];
static int		   pins = 0; /* of mine */

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

	LWLockAcquire(&control->lock, LW_SHARED);
	handle = control->index;
	LWLockRelease(&control->lock);
	if (handle == DSM_HANDLE_INVALID)
	{
		segment = segment_create(sizeof(ModelIndex));
		if (segment == NULL)
			return;
		index_initialize(dsm_segment_address(segment));
		LWLockAcquire(&control->lock, LW_EXCLUSIVE);
		if (control->index == DSM_HANDLE_INVALID)
			control->index = dsm_segment_handle(segment);
		else
			spare = dsm_segment_handle(segment);
		handle = control->index;
		LWLockRelease(&control->lock);
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
	control =
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
 * Can models be shared?  Looked for once in a session: what is missing then
 * does not come back by itself, and each attempt costs an error.
 */
bool
shared_available(void)
{
	if (!looked)
	{
		looked = true;
		if (control == NULL)
			control = segment_find_named(CONTROL_NAME, sizeof(Control),
										 control_initialize);
		if (control != NULL && control->layout == CONTROL_LAYOUT)
		{
			LWLockRegisterTranche(control->tranche, "fa_agents_cache");
			index_find();
		}
	}
	return models != NULL;
}

/* ---------- pins ---------- */

/*
 * Pins a chunk until the transaction's end if it is still of this generation.
 * Needs no lock: an eviction changes the same word.
 */
static bool
pin_chunk(int chunk, uint64 generation)
{
	pg_atomic_uint64 *state = &control->chunks[chunk].state;
	uint64			  old = pg_atomic_read_u64(state);

	if (mine[chunk].pinned)
		return mine[chunk].generation == generation;
	do
	{
		if (generation_of(old) != generation)
			return false;
	} while (!pg_atomic_compare_exchange_u64(state, &old, (old | USED) + PIN));
	mine[chunk].pinned = true;
	mine[chunk].generation = generation;
	pins++;
	return true;
}

/* The same at the generation that it has; the caller holds the lock. */
static void
pin_now(int chunk)
{
	uint64 state = pg_atomic_read_u64(&control->chunks[chunk].state);

	pin_chunk(chunk, generation_of(state));
}

/*
 * Pins the model that was found at this place before; false where it has been
 * evicted since.  The address it had is then nobody's.
 */
bool
shared_pin(const SharedPlace *place)
{
	return pin_chunk(place->chunk, place->generation);
}

/* Lets go what this session holds; cannot fail. */
void
shared_unpin_all(void)
{
	for (int i = 0; pins > 0 && i < CHUNKS; i++)
	{
		if (!mine[i].pinned)
			continue;
		pg_atomic_fetch_sub_u64(&control->chunks[i].state, PIN);
		mine[i].pinned = false;
		pins--;
	}
}

/* ---------- mapping ---------- */

/* Lets go the segments of chunks that were evicted. */
static void
unmap_evicted(void)
{
	for (int i = 0; i < CHUNKS; i++)
	{
		uint64 state = pg_atomic_read_u64(&control->chunks[i].state);

		if (mine[i].segment != NULL && mine[i].mapped != generation_of(state))
		{
			dsm_detach(mine[i].segment);
			mine[i].segment = NULL;
		}
	}
}

/*
 * The start of a chunk that is pinned here, in this session's addresses; NULL
 * where it cannot be mapped.  It stays there until the chunk is evicted.
 */
static char *
chunk_address(int chunk)
{
	Mine *own = &mine[chunk];

	unmap_evicted();
	if (own->segment == NULL)
	{
		/* nobody changes the handle of a chunk that is pinned */
		own->segment = segment_attach(control->chunks[chunk].handle);
		own->mapped = own->generation;
	}
	return own->segment == NULL ? NULL : dsm_segment_address(own->segment);
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
	control->models++;
}

/* Forgets all models of a chunk; the caller holds the lock. */
static void
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
			control->models--;
		}
	}
}

/*
 * The model with this digest in our database, pinned until the transaction's
 * end, and its place; NULL where it is not shared, cannot be mapped, or is of
 * another library's layout.  Raises nothing.
 */
const KernelModel *
shared_find(const uint8 *digest, SharedPlace *place)
{
	const Model *model;
	Model		 found = {.chunk = -1};
	char		*start;

	if (!shared_available())
		return NULL;
	LWLockAcquire(&control->lock, LW_SHARED);
	model = index_lookup(digest);
	if (model != NULL)
	{
		found = *model;
		pin_now(found.chunk);
	}
	LWLockRelease(&control->lock);
	if (found.chunk < 0)
		return NULL;
	place->chunk = found.chunk;
	place->generation = mine[found.chunk].generation;
	start = chunk_address(found.chunk);
	if (start == NULL || !kernel_model_valid(start + found.offset, found.size))
		return NULL;
	return (const KernelModel *) (start + found.offset);
}

/* ---------- room ---------- */

/* Chunks that were evicted, and are to be given back without the lock. */
typedef struct Evicted
{
	int		   count;
	dsm_handle handles[CHUNKS];
} Evicted;

/* What the cache may hold, in bytes. */
static Size
cache_limit(void)
{
	return (Size) fa_cache_size * 1024;
}

/*
 * Bytes of the chunk that is made for a model [size].  Those that would take
 * more than half of a chunk have their own, so no more than half of one is
 * left empty, and with CHUNKS twice SHARES there is a place for all.
 */
static Size
chunk_size(Size size, bool *own)
{
	Size share = Min(cache_limit(), Max(cache_limit() / SHARES, 1024 * 1024));

	*own = size > share / 2;
	return *own ? size : share;
}

/* A free place for a chunk, or -1; the caller holds the lock. */
static int
free_chunk(void)
{
	for (int i = 0; i < CHUNKS; i++)
	{
		if (control->chunks[i].size == 0)
			return i;
	}
	return -1;
}

/*
 * Evicts the chunk if it has no pins; the caller holds the lock.  Who used it
 * since the hand came by last gets another turn.
 */
static void
evict_chunk(int i, Evicted *evicted)
{
	Chunk *chunk = &control->chunks[i];
	uint64 state = pg_atomic_read_u64(&chunk->state);
	bool   again = (state & USED) != 0;
	uint64 next =
		again ? state - USED : (generation_of(state) + 1) * GENERATION;

	/* the exchange fails where somebody has pinned it meanwhile */
	if (chunk->size == 0 || (state & PINS) != 0 ||
		!pg_atomic_compare_exchange_u64(&chunk->state, &state, next) || again)
		return;
	index_forget(i);
	evicted->handles[evicted->count++] = chunk->handle;
	control->used -= chunk->size;
	chunk->size = 0;
	if (control->open == i)
		control->open = -1;
}

/* Bytes of the chunks that are pinned; the caller holds the lock. */
static Size
bytes_in_use(void)
{
	Size bytes = 0;

	for (int i = 0; i < CHUNKS; i++)
	{
		if (pg_atomic_read_u64(&control->chunks[i].state) & PINS)
			bytes += control->chunks[i].size;
	}
	return bytes;
}

/*
 * Evicts chunks until there is room for one of this size; the caller holds the
 * lock.  Where what is in use leaves none, nothing is evicted in vain.  Two
 * rounds of the clock find whatever is not pinned.
 */
static bool
make_room(Size size, Evicted *evicted)
{
	int looked_at = 0;

	if (bytes_in_use() + size > cache_limit())
		return false;
	while (control->used + size > cache_limit() || free_chunk() < 0 ||
		   models->free < 0)
	{
		if (looked_at++ == 2 * CHUNKS)
			return false;
		evict_chunk(control->hand, evicted);
		control->hand = (control->hand + 1) % CHUNKS;
	}
	return true;
}

/*
 * Makes the segment of a chunk that has been claimed and pinned; gives the
 * claim up where there can be none.
 */
static bool
make_chunk(int i, Size size, bool own)
{
	Chunk		*chunk = &control->chunks[i];
	dsm_segment *segment = segment_create(size);

	unmap_evicted();
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	if (segment != NULL)
	{
		chunk->handle = dsm_segment_handle(segment);
		mine[i].segment = segment;
		mine[i].mapped = mine[i].generation;
		if (!own)
			control->open = i;
	}
	else
	{
		control->used -= size;
		chunk->size = 0;
	}
	LWLockRelease(&control->lock);
	return segment != NULL;
}

/*
 * Room for a model [size] in a chunk, which is pinned; *offset is where.  The
 * result is -1 where there is none, with *later set if there may be in another
 * transaction.
 */
static int
reserve(Size size, Size *offset, bool *later)
{
	Evicted evicted = {0};
	bool	own;
	Size	bytes = chunk_size(size, &own);
	int		chunk = -1;
	bool	is_new = false;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	if (!own && control->open >= 0 && models->free >= 0 &&
		size <= control->chunks[control->open].size -
					control->chunks[control->open].filled)
		chunk = control->open;
	else if (make_room(bytes, &evicted))
	{
		chunk = free_chunk();
		is_new = true;
		control->chunks[chunk].size = bytes;
		control->chunks[chunk].filled = 0;
		control->chunks[chunk].handle = DSM_HANDLE_INVALID;
		control->used += bytes;
	}
	if (chunk >= 0)
	{
		pin_now(chunk);
		*offset = control->chunks[chunk].filled;
		control->chunks[chunk].filled += size;
	}
	LWLockRelease(&control->lock);
	*later = chunk < 0;
	unmap_evicted();
	for (int i = 0; i < evicted.count; i++)
		segment_discard(evicted.handles[i]);
	return is_new && !make_chunk(chunk, bytes, own) ? -1 : chunk;
}

/*
 * Copies a block [size] into shared memory and lets all sessions of our
 * database find it under its digest, which the caller has computed.  The
 * result is the copy, pinned until the transaction's end, and its place.
 *
 * NULL where it cannot be shared; *later says whether it may be worth another
 * attempt.  Somebody else's copy of it is no mistake, but wasted: callers see
 * that only one loads.  Raises nothing.
 */
const KernelModel *
shared_publish(const uint8 *digest, const KernelModel *block, Size size,
			   SharedPlace *place, bool *later)
{
	Size  room = TYPEALIGN(64, size);
	Size  offset = 0;
	char *start;

	*later = false;
	/* a model of more than the whole cache will never have room */
	if (!shared_available() || room > cache_limit())
		return NULL;
	/* an ERROR in the middle would leave a chunk that is never finished */
	HOLD_INTERRUPTS();
	place->chunk = reserve(room, &offset, later);
	RESUME_INTERRUPTS();
	if (place->chunk < 0)
		return NULL;
	place->generation = mine[place->chunk].generation;
	start = chunk_address(place->chunk);
	if (start == NULL)
		return NULL;
	memcpy(start + offset, block, size);
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	if (models->free >= 0)
		index_enter(digest, place->chunk, offset, size);
	LWLockRelease(&control->lock);
	return (const KernelModel *) (start + offset);
}

/* What is shared now; zeros where nothing can be. */
SharedState
shared_state(void)
{
	SharedState state = {0};

	if (!shared_available())
		return state;
	LWLockAcquire(&control->lock, LW_SHARED);
	state.models = control->models;
	state.bytes = control->used;
	for (int i = 0; i < CHUNKS; i++)
	{
		uint64 word = pg_atomic_read_u64(&control->chunks[i].state);

		state.chunks += control->chunks[i].size != 0;
		state.chunks_in_use += (word & PINS) != 0;
	}
	LWLockRelease(&control->lock);
	return state;
}
