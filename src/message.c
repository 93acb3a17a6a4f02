/*-------------------------------------------------------------------------
 *
 * message.c
 *	  Sending messages: who may write to whom, keys, ids.
 *
 * A sender locks nothing but the rows that it makes.  doc/messages.md tells
 * why messages keep their order and are received exactly once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "message.h"

#include <limits.h>

PG_FUNCTION_INFO_V1(fa_send);
PG_FUNCTION_INFO_V1(fa_send_many);
PG_FUNCTION_INFO_V1(fa_broadcast);

/* How many agents' rows are read at once. */
#define CHECKED_AT_ONCE 1024

/*
 * Of the agents $2 one that is in no coalition with agent $1.
 */
static Statement stranger_statement = {
	"SELECT r.agent_id FROM pg_catalog.unnest($2) AS r (agent_id) WHERE NOT EXISTS"
	" (SELECT FROM @.fa_coalition_member s, @.fa_coalition_member m"
	" WHERE s.agent_id" EQ "$1 AND m.coalition_id" EQ
	"s.coalition_id AND m.agent_id" EQ "r.agent_id) LIMIT 1",
	2,
	{INT8OID, INT8ARRAYOID}};

/* ---------- who may write to whom ---------- */

/*
 * Raises 42501 unless all of these agents [count], whose owners' rights the
 * caller lacks, are in a coalition with the sender: by joining they have agreed
 * to be written to by its members.
 */
static void
check_strangers(const Call *call, int64 sender, const int64 *strangers,
				int count)
{
	Datum arguments[2] = {Int64GetDatum(sender),
						  array_from_int64(strangers, count)};

	if (count == 0 ||
		statement_run(call, &stranger_statement, arguments, NULL, 1) == 0)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("agent " INT64_FORMAT " may not write to agent " INT64_FORMAT,
				sender, result_int64(0, 1)),
		 errdetail(
			 "They have different owners, and are in no coalition together."),
		 errhint("Let both join a coalition by fa_coalition_join.")));
}

/*
 * Are these agents there, ids [count] ascending and without repetition, and may
 * the sender write to them?  strangers: has room for as many; the ids of those
 * that the caller has no rights to are left there, and their number returned.
 */
static int
check_some(const Call *call, const int64 *ids, int count, int64 *strangers)
{
	HotRow *rows = palloc(sizeof(HotRow) * count);
	int		found = 0;

	hot_read(call, ids, count, rows);
	for (int i = 0; i < count; i++)
	{
		Oid owner;

		if (!rows[i].found)
			agent_unknown(ids[i]);
		owner = DatumGetObjectId(rows[i].values[HOT_OWNER]);
		if (call->user != owner && !has_privs_of_role(call->user, owner))
			strangers[found++] = ids[i];
	}
	return found;
}

/*
 * The sender must be the caller's, the recipients [count] be there and within
 * the sender's reach.  Raises 42704 and 42501.
 */
static void
check_agents(const Call *call, const Message *message, const int64 *recipients,
			 int count)
{
	int64 *ids = palloc(sizeof(int64) * (count + 1));
	int64 *strangers = palloc(sizeof(int64) * (count + 1));
	int	   unique;
	int	   found = 0;

	if (count > 0)
		memcpy(ids, recipients, sizeof(int64) * count);
	ids[count] = message->sender;
	unique = int64_sort_unique(ids, count + 1);
	for (int first = 0; first < unique; first += CHECKED_AT_ONCE)
	{
		CHECK_FOR_INTERRUPTS();
		/* what is read of some ends with their connection */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		found +=
			check_some(call, ids + first, Min(CHECKED_AT_ONCE, unique - first),
					   strangers + found);
		SPI_finish();
	}
	for (int i = 0; i < found; i++)
	{
		/* an observation enters the agent's mind: for that its owner is asked */
		if (strangers[i] == message->sender || message->observation != NULL)
			agent_denied(strangers[i]);
	}
	check_strangers(call, message->sender, strangers, found);
	pfree(ids);
	pfree(strangers);
}

/* ---------- send ---------- */

/* One call: a message, and to whom. */
typedef struct Sending
{
	Message		 message;
	const int64 *recipients; /* [count], with repetitions */
	int			 count;
	bool		 single;  /* the answer is the id, else how many there were */
	const char	*key;	  /* NULL: none */
	const void	*address; /* the recipients as the caller gave them */
	Size		 address_size;
} Sending;

/*
 * What was asked for, so that a key which comes again with something else is
 * found out: hashes [2], as only mistakes are looked for.
 */
static void
digest(const Sending *sending, int32 *result)
{
	const Message *message = &sending->message;
	Jsonb		  *body = DatumGetJsonbP(message->body);
	uint64		   hash =
		hash_bytes_extended((unsigned char *) VARDATA(body),
							VARSIZE(body) - VARHDRSZ, message->priority);

	hash = hash_bytes_extended(sending->address, (int) sending->address_size,
							   hash);
	if (message->observation != NULL)
		hash = hash_bytes_extended((const unsigned char *) message->observation,
								   sizeof(int32) * message->observation_count,
								   hash + 1);
	result[0] = (int32) (hash >> 32);
	result[1] = (int32) hash;
}

/*
 * Draws ids [count].  A transaction that draws one has a transaction id by
 * then: the floor of mailboxes rests on that.
 */
static int64 *
draw_ids(const Call *call, int count)
{
	int64 *ids = palloc(sizeof(int64) * Max(count, 1));
	Oid	   sequence = call_relation(call, "fa_message_id_seq");

	(void) GetTopTransactionId();
	for (int i = 0; i < count; i++)
		ids[i] = nextval_internal(sequence, false);
	return ids;
}

/*
 * Puts messages with their ids [count] into the leaves; mostly all of them are
 * in one.
 */
static void
insert(const Call *call, const Sending *sending, const int64 *ids)
{
	for (int first = 0, end; first < sending->count; first = end)
	{
		int leaf = leaf_of(ids[first]);

		CHECK_FOR_INTERRUPTS();
		for (end = first + 1;
			 end < sending->count && leaf_of(ids[end]) == leaf;)
			end++;
		leaf_insert(call, leaf, &sending->message, sending->recipients + first,
					ids + first, end - first);
	}
	for (int i = 0; i < sending->count; i++)
		rotate_note(call, ids[i]);
}

/*
 * Sends a message to recipients who were checked.  Where the key was used
 * before for the same, nothing is sent, and the answer is that call's.
 */
static int64
send_message(const Call *call, const Sending *sending)
{
	const Message *message = &sending->message;
	int32		   asked[2];
	int64		   answer;
	int64		  *ids;

	if (sending->key != NULL)
	{
		digest(sending, asked);
		if (key_find_message(call, message->sender, sending->key, asked,
							 &answer))
			return answer;
	}
	room_take(call, sending->recipients, sending->count);
	ids = draw_ids(call, sending->count);
	answer = sending->single ? ids[0] : sending->count;
	if (sending->key != NULL &&
		!key_store_message(call, message->sender, sending->key, asked, &answer))
		return answer;
	insert(call, sending, ids);
	for (int i = 0; message->observation != NULL && i < sending->count; i++)
		(void) inbox_put(call, sending->recipients[i], message->observation,
						 message->observation_count, NULL);
	if (sending->count > 0 && fa_message_notify)
		Async_Notify("fa_message", "");
	return answer;
}

/* ---------- the SQL functions ---------- */

/* Raises 22004 where one of the first arguments, by these names, is null. */
static void
require_arguments(FunctionCallInfo fcinfo, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", names[i])));
	}
}

/*
 * What the functions have in common, by the places of their arguments:
 * (sender, ..., body, key, priority, observation).  Raises 22003 for a priority
 * that is no smallint.
 */
static Sending
get_sending(FunctionCallInfo fcinfo)
{
	Sending sending = {
		.message = {.sender = PG_GETARG_INT64(0), .body = PG_GETARG_DATUM(2)}};
	int32 priority = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4);

	if (priority < SHRT_MIN || priority > SHRT_MAX)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("priority %d is out of range", priority),
						errdetail("Priorities are from %d to %d.", SHRT_MIN,
								  SHRT_MAX)));
	sending.message.priority = (int16) priority;
	if (!PG_ARGISNULL(3))
		sending.key = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (PG_NARGS() > 5 && !PG_ARGISNULL(5))
		sending.message.observation = array_to_int32(
			PG_GETARG_ARRAYTYPE_P(5), &sending.message.observation_count,
			"observation", -1);
	return sending;
}

/* To whom: recipients [count], who are the address as well. */
static void
set_recipients(Sending *sending, const int64 *recipients, int count)
{
	sending->recipients = recipients;
	sending->count = count;
	sending->address = recipients;
	sending->address_size = sizeof(int64) * count;
}

/*
 * fa_send(sender bigint, recipient bigint, body jsonb, key text, priority int,
 * observation int[]) returns bigint, the message's id; with the key of an
 * earlier send of the same message, that one's.  key and observation may be
 * null; observation is [modality_count] of the recipient's model.
 *
 * Raises 22004 for the other arguments, 42704, 42501, 22023 for a bad key or
 * one used for another message, 22003, 53400 where the recipient's inbox is
 * full, 25006; and what fa_observe does for the observation.
 */
Datum
fa_send(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"sender", "recipient", "body"};
	Sending					 sending;
	int64					 recipient;
	int64					 message_id;
	Call					 call;

	require_arguments(fcinfo, names, lengthof(names));
	call_require_write("fa_send");
	sending = get_sending(fcinfo);
	sending.single = true;
	recipient = PG_GETARG_INT64(1);
	set_recipients(&sending, &recipient, 1);
	call_begin(&call, fcinfo, false);
	check_agents(&call, &sending.message, &recipient, 1);
	message_id = send_message(&call, &sending);
	call_end(&call);
	PG_RETURN_INT64(message_id);
}

/*
 * fa_send_many(sender bigint, recipients bigint[], body jsonb, key text,
 * priority int, observation int[]) returns bigint, how many messages were sent:
 * one for each element, also where an agent is repeated; with the key of an
 * earlier call for the same, that one's number, and none is sent.
 *
 * Raises what fa_send does, and 22004 for a null element; then none is sent.
 */
Datum
fa_send_many(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"sender", "recipients", "body"};
	Sending					 sending;
	int64					*recipients;
	int						 count;
	int64					 sent;
	Call					 call;

	require_arguments(fcinfo, names, lengthof(names));
	call_require_write("fa_send_many");
	sending = get_sending(fcinfo);
	recipients = array_to_int64(PG_GETARG_ARRAYTYPE_P(1), &count, "recipients");
	set_recipients(&sending, recipients, count);
	call_begin(&call, fcinfo, false);
	check_agents(&call, &sending.message, recipients, count);
	sent = send_message(&call, &sending);
	call_end(&call);
	PG_RETURN_INT64(sent);
}

/*
 * fa_broadcast(sender bigint, coalition text, body jsonb, key text, priority
 * int) returns bigint, how many messages were sent: one to each other member,
 * in ascending order; with the key of an earlier call, that one's number.
 *
 * Members are asked by a snapshot of the moment; the coalition is not locked.
 * Raises what fa_send does, 42704 for the coalition, 55000 where the sender is
 * not in it.
 */
Datum
fa_broadcast(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"sender", "coalition", "body"};
	Sending					 sending;
	char					*coalition;
	int64					 sent;
	Call					 call;

	require_arguments(fcinfo, names, lengthof(names));
	call_require_write("fa_broadcast");
	sending = get_sending(fcinfo);
	coalition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	sending.address = coalition;
	sending.address_size = strlen(coalition);
	call_begin(&call, fcinfo, false);
	check_agents(&call, &sending.message, NULL, 0);
	sending.recipients = coalition_others(
		&call, coalition, sending.message.sender, &sending.count);
	sent = send_message(&call, &sending);
	call_end(&call);
	PG_RETURN_INT64(sent);
}
