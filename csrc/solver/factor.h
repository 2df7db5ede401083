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
#define FACTOR_ROWS 4
#define FACTOR_VECTORS 4
#define FACTOR_COLUMNS ((size_t)(FACTOR_VECTORS * WIDE))

/* FACTOR_ROWS rows and FACTOR_COLUMNS columns of what is left: the block's rows are at `upper`,
 * whose columns are those of h. */
QK_INLINE void factor_tile(double *h, size_t n, const double *upper, size_t size, size_t i,
                           size_t j)
{
    wf64 sum[FACTOR_ROWS][FACTOR_VECTORS];
    for (size_t r = 0; r < FACTOR_ROWS; r++) {
        for (size_t v = 0; v < FACTOR_VECTORS; v++) {
            sum[r][v] = wf64_load(h + (i + r) * n + j + v * WIDE);
        }
    }
    for (size_t p = 0; p < size; p++) {
        const double *row = upper + p * n;
        wf64 b[FACTOR_VECTORS];
        for (size_t v = 0; v < FACTOR_VECTORS; v++) {
            b[v] = wf64_load(row + j + v * WIDE);
        }
        for (size_t r = 0; r < FACTOR_ROWS; r++) {
            const wf64 a = wf64_set1(row[i + r]);
            for (size_t v = 0; v < FACTOR_VECTORS; v++) {
                sum[r][v] = wf64_sub(sum[r][v], wf64_mul(a, b[v]));
            }
        }
    }
    for (size_t r = 0; r < FACTOR_ROWS; r++) {
        for (size_t v = 0; v < FACTOR_VECTORS; v++) {
            wf64_store(h + (i + r) * n + j + v * WIDE, sum[r][v]);
        }
    }
}

/* Rows first..first+count-1, below the block at `at`: takes away what the block's rows explain.
 * Of each row the elements from the diagonal on; others are left as rubbish. */
QK_FN void factor_below(double *h, size_t n, size_t at, size_t size, size_t first, size_t count)
{
    const double *upper = h + at * n;
    const size_t end = first + count;
    size_t i = first;
    for (; i + FACTOR_ROWS <= end; i += FACTOR_ROWS) {
        size_t j = i;
        for (; j + FACTOR_COLUMNS <= n; j += FACTOR_COLUMNS) {
            factor_tile(h, n, upper, size, i, j);
        }
        for (size_t r = i; r < i + FACTOR_ROWS && j < n; r++) {
            for (size_t p = 0; p < size; p++) {
                subtract_scaled(h + r * n + j, upper[p * n + r], upper + p * n + j, n - j);
            }
        }
    }
    for (; i < end; i++) {
        for (size_t p = 0; p < size; p++) {
            subtract_scaled(h + i * n + i, upper[p * n + i], upper + p * n + i, n - i);
        }
    }
}

/* Right-hand sides that are solved side by side, so that those of all rows fit a cache. */
#define SOLVE_COLUMNS 32

/* x [n][stride], a right-hand side in each of n_cols columns: x -> (R^T R)^-1 x, first through R^T
 * from the first row to the last, then back through R. */
QK_FN void solve_factored(const double *r, size_t n, double *x, size_t stride, size_t n_cols)
{
    for (size_t first = 0; first < n_cols; first += SOLVE_COLUMNS) {
        const size_t count = n_cols - first < SOLVE_COLUMNS ? n_cols - first : SOLVE_COLUMNS;
        double *part = x + first;
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < count; k++) {
                part[i * stride + k] /= r[i * n + i];
            }
            for (size_t j = i + 1; j < n; j++) {
                subtract_scaled(part + j * stride, r[i * n + j], part + i * stride, count);
            }
        }
        for (size_t i = n; i-- > 0;) {
            for (size_t k = 0; k < count; k++) {
                part[i * stride + k] /= r[i * n + i];
            }
            for (size_t j = 0; j < i; j++) {
                subtract_scaled(part + j * stride, r[j * n + i], part + i * stride, count);
            }
        }
    }
}

#endif
