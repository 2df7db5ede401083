/* SPDX-License-Identifier: MIT */
/* What the five formats with blocks of 32 weights share. */
#ifndef QK_BLOCK32_H
#define QK_BLOCK32_H

/* The search with importance that Q4_1 and Q5_1 use. */
#define BLOCK32_WEIGHTED(n_max) {32, (n_max), -0.9f, 0.05f, 36, 0, 1}

/* 32 codes of 4 bits as four words: byte i holds code i low and code i+16 high. */
QK_INLINE void pack_nibbles(const li32 *code, li32 *words)
{
    li32 byte[16];
    for (int i = 0; i < 16; i++) {
        li32 low = li32_and(code[i], li32_set1(15)), high = li32_and(code[i + 16], li32_set1(15));
        byte[i] = li32_or(low, li32_shl(high, 4));
    }
    for (int i = 0; i < 4; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
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
        code[i] = li32_min(li32_as_i8(li32_trunc(v)), li32_set1(2 * offset - 1));
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
        code[i] = li32_min(li32_as_i8(li32_trunc(v)), li32_set1(n_max));
    }
    return word_of_halves(f16_from_lf32(d), f16_from_lf32(min));
}

/* With importance: the searched scale in half precision and its codes. */
QK_INLINE li32 block32_search_symmetric(const lf32 *x, const lf32 *importance, lf32 mean_square,
                                        int offset, li32 *code)
{
    lf32 w[32];
    importance_weights(x, importance, mean_square, 32, w);
    symmetric_fit fit = search_symmetric(x, w, 32, offset);
    for (int i = 0; i < 32; i++) {
        code[i] = symmetric_stored_code(&fit, x[i], offset);
    }
    return f16_from_lf32(fit.scale);
}

/* With importance: the word d | min << 16 and the codes. */
QK_INLINE li32 block32_search_affine(affine_search how, const lf32 *x, const lf32 *importance,
                                     lf32 mean_square, li32 *code)
{
    lf32 w[32];
    importance_weights(x, importance, mean_square, 32, w);
    affine_fit fit = search_affine(how, x, w);
    for (int i = 0; i < 32; i++) {
        code[i] = affine_code(how, fit.grid_scale, fit.grid_min, x[i]);
    }
    return word_of_halves(f16_from_lf32(fit.scale), f16_from_lf32(lf32_neg(fit.minus_min)));
}

/* Codes i..i+LANES-1 (i < 32) of a block whose nibbles start at p: the low ones come first. */
QK_INLINE li32 load_nibbles(const uint8_t *p, int i)
{
    return i < 16 ? li32_and(li32_load_u8(p + i), li32_set1(15))
                  : li32_shr(li32_load_u8(p + i - 16), 4);
}

/* 32 consecutive bits as bytes 0 or 16, ready to be or-ed onto nibbles. */
QK_INLINE void spread_fifth_bits(const uint8_t *p, uint8_t *high)
{
    for (int i = 0; i < 32; i++) {
        high[i] = (uint8_t)((p[i / 8] >> (i % 8) & 1) << 4);
    }
}

#endif
