/* SPDX-License-Identifier: MIT */
/* The search for a scale of what is not negative, as the scales of a superblock are:
 * x ~ scale * code, x >= 0, code in 0..n_max.  See search.h.  Source: ggml, make_qp_quants. */
#ifndef QK_SEARCH_POSITIVE_H
#define QK_SEARCH_POSITIVE_H

/* sum of w * (x - scale * code)^2 on a grid, the first that is tried or a later one */
QK_INLINE lf32 positive_error(const lf32 *x, const lf32 *w, int n, int n_max, lf32 grid, int first)
{
    lf32 scale = lf32_div(lf32_set1(1.0f), grid);
    lf32 error = lf32_set1(0.0f);
    for (int i = 0; i < n; i++) {
        li32 code = lf32_nearest(lf32_mul(grid, x[i]));
        /* The reference keeps its first codes in a byte, and bounds the later ones. */
        code = first ? li32_as_u8(code) : li32_min(code, li32_set1(n_max));
        lf32 diff = lf32_sub(x[i], lf32_mul(scale, lf32_from_li32(code)));
        error = lf32_add(error, lf32_mul(lf32_mul(w[i], diff), diff));
    }
    return error;
}

/* x takes the code that fits best given the others; tells whether that is a new one in any lane.
 * Few are, and while none is the sums stand, so that the next x need not wait. */
QK_INLINE int positive_refine(lf32 x, lf32 w, int n_max, li32 *code, lf32 *sum_lx, lf32 *sum_l2)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 wx = lf32_mul(w, x), l = lf32_from_li32(*code);
    lf32 lx = lf32_sub(*sum_lx, lf32_mul(wx, l));
    lf32 l2 = lf32_sub(*sum_l2, lf32_mul(lf32_mul(w, l), l));
    lmask usable = lmask_and(lf32_gt(lx, zero), lf32_gt(l2, zero));
    li32 next = li32_min(lf32_nearest(lf32_div(lf32_mul(x, l2), lx)), li32_set1(n_max));
    lmask other = lmask_and(usable, lmask_not(li32_eq(next, *code)));
    if (!lmask_any(other)) {
        return 0;
    }
    lf32 nl = lf32_from_li32(next);
    lx = lf32_add(lx, lf32_mul(wx, nl));
    l2 = lf32_add(l2, lf32_mul(lf32_mul(w, nl), nl));
    lmask better =
        lf32_gt(lf32_mul(lf32_mul(lx, lx), *sum_l2), lf32_mul(lf32_mul(*sum_lx, *sum_lx), l2));
    lmask take = lmask_and(other, better);
    *code = li32_select(take, li32_as_u8(next), *code);
    *sum_lx = lf32_select(take, lx, *sum_lx);
    *sum_l2 = lf32_select(take, l2, *sum_l2);
    return lmask_any(take);
}

/* Gives the scale, and the codes (0..255, as the reference's byte holds them). */
QK_INLINE lf32 search_positive(const lf32 *x, const lf32 *w, int n, int n_max, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 max = zero;
    for (int i = 0; i < n; i++) {
        max = lf32_select(lf32_gt(max, x[i]), max, x[i]);
    }
    const lmask all_zero = lf32_gt(lf32_set1(GROUP_MAX_EPS), max);
    lf32 grid = lf32_div(lf32_set1((float)n_max), max);
    lf32 best = positive_error(x, w, n, n_max, grid, 1);
    for (int step = -4; step <= 4; step++) {
        if (step == 0) {
            continue;
        }
        lf32 near = lf32_div(lf32_set1(0.1f * (float)step + (float)n_max), max);
        lf32 error = positive_error(x, w, n, n_max, near, 0);
        lmask better = lf32_gt(best, error);
        best = lf32_select(better, error, best);
        grid = lf32_select(better, near, grid);
    }
    lf32 sum_lx = zero, sum_l2 = zero;
    for (int i = 0; i < n; i++) {
        li32 bounded = li32_min(lf32_nearest(lf32_mul(grid, x[i])), li32_set1(n_max));
        lf32 l = lf32_from_li32(bounded);
        code[i] = li32_as_u8(bounded);
        sum_lx = lf32_add(sum_lx, lf32_mul(lf32_mul(w[i], x[i]), l));
        sum_l2 = lf32_add(sum_l2, lf32_mul(lf32_mul(w[i], l), l));
    }
    /* A round without a change leaves the sums as they were, so every later one does too. */
    for (int round = 0, changed = 1; round < 5 && changed; round++) {
        changed = 0;
        for (int i = 0; i < n; i++) {
            changed |= positive_refine(x[i], w[i], n_max, &code[i], &sum_lx, &sum_l2);
        }
    }
    for (int i = 0; i < n; i++) {
        code[i] = li32_select(all_zero, li32_set1(0), code[i]);
    }
    lf32 scale = lf32_select(lf32_gt(sum_l2, zero), lf32_div(sum_lx, sum_l2), zero);
    return lf32_select(all_zero, zero, scale);
}

#endif
