/* SPDX-License-Identifier: MIT */
/* Calibrated rounding on CUDA: qk_solve_rows and qk_gram (../quantkit.h) with the same results, bit
 * for bit.  See quantkit_cuda.h for statuses and streams.
 *
 * A row that is solved is a thread's.  What it works with is in local memory, of which the driver
 * keeps some for every thread that the device can hold: 10 KB each, and 21 KB for the ternary
 * types. */
#ifndef QUANTKIT_CUDA_SOLVER_H
#define QUANTKIT_CUDA_SOLVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cdef begin */
/* What solving the rows of a matrix shares: qk_solver_plan, of which the orders are in host memory
 * and may go after a call, the numbers in device memory. */
typedef struct qkc_solver_plan {
    size_t n_cols;
    const int32_t *unit_order;
    const uint8_t *group_order;
    const float *units, *feedback;
} qkc_solver_plan;

/* Bytes of scratch that qkc_solve_rows needs; QKC_UNKNOWN_TYPE where there is no solver. */
int qkc_solver_scratch(int type, size_t n_rows, size_t n_cols, size_t *bytes);
/* device x f32 [n_rows][n_cols], finite -> device out [n_rows][row bytes] and device errors f64
 * [n_rows], the error of each row under H.  device scratch, of any alignment. */
int qkc_solve_rows(int type, const qkc_solver_plan *plan, const float *x, size_t n_rows,
                   uint8_t *out, double *errors, void *scratch, size_t scratch_bytes, void *stream);

/* sums f64 [n_rows][n_b] += what qk_gram gives, from column `first` on; the columns before it stay.
 * device a f32 [n_tokens][a_stride], of which each row has n_rows columns (here a row is a token),
 * device b f32 [n_tokens][n_b]. */
int qkc_add_gram(const float *a, size_t a_stride, size_t n_rows, const float *b, size_t n_b,
                 size_t n_tokens, size_t first, double *sums, void *stream);
/* cdef end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
