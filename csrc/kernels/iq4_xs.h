/* SPDX-License-Identifier: MIT */
/* IQ4_XS: 256 weights in 136 bytes, 4.25 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    2 bytes: the high 2 bits of eight 6-bit scale codes, group j at bit 2 * j
 *     byte 4    4 bytes: their low 4 bits, two groups a byte
 *     byte 8    128 bytes of 4-bit codes: each group of 32 as a block of Q4_0
 *
 *     weight = d * (scale[group] - 32) * level[code], eight groups of 32, levels of iq4.h
 *
 * Rule: search each group's scale as IQ4_NL does; the extreme scale gets code 0; weights are
 * rounded on the scales as coded, with d before it is rounded to half precision.
 * Source: ggml, quantize_row_iq4_nl_impl. */

/* scale codes: 0..63 */
QK_FN void iq4_xs_pack(const li32 *code, const li32 *scale_code, li32 d, li32 *out)
{
    li32 low[4], high = li32_set1(0);
    for (int j = 0; j < 8; j++) {
        li32 four = li32_and(scale_code[j], li32_set1(15));
        pack_codes(code + 32 * j, 4, out + 2 + 4 * j);
        high = li32_or(high, li32_shl(li32_shr(scale_code[j], 4), 2 * j));
        low[j / 2] = j % 2 ? li32_or(low[j / 2], li32_shl(four, 4)) : four;
    }
    out[0] = word_of_halves(d, high);
    out[1] = word_of_bytes(low);
}

QK_FN void iq4_xs_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                           li32 *out)
{
    (void)row_mean_square;
    lf32 w[32], scale[8], magnitude;
    lf32 mean_square = lf32_mul(lane_sum_squares(x, 256), lf32_set1(2.0f / 256));
    for (int j = 0; j < 8; j++) {
        const lf32 *group_importance = importance ? importance + 32 * j : NULL;
        iq4_weights(x + 32 * j, group_importance, mean_square, w);
        scale[j] = iq4_search(x + 32 * j, w);
    }
    lf32 d = lf32_div(lf32_neg(lane_extreme(scale, 8, &magnitude)), lf32_set1(32.0f));
    lf32 inverse = lf32_reciprocal_or_0(d);
    li32 code[256], scale_code[8];
    for (int j = 0; j < 8; j++) {
        li32 centred = lf32_nearest_clamped(lf32_mul(inverse, scale[j]), -32, 31);
        lf32 grid = lf32_reciprocal_or_0(lf32_mul(d, lf32_from_li32(centred)));
        for (int i = 0; i < 32; i++) {
            code[32 * j + i] = iq4_nearest(lf32_mul(grid, x[32 * j + i]));
        }
        scale_code[j] = li32_add(centred, li32_set1(32));
    }
    iq4_xs_pack(code, scale_code, f16_from_lf32(d), out);
}

QK_FN void iq4_xs_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 136) {
        lf32 d = lf32_load_f16(block);
        int high = block[2] | block[3] << 8;
        for (int j = 0; j < 8; j++, y += 32) {
            int low = block[4 + j / 2] >> 4 * (j % 2) & 15;
            int code = low | (high >> 2 * j & 3) << 4;
            lf32 scale = lf32_mul(d, lf32_set1((float)(code - 32)));
            iq4_dequantize(block + 8 + 16 * j, scale, y);
        }
    }
}
