/* SPDX-License-Identifier: MIT */
/* Q5_0: 32 weights in 22 bytes, 5.5 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    4 bytes: the fifth bits, weight i in bit i
 *     byte 6    16 bytes of low 4 bits, laid out as in Q4_0
 *
 *     weight = d * (code - 16)
 *
 * Rule: as Q4_0, with 32 levels.  Source: ggml, quantize_row_q5_0_ref and _impl. */

QK_FN void q5_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    li32 words[5];
    li32 d = block32_symmetric(x, importance, row_mean_square, 5, words);
    put_after_half(d, words, 5, out);
}

QK_FN void q5_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 22, y += 32) {
        lf32 d = lf32_load_f16(block);
        for (int i = 0; i < 32; i += LANES) {
            li32 code = li32_or(load_nibbles(block + 6, i), load_fifth_bits(block + 2, i));
            code = li32_sub(code, li32_set1(16));
            lf32_store(y + i, lf32_mul(lf32_from_li32(code), d));
        }
    }
}
