/*-------------------------------------------------------------------------
 *
 * message_receive.c
 *	  Receiving messages, each once and in order.
 *
 * The mailbox row of the agent is locked to the transaction's end, so one
 * session receives at a time and none overtakes.  What is taken are the rows
 * that are there, not those after some place: a message that is committed late
 * is found whenever it comes.  The mailbox's floor only saves passing by what
 * cannot be there any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "message.h"

PG_FUNCTION_INFO_V1(fa_receive);

#define PORTION 1000 /* messages taken at once */
/*
 * The floor is raised when so many ids were drawn since: to pass by the entries
 * of as many messages costs less than to write the mailbox each time.
 */
#define FLOOR_STEP 512

static Statement lock_statement = {
	"SELECT floor, next_floor, horizon FROM @.fa_mailbox WHERE agent_id" EQ
	"$1 FOR NO KEY UPDATE",
	1,
	{INT8OID}};
/* An agent that is being dropped is waited for, and none is made for it. */
static Statement make_statement = {
	"INSERT INTO @.fa_mailbox (agent_id) SELECT agent_id FROM @.fa_belief"
	" WHERE agent_id" EQ "$1 FOR KEY SHARE ON CONFLICT DO NOTHING",
	1,
	{INT8OID}};
static Statement store_statement = {
	"UPDATE @.fa_mailbox SET floor = $2, next_floor = $3, horizon = $4"
	" WHERE agent_id" EQ "$1",
	4,
	{INT8OID, INT8OID, INT8OID, INT8OID}};

#define COLUMNS "SELECT leaf, ctid, message_id, sender, sent_at, priority, body"

static Statement plain_statement = {
	COLUMNS " FROM @.fa_message WHERE recipient" EQ "$1 AND priority" EQ
			"0 AND message_id" GT "$2 ORDER BY message_id LIMIT $3",
	3,
	{INT8OID, INT8OID, INT8OID}};
static Statement urgent_statement = {
	COLUMNS " FROM @.fa_message WHERE recipient" EQ
			"$1 AND priority OPERATOR(pg_catalog.<>) 0 AND priority" GT
			"0 ORDER BY priority DESC, message_id LIMIT $2",
	2,
	{INT8OID, INT8OID}};
static Statement low_statement = {
	COLUMNS " FROM @.fa_message WHERE recipient" EQ
			"$1 AND priority OPERATOR(pg_catalog.<>) 0 AND priority" LT
			"0 ORDER BY priority DESC, message_id LIMIT $2",
	2,
	{INT8OID, INT8OID}};

/* One call of fa_receive. */
typedef struct Receiving
{
	const Call	  *call;
	int64		   agent_id;
	ReturnSetInfo *set;
	int64		   left; /* messages that may still be taken */
	TimestampTz	   cutoff;
	int64		   floor; /* the mailbox's row */
	int64		   next_floor;
	int64		   horizon;
	int64		   last;   /* id of the last of priority 0, 0: none was taken */
	bool		   all;	   /* no more of priority 0 were there */
	bool		   taken;  /* something was */
	bool		   buried; /* a message was too old */
} Receiving;

/* ---------- the mailbox ---------- */

/*
 * To be held to the transaction's end by whoever makes mailboxes: as one of
 * many, or, with alone, as the only one, who does not wait; then no insert can
 * meet another that is not decided.  False: there are others.
 */
bool
mailbox_making(const Call *call, bool alone)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, call_relation(call, "fa_mailbox"), 0,
					   1);
	return LockAcquire(&tag, alone ? ShareRowExclusiveLock : RowExclusiveLock,
					   false, alone) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Locks the mailbox; waits for whoever is receiving.  One that is missing is
 * made, and one that went with its agent while we waited is an error (42704).
 */
static void
lock_mailbox(Receiving *receiving)
{
	Datum arguments[1] = {Int64GetDatum(receiving->agent_id)};
	int	  found =
		statement_run(receiving->call, &lock_statement, arguments, NULL, 1);

	if (found == 0)
	{
		(void) mailbox_making(receiving->call, false);
		statement_run(receiving->call, &make_statement, arguments, NULL, 0);
		found =
			statement_run(receiving->call, &lock_statement, arguments, NULL, 1);
	}
	if (found == 0)
		agent_unknown(receiving->agent_id);
	receiving->floor = result_int64(0, 1);
	receiving->next_floor = result_int64(0, 2);
	receiving->horizon = result_int64(0, 3);
}

/*
 * The oldest transaction id that may be running, with its epoch, as of a
 * snapshot that is no newer than those of the statements to come.
 */
static int64
oldest_running(void)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId	  oldest = GetTransactionSnapshot()->xmin;

	return (int64) (U64FromFullTransactionId(next) -
					(uint32) (XidFromFullTransactionId(next) - oldest));
}

/*
 * Raises the floor as far as may be, and stores the mailbox.  oldest is what
 * was running before messages were read: who had drawn an id up to next_floor
 * had ended by then, if it was not below the horizon.  Under a snapshot that
 * lasts the floor stays: what was moved to another leaf meanwhile is not seen.
 */
static void
store_mailbox(Receiving *receiving, int64 oldest)
{
	int64 floor = receiving->floor;
	int64 next_floor = receiving->next_floor;
	Datum arguments[4] = {Int64GetDatum(receiving->agent_id)};

	if (oldest >= receiving->horizon && !IsolationUsesXactSnapshot())
		floor = Max(floor, receiving->all ? next_floor :
											Min(next_floor, receiving->last));
	if (floor >= next_floor && receiving->last > floor)
	{
		next_floor = receiving->last;
		receiving->horizon =
			(int64) U64FromFullTransactionId(ReadNextFullTransactionId());
	}
	if (floor - receiving->floor < FLOOR_STEP &&
		next_floor - receiving->next_floor < FLOOR_STEP)
		return;
	arguments[1] = Int64GetDatum(floor);
	arguments[2] = Int64GetDatum(next_floor);
	arguments[3] = Int64GetDatum(receiving->horizon);
	statement_run(receiving->call, &store_statement, arguments, NULL, 0);
}

/* ---------- messages ---------- */

/*
 * Returns a message to the caller.  What lies out of line is fetched now: the
 * row that it belongs to is about to go.
 */
static void
put_message(const Receiving *receiving, uint64 row)
{
	Datum values[4];
	bool  nulls[4] = {false};
	bool  isnull;
	void *body;

	for (int i = 0; i < 3; i++)
		values[i] = result_datum(row, i + 3, &isnull);
	values[3] = result_datum(row, 7, &isnull);
	body = detoast_external_attr((struct varlena *) DatumGetPointer(values[3]));
	values[3] = PointerGetDatum(body);
	tuplestore_putvalues(receiving->set->setResult, receiving->set->setDesc,
						 values, nulls);
}

/* A tid[] of places [count]. */
static Datum
places_array(const ItemPointerData *places, int count)
{
	Datum *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = PointerGetDatum(&places[i]);
	return PointerGetDatum(construct_array(elements, count, TIDOID,
										   sizeof(ItemPointerData), false,
										   TYPALIGN_SHORT));
}

/* Rows of the leaves: places[leaf] is [counts[leaf]]. */
typedef struct Places
{
	ItemPointerData *places[LEAVES];
	int				 counts[LEAVES];
} Places;

/* Places with room for count in each leaf. */
static Places
make_places(int count)
{
	Places result = {0};

	for (int leaf = 0; leaf < LEAVES; leaf++)
		result.places[leaf] = palloc(sizeof(ItemPointerData) * Max(count, 1));
	return result;
}

/*
 * Takes the messages that a statement has found [count]: those that are too
 * old become dead letters, the others are returned.
 */
static void
take_found(Receiving *receiving, int count)
{
	Places good = make_places(count);
	Places old = make_places(count);

	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		int			leaf = DatumGetInt16(result_datum(i, 1, &isnull));
		TimestampTz sent = DatumGetTimestampTz(result_datum(i, 5, &isnull));
		Places	   *places = sent < receiving->cutoff ? &old : &good;

		if (DatumGetInt16(result_datum(i, 6, &isnull)) == 0)
			receiving->last = result_int64(i, 3);
		if (places == &good)
			put_message(receiving, i);
		places->places[leaf][places->counts[leaf]++] =
			*(ItemPointer) DatumGetPointer(result_datum(i, 2, &isnull));
		receiving->left -= places == &good;
	}
	SPI_freetuptable(SPI_tuptable);
	for (int leaf = 0; leaf < LEAVES; leaf++)
	{
		if (good.counts[leaf] > 0)
			leaf_delete(receiving->call, leaf,
						places_array(good.places[leaf], good.counts[leaf]),
						good.counts[leaf]);
		if (old.counts[leaf] == 0)
			continue;
		receiving->buried = true;
		(void) leaf_bury(receiving->call, leaf,
						 places_array(old.places[leaf], old.counts[leaf]));
	}
	receiving->taken |= count > 0;
}

/*
 * Takes messages of one kind, in portions, until there are no more or enough
 * were taken; true: no more.  Of priority 0 each portion goes on after the last
 * one; the last argument of a statement is how many it may find.
 */
static bool
take_kind(Receiving *receiving, Statement *statement)
{
	while (receiving->left > 0)
	{
		int64 portion = Min(receiving->left, PORTION);
		Datum arguments[3] = {Int64GetDatum(receiving->agent_id)};
		int	  found;

		CHECK_FOR_INTERRUPTS();
		/* what a portion needs ends with its connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		arguments[1] = Int64GetDatum(Max(receiving->floor, receiving->last));
		arguments[statement->nargs - 1] = Int64GetDatum(portion);
		found = statement_run(receiving->call, statement, arguments, NULL, 0);
		take_found(receiving, found);
		SPI_finish();
		if (found < portion)
			return true;
	}
	return false;
}

/*
 * Is there any message whose priority is not 0, of whatever agent?  Then the
 * leaves' indexes of them are not empty: there is more than a page that says
 * so.  False only where there is none.
 */
static bool
has_priorities(const Call *call)
{
	static const char *const names[LEAVES] = {"fa_message_0_priority",
											  "fa_message_1_priority",
											  "fa_message_2_priority"};

	for (int leaf = 0; leaf < LEAVES; leaf++)
	{
		Oid		 id = get_relname_relid(names[leaf], call->schema);
		Relation index;
		bool	 used;

		if (!OidIsValid(id))
			return true;
		index = index_open(id, AccessShareLock);
		used = RelationGetNumberOfBlocks(index) > 1;
		index_close(index, AccessShareLock);
		if (used)
			return true;
	}
	return false;
}

/*
 * fa_receive(agent_id bigint, max int) returns setof (message_id, sender,
 * sent_at, body), at most max rows, in the order in which they are to be read:
 * higher priority first, and by id among equals.
 *
 * Strict.  Waits for whoever is receiving for the same agent.  Raises 42704,
 * 42501, 22023 for a negative max, 25006; 40001 under REPEATABLE READ where
 * another has received, or messages were moved, meanwhile.  Then nothing was
 * taken.
 */
Datum
fa_receive(PG_FUNCTION_ARGS)
{
	Receiving receiving = {.agent_id = PG_GETARG_INT64(0),
						   .left = PG_GETARG_INT32(1),
						   .cutoff = message_cutoff()};
	int64	  oldest;
	bool	  priorities;
	Call	  call;

	if (receiving.left < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max must not be negative")));
	call_require_write("fa_receive");
	InitMaterializedSRF(fcinfo, 0);
	receiving.set = (ReturnSetInfo *) fcinfo->resultinfo;
	call_begin(&call, fcinfo, false);
	receiving.call = &call;
	(void) belief_check(&call, &receiving.agent_id, 1);
	lock_mailbox(&receiving);
	oldest = oldest_running();
	priorities = has_priorities(&call);
	if (priorities)
		(void) take_kind(&receiving, &urgent_statement);
	receiving.all = take_kind(&receiving, &plain_statement);
	if (priorities)
		(void) take_kind(&receiving, &low_statement);
	if (receiving.taken)
		store_mailbox(&receiving, oldest);
	if (receiving.buried)
		dead_letter_trim(&call);
	call_end(&call);
	return (Datum) 0;
}
