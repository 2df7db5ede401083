/* SPDX-License-Identifier: MIT */
/* Q6_K: 256 weights in 210 bytes, 6.5625 bits per weight.
 *
 *     byte 0    128 bytes of low 4 bits: for each 128 weights 64 bytes, byte i (0..31) holding
 *               weights i and i+64, byte 32+i weights i+32 and i+96
 *     byte 128  64 bytes of high 2 bits, laid out as the codes of Q2_K
 *     byte 192  16 signed bytes: the scale codes
 *     byte 208  d  half precision
 *
 *     weight = d * scale[group] * (code - 32), sixteen groups of 16
 *
 * Rule: search each group's scale under weights x^2 (or the importance alone); the extreme scale
 * gets code -128; weights are rounded anew on the stored scales.
 * Source: ggml, quantize_row_q6_K_ref and _impl. */

QK_FN void q6_k_pack(const li32 *code, const li32 *scale_code, li32 d, li32 *out)
{
    const li32 low4 = li32_set1(15);
    for (int part = 0; part < 2; part++) {
        const li32 *c = code + 128 * part;
        li32 low[64], high[128];
        for (int i = 0; i < 64; i++) {
            low[i] = li32_or(li32_and(c[i], low4), li32_shl(li32_and(c[i + 64], low4), 4));
        }
        for (int i = 0; i < 128; i++) {
            high[i] = li32_shr(c[i], 4);
        }
        for (int i = 0; i < 16; i++) {
            out[16 * part + i] = word_of_bytes(low + 4 * i);
        }
        pack_2bit(high, out + 32 + 8 * part);
    }
    for (int i = 0; i < 4; i++) {
        out[48 + i] = word_of_bytes(scale_code + 4 * i);
    }
    out[52] = d;
}

/* The sixteen scales of the groups' fits as codes (one byte each) of d in half precision. */
QK_FN li32 q6_k_scales(const symmetric_fit *fit, lmask *empty, li32 *scale_code)
{
    lf32 scale[16], magnitude;
    for (int j = 0; j < 16; j++) {
        scale[j] = fit[j].scale;
    }
    lf32 inverse = lf32_div(lf32_set1(-128.0f), lane_extreme(scale, 16, &magnitude));
    for (int j = 0; j < 16; j++) {
        li32 code = lf32_nearest(lf32_mul(inverse, scale[j]));
        scale_code[j] = li32_as_i8(li32_min(code, li32_set1(127)));
    }
    *empty = lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude);
    return f16_from_lf32(lf32_div(lf32_set1(1.0f), inverse));
}

/* The codes of one group, rounded anew on its stored scale. */
QK_FN void q6_k_codes(const lf32 *x, const symmetric_fit *fit, lf32 scale, li32 *code)
{
    for (int i = 0; i < 16; i++) {
        li32 rounded = lf32_nearest_clamped(lf32_div(x[i], scale), -32, 31);
        code[i] = li32_add(rounded, li32_set1(32));
    }
    lmask no_scale = lf32_eq(scale, lf32_set1(0.0f));
    if (lmask_any(no_scale)) { /* there the codes of the search stand */
        for (int i = 0; i < 16; i++) {
            li32 searched = symmetric_stored_code(fit, x[i], 32, SYMMETRIC_WEIGHTS);
            code[i] = li32_select(no_scale, searched, code[i]);
        }
    }
}

QK_FN void q6_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    symmetric_fit fit[16];
    lf32 w[16];
    for (int j = 0; j < 16; j++) {
        const lf32 *xj = x + 16 * j;
        for (int i = 0; i < 16; i++) {
            w[i] = importance ? importance[16 * j + i] : lf32_mul(xj[i], xj[i]);
        }
        fit[j] = search_symmetric(xj, w, 16, 32, SYMMETRIC_WEIGHTS);
    }
    lmask empty;
    li32 code[256], scale_code[16];
    li32 d = q6_k_scales(fit, &empty, scale_code);
    for (int j = 0; j < 16; j++) {
        q6_k_codes(x + 16 * j, &fit[j], scaled(d, scale_code[j]), code + 16 * j);
        scale_code[j] = li32_as_u8(scale_code[j]);
    }
    q6_k_pack(code, scale_code, d, out);
    for (int i = 0; i < 53; i++) { /* a block that counts as zero is all zero */
        out[i] = li32_select(empty, li32_set1(0), out[i]);
    }
}

QK_FN void q6_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 210) {
        lf32 d = lf32_load_f16(block + 208);
        for (int j = 0; j < 16; j++, y += 16) {
            lf32 scale = lf32_mul(d, lf32_set1((float)(int8_t)block[192 + j]));
            int part = j / 8, group = j % 8 / 2, at = 16 * (j % 2);
            const uint8_t *low = block + 64 * part + 32 * (group % 2) + at;
            const uint8_t *high = block + 128 + 32 * part + at;
            for (int i = 0; i < 16; i += LANES) {
                li32 code = li32_load_u8(low + i);
                code = group < 2 ? li32_and(code, li32_set1(15)) : li32_shr(code, 4);
                li32 bits = li32_shr(li32_load_u8(high + i), 2 * group);
                bits = li32_and(bits, li32_set1(3));
                code = li32_sub(li32_or(code, li32_shl(bits, 4)), li32_set1(32));
                lf32_store(y + i, lf32_mul(scale, lf32_from_li32(code)));
            }
        }
    }
}
