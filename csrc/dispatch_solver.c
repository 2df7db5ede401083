/* SPDX-License-Identifier: MIT */
/* The checks that stand before calibrated rounding. */
#include "arrays.h"
#include "backend_table.h"
#include "float_state.h"
#include "formats/layouts.h"
#include "solver_orders.h"

#define QK_READ_DOUBLES(p, n) QK_ARRAY(p, n, double, QK_READ)
#define QK_WRITTEN_DOUBLES(p, n) QK_ARRAY(p, n, double, QK_WRITTEN)

qk_status qk_gram(int backend, const float *a, size_t n_rows, const float *b, size_t n_b,
                  size_t n_tokens, size_t first, double *sums)
{
    const qk_solvers *solvers;
    qk_status status = qk_find_solvers(backend, &solvers);
    if (status == QK_OK && first > n_b) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(a, qk_times(n_rows, n_tokens)),
            QK_READ_FLOATS(b, qk_times(n_tokens, n_b)),
            QK_WRITTEN_DOUBLES(sums, qk_times(n_rows, n_b)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && n_rows && n_b) {
        QK_IN_FLOAT_STATE(solvers->gram(a, n_rows, b, n_b, n_tokens, first, sums));
    }
    return status;
}

/* What the steps of factoring ask: a block inside h, and a range between `least` and n. */
static qk_status check_factor(int backend, double *h, size_t n, size_t at, size_t size,
                              size_t first, size_t count, const qk_solvers **solvers)
{
    const qk_status status = qk_find_solvers(backend, solvers);
    const qk_array arrays[] = {QK_WRITTEN_DOUBLES(h, qk_times(n, n))};
    if (status != QK_OK) {
        return status;
    }
    if (at > n || size > n - at || first < at + size || first > n || count > n - first) {
        return QK_BAD_SHAPE;
    }
    return QK_CHECK_ARRAYS(arrays);
}

qk_status qk_factor_diagonal(int backend, double *h, size_t n, size_t at, size_t size, size_t *done)
{
    const qk_solvers *solvers;
    const qk_array arrays[] = {
        QK_WRITTEN_DOUBLES(h, qk_times(n, n)),
        QK_ARRAY(done, 1, size_t, QK_WRITTEN),
    };
    qk_status status = check_factor(backend, h, n, at, size, n, 0, &solvers);
    if (status == QK_OK) {
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(*done = solvers->factor_diagonal(h, n, at, size));
    }
    return status;
}

qk_status qk_factor_beside(int backend, double *h, size_t n, size_t at, size_t size, size_t first,
                           size_t count)
{
    const qk_solvers *solvers;
    const qk_status status = check_factor(backend, h, n, at, size, first, count, &solvers);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(solvers->factor_beside(h, n, at, size, first, count));
    }
    return status;
}

qk_status qk_factor_below(int backend, double *h, size_t n, size_t at, size_t size, size_t first,
                          size_t count)
{
    const qk_solvers *solvers;
    const qk_status status = check_factor(backend, h, n, at, size, first, count, &solvers);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(solvers->factor_below(h, n, at, size, first, count));
    }
    return status;
}

qk_status qk_solve_factored(int backend, const double *r, size_t n, double *x, size_t stride,
                            size_t n_cols)
{
    const qk_solvers *solvers;
    qk_status status = qk_find_solvers(backend, &solvers);
    if (status == QK_OK && n_cols > stride) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_DOUBLES(r, qk_times(n, n)),
            QK_WRITTEN_DOUBLES(x, qk_extent(n, stride, n_cols)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(solvers->solve_factored(r, n, x, stride, n_cols));
    }
    return status;
}

/* The layout of a type is the same in every backend; the last one is always there. */
static const qk_solvers *any_solvers(void) { return &qk_solvers_scalar; }

qk_status qk_solver_layout(int type, size_t *unit, size_t *group)
{
    return any_solvers()->layout(type, unit, group) ? QK_OK : QK_UNKNOWN_TYPE;
}

qk_status qk_solver_floats(int type, size_t *floats, size_t *work)
{
    size_t unit, group;
    if (!any_solvers()->layout(type, &unit, &group)) {
        return QK_UNKNOWN_TYPE;
    }
    *floats = any_solvers()->unit_floats(type);
    *work = unit > group ? 2 * unit * unit : 0;
    return QK_OK;
}

qk_status qk_solver_workspace(int backend, size_t n_cols, size_t *bytes)
{
    const qk_solvers *solvers;
    const qk_status status = qk_find_solvers(backend, &solvers);
    if (status != QK_OK) {
        return status;
    }
    if (n_cols > QK_MOST_BYTES / 4096) { /* far more bytes for each column than there are */
        return QK_BAD_SHAPE;
    }
    *bytes = solvers->workspace(n_cols);
    return QK_OK;
}

/* The sizes of a type's units, if n_cols is a whole number of them. */
static qk_status check_units(int backend, int type, size_t n_cols, const qk_solvers **solvers,
                             size_t *unit, size_t *group)
{
    const qk_status status = qk_find_solvers(backend, solvers);
    if (status != QK_OK) {
        return status;
    }
    if (!(*solvers)->layout(type, unit, group)) {
        return QK_UNKNOWN_TYPE;
    }
    return n_cols % *unit ? QK_BAD_SHAPE : QK_OK;
}

qk_status qk_make_units(int backend, int type, const double *r, size_t n, size_t first,
                        size_t count, double *work, float *units, float *feedback)
{
    const qk_solvers *solvers;
    size_t unit, group, n_floats, n_work;
    qk_status status = check_units(backend, type, n, &solvers, &unit, &group);
    if (status == QK_OK && (first > n / unit || count > n / unit - first)) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        status = qk_solver_floats(type, &n_floats, &n_work);
    }
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_DOUBLES(r, qk_times(n, n)),
            QK_WRITTEN_DOUBLES(work, n_work),
            QK_WRITTEN_FLOATS(units, qk_times(count, n_floats)),
            QK_WRITTEN_FLOATS(feedback, qk_times(count * unit, n)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(solvers->make_units(type, r, n, first, count, work, units, feedback));
    }
    return status;
}

qk_status qk_solve_rows(int backend, int type, const qk_solver_plan *plan, const float *x,
                        size_t n_rows, uint8_t *workspace, uint8_t *out, double *errors)
{
    const qk_solvers *solvers;
    size_t unit, group, n_floats, n_work, n_bytes;
    const qk_layout *layout = qk_find_layout(type);
    if (!plan) {
        return QK_BAD_ARRAY;
    }
    qk_status status = check_units(backend, type, plan->n_cols, &solvers, &unit, &group);
    if (status == QK_OK) {
        status = qk_solver_workspace(backend, plan->n_cols, &n_bytes);
    }
    if (status != QK_OK || !layout) {
        return status;
    }
    const size_t n = plan->n_cols, n_units = n / unit, per_unit = unit / group;
    status = qk_solver_floats(type, &n_floats, &n_work);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_ARRAY(plan->unit_order, n_units, int32_t, QK_READ),
            QK_READ_BYTES(plan->group_order, qk_times(n_units, per_unit)),
            QK_READ_FLOATS(plan->units, qk_times(n_units, n_floats)),
            QK_READ_FLOATS(plan->feedback, qk_times(n, n)),
            QK_READ_FLOATS(x, qk_times(n_rows, n)),
            QK_WRITTEN_BYTES(workspace, n_bytes),
            QK_WRITTEN_BYTES(out, qk_times(n_rows, qk_times(n_units, layout->block_bytes))),
            QK_WRITTEN_DOUBLES(errors, n_rows),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && !qk_are_orders_whole(plan, n_units, per_unit)) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK && n_rows && n) {
        QK_IN_FLOAT_STATE(solvers->solve_rows(type, plan, x, n_rows, workspace, out, errors));
    }
    return status;
}
