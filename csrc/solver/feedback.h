/* SPDX-License-Identifier: MIT */
/* Targets of a unit, given the errors of the columns behind it: c = x - F e.
 *
 * Rows lie side by side, QK_SOLVER_ROWS of them to a column.  A tile of the product has
 * FEEDBACK_COLUMNS columns of c and FEEDBACK_VECTORS vectors of rows in registers.  The columns
 * of e are taken FEEDBACK_RUN at a time, so that they stay in a cache for all columns of c; each
 * element of c is one sum over them in order. */

#define FEEDBACK_COLUMNS 4
#define FEEDBACK_VECTORS (LANE_REGISTERS / 8 < ROW_VECTORS ? LANE_REGISTERS / 8 : ROW_VECTORS)
#define FEEDBACK_RUN 128
#define ROW_VECTORS (QK_SOLVER_ROWS / LANES)

/* One tile, over n columns of e. */
QK_INLINE void feedback_tile(const float *feedback, size_t stride, const float *e, size_t n,
                             float *c)
{
    lf32 sum[FEEDBACK_COLUMNS][FEEDBACK_VECTORS];
    for (int j = 0; j < FEEDBACK_COLUMNS; j++) {
        for (int v = 0; v < FEEDBACK_VECTORS; v++) {
            sum[j][v] = lf32_load(c + j * QK_SOLVER_ROWS + v * LANES);
        }
    }
    for (size_t k = 0; k < n; k++) {
        lf32 ek[FEEDBACK_VECTORS];
        for (int v = 0; v < FEEDBACK_VECTORS; v++) {
            ek[v] = lf32_load(e + k * QK_SOLVER_ROWS + v * LANES);
        }
        for (int j = 0; j < FEEDBACK_COLUMNS; j++) {
            const lf32 f = lf32_set1(feedback[(size_t)j * stride + k]);
            for (int v = 0; v < FEEDBACK_VECTORS; v++) {
                sum[j][v] = lf32_sub(sum[j][v], lf32_mul(f, ek[v]));
            }
        }
    }
    for (int j = 0; j < FEEDBACK_COLUMNS; j++) {
        for (int v = 0; v < FEEDBACK_VECTORS; v++) {
            lf32_store(c + j * QK_SOLVER_ROWS + v * LANES, sum[j][v]);
        }
    }
}

/* c [n_out][QK_SOLVER_ROWS] -= F e: feedback [n_out][n], rows `stride` apart; e
 * [n][QK_SOLVER_ROWS]; of the rows the first n_vectors vectors, and those that share a tile. */
QK_FN void subtract_feedback(const float *feedback, size_t stride, size_t n_out, const float *e,
                             size_t n, size_t n_vectors, float *c)
{
    for (size_t first = 0; first < n; first += FEEDBACK_RUN) {
        const size_t run = n - first < FEEDBACK_RUN ? n - first : FEEDBACK_RUN;
        for (size_t j = 0; j < n_out; j += FEEDBACK_COLUMNS) {
            for (size_t v = 0; v < n_vectors; v += FEEDBACK_VECTORS) {
                feedback_tile(feedback + j * stride + first, stride,
                              e + first * QK_SOLVER_ROWS + v * LANES, run,
                              c + j * QK_SOLVER_ROWS + v * LANES);
            }
        }
    }
}
