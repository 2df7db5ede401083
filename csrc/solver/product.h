/* SPDX-License-Identifier: MIT */
/* X - A^T B in double precision: what factoring and solving spend their time on.
 *
 * Each element of X has one sum, x - a0 * b0 - a1 * b1 - ..., in the order of the rows of A and B.
 * So it does not depend on what is computed with it, on the sizes below, or on WIDE. */
#ifndef QK_PRODUCT_H
#define QK_PRODUCT_H

/* Elements held in registers at a time: rows times vectors. */
#define TILE_ROWS 6
#define TILE_VECTORS (LANE_REGISTERS >= 32 ? 4 : 2)
#define TILE_COLUMNS (TILE_VECTORS * WIDE)
/* Rows of A and B, and rows of X, that are packed at a time. */
#define PACKED_DEPTH 256
#define PACKED_TILES 22

/* A matrix in memory: element (i, j) lies i * down + j * across further on. */
typedef struct strided {
    const double *at;
    ptrdiff_t down, across;
} strided;

QK_INLINE strided strided_from(strided a, size_t row, size_t column)
{
    a.at += (ptrdiff_t)row * a.down + (ptrdiff_t)column * a.across;
    return a;
}

/* n_cols columns of `depth` rows, side by side, and zeros up to `width`. */
QK_INLINE void pack_columns(strided a, size_t depth, size_t n_cols, size_t width, double *packed)
{
    for (size_t p = 0; p < depth; p++, packed += width) {
        const double *row = a.at + (ptrdiff_t)p * a.down;
        for (size_t j = 0; j < n_cols; j++) {
            packed[j] = row[(ptrdiff_t)j * a.across];
        }
        for (size_t j = n_cols; j < width; j++) {
            packed[j] = 0;
        }
    }
}

/* The same of TILE_COLUMNS columns that lie side by side: compilers make slow copies of it. */
QK_INLINE void pack_tile(strided b, size_t depth, double *packed)
{
    for (size_t p = 0; p < depth; p++, packed += TILE_COLUMNS) {
        const double *row = b.at + (ptrdiff_t)p * b.down;
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            wf64_store(packed + v * WIDE, wf64_load(row + v * WIDE));
        }
    }
}

/* x [TILE_ROWS][stride] -= a^T b: a [depth][TILE_ROWS], b [depth][TILE_COLUMNS]. */
QK_INLINE void subtract_tile(double *x, size_t stride, const double *a, const double *b,
                             size_t depth)
{
    wf64 sum[TILE_ROWS][TILE_VECTORS];
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            sum[r][v] = wf64_load(x + r * stride + v * WIDE);
        }
    }
    for (size_t p = 0; p < depth; p++, a += TILE_ROWS, b += TILE_COLUMNS) {
        wf64 row[TILE_VECTORS];
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            row[v] = wf64_load(b + v * WIDE);
        }
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const wf64 factor = wf64_set1(a[r]);
            for (size_t v = 0; v < TILE_VECTORS; v++) {
                sum[r][v] = wf64_sub(sum[r][v], wf64_mul(factor, row[v]));
            }
        }
    }
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            wf64_store(x + r * stride + v * WIDE, sum[r][v]);
        }
    }
}

/* The same of fewer rows and columns. */
QK_FN void subtract_part(double *x, size_t stride, size_t n_rows, size_t n_cols, const double *a,
                         const double *b, size_t depth)
{
    double tile[TILE_ROWS * TILE_COLUMNS] = {0};
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(tile + r * TILE_COLUMNS, x + r * stride, n_cols * sizeof *x);
    }
    subtract_tile(tile, TILE_COLUMNS, a, b, depth);
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(x + r * stride, tile + r * TILE_COLUMNS, n_cols * sizeof *x);
    }
}

/* Which elements of X are wanted. */
typedef enum wanted_part { ALL_OF_IT, FROM_DIAGONAL } wanted_part;

/* Rows first..first+n_rows-1 of x, and no more of a and b than can be packed. */
QK_FN void subtract_band(double *x, size_t stride, size_t first, size_t n_rows, size_t n_cols,
                         strided a, strided b, size_t depth, wanted_part part)
{
    double left[PACKED_TILES * TILE_ROWS * PACKED_DEPTH], right[PACKED_DEPTH * TILE_COLUMNS];
    const size_t start = part == FROM_DIAGONAL ? first / TILE_COLUMNS * TILE_COLUMNS : 0;
    for (size_t i = 0; i < n_rows; i += TILE_ROWS) {
        const size_t rows = n_rows - i < TILE_ROWS ? n_rows - i : TILE_ROWS;
        pack_columns(strided_from(a, 0, first + i), depth, rows, TILE_ROWS, left + i * depth);
    }
    for (size_t j = start; j < n_cols; j += TILE_COLUMNS) {
        const size_t cols = n_cols - j < TILE_COLUMNS ? n_cols - j : TILE_COLUMNS;
        if (cols < TILE_COLUMNS) {
            pack_columns(strided_from(b, 0, j), depth, cols, TILE_COLUMNS, right);
        } else {
            pack_tile(strided_from(b, 0, j), depth, right);
        }
        for (size_t i = 0; i < n_rows; i += TILE_ROWS) {
            const size_t rows = n_rows - i < TILE_ROWS ? n_rows - i : TILE_ROWS;
            double *at = x + (first + i) * stride + j;
            if (part == FROM_DIAGONAL && first + i >= j + TILE_COLUMNS) {
                break;
            }
            if (rows < TILE_ROWS || cols < TILE_COLUMNS) {
                subtract_part(at, stride, rows, cols, left + i * depth, right, depth);
            } else {
                subtract_tile(at, stride, left + i * depth, right, depth);
            }
        }
    }
}

/* x [n_rows][stride] -= a^T b in n_cols columns: a [depth][n_rows], b [depth][n_cols],
 * b's columns side by side.  Elements
 * that are not wanted may be left as rubbish. */
QK_FN void subtract_product(double *x, size_t stride, size_t n_rows, size_t n_cols, strided a,
                            strided b, size_t depth, wanted_part part)
{
    const size_t most = PACKED_TILES * TILE_ROWS;
    for (size_t p = 0; p < depth; p += PACKED_DEPTH) {
        const size_t deep = depth - p < PACKED_DEPTH ? depth - p : PACKED_DEPTH;
        for (size_t i = 0; i < n_rows; i += most) {
            const size_t rows = n_rows - i < most ? n_rows - i : most;
            subtract_band(x, stride, i, rows, n_cols, strided_from(a, p, 0), strided_from(b, p, 0),
                          deep, part);
        }
    }
}

/* target[j] -= factor * row[j] for n columns */
QK_INLINE void subtract_scaled(double *target, double factor, const double *row, size_t n)
{
    const wf64 scale = wf64_set1(factor);
    size_t j = 0;
    for (; j + WIDE <= n; j += WIDE) {
        const wf64 product = wf64_mul(scale, wf64_load(row + j));
        wf64_store(target + j, wf64_sub(wf64_load(target + j), product));
    }
    for (; j < n; j++) {
        target[j] -= factor * row[j];
    }
}

#endif
