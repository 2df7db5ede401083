/* SPDX-License-Identifier: MIT */
/* RMSNorm and LayerNorm of rows: see csrc/ops/norms.h.  Sums are in double precision. */
#include "checks.h"
#include "reduce.cuh"

#define WIDE 1024 /* rows from here on have a block for themselves, others a warp */

/* The sum of what the threads of a row have; a row has WARPS warps. */
template <int WARPS> QKC_INLINE double sum_of_row(double value, double *shared)
{
    if (WARPS == 1) {
        return qkc_warp_sum(value);
    }
    __syncthreads(); /* what was summed before has been read */
    return qkc_block_sum<WARPS>(value, shared);
}

/* What is taken away from the numbers of a row: its mean, in two parts. */
struct centre {
    float high, low;
    __device__ float operator()(float x) const { return (x - high) - low; }
};

template <int WARPS>
QKC_INLINE centre centre_of(const float *x, size_t n, size_t first, size_t step, double *shared)
{
    double sum = 0;
    for (size_t i = first; i < n; i += step) {
        sum += (double)x[i];
    }
    const double mean = sum_of_row<WARPS>(sum, shared) / (double)n;
    const float high = (float)mean;
    return {high, (float)(mean - (double)high)};
}

/* Blocks of THREADS take THREADS / 32 / WARPS rows at a time. */
template <int WARPS>
static __global__ void __launch_bounds__(QKC_THREADS)
    norm_kernel(qk_norm what, const float *__restrict__ x, float *__restrict__ y)
{
    __shared__ double shared[QKC_THREADS / QKC_WARP];
    const size_t n = what.width, step = WARPS * QKC_WARP, at_once = QKC_THREADS / step;
    const size_t first = threadIdx.x % step;
    for (size_t row = blockIdx.x * at_once + threadIdx.x / step; row < what.n_rows;
         row += gridDim.x * at_once) {
        const float *from = x + row * n;
        const size_t of_head = row % what.n_heads * n;
        centre less = {0, 0};
        if (what.centered) {
            less = centre_of<WARPS>(from, n, first, step, shared);
        }
        double sum = 0;
        for (size_t i = first; i < n; i += step) {
            const float v = what.centered ? less(from[i]) : from[i];
            sum += (double)(v * v);
        }
        const double square = sum_of_row<WARPS>(sum, shared) / (double)n;
        const float scale = (float)(1 / sqrt(square + (double)what.epsilon));
        for (size_t i = first; i < n; i += step) {
            float v = (what.centered ? less(from[i]) : from[i]) * scale;
            v = what.weight ? v * what.weight[of_head + i] : v;
            y[row * n + i] = what.bias ? v + what.bias[of_head + i] : v;
        }
    }
}

int qkc_norm_rows(const qk_norm *what, const float *x, float *y, void *stream)
{
    const int status = -(int)qk_check_norm(what, x, y);
    if (status || !what->n_rows || !what->width) {
        return status;
    }
    if (what->width < WIDE) {
        const size_t n_blocks = qkc_parts(what->n_rows, QKC_THREADS / QKC_WARP);
        return QKC_LAUNCH(norm_kernel<1>, qkc_grid(n_blocks), QKC_THREADS, stream, *what, x, y);
    }
    return QKC_LAUNCH(norm_kernel<QKC_THREADS / QKC_WARP>, qkc_grid(what->n_rows), QKC_THREADS,
                      stream, *what, x, y);
}
