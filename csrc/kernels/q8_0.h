/* SPDX-License-Identifier: MIT */
/* Q8_0: 32 weights in 34 bytes, 8.5 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    32 signed bytes, one code per weight
 *
 *     weight = d * code
 *
 * Rule: d = largest |x| / 127, codes rounded half away from zero.  Importance has no effect.
 * Source: ggml, quantize_row_q8_0_ref. */

QK_FN void q8_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    li32 byte[32], words[8];
    lf32 d = lf32_div(lane_largest(x, 32), lf32_set1(127.0f));
    lf32 inverse = lf32_reciprocal_or_0(d); /* where it is infinite, the codes come out 0 */
    for (int i = 0; i < 32; i++) {
        byte[i] = li32_as_u8(lf32_round_away(lf32_mul(x[i], inverse)));
    }
    for (int i = 0; i < 8; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
    put_after_half(f16_from_lf32(d), words, 8, out);
}

QK_FN void q8_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 34, y += 32) {
        lf32 d = lf32_load_f16(block);
        for (int i = 0; i < 32; i += LANES) {
            li32 code = li32_load_i8((const int8_t *)block + 2 + i);
            lf32_store(y + i, lf32_mul(lf32_from_li32(code), d));
        }
    }
}
