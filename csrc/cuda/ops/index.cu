/* SPDX-License-Identifier: MIT */
/* Sums over heads of the products of queries and keys: see csrc/ops/index.h. */
#include "checks.h"
#include "scores.cuh"

struct indexing {
    qk_index what;
    const float *q, *k, *weights;
    float *out;
    size_t n_tiles, n_key_tiles;
};

/* Adds weight * score, of one head. */
QKC_INLINE void add_weighted(const indexing &a, size_t start, size_t head, const float *score,
                             float *sums)
{
    QKC_UNROLL
    for (int i = 0; i < EACH; i++) {
        const size_t query = start + (size_t)(tile_row() * EACH + i);
        const float weight = query < a.what.n ? a.weights[query * a.what.n_heads + head] : 0.0f;
        QKC_UNROLL
        for (int j = 0; j < EACH; j++) {
            float s = score[i * EACH + j];
            s = a.what.rectified ? qkc_larger(s, 0.0f) : s;
            sums[i * EACH + j] = fmaf(weight, s, sums[i * EACH + j]);
        }
    }
}

/* Blocks take tiles of queries and keys, and go through the heads. */
static __global__ void __launch_bounds__(SIDE *SIDE, 2) index_kernel(indexing a)
{
    __shared__ score_space space;
    const qk_index &what = a.what;
    const size_t q_stride = what.n_heads * what.size;
    for (size_t task = blockIdx.x; task < a.n_tiles * a.n_key_tiles; task += gridDim.x) {
        const size_t start = task / a.n_key_tiles * TILE, first = task % a.n_key_tiles * TILE;
        const size_t n = what.n - start < TILE ? what.n - start : TILE;
        const size_t n_keys = what.n_keys - first < TILE ? what.n_keys - first : TILE;
        const float_rows keys = rows_of(a.k + first * what.size, n_keys, what.size, what.size);
        float sums[EACH * EACH] = {};
        for (size_t head = 0; head < what.n_heads; head++) {
            const float *q = a.q + start * q_stride + head * what.size;
            float score[EACH][EACH];
            score_tile(rows_of(q, n, q_stride, what.size), keys, 1.0f, space, score);
            add_weighted(a, start, head, score[0], sums);
        }
        for (int i = 0; i < EACH * EACH; i++) {
            const size_t query = (size_t)(tile_row() * EACH + i / EACH);
            const size_t key = (size_t)(tile_col() + i % EACH * SIDE);
            if (query < n && key < n_keys) {
                a.out[(start + query) * what.n_keys + first + key] = sums[i];
            }
        }
    }
}

int qkc_index_scores(const qk_index *what, const float *q, const float *k, const float *weights,
                     float *out, void *stream)
{
    qk_status status = qk_check_index_sizes(what);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(q, qk_count(what->n, what->n_heads, what->size)),
            QK_READ_FLOATS(k, qk_times(what->n_keys, what->size)),
            QK_READ_FLOATS(weights, qk_times(what->n, what->n_heads)),
            QK_WRITTEN_FLOATS(out, qk_times(what->n, what->n_keys)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK || !what->n) {
        return -(int)status;
    }
    const indexing a = {
        *what, q, k, weights, out, qkc_parts(what->n, TILE), qkc_parts(what->n_keys, TILE)};
    return QKC_LAUNCH(index_kernel, qkc_grid(a.n_tiles * a.n_key_tiles), SIDE * SIDE, stream, a);
}
