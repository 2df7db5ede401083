/* SPDX-License-Identifier: MIT */
/* Sums of what threads have, always in the same order. */
#ifndef QKC_OPS_REDUCE_CUH
#define QKC_OPS_REDUCE_CUH

#include "math.cuh"

#define QKC_WHOLE_WARP 0xffffffffu
#define QKC_WARP 32

/* The sum of all lanes' values, in all lanes. */
template <class T> QKC_INLINE T qkc_warp_sum(T value)
{
    for (int step = QKC_WARP / 2; step; step /= 2) {
        value += __shfl_xor_sync(QKC_WHOLE_WARP, value, step);
    }
    return value;
}

/* The sum of what WARPS warps have, in all threads of the block.  shared [WARPS] is free again
 * after the next barrier. */
template <int WARPS, class T> QKC_INLINE T qkc_block_sum(T value, T *shared)
{
    value = qkc_warp_sum(value);
    if (threadIdx.x % QKC_WARP == 0) {
        shared[threadIdx.x / QKC_WARP] = value;
    }
    __syncthreads();
    T sum = shared[0];
    for (int i = 1; i < WARPS; i++) {
        sum += shared[i];
    }
    return sum;
}

#endif
