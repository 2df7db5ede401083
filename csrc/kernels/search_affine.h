/* SPDX-License-Identifier: MIT */
/* The search for a scale and a minimum: x ~ scale * code + min, code in 0..n_max, min <= 0.  See
 * search.h.  Source: ggml, make_qkx2_quants and make_qkx3_quants. */
#ifndef QK_SEARCH_AFFINE_H
#define QK_SEARCH_AFFINE_H

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

/* Groups that are searched at a time.  Each step of one waits for the sums of the step before; the
 * steps of the others fill that time. */
#define AFFINE_GROUPS LANE_CHAINS
/* Of these, as many go through a loop over weights abreast as keep their sums in registers. */
#define AFFINE_ABREAST (AFFINE_GROUPS < LANE_REGISTERS / 8 ? AFFINE_GROUPS : LANE_REGISTERS / 8)

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

/* Where the values grid * (x - min) of a group lie, in all lanes. */
typedef enum affine_spread {
    AFFINE_INSIDE, /* each rounds to a code: no clamping */
    AFFINE_NEAR,   /* each within +-2^22: clamp what it rounds to */
    AFFINE_FAR     /* anywhere */
} affine_spread;

/* affine_code as a float (a code 0 of either sign). */
QK_INLINE lf32 affine_level(affine_search how, affine_spread spread, lf32 grid, lf32 min, lf32 x)
{
    if (spread == AFFINE_FAR) {
        return lf32_from_li32(affine_code(how, grid, min, x));
    }
    lf32 v = lf32_round(lf32_mul(grid, lf32_sub(x, min)));
    if (spread == AFFINE_INSIDE) {
        return v;
    }
    /* Floats from 0 up are ordered as their bits are, and the bits of the others are negative. */
    li32 bits = li32_max(lf32_bits(v), li32_set1(0));
    return lf32_from_bits(li32_min(bits, lf32_bits(lf32_set1((float)how.n_max))));
}

/* Both operations of grid * (x - min) are monotone in x, so the smallest and the largest weight
 * tell of all: in this order where the grid is positive, as it is until min passes high. */
QK_INLINE affine_spread affine_spread_of(affine_search how, const affine_group *g, lf32 grid)
{
    const lf32 zero = lf32_set1(0.0f), limit = lf32_set1(4194304.0f);
    lf32 first = lf32_mul(grid, lf32_sub(g->smallest, g->min));
    lf32 last = lf32_mul(grid, lf32_sub(g->high, g->min));
    lmask inside = lmask_and(lf32_gt(first, lf32_set1(-0.5f)), lf32_gt(grid, zero));
    inside = lmask_and(inside, lf32_gt(lf32_set1((float)how.n_max + 0.5f), last));
    if (!lmask_any(lmask_not(inside))) {
        return AFFINE_INSIDE;
    }
    lmask near = lmask_and(lf32_gt(limit, lf32_abs(first)), lf32_gt(limit, lf32_abs(last)));
    return lmask_any(lmask_not(near)) ? AFFINE_FAR : AFFINE_NEAR;
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
    /* Where all weights are low, they have code 0 on any grid, which nothing beats. */
    g->high = lf32_select(g->flat, lf32_set1(1.0f), g->high);
}

/* levels / range */
QK_INLINE lf32 affine_grid(const affine_group *g, float levels)
{
    return lf32_div(lf32_set1(levels), lf32_sub(g->high, g->min));
}

/* Codes of AFFINE_ABREAST groups on their grids, and their sums under w.  The sums grow outside g:
 * codes are written there, and not every compiler sees that those leave the sums alone. */
QK_INLINE void affine_sums(affine_search how, affine_spread spread, affine_group *g,
                           const lf32 *grid)
{
    lf32 min[AFFINE_ABREAST], sum_l[AFFINE_ABREAST], sum_l2[AFFINE_ABREAST], sum_xl[AFFINE_ABREAST];
    for (int k = 0; k < AFFINE_ABREAST; k++) {
        min[k] = g[k].min;
        sum_l[k] = sum_l2[k] = sum_xl[k] = lf32_set1(0.0f);
    }
    for (int i = 0; i < how.n; i++) {
        for (int k = 0; k < AFFINE_ABREAST; k++) {
            lf32 x = g[k].x[i];
            lf32 l = affine_level(how, spread, grid[k], min[k], x);
            lf32 wl = lf32_mul(g[k].w[i], l);
            g[k].l[i] = l;
            sum_l[k] = lf32_add(sum_l[k], wl);
            sum_l2[k] = lf32_add(sum_l2[k], lf32_mul(wl, l));
            sum_xl[k] = lf32_add(sum_xl[k], lf32_mul(wl, x));
        }
    }
    for (int k = 0; k < AFFINE_ABREAST; k++) {
        g[k].sum_l = sum_l[k];
        g[k].sum_l2 = sum_l2[k];
        g[k].sum_xl = sum_xl[k];
    }
}

/* affine_sums, which clamps no more than its weights need. */
QK_INLINE void affine_round_abreast(affine_search how, affine_group *g, const lf32 *grid)
{
    affine_spread widest = AFFINE_INSIDE;
    for (int k = 0; k < AFFINE_ABREAST; k++) {
        affine_spread spread = affine_spread_of(how, &g[k], grid[k]);
        widest = spread > widest ? spread : widest;
    }
    if (widest == AFFINE_INSIDE) {
        affine_sums(how, AFFINE_INSIDE, g, grid);
    } else if (widest == AFFINE_NEAR) {
        affine_sums(how, AFFINE_NEAR, g, grid);
    } else {
        affine_sums(how, AFFINE_FAR, g, grid);
    }
}

QK_INLINE void affine_round(affine_search how, affine_group *g, const lf32 *grid)
{
    for (int k = 0; k < AFFINE_GROUPS; k += AFFINE_ABREAST) {
        affine_round_abreast(how, g + k, grid + k);
    }
}

/* Of AFFINE_ABREAST groups, sum of w * |scale * l + min - x|, or of its square. */
QK_INLINE void affine_errors_abreast(affine_search how, const affine_group *g, const lf32 *scale,
                                     const lf32 *min, lf32 *error)
{
    for (int k = 0; k < AFFINE_ABREAST; k++) {
        error[k] = lf32_set1(0.0f);
    }
    for (int i = 0; i < how.n; i++) {
        for (int k = 0; k < AFFINE_ABREAST; k++) {
            lf32 diff = lf32_add(lf32_mul(scale[k], g[k].l[i]), min[k]);
            diff = lf32_sub(diff, g[k].x[i]);
            diff = how.absolute_error ? lf32_abs(diff) : lf32_mul(diff, diff);
            error[k] = lf32_add(error[k], lf32_mul(g[k].w[i], diff));
        }
    }
}

QK_INLINE void affine_errors(affine_search how, const affine_group *g, const lf32 *scale,
                             const lf32 *min, lf32 *error)
{
    for (int k = 0; k < AFFINE_GROUPS; k += AFFINE_ABREAST) {
        affine_errors_abreast(how, g + k, scale + k, min + k, error + k);
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

#endif
