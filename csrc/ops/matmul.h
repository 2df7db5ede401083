/* SPDX-License-Identifier: MIT */
/* The matrix product: tiles of w, unpacked once, times all panels of x.
 *
 * Columns are taken K_STEP at a time, for all tiles: so much of x stays in the last cache, where
 * all columns of wide matrices would be read from memory again for each tile. */
#ifndef QK_MATMUL_H
#define QK_MATMUL_H

#include "pack.h"
#include "tile.h"

#define ALIGNMENT 64
#define WORKSPACE_BYTES (TILE_WORDS * sizeof(float) + ALIGNMENT)

/* What one call multiplies. */
typedef struct product {
    const shaped_kernel *kernel; /* NULL in f32 */
    qk_packing packing;
    const uint8_t *x;
    size_t m, n, k;
    float *y;
    size_t y_stride;
} product;

/* The place in y of a panel's sums, or `spare` if part of them lies outside y. */
QK_INLINE sums_target find_target(const product *p, size_t row, size_t column, int add,
                                  float *spare)
{
    if (row + ROWS > p->m || column + TILE > p->n) {
        return (sums_target){spare, TILE, 0};
    }
    return (sums_target){p->y + row * p->y_stride + column, p->y_stride, add};
}

/* Brings the part of the spare sums that belongs to y there. */
static void put_spare(const product *p, const float *spare, size_t row, size_t column, int add)
{
    for (size_t r = row; r < row + ROWS && r < p->m; r++, spare += TILE) {
        float *y = p->y + r * p->y_stride;
        for (size_t c = column; c < column + TILE && c < p->n; c++) {
            y[c] = add ? y[c] + spare[c - column] : spare[c - column];
        }
    }
}

/* All of x times the rows of w in the tile: columns `first` and n_cols on.  items: of integers. */
static void multiply_tile(const product *p, const uint32_t *tile, const float *items, size_t column,
                          size_t first, size_t n_cols)
{
    float spare[ROWS * TILE];
    const size_t bytes = p->kernel ? code_bytes(p->kernel->shape.dot) : 4;
    const size_t panel_size = panel_bytes(p->packing, p->k);
    const int add = first > 0;
    for (size_t row = 0; row < p->m; row += ROWS) {
        const uint8_t *panel = p->x + row / ROWS * panel_size;
        const sums_target to = find_target(p, row, column, add, spare);
        if (!p->kernel) {
            multiply_f32((const float *)panel + first * ROWS, (const float *)tile, n_cols, &to);
        } else {
            const uint8_t *x_words = panel + words_offset(p->packing, bytes, p->k);
            const int_operands from = {
                .x_words = (const uint32_t *)x_words + first * bytes / 4 * ROWS,
                .w_words = tile,
                .x_items = (const float *)panel + first / GROUP * X_ITEMS * ROWS,
                .w_items = items,
            };
            p->kernel->multiply(&from, n_cols / GROUP, &to);
        }
        if (to.y == spare) {
            put_spare(p, spare, row, column, add);
        }
    }
}

static void matmul(int type, qk_packing packing, const uint8_t *x, size_t m, const uint8_t *w,
                   size_t n, size_t k, float *y, size_t y_stride, uint8_t *workspace)
{
    const weight_type *of = find_weight_type(type);
    const shaped_kernel *kernel = find_kernel(of, packing);
    const size_t row_bytes = k / of->block_size * of->block_bytes;
    const product p = {kernel, packing, x, m, n, k, y, y_stride};
    const size_t bytes = kernel ? code_bytes(kernel->shape.dot) : sizeof(float);
    uint32_t *tile = (uint32_t *)(((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    float *items = (float *)(tile + TILE_WORDS * bytes / sizeof *tile);
    for (size_t first = 0; first < k; first += K_STEP) {
        const size_t n_cols = k - first < K_STEP ? k - first : K_STEP;
        for (size_t column = 0; column < n; column += TILE) {
            const size_t rows = n - column < TILE ? n - column : TILE;
            const uint8_t *from = w + column * row_bytes;
            if (kernel) {
                fill_tile_integers(of, kernel->shape, from, row_bytes, rows, first, n_cols, tile,
                                   items);
            } else {
                fill_tile_f32(of, from, row_bytes, rows, first, n_cols, (float *)tile);
            }
            multiply_tile(&p, tile, items, column, first, n_cols);
        }
    }
}

#endif
