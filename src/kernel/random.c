/*
 * random.c
 *		Random numbers that are counted, not carried.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011): ten rounds of multiplication turn a counter and a
 * key into 128 random bits.  There is no state, so a draw is the same whatever
 * block, worker or order it is made in, and a history can be replayed.
 *
 * One draw takes a whole block of 128 bits and leaves half of it unused.  It
 * costs some 20 multiplications, little against a step, and needs no account
 * of which halves were given out.
 */
#include "kernel.h"

/*
 * One round: the words 0 and 2 of the counter are multiplied, and the halves
 * of the products are mixed with the other two words and the key.  The
 * constants are the paper's.
 */
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
 * Uniform in [0, 1) with 53 bits.  The seed is the key; step, purpose (a
 * KernelPurpose) and index are the counter, so no two draws of one agent's
 * life share their bits.  The index is that of the factor, modality or control
 * drawn for.
 *
 * Agents with neighbouring seeds are as independent as any others: ten rounds
 * let every bit of key and counter bear on every bit of the result.
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

		/* the key grows by the fractions of the golden ratio and of sqrt(3) */
		key[0] += UINT32_C(0x9E3779B9);
		key[1] += UINT32_C(0xBB67AE85);
	}

	/*
	 * The upper 53 of 64 bits are all that a double in [0, 1) can hold; the
	 * result is exact, and 1 cannot come out.
	 */
	bits = ((uint64_t) counter[1] << 32) | counter[0];
	return (double) (bits >> 11) * 0x1p-53;
}
