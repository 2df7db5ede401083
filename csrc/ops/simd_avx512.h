/* SPDX-License-Identifier: MIT */
/* Sixteen floats: AVX-512 (F, BW, DQ and VL), with VNNI where QK_VNNI is set.  See simd.h for the
 * contract. */
#include "simd.h"
#include "simd_x86.h"

#define WIDTH 16
#define ROWS 6
#define X_BIAS 128 /* vpdpbusd and vpmaddubsw multiply unsigned by signed bytes */
#ifdef QK_VNNI
#define I8_LARGEST 128
#define HAS_SHORT_SUMS 0
#else
#define I8_LARGEST 64 /* vpmaddubsw saturates: 2 * 255 * 64 is less than 2^15 */
#define HAS_SHORT_SUMS 1
#endif

typedef __m512 vf32;
typedef __m512i vacc;
typedef __m512i vwords;

QK_INLINE vf32 vf32_load(const float *p) { return _mm512_loadu_ps(p); }
QK_INLINE void vf32_store(float *p, vf32 a) { _mm512_storeu_ps(p, a); }
QK_INLINE vf32 vf32_set1(float a) { return _mm512_set1_ps(a); }
QK_INLINE vf32 vf32_zero(void) { return _mm512_setzero_ps(); }
QK_INLINE vf32 vf32_add(vf32 a, vf32 b) { return _mm512_add_ps(a, b); }
QK_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return _mm512_mul_ps(a, b); }
QK_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
QK_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return _mm512_sub_ps(a, b); }
QK_INLINE vf32 vf32_div(vf32 a, vf32 b) { return _mm512_div_ps(a, b); }
QK_INLINE vf32 vf32_max(vf32 a, vf32 b) { return _mm512_max_ps(a, b); }
QK_INLINE vf32 vf32_where_less(vf32 a, vf32 b, vf32 yes, vf32 no)
{
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
QK_INLINE vf32 vf32_power_of_two(vf32 a)
{
    const __m512i n = _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(n, 23));
}

typedef struct vf64 {
    __m512d low, high;
} vf64;

QK_INLINE vf64 vf64_zero(void) { return (vf64){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
QK_INLINE vf64 vf64_add(vf64 sum, vf32 a)
{
    const __m256 high = _mm512_extractf32x8_ps(a, 1);
    sum.low = _mm512_add_pd(sum.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a)));
    sum.high = _mm512_add_pd(sum.high, _mm512_cvtps_pd(high));
    return sum;
}
QK_INLINE double vf64_total(vf64 sum)
{
    return _mm512_reduce_add_pd(_mm512_add_pd(sum.low, sum.high));
}

QK_INLINE vwords vwords_load(const void *p) { return _mm512_loadu_si512(p); }
QK_INLINE vwords vwords_set1(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
}

QK_INLINE vacc vacc_zero(void) { return _mm512_setzero_si512(); }
QK_INLINE vacc vacc_load(const int32_t *p) { return _mm512_loadu_si512(p); }
QK_INLINE void vacc_store(int32_t *p, vacc a) { _mm512_storeu_si512(p, a); }
#ifdef QK_VNNI
QK_INLINE vacc vacc_dot_i16(vacc sum, vwords w, vwords x) { return _mm512_dpwssd_epi32(sum, w, x); }
QK_INLINE vacc vacc_dot_i8(vacc sum, vwords w, vwords x) { return _mm512_dpbusd_epi32(sum, x, w); }
#else
/* The sum as it stands; else the compiler sums products first, and runs out of registers. */
QK_INLINE vacc vacc_now(vacc sum)
{
#ifdef __GNUC__
    __asm__("" : "+v"(sum));
#endif
    return sum;
}
/* The sums of the 16-bit halves of words. */
QK_INLINE vacc vacc_of_halves(vacc a) { return _mm512_madd_epi16(a, _mm512_set1_epi16(1)); }

QK_INLINE vacc vacc_dot_i16(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm512_add_epi32(sum, _mm512_madd_epi16(w, x)));
}
QK_INLINE vacc vacc_dot_i8(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm512_add_epi32(sum, vacc_of_halves(_mm512_maddubs_epi16(x, w))));
}
QK_INLINE vacc vacc_dot_short(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm512_add_epi16(sum, _mm512_maddubs_epi16(x, w)));
}
QK_INLINE vf32 vf32_from_short_sums(vacc a) { return _mm512_cvtepi32_ps(vacc_of_halves(a)); }
#endif
QK_INLINE vf32 vf32_from_i16_sums(vacc a) { return _mm512_cvtepi32_ps(a); }
QK_INLINE vf32 vf32_from_i8_sums(vacc a) { return _mm512_cvtepi32_ps(a); }

/* Four rows of each 4 x 4 words at a time, then the blocks of four. */
QK_INLINE void transpose_words(const uint32_t *in, size_t in_stride, uint32_t *out,
                               size_t out_stride)
{
    __m512i a[16], b[16];
    UNROLL for (int i = 0; i < 16; i++) { a[i] = _mm512_loadu_si512(in + (size_t)i * in_stride); }
    UNROLL for (int i = 0; i < 16; i += 2)
    {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) /* a[i + c]: column c of each quarter, rows i..i+3 */
    {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    UNROLL for (int c = 0; c < 4; c++)
    {
        __m512i low0 = _mm512_shuffle_i32x4(a[c], a[c + 4], 0x44);
        __m512i high0 = _mm512_shuffle_i32x4(a[c], a[c + 4], 0xee);
        __m512i low1 = _mm512_shuffle_i32x4(a[c + 8], a[c + 12], 0x44);
        __m512i high1 = _mm512_shuffle_i32x4(a[c + 8], a[c + 12], 0xee);
        uint32_t *to = out + (size_t)c * out_stride;
        _mm512_storeu_si512(to, _mm512_shuffle_i32x4(low0, low1, 0x88));
        _mm512_storeu_si512(to + 4 * out_stride, _mm512_shuffle_i32x4(low0, low1, 0xdd));
        _mm512_storeu_si512(to + 8 * out_stride, _mm512_shuffle_i32x4(high0, high1, 0x88));
        _mm512_storeu_si512(to + 12 * out_stride, _mm512_shuffle_i32x4(high0, high1, 0xdd));
    }
}
