/* SPDX-License-Identifier: MIT */
/* Q6_K: sixteen groups of 16, scale codes -128..127, levels -32..31. */

QK_FN void q6_k_pack_solved(const superblock *s, li32 *out)
{
    li32 code[256], scale[16];
    codes_of_levels(s->level, 256, 32, code);
    codes_of_levels(s->scale, 16, 0, scale);
    for (int g = 0; g < 16; g++) {
        scale[g] = li32_as_u8(scale[g]);
    }
    q6_k_pack(code, scale, f16_from_lf32(s->d), out);
}

static const unit_form q6_k_solver = {
    .group = {.n = 16,
              .try_scales = try_even_16,
              .round_levels = round_even_16,
              .low = -32,
              .high = 31,
              .n_signs = 2,
              .n_scales = 10,
              .reach = 32,
              .first = 0.8f,
              .last = 1.1f,
              .n_refits = 2,
              .nudge = 0.005f},
    .solve = solve_superblock,
    .pack_superblock = q6_k_pack_solved,
    .grid = {-128, 127, 0, -128, 4, 0.9f, 1.1f},
};
