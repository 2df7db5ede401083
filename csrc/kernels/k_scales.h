/* SPDX-License-Identifier: MIT */
/* What Q2_K, Q4_K and Q5_K share: groups with a scale and a minimum each, both held as small
 * codes of two half-precision numbers d and dmin of the superblock.
 *
 *     weight = d * scale_code[group] * code - dmin * min_code[group]
 */
#ifndef QK_K_SCALES_H
#define QK_K_SCALES_H

#define MAX_GROUPS 16

typedef struct k_fit {
    affine_fit group[MAX_GROUPS];
    li32 scale_code[MAX_GROUPS], min_code[MAX_GROUPS]; /* 0..255, as the reference's bytes */
    li32 d, dmin;                                      /* half precision */
} k_fit;

/* Without importance: codes relative to the largest value, which gets n_max. */
QK_INLINE li32 scale_codes_by_max(const lf32 *v, int n, int n_max, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f), top = lf32_set1((float)n_max);
    lf32 max = zero;
    for (int j = 0; j < n; j++) {
        max = lf32_select(lf32_gt(v[j], max), v[j], max);
    }
    lf32 inverse = lf32_select(lf32_gt(max, zero), lf32_div(top, max), zero);
    for (int j = 0; j < n; j++) {
        code[j] = li32_as_u8(lf32_nearest(lf32_mul(inverse, v[j])));
    }
    return f16_from_lf32(lf32_div(max, top));
}

/* The two numbers and the codes from the groups' fits; sum_w: each group's sum of weights, or
 * NULL without importance. */
QK_INLINE void k_fit_scales(k_fit *fit, int n, int n_max, const lf32 *sum_w)
{
    lf32 scale[MAX_GROUPS], min[MAX_GROUPS];
    for (int j = 0; j < n; j++) {
        scale[j] = fit->group[j].scale;
        min[j] = fit->group[j].minus_min;
    }
    if (sum_w) {
        fit->d = f16_from_lf32(search_positive(scale, sum_w, n, n_max, fit->scale_code));
        fit->dmin = f16_from_lf32(search_positive(min, sum_w, n, n_max, fit->min_code));
    } else {
        fit->d = scale_codes_by_max(scale, n, n_max, fit->scale_code);
        fit->dmin = scale_codes_by_max(min, n, n_max, fit->min_code);
    }
}

/* The codes of one group, rounded anew on its stored scale and minimum. */
QK_INLINE void k_codes(affine_search how, const lf32 *x, const affine_fit *fit, lf32 scale,
                       lf32 minus_min, li32 *code)
{
    for (int i = 0; i < how.n; i++) {
        lf32 v = lf32_div(lf32_add(x[i], minus_min), scale);
        code[i] = lf32_nearest_clamped(v, 0, how.n_max);
    }
    lmask no_scale = lf32_eq(scale, lf32_set1(0.0f));
    if (lmask_any(no_scale)) { /* there the codes of the search stand */
        for (int i = 0; i < how.n; i++) {
            li32 searched = affine_code(how, fit->grid_scale, fit->grid_min, x[i]);
            code[i] = li32_select(no_scale, searched, code[i]);
        }
    }
}

/* The value of a code under a half-precision unit. */
QK_INLINE lf32 scaled(li32 unit, li32 code)
{
    return lf32_mul(lf32_from_f16(unit), lf32_from_li32(code));
}

/* ---- the 12 bytes in which Q4_K and Q5_K hold eight 6-bit scale and min codes ----
 *
 *     byte k = 0..3    scale[k] | high 2 bits of scale[k+4] << 6
 *     byte 4+k         min[k]   | high 2 bits of min[k+4] << 6
 *     byte 8+k         low 4 bits of scale[k+4] | low 4 bits of min[k+4] << 4
 *
 * Packing also replaces the codes by those that a reader will find. */
QK_INLINE void pack_scales_6bit(li32 *scale, li32 *min, li32 *words)
{
    const li32 low4 = li32_set1(15), low6 = li32_set1(63);
    li32 byte[12];
    for (int k = 0; k < 4; k++) {
        byte[k] = li32_as_u8(li32_or(scale[k], li32_shl(li32_shr(scale[k + 4], 4), 6)));
        byte[4 + k] = li32_as_u8(li32_or(min[k], li32_shl(li32_shr(min[k + 4], 4), 6)));
        byte[8 + k] =
            li32_or(li32_and(scale[k + 4], low4), li32_shl(li32_and(min[k + 4], low4), 4));
        scale[k] = li32_and(byte[k], low6);
        min[k] = li32_and(byte[4 + k], low6);
        scale[k + 4] = li32_or(li32_and(byte[8 + k], low4), li32_shl(li32_shr(byte[k], 6), 4));
        min[k + 4] = li32_or(li32_shr(byte[8 + k], 4), li32_shl(li32_shr(byte[4 + k], 6), 4));
    }
    for (int i = 0; i < 3; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
}

/* Scale and min code of group j, from the 12 bytes. */
QK_INLINE void unpack_scale_6bit(const uint8_t *b, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = b[j] & 63;
        *min = b[j + 4] & 63;
    } else {
        *scale = (b[j + 4] & 15) | (b[j - 4] >> 6) << 4;
        *min = b[j + 4] >> 4 | (b[j] >> 6) << 4;
    }
}

/* The weight of error without importance: sqrt(mean x^2 of the group) + |x|. */
QK_INLINE void root_mean_square_weights(const lf32 *x, lf32 *w)
{
    lf32 root = lf32_sqrt(lf32_div(lane_sum_squares(x, 32), lf32_set1(32.0f)));
    for (int i = 0; i < 32; i++) {
        w[i] = lf32_add(root, lf32_abs(x[i]));
    }
}

/* The eight groups of 32 of Q4_K and Q5_K, which differ in the number of levels only. */
QK_INLINE void k_fit_groups_of_32(affine_search plain, affine_search weighted, const lf32 *x,
                                  const lf32 *importance, k_fit *fit)
{
    lf32 w[32 * AFFINE_GROUPS], sum_w[8];
    lf32 mean_square = lf32_set1(0.0f);
    if (importance) {
        mean_square = lf32_mul(lf32_set1(2.0f), lane_sum_squares(x, 256));
        mean_square = lf32_div(mean_square, lf32_set1(256.0f));
    }
    for (int j = 0; j < 8; j++) {
        const lf32 *xj = x + 32 * j;
        lf32 *wj = w + 32 * (j % AFFINE_GROUPS);
        if (importance) {
            importance_weights(xj, importance + 32 * j, mean_square, 32, wj);
            sum_w[j] = lane_sum(wj, 32);
        } else {
            root_mean_square_weights(xj, wj);
        }
        if (j % AFFINE_GROUPS == AFFINE_GROUPS - 1) { /* a set of groups is ready */
            int first = j + 1 - AFFINE_GROUPS;
            search_affine(importance ? weighted : plain, x + 32 * first, w, fit->group + first);
        }
    }
    k_fit_scales(fit, 8, 63, importance ? sum_w : NULL);
}

#endif
