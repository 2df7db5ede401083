/* SPDX-License-Identifier: MIT */
/* The products of ptx.h by the smallest one, which is all that Turing has. */
#ifndef QKC_MMA_PARTS_H
#define QKC_MMA_PARTS_H

/* As qkc_mma_16. */
template <bool IS_SIGNED>
static __device__ __forceinline__ void qkc_mma_16_by_8(int *d, uint32_t a0, uint32_t a1, uint32_t b,
                                                       const int *c)
{
    qkc_mma_8<IS_SIGNED>(d, a0, b, c);
    qkc_mma_8<IS_SIGNED>(d + 2, a1, b, c + 2);
}

/* As qkc_mma_32. */
template <bool IS_SIGNED>
static __device__ __forceinline__ void qkc_mma_32_by_8(int *d, const uint32_t *a, const uint32_t *b,
                                                       const int *c)
{
    qkc_mma_16_by_8<IS_SIGNED>(d, a[0], a[1], b[0], c);
    qkc_mma_16_by_8<IS_SIGNED>(d, a[2], a[3], b[1], d);
}

#endif
