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

/* What x is: weights are finite, and the scales of groups need not be. */
typedef enum symmetric_input { SYMMETRIC_WEIGHTS, SYMMETRIC_SCALES } symmetric_input;

typedef struct symmetric_fit {
    lf32 scale;
    lf32 grid;  /* code = nearest(grid * x), clamped */
    lmask zero; /* the group counts as zero: scale 0, and 0 stands for code + n_max */
} symmetric_fit;

/* nearest(grid * x), clamped to -n_max..n_max-1, as the bits of 1.5 * 2^23 + code.  No weight is
 * larger than the one that the grid was made from, so nothing leaves +-2^22 unless the group
 * counts as zero and its codes are not used.  NaN, which a scale can lead to, has code 0. */
QK_INLINE li32 symmetric_bits(lf32 grid, lf32 x, int n_max, symmetric_input input)
{
    lf32 v = lf32_add(lf32_mul(grid, x), lf32_set1(ROUNDING_MAGIC));
    li32 bits = lf32_bits(v);
    if (input == SYMMETRIC_SCALES) {
        bits = li32_select(lf32_eq(v, v), bits, li32_set1(ROUNDING_BITS));
    }
    return li32_clamp(bits, ROUNDING_BITS - n_max, ROUNDING_BITS + n_max - 1);
}

/* The code of x as it is stored: 0..2*n_max-1. */
QK_INLINE li32 symmetric_stored_code(const symmetric_fit *fit, lf32 x, int n_max,
                                     symmetric_input input)
{
    li32 code = symmetric_bits(fit->grid, x, n_max, input);
    code = li32_sub(code, li32_set1(ROUNDING_BITS - n_max));
    return li32_select(fit->zero, li32_set1(0), code);
}

/* sum w*x*code and sum w*code*code on a grid */
QK_INLINE void symmetric_sums(const lf32 *x, const lf32 *w, int n, int n_max, lf32 grid,
                              symmetric_input input, lf32 *sum_lx, lf32 *sum_l2)
{
    lf32 lx = lf32_set1(0.0f);
    lf32 l2 = lx;
    for (int i = 0; i < n; i++) {
        lf32 l = lf32_from_bits(symmetric_bits(grid, x[i], n_max, input));
        l = lf32_sub(l, lf32_set1(ROUNDING_MAGIC));
        lx = lf32_add(lx, lf32_mul(lf32_mul(w[i], x[i]), l));
        l2 = lf32_add(l2, lf32_mul(lf32_mul(w[i], l), l));
    }
    *sum_lx = lx;
    *sum_l2 = l2;
}

QK_INLINE symmetric_fit search_symmetric(const lf32 *x, const lf32 *w, int n, int n_max,
                                         symmetric_input input)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 magnitude, sum_lx, sum_l2;
    lf32 extreme = lane_extreme(x, n, &magnitude);
    symmetric_fit fit;
    fit.zero = lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude);
    fit.grid = lf32_div(lf32_set1((float)-n_max), extreme);
    symmetric_sums(x, w, n, n_max, fit.grid, input, &sum_lx, &sum_l2);
    fit.scale = lf32_select(lf32_eq(sum_l2, zero), zero, lf32_div(sum_lx, sum_l2));
    lf32 best = lf32_mul(fit.scale, sum_lx);
    for (int step = -9; step <= 9; step++) {
        if (step == 0) {
            continue;
        }
        lf32 grid = lf32_div(lf32_set1(-((float)n_max + 0.1f * (float)step)), extreme);
        symmetric_sums(x, w, n, n_max, grid, input, &sum_lx, &sum_l2);
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

/* Groups that are searched side by side.  A step's sums are chains of dependent additions, and
 * the next step waits for them: a second group fills that time. */
#define AFFINE_GROUPS 2

/* What a search knows of one group. */
typedef struct affine_group {
    const lf32 *x, *w;
    lf32 low, high;    /* smallest and largest weight, low at most 0 */
    lf32 smallest;     /* smallest weight */
    lf32 sum_w, sum_x; /* of w, and of w * x */
    lmask flat;        /* no range to search */
    lf32 min, best;    /* minimum and error of the best fit so far */
    lf32 l[MAX_GROUP]; /* codes on the grid in hand, as floats */
    lf32 sum_l, sum_l2, sum_xl;
} affine_group;

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

/* affine_code as a float, where no value leaves +-2^22: rounded and clamped in the mantissa. */
QK_INLINE lf32 affine_level(affine_search how, lf32 grid_scale, lf32 grid_min, lf32 x)
{
    const lf32 magic = lf32_set1(ROUNDING_MAGIC);
    lf32 v = lf32_add(lf32_mul(grid_scale, lf32_sub(x, grid_min)), magic);
    li32 bits = li32_clamp(lf32_bits(v), ROUNDING_BITS, ROUNDING_BITS + how.n_max);
    return lf32_sub(lf32_from_bits(bits), magic);
}

/* Whether every weight of the group, on the grid, stays within +-2^22 in every lane. */
QK_INLINE int affine_in_range(const affine_group *g, lf32 grid)
{
    const lf32 limit = lf32_set1(4194304.0f);
    lf32 first = lf32_mul(grid, lf32_sub(g->smallest, g->min));
    lf32 last = lf32_mul(grid, lf32_sub(g->high, g->min));
    lmask inside = lmask_and(lf32_gt(limit, lf32_abs(first)), lf32_gt(limit, lf32_abs(last)));
    return !lmask_any(lmask_not(inside));
}

QK_INLINE void affine_start(affine_search how, affine_group *g, const lf32 *x, const lf32 *w)
{
    const lf32 zero = lf32_set1(0.0f);
    g->x = x;
    g->w = w;
    g->smallest = g->high = x[0];
    g->sum_w = w[0];
    g->sum_x = lf32_mul(w[0], x[0]);
    for (int i = 1; i < how.n; i++) {
        g->smallest = lf32_select(lf32_gt(g->smallest, x[i]), x[i], g->smallest);
        g->high = lf32_select(lf32_gt(x[i], g->high), x[i], g->high);
        g->sum_w = lf32_add(g->sum_w, w[i]);
        g->sum_x = lf32_add(g->sum_x, lf32_mul(w[i], x[i]));
    }
    g->low = lf32_select(lf32_gt(g->smallest, zero), zero, g->smallest);
    g->min = g->low;
    g->flat = lf32_eq(g->high, g->low);
}

/* levels / range; 0 where there is no range, so that such a lane holds up no other. */
QK_INLINE lf32 affine_grid(const affine_group *g, float levels)
{
    lf32 grid = lf32_div(lf32_set1(levels), lf32_sub(g->high, g->min));
    return lf32_select(g->flat, lf32_set1(0.0f), grid);
}

/* Codes of all groups on their grids, and their sums under w. */
QK_INLINE void affine_round(affine_search how, affine_group *g, const lf32 *grid)
{
    int in_range = 1;
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        g[k].sum_l = g[k].sum_l2 = g[k].sum_xl = lf32_set1(0.0f);
        in_range &= affine_in_range(&g[k], grid[k]);
    }
    for (int i = 0; !in_range && i < how.n; i++) {
        for (int k = 0; k < AFFINE_GROUPS; k++) {
            g[k].l[i] = lf32_from_li32(affine_code(how, grid[k], g[k].min, g[k].x[i]));
        }
    }
    for (int i = 0; i < how.n; i++) {
        for (int k = 0; k < AFFINE_GROUPS; k++) {
            if (in_range) {
                g[k].l[i] = affine_level(how, grid[k], g[k].min, g[k].x[i]);
            }
            lf32 wl = lf32_mul(g[k].w[i], g[k].l[i]);
            g[k].sum_l = lf32_add(g[k].sum_l, wl);
            g[k].sum_l2 = lf32_add(g[k].sum_l2, lf32_mul(wl, g[k].l[i]));
            g[k].sum_xl = lf32_add(g[k].sum_xl, lf32_mul(wl, g[k].x[i]));
        }
    }
}

/* Of every group, sum of w * |scale * l + min - x|, or of its square. */
QK_INLINE void affine_errors(affine_search how, const affine_group *g, const lf32 *scale,
                             const lf32 *min, lf32 *error)
{
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        error[k] = lf32_set1(0.0f);
    }
    for (int i = 0; i < how.n; i++) {
        for (int k = 0; k < AFFINE_GROUPS; k++) {
            lf32 diff = lf32_add(lf32_mul(scale[k], g[k].l[i]), min[k]);
            diff = lf32_sub(diff, g[k].x[i]);
            diff = how.absolute_error ? lf32_abs(diff) : lf32_mul(diff, diff);
            error[k] = lf32_add(error[k], lf32_mul(g[k].w[i], diff));
        }
    }
}

/* The scale and minimum that fit the codes in hand best; gives the determinant, which must be
 * positive for them to count. */
QK_INLINE lf32 affine_solve(const affine_group *g, lf32 *scale, lf32 *min)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 det = lf32_sub(lf32_mul(g->sum_w, g->sum_l2), lf32_mul(g->sum_l, g->sum_l));
    lf32 s = lf32_sub(lf32_mul(g->sum_w, g->sum_xl), lf32_mul(g->sum_x, g->sum_l));
    lf32 m = lf32_sub(lf32_mul(g->sum_l2, g->sum_x), lf32_mul(g->sum_l, g->sum_xl));
    m = lf32_div(m, det);
    lmask positive = lf32_gt(m, zero);
    *scale = lf32_select(positive, lf32_div(g->sum_xl, g->sum_l2), lf32_div(s, det));
    *min = lf32_select(positive, zero, m);
    return det;
}

/* One step: round on a grid, solve, and keep what beats the best so far. */
QK_INLINE void affine_step(affine_search how, affine_group *g, float levels, affine_fit *fit)
{
    lf32 grid[AFFINE_GROUPS], scale[AFFINE_GROUPS], min[AFFINE_GROUPS];
    lf32 det[AFFINE_GROUPS], error[AFFINE_GROUPS];
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        grid[k] = affine_grid(&g[k], levels);
    }
    affine_round(how, g, grid);
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        det[k] = affine_solve(&g[k], &scale[k], &min[k]);
    }
    affine_errors(how, g, scale, min, error);
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        lmask better = lmask_and(lf32_gt(det[k], lf32_set1(0.0f)), lf32_gt(g[k].best, error[k]));
        g[k].best = lf32_select(better, error[k], g[k].best);
        fit[k].scale = lf32_select(better, scale[k], fit[k].scale);
        fit[k].grid_scale = lf32_select(better, grid[k], fit[k].grid_scale);
        fit[k].grid_min = lf32_select(better, g[k].min, fit[k].grid_min);
        g[k].min = lf32_select(better, min[k], g[k].min);
    }
}

/* Fits AFFINE_GROUPS groups that lie one after the other in x and w. */
QK_INLINE void search_affine(affine_search how, const lf32 *x, const lf32 *w, affine_fit *fit)
{
    const lf32 zero = lf32_set1(0.0f);
    affine_group g[AFFINE_GROUPS];
    lf32 grid[AFFINE_GROUPS], scale[AFFINE_GROUPS], min[AFFINE_GROUPS], error[AFFINE_GROUPS];
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        affine_start(how, &g[k], x + how.n * k, w + how.n * k);
        grid[k] = affine_grid(&g[k], (float)how.n_max);
        scale[k] = fit[k].scale = lf32_div(lf32_set1(1.0f), grid[k]);
        min[k] = fit[k].grid_min = g[k].min;
        /* On a range too small to divide by, the reference rounds this first grid without
         * clamping before, and its codes come out 0, as they do on grid 0. */
        lmask too_small = lf32_gt(grid[k], lf32_set1(FLT_MAX));
        grid[k] = fit[k].grid_scale = lf32_select(too_small, zero, grid[k]);
    }
    affine_round(how, g, grid);
    affine_errors(how, g, scale, min, error);
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        g[k].best = error[k];
    }
    for (int k = 0; k <= how.n_steps; k++) {
        affine_step(how, g, how.first + how.step * (float)k + (float)how.n_max, fit);
    }
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        fit[k].scale = lf32_select(g[k].flat, zero, fit[k].scale);
        fit[k].grid_scale = lf32_select(g[k].flat, zero, fit[k].grid_scale);
        fit[k].minus_min = lf32_neg(lf32_select(g[k].flat, g[k].low, g[k].min));
    }
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
