/*-------------------------------------------------------------------------
 *
 * chunk.c
 *	  The segments that shared models lie in: pins, room, eviction.
 *
 * The state of a chunk is one atomic word.  Its generation is raised when the
 * chunk is evicted, only while nobody has a pin on it; so who holds a pin may
 * read, and who remembers a generation can pin without a lock, or learns that
 * it is gone.  A session holds at most one pin of each chunk.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "shared.h"

/* What this session has of a chunk. */
typedef struct Mine
{
	bool		 pinned;
	uint64		 generation; /* of the pin */
	uint64		 mapped;	 /* generation of segment */
	dsm_segment *segment;	 /* NULL: not mapped */
} Mine;

static Mine mine[CHUNKS];
static int	pins = 0; /* of mine */

/* ---------- pins ---------- */

/*
 * Pins a chunk until the transaction's end if it is still of this generation.
 * Needs no lock: an eviction changes the same word.
 */
static bool
pin(int chunk, uint64 generation)
{
	pg_atomic_uint64 *state = &shared_control->chunks[chunk].state;
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

/*
 * Pins the model that was found at this place before; false where it has been
 * evicted since.  The address it had is then nobody's.
 */
bool
chunk_pin(const SharedPlace *place)
{
	return pin(place->chunk, place->generation);
}

/*
 * Pins a chunk as it is now, and returns its generation; the caller holds the
 * lock.
 */
uint64
chunk_pin_now(int chunk)
{
	uint64 state = pg_atomic_read_u64(&shared_control->chunks[chunk].state);

	pin(chunk, generation_of(state));
	return generation_of(state);
}

/* Lets go what this session holds; cannot fail. */
void
chunk_unpin_all(void)
{
	for (int i = 0; pins > 0 && i < CHUNKS; i++)
	{
		if (!mine[i].pinned)
			continue;
		pg_atomic_fetch_sub_u64(&shared_control->chunks[i].state, PIN);
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
		uint64 state = pg_atomic_read_u64(&shared_control->chunks[i].state);

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
char *
chunk_address(int chunk)
{
	Mine *own = &mine[chunk];

	unmap_evicted();
	if (own->segment == NULL)
	{
		/* nobody changes the handle of a chunk that is pinned */
		own->segment = segment_attach(shared_control->chunks[chunk].handle);
		own->mapped = own->generation;
	}
	return own->segment == NULL ? NULL : dsm_segment_address(own->segment);
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
		if (shared_control->chunks[i].size == 0)
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
	Chunk *chunk = &shared_control->chunks[i];
	uint64 state = pg_atomic_read_u64(&chunk->state);
	bool   again = (state & USED) != 0;
	uint64 next =
		again ? state - USED : (generation_of(state) + 1) * GENERATION;

	/* the exchange fails where somebody has pinned it meanwhile */
	if (chunk->size == 0 || (state & PINS) != 0 ||
		!pg_atomic_compare_exchange_u64(&chunk->state, &state, next) || again)
		return;
	index_forget(i);
	if (chunk->handle != DSM_HANDLE_INVALID)
		evicted->handles[evicted->count++] = chunk->handle;
	shared_control->used -= chunk->size;
	chunk->size = 0;
	if (shared_control->open == i)
		shared_control->open = -1;
}

/* Bytes of the chunks that are pinned; the caller holds the lock. */
static Size
bytes_in_use(void)
{
	Size bytes = 0;

	for (int i = 0; i < CHUNKS; i++)
	{
		if (pg_atomic_read_u64(&shared_control->chunks[i].state) & PINS)
			bytes += shared_control->chunks[i].size;
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
	while (shared_control->used + size > cache_limit() || free_chunk() < 0 ||
		   index_full())
	{
		if (looked_at++ == 2 * CHUNKS)
			return false;
		evict_chunk(shared_control->hand, evicted);
		shared_control->hand = (shared_control->hand + 1) % CHUNKS;
	}
	return true;
}

/*
 * Makes the segment of a chunk that has been claimed and pinned; gives the
 * claim up where there can be none.  What the first model leaves is for the
 * next ones.
 */
static bool
make_chunk(int i, Size size, Size filled)
{
	Chunk		*chunk = &shared_control->chunks[i];
	dsm_segment *segment = segment_create(size);

	unmap_evicted();
	LWLockAcquire(&shared_control->lock, LW_EXCLUSIVE);
	if (segment != NULL)
	{
		chunk->handle = dsm_segment_handle(segment);
		mine[i].segment = segment;
		mine[i].mapped = mine[i].generation;
		if (filled < size)
			shared_control->open = i;
	}
	else
	{
		shared_control->used -= size;
		chunk->size = 0;
	}
	LWLockRelease(&shared_control->lock);
	return segment != NULL;
}

/*
 * Finds room for a model [size] in a chunk, pins it and sets *place and
 * *offset; the caller holds the lock.  The result is the size of the chunk if
 * it is a new one, whose segment is still to be made; otherwise 0.  *place is
 * nowhere if there is no room.
 */
static Size
claim(Size size, SharedPlace *place, Size *offset, Evicted *evicted)
{
	Chunk *open = &shared_control->chunks[Max(shared_control->open, 0)];
	bool   own;
	Size   bytes = chunk_size(size, &own);
	Chunk *chunk;

	place->chunk = -1;
	if (!own && shared_control->open >= 0 && !index_full() &&
		size <= open->size - open->filled)
	{
		place->chunk = shared_control->open;
		bytes = 0;
	}
	else if (make_room(bytes, evicted))
	{
		place->chunk = free_chunk();
		chunk = &shared_control->chunks[place->chunk];
		chunk->size = bytes;
		chunk->filled = 0;
		chunk->handle = DSM_HANDLE_INVALID;
		shared_control->used += bytes;
	}
	else
		return 0;
	place->generation = chunk_pin_now(place->chunk);
	chunk = &shared_control->chunks[place->chunk];
	*offset = chunk->filled;
	chunk->filled += size;
	return bytes;
}

/*
 * Room for a model [size, a multiple of 64]: the result is where, in this
 * session's addresses, *place and *offset are the same for all.  It is pinned
 * until the transaction's end.  NULL where there is none; *share_after is when
 * there may be some, as in CachedModel.  Raises nothing.
 */
char *
chunk_reserve(Size size, SharedPlace *place, Size *offset, int *share_after)
{
	Evicted evicted = {0};
	Size	new_size;
	char   *start = NULL;

	/* a model of more than the whole cache will never have room */
	*share_after = -1;
	if (size > cache_limit())
		return NULL;
	/* a cancel in the middle would leave a chunk that is never finished */
	HOLD_INTERRUPTS();
	LWLockAcquire(&shared_control->lock, LW_EXCLUSIVE);
	new_size = claim(size, place, offset, &evicted);
	LWLockRelease(&shared_control->lock);
	/* what others use they may let go soon; a server that is full stays so */
	*share_after = place->chunk < 0 ? 0 : RETRY_MS;
	unmap_evicted();
	for (int i = 0; i < evicted.count; i++)
		segment_discard(evicted.handles[i]);
	if (place->chunk >= 0 &&
		(new_size == 0 || make_chunk(place->chunk, new_size, size)))
		start = chunk_address(place->chunk);
	RESUME_INTERRUPTS();
	return start == NULL ? NULL : start + *offset;
}
