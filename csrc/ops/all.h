/* SPDX-License-Identifier: MIT */
/* All ops, as a table.  An instruction set includes this after its simd header, with QK_OPS_NAME
 * set. */
#ifndef QK_OPS_ALL_H
#define QK_OPS_ALL_H

#include "ops.h"

#include "matmul.h"
#include "attention.h"
#include "index.h"
#include "norms.h"
#include "activations.h"
#include "rotary.h"
#include "softmax.h"
#include "recurrence.h"
#include "scan.h"
#include "wkv.h"

#define OPS_JOIN(a, b) a##b
#define OPS_SYMBOL(name) OPS_JOIN(qk_ops_, name)
#define OPS_STRING_(name) #name
#define OPS_STRING(name) OPS_STRING_(name)

const qk_ops OPS_SYMBOL(QK_OPS_NAME) = {
    .name = OPS_STRING(QK_OPS_NAME),
    .workspace_bytes = WORKSPACE_BYTES,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .matmul = matmul,
    .attention_workspace = attention_workspace,
    .attention = attention,
    .index_workspace = index_workspace,
    .index_scores = index_scores,
    .norm_rows = norm_rows,
    .activate = activate,
    .swiglu_clamped = swiglu_clamped,
    .soft_cap = soft_cap,
    .rotate = rotate,
    .add_logits = add_logits,
    .compare_logits = compare_logits,
    .short_convolution = short_convolution,
    .recurrence_workspace = recurrence_workspace,
    .recur = recur,
    .scan_workspace = scan_workspace,
    .selective_scan = selective_scan,
    .wkv_workspace = wkv_workspace,
    .wkv7 = wkv7,
};

#endif
