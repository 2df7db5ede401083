/* SPDX-License-Identifier: MIT */
/* Instructions that CUDA's C++ has no functions for: products of small matrices of bytes on tensor
 * cores, and copies to shared memory that go on while the thread does.  host/ptx.h has the same on
 * the processor.  See "mma" and "cp.async" of the PTX ISA.
 *
 * A product is d = a b + c; the lanes of a whole warp hold the matrices.  Lane 4 * row + at has
 *
 *     a   four bytes in each word: columns 4 * at .. 4 * at + 3 of `row`; of row + 8; then both of
 *         the columns 16 beyond, of matrices with 32
 *     b   likewise, of its transpose, which has 8 rows
 *     c   the sums of `row` in columns 2 * at and 2 * at + 1; then those of row + 8
 *
 * Bytes of b are signed, and those of a if IS_SIGNED.  Sums wrap. */
#ifndef QKC_PTX_H
#define QKC_PTX_H

#define QKC_PTX static __device__ __forceinline__

#define QKC_MMA(size, a_type, operands, ...)                                                       \
    asm volatile("mma.sync.aligned." size ".row.col.s32." a_type ".s8.s32 " operands ";"           \
                 : __VA_ARGS__)

#define QKC_MMA_8(a_type)                                                                          \
    QKC_MMA("m8n8k16", a_type, "{%0,%1}, {%2}, {%3}, {%4,%5}", "=r"(d[0]), "=r"(d[1]) : "r"(a),    \
            "r"(b), "r"(c[0]), "r"(c[1]))

#define QKC_MMA_16(a_type)                                                                         \
    QKC_MMA("m16n8k16", a_type, "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10}", "=r"(d[0]),        \
            "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(a0), "r"(a1), "r"(b), "r"(c[0]), "r"(c[1]),   \
            "r"(c[2]), "r"(c[3]))

#define QKC_MMA_32(a_type)                                                                         \
    QKC_MMA("m16n8k32", a_type, "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13}",        \
            "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]),      \
            "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]))

/* a [8][16], b [16][8]: d and c have two sums. */
template <bool IS_SIGNED> QKC_PTX void qkc_mma_8(int *d, uint32_t a, uint32_t b, const int *c)
{
    if (IS_SIGNED) {
        QKC_MMA_8("s8");
    } else {
        QKC_MMA_8("u8");
    }
}

#include "mma_parts.h"

/* a [16][16], b [16][8]. */
template <bool IS_SIGNED>
QKC_PTX void qkc_mma_16(int *d, uint32_t a0, uint32_t a1, uint32_t b, const int *c)
{
#if __CUDA_ARCH__ < 800
    qkc_mma_16_by_8<IS_SIGNED>(d, a0, a1, b, c);
#else
    if (IS_SIGNED) {
        QKC_MMA_16("s8");
    } else {
        QKC_MMA_16("u8");
    }
#endif
}

/* a [16][32], b [32][8]. */
template <bool IS_SIGNED>
QKC_PTX void qkc_mma_32(int *d, const uint32_t *a, const uint32_t *b, const int *c)
{
#if __CUDA_ARCH__ < 800
    qkc_mma_32_by_8<IS_SIGNED>(d, a, b, c);
#else
    if (IS_SIGNED) {
        QKC_MMA_32("s8");
    } else {
        QKC_MMA_32("u8");
    }
#endif
}

/* What depends on a number is computed after this, and not before a loop that this is in, where it
 * would be kept in registers. */
QKC_PTX void qkc_compute_after(unsigned &number) { asm volatile("" : "+r"(number)); }

/* Copies 16 bytes, aligned to as many, to shared memory, at once or later. */
QKC_PTX void qkc_start_copy(void *shared, const void *global)
{
#if __CUDA_ARCH__ < 800
    *(float4 *)shared = *(const float4 *)global;
#else
    const unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
#endif
}

/* The copies that this thread has started are done. */
QKC_PTX void qkc_finish_copies()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#endif
