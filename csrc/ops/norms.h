/* SPDX-License-Identifier: MIT */
/* RMSNorm and LayerNorm of rows.  Sums are in double precision, lane by lane, so that what comes of
 * a row depends on that row alone. */
#ifndef QK_NORMS_H
#define QK_NORMS_H

#include "vmath.h"

static double mean_square(const float *x, size_t n)
{
    vf64 sum = vf64_zero();
    for (size_t i = 0; i < n; i += WIDTH) {
        const vf32 v = load_up_to(x + i, n - i, 0.0f);
        sum = vf64_add(sum, vf32_mul(v, v));
    }
    return vf64_total(sum) / (double)n;
}

/* y = x less its mean, which is taken away in two parts: one float is not exact enough where the
 * mean is far from zero. */
static void centre(const float *x, size_t n, float *y)
{
    vf64 sum = vf64_zero();
    for (size_t i = 0; i < n; i += WIDTH) {
        sum = vf64_add(sum, load_up_to(x + i, n - i, 0.0f));
    }
    const double mean = vf64_total(sum) / (double)n;
    const float rounded = (float)mean;
    const vf32 high = vf32_set1(rounded), low = vf32_set1((float)(mean - (double)rounded));
    for (size_t i = 0; i < n; i += WIDTH) {
        const vf32 v = load_up_to(x + i, n - i, 0.0f);
        store_up_to(y + i, n - i, vf32_sub(vf32_sub(v, high), low));
    }
}

/* y = x * scale * weight + bias; without weight: 1, without bias: 0. */
static void scale_row(const float *x, float scale, const float *weight, const float *bias, size_t n,
                      float *y)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        const size_t left = n - i;
        vf32 v = vf32_mul(load_up_to(x + i, left, 0.0f), vf32_set1(scale));
        if (weight) {
            v = vf32_mul(v, load_up_to(weight + i, left, 0.0f));
        }
        if (bias) {
            v = vf32_add(v, load_up_to(bias + i, left, 0.0f));
        }
        store_up_to(y + i, left, v);
    }
}

static void norm_rows(const qk_norm *what, const float *x, float *y)
{
    const size_t n = what->width;
    for (size_t row = 0; row < what->n_rows; row++, x += n, y += n) {
        const size_t of_head = row % what->n_heads * n;
        const float *from = x;
        if (what->centered) {
            centre(x, n, y);
            from = y;
        }
        const double scale = 1 / sqrt(mean_square(from, n) + (double)what->epsilon);
        scale_row(from, (float)scale, what->weight ? what->weight + of_head : NULL,
                  what->bias ? what->bias + of_head : NULL, n, y);
    }
}

#endif
