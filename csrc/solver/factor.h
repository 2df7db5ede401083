/* SPDX-License-Identifier: MIT */
/* The Cholesky factor of a symmetric matrix in double precision: H = R^T R, R upper triangular.
 *
 * H is replaced by R a block of rows at a time: its diagonal block, the rows beside it, and what
 * is left of H below them.  The last two can be done in ranges, by several threads.  Each element
 * is h - r0 * s0 - r1 * s1 - ..., in this order, whatever the ranges and the instruction set.
 * Source: Golub and Van Loan, Matrix Computations, 4.2 (outer product Cholesky, by blocks). */
#ifndef QK_FACTOR_H
#define QK_FACTOR_H

/* h [n][n]: the diagonal block of `size` rows at `at`.  Gives the number of rows done: less than
 * size if the next pivot is not a positive finite number. */
QK_FN size_t factor_diagonal(double *h, size_t n, size_t at, size_t size)
{
    for (size_t r = at; r < at + size; r++) {
        double *row = h + r * n;
        if (!(row[r] > 0) || row[r] > DBL_MAX) {
            return r - at;
        }
        const double root = sqrt(row[r]);
        for (size_t j = r; j < at + size; j++) {
            row[j] /= root;
        }
        for (size_t i = r + 1; i < at + size; i++) {
            for (size_t j = i; j < at + size; j++) {
                h[i * n + j] -= row[i] * row[j];
            }
        }
    }
    return size;
}

/* target[j] -= factor * row[j] for n columns */
QK_INLINE void subtract_scaled(double *target, double factor, const double *row, size_t n)
{
    const wf64 scale = wf64_set1(factor);
    size_t j = 0;
    for (; j + WIDE <= n; j += WIDE) {
        wf64_store(target + j, wf64_sub(wf64_load(target + j),
                                        wf64_mul(scale, wf64_load(row + j))));
    }
    for (; j < n; j++) {
        target[j] -= factor * row[j];
    }
}

/* Columns first..first+count-1, right of the diagonal block, of its rows. */
QK_FN void factor_beside(double *h, size_t n, size_t at, size_t size, size_t first, size_t count)
{
    for (size_t r = at; r < at + size; r++) {
        double *row = h + r * n + first;
        for (size_t p = at; p < r; p++) {
            subtract_scaled(row, h[p * n + r], h + p * n + first, count);
        }
        for (size_t j = 0; j < count; j++) {
            row[j] /= h[r * n + r];
        }
    }
}

/* Elements held in registers at a time: rows times WIDE * vectors. */
#define TILE_ROWS 4
#define TILE_VECTORS 4
#define TILE_COLUMNS ((size_t)(TILE_VECTORS * WIDE))

/* A matrix in memory: element (i, j) lies i * down + j * across further on. */
typedef struct strided {
    const double *at;
    size_t down, across;
} strided;

/* x [TILE_ROWS][stride] -= a^T b in TILE_COLUMNS columns: a [depth][TILE_ROWS], b [depth][b_stride],
 * taken in the order of depth. */
QK_INLINE void subtract_tile(double *x, size_t stride, strided a, const double *b, size_t b_stride,
                             size_t depth)
{
    wf64 sum[TILE_ROWS][TILE_VECTORS];
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            sum[r][v] = wf64_load(x + r * stride + v * WIDE);
        }
    }
    for (size_t p = 0; p < depth; p++) {
        wf64 row[TILE_VECTORS];
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            row[v] = wf64_load(b + p * b_stride + v * WIDE);
        }
        for (size_t r = 0; r < TILE_ROWS; r++) {
            const wf64 factor = wf64_set1(a.at[p * a.down + r * a.across]);
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

/* The same for any number of rows and columns; element by element it does the same. */
QK_FN void subtract_product(double *x, size_t stride, size_t n_rows, size_t n_cols, strided a,
                            const double *b, size_t b_stride, size_t depth)
{
    size_t i = 0;
    for (; i + TILE_ROWS <= n_rows; i += TILE_ROWS) {
        const strided rows = {a.at + i * a.across, a.down, a.across};
        size_t j = 0;
        for (; j + TILE_COLUMNS <= n_cols; j += TILE_COLUMNS) {
            subtract_tile(x + i * stride + j, stride, rows, b + j, b_stride, depth);
        }
        for (size_t r = i; r < i + TILE_ROWS && j < n_cols; r++) {
            for (size_t p = 0; p < depth; p++) {
                subtract_scaled(x + r * stride + j, a.at[p * a.down + r * a.across],
                                b + p * b_stride + j, n_cols - j);
            }
        }
    }
    for (; i < n_rows; i++) {
        for (size_t p = 0; p < depth; p++) {
            subtract_scaled(x + i * stride, a.at[p * a.down + i * a.across], b + p * b_stride,
                            n_cols);
        }
    }
}

/* Rows first..first+count-1, below the block at `at`: takes away what the block's rows explain.
 * Of each row the elements from the diagonal on; some before it are left as rubbish. */
#define FACTOR_BAND 16
QK_FN void factor_below(double *h, size_t n, size_t at, size_t size, size_t first, size_t count)
{
    const double *upper = h + at * n;
    for (size_t i = first; i < first + count; i += FACTOR_BAND) {
        const size_t left = first + count - i;
        const strided rows = {upper + i, n, 1};
        subtract_product(h + i * n + i, n, left < FACTOR_BAND ? left : FACTOR_BAND, n - i, rows,
                         upper + i, n, size);
    }
}

/* Rows that are solved before the others take them in, and right-hand sides side by side. */
#define SOLVE_ROWS 32
#define SOLVE_COLUMNS 128

/* The rows at..at+size-1 of x, given what they owe to others: x -> R_bb^-T x. */
QK_FN void solve_forward(const double *r, size_t n, size_t at, size_t size, double *x,
                         size_t stride, size_t n_cols)
{
    for (size_t i = at; i < at + size; i++) {
        for (size_t k = 0; k < n_cols; k++) {
            x[i * stride + k] /= r[i * n + i];
        }
        for (size_t j = i + 1; j < at + size; j++) {
            subtract_scaled(x + j * stride, r[i * n + j], x + i * stride, n_cols);
        }
    }
}

/* The same for R_bb^-1. */
QK_FN void solve_back(const double *r, size_t n, size_t at, size_t size, double *x, size_t stride,
                      size_t n_cols)
{
    for (size_t i = at + size; i-- > at;) {
        for (size_t k = 0; k < n_cols; k++) {
            x[i * stride + k] /= r[i * n + i];
        }
        for (size_t j = at; j < i; j++) {
            subtract_scaled(x + j * stride, r[j * n + i], x + i * stride, n_cols);
        }
    }
}

/* x [n][stride], a right-hand side in each of n_cols columns: x -> (R^T R)^-1 x, first through R^T
 * from the first row to the last, then back through R. */
QK_FN void solve_factored(const double *r, size_t n, double *x, size_t stride, size_t n_cols)
{
    for (size_t first = 0; first < n_cols; first += SOLVE_COLUMNS) {
        const size_t count = n_cols - first < SOLVE_COLUMNS ? n_cols - first : SOLVE_COLUMNS;
        double *part = x + first;
        for (size_t at = 0; at < n; at += SOLVE_ROWS) {
            const size_t size = n - at < SOLVE_ROWS ? n - at : SOLVE_ROWS, end = at + size;
            const strided later = {r + at * n + end, n, 1};
            solve_forward(r, n, at, size, part, stride, count);
            subtract_product(part + end * stride, stride, n - end, count, later,
                             part + at * stride, stride, size);
        }
        for (size_t at = (n + SOLVE_ROWS - 1) / SOLVE_ROWS * SOLVE_ROWS; at > 0;) {
            at -= SOLVE_ROWS;
            const size_t size = n - at < SOLVE_ROWS ? n - at : SOLVE_ROWS;
            const strided earlier = {r + at, 1, n};
            solve_back(r, n, at, size, part, stride, count);
            subtract_product(part, stride, at, count, earlier, part + at * stride, stride, size);
        }
    }
}

#endif
