/* SPDX-License-Identifier: MIT */
/* The checks that stand before plans and solving. */
#include "arrays.h"
#include "backend_table.h"
#include "float_state.h"
#include "formats/layouts.h"
#include "solver/formats.h"

/* Zero columns in a unit: no solver for this type. */
static qk_solver_layout find_layout(int type)
{
    qk_solver_layout found = {type, 0, 0, 0, 0};
    switch (type) {
#define QK_CASE(name, id, unit_columns, group_columns)                                             \
    case id:                                                                                       \
        found.unit = unit_columns;                                                                 \
        found.group = group_columns;                                                               \
        found.floats = QK_UNIT_FLOATS(unit_columns, group_columns);                                \
        found.bytes =                                                                              \
            unit_columns / qk_find_layout(id)->block_size * qk_find_layout(id)->block_bytes;       \
        break;
        QK_SOLVER_FORMATS(QK_CASE)
#undef QK_CASE
    default:
        break;
    }
    return found;
}

qk_status qk_solver_sizes(int type, size_t *unit, size_t *group, size_t *floats)
{
    const qk_solver_layout layout = find_layout(type);
    if (!layout.unit) {
        return QK_UNKNOWN_TYPE;
    }
    *unit = layout.unit;
    *group = layout.group;
    *floats = layout.floats;
    return QK_OK;
}

/* What both calls ask of their arguments. */
static qk_status check_call(int backend, int type, size_t n_cols, const qk_quantizers **quantizers,
                            qk_solver_layout *layout)
{
    const qk_status status = qk_find_quantizers(backend, quantizers);
    if (status != QK_OK) {
        return status;
    }
    *layout = find_layout(type);
    if (!layout->unit) {
        return QK_UNKNOWN_TYPE;
    }
    return n_cols % layout->unit ? QK_BAD_SHAPE : QK_OK;
}

qk_status qk_plan_units(int backend, int type, const double *r, size_t n_cols, size_t first,
                        size_t count, float *units, float *feedback)
{
    const qk_quantizers *q;
    qk_solver_layout layout;
    qk_status status = check_call(backend, type, n_cols, &q, &layout);
    if (status == QK_OK) {
        const size_t n_units = n_cols / layout.unit, n = qk_times(n_cols, n_cols);
        const qk_array arrays[] = {
            QK_ARRAY(r, n, double, QK_READ),
            QK_WRITTEN_FLOATS(units, qk_times(n_units, layout.floats)),
            QK_WRITTEN_FLOATS(feedback, n),
        };
        status =
            count > n_units || first > n_units - count ? QK_BAD_SHAPE : QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(q->plan_units(layout, r, n_cols, first, count, units, feedback));
    }
    return status;
}

qk_status qk_solve_workspace(int type, size_t n_cols, size_t *floats)
{
    const qk_solver_layout layout = find_layout(type);
    if (!layout.unit) {
        return QK_UNKNOWN_TYPE;
    }
    *floats = qk_times(qk_plus(n_cols, layout.unit), QK_SOLVER_ROWS);
    return *floats == SIZE_MAX ? QK_BAD_SHAPE : QK_OK;
}

/* Whether the units and groups that a plan names are there. */
static int is_order(const qk_plan *plan, qk_solver_layout layout)
{
    const size_t n_units = plan->n_cols / layout.unit, per_unit = layout.unit / layout.group;
    for (size_t i = 0; i < n_units; i++) {
        if (plan->unit_order[i] < 0 || (size_t)plan->unit_order[i] >= n_units) {
            return 0;
        }
    }
    for (size_t i = 0; i < n_units * per_unit; i++) {
        if (plan->group_order[i] >= per_unit) {
            return 0;
        }
    }
    return 1;
}

qk_status qk_solve_rows(int backend, int type, const qk_plan *plan, const float *x, size_t n_rows,
                        uint8_t *out, double *errors, float *workspace)
{
    const qk_quantizers *q;
    qk_solver_layout layout;
    const size_t n = plan->n_cols;
    qk_status status = check_call(backend, type, n, &q, &layout);
    if (status == QK_OK) {
        const size_t n_units = n / layout.unit;
        const qk_array arrays[] = {
            QK_ARRAY(plan->unit_order, n_units, int32_t, QK_READ),
            QK_READ_BYTES(plan->group_order, n / layout.group),
            QK_READ_FLOATS(plan->units, qk_times(n_units, layout.floats)),
            QK_READ_FLOATS(plan->feedback, qk_times(n, n)),
            QK_READ_FLOATS(x, qk_times(n_rows, n)),
            QK_WRITTEN_BYTES(out, qk_times(n_rows, qk_times(n_units, layout.bytes))),
            QK_ARRAY(errors, n_rows, double, QK_WRITTEN),
            QK_WRITTEN_FLOATS(workspace, qk_times(qk_plus(n, layout.unit), QK_SOLVER_ROWS)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && !is_order(plan, layout)) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(q->solve_rows(layout, plan, x, n_rows, out, errors, workspace));
    }
    return status;
}
