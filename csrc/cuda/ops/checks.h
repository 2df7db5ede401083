/* SPDX-License-Identifier: MIT */
/* What stands before every operation: the checks of csrc/op_checks.h, and how its work is divided.
 */
#ifndef QKC_OPS_CHECKS_H
#define QKC_OPS_CHECKS_H

#include "../quantkit_cuda.h"
#include "../quantkit_cuda_ops.h"
#include "../simt.h"

extern "C" {
#include "../../op_checks.h"
}

/* The status of a list of arrays of type qk_array []: the numbers are those of qk_status,
 * negative. */
#define QKC_CHECK_ARRAYS(arrays) (-(int)QK_CHECK_ARRAYS(arrays))

/* Threads of a block, unless an operation has its own number. */
#define QKC_THREADS 256

/* The most blocks of a grid; tests have few, so that blocks have several tasks there. */
#ifndef QKC_MOST_BLOCKS
#define QKC_MOST_BLOCKS (1 << 20)
#endif

/* A grid's blocks take the tasks blockIdx.x, blockIdx.x + gridDim.x and so on, so that no number of
 * tasks is too large for a grid. */
static inline dim3 qkc_grid(size_t n_tasks)
{
    return dim3((unsigned)(n_tasks < QKC_MOST_BLOCKS ? n_tasks : QKC_MOST_BLOCKS));
}

static inline __host__ __device__ size_t qkc_parts(size_t n, size_t size)
{
    return n / size + (n % size != 0);
}

#endif
