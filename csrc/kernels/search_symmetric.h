/* SPDX-License-Identifier: MIT */
/* The search for a scale: x ~ scale * code, code in -n_max..n_max-1.  See search.h.
 * Source: ggml, make_qx_quants. */
#ifndef QK_SEARCH_SYMMETRIC_H
#define QK_SEARCH_SYMMETRIC_H

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

/* The grids -n_max + tenths / 10 over the extreme weight, tenths = -9..9, that follow the first,
 * and how many of them are summed side by side, none waiting for the sums of the others. */
#define SYMMETRIC_GRIDS 18
#define SYMMETRIC_ABREAST 6

/* sum w*x*code and sum w*code*code on a grid */
typedef struct symmetric_sums {
    lf32 lx, l2;
} symmetric_sums;

/* The sums of n weights on n_grids grids. */
QK_INLINE void symmetric_sum(const lf32 *x, const lf32 *w, int n, int n_max, symmetric_input input,
                             const lf32 *grid, int n_grids, symmetric_sums *sums)
{
    for (int k = 0; k < n_grids; k++) {
        sums[k].lx = sums[k].l2 = lf32_set1(0.0f);
    }
    for (int i = 0; i < n; i++) {
        lf32 wx = lf32_mul(w[i], x[i]);
        for (int k = 0; k < n_grids; k++) {
            lf32 l = lf32_from_bits(symmetric_bits(grid[k], x[i], n_max, input));
            l = lf32_sub(l, lf32_set1(ROUNDING_MAGIC));
            sums[k].lx = lf32_add(sums[k].lx, lf32_mul(wx, l));
            sums[k].l2 = lf32_add(sums[k].l2, lf32_mul(lf32_mul(w[i], l), l));
        }
    }
}

/* Keeps a grid where it beats the best so far; best: what the scale explains of sum w*x^2. */
QK_INLINE void symmetric_keep_better(lf32 grid, symmetric_sums sums, symmetric_fit *fit, lf32 *best)
{
    lmask better = lmask_and(lf32_gt(sums.l2, lf32_set1(0.0f)),
                             lf32_gt(lf32_mul(sums.lx, sums.lx), lf32_mul(*best, sums.l2)));
    lf32 scale = lf32_div(sums.lx, sums.l2);
    fit->scale = lf32_select(better, scale, fit->scale);
    fit->grid = lf32_select(better, grid, fit->grid);
    *best = lf32_select(better, lf32_mul(scale, sums.lx), *best);
}

QK_INLINE symmetric_fit search_symmetric(const lf32 *x, const lf32 *w, int n, int n_max,
                                         symmetric_input input)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 magnitude, grid[SYMMETRIC_ABREAST];
    lf32 extreme = lane_extreme(x, n, &magnitude);
    symmetric_fit fit;
    symmetric_sums sums[SYMMETRIC_ABREAST];
    fit.zero = lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude);
    fit.grid = lf32_div(lf32_set1((float)-n_max), extreme);
    symmetric_sum(x, w, n, n_max, input, &fit.grid, 1, sums);
    fit.scale = lf32_select(lf32_eq(sums->l2, zero), zero, lf32_div(sums->lx, sums->l2));
    lf32 best = lf32_mul(fit.scale, sums->lx);
    for (int step = 0; step < SYMMETRIC_GRIDS; step += SYMMETRIC_ABREAST) {
        for (int k = 0; k < SYMMETRIC_ABREAST; k++) {
            int tenths = step + k < 9 ? step + k - 9 : step + k - 8;
            grid[k] = lf32_div(lf32_set1(-((float)n_max + 0.1f * (float)tenths)), extreme);
        }
        symmetric_sum(x, w, n, n_max, input, grid, SYMMETRIC_ABREAST, sums);
        for (int k = 0; k < SYMMETRIC_ABREAST; k++) {
            symmetric_keep_better(grid[k], sums[k], &fit, &best);
        }
    }
    fit.scale = lf32_select(fit.zero, zero, fit.scale);
    return fit;
}

#endif
