/* SPDX-License-Identifier: MIT */
/* F32, F16 and BF16, both ways, a weight a thread. */
#define LANES 1
#include "lane_cuda.h"

#include "../kernels/lane_math.h"

#include "../kernels/floats.h"

#include "convert.cuh"
#include "quantkit_cuda.h"
#include "rows.h"

#define QKC_THREADS 256

static unsigned thread_blocks(size_t n) { return (unsigned)((n + QKC_THREADS - 1) / QKC_THREADS); }

QK_INLINE size_t item_of_thread(void) { return (size_t)blockIdx.x * blockDim.x + threadIdx.x; }

#define QKC_ITEM(NAME, name, id, size, bytes, use)                                                 \
    __global__ void quantize_##name##_kernel(qkc_rows rows)                                        \
    {                                                                                              \
        const size_t i = item_of_thread();                                                         \
        if (i < rows.n_blocks) {                                                                   \
            if (!qkc_is_finite(rows.x[i])) {                                                       \
                atomicMin(rows.bad, (unsigned long long)i);                                        \
            }                                                                                      \
            name##_quantize_items(rows.x + i, 1, rows.out + i * (bytes));                          \
        }                                                                                          \
    }                                                                                              \
    template <class Out> __global__ void dequantize_##name##_kernel(qkc_blocks blocks)             \
    {                                                                                              \
        const size_t i = item_of_thread();                                                         \
        if (i < blocks.n_blocks) {                                                                 \
            float y;                                                                               \
            name##_dequantize(blocks.data + i * (bytes), 1, &y);                                   \
            qkc_put((Out *)blocks.out + i, y);                                                     \
        }                                                                                          \
    }
QK_ITEM_FORMATS(QKC_ITEM)

int qkc_quantize_items(int type, const qkc_rows *rows, cudaStream_t stream)
{
    void (*kernel)(qkc_rows) = NULL;
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        kernel = quantize_##name##_kernel;                                                         \
        break;
        QK_ITEM_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
    return QKC_LAUNCH(kernel, thread_blocks(rows->n_blocks), QKC_THREADS, stream, *rows);
}

template <class Out>
static int queue_dequantize(int type, const qkc_blocks *blocks, cudaStream_t stream)
{
    void (*kernel)(qkc_blocks) = NULL;
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        kernel = dequantize_##name##_kernel<Out>;                                                  \
        break;
        QK_ITEM_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
    return QKC_LAUNCH(kernel, thread_blocks(blocks->n_blocks), QKC_THREADS, stream, *blocks);
}

int qkc_dequantize_items(int type, const qkc_blocks *blocks, cudaStream_t stream)
{
    return qkc_by_out_type(blocks->out_type, [&](auto item) {
        return queue_dequantize<decltype(item)>(type, blocks, stream);
    });
}
