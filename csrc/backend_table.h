/* SPDX-License-Identifier: MIT */
/* What a backend's number stands for. */
#ifndef QK_BACKEND_TABLE_H
#define QK_BACKEND_TABLE_H

#include "backends/quantizers.h"
#include "backends/solvers.h"
#include "ops/ops.h"
#include "quantkit.h"

/* The quantizers and solvers of a backend, and the variant of its forward pass that this machine
 * runs. */
qk_status qk_find_quantizers(int backend, const qk_quantizers **quantizers);
qk_status qk_find_solvers(int backend, const qk_solvers **solvers);
qk_status qk_find_ops(int backend, const qk_ops **ops);

#endif
