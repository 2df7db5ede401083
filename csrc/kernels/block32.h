/* SPDX-License-Identifier: MIT */
/* What the five formats with blocks of 32 weights share. */
#ifndef QK_BLOCK32_H
#define QK_BLOCK32_H

/* The search with importance that Q4_1 and Q5_1 use. */
#define BLOCK32_WEIGHTED(n_max) {32, (n_max), -0.9f, 0.05f, 36, 0, 1}

/* 32 codes as four words of 4 bits each: byte i holds code i low and code i+16 high. */
QK_INLINE void pack_nibbles(const li32 *code, li32 *words)
{
    for (int i = 0; i < 4; i++) {
        words[i] = word_of_nibbles(code + 4 * i, code + 16 + 4 * i);
    }
}

/* The same of codes of 5 bits, without the fifth. */
QK_INLINE void pack_low_nibbles(const li32 *code, li32 *words)
{
    li32 low[32];
    for (int i = 0; i < 32; i++) {
        low[i] = li32_and(code[i], li32_set1(15));
    }
    pack_nibbles(low, words);
}

/* The fifth bits of 32 codes as one word, code 0 in bit 0. */
QK_INLINE li32 pack_fifth_bits(const li32 *code)
{
    li32 word = li32_set1(0);
    for (int i = 0; i < 32; i++) {
        li32 bit = li32_and(li32_shr(code[i], 4), li32_set1(1));
        word = li32_or(word, li32_shl(bit, i));
    }
    return word;
}

/* Codes x / d + offset, rounded by truncation after adding a half; d is the extreme / -offset. */
QK_INLINE li32 block32_round_symmetric(const lf32 *x, int offset, li32 *code)
{
    lf32 magnitude;
    lf32 d = lf32_div(lane_extreme(x, 32, &magnitude), lf32_set1((float)-offset));
    lf32 inverse = lf32_reciprocal_or_0(d);
    for (int i = 0; i < 32; i++) {
        lf32 v = lf32_add(lf32_mul(x[i], inverse), lf32_set1((float)offset + 0.5f));
        code[i] = li32_min(li32_as_u8(li32_trunc(v)), li32_set1(2 * offset - 1));
    }
    return f16_from_lf32(d);
}

/* Codes (x - min) / d rounded likewise, d = (max - min) / n_max; gives the word d | min << 16. */
QK_INLINE li32 block32_round_affine(const lf32 *x, int n_max, li32 *code)
{
    lf32 min = lf32_set1(FLT_MAX), max = lf32_set1(-FLT_MAX);
    for (int i = 0; i < 32; i++) {
        min = lf32_select(lf32_gt(min, x[i]), x[i], min);
        max = lf32_select(lf32_gt(x[i], max), x[i], max);
    }
    lf32 d = lf32_div(lf32_sub(max, min), lf32_set1((float)n_max));
    lf32 inverse = lf32_reciprocal_or_0(d);
    for (int i = 0; i < 32; i++) {
        lf32 v = lf32_add(lf32_mul(lf32_sub(x[i], min), inverse), lf32_set1(0.5f));
        code[i] = li32_min(li32_as_u8(li32_trunc(v)), li32_set1(n_max));
    }
    return word_of_halves(f16_from_lf32(d), f16_from_lf32(min));
}

/* With importance: the searched scale in half precision and its codes. */
QK_INLINE li32 block32_search_symmetric(const lf32 *x, const lf32 *importance, lf32 mean_square,
                                        int offset, li32 *code)
{
    lf32 w[32];
    importance_weights(x, importance, mean_square, 32, w);
    symmetric_fit fit = search_symmetric(x, w, 32, offset, SYMMETRIC_WEIGHTS);
    for (int i = 0; i < 32; i++) {
        code[i] = symmetric_stored_code(&fit, x[i], offset, SYMMETRIC_WEIGHTS);
    }
    return f16_from_lf32(fit.scale);
}

/* With importance, for AFFINE_GROUPS blocks: of each the word d | min << 16 and the codes. */
QK_INLINE void block32_search_affine(affine_search how, const lf32 *x, const lf32 *importance,
                                     const lf32 *mean_square, li32 *head, li32 *code)
{
    lf32 w[32 * AFFINE_GROUPS];
    affine_fit fit[AFFINE_GROUPS];
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        importance_weights(x + 32 * k, importance + 32 * k, mean_square[k], 32, w + 32 * k);
    }
    search_affine(how, x, w, fit);
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        for (int i = 32 * k; i < 32 * k + 32; i++) {
            code[i] = affine_code(how, fit[k].grid_scale, fit[k].grid_min, x[i]);
        }
        lf32 min = lf32_neg(fit[k].minus_min);
        head[k] = word_of_halves(f16_from_lf32(fit[k].scale), f16_from_lf32(min));
    }
}

/* The heads and codes of AFFINE_GROUPS blocks, with importance or without. */
QK_INLINE void block32_affine(affine_search weighted, const lf32 *x, const lf32 *importance,
                              const lf32 *row_mean_square, li32 *head, li32 *code)
{
    if (importance) {
        block32_search_affine(weighted, x, importance, row_mean_square, head, code);
        return;
    }
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        head[k] = block32_round_affine(x + 32 * k, weighted.n_max, code + 32 * k);
    }
}

/* Codes i..i+LANES-1 (i < 32) of a block whose nibbles start at p: the low ones come first. */
QK_INLINE li32 load_nibbles(const uint8_t *p, int i)
{
    return i < 16 ? li32_and(li32_load_u8(p + i), li32_set1(15))
                  : li32_shr(li32_load_u8(p + i - 16), 4);
}

/* Bits i..i+LANES-1 of the 32 at p as 0 or 16, ready to be or-ed onto nibbles. */
QK_INLINE li32 load_fifth_bits(const uint8_t *p, int i)
{
    static const int32_t place[32] = {
        1 << 0,  1 << 1,  1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
        1 << 8,  1 << 9,  1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15,
        1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23,
        1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, INT32_MIN,
    };
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    li32 here = li32_load(place + i);
    lmask set = li32_eq(li32_and(li32_set1(bits), here), here);
    return li32_select(set, li32_set1(16), li32_set1(0));
}

#endif
