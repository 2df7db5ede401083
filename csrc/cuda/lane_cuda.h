/* SPDX-License-Identifier: MIT */
/* Lanes that are threads.  LANES, which is defined before:
 *
 *   1         a thread has all lanes there are, and nothing to do with other threads
 *   16 or 32  half a warp or a warp, one thread a lane; all its threads take part in every op.
 *             QK_SHARED is of a thread block, so what uses it needs blocks of LANES threads
 *
 * See lane.h for the contract. */
#ifndef QKC_LANE_CUDA_H
#define QKC_LANE_CUDA_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#include "simt.h"

#define QK_INLINE static __device__ __forceinline__
#define QK_FN static __device__
#define QK_BOTH static inline __host__ __device__
#define QK_TABLE static __device__ const
#define QK_RULE static __device__ constexpr
#define QK_RESTRICT __restrict__

#include "../lanes/one_lane.h"

#define LANE_REGISTERS 16
#define LANE_CHAINS 1 /* other warps fill the time, and a group stays in registers */
#define QKC_WARP 32
#define QKC_WHOLE_WARP 0xffffffffu

#if LANES == 1

#define QKC_LANE 0
#define QK_SHARED
QK_INLINE void lane_sync(void) {}
QK_INLINE int lmask_any(lmask a) { return a; }
QK_INLINE int lmask_first(lmask a)
{
    (void)a;
    return 0;
}
QK_INLINE int32_t lane_least(li32 a) { return a; }

#elif LANES == 16 || LANES == 32

#define QKC_LANE ((int)threadIdx.x % LANES)
/* The thread of the warp that has lane 0, and all that have lanes, as a mask. */
#define QKC_FIRST ((int)threadIdx.x % QKC_WARP / LANES * LANES)
#define QKC_LANES (QKC_WHOLE_WARP >> (QKC_WARP - LANES) << QKC_FIRST)
#define QK_SHARED __shared__
QK_INLINE void lane_sync(void) { __syncwarp(QKC_LANES); }
QK_INLINE int lmask_any(lmask a) { return __any_sync(QKC_LANES, a); }
QK_INLINE int lmask_first(lmask a)
{
    return __ffs((int)(__ballot_sync(QKC_LANES, a) >> QKC_FIRST)) - 1;
}
QK_INLINE int32_t lane_least(li32 a)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    return __reduce_min_sync(QKC_LANES, a);
#else
    for (int step = LANES / 2; step; step /= 2) {
        a = li32_min(a, __shfl_xor_sync(QKC_LANES, a, step));
    }
    return a;
#endif
}

#else
#error "LANES is 1, 16 or 32"
#endif

/* See QK_SHARED in lane.h. */
#define QK_OWN_FIRST QKC_LANE
#define QK_OWN_STEP LANES
QK_INLINE void lane_fill(float *p, int n, float value)
{
#if LANES == 1
    for (int i = 0; i < n; i++) {
        p[i] = value;
    }
#else
    if (QKC_LANE < n) {
        p[QKC_LANE] = value;
    }
#endif
}

/* The lanes of n variables, for all of them to read and write; and back to the variables. */
QK_INLINE auto lanes_of(li32 *v, int n, int32_t (*room)[LANES])
{
    for (int i = 0; i < n; i++) {
        room[i][QKC_LANE] = v[i];
    }
    return room;
}
QK_INLINE void lanes_back(li32 *v, int n, int32_t (*lanes)[LANES])
{
    for (int i = 0; i < n; i++) {
        v[i] = lanes[i][QKC_LANE];
    }
}

/* ---- memory ---- */

QK_INLINE lf32 lf32_load(const float *p) { return p[QKC_LANE]; }
QK_INLINE void lf32_store(float *p, lf32 a) { p[QKC_LANE] = a; }
QK_INLINE li32 li32_load(const int32_t *p) { return p[QKC_LANE]; }
QK_INLINE void li32_store(int32_t *p, li32 a) { p[QKC_LANE] = a; }
QK_INLINE li32 li32_load_i8(const int8_t *p) { return p[QKC_LANE]; }
QK_INLINE li32 li32_load_u8(const uint8_t *p) { return p[QKC_LANE]; }
QK_INLINE li32 li32_load_u16(const uint8_t *p)
{
    return p[2 * QKC_LANE] | p[2 * QKC_LANE + 1] << 8;
}
QK_INLINE li32 li32_load_eights(const int8_t *const *p, int i)
{
    return p[(i + QKC_LANE) / 8][(i + QKC_LANE) % 8];
}
QK_INLINE void li32_store_u16(uint8_t *p, li32 a)
{
    p[2 * QKC_LANE] = (uint8_t)a;
    p[2 * QKC_LANE + 1] = (uint8_t)((uint32_t)a >> 8);
}
QK_INLINE li32 li32_lookup(const int32_t *table, li32 index) { return table[index]; }
QK_INLINE lf32 lf32_lookup16(const float *table, li32 index) { return table[index]; }
#if LANES == 1
/* A thread's small table is in registers, which have no indices. */
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index)
{
    const lf32 low = index & 1 ? table[1] : table[0], high = index & 1 ? table[3] : table[2];
    return index & 2 ? high : low;
}
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index)
{
    const lf32 low = lf32_lookup4(table, index), high = lf32_lookup4(table + 4, index);
    return index & 4 ? high : low;
}
#else
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index) { return table[index & 3]; }
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index) { return table[index & 7]; }
#endif

/* The NaN that operations make here has all bits but the sign set. */
QK_INLINE li32 lf32_bits(lf32 a) { return __float_as_int(a); }
QK_INLINE li32 lf32_mantissa(lf32 a) { return a == a ? lf32_bits(a) & 0x7fffff : 0x400000; }

#endif
