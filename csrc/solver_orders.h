/* SPDX-License-Identifier: MIT */
/* The orders of a plan of calibrated rounding are checked before they are followed. */
#ifndef QK_SOLVER_ORDERS_H
#define QK_SOLVER_ORDERS_H

#include "quantkit.h"

/* Whether the orders of a plan name blocks and groups that there are. */
static inline int qk_are_orders_whole(const qk_solver_plan *plan, size_t n_units, size_t per_unit)
{
    for (size_t u = 0; u < n_units; u++) {
        if (plan->unit_order[u] < 0 || (size_t)plan->unit_order[u] >= n_units) {
            return 0;
        }
    }
    for (size_t i = 0; i < n_units * per_unit; i++) {
        if (plan->group_order[i] >= per_unit) {
            return 0;
        }
    }
    return 1;
}

#endif
