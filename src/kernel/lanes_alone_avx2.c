/*
 * lanes_alone_avx2.c
 *		The compute code (lanes.h) for AVX2 and fused multiply-add, one agent at a time.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 4
#define LANES 1
#include "lanes_step.h"

const LaneCode lanes_alone_avx2 = LANE_CODE;
LANES_END
#endif
