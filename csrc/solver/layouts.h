/* SPDX-License-Identifier: MIT */
/* The layout of a type's plan, as the solver is told. */
#ifndef QK_SOLVER_LAYOUTS_H
#define QK_SOLVER_LAYOUTS_H

#include <stddef.h>

typedef struct qk_solver_layout {
    int type;           /* GGUF type number */
    size_t unit, group; /* columns */
    size_t floats;      /* of a unit in the plan */
    size_t bytes;       /* of a unit's block */
} qk_solver_layout;

/* Floats that solving rows of n_cols columns needs. */
#define QK_SOLVER_WORKSPACE(n_cols, unit) (((n_cols) + (unit)) * QK_SOLVER_ROWS)

#endif
