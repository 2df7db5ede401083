/* SPDX-License-Identifier: MIT */
/* Q3_K: sixteen groups of 16, scale codes -32..31, levels -4..3. */

QK_FN void q3_k_pack_solved(const superblock *s, li32 *out)
{
    li32 code[256], scale[16];
    codes_of_levels(s->level, 256, 4, code);
    codes_of_levels(s->scale, 16, 32, scale);
    q3_k_pack(code, scale, f16_from_lf32(s->d), out);
}

static const unit_form q3_k_solver = {
    .group = {.n = 16,
              .try_scales = try_even_16,
              .round_levels = round_even_16,
              .low = -4,
              .high = 3,
              .n_signs = 2,
              .n_scales = 12,
              .reach = 4,
              .first = 0.4f,
              .last = 1.25f,
              .n_refits = 2,
              .nudge = 0.01f},
    .solve = solve_superblock,
    .pack_superblock = q3_k_pack_solved,
    .grid = {-32, 31, 0, -32, 5, 0.85f, 1.15f},
};
