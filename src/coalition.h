/*
 * coalition.h
 *		Coalitions: what their files share.  doc/coalitions.md is the design.
 */
#ifndef FA_COALITION_H
#define FA_COALITION_H

#include "fa_agents.h"

/* One coalition, in the memory context in which it was found. */
typedef struct Coalition
{
	const char *name;
	int64		id;
	Oid			owner;
	KernelRule	rule;
	char	  **factors; /* [factor_count], or NULL: all in common */
	int			factor_count;
} Coalition;

/* One member that is not paused, and what it believes. */
typedef struct FusionMember
{
	const AgentRow *agent;
	double			weight;
	const int32	   *factors; /* [shared]: which of its model's they are */
	const bool	   *stays;	 /* [shared]: those that never change */
	const double   *common;	 /* [belief_size]: what it was last pooled to in
							  * this trial, or NULL; NaN: not pooled */
} FusionMember;

/* Members side by side, and the factors that they share. */
typedef struct Fusion
{
	const Call		*call;
	const Coalition *coalition;
	KernelHost		 host;
	int				 count;
	FusionMember	*members; /* [count], ascending by agent */
	int				 shared;
	KernelExpert	*experts; /* [count]: room */
} Fusion;

/* What a coalition is asked about, by member. */
typedef struct FusionBelief
{
	const double *belief; /* [belief_size]: to be pooled */
	const double *prior;  /* [belief_size]: of the step that is being made,
						   * or NULL: none is */
} FusionBelief;

/* coalition.c */
extern Coalition coalition_find(const Call *call, const char *name);

/* coalition_fuse.c */
extern Fusion				*
fusion_open(const Call *call, const Coalition *coalition,
						  const AgentRow *const *agents, const double *weights, int count);
extern double fusion_factor(Fusion *fusion, int shared,
							const FusionBelief *beliefs, double *pooled);
extern const KernelFactor *
fusion_shared(const Fusion *fusion, int member, int shared);

#endif /* FA_COALITION_H */
