/* SPDX-License-Identifier: MIT */
/* The ops on a variable that is one lane: what they compute, in plain C.  See lane.h.
 *
 * For lane_scalar.h, where there is no other lane, and for cuda/lane_cuda.h, where each other is
 * another thread's. */
#ifndef QK_ONE_LANE_H
#define QK_ONE_LANE_H

#include <math.h>

typedef float lf32;
typedef int32_t li32;
typedef int lmask;

QK_INLINE lf32 lf32_set1(float a) { return a; }
QK_INLINE li32 li32_set1(int32_t a) { return a; }

QK_INLINE lf32 lf32_add(lf32 a, lf32 b) { return a + b; }
QK_INLINE lf32 lf32_sub(lf32 a, lf32 b) { return a - b; }
QK_INLINE lf32 lf32_mul(lf32 a, lf32 b) { return a * b; }
QK_INLINE lf32 lf32_div(lf32 a, lf32 b) { return a / b; }
QK_INLINE lf32 lf32_sqrt(lf32 a) { return sqrtf(a); }
/* What the addition leaves in the mantissa is the nearest integer. */
QK_INLINE lf32 lf32_round(lf32 a) { return (a + 12582912.0f) - 12582912.0f; }
QK_INLINE lmask lf32_gt(lf32 a, lf32 b) { return a > b; }
QK_INLINE lmask lf32_eq(lf32 a, lf32 b) { return a == b; }
QK_INLINE lf32 lf32_lesser(lf32 a, lf32 b) { return a < b ? a : b; }
QK_INLINE lf32 lf32_greater(lf32 a, lf32 b) { return a > b ? a : b; }

QK_INLINE li32 li32_add(li32 a, li32 b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
QK_INLINE li32 li32_sub(li32 a, li32 b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
QK_INLINE li32 li32_mul(li32 a, li32 b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
QK_INLINE li32 li32_and(li32 a, li32 b) { return a & b; }
QK_INLINE li32 li32_or(li32 a, li32 b) { return a | b; }
QK_INLINE li32 li32_min(li32 a, li32 b) { return a < b ? a : b; }
QK_INLINE li32 li32_max(li32 a, li32 b) { return a > b ? a : b; }
QK_INLINE li32 li32_shl(li32 a, int n) { return (int32_t)((uint32_t)a << n); }
QK_INLINE li32 li32_shr(li32 a, int n) { return (int32_t)((uint32_t)a >> n); }
QK_INLINE li32 li32_sar(li32 a, int n) { return a >> n; }
QK_INLINE lmask li32_gt(li32 a, li32 b) { return a > b; }
QK_INLINE lmask li32_eq(li32 a, li32 b) { return a == b; }

QK_INLINE lf32 lf32_select(lmask m, lf32 a, lf32 b) { return m ? a : b; }
QK_INLINE li32 li32_select(lmask m, li32 a, li32 b) { return m ? a : b; }
QK_INLINE lmask lmask_and(lmask a, lmask b) { return a & b; }
QK_INLINE lmask lmask_or(lmask a, lmask b) { return a | b; }
QK_INLINE lmask lmask_not(lmask a) { return !a; }

QK_INLINE lf32 lf32_from_li32(li32 a) { return (float)a; }
QK_INLINE li32 li32_trunc(lf32 a)
{
    return a >= -2147483648.0f && a < 2147483648.0f ? (int32_t)a : INT32_MIN;
}
QK_INLINE lf32 lf32_from_bits(li32 a)
{
    float f;
    memcpy(&f, &a, sizeof f);
    return f;
}

#endif
