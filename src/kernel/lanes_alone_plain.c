/*
 * lanes_alone_plain.c
 *		The compute code (lanes.h) in plain C, one agent at a time: for every
 *		machine, and the measure of all other compilations.
 */
#define WIDTH 1
#define LANES 1
#include "lanes_step.h"

const LaneCode lanes_alone_plain = LANE_CODE;
