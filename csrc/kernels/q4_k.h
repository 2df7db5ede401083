/* SPDX-License-Identifier: MIT */
/* Q4_K: 256 weights in 144 bytes, 4.5 bits per weight.
 *
 *     byte 0    d     half precision, unit of the scales
 *     byte 2    dmin  half precision, unit of the minimums
 *     byte 4    12 bytes: eight 6-bit scale codes and eight 6-bit min codes (k_scales.h)
 *     byte 16   128 bytes of 4-bit codes: for each 64 weights 32 bytes, the first 32 weights in
 *               the low halves, the next 32 in the high halves
 *
 *     weight = d * scale[group] * code - dmin * min[group], eight groups of 32
 *
 * Rule: per group, search the scale and minimum that fit best under weights sqrt(mean x^2) + |x|
 * (importance * sqrt(2 * mean x^2 of the superblock + x^2)); code the eight scales and minimums;
 * round the weights anew on what was stored.  Source: ggml, quantize_row_q4_K_ref and _impl. */

QK_TABLE k_rule q4_k_rule = {
    .plain = {32, 15, -1.0f, 0.1f, 20, 0, 0},
    .weighted = {32, 15, -0.9f, 0.05f, 36, 0, 1},
    .n_groups = 8,
    .scale_max = 63,
    .mean_squares = 2.0f,
};

/* The 128 bytes of codes. */
QK_FN void q4_k_pack_codes(const li32 *code, li32 *out)
{
    for (int pair = 0; pair < 4; pair++, code += 64) {
        for (int i = 0; i < 8; i++) {
            out[4 + 8 * pair + i] = word_of_nibbles(code + 4 * i, code + 32 + 4 * i);
        }
    }
}

QK_FN void q4_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    k_fit fit;
    k_fit_superblock(q4_k_rule, x, importance, &fit);
    for (int j = 0; j < 8 && !importance; j++) {
        fit.scale_code[j] = li32_min(fit.scale_code[j], li32_set1(63));
        fit.min_code[j] = li32_min(fit.min_code[j], li32_set1(63));
    }
    out[0] = word_of_halves(fit.d, fit.dmin);
    pack_scales_6bit(fit.scale_code, fit.min_code, out + 1);

    li32 code[256];
    k_superblock_codes(q4_k_rule, x, &fit, code);
    q4_k_pack_codes(code, out);
}

QK_FN void q4_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    lf32 scale[8], min[8];
    for (; n_blocks--; block += 144) {
        load_scales_6bit(block, scale, min);
        for (int j = 0; j < 8; j += 2, y += 64) {
            for (int i = 0; i < 32; i += LANES) {
                li32 both = li32_load_u8(block + 16 + 16 * j + i);
                lf32 v = lf32_from_li32(li32_and(both, li32_set1(15)));
                lf32 w = lf32_from_li32(li32_shr(both, 4));
                lf32_store(y + i, lf32_sub(lf32_mul(scale[j], v), min[j]));
                lf32_store(y + 32 + i, lf32_sub(lf32_mul(scale[j + 1], w), min[j + 1]));
            }
        }
    }
}
