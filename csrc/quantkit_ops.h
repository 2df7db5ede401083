/* SPDX-License-Identifier: MIT */
/* What the operations of the forward pass are told, on processors (quantkit.h) and on CUDA
 * (cuda/quantkit_cuda_ops.h).  Arrays are where the operation runs; the structs themselves are in
 * host memory.  [n][m] after the name of an array is what it must hold.
 *
 * Python's cffi reads the part between the two cdef marks; keep it plain C declarations.
 */
#ifndef QUANTKIT_OPS_H
#define QUANTKIT_OPS_H

#include <stddef.h>
#include <stdint.h>

/* cdef begin */
/* Attention with scores scale * q.k: head h of q uses head h / (n_heads / n_kv_heads).  It is
 * causal if there is no mask.  n_heads is a multiple of n_kv_heads; no size but n may be 0. */
typedef struct qk_attention {
    size_t n;      /* queries */
    size_t n_keys; /* n without a mask */
    size_t n_heads, n_kv_heads;
    size_t key_size, value_size; /* components of a head's queries and keys, and of its values */
    size_t window;               /* keys that a query sees, itself included; 0: all before it */
    const uint8_t *mask; /* [n_masks][n][n_keys], not 0 where a query sees a key, whatever its
                            position and the window; or NULL */
    size_t n_masks;      /* 1, or n_kv_heads if each has its own; 0 without a mask */
    float scale, cap;    /* cap: what scores are soft-capped to; 0: nothing */
    const float *slopes; /* [n_heads], what a score loses per position (ALiBi), or NULL */
    const float *sinks;  /* [n_heads], the score of a key without a value, or NULL */
} qk_attention;

/* How well keys fit queries, by which some attention chooses its keys: the sum over heads of
 * weight * q.k, or of weight * max(q.k, 0) (lightning indexer).  No size but n may be 0. */
typedef struct qk_index {
    size_t n, n_keys; /* queries and keys */
    size_t n_heads;   /* of the queries; they share the keys */
    size_t size;      /* components of a query or key */
    int rectified;    /* 1: negative products count as 0 */
} qk_index;

/* RMSNorm of rows, or LayerNorm. */
typedef struct qk_norm {
    size_t n_rows, width;       /* n_rows is a multiple of n_heads */
    size_t n_heads;             /* rows that weight and bias have; row i takes i % n_heads */
    const float *weight, *bias; /* [n_heads][width], or NULL for none */
    float epsilon;              /* added to the mean square */
    int centered;               /* 1: the mean is taken away first (LayerNorm) */
} qk_norm;

/* Functions of a number, each within the error that ops/ states. */
typedef enum qk_function {
    QK_EXP = 0,
    QK_TANH = 1,
    QK_ERF = 2,
    QK_SIGMOID = 3,
    QK_SILU = 4,
    QK_GELU = 5,      /* with the error function */
    QK_GELU_TANH = 6, /* with a hyperbolic tangent */
    QK_RELU = 7,
    QK_SOFTPLUS = 8 /* log(1 + exp(x)) */
} qk_function;

/* Rotary position embedding of x, in place: n positions of n_heads heads, each 2 * n_pairs floats
 * at x + position * stride + head * head_stride.  No two of them share a float. */
typedef struct qk_rotation {
    size_t n, n_heads;
    size_t stride, head_stride; /* floats from a position to the next, from a head to the next */
    size_t n_pairs;             /* components of a head that rotate, in pairs */
    int interleaved;            /* pairs are neighbours; else n_pairs components apart */
} qk_rotation;

/* What is kept of the softmax of a row of logits.  Before the first: highest -INFINITY, total 0. */
typedef struct qk_softmax {
    double total;  /* sum of exp(logit - highest) */
    int64_t top;   /* the first token that has the highest logit */
    float highest; /* logit so far */
    float wanted;  /* the target's logit, once it has come */
} qk_softmax;

/* A tile of rows of logits: tokens first .. first + n_cols - 1, n_cols > 0, first >= 0. */
typedef struct qk_tile {
    size_t n_rows, n_cols;
    size_t stride; /* floats from a row to the next, >= n_cols */
    int64_t first;
    const int64_t *targets; /* [n_rows], the tokens that came; any number: one that is no token of
                               any tile leaves `wanted` as it was */
} qk_tile;

/* ---- Recurrent layers: what a position gives depends on those before it ---- */

/* Each channel's causal convolution with weights of its own. */
typedef struct qk_convolution {
    size_t n, n_channels, n_taps;
    const float *weight; /* [n_taps][n_channels], the last for the position itself */
    const float *bias;   /* [n_channels], or NULL for none */
} qk_convolution;

/* Heads with a state S [key_size][value_size], 0 at first.  Each position does
 *     S = exp(decay) S, row by row;  S += beta k (v - k^T S)^T;  out = scale q^T S
 * and without beta, linear attention: S += k v^T.  Head h uses the queries and keys of head
 * h / (n_heads / n_key_heads).  n_heads is a multiple of n_key_heads; no size but n may be 0. */
typedef struct qk_recurrence {
    size_t n; /* positions */
    size_t n_heads, n_key_heads;
    size_t key_size, value_size;
    size_t decay_size; /* decays of a head at a position: 1, or key_size */
    float scale;
    const float *beta; /* [n][n_heads], or NULL */
} qk_recurrence;

/* Channels with n_states states h, 0 at first.  Each position does
 *     h = exp(dt a) h + dt x b;  y = c^T h + d x */
typedef struct qk_scan {
    size_t n, n_channels, n_states; /* n_states is not 0 */
} qk_scan;

typedef struct qk_scan_inputs {
    const float *x, *dt; /* [n][n_channels] */
    const float *a;      /* [n_channels][n_states] */
    const float *b, *c;  /* [n][n_states] */
    const float *d;      /* [n_channels] */
} qk_scan_inputs;

/* Heads of RWKV-7 with a state S [key_size][value_size], 0 at first.  Each position does
 *     S = exp(decay) S + renewed (removed^T S)^T + k v^T;  out = r^T S
 * row by row; what is removed is of the state before.  No size but n may be 0. */
typedef struct qk_wkv {
    size_t n, n_heads, key_size, value_size;
} qk_wkv;

typedef struct qk_wkv_inputs {
    const float *r, *decay, *k;     /* [n][n_heads][key_size] */
    const float *v;                 /* [n][n_heads][value_size] */
    const float *removed, *renewed; /* [n][n_heads][key_size] */
} qk_wkv_inputs;
/* cdef end */

#endif
