/* SPDX-License-Identifier: MIT */
/* The checks that stand before matrix products. */
#include "arrays.h"
#include "backend_table.h"
#include "float_state.h"
#include "formats/formats.h"

#include <string.h>

/* Panels of packed activations hold floats and words. */
#define QK_PACKED_ALIGNMENT 4

qk_status qk_packing_for(int type, int precision, qk_packing *packing)
{
    size_t block_size, block_bytes;
    if (!packing) {
        return QK_BAD_ARRAY;
    }
    if (qk_type_layout(type, &block_size, &block_bytes) != QK_OK) {
        return QK_UNKNOWN_TYPE;
    }
    if (precision < QK_F32 || precision > QK_Q8) {
        return QK_UNKNOWN_PACKING;
    }
    if (precision == QK_F32 || block_size == 1) {
        *packing = QK_PACKED_F32;
    } else if (precision == QK_I16) {
        *packing = QK_PACKED_I16;
    } else {
        *packing = QK_Q8_PACKING(block_size);
    }
    return QK_OK;
}

/* What packing asks of its arguments; gives the bytes of x f32 [m][k] packed. */
static qk_status check_packing(int backend, int packing, size_t m, size_t k, const qk_ops **ops,
                               size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status != QK_OK) {
        return status;
    }
    if (packing < QK_PACKED_F32 || packing > QK_PACKED_Q8_K) {
        return QK_UNKNOWN_PACKING;
    }
    if (k % QK_COLUMNS_PER_SCALE(packing)) {
        return QK_BAD_SHAPE;
    }
    *bytes = (*ops)->packed_bytes((qk_packing)packing, m, k);
    return *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_packed_bytes(int backend, int packing, size_t m, size_t k, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_packing(backend, packing, m, k, &ops, &n_bytes);
    if (status == QK_OK && !bytes) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        *bytes = n_bytes;
    }
    return status;
}

qk_status qk_matmul_workspace(int backend, size_t *bytes)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK && !bytes) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        *bytes = ops->workspace_bytes;
    }
    return status;
}

qk_status qk_pack_activations(int backend, int packing, const float *x, size_t m, size_t k,
                              void *packed)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_packing(backend, packing, m, k, &ops, &n_bytes);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(x, qk_times(m, k)),
            {packed, n_bytes, QK_PACKED_ALIGNMENT, QK_WRITTEN},
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && n_bytes) {
        QK_IN_FLOAT_STATE(ops->pack((qk_packing)packing, x, m, k, packed));
    }
    return status;
}

/* Whether weights of a type are multiplied with activations so packed; gives the bytes of a row. */
static qk_status check_weights(int type, int packing, size_t n_cols, size_t *row_bytes)
{
    size_t block_size, block_bytes;
    qk_packing of_type = QK_PACKED_F32;
    if (qk_type_layout(type, &block_size, &block_bytes) != QK_OK) {
        return QK_UNKNOWN_TYPE;
    }
    for (int precision = QK_F32; precision <= QK_Q8; precision++) {
        qk_packing_for(type, precision, &of_type);
        if ((int)of_type == packing) {
            *row_bytes = qk_times(n_cols / block_size, block_bytes);
            return n_cols % block_size ? QK_BAD_SHAPE : QK_OK;
        }
    }
    return QK_UNKNOWN_PACKING;
}

/* The product of no columns. */
static void clear_rows(float *y, size_t m, size_t n_rows, size_t y_stride)
{
    for (size_t i = 0; i < m; i++) {
        memset(y + i * y_stride, 0, n_rows * sizeof *y);
    }
}

qk_status qk_matmul(int backend, int type, int packing, const void *packed, size_t m,
                    const uint8_t *weights, size_t n_rows, size_t n_cols, float *y, size_t y_stride,
                    void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes, row_bytes;
    qk_status status = check_packing(backend, packing, m, n_cols, &ops, &n_bytes);
    if (status == QK_OK) {
        status = check_weights(type, packing, n_cols, &row_bytes);
    }
    if (status == QK_OK && y_stride < n_rows) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        const qk_array arrays[] = {
            {packed, n_bytes, QK_PACKED_ALIGNMENT, QK_READ},
            QK_READ_BYTES(weights, qk_times(n_rows, row_bytes)),
            QK_WRITTEN_FLOATS(y, n_rows ? qk_extent(m, y_stride, n_rows) : 0),
            QK_WRITTEN_BYTES(workspace, ops->workspace_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK || !m || !n_rows) {
        return status;
    }
    if (!n_cols) {
        clear_rows(y, m, n_rows, y_stride);
        return QK_OK;
    }
    QK_IN_FLOAT_STATE(ops->matmul(type, (qk_packing)packing, packed, m, weights, n_rows, n_cols, y,
                                  y_stride, workspace));
    return QK_OK;
}
