/* SPDX-License-Identifier: MIT */
/* Sixteen lanes in AVX-512 registers (F, BW, DQ and VL).  See lane.h. */
#include "lane.h"

#include <immintrin.h>

#define LANES 16
#define LANE_REGISTERS 32

typedef __m512 lf32;
typedef __m512i li32;
typedef __mmask16 lmask;

QK_INLINE lf32 lf32_load(const float *p) { return _mm512_loadu_ps(p); }
QK_INLINE void lf32_store(float *p, lf32 a) { _mm512_storeu_ps(p, a); }
QK_INLINE li32 li32_load(const int32_t *p) { return _mm512_loadu_si512(p); }
QK_INLINE void li32_store(int32_t *p, li32 a) { _mm512_storeu_si512(p, a); }
QK_INLINE li32 li32_load_i8(const int8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}
QK_INLINE li32 li32_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
QK_INLINE li32 li32_load_u16(const uint8_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
QK_INLINE li32 li32_load_eights(const int8_t *const *p, int i)
{
    __m128i low = _mm_loadl_epi64((const __m128i *)p[i / 8]);
    __m128i high = _mm_loadl_epi64((const __m128i *)p[i / 8 + 1]);
    return _mm512_cvtepi8_epi32(_mm_unpacklo_epi64(low, high));
}
QK_INLINE void li32_store_u16(uint8_t *p, li32 a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a));
}
QK_INLINE li32 li32_lookup(const int32_t *table, li32 index)
{
    return _mm512_i32gather_epi32(index, table, 4);
}
QK_INLINE lf32 lf32_lookup16(const float *table, li32 index)
{
    return _mm512_permutexvar_ps(index, _mm512_loadu_ps(table));
}
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index)
{
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(table)), index);
}
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index)
{
    return _mm512_permutexvar_ps(index, _mm512_broadcast_f32x8(_mm256_loadu_ps(table)));
}
/* 16x16 in four rounds of pairwise exchange: items, pairs, quarters, halves. */
QK_INLINE void lane_transpose(const float *const *rows, lf32 *out)
{
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i++) {
        a[i] = _mm512_loadu_ps(rows[i]);
    }
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        b[i] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88);
        b[i + 4] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd);
        b[i + 8] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88);
        b[i + 12] = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        out[i] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88);
        out[i + 8] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0xdd);
    }
}

QK_INLINE lf32 lf32_set1(float a) { return _mm512_set1_ps(a); }
QK_INLINE li32 li32_set1(int32_t a) { return _mm512_set1_epi32(a); }

QK_INLINE lf32 lf32_add(lf32 a, lf32 b) { return _mm512_add_ps(a, b); }
QK_INLINE lf32 lf32_sub(lf32 a, lf32 b) { return _mm512_sub_ps(a, b); }
QK_INLINE lf32 lf32_mul(lf32 a, lf32 b) { return _mm512_mul_ps(a, b); }
QK_INLINE lf32 lf32_div(lf32 a, lf32 b) { return _mm512_div_ps(a, b); }
QK_INLINE lf32 lf32_sqrt(lf32 a) { return _mm512_sqrt_ps(a); }
QK_INLINE lf32 lf32_round(lf32 a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
QK_INLINE lmask lf32_gt(lf32 a, lf32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
QK_INLINE lmask lf32_eq(lf32 a, lf32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
/* Intel's min and max give the second operand on NaN and on equality, as the contract asks. */
QK_INLINE lf32 lf32_lesser(lf32 a, lf32 b) { return _mm512_min_ps(a, b); }
QK_INLINE lf32 lf32_greater(lf32 a, lf32 b) { return _mm512_max_ps(a, b); }

QK_INLINE li32 li32_add(li32 a, li32 b) { return _mm512_add_epi32(a, b); }
QK_INLINE li32 li32_sub(li32 a, li32 b) { return _mm512_sub_epi32(a, b); }
QK_INLINE li32 li32_mul(li32 a, li32 b) { return _mm512_mullo_epi32(a, b); }
QK_INLINE li32 li32_and(li32 a, li32 b) { return _mm512_and_si512(a, b); }
QK_INLINE li32 li32_or(li32 a, li32 b) { return _mm512_or_si512(a, b); }
QK_INLINE li32 li32_min(li32 a, li32 b) { return _mm512_min_epi32(a, b); }
QK_INLINE li32 li32_max(li32 a, li32 b) { return _mm512_max_epi32(a, b); }
QK_INLINE li32 li32_shl(li32 a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
QK_INLINE li32 li32_shr(li32 a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
QK_INLINE li32 li32_sar(li32 a, int n) { return _mm512_srai_epi32(a, (unsigned)n); }
QK_INLINE lmask li32_gt(li32 a, li32 b) { return _mm512_cmpgt_epi32_mask(a, b); }
QK_INLINE lmask li32_eq(li32 a, li32 b) { return _mm512_cmpeq_epi32_mask(a, b); }

QK_INLINE lf32 lf32_select(lmask m, lf32 a, lf32 b) { return _mm512_mask_blend_ps(m, b, a); }
QK_INLINE li32 li32_select(lmask m, li32 a, li32 b) { return _mm512_mask_blend_epi32(m, b, a); }
QK_INLINE lmask lmask_and(lmask a, lmask b) { return (lmask)(a & b); }
QK_INLINE lmask lmask_or(lmask a, lmask b) { return (lmask)(a | b); }
QK_INLINE lmask lmask_not(lmask a) { return (lmask)~a; }
QK_INLINE int lmask_any(lmask a) { return a != 0; }
QK_INLINE int lmask_first(lmask a) { return lowest_bit(a); }
QK_INLINE int32_t lane_least(li32 a) { return _mm512_reduce_min_epi32(a); }

QK_INLINE lf32 lf32_from_li32(li32 a) { return _mm512_cvtepi32_ps(a); }
QK_INLINE li32 li32_trunc(lf32 a) { return _mm512_cvttps_epi32(a); }
QK_INLINE li32 lf32_bits(lf32 a) { return _mm512_castps_si512(a); }
QK_INLINE lf32 lf32_from_bits(li32 a) { return _mm512_castsi512_ps(a); }
QK_INLINE li32 lf32_mantissa(lf32 a) { return li32_and(lf32_bits(a), li32_set1(0x7fffff)); }
