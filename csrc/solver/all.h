/* SPDX-License-Identifier: MIT */
/* Calibrated rounding on the lanes of a backend: after kernels/all.h's headers. */
#include "../backends/solvers.h"
#include "../formats/layouts.h"
#include "../lanes/wide.h"

#include <math.h>

#include "gram.h"
#include "product.h"
#include "factor.h"
#include "plan.h"
#include "levels.h"
#include "codebook_group.h"
#include "group.h"
#include "group_search.h"
#include "superblock.h"
#include "block_types.h"
#include "k_types.h"
#include "codebook_types.h"

/* The types without one. */
static const unit_rule q1_0_solver = {0}, q2_0_solver = {0};

#include "rows.h"

const qk_solvers QK_JOIN(qk_solvers_, QK_BACKEND_NAME) = {
    gram,          factor_diagonal,    factor_beside,    factor_below, solve_factored,
    solver_layout, solver_unit_floats, solver_workspace, make_units,   solve_rows,
};
