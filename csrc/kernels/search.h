/* SPDX-License-Identifier: MIT */
/* The scale searches that the formats share.
 *
 * Each looks for the grid (scale, or scale and minimum) that a group of weights fits best under
 * weighted squares, by trying grids near the obvious one.  Order of operations and tie rules are
 * those of the reference (ggml's make_qx_quants, make_qkx2_quants, make_qkx3_quants and
 * make_qp_quants), which are part of the format's bytes.
 *
 * A fit gives the grid that won rather than the codes: the codes follow from it, and most formats
 * derive them anew from the stored half-precision scales anyway.
 */
#ifndef QK_SEARCH_H
#define QK_SEARCH_H

/* Groups whose largest weight is below this count as zero. */
#define GROUP_MAX_EPS 1e-15f
#define MAX_GROUP 32

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

/* The weight of largest magnitude, the first of equals, with its sign. */
QK_INLINE lf32 lane_extreme(const lf32 *x, int n, lf32 *magnitude)
{
    lf32 extreme = lf32_set1(0.0f);
    lf32 largest = extreme;
    for (int i = 0; i < n; i++) {
        lf32 a = lf32_abs(x[i]);
        lmask more = lf32_gt(a, largest);
        largest = lf32_select(more, a, largest);
        extreme = lf32_select(more, x[i], extreme);
    }
    *magnitude = largest;
    return extreme;
}

/* ---- scale only: x ~ scale * code, code in -n_max..n_max-1 ---- */

typedef struct symmetric_fit {
    lf32 scale;
    lf32 grid;  /* code = nearest(grid * x), clamped */
    lmask zero; /* the group counts as zero: scale 0, and 0 stands for code + n_max */
} symmetric_fit;

QK_INLINE li32 symmetric_code(lf32 grid, lf32 x, int n_max)
{
    return lf32_nearest_clamped(lf32_mul(grid, x), -n_max, n_max - 1);
}

/* The code of x as it is stored: 0..2*n_max-1. */
QK_INLINE li32 symmetric_stored_code(const symmetric_fit *fit, lf32 x, int n_max)
{
    li32 code = li32_add(symmetric_code(fit->grid, x, n_max), li32_set1(n_max));
    return li32_select(fit->zero, li32_set1(0), code);
}

/* sum w*x*code and sum w*code*code on a grid */
QK_INLINE void symmetric_sums(const lf32 *x, const lf32 *w, int n, int n_max, lf32 grid,
                              lf32 *sum_lx, lf32 *sum_l2)
{
    lf32 lx = lf32_set1(0.0f);
    lf32 l2 = lx;
    for (int i = 0; i < n; i++) {
        lf32 l = lf32_from_li32(symmetric_code(grid, x[i], n_max));
        lx = lf32_add(lx, lf32_mul(lf32_mul(w[i], x[i]), l));
        l2 = lf32_add(l2, lf32_mul(lf32_mul(w[i], l), l));
    }
    *sum_lx = lx;
    *sum_l2 = l2;
}

QK_INLINE symmetric_fit search_symmetric(const lf32 *x, const lf32 *w, int n, int n_max)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 magnitude, sum_lx, sum_l2;
    lf32 extreme = lane_extreme(x, n, &magnitude);
    symmetric_fit fit;
    fit.zero = lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude);
    fit.grid = lf32_div(lf32_set1((float)-n_max), extreme);
    symmetric_sums(x, w, n, n_max, fit.grid, &sum_lx, &sum_l2);
    fit.scale = lf32_select(lf32_eq(sum_l2, zero), zero, lf32_div(sum_lx, sum_l2));
    lf32 best = lf32_mul(fit.scale, sum_lx);
    for (int step = -9; step <= 9; step++) {
        if (step == 0) {
            continue;
        }
        lf32 grid = lf32_div(lf32_set1(-((float)n_max + 0.1f * (float)step)), extreme);
        symmetric_sums(x, w, n, n_max, grid, &sum_lx, &sum_l2);
        lmask better = lmask_and(lf32_gt(sum_l2, zero),
                                 lf32_gt(lf32_mul(sum_lx, sum_lx), lf32_mul(best, sum_l2)));
        lf32 scale = lf32_div(sum_lx, sum_l2);
        fit.scale = lf32_select(better, scale, fit.scale);
        fit.grid = lf32_select(better, grid, fit.grid);
        best = lf32_select(better, lf32_mul(scale, sum_lx), best);
    }
    fit.scale = lf32_select(fit.zero, zero, fit.scale);
    return fit;
}

/* ---- scale and minimum: x ~ scale * code + min, code in 0..n_max, min <= 0 ---- */

typedef struct affine_search {
    int n;              /* weights in the group */
    int n_max;          /* largest code */
    float first, step;  /* grid k tries (first + step * k + n_max) levels over the range */
    int n_steps;        /* k = 0..n_steps */
    int absolute_error; /* compare by |error| instead of its square */
    int clamp_first;    /* clamp before rounding, not after (the search with importance) */
} affine_search;

typedef struct affine_fit {
    lf32 scale;
    lf32 minus_min;            /* >= 0 */
    lf32 grid_scale, grid_min; /* code = nearest(grid_scale * (x - grid_min)), clamped */
} affine_fit;

QK_INLINE li32 affine_code(affine_search how, lf32 grid_scale, lf32 grid_min, lf32 x)
{
    lf32 v = lf32_mul(grid_scale, lf32_sub(x, grid_min));
    if (how.clamp_first) {
        const lf32 zero = lf32_set1(0.0f), top = lf32_set1((float)how.n_max);
        v = lf32_select(lf32_gt(v, zero), v, zero); /* also where v is NaN */
        return lf32_nearest(lf32_select(lf32_gt(top, v), v, top));
    }
    return lf32_nearest_clamped(v, 0, how.n_max);
}

/* sum of w * |scale * l + min - x|, or of its square */
QK_INLINE lf32 affine_error(affine_search how, const lf32 *x, const lf32 *w, const lf32 *l,
                            lf32 scale, lf32 min)
{
    lf32 error = lf32_set1(0.0f);
    for (int i = 0; i < how.n; i++) {
        lf32 diff = lf32_sub(lf32_add(lf32_mul(scale, l[i]), min), x[i]);
        diff = how.absolute_error ? lf32_abs(diff) : lf32_mul(diff, diff);
        error = lf32_add(error, lf32_mul(w[i], diff));
    }
    return error;
}

/* One step: round on a grid, solve for the best scale and minimum, keep them where they beat
 * what was found so far. */
QK_INLINE void affine_step(affine_search how, const lf32 *x, const lf32 *w, lf32 max, lf32 sum_w,
                           lf32 sum_x, int k, affine_fit *fit, lf32 *min, lf32 *best)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 l[MAX_GROUP];
    lf32 levels = lf32_set1(how.first + how.step * (float)k + (float)how.n_max);
    lf32 grid = lf32_div(levels, lf32_sub(max, *min));
    lf32 sum_l = zero, sum_l2 = zero, sum_xl = zero;
    for (int i = 0; i < how.n; i++) {
        l[i] = lf32_from_li32(affine_code(how, grid, *min, x[i]));
        lf32 wl = lf32_mul(w[i], l[i]);
        sum_l = lf32_add(sum_l, wl);
        sum_l2 = lf32_add(sum_l2, lf32_mul(wl, l[i]));
        sum_xl = lf32_add(sum_xl, lf32_mul(wl, x[i]));
    }
    lf32 det = lf32_sub(lf32_mul(sum_w, sum_l2), lf32_mul(sum_l, sum_l));
    lf32 scale = lf32_sub(lf32_mul(sum_w, sum_xl), lf32_mul(sum_x, sum_l));
    lf32 new_min = lf32_sub(lf32_mul(sum_l2, sum_x), lf32_mul(sum_l, sum_xl));
    scale = lf32_div(scale, det);
    new_min = lf32_div(new_min, det);
    lmask positive = lf32_gt(new_min, zero);
    new_min = lf32_select(positive, zero, new_min);
    scale = lf32_select(positive, lf32_div(sum_xl, sum_l2), scale);
    lf32 error = affine_error(how, x, w, l, scale, new_min);
    lmask better = lmask_and(lf32_gt(det, zero), lf32_gt(*best, error));
    *best = lf32_select(better, error, *best);
    fit->scale = lf32_select(better, scale, fit->scale);
    fit->grid_scale = lf32_select(better, grid, fit->grid_scale);
    fit->grid_min = lf32_select(better, *min, fit->grid_min);
    *min = lf32_select(better, new_min, *min);
}

QK_INLINE affine_fit search_affine(affine_search how, const lf32 *x, const lf32 *w)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 l[MAX_GROUP];
    lf32 min = x[0], max = x[0], sum_w = w[0], sum_x = lf32_mul(w[0], x[0]);
    for (int i = 1; i < how.n; i++) {
        min = lf32_select(lf32_gt(min, x[i]), x[i], min);
        max = lf32_select(lf32_gt(x[i], max), x[i], max);
        sum_w = lf32_add(sum_w, w[i]);
        sum_x = lf32_add(sum_x, lf32_mul(w[i], x[i]));
    }
    min = lf32_select(lf32_gt(min, zero), zero, min);
    const lmask flat = lf32_eq(max, min);
    const lf32 flat_min = min;

    affine_fit fit;
    lf32 grid = lf32_div(lf32_set1((float)how.n_max), lf32_sub(max, min));
    fit.scale = lf32_div(lf32_set1(1.0f), grid);
    /* On a range too small to divide by, the reference rounds without clamping first, and its
     * codes come out 0 as they do on grid 0. */
    lmask too_small = lf32_gt(grid, lf32_set1(FLT_MAX));
    fit.grid_scale = lf32_select(too_small, zero, grid);
    fit.grid_min = min;
    for (int i = 0; i < how.n; i++) {
        l[i] = lf32_from_li32(affine_code(how, fit.grid_scale, min, x[i]));
    }
    lf32 best = affine_error(how, x, w, l, fit.scale, min);
    for (int k = 0; k <= how.n_steps; k++) {
        affine_step(how, x, w, max, sum_w, sum_x, k, &fit, &min, &best);
    }
    fit.scale = lf32_select(flat, zero, fit.scale);
    fit.grid_scale = lf32_select(flat, zero, fit.grid_scale);
    fit.minus_min = lf32_neg(lf32_select(flat, flat_min, min));
    return fit;
}

/* ---- scales of a superblock: x ~ scale * code, x >= 0, code in 0..n_max ---- */

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

/* One weight at a time, take the code that fits best given the others. */
QK_INLINE lmask positive_refine(const lf32 *x, const lf32 *w, int n, int n_max, li32 *code,
                                lf32 *sum_lx, lf32 *sum_l2)
{
    const lf32 zero = lf32_set1(0.0f);
    lmask changed = lf32_gt(zero, zero);
    for (int i = 0; i < n; i++) {
        lf32 l = lf32_from_li32(code[i]);
        lf32 wx = lf32_mul(w[i], x[i]);
        lf32 lx = lf32_sub(*sum_lx, lf32_mul(wx, l));
        lf32 l2 = lf32_sub(*sum_l2, lf32_mul(lf32_mul(w[i], l), l));
        lmask usable = lmask_and(lf32_gt(lx, zero), lf32_gt(l2, zero));
        li32 next = lf32_nearest(lf32_div(lf32_mul(x[i], l2), lx));
        next = li32_min(next, li32_set1(n_max));
        lf32 nl = lf32_from_li32(next);
        lx = lf32_add(lx, lf32_mul(wx, nl));
        l2 = lf32_add(l2, lf32_mul(lf32_mul(w[i], nl), nl));
        lmask better =
            lf32_gt(lf32_mul(lf32_mul(lx, lx), *sum_l2), lf32_mul(lf32_mul(*sum_lx, *sum_lx), l2));
        lmask take = lmask_and(lmask_and(usable, better), lmask_not(li32_eq(next, code[i])));
        code[i] = li32_select(take, li32_as_u8(next), code[i]);
        *sum_lx = lf32_select(take, lx, *sum_lx);
        *sum_l2 = lf32_select(take, l2, *sum_l2);
        changed = lmask_or(changed, take);
    }
    return changed;
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
    for (int round = 0; round < 5; round++) {
        /* A round without a change leaves the state as it was, so every later one does too. */
        lmask changed = positive_refine(x, w, n, n_max, code, &sum_lx, &sum_l2);
        if (!lmask_any(lmask_and(changed, lmask_not(all_zero)))) {
            break;
        }
    }
    for (int i = 0; i < n; i++) {
        code[i] = li32_select(all_zero, li32_set1(0), code[i]);
    }
    lf32 scale = lf32_select(lf32_gt(sum_l2, zero), lf32_div(sum_lx, sum_l2), zero);
    return lf32_select(all_zero, zero, scale);
}

#endif
