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

/* ---------- coalition_search.c: who should do which task ---------- */

/* One task, and who is to do it. */
typedef struct SearchTask
{
	const int *needs; /* [need_count]: skills, at least one */
	int		   need_count;
	double	   value;
	int		   least;	/* no cover has fewer members */
	double	   most;	/* that it can bring, not below 0 */
	int		  *members; /* [count]: kinds; room for need_count */
	int		   count;	/* 0: nobody does it */
	int		  *trying;	/* [trying_count]: while it is searched */
	int		   trying_count;
} SearchTask;

/* What is given, what was found, and where the search is. */
typedef struct Search
{
	/* given */
	int			  words;	  /* of a set of skills */
	int			  kind_count; /* agents with the same skills are one kind */
	const uint64 *skills;	  /* [kind_count][words] */
	int			 *free;		  /* [kind_count]: agents of each that are free */
	const int	 *having_starts; /* [skills + 1] into having */
	const int	 *having;		 /* kinds by skill, ascending */
	int			  task_count;
	SearchTask	 *tasks;
	double		  cost; /* of a member, not below 0 */
	int64		  work; /* that is left: kinds to be looked at */

	/* found */
	double best; /* the sum of values less costs */
	bool   exact;

	/* on the way */
	SearchTask **order; /* [task_count] */
	double		*hope;	/* [task_count + 1]: the most of those before */
	int64		 idle;	/* agents that are free */
	double		 value; /* of what is being tried */
	double		 tie;
	int64		 unpolled; /* work since interrupts were looked for */
} Search;

extern bool search_kind_has(const Search *search, int kind, int skill);
extern void search_run(Search *search);
extern int	search_one(const Search *search, const SearchTask *task, int64 work,
					   int *members);

/* ---------- coalition_given.c: who can do what, and what is to be done ---------- */

/* One agent, with those of its skills that some task needs. */
typedef struct Candidate
{
	int64	id;
	uint64 *skills; /* [words] */
	int		words;
	int		skill_count;
} Candidate;

/* All that is known, in the function's memory. */
typedef struct Forming
{
	int			 skill_count;
	const char **skills; /* [skill_count], sorted */
	int			 task_count;
	const char **names; /* [task_count] */
	int			 agent_count;
	Candidate	*agents; /* [agent_count], by kind, then ascending by id */
	int			*starts; /* [kind_count + 1]: agents of each kind */
	int			*taken;	 /* [kind_count]: how many have a task */
	int64	   **ids;	 /* [task_count]: the members of each, [count] */
	Search		 search;
} Forming;

pg_noreturn extern void
forming_malformed(const char *argument, const char *what, const char *hint);
extern void forming_read_tasks(Forming *forming, const JsonValue *tasks);
extern void forming_read_agents(Forming *forming, const JsonValue *agents);
extern void forming_make_kinds(Forming *forming);

#endif /* FA_COALITION_H */
