/*
 * lanes_abreast_avx512.c
 *		The compute code (lanes.h) for AVX-512, 8 agents side by side.
 */
#include "step.h"

#ifdef HAVE_VECTORS
#define WIDTH 8
#define LANES 8
#include "lanes_step.h"

const LaneCode lanes_abreast_avx512 = LANE_CODE;
LANES_END
#endif
