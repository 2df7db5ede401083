/* SPDX-License-Identifier: MIT */
/* What the formats with blocks of 32 weights share. */
#ifndef QK_BLOCK32_H
#define QK_BLOCK32_H

/* ---- 32 codes of 4 or 5 bits as words: of 5 bits first a word of the fifth ones, code 0 in bit 0;
 * then four words of 4 bits each: byte i holds code i low and code i+16 high ---- */

/* The fifth bits of the four bytes of a word, side by side. */
QK_INLINE li32 fifth_bits(li32 bytes)
{
    li32 apart = li32_and(li32_shr(bytes, 4), li32_set1(0x01010101));
    /* The product has bits 0, 8, 16 and 24 at 24 to 27, and nothing above. */
    return li32_shr(li32_mul(apart, li32_set1(0x01020408)), 24);
}

/* Codes 4*i to 4*i+3, and those that are 16 on. */
QK_INLINE void pack_eight_codes(const li32 *low, const li32 *high, int i, int bits, li32 *words)
{
    li32 first = word_of_bytes(low), second = word_of_bytes(high);
    if (bits == 5) {
        const li32 low4 = li32_set1(0x0f0f0f0f);
        li32 fifth = li32_shl(fifth_bits(first), 4 * i);
        fifth = li32_or(fifth, li32_shl(fifth_bits(second), 4 * i + 16));
        *words = i ? li32_or(*words, fifth) : fifth;
        words++;
        first = li32_and(first, low4);
        second = li32_and(second, low4);
    }
    words[i] = li32_or(first, li32_shl(second, 4));
}

QK_INLINE void pack_codes(const li32 *code, int bits, li32 *words)
{
    for (int i = 0; i < 4; i++) {
        pack_eight_codes(code + 4 * i, code + 16 + 4 * i, i, bits, words);
    }
}

/* ---- without importance: rounded by truncation after adding a half ---- */

typedef struct block32_grid {
    lf32 origin, inverse; /* a code is (x - origin) * inverse + zero, truncated */
    lf32 zero;
    int affine; /* with an origin; without, the code of the largest weight may be one too large */
} block32_grid;

QK_INLINE li32 block32_code(block32_grid grid, int bits, lf32 x)
{
    lf32 v = grid.affine ? lf32_sub(x, grid.origin) : x;
    li32 code = li32_trunc(lf32_add(lf32_mul(v, grid.inverse), grid.zero));
    return grid.affine ? code : li32_min(code, li32_set1((1 << bits) - 1));
}

QK_INLINE void block32_round(block32_grid grid, const lf32 *x, int bits, li32 *words)
{
    for (int i = 0; i < 4; i++) {
        li32 low[4], high[4];
        for (int k = 0; k < 4; k++) {
            low[k] = block32_code(grid, bits, x[4 * i + k]);
            high[k] = block32_code(grid, bits, x[4 * i + k + 16]);
        }
        pack_eight_codes(low, high, i, bits, words);
    }
}

/* The extreme weight gets code 0, and 0 the one in the middle; gives d in half precision. */
QK_INLINE li32 block32_round_symmetric(const lf32 *x, int bits, li32 *words)
{
    const float middle = (float)(1 << (bits - 1));
    lf32 magnitude, none = lf32_set1(0.0f);
    lf32 d = lf32_div(lane_extreme(x, 32, &magnitude), lf32_set1(-middle));
    lf32 inverse = lf32_reciprocal_or_0(d);
    /* Where 1/d is infinite, the reference's codes come out 0. */
    lmask tiny = lf32_gt(lf32_abs(inverse), lf32_set1(FLT_MAX));
    block32_grid grid = {none, lf32_select(tiny, none, inverse),
                         lf32_select(tiny, none, lf32_set1(middle + 0.5f)), 0};
    block32_round(grid, x, bits, words);
    return f16_from_lf32(d);
}

/* The smallest weight gets code 0, the largest the last; gives the word d | min << 16. */
QK_INLINE li32 block32_affine_grid(const lf32 *x, int bits, block32_grid *grid)
{
    const lf32 none = lf32_set1(0.0f), most = lf32_set1(FLT_MAX);
    lf32 min, max;
    lane_range(x, 32, &min, &max);
    lf32 range = lf32_sub(max, min);
    lf32 d = lf32_div(range, lf32_set1((float)((1 << bits) - 1)));
    lf32 inverse = lf32_reciprocal_or_0(d);
    /* Where the range or 1/d is infinite, the reference's codes come out 0. */
    grid->origin = lf32_select(lf32_gt(range, most), none, min);
    grid->inverse = lf32_select(lf32_gt(inverse, most), none, inverse);
    grid->zero = lf32_set1(0.5f);
    grid->affine = 1;
    return word_of_halves(f16_from_lf32(d), f16_from_lf32(min));
}

/* ---- with importance: searched ---- */

/* Gives the scale in half precision. */
QK_INLINE li32 block32_search_symmetric(const lf32 *x, const lf32 *importance, lf32 mean_square,
                                        int bits, li32 *words)
{
    const int middle = 1 << (bits - 1);
    lf32 w[32];
    li32 code[32];
    importance_weights(x, importance, mean_square, 32, w);
    symmetric_fit fit = search_symmetric(x, w, 32, middle, SYMMETRIC_WEIGHTS);
    for (int i = 0; i < 32; i++) {
        code[i] = symmetric_stored_code(&fit, x[i], middle, SYMMETRIC_WEIGHTS);
    }
    pack_codes(code, bits, words);
    return f16_from_lf32(fit.scale);
}

/* For AFFINE_GROUPS blocks: of each the word d | min << 16 and those of its codes. */
QK_INLINE void block32_search_affine(const lf32 *x, const lf32 *importance, const lf32 *mean_square,
                                     int bits, li32 *words)
{
    const affine_search how = {32, (1 << bits) - 1, -0.9f, 0.05f, 36, 0, 1};
    lf32 w[32 * AFFINE_GROUPS];
    affine_fit fit[AFFINE_GROUPS];
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        importance_weights(x + 32 * k, importance + 32 * k, mean_square[k], 32, w + 32 * k);
    }
    search_affine(how, x, w, fit);
    for (int k = 0; k < AFFINE_GROUPS; k++, words += bits + 1) {
        li32 code[32];
        for (int i = 0; i < 32; i++) {
            code[i] = affine_code(how, fit[k].grid_scale, fit[k].grid_min, x[32 * k + i]);
        }
        lf32 min = lf32_neg(fit[k].minus_min);
        words[0] = word_of_halves(f16_from_lf32(fit[k].scale), f16_from_lf32(min));
        pack_codes(code, bits, words + 1);
    }
}

/* ---- with importance or without ---- */

/* Gives the scale in half precision. */
QK_INLINE li32 block32_symmetric(const lf32 *x, const lf32 *importance, const lf32 *mean_square,
                                 int bits, li32 *words)
{
    return importance ? block32_search_symmetric(x, importance, *mean_square, bits, words)
                      : block32_round_symmetric(x, bits, words);
}

/* AFFINE_GROUPS blocks, of each the word d | min << 16 and those of its codes. */
QK_INLINE void block32_affine(const lf32 *x, const lf32 *importance, const lf32 *mean_square,
                              int bits, li32 *words)
{
    if (importance) {
        block32_search_affine(x, importance, mean_square, bits, words);
        return;
    }
    block32_grid grid[AFFINE_GROUPS];
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        words[(bits + 1) * k] = block32_affine_grid(x + 32 * k, bits, &grid[k]);
    }
    for (int k = 0; k < AFFINE_GROUPS; k++) {
        block32_round(grid[k], x + 32 * k, bits, words + (bits + 1) * k + 1);
    }
}

/* ---- reading ---- */

/* Codes i..i+LANES-1 (i < 32) of a block whose nibbles start at p: the low ones come first. */
QK_INLINE li32 load_nibbles(const uint8_t *p, int i)
{
    return i < 16 ? li32_and(li32_load_u8(p + i), li32_set1(15))
                  : li32_shr(li32_load_u8(p + i - 16), 4);
}

/* Bits i..i+LANES-1 of the 32 at p. */
QK_INLINE lmask load_bits(const uint8_t *p, int i)
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
    return li32_eq(li32_and(li32_set1(bits), here), here);
}

/* The same as 0 or 16, ready to be or-ed onto nibbles. */
QK_INLINE li32 load_fifth_bits(const uint8_t *p, int i)
{
    return li32_select(load_bits(p, i), li32_set1(16), li32_set1(0));
}

#endif
