/* SPDX-License-Identifier: MIT */
/* Eight lanes in AVX2 registers.  Compile with -mavx2 and without -mfma.  See lane.h. */
#include "lane.h"

#include <immintrin.h>

#define LANES 8
#define LANE_REGISTERS 16

typedef __m256 lf32;
typedef __m256i li32;
typedef __m256 lmask; /* all bits of a lane set where true */

QK_INLINE lf32 lf32_load(const float *p) { return _mm256_loadu_ps(p); }
QK_INLINE void lf32_store(float *p, lf32 a) { _mm256_storeu_ps(p, a); }
QK_INLINE li32 li32_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
QK_INLINE void li32_store(int32_t *p, li32 a) { _mm256_storeu_si256((__m256i *)p, a); }
QK_INLINE li32 li32_load_i8(const int8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
QK_INLINE li32 li32_load_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
QK_INLINE li32 li32_load_u16(const uint8_t *p)
{
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}
QK_INLINE li32 li32_load_eights(const int8_t *const *p, int i) { return li32_load_i8(p[i / 8]); }
QK_INLINE void li32_store_u16(uint8_t *p, li32 a)
{
    __m256i low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    __m256i packed = _mm256_packus_epi32(low, low);
    packed = _mm256_permute4x64_epi64(packed, 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
QK_INLINE li32 li32_lookup(const int32_t *table, li32 index)
{
    return _mm256_i32gather_epi32(table, index, 4);
}
QK_INLINE lf32 lf32_lookup16(const float *table, li32 index)
{
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
QK_INLINE lf32 lf32_lookup4(const float *table, li32 index)
{
    return _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)table), index);
}
QK_INLINE lf32 lf32_lookup8(const float *table, li32 index)
{
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
}
/* 8x8 in three rounds of pairwise exchange: of single items, of pairs, of halves. */
QK_INLINE void lane_transpose(const float *const *rows, lf32 *out)
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) {
        a[i] = _mm256_loadu_ps(rows[i]);
    }
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        out[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
        out[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
    }
}

QK_INLINE lf32 lf32_set1(float a) { return _mm256_set1_ps(a); }
QK_INLINE li32 li32_set1(int32_t a) { return _mm256_set1_epi32(a); }

QK_INLINE lf32 lf32_add(lf32 a, lf32 b) { return _mm256_add_ps(a, b); }
QK_INLINE lf32 lf32_sub(lf32 a, lf32 b) { return _mm256_sub_ps(a, b); }
QK_INLINE lf32 lf32_mul(lf32 a, lf32 b) { return _mm256_mul_ps(a, b); }
QK_INLINE lf32 lf32_div(lf32 a, lf32 b) { return _mm256_div_ps(a, b); }
QK_INLINE lf32 lf32_sqrt(lf32 a) { return _mm256_sqrt_ps(a); }
QK_INLINE lf32 lf32_round(lf32 a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
QK_INLINE lmask lf32_gt(lf32 a, lf32 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
QK_INLINE lmask lf32_eq(lf32 a, lf32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
/* Intel's min and max give the second operand on NaN and on equality, as the contract asks. */
QK_INLINE lf32 lf32_lesser(lf32 a, lf32 b) { return _mm256_min_ps(a, b); }
QK_INLINE lf32 lf32_greater(lf32 a, lf32 b) { return _mm256_max_ps(a, b); }

QK_INLINE li32 li32_add(li32 a, li32 b) { return _mm256_add_epi32(a, b); }
QK_INLINE li32 li32_sub(li32 a, li32 b) { return _mm256_sub_epi32(a, b); }
QK_INLINE li32 li32_mul(li32 a, li32 b) { return _mm256_mullo_epi32(a, b); }
QK_INLINE li32 li32_and(li32 a, li32 b) { return _mm256_and_si256(a, b); }
QK_INLINE li32 li32_or(li32 a, li32 b) { return _mm256_or_si256(a, b); }
QK_INLINE li32 li32_min(li32 a, li32 b) { return _mm256_min_epi32(a, b); }
QK_INLINE li32 li32_max(li32 a, li32 b) { return _mm256_max_epi32(a, b); }
QK_INLINE li32 li32_shl(li32 a, int n) { return _mm256_slli_epi32(a, n); }
QK_INLINE li32 li32_shr(li32 a, int n) { return _mm256_srli_epi32(a, n); }
QK_INLINE li32 li32_sar(li32 a, int n) { return _mm256_srai_epi32(a, n); }
QK_INLINE lmask li32_gt(li32 a, li32 b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b)); }
QK_INLINE lmask li32_eq(li32 a, li32 b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)); }

QK_INLINE lf32 lf32_select(lmask m, lf32 a, lf32 b) { return _mm256_blendv_ps(b, a, m); }
QK_INLINE li32 li32_select(lmask m, li32 a, li32 b)
{
    return _mm256_blendv_epi8(b, a, _mm256_castps_si256(m));
}
QK_INLINE lmask lmask_and(lmask a, lmask b) { return _mm256_and_ps(a, b); }
QK_INLINE lmask lmask_or(lmask a, lmask b) { return _mm256_or_ps(a, b); }
QK_INLINE lmask lmask_not(lmask a)
{
    return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
}
QK_INLINE int lmask_any(lmask a) { return _mm256_movemask_ps(a) != 0; }
QK_INLINE int lmask_first(lmask a) { return lowest_bit((unsigned)_mm256_movemask_ps(a)); }
QK_INLINE int32_t lane_least(li32 a)
{
    __m128i b = _mm_min_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_min_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    b = _mm_min_epi32(b, _mm_shuffle_epi32(b, 0xb1));
    return _mm_cvtsi128_si32(b);
}

QK_INLINE lf32 lf32_from_li32(li32 a) { return _mm256_cvtepi32_ps(a); }
QK_INLINE li32 li32_trunc(lf32 a) { return _mm256_cvttps_epi32(a); }
QK_INLINE li32 lf32_bits(lf32 a) { return _mm256_castps_si256(a); }
QK_INLINE lf32 lf32_from_bits(li32 a) { return _mm256_castsi256_ps(a); }
QK_INLINE li32 lf32_mantissa(lf32 a) { return li32_and(lf32_bits(a), li32_set1(0x7fffff)); }
