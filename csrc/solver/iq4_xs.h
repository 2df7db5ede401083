/* SPDX-License-Identifier: MIT */
/* IQ4_XS: eight groups of 32, scale codes -32..31, the levels of IQ4_NL. */

QK_FN void iq4_xs_pack_solved(const superblock *s, li32 *out)
{
    li32 code[32], scale[8];
    codes_of_levels(s->scale, 8, 0, scale);
    iq4_xs_pack_scales(f16_from_lf32(s->d), scale, out);
    for (int g = 0; g < 8; g++) {
        for (int i = 0; i < 32; i++) {
            code[i] = iq4_nearest(s->level[32 * g + i]);
        }
        pack_codes(code, 4, out + 2 + 4 * g);
    }
}

static const unit_form iq4_xs_solver = {
    .group = {.n = 32,
              .try_scales = try_iq4_32,
              .round_levels = round_iq4_32,
              .n_signs = 2,
              .n_scales = 12,
              .reach = 127,
              .first = 0.6f,
              .last = 1.2f,
              .n_refits = 2,
              .nudge = 0.01f},
    .solve = solve_superblock,
    .pack_superblock = iq4_xs_pack_solved,
    .grid = {-32, 31, 0, -32, 5, 0.85f, 1.15f},
};
