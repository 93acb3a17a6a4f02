/*
 * pool.h
 *		What the background processes share: who runs where, which database
 *		wants what, and how it goes.  doc/workers.md has the design.
 */
#ifndef FA_POOL_H
#define FA_POOL_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "fa_agents.h"

#define POOL_DATABASES 64
#define POOL_SCHEDULES 256	/* schedules with statistics */
#define RING_SIZE	   4096 /* observed agents that a database remembers */
#define PASSED_SIZE	   1024 /* those of them that are for sensor workers */
#define LAG_BUCKETS	   96	/* 4 a doubling, from 16 us to 4.5 minutes */
#define SLICES		   64	/* of a schedule */
#define PHASES		   65536
#define SLICE_PHASES   (PHASES / SLICES)

typedef enum ProcessRole
{
	ROLE_LAUNCHER,
	ROLE_COORDINATOR,
	ROLE_WORKER,
	ROLE_SENSOR /* a worker that runs what one owner named */
} ProcessRole;

/* What a process sleeps for; the first are the roles. */
typedef enum PoolWait
{
	WAIT_LAUNCHER,
	WAIT_COORDINATOR,
	WAIT_WORKER,
	WAIT_SENSOR,
	WAIT_LEAVE
} PoolWait;

typedef enum ProcessState
{
	PROCESS_FREE,
	PROCESS_ENDED, /* in its batch; the coordinator is to note its agents */
	PROCESS_STARTING,
	PROCESS_IDLE,
	PROCESS_STEPPING
} ProcessState;

/* A launcher, coordinator, worker or sensor worker. */
typedef struct PoolProcess
{
	ProcessState	 state;
	ProcessRole		 role;
	uint32			 generation; /* counts the processes that had this slot */
	Oid				 database;
	Oid				 owner;		/* whom a sensor worker serves, else 0 */
	bool			 connected; /* it got as far as that */
	int				 pid;
	Latch			*latch;
	bool			 leave;	   /* asked to exit when it can */
	bool			 overtime; /* terminated, as its batch did not end */
	int				 batch;	   /* agents that are being stepped */
	TimestampTz		 started_at;
	TimestampTz		 since;	 /* in this state */
	pg_atomic_uint64 steps;	 /* committed */
	pg_atomic_uint64 busy;	 /* microseconds in turns that are over */
	Size			 memory; /* bytes, without models */
} PoolProcess;

/* Is there a process in a slot, or coming? */
#define slot_is_used(process) ((process)->state > PROCESS_ENDED)

/* What became of a database's steps in one minute. */
typedef struct PoolMinute
{
	int64  minute; /* which */
	uint64 errors;
	uint64 lag[LAG_BUCKETS]; /* steps by their lag */
} PoolMinute;

/* An observed agent whose schedule is a sensing one. */
typedef struct PassedAgent
{
	int64 agent_id;
	Oid	  runner; /* who is to step it */
} PassedAgent;

/* A database that has something scheduled, or may have. */
typedef struct PoolDatabase
{
	Oid			database;		/* InvalidOid: the entry is free */
	bool		wanted;			/* something changed: look at it */
	bool		failed;			/* its last coordinator died */
	bool		stopped;		/* fa_worker_stop */
	int			blocked;		/* commands that want it empty */
	TimestampTz wake_at;		/* when a coordinator is to look at it */
	TimestampTz waiting;		/* since when it wants a slot, 0: it does not */
	TimestampTz sensor_waiting; /* the same for a sensor worker */
	Oid			ailing_owner;	/* whose sensor worker could not connect */
	TimestampTz ailing_until;	/* when to try again */
	bool		events;			/* it has schedules by event */
	LWLock		ring_lock;
	bool  ring_lost;	  /* something is in the inbox only: it is to be read */
	bool  sweeping;		  /* it is being read, from its beginning to its end */
	int	  sweeper;		  /* pid of who is reading the next part, 0: nobody */
	int64 swept_to;		  /* the last agent of the parts that were read */
	TimestampTz swept_at; /* when its reading was last begun */
	int			ring_first;
	int			ring_count;
	int64		ring[RING_SIZE]; /* ids of observed agents */
	bool		passed_lost;	 /* there was no room for one */
	int			passed_count;
	PassedAgent passed[PASSED_SIZE];
	float		load; /* of the workers' time, when last looked at */
	int64		due;  /* slices and the like, when last looked at */
	slock_t		minute_lock;
	PoolMinute	minutes[2]; /* the newest, and the one before, or older */
} PoolDatabase;

/* What became of a schedule's steps. */
typedef struct PoolSchedule
{
	Oid				 database; /* InvalidOid: free */
	int64			 schedule_id;
	pg_atomic_uint64 steps;
	pg_atomic_uint64 late;	 /* past the deadline */
	pg_atomic_uint64 missed; /* skipped */
	pg_atomic_uint64 errors;
	pg_atomic_uint64 lag[LAG_BUCKETS]; /* steps by their lag */
} PoolSchedule;

typedef struct Pool
{
	LWLock		*lock;
	Latch		*launcher;	   /* NULL: there is none */
	bool		 sweep;		   /* look at all databases */
	bool		 out_of_slots; /* it was told */
	TimestampTz	 out_at;	   /* when there was no slot, for the last time */
	int			 process_count;
	PoolDatabase databases[POOL_DATABASES];
	PoolSchedule schedules[POOL_SCHEDULES];
	PoolProcess	 processes[FLEXIBLE_ARRAY_MEMBER];
} Pool;

/* NULL where the library was not preloaded. */
extern Pool *pool;

/* The process that this one is; NULL in sessions. */
extern PoolProcess *pool_self;

extern void			 pool_init(void);
extern void			 pool_require(void);
extern PoolDatabase *pool_database(Oid database, bool create);
extern void			 pool_want(Oid database, bool inbox);
extern void			 pool_wake_held(Oid database, ProcessRole role);
extern void			 pool_wake(Oid database, ProcessRole role);
extern void			 pool_wake_one(Oid database);
extern PoolSchedule *pool_schedule(int64 schedule_id);
extern void pool_keep_schedules(Oid database, const int64 *ids, int count);
extern void pool_forget_schedule(int64 schedule_id);

/* ---------- process.c: the processes and their slots ---------- */

extern bool		   pool_start(ProcessRole role, Oid database, Oid owner);
extern const char *pool_role_name(ProcessRole role);
extern void		   pool_attach(Datum main_arg);
extern void		   pool_connect(void);
extern void		   pool_give_up_lost(void);
extern void		   pool_signals(void);
extern void		   pool_set_state(ProcessState state, int batch);
extern void		   pool_end_turn(TimestampTz begun);
extern void		   pool_serve(void);
extern void		   pool_wait(TimestampTz until);
extern uint32	   pool_wait_event(PoolWait what);

/* ---------- room.c: who makes room for whom ---------- */

extern int64		 room_fair_part(void);
extern bool			 room_lacks_slots(void);
extern bool			 room_for(ProcessRole role, PoolDatabase *entry, Oid owner);
extern PoolDatabase *room_next(ProcessRole role, Oid database);
extern void room_note_waiting(PoolDatabase *entry, ProcessRole role, Oid owner,
							  bool started);
extern void room_no_owner_waits(void);
extern bool room_should_leave(void);

/* ---------- flight.c: what a crash found being stepped ---------- */

#define FLIGHT_AGENTS 2048 /* of one batch */

extern void	  flight_note(const int64 *ids, int count);
extern void	  flight_clear(void);
extern bool	  flight_leave(void);
extern void	  flight_crash_exit(SIGNAL_ARGS);
extern void	  flight_collect(void);
extern int64 *flight_take(int *count, bool *crash);
extern int64 *flight_read(int slot, int *count);

/* ---------- command.c: commands that want a database empty ---------- */

extern void command_init(void);
extern void command_empty(Oid database, int polite_ms);

/* ---------- look.c: what is due ---------- */

/*
 * A schedule s that is to run: of an owner who could log in and do it himself.
 */
#define SCHEDULE_ACTIVE                            \
	" NOT s.paused AND s.error IS NULL AND EXISTS" \
	" (SELECT FROM pg_catalog.pg_roles r"          \
	" WHERE r.oid" EQ "s.owner AND r.rolcanlogin)"
/*
 * Has the schedule s agents in a slice l?  LATERAL with a LIMIT: it is one
 * descent of an index, however few agents there were when the statement was
 * planned.
 */
#define SLICE_OCCUPIED                                                           \
	" EXISTS (SELECT FROM @.fa_model m, LATERAL (SELECT FROM @.fa_agent a"       \
	" WHERE a.model_id" EQ "m.model_id"                                          \
	" AND a.phase OPERATOR(pg_catalog.>=) (l.slice OPERATOR(pg_catalog.*) 1024)" \
	" AND a.phase" LT                                                            \
	"((l.slice OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.*) 1024)"           \
	" ORDER BY a.phase LIMIT 1) AS x WHERE m.name" EQ                            \
	"s.model AND (s.version IS NULL OR m.version" EQ "s.version))"
#define MICROSECONDS(interval)                      \
	" (pg_catalog.date_part('epoch', " interval ")" \
	" OPERATOR(pg_catalog.*) 1000000.0)::pg_catalog.int8"
/*
 * ... and that of a schedule s as an interval of hours: a day of a wheel has 24
 * of them, also when the zone's clocks change.
 */
#define STEADY_EVERY                                                            \
	" pg_catalog.make_interval(0, 0, 0, 0, 0, 0, pg_catalog.date_part('epoch'," \
	" s.every))"

/*
 * Who runs a schedule s: 0, any worker, or its owner's sensor workers, while he
 * has a sensor or actuator for its model.
 */
#define SCHEDULE_RUNNER                                              \
	" (CASE WHEN EXISTS (SELECT FROM @.fa_sensor x WHERE x.owner" EQ \
	"s.owner AND x.model" EQ                                         \
	"s.model) THEN s.owner::pg_catalog.oid ELSE 0::pg_catalog.oid END)"
/*
 * May the owner of schedule s use an agent a of model m, and step it without
 * its owner's sensor and actuator? They are his owner's alone to run.
 */
#define SCHEDULE_MAY_STEP(owner)                                            \
	" (a.owner" EQ owner " OR pg_catalog.pg_has_role(" owner                \
	"::pg_catalog.oid, a.owner::pg_catalog.oid, 'USAGE') AND NOT EXISTS"    \
	" (SELECT FROM @.fa_sensor x WHERE x.owner" EQ "a.owner AND x.model" EQ \
	"m.name))"

/* What is to be done by one runner. */
typedef struct LookPart
{
	Oid			runner;
	bool		events; /* he has schedules by event */
	int64		due;	/* slices, retries and events that are due now */
	TimestampTz next;	/* when the next is due; DT_NOEND: never */
} LookPart;

typedef struct Look
{
	bool		installed; /* the extension is there, of our version */
	int64		schedules; /* that are active */
	bool		events;	   /* some of them by event */
	int64		due;	   /* of all parts */
	TimestampTz next;	   /* the earliest of all parts */
	LookPart   *parts;	   /* [part_count] */
	int			part_count;
} Look;

extern bool		 call_begin_extension(Call *call);
extern void		 look_forget_all(void);
extern void		 look_forget_dropped(const Call *call);
extern void		 look_forget_orphans(const Call *call);
extern void		 look_find_occupied(const Call *call);
extern void		 look_set_clock(const Call *call);
extern void		 look_find(const Call *call, MemoryContext context, Look *look);
extern LookPart *look_part(Look *look, Oid runner);

/* ---------- turn.c: a batch of what is due ---------- */

extern bool turn_make(void);

/* ---------- batch.c: agents that are stepped in one transaction ---------- */

extern int	batch_size(void);
extern int	batch_single_size(void);
extern void batch_step(const Call *call, int64 *ids, int count, bool *stepped);
extern int	batch_step_singly(const Call *call, int64 schedule_id, int64 *ids,
							  int count, bool blame, bool *stepped);
extern bool batch_blame(const ErrorData *error, bool whatever);
extern void batch_done(int steps, int failed);
extern void
batch_count(int64 schedule_id, int steps, TimestampTz due, int64 deadline);
extern void	 batch_count_faults(int64 schedule_id, int failed, int64 missed);
extern int64 batch_quantile(const uint64 *lag, double share);
extern void	 batch_recent(PoolMinute *recent);

/* ---------- event.c: agents that were observed ---------- */

extern void event_init(void);
extern void event_leave(void);
extern bool event_make(void);

/* ---------- ring.c: the ids of observed agents ---------- */

extern bool	 ring_add(const int64 *ids, int count, bool lost);
extern void	 ring_lose(PoolDatabase *entry);
extern int	 ring_take(int64 *ids, int room, bool *sweep);
extern int64 ring_swept_to(void);
extern void	 ring_swept(int64 last, bool all);
extern void	 ring_leave_sweep(void);
extern void	 ring_pass_on(int64 agent_id, Oid runner);
extern void	 ring_count_passed(Look *look);

/* ---------- retry.c: agents whose step failed ---------- */

extern bool retry_note(const Call *call, int64 schedule_id, int64 agent_id,
					   const ErrorData *error);
extern bool retry_make(void);
extern void retry_after_crash(const Call *call);
extern void
retry_after_end(const Call *call, const int64 *ids, int count, bool overtime);

/* ---------- overtime.c: batches that do not end ---------- */

extern void		   overtime_end(void);
extern TimestampTz overtime_next(void);
extern bool		   overtime_pending(Oid owner);
extern void		   overtime_find(void);
extern void		   overtime_note(const Call *call);
extern void		   overtime_release(void);

/* ---------- launcher.c, worker.c ---------- */

extern void		  launcher_register(void);
extern void		  work_settings(void);
extern void		  work_renew(void);
extern bool		  work_turn(TimestampTz *next);
extern void		  work_begin(const char *what);
extern void		  work_end(void);
extern ErrorData *work_attempt(void (*work)(void *), void *argument);
extern bool		  work_excuses(const ErrorData *error);
extern bool		  work_blames_agent(const ErrorData *error);
extern void		  work_done(void);

#endif /* FA_POOL_H */
