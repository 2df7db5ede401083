/* SPDX-License-Identifier: MIT */
/* The GGUF types that are built in, once: every table and switch is made from this list.
 * Numbers and sizes: GGUF format document, `ggml_type`. */
#ifndef QK_FORMATS_H
#define QK_FORMATS_H

/* What a type's quantizer makes of importance. */
typedef enum qk_importance_use {
    QK_IMPORTANCE_IGNORED,
    QK_IMPORTANCE_USED,
    QK_IMPORTANCE_NEEDED /* there is no rule without */
} qk_importance_use;

/* X(NAME, name, GGUF type number, weights per block, bytes per block, use of importance) */
#define QK_ITEM_FORMATS(X)                                                                         \
    X(F32, f32, 0, 1, 4, IGNORED)                                                                  \
    X(F16, f16, 1, 1, 2, IGNORED)                                                                  \
    X(BF16, bf16, 30, 1, 2, IGNORED)

#define QK_PLAIN_FORMATS(X)                                                                        \
    X(Q4_0, q4_0, 2, 32, 18, USED)                                                                 \
    X(Q5_0, q5_0, 6, 32, 22, USED)                                                                 \
    X(Q8_0, q8_0, 8, 32, 34, IGNORED)                                                              \
    X(TQ1_0, tq1_0, 34, 256, 54, IGNORED)                                                          \
    X(TQ2_0, tq2_0, 35, 256, 66, IGNORED)                                                          \
    X(MXFP4, mxfp4, 39, 32, 17, IGNORED)                                                           \
    X(NVFP4, nvfp4, 40, 64, 36, IGNORED)                                                           \
    X(Q1_0, q1_0, 41, 128, 18, IGNORED)                                                            \
    X(Q2_0, q2_0, 42, 64, 18, IGNORED)                                                             \
    X(Q2_K, q2_k, 10, 256, 84, USED)                                                               \
    X(Q3_K, q3_k, 11, 256, 110, USED)                                                              \
    X(Q4_K, q4_k, 12, 256, 144, USED)                                                              \
    X(Q5_K, q5_k, 13, 256, 176, USED)                                                              \
    X(Q6_K, q6_k, 14, 256, 210, USED)                                                              \
    X(IQ4_NL, iq4_nl, 20, 32, 18, USED)                                                            \
    X(IQ4_XS, iq4_xs, 23, 256, 136, USED)

/* Formats whose blocks are made of entries of a codebook. */
#define QK_CODEBOOK_FORMATS(X)                                                                     \
    X(IQ1_S, iq1_s, 19, 256, 50, NEEDED)                                                           \
    X(IQ1_M, iq1_m, 29, 256, 56, USED)                                                             \
    X(IQ2_XXS, iq2_xxs, 16, 256, 66, NEEDED)                                                       \
    X(IQ2_XS, iq2_xs, 17, 256, 74, NEEDED)                                                         \
    X(IQ2_S, iq2_s, 22, 256, 82, USED)                                                             \
    X(IQ3_XXS, iq3_xxs, 18, 256, 98, USED)                                                         \
    X(IQ3_S, iq3_s, 21, 256, 110, USED)

#define QK_BLOCK_FORMATS(X) QK_PLAIN_FORMATS(X) QK_CODEBOOK_FORMATS(X)

/* The same for formats of which a lane takes a set of blocks at once (search_affine.h). */
#define QK_BLOCK_SET_FORMATS(X)                                                                    \
    X(Q4_1, q4_1, 3, 32, 20, USED)                                                                 \
    X(Q5_1, q5_1, 7, 32, 24, USED)

#define QK_FORMATS(X) QK_ITEM_FORMATS(X) QK_BLOCK_FORMATS(X) QK_BLOCK_SET_FORMATS(X)

#define QK_SUPERBLOCK 256 /* weights in a block of the K, IQ and TQ types */

/* The largest block, for tiles on the stack. */
#define QK_MAX_BLOCK_SIZE QK_SUPERBLOCK
#define QK_MAX_BLOCK_BYTES 210

#endif
