/* SPDX-License-Identifier: MIT */
/* Q2_K: sixteen groups of 16, 4-bit codes of scales and minimums, levels 0..3. */

QK_FN void q2_k_pack_solved(const superblock *s, li32 *out)
{
    li32 code[256], scale[16], min[16], both[16];
    codes_of_levels(s->level, 256, 0, code);
    codes_of_levels(s->scale, 16, 0, scale);
    codes_of_levels(s->min, 16, 0, min);
    for (int g = 0; g < 16; g++) {
        both[g] = li32_or(scale[g], li32_shl(min[g], 4));
    }
    q2_k_pack(code, both, f16_from_lf32(s->d), f16_from_lf32(s->dmin), out);
}

static const unit_form q2_k_solver = {
    .group = {.n = 16,
              .try_scales = try_affine_16,
              .round_levels = round_affine_16,
              .high = 3,
              .has_min = 1,
              .n_signs = 1,
              .n_scales = 6,
              .first = -0.05f,
              .last = 0.4f,
              .n_refits = 2,
              .nudge = 0.02f},
    .solve = solve_superblock,
    .pack_superblock = q2_k_pack_solved,
    .grid = {0, 15, 15, 15, 7, 0.8f, 1.3f},
};
