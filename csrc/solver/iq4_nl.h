/* SPDX-License-Identifier: MIT */
/* IQ4_NL: a scale of either sign in half precision, sixteen uneven levels. */

QK_FN void iq4_nl_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    (void)min;
    li32 code[32], words[4];
    for (int i = 0; i < 32; i++) {
        code[i] = iq4_nearest(level[i]);
    }
    pack_codes(code, 4, words);
    put_after_half(f16_from_lf32(scale), words, 4, out);
}

static const unit_form iq4_nl_solver = {
    .group = {.n = 32,
              .try_scales = try_iq4_32,
              .round_levels = round_iq4_32,
              .n_signs = 2,
              .n_scales = 12,
              .reach = 127,
              .first = 0.6f,
              .last = 1.2f,
              .n_refits = 4,
              .nudge = 0.01f},
    .solve = solve_block,
    .pack_block = iq4_nl_pack,
};
