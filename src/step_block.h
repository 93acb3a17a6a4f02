/*
 * step_block.h
 *		A block of agents on its way through its steps: what step.c asks of
 *		step_block.c.
 */
#ifndef FA_STEP_BLOCK_H
#define FA_STEP_BLOCK_H

#include "fa_agents.h"

/*
 * One agent of a block, on its way through its steps.  All of it lies in the
 * block's memory, which is SPI's.  The pairs [2] are used in turn: what a step
 * reads of the last one must stay while the next is written, and a run of a
 * million steps allocates no more than one step does.
 */
typedef struct Lane
{
	const StepOrder	  *order;
	AgentRow		  *row;
	const KernelModel *world;	 /* that answers it, or NULL */
	InboxRow		  *inbox;	 /* observations that wait */
	const int32		  *executed; /* action before the step that is being made */
	int32	  *world_state[2];	 /* the true state, and room for the next */
	int32	  *action[2];		 /* the last action, and room for the next */
	double	  *belief[2];		 /* the last belief, and room for the next */
	int		   turn;			 /* which of the two is the next */
	int32	   trial_steps;		 /* made in this trial */
	int32	   trials;			 /* finished */
	bool	   finished;
	StepRecord record;
} Lane;

/*
 * Agents that are gathered, stepped and written together; by_model keeps
 * agents of one model side by side, for the kernel steps a model's agents in
 * one call.
 */
typedef struct StepBlock
{
	const Call		*call;
	const StepPlan	*plan;
	int				 count;
	const StepOrder *orders;   /* [count], ascending by agent */
	Lane			*lanes;	   /* [count], alike */
	Lane		   **by_model; /* [count], grouped by model */
	AgentRow		*rows;	   /* [count] */
	KernelAgent		*agents;   /* [count]: room for one group's step */
	Lane		   **stepping; /* [count]: the lanes of agents[] */
	KernelHost		 host;
	ItemPointerData *taken; /* observations taken: [taken_room] */
	int				 taken_count;
	int				 taken_room;
} StepBlock;

extern void
block_gather(StepBlock *block, const Call *call, const StepPlan *plan,
			 const StepOrder *orders, int count);
extern void block_open_lanes(StepBlock *block);
extern void block_open(StepBlock *block);
extern void block_group(StepBlock *block, Lane *lanes, int count);
extern void block_begin_step(StepBlock *block, Lane *lane, KernelAgent *agent);
extern void
block_compute(StepBlock *block, const CachedModel *cached, int count);
extern void block_end_step(Lane *lane, const KernelAgent *agent);
extern int	block_step(StepBlock *block);
extern void block_run(StepBlock *block,
					  bool (*go_on)(void *context, int stepped), void *context);
extern void block_write_history(StepBlock *block, bool only_unfinished);
extern void block_emit(StepBlock *block, const Lane *lane);
extern bool block_write(StepBlock *block);
extern bool block_unfinished(const StepBlock *block);

/* step_fuse.c */
extern void block_step_fused(StepBlock *block);

/* parallel.c */
extern bool parallel_possible(const StepBlock *block);
extern bool
parallel_run(StepBlock *block, bool (*go_on)(void *context, int stepped),
			 void	   *context);

#endif /* FA_STEP_BLOCK_H */
