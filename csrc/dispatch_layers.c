/* SPDX-License-Identifier: MIT */
/* The checks that stand before norms, activations and rotations. */
#include "arrays.h"
#include "backend_table.h"

#include "float_state.h"

qk_status qk_norm_rows(int backend, const qk_norm *what, const float *x, float *y)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && !what) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK && (!what->n_heads || what->n_rows % what->n_heads)) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        const size_t n = qk_times(what->n_rows, what->width);
        const size_t n_weights = qk_times(what->n_heads, what->width);
        const qk_array arrays[] = {
            QK_READ_FLOATS(x, n),
            QK_OPTIONAL_FLOATS(what->weight, n_weights),
            QK_OPTIONAL_FLOATS(what->bias, n_weights),
            QK_WRITTEN_FLOATS(y, n),
        };
        status = QK_CHECK_ARRAYS(arrays);
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

/* Whether groups of n_inner runs of `size` floats, so far apart, share no floats. */
static int are_apart(size_t outer_stride, size_t n_inner, size_t inner_stride, size_t size)
{
    return (n_inner <= 1 || inner_stride >= size) &&
           outer_stride >= qk_extent(n_inner, inner_stride, size);
}

/* Positions may be in heads, or heads in positions. */
static int has_overlapping_heads(const qk_rotation *what, size_t size)
{
    const int in_positions =
        are_apart(what->n > 1 ? what->stride : SIZE_MAX, what->n_heads, what->head_stride, size);
    const int in_heads =
        are_apart(what->n_heads > 1 ? what->head_stride : SIZE_MAX, what->n, what->stride, size);
    return !in_positions && !in_heads;
}

qk_status qk_rotate(int backend, const qk_rotation *what, const float *turns, float *x)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    size_t n_floats = 0;
    if (status == QK_OK && !what) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK && what->n && what->n_heads && what->n_pairs) {
        const size_t size = qk_times(what->n_pairs, 2);
        n_floats =
            qk_extent(what->n, what->stride, qk_extent(what->n_heads, what->head_stride, size));
        const qk_array arrays[] = {
            QK_READ_FLOATS(turns, qk_times(what->n, size)),
            QK_WRITTEN_FLOATS(x, n_floats),
        };
        status = has_overlapping_heads(what, size) ? QK_BAD_SHAPE : QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && n_floats) {
        QK_IN_FLOAT_STATE(ops->rotate(what, turns, x));
    }
    return status;
}
