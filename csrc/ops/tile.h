/* SPDX-License-Identifier: MIT */
/* From rows of w in blocks to a tile of it as the microkernels read it (kernel.h, kernel_int.h). */
#ifndef QK_TILE_H
#define QK_TILE_H

#include "weights.h"

#define K_STEP QK_K_STEP /* columns of a tile */
#define TILE_WORDS (K_STEP * TILE)

/* ---- f32 ---- */

/* n_cols columns of n rows of w, from column `first` on. */
static void fill_tile_f32(const weight_type *of, const uint8_t *w, size_t row_bytes, size_t n,
                          size_t first, size_t n_cols, float *tile)
{
    float rows[TILE][STRETCH];
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < n_cols; i += STRETCH) {
        const size_t left = n_cols - i < STRETCH ? n_cols - i : STRETCH;
        for (size_t r = 0; r < n; r++) {
            const size_t at = (first + i) / of->block_size * of->block_bytes;
            of->to_floats(w + r * row_bytes + at, left, rows[r]);
        }
        for (size_t c = 0; c < left; c += WIDTH) {
            for (size_t r = 0; r < TILE; r += WIDTH) {
                transpose_words((const uint32_t *)&rows[r][c], STRETCH,
                                (uint32_t *)tile + (i + c) * TILE + r, TILE);
            }
        }
    }
}

/* ---- integers ---- */

/* The scales and minimums of n columns of a row; at: its place in the first group. */
QK_INLINE void put_row_items(const weight_type *of, size_t n, block_codes from, float *at)
{
    const size_t halves = GROUP / of->group;
    for (size_t i = 0; i < n; i += GROUP, at += W_ITEMS * TILE) {
        for (size_t half = 0; half < halves; half++) {
            at[(W_SCALE + half) * TILE] = *from.scale++;
            if (of->has_min) {
                at[(W_MIN + half) * TILE] = -*from.min++;
            }
        }
    }
}

/* Words of `bytes` per code of n columns of codes, column by column. */
QK_INLINE void put_words(int8_t codes[TILE][STRETCH], size_t n, size_t bytes, uint32_t *to)
{
    int16_t wide[WIDTH][STRETCH];
    for (size_t r = 0; r < TILE; r += WIDTH) {
        const uint32_t *rows = (const uint32_t *)codes[r];
        if (bytes == 2) {
            for (size_t l = 0; l < WIDTH; l++) {
                for (size_t i = 0; i < STRETCH; i++) { /* past n too, for the transpose */
                    wide[l][i] = codes[r + l][i];
                }
            }
            rows = (const uint32_t *)wide[0];
        }
        for (size_t c = 0; c < n * bytes / 4; c += WIDTH) {
            transpose_words(rows + c, STRETCH * bytes / 4, to + c * TILE + r, TILE);
        }
    }
}

/* Minus an integer sum, or the two of 16 bits. */
QK_INLINE uint32_t negated(dot_kind dot, uint32_t sum)
{
    return dot == DOT_SHORT ? (-sum & 0xffff) | -(sum >> 16) << 16 : -sum;
}

/* What the sums of products start with: X_BIAS too much in each code of x is taken back. */
QK_INLINE void put_starts(dot_kind dot, size_t n, size_t part, const uint32_t *words,
                          uint32_t *items)
{
    const uint32_t bias = X_BIAS * 0x01010101u;
    const vwords x = vwords_set1(&bias);
    for (size_t i = 0; i < n; i += part) {
        uint32_t *to = items + (i / GROUP * W_ITEMS + W_START + i % GROUP / part) * TILE;
        for (size_t r = 0; r < TILE; r += WIDTH) {
            vacc sum = vacc_zero();
            for (size_t c = i / 4; c < (i + part) / 4; c++) {
                sum = add_dot(dot, sum, vwords_load(words + c * TILE + r), x);
            }
            vacc_store((int32_t *)to + r, sum);
            for (size_t j = r; j < r + WIDTH; j++) {
                to[j] = negated(dot, to[j]);
            }
        }
    }
}

/* As fill_tile_f32; the words, then the items. */
static void fill_tile_integers(const weight_type *of, int_shape shape, const uint8_t *w,
                               size_t row_bytes, size_t n, size_t first, size_t n_cols,
                               uint32_t *words, float *items)
{
    const size_t bytes = code_bytes(shape.dot), part = (size_t)(GROUP / shape.parts);
    int8_t codes[TILE][STRETCH];
    float scale[MOST_GROUPS], min[MOST_GROUPS];
    if (n < TILE || n_cols % STRETCH) {
        memset(codes, 0, sizeof codes);
        memset(items, 0, n_cols / GROUP * W_ITEMS * TILE * sizeof *items);
    }
    for (size_t i = 0; i < n_cols; i += STRETCH) {
        const size_t left = n_cols - i < STRETCH ? n_cols - i : STRETCH;
        float *group = items + i / GROUP * W_ITEMS * TILE;
        uint32_t *to = words + i * bytes / 4 * TILE;
        for (size_t r = 0; r < n; r++) {
            const uint8_t *row = w + r * row_bytes + (first + i) / of->block_size * of->block_bytes;
            const block_codes unpacked = {codes[r], scale, min};
            of->unpack(row, left / of->block_size, unpacked);
            put_row_items(of, left, unpacked, group + r);
        }
        put_words(codes, left, bytes, to);
        if (X_BIAS && shape.dot == DOT_SHORT) {
            put_starts(DOT_SHORT, left, part, to, (uint32_t *)group);
        } else if (X_BIAS && shape.dot == DOT_I8) {
            put_starts(DOT_I8, left, part, to, (uint32_t *)group);
        }
    }
}

#endif
