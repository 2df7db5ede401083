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

QK_FN const affine_search q5_1_weighted = BLOCK32_WEIGHTED(31);

QK_FN void q5_1_quantize(const lf32 *x, const lf32 *importance, lf32 row_mean_square, li32 *out)
{
    li32 code[32];
    out[0] = importance ? block32_search_affine(q5_1_weighted, x, importance, row_mean_square, code)
                        : block32_round_affine(x, 31, code);
    out[1] = pack_fifth_bits(code);
    pack_nibbles(code, out + 2);
}

QK_FN void q5_1_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 24, y += 32) {
        uint8_t high[32];
        spread_fifth_bits(block + 4, high);
        lf32 d = lf32_load_f16(block), min = lf32_load_f16(block + 2);
        for (int i = 0; i < 32; i += LANES) {
            li32 code = li32_or(load_nibbles(block + 8, i), li32_load_u8(high + i));
            lf32_store(y + i, lf32_add(lf32_mul(lf32_from_li32(code), d), min));
        }
    }
}
