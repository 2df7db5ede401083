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

QK_INLINE void add_where_set(const uint8_t *bits, int value, int8_t *codes)
{
    const __m128i each = _mm_set1_epi64x((long long)0x8040201008040201);
    for (int i = 0; i < 32; i += 16, bits += 2, codes += 16) {
        const __m128i both =
            _mm_unpacklo_epi64(_mm_set1_epi8((char)bits[0]), _mm_set1_epi8((char)bits[1]));
        const __m128i is_set = _mm_cmpeq_epi8(_mm_and_si128(both, each), each);
        const __m128i added = _mm_and_si128(is_set, _mm_set1_epi8((char)value));
        const __m128i sum = _mm_add_epi8(_mm_loadu_si128((const __m128i *)codes), added);
        _mm_storeu_si128((__m128i *)codes, sum);
    }
}

#endif
