/* SPDX-License-Identifier: MIT */
/* The checks that stand before the quantizers. */
#include "arrays.h"
#include "backend_table.h"
#include "float_state.h"
#include "formats/layouts.h"
#include "lanes/lane_ops.h"

qk_status qk_type_layout(int type, size_t *block_size, size_t *block_bytes)
{
    const qk_layout *layout = qk_find_layout(type);
    if (!layout) {
        return QK_UNKNOWN_TYPE;
    }
    *block_size = layout->block_size;
    *block_bytes = layout->block_bytes;
    return QK_OK;
}

int qk_type_uses_importance(int type)
{
    const qk_layout *layout = qk_find_layout(type);
    return layout && layout->importance != QK_IMPORTANCE_IGNORED;
}

int qk_type_needs_importance(int type)
{
    const qk_layout *layout = qk_find_layout(type);
    return layout && layout->importance == QK_IMPORTANCE_NEEDED;
}

/* What both directions ask of their arguments; gives the sizes of the weights and of their blocks.
 */
static qk_status check_call(int backend, int type, size_t n_rows, size_t n_cols,
                            const qk_quantizers **quantizers, size_t *n_weights, size_t *n_bytes)
{
    const qk_layout *layout = qk_find_layout(type);
    const qk_status status = qk_find_quantizers(backend, quantizers);
    if (status != QK_OK) {
        return status;
    }
    if (!layout) {
        return QK_UNKNOWN_TYPE;
    }
    if (n_cols % layout->block_size) {
        return QK_BAD_SHAPE;
    }
    *n_weights = qk_times(n_rows, n_cols);
    *n_bytes = qk_times(n_rows, qk_times(n_cols / layout->block_size, layout->block_bytes));
    return QK_OK;
}

/* The index of the first importance that is not a finite number >= 0, or n. */
static size_t find_bad_importance(const qk_quantizers *q, const float *importance, size_t n)
{
    size_t finite = q->find_non_finite(importance, n);
    for (size_t i = 0; i < finite; i++) {
        if (importance[i] < 0) {
            return i;
        }
    }
    return finite;
}

qk_status qk_quantize_rows(int backend, int type, const float *x, const float *importance,
                           size_t n_rows, size_t n_cols, uint8_t *out, size_t *bad_index)
{
    const qk_quantizers *q;
    size_t n_weights, n_bytes;
    qk_status status = check_call(backend, type, n_rows, n_cols, &q, &n_weights, &n_bytes);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(x, n_weights),
            QK_OPTIONAL_FLOATS(importance, n_cols),
            QK_WRITTEN_BYTES(out, n_bytes),
            QK_ARRAY(bad_index, 1, size_t, QK_WRITTEN),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK) {
        return status;
    }
    if (!importance && qk_type_needs_importance(type)) {
        return QK_NEEDS_IMPORTANCE;
    }
    if (importance) {
        *bad_index = find_bad_importance(q, importance, n_cols);
        if (*bad_index < n_cols) {
            return QK_BAD_IMPORTANCE;
        }
    }
    if (!n_weights) {
        return QK_OK;
    }
    QK_IN_FLOAT_STATE(*bad_index = q->quantize(type, x, importance, n_rows, n_cols, out));
    return *bad_index < n_weights ? QK_NOT_FINITE : QK_OK;
}

qk_status qk_dequantize_rows(int backend, int type, const uint8_t *data, size_t n_rows,
                             size_t n_cols, float *out)
{
    const qk_quantizers *q;
    size_t n_weights, n_bytes;
    qk_status status = check_call(backend, type, n_rows, n_cols, &q, &n_weights, &n_bytes);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_BYTES(data, n_bytes),
            QK_WRITTEN_FLOATS(out, n_weights),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && n_weights) {
        QK_IN_FLOAT_STATE(q->dequantize(type, data, n_weights, out));
    }
    return status;
}

int qk_lane_op_count(void) { return QK_LANE_OP_COUNT; }

const char *qk_lane_op_name(int op)
{
    static const char *const names[] = {
#define QK_NAME(name, run) #name,
        QK_LANE_OPS(QK_NAME)
#undef QK_NAME
    };
    return op >= 0 && op < QK_LANE_OP_COUNT ? names[op] : NULL;
}

qk_status qk_lane_op(int backend, int op, const int32_t *a, const int32_t *b, const int32_t *c,
                     int32_t *out)
{
    const qk_quantizers *q;
    qk_status status = qk_find_quantizers(backend, &q);
    if (status == QK_OK && (op < 0 || op >= QK_LANE_OP_COUNT)) {
        status = QK_UNKNOWN_FUNCTION;
    }
    if (status == QK_OK) {
        const size_t n = (size_t)q->lanes * (size_t)q->lanes;
        const qk_array arrays[] = {
            QK_ARRAY(a, n, int32_t, QK_READ),
            QK_ARRAY(b, n, int32_t, QK_READ),
            QK_ARRAY(c, n, int32_t, QK_READ),
            QK_ARRAY(out, n, int32_t, QK_WRITTEN),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK) {
        q->lane_probe(op, a, b, c, out);
    }
    return status;
}
