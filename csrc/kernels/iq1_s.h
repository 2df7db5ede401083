/* SPDX-License-Identifier: MIT */
/* IQ1_S: 256 weights in 50 bytes, 1.5625 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    32 bytes: low 8 bits of the index of each 8 weights in a codebook of 2048 entries
 *     byte 34   eight 16-bit words, one per 32 weights: at bit 3 * k the high 3 bits of index k, at
 *               bit 12 the scale code, bit 15 set for a shift of -1/8
 *
 *     weight = d * (2 * scale code + 1) * (entry + shift), entry -1, 0 or 1, shift 1/8 or -1/8
 *
 * Rule: see iq1.h; groups of 32 weights.  Importance is needed.
 * Source: ggml, quantize_row_iq1_s_impl. */

#define IQ1_S_GROUP 32
#define IQ1_S_MAX_EPS 1e-12f /* a group whose largest weight is below this counts as zero */

/* The sums of one part of a group's weights under both shifts: -1 - 1/8 and so on. */
typedef struct iq1_s_sums {
    lf32 qx[2], q2[2];
} iq1_s_sums;

/* sum_wx and sum_w weights on one level */
QK_INLINE iq1_s_sums iq1_s_part(lf32 sum_wx, lf32 sum_w, float level)
{
    iq1_s_sums part;
    for (int minus = 0; minus < 2; minus++) {
        lf32 value = lf32_set1(level + (minus ? -IQ1_SHIFT : IQ1_SHIFT));
        part.qx[minus] = lf32_mul(sum_wx, value);
        part.q2[minus] = lf32_mul(lf32_mul(sum_w, value), value);
    }
    return part;
}

/* Tries every split of a group. */
QK_FN iq1_split iq1_s_search(const lf32 *x, const lf32 *w, const li32 *place)
{
    const int n = IQ1_S_GROUP;
    lf32 v[IQ1_S_GROUP], wx[IQ1_S_GROUP + 1], sum_w[IQ1_S_GROUP + 1];
    iq1_s_sums high[IQ1_S_GROUP + 1];
    iq1_split best = iq1_no_split();
    for (int i = 0; i < n; i++) {
        v[i] = lf32_mul(w[i], x[i]);
    }
    iq1_arrange(v, place, n, v);
    iq1_prefix_sums(v, n, wx);
    iq1_arrange(w, place, n, v);
    iq1_prefix_sums(v, n, sum_w);
    for (int i = 0; i <= n; i++) {
        high[i] = iq1_s_part(lf32_sub(wx[n], wx[i]), lf32_sub(sum_w[n], sum_w[i]), 1);
    }
    for (int i = 0; i <= n; i++) {
        const iq1_s_sums low = iq1_s_part(wx[i], sum_w[i], -1);
        for (int j = i; j <= n; j++) {
            iq1_s_sums mid = iq1_s_part(lf32_sub(wx[j], wx[i]), lf32_sub(sum_w[j], sum_w[i]), 0);
            for (int minus = 0; minus < 2; minus++) {
                lf32 qx = lf32_add(low.qx[minus], mid.qx[minus]);
                lf32 q2 = lf32_add(low.q2[minus], mid.q2[minus]);
                qx = lf32_add(qx, high[j].qx[minus]);
                q2 = lf32_add(q2, high[j].q2[minus]);
                iq1_try(&best, qx, q2, i | j << 8 | minus << 16);
            }
        }
    }
    return best;
}

/* Scale, indices and shift (0, or 1 for -1/8) of one group. */
QK_FN lf32 iq1_s_group(const lf32 *x, const lf32 *w, li32 *index, li32 *minus)
{
    const lf32 zero = lf32_set1(0.0f);
    li32 place[IQ1_S_GROUP], level[IQ1_S_GROUP], code[4];
    lf32 magnitude, shift[4];
    lane_extreme(x, IQ1_S_GROUP, &magnitude);
    iq1_places(x, IQ1_S_GROUP, place);
    iq1_split split = iq1_s_search(x, w, place);
    lmask none =
        lmask_or(lf32_gt(lf32_set1(IQ1_S_MAX_EPS), magnitude), li32_gt(li32_set1(0), split.found));
    lmask mirror = lf32_gt(zero, split.scale);
    iq1_levels(place, IQ1_S_GROUP, split.found, mirror, level);
    lf32 scale = lf32_select(mirror, lf32_neg(split.scale), split.scale);
    li32 shifted = li32_shr(split.found, 16);
    shifted = li32_select(mirror, li32_sub(li32_set1(1), shifted), shifted);
    for (int k = 0; k < 4; k++) {
        shift[k] = iq1_shift(shifted);
    }
    scale = iq1_entries(x, w, level, 4, scale, shift, code);
    for (int k = 0; k < 4; k++) {
        index[k] = li32_select(none, li32_set1(0), iq1_index(code[k]));
    }
    *minus = li32_select(none, li32_set1(0), shifted);
    return lf32_select(none, zero, scale);
}

/* minus: 1 for a shift of -1/8; d: half precision */
QK_FN void iq1_s_pack(const li32 *index, const li32 *scale_code, const li32 *minus, li32 d,
                      li32 *out)
{
    li32 low[4], high[8], words[12];
    for (int j = 0; j < 8; j++) {
        high[j] = li32_shl(li32_or(scale_code[j], li32_shl(minus[j], 3)), 12);
        for (int k = 0; k < 4; k++) {
            const li32 whole = index[4 * j + k];
            high[j] = li32_or(high[j], li32_shl(li32_shr(whole, 8), 3 * k));
            low[k] = li32_as_u8(whole);
        }
        words[j] = word_of_bytes(low);
    }
    for (int j = 0; j < 4; j++) {
        words[8 + j] = word_of_halves(high[2 * j], high[2 * j + 1]);
    }
    put_after_half(d, words, 12, out);
}

QK_FN void iq1_s_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)row_mean_square;
    lf32 w[IQ1_S_GROUP], scale[8];
    li32 index[32], minus[8], code[8];
    const lf32 mean_square = twice_mean_square(x);
    for (int j = 0; j < 8; j++) {
        const lf32 *xj = x + IQ1_S_GROUP * j;
        importance_weights(xj, importance + IQ1_S_GROUP * j, mean_square, IQ1_S_GROUP, w);
        scale[j] = iq1_s_group(xj, w, index + 4 * j, minus + j);
    }
    lf32 largest = iq1_largest(scale, 8), d = lf32_div(largest, lf32_set1(15.0f));
    const lf32 inverse = lf32_div(lf32_set1(1.0f), d);
    const lmask no_scale = lf32_eq(largest, lf32_set1(0.0f));
    for (int j = 0; j < 8; j++) {
        code[j] = li32_select(no_scale, li32_set1(0), iq1_scale_code(scale[j], inverse));
        minus[j] = li32_select(no_scale, li32_set1(0), minus[j]);
    }
    /* The stored scale is a little larger than the fitted one: so the reference. */
    d = lf32_select(no_scale, lf32_set1(0.0f), lf32_mul(d, lf32_set1(1.125f)));
    iq1_s_pack(index, code, minus, f16_from_lf32(d), out);
}

QK_FN void iq1_s_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    const int8_t *entry[4];
    for (; n_blocks--; block += 50) {
        const lf32 d = lf32_load_f16(block);
        for (int j = 0; j < 8; j++, y += IQ1_S_GROUP) {
            const int high = block[34 + 2 * j] | block[35 + 2 * j] << 8;
            for (int k = 0; k < 4; k++) {
                entry[k] = iq1_s_grid[block[2 + 4 * j + k] | (high >> 3 * k & 7) << 8];
            }
            lf32 scale = lf32_mul(d, lf32_set1((float)(2 * (high >> 12 & 7) + 1)));
            iq1_values(entry, iq1_shifts[high >> 15 ? 3 : 0], scale, IQ1_S_GROUP, y);
        }
    }
}
