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
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "parallel.h"

#define LIBRARY		 "fa_agents"
#define SERVER_SIZE	 (256 * 1024) /* what the server adds, */
#define WORKER_SIZE	 (32 * 1024)  /* and for each worker */
#define MOST_WORKERS 64

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
 * How many lanes are best stepped together: as many as take the time of one.
 * To divide them would make each process work as long as one would for all.
 * Two agents for each process at most are stepped one after another anyway, and
 * so are those of different models, and those that have learned.
 */
static int
abreast(const StepBlock *block, int workers)
{
	const CachedModel *model = NULL;
	int				   same = 0; /* agents of this model, so far */
	int				   most = 1;

	if (block->count <= 2 * (workers + 1))
		return 1;
	for (int i = 0; i < block->count; i++)
	{
		const AgentRow *row = block->by_model[i]->row;
		int				at_once = kernel_abreast(row->model->workspace);

		if (row->model != model)
			same = 0;
		model = row->model;
		same += row->learned == NULL;
		if (same > most && most < at_once)
			most++;
	}
	return most;
}

/* With how many workers a block's lanes can be shared, 0: they are too few. */
static int
workers_wanted(const StepBlock *block)
{
	int workers = Min(workers_allowed(), block->count - 1);
	int together = abreast(block, workers);

	return Min(workers, (block->count - 1) / together);
}

/*
 * May the lanes of this block be shared? Not where something is read or
 * written between two steps (an inbox, history), nor where we are in a parallel
 * query ourselves.
 */
bool
parallel_possible(const StepBlock *block)
{
	if (block->count < 2 || workers_wanted(block) == 0 || IsInParallelMode() ||
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

		(void) parallel_model(&list, row->model->model);
		if (row->world != NULL)
			(void) parallel_model(&list, row->world->model);
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
		size =
			add_size(size, shared_lane_lay_out(block->lanes[i].row, &unused));
	return size;
}

/* Fills one shared lane; returns its bytes. */
static Size
fill_lane(const Lane *lane, ModelList *models, SharedLane *shared)
{
	const AgentRow *row = lane->row;
	Size			size = shared_lane_lay_out(row, shared);

	shared->agent_id = row->agent_id;
	shared->seed = row->seed;
	shared->model = parallel_model(models, row->model->model);
	shared->world = row->world ? parallel_model(models, row->world->model) : -1;
	shared->done = lane->finished;
	if (shared->parameters != 0)
		memcpy(LANE_AT(shared, double, shared->parameters),
			   array_doubles(row->stored->values[HOT_PARAMETERS],
							 shared->parameter_count, "parameters"),
			   sizeof(double) * shared->parameter_count);
	shared_lane_save(lane, shared);
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
		block += parallel_model_room(models->models[i]);
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
		models_size =
			add_size(models_size, parallel_model_room(models.models[i]));
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
	leader->run->abreast = abreast(block, workers);
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
						shared_lane_at(leader->lane_offsets, i));
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
		StepRecord			record = {.step = in->step,
									  .trial = in->trial,
									  .vfe = in->vfe,
									  .until_met = in->until_met};

		record.observation = (int32 *) unconstify(SharedRecord *, in + 1);
		record.action = record.observation + model->modality_count;
		plan->emit(plan->emit_context, lane->order, model, &record);
		at += shared_record_size(model);
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

	while (parallel_take_portion(leader->run, &first, &count))
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
	if (!share(&leader, workers_wanted(block)))
	{
		ExitParallelMode();
		return false;
	}
	start_workers(&leader);
	run_own_portions(&leader);
	wait_for_workers(&leader);
	for (int i = 0; i < block->count; i++)
	{
		SharedLane *shared = shared_lane_at(leader.lane_offsets, i);

		if (!block->lanes[i].finished && shared->done)
			shared_lane_take_back(shared, &block->lanes[i]);
		if (!block->lanes[i].finished)
			elog(ERROR, "a worker left agent " INT64_FORMAT " unfinished",
				 block->lanes[i].row->agent_id);
	}
	DestroyParallelContext(leader.parallel);
	ExitParallelMode();
	return true;
}
