/*
 * agent.h
 *		What the files about agents share.
 */
#ifndef FA_AGENT_H
#define FA_AGENT_H

#include "fa_agents.h"

/*
 * What params say, ready to be stored.  Pointers lie in the memory context
 * that was current in agent_params_parse.
 */
typedef struct AgentParams
{
	Jsonb	*params;
	double	*packed; /* overridden numbers, or NULL */
	int32	 packed_length;
	double	*belief;  /* [belief_size]: the initial belief */
	int16	 history; /* HISTORY_* bits */
	bool	 has_seed;
	int64	 seed;
	ModelRow world; /* id 0: none named */
} AgentParams;

/* ---------- agent_params.c ---------- */

extern AgentParams
agent_params_parse(const Call *call, const KernelModel *model, Jsonb *params,
				   bool with_world);
extern Jsonb *agent_params_stored(const Call *call, int64 agent_id);

#endif
