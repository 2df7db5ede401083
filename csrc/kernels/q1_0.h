/* SPDX-License-Identifier: MIT */
/* Q1_0: 128 weights in 18 bytes, 1.125 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    16 bytes of bits, weight 0 in bit 0 of the first
 *
 *     weight = d where its bit is set, else -d
 *
 * Rule: d = mean |x|, summed from the first weight to the last; a bit is set where x >= 0, which
 * both zeros are.  Importance has no effect.  Source: ggml, quantize_row_q1_0_ref. */

QK_FN void q1_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    const lf32 zero = lf32_set1(0.0f);
    lf32 sum = zero;
    li32 words[4];
    for (int w = 0; w < 4; w++) {
        words[w] = li32_set1(0);
        for (int i = 0; i < 32; i++, x++) {
            li32 bit = li32_select(lf32_gt(zero, *x), li32_set1(0), li32_set1(1));
            words[w] = li32_or(words[w], li32_shl(bit, i));
            sum = lf32_add(sum, lf32_abs(*x));
        }
    }
    put_after_half(f16_from_lf32(lf32_div(sum, lf32_set1(128.0f))), words, 4, out);
}

QK_FN void q1_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 18) {
        lf32 d = lf32_load_f16(block), minus_d = lf32_neg(d);
        for (int w = 0; w < 4; w++, y += 32) {
            for (int i = 0; i < 32; i += LANES) {
                lf32_store(y + i, lf32_select(load_bits(block + 2 + 4 * w, i), d, minus_d));
            }
        }
    }
}
