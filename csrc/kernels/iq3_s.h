/* SPDX-License-Identifier: MIT */
/* IQ3_S: 256 weights in 110 bytes, 3.4375 bits per weight.
 *
 *     byte 0    d  half precision
 *     byte 2    64 bytes, one for each 4 weights: low 8 bits of the index in a codebook of 512
 *               entries
 *     byte 66   8 bytes: the indices' high bits, that of 8 * j + k at bit k of byte j
 *     byte 74   32 bytes of signs: bit i of byte k belongs to weight 8 * k + i
 *     byte 106  eight 4-bit scale codes of groups of 32, the first of each pair in the low bits
 *
 *     weight = d * (1 + 2 * scale code) * entry, with its sign
 *
 * Rule: try grids near that of the largest weight; if any entry is not what its weights round to,
 * all are chosen anew on the best scale.  d is stored a little larger than the scales ask for.
 * A group of zeros takes no place among the low bits of the indices and the signs: those of later
 * groups move up, and decode as the weights of an earlier group.  That is a slip of the reference,
 * and kept, since the bytes are llama.cpp's.
 * Source: ggml, quantize_row_iq3_s_impl. */

QK_TABLE codebook iq3_s_book = {
    .entries = {qk_iq3_s_points, qk_iq3_s_lists, 4},
    .n = 32,
    .n_steps = 9,
    .step = 0.2f,
    .refit = REFIT_ALL_IF_NEIGHBOURS,
    .least = 1e-45f, /* only what is 0 counts as 0 */
    .even_signs = 0,
};

#define IQ3_S_D_FACTOR 1.033f /* as in the reference, for a smaller error on the whole */

/* The words of group j give way to those of later groups in the lanes where it is all zeros. */
QK_FN void iq3_s_close_gap(const lf32 *x, int j, li32 *low, li32 *signs)
{
    const li32 none = li32_set1(0);
    lf32 magnitude;
    lane_extreme(x + 32 * j, 32, &magnitude);
    const lmask gap = lf32_eq(magnitude, lf32_set1(0.0f));
    if (!lmask_any(gap)) {
        return;
    }
    for (int i = j; i < 8; i++) {
        signs[i] = li32_select(gap, i < 7 ? signs[i + 1] : none, signs[i]);
    }
    for (int i = 2 * j; i < 16; i++) {
        low[i] = li32_select(gap, i < 14 ? low[i + 2] : none, low[i]);
    }
}

QK_FN void iq3_s_words(const li32 *index, const li32 *signs, const li32 *scale_code, li32 *words)
{
    split_indices(index, 64, 1, words, words + 16);
    for (int i = 0; i < 8; i++) {
        words[18 + i] = word_of_bytes(signs + 4 * i);
    }
    pack_4bit(scale_code, 1, words + 26);
}

QK_FN void iq3_s_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)row_mean_square;
    const lf32 mean_square = twice_mean_square(x);
    lf32 w[32], scale[8];
    li32 index[64], signs[32], scale_code[8], words[27];
    for (int j = 0; j < 8; j++) {
        iq3_weights(x + 32 * j, importance ? importance + 32 * j : NULL, mean_square, w);
        scale[j] = codebook_group(iq3_s_book, x + 32 * j, w, index + 8 * j, signs + 4 * j);
    }
    lf32 d = codebook_scales(scale, 8, scale_code);
    iq3_s_words(index, signs, scale_code, words);
    for (int j = 7; j >= 0; j--) {
        iq3_s_close_gap(x, j, words, words + 18);
    }
    d = lf32_mul(d, lf32_set1(IQ3_S_D_FACTOR));
    put_after_half(f16_from_lf32(d), words, 27, out);
}

QK_FN void iq3_s_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    uint8_t value[32], sign[32];
    for (; n_blocks--; block += 110) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 8; j++, y += 32) {
            const uint8_t *low = block + 2 + 8 * j, *signs = block + 74 + 4 * j;
            const int code = block[106 + j / 2] >> 4 * (j % 2) & 15;
            for (int k = 0; k < 8; k++) {
                const int high = block[66 + j] >> k & 1;
                memcpy(value + 4 * k, iq3_s_grid[low[k] | high << 8], 4);
            }
            for (int k = 0; k < 4; k++) {
                memcpy(sign + 8 * k, spread_signs[signs[k]], 8);
            }
            lf32 scale = lf32_mul(d, lf32_set1((float)(1 + 2 * code)));
            signed_values(value, sign, scale, 32, y);
        }
    }
}
