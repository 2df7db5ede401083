/* SPDX-License-Identifier: MIT */
/* Calibrated rounding on the lanes of a backend: after kernels/all.h's headers. */
#include "../backends/solvers.h"
#include "../lanes/wide.h"

#include <math.h>

#include "gram.h"
#include "product.h"
#include "factor.h"
#include "plan.h"
#include "levels.h"
#include "codebook_group.h"
#include "group.h"
#include "superblock.h"
#include "block_types.h"
#include "k_types.h"
#include "codebook_types.h"

/* Types with a solver: X(NAME, name, GGUF type number) */
#define QK_SOLVED_FORMATS(X)                                                                       \
    X(Q4_0, q4_0, 2)                                                                               \
    X(Q4_1, q4_1, 3)                                                                               \
    X(Q5_0, q5_0, 6)                                                                               \
    X(Q5_1, q5_1, 7)                                                                               \
    X(Q8_0, q8_0, 8)                                                                               \
    X(Q2_K, q2_k, 10)                                                                              \
    X(Q3_K, q3_k, 11)                                                                              \
    X(Q4_K, q4_k, 12)                                                                              \
    X(Q5_K, q5_k, 13)                                                                              \
    X(Q6_K, q6_k, 14)                                                                              \
    X(IQ2_XXS, iq2_xxs, 16)                                                                        \
    X(IQ2_XS, iq2_xs, 17)                                                                          \
    X(IQ3_XXS, iq3_xxs, 18)                                                                        \
    X(IQ1_S, iq1_s, 19)                                                                            \
    X(IQ4_NL, iq4_nl, 20)                                                                          \
    X(IQ3_S, iq3_s, 21)                                                                            \
    X(IQ2_S, iq2_s, 22)                                                                            \
    X(IQ4_XS, iq4_xs, 23)                                                                          \
    X(IQ1_M, iq1_m, 29)                                                                            \
    X(TQ1_0, tq1_0, 34)                                                                            \
    X(TQ2_0, tq2_0, 35)                                                                            \
    X(MXFP4, mxfp4, 39)                                                                            \
    X(NVFP4, nvfp4, 40)

QK_FN size_t solver_block_bytes(int type)
{
    switch (type) {
#define QK_CASE(NAME, name, id, block_size, block_bytes, use)                                      \
    case id:                                                                                       \
        return block_bytes;
        QK_FORMATS(QK_CASE)
#undef QK_CASE
    default:
        return 0;
    }
}

#include "rows.h"

const qk_solvers QK_JOIN(qk_solvers_, QK_BACKEND_NAME) = {
    gram,          factor_diagonal,    factor_beside,    factor_below, solve_factored,
    solver_layout, solver_unit_floats, solver_workspace, make_units,   solve_rows,
};
