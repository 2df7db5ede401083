/* SPDX-License-Identifier: MIT */
/* Four lanes in the Advanced SIMD registers that every AArch64 processor has.  See lane.h. */
#include "lane.h"

#include <arm_neon.h>

#define LANES 4
#define LANE_REGISTERS 32

typedef float32x4_t lf32;
typedef int32x4_t li32;
typedef uint32x4_t lmask; /* all bits of a lane set where true */

QK_INLINE lf32 lf32_load(const float *p) { return vld1q_f32(p); }
QK_INLINE void lf32_store(float *p, lf32 a) { vst1q_f32(p, a); }
QK_INLINE li32 li32_load(const int32_t *p) { return vld1q_s32(p); }
QK_INLINE void li32_store(int32_t *p, li32 a) { vst1q_s32(p, a); }
QK_INLINE li32 li32_load_i8(const int8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four))));
}
QK_INLINE li32 li32_load_u8(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    uint16x4_t wide = vget_low_u16(vmovl_u8(vcreate_u8(four)));
    return vreinterpretq_s32_u32(vmovl_u16(wide));
}
QK_INLINE li32 li32_load_u16(const uint8_t *p)
{
    return vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p))));
}
QK_INLINE li32 li32_load_eights(const int8_t *const *p, int i)
{
    return li32_load_i8(p[i / 8] + i % 8);
}
QK_INLINE void li32_store_u16(uint8_t *p, li32 a) { vst1_u8(p, vreinterpret_u8_s16(vmovn_s32(a))); }
QK_INLINE li32 li32_lookup(const int32_t *table, li32 index)
{
    li32 v = vdupq_n_s32(table[vgetq_lane_s32(index, 0)]);
    v = vld1q_lane_s32(table + vgetq_lane_s32(index, 1), v, 1);
    v = vld1q_lane_s32(table + vgetq_lane_s32(index, 2), v, 2);
    return vld1q_lane_s32(table + vgetq_lane_s32(index, 3), v, 3);
}
/* Lookups of bytes: entry i is bytes 4i to 4i+3 of the table. */
QK_INLINE uint8x16_t bytes_of_entries(li32 index)
{
    li32 at = vmulq_s32(index, vdupq_n_s32(0x04040404));
    return vreinterpretq_u8_s32(vaddq_s32(at, vdupq_n_s32(0x03020100)));
}
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index)
{
    uint8x16_t bytes = vreinterpretq_u8_f32(vld1q_f32(table));
    uint8x16_t at = bytes_of_entries(vandq_s32(index, vdupq_n_s32(3)));
    return vreinterpretq_f32_u8(vqtbl1q_u8(bytes, at));
}
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index)
{
    uint8x16x2_t bytes;
    for (int i = 0; i < 2; i++) {
        bytes.val[i] = vreinterpretq_u8_f32(vld1q_f32(table + 4 * i));
    }
    uint8x16_t at = bytes_of_entries(vandq_s32(index, vdupq_n_s32(7)));
    return vreinterpretq_f32_u8(vqtbl2q_u8(bytes, at));
}
QK_INLINE lf32 lf32_lookup16(const float *table, li32 index)
{
    uint8x16x4_t bytes;
    for (int i = 0; i < 4; i++) {
        bytes.val[i] = vreinterpretq_u8_f32(vld1q_f32(table + 4 * i));
    }
    return vreinterpretq_f32_u8(vqtbl4q_u8(bytes, bytes_of_entries(index)));
}
/* 4x4 in two rounds of pairwise exchange: of single items, of pairs. */
QK_INLINE void lane_transpose(const float *const *rows, lf32 *out)
{
    float64x2_t pair[4];
    for (int i = 0; i < 4; i += 2) {
        lf32 a = vld1q_f32(rows[i]), b = vld1q_f32(rows[i + 1]);
        pair[i] = vreinterpretq_f64_f32(vtrn1q_f32(a, b));
        pair[i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    }
    for (int i = 0; i < 2; i++) {
        out[i] = vreinterpretq_f32_f64(vtrn1q_f64(pair[i], pair[i + 2]));
        out[i + 2] = vreinterpretq_f32_f64(vtrn2q_f64(pair[i], pair[i + 2]));
    }
}

QK_INLINE lf32 lf32_set1(float a) { return vdupq_n_f32(a); }
QK_INLINE li32 li32_set1(int32_t a) { return vdupq_n_s32(a); }

QK_INLINE lf32 lf32_add(lf32 a, lf32 b) { return vaddq_f32(a, b); }
QK_INLINE lf32 lf32_sub(lf32 a, lf32 b) { return vsubq_f32(a, b); }
QK_INLINE lf32 lf32_mul(lf32 a, lf32 b) { return vmulq_f32(a, b); }
QK_INLINE lf32 lf32_div(lf32 a, lf32 b) { return vdivq_f32(a, b); }
QK_INLINE lf32 lf32_sqrt(lf32 a) { return vsqrtq_f32(a); }
QK_INLINE lf32 lf32_round(lf32 a) { return vrndnq_f32(a); }
QK_INLINE lmask lf32_gt(lf32 a, lf32 b) { return vcgtq_f32(a, b); }
QK_INLINE lmask lf32_eq(lf32 a, lf32 b) { return vceqq_f32(a, b); }
QK_INLINE lf32 lf32_lesser(lf32 a, lf32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
QK_INLINE lf32 lf32_greater(lf32 a, lf32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

QK_INLINE li32 li32_add(li32 a, li32 b) { return vaddq_s32(a, b); }
QK_INLINE li32 li32_sub(li32 a, li32 b) { return vsubq_s32(a, b); }
QK_INLINE li32 li32_mul(li32 a, li32 b) { return vmulq_s32(a, b); }
QK_INLINE li32 li32_and(li32 a, li32 b) { return vandq_s32(a, b); }
QK_INLINE li32 li32_or(li32 a, li32 b) { return vorrq_s32(a, b); }
QK_INLINE li32 li32_min(li32 a, li32 b) { return vminq_s32(a, b); }
QK_INLINE li32 li32_max(li32 a, li32 b) { return vmaxq_s32(a, b); }
/* A shift by a vector, right where that is negative: the immediate forms want a literal. */
QK_INLINE li32 li32_shl(li32 a, int n) { return vshlq_s32(a, vdupq_n_s32(n)); }
QK_INLINE li32 li32_shr(li32 a, int n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n)));
}
QK_INLINE li32 li32_sar(li32 a, int n) { return vshlq_s32(a, vdupq_n_s32(-n)); }
QK_INLINE lmask li32_gt(li32 a, li32 b) { return vcgtq_s32(a, b); }
QK_INLINE lmask li32_eq(li32 a, li32 b) { return vceqq_s32(a, b); }

QK_INLINE lf32 lf32_select(lmask m, lf32 a, lf32 b) { return vbslq_f32(m, a, b); }
QK_INLINE li32 li32_select(lmask m, li32 a, li32 b) { return vbslq_s32(m, a, b); }
QK_INLINE lmask lmask_and(lmask a, lmask b) { return vandq_u32(a, b); }
QK_INLINE lmask lmask_or(lmask a, lmask b) { return vorrq_u32(a, b); }
QK_INLINE lmask lmask_not(lmask a) { return vmvnq_u32(a); }
QK_INLINE int lmask_any(lmask a) { return vmaxvq_u32(a) != 0; }
QK_INLINE int lmask_first(lmask a)
{
    static const uint32_t number[4] = {0, 1, 2, 3};
    return (int)vminvq_u32(vornq_u32(vld1q_u32(number), a));
}
QK_INLINE int32_t lane_least(li32 a) { return vminvq_s32(a); }

QK_INLINE lf32 lf32_from_li32(li32 a) { return vcvtq_f32_s32(a); }
QK_INLINE li32 li32_trunc(lf32 a)
{
    /* The conversion saturates, and makes 0 of NaN.  |a| < 2^31 is false on NaN. */
    lmask inside = vcaltq_f32(a, vdupq_n_f32(2147483648.0f));
    return vbslq_s32(inside, vcvtq_s32_f32(a), vdupq_n_s32(INT32_MIN));
}
QK_INLINE li32 lf32_bits(lf32 a) { return vreinterpretq_s32_f32(a); }
QK_INLINE lf32 lf32_from_bits(li32 a) { return vreinterpretq_f32_s32(a); }
QK_INLINE li32 lf32_mantissa(lf32 a) { return li32_and(lf32_bits(a), li32_set1(0x7fffff)); }
