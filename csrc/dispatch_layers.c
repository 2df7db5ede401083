/* SPDX-License-Identifier: MIT */
/* The checks that stand before norms, activations, rotations and the sums of a softmax. */
#include "backend_table.h"

#include "float_state.h"

qk_status qk_norm_rows(int backend, const qk_norm *what, const float *x, float *y)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && (!what->n_heads || what->n_rows % what->n_heads)) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->norm_rows(what, x, y));
    }
    return status;
}

qk_status qk_activate(int backend, int function, const float *x, const float *up, size_t n,
                      float *out)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && (function < QK_EXP || function > QK_RELU)) {
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
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->swiglu_clamped(gate, up, n, out));
    }
    return status;
}

qk_status qk_soft_cap(int backend, const float *x, float cap, size_t n, float *out)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
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
        QK_IN_FLOAT_STATE(ops->rotate(what, turns, x));
    }
    return status;
}

qk_status qk_add_logits(int backend, const qk_tile *tile, const float *logits, qk_softmax *rows)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && tile->stride < tile->n_cols) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->add_logits(tile, logits, rows));
    }
    return status;
}

qk_status qk_compare_logits(int backend, const qk_tile *tile, const float *logits,
                            const float *base_logits, qk_softmax *rows, qk_softmax *base,
                            double *excess)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && tile->stride < tile->n_cols) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->compare_logits(tile, logits, base_logits, rows, base, excess));
    }
    return status;
}
