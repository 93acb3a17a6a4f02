/*
 * lanes_abreast_sse2.c
 *		The compute code (lanes.h) for SSE2, which every x86-64 has, 2 agents side by side.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 2
#define LANES 2
#include "lanes_step.h"

const LaneCode lanes_abreast_sse2 = LANE_CODE;
LANES_END
#endif
