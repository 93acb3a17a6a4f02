/*-------------------------------------------------------------------------
 *
 * health.c
 *	  Who runs, how it goes, and the switch: what the views of the workers
 *	  read, and functions to stop and start them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"

#include "pool.h"

PG_FUNCTION_INFO_V1(fa_worker_list);
PG_FUNCTION_INFO_V1(fa_schedule_counters);
PG_FUNCTION_INFO_V1(fa_health_list);
PG_FUNCTION_INFO_V1(fa_worker_stop);
PG_FUNCTION_INFO_V1(fa_worker_drain);
PG_FUNCTION_INFO_V1(fa_worker_start);

/* As fa_worker shows them; it shows no slot that is free, or to be freed. */
static const char *const states[] = {[PROCESS_STARTING] = "starting",
									 [PROCESS_IDLE] = "idle",
									 [PROCESS_STEPPING] = "stepping"};

/*
 * Places, from 1, of those schedules $1 that user $2 may see: what row security
 * shows in fa_schedule, and no more here.  Dropped ones that are not forgotten
 * yet are shown to who may act as the extension's owner, $3.
 */
static Statement visible_statement = {
	"SELECT i.place FROM pg_catalog.unnest($1) WITH ORDINALITY"
	" AS i (schedule_id, place) LEFT JOIN @.fa_schedule s ON s.schedule_id" EQ
	"i.schedule_id WHERE i.schedule_id OPERATOR(pg_catalog.<>) 0"
	" AND pg_catalog.pg_has_role($2,"
	" COALESCE(s.owner::pg_catalog.oid, $3), 'USAGE')",
	3,
	{INT8ARRAYOID, OIDOID, OIDOID}};

/* ---------- what the views read ---------- */

/* A row of fa_worker. */
static void
put_process(ReturnSetInfo *set, const PoolProcess *process, uint64 steps)
{
	Datum values[9] = {Int32GetDatum(process->pid),
					   ObjectIdGetDatum(process->database),
					   CStringGetTextDatum(pool_role_name(process->role)),
					   CStringGetTextDatum(states[process->state]),
					   Int32GetDatum(process->batch),
					   Int64GetDatum((int64) steps),
					   TimestampTzGetDatum(process->since),
					   TimestampTzGetDatum(process->started_at),
					   ObjectIdGetDatum(process->owner)};
	bool  nulls[9] = {false};

	nulls[0] = process->pid == 0;
	nulls[1] = !OidIsValid(process->database);
	nulls[8] = !OidIsValid(process->owner);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * fa_worker_list() returns setof (pid, database oid, role, state, batch, steps,
 * since, started_at, owner): the background processes of all databases.  No rows
 * where the library was not preloaded.
 */
Datum
fa_worker_list(PG_FUNCTION_ARGS)
{
	PoolProcess *copies;
	uint64		*steps;
	int			 count;

	InitMaterializedSRF(fcinfo, 0);
	if (pool == NULL)
		return (Datum) 0;
	count = pool->process_count;
	copies = palloc(sizeof(PoolProcess) * count);
	steps = palloc(sizeof(uint64) * count);
	/* copied, for to make rows may fail, and the lock must not be held then */
	LWLockAcquire(pool->lock, LW_SHARED);
	for (int i = 0; i < count; i++)
	{
		copies[i] = pool->processes[i];
		steps[i] = pg_atomic_read_u64(&pool->processes[i].steps);
	}
	LWLockRelease(pool->lock);
	for (int i = 0; i < count; i++)
	{
		if (slot_is_used(&copies[i]))
			put_process((ReturnSetInfo *) fcinfo->resultinfo, &copies[i],
						steps[i]);
	}
	return (Datum) 0;
}

/* Milliseconds, null where nothing was measured. */
static Datum
milliseconds(int64 microseconds, bool *isnull)
{
	*isnull = microseconds < 0;
	return Float8GetDatum(microseconds / 1000.0);
}

/* A row of fa_schedule_counters. */
static void
put_schedule(ReturnSetInfo *set, PoolSchedule *schedule)
{
	Datum  values[8];
	bool   nulls[8] = {false};
	uint64 lag[LAG_BUCKETS];

	for (int i = 0; i < LAG_BUCKETS; i++)
		lag[i] = pg_atomic_read_u64(&schedule->lag[i]);
	values[0] = Int64GetDatum(schedule->schedule_id);
	values[1] = Int64GetDatum((int64) pg_atomic_read_u64(&schedule->steps));
	values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&schedule->late));
	values[3] = Int64GetDatum((int64) pg_atomic_read_u64(&schedule->missed));
	values[4] = Int64GetDatum((int64) pg_atomic_read_u64(&schedule->errors));
	values[5] = milliseconds(batch_quantile(lag, 0.50), &nulls[5]);
	values[6] = milliseconds(batch_quantile(lag, 0.95), &nulls[6]);
	values[7] = milliseconds(batch_quantile(lag, 0.99), &nulls[7]);
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * fa_schedule_counters() returns setof (schedule_id, steps, late, missed,
 * errors, p50, p95, p99 in milliseconds): the schedules of this database that
 * have run since the server started, those that fa_schedule shows to the caller.
 */
Datum
fa_schedule_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		   ids[POOL_SCHEDULES];
	Datum		   arguments[3];
	Call		   call;
	int			   count;

	InitMaterializedSRF(fcinfo, 0);
	if (pool == NULL)
		return (Datum) 0;
	/* without the lock: what is dropped at this moment may be shown once more */
	for (int i = 0; i < POOL_SCHEDULES; i++)
		ids[i] = pool->schedules[i].database == MyDatabaseId ?
					 pool->schedules[i].schedule_id :
					 0;
	call_begin(&call, fcinfo, true);
	arguments[0] = array_from_int64(ids, POOL_SCHEDULES);
	arguments[1] = ObjectIdGetDatum(call.user);
	arguments[2] = ObjectIdGetDatum(GetUserId());
	count = statement_run(&call, &visible_statement, arguments, NULL, 0);
	for (int i = 0; i < count; i++)
		put_schedule(set, &pool->schedules[result_int64(i, 1) - 1]);
	call_end(&call);
	return (Datum) 0;
}

/* ---------- health ---------- */

/* The workers' load in this database, and the largest worker's memory: %. */
static void
measure_processes(double *load, double *memory)
{
	PoolDatabase *entry;
	Size		  largest = 0;

	LWLockAcquire(pool->lock, LW_SHARED);
	entry = pool_database(MyDatabaseId, false);
	*load = entry ? entry->load * 100.0 : 0;
	for (int i = 0; i < pool->process_count; i++)
	{
		if (slot_is_used(&pool->processes[i]) &&
			pool->processes[i].database == MyDatabaseId)
			largest = Max(largest, pool->processes[i].memory);
	}
	LWLockRelease(pool->lock);
	*memory = 100.0 * largest / ((double) fa_worker_memory * 1024);
}

/* A row of fa_health; a value that is not known (-1) is null. */
static void
put_health(ReturnSetInfo *set, const char *measure, double value,
		   const char *unit, double warn, double critical)
{
	const char *state = value >= critical ? "critical" :
						value >= warn	  ? "warn" :
											"ok";
	Datum		values[6] = {
			  CStringGetTextDatum(measure), Float8GetDatum(value),
			  CStringGetTextDatum(unit),	Float8GetDatum(warn),
			  Float8GetDatum(critical),		CStringGetTextDatum(state)};
	bool nulls[6] = {false};

	nulls[1] = value < 0;
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * fa_health_list() returns setof (measure, value, unit, warn, critical, state):
 * how the agents of this database fare.  Response and errors are those of the
 * last one to two minutes.  No rows where the library was not preloaded.
 */
Datum
fa_health_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	PoolMinute	   recent;
	double		   load;
	double		   memory;
	double		   steps = 0;
	int64		   lag;

	InitMaterializedSRF(fcinfo, 0);
	if (pool == NULL)
		return (Datum) 0;
	measure_processes(&load, &memory);
	batch_recent(&recent);
	for (int i = 0; i < LAG_BUCKETS; i++)
		steps += recent.lag[i];
	lag = batch_quantile(recent.lag, 0.95);
	put_health(set, "cpu", load, "%", fa_cpu_warn, fa_cpu_critical);
	put_health(set, "memory", memory, "%", fa_memory_warn, fa_memory_critical);
	put_health(set, "response", lag < 0 ? -1 : lag / 1000.0, "ms",
			   fa_response_warn, fa_response_critical);
	put_health(set, "errors",
			   steps + recent.errors == 0 ?
				   -1 :
				   100.0 * recent.errors / (steps + recent.errors),
			   "%", fa_errors_warn, fa_errors_critical);
	return (Datum) 0;
}

/* ---------- the switch ---------- */

/* Stops or starts this database's processes; returns whether that is new. */
static bool
set_stopped(bool stopped)
{
	PoolDatabase *entry;
	bool		  changed;

	pool_require();
	LWLockAcquire(pool->lock, LW_EXCLUSIVE);
	entry = pool_database(MyDatabaseId, true);
	changed = entry != NULL && entry->stopped != stopped;
	if (entry != NULL)
		entry->stopped = stopped;
	LWLockRelease(pool->lock);
	if (entry == NULL)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many databases have something scheduled"),
						errdetail("There is room for %d.", POOL_DATABASES)));
	pool_want(MyDatabaseId, true);
	return changed;
}

/*
 * fa_worker_stop() returns boolean: false, they were stopped already.  Batches
 * that are being made are undone, and due again.  Lasts until fa_worker_start
 * or the server's next start.  Raises 55000 without workers.
 */
Datum
fa_worker_stop(PG_FUNCTION_ARGS)
{
	bool changed = set_stopped(true);

	command_empty(MyDatabaseId, 0);
	PG_RETURN_BOOL(changed);
}

/*
 * fa_worker_drain() returns boolean: as fa_worker_stop, but waits until the
 * batches that are being made are done.
 */
Datum
fa_worker_drain(PG_FUNCTION_ARGS)
{
	bool changed = set_stopped(true);

	command_empty(MyDatabaseId, -1);
	PG_RETURN_BOOL(changed);
}

/*
 * fa_worker_start() returns boolean: false, they were not stopped.
 */
Datum
fa_worker_start(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(set_stopped(false));
}
