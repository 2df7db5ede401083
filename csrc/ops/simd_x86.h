/* SPDX-License-Identifier: MIT */
/* What both x86 headers have alike: ops on bytes.  See simd.h for the contract. */
#ifndef QK_SIMD_X86_H
#define QK_SIMD_X86_H

#include <immintrin.h>

QK_INLINE void split_nibbles(const uint8_t *bytes, int offset, int8_t *low, int8_t *high)
{
    const __m128i both = _mm_loadu_si128((const __m128i *)bytes), low4 = _mm_set1_epi8(15);
    const __m128i less = _mm_set1_epi8((char)offset);
    const __m128i first = _mm_and_si128(both, low4);
    const __m128i second = _mm_and_si128(_mm_srli_epi16(both, 4), low4);
    _mm_storeu_si128((__m128i *)low, _mm_sub_epi8(first, less));
    _mm_storeu_si128((__m128i *)high, _mm_sub_epi8(second, less));
}

QK_INLINE void lookup_nibbles(const int8_t *table, const uint8_t *bytes, int8_t *low, int8_t *high)
{
    const __m128i both = _mm_loadu_si128((const __m128i *)bytes), low4 = _mm_set1_epi8(15);
    const __m128i all = _mm_loadu_si128((const __m128i *)table);
    const __m128i second = _mm_and_si128(_mm_srli_epi16(both, 4), low4);
    _mm_storeu_si128((__m128i *)low, _mm_shuffle_epi8(all, _mm_and_si128(both, low4)));
    _mm_storeu_si128((__m128i *)high, _mm_shuffle_epi8(all, second));
}

#endif
