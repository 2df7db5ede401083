/* SPDX-License-Identifier: MIT */
/* Q4_1 and Q5_1: a scale and a minimum of either sign in half precision, levels 0..15 and 0..31. */

QK_INLINE void pack_affine(lf32 scale, lf32 min, const lf32 *level, int bits, li32 *out)
{
    li32 code[32];
    codes_of_levels(level, 32, 0, code);
    out[0] = word_of_halves(f16_from_lf32(scale), f16_from_lf32(lf32_neg(min)));
    pack_codes(code, bits, out + 1);
}

QK_FN void q4_1_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    pack_affine(scale, min, level, 4, out);
}

QK_FN void q5_1_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    pack_affine(scale, min, level, 5, out);
}

#define AFFINE_FORM(most, least, largest)                                                          \
    {.n = 32,                                                                                      \
     .try_scales = try_affine_32,                                                                  \
     .round_levels = round_affine_32,                                                              \
     .low = 0,                                                                                     \
     .high = (most),                                                                               \
     .has_min = 1,                                                                                 \
     .n_signs = 1,                                                                                 \
     .n_scales = 6,                                                                                \
     .first = (least),                                                                             \
     .last = (largest),                                                                            \
     .n_refits = 4,                                                                                \
     .nudge = 0.01f}

static const unit_form q4_1_solver = {
    .group = AFFINE_FORM(15, -0.05f, 0.17f),
    .solve = solve_block,
    .pack_block = q4_1_pack,
};

static const unit_form q5_1_solver = {
    .group = AFFINE_FORM(31, -0.05f, 0.07f),
    .solve = solve_block,
    .pack_block = q5_1_pack,
};
