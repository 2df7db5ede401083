/* SPDX-License-Identifier: MIT */
/* The solvers of some types (solver/), a row a thread.
 *
 * A thread's arrays are in local memory, where the same item of all threads of a warp lies side by
 * side, as the lanes of a vector do on a processor.
 *
 * Parameters: a lane header of one lane included first; QK_SOLVERS(X), the types; MAX_SOLVED_GROUP
 * and SOLVED_BOOKS for them (../solver/group.h); QKC_FIND_SOLVER, the function that knows them. */
#include <math.h>

#include "../formats/formats.h"

#include "../kernels/plain_formats.h"

#include "../kernels/codebook_formats.h"

#include "solving.h"

/* Inlined, they would be so large a kernel that nvcc takes minutes. */
#undef QK_FN
#define QK_FN static __device__ __attribute__((noinline))
#include "../solver/plan.h"
#include "../solver/levels.h"
#include "../solver/codebook_group.h"
#include "../solver/group.h"
#include "../solver/group_search.h"
#include "../solver/superblock.h"
#include "../solver/block_types.h"
#include "../solver/k_types.h"
#include "../solver/codebook_types.h"
#include "../solver/blocks.h"

static __global__ void __launch_bounds__(QKC_SOLVER_THREADS)
    solve_unit_kernel(qkc_solving s, size_t unit)
{
    const size_t row = (size_t)blockIdx.x * QKC_SOLVER_THREADS + threadIdx.x;
    if (row >= s.n_rows) {
        return;
    }
    const solver_task task = {s.type,   solver_rule(s.type), {s.unit, s.group},
                              s.n_cols, s.block_bytes,       s.plan};
    lf32 x[QK_SUPERBLOCK], error[QK_SUPERBLOCK];
    li32 words[QK_MAX_BLOCK_WORDS];
    unit_work work;
    unit_fit best;
    const unit_problem problem = {task.rule, task.shape, s.plan.units + unit * s.n_floats, x};
    for (size_t j = 0; j < s.unit; j++) {
        x[j] = s.targets[j * s.stride + row];
    }
    solve_unit(&problem, &work, &best, error);
    s.errors[row] += (double)best.error;
    float *weight = s.weights + unit * s.unit * s.stride + row;
    for (size_t j = 0; j < s.unit; j++, weight += s.stride) {
        *weight = error_of_weight(error[j], x[j], *weight);
    }
    unit_words(&task, unit, &best, words);
    const size_t row_bytes = s.n_cols / s.unit * s.block_bytes;
    uint8_t *out = s.out + row * row_bytes + unit_place(&task, unit);
    for (size_t i = 0; i < s.block_bytes; i++) {
        out[i] = (uint8_t)((uint32_t)words[i / 4] >> 8 * (i % 4));
    }
}

int QKC_FIND_SOLVER(int type, qkc_unit_solver *found)
{
    switch (type) {
#define QKC_CASE(name)                                                                             \
    case id_of_##name: {                                                                           \
        constexpr unit_shape shape = {name##_solver.unit, (size_t)name##_solver.group.n};          \
        *found = {shape.unit, shape.group, unit_floats(shape), solve_unit_kernel};                 \
        return 1;                                                                                  \
    }
        QK_SOLVERS(QKC_CASE)
#undef QKC_CASE
    default:
        return 0;
    }
}
