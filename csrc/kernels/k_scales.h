/* SPDX-License-Identifier: MIT */
/* What Q2_K, Q4_K and Q5_K share: groups with a scale and a minimum each, both held as small
 * codes of two half-precision numbers d and dmin of the superblock.
 *
 *     weight = d * scale_code[group] * code - dmin * min_code[group]
 */
#ifndef QK_K_SCALES_H
#define QK_K_SCALES_H

#define MAX_GROUPS 16

/* How a format fits its groups.  Weights of error with importance:
 * importance * sqrt(mean_squares * mean x^2 of the superblock + x^2). */
typedef struct k_rule {
    affine_search plain, weighted;
    int n_groups;       /* in a superblock of 256 weights */
    int scale_max;      /* largest scale code */
    float mean_squares; /* see above */
} k_rule;

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

/* The weight of error without importance: |x|, plus the root mean square in groups of 32. */
QK_INLINE void plain_weights(const lf32 *x, int n, lf32 *w)
{
    lf32 root = lf32_set1(0.0f);
    if (n == 32) {
        root = lf32_sqrt(lf32_div(lane_sum_squares(x, n), lf32_set1((float)n)));
    }
    for (int i = 0; i < n; i++) {
        w[i] = lf32_add(root, lf32_abs(x[i]));
    }
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

/* Fits all groups and codes their scales and minimums. */
QK_INLINE void k_fit_superblock(k_rule rule, const lf32 *x, const lf32 *importance, k_fit *fit)
{
    const affine_search how = importance ? rule.weighted : rule.plain;
    lf32 w[MAX_GROUP * AFFINE_GROUPS], sum_w[MAX_GROUPS], mean_square = lf32_set1(0.0f);
    if (importance) {
        mean_square = lf32_mul(lf32_set1(rule.mean_squares), lane_sum_squares(x, 256));
        mean_square = lf32_div(mean_square, lf32_set1(256.0f));
    }
    for (int first = 0; first < rule.n_groups; first += AFFINE_GROUPS) {
        for (int k = 0; k < AFFINE_GROUPS; k++) {
            int at = how.n * (first + k);
            lf32 *wk = w + how.n * k;
            if (importance) {
                importance_weights(x + at, importance + at, mean_square, how.n, wk);
                sum_w[first + k] = lane_sum(wk, how.n);
            } else {
                plain_weights(x + at, how.n, wk);
            }
        }
        search_affine(how, x + how.n * first, w, fit->group + first);
    }
    k_fit_scales(fit, rule.n_groups, rule.scale_max, importance ? sum_w : NULL);
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

/* The codes of all groups on the stored scales and minimums. */
QK_INLINE void k_superblock_codes(k_rule rule, const lf32 *x, const k_fit *fit, li32 *code)
{
    const int n = rule.plain.n;
    for (int j = 0; j < rule.n_groups; j++) {
        k_codes(rule.plain, x + n * j, &fit->group[j], scaled(fit->d, fit->scale_code[j]),
                scaled(fit->dmin, fit->min_code[j]), code + n * j);
    }
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

/* The scales and minimums of the eight groups of a block that starts with d, dmin and the 12
 * bytes. */
QK_INLINE void load_scales_6bit(const uint8_t *block, lf32 *scale, lf32 *min)
{
    const uint8_t *b = block + 4;
    uint8_t scale_code[8], min_code[8];
    for (int k = 0; k < 4; k++) {
        scale_code[k] = b[k] & 63;
        min_code[k] = b[k + 4] & 63;
        scale_code[k + 4] = (uint8_t)((b[k + 8] & 15) | (b[k] >> 6) << 4);
        min_code[k + 4] = (uint8_t)(b[k + 8] >> 4 | (b[k + 4] >> 6) << 4);
    }
    const lf32 d = lf32_load_f16(block), dmin = lf32_load_f16(block + 2);
    for (int j = 0; j < 8; j++) {
        scale[j] = lf32_mul(d, lf32_set1((float)scale_code[j]));
        min[j] = lf32_mul(dmin, lf32_set1((float)min_code[j]));
    }
}

#endif
