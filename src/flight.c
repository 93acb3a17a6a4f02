/*-------------------------------------------------------------------------
 *
 * flight.c
 *	  Which agents were being stepped when the server crashed.
 *
 * Shared memory does not survive a crash, and a row would cost a commit a
 * batch.  So each worker writes what it is about to step into its record of a
 * file; it need survive processes only, so nothing is flushed.  A worker that
 * is told to quit because another one crashed marks its record, from the
 * signal handler.  Records that are neither empty nor marked are of those who
 * crashed.
 *
 * When the memory is made anew after a crash, the postmaster moves such
 * records to a second file, where the coordinators find those of their
 * databases, and empty them.  What a server finds when it starts is of less
 * weight: all processes of the one before may have been killed, or the machine.
 *
 * Where the files cannot be written the agents are stepped all the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"

#include "pool.h"

#define FLIGHT_FILE PG_STAT_TMP_DIR "/fa_agents.flight"
#define CRASH_FILE	PG_STAT_TMP_DIR "/fa_agents.crash"
#define MAGIC		0x46413031

typedef struct FlightRecord
{
	uint32 magic;
	int32  count; /* of ids; 0: none in flight */
	Oid	   database;
	bool   innocent; /* its process was told to quit */
	bool   crash;	 /* in the second file: the server outlived it */
	int64  ids[FLIGHT_AGENTS];
} FlightRecord;

#define HEAD_SIZE offsetof(FlightRecord, ids)

static int			flight_file = -1;
static FlightRecord record; /* what is in the file */

/* Where this process's record is in the file. */
static off_t
own_offset(void)
{
	return (off_t) sizeof(FlightRecord) * (pool_self - pool->processes);
}

/* The first bytes of the record; a signal handler may call it. */
static void
write_record(Size size)
{
	ssize_t ignored = pwrite(flight_file, &record, size, own_offset());

	(void) ignored;
}

/* Agents [count] are about to be stepped: at most FLIGHT_AGENTS are noted. */
void
flight_note(const int64 *ids, int count)
{
	if (flight_file < 0)
		flight_file = open(FLIGHT_FILE, O_RDWR | O_CREAT | PG_BINARY,
						   pg_file_create_mode);
	if (flight_file < 0)
		return;
	record.magic = MAGIC;
	record.count = Min(count, FLIGHT_AGENTS);
	record.database = MyDatabaseId;
	memcpy(record.ids, ids, sizeof(int64) * record.count);
	write_record(HEAD_SIZE + sizeof(int64) * record.count);
}

/* They were, or will not be. */
void
flight_clear(void)
{
	if (record.count == 0)
		return;
	record.count = 0;
	write_record(HEAD_SIZE);
}

/*
 * This process ends: what it was stepping is no sign of a crash, but can be read
 * until its slot is used again.  False: nothing was.
 */
bool
flight_leave(void)
{
	if (record.count == 0)
		return false;
	record.innocent = true;
	write_record(HEAD_SIZE);
	return true;
}

/*
 * SIGQUIT: the server stops at once, because a process has crashed, which
 * cannot be this one.
 */
void
flight_crash_exit(SIGNAL_ARGS)
{
	if (record.count > 0)
	{
		record.innocent = true;
		write_record(HEAD_SIZE);
	}
	SignalHandlerForCrashExit(postgres_signal_arg);
}

/* Reads the i-th record of a file; false where there is none. */
static bool
read_record(int file, int i, FlightRecord *found)
{
	ssize_t size = pread(file, found, sizeof(FlightRecord),
						 (off_t) sizeof(FlightRecord) * i);

	/* the last may be short: only as many ids as it has were written */
	return size >= (ssize_t) HEAD_SIZE &&
		   (found->magic != MAGIC || found->count == 0 ||
			(found->count > 0 && found->count <= FLIGHT_AGENTS &&
			 size >= (ssize_t) (HEAD_SIZE + sizeof(int64) * found->count)));
}

/*
 * Which agents a process of ours is stepping, by its slot: [*count], in the
 * current memory context; NULL where none are noted.
 */
int64 *
flight_read(int slot, int *count)
{
	FlightRecord *found = palloc(sizeof(FlightRecord));
	int			  file = open(FLIGHT_FILE, O_RDONLY | PG_BINARY, 0);
	int64		 *ids = NULL;

	if (file >= 0 && read_record(file, slot, found) && found->magic == MAGIC &&
		found->count > 0)
	{
		*count = found->count;
		ids = palloc(sizeof(int64) * found->count);
		memcpy(ids, found->ids, sizeof(int64) * found->count);
	}
	if (file >= 0)
		close(file);
	pfree(found);
	return ids;
}

/* Removes the second file where all its records were taken. */
static void
remove_taken(FlightRecord *found)
{
	int	 file = open(CRASH_FILE, O_RDONLY | PG_BINARY, 0);
	bool taken = true;

	for (int i = 0; file >= 0 && read_record(file, i, found); i++)
		taken &= found->count == 0;
	if (file >= 0)
		close(file);
	if (taken)
		unlink(CRASH_FILE);
}

/* Moves records of crashed processes out of the first file, which is open. */
static void
move_crashed(int flight, bool crash, FlightRecord *found)
{
	int file = open(CRASH_FILE, O_WRONLY | O_CREAT | O_APPEND | PG_BINARY,
					pg_file_create_mode);

	for (int i = 0; file >= 0 && read_record(flight, i, found); i++)
	{
		if (found->magic != MAGIC || found->count == 0 || found->innocent)
			continue;
		found->crash = crash;
		/* whole records, so that the i-th is where it should be */
		if (write(file, found, sizeof(*found)) != sizeof(*found))
			break;
	}
	if (file >= 0)
		close(file);
}

/*
 * Moves records of crashed processes to the second file.  By the postmaster,
 * before any process of ours runs: when it starts, and after each crash.
 */
void
flight_collect(void)
{
	static bool			after_crash = false;
	static FlightRecord found; /* too large for the stack */
	int					flight = open(FLIGHT_FILE, O_RDONLY | PG_BINARY, 0);

	remove_taken(&found);
	if (flight >= 0)
	{
		move_crashed(flight, after_crash, &found);
		close(flight);
		unlink(FLIGHT_FILE);
	}
	after_crash = true;
}

/*
 * Takes the next record of this database out of the second file: its agents
 * [*count], in the current memory context; NULL where there is none.  *crash: it
 * was their process that brought the others down.
 */
int64 *
flight_take(int *count, bool *crash)
{
	FlightRecord *found = palloc(sizeof(FlightRecord));
	int			  file = open(CRASH_FILE, O_RDWR | PG_BINARY, 0);
	int64		 *ids = NULL;

	for (int i = 0; file >= 0 && read_record(file, i, found); i++)
	{
		if (found->magic != MAGIC || found->count == 0 ||
			found->database != MyDatabaseId)
			continue;
		*count = found->count;
		*crash = found->crash;
		ids = palloc(sizeof(int64) * found->count);
		memcpy(ids, found->ids, sizeof(int64) * found->count);
		found->count = 0;
		if (pwrite(file, found, HEAD_SIZE, (off_t) sizeof(FlightRecord) * i) !=
			(ssize_t) HEAD_SIZE)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not write file \"%s\": %m", CRASH_FILE)));
		break;
	}
	if (file >= 0)
		close(file);
	pfree(found);
	return ids;
}
