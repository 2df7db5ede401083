/* SPDX-License-Identifier: MIT */
/* Calibrated rounding: types whose groups have at most 32 weights. */
#define LANES 1
#include "lane_cuda.h"

#define QK_NEIGHBOUR_TABLES "../cuda/no_neighbours.cuh"
#define QK_SOLVERS(X) QK_BLOCK_SOLVERS(X) QK_K_SOLVERS(X)
#define MAX_SOLVED_GROUP 32
#define SOLVED_BOOKS 0
#define QKC_FIND_SOLVER qkc_find_group_solver
#include "solve_units.cuh"
