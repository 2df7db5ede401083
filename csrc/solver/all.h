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
#include "make_plan.h"
#include "levels.h"
#include "codebook_group.h"
#include "group.h"
#include "group_search.h"
#include "superblock.h"
#include "block_types.h"
#include "k_types.h"
#include "codebook_types.h"

#define QK_SOLVERS(X) QK_BLOCK_SOLVERS(X) QK_TERNARY_SOLVERS(X) QK_K_SOLVERS(X) QK_BOOK_SOLVERS(X)
#include "blocks.h"
#include "rows.h"

const qk_solvers QK_JOIN(qk_solvers_, QK_BACKEND_NAME) = {
    gram,          factor_diagonal,    factor_beside,    factor_below, solve_factored,
    solver_layout, solver_unit_floats, solver_workspace, make_units,   solve_rows,
};
