/* SPDX-License-Identifier: MIT */
/* Q4_K: 256 weights in 144 bytes, 4.5 bits per weight.
 *
 *     byte 0    d     half precision, unit of the scales
 *     byte 2    dmin  half precision, unit of the minimums
 *     byte 4    12 bytes: eight 6-bit scale codes and eight 6-bit min codes (k_scales.h)
 *     byte 16   128 bytes of 4-bit codes: for each 64 weights 32 bytes, the first 32 weights in
 *               the low halves, the next 32 in the high halves
 *
 *     weight = d * scale[group] * code - dmin * min[group], eight groups of 32
 *
 * Rule: per group, search the scale and minimum that fit best under weights sqrt(mean x^2) + |x|
 * (importance * sqrt(2 * mean x^2 of the superblock + x^2)); code the eight scales and minimums;
 * round the weights anew on what was stored.  Source: ggml, quantize_row_q4_K_ref and _impl. */

QK_FN const affine_search q4_k_plain = {32, 15, -1.0f, 0.1f, 20, 0, 0};
QK_FN const affine_search q4_k_weighted = {32, 15, -0.9f, 0.05f, 36, 0, 1};

QK_FN void q4_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    k_fit fit;
    k_fit_groups_of_32(q4_k_plain, q4_k_weighted, x, importance, &fit);
    for (int j = 0; j < 8 && !importance; j++) {
        fit.scale_code[j] = li32_min(fit.scale_code[j], li32_set1(63));
        fit.min_code[j] = li32_min(fit.min_code[j], li32_set1(63));
    }
    out[0] = word_of_halves(fit.d, fit.dmin);
    pack_scales_6bit(fit.scale_code, fit.min_code, out + 1);

    for (int pair = 0; pair < 4; pair++) {
        li32 code[64];
        for (int half = 0; half < 2; half++) {
            int j = 2 * pair + half;
            k_codes(q4_k_plain, x + 32 * j, &fit.group[j], scaled(fit.d, fit.scale_code[j]),
                    scaled(fit.dmin, fit.min_code[j]), code + 32 * half);
        }
        for (int i = 0; i < 8; i++) {
            out[4 + 8 * pair + i] = word_of_nibbles(code + 4 * i, code + 32 + 4 * i);
        }
    }
}

QK_FN void q4_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 144) {
        lf32 d = lf32_load_f16(block), dmin = lf32_load_f16(block + 2);
        for (int j = 0; j < 8; j++, y += 32) {
            int scale_code, min_code;
            unpack_scale_6bit(block + 4, j, &scale_code, &min_code);
            lf32 scale = lf32_mul(d, lf32_set1((float)scale_code));
            lf32 min = lf32_mul(dmin, lf32_set1((float)min_code));
            const uint8_t *codes = block + 16 + 32 * (j / 2);
            for (int i = 0; i < 32; i += LANES) {
                li32 code = li32_load_u8(codes + i);
                code = j % 2 ? li32_shr(code, 4) : li32_and(code, li32_set1(15));
                lf32_store(y + i, lf32_sub(lf32_mul(scale, lf32_from_li32(code)), min));
            }
        }
    }
}
