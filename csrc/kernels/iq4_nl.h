/* SPDX-License-Identifier: MIT */
/* IQ4_NL: 32 weights in 18 bytes, 4.5 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    16 bytes of 4-bit codes, laid out as in Q4_0
 *
 *     weight = d * level[code], sixteen uneven levels (iq4.h)
 *
 * Rule: search the scale under weights x^2 (importance * sqrt(2 * mean x^2 of the block + x^2)),
 * then round to the nearest level on it.  Source: ggml, quantize_row_iq4_nl_impl. */

QK_FN void iq4_nl_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                           li32 *out)
{
    (void)row_mean_square;
    lf32 w[32];
    li32 code[32], words[4];
    lf32 mean_square = lf32_mul(lane_sum_squares(x, 32), lf32_set1(2.0f / 32));
    iq4_weights(x, importance, mean_square, w);
    lf32 scale = iq4_search(x, w);
    lf32 inverse = lf32_reciprocal_or_0(scale);
    for (int i = 0; i < 32; i++) {
        code[i] = iq4_nearest(lf32_mul(inverse, x[i]));
    }
    pack_codes(code, 4, words);
    put_after_half(f16_from_lf32(scale), words, 4, out);
}

QK_FN void iq4_nl_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 18, y += 32) {
        iq4_dequantize(block + 2, lf32_load_f16(block), y);
    }
}
