/* SPDX-License-Identifier: MIT */
/* Four floats: Advanced SIMD, with the dot product of 8-bit numbers where QK_DOT_PRODUCT is set.
 * See simd.h for the contract. */
#include "simd.h"

#include <arm_neon.h>

#define WIDTH 4
#define ROWS 4
#define X_BIAS 0
#ifdef QK_DOT_PRODUCT
#define I8_LARGEST 128
#else
#define I8_LARGEST 0
#endif
#define HAS_SHORT_SUMS 0

typedef float32x4_t vf32;
typedef int32x4x2_t vacc; /* of int16: sums of the odd and the even products side by side */
typedef int16x8_t vwords;

QK_INLINE vf32 vf32_load(const float *p) { return vld1q_f32(p); }
QK_INLINE void vf32_store(float *p, vf32 a) { vst1q_f32(p, a); }
QK_INLINE vf32 vf32_set1(float a) { return vdupq_n_f32(a); }
QK_INLINE vf32 vf32_zero(void) { return vdupq_n_f32(0.0f); }
QK_INLINE vf32 vf32_add(vf32 a, vf32 b) { return vaddq_f32(a, b); }
QK_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return vmulq_f32(a, b); }
QK_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return vfmaq_f32(c, a, b); }
QK_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return vsubq_f32(a, b); }
QK_INLINE vf32 vf32_div(vf32 a, vf32 b) { return vdivq_f32(a, b); }
QK_INLINE vf32 vf32_max(vf32 a, vf32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
QK_INLINE vf32 vf32_where_less(vf32 a, vf32 b, vf32 yes, vf32 no)
{
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}
QK_INLINE vf32 vf32_power_of_two(vf32 a)
{
    const int32x4_t n = vaddq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(n, 23));
}

typedef float64x2x2_t vf64;

QK_INLINE vf64 vf64_zero(void) { return (vf64){{vdupq_n_f64(0), vdupq_n_f64(0)}}; }
QK_INLINE vf64 vf64_add(vf64 sum, vf32 a)
{
    sum.val[0] = vaddq_f64(sum.val[0], vcvt_f64_f32(vget_low_f32(a)));
    sum.val[1] = vaddq_f64(sum.val[1], vcvt_high_f64_f32(a));
    return sum;
}
QK_INLINE double vf64_total(vf64 sum) { return vaddvq_f64(vaddq_f64(sum.val[0], sum.val[1])); }

QK_INLINE vwords vwords_load(const void *p) { return vreinterpretq_s16_u8(vld1q_u8(p)); }
QK_INLINE vwords vwords_set1(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return vreinterpretq_s16_s32(vdupq_n_s32(word));
}

QK_INLINE vacc vacc_zero(void) { return (vacc){{vdupq_n_s32(0), vdupq_n_s32(0)}}; }
QK_INLINE vacc vacc_load(const int32_t *p) { return (vacc){{vld1q_s32(p), vdupq_n_s32(0)}}; }
QK_INLINE void vacc_store(int32_t *p, vacc a) { vst1q_s32(p, a.val[0]); }
QK_INLINE vacc vacc_dot_i16(vacc sum, vwords w, vwords x)
{
    sum.val[0] = vmlal_s16(sum.val[0], vget_low_s16(w), vget_low_s16(x));
    sum.val[1] = vmlal_high_s16(sum.val[1], w, x);
    return sum;
}
QK_INLINE vf32 vf32_from_i16_sums(vacc a) { return vcvtq_f32_s32(vpaddq_s32(a.val[0], a.val[1])); }
#if I8_LARGEST
QK_INLINE vacc vacc_dot_i8(vacc sum, vwords w, vwords x)
{
    sum.val[0] = vdotq_s32(sum.val[0], vreinterpretq_s8_s16(w), vreinterpretq_s8_s16(x));
    return sum;
}
QK_INLINE vf32 vf32_from_i8_sums(vacc a) { return vcvtq_f32_s32(a.val[0]); }
#endif

QK_INLINE void split_nibbles(const uint8_t *bytes, int offset, int8_t *low, int8_t *high)
{
    const uint8x16_t both = vld1q_u8(bytes);
    const int8x16_t less = vdupq_n_s8((int8_t)offset);
    const int8x16_t first = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
    vst1q_s8(low, vsubq_s8(first, less));
    vst1q_s8(high, vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), less));
}

QK_INLINE void add_where_set(const uint8_t *bits, int value, int8_t *codes)
{
    const uint8x8_t each = vcreate_u8(0x8040201008040201);
    for (int i = 0; i < 32; i += 8, codes += 8) {
        const uint8x8_t is_set = vtst_u8(vdup_n_u8(bits[i / 8]), each);
        const int8x8_t added = vand_s8(vreinterpret_s8_u8(is_set), vdup_n_s8((int8_t)value));
        vst1_s8(codes, vadd_s8(vld1_s8(codes), added));
    }
}

QK_INLINE void lookup_nibbles(const int8_t *table, const uint8_t *bytes, int8_t *low, int8_t *high)
{
    const uint8x16_t both = vld1q_u8(bytes);
    const int8x16_t all = vld1q_s8(table);
    vst1q_s8(low, vqtbl1q_s8(all, vandq_u8(both, vdupq_n_u8(15))));
    vst1q_s8(high, vqtbl1q_s8(all, vshrq_n_u8(both, 4)));
}

QK_INLINE void transpose_words(const uint32_t *in, size_t in_stride, uint32_t *out,
                               size_t out_stride)
{
    const uint32x4_t a = vld1q_u32(in), b = vld1q_u32(in + in_stride);
    const uint32x4_t c = vld1q_u32(in + 2 * in_stride), d = vld1q_u32(in + 3 * in_stride);
    const uint64x2_t ab0 = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
    const uint64x2_t ab1 = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    const uint64x2_t cd0 = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
    const uint64x2_t cd1 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    vst1q_u32(out, vreinterpretq_u32_u64(vtrn1q_u64(ab0, cd0)));
    vst1q_u32(out + out_stride, vreinterpretq_u32_u64(vtrn1q_u64(ab1, cd1)));
    vst1q_u32(out + 2 * out_stride, vreinterpretq_u32_u64(vtrn2q_u64(ab0, cd0)));
    vst1q_u32(out + 3 * out_stride, vreinterpretq_u32_u64(vtrn2q_u64(ab1, cd1)));
}
