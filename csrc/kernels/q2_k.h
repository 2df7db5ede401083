/* SPDX-License-Identifier: MIT */
/* Q2_K: 256 weights in 84 bytes, 2.625 bits per weight.
 *
 *     byte 0    16 bytes: scale code of each group in the low half, min code in the high half
 *     byte 16   64 bytes of 2-bit codes: for each 128 weights 32 bytes, byte i holding weights
 *               i, i+32, i+64 and i+96 from its low bits up
 *     byte 80   d     half precision, unit of the scales
 *     byte 82   dmin  half precision, unit of the minimums
 *
 *     weight = d * scale[group] * code - dmin * min[group], sixteen groups of 16
 *
 * Rule: as Q4_K, but the search compares absolute errors under weights |x| (with importance:
 * squares, under importance * sqrt(mean x^2 of the superblock + x^2)).
 * Source: ggml, quantize_row_q2_K_ref and _impl. */

QK_TABLE k_rule q2_k_rule = {
    .plain = {16, 3, -0.5f, 0.1f, 15, 1, 0},
    .weighted = {16, 3, -0.9f, 0.05f, 36, 0, 1},
    .n_groups = 16,
    .scale_max = 15,
    .mean_squares = 1.0f,
};

/* scale and min codes: 0..15 */
QK_FN void q2_k_pack(const li32 *code, const li32 *scale, const li32 *min, li32 d, li32 dmin,
                     li32 *out)
{
    li32 byte[16];
    for (int j = 0; j < 16; j++) {
        byte[j] = li32_or(scale[j], li32_shl(min[j], 4));
    }
    for (int i = 0; i < 4; i++) {
        out[i] = word_of_bytes(byte + 4 * i);
    }
    for (int part = 0; part < 2; part++) {
        pack_2bit(code + 128 * part, out + 4 + 8 * part);
    }
    out[20] = word_of_halves(d, dmin);
}

QK_FN void q2_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    k_fit fit;
    k_fit_superblock(q2_k_rule, x, importance, &fit);

    li32 code[256];
    for (int j = 0; j < 16; j++) {
        li32 both = li32_as_u8(li32_or(fit.scale_code[j], li32_shl(fit.min_code[j], 4)));
        fit.scale_code[j] = li32_and(both, li32_set1(15));
        fit.min_code[j] = li32_shr(both, 4);
    }
    k_superblock_codes(q2_k_rule, x, &fit, code);
    q2_k_pack(code, fit.scale_code, fit.min_code, fit.d, fit.dmin, out);
}

QK_FN void q2_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 84) {
        lf32 d = lf32_load_f16(block + 80), dmin = lf32_load_f16(block + 82);
        for (int j = 0; j < 16; j++, y += 16) {
            lf32 scale = lf32_mul(d, lf32_set1((float)(block[j] & 15)));
            lf32 min = lf32_mul(dmin, lf32_set1((float)(block[j] >> 4)));
            const uint8_t *codes = block + 16 + 32 * (j / 8) + 16 * (j % 2);
            for (int i = 0; i < 16; i += LANES) {
                li32 code = li32_shr(li32_load_u8(codes + i), j % 8 / 2 * 2);
                code = li32_and(code, li32_set1(3));
                lf32_store(y + i, lf32_sub(lf32_mul(scale, lf32_from_li32(code)), min));
            }
        }
    }
}
