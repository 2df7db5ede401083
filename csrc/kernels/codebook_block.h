/* SPDX-License-Identifier: MIT */
/* From the weights of a group to its indices, signs and scale, and from the scales of a block to
 * their codes; and the way back.  The search is in codebook.h. */
#ifndef QK_CODEBOOK_BLOCK_H
#define QK_CODEBOOK_BLOCK_H

/* ---- weights of error ---- */

/* 2 * (sum of x^2) / 256 of a block, in this order */
QK_FN lf32 twice_mean_square(const lf32 *x)
{
    return lf32_div(lf32_mul(lf32_set1(2.0f), lane_sum_squares(x, 256)), lf32_set1(256.0f));
}

/* Those of 32 weights of an IQ3 type. */
QK_FN void iq3_weights(const lf32 *x, const lf32 *importance, lf32 mean_square, lf32 *w)
{
    if (importance) {
        importance_weights(x, importance, mean_square, 32, w);
        return;
    }
    for (int i = 0; i < 32; i++) {
        w[i] = lf32_mul(x[i], x[i]);
    }
}

/* ---- a group, a block ---- */

/* The scale that a group whose search starts from a fit of plain codes starts with. */
QK_FN lf32 codebook_start(const lf32 *magnitude, const lf32 *w)
{
    li32 unused[MAX_GROUP];
    return search_positive(magnitude, w, 32, 4, unused);
}

/* Indices, signs and scale (>= 0, or NaN where sums overflow) of one group; all 0 where the group
 * counts as zero. */
QK_INLINE lf32 codebook_group(codebook book, const lf32 *x, const lf32 *w, li32 *index, li32 *signs)
{
    const lf32 zero = lf32_set1(0.0f);
    const li32 none = li32_set1(0), all = li32_set1(book.even_signs ? 127 : 255);
    const float top = (float)(2 * codebook_top(book) + 1);
    lf32 magnitude[MAX_GROUP];
    li32 code[MAX_CODES];
    for (int k = 0; k < book.n / 8; k++) {
        signs[k] = split_signs(x + 8 * k, w + 8 * k, book.even_signs, magnitude + 8 * k);
    }
    lf32 largest = magnitude[0];
    for (int i = 1; i < book.n; i++) {
        largest = lf32_greater(largest, magnitude[i]);
    }
    lmask live = lmask_not(lf32_gt(lf32_set1(book.least), largest));
    lf32 scale = lf32_div(largest, lf32_set1(top));
    if (book.refit == REFIT_ALL) {
        scale = codebook_start(magnitude, w);
        largest = lf32_mul(scale, lf32_set1(3.0f));
        live = lmask_and(live, lf32_gt(largest, zero));
    }
    largest = lf32_select(live, largest, lf32_set1(1.0f)); /* no grid that is beyond all bounds */
    scale = search_codebook(book, magnitude, w, largest, scale, code);
    lmask negative = lf32_gt(zero, scale);
    for (int k = 0; k < codebook_n_codes(book); k++) {
        index[k] = li32_select(live, codebook_index(book, code[k]), none);
    }
    for (int k = 0; k < book.n / 8; k++) {
        signs[k] = li32_select(negative, li32_xor(signs[k], all), signs[k]);
        signs[k] = li32_select(live, signs[k], none);
    }
    return lf32_select(live, lf32_select(negative, lf32_neg(scale), scale), zero);
}

/* The 4-bit codes of a block's scales; gives the largest over 31 (the unit is half of d). */
QK_INLINE lf32 codebook_scales(const lf32 *scale, int n, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f), one = lf32_set1(1.0f);
    lf32 max = zero;
    for (int j = 0; j < n; j++) {
        max = lf32_greater(max, scale[j]);
    }
    lf32 d = lf32_div(max, lf32_set1(31.0f)), per_d = lf32_div(one, d);
    for (int j = 0; j < n; j++) {
        lf32 v = lf32_mul(lf32_set1(0.5f), lf32_sub(lf32_mul(per_d, scale[j]), one));
        li32 nearest = lf32_nearest_clamped(v, 0, 15);
        code[j] = li32_select(lf32_eq(max, zero), li32_set1(0), nearest);
    }
    return d;
}

/* Words become 0 where d is 0: some types then store neither indices nor signs. */
QK_INLINE void clear_words_without_scale(lf32 d, li32 *words, int n)
{
    const lmask empty = lf32_eq(d, lf32_set1(0.0f));
    for (int i = 0; i < n; i++) {
        words[i] = li32_select(empty, li32_set1(0), words[i]);
    }
}

/* Indices as words of their low bytes, and words of the bits above, high_bits (1 or 2) of each. */
QK_INLINE void split_indices(const li32 *index, int n, int high_bits, li32 *low, li32 *high)
{
    const int per_byte = 8 / high_bits;
    li32 low_byte[64], high_byte[8];
    for (int i = 0; i < n; i++) {
        const int byte = i / per_byte, at = i % per_byte;
        li32 bits = li32_shl(li32_shr(index[i], 8), high_bits * at);
        low_byte[i] = li32_as_u8(index[i]);
        high_byte[byte] = at ? li32_or(high_byte[byte], bits) : bits;
    }
    for (int i = 0; i < n / 4; i++) {
        low[i] = word_of_bytes(low_byte + 4 * i);
    }
    high[0] = word_of_bytes(high_byte);
    high[1] = word_of_bytes(high_byte + 4);
}

/* Four times seven signs, and a 4-bit scale code above them. */
QK_INLINE li32 word_of_signs(const li32 *signs, li32 scale_code)
{
    li32 word = li32_shl(scale_code, 28);
    for (int k = 0; k < 4; k++) {
        word = li32_or(word, li32_shl(signs[k], 7 * k));
    }
    return word;
}

/* 4-bit codes as words of eight. */
QK_INLINE void pack_4bit(const li32 *code, int n_words, li32 *words)
{
    for (int i = 0; i < n_words; i++, code += 8) {
        words[i] = code[0];
        for (int j = 1; j < 8; j++) {
            words[i] = li32_or(words[i], li32_shl(code[j], 4 * j));
        }
    }
}

/* ---- the way back ---- */

/* n weights from their values and signs (in the highest bit of a byte) */
QK_INLINE void signed_values(const uint8_t *value, const uint8_t *sign, lf32 scale, int n, float *y)
{
    for (int i = 0; i < n; i += LANES) {
        lf32 v = lf32_mul(scale, lf32_from_li32(li32_load_u8(value + i)));
        li32 minus = li32_shl(li32_load_u8(sign + i), 24);
        lf32_store(y + i, lf32_from_bits(li32_add(lf32_bits(v), minus)));
    }
}

QK_INLINE uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* (d * (0.5 + code)) * unit */
QK_INLINE lf32 codebook_scale(lf32 d, uint32_t code, float unit)
{
    lf32 steps = lf32_set1(0.5f + (float)code);
    return lf32_mul(lf32_mul(d, steps), lf32_set1(unit));
}

#endif
