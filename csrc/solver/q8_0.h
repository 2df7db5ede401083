/* SPDX-License-Identifier: MIT */
/* Q8_0: a scale in half precision, levels -127..127. */

QK_FN void q8_0_pack(lf32 scale, lf32 min, const lf32 *level, li32 *out)
{
    (void)min;
    li32 code[32], words[8];
    codes_of_levels(level, 32, 0, code);
    for (int i = 0; i < 32; i++) {
        code[i] = li32_as_u8(code[i]);
    }
    for (int i = 0; i < 8; i++) {
        words[i] = word_of_bytes(code + 4 * i);
    }
    put_after_half(f16_from_lf32(scale), words, 8, out);
}

static const unit_form q8_0_solver = {
    .group = {.n = 32,
              .try_scales = try_even_32,
              .round_levels = round_even_32,
              .low = -127,
              .high = 127,
              .n_signs = 1,
              .n_scales = 12,
              .reach = 127,
              .first = 0.9f,
              .last = 1.03f,
              .n_refits = 4,
              .nudge = 0.001f},
    .solve = solve_block,
    .pack_block = q8_0_pack,
};
