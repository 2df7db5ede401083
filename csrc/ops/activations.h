/* SPDX-License-Identifier: MIT */
/* Functions of one number, applied to arrays: those between the matrices of a feed forward. */
#ifndef QK_ACTIVATIONS_H
#define QK_ACTIVATIONS_H

#include "vmath.h"

/* a / (1 + exp(-x)) */
QK_INLINE vf32 times_sigmoid(vf32 a, vf32 x)
{
    const vf32 e = vf32_exp(vf32_sub(vf32_zero(), x));
    return vf32_div(a, vf32_add(vf32_set1(1.0f), e));
}

QK_INLINE vf32 sigmoid(vf32 x) { return times_sigmoid(vf32_set1(1.0f), x); }

QK_INLINE vf32 silu(vf32 x) { return times_sigmoid(x, x); }

QK_INLINE vf32 relu(vf32 x) { return vf32_max(vf32_zero(), x); }

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), within 3 units in the last place. */
QK_INLINE vf32 softplus(vf32 x)
{
    return vf32_add(relu(x), vf32_log1p(vf32_exp(vf32_sub(vf32_zero(), vf32_abs(x)))));
}

/* x (1 + erf(x / sqrt(2))) / 2 */
QK_INLINE vf32 gelu(vf32 x)
{
    const vf32 half = vf32_mul(vf32_set1(0.5f), x);
    return vf32_fma(half, vf32_erf(vf32_mul(x, vf32_set1(0.70710678f))), half);
}

/* x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x / (1 + exp(-2 u)). */
QK_INLINE vf32 gelu_tanh(vf32 x)
{
    const vf32 square = vf32_mul(x, x);
    const vf32 by = vf32_fma(square, vf32_set1(0.071354814f), vf32_set1(1.5957691f));
    return times_sigmoid(x, vf32_mul(x, by));
}

typedef vf32 vector_function(vf32 x);

/* out = f(x), times `up` if that is not NULL. */
QK_INLINE void map(vector_function *f, const float *x, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        vf32 v = f(load_up_to(x + i, n - i, 0.0f));
        if (up) {
            v = vf32_mul(v, load_up_to(up + i, n - i, 0.0f));
        }
        store_up_to(out + i, n - i, v);
    }
}

static void activate(qk_function function, const float *x, const float *up, size_t n, float *out)
{
    switch (function) {
    case QK_EXP:
        map(vf32_exp, x, up, n, out);
        break;
    case QK_TANH:
        map(vf32_tanh, x, up, n, out);
        break;
    case QK_ERF:
        map(vf32_erf, x, up, n, out);
        break;
    case QK_SIGMOID:
        map(sigmoid, x, up, n, out);
        break;
    case QK_SILU:
        map(silu, x, up, n, out);
        break;
    case QK_GELU:
        map(gelu, x, up, n, out);
        break;
    case QK_GELU_TANH:
        map(gelu_tanh, x, up, n, out);
        break;
    case QK_RELU:
        map(relu, x, up, n, out);
        break;
    case QK_SOFTPLUS:
        map(softplus, x, up, n, out);
        break;
    }
}

/* out = gate * sigmoid(1.702 gate) * (up + 1); gate at most 7, up from -7 to 7. */
static void swiglu_clamped(const float *gate, const float *up, size_t n, float *out)
{
    const vf32 least = vf32_set1(-7.0f), most = vf32_set1(7.0f);
    for (size_t i = 0; i < n; i += WIDTH) {
        vf32 g = load_up_to(gate + i, n - i, 0.0f), u = load_up_to(up + i, n - i, 0.0f);
        g = vf32_where_less(most, g, most, g);
        u = vf32_where_less(most, u, most, u);
        u = vf32_add(vf32_where_less(u, least, least, u), vf32_set1(1.0f));
        g = times_sigmoid(g, vf32_mul(vf32_set1(1.702f), g));
        store_up_to(out + i, n - i, vf32_mul(g, u));
    }
}

/* out = cap * tanh(x / cap) */
static void soft_cap(const float *x, float cap, size_t n, float *out)
{
    const vf32 most = vf32_set1(cap);
    for (size_t i = 0; i < n; i += WIDTH) {
        const vf32 share = vf32_tanh(vf32_div(load_up_to(x + i, n - i, 0.0f), most));
        store_up_to(out + i, n - i, vf32_mul(most, share));
    }
}

#endif
