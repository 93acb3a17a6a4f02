/*
 * message.h
 *		What the files of messages share; doc/messages.md is their design.
 */
#ifndef FA_MESSAGE_H
#define FA_MESSAGE_H

#include "fa_agents.h"

#include "datatype/timestamp.h"

#define LEAVES 3

/* So many ids in a row go to one leaf, then the next. */
#define LEAF_IDS 131072
/* After so many the leaves are looked at; a divisor of the other. */
#define ROTATE_IDS 16384

/* What is sent to each of some recipients. */
typedef struct Message
{
	int64		 sender;
	int16		 priority;
	Datum		 body;		  /* jsonb */
	const int32 *observation; /* for the recipient's inbox, or NULL */
	int			 observation_count;
} Message;

/* The leaf that a new message goes to. */
static inline int
leaf_of(int64 message_id)
{
	return (int) ((uint64) message_id / LEAF_IDS % LEAVES);
}

/* message_leaf.c */
extern const char *const leaf_names[LEAVES];

extern void
			 leaf_insert(const Call *call, int leaf, const Message *message,
						 const int64 *recipients, const int64 *message_ids, int count);
extern void	 leaf_delete(const Call *call, int leaf, Datum places, int count);
extern int64 leaf_bury(const Call *call, int leaf, Datum places);
extern TimestampTz message_cutoff(void);

/* message_room.c */
extern void room_take(const Call *call, const int64 *recipients, int count);

/* message_receive.c */
extern bool mailbox_making(const Call *call, bool alone);

/* message_rotate.c */
extern void rotate_note(const Call *call, int64 message_id);
extern void dead_letter_trim(const Call *call);

#endif /* FA_MESSAGE_H */
