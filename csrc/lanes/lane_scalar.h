/* SPDX-License-Identifier: MIT */
/* One lane in plain C: with one_lane.h the definition of every op.  See lane.h for the contract. */
#include "lane.h"

#include "one_lane.h"

#define LANES 1
#define LANE_REGISTERS 16

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

QK_INLINE int lmask_any(lmask a) { return a; }
QK_INLINE int lmask_first(lmask a)
{
    (void)a;
    return 0;
}
QK_INLINE int32_t lane_least(li32 a) { return a; }
QK_INLINE li32 lf32_bits(lf32 a)
{
    int32_t i;
    memcpy(&i, &a, sizeof i);
    return i;
}
QK_INLINE li32 lf32_mantissa(lf32 a) { return li32_and(lf32_bits(a), li32_set1(0x7fffff)); }
