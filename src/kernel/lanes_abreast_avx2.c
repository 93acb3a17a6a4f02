/*
 * lanes_abreast_avx2.c
 *		The compute code (lanes.h) for AVX2 and fused multiply-add, 4 agents side by side.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 4
#define LANES 4
#include "lanes_step.h"

const LaneCode lanes_abreast_avx2 = LANE_CODE;
LANES_END
#endif
