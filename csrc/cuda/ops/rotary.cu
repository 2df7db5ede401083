/* SPDX-License-Identifier: MIT */
/* Rotary position embedding: see csrc/ops/rotary.h. */
#include "checks.h"

/* A thread per pair of each head. */
static __global__ void rotate_kernel(qk_rotation what, const float *turns, float *x)
{
    const size_t n_pairs = what.n_pairs, n = what.n * what.n_heads * n_pairs;
    const size_t step = (size_t)gridDim.x * blockDim.x, apart = what.interleaved ? 1 : n_pairs;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        const size_t pair = i % n_pairs, head = i / n_pairs % what.n_heads;
        const size_t position = i / n_pairs / what.n_heads;
        const float *turn = turns + (position * n_pairs + pair) * 2;
        float *first = x + position * what.stride + head * what.head_stride;
        first += what.interleaved ? 2 * pair : pair;
        const float a = first[0], b = first[apart];
        first[0] = a * turn[0] - b * turn[1];
        first[apart] = a * turn[1] + b * turn[0];
    }
}

int qkc_rotate(const qk_rotation *what, const float *turns, float *x, void *stream)
{
    const int status = -(int)qk_check_rotation(what, turns, x);
    const size_t n = status ? 0 : what->n * what->n_heads * what->n_pairs;
    return n ? QKC_LAUNCH(rotate_kernel, qkc_grid(qkc_parts(n, QKC_THREADS)), QKC_THREADS, stream,
                          *what, turns, x)
             : status;
}
