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

QK_FN const affine_search q5_k_plain = {32, 31, -0.5f, 0.1f, 15, 0, 0};
QK_FN const affine_search q5_k_weighted = {32, 31, -0.9f, 0.05f, 36, 0, 1};

QK_FN void q5_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    k_fit fit;
    k_fit_groups_of_32(q5_k_plain, q5_k_weighted, x, importance, &fit);
    for (int j = 0; j < 8; j++) {
        fit.scale_code[j] = li32_min(fit.scale_code[j], li32_set1(63));
        fit.min_code[j] = li32_min(fit.min_code[j], li32_set1(63));
    }
    out[0] = word_of_halves(fit.d, fit.dmin);
    pack_scales_6bit(fit.scale_code, fit.min_code, out + 1);

    const li32 low4 = li32_set1(15);
    li32 high[32];
    for (int i = 0; i < 32; i++) {
        high[i] = li32_set1(0);
    }
    for (int pair = 0; pair < 4; pair++) {
        li32 code[64], byte[32];
        for (int half = 0; half < 2; half++) {
            int j = 2 * pair + half;
            k_codes(q5_k_plain, x + 32 * j, &fit.group[j], scaled(fit.d, fit.scale_code[j]),
                    scaled(fit.dmin, fit.min_code[j]), code + 32 * half);
        }
        for (int i = 0; i < 32; i++) {
            li32 first = code[i], second = code[i + 32];
            byte[i] = li32_or(li32_and(first, low4), li32_shl(li32_and(second, low4), 4));
            li32 bits = li32_or(li32_shr(first, 4), li32_shl(li32_shr(second, 4), 1));
            high[i] = li32_or(high[i], li32_shl(bits, 2 * pair));
        }
        for (int i = 0; i < 8; i++) {
            out[12 + 8 * pair + i] = word_of_bytes(byte + 4 * i);
        }
    }
    for (int i = 0; i < 8; i++) {
        out[4 + i] = word_of_bytes(high + 4 * i);
    }
}

QK_FN void q5_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 176) {
        lf32 d = lf32_load_f16(block), dmin = lf32_load_f16(block + 2);
        for (int j = 0; j < 8; j++, y += 32) {
            int scale_code, min_code;
            unpack_scale_6bit(block + 4, j, &scale_code, &min_code);
            lf32 scale = lf32_mul(d, lf32_set1((float)scale_code));
            lf32 min = lf32_mul(dmin, lf32_set1((float)min_code));
            const uint8_t *codes = block + 48 + 32 * (j / 2);
            for (int i = 0; i < 32; i += LANES) {
                li32 code = li32_load_u8(codes + i);
                code = j % 2 ? li32_shr(code, 4) : li32_and(code, li32_set1(15));
                li32 high = li32_and(li32_shr(li32_load_u8(block + 16 + i), j), li32_set1(1));
                code = li32_or(code, li32_shl(high, 4));
                lf32_store(y + i, lf32_sub(lf32_mul(scale, lf32_from_li32(code)), min));
            }
        }
    }
}
