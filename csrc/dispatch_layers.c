/* SPDX-License-Identifier: MIT */
/* The checks that stand before norms, activations and rotations. */
#include "backend_table.h"
#include "op_checks.h"

#include "float_state.h"

qk_status qk_norm_rows(int backend, const qk_norm *what, const float *x, float *y)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        status = qk_check_norm(what, x, y);
    }
    if (status == QK_OK && what->n_rows && what->width) {
        QK_IN_FLOAT_STATE(ops->norm_rows(what, x, y));
    }
    return status;
}

/* What functions of n numbers ask of their arguments: `out` is `x`, or apart from it; `up` may be
 * NULL. */
static qk_status check_map(int backend, const float *x, const float *up, size_t n, float *out,
                           const qk_ops **ops)
{
    const qk_status status = qk_find_ops(backend, ops);
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, n),
        QK_OPTIONAL_FLOATS(up, n),
        QK_ARRAY(out, n, float, QK_WRITTEN_IN_PLACE),
    };
    return status == QK_OK ? QK_CHECK_ARRAYS(arrays) : status;
}

qk_status qk_activate(int backend, int function, const float *x, const float *up, size_t n,
                      float *out)
{
    const qk_ops *ops;
    qk_status status = check_map(backend, x, up, n, out, &ops);
    if (status == QK_OK && (function < QK_EXP || function > QK_SOFTPLUS)) {
        status = QK_UNKNOWN_FUNCTION;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->activate((qk_function)function, x, up, n, out));
    }
    return status;
}

qk_status qk_swiglu_clamped(int backend, const float *gate, const float *up, size_t n, float *out)
{
    const qk_ops *ops;
    qk_status status = check_map(backend, gate, up, n, out, &ops);
    if (status == QK_OK && n && !up) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->swiglu_clamped(gate, up, n, out));
    }
    return status;
}

qk_status qk_soft_cap(int backend, const float *x, float cap, size_t n, float *out)
{
    const qk_ops *ops;
    qk_status status = check_map(backend, x, NULL, n, out, &ops);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->soft_cap(x, cap, n, out));
    }
    return status;
}

qk_status qk_rotate(int backend, const qk_rotation *what, const float *turns, float *x)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        status = qk_check_rotation(what, turns, x);
    }
    if (status == QK_OK && what->n && what->n_heads && what->n_pairs) {
        QK_IN_FLOAT_STATE(ops->rotate(what, turns, x));
    }
    return status;
}
