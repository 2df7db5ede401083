/* SPDX-License-Identifier: MIT */
/* What the checks (rows.cu) hand to the kernels of each group of types. */
#ifndef QKC_ROWS_H
#define QKC_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "../formats/formats.h"
#include "simt.h"

/* Rows to quantize, all in device memory. */
struct qkc_rows {
    const float *x, *importance; /* importance: NULL where the type makes no use of it */
    const float *mean_square;    /* of each row; NULL where it is not asked for */
    size_t n_blocks, per_row;    /* blocks in all and in a row */
    uint8_t *out;
    unsigned long long *bad; /* the least index of a weight that is not finite, or all bits set */
};

/* Bytes to dequantize. */
struct qkc_blocks {
    const uint8_t *data;
    size_t n_blocks;
    int out_type; /* F32, F16 or BF16 */
    void *out;
};

enum qkc_item { QKC_F32 = 0, QKC_F16 = 1, QKC_BF16 = 30 };

/* Codebook types of which a warp takes 32 blocks, and for each choice of an entry the 32 threads
 * try entries side by side.  Of the others each thread tries them one after the other: their lists
 * have 4 to 8 entries on the average (neighbours.h), those of the former 13 to 73. */
constexpr bool qkc_is_by_warps(int type)
{
    return type == 19 /* IQ1_S */ || type == 29 /* IQ1_M */ || type == 16 /* IQ2_XXS */ ||
           type == 17 /* IQ2_XS */;
}

/* Each queues the kernel of a type that it knows and gives a status, or QKC_UNKNOWN_TYPE. */
int qkc_quantize_items(int type, const qkc_rows *rows, cudaStream_t stream);
int qkc_quantize_plain(int type, const qkc_rows *rows, cudaStream_t stream);
int qkc_quantize_by_threads(int type, const qkc_rows *rows, cudaStream_t stream);
int qkc_quantize_by_warps(int type, const qkc_rows *rows, cudaStream_t stream);
int qkc_dequantize_items(int type, const qkc_blocks *blocks, cudaStream_t stream);
int qkc_dequantize_blocks(int type, const qkc_blocks *blocks, cudaStream_t stream);

#endif
