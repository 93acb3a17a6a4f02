/*-------------------------------------------------------------------------
 *
 * parallel.c
 *	  The lanes of a long run, shared with other processes.
 *
 * The processes are the server's parallel workers.  They get the models and
 * the state of each agent in shared memory, and need nothing else: no table is
 * read by them, and none is written.  The caller alone holds the row locks,
 * returns rows and writes.
 *
 * Agents are taken in portions, first come first served, smaller ones towards
 * the end, so that all end together.  Who has taken one makes all the steps that
 * are left of it.  A worker puts the rows of each
 * step into its queue, and the state that it ends with where it found the first
 * one.  The caller takes portions too, and empties the queues between its own
 * steps, so that nobody waits for long.  Draws hang on an agent's seed and step
 * alone, so who makes a step makes no difference to it.
 *
 * An ERROR in a worker is raised again by the caller.  When the caller is
 * cancelled or fails, the (sub)transaction's end stops the workers and frees
 * the memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "step_block.h"

PGDLLEXPORT void fa_parallel_main(dsm_segment *segment, shm_toc *toc);

#define LIBRARY		 "fa_agents"
#define PORTION		 64			  /* agents taken at once, at most */
#define LAST_PORTION 8			  /* and at the end */
#define QUEUE_SIZE	 (256 * 1024) /* bytes of a worker's queue */
#define MESSAGE_SIZE (16 * 1024)  /* rows are sent in messages of so many */
#define SERVER_SIZE	 (256 * 1024) /* what the server adds, */
#define WORKER_SIZE	 (32 * 1024)  /* and for each worker */
#define MOST_WORKERS 64

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
} SharedRecord;

/* ---------- models in shared memory ---------- */

/* Compiled models by their place; a model may be there as a world too. */
typedef struct ModelList
{
	int					count;
	const KernelModel **models; /* [count] */
} ModelList;

/* The place of a model in the list, which is short; it is added if need be. */
static int32
model_place(ModelList *list, const KernelModel *model)
{
	for (int i = 0; i < list->count; i++)
	{
		if (list->models[i] == model)
			return i;
	}
	list->models[list->count] = model;
	return list->count++;
}

/* Blocks are aligned as the kernel's vectors need. */
static Size
model_room(const KernelModel *model)
{
	return TYPEALIGN(64, (Size) model->size);
}

/* ---------- lanes in shared memory ---------- */

/*
 * The next piece of a lane, of count items of size bytes; moves *used on.
 */
static Size
lane_piece(Size *used, Size count, Size size)
{
	Size at = *used;

	*used = add_size(at, MAXALIGN(mul_size(count, size)));
	return at;
}

/*
 * Lays out a lane, and returns its bytes.  Called once to measure and once to
 * fill, so the two cannot disagree.
 */
static Size
lay_out_lane(const AgentRow *row, SharedLane *lane)
{
	const KernelModel *model = row->model->model;
	const KernelModel *world = belief_world(row);
	Size			   used = MAXALIGN(sizeof(SharedLane));

	memset(lane, 0, sizeof(*lane));
	if (row->parameters != NULL)
	{
		ArrayType *packed =
			DatumGetArrayTypeP(row->stored->values[HOT_PARAMETERS]);

		lane->parameter_count =
			ArrayGetNItems(ARR_NDIM(packed), ARR_DIMS(packed));
		lane->parameters =
			lane_piece(&used, lane->parameter_count, sizeof(double));
	}
	lane->belief = lane_piece(&used, model->belief_size, sizeof(double));
	lane->action = lane_piece(&used, model->control_count, sizeof(int32));
	lane->world_state = lane_piece(&used, world->factor_count, sizeof(int32));
	if (row->learned == NULL)
		return used;
	lane->observation = lane_piece(&used, model->modality_count, sizeof(int32));
	lane->did = lane_piece(&used, model->control_count, sizeof(int32));
	lane->before = lane_piece(&used, model->belief_size, sizeof(double));
	lane->counts =
		lane_piece(&used, kernel_learned_size(model), sizeof(double));
	lane->changed =
		lane_piece(&used, kernel_learned_part_count(model), sizeof(bool));
	return used;
}

/* Copies an array that may be missing; returns whether it is there. */
static bool
save_array(SharedLane *lane, Size offset, const void *from, int count,
		   Size size)
{
	if (from != NULL && from != LANE_AT(lane, void, offset))
		memcpy(LANE_AT(lane, void, offset), from, size * count);
	return from != NULL;
}

/*
 * The state of an agent into its shared lane.  In a worker some of it lies
 * there already, and its next belief may lie where the one before did: what is
 * owed goes first, as it may point to what is overwritten last.
 */
static void
save_state(const Lane *lane, SharedLane *shared)
{
	const AgentRow	  *row = lane->row;
	const KernelModel *model = row->model->model;

	shared->step = row->step;
	shared->vfe = row->vfe;
	shared->vfe_known = row->vfe_known;
	shared->trial = row->trial;
	shared->trial_steps = lane->trial_steps;
	shared->trials = lane->trials;
	shared->owes = save_array(shared, shared->observation, row->observation,
							  model->modality_count, sizeof(int32));
	(void) save_array(shared, shared->before, row->before, model->belief_size,
					  sizeof(double));
	shared->owes_did = save_array(shared, shared->did, row->did,
								  model->control_count, sizeof(int32));
	shared->acted = save_array(shared, shared->action, row->action,
							   model->control_count, sizeof(int32));
	shared->world_begun =
		save_array(shared, shared->world_state, row->world_state,
				   belief_world(row)->factor_count, sizeof(int32));
	(void) save_array(shared, shared->belief, row->belief, model->belief_size,
					  sizeof(double));
	if (row->learned != NULL)
	{
		shared->A_active = row->learned->A_active;
		shared->B_active = row->learned->B_active;
	}
}

/*
 * An agent as a worker sees it.  Arrays stay in the shared lane, where nobody
 * else looks at them until it is done; models [] are the worker's.
 */
static void
load_row(SharedLane *shared, CachedModel *models, AgentRow *row)
{
	memset(row, 0, sizeof(*row));
	row->agent_id = shared->agent_id;
	row->seed = shared->seed;
	row->step = shared->step;
	row->trial = shared->trial;
	row->vfe = shared->vfe;
	row->vfe_known = shared->vfe_known;
	row->model = &models[shared->model];
	row->world = shared->world < 0 ? NULL : &models[shared->world];
	if (shared->parameters != 0)
	{
		KernelParameters *parameters = palloc(sizeof(KernelParameters));

		if (!kernel_parameters_unpack(
				row->model->model, LANE_AT(shared, double, shared->parameters),
				shared->parameter_count, parameters))
			elog(ERROR, "shared parameters do not fit the agent's model");
		row->parameters = parameters;
	}
	row->belief = LANE_AT(shared, double, shared->belief);
	if (shared->acted)
		row->action = LANE_AT(shared, int32, shared->action);
	if (shared->world_begun)
		row->world_state = LANE_AT(shared, int32, shared->world_state);
	if (shared->counts == 0)
		return;
	row->learned = palloc(sizeof(KernelLearned));
	row->learned->counts = LANE_AT(shared, double, shared->counts);
	row->learned->A_active = shared->A_active;
	row->learned->B_active = shared->B_active;
	row->changed = LANE_AT(shared, bool, shared->changed);
	if (shared->owes)
		row->observation = LANE_AT(shared, int32, shared->observation);
	if (shared->owes_did)
	{
		row->did = LANE_AT(shared, int32, shared->did);
		row->before = LANE_AT(shared, double, shared->before);
	}
}

/* A copy of an array of a shared lane, or NULL where the agent has none. */
static void *
copy_array(SharedLane *shared, bool present, Size offset, int count, Size size)
{
	void *copy;

	if (!present)
		return NULL;
	copy = palloc(Max(size * count, 1));
	memcpy(copy, LANE_AT(shared, void, offset), size * count);
	return copy;
}

/*
 * The state that a worker left, back into the caller's agent; copies, because
 * the shared memory ends before the rows are written.
 */
static void
take_back(SharedLane *shared, Lane *lane)
{
	AgentRow		  *row = lane->row;
	const KernelModel *model = row->model->model;

	row->step = shared->step;
	row->vfe = shared->vfe;
	row->vfe_known = shared->vfe_known;
	row->trial = shared->trial;
	memcpy(row->belief, LANE_AT(shared, double, shared->belief),
		   sizeof(double) * model->belief_size);
	row->action = copy_array(shared, shared->acted, shared->action,
							 model->control_count, sizeof(int32));
	row->world_state =
		copy_array(shared, shared->world_begun, shared->world_state,
				   belief_world(row)->factor_count, sizeof(int32));
	lane->finished = true;
	if (row->learned == NULL)
		return;
	row->observation = copy_array(shared, shared->owes, shared->observation,
								  model->modality_count, sizeof(int32));
	row->did = copy_array(shared, shared->owes_did, shared->did,
						  model->control_count, sizeof(int32));
	row->before = copy_array(shared, shared->owes_did, shared->before,
							 model->belief_size, sizeof(double));
	memcpy(row->learned->counts, LANE_AT(shared, double, shared->counts),
		   sizeof(double) * kernel_learned_size(model));
	row->learned->A_active = shared->A_active;
	row->learned->B_active = shared->B_active;
	memcpy(row->changed, LANE_AT(shared, bool, shared->changed),
		   sizeof(bool) * kernel_learned_part_count(model));
}

/* ---------- the worker ---------- */

/* What a worker has of a run. */
typedef struct Worker
{
	SharedRun	  *run;
	Size		  *lane_offsets; /* [lanes], from here */
	CachedModel	  *models;		 /* in place, with workspaces of its own */
	StepPlan	   plan;
	MemoryContext  portion_context;
	StepBlock	   block;
	int			   first; /* of its lanes, among the shared ones */
	shm_mq_handle *queue;
	char		  *message; /* [MESSAGE_SIZE] */
	Size		   used;
} Worker;

/* The shared lane with this number. */
static SharedLane *
shared_lane(Size *offsets, int lane)
{
	return (SharedLane *) ((char *) offsets + offsets[lane]);
}

/* Sends the rows that have come together; waits while the queue is full. */
static void
send_message(Worker *worker)
{
	if (worker->used == 0)
		return;
	if (shm_mq_send(worker->queue, worker->used, worker->message, false,
					true) != SHM_MQ_SUCCESS)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("lost the connection to the process of the run")));
	worker->used = 0;
}

/* The bytes of a row in a message. */
static Size
record_size(const KernelModel *model)
{
	return sizeof(SharedRecord) +
		   MAXALIGN(sizeof(int32) *
					((Size) model->modality_count + model->control_count));
}

/*
 * StepPlan.emit in a worker.  A row that no message has room for (a model of
 * some thousand modalities) goes alone, in a larger one.
 */
static void
emit_to_caller(void *context, const StepOrder *order, const KernelModel *model,
			   const StepRecord *record)
{
	Worker		 *worker = context;
	Size		  size = record_size(model);
	SharedRecord *out;
	int32		 *numbers;

	if (worker->used + size > MESSAGE_SIZE)
		send_message(worker);
	if (size > MESSAGE_SIZE)
		worker->message = repalloc(worker->message, size);
	out = (SharedRecord *) (worker->message + worker->used);
	out->lane = order->position;
	out->trial = record->trial;
	out->step = record->step;
	out->vfe = record->vfe;
	numbers = (int32 *) (out + 1);
	memcpy(numbers, record->observation, sizeof(int32) * model->modality_count);
	memcpy(numbers + model->modality_count, record->action,
		   sizeof(int32) * model->control_count);
	worker->used += size;
}

/* All steps are made in one go; nobody has to be told. */
static bool
always(void *context, int stepped)
{
	return true;
}

/*
 * All steps of a portion of lanes, but for those that had finished before.
 */
static void
run_portion(Worker *worker, int first, int count)
{
	StepOrder *orders = palloc0(sizeof(StepOrder) * count);
	StepBlock *block = &worker->block;

	memset(block, 0, sizeof(*block));
	block->plan = &worker->plan;
	block->count = count;
	block->rows = palloc(sizeof(AgentRow) * count);
	for (int i = 0; i < count; i++)
	{
		load_row(shared_lane(worker->lane_offsets, first + i), worker->models,
				 &block->rows[i]);
		orders[i].agent_id = block->rows[i].agent_id;
		orders[i].position = first + i;
	}
	block->orders = orders;
	block_open_lanes(block);
	for (int i = 0; i < count; i++)
	{
		SharedLane *shared = shared_lane(worker->lane_offsets, first + i);

		block->lanes[i].trial_steps = shared->trial_steps;
		block->lanes[i].trials = shared->trials;
		block->lanes[i].finished = shared->done;
	}
	block_run(block, always, NULL);
	for (int i = 0; i < count; i++)
	{
		SharedLane *shared = shared_lane(worker->lane_offsets, first + i);

		if (!shared->done)
			save_state(&block->lanes[i], shared);
		shared->done = true;
	}
}

/*
 * The next portion's first lane, and *count; false: all are taken.  A portion
 * is a part of what is left: the last ones are small, and nobody waits long for
 * who has the last, while there are few of them in all.
 */
static bool
take_portion(SharedRun *run, int *first, int *count)
{
	uint32 next = pg_atomic_read_u32(&run->taken);

	do
	{
		int left = run->lanes - (int) next;

		if (left <= 0)
			return false;
		*first = (int) next;
		*count = Min(left / (4 * run->processes), PORTION);
		*count = Min(Max(*count, LAST_PORTION), left);
		/* for few agents of long runs even that is too much for one */
		*count = Min(*count, Max(run->lanes / (2 * run->processes), 1));
	} while (!pg_atomic_compare_exchange_u32(&run->taken, &next,
											 next + (uint32) *count));
	return true;
}

/*
 * The models where they lie, each with a workspace of this process.
 */
static CachedModel *
attach_models(char *block, int count)
{
	CachedModel *models = palloc0(sizeof(CachedModel) * count);
	KernelHost	 host;

	host_init(&host, CurrentMemoryContext);
	block = (char *) TYPEALIGN(64, block);
	for (int i = 0; i < count; i++)
	{
		models[i].model = (const KernelModel *) block;
		models[i].workspace = kernel_workspace(&host, models[i].model);
		if (models[i].workspace == NULL)
			host_check(KERNEL_MEMORY, "a model");
		block += model_room(models[i].model);
	}
	return models;
}

/*
 * A worker's whole life in a run.  The server has given it the caller's
 * settings, user and transaction; it uses none but the first.
 */
void
fa_parallel_main(dsm_segment *segment, shm_toc *toc)
{
	Worker	worker = {.run = shm_toc_lookup(toc, KEY_RUN, false)};
	char   *queues = shm_toc_lookup(toc, KEY_QUEUES, false);
	shm_mq *queue =
		(shm_mq *) (queues + (Size) ParallelWorkerNumber * QUEUE_SIZE);
	int first;
	int count;

	shm_mq_set_sender(queue, MyProc);
	worker.queue = shm_mq_attach(queue, segment, NULL);
	worker.message = palloc(MESSAGE_SIZE);
	worker.lane_offsets = shm_toc_lookup(toc, KEY_LANES, false);
	worker.models = attach_models(shm_toc_lookup(toc, KEY_MODELS, false),
								  worker.run->models);
	worker.plan.steps = worker.run->steps;
	worker.plan.trials = worker.run->trials;
	worker.plan.closed_loop = true;
	worker.plan.emit = emit_to_caller;
	worker.plan.emit_context = &worker;
	if (worker.run->until)
		worker.plan.until = until_parse(shm_toc_lookup(toc, KEY_UNTIL, false));
	worker.portion_context = AllocSetContextCreate(
		CurrentMemoryContext, "fa_agents portion", ALLOCSET_DEFAULT_SIZES);
	while (take_portion(worker.run, &first, &count))
	{
		MemoryContext old = MemoryContextSwitchTo(worker.portion_context);

		run_portion(&worker, first, count);
		MemoryContextSwitchTo(old);
		MemoryContextReset(worker.portion_context);
	}
	send_message(&worker);
	shm_mq_detach(worker.queue);
}

/* ---------- the caller ---------- */

/* A run that is being shared, as the caller sees it. */
typedef struct Leader
{
	StepBlock		*block;
	ParallelContext *parallel;
	SharedRun		*run;
	Size			*lane_offsets;
	shm_mq_handle  **queues; /* [workers]; NULL: it has sent all */
	int				 workers;
	bool (*go_on)(void *context, int stepped);
	void *context;
} Leader;

/* How many processes may help, by the settings. */
static int
workers_allowed(void)
{
	int workers =
		fa_max_parallel < 0 ? max_parallel_workers_per_gather : fa_max_parallel;

	return Min(Min(workers, max_parallel_workers), MOST_WORKERS);
}

/*
 * May the lanes of this block be shared? Not where something is read or
 * written between two steps (an inbox, history), nor where we are in a parallel
 * query ourselves.
 */
bool
parallel_possible(const StepBlock *block)
{
	if (block->count < 2 || workers_allowed() == 0 || IsInParallelMode() ||
		!IsUnderPostmaster)
		return false;
	for (int i = 0; i < block->count; i++)
	{
		if (block->lanes[i].inbox != NULL || block->lanes[i].row->history != 0)
			return false;
	}
	return true;
}

/* The distinct models of a block, worlds too. */
static ModelList
list_models(const StepBlock *block)
{
	ModelList list = {0};

	list.models = palloc(sizeof(KernelModel *) * 2 * block->count);
	for (int i = 0; i < block->count; i++)
	{
		const AgentRow *row = block->lanes[i].row;

		(void) model_place(&list, row->model->model);
		if (row->world != NULL)
			(void) model_place(&list, row->world->model);
	}
	return list;
}

/* A place in the shared memory that will be. */
static void
estimate(ParallelContext *parallel, Size size)
{
	shm_toc_estimate_chunk(&parallel->estimator, size);
	shm_toc_estimate_keys(&parallel->estimator, 1);
}

/* A place in the shared memory that is. */
static void *
allocate(ParallelContext *parallel, int key, Size size)
{
	void *place = shm_toc_allocate(parallel->toc, size);

	shm_toc_insert(parallel->toc, key, place);
	return place;
}

/* The bytes of all lanes, with their offsets before them. */
static Size
lanes_size(const StepBlock *block)
{
	Size	   size = MAXALIGN(mul_size(sizeof(Size), block->count));
	SharedLane unused;

	for (int i = 0; i < block->count; i++)
		size = add_size(size, lay_out_lane(block->lanes[i].row, &unused));
	return size;
}

/* Fills one shared lane; returns its bytes. */
static Size
fill_lane(const Lane *lane, ModelList *models, SharedLane *shared)
{
	const AgentRow *row = lane->row;
	Size			size = lay_out_lane(row, shared);

	shared->agent_id = row->agent_id;
	shared->seed = row->seed;
	shared->model = model_place(models, row->model->model);
	shared->world = row->world ? model_place(models, row->world->model) : -1;
	shared->done = lane->finished;
	if (shared->parameters != 0)
		memcpy(LANE_AT(shared, double, shared->parameters),
			   array_doubles(row->stored->values[HOT_PARAMETERS],
							 shared->parameter_count, "parameters"),
			   sizeof(double) * shared->parameter_count);
	save_state(lane, shared);
	if (row->learned != NULL)
	{
		const KernelModel *model = row->model->model;

		memcpy(LANE_AT(shared, double, shared->counts), row->learned->counts,
			   sizeof(double) * kernel_learned_size(model));
		memcpy(LANE_AT(shared, bool, shared->changed), row->changed,
			   sizeof(bool) * kernel_learned_part_count(model));
	}
	return size;
}

/* The models, one after another. */
static void
fill_models(const ModelList *models, char *block)
{
	block = (char *) TYPEALIGN(64, block);
	for (int i = 0; i < models->count; i++)
	{
		memcpy(block, models->models[i], models->models[i]->size);
		block += model_room(models->models[i]);
	}
}

/*
 * Is there shared memory of this size?  The server raises an ERROR where there
 * is none, so it is asked for before.  Who comes in between makes us fail, as a
 * query that the server runs in parallel would.
 */
static bool
has_memory(Size size)
{
	dsm_segment *segment = segment_create(size);

	if (segment != NULL)
		segment_discard(dsm_segment_handle(segment));
	return segment != NULL;
}

/*
 * Makes the shared memory and fills it; false where there is none.  Where no
 * slot for it is left the server gives memory of our own and no workers.
 */
static bool
share(Leader *leader, int workers)
{
	StepBlock		*block = leader->block;
	const StepPlan	*plan = block->plan;
	ModelList		 models = list_models(block);
	Jsonb			*until = plan->until ? until_source(plan->until) : NULL;
	Size			 models_size = 64;
	Size			 all_lanes = lanes_size(block);
	Size			 at = MAXALIGN(sizeof(Size) * block->count);
	ParallelContext *parallel;

	for (int i = 0; i < models.count; i++)
		models_size = add_size(models_size, model_room(models.models[i]));
	if (!has_memory(add_size(add_size(models_size, all_lanes),
							 (Size) workers * (QUEUE_SIZE + WORKER_SIZE) +
								 SERVER_SIZE + (until ? VARSIZE(until) : 0))))
		return false;
	parallel = CreateParallelContext(LIBRARY, "fa_parallel_main", workers);
	estimate(parallel, sizeof(SharedRun));
	estimate(parallel, until ? VARSIZE(until) : 1);
	estimate(parallel, models_size);
	estimate(parallel, all_lanes);
	estimate(parallel, mul_size(QUEUE_SIZE, workers));
	InitializeParallelDSM(parallel);

	leader->parallel = parallel;
	leader->run = allocate(parallel, KEY_RUN, sizeof(SharedRun));
	leader->run->steps = plan->steps;
	leader->run->trials = plan->trials;
	leader->run->lanes = block->count;
	leader->run->processes = workers + 1;
	leader->run->models = models.count;
	leader->run->until = until != NULL;
	pg_atomic_init_u32(&leader->run->taken, 0);
	if (until != NULL)
		memcpy(allocate(parallel, KEY_UNTIL, VARSIZE(until)), until,
			   VARSIZE(until));
	fill_models(&models, allocate(parallel, KEY_MODELS, models_size));
	leader->lane_offsets = allocate(parallel, KEY_LANES, all_lanes);
	for (int i = 0; i < block->count; i++)
	{
		leader->lane_offsets[i] = at;
		at += fill_lane(&block->lanes[i], &models,
						shared_lane(leader->lane_offsets, i));
	}
	return true;
}

/*
 * Starts as many workers as the server has to spare, each with a queue.
 */
static void
start_workers(Leader *leader)
{
	ParallelContext *parallel = leader->parallel;
	int				 workers = parallel->nworkers;
	char			*queues =
		allocate(parallel, KEY_QUEUES, mul_size(QUEUE_SIZE, workers));

	leader->queues = palloc0(sizeof(shm_mq_handle *) * Max(workers, 1));
	for (int i = 0; i < workers; i++)
	{
		shm_mq *queue =
			shm_mq_create(queues + (Size) i * QUEUE_SIZE, QUEUE_SIZE);

		shm_mq_set_receiver(queue, MyProc);
		leader->queues[i] = shm_mq_attach(queue, parallel->seg, NULL);
	}
	LaunchParallelWorkers(parallel);
	leader->workers = parallel->nworkers_launched;
	for (int i = 0; i < leader->workers; i++)
		shm_mq_set_handle(leader->queues[i], parallel->worker[i].bgwhandle);
	elog(DEBUG1, "run of %d agents is shared with %d workers",
		 leader->block->count, leader->workers);
}

/* Hands the rows of a message to who called. */
static void
emit_message(Leader *leader, const char *message, Size size)
{
	const StepPlan *plan = leader->block->plan;
	int				rows = 0;

	for (Size at = 0; at < size; rows++)
	{
		const SharedRecord *in = (const SharedRecord *) (message + at);
		const Lane		   *lane = &leader->block->lanes[in->lane];
		const KernelModel  *model = lane->row->model->model;
		StepRecord			record = {
					 .step = in->step, .trial = in->trial, .vfe = in->vfe};

		record.observation = (int32 *) unconstify(SharedRecord *, in + 1);
		record.action = record.observation + model->modality_count;
		plan->emit(plan->emit_context, lane->order, model, &record);
		at += record_size(model);
	}
	(void) leader->go_on(leader->context, rows);
}

/*
 * Takes what has come from the workers, without waiting; returns how many of
 * them may still send.
 */
static int
empty_queues(Leader *leader)
{
	int sending = 0;

	for (int i = 0; i < leader->workers; i++)
	{
		shm_mq_result result = SHM_MQ_SUCCESS;
		Size		  size;
		void		 *message;

		while (leader->queues[i] != NULL && result == SHM_MQ_SUCCESS)
		{
			result = shm_mq_receive(leader->queues[i], &size, &message, true);
			if (result == SHM_MQ_SUCCESS)
				emit_message(leader, message, size);
			else if (result == SHM_MQ_DETACHED)
				leader->queues[i] = NULL;
		}
		sending += leader->queues[i] != NULL;
	}
	return sending;
}

/* After each step that the caller itself makes. */
static bool
made_step(void *context, int stepped)
{
	Leader *leader = context;

	(void) leader->go_on(leader->context, stepped);
	(void) empty_queues(leader);
	return true;
}

/* The caller's own share of the lanes. */
static void
run_own_portions(Leader *leader)
{
	int first;
	int count;

	while (take_portion(leader->run, &first, &count))
	{
		StepBlock portion = *leader->block;

		block_group(&portion, leader->block->lanes + first, count);
		block_run(&portion, made_step, leader);
	}
}

/*
 * Waits until all workers have sent all.  One that failed is heard of in
 * CHECK_FOR_INTERRUPTS, as an ERROR of ours.
 */
static void
wait_for_workers(Leader *leader)
{
	while (empty_queues(leader) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1,
						 WAIT_EVENT_PARALLEL_FINISH);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	WaitForParallelWorkersToFinish(leader->parallel);
}

/*
 * Makes all steps that are left of a block's lanes, with the help of other
 * processes if there are any; false where there is no memory to share, and then
 * nothing was done.  parallel_possible() must hold.  go_on is told of steps as
 * they become known; what it returns is ignored.
 *
 * In parallel mode nothing can be written and no command begun: emit must not
 * do either.
 */
bool
parallel_run(StepBlock *block, bool (*go_on)(void *context, int stepped),
			 void	   *context)
{
	Leader leader = {.block = block, .go_on = go_on, .context = context};

	EnterParallelMode();
	if (!share(&leader, Min(workers_allowed(), block->count - 1)))
	{
		ExitParallelMode();
		return false;
	}
	start_workers(&leader);
	run_own_portions(&leader);
	wait_for_workers(&leader);
	for (int i = 0; i < block->count; i++)
	{
		SharedLane *shared = shared_lane(leader.lane_offsets, i);

		if (!block->lanes[i].finished && shared->done)
			take_back(shared, &block->lanes[i]);
		if (!block->lanes[i].finished)
			elog(ERROR, "a worker left agent " INT64_FORMAT " unfinished",
				 block->lanes[i].row->agent_id);
	}
	DestroyParallelContext(leader.parallel);
	ExitParallelMode();
	return true;
}
