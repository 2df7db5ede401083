/* SPDX-License-Identifier: MIT */
/* IQ2_XXS: 256 weights in 66 bytes, 2.0625 bits per weight.
 *
 *     byte 0   d  half precision
 *     byte 2   eight groups of 32 weights, 8 bytes each:
 *              bytes 0..3  index of each 8 weights in a codebook of 256 entries
 *              word 4      from bit 7 * k seven signs of weights 8k..8k+6; the eighth makes the
 *                          number of minus signs even; from bit 28 the scale code
 *
 *     weight = d * (0.5 + scale code) / 4 * entry, with its sign
 *
 * Rule: each group's scale starts from a fit of codes 0..4, then grids near it are tried and all
 * entries are chosen anew on the best scale.  Importance is needed.
 * Source: ggml, quantize_row_iq2_xxs_impl. */

QK_TABLE codebook iq2_xxs_book = {
    .entries = {qk_iq2_xxs_points, qk_iq2_xxs_lists, 8},
    .n = 32,
    .n_steps = 6,
    .step = 0.1f,
    .refit = REFIT_ALL,
    .least = GROUP_MAX_EPS,
    .even_signs = 1,
};

QK_FN void iq2_xxs_words(const li32 *index, const li32 *signs, const li32 *scale_code, li32 *words)
{
    for (int j = 0; j < 8; j++) {
        words[2 * j] = word_of_bytes(index + 4 * j);
        words[2 * j + 1] = word_of_signs(signs + 4 * j, scale_code[j]);
    }
}

QK_FN void iq2_xxs_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                            li32 *out)
{
    (void)row_mean_square;
    const lf32 mean_square = lf32_div(lane_sum_squares(x, 256), lf32_set1(256.0f));
    lf32 w[32], scale[8];
    li32 index[32], signs[32], scale_code[8], words[16];
    for (int j = 0; j < 8; j++) {
        importance_weights(x + 32 * j, importance + 32 * j, mean_square, 32, w);
        scale[j] = codebook_group(iq2_xxs_book, x + 32 * j, w, index + 4 * j, signs + 4 * j);
    }
    lf32 d = codebook_scales(scale, 8, scale_code);
    iq2_xxs_words(index, signs, scale_code, words);
    clear_words_without_scale(d, words, 16);
    put_after_half(f16_from_lf32(d), words, 16, out);
}

QK_FN void iq2_xxs_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    uint8_t value[32], sign[32];
    for (; n_blocks--; block += 66) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 8; j++, y += 32) {
            const uint8_t *index = block + 2 + 8 * j;
            const uint32_t word = load_u32(index + 4);
            for (int k = 0; k < 4; k++) {
                memcpy(value + 8 * k, iq2_xxs_grid[index[k]], 8);
                memcpy(sign + 8 * k, spread_signs[even_signs[word >> 7 * k & 127]], 8);
            }
            signed_values(value, sign, codebook_scale(d, word >> 28, 0.25f), 32, y);
        }
    }
}
