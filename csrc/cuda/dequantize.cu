/* SPDX-License-Identifier: MIT */
/* Dequantizers of all types with blocks: half a warp takes a block, consecutive weights a thread.
 */
#define LANES 16
#include "lane_cuda.h"

#define QK_NEIGHBOUR_TABLES "../cuda/no_neighbours.cuh"
#include "../kernels/codebook_formats.h"
#include "../kernels/plain_formats.h"

#include "convert.cuh"
#include "quantkit_cuda.h"

#define QKC_THREADS 256
#define QKC_BLOCKS (QKC_THREADS / LANES) /* of weights, in a thread block */

#define QKC_FORMAT(NAME, name, id, size, bytes, use)                                               \
    struct name##_format {                                                                         \
        static constexpr int block_size = size, block_bytes = bytes;                               \
        QK_INLINE void dequantize(const uint8_t *block, float *y)                                  \
        {                                                                                          \
            name##_dequantize(block, 1, y);                                                        \
        }                                                                                          \
    };
QK_BLOCK_FORMATS(QKC_FORMAT)
QK_BLOCK_SET_FORMATS(QKC_FORMAT)

template <class F, class Out> __global__ void dequantize_kernel(qkc_blocks blocks)
{
    const size_t b = (size_t)blockIdx.x * QKC_BLOCKS + threadIdx.x / LANES;
    if (b >= blocks.n_blocks) {
        return;
    }
    Out *out = (Out *)blocks.out + b * F::block_size;
    if constexpr (sizeof(Out) == sizeof(float)) {
        F::dequantize(blocks.data + b * F::block_bytes, (float *)out);
    } else {
        __shared__ float rows[QKC_BLOCKS][F::block_size];
        float *y = rows[threadIdx.x / LANES];
        F::dequantize(blocks.data + b * F::block_bytes, y);
        for (int i = 0; i < F::block_size; i += LANES) { /* each lane loads what it has stored */
            qkc_put(out + i + QKC_LANE, lf32_load(y + i));
        }
    }
}

template <class F, class Out> int queue(const qkc_blocks *blocks, cudaStream_t stream)
{
    const size_t n = (blocks->n_blocks + QKC_BLOCKS - 1) / QKC_BLOCKS;
    auto *kernel = dequantize_kernel<F, Out>;
    return QKC_LAUNCH(kernel, (unsigned)n, QKC_THREADS, stream, *blocks);
}

template <class F> int queue_format(const qkc_blocks *blocks, cudaStream_t stream)
{
    return qkc_by_out_type(blocks->out_type,
                           [&](auto item) { return queue<F, decltype(item)>(blocks, stream); });
}

int qkc_dequantize_blocks(int type, const qkc_blocks *blocks, cudaStream_t stream)
{
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        return queue_format<name##_format>(blocks, stream);
        QK_BLOCK_FORMATS(QKC_CASE)
        QK_BLOCK_SET_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
}
