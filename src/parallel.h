/*
 * parallel.h
 *		What the processes of a shared run know of each other.  src/parallel.c
 *		tells how it goes.
 */
#ifndef FA_PARALLEL_H
#define FA_PARALLEL_H

#include "port/atomics.h"

#include "step_block.h"

#define QUEUE_SIZE	 (256 * 1024) /* bytes of a worker's queue */
#define MESSAGE_SIZE (16 * 1024)  /* rows are sent in messages of so many */

/* What lies where in the shared memory. */
enum
{
	KEY_RUN = 1,
	KEY_UNTIL,
	KEY_MODELS,
	KEY_LANES,
	KEY_QUEUES
};

/* What is the same for all lanes. */
typedef struct SharedRun
{
	int32			 steps;
	int32			 trials;
	int32			 lanes;
	int32			 processes; /* that may take some, at most */
	int32			 abreast;	/* lanes that are stepped in the time of one */
	int32			 models;
	bool			 until;
	pg_atomic_uint32 taken; /* lanes that somebody has begun with */
} SharedRun;

/*
 * One agent, and what its run is at.  Offsets are from the lane itself, to
 * arrays whose lengths are the model's; 0: there is none.  Room is there for
 * all that an agent may come to have, and the flags say what it has.
 */
typedef struct SharedLane
{
	int64  agent_id;
	int64  seed;
	int64  step;
	double vfe;
	int32  trial;
	int32  trial_steps;
	int32  trials;
	int32  model; /* its place in the models */
	int32  world; /* likewise, -1: none is named */
	int32  parameter_count;
	bool   vfe_known;
	bool   acted;
	bool   world_begun;
	bool   owes; /* an update of its counts, and what that needs: */
	bool   owes_did;
	bool   A_active;
	bool   B_active;
	bool   done; /* a worker made all its steps */
	Size   parameters;
	Size   belief;
	Size   action;
	Size   world_state;
	Size   observation;
	Size   did;
	Size   before;
	Size   counts;
	Size   changed;
} SharedLane;

#define LANE_AT(lane, type, offset) ((type *) ((char *) (lane) + (offset)))

/* One step's row in a message; outcomes [modalities] and actions [controls]
 * follow it. */
typedef struct SharedRecord
{
	int32  lane; /* of the shared ones */
	int32  trial;
	int64  step;
	double vfe;
	bool   until_met;
} SharedRecord;

/* Compiled models by their place; a model may be there as a world too. */
typedef struct ModelList
{
	int					count;
	const KernelModel **models; /* [count] */
} ModelList;

/* The shared lane with this number. */
static inline SharedLane *
shared_lane_at(Size *offsets, int lane)
{
	return (SharedLane *) ((char *) offsets + offsets[lane]);
}

/* The bytes of a row in a message. */
static inline Size
shared_record_size(const KernelModel *model)
{
	return sizeof(SharedRecord) +
		   MAXALIGN(sizeof(int32) *
					((Size) model->modality_count + model->control_count));
}

/* ---------- parallel_lane.c: models and lanes in shared memory ---------- */

extern int32 parallel_model(ModelList *list, const KernelModel *model);
extern Size	 parallel_model_room(const KernelModel *model);
extern Size	 shared_lane_lay_out(const AgentRow *row, SharedLane *lane);
extern void	 shared_lane_save(const Lane *lane, SharedLane *shared);
extern void
shared_lane_load(SharedLane *shared, CachedModel *models, AgentRow *row);
extern void shared_lane_take_back(SharedLane *shared, Lane *lane);

/* ---------- parallel_worker.c ---------- */

extern bool parallel_take_portion(SharedRun *run, int *first, int *count);

#endif /* FA_PARALLEL_H */
