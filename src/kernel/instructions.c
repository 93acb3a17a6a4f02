/*
 * instructions.c
 *		Which compilation of the compute code runs on this machine.
 *
 * The widest instruction set that the processor has is used, and the same one
 * as long as the process lives: another one gives other last bits.  All but
 * tests leave it at that.
 */
#include "step.h"

#include <string.h>

/* Every set that was compiled, the widest first; plain C runs everywhere. */
static const Instructions sets[] = {
#ifdef HAVE_VECTORS
	{"avx512", &lanes_alone_avx512, &lanes_abreast_avx512},
	{"avx2", &lanes_alone_avx2, &lanes_abreast_avx2},
	{"sse2", &lanes_alone_sse2, &lanes_abreast_sse2},
#endif
	{"plain", &lanes_alone_plain, NULL},
};

#define SET_COUNT ((int) (sizeof(sets) / sizeof(sets[0])))

/* The set in use; NULL until it is first asked for. */
static const Instructions *in_use = NULL;

/*
 * Does this processor, under this operating system, have the i-th set?
 */
static bool
has_set(int i)
{
#ifdef HAVE_VECTORS
	if (strcmp(sets[i].name, "avx512") == 0)
		return __builtin_cpu_supports("avx512f") &&
			   __builtin_cpu_supports("avx512dq") &&
			   __builtin_cpu_supports("avx512bw") &&
			   __builtin_cpu_supports("avx512vl") &&
			   __builtin_cpu_supports("fma");
	if (strcmp(sets[i].name, "avx2") == 0)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
	return i < SET_COUNT;
}

/*
 * The set in use; at the first call, the widest that there is.
 */
const Instructions *
instructions_in_use(void)
{
	if (in_use == NULL)
	{
		int i = 0;

		while (!has_set(i))
			i++;
		in_use = &sets[i];
	}
	return in_use;
}

/*
 * The name of the set in use.
 */
const char *
kernel_instructions(void)
{
	return instructions_in_use()->name;
}

/*
 * Uses another set from now on; see kernel.h.
 */
bool
kernel_use_instructions(const char *name)
{
	for (int i = 0; i < SET_COUNT; i++)
	{
		if (strcmp(sets[i].name, name) == 0 && has_set(i))
		{
			in_use = &sets[i];
			return true;
		}
	}
	return false;
}
