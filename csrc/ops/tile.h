/* SPDX-License-Identifier: MIT */
/* From rows of w in blocks to a tile of it as the microkernels read it (kernel.h, kernel_int.h). */
#ifndef QK_TILE_H
#define QK_TILE_H

#include "../formats/formats.h"

#define STRETCH 256 /* columns unpacked at a time, a whole number of blocks */
#define K_STEP 2048 /* columns of a tile, which stays in the second cache */
#define TILE_WORDS (K_STEP * TILE)

/* How a type is unpacked. */
typedef struct unpacking {
    int type;
    size_t block_size, block_bytes, group;
    int has_min, largest;
    void (*unpack)(const uint8_t *blocks, size_t n_blocks, block_codes to);
} unpacking;

#define QK_UNPACK_BLOCKS(NAME, name, id, block_size, block_bytes, importance)                      \
    static void unpack_blocks_##name(const uint8_t *block, size_t n_blocks, block_codes to)        \
    {                                                                                              \
        for (; n_blocks--; block += (block_bytes)) {                                               \
            unpack_##name(block, to);                                                              \
            to.code += (block_size);                                                               \
            to.scale += (block_size) / name##_group;                                               \
            to.min += (block_size) / name##_group;                                                 \
        }                                                                                          \
    }
QK_BLOCK_FORMATS(QK_UNPACK_BLOCKS)
QK_BLOCK_SET_FORMATS(QK_UNPACK_BLOCKS)
#undef QK_UNPACK_BLOCKS

static const unpacking unpackings[] = {
#define QK_UNPACKING(NAME, name, id, block_size, block_bytes, importance)                          \
    {id,                                                                                           \
     block_size,                                                                                   \
     block_bytes,                                                                                  \
     name##_group,                                                                                 \
     name##_has_min,                                                                               \
     name##_largest,                                                                               \
     unpack_blocks_##name},
    QK_BLOCK_FORMATS(QK_UNPACKING) QK_BLOCK_SET_FORMATS(QK_UNPACKING)
#undef QK_UNPACKING
};

/* How a type is unpacked; NULL for the types whose weights are numbers. */
static const unpacking *find_unpacking(int type)
{
    for (size_t i = 0; i < sizeof unpackings / sizeof unpackings[0]; i++) {
        if (unpackings[i].type == type) {
            return &unpackings[i];
        }
    }
    return NULL;
}

/* ---- f32 ---- */

QK_INLINE void number_row(int type, const uint8_t *w, size_t n, float *out)
{
    if (type == 0) { /* F32 */
        memcpy(out, w, n * sizeof *out);
        return;
    }
    uint16_t half[STRETCH];
    memcpy(half, w, n * sizeof *half);
    for (size_t i = 0; i < n; i++) {
        out[i] = type == 1 ? float_of_half(half[i]) : float_of_bits((uint32_t)half[i] << 16);
    }
}

QK_INLINE void dequantize_row(const unpacking *u, const uint8_t *blocks, size_t n, float *out)
{
    int8_t code[STRETCH];
    float scale[STRETCH / 16], min[STRETCH / 16];
    u->unpack(blocks, n / u->block_size, (block_codes){code, scale, min});
    for (size_t g = 0; g < n / 16; g++) {
        const size_t at = g * 16 / u->group;
        const float s = scale[at], m = u->has_min ? min[at] : 0.0f;
        for (size_t i = 16 * g; i < 16 * g + 16; i++) {
            out[i] = s * (float)code[i] - m;
        }
    }
}

/* n_cols columns of n rows of w, from column `first` on. */
static void fill_tile_f32(int type, const uint8_t *w, size_t row_bytes, size_t n, size_t first,
                          size_t n_cols, float *tile)
{
    float rows[TILE][STRETCH];
    const unpacking *u = find_unpacking(type);
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < n_cols; i += STRETCH) {
        const size_t left = n_cols - i < STRETCH ? n_cols - i : STRETCH;
        for (size_t r = 0; r < n; r++) {
            const uint8_t *row = w + r * row_bytes;
            if (u) {
                row += (first + i) / u->block_size * u->block_bytes;
                dequantize_row(u, row, left, rows[r]);
            } else {
                number_row(type, row + (first + i) * (type == 0 ? 4 : 2), left, rows[r]);
            }
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
QK_INLINE void put_row_items(const unpacking *u, size_t n, block_codes from, float *at)
{
    const size_t halves = GROUP / u->group;
    for (size_t g = 0; g < n / u->group; g++) {
        float *to = at + (g / halves * W_ITEMS + g % halves) * TILE;
        to[W_SCALE * TILE] = from.scale[g];
        if (u->has_min) {
            to[W_MIN * TILE] = -from.min[g];
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
static void fill_tile_integers(const unpacking *u, int_shape shape, const uint8_t *w,
                               size_t row_bytes, size_t n, size_t first, size_t n_cols,
                               uint32_t *words, float *items)
{
    const size_t bytes = code_bytes(shape.dot), part = (size_t)(GROUP / shape.parts);
    int8_t codes[TILE][STRETCH];
    float scale[STRETCH / 16], min[STRETCH / 16];
    if (n < TILE || n_cols % STRETCH) {
        memset(codes, 0, sizeof codes);
        memset(items, 0, n_cols / GROUP * W_ITEMS * TILE * sizeof *items);
    }
    for (size_t i = 0; i < n_cols; i += STRETCH) {
        const size_t left = n_cols - i < STRETCH ? n_cols - i : STRETCH;
        float *group = items + i / GROUP * W_ITEMS * TILE;
        uint32_t *to = words + i * bytes / 4 * TILE;
        for (size_t r = 0; r < n; r++) {
            const uint8_t *row = w + r * row_bytes + (first + i) / u->block_size * u->block_bytes;
            const block_codes unpacked = {codes[r], scale, min};
            u->unpack(row, left / u->block_size, unpacked);
            put_row_items(u, left, unpacked, group + r);
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
