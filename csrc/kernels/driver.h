/* SPDX-License-Identifier: MIT */
/* From rows to tiles of LANES blocks and back.
 *
 * A tile holds weight j of its LANES blocks side by side: tile[j] is one lf32.  The blocks of
 * LANES rows are taken in order, whatever row they lie in; the last tile repeats its last block
 * and drops the copies. */

typedef void (*quantize_tile)(const lf32 *x, const lf32 *importance, lf32 row_mean_square,
                              li32 *out);

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

/* Lane i of the words becomes block i; a block's last word may be cut. */
QK_FN void transpose_out(const li32 *words, size_t n_blocks, size_t block_bytes, uint8_t *out)
{
    int32_t lane[(QK_MAX_BLOCK_BYTES + 3) / 4][LANES];
    size_t n_words = (block_bytes + 3) / 4;
    for (size_t w = 0; w < n_words; w++) {
        li32_store(lane[w], words[w]);
    }
    for (size_t i = 0; i < n_blocks; i++, out += block_bytes) {
        for (size_t w = 0; w < block_bytes / 4; w++) {
            memcpy(out + 4 * w, &lane[w][i], 4);
        }
        for (size_t b = block_bytes / 4 * 4; b < block_bytes; b++) {
            out[b] = (uint8_t)((uint32_t)lane[b / 4][i] >> 8 * (b % 4));
        }
    }
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

/* Up to LANES rows. */
QK_FN void quantize_row_group(quantize_tile kernel, size_t block_size, size_t block_bytes,
                              const float *x, const float *importance, size_t n_rows, size_t n_cols,
                              uint8_t *out)
{
    lf32 tile[QK_MAX_BLOCK_SIZE], importance_tile[QK_MAX_BLOCK_SIZE];
    li32 words[(QK_MAX_BLOCK_BYTES + 3) / 4];
    float mean[LANES] = {0}, block_mean[LANES];
    const float *block[LANES], *block_importance[LANES];
    const size_t per_row = n_cols / block_size, n_blocks = n_rows * per_row;
    if (importance) {
        row_mean_squares(x, n_rows, n_cols, mean);
    }
    for (size_t first = 0; first < n_blocks; first += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            size_t b = first + i < n_blocks ? first + i : n_blocks - 1;
            block[i] = x + b * block_size;
            if (importance) {
                block_importance[i] = importance + b % per_row * block_size;
            }
            block_mean[i] = mean[b / per_row];
        }
        transpose_in(block, block_size, tile);
        if (importance) {
            transpose_in(block_importance, block_size, importance_tile);
        }
        kernel(tile, importance ? importance_tile : NULL, lf32_load(block_mean), words);
        size_t n = n_blocks - first < LANES ? n_blocks - first : LANES;
        transpose_out(words, n, block_bytes, out + first * block_bytes);
    }
}

QK_FN void quantize_blocks(quantize_tile kernel, size_t block_size, size_t block_bytes,
                           const float *x, const float *importance, size_t n_rows, size_t n_cols,
                           uint8_t *out)
{
    const size_t row_bytes = n_cols / block_size * block_bytes;
    for (size_t row = 0; row < n_rows; row += LANES) {
        size_t n = n_rows - row < LANES ? n_rows - row : LANES;
        quantize_row_group(kernel, block_size, block_bytes, x + row * n_cols, importance, n, n_cols,
                           out + row * row_bytes);
    }
}
