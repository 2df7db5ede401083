/* SPDX-License-Identifier: MIT */
/* IQ1_M: 256 weights in 56 bytes, 1.75 bits per weight.
 *
 *     byte 0    32 bytes: low 8 bits of the index of each 8 weights in IQ1_S's codebook
 *     byte 32   16 bytes, one per 16 weights: in each half the high 3 bits of an index, and the
 *               highest bit set for a shift of -1/8
 *     byte 48   four 16-bit words: at bit 3 * k the scale code of group 4 * word + k, at bit 12
 *               four bits of d, the lowest in the first word
 *
 *     weight = d * (2 * scale code + 1) * (entry + shift), entry -1, 0 or 1, shift 1/8 or -1/8
 *
 * Rule: see iq1.h; groups of 16 weights, whose halves are shifted apart; d is fitted anew at the
 * end.  Without importance the weight of an error is x^2.
 * Source: ggml, quantize_row_iq1_m_impl. */

#define IQ1_M_GROUP 16
#define IQ1_M_MAX_EPS 1e-7f /* a group whose largest weight is below this counts as zero */

/* For one half of a group and one shift, sums that a split with boundaries i and j is made of:
 * sum w*value*x = all - (below[i] + below[j]), sum w*value*value = first[i] + second[j]. */
typedef struct iq1_m_half {
    lf32 all, first[IQ1_M_GROUP + 1], second[IQ1_M_GROUP + 1];
} iq1_m_half;

/* below, sum_w: of the half's weights among the i smallest of the group */
QK_INLINE void iq1_m_prepare(const lf32 *below, const lf32 *sum_w, float shift, iq1_m_half *half)
{
    const float low = -1 + shift, high = 1 + shift; /* exact, and so are their products */
    const lf32 top = lf32_set1(high);
    const lf32 squares = lf32_mul(lf32_mul(sum_w[IQ1_M_GROUP], top), top);
    half->all = lf32_mul(below[IQ1_M_GROUP], top);
    for (int i = 0; i <= IQ1_M_GROUP; i++) {
        lf32 lower = lf32_mul(sum_w[i], lf32_set1(low * low - shift * shift));
        half->first[i] = lf32_add(squares, lower);
        half->second[i] = lf32_mul(sum_w[i], lf32_set1(shift * shift - high * high));
    }
}

/* below[h][i], sum_w[h][i]: sums of w*x and w over the weights of half h among the i smallest */
QK_INLINE void iq1_m_half_sums(const lf32 *x, const lf32 *w, const li32 *place,
                               lf32 below[2][IQ1_M_GROUP + 1], lf32 sum_w[2][IQ1_M_GROUP + 1])
{
    const lf32 zero = lf32_set1(0.0f);
    lf32 v[IQ1_M_GROUP];
    for (int h = 0; h < 2; h++) {
        for (int i = 0; i < IQ1_M_GROUP; i++) {
            v[i] = i / 8 == h ? lf32_mul(w[i], x[i]) : zero;
        }
        iq1_arrange(v, place, IQ1_M_GROUP, v);
        iq1_prefix_sums(v, IQ1_M_GROUP, below[h]);
        for (int i = 0; i < IQ1_M_GROUP; i++) {
            v[i] = i / 8 == h ? w[i] : zero;
        }
        iq1_arrange(v, place, IQ1_M_GROUP, v);
        iq1_prefix_sums(v, IQ1_M_GROUP, sum_w[h]);
    }
}

/* Tries every split of a group under the four shifts of its halves: bit 1 set for -1/8 in the
 * first half, bit 0 in the second. */
QK_FN iq1_split iq1_m_search(const lf32 *x, const lf32 *w, const li32 *place)
{
    lf32 below[2][IQ1_M_GROUP + 1], sum_w[2][IQ1_M_GROUP + 1];
    iq1_m_half half[2][2];
    iq1_split best = iq1_no_split();
    iq1_m_half_sums(x, w, place, below, sum_w);
    for (int h = 0; h < 2; h++) {
        iq1_m_prepare(below[h], sum_w[h], IQ1_SHIFT, &half[h][0]);
        iq1_m_prepare(below[h], sum_w[h], -IQ1_SHIFT, &half[h][1]);
    }
    for (int i = 0; i <= IQ1_M_GROUP; i++) {
        for (int j = i; j <= IQ1_M_GROUP; j++) {
            lf32 qx[2][2], q2[2][2];
            for (int h = 0; h < 2; h++) {
                lf32 lower = lf32_add(below[h][i], below[h][j]);
                for (int minus = 0; minus < 2; minus++) {
                    const iq1_m_half *sums = &half[h][minus];
                    qx[h][minus] = lf32_sub(sums->all, lower);
                    q2[h][minus] = lf32_add(sums->first[i], sums->second[j]);
                }
            }
            for (int k = 0; k < 4; k++) {
                iq1_try(&best, lf32_add(qx[0][k >> 1], qx[1][k & 1]),
                        lf32_add(q2[0][k >> 1], q2[1][k & 1]), i | j << 8 | k << 16);
            }
        }
    }
    return best;
}

typedef struct iq1_m_fit {
    lf32 scale;
    li32 code[2];
    li32 shifts; /* as iq1_m_search has them */
} iq1_m_fit;

QK_INLINE void iq1_m_shifts(li32 shifts, lf32 *shift)
{
    shift[0] = iq1_shift(li32_shr(shifts, 1));
    shift[1] = iq1_shift(li32_and(shifts, li32_set1(1)));
}

QK_FN iq1_m_fit iq1_m_group(const lf32 *x, const lf32 *w)
{
    const lf32 zero = lf32_set1(0.0f);
    li32 place[IQ1_M_GROUP], level[IQ1_M_GROUP];
    lf32 magnitude, shift[2];
    iq1_m_fit fit;
    lane_extreme(x, IQ1_M_GROUP, &magnitude);
    iq1_places(x, IQ1_M_GROUP, place);
    iq1_split split = iq1_m_search(x, w, place);
    lmask none =
        lmask_or(lf32_gt(lf32_set1(IQ1_M_MAX_EPS), magnitude), li32_gt(li32_set1(0), split.found));
    lmask mirror = lf32_gt(zero, split.scale);
    iq1_levels(place, IQ1_M_GROUP, split.found, mirror, level);
    lf32 scale = lf32_select(mirror, lf32_neg(split.scale), split.scale);
    li32 shifts = li32_shr(split.found, 16);
    shifts = li32_select(mirror, li32_sub(li32_set1(3), shifts), shifts);
    fit.shifts = li32_select(none, li32_set1(0), shifts);
    iq1_m_shifts(fit.shifts, shift);
    scale = iq1_entries(x, w, level, 2, scale, shift, fit.code);
    fit.scale = lf32_select(none, zero, scale);
    for (int k = 0; k < 2; k++) { /* code 0 is entry 0 */
        fit.code[k] = li32_select(none, li32_set1(0), fit.code[k]);
    }
    return fit;
}

/* Adds to sum w*value*x and sum w*value*value, in units of d. */
QK_FN void iq1_m_add_sums(const lf32 *x, const lf32 *w, const iq1_m_fit *fit, li32 scale_code,
                          lf32 *sum_qx, lf32 *sum_q2)
{
    lf32 shift[2];
    iq1_m_shifts(fit->shifts, shift);
    lf32 steps = lf32_from_li32(li32_add(li32_shl(scale_code, 1), li32_set1(1)));
    for (int i = 0; i < IQ1_M_GROUP; i++) {
        lf32 q = lf32_mul(iq1_value(fit->code[i / 8], i % 8, shift[i / 8]), steps);
        lf32 wq = lf32_mul(w[i], q);
        *sum_qx = lf32_add(*sum_qx, lf32_mul(wq, x[i]));
        *sum_q2 = lf32_add(*sum_q2, lf32_mul(wq, q));
    }
}

QK_FN void iq1_m_pack(const iq1_m_fit *fit, const li32 *scale_code, li32 d, lmask no_scale,
                      li32 *out)
{
    const li32 zero = li32_set1(0);
    li32 low[32], high[16], word[4];
    for (int j = 0; j < 16; j++) {
        li32 first = iq1_index(fit[j].code[0]), second = iq1_index(fit[j].code[1]);
        li32 minus = li32_or(li32_shl(li32_and(fit[j].shifts, li32_set1(1)), 7),
                             li32_shl(li32_and(fit[j].shifts, li32_set1(2)), 2));
        low[2 * j] = li32_as_u8(first);
        low[2 * j + 1] = li32_as_u8(second);
        high[j] = li32_or(li32_shr(first, 8), li32_shl(li32_shr(second, 8), 4));
        high[j] = li32_or(high[j], li32_select(no_scale, zero, minus));
    }
    for (int i = 0; i < 4; i++) {
        word[i] = li32_shl(li32_and(li32_shr(d, 4 * i), li32_set1(15)), 12);
        for (int k = 0; k < 4; k++) {
            word[i] = li32_or(word[i], li32_shl(scale_code[4 * i + k], 3 * k));
        }
        word[i] = li32_select(no_scale, zero, word[i]);
    }
    for (int i = 0; i < 8; i++) {
        out[i] = word_of_bytes(low + 4 * i);
    }
    for (int i = 0; i < 4; i++) {
        out[8 + i] = word_of_bytes(high + 4 * i);
    }
    out[12] = word_of_halves(word[0], word[1]);
    out[13] = word_of_halves(word[2], word[3]);
}

QK_FN void iq1_m_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)row_mean_square;
    const lf32 zero = lf32_set1(0.0f);
    lf32 w[256], scale[16], sum_qx = zero, sum_q2 = zero;
    iq1_m_fit fit[16];
    li32 scale_code[16];
    if (importance) {
        importance_weights(x, importance, twice_mean_square(x), 256, w);
    } else {
        for (int i = 0; i < 256; i++) {
            w[i] = lf32_mul(x[i], x[i]);
        }
    }
    for (int j = 0; j < 16; j++) {
        fit[j] = iq1_m_group(x + IQ1_M_GROUP * j, w + IQ1_M_GROUP * j);
        scale[j] = fit[j].scale;
    }
    lf32 largest = iq1_largest(scale, 16), d = lf32_div(largest, lf32_set1(15.0f));
    lf32 inverse = lf32_div(lf32_set1(1.0f), d);
    for (int j = 0; j < 16; j++) {
        const int at = IQ1_M_GROUP * j;
        scale_code[j] = iq1_scale_code(scale[j], inverse);
        iq1_m_add_sums(x + at, w + at, fit + j, scale_code[j], &sum_qx, &sum_q2);
    }
    d = lf32_select(lf32_gt(sum_q2, zero), lf32_div(sum_qx, sum_q2), d);
    /* The stored scale is a little larger than the fitted one: so the reference. */
    li32 stored = f16_from_lf32(lf32_mul(d, lf32_set1(1.1125f)));
    iq1_m_pack(fit, scale_code, stored, lf32_eq(largest, zero), out);
}

QK_FN void iq1_m_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 56) {
        const uint8_t *word = block + 48;
        const uint32_t low = (uint32_t)(word[1] >> 4 | (word[3] & 0xf0));
        const uint32_t high = (uint32_t)((word[5] & 0xf0) | (word[7] & 0xf0) << 4);
        const lf32 d = lf32_set1_f16(low | high << 4);
        for (int j = 0; j < 16; j++, y += IQ1_M_GROUP) {
            const int both = block[32 + j];
            const int8_t *const entry[2] = {iq1_s_grid[block[2 * j] | (both & 0x07) << 8],
                                            iq1_s_grid[block[2 * j + 1] | (both & 0x70) << 4]};
            const float *shift = iq1_shifts[(both >> 3 & 1) | (both >> 6 & 2)];
            const int codes = word[j / 4 * 2] | word[j / 4 * 2 + 1] << 8;
            lf32 scale = lf32_mul(d, lf32_set1((float)(2 * (codes >> j % 4 * 3 & 7) + 1)));
            iq1_values(entry, shift, scale, IQ1_M_GROUP, y);
        }
    }
}
