/* SPDX-License-Identifier: MIT */
/* Q3_K: 256 weights in 110 bytes, 3.4375 bits per weight.
 *
 *     byte 0    32 bytes of high bits: bit j of byte i belongs to weight 32 * j + i
 *     byte 32   64 bytes of low 2 bits, laid out as in Q2_K
 *     byte 96   12 bytes: sixteen 6-bit scale codes; byte j % 8 holds the low 4 bits of code j (in
 *               its low half for j < 8), byte 8 + j % 4 the high 2 bits at bit 2 * (j / 4)
 *     byte 108  d  half precision
 *
 *     weight = d * (scale[group] - 32) * (code - 4), sixteen groups of 16
 *
 * Rule without importance: round each group to its extreme, then five times go over the weights
 * and take for each the code that fits best given the others; scale codes relative to the largest.
 * With importance: search each group's scale, and the scale of the scales, on grids near the
 * obvious one.  Weights are rounded anew on the stored scales.
 * Source: ggml, quantize_row_q3_K_ref and _impl. */

/* The sums that tell how well the codes (-4..3) of one group fit, under weights x^2. */
typedef struct q3_k_sums {
    lf32 lx, l2;
} q3_k_sums;

/* Weight x takes the code that fits best given the others; tells whether that is a new one in any
 * lane.  Few are, and while none is the sums stand, so that the next weight need not wait. */
QK_INLINE int q3_k_refine_weight(lf32 x, li32 *code, q3_k_sums *sums)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 w = lf32_mul(x, x), wx = lf32_mul(w, x), l = lf32_from_li32(*code);
    lf32 lx = lf32_sub(sums->lx, lf32_mul(wx, l));
    lf32 l2 = lf32_sub(sums->l2, lf32_mul(lf32_mul(w, l), l));
    li32 next = lf32_nearest_clamped(lf32_div(lf32_mul(x, l2), lx), -4, 3);
    lmask other = lmask_and(lf32_gt(lx, zero), lmask_not(li32_eq(next, *code)));
    if (!lmask_any(other)) {
        return 0;
    }
    lf32 nl = lf32_from_li32(next);
    lx = lf32_add(lx, lf32_mul(wx, nl));
    l2 = lf32_add(l2, lf32_mul(lf32_mul(w, nl), nl));
    lmask better =
        lf32_gt(lf32_mul(lf32_mul(lx, lx), sums->l2), lf32_mul(lf32_mul(sums->lx, sums->lx), l2));
    lmask take = lmask_and(other, lmask_and(lf32_gt(l2, zero), better));
    *code = li32_select(take, next, *code);
    sums->lx = lf32_select(take, lx, sums->lx);
    sums->l2 = lf32_select(take, l2, sums->l2);
    return lmask_any(take);
}

/* The codes of one group rounded to its extreme weight, and their sums. */
QK_INLINE lmask q3_k_round_to_extreme(const lf32 *x, li32 *code, q3_k_sums *sums)
{
    lf32 magnitude;
    lf32 grid = lf32_div(lf32_set1(-4.0f), lane_extreme(x, 16, &magnitude));
    sums->lx = sums->l2 = lf32_set1(0.0f);
    for (int i = 0; i < 16; i++) {
        code[i] =
            li32_sub(symmetric_bits(grid, x[i], 4, SYMMETRIC_WEIGHTS), li32_set1(ROUNDING_BITS));
        lf32 w = lf32_mul(x[i], x[i]), l = lf32_from_li32(code[i]);
        sums->lx = lf32_add(sums->lx, lf32_mul(lf32_mul(w, x[i]), l));
        sums->l2 = lf32_add(sums->l2, lf32_mul(lf32_mul(w, l), l));
    }
    return lf32_gt(lf32_set1(GROUP_MAX_EPS), magnitude);
}

/* Scale and stored codes (0..7) of one group, without importance. */
QK_FN lf32 q3_k_fit_plain(const lf32 *x, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f);
    q3_k_sums sums;
    lmask all_zero = q3_k_round_to_extreme(x, code, &sums);
    /* A round without a change leaves the sums as they were, so every later one does too. */
    for (int round = 0, changed = 1; round < 5 && changed; round++) {
        changed = 0;
        for (int i = 0; i < 16; i++) {
            changed |= q3_k_refine_weight(x[i], code + i, &sums);
        }
    }
    for (int i = 0; i < 16; i++) {
        code[i] = li32_select(all_zero, li32_set1(0), li32_add(code[i], li32_set1(4)));
    }
    lmask fits = lmask_and(lf32_gt(sums.l2, zero), lmask_not(all_zero));
    return lf32_select(fits, lf32_div(sums.lx, sums.l2), zero);
}

/* Sixteen scales as codes 0..63 relative to the extreme one; gives d in half precision. */
QK_FN li32 q3_k_scales_plain(const lf32 *scale, li32 *scale_code)
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 magnitude;
    lf32 extreme = lane_extreme(scale, 16, &magnitude);
    lmask none = lf32_eq(extreme, zero);
    lf32 inverse = lf32_div(lf32_set1(-32.0f), extreme);
    for (int j = 0; j < 16; j++) {
        li32 code = li32_as_i8(lf32_nearest(lf32_mul(inverse, scale[j])));
        code = li32_add(li32_clamp(code, -32, 31), li32_set1(32));
        scale_code[j] = li32_select(none, li32_set1(0), code);
    }
    lf32 d = lf32_div(lf32_set1(1.0f), inverse);
    return f16_from_lf32(lf32_select(none, zero, d));
}

/* With importance: the codes of every group, the scale codes, and d in half precision. */
QK_FN li32 q3_k_fit_weighted(const lf32 *x, const lf32 *importance, li32 *code, li32 *scale_code)
{
    lf32 w[16], scale[16], sum_w[16];
    lf32 mean_square = lf32_mul(lf32_set1(2.0f), lane_sum_squares(x, 256));
    mean_square = lf32_div(mean_square, lf32_set1(256.0f));
    for (int j = 0; j < 16; j++) {
        const lf32 *xj = x + 16 * j;
        importance_weights(xj, importance + 16 * j, mean_square, 16, w);
        sum_w[j] = lane_sum(w, 16);
        symmetric_fit fit = search_symmetric(xj, w, 16, 4, SYMMETRIC_WEIGHTS);
        scale[j] = fit.scale;
        for (int i = 0; i < 16; i++) {
            code[16 * j + i] = symmetric_stored_code(&fit, xj[i], 4, SYMMETRIC_WEIGHTS);
        }
    }
    symmetric_fit fit = search_symmetric(scale, sum_w, 16, 32, SYMMETRIC_SCALES);
    for (int j = 0; j < 16; j++) {
        scale_code[j] = symmetric_stored_code(&fit, scale[j], 32, SYMMETRIC_SCALES);
    }
    return f16_from_lf32(fit.scale);
}

/* Rounds the weights on the stored scales, keeping the search's codes where a scale is 0. */
QK_FN void q3_k_round(const lf32 *x, lf32 d, const li32 *scale_code, li32 *code)
{
    for (int j = 0; j < 16; j++) {
        lf32 centred = lf32_from_li32(li32_sub(scale_code[j], li32_set1(32)));
        lf32 scale = lf32_mul(d, centred);
        lmask no_scale = lf32_eq(scale, lf32_set1(0.0f));
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            li32 rounded = lf32_nearest_clamped(lf32_div(x[i], scale), -4, 3);
            code[i] = li32_select(no_scale, code[i], li32_add(rounded, li32_set1(4)));
        }
    }
}

QK_FN void q3_k_pack(const li32 *code, const li32 *scale_code, li32 d, li32 *out)
{
    const li32 low2 = li32_set1(3), low4 = li32_set1(15);
    li32 low[256], byte[32];
    for (int i = 0; i < 32; i++) {
        byte[i] = li32_set1(0);
        for (int j = 0; j < 8; j++) {
            li32 c = code[32 * j + i];
            byte[i] = li32_or(byte[i], li32_shl(li32_shr(c, 2), j));
            low[32 * j + i] = li32_and(c, low2);
        }
    }
    for (int i = 0; i < 8; i++) {
        out[i] = word_of_bytes(byte + 4 * i);
    }
    for (int part = 0; part < 2; part++) {
        pack_2bit(low + 128 * part, out + 8 + 8 * part);
    }
    for (int j = 0; j < 8; j++) {
        li32 second = li32_and(scale_code[j + 8], low4);
        byte[j] = li32_or(li32_and(scale_code[j], low4), li32_shl(second, 4));
    }
    for (int j = 0; j < 4; j++) {
        byte[8 + j] = li32_set1(0);
        for (int k = 0; k < 4; k++) {
            li32 high = li32_shr(scale_code[j + 4 * k], 4);
            byte[8 + j] = li32_or(byte[8 + j], li32_shl(high, 2 * k));
        }
    }
    for (int i = 0; i < 3; i++) {
        out[24 + i] = word_of_bytes(byte + 4 * i);
    }
    out[27] = d;
}

QK_FN void q3_k_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)row_mean_square;
    li32 code[256], scale_code[16], d;
    if (importance) {
        d = q3_k_fit_weighted(x, importance, code, scale_code);
    } else {
        lf32 scale[16];
        for (int j = 0; j < 16; j++) {
            scale[j] = q3_k_fit_plain(x + 16 * j, code + 16 * j);
        }
        d = q3_k_scales_plain(scale, scale_code);
    }
    q3_k_round(x, lf32_from_f16(d), scale_code, code);
    q3_k_pack(code, scale_code, d, out);
}

QK_FN void q3_k_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 110) {
        const uint8_t *scales = block + 96;
        lf32 d = lf32_load_f16(block + 108);
        for (int j = 0; j < 16; j++, y += 16) {
            int low = j < 8 ? scales[j] & 15 : scales[j - 8] >> 4;
            int high = scales[8 + j % 4] >> (j / 4 * 2) & 3;
            lf32 scale = lf32_mul(d, lf32_set1((float)((low | high << 4) - 32)));
            int at = 16 * (j % 2);
            const uint8_t *codes = block + 32 + 32 * (j / 8) + at;
            for (int i = 0; i < 16; i += LANES) {
                li32 code = li32_shr(li32_load_u8(codes + i), j % 8 / 2 * 2);
                li32 bit = li32_shr(li32_load_u8(block + at + i), j / 2);
                bit = li32_and(bit, li32_set1(1));
                code = li32_or(li32_and(code, li32_set1(3)), li32_shl(bit, 2));
                code = li32_sub(code, li32_set1(4));
                lf32_store(y + i, lf32_mul(scale, lf32_from_li32(code)));
            }
        }
    }
}
