/* SPDX-License-Identifier: MIT */
/* Q4_1: 32 weights in 20 bytes, 5 bits per weight.
 *
 *     byte 0    d    half precision
 *     byte 2    min  half precision
 *     byte 4    16 bytes of 4-bit codes, laid out as in Q4_0
 *
 *     weight = d * code + min
 *
 * Rule: d = (max - min) / 15.  With importance, search scale and minimum under
 * importance * sqrt(mean x^2 of the row + x^2).  Source: ggml, quantize_row_q4_1_ref and _impl. */

/* As many blocks a lane as the search takes groups at a time. */
QK_FN void q4_1_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    block32_affine(x, importance, row_mean_square, 4, out);
}

QK_FN void q4_1_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 20, y += 32) {
        lf32 d = lf32_load_f16(block), min = lf32_load_f16(block + 2);
        for (int i = 0; i < 32; i += LANES) {
            lf32 code = lf32_from_li32(load_nibbles(block + 4, i));
            lf32_store(y + i, lf32_add(lf32_mul(code, d), min));
        }
    }
}
