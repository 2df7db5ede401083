/* SPDX-License-Identifier: MIT */
/* Attention, causal or with a mask: see csrc/ops/attention.h.
 *
 * A block takes 64 queries of a head, and up to VALUES components of the values.  It goes through
 * the keys 64 at a time and keeps, of each query, the highest score M so far, its outputs and the
 * sum of exp(score - M); they are rescaled when M grows (arXiv:2205.14135).  Scores are never
 * stored. */
#include "checks.h"
#include "scores.cuh"

#define NO_SCORE -1e30f /* below any score of use, and still a number to subtract from */
#define MOST_VALUES 256 /* components of the values in a block; more are for other blocks */

struct attention {
    qk_attention what;
    const float *q, *k, *v;
    float *out;
    size_t n_tiles, n_parts; /* of queries, of values */
};

template <int VALUES> struct alignas(float4) attention_space {
    union {
        score_space scores;
        float values[TILE * TILE / VALUES][VALUES]; /* of some keys */
    };
    float weights[TILE][TILE + 4]; /* exp(score - M): of keys, of queries */
};

/* What a block does: queries start .. start + n - 1 of a head, values from the component `part`. */
struct attention_task {
    size_t head, kv_head, start, part;
    int n;
    const uint8_t *mask; /* [..][n_keys] of these queries, or NULL */
};

/* What a thread keeps of its queries. */
template <int VALUES> struct attention_sums {
    float highest[EACH];
    float total[EACH]; /* of its own keys only */
    float out[EACH][VALUES / SIDE];
};

/* The longest first, so that none begins last. */
QKC_INLINE attention_task task_of(const attention &a, size_t number)
{
    const qk_attention &what = a.what;
    attention_task task;
    task.part = number % a.n_parts * MOST_VALUES;
    task.head = number / a.n_parts % what.n_heads;
    task.start = (a.n_tiles - 1 - number / a.n_parts / what.n_heads) * TILE;
    task.n = what.n - task.start < TILE ? (int)(what.n - task.start) : TILE;
    task.kv_head = task.head / (what.n_heads / what.n_kv_heads);
    const size_t of_heads = what.n_masks > 1 ? task.kv_head : 0;
    task.mask = what.mask ? what.mask + (of_heads * what.n + task.start) * what.n_keys : NULL;
    return task;
}

/* The keys that some query sees are among those from *first to before *end. */
QKC_INLINE void bound_keys(const qk_attention &what, const attention_task &task, size_t *first,
                           size_t *end)
{
    *first = 0;
    *end = what.n_keys;
    if (!task.mask) {
        *end = task.start + (size_t)task.n;
        *first = what.window && task.start + 1 > what.window ? task.start + 1 - what.window : 0;
    }
}

/* Bit 4 * i + j is set where query i of the thread sees its key j, of n keys from `first` on. */
QKC_INLINE unsigned seen_by_thread(const qk_attention &what, const attention_task &task,
                                   size_t first, int n)
{
    const ptrdiff_t ahead = (ptrdiff_t)(task.start - first);
    const size_t most = what.n; /* no query sees more keys */
    const ptrdiff_t window = (ptrdiff_t)(what.window && what.window < most ? what.window : most);
    unsigned seen = 0;
    QKC_UNROLL
    for (int bit = 0; bit < EACH * EACH; bit++) {
        const int query = tile_row() * EACH + bit / EACH, key = tile_col() + bit % EACH * SIDE;
        bool sees = query < task.n && key < n;
        if (task.mask) {
            sees = sees && task.mask[(size_t)query * what.n_keys + first + (size_t)key];
        } else {
            const ptrdiff_t distance = ahead + query - key;
            sees = sees && distance >= 0 && distance < window;
        }
        seen |= sees ? 1u << bit : 0;
    }
    return seen;
}

/* The soft cap and ALiBi's bias; what a query does not see is -INFINITY. */
QKC_INLINE void adjust_scores(const qk_attention &what, const attention_task &task, size_t first,
                              unsigned seen, float score[EACH][EACH])
{
    const float slope = what.slopes ? what.slopes[task.head] : 0.0f;
    QKC_UNROLL
    for (int bit = 0; bit < EACH * EACH; bit++) {
        float s = score[bit / EACH][bit % EACH];
        if (what.cap > 0) {
            s = what.cap * qkc_tanh(s / what.cap);
        }
        if (slope != 0) {
            const float query = (float)(task.start + (size_t)(tile_row() * EACH + bit / EACH));
            const float key = (float)(first + (size_t)(tile_col() + bit % EACH * SIDE));
            s = fmaf(qkc_abs(query - key), -slope, s);
        }
        score[bit / EACH][bit % EACH] = seen >> bit & 1 ? s : -INFINITY;
    }
}

/* Scores become weights exp(score - M); the sums so far are rescaled to the new M. */
template <int VALUES>
QKC_INLINE void take_in_scores(float score[EACH][EACH], attention_sums<VALUES> &sums,
                               attention_space<VALUES> &space)
{
    QKC_UNROLL
    for (int i = 0; i < EACH; i++) {
        float highest = sums.highest[i];
        QKC_UNROLL
        for (int j = 0; j < EACH; j++) {
            highest = qkc_larger(score[i][j], highest);
        }
        for (int step = SIDE / 2; step; step /= 2) {
            highest = qkc_larger(__shfl_xor_sync(QKC_WHOLE_WARP, highest, step), highest);
        }
        const float factor = qkc_exp(sums.highest[i] - highest);
        float total = 0;
        QKC_UNROLL
        for (int j = 0; j < EACH; j++) {
            score[i][j] = qkc_exp(score[i][j] - highest);
            total += score[i][j];
        }
        sums.highest[i] = highest;
        sums.total[i] = fmaf(sums.total[i], factor, total);
        QKC_UNROLL
        for (int c = 0; c < VALUES / SIDE; c++) {
            sums.out[i][c] *= factor;
        }
    }
    QKC_UNROLL
    for (int j = 0; j < EACH; j++) {
        *(float4 *)&space.weights[tile_col() + j * SIDE][tile_row() * EACH] =
            make_float4(score[0][j], score[1][j], score[2][j], score[3][j]);
    }
    __syncwarp(QKC_WHOLE_WARP); /* a warp has all weights of its queries */
}

/* Keys `first` .. of a tile whose values are in shared memory: out += weight * value.  A thread has
 * the components 4 * col .. 4 * col + 3 and those 64, 128 and 192 beyond. */
template <int VALUES>
QKC_INLINE void add_values(const attention_space<VALUES> &space, int first,
                           attention_sums<VALUES> &sums)
{
    QKC_UNROLL_FOUR
    for (int key = 0; key < TILE * TILE / VALUES; key++) {
        const float4 w = *(const float4 *)&space.weights[first + key][tile_row() * EACH];
        const float weight[EACH] = {w.x, w.y, w.z, w.w};
        QKC_UNROLL
        for (int c = 0; c < VALUES / TILE; c++) {
            const float4 v = *(const float4 *)&space.values[key][c * TILE + tile_col() * 4];
            QKC_UNROLL
            for (int i = 0; i < EACH; i++) {
                float *out = sums.out[i] + c * 4;
                out[0] = fmaf(v.x, weight[i], out[0]);
                out[1] = fmaf(v.y, weight[i], out[1]);
                out[2] = fmaf(v.z, weight[i], out[2]);
                out[3] = fmaf(v.w, weight[i], out[3]);
            }
        }
    }
}

/* What a tile of keys adds, whose values are `rows`. */
template <int VALUES>
QKC_INLINE void add_tile(const float_rows &rows, size_t part, attention_space<VALUES> &space,
                         attention_sums<VALUES> &sums)
{
    const int n_keys = TILE * TILE / VALUES;
    QKC_ROLLED
    for (int first = 0; first < TILE && first < rows.n; first += n_keys) {
        __syncthreads();
        for (int i = (int)threadIdx.x; i < TILE * TILE / 4; i += SIDE * SIDE) {
            const int key = i / (VALUES / 4), at = i % (VALUES / 4) * 4;
            *(float4 *)&space.values[key][at] = four_of(rows, first + key, part + (size_t)at);
        }
        __syncthreads();
        add_values(space, first, sums);
    }
}

/* The outputs, over the sum of the weights, to their place. */
template <int VALUES>
QKC_INLINE void store_outputs(const attention &a, const attention_task &task,
                              attention_sums<VALUES> &sums)
{
    const qk_attention &what = a.what;
    QKC_UNROLL
    for (int i = 0; i < EACH; i++) {
        float total = sums.total[i];
        for (int step = SIDE / 2; step; step /= 2) {
            total += __shfl_xor_sync(QKC_WHOLE_WARP, total, step);
        }
        const int query = tile_row() * EACH + i;
        const size_t row = (task.start + (size_t)query) * what.n_heads + task.head;
        float *out = a.out + row * what.value_size;
        QKC_UNROLL
        for (int c = 0; c < VALUES / SIDE; c++) {
            const size_t at = task.part + (size_t)(c / 4 * TILE + tile_col() * 4 + c % 4);
            if (query < task.n && at < what.value_size) {
                out[at] = sums.out[i][c] / total;
            }
        }
    }
}

template <int VALUES>
QKC_INLINE void attend_task(const attention &a, const attention_task &task,
                            attention_space<VALUES> &space)
{
    const qk_attention &what = a.what;
    const size_t q_stride = what.n_heads * what.key_size;
    const size_t k_stride = what.n_kv_heads * what.key_size;
    const size_t v_stride = what.n_kv_heads * what.value_size;
    const float_rows queries = rows_of(a.q + task.start * q_stride + task.head * what.key_size,
                                       (size_t)task.n, q_stride, what.key_size);
    attention_sums<VALUES> sums = {};
    QKC_UNROLL
    for (int i = 0; i < EACH; i++) {
        sums.highest[i] = what.sinks ? what.sinks[task.head] : NO_SCORE;
        sums.total[i] = what.sinks && tile_col() == 0 ? 1.0f : 0.0f;
    }
    size_t first, end;
    bound_keys(what, task, &first, &end);
    for (; first < end; first += TILE) {
        const float_rows keys = rows_of(a.k + first * k_stride + task.kv_head * what.key_size,
                                        end - first, k_stride, what.key_size);
        const unsigned seen = seen_by_thread(what, task, first, keys.n);
        if (!__syncthreads_or((int)seen)) {
            continue;
        }
        float score[EACH][EACH];
        score_tile(queries, keys, what.scale, space.scores, score);
        adjust_scores(what, task, first, seen, score);
        take_in_scores(score, sums, space);
        add_tile(rows_of(a.v + first * v_stride + task.kv_head * what.value_size, end - first,
                         v_stride, what.value_size),
                 task.part, space, sums);
    }
    store_outputs(a, task, sums);
}

template <int VALUES>
static __global__ void __launch_bounds__(SIDE *SIDE, 2) attention_kernel(attention a)
{
    __shared__ attention_space<VALUES> space;
    const size_t n_tasks = a.n_tiles * a.what.n_heads * a.n_parts;
    for (size_t number = blockIdx.x; number < n_tasks; number += gridDim.x) {
        attend_task(a, task_of(a, number), space);
    }
}

static int check_attention(const qk_attention *what, const float *q, const float *k, const float *v,
                           float *out)
{
    const qk_status status = qk_check_attention_sizes(what);
    if (status != QK_OK) {
        return -(int)status;
    }
    const qk_array arrays[] = {QK_ATTENTION_ARRAYS(what, q, k, v, out)};
    return QKC_CHECK_ARRAYS(arrays);
}

int qkc_attend(const qk_attention *what, const float *q, const float *k, const float *v, float *out,
               void *stream)
{
    const int status = check_attention(what, q, k, v, out);
    if (status || !what->n) {
        return status;
    }
    const attention a = {
        *what, q, k, v, out, qkc_parts(what->n, TILE), qkc_parts(what->value_size, MOST_VALUES),
    };
    const dim3 grid = qkc_grid(a.n_tiles * what->n_heads * a.n_parts);
    if (what->value_size <= 64) {
        return QKC_LAUNCH(attention_kernel<64>, grid, SIDE * SIDE, stream, a);
    }
    if (what->value_size <= 128) {
        return QKC_LAUNCH(attention_kernel<128>, grid, SIDE * SIDE, stream, a);
    }
    return QKC_LAUNCH(attention_kernel<MOST_VALUES>, grid, SIDE * SIDE, stream, a);
}
