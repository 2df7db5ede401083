/* SPDX-License-Identifier: MIT */
/* Quantizers of all types but the codebook types, a block or a set of blocks a thread. */
#define LANES 1
#include "lane_cuda.h"

#include "../kernels/plain_formats.h"

#include "quantize.cuh"

#define QKC_WARPS 4 /* of a thread block */
#define QKC_ONE(NAME, name, id, size, bytes, use)                                                  \
    QKC_FORMAT(name, id, size, bytes, use, 1, QKC_WARPS)
#define QKC_SET(NAME, name, id, size, bytes, use)                                                  \
    QKC_FORMAT(name, id, size, bytes, use, AFFINE_GROUPS, QKC_WARPS)
QK_PLAIN_FORMATS(QKC_ONE)
QK_BLOCK_SET_FORMATS(QKC_SET)

int qkc_quantize_plain(int type, const qkc_rows *rows, cudaStream_t stream)
{
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        return qkc_queue_quantize<name##_format>(rows, stream);
        QK_PLAIN_FORMATS(QKC_CASE)
        QK_BLOCK_SET_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
}
