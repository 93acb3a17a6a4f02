/*-------------------------------------------------------------------------
 *
 * parallel_lane.c
 *	  Models and agents' state as they lie in the memory that the processes of
 *	  a run share.
 *
 * A lane has room for all that its agent may come to have, so its size does not
 * change, and nobody but who has taken it touches it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "parallel.h"

/* The place of a model in the list, which is short; it is added if need be. */
int32
parallel_model(ModelList *list, const KernelModel *model)
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
Size
parallel_model_room(const KernelModel *model)
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
Size
shared_lane_lay_out(const AgentRow *row, SharedLane *lane)
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
void
shared_lane_save(const Lane *lane, SharedLane *shared)
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
void
shared_lane_load(SharedLane *shared, CachedModel *models, AgentRow *row)
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
void
shared_lane_take_back(SharedLane *shared, Lane *lane)
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
