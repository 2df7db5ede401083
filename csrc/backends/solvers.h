/* SPDX-License-Identifier: MIT */
/* Calibrated rounding, compiled for one instruction set together with its quantizers. */
#ifndef QK_SOLVERS_H
#define QK_SOLVERS_H

#include "../quantkit.h"

typedef struct qk_solvers {
    void (*gram)(const float *a, size_t n_rows, const float *b, size_t n_b, size_t n_tokens,
                 size_t first, double *sums);
    size_t (*factor_diagonal)(double *h, size_t n, size_t at, size_t size);
    void (*factor_beside)(double *h, size_t n, size_t at, size_t size, size_t first, size_t count);
    void (*factor_below)(double *h, size_t n, size_t at, size_t size, size_t first, size_t count);
    void (*solve_factored)(const double *r, size_t n, double *x, size_t stride, size_t n_cols);
    int (*layout)(int type, size_t *unit, size_t *group);
    size_t (*unit_floats)(int type);
    size_t (*workspace)(size_t n_cols);
    void (*make_units)(int type, const double *r, size_t n, size_t first, size_t count,
                       double *work, float *units, float *feedback);
    void (*solve_rows)(int type, const qk_solver_plan *plan, const float *x, size_t n_rows,
                       uint8_t *workspace, uint8_t *out, double *errors);
} qk_solvers;

extern const qk_solvers qk_solvers_scalar;
#ifdef QK_X86
extern const qk_solvers qk_solvers_avx2;
extern const qk_solvers qk_solvers_avx512;
#endif
#ifdef QK_NEON
extern const qk_solvers qk_solvers_neon;
#endif

#endif
