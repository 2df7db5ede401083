/* SPDX-License-Identifier: MIT */
/* Q4_0: 32 weights in 18 bytes, 4.5 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    16 bytes of 4-bit codes: byte i holds weight i low and weight i+16 high
 *
 *     weight = d * (code - 8)
 *
 * Rule: the extreme weight gets code 0, so d = extreme / -8.  With importance, search the scale
 * under importance * sqrt(mean x^2 of the row + x^2).
 * Source: ggml, quantize_row_q4_0_ref and _impl. */

QK_FN void q4_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    li32 words[4];
    li32 d = block32_symmetric(x, importance, row_mean_square, 4, words);
    put_after_half(d, words, 4, out);
}

QK_FN void q4_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 18, y += 32) {
        lf32 d = lf32_load_f16(block);
        for (int i = 0; i < 32; i += LANES) {
            li32 code = li32_sub(load_nibbles(block + 2, i), li32_set1(8));
            lf32_store(y + i, lf32_mul(lf32_from_li32(code), d));
        }
    }
}
