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

/* The first WIDTH of n floats; lanes beyond them get `rest`. */
QK_INLINE vf32 load_up_to(const float *p, size_t n, float rest)
{
    return n < WIDTH ? load_some(p, n, rest) : vf32_load(p);
}

QK_INLINE void store_up_to(float *p, size_t n, vf32 a)
{
    if (n < WIDTH) {
        store_some(p, n, a);
    } else {
        vf32_store(p, a);
    }
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

/* The first part of ln 2 has 9 bits, so that n times it is exact. */
#define LN2_FIRST 0.693359375f
#define LN2_REST -2.12194440e-4f

/* 1.5 * 2^23: the low bits of a sum with it are the nearest integer. */
#define TO_INTEGER 12582912.0f
#define TO_INTEGER_BITS 0x4b400000

/* n + TO_INTEGER, n being the integer nearest to x / ln 2. */
QK_INLINE vf32 shifted_exponent(vf32 x)
{
    return vf32_fma(x, vf32_set1(1.44269504f), vf32_set1(TO_INTEGER));
}

/* exp(r) - 1 with |r| <= ln(2) / 2, as r + r^2 P(r); P is the polynomial of degree 4 that minimises
 * the largest relative error of exp(r), 3.1e-9. */
QK_INLINE vf32 exp_less_one(vf32 r)
{
    vf32 p = vf32_set1(0x1.6a2352p-10f);
    p = vf32_fma(p, r, vf32_set1(0x1.123a6cp-7f));
    p = vf32_fma(p, r, vf32_set1(0x1.5558f4p-5f));
    p = vf32_fma(p, r, vf32_set1(0x1.55549p-3f));
    p = vf32_fma(p, r, vf32_set1(0x1.fffffcp-2f));
    return vf32_fma(p, vf32_mul(r, r), r);
}

/* exp(x) within a unit in the last place: 0 below -87.3, infinite above 88.3, NaN of NaN.
 * x = n ln 2 + r, and exp(x) = 2^n exp(r). */
QK_INLINE vf32 vf32_exp(vf32 x)
{
    const vf32 shifted = shifted_exponent(x), n = vf32_sub(shifted, vf32_set1(TO_INTEGER));
    vf32 r = vf32_fma(n, vf32_set1(-LN2_FIRST), x);
    r = vf32_fma(n, vf32_set1(-LN2_REST), r);
    vf32 p = vf32_add(exp_less_one(r), vf32_set1(1.0f));
    p = vf32_mul(p, vf32_power_of_two(shifted));
    p = vf32_where_less(x, vf32_set1(-87.3f), vf32_zero(), p);
    return vf32_where_less(vf32_set1(88.3f), x, vf32_set1(INFINITY), p);
}

QK_INLINE vf32 vf32_abs(vf32 a) { return vf32_max(a, vf32_sub(vf32_zero(), a)); }

/* a >= 0, with the sign of x. */
QK_INLINE vf32 with_sign_of(vf32 x, vf32 a)
{
    return vf32_where_less(x, vf32_zero(), vf32_sub(vf32_zero(), a), a);
}

/* tanh(x) within 2 units in the last place.
 *
 * Up to 5/8, x + x^3 P(x^2) with P of degree 4, the largest relative error of which is 4.4e-9;
 * beyond, 1 - 2 / (exp(2 |x|) + 1). */
QK_INLINE vf32 vf32_tanh(vf32 x)
{
    const vf32 one = vf32_set1(1.0f), size = vf32_abs(x), square = vf32_mul(x, x);
    vf32 p = vf32_set1(-0x1.75e1cep-8f);
    p = vf32_fma(p, square, vf32_set1(0x1.52269cp-6f));
    p = vf32_fma(p, square, vf32_set1(-0x1.b83c5ap-5f));
    p = vf32_fma(p, square, vf32_set1(0x1.110726p-3f));
    p = vf32_fma(p, square, vf32_set1(-0x1.555532p-2f));
    p = vf32_fma(vf32_mul(p, square), x, x);
    const vf32 e = vf32_exp(vf32_add(size, size));
    const vf32 large = vf32_sub(one, vf32_div(vf32_set1(2.0f), vf32_add(e, one)));
    return vf32_where_less(size, vf32_set1(0.625f), p, with_sign_of(x, large));
}

/* erf(x) within 2 units in the last place.
 *
 * Up to 0.9, x + x P(x^2) with P of degree 6, the largest relative error of which is 3e-10; beyond,
 * 1 - exp(|x| Q(|x|)) with Q of degree 5, 3.1e-9.  From 4 on, that is 1. */
QK_INLINE vf32 vf32_erf(vf32 x)
{
    const vf32 one = vf32_set1(1.0f), most = vf32_set1(4.0f), square = vf32_mul(x, x);
    vf32 p = vf32_set1(0x1.650cd2p-14f);
    p = vf32_fma(p, square, vf32_set1(-0x1.aca244p-11f));
    p = vf32_fma(p, square, vf32_set1(0x1.550a1ap-8f));
    p = vf32_fma(p, square, vf32_set1(-0x1.b8151ep-6f));
    p = vf32_fma(p, square, vf32_set1(0x1.ce2e54p-4f));
    p = vf32_fma(p, square, vf32_set1(-0x1.812744p-2f));
    p = vf32_fma(p, square, vf32_set1(0x1.06eba8p-3f));
    p = vf32_fma(p, x, x);
    const vf32 whole = vf32_abs(x), size = vf32_where_less(most, whole, most, whole);
    vf32 q = vf32_set1(0x1.c209c8p-13f);
    q = vf32_fma(q, size, vf32_set1(-0x1.a60c6ep-9f));
    q = vf32_fma(q, size, vf32_set1(0x1.774adap-6f));
    q = vf32_fma(q, size, vf32_set1(-0x1.af4144p-4f));
    q = vf32_fma(q, size, vf32_set1(-0x1.457a64p-1f));
    q = vf32_fma(q, size, vf32_set1(-0x1.20e6b0p+0f));
    const vf32 large = vf32_sub(one, vf32_exp(vf32_mul(q, size)));
    return vf32_where_less(whole, vf32_set1(0.9f), p, with_sign_of(x, large));
}

/* log(1 + y), 0 <= y <= 1, within 2 units in the last place: 2 atanh(s), s = y / (2 + y), as
 * 2 (s + s^3 P(s^2)) with P of degree 4, the largest relative error of which is 5.4e-10. */
QK_INLINE vf32 vf32_log1p(vf32 y)
{
    const vf32 s = vf32_div(y, vf32_add(vf32_set1(2.0f), y)), square = vf32_mul(s, s);
    vf32 p = vf32_set1(0x1.f17342p-4f);
    p = vf32_fma(p, square, vf32_set1(0x1.b6e6ccp-4f));
    p = vf32_fma(p, square, vf32_set1(0x1.2508b2p-3f));
    p = vf32_fma(p, square, vf32_set1(0x1.9996bp-3f));
    p = vf32_fma(p, square, vf32_set1(0x1.555558p-2f));
    p = vf32_fma(vf32_mul(p, square), s, s);
    return vf32_add(p, p);
}

#endif
