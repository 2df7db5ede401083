/* SPDX-License-Identifier: MIT */
/* Calibrated rounding: types with one scale for 256 weights. */
#define LANES 1
#include "lane_cuda.h"

#define QK_NEIGHBOUR_TABLES "../cuda/no_neighbours.cuh"
#define QK_SOLVERS(X) QK_TERNARY_SOLVERS(X)

#define MAX_SOLVED_GROUP QK_SUPERBLOCK
#define SOLVED_BOOKS 0
#define QKC_FIND_SOLVER qkc_find_ternary_solver
#include "solve_units.cuh"
