/* SPDX-License-Identifier: MIT */
/* The checks that stand before the sums of a softmax. */
#include "arrays.h"
#include "backend_table.h"

#include "float_state.h"

/* What a tile asks of its sizes; gives the floats from its first logit to its last. */
static qk_status check_tile(int backend, const qk_tile *tile, const qk_ops **ops, size_t *n_floats)
{
    const qk_status status = qk_find_ops(backend, ops);
    if (status != QK_OK) {
        return status;
    }
    if (!tile) {
        return QK_BAD_ARRAY;
    }
    if (!tile->n_cols || tile->stride < tile->n_cols || tile->first < 0 ||
        tile->n_cols > (uint64_t)(INT64_MAX - tile->first)) {
        return QK_BAD_SHAPE;
    }
    *n_floats = qk_extent(tile->n_rows, tile->stride, tile->n_cols);
    return QK_OK;
}

qk_status qk_add_logits(int backend, const qk_tile *tile, const float *logits, qk_softmax *rows)
{
    const qk_ops *ops;
    size_t n_floats;
    qk_status status = check_tile(backend, tile, &ops, &n_floats);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(logits, n_floats),
            QK_ARRAY(tile->targets, tile->n_rows, int64_t, QK_READ),
            QK_ARRAY(rows, tile->n_rows, qk_softmax, QK_WRITTEN),
        };
        status = QK_CHECK_ARRAYS(arrays);
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
    size_t n_floats;
    qk_status status = check_tile(backend, tile, &ops, &n_floats);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(logits, n_floats),
            QK_READ_FLOATS(base_logits, n_floats),
            QK_ARRAY(tile->targets, tile->n_rows, int64_t, QK_READ),
            QK_ARRAY(rows, tile->n_rows, qk_softmax, QK_WRITTEN),
            QK_ARRAY(base, tile->n_rows, qk_softmax, QK_WRITTEN),
            QK_ARRAY(excess, tile->n_rows, double, QK_WRITTEN),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->compare_logits(tile, logits, base_logits, rows, base, excess));
    }
    return status;
}
