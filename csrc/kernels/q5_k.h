/* SPDX-License-Identifier: MIT */
/* Q5_K: 256 weights in 176 bytes, 5.5 bits per weight.
 *
 *     byte 0    d     half precision, unit of the scales
 *     byte 2    dmin  half precision, unit of the minimums
 *     byte 4    12 bytes: eight 6-bit scale codes and eight 6-bit min codes (k_scales.h)
 *     byte 16   32 bytes of high bits: bit j of byte i belongs to weight i of group j
 *     byte 48   128 bytes of low 4 bits, laid out as in Q4_K
 *
 *     weight = d * scale[group] * code - dmin * min[group], eight groups of 32, codes 0..31
 *
 * Rule: as Q4_K, with 32 levels.  Source: ggml, quantize_row_q5_K_ref and _impl. */

QK_TABLE k_rule q5_k_rule = {
    .plain = {32, 31, -0.5f, 0.1f, 15, 0, 0},
    .weighted = {32, 31, -0.9f, 0.05f, 36, 0, 1},
    .n_groups = 8,
    .scale_max = 63,
    .mean_squares = 2.0f,
};

/* The 32 bytes of fifth bits and the 128 bytes of the others. */
QK_FN void q5_k_pack_codes(const li32 *code, li32 *out)
{
    const li32 low4 = li32_set1(15);
    li32 high[32], byte[32];
    for (int pair = 0; pair < 4; pair++, code += 64) {
        for (int i = 0; i < 32; i++) {
            li32 first = code[i], second = code[i + 32];
            byte[i] = li32_or(li32_and(first, low4), li32_shl(li32_and(second, low4), 4));
            li32 bits = li32_or(li32_shr(first, 4), li32_shl(li32_shr(second, 4), 1));
            high[i] = pair ? li32_or(high[i], li32_shl(bits, 2 * pair)) : bits;
        }
        for (int i = 0; i < 8; i++) {
            out[12 + 8 * pair + i] = word_of_bytes(byte + 4 * i);
        }
    }
    for (int i = 0; i < 8; i++) {
        out[4 + i] = word_of_bytes(high + 4 * i);
    }
}

QK_FN void q5_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    k_fit fit;
    k_fit_superblock(q5_k_rule, x, importance, &fit);
    for (int j = 0; j < 8; j++) {
        fit.scale_code[j] = li32_min(fit.scale_code[j], li32_set1(63));
        fit.min_code[j] = li32_min(fit.min_code[j], li32_set1(63));
    }
    out[0] = word_of_halves(fit.d, fit.dmin);
    pack_scales_6bit(fit.scale_code, fit.min_code, out + 1);

    li32 code[256];
    k_superblock_codes(q5_k_rule, x, &fit, code);
    q5_k_pack_codes(code, out);
}

QK_FN void q5_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    const li32 low4 = li32_set1(15), fifth = li32_set1(16);
    lf32 scale[8], min[8];
    for (; n_blocks--; block += 176, y += 256) {
        load_scales_6bit(block, scale, min);
        for (int i = 0; i < 32; i += LANES) {
            li32 high = li32_shl(li32_load_u8(block + 16 + i), 4); /* group j at bit 4 + j */
            for (int j = 0; j < 8; j += 2, high = li32_shr(high, 2)) {
                li32 both = li32_load_u8(block + 48 + 16 * j + i);
                li32 first = li32_or(li32_and(both, low4), li32_and(high, fifth));
                li32 second = li32_or(li32_shr(both, 4), li32_and(li32_shr(high, 1), fifth));
                lf32 v = lf32_mul(scale[j], lf32_from_li32(first));
                lf32 w = lf32_mul(scale[j + 1], lf32_from_li32(second));
                lf32_store(y + 32 * j + i, lf32_sub(v, min[j]));
                lf32_store(y + 32 * j + 32 + i, lf32_sub(w, min[j + 1]));
            }
        }
    }
}
