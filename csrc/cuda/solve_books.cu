/* SPDX-License-Identifier: MIT */
/* Calibrated rounding: codebook types. */
#define LANES 1
#include "lane_cuda.h"

#define QK_NEIGHBOUR_TABLES "neighbours.cuh"
#define QK_SOLVERS(X) QK_BOOK_SOLVERS(X)
#define MAX_SOLVED_GROUP 32
#define SOLVED_BOOKS 1
#define QKC_FIND_SOLVER qkc_find_book_solver
#include "solve_units.cuh"
