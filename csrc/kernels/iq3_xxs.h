/* SPDX-License-Identifier: MIT */
/* IQ3_XXS: 256 weights in 98 bytes, 3.0625 bits per weight.
 *
 *     byte 0   d  half precision
 *     byte 2   64 bytes: index of each 4 weights in a codebook of 256 entries
 *     byte 66  eight words, one for each 32 weights: from bit 7 * k seven signs of weights
 *              8k..8k+6, the eighth makes the number of minus signs even; from bit 28 the scale
 *              code
 *
 *     weight = d * (0.5 + scale code) / 2 * entry, with its sign
 *
 * Rule: try grids near that of the largest weight; entries that are not what the weights round to
 * are chosen anew on the best scale.  d is stored a little larger than the scales ask for.
 * Source: ggml, quantize_row_iq3_xxs_impl. */

QK_TABLE codebook iq3_xxs_book = {
    .entries = {qk_iq3_xxs_points, qk_iq3_xxs_lists, 4},
    .n = 32,
    .n_steps = 15,
    .step = 0.2f,
    .refit = REFIT_NEIGHBOURS,
    .least = 1e-8f,
    .even_signs = 1,
};

#define IQ3_XXS_D_FACTOR 1.0125f /* as in the reference, for a smaller error on the whole */

QK_FN void iq3_xxs_words(const li32 *index, const li32 *signs, const li32 *scale_code, li32 *words)
{
    for (int i = 0; i < 16; i++) {
        words[i] = word_of_bytes(index + 4 * i);
    }
    for (int j = 0; j < 8; j++) {
        words[16 + j] = word_of_signs(signs + 4 * j, scale_code[j]);
    }
}

QK_FN void iq3_xxs_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                            li32 *out)
{
    (void)row_mean_square;
    const lf32 mean_square = twice_mean_square(x);
    lf32 w[32], scale[8];
    li32 index[64], signs[32], scale_code[8], words[24];
    for (int j = 0; j < 8; j++) {
        iq3_weights(x + 32 * j, importance ? importance + 32 * j : NULL, mean_square, w);
        scale[j] = codebook_group(iq3_xxs_book, x + 32 * j, w, index + 8 * j, signs + 4 * j);
    }
    lf32 d = codebook_scales(scale, 8, scale_code);
    iq3_xxs_words(index, signs, scale_code, words);
    clear_words_without_scale(d, words, 24);
    d = lf32_mul(d, lf32_set1(IQ3_XXS_D_FACTOR));
    put_after_half(f16_from_lf32(d), words, 24, out);
}

QK_FN void iq3_xxs_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    uint8_t value[32], sign[32];
    for (; n_blocks--; block += 98) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 8; j++, y += 32) {
            const uint8_t *index = block + 2 + 8 * j;
            const uint32_t word = load_u32(block + 66 + 4 * j);
            for (int k = 0; k < 4; k++) {
                memcpy(value + 8 * k, iq3_xxs_grid[index[2 * k]], 4);
                memcpy(value + 8 * k + 4, iq3_xxs_grid[index[2 * k + 1]], 4);
                memcpy(sign + 8 * k, spread_signs[even_signs[word >> 7 * k & 127]], 8);
            }
            signed_values(value, sign, codebook_scale(d, word >> 28, 0.5f), 32, y);
        }
    }
}
