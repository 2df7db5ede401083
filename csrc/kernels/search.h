/* SPDX-License-Identifier: MIT */
/* What the scale searches share.
 *
 * Each search looks for the grid (scale, or scale and minimum) that a group of weights fits best
 * under weighted squares, by trying grids near the obvious one.  Order of operations and tie rules
 * are those of the reference (ggml's make_qx_quants, make_qkx2_quants, make_qkx3_quants and
 * make_qp_quants), which are part of the format's bytes.
 *
 *     search_symmetric.h    x ~ scale * code
 *     search_affine.h       x ~ scale * code + minimum
 *     search_positive.h     the same as the first for x >= 0, as scales of a superblock are
 *
 * A fit gives the grid that won rather than the codes: the codes follow from it, and most formats
 * derive them anew from the stored half-precision scales anyway.
 */
#ifndef QK_SEARCH_H
#define QK_SEARCH_H

/* Groups whose largest weight is below this count as zero. */
#define GROUP_MAX_EPS 1e-15f
#define MAX_GROUP 32 /* weights in a group, at most */

/* sum of w[i], first to last */
QK_INLINE lf32 lane_sum(const lf32 *w, int n)
{
    lf32 sum = w[0];
    for (int i = 1; i < n; i++) {
        sum = lf32_add(sum, w[i]);
    }
    return sum;
}

/* sum of x[i]^2, first to last */
QK_INLINE lf32 lane_sum_squares(const lf32 *x, int n)
{
    lf32 sum = lf32_set1(0.0f);
    for (int i = 0; i < n; i++) {
        sum = lf32_add(sum, lf32_mul(x[i], x[i]));
    }
    return sum;
}

/* The weight of error under an importance matrix: importance * sqrt(mean square + x^2). */
QK_INLINE void importance_weights(const lf32 *x, const lf32 *importance, lf32 mean_square, int n,
                                  lf32 *w)
{
    for (int i = 0; i < n; i++) {
        lf32 size = lf32_sqrt(lf32_add(mean_square, lf32_mul(x[i], x[i])));
        w[i] = lf32_mul(importance[i], size);
    }
}

/* ---- extremes: of a chain of comparisons each waits for the one before, so four parts of the
 * weights have a chain each; the first of equals stays the first ---- */

#define EXTREME_PARTS 4

/* The weight of largest magnitude, the first of equals, with its sign; n: a multiple of 4. */
QK_INLINE lf32 lane_extreme(const lf32 *x, int n, lf32 *magnitude)
{
    const int part = n / EXTREME_PARTS;
    lf32 largest[EXTREME_PARTS], extreme[EXTREME_PARTS];
    for (int k = 0; k < EXTREME_PARTS; k++) {
        largest[k] = extreme[k] = lf32_set1(0.0f);
    }
    for (int i = 0; i < part; i++) {
        for (int k = 0; k < EXTREME_PARTS; k++) {
            lf32 v = x[part * k + i], a = lf32_abs(v);
            extreme[k] = lf32_select(lf32_gt(a, largest[k]), v, extreme[k]);
            largest[k] = lf32_greater(a, largest[k]);
        }
    }
    for (int k = 1; k < EXTREME_PARTS; k++) {
        extreme[0] = lf32_select(lf32_gt(largest[k], largest[0]), extreme[k], extreme[0]);
        largest[0] = lf32_greater(largest[k], largest[0]);
    }
    *magnitude = largest[0];
    return extreme[0];
}

/* The largest magnitude of n weights, a multiple of 4. */
QK_INLINE lf32 lane_largest(const lf32 *x, int n)
{
    lf32 largest[EXTREME_PARTS];
    for (int k = 0; k < EXTREME_PARTS; k++) {
        largest[k] = lf32_abs(x[k]);
    }
    for (int i = EXTREME_PARTS; i < n; i++) {
        largest[i % EXTREME_PARTS] = lf32_greater(lf32_abs(x[i]), largest[i % EXTREME_PARTS]);
    }
    return lf32_greater(lf32_greater(largest[0], largest[1]), lf32_greater(largest[2], largest[3]));
}

/* The smallest and the largest weight, the first of equals; n: a multiple of 4. */
QK_INLINE void lane_range(const lf32 *x, int n, lf32 *min, lf32 *max)
{
    const int part = n / EXTREME_PARTS;
    lf32 low[EXTREME_PARTS], high[EXTREME_PARTS];
    for (int k = 0; k < EXTREME_PARTS; k++) {
        low[k] = high[k] = x[part * k];
    }
    for (int i = 1; i < part; i++) {
        for (int k = 0; k < EXTREME_PARTS; k++) {
            low[k] = lf32_lesser(x[part * k + i], low[k]);
            high[k] = lf32_greater(x[part * k + i], high[k]);
        }
    }
    for (int k = 1; k < EXTREME_PARTS; k++) {
        low[0] = lf32_lesser(low[k], low[0]);
        high[0] = lf32_greater(high[k], high[0]);
    }
    *min = low[0];
    *max = high[0];
}

#endif
