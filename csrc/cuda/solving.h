/* SPDX-License-Identifier: MIT */
/* What the checks of calibrated rounding (solver.cu) hand to the kernels of each group of types. */
#ifndef QKC_SOLVING_H
#define QKC_SOLVING_H

#include <stddef.h>
#include <stdint.h>

#include "../quantkit.h"
#include "simt.h"

#define QKC_SOLVED_ROWS 64 /* a stride of rows is a whole number of them */
/* Of a block, a row each: few, so that a matrix of a few thousand rows is on all multiprocessors.
 */
#define QKC_SOLVER_THREADS 32

/* Rows to solve, all in device memory. */
struct qkc_solving {
    int type;
    size_t unit, group, n_floats; /* columns, and the numbers of a unit in the plan */
    size_t n_cols, block_bytes;
    qk_solver_plan plan;
    size_t n_rows, stride;
    float *weights; /* [n_cols][stride], in the order of solving; errors where that is done */
    float *targets; /* [unit][stride], of the unit in question */
    uint8_t *out;
    double *errors;
};

/* Takes the targets of the unit at a place to blocks, and its weights to their errors. */
typedef void (*qkc_unit_kernel)(qkc_solving solving, size_t unit);

/* How a type is solved. */
struct qkc_unit_solver {
    size_t unit, group, n_floats;
    qkc_unit_kernel kernel;
};

/* Each fills in a type that it knows and gives 1, or gives 0. */
int qkc_find_group_solver(int type, qkc_unit_solver *found);
int qkc_find_ternary_solver(int type, qkc_unit_solver *found);
int qkc_find_book_solver(int type, qkc_unit_solver *found);

#endif
