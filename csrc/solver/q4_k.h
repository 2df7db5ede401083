/* SPDX-License-Identifier: MIT */
/* Q4_K and Q5_K: eight groups of 32, 6-bit codes of scales and minimums, levels 0..15 and 0..31. */

QK_INLINE void k_pack_scales(const superblock *s, li32 *out)
{
    li32 scale[8], min[8];
    codes_of_levels(s->scale, 8, 0, scale);
    codes_of_levels(s->min, 8, 0, min);
    out[0] = word_of_halves(f16_from_lf32(s->d), f16_from_lf32(s->dmin));
    pack_scales_6bit(scale, min, out + 1);
}

QK_FN void q4_k_pack_solved(const superblock *s, li32 *out)
{
    li32 code[256];
    codes_of_levels(s->level, 256, 0, code);
    k_pack_scales(s, out);
    for (int pair = 0; pair < 4; pair++) {
        q4_k_pack_pair(code + 64 * pair, pair, out);
    }
}

QK_FN void q5_k_pack_solved(const superblock *s, li32 *out)
{
    li32 code[256], high[32];
    codes_of_levels(s->level, 256, 0, code);
    k_pack_scales(s, out);
    for (int pair = 0; pair < 4; pair++) {
        q5_k_pack_pair(code + 64 * pair, pair, high, out);
    }
    q5_k_pack_high(high, out);
}

#define K_GROUP(most, largest)                                                                     \
    {.n = 32,                                                                                      \
     .try_scales = try_affine_32,                                                                  \
     .round_levels = round_affine_32,                                                              \
     .high = (most),                                                                               \
     .has_min = 1,                                                                                 \
     .n_signs = 1,                                                                                 \
     .n_scales = 6,                                                                                \
     .first = -0.05f,                                                                              \
     .last = (largest),                                                                            \
     .n_refits = 2,                                                                                \
     .nudge = 0.01f}

static const unit_form q4_k_solver = {
    .group = K_GROUP(15, 0.17f),
    .solve = solve_superblock,
    .pack_superblock = q4_k_pack_solved,
    .grid = {0, 63, 63, 63, 5, 0.9f, 1.1f},
};

static const unit_form q5_k_solver = {
    .group = K_GROUP(31, 0.07f),
    .solve = solve_superblock,
    .pack_superblock = q5_k_pack_solved,
    .grid = {0, 63, 63, 63, 5, 0.9f, 1.1f},
};
