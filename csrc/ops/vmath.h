/* SPDX-License-Identifier: MIT */
/* Functions of vectors, made of the ops of simd.h. */
#ifndef QK_VMATH_H
#define QK_VMATH_H

#include <math.h>

/* n < WIDTH floats; the other lanes get `rest`. */
QK_INLINE vf32 load_some(const float *p, size_t n, float rest)
{
    float lanes[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) {
        lanes[i] = i < n ? p[i] : rest;
    }
    return vf32_load(lanes);
}

QK_INLINE void store_some(float *p, size_t n, vf32 a)
{
    float lanes[WIDTH];
    vf32_store(lanes, a);
    memcpy(p, lanes, n * sizeof *p);
}

/* The largest lane. */
QK_INLINE float highest_lane(vf32 a)
{
    float lanes[WIDTH];
    vf32_store(lanes, a);
    for (size_t i = 1; i < WIDTH; i++) {
        lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    }
    return lanes[0];
}

/* exp(x) within 2 units in the last place: 0 below -87.3, infinite above 88.3, NaN of NaN.
 *
 * x = n ln 2 + r with |r| <= ln(2) / 2, and exp(r) = 1 + r + r^2 P(r); P is the polynomial of
 * degree 4 that minimises the largest relative error of that, 3.1e-9.  The first part of ln 2 has
 * 9 bits, so that n times it is exact. */
QK_INLINE vf32 vf32_exp(vf32 x)
{
    const vf32 to_integer = vf32_set1(12582912.0f); /* 1.5 * 2^23: the sum's low bits are n */
    const vf32 shifted = vf32_fma(x, vf32_set1(1.44269504f), to_integer);
    const vf32 n = vf32_sub(shifted, to_integer);
    vf32 r = vf32_fma(n, vf32_set1(-0.693359375f), x);
    r = vf32_fma(n, vf32_set1(2.12194440e-4f), r);
    vf32 p = vf32_set1(0x1.6a2352p-10f);
    p = vf32_fma(p, r, vf32_set1(0x1.123a6cp-7f));
    p = vf32_fma(p, r, vf32_set1(0x1.5558f4p-5f));
    p = vf32_fma(p, r, vf32_set1(0x1.55549p-3f));
    p = vf32_fma(p, r, vf32_set1(0x1.fffffcp-2f));
    p = vf32_fma(p, vf32_mul(r, r), r);
    p = vf32_mul(vf32_add(p, vf32_set1(1.0f)), vf32_power_of_two(shifted));
    p = vf32_where_less(x, vf32_set1(-87.3f), vf32_zero(), p);
    return vf32_where_less(vf32_set1(88.3f), x, vf32_set1(INFINITY), p);
}

#endif
