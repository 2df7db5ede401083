/* SPDX-License-Identifier: MIT */
/* The forward pass on CUDA: the counterparts of the operations of quantkit.h, with the same sizes
 * and meaning, and what is left of them without workspaces.  See quantkit_cuda.h for statuses and
 * streams, and ../quantkit_ops.h for the structs: they are in host memory and may go after the
 * call, what they point at and all other arrays are in device memory.
 *
 * Results are the same in every run, and do not depend on the device: sums have a fixed order,
 * which is not that of the processor. */
#ifndef QUANTKIT_CUDA_OPS_H
#define QUANTKIT_CUDA_OPS_H

#include "../quantkit_ops.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cdef begin */
/* The product y f32 [m][n_rows], rows y_stride apart, of x f32 [m][n_cols] and the transpose of
 * weights [n_rows][row bytes] of a type with blocks.  x is packed before, as codes of 16 or 8 bits;
 * the packing is a qk_packing of quantkit.h, all but QK_PACKED_F32.  packed and workspace are
 * aligned to 16 bytes and have the bytes that are told. */
int qkc_packed_bytes(int packing, size_t m, size_t n_cols, size_t *bytes);
int qkc_pack_activations(int packing, const float *x, size_t m, size_t n_cols, void *packed,
                         void *stream);
int qkc_matmul_workspace(int type, size_t n_rows, size_t n_cols, size_t *bytes);
int qkc_matmul(int type, int packing, const void *packed, size_t m, const uint8_t *weights,
               size_t n_rows, size_t n_cols, float *y, size_t y_stride, void *workspace,
               void *stream);

/* q f32 [n][n_heads][key_size], k [n_keys][n_kv_heads][key_size], v
 * [n_keys][n_kv_heads][value_size] -> out [n][n_heads][value_size], NaN of a query that sees no key
 * and has no sink. */
int qkc_attend(const qk_attention *what, const float *q, const float *k, const float *v, float *out,
               void *stream);
/* q f32 [n][n_heads][size], k [n_keys][size], weights [n][n_heads] -> out [n][n_keys]. */
int qkc_index_scores(const qk_index *what, const float *q, const float *k, const float *weights,
                     float *out, void *stream);

/* x f32 [n_rows][width] -> y likewise. */
int qkc_norm_rows(const qk_norm *what, const float *x, float *y, void *stream);
/* out[i] = function(x[i]), times up[i] where up is not NULL: each [n]; out may be x or up. */
int qkc_activate(int function, const float *x, const float *up, size_t n, float *out, void *stream);
/* out = gate * sigmoid(1.702 gate) * (up + 1), gate at most 7 and up from -7 to 7: each [n]; out
 * may be gate or up. */
int qkc_swiglu_clamped(const float *gate, const float *up, size_t n, float *out, void *stream);
/* out = cap * tanh(x / cap): each [n]; out may be x. */
int qkc_soft_cap(const float *x, float cap, size_t n, float *out, void *stream);
/* turns f32 [n][n_pairs][2]: cosine and sine of each position and pair. */
int qkc_rotate(const qk_rotation *what, const float *turns, float *x, void *stream);

/* x f32 [n][n_channels] -> y likewise; before the first position, x is 0. */
int qkc_short_convolution(const qk_convolution *what, const float *x, float *y, void *stream);
/* The most components of keys that states may have here. */
#define QKC_MOST_KEY_SIZE 1024
/* q and k f32 [n][n_key_heads][key_size], v [n][n_heads][value_size], decay
 * [n][n_heads][decay_size] -> out [n][n_heads][value_size]. */
int qkc_recur(const qk_recurrence *what, const float *q, const float *k, const float *v,
              const float *decay, float *out, void *stream);
/* -> y f32 [n][n_channels]. */
int qkc_selective_scan(const qk_scan *what, const qk_scan_inputs *in, float *y, void *stream);
/* -> out f32 [n][n_heads][value_size]. */
int qkc_wkv7(const qk_wkv *what, const qk_wkv_inputs *in, float *out, void *stream);

/* Takes a tile into rows [n_rows]: logits f32 [n_rows][n_cols], rows tile->stride floats apart. */
int qkc_add_logits(const qk_tile *tile, const float *logits, qk_softmax *rows, void *stream);
/* The same of a model's logits and its base's, both so shaped, into rows and base [n_rows]; excess
 * f64 [n_rows] becomes the sum of exp(b - highest of the base) * (b - l) of their logits l and b.
 * Of equal logits it is exactly 0, and both rows are equal. */
int qkc_compare_logits(const qk_tile *tile, const float *logits, const float *base_logits,
                       qk_softmax *rows, qk_softmax *base, double *excess, void *stream);
/* The highest logits that are kept of a row. */
#define QKC_N_BEST 5
/* Takes a tile into the highest logits of each row so far and their tokens, the highest first; of
 * equal ones the lowest token.  best f32 [n_rows][QKC_N_BEST] and tokens i64 likewise; before the
 * first tile -INFINITY and -1.  NaN is never among them; the targets are not read. */
int qkc_best_logits(const qk_tile *tile, const float *logits, float *best, int64_t *tokens,
                    void *stream);
/* cdef end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
