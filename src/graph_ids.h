/*
 * graph_ids.h
 *		A hash table of ids, of nodes or edges, with a number for each.
 */
#ifndef FA_GRAPH_IDS_H
#define FA_GRAPH_IDS_H

typedef struct graph_ids_entry
{
	int64  id;
	uint32 number;
	char   status; /* of the table's own */
} graph_ids_entry;

/* Ids count up, so their low bits are spread by a multiplication. */
#define SH_PREFIX		graph_ids
#define SH_ELEMENT_TYPE graph_ids_entry
#define SH_KEY_TYPE		int64
#define SH_KEY			id
#define SH_HASH_KEY(tb, key) \
	((uint32) (((uint64) (key) *UINT64CONST(0x9E3779B97F4A7C15)) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE		   static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#endif /* FA_GRAPH_IDS_H */
