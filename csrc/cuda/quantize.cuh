/* SPDX-License-Identifier: MIT */
/* From rows to tiles and back, on CUDA: each thread has a tile of its own, of one block or, in
 * QK_BLOCK_SET_FORMATS, of a set of blocks.  See kernels/driver.h for the same on processors.
 *
 * The 32 threads of a warp bring their tiles in together, 32 consecutive weights of one tile at a
 * time by way of shared memory, so that what they read is side by side; likewise what they write.
 *
 * After a lane header and the kernels. */
#ifndef QKC_QUANTIZE_CUH
#define QKC_QUANTIZE_CUH

#include <type_traits>

#include "convert.cuh"
#include "quantkit_cuda.h"
#include "rows.h"

#define QKC_STEP 32 /* weights of a tile that are brought in at a time: a part of every block */

/* What the threads of a warp hand to each other. */
template <int out_bytes> union qkc_exchange {
    float part[QKC_WARP][QKC_STEP + 1]; /* one more: columns lie in 32 banks of memory */
    uint32_t words[QKC_WARP * out_bytes / 4];
    uint8_t bytes[QKC_WARP * out_bytes];
};

/* The least index of what is not finite among the weights that this thread brings in. */
QK_INLINE void qkc_note_bad(const float *from, const size_t *at, unsigned long long *bad)
{
    for (int i = 0; i < QKC_WARP; i++) {
        const unsigned long long index = at[i] + threadIdx.x % QKC_WARP;
        if (!qkc_is_finite(from[index]) && index < *bad) {
            *bad = index;
        }
    }
}

/* QKC_STEP weights of each thread's tile, thread i's from at[i] on; what is not finite becomes 0,
 * and the least of its indices goes to *bad. */
QK_INLINE void qkc_bring_in(const float *from, const size_t *at, float (*part)[QKC_STEP + 1],
                            float *tile, unsigned long long *bad)
{
    const int thread = threadIdx.x % QKC_WARP;
    bool all_finite = true;
    for (int i = 0; i < QKC_WARP; i++) {
        const float x = from[at[i] + thread];
        const bool is_finite = qkc_is_finite(x);
        part[i][thread] = is_finite ? x : 0.0f;
        all_finite = all_finite && is_finite;
    }
    if (!all_finite) {
        qkc_note_bad(from, at, bad);
    }
    __syncwarp(QKC_WHOLE_WARP);
    for (int k = 0; k < QKC_STEP; k++) {
        tile[k] = part[thread][k];
    }
    __syncwarp(QKC_WHOLE_WARP);
}

/* The bytes of one block from its words, as the largest items that blocks are whole numbers of. */
template <int n_bytes> QK_INLINE void qkc_put_block(const li32 *words, uint8_t *to)
{
    using item = std::conditional_t<n_bytes % 4 == 0, uint32_t,
                                    std::conditional_t<n_bytes % 2 == 0, uint16_t, uint8_t>>;
    constexpr int per_word = sizeof(uint32_t) / sizeof(item);
    for (int i = 0; i < n_bytes / (int)sizeof(item); i++) {
        const uint32_t word = (uint32_t)words[i / per_word];
        ((item *)to)[i] = (item)(word >> 8 * sizeof(item) * (i % per_word));
    }
}

/* n bytes that lie side by side; `from` is aligned to words. */
QK_INLINE void qkc_bring_out(const uint32_t *from, size_t n, uint8_t *to)
{
    const size_t thread = threadIdx.x % QKC_WARP;
    size_t done = 0;
    if ((uintptr_t)to % sizeof(uint32_t) == 0) {
        for (size_t i = thread; i < n / sizeof(uint32_t); i += QKC_WARP) {
            ((uint32_t *)to)[i] = from[i];
        }
        done = n / sizeof(uint32_t) * sizeof(uint32_t);
    }
    for (size_t i = done + thread; i < n; i += QKC_WARP) {
        to[i] = ((const uint8_t *)from)[i];
    }
}

/* A warp takes 32 * F::per_lane consecutive blocks.  Past the end the last block is repeated, and
 * the copies are dropped. */
template <class F, bool is_weighted>
__global__ void __launch_bounds__(F::warps *QKC_WARP) qkc_quantize_kernel(qkc_rows rows)
{
    constexpr int set_size = F::block_size * F::per_lane, n_words = (F::block_bytes + 3) / 4;
    __shared__ qkc_exchange<F::block_bytes * F::per_lane> exchanges[F::warps];
    __shared__ size_t places[F::warps][QKC_WARP];
    const int warp = threadIdx.x / QKC_WARP, thread = threadIdx.x % QKC_WARP;
    const size_t first = ((size_t)blockIdx.x * F::warps + warp) * QKC_WARP * F::per_lane;
    auto &exchange = exchanges[warp];
    size_t *place = places[warp];
    lf32 x[set_size], importance[is_weighted ? set_size : 1], mean_square[F::per_lane];
    li32 words[n_words * F::per_lane];
    unsigned long long bad = ~0ull, bad_importance = ~0ull;
    for (int k = 0; k < F::per_lane; k++) {
        size_t block = first + (size_t)thread * F::per_lane + k;
        block = block < rows.n_blocks ? block : rows.n_blocks - 1;
        for (int j = 0; j < F::block_size; j += QKC_STEP) {
            place[thread] = block * F::block_size + j;
            __syncwarp(QKC_WHOLE_WARP);
            qkc_bring_in(rows.x, place, exchange.part, x + k * F::block_size + j, &bad);
        }
        if constexpr (is_weighted) {
            mean_square[k] = rows.mean_square ? rows.mean_square[block / rows.per_row] : 0.0f;
            const size_t column = block % rows.per_row * F::block_size;
            for (int j = 0; j < F::block_size; j += QKC_STEP) {
                place[thread] = column + j;
                __syncwarp(QKC_WHOLE_WARP);
                qkc_bring_in(rows.importance, place, exchange.part,
                             importance + k * F::block_size + j, &bad_importance);
            }
        }
    }
    if (bad != ~0ull) {
        atomicMin(rows.bad, bad);
    }
    F::quantize(x, is_weighted ? importance : nullptr, mean_square, words);
    for (int k = 0; k < F::per_lane; k++) {
        const int block = thread * F::per_lane + k;
        qkc_put_block<F::block_bytes>(words + k * n_words, exchange.bytes + block * F::block_bytes);
    }
    __syncwarp(QKC_WHOLE_WARP);
    if (first < rows.n_blocks) {
        const size_t left = rows.n_blocks - first, most = QKC_WARP * F::per_lane;
        qkc_bring_out(exchange.words, (left < most ? left : most) * F::block_bytes,
                      rows.out + first * F::block_bytes);
    }
}

template <class F, bool is_weighted>
int qkc_queue_quantize(const qkc_rows *rows, cudaStream_t stream)
{
    const size_t per_thread_block = F::warps * QKC_WARP * F::per_lane;
    const size_t n = (rows->n_blocks + per_thread_block - 1) / per_thread_block;
    auto *kernel = qkc_quantize_kernel<F, is_weighted>;
    return QKC_LAUNCH(kernel, (unsigned)n, F::warps * QKC_WARP, stream, *rows);
}

/* With importance or without, as far as the type has both. */
template <class F> int qkc_queue_quantize(const qkc_rows *rows, cudaStream_t stream)
{
    if constexpr (F::use == QK_IMPORTANCE_IGNORED) {
        return qkc_queue_quantize<F, false>(rows, stream);
    } else if constexpr (F::use == QK_IMPORTANCE_NEEDED) {
        return qkc_queue_quantize<F, true>(rows, stream);
    } else {
        return rows->importance ? qkc_queue_quantize<F, true>(rows, stream)
                                : qkc_queue_quantize<F, false>(rows, stream);
    }
}

/* What is known of a type when its kernel is compiled: its line of formats.h. */
#define QKC_FORMAT(name, id, size, bytes, use_, sets, n_warps)                                     \
    struct name##_format {                                                                         \
        static constexpr int type = id, block_size = size, block_bytes = bytes;                    \
        static constexpr int use = QK_IMPORTANCE_##use_, per_lane = sets, warps = n_warps;         \
        QK_INLINE void quantize(const lf32 *x, const lf32 *importance, const lf32 *mean_square,    \
                                li32 *out)                                                         \
        {                                                                                          \
            name##_quantize(x, importance, mean_square, out);                                      \
        }                                                                                          \
    };

#endif
