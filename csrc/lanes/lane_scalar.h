/* SPDX-License-Identifier: MIT */
/* One lane in plain C: the definition of every op.  See lane.h for the contract. */
#include "lane.h"

#include <math.h>

#define LANES 1
#define LANE_REGISTERS 16

typedef float lf32;
typedef int32_t li32;
typedef int lmask;

QK_INLINE lf32 lf32_load(const float *p) { return *p; }
QK_INLINE void lf32_store(float *p, lf32 a) { *p = a; }
QK_INLINE li32 li32_load(const int32_t *p) { return *p; }
QK_INLINE void li32_store(int32_t *p, li32 a) { *p = a; }
QK_INLINE li32 li32_load_i8(const int8_t *p) { return *p; }
QK_INLINE li32 li32_load_u8(const uint8_t *p) { return *p; }
QK_INLINE li32 li32_load_u16(const uint8_t *p) { return p[0] | p[1] << 8; }
QK_INLINE li32 li32_load_eights(const int8_t *const *p, int i) { return p[i / 8][i % 8]; }
QK_INLINE void li32_store_u16(uint8_t *p, li32 a)
{
    p[0] = (uint8_t)a;
    p[1] = (uint8_t)((uint32_t)a >> 8);
}
QK_INLINE li32 li32_lookup(const int32_t *table, li32 index) { return table[index]; }
QK_INLINE lf32 lf32_lookup16(const float *table, li32 index) { return table[index]; }
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index) { return table[index & 3]; }
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index) { return table[index & 7]; }
QK_INLINE void lane_transpose(const float *const *rows, lf32 *out) { *out = *rows[0]; }

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
QK_INLINE int lmask_any(lmask a) { return a; }
QK_INLINE int lmask_first(lmask a)
{
    (void)a;
    return 0;
}
QK_INLINE int32_t lane_least(li32 a) { return a; }

QK_INLINE lf32 lf32_from_li32(li32 a) { return (float)a; }
QK_INLINE li32 li32_trunc(lf32 a)
{
    return a >= -2147483648.0f && a < 2147483648.0f ? (int32_t)a : INT32_MIN;
}
QK_INLINE li32 lf32_bits(lf32 a)
{
    int32_t i;
    memcpy(&i, &a, sizeof i);
    return i;
}
QK_INLINE lf32 lf32_from_bits(li32 a)
{
    float f;
    memcpy(&f, &a, sizeof f);
    return f;
}
