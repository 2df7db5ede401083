/* SPDX-License-Identifier: MIT */
/* The checks that stand before attention. */
#include "backend_table.h"

#include "float_state.h"

/* 1 if n * a * b floats, and as many again, fit in memory. */
static int fits(size_t n, size_t a, size_t b)
{
    const size_t most = SIZE_MAX / 64;
    return !n || !a || !b || (n < most / a && n * a < most / b);
}

static qk_status check_attention(int backend, const qk_attention *what, const qk_ops **ops)
{
    qk_status status = qk_find_ops(backend, ops);
    if (status != QK_OK) {
        return status;
    }
    if (!what->n_kv_heads || what->n_heads % what->n_kv_heads ||
        !fits(what->n, what->n_heads, what->key_size) ||
        !fits(what->n, what->n_heads, what->value_size)) {
        return QK_BAD_SHAPE;
    }
    return QK_OK;
}

qk_status qk_attention_workspace(int backend, const qk_attention *what, size_t *bytes)
{
    const qk_ops *ops;
    qk_status status = check_attention(backend, what, &ops);
    if (status == QK_OK) {
        *bytes = ops->attention_workspace(what);
    }
    return status;
}

qk_status qk_attend(int backend, const qk_attention *what, const float *q, const float *k,
                    const float *v, float *out, void *workspace)
{
    const qk_ops *ops;
    qk_status status = check_attention(backend, what, &ops);
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->attention(what, q, k, v, out, workspace));
    }
    return status;
}
