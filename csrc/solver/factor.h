/* SPDX-License-Identifier: MIT */
/* The Cholesky factor of a symmetric matrix in double precision, H = R^T R, R upper triangular, and
 * solving with it.
 *
 * H is replaced by R a block of rows at a time: its diagonal block, the rows beside it, and what
 * is left of H below them.  The last two can be done in ranges, by several threads.  Each element
 * is h - r0 * s0 - r1 * s1 - ..., in this order, whatever the blocks, the ranges and the
 * instruction set; solving takes the rows of R in order, and back in the opposite order.
 * Source: Golub and Van Loan, Matrix Computations, 4.2 (outer product Cholesky, by blocks). */
#ifndef QK_FACTOR_H
#define QK_FACTOR_H

/* Rows that are done one after the other, before others take them in by tiles. */
#define FEW_ROWS 12

QK_INLINE size_t at_most(size_t n, size_t most) { return n < most ? n : most; }

/* Rows first..first+count-1 of what is left of h below the block at `at`, up to column `end`. */
QK_INLINE void subtract_explained(double *h, size_t n, size_t at, size_t size, size_t first,
                                  size_t count, size_t end)
{
    const strided block = {h + at * n + first, (ptrdiff_t)n, 1};
    subtract_product(h + first * n + first, n, count, end - first, block, block, size,
                     FROM_DIAGONAL);
}

/* Rows first..first+count-1, below the block at `at`: takes away what the block's rows explain.
 * Of each row the elements from the diagonal on; some before it are left as rubbish. */
QK_FN void factor_below(double *h, size_t n, size_t at, size_t size, size_t first, size_t count)
{
    subtract_explained(h, n, at, size, first, count, n);
}

/* Columns first..first+count-1, right of the diagonal block, of its rows. */
QK_FN void factor_beside(double *h, size_t n, size_t at, size_t size, size_t first, size_t count)
{
    const strided rows = {h + at * n + first, (ptrdiff_t)n, 1};
    for (size_t done = 0; done < size; done += FEW_ROWS) {
        const size_t start = at + done, few = at_most(size - done, FEW_ROWS);
        const strided block = {h + at * n + start, (ptrdiff_t)n, 1};
        subtract_product(h + start * n + first, n, few, count, block, rows, done, ALL_OF_IT);
        for (size_t r = start; r < start + few; r++) {
            double *row = h + r * n + first;
            for (size_t p = start; p < r; p++) {
                subtract_scaled(row, h[p * n + r], h + p * n + first, count);
            }
            for (size_t j = 0; j < count; j++) {
                row[j] /= h[r * n + r];
            }
        }
    }
}

/* A diagonal block of few rows; as factor_diagonal. */
QK_FN size_t factor_few(double *h, size_t n, size_t at, size_t size)
{
    for (size_t r = at; r < at + size; r++) {
        double *row = h + r * n;
        if (!(row[r] > 0) || row[r] > DBL_MAX) {
            return r - at;
        }
        row[r] = sqrt(row[r]);
        for (size_t j = r + 1; j < at + size; j++) {
            row[j] /= row[r];
        }
        for (size_t i = r + 1; i < at + size; i++) {
            subtract_scaled(h + i * n + i, row[i], row + i, at + size - i);
        }
    }
    return size;
}

/* h [n][n]: the diagonal block of `size` rows at `at`.  Gives the number of rows done: less than
 * size if the next pivot is not a positive finite number. */
QK_FN size_t factor_diagonal(double *h, size_t n, size_t at, size_t size)
{
    const size_t end = at + size;
    for (size_t start = at; start < end; start += FEW_ROWS) {
        const size_t few = at_most(end - start, FEW_ROWS), next = start + few;
        const size_t done = factor_few(h, n, start, few);
        if (done < few) {
            return start - at + done;
        }
        factor_beside(h, n, start, few, next, end - next);
        subtract_explained(h, n, start, few, next, end - next, end);
    }
    return size;
}

/* Right-hand sides side by side, and rows that are solved before all others take them in. */
#define SOLVE_COLUMNS 128
#define SOLVE_ROWS 96

/* Right-hand sides x [n][stride], in n_cols columns, and the factor r [n][n]. */
typedef struct solving {
    const double *r;
    size_t n;
    double *x;
    size_t stride, n_cols;
} solving;

/* Takes rows at..at+size-1 of x, which are solved, in rows first..first+count-1 after them. */
QK_INLINE void take_in_forward(const solving *s, size_t at, size_t size, size_t first, size_t count)
{
    if (!count) {
        return;
    }
    const strided factors = {s->r + at * s->n + first, (ptrdiff_t)s->n, 1};
    const strided solved = {s->x + at * s->stride, (ptrdiff_t)s->stride, 1};
    subtract_product(s->x + first * s->stride, s->stride, count, s->n_cols, factors, solved, size,
                     ALL_OF_IT);
}

/* The same in rows before them, the last solved row first. */
QK_INLINE void take_in_back(const solving *s, size_t at, size_t size, size_t first, size_t count)
{
    const size_t last = at + size - 1;
    const strided factors = {s->r + first * s->n + last, -1, (ptrdiff_t)s->n};
    const strided solved = {s->x + last * s->stride, -(ptrdiff_t)s->stride, 1};
    subtract_product(s->x + first * s->stride, s->stride, count, s->n_cols, factors, solved, size,
                     ALL_OF_IT);
}

/* Row i of x, given what it owes to others, over the diagonal. */
QK_INLINE void divide_row(const solving *s, size_t i)
{
    for (size_t k = 0; k < s->n_cols; k++) {
        s->x[i * s->stride + k] /= s->r[i * s->n + i];
    }
}

/* Rows at..at+size-1 of x, given what they owe to others: x -> R_bb^-T x. */
QK_FN void solve_forward(const solving *s, size_t at, size_t size)
{
    for (size_t start = at; start < at + size; start += FEW_ROWS) {
        const size_t few = at_most(at + size - start, FEW_ROWS), next = start + few;
        for (size_t i = start; i < next; i++) {
            divide_row(s, i);
            for (size_t j = i + 1; j < next; j++) {
                subtract_scaled(s->x + j * s->stride, s->r[i * s->n + j], s->x + i * s->stride,
                                s->n_cols);
            }
        }
        take_in_forward(s, start, few, next, at + size - next);
    }
}

/* The same for R_bb^-1. */
QK_FN void solve_back(const solving *s, size_t at, size_t size)
{
    for (size_t end = at + size; end > at;) {
        const size_t few = at_most(end - at, FEW_ROWS), start = end - few;
        for (size_t i = end; i-- > start;) {
            divide_row(s, i);
            for (size_t j = start; j < i; j++) {
                subtract_scaled(s->x + j * s->stride, s->r[j * s->n + i], s->x + i * s->stride,
                                s->n_cols);
            }
        }
        take_in_back(s, start, few, at, start - at);
        end = start;
    }
}

/* x [n][stride], a right-hand side in each of n_cols columns: x -> (R^T R)^-1 x, first through R^T
 * from the first row to the last, then back through R. */
QK_FN void solve_factored(const double *r, size_t n, double *x, size_t stride, size_t n_cols)
{
    for (size_t first = 0; first < n_cols; first += SOLVE_COLUMNS) {
        const solving s = {r, n, x + first, stride, at_most(n_cols - first, SOLVE_COLUMNS)};
        for (size_t at = 0; at < n; at += SOLVE_ROWS) {
            const size_t size = at_most(n - at, SOLVE_ROWS);
            solve_forward(&s, at, size);
            take_in_forward(&s, at, size, at + size, n - at - size);
        }
        for (size_t end = n; end > 0;) {
            const size_t size = at_most(end, SOLVE_ROWS), at = end - size;
            solve_back(&s, at, size);
            take_in_back(&s, at, size, 0, at);
            end = at;
        }
    }
}

#endif
