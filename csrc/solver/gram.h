/* SPDX-License-Identifier: MIT */
/* Sums over tokens of products of two inputs: rows of A^T B, where A and B have a row per token.
 *
 * Each element has one sum.  Tokens are taken in order, GRAM_RUN at a time: a run is summed in
 * float, and the runs in double.  So an element does not depend on which others are computed with
 * it, nor on LANES. */
#ifndef QK_GRAM_H
#define QK_GRAM_H

#define GRAM_RUN 256
/* Sums held in registers at a time: rows times vectors. */
#define GRAM_ROWS 6
#define GRAM_VECTORS (LANE_REGISTERS >= 32 ? 4 : 2)
#define GRAM_COLUMNS (GRAM_VECTORS * LANES)

/* b[token][0..n_cols) of a run, padded with zeros to GRAM_COLUMNS, side by side. */
QK_FN void gram_pack(const float *b, size_t n_b, size_t n_tokens, size_t n_cols, float *panel)
{
    for (size_t t = 0; t < n_tokens; t++, b += n_b, panel += GRAM_COLUMNS) {
        if (n_cols == GRAM_COLUMNS) {
            for (int v = 0; v < GRAM_VECTORS; v++) {
                lf32_store(panel + v * LANES, lf32_load(b + v * LANES));
            }
            continue;
        }
        for (size_t j = 0; j < GRAM_COLUMNS; j++) {
            panel[j] = j < n_cols ? b[j] : 0.0f;
        }
    }
}

/* One run of GRAM_ROWS rows: a[i] points to the values of all tokens of row i. */
QK_INLINE void gram_run(const float *const *a, const float *panel, size_t n_tokens, float *out)
{
    lf32 sum[GRAM_ROWS][GRAM_VECTORS];
    for (int i = 0; i < GRAM_ROWS; i++) {
        for (int v = 0; v < GRAM_VECTORS; v++) {
            sum[i][v] = lf32_set1(0.0f);
        }
    }
    for (size_t t = 0; t < n_tokens; t++, panel += GRAM_COLUMNS) {
        lf32 b[GRAM_VECTORS];
        for (int v = 0; v < GRAM_VECTORS; v++) {
            b[v] = lf32_load(panel + v * LANES);
        }
        for (int i = 0; i < GRAM_ROWS; i++) {
            const lf32 x = lf32_set1(a[i][t]);
            for (int v = 0; v < GRAM_VECTORS; v++) {
                sum[i][v] = lf32_add(sum[i][v], lf32_mul(x, b[v]));
            }
        }
    }
    for (int i = 0; i < GRAM_ROWS; i++) {
        for (int v = 0; v < GRAM_VECTORS; v++) {
            lf32_store(out + i * GRAM_COLUMNS + v * LANES, sum[i][v]);
        }
    }
}

/* a f32 [n_rows][n_tokens] (each row one input at all tokens), b f32 [n_tokens][n_b] ->
 * sums f64 [n_rows][n_b], from column `first` of b on; the columns before it become 0. */
QK_FN void gram(const float *a, size_t n_rows, const float *b, size_t n_b, size_t n_tokens,
                size_t first, double *sums)
{
    float panel[GRAM_RUN * GRAM_COLUMNS], part[GRAM_ROWS * GRAM_COLUMNS];
    memset(sums, 0, n_rows * n_b * sizeof(double));
    for (size_t at = first; at < n_b; at += GRAM_COLUMNS) {
        const size_t n_cols = n_b - at < GRAM_COLUMNS ? n_b - at : GRAM_COLUMNS;
        for (size_t t = 0; t < n_tokens; t += GRAM_RUN) {
            const size_t n = n_tokens - t < GRAM_RUN ? n_tokens - t : GRAM_RUN;
            gram_pack(b + t * n_b + at, n_b, n, n_cols, panel);
            for (size_t row = 0; row < n_rows; row += GRAM_ROWS) {
                const size_t count = n_rows - row < GRAM_ROWS ? n_rows - row : GRAM_ROWS;
                const float *rows[GRAM_ROWS];
                for (size_t i = 0; i < GRAM_ROWS; i++) {
                    rows[i] = a + (row + (i < count ? i : 0)) * n_tokens + t;
                }
                gram_run(rows, panel, n, part);
                for (size_t i = 0; i < count; i++) {
                    double *out = sums + (row + i) * n_b + at;
                    for (size_t j = 0; j < n_cols; j++) {
                        out[j] += (double)part[i * GRAM_COLUMNS + j];
                    }
                }
            }
        }
    }
}

#endif
