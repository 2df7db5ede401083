/* SPDX-License-Identifier: MIT */
/* The checks that stand before the sums of a softmax. */
#include "backend_table.h"
#include "op_checks.h"

#include "float_state.h"

qk_status qk_add_logits(int backend, const qk_tile *tile, const float *logits, qk_softmax *rows)
{
    const qk_ops *ops;
    qk_status status = qk_find_ops(backend, &ops);
    if (status == QK_OK) {
        status = qk_check_add(tile, logits, rows);
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
    if (status == QK_OK) {
        status = qk_check_compare(tile, logits, base_logits, rows, base, excess);
    }
    if (status == QK_OK) {
        QK_IN_FLOAT_STATE(ops->compare_logits(tile, logits, base_logits, rows, base, excess));
    }
    return status;
}
