/*
 * lanes_alone_avx512.c
 *		The compute code (lanes.h) for AVX-512, one agent at a time.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 8
#define LANES 1
#include "lanes_step.h"

const LaneCode lanes_alone_avx512 = LANE_CODE;
LANES_END
#endif
