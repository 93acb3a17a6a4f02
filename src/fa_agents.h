/*-------------------------------------------------------------------------
 *
 * fa_agents.h
 *	  What the files of the shell share.
 *
 * The shell turns SQL values into kernel calls, and owns transactions, locks,
 * caches and error messages.  README.md in this folder tells the data layout,
 * the ownership of memory, the order of locks and what a failure leaves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FA_AGENTS_H
#define FA_AGENTS_H

#include "executor/spi.h"
#include "fmgr.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "kernel/kernel.h"

/* ---------- guc.c: settings ---------- */

extern int fa_cache_size;	  /* kB of compiled models shared by all sessions,
							   * and kept by each for itself */
extern int fa_max_parallel;	  /* other processes of one run, -1: the server's */
extern int fa_max_policies;	  /* policies of one model */
extern int fa_max_model_size; /* kB of one compiled model */
extern int fa_inbox_limit;	  /* observations that may wait for one agent */
extern int fa_key_retention;  /* seconds for which keys are remembered */
extern int fa_graph_copy;	  /* GRAPH_COPY_*: is the graph kept in memory? */
extern int fa_max_graph_rows; /* nodes of a walk, and rows of its result */

#define GRAPH_COPY_OFF	  0
#define GRAPH_COPY_AUTO	  1
#define GRAPH_COPY_ALWAYS 2

/* of messages */
extern int	fa_dead_letter_limit; /* dead letters that are kept */
extern int	fa_mailbox_limit;	  /* messages that may wait for one agent */
extern int	fa_message_retention; /* seconds for which messages wait */
extern bool fa_message_notify;	  /* tell clients when messages were sent */

/* of the outbox */
extern int fa_outbox_kinds; /* bits 1 << OutboxKind: those that are wanted */
extern int fa_outbox_limit; /* events that a consumer may be behind */
extern int fa_outbox_retention; /* seconds that a consumer may not read for */

/* of the workers */
extern char *fa_databases;	 /* where agents may run, empty: everywhere */
extern int	 fa_min_workers; /* of a database with something scheduled */
extern int	 fa_max_workers; /* of the server */
extern int	 fa_max_sensor_workers; /* the same for sensing schedules */
extern int	 fa_batch_timeout;		/* milliseconds of one batch */
extern int	 fa_max_failures;		/* of an agent, until it is suspended */
extern int	 fa_retry_delay;		/* milliseconds until the first retry */
extern int	 fa_sweep_interval;		/* seconds between readings of the inbox */
extern int	 fa_worker_memory;		/* kB of a worker, without models */
extern int	 fa_worker_steps; /* of a worker, until it is replaced; 0: any */
extern bool	 fa_notify;		  /* tell clients when agents were stepped */

/* from where on fa_health warns: %, lag in milliseconds */
extern double fa_cpu_warn;
extern double fa_cpu_critical;
extern double fa_errors_warn;
extern double fa_errors_critical;
extern double fa_memory_warn;
extern double fa_memory_critical;
extern double fa_response_warn;
extern double fa_response_critical;

extern void guc_define(void);

/* ---------- statement.c: our own SQL, run as the extension's owner ---------- */

/*
 * SQL text between SQL_HEAD operators: nothing may be found by search_path, so
 * operators are written out.  "@" stands for our schema.
 */
#define EQ " OPERATOR(pg_catalog.=) "
#define LT " OPERATOR(pg_catalog.<) "
#define GT " OPERATOR(pg_catalog.>) "

#define STATEMENT_MAX_ARGS 14

typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			types[STATEMENT_MAX_ARGS];
	SPIPlanPtr	plan;		/* saved; NULL until first used */
	uint64		generation; /* of the schema it was prepared for */
} Statement;

/*
 * One call into the extension: who calls, and as whom our SQL runs.  Begun and
 * ended by each SQL-callable function that reads or writes tables; an error in
 * between is cleaned up by the transaction's end.
 */
typedef struct Call
{
	Oid	 schema;	/* where our objects live */
	Oid	 user;		/* the caller, whose rights are checked */
	int	 security;	/* his security context */
	bool read_only; /* read with the statement's snapshot */
} Call;

extern void call_begin(Call *call, FunctionCallInfo fcinfo, bool read_only);
extern void call_begin_as(Call *call, Oid schema, Oid owner, bool read_only);
extern void call_end(Call *call);
extern void call_require_write(const char *function);
extern Oid	call_relation(const Call *call, const char *name);
extern const char *call_schema_name(void);

extern int statement_run(const Call *call, Statement *statement, Datum *values,
						 const char *nulls, int64 limit);
extern int
statement_run_now(const Call *call, Statement *statement, Datum *arguments);
extern int
statement_run_with(const Call *call, Statement *statement, Datum *values,
				   const char *nulls, TupleDesc desc, Tuplestorestate *rows);
extern void statement_stream(const Call *call, Statement *statement,
							 Datum *values, DestReceiver *receiver);

/* Column (from 1) of the row-th tuple of the last result, in SPI's memory. */
extern Datum result_datum(uint64 row, int column, bool *isnull);
extern int64 result_int64(uint64 row, int column);

/* ---------- host.c: memory, interrupts and errors for the kernel ---------- */

extern void	 host_init(KernelHost *host, MemoryContext context);
extern void	 host_report(const KernelProblems *problems, const char *what);
extern void	 host_check(KernelStatus status, const char *what);
extern void *host_allocate(MemoryContext context, Size size);

/* ---------- json.c: jsonb in and out ---------- */

extern JsonValue *
json_from_jsonb(const KernelHost *host, Jsonb *jsonb, const char *what);
extern Jsonb *jsonb_from_text(const char *text);
extern void	  json_append_string(StringInfo out, const char *string);
extern void	  json_append_number(StringInfo out, double number);

/* ---------- array.c: SQL arrays in and out ---------- */

extern int64 *array_to_int64(ArrayType *array, int *count, const char *what);
extern int32 *
array_to_int32(ArrayType *array, int *count, const char *what, int32 for_null);
extern Datum		 array_from_int32(const int32 *values, int count);
extern Datum		 array_from_int64(const int64 *values, int64 count);
extern Datum		 array_from_double(const double *values, int64 count);
extern Datum		 array_from_float(const float4 *values, int64 count);
extern const double *array_doubles(Datum array, int expected, const char *what);
extern const float4 *array_floats(Datum array, int expected, const char *what);
extern const int32	*array_int32s(Datum array, int expected, const char *what);
extern int			 compare_int64(const void *a, const void *b);
extern int			 int64_sort_unique(int64 *values, int count);

/* ---------- subtransaction.c: what is kept or undone as a whole ---------- */

extern bool subtransaction_run(bool (*body)(void *context), void *context,
							   ErrorData **error);

/* ---------- segment.c: shared memory without errors ---------- */

struct dsm_segment;

extern struct dsm_segment *segment_create(Size size);
extern struct dsm_segment *segment_attach(uint32 handle);
extern void				   segment_discard(uint32 handle);
extern void				  *segment_find_named(const char *name, Size size,
											  void (*initialize)(void *block));

/* ---------- shared.c: one copy of a model for all sessions ---------- */

/*
 * A model's key: the first bytes of its body's sha256, as many as keep a hot row
 * with a belief of 25 states short enough for eleven of them to a page.  To find
 * two bodies with one key takes 2^96 trials, another body with a given key 2^192.
 */
#define DIGEST_SIZE 24

/* Where a session found a model; good until the generation changes. */
typedef struct SharedPlace
{
	int	   chunk; /* -1: nowhere */
	uint64 generation;
} SharedPlace;

typedef struct SharedState
{
	int	 models;
	int	 chunks; /* segments that hold them */
	int	 chunks_in_use;
	Size bytes; /* of the chunks */
} SharedState;

extern void shared_init(void);
extern bool shared_available(void);
extern const void *
shared_find(const uint8 *digest, SharedPlace *place, Size *size);
extern const void *
shared_publish(const uint8 *digest, const void *block, Size size,
			   SharedPlace *place, int *share_after);
extern SharedState shared_state(void);

/* ---------- chunk.c: the segments that they lie in ---------- */

extern bool chunk_pin(const SharedPlace *place);
extern void chunk_unpin_all(void);

/* ---------- cache.c: compiled models by digest ---------- */

typedef struct CachedModel
{
	uint8			   digest[DIGEST_SIZE]; /* of the stored body: the key */
	MemoryContext	   context; /* owns the workspace, and a private block */
	const KernelModel *model;
	KernelWorkspace	  *workspace;
	SharedPlace		   place; /* of the block; nowhere: it is private */
	Size			   size;  /* bytes in context */
	uint64			   used;  /* when it was last looked up */
	bool		pinned;		  /* used in this transaction, so not to be freed */
	TimestampTz loaded_at;
	int share_after; /* milliseconds until a private block may be shared, 0: in
					  * the next transaction; -1: never */
} CachedModel;

#define NAME_LIMIT 255 /* bytes of a name of a model, a world or an agent */

typedef enum ModelTable
{
	TABLE_MODEL,
	TABLE_WORLD
} ModelTable;

extern void cache_init(void);
extern Size cache_memory(void);
extern CachedModel *
cache_find(const Call *call, ModelTable table, int64 id, Datum digest);

/* ---------- model.c: models and worlds by name ---------- */

typedef struct ModelRow
{
	int64 id;
	Datum digest; /* bytea, in the caller's context */
	Oid	  owner;
} ModelRow;

extern ModelRow
model_find(const Call *call, ModelTable table, const char *name);
extern ModelRow
model_find_for_use(const Call *call, ModelTable table, const char *name);
extern void name_lock(const Call *call, const char *relation, const char *name);
extern void
model_lock(const Call *call, ModelTable table, int64 id, LOCKMODE mode);

/* ---------- hot.c: hot rows as they lie in the table ---------- */

/*
 * Columns of table fa_belief, in order; new ones are only ever added at the
 * end.  Constant ones come first, so that the log record of an update need not
 * repeat them.
 */
enum
{
	HOT_AGENT_ID,
	HOT_MODEL_ID,
	HOT_WORLD_ID,
	HOT_SEED,
	HOT_OWNER,
	HOT_TRIAL,
	HOT_HISTORY,
	HOT_PAUSED,
	HOT_MODEL_DIGEST,
	HOT_WORLD_DIGEST,
	HOT_PARAMETERS,
	HOT_ACTION,
	HOT_WORLD_STATE,
	HOT_OBSERVATION,
	HOT_DID,
	HOT_STEP,
	HOT_VFE,
	HOT_BEFORE,
	HOT_BELIEF,
	HOT_SYNCED,
	HOT_COLUMNS
};

/* One version of a row: a write goes through only if it is still the newest. */
typedef struct HotRow
{
	bool			found;
	ItemPointerData ctid;
	TransactionId	xmin;
	CommandId		command; /* of this transaction, that read it */
	Datum			values[HOT_COLUMNS];
	bool			nulls[HOT_COLUMNS];
} HotRow;

typedef struct HotWriter HotWriter;

struct RelationData;

extern bool table_is_plain(struct RelationData *table, AclMode wanted);

extern bool may_be_distributed(void);
extern void
hot_read(const Call *call, const int64 *ids, int count, HotRow *rows);
extern HotWriter *hot_write_begin(const Call *call);
extern bool		  hot_write(HotWriter *writer, HotRow *row);
extern void		  hot_write_end(HotWriter *writer);

/* ---------- belief.c: the state of agents ---------- */

/*
 * The state of one agent, all that a step reads.  It lies in the memory
 * context that was current when it was read; what it points to may lie in the
 * stored row or SPI's result, which live as long.
 */
typedef struct AgentRow
{
	int64					agent_id;
	int64					model_id;
	int64					world_id; /* 0: none named */
	int64					seed;
	int64					step;	/* life steps made */
	HotRow				   *stored; /* the row that was read */
	int32					trial;
	Oid						owner;
	bool					paused;
	int16					history; /* HISTORY_* bits, 0: none kept */
	bool					vfe_known;
	double					vfe;
	CachedModel			   *model;
	CachedModel			   *world;		/* NULL: none named */
	const KernelParameters *parameters; /* NULL: the model's */
	double				   *belief;		/* [belief_size] */
	const int32	  *action; /* [control_count], or NULL: none in this trial */
	const int32	  *world_state; /* [factor_count of the world], or NULL */
	const int32	  *observation; /* of the last step, where its update is owed */
	const int32	  *did;		/* the action before that observation, or NULL */
	const double  *before;	/* the belief before that action, or NULL */
	KernelLearned *learned; /* NULL: the model does not learn */
	bool		  *changed; /* [parts]: counts that are not stored yet */
} AgentRow;

#define HISTORY_ON		1
#define HISTORY_BELIEF	2
#define HISTORY_Q_PI	4
#define HISTORY_NEG_EFE 8

extern AgentRow *belief_read(const Call *call, const int64 *ids, int count);
extern bool		 belief_check(const Call *call, const int64 *ids, int count);
extern void belief_write_locked(const Call *call, AgentRow **agents, int count);
pg_noreturn extern void belief_changed(int64 agent_id);
extern void belief_lock(const Call *call, const int64 *ids, int count);
extern void
belief_write(const Call *call, AgentRow **agents, int count, bool *written);
extern void				  belief_learn_owed(AgentRow *agent);
extern void				  belief_start_trial(AgentRow *agent);
extern const KernelModel *belief_world(const AgentRow *agent);
extern void
belief_append_factor(StringInfo out, const KernelModel *model,
					 const KernelFactor *factor, const double *belief);

/* ---------- agent.c ---------- */

extern void	  agent_reset(const Call *call, const int64 *ids, int count);
extern int64 *agent_ids_sorted(ArrayType *array, int *count);
pg_noreturn extern void agent_unknown(int64 agent_id);
pg_noreturn extern void agent_repeated(int64 agent_id);
pg_noreturn extern void agent_denied(int64 agent_id);
extern void agent_require_owner(const Call *call, int64 agent_id, Oid owner);

/* ---------- learned.c: what agents learned ---------- */

extern void learned_read(const Call *call, AgentRow *agents, int count);
extern void learned_write(const Call *call, AgentRow **agents, int count);

/* ---------- observation.c: the inbox, and keys ---------- */

typedef struct InboxRow
{
	ItemPointerData	 where;		  /* its row */
	const int32		*observation; /* [count] */
	int				 count;
	struct InboxRow *next; /* the same agent's next */
} InboxRow;

extern void inbox_read(const Call *call, const int64 *ids, int count,
					   int32 limit, InboxRow **heads);
extern void
inbox_take(const Call *call, const ItemPointerData *taken, int count);
extern bool inbox_put(const Call *call, int64 agent_id,
					  const int32 *observation, int count, const char *key);
extern void observation_check(const KernelModel *model, int64 agent_id,
							  const int32 *observation, int count);

/* What a step with a key gave. */
typedef struct KeyResult
{
	int64  step;
	double vfe;
	Datum  action; /* int4[] */
} KeyResult;

extern bool
key_find_step(const Call *call, int64 agent_id, const char *key,
			  const int32 *observation, int count, KeyResult *result);
extern void
key_store_step(const Call *call, int64 agent_id, const char *key,
			   const int32 *observation, int count, const KeyResult *result);

extern bool key_find_message(const Call *call, int64 sender, const char *key,
							 const int32 *asked, int64 *answer);
extern bool key_store_message(const Call *call, int64 sender, const char *key,
							  const int32 *asked, int64 *answer);

/* ---------- rotation.c: leaves that nobody needs are truncated ---------- */

/* What is rotated. */
enum
{
	ROTATION_MESSAGES,
	ROTATION_OUTBOX,
	ROTATIONS
};

/* Looks at all leaves of a table. */
typedef void (*RotateFunction)(const Call *call);
/* May a leaf be emptied?  alone: nobody else is at it. */
typedef bool (*LeafFunction)(const Call *call, Relation leaf, bool alone,
							 void *context);

extern void rotation_init(void);
extern void rotation_want(const Call *call, int number, const char *table,
						  RotateFunction rotate_table);
extern void rotation_truncate(const Call *call, const char *name, bool patient,
							  LeafFunction to_be_had, void *context);

/* ---------- mind.c: when an agent changes its mind ---------- */

extern int32 mind_most_probable(const double *belief, int32 count);
extern bool	 mind_turned(const double *before, const double *now, int32 count);
extern bool	 mind_changed(const KernelModel *model, const double *before,
						  const double *now, double change);

/* ---------- graph_sync.c: of which models it is told ---------- */

typedef struct SyncSetting
{
	int64  model_id; /* the key */
	bool   synced;
	bool   each_step; /* else at a change of mind */
	double change;
} SyncSetting;

extern void		   sync_begin(void);
extern SyncSetting sync_setting(const Call *call, int64 model_id);

/* ---------- graph_belief.c: what agents believe, in the graph ---------- */

extern AgentRow **
graph_belief_decide(const Call *call, AgentRow **agents, int count, int *due);
extern void graph_belief_write(const Call *call, AgentRow **agents, int count);
extern void graph_belief_forget(const Call *call, const int64 *ids, int count);

/* ---------- coalition.c: agents that act together ---------- */

extern int64 *coalition_others(const Call *call, const char *name,
							   int64 agent_id, int *count);

/* ---------- step.c: the one step path ---------- */

extern bool progress_due(TimestampTz *told);

/* What is asked of one agent. */
typedef struct StepOrder
{
	int64		 agent_id;
	int			 position;	  /* in the caller's order */
	const int32 *observation; /* NULL: from the inbox, the world, or none */
	int			 observation_count;	  /* 0 with an observation: no evidence */
	int			 observation_padding; /* nulls that follow, for larger models */
	bool		 sensed; /* the inbox's is laid over it, as over a world's */
	const int32 *did;	 /* NULL: the action that was chosen */
	int			 did_count;
} StepOrder;

/* One step that was made; it is overwritten by the agent's next. */
typedef struct StepRecord
{
	int64	step;
	int32	trial;
	double	vfe;
	int32  *observation; /* [modality_count] */
	int32  *action;		 /* [control_count] */
	double *belief;		 /* [belief_size] */
	double *q_pi;		 /* [policy_count], or NULL: not asked for */
	double *neg_efe;	 /* [policy_count], or NULL */
	bool	until_met;	 /* it ended its trial */
} StepRecord;

typedef struct Until Until;

/* What one agent perceived alone, before it plans together with others. */
typedef struct Perceived
{
	const AgentRow *agent;
	double		   *prior;	/* [belief_size]: predicted for this step */
	double		   *belief; /* [belief_size]: the posterior */
	double			vfe;
} Perceived;

/* How all agents of one call are stepped. */
typedef struct StepPlan
{
	int32  steps; /* at most, in one trial */
	int32  trials;
	bool   closed_loop; /* an agent without a world has its model for one */
	bool   skip_paused; /* else one that is paused is an error */
	Until *until;		/* a trial's end, or NULL */
	const char *key;	/* of a single step, or NULL */
	void (*emit)(void *context, const StepOrder *order,
				 const KernelModel *model, const StepRecord *record);
	void *emit_context;

	/*
	 * Agents [count], ascending by id, that share what they know: fuse changes
	 * their beliefs, and each plans from what it finds there; or, with
	 * fuse_priors, their priors, from which each perceives what its order
	 * brings.  NULL: each for itself.  Their rows are locked by the caller, and
	 * all of them are one block.
	 */
	void (*fuse)(void *context, Perceived *agents, int count);
	void *fuse_context;
	bool  fuse_priors;
} StepPlan;

extern void step_orders(const Call *call, StepOrder *orders, int count,
						const StepPlan *plan);
extern void step_emit(void *set, const StepOrder *order,
					  const KernelModel *model, const StepRecord *record);

/* ---------- act.c: steps through sensors and actuators ---------- */

typedef struct ActResult
{
	bool   stepped; /* false: it had nothing to perceive */
	int64  step;
	double vfe;
	int32 *action; /* [action_count] */
	int	   action_count;
} ActResult;

extern void act_agents(const Call *call, const int64 *ids, int count,
					   bool skip_paused, ActResult *results);

/* ---------- run.c: trials in closed loop ---------- */

extern Until *until_parse(Jsonb *jsonb);
extern Jsonb *until_source(const Until *until);
extern bool
until_met(Until *until, const KernelModel *model, const KernelModel *world,
		  const int32 *observation, const int32 *world_state);

/* ---------- history.c ---------- */

extern void history_prepare(const Call *call);
extern void history_write(const Call *call, const AgentRow *const *agents,
						  const StepRecord *const *records, int count);

/* ---------- outbox.c: what happened ---------- */

typedef enum OutboxKind
{
	OUTBOX_STEP,
	OUTBOX_MIND,
	OUTBOX_FAILED,
	OUTBOX_COALITION,
	OUTBOX_GRAPH
} OutboxKind;

#define OUTBOX_WANTS(kind) ((fa_outbox_kinds & (1 << (kind))) != 0)

extern const char *outbox_kind_name(int number);
extern void		   outbox_add(const Call *call, OutboxKind kind, int64 agent_id,
							  int64 step, Oid owner, char *detail);
extern char		 **outbox_minds(const AgentRow *agents, int count);
extern void
outbox_steps(const Call *call, const AgentRow *agents, int count, char **minds);

/* ---------- outbox_rotate.c: events that all have seen ---------- */

#define OUTBOX_LEAVES 3

extern int	outbox_leaf(const Call *call);
extern void outbox_note(const Call *call, int events);
extern void outbox_begin_cursor(const Call *call);

/* ---------- workers; pool.h has what they share among themselves ---------- */

extern void worker_init(void);
extern void pool_want_at_commit(void);
extern void pool_agents_at_commit(void);
extern void event_note_at_commit(int64 agent_id);
extern void retry_lock(const Call *call, const int64 *ids, int count);
extern int	retry_forget(const Call *call, const int64 *ids, int count);

#endif /* FA_AGENTS_H */
