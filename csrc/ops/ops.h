/* SPDX-License-Identifier: MIT */
/* The other half of a backend: the forward pass on one instruction set, or a variant of it.
 *
 * The matrix product is y [m][n] = x [m][k] times the transpose of w [n][k], w in GGUF blocks.  x
 * is packed first, once for all matrices that take it; how, depends on the precision and on the
 * type of w (qk_packing of quantkit.h).  Like everything here, it is under a promise of accuracy,
 * not of bytes: fused multiply-adds are welcome, the order of sums follows from the shapes alone.
 */
#ifndef QK_OPS_H
#define QK_OPS_H

#include "../formats/formats.h"
#include "../quantkit.h"

/* Columns of activations that share a scale. */
#define QK_GROUP 32
#define QK_COLUMNS_PER_SCALE(packing)                                                              \
    ((packing) == QK_PACKED_F32 ? 1 : (packing) == QK_PACKED_Q8_K ? QK_SUPERBLOCK : QK_GROUP)

/* Columns of matrices that are summed by themselves, so that a tile of so many stays in the second
 * cache; then their sums are added up. */
#define QK_K_STEP 2048

/* How activations of 8 bits are packed for weights in such blocks: as llama.cpp's CPU path has them
 * (vec_dot_type of ggml_type_traits_cpu). */
#define QK_Q8_PACKING(block_size) ((block_size) == QK_SUPERBLOCK ? QK_PACKED_Q8_K : QK_PACKED_Q8_0)

typedef struct qk_ops {
    const char *name;       /* such as avx512_vnni */
    size_t workspace_bytes; /* of one call of matmul */
    size_t (*packed_bytes)(qk_packing packing, size_t m, size_t k);
    void (*pack)(qk_packing packing, const float *x, size_t m, size_t k, uint8_t *out);
    void (*matmul)(int type, qk_packing packing, const uint8_t *x, size_t m, const uint8_t *w,
                   size_t n, size_t k, float *y, size_t y_stride, uint8_t *workspace);
    size_t (*attention_workspace)(const qk_attention *what);
    void (*attention)(const qk_attention *what, const float *q, const float *k, const float *v,
                      float *out, void *workspace);
    size_t (*index_workspace)(const qk_index *what);
    void (*index_scores)(const qk_index *what, const float *q, const float *k, const float *weights,
                         float *out, void *workspace);
    void (*norm_rows)(const qk_norm *what, const float *x, float *y);
    void (*activate)(qk_function function, const float *x, const float *up, size_t n, float *out);
    void (*swiglu_clamped)(const float *gate, const float *up, size_t n, float *out);
    void (*soft_cap)(const float *x, float cap, size_t n, float *out);
    void (*rotate)(const qk_rotation *what, const float *turns, float *x);
    void (*add_logits)(const qk_tile *tile, const float *logits, qk_softmax *rows);
    void (*compare_logits)(const qk_tile *tile, const float *logits, const float *base_logits,
                           qk_softmax *rows, qk_softmax *base, double *excess);
    void (*short_convolution)(const qk_convolution *what, const float *x, float *y);
    size_t (*recurrence_workspace)(const qk_recurrence *what);
    void (*recur)(const qk_recurrence *what, const float *q, const float *k, const float *v,
                  const float *decay, float *out, void *workspace);
    size_t (*scan_workspace)(const qk_scan *what);
    void (*selective_scan)(const qk_scan *what, const qk_scan_inputs *in, float *y,
                           void *workspace);
    size_t (*wkv_workspace)(const qk_wkv *what);
    void (*wkv7)(const qk_wkv *what, const qk_wkv_inputs *in, float *out, void *workspace);
} qk_ops;

extern const qk_ops qk_ops_scalar;
#ifdef QK_X86
extern const qk_ops qk_ops_avx2;
extern const qk_ops qk_ops_avx2_fma;
extern const qk_ops qk_ops_avx512;
extern const qk_ops qk_ops_avx512_vnni;
#endif
#ifdef QK_NEON
extern const qk_ops qk_ops_neon;
extern const qk_ops qk_ops_neon_dotprod;
#endif

#endif
