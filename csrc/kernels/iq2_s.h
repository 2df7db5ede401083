/* SPDX-License-Identifier: MIT */
/* IQ2_S: 256 weights in 82 bytes, 2.5625 bits per weight.
 *
 *     byte 0   d  half precision
 *     byte 2   32 bytes, one for each 8 weights: low 8 bits of the index in a codebook of 1024
 *              entries
 *     byte 34  32 bytes of signs: bit i of byte k belongs to weight 8 * k + i
 *     byte 66  8 bytes: the indices' high 2 bits, those of 4 * j + k from bit 2 * k of byte j
 *     byte 74  sixteen 4-bit scale codes of groups of 16, the first of each pair in the low bits
 *
 *     weight = d * (0.5 + scale code) / 4 * entry, with its sign
 *
 * Rule: try grids near that of the largest weight; entries that are not what the weights round to
 * are chosen anew on the best scale.  d is stored a little smaller than the scales ask for.
 * Source: ggml, quantize_row_iq2_s_impl. */

QK_TABLE codebook iq2_s_book = {
    .entries = {qk_iq2_s_points, qk_iq2_s_lists, 8},
    .n = 16,
    .n_steps = 9,
    .step = 0.1f,
    .refit = REFIT_NEIGHBOURS,
    .least = 1e-8f,
    .even_signs = 0,
};

#define IQ2_S_D_FACTOR 0.9875f /* as in the reference, for a smaller error on the whole */

QK_FN void iq2_s_weights(const lf32 *x, const lf32 *importance, lf32 mean_square, lf32 *w)
{
    if (importance) {
        importance_weights(x, importance, mean_square, 16, w);
        return;
    }
    const lf32 base = lf32_mul(lf32_set1(0.25f), mean_square);
    for (int i = 0; i < 16; i++) {
        w[i] = lf32_add(base, lf32_mul(x[i], x[i]));
    }
}

/* d: half precision */
QK_FN void iq2_s_pack(const li32 *index, const li32 *signs, const li32 *scale_code, li32 d,
                      li32 *out)
{
    li32 words[20];
    split_indices(index, 32, 2, words, words + 16);
    for (int i = 0; i < 8; i++) {
        words[8 + i] = word_of_bytes(signs + 4 * i);
    }
    pack_4bit(scale_code, 2, words + 18);
    put_after_half(d, words, 20, out);
}

QK_FN void iq2_s_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)row_mean_square;
    const lf32 mean_square = twice_mean_square(x);
    lf32 w[16], scale[16];
    li32 index[32], signs[32], scale_code[16];
    for (int j = 0; j < 16; j++) {
        iq2_s_weights(x + 16 * j, importance ? importance + 16 * j : NULL, mean_square, w);
        scale[j] = codebook_group(iq2_s_book, x + 16 * j, w, index + 2 * j, signs + 2 * j);
    }
    lf32 d = codebook_scales(scale, 16, scale_code);
    d = lf32_mul(d, lf32_set1(IQ2_S_D_FACTOR));
    iq2_s_pack(index, signs, scale_code, f16_from_lf32(d), out);
}

QK_FN void iq2_s_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    uint8_t value[16], sign[16];
    for (; n_blocks--; block += 82) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 16; j++, y += 16) {
            const uint32_t code = (uint32_t)block[74 + j / 2] >> 4 * (j % 2) & 15;
            for (int k = 0; k < 2; k++) {
                const int at = 2 * j + k;
                const int high = block[66 + at / 4] >> 2 * (at % 4) & 3;
                memcpy(value + 8 * k, iq2_s_grid[block[2 + at] | high << 8], 8);
                memcpy(sign + 8 * k, spread_signs[block[34 + at]], 8);
            }
            signed_values(value, sign, codebook_scale(d, code, 0.25f), 16, y);
        }
    }
}
