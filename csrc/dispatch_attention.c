/* SPDX-License-Identifier: MIT */
/* The checks that stand before attention. */
#include "backend_table.h"
#include "op_checks.h"

#include "float_state.h"

/* What attention asks of its sizes; gives the bytes of its workspace. */
static qk_status check_attention(int backend, const qk_attention *what, const qk_ops **ops,
                                 size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status == QK_OK) {
        status = qk_check_attention_sizes(what);
    }
    if (status != QK_OK) {
        return status;
    }
    *bytes = (*ops)->attention_workspace(what);
    return *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_attention_workspace(int backend, const qk_attention *what, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_attention(backend, what, &ops, &n_bytes);
    if (status == QK_OK && !bytes) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        *bytes = n_bytes;
    }
    return status;
}

qk_status qk_attend(int backend, const qk_attention *what, const float *q, const float *k,
                    const float *v, float *out, void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_attention(backend, what, &ops, &n_bytes);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_ATTENTION_ARRAYS(what, q, k, v, out) QK_WRITTEN_BYTES(workspace, n_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && what->n) {
        QK_IN_FLOAT_STATE(ops->attention(what, q, k, v, out, workspace));
    }
    return status;
}

/* What the scores ask of their sizes; gives the bytes of their workspace. */
static qk_status check_index(int backend, const qk_index *what, const qk_ops **ops, size_t *bytes)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status == QK_OK) {
        status = qk_check_index_sizes(what);
    }
    if (status != QK_OK) {
        return status;
    }
    *bytes = (*ops)->index_workspace(what);
    return *bytes <= QK_MOST_BYTES ? QK_OK : QK_BAD_SHAPE;
}

qk_status qk_index_workspace(int backend, const qk_index *what, size_t *bytes)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_index(backend, what, &ops, &n_bytes);
    if (status == QK_OK && !bytes) {
        status = QK_BAD_ARRAY;
    }
    if (status == QK_OK) {
        *bytes = n_bytes;
    }
    return status;
}

qk_status qk_index_scores(int backend, const qk_index *what, const float *q, const float *k,
                          const float *weights, float *out, void *workspace)
{
    const qk_ops *ops;
    size_t n_bytes;
    qk_status status = check_index(backend, what, &ops, &n_bytes);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(q, qk_count(what->n, what->n_heads, what->size)),
            QK_READ_FLOATS(k, qk_times(what->n_keys, what->size)),
            QK_READ_FLOATS(weights, qk_times(what->n, what->n_heads)),
            QK_WRITTEN_FLOATS(out, qk_times(what->n, what->n_keys)),
            QK_WRITTEN_BYTES(workspace, n_bytes),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status == QK_OK && what->n) {
        QK_IN_FLOAT_STATE(ops->index_scores(what, q, k, weights, out, workspace));
    }
    return status;
}
