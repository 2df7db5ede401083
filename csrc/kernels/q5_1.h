/* SPDX-License-Identifier: MIT */
/* Q5_1: 32 weights in 24 bytes, 6 bits per weight.
 *
 *     byte 0    d    half precision
 *     byte 2    min  half precision
 *     byte 4    4 bytes: the fifth bits, weight i in bit i
 *     byte 8    16 bytes of low 4 bits, laid out as in Q4_0
 *
 *     weight = d * code + min
 *
 * Rule: as Q4_1, with 32 levels.  Source: ggml, quantize_row_q5_1_ref and _impl. */

/* As many blocks a lane as the search takes groups at a time. */
QK_FN void q5_1_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    block32_affine(x, importance, row_mean_square, 5, out);
}

QK_FN void q5_1_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 24, y += 32) {
        lf32 d = lf32_load_f16(block), min = lf32_load_f16(block + 2);
        for (int i = 0; i < 32; i += LANES) {
            li32 code = li32_or(load_nibbles(block + 8, i), load_fifth_bits(block + 4, i));
            lf32_store(y + i, lf32_add(lf32_mul(lf32_from_li32(code), d), min));
        }
    }
}
