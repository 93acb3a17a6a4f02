/*
 * lanes_alone_sse2.c
 *		The compute code (lanes.h) for SSE2, which every x86-64 has, one agent at a time.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 2
#define LANES 1
#include "lanes_step.h"

const LaneCode lanes_alone_sse2 = LANE_CODE;
LANES_END
#endif
