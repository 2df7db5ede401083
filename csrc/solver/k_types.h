/* SPDX-License-Identifier: MIT */
/* The types of superblocks: 256 weights in groups whose scales (and minimums) are small multiples
 * of d (and dmin).  Layouts: the files of kernels/ with their names. */
#ifndef QK_K_TYPES_H
#define QK_K_TYPES_H

/* Scales and minimums as integers. */
QK_INLINE void whole_scales(const lf32 *scale, int n, int offset, li32 *out)
{
    for (int g = 0; g < n; g++) {
        out[g] = li32_add(li32_trunc(scale[g]), li32_set1(offset));
    }
}

QK_FN void pack_q2_k(unit_codes *codes, li32 *out)
{
    li32 scale[16], min[16];
    whole_scales(codes->scale, 16, 0, scale);
    whole_scales(codes->min, 16, 0, min);
    q2_k_pack(codes->code, scale, min, half_of(codes->d), half_of(codes->dmin), out);
}

QK_FN void pack_q3_k(unit_codes *codes, li32 *out)
{
    li32 scale[16];
    whole_scales(codes->scale, 16, 32, scale);
    q3_k_pack(codes->code, scale, half_of(codes->d), out);
}

/* d, dmin, scales and minimums of Q4_K and Q5_K. */
QK_FN void pack_6bit_head(const unit_codes *codes, li32 *out)
{
    li32 scale[8], min[8];
    whole_scales(codes->scale, 8, 0, scale);
    whole_scales(codes->min, 8, 0, min);
    out[0] = word_of_halves(half_of(codes->d), half_of(codes->dmin));
    pack_scales_6bit(scale, min, out + 1);
}

QK_FN void pack_q4_k(unit_codes *codes, li32 *out)
{
    pack_6bit_head(codes, out);
    q4_k_pack_codes(codes->code, out);
}

QK_FN void pack_q5_k(unit_codes *codes, li32 *out)
{
    pack_6bit_head(codes, out);
    q5_k_pack_codes(codes->code, out);
}

QK_FN void pack_q6_k(unit_codes *codes, li32 *out)
{
    li32 scale[16];
    whole_scales(codes->scale, 16, 0, scale);
    for (int g = 0; g < 16; g++) {
        scale[g] = li32_as_u8(scale[g]);
    }
    q6_k_pack(codes->code, scale, half_of(codes->d), out);
}

QK_FN void pack_iq4_xs(unit_codes *codes, li32 *out)
{
    li32 scale[8];
    whole_scales(codes->scale, 8, 32, scale);
    iq4_xs_pack(codes->code, scale, half_of(codes->d), out);
}

/* Scales and minimums from 0 to high_scale; share: the most that is cut off either end of the range
 * of a group. */
#define K_AFFINE_GROUP(size, high_level, high_scale, share)                                        \
    .n = size, .level = {LEVELS_WHOLE, 0.0f, high_level}, .has_min = 1, .grid = GRID_WHOLE,        \
    .min_grid = GRID_WHOLE, .scale_high = high_scale, .min_high = high_scale, .first = -0.05f,     \
    .last = share, .n_tries = 6, .n_refits = 3

/* Scales from low_scale to high_scale; from, to: factors tried for the largest level. */
#define K_SYMMETRIC_GROUP(size, kind, low_level, high_level, low_scale, high_scale, from, to)      \
    .n = size, .level = {kind, low_level, high_level}, .grid = GRID_WHOLE, .scale_low = low_scale, \
    .scale_high = high_scale, .both_signs = 1, .reach = -(low_level), .first = from, .last = to,   \
    .n_tries = 12, .n_refits = 4

/* low, high: the d that are tried, n of them, relative to the one that just fits; the rest says how
 * a group is solved. */
#define K_RULE(name, n, low, high, code_offset, ...)                                               \
    QK_RULE unit_rule name##_solver = {.group = {__VA_ARGS__},                                     \
                                       .unit = QK_SUPERBLOCK,                                      \
                                       .n_units = n,                                               \
                                       .first_unit = low,                                          \
                                       .last_unit = high,                                          \
                                       .n_refits = 2,                                              \
                                       .n_descents = 4,                                            \
                                       .offset = code_offset}

K_RULE(q2_k, 7, 0.8f, 1.3f, 0, K_AFFINE_GROUP(16, 3.0f, 15.0f, 0.40f));
K_RULE(q4_k, 5, 0.9f, 1.1f, 0, K_AFFINE_GROUP(32, 15.0f, 63.0f, 0.17f));
K_RULE(q5_k, 5, 0.9f, 1.1f, 0, K_AFFINE_GROUP(32, 31.0f, 63.0f, 0.07f));
K_RULE(q3_k, 5, 0.85f, 1.15f, 4,
       K_SYMMETRIC_GROUP(16, LEVELS_WHOLE, -4.0f, 3.0f, -32.0f, 31.0f, 0.4f, 1.25f));
K_RULE(q6_k, 4, 0.9f, 1.1f, 32,
       K_SYMMETRIC_GROUP(16, LEVELS_WHOLE, -32.0f, 31.0f, -128.0f, 127.0f, 0.8f, 1.1f));
K_RULE(iq4_xs, 5, 0.85f, 1.15f, 0,
       K_SYMMETRIC_GROUP(32, LEVELS_IQ4, -127.0f, 113.0f, -32.0f, 31.0f, 0.6f, 1.2f));

#define QK_K_SOLVERS(X) X(q2_k) X(q3_k) X(q4_k) X(q5_k) X(q6_k) X(iq4_xs)

#endif
