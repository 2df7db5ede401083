/* SPDX-License-Identifier: MIT */
/* From the factor of H to what the solver reads, in f64 and stored as f32.
 *
 * H = R^T R in the order of solving, R upper triangular.  For columns a..z-1 and the rows R[a:z],
 *
 *     (R e)[a:z] = R[a:z, a:z] (e[a:z] + F e[z:]),    F = R[a:z, a:z]^-1 R[a:z, z:]
 *
 * so the errors of later columns act like a change of the target by -F e.  F is the *feedback* of
 * these columns.  Every element has its sums in one fixed order.  A zero on R's diagonal, which a
 * damped H does not have, counts as a column that does not matter. */

/* Columns of the feedback that are solved side by side, so that their sums stay in registers. */
#define PLAN_COLUMNS 16

typedef struct factor_of_h {
    const double *r; /* [n][n], upper */
    size_t n;
} factor_of_h;

QK_INLINE const double *factor_at(factor_of_h h, size_t row, size_t column)
{
    return h.r + row * h.n + column;
}

QK_INLINE double inverse_or_0(double x) { return x == 0.0 ? 0.0 : 1.0 / x; }

/* Rows a..a+n-1 of the feedback, columns first..first+width-1, width <= PLAN_COLUMNS, into out,
 * whose rows are `stride` apart. */
QK_FN void feedback_columns(factor_of_h h, size_t a, size_t n, size_t first, size_t width,
                            float *out, size_t stride)
{
    double solved[QK_MAX_UNIT][PLAN_COLUMNS];
    for (size_t i = n; i-- > 0;) {
        double sum[PLAN_COLUMNS] = {0};
        memcpy(sum, factor_at(h, a + i, first), width * sizeof(double));
        for (size_t k = i + 1; k < n; k++) {
            const double r = *factor_at(h, a + i, a + k);
            for (size_t c = 0; c < PLAN_COLUMNS; c++) {
                sum[c] -= r * solved[k][c];
            }
        }
        const double inverse = inverse_or_0(*factor_at(h, a + i, a + i));
        for (size_t c = 0; c < PLAN_COLUMNS; c++) {
            solved[i][c] = sum[c] * inverse;
        }
        for (size_t c = 0; c < width; c++) {
            out[i * stride + c] = (float)solved[i][c];
        }
    }
}

/* The feedback of columns a..a+n-1 from columns a+n..end-1. */
QK_FN void plan_feedback(factor_of_h h, size_t a, size_t n, size_t end, float *out, size_t stride)
{
    for (size_t first = a + n; first < end; first += PLAN_COLUMNS) {
        const size_t left = end - first, width = left < PLAN_COLUMNS ? left : PLAN_COLUMNS;
        feedback_columns(h, a, n, first, width, out + (first - a - n), stride);
    }
}

/* The factors of the group that starts at column a: group.h. */
QK_FN void plan_group(factor_of_h h, size_t a, size_t n, float *out)
{
    float *upper = out, *weight = out + n * n, *row_sum = weight + n;
    for (size_t j = 0; j < n; j++) {
        const double pivot = *factor_at(h, a + j, a + j), inverse = inverse_or_0(pivot);
        double sum = 0.0;
        for (size_t k = 0; k < n; k++) {
            const double r = k > j ? *factor_at(h, a + j, a + k) * inverse : k == j;
            upper[j * n + k] = (float)r;
            sum += r;
        }
        weight[j] = (float)(pivot * pivot);
        row_sum[j] = (float)sum;
    }
}

/* ---- units of several groups ---- */

/* Rows o..o+n-1 of S = R^T R of the unit that starts at column a: panel [n][unit], with column
 * o + j of S at place j and those before it after it. */
QK_FN void gram_panel(factor_of_h h, size_t a, size_t unit, size_t o, size_t n, double *panel)
{
    for (size_t i = 0; i < n * unit; i++) {
        panel[i] = 0.0;
    }
    for (size_t k = 0; k < o + n; k++) {
        const double *row = factor_at(h, a + k, a);
        double turned[QK_MAX_UNIT];
        for (size_t column = 0; column < unit; column++) { /* below the diagonal R is 0 */
            const size_t place = column < o ? column + n : column < o + n ? column - o : column;
            turned[place] = column < k ? 0.0 : row[column];
        }
        for (size_t i = 0; i < n; i++) {
            const double r = o + i < k ? 0.0 : row[o + i];
            for (size_t c = 0; c < unit; c++) {
                panel[i * unit + c] += r * turned[c];
            }
        }
    }
}

/* Eliminates the first n columns: [S_ii S_io] becomes [C, C^-T S_io], C^T C = S_ii. */
QK_FN void eliminate_panel(double *panel, size_t n, size_t unit)
{
    for (size_t j = 0; j < n; j++) {
        double *pivot = panel + j * unit;
        const double root = pivot[j] > 0.0 ? sqrt(pivot[j]) : 0.0, inverse = inverse_or_0(root);
        for (size_t c = j; c < unit; c++) {
            pivot[c] *= inverse;
        }
        for (size_t i = j + 1; i < n; i++) {
            double *row = panel + i * unit;
            const double r = pivot[i];
            for (size_t c = i; c < unit; c++) {
                row[c] -= r * pivot[c];
            }
        }
    }
}

/* For descent: the factors of group o..o+n-1 given all other columns of the unit, and its
 * feedback S_ii^-1 S_io from them, [n][unit], 0 from itself. */
QK_FN void plan_descent(factor_of_h h, size_t a, size_t unit, size_t o, size_t n, float *factors,
                        float *feedback)
{
    double panel[QK_MAX_GROUP * QK_MAX_UNIT];
    float solved[QK_MAX_GROUP * QK_MAX_UNIT];
    gram_panel(h, a, unit, o, n, panel);
    eliminate_panel(panel, n, unit);
    const factor_of_h own = {panel, unit};
    plan_group(own, 0, n, factors);
    plan_feedback(own, 0, n, unit, solved, unit);
    for (size_t i = 0; i < n; i++) {
        memcpy(feedback + i * unit, solved + i * unit, o * sizeof(float));
        memset(feedback + i * unit + o, 0, n * sizeof(float));
        memcpy(feedback + i * unit + o + n, solved + i * unit + o, (unit - o - n) * sizeof(float));
    }
}

/* The factors and the feedback within a unit, as superblock.h finds them. */
QK_FN void plan_superblock(factor_of_h h, size_t a, size_t unit, size_t n, float *data)
{
    const size_t n_groups = unit / n;
    float *feedback = data + n_groups * QK_GROUP_FLOATS(n),
          *descent = data + QK_HALF_FLOATS(unit, n);
    float *descent_feedback = descent + n_groups * QK_GROUP_FLOATS(n);
    memset(feedback, 0, unit * unit * sizeof(float));
    for (size_t g = 0; g < n_groups; g++) {
        const size_t o = g * n;
        plan_group(h, a + o, n, data + g * QK_GROUP_FLOATS(n));
        plan_feedback(h, a + o, n, a + unit, feedback + o * unit + o + n, unit);
        plan_descent(h, a, unit, o, n, descent + g * QK_GROUP_FLOATS(n),
                     descent_feedback + o * unit);
    }
}

/* What the plan holds of units first..first+count-1, at their places in units and feedback. */
QK_FN void plan_units(qk_solver_layout layout, const double *r, size_t n_cols, size_t first,
                      size_t count, float *units, float *feedback)
{
    const factor_of_h h = {r, n_cols};
    for (size_t u = first; u < first + count; u++) {
        const size_t a = u * layout.unit, end = a + layout.unit;
        float *data = units + u * layout.floats;
        plan_feedback(h, a, layout.unit, n_cols, feedback + a * n_cols + end, n_cols);
        if (layout.unit == layout.group) {
            plan_group(h, a, layout.group, data);
        } else {
            plan_superblock(h, a, layout.unit, layout.group, data);
        }
    }
}
