/* SPDX-License-Identifier: MIT */
/* The C API of quantkit: pure functions over rows, no threads, no state but what
 * the processor is taken to have and which memory is guarded.
 *
 * A row is `n_cols` weights, a whole number of the type's blocks.  Every function may be called
 * from many threads at once.  On any status but QK_OK the output is untouched, save that
 * QK_NOT_FINITE may leave the rows before the weight that is not.
 *
 * [n][m] after the name of an array is what it must hold: a call reads or writes no byte beyond.
 * Floats, words and structs are aligned to their size, or to 8 bytes if that is less; bytes need
 * not be.  Arrays that are written share no bytes with others, except where "may be" says so.  A
 * call checks all of this that it can, before it touches memory: sizes and strides, NULL (allowed
 * for arrays without items), alignment, overlap.  It cannot know how much memory there is.
 *
 * Python's cffi reads the part between the two cdef marks, after that of quantkit_ops.h; keep it
 * plain C declarations.
 */
#ifndef QUANTKIT_H
#define QUANTKIT_H

#include <stddef.h>
#include <stdint.h>

#include "quantkit_ops.h"

/* cdef begin */
/* What a call came to. */
typedef enum qk_status {
    QK_OK = 0,
    QK_UNKNOWN_BACKEND = 1,  /* no backend has this index */
    QK_UNUSABLE_BACKEND = 2, /* this processor or operating system lacks it */
    QK_UNKNOWN_TYPE = 3,     /* not a GGUF type that is built in */
    QK_BAD_SHAPE = 4,        /* a row is not a whole number of blocks, sizes do not fit each other,
                                or overflow */
    QK_NOT_FINITE = 5,       /* a weight is NaN or infinite; *bad_index tells which */
    QK_BAD_IMPORTANCE = 6,   /* an importance is NaN, infinite or negative */
    QK_NEEDS_IMPORTANCE = 7, /* the type cannot be quantized to without importance */
    QK_UNKNOWN_PACKING = 8,  /* no such precision or packing, or not for weights of this type */
    QK_UNKNOWN_FUNCTION = 9, /* no such function of a number */
    QK_BAD_ARRAY = 10        /* an array is NULL, not aligned, or shares bytes with another */
} qk_status;

/* Backends are numbered from 0, the best first; the last is always "scalar". */
int qk_backend_count(void);
const char *qk_backend_name(int backend);
int qk_backend_lanes(int backend);
/* 1 if this machine can run the backend, else 0. */
int qk_backend_usable(int backend);
/* The variant of the backend's forward pass that this machine runs, such as "avx512_vnni"; NULL if
 * it cannot run the backend. */
const char *qk_backend_ops_name(int backend);
/* The features for want of which this machine cannot run the backend: bit i is feature i. */
uint32_t qk_backend_lacks(int backend);

/* What instructions need of the processor and the operating system, such as "avx2". */
int qk_cpu_feature_count(void);
const char *qk_cpu_feature_name(int feature);
/* For tests: from here on the core takes the machine to lack these features, and has all others
 * that it finds.  Activations that were packed before are then of no use. */
void qk_disable_cpu_features(uint32_t features);

/* Weights and bytes per block of a built-in type, by GGUF type number. */
qk_status qk_type_layout(int type, size_t *block_size, size_t *block_bytes);
/* 1 if importance changes what a type is quantized to, else 0. */
int qk_type_uses_importance(int type);
/* 1 if the type cannot be quantized to without importance, else 0. */
int qk_type_needs_importance(int type);

/* x f32 [n_rows][n_cols] -> out [n_rows][row bytes].  importance f32 [n_cols] or NULL.
 * On QK_NOT_FINITE, *bad_index is the index in x of the first such weight; on QK_BAD_IMPORTANCE,
 * that in importance. */
qk_status qk_quantize_rows(int backend, int type, const float *x, const float *importance,
                           size_t n_rows, size_t n_cols, uint8_t *out, size_t *bad_index);

/* data [n_rows][row bytes] -> out f32 [n_rows][n_cols]. */
qk_status qk_dequantize_rows(int backend, int type, const uint8_t *data, size_t n_rows,
                             size_t n_cols, float *out);

/* For tests: one lane op of a backend on memory.  a, b, c, out: int32 [lanes * lanes]. */
int qk_lane_op_count(void);
const char *qk_lane_op_name(int op);
qk_status qk_lane_op(int backend, int op, const int32_t *a, const int32_t *b, const int32_t *c,
                     int32_t *out);

/* How exactly activations are held in a matrix product. */
typedef enum qk_precision {
    QK_F32 = 0, /* as they are */
    QK_I16 = 1, /* 16-bit codes, a scale per 32 */
    QK_Q8 = 2   /* 8-bit codes, as llama.cpp's CPU path has them for the type of the weights */
} qk_precision;

/* How they are packed, which depends on the weights too: F16, BF16 and F32 weights take f32. */
typedef enum qk_packing {
    QK_PACKED_F32 = 0,
    QK_PACKED_I16 = 1,
    QK_PACKED_Q8_0 = 2, /* for blocks of 32: a half-precision scale per 32 */
    QK_PACKED_Q8_K = 3  /* for blocks of 256: a float scale per 256 */
} qk_packing;

/* The packing for weights of a type; activations may be packed once for all weights that share it.
 */
qk_status qk_packing_for(int type, int precision, qk_packing *packing);
/* Bytes of x f32 [m][k] packed, and of the workspace of a product.  They depend on the variant of
 * the forward pass. */
qk_status qk_packed_bytes(int backend, int packing, size_t m, size_t k, size_t *bytes);
qk_status qk_matmul_workspace(int backend, size_t *bytes);
/* x f32 [m][k] -> packed [qk_packed_bytes], aligned to 4 bytes. */
qk_status qk_pack_activations(int backend, int packing, const float *x, size_t m, size_t k,
                              void *packed);
/* y f32 [m][n_rows], rows y_stride >= n_rows floats apart: x [m][n_cols], packed
 * [qk_packed_bytes(m, n_cols)], times the transpose of weights [n_rows][row bytes] of n_cols each;
 * workspace [qk_matmul_workspace].  Sums are taken in an order that depends on the backend, the
 * packing and n_cols alone. */
qk_status qk_matmul(int backend, int type, int packing, const void *packed, size_t m,
                    const uint8_t *weights, size_t n_rows, size_t n_cols, float *y, size_t y_stride,
                    void *workspace);

/* ---- The forward pass: quantkit_ops.h has what it is told ---- */

qk_status qk_attention_workspace(int backend, const qk_attention *what, size_t *bytes);
/* q f32 [n][n_heads][key_size], k [n_keys][n_kv_heads][key_size], v
 * [n_keys][n_kv_heads][value_size]
 * -> out [n][n_heads][value_size], NaN of a query that sees no key and has no sink; workspace
 * [qk_attention_workspace]. */
qk_status qk_attend(int backend, const qk_attention *what, const float *q, const float *k,
                    const float *v, float *out, void *workspace);

qk_status qk_index_workspace(int backend, const qk_index *what, size_t *bytes);
/* q f32 [n][n_heads][size], k [n_keys][size], weights [n][n_heads] -> out [n][n_keys]; workspace
 * [qk_index_workspace]. */
qk_status qk_index_scores(int backend, const qk_index *what, const float *q, const float *k,
                          const float *weights, float *out, void *workspace);

/* x f32 [n_rows][width] -> y likewise. */
qk_status qk_norm_rows(int backend, const qk_norm *what, const float *x, float *y);

/* out[i] = function(x[i]), times up[i] where up is not NULL: each [n]; out may be x or up. */
qk_status qk_activate(int backend, int function, const float *x, const float *up, size_t n,
                      float *out);
/* out = gate * sigmoid(1.702 gate) * (up + 1), gate at most 7 and up from -7 to 7 (gpt-oss):
 * each [n]; out may be gate or up. */
qk_status qk_swiglu_clamped(int backend, const float *gate, const float *up, size_t n, float *out);
/* out = cap * tanh(x / cap): each [n]; out may be x. */
qk_status qk_soft_cap(int backend, const float *x, float cap, size_t n, float *out);

/* turns f32 [n][n_pairs][2]: cosine and sine of each position and pair. */
qk_status qk_rotate(int backend, const qk_rotation *what, const float *turns, float *x);

/* Takes a tile into rows [n_rows]: logits f32 [n_rows][n_cols], rows tile->stride floats apart. */
qk_status qk_add_logits(int backend, const qk_tile *tile, const float *logits, qk_softmax *rows);
/* The same of a model's logits and its base's, both so shaped, into rows and base [n_rows]; excess
 * [n_rows] becomes the sum of
 * exp(b - highest of the base) * (b - l) of their logits l and b. */
qk_status qk_compare_logits(int backend, const qk_tile *tile, const float *logits,
                            const float *base_logits, qk_softmax *rows, qk_softmax *base,
                            double *excess);

/* x f32 [n][n_channels] -> y likewise; before the first position, x is 0. */
qk_status qk_short_convolution(int backend, const qk_convolution *what, const float *x, float *y);

qk_status qk_recurrence_workspace(int backend, const qk_recurrence *what, size_t *bytes);
/* q and k f32 [n][n_key_heads][key_size], v [n][n_heads][value_size], decay
 * [n][n_heads][decay_size] -> out [n][n_heads][value_size]; workspace [qk_recurrence_workspace]. */
qk_status qk_recur(int backend, const qk_recurrence *what, const float *q, const float *k,
                   const float *v, const float *decay, float *out, void *workspace);

qk_status qk_scan_workspace(int backend, const qk_scan *what, size_t *bytes);
/* -> y f32 [n][n_channels]; workspace [qk_scan_workspace]. */
qk_status qk_selective_scan(int backend, const qk_scan *what, const qk_scan_inputs *in, float *y,
                            void *workspace);

qk_status qk_wkv_workspace(int backend, const qk_wkv *what, size_t *bytes);
/* -> out f32 [n][n_heads][value_size]; workspace [qk_wkv_workspace]. */
qk_status qk_wkv7(int backend, const qk_wkv *what, const qk_wkv_inputs *in, float *out,
                  void *workspace);

/* ---- Calibrated rounding: docs/calibration.md ---- */

/* a f32 [n_rows][n_tokens], each row one input at all tokens, b f32 [n_tokens][n_b] -> sums f64
 * [n_rows][n_b]: a times b, from column `first` of b on, 0 in the columns before it.  Tokens are
 * summed in order, 256 at a time in float, and these sums in double. */
qk_status qk_gram(int backend, const float *a, size_t n_rows, const float *b, size_t n_b,
                  size_t n_tokens, size_t first, double *sums);

/* The Cholesky factor of the symmetric matrix h f64 [n][n], of which only the upper triangle is
 * read, in its place: H = R^T R, R upper triangular.  A block of `size` rows at `at` takes three
 * steps, of which the last two may be done in ranges by several threads at a time:
 * the diagonal block; *done is less than size if H is not positive definite; */
qk_status qk_factor_diagonal(int backend, double *h, size_t n, size_t at, size_t size,
                             size_t *done);
/* the rows of the block in columns first .. first + count - 1, all right of it; */
qk_status qk_factor_beside(int backend, double *h, size_t n, size_t at, size_t size, size_t first,
                           size_t count);
/* what remains of H in rows first .. first + count - 1, all below it. */
qk_status qk_factor_below(int backend, double *h, size_t n, size_t at, size_t size, size_t first,
                          size_t count);
/* x f64 [n][stride], columns 0 .. n_cols - 1 -> (R^T R)^-1 x, r f64 [n][n] as above. */
qk_status qk_solve_factored(int backend, const double *r, size_t n, double *x, size_t stride,
                            size_t n_cols);

/* What solving the rows of a matrix shares. */
typedef struct qk_solver_plan {
    size_t n_cols;
    const int32_t *unit_order;  /* [units], the block of the file at each place */
    const uint8_t *group_order; /* [units][groups of a unit], the group of the block likewise */
    const float *units;         /* [units][qk_solver_floats] */
    const float *feedback;      /* [n_cols][n_cols] */
} qk_solver_plan;

/* Columns of a type's unit, which is its block, and of a group in it, which has a scale;
 * QK_UNKNOWN_TYPE where there is no solver. */
qk_status qk_solver_layout(int type, size_t *unit, size_t *group);
/* Floats that a plan has for each unit, and doubles that making it needs. */
qk_status qk_solver_floats(int type, size_t *floats, size_t *work);
/* Bytes of the workspace of solving, for rows of n_cols. */
qk_status qk_solver_workspace(int backend, size_t n_cols, size_t *bytes);
/* r f64 [n][n], the factor of H with the columns in the order of solving -> units first .. first +
 * count - 1 of a plan: units f32 [count][qk_solver_floats], feedback f32 [count * unit][n]; work
 * f64 [qk_solver_floats]. */
qk_status qk_make_units(int backend, int type, const double *r, size_t n, size_t first,
                        size_t count, double *work, float *units, float *feedback);
/* x f32 [n_rows][n_cols], finite -> out [n_rows][row bytes] and errors f64 [n_rows], the error of
 * each row under H. */
qk_status qk_solve_rows(int backend, int type, const qk_solver_plan *plan, const float *x,
                        size_t n_rows, uint8_t *workspace, uint8_t *out, double *errors);

/* Memory of mapped files, in which a page that cannot be read any more, because the file was
 * truncated or the disk failed, is replaced by zeros instead of ending the process. */
typedef struct qk_guard qk_guard;
/* Guards start [n_bytes]; NULL if the system has no such faults, or if it cannot be done. */
qk_guard *qk_guard_begin(const void *start, size_t n_bytes);
/* The number of pages that were replaced; a guard may be NULL. */
size_t qk_guard_faults(const qk_guard *guard);
/* Before or after the memory is unmapped; the guard must not be used again. */
void qk_guard_end(qk_guard *guard);

/* cdef end */

#endif
