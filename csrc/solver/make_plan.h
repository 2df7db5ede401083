/* SPDX-License-Identifier: MIT */
/* Making the numbers of plan.h from the factor R of H. */
#ifndef QK_MAKE_PLAN_H
#define QK_MAKE_PLAN_H

/* A column whose part of R's diagonal is 0 does not matter: nothing is asked of it. */
QK_INLINE double inverse_or_0(double pivot) { return pivot == 0.0 ? 0.0 : 1.0 / pivot; }

/* x [size][stride] -> U^-1 x for n_cols columns, where U [size] is upper triangular with rows
 * u_stride apart. */
QK_FN void solve_upper(const double *u, size_t u_stride, size_t size, double *x, size_t stride,
                       size_t n_cols)
{
    for (size_t i = size; i-- > 0;) {
        for (size_t p = i + 1; p < size; p++) {
            subtract_scaled(x + i * stride, u[i * u_stride + p], x + p * stride, n_cols);
        }
        const double inverse = inverse_or_0(u[i * u_stride + i]);
        for (size_t k = 0; k < n_cols; k++) {
            x[i * stride + k] *= inverse;
        }
    }
}

/* The form and the factors of a group from R_gg, upper triangular with rows `stride` apart. */
QK_FN void make_group_form(const double *r, size_t stride, size_t group, float *out)
{
    float *form = out, *upper = form + group * group;
    float *pivot = upper + group * group, *row_sum = pivot + group;
    for (size_t i = 0; i < group; i++) {
        double total = 0;
        const double inverse = inverse_or_0(r[i * stride + i]);
        for (size_t j = 0; j < group; j++) {
            const size_t last = i < j ? i : j;
            double sum = 0;
            for (size_t p = 0; p <= last; p++) {
                sum += r[p * stride + i] * r[p * stride + j];
            }
            form[i * group + j] = (float)sum;
            upper[i * group + j] = j > i ? (float)(r[i * stride + j] * inverse) : 0.0f;
            total += sum;
        }
        pivot[i] = (float)(r[i * stride + i] * r[i * stride + i]);
        row_sum[i] = (float)total;
    }
}

/* R_BB^-1 times the columns of R right of the unit: f32 [unit][n], 0 in the other columns. */
#define FEEDBACK_COLUMNS 32
QK_FN void make_feedback(const double *r, size_t n, size_t at, size_t unit, float *feedback)
{
    double part[QK_SUPERBLOCK * FEEDBACK_COLUMNS];
    memset(feedback, 0, unit * n * sizeof(float));
    for (size_t first = at + unit; first < n; first += FEEDBACK_COLUMNS) {
        const size_t count = n - first < FEEDBACK_COLUMNS ? n - first : FEEDBACK_COLUMNS;
        for (size_t i = 0; i < unit; i++) {
            memcpy(part + i * FEEDBACK_COLUMNS, r + (at + i) * n + first, count * sizeof(double));
        }
        solve_upper(r + at * n + at, n, unit, part, FEEDBACK_COLUMNS, count);
        for (size_t i = 0; i < unit; i++) {
            for (size_t k = 0; k < count; k++) {
                feedback[i * n + first + k] = (float)part[i * FEEDBACK_COLUMNS + k];
            }
        }
    }
}

/* S = R_BB^T R_BB, and from it and R_BB all that a unit of several groups has.  work: f64
 * [2][unit][unit]. */
QK_FN void make_squares(const double *r, size_t n, unit_shape shape, double *work, float *unit)
{
    const size_t size = shape.unit, group = shape.group, n_groups = size / group;
    double *whole = work, *solved = work + size * size;
    float *out[3];
    for (size_t i = 0; i < 3; i++) {
        out[i] = unit + unit_square(shape, i);
    }
    memset(whole, 0, size * size * sizeof(double));
    for (size_t p = 0; p < size; p++) {
        for (size_t i = p; i < size; i++) {
            subtract_scaled(whole + i * size + p, -r[p * n + i], r + p * n + p, size - p);
        }
    }
    for (size_t g = 0; g < n_groups; g++) {
        const size_t o = g * group;
        for (size_t i = 0; i < group; i++) {
            double *row = solved + i * size;
            memset(row, 0, size * sizeof(double));
            for (size_t k = o + group; k < size; k++) {
                row[k] = r[(o + i) * n + k];
            }
        }
        solve_upper(r + o * n + o, n, group, solved, size, size);
        for (size_t i = 0; i < group; i++) {
            for (size_t k = 0; k < size; k++) {
                out[UNIT_INNER][(o + i) * size + k] = (float)solved[i * size + k];
                out[UNIT_WHOLE][(o + i) * size + k] = (float)whole[(o + i) * size + k];
            }
        }
        make_group_form(r + o * n + o, n, group, unit + g * group_form_floats(group));
    }
    for (size_t g = 0; g < n_groups; g++) { /* S_gg is replaced by its factor, group by group */
        const size_t o = g * group;
        double *factor = solved, *others = solved + group * group; /* [group][group], [.][size] */
        for (size_t i = 0; i < group; i++) {
            memcpy(factor + i * group, whole + (o + i) * size + o, group * sizeof(double));
            memcpy(others + i * size, whole + (o + i) * size, size * sizeof(double));
            memset(others + i * size + o, 0, group * sizeof(double));
        }
        if (factor_diagonal(factor, group, 0, group) < group) { /* not positive: no descent */
            memset(factor, 0, group * group * sizeof(double));
            memset(others, 0, group * size * sizeof(double));
        } else {
            solve_factored(factor, group, others, size, size);
        }
        for (size_t i = 0; i < group; i++) {
            for (size_t k = 0; k < size; k++) {
                out[UNIT_OUTER][(o + i) * size + k] = (float)others[i * size + k];
            }
        }
        make_group_form(factor, group, group, unit + (n_groups + g) * group_form_floats(group));
    }
}

/* The numbers of the unit at column `at` from r f64 [n][n], and its rows of the feedback. */
QK_FN void make_unit(const double *r, size_t n, size_t at, unit_shape shape, double *work,
                     float *unit, float *feedback)
{
    const double *own = r + at * n + at;
    if (shape.unit == shape.group) {
        make_group_form(own, n, shape.group, unit);
    } else {
        make_squares(own, n, shape, work, unit);
    }
    make_feedback(r, n, at, shape.unit, feedback);
}

#endif
