/* SPDX-License-Identifier: MIT */
/* The checks that stand before recurrent layers. */
#include "backend_table.h"
#include "op_checks.h"

#include "float_state.h"

/* Gives the bytes of a workspace, where a check has found them. */
static qk_status give_bytes(qk_status status, size_t n_bytes, size_t *bytes)
{
    if (status == QK_OK && !bytes) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        *bytes = n_bytes;
    }
    return status;
}

qk_status qk_short_convolution(int backend, const qk_convolution *what, const float *x, float *y)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        status = qk_check_convolution(what, x, y);
    }
    if (status == QK_OK && what->n && what->n_channels) {
        QK_IN_FLOAT_STATE(ops->short_convolution(what, x, y));
    }
    return status;
}

/* What a recurrence asks of its sizes; gives the bytes of its workspace. */
static qk_status check_recurrence(int backend, const qk_recurrence *what, const qk_ops **ops,
                                  size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status == QK_OK) {
        status = qk_check_recurrence_sizes(what);
    }
    if (status != QK_OK) {
        return status;
    }
    *bytes = (*ops)->recurrence_workspace(what);
    return *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_recurrence_workspace(int backend, const qk_recurrence *what, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    const qk_status status = check_recurrence(backend, what, &ops, &n_bytes);
    return give_bytes(status, n_bytes, bytes);
}

qk_status qk_recur(int backend, const qk_recurrence *what, const float *q, const float *k,
                   const float *v, const float *decay, float *out, void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    qk_status status = check_recurrence(backend, what, &ops, &n_bytes);
    if (status == QK_OK) {
        const size_t heads = qk_times(what->n, what->n_heads);
        const size_t key_heads = qk_times(what->n, what->n_key_heads);
        const qk_array arrays[] = {
            QK_READ_FLOATS(q, qk_times(key_heads, what->key_size)),
            QK_READ_FLOATS(k, qk_times(key_heads, what->key_size)),
            QK_READ_FLOATS(v, qk_times(heads, what->value_size)),
            QK_READ_FLOATS(decay, qk_times(heads, what->decay_size)),
            QK_OPTIONAL_FLOATS(what->beta, heads),
            QK_WRITTEN_FLOATS(out, qk_times(heads, what->value_size)),
            QK_WRITTEN_BYTES(workspace, n_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && what->n) {
        QK_IN_FLOAT_STATE(ops->recur(what, q, k, v, decay, out, workspace));
    }
    return status;
}

/* As check_recurrence, of a scan. */
static qk_status check_scan(int backend, const qk_scan *what, const qk_ops **ops, size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status != QK_OK) {
        return status;
    }
    if (!what) {
        return QK_BAD_ARRAY;
    }
    *bytes = (*ops)->scan_workspace(what);
    return what->n_states && *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_scan_workspace(int backend, const qk_scan *what, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    const qk_status status = check_scan(backend, what, &ops, &n_bytes);
    return give_bytes(status, n_bytes, bytes);
}

qk_status qk_selective_scan(int backend, const qk_scan *what, const qk_scan_inputs *in, float *y,
                            void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    qk_status status = check_scan(backend, what, &ops, &n_bytes);
    if (status == QK_OK && !in) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_SCAN_ARRAYS(what, in, y) QK_WRITTEN_BYTES(workspace, n_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && what->n && what->n_channels) {
        QK_IN_FLOAT_STATE(ops->selective_scan(what, in, y, workspace));
    }
    return status;
}

/* As check_recurrence, of the states of RWKV-7. */
static qk_status check_wkv(int backend, const qk_wkv *what, const qk_ops **ops, size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status == QK_OK) {
        status = qk_check_wkv_sizes(what);
    }
    if (status != QK_OK) {
        return status;
    }
    *bytes = (*ops)->wkv_workspace(what);
    return *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_wkv_workspace(int backend, const qk_wkv *what, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    const qk_status status = check_wkv(backend, what, &ops, &n_bytes);
    return give_bytes(status, n_bytes, bytes);
}

qk_status qk_wkv7(int backend, const qk_wkv *what, const qk_wkv_inputs *in, float *out,
                  void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes = 0;
    qk_status status = check_wkv(backend, what, &ops, &n_bytes);
    if (status == QK_OK && !in) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        const size_t heads = qk_times(what->n, what->n_heads);
        const size_t n_keys = qk_times(heads, what->key_size);
        const size_t n_values = qk_times(heads, what->value_size);
        const qk_array arrays[] = {
            QK_READ_FLOATS(in->r, n_keys),       QK_READ_FLOATS(in->decay, n_keys),
            QK_READ_FLOATS(in->k, n_keys),       QK_READ_FLOATS(in->v, n_values),
            QK_READ_FLOATS(in->removed, n_keys), QK_READ_FLOATS(in->renewed, n_keys),
            QK_WRITTEN_FLOATS(out, n_values),    QK_WRITTEN_BYTES(workspace, n_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && what->n) {
        QK_IN_FLOAT_STATE(ops->wkv7(what, in, out, workspace));
    }
    return status;
}
