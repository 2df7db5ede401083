/* SPDX-License-Identifier: MIT */
/* From rows to tiles of LANES blocks and back.
 *
 * A tile holds weight j of its LANES blocks side by side: tile[j] is one lf32.  The blocks of
 * LANES rows are taken in order, whatever row they lie in; the last tile repeats its last block
 * and drops the copies. */

/* A lane holds `per_lane` blocks, one after the other in the tile: more than one where a search
 * takes several groups at a time and a block is one group. */
#define QK_MAX_PER_LANE AFFINE_GROUPS
#define QK_MAX_BLOCK_WORDS ((QK_MAX_BLOCK_BYTES + 3) / 4)
#define QK_MAX_BLOCK_PARTS ((QK_MAX_BLOCK_WORDS + LANES - 1) / LANES)

#define QK_CHECK_SET(NAME, name, id, block_size, block_bytes, use)                                 \
    static_assert(QK_MAX_PER_LANE * (block_size) <= QK_MAX_BLOCK_SIZE &&                           \
                      QK_MAX_PER_LANE * (block_bytes) <= QK_MAX_BLOCK_BYTES,                       \
                  "a set of blocks is larger than the largest block: " #NAME);
QK_BLOCK_SET_FORMATS(QK_CHECK_SET)
#undef QK_CHECK_SET

/* x, importance: per_lane blocks of weights; row_mean_square: of the row of each block; out: each
 * block's bytes as little-endian words. */
typedef void (*quantize_tile)(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                              li32 *out);

typedef struct block_kernel {
    quantize_tile run;
    size_t block_size, block_bytes, per_lane;
} block_kernel;

/* tile[j] lane i = blocks[i][j] */
QK_FN void transpose_in(const float *const *blocks, size_t block_size, lf32 *tile)
{
    const float *at[LANES];
    for (size_t j = 0; j < block_size; j += LANES) {
        for (int i = 0; i < LANES; i++) {
            at[i] = blocks[i] + j;
        }
        lane_transpose(at, tile + j);
    }
}

/* Lane i of the words becomes block i.  Whole vectors are written, what is past a block's end
 * over the places of later blocks, which are written afterwards. */
QK_FN void transpose_out(const li32 *words, size_t n_blocks, size_t block_bytes, uint8_t *out)
{
    const size_t n_words = (block_bytes + 3) / 4;
    float lane[QK_MAX_BLOCK_WORDS][LANES];
    uint8_t bytes[LANES * QK_MAX_BLOCK_BYTES + (QK_MAX_BLOCK_WORDS + LANES) * 4];
    lf32 part[QK_MAX_BLOCK_PARTS][LANES];
    size_t n_parts = 0;
    for (size_t w = 0; w < n_words; w++) {
        lf32_store(lane[w], lf32_from_bits(words[w]));
    }
    for (size_t w = 0; w < n_words; w += LANES) {
        const float *rows[LANES];
        for (size_t i = 0; i < LANES; i++) {
            rows[i] = lane[w + i < n_words ? w + i : n_words - 1];
        }
        lane_transpose(rows, part[n_parts++]);
    }
    for (size_t i = 0; i < n_blocks; i++) {
        for (size_t p = 0; p < n_parts; p++) {
            memcpy(bytes + i * block_bytes + p * sizeof(lf32), &part[p][i], sizeof(lf32));
        }
    }
    memcpy(out, bytes, n_blocks * block_bytes);
}

/* mean of x^2 of each of up to LANES rows, summed from the first weight to the last */
QK_FN void row_mean_squares(const float *x, size_t n_rows, size_t n_cols, float *mean)
{
    const float *row[LANES];
    lf32 column[LANES], sum = lf32_set1(0.0f);
    for (size_t i = 0; i < LANES; i++) {
        row[i] = x + (i < n_rows ? i : n_rows - 1) * n_cols;
    }
    for (size_t j = 0; j < n_cols; j += LANES) {
        transpose_in(row, LANES, column);
        for (int k = 0; k < LANES; k++) {
            sum = lf32_add(sum, lf32_mul(column[k], column[k]));
            row[k] += LANES;
        }
    }
    lf32_store(mean, lf32_div(sum, lf32_set1((float)n_cols)));
}

/* The blocks of a tile: where they start, and what the kernel wants to know of them. */
typedef struct tile_blocks {
    const float *x[LANES], *importance[LANES];
    float row_mean_square[LANES];
} tile_blocks;

QK_FN void gather_blocks(const block_kernel *kernel, const float *x, const float *importance,
                         const float *row_mean, size_t first, size_t n_blocks, size_t per_row,
                         tile_blocks *blocks)
{
    for (size_t i = 0; i < LANES; i++) {
        size_t b = first + i < n_blocks ? first + i : n_blocks - 1;
        blocks->x[i] = x + b * kernel->block_size;
        if (importance) { /* only then: divisions take as long as plain rounding does */
            blocks->row_mean_square[i] = row_mean[b / per_row];
            blocks->importance[i] = importance + b % per_row * kernel->block_size;
        }
    }
}

/* Up to LANES rows. */
QK_FN void quantize_row_group(const block_kernel *kernel, const float *x, const float *importance,
                              size_t n_rows, size_t n_cols, uint8_t *out)
{
    lf32 tile[QK_MAX_BLOCK_SIZE], importance_tile[QK_MAX_BLOCK_SIZE];
    lf32 row_mean_square[QK_MAX_PER_LANE];
    li32 words[QK_MAX_BLOCK_WORDS];
    float row_mean[LANES] = {0};
    tile_blocks blocks;
    const size_t size = kernel->block_size, n_words = (kernel->block_bytes + 3) / 4;
    const size_t per_row = n_cols / size, n_blocks = n_rows * per_row;
    if (importance) {
        row_mean_squares(x, n_rows, n_cols, row_mean);
    }
    for (size_t first = 0; first < n_blocks; first += LANES * kernel->per_lane) {
        /* The first bound is for compilers, which warn of k * size otherwise. */
        for (size_t k = 0; k < QK_MAX_PER_LANE && k < kernel->per_lane; k++) {
            gather_blocks(kernel, x, importance, row_mean, first + k * LANES, n_blocks, per_row,
                          &blocks);
            transpose_in(blocks.x, size, tile + k * size);
            if (importance) {
                row_mean_square[k] = lf32_load(blocks.row_mean_square);
                transpose_in(blocks.importance, size, importance_tile + k * size);
            }
        }
        kernel->run(tile, importance ? importance_tile : NULL, row_mean_square, words);
        for (size_t k = 0; k < kernel->per_lane && first + k * LANES < n_blocks; k++) {
            size_t begin = first + k * LANES;
            size_t n = n_blocks - begin < LANES ? n_blocks - begin : LANES;
            transpose_out(words + k * n_words, n, kernel->block_bytes,
                          out + begin * kernel->block_bytes);
        }
    }
}
