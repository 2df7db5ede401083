/* SPDX-License-Identifier: MIT */
/* IQ2_XS: 256 weights in 74 bytes, 2.3125 bits per weight.
 *
 *     byte 0   d  half precision
 *     byte 2   32 16-bit words, one for each 8 weights: 9 bits of index in a codebook of 512
 *              entries, from bit 9 seven signs; the eighth makes the number of minus signs even
 *     byte 66  sixteen 4-bit scale codes of groups of 16, the first of each pair in the low bits
 *
 *     weight = d * (0.5 + scale code) / 4 * entry, with its sign
 *
 * Rule: try grids near that of the largest weight; entries that are not what the weights round to
 * are chosen anew on the best scale.  Importance is needed.
 * Source: ggml, quantize_row_iq2_xs_impl. */

QK_TABLE codebook iq2_xs_book = {
    .entries = {qk_iq2_xs_points, qk_iq2_xs_lists, 8},
    .n = 16,
    .n_steps = 9,
    .step = 0.1f,
    .refit = REFIT_NEIGHBOURS,
    .least = GROUP_MAX_EPS,
    .even_signs = 1,
};

QK_FN void iq2_xs_words(const li32 *index, const li32 *signs, const li32 *scale_code, li32 *words)
{
    for (int j = 0; j < 16; j++) {
        li32 low = li32_or(index[2 * j], li32_shl(signs[2 * j], 9));
        li32 high = li32_or(index[2 * j + 1], li32_shl(signs[2 * j + 1], 9));
        words[j] = word_of_halves(low, high);
    }
    pack_4bit(scale_code, 2, words + 16);
}

QK_FN void iq2_xs_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                           li32 *out)
{
    (void)row_mean_square;
    const lf32 mean_square = lf32_div(lane_sum_squares(x, 256), lf32_set1(256.0f));
    lf32 w[16], scale[16];
    li32 index[32], signs[32], scale_code[16], words[18];
    for (int j = 0; j < 16; j++) {
        importance_weights(x + 16 * j, importance + 16 * j, mean_square, 16, w);
        scale[j] = codebook_group(iq2_xs_book, x + 16 * j, w, index + 2 * j, signs + 2 * j);
    }
    lf32 d = codebook_scales(scale, 16, scale_code);
    iq2_xs_words(index, signs, scale_code, words);
    clear_words_without_scale(d, words, 18);
    put_after_half(f16_from_lf32(d), words, 18, out);
}

QK_FN void iq2_xs_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    uint8_t value[16], sign[16];
    for (; n_blocks--; block += 74) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 16; j++, y += 16) {
            const uint32_t word = load_u32(block + 2 + 4 * j);
            const uint32_t code = (uint32_t)block[66 + j / 2] >> 4 * (j % 2) & 15;
            for (int k = 0; k < 2; k++) {
                memcpy(value + 8 * k, iq2_xs_grid[word >> 16 * k & 511], 8);
                memcpy(sign + 8 * k, spread_signs[even_signs[word >> (16 * k + 9) & 127]], 8);
            }
            signed_values(value, sign, codebook_scale(d, code, 0.25f), 16, y);
        }
    }
}
