/*
 * random.c
 *		Random numbers that are counted, not carried.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011): ten rounds of multiplication turn a counter and a
 * key into 128 random bits.  There is no state, so a draw is the same whatever
 * block, worker or order it is made in, and a history can be replayed.
 */
#include "kernel.h"

static void
philox_round(uint32_t counter[4], const uint32_t key[2])
{
	uint64_t first = (uint64_t) UINT32_C(0xD2511F53) * counter[0];
	uint64_t second = (uint64_t) UINT32_C(0xCD9E8D57) * counter[2];
	uint32_t from1 = counter[1];
	uint32_t from3 = counter[3];

	counter[0] = (uint32_t) (second >> 32) ^ from1 ^ key[0];
	counter[1] = (uint32_t) second;
	counter[2] = (uint32_t) (first >> 32) ^ from3 ^ key[1];
	counter[3] = (uint32_t) first;
}

/*
 * Uniform in [0, 1) with 53 bits.  The seed is the key; step, purpose and index
 * are the counter, so no two draws of one agent's life share their bits.
 */
double
kernel_uniform(uint64_t seed, uint64_t step, uint32_t purpose, uint32_t index)
{
	uint32_t key[2] = {(uint32_t) seed, (uint32_t) (seed >> 32)};
	uint32_t counter[4] = {(uint32_t) step, (uint32_t) (step >> 32), purpose,
						   index};
	uint64_t bits;

	for (int round = 0; round < 10; round++)
	{
		philox_round(counter, key);
		key[0] += UINT32_C(0x9E3779B9);
		key[1] += UINT32_C(0xBB67AE85);
	}
	bits = ((uint64_t) counter[1] << 32) | counter[0];
	return (double) (bits >> 11) * 0x1p-53;
}
