/* SPDX-License-Identifier: MIT */
/* Q4_0 and Q5_0: a scale of either sign in half precision, levels -8..7 and -16..15. */

QK_INLINE void pack_symmetric(lf32 scale, const lf32 *level, int bits, li32 *out)
{
    li32 code[32], words[5];
    codes_of_levels(level, 32, 1 << (bits - 1), code);
    pack_codes(code, bits, words);
    put_after_half(f16_from_lf32(scale), words, bits, out);
}

QK_FN void q4_0_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    (void)min;
    pack_symmetric(scale, level, 4, out);
}

QK_FN void q5_0_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    (void)min;
    pack_symmetric(scale, level, 5, out);
}

#define SYMMETRIC_FORM(most, shortest, longest)                                                    \
    {.n = 32,                                                                                      \
     .try_scales = try_even_32,                                                                    \
     .round_levels = round_even_32,                                                                \
     .low = -(most),                                                                               \
     .high = (most) - 1,                                                                           \
     .n_signs = 2,                                                                                 \
     .n_scales = 12,                                                                               \
     .reach = (most),                                                                              \
     .first = (shortest),                                                                          \
     .last = (longest),                                                                            \
     .n_refits = 4,                                                                                \
     .nudge = 0.01f}

static const unit_form q4_0_solver = {
    .group = SYMMETRIC_FORM(8, 0.6f, 1.2f),
    .solve = solve_block,
    .pack_block = q4_0_pack,
};

static const unit_form q5_0_solver = {
    .group = SYMMETRIC_FORM(16, 0.6f, 1.2f),
    .solve = solve_block,
    .pack_block = q5_0_pack,
};
