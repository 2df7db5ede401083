/* SPDX-License-Identifier: MIT */
/* Eight floats: AVX2, with FMA where QK_FMA is set.  See simd.h for the contract. */
#include "simd.h"
#include "simd_x86.h"

#define WIDTH 8
#define ROWS 5
#define X_BIAS 128
#define I8_LARGEST 64 /* vpmaddubsw saturates: 2 * 255 * 64 is less than 2^15 */
#define HAS_SHORT_SUMS 1

typedef __m256 vf32;
typedef __m256i vacc;
typedef __m256i vwords;

QK_INLINE vf32 vf32_load(const float *p) { return _mm256_loadu_ps(p); }
QK_INLINE void vf32_store(float *p, vf32 a) { _mm256_storeu_ps(p, a); }
QK_INLINE vf32 vf32_set1(float a) { return _mm256_set1_ps(a); }
QK_INLINE vf32 vf32_zero(void) { return _mm256_setzero_ps(); }
QK_INLINE vf32 vf32_add(vf32 a, vf32 b) { return _mm256_add_ps(a, b); }
QK_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return _mm256_mul_ps(a, b); }
#ifdef QK_FMA
QK_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
#else
QK_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return vf32_add(vf32_mul(a, b), c); }
#endif
QK_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return _mm256_sub_ps(a, b); }
QK_INLINE vf32 vf32_div(vf32 a, vf32 b) { return _mm256_div_ps(a, b); }
QK_INLINE vf32 vf32_max(vf32 a, vf32 b) { return _mm256_max_ps(a, b); }
QK_INLINE vf32 vf32_where_less(vf32 a, vf32 b, vf32 yes, vf32 no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
QK_INLINE vf32 vf32_power_of_two(vf32 a)
{
    const __m256i n = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}

typedef struct vf64 {
    __m256d low, high;
} vf64;

QK_INLINE vf64 vf64_zero(void) { return (vf64){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
QK_INLINE vf64 vf64_add(vf64 sum, vf32 a)
{
    sum.low = _mm256_add_pd(sum.low, _mm256_cvtps_pd(_mm256_castps256_ps128(a)));
    sum.high = _mm256_add_pd(sum.high, _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)));
    return sum;
}
QK_INLINE double vf64_total(vf64 sum)
{
    double part[4];
    _mm256_storeu_pd(part, _mm256_add_pd(sum.low, sum.high));
    return (part[0] + part[2]) + (part[1] + part[3]);
}

QK_INLINE vwords vwords_load(const void *p) { return _mm256_loadu_si256(p); }
QK_INLINE vwords vwords_set1(const void *p)
{
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
}

QK_INLINE vacc vacc_zero(void) { return _mm256_setzero_si256(); }
QK_INLINE vacc vacc_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
QK_INLINE void vacc_store(int32_t *p, vacc a) { _mm256_storeu_si256((__m256i *)p, a); }

/* The sum as it stands; else the compiler sums products first, and runs out of registers. */
QK_INLINE vacc vacc_now(vacc sum)
{
#ifdef __GNUC__
    __asm__("" : "+x"(sum));
#endif
    return sum;
}
/* The sums of the 16-bit halves of words. */
QK_INLINE vacc vacc_of_halves(vacc a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }

QK_INLINE vacc vacc_dot_i16(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm256_add_epi32(sum, _mm256_madd_epi16(w, x)));
}
QK_INLINE vacc vacc_dot_i8(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm256_add_epi32(sum, vacc_of_halves(_mm256_maddubs_epi16(x, w))));
}
QK_INLINE vacc vacc_dot_short(vacc sum, vwords w, vwords x)
{
    return vacc_now(_mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w)));
}
QK_INLINE vf32 vf32_from_i16_sums(vacc a) { return _mm256_cvtepi32_ps(a); }
QK_INLINE vf32 vf32_from_i8_sums(vacc a) { return _mm256_cvtepi32_ps(a); }
QK_INLINE vf32 vf32_from_short_sums(vacc a) { return _mm256_cvtepi32_ps(vacc_of_halves(a)); }

/* Four rows of each 4 x 4 words at a time, then the halves. */
QK_INLINE void transpose_words(const uint32_t *in, size_t in_stride, uint32_t *out,
                               size_t out_stride)
{
    __m256i a[8], b[8];
    UNROLL for (int i = 0; i < 8; i++)
    {
        a[i] = _mm256_loadu_si256((const __m256i *)(in + (size_t)i * in_stride));
    }
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
    {
        a[i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm256_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm256_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    UNROLL for (int c = 0; c < 4; c++)
    {
        __m256i *low = (__m256i *)(out + (size_t)c * out_stride);
        __m256i *high = (__m256i *)(out + (size_t)(c + 4) * out_stride);
        _mm256_storeu_si256(low, _mm256_permute2x128_si256(a[c], a[c + 4], 0x20));
        _mm256_storeu_si256(high, _mm256_permute2x128_si256(a[c], a[c + 4], 0x31));
    }
}
