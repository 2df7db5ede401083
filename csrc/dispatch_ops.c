/* SPDX-License-Identifier: MIT */
/* The checks that stand before matrix products. */
#include "backend_table.h"
#include "float_state.h"
#include "formats/formats.h"

/* More than a packed column takes: a float, or codes of 16 and 8 bits and their part of the items.
 */
#define MOST_PACKED_BYTES 8

/* 1 if k columns can be packed so, and m of them take no more bytes than there are. */
static int can_pack(int packing, size_t m, size_t k)
{
    const size_t most = SIZE_MAX / MOST_PACKED_BYTES;
    return k % QK_COLUMNS_PER_SCALE(packing) == 0 && (!k || m < most / k - MOST_PACKED_BYTES);
}

qk_status qk_packing_for(int type, int precision, qk_packing *packing)
{
    size_t block_size, block_bytes;
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

/* What packing asks of its arguments. */
static qk_status check_packing(int backend, int packing, size_t m, size_t k, const qk_ops **ops)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status != QK_OK) {
        return status;
    }
    if (packing < QK_PACKED_F32 || packing > QK_PACKED_Q8_K) {
        return QK_UNKNOWN_PACKING;
    }
    return can_pack(packing, m, k) ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_packed_bytes(int backend, int packing, size_t m, size_t k, size_t *bytes)
{
    const qk_ops *ops;
    qk_status status = check_packing(backend, packing, m, k, &ops);
    if (status == QK_OK) {
        *bytes = ops->packed_bytes((qk_packing)packing, m, k);
    }
    return status;
}

qk_status qk_matmul_workspace(int backend, size_t *bytes)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        *bytes = ops->workspace_bytes;
    }
    return status;
}

qk_status qk_pack_activations(int backend, int packing, const float *x, size_t m, size_t k,
                              void *packed)
{
    const qk_ops *ops;
    qk_status status = check_packing(backend, packing, m, k, &ops);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->pack((qk_packing)packing, x, m, k, packed));
    }
    return status;
}

/* Whether weights of a type are multiplied with activations so packed. */
static qk_status check_weights(int type, int packing, size_t n_cols)
{
    size_t block_size, block_bytes;
    qk_packing of_type = QK_PACKED_F32;
    if (qk_type_layout(type, &block_size, &block_bytes) != QK_OK) {
        return QK_UNKNOWN_TYPE;
    }
    for (int precision = QK_F32; precision <= QK_Q8; precision++) {
        qk_packing_for(type, precision, &of_type);
        if ((int)of_type == packing) {
            return n_cols % block_size ? QK_BAD_SHAPE : QK_OK;
        }
    }
    return QK_UNKNOWN_PACKING;
}

qk_status qk_matmul(int backend, int type, int packing, const void *packed, size_t m,
                    const uint8_t *weights, size_t n_rows, size_t n_cols, float *y, size_t y_stride,
                    void *workspace)
{
    const qk_ops *ops;
    qk_status status = check_packing(backend, packing, m, n_cols, &ops);
    if (status == QK_OK) {
        status = check_weights(type, packing, n_cols);
    }
    if (status == QK_OK && y_stride < n_rows) {
        status = QK_BAD_SHAPE;
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->matmul(type, (qk_packing)packing, packed, m, weights, n_rows, n_cols,
                                      y, y_stride, workspace));
    }
    return status;
}
