/* SPDX-License-Identifier: MIT */
/* Weights in blocks to codes, scales and minimums, by the unpackers of csrc/ops/unpack.h.  A thread
 * takes a block; those of consecutive rows lie side by side in what is written. */
#define LANES 1
#include "../lane_cuda.h"

#include "../../ops/half.h"
#include "../../ops/plain_bytes.h"
#include "../../ops/unpack.h"
#include "../../ops/unpack_iq.h"
#include "codes.cuh"

#define QKC_FORMAT(NAME, name, id, size, bytes, use)                                               \
    struct name##_codes {                                                                          \
        static constexpr int block_size = size, block_bytes = bytes, group = name##_group;         \
        static constexpr int has_min = name##_has_min;                                             \
        QK_INLINE void unpack(const uint8_t *block, block_codes to) { unpack_##name(block, to); }  \
    };
QK_BLOCK_FORMATS(QKC_FORMAT)
QK_BLOCK_SET_FORMATS(QKC_FORMAT)
#undef QKC_FORMAT

struct unpacking_task {
    const uint8_t *weights;
    size_t n_rows;
    codes to;
};

/* A block's codes, and of each of its groups a scale and a minimum. */
template <class F> struct unpacked_block {
    alignas(CODES_ALIGNMENT) int8_t code[F::block_size];
    float scale[F::block_size / F::group], min[F::block_size / F::group];
};

/* Stores columns 32 * i .. 32 * i + 31 of a block as a group of a row. */
template <class F>
QK_INLINE void store_group(const unpacked_block<F> &block, int i, const codes &to, size_t group,
                           size_t row)
{
    const int n_scales = QK_GROUP / F::group, n_items = n_scales * (1 + F::has_min);
    uint32_t from[ROW_WORDS], in_place[ROW_WORDS];
    memcpy(from, block.code + i * QK_GROUP, sizeof from);
    QKC_UNROLL
    for (size_t word = 0; word < ROW_WORDS; word++) {
        in_place[w_word_place(0, word)] = from[word];
    }
    uint4 *words = (uint4 *)(to.bytes + (group * to.rows + row) * QK_GROUP);
    words[0] = make_uint4(in_place[0], in_place[1], in_place[2], in_place[3]);
    words[1] = make_uint4(in_place[4], in_place[5], in_place[6], in_place[7]);
    float *item = to.items + group * n_items * to.rows + row;
    for (int s = 0; s < n_scales; s++) {
        item[s * to.rows] = block.scale[i * n_scales + s];
        if (F::has_min) {
            item[(n_scales + s) * to.rows] = -block.min[i * n_scales + s];
        }
    }
}

template <class F>
static __global__ void __launch_bounds__(QKC_THREADS) unpack_kernel(unpacking_task t)
{
    const int n_groups = F::block_size / QK_GROUP;
    const size_t per_row = t.to.n_groups / n_groups, row_bytes = per_row * F::block_bytes;
    const size_t n_tasks = t.to.rows * per_row, step = (size_t)gridDim.x * QKC_THREADS;
    for (size_t task = (size_t)blockIdx.x * QKC_THREADS + threadIdx.x; task < n_tasks;
         task += step) {
        const size_t row = task % t.to.rows, b = task / t.to.rows;
        unpacked_block<F> block = {};
        if (row < t.n_rows) {
            F::unpack(t.weights + row * row_bytes + b * F::block_bytes,
                      {block.code, block.scale, block.min});
        }
        for (int i = 0; i < n_groups; i++) {
            store_group(block, i, t.to, b * n_groups + (size_t)i, row);
        }
    }
}

template <class F>
static int queue_unpack(const uint8_t *weights, size_t n_rows, const codes *to, void *stream)
{
    const unpacking_task task = {weights, n_rows, *to};
    const size_t n_blocks = to->rows * (to->n_groups * QK_GROUP / F::block_size);
    return QKC_LAUNCH(unpack_kernel<F>, qkc_grid(qkc_parts(n_blocks, QKC_THREADS)), QKC_THREADS,
                      stream, task);
}

int qkc_unpack_weights(int type, const uint8_t *weights, size_t n_rows, const codes *to,
                       void *stream)
{
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id:                                                                                       \
        return queue_unpack<name##_codes>(weights, n_rows, to, stream);
        QK_BLOCK_FORMATS(QKC_CASE)
        QK_BLOCK_SET_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
}

int qkc_weight_shape(int type, weight_shape *shape)
{
    switch (type) {
#define QKC_CASE(NAME, name, id, size, bytes, use)                                                 \
    case id: {                                                                                     \
        const int n_scales = QK_GROUP / name##_group;                                              \
        *shape = {n_scales, name##_has_min, n_scales * (1 + name##_has_min)};                      \
        return 0;                                                                                  \
    }
        QK_BLOCK_FORMATS(QKC_CASE)
        QK_BLOCK_SET_FORMATS(QKC_CASE)
#undef QKC_CASE
    default:
        return QKC_UNKNOWN_TYPE;
    }
}
