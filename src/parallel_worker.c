/*-------------------------------------------------------------------------
 *
 * parallel_worker.c
 *	  A process that helps with a run: takes portions of lanes until there are
 *	  none left, and sends the rows of their steps to the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/memutils.h"

#include "parallel.h"

PGDLLEXPORT void fa_parallel_main(dsm_segment *segment, shm_toc *toc);

#define PORTION		 64 /* agents taken at once, at most */
#define LAST_PORTION 8	/* and at the end */

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

/*
 * StepPlan.emit in a worker.  A row that no message has room for (a model of
 * some thousand modalities) goes alone, in a larger one.
 */
static void
emit_to_caller(void *context, const StepOrder *order, const KernelModel *model,
			   const StepRecord *record)
{
	Worker		 *worker = context;
	Size		  size = shared_record_size(model);
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
	out->until_met = record->until_met;
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
		shared_lane_load(shared_lane_at(worker->lane_offsets, first + i),
						 worker->models, &block->rows[i]);
		orders[i].agent_id = block->rows[i].agent_id;
		orders[i].position = first + i;
	}
	block->orders = orders;
	block_open_lanes(block);
	for (int i = 0; i < count; i++)
	{
		SharedLane *shared = shared_lane_at(worker->lane_offsets, first + i);

		block->lanes[i].trial_steps = shared->trial_steps;
		block->lanes[i].trials = shared->trials;
		block->lanes[i].finished = shared->done;
	}
	block_run(block, always, NULL);
	for (int i = 0; i < count; i++)
	{
		SharedLane *shared = shared_lane_at(worker->lane_offsets, first + i);

		if (!shared->done)
			shared_lane_save(&block->lanes[i], shared);
		shared->done = true;
	}
}

/*
 * The next portion's first lane, and *count; false: all are taken.  A portion
 * is a part of what is left: the last ones are small, and nobody waits long for
 * who has the last, while there are few of them in all.  None is smaller than
 * what is stepped in the time of one.
 */
bool
parallel_take_portion(SharedRun *run, int *first, int *count)
{
	uint32 next = pg_atomic_read_u32(&run->taken);
	/* for few agents of long runs even the last portion is too much for one */
	int least = Min(LAST_PORTION, Max(run->lanes / (2 * run->processes), 1));

	do
	{
		int left = run->lanes - (int) next;

		if (left <= 0)
			return false;
		*first = (int) next;
		*count = Min(left / (4 * run->processes), PORTION);
		*count = Max(*count, least) + run->abreast - 1;
		*count = Min(*count - *count % run->abreast, left);
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
		block += parallel_model_room(models[i].model);
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
	while (parallel_take_portion(worker.run, &first, &count))
	{
		MemoryContext old = MemoryContextSwitchTo(worker.portion_context);

		run_portion(&worker, first, count);
		MemoryContextSwitchTo(old);
		MemoryContextReset(worker.portion_context);
	}
	send_message(&worker);
	shm_mq_detach(worker.queue);
}
