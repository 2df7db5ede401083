/* SPDX-License-Identifier: MIT */
/* Functions of one number: those of csrc/ops/vmath.h and activations.h, which say what they are,
 * operation by operation, with fused multiply-adds.  So results are those of a processor that has
 * them. */
#ifndef QKC_OPS_MATH_CUH
#define QKC_OPS_MATH_CUH

#include "../simt.h"

#define QKC_INLINE static __device__ __forceinline__

/* ---- exp ---- */

#define QKC_LN2_FIRST 0.693359375f
#define QKC_LN2_REST -2.12194440e-4f
#define QKC_TO_INTEGER 12582912.0f

QKC_INLINE float qkc_shifted_exponent(float x) { return fmaf(x, 1.44269504f, QKC_TO_INTEGER); }

/* 2^n, a being n + QKC_TO_INTEGER. */
QKC_INLINE float qkc_power_of_two(float a)
{
    return __uint_as_float((__float_as_uint(a) + 127) << 23);
}

QKC_INLINE float qkc_exp_less_one(float r)
{
    float p = 0x1.6a2352p-10f;
    p = fmaf(p, r, 0x1.123a6cp-7f);
    p = fmaf(p, r, 0x1.5558f4p-5f);
    p = fmaf(p, r, 0x1.55549p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    return fmaf(p, r * r, r);
}

QKC_INLINE float qkc_exp(float x)
{
    const float shifted = qkc_shifted_exponent(x), n = shifted - QKC_TO_INTEGER;
    float r = fmaf(n, -QKC_LN2_FIRST, x);
    r = fmaf(n, -QKC_LN2_REST, r);
    float p = qkc_exp_less_one(r) + 1.0f;
    p = p * qkc_power_of_two(shifted);
    p = x < -87.3f ? 0.0f : p;
    return 88.3f < x ? INFINITY : p;
}

/* ---- other functions ---- */

QKC_INLINE float qkc_larger(float a, float b) { return a > b ? a : b; }
QKC_INLINE float qkc_abs(float a) { return qkc_larger(a, 0.0f - a); }
QKC_INLINE float qkc_with_sign_of(float x, float a) { return x < 0.0f ? 0.0f - a : a; }

QKC_INLINE float qkc_tanh(float x)
{
    const float size = qkc_abs(x), square = x * x;
    float p = -0x1.75e1cep-8f;
    p = fmaf(p, square, 0x1.52269cp-6f);
    p = fmaf(p, square, -0x1.b83c5ap-5f);
    p = fmaf(p, square, 0x1.110726p-3f);
    p = fmaf(p, square, -0x1.555532p-2f);
    p = fmaf(p * square, x, x);
    const float e = qkc_exp(size + size);
    const float large = 1.0f - 2.0f / (e + 1.0f);
    return size < 0.625f ? p : qkc_with_sign_of(x, large);
}

QKC_INLINE float qkc_erf(float x)
{
    const float square = x * x;
    float p = 0x1.650cd2p-14f;
    p = fmaf(p, square, -0x1.aca244p-11f);
    p = fmaf(p, square, 0x1.550a1ap-8f);
    p = fmaf(p, square, -0x1.b8151ep-6f);
    p = fmaf(p, square, 0x1.ce2e54p-4f);
    p = fmaf(p, square, -0x1.812744p-2f);
    p = fmaf(p, square, 0x1.06eba8p-3f);
    p = fmaf(p, x, x);
    const float whole = qkc_abs(x), size = 4.0f < whole ? 4.0f : whole;
    float q = 0x1.c209c8p-13f;
    q = fmaf(q, size, -0x1.a60c6ep-9f);
    q = fmaf(q, size, 0x1.774adap-6f);
    q = fmaf(q, size, -0x1.af4144p-4f);
    q = fmaf(q, size, -0x1.457a64p-1f);
    q = fmaf(q, size, -0x1.20e6b0p+0f);
    const float large = 1.0f - qkc_exp(q * size);
    return whole < 0.9f ? p : qkc_with_sign_of(x, large);
}

/* log(1 + y), 0 <= y <= 1. */
QKC_INLINE float qkc_log1p(float y)
{
    const float s = y / (2.0f + y), square = s * s;
    float p = 0x1.f17342p-4f;
    p = fmaf(p, square, 0x1.b6e6ccp-4f);
    p = fmaf(p, square, 0x1.2508b2p-3f);
    p = fmaf(p, square, 0x1.9996bp-3f);
    p = fmaf(p, square, 0x1.555558p-2f);
    p = fmaf(p * square, s, s);
    return p + p;
}

/* ---- activations ---- */

/* a / (1 + exp(-x)) */
QKC_INLINE float qkc_times_sigmoid(float a, float x) { return a / (1.0f + qkc_exp(0.0f - x)); }
QKC_INLINE float qkc_relu(float x) { return qkc_larger(0.0f, x); }
QKC_INLINE float qkc_softplus(float x)
{
    return qkc_relu(x) + qkc_log1p(qkc_exp(0.0f - qkc_abs(x)));
}
QKC_INLINE float qkc_gelu(float x)
{
    const float half = 0.5f * x;
    return fmaf(half, qkc_erf(x * 0.70710678f), half);
}
QKC_INLINE float qkc_gelu_tanh(float x)
{
    const float by = fmaf(x * x, 0.071354814f, 1.5957691f);
    return qkc_times_sigmoid(x, x * by);
}

#endif
