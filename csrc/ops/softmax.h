/* SPDX-License-Identifier: MIT */
/* Softmax of rows of logits that come tile by tile, and how far two of them are apart: the sums
 * that evaluate/likelihood.py derives figures from.
 *
 * A row's tile is read twice: for its highest logit, and for the sums.  A model and its base go
 * through the same operations, so that equal logits give equal sums. */
#ifndef QK_SOFTMAX_H
#define QK_SOFTMAX_H

#include "vmath.h"

#define NO_LOGIT -3e38f       /* for lanes without one: a number to subtract from */
#define LEAST_EXPONENT -87.0f /* exp of less is as good as none beside the highest, exp(0) */

/* exp(x) of x <= 0 in double precision, 0 from -700 on: 2^n times a Taylor polynomial of
 * x - n ln 2, the next term of which is below 1e-17. */
static double exp_of_negative(double x)
{
    if (x < -700) {
        return 0;
    }
    const double n = (double)(int)(x * 1.4426950408889634 - 0.5);
    const double r = (x - n * 0.693145751953125) - n * 1.4286068203094172e-6; /* ln 2 in parts */
    double p = 1;
    for (int i = 13; i > 0; i--) {
        p = 1 + p * r / i;
    }
    const uint64_t bits = (uint64_t)(1023 + (int)n) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static float highest_of(const float *logits, size_t n)
{
    vf32 highest = vf32_set1(NO_LOGIT);
    for (size_t i = 0; i < n; i += WIDTH) {
        highest = vf32_max(load_up_to(logits + i, n - i, NO_LOGIT), highest);
    }
    return highest_lane(highest);
}

/* Takes in the highest logit and the target's of n tokens from `first` on.  What sums so far are to
 * be rescaled by. */
static double look_at(qk_softmax *row, const float *logits, size_t n, int64_t first, int64_t target)
{
    if (target >= first && target - first < (int64_t)n) {
        row->wanted = logits[target - first];
    }
    const float highest = highest_of(logits, n);
    if (!(highest > row->highest)) {
        return 1;
    }
    size_t place = 0;
    while (place + 1 < n && logits[place] != highest) {
        place++;
    }
    row->top = first + (int64_t)place;
    const double factor = exp_of_negative((double)row->highest - (double)highest);
    row->highest = highest;
    row->total *= factor;
    return factor;
}

/* The highest logit as an integer and the rest, so that other logits less the first are rounded
 * each in its own way, if at all, and not all alike. */
typedef struct reference {
    vf32 whole, rest;
} reference;

static reference reference_of(float highest)
{
    const int is_small = highest > -4e6f && highest < 4e6f;
    const float whole = is_small ? (highest + TO_INTEGER) - TO_INTEGER : highest;
    return (reference){vf32_set1(whole), vf32_set1(is_small ? highest - whole : 0.0f)};
}

/* Adds exp(x - rest) to a sum: 2^n, and 2^n (exp(r) - 1), which together are more exact than a
 * float.  Gives exp(x - rest); what is below the least exponent counts as that. */
QK_INLINE vf32 add_exp(vf64 *sum, vf32 x, vf32 rest)
{
    x = vf32_max(vf32_set1(LEAST_EXPONENT), x);
    const vf32 shifted = shifted_exponent(vf32_sub(x, rest));
    const vf32 n = vf32_sub(shifted, vf32_set1(TO_INTEGER));
    vf32 r = vf32_sub(vf32_fma(n, vf32_set1(-LN2_FIRST), x), rest);
    r = vf32_fma(n, vf32_set1(-LN2_REST), r);
    const vf32 power = vf32_power_of_two(shifted), more = vf32_mul(exp_less_one(r), power);
    *sum = vf64_add(vf64_add(*sum, power), more);
    return vf32_add(power, more);
}

/* Takes in the logits of n tokens from `first` on. */
static void add_row(const float *logits, size_t n, int64_t first, int64_t target, qk_softmax *row)
{
    look_at(row, logits, n, first, target);
    const reference highest = reference_of(row->highest);
    vf64 total = vf64_zero();
    for (size_t i = 0; i < n; i += WIDTH) {
        const vf32 l = load_up_to(logits + i, n - i, NO_LOGIT);
        add_exp(&total, vf32_sub(l, highest.whole), highest.rest);
    }
    row->total += vf64_total(total);
}

/* The same of a model and its base; adds exp(b - M) (b - l) of their logits l and b to *excess. */
static void add_pair(const float *logits, const float *base_logits, size_t n, int64_t first,
                     int64_t target, qk_softmax *row, qk_softmax *base, double *excess)
{
    look_at(row, logits, n, first, target);
    *excess *= look_at(base, base_logits, n, first, target);
    const reference highest = reference_of(row->highest), of_base = reference_of(base->highest);
    const vf32 least = vf32_set1(LEAST_EXPONENT);
    vf64 total = vf64_zero(), base_total = vf64_zero(), sum = vf64_zero();
    for (size_t i = 0; i < n; i += WIDTH) {
        const vf32 l = load_up_to(logits + i, n - i, NO_LOGIT);
        const vf32 b = load_up_to(base_logits + i, n - i, NO_LOGIT);
        const vf32 x = vf32_sub(b, of_base.whole);
        const vf32 term = vf32_mul(add_exp(&base_total, x, of_base.rest), vf32_sub(b, l));
        add_exp(&total, vf32_sub(l, highest.whole), highest.rest);
        sum = vf64_add(sum, vf32_where_less(x, least, vf32_zero(), term)); /* not 0 * infinity */
    }
    row->total += vf64_total(total);
    base->total += vf64_total(base_total);
    *excess += vf64_total(sum);
}

/* What all rows have in a tile. */
static void add_logits(const qk_tile *tile, const float *logits, qk_softmax *rows)
{
    for (size_t i = 0; i < tile->n_rows; i++) {
        add_row(logits + i * tile->stride, tile->n_cols, tile->first, tile->targets[i], rows + i);
    }
}

static void compare_logits(const qk_tile *tile, const float *logits, const float *base_logits,
                           qk_softmax *rows, qk_softmax *base, double *excess)
{
    for (size_t i = 0; i < tile->n_rows; i++) {
        const size_t at = i * tile->stride;
        add_pair(logits + at, base_logits + at, tile->n_cols, tile->first, tile->targets[i],
                 rows + i, base + i, excess + i);
    }
}

#endif
