/* SPDX-License-Identifier: MIT */
/* What IQ4_NL and IQ4_XS share: sixteen levels that lie closer together near zero, and the search
 * for a scale on them.  Source: ggml, kvalues_iq4nl and quantize_row_iq4_nl_impl. */
#ifndef QK_IQ4_H
#define QK_IQ4_H

QK_TABLE float iq4_level[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                1,    13,   25,  38,  53,  69,  89,  113};
/* Halfway between level k - 1 and level k; a value on it belongs to the upper one.  Near it both
 * distances are exact in float, so comparing with it gives what comparing distances gives. */
QK_TABLE float iq4_boundary[16] = {0,     -115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16,
                                   -4.5f, 7,       19,     31.5f, 45.5f, 61,  79,     101};

/* The grids that the search tries: the extreme weight at level -127 + k, |k| <= this. */
#define IQ4_TRIES 7

/* One halving of iq4_nearest: the step up to `probe` is taken unless x lies below it. */
QK_INLINE li32 iq4_step(li32 code, int step, lf32 x)
{
    li32 probe = li32_or(code, li32_set1(step));
    return li32_select(lf32_gt(lf32_lookup16(iq4_boundary, probe), x), code, probe);
}

/* The code of the level nearest to x; 15 where x is NaN, as in the reference. */
QK_INLINE li32 iq4_nearest(lf32 x)
{
    li32 zero = li32_set1(0), eight = li32_set1(8);
    li32 code = li32_select(lf32_gt(lf32_set1(iq4_boundary[8]), x), zero, eight);
    return iq4_step(iq4_step(iq4_step(code, 4, x), 2, x), 1, x);
}

/* sum w*q*x and sum w*q*q of 32 weights on a grid, q being the level nearest to grid * x */
QK_INLINE void iq4_sums(const lf32 *x, const lf32 *w, lf32 grid, lf32 *sum_qx, lf32 *sum_q2)
{
    lf32 qx = lf32_set1(0.0f), q2 = qx;
    for (int i = 0; i < 32; i++) {
        lf32 q = lf32_lookup16(iq4_level, iq4_nearest(lf32_mul(grid, x[i])));
        lf32 wq = lf32_mul(w[i], q);
        qx = lf32_add(qx, lf32_mul(wq, x[i]));
        q2 = lf32_add(q2, lf32_mul(wq, q));
    }
    *sum_qx = qx;
    *sum_q2 = q2;
}

/* The scale that 32 weights fit best under weights w; 0 for a group that counts as zero. */
QK_INLINE lf32 iq4_search(const lf32 *x, const lf32 *w)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 magnitude, sum_qx, sum_q2;
    lf32 extreme = lane_extreme(x, 32, &magnitude);
    lf32 first = lf32_div(lf32_neg(extreme), lf32_set1(iq4_level[0]));
    iq4_sums(x, w, lf32_div(lf32_set1(1.0f), first), &sum_qx, &sum_q2);
    lf32 scale = lf32_select(lf32_gt(sum_q2, zero), lf32_div(sum_qx, sum_q2), zero);
    lf32 best = lf32_mul(scale, sum_qx);
    for (int k = -IQ4_TRIES; k <= IQ4_TRIES; k++) {
        lf32 grid = lf32_div(lf32_set1((float)k + iq4_level[0]), extreme);
        iq4_sums(x, w, grid, &sum_qx, &sum_q2);
        lmask better = lmask_and(lf32_gt(sum_q2, zero),
                                 lf32_gt(lf32_mul(sum_qx, sum_qx), lf32_mul(best, sum_q2)));
        scale = lf32_select(better, lf32_div(sum_qx, sum_q2), scale);
        best = lf32_select(better, lf32_mul(scale, sum_qx), best);
    }
    return lf32_select(lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude), zero, scale);
}

/* The weights of error of 32 weights; mean_square: twice the mean of x^2 of the block. */
QK_INLINE void iq4_weights(const lf32 *x, const lf32 *importance, lf32 mean_square, lf32 *w)
{
    if (importance) {
        importance_weights(x, importance, mean_square, 32, w);
        return;
    }
    for (int i = 0; i < 32; i++) {
        w[i] = lf32_mul(x[i], x[i]);
    }
}

/* 32 weights from 16 bytes of codes. */
QK_INLINE void iq4_dequantize(const uint8_t *codes, lf32 scale, float *y)
{
    for (int i = 0; i < 32; i += LANES) {
        lf32 level = lf32_lookup16(iq4_level, load_nibbles(codes, i));
        lf32_store(y + i, lf32_mul(scale, level));
    }
}

#endif
