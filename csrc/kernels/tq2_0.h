/* SPDX-License-Identifier: MIT */
/* TQ2_0: 256 weights in 66 bytes, 2.0625 bits per weight.
 *
 *     byte 0    two times 32 bytes for 128 weights each, four codes of 2 bits a byte: byte i has
 *               those of weights i, i + 32, i + 64, i + 96, from its low bits up
 *     byte 64   d   half precision
 *
 *     weight = d * (code - 1), code 0, 1 or 2
 *
 * Rule: d = largest |x|, codes rounded half away from zero.  Importance has no effect.
 * Source: ggml, quantize_row_tq2_0_ref. */

QK_FN void tq2_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    li32 trit[256];
    out[16] = ternary_round(x, trit);
    pack_2bit(trit, out);
    pack_2bit(trit + 128, out + 8);
}

QK_FN void tq2_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 66) {
        lf32 d = lf32_load_f16(block + 64);
        for (int j = 0; j < 8; j++, y += 32) {
            for (int i = 0; i < 32; i += LANES) {
                li32 code = li32_shr(li32_load_u8(block + 32 * (j / 4) + i), j % 4 * 2);
                code = li32_sub(li32_and(code, li32_set1(3)), li32_set1(1));
                lf32_store(y + i, lf32_mul(lf32_from_li32(code), d));
            }
        }
    }
}
