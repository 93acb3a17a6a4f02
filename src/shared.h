/*
 * shared.h
 *		The shared memory of the cache: what shared.c and chunk.c keep there.
 *
 * Control.lock guards everything but the states of chunks.  It is held for no
 * system call, no allocation and nothing else that could raise an ERROR.
 */
#ifndef FA_SHARED_H
#define FA_SHARED_H

#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"

#include "fa_agents.h"

/*
 * Raised whenever what follows changes: sessions of an older library may go on
 * beside those of a newer one.
 */
#define CONTROL_LAYOUT 1

#define CHUNKS 128	/* two for each share of the cache, see chunk_size() */
#define SHARES 64	/* parts of the cache that a chunk is one of */
#define MODELS 8192 /* in all chunks */

#define RETRY_MS 60000 /* until memory that was lacking is asked for again */

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

/* ---------- shared.c; the caller holds the lock ---------- */

extern Control *shared_control; /* NULL: not looked for, or not to be had */

extern bool index_full(void);
extern void index_forget(int chunk);

/* ---------- chunk.c ---------- */

extern uint64 chunk_pin_now(int chunk);
extern char	 *chunk_address(int chunk);
extern char *
chunk_reserve(Size size, SharedPlace *place, Size *offset, int *share_after);

#endif /* FA_SHARED_H */
