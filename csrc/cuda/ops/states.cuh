/* SPDX-License-Identifier: MIT */
/* States S [key size][value size] of heads, in registers: each position changes them, so positions
 * follow each other, and heads and components of the values are side by side. */
#ifndef QKC_OPS_STATES_CUH
#define QKC_OPS_STATES_CUH

#include "checks.h"
#include "reduce.cuh"

#define WARPS 4 /* of a block */
#define THREADS (WARPS * QKC_WARP)
#define LANE_VALUES 2    /* components of the values that a lane has */
#define STAGED_KEYS 1024 /* floats of each kind of row that are in shared memory at a time */

/* KEYS_, the components of keys that there is room for, are divided among PARTS_ lanes. */
template <int KEYS_, int PARTS_> struct division {
    static constexpr int KEYS = KEYS_, PARTS = PARTS_;
    static constexpr int LANE_KEYS = KEYS / PARTS; /* a multiple of 4 */
    static constexpr int WARP_VALUES = QKC_WARP / PARTS * LANE_VALUES;
    static constexpr int VALUES = WARPS * WARP_VALUES; /* of a block */
    static constexpr int STEPS = STAGED_KEYS / KEYS;   /* positions in shared memory */
};

/* Rows of positions in shared memory. */
template <class D> struct staged_keys {
    float4 row[D::STEPS][D::KEYS / 4];
};
template <class D> struct staged_values {
    float row[D::STEPS][D::VALUES];
};

/* What a lane has of the state. */
template <class D> struct lane_state {
    float at[D::LANE_KEYS / 4][4][LANE_VALUES];
};

/* A lane's four components number i of a row, of those that are 4 * PARTS apart. */
template <class D> QKC_INLINE float4 lane_four(const staged_keys<D> &keys, int step, int i)
{
    return keys.row[step][(int)threadIdx.x % D::PARTS + i * D::PARTS];
}

/* The first of the lane's components of the block's values. */
template <class D> QKC_INLINE int lane_value()
{
    const int warp = (int)threadIdx.x / QKC_WARP, lane = (int)threadIdx.x % QKC_WARP;
    return warp * D::WARP_VALUES + lane / D::PARTS * LANE_VALUES;
}

/* The positions from `start` on that are in shared memory. */
template <class D> QKC_INLINE int n_positions(size_t n, size_t start)
{
    return n - start < D::STEPS ? (int)(n - start) : D::STEPS;
}

/* The sums over all keys. */
template <class D> QKC_INLINE void sum_keys(float sum[LANE_VALUES])
{
    QKC_UNROLL
    for (int step = D::PARTS / 2; step; step /= 2) {
        QKC_UNROLL
        for (int v = 0; v < LANE_VALUES; v++) {
            sum[v] += __shfl_xor_sync(QKC_WHOLE_WARP, sum[v], step);
        }
    }
}

struct as_it_is {
    __device__ float operator()(float x) const { return x; }
};
struct times {
    float by;
    __device__ float operator()(float x) const { return x * by; }
};
struct exp_of {
    __device__ float operator()(float x) const { return qkc_exp(x); }
};

/* What a thread brings in of rows, from its read to its place in shared memory: so that the rows of
 * the next positions are on their way while these are worked on. */
template <int N> struct fetched {
    float at[N];
};
template <class D> using fetched_keys = fetched<D::STEPS * D::KEYS / THREADS>;
template <class D> using fetched_values = fetched<(D::STEPS * D::VALUES + THREADS - 1) / THREADS>;

/* Columns below `size` of n rows, `stride` apart, of up to WIDTH columns; the rest is 0. */
template <int WIDTH, int N>
QKC_INLINE void fetch(const float *x, size_t size, size_t stride, int n, fetched<N> &to)
{
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        const int at = (int)threadIdx.x + i * THREADS, row = at / WIDTH, column = at % WIDTH;
        const bool is_there = row < n && (size_t)column < size;
        to.at[i] = is_there ? x[(size_t)row * stride + (size_t)column] : 0.0f;
    }
}

/* function(x) of what was fetched, to its place. */
template <int ROWS, int WIDTH, int N, class Function>
QKC_INLINE void put(const fetched<N> &from, Function function, float *to)
{
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        const int at = (int)threadIdx.x + i * THREADS;
        if (N * THREADS == ROWS * WIDTH || at < ROWS * WIDTH) {
            to[at] = function(from.at[i]);
        }
    }
}

template <class D, class Function>
QKC_INLINE void put_keys(const fetched_keys<D> &from, Function function, staged_keys<D> &to)
{
    put<D::STEPS, D::KEYS>(from, function, (float *)to.row[0]);
}

template <class D> QKC_INLINE void put_values(const fetched_values<D> &from, staged_values<D> &to)
{
    put<D::STEPS, D::VALUES>(from, as_it_is(), to.row[0]);
}

/* The lanes that have the sums write those of the block's `left` values. */
template <class D>
QKC_INLINE void store_values(const float sum[LANE_VALUES], size_t left, float *out)
{
    QKC_UNROLL
    for (int v = 0; v < LANE_VALUES; v++) {
        const size_t value = (size_t)(lane_value<D>() + v);
        if ((int)threadIdx.x % D::PARTS == 0 && value < left) {
            out[value] = sum[v];
        }
    }
}

/* Calls launch(division) with the smallest that has room for the keys. */
template <class Launch> static int with_division(size_t key_size, Launch launch)
{
    if (key_size <= 64) {
        return launch(division<64, 8>());
    }
    if (key_size <= 128) {
        return launch(division<128, 8>());
    }
    if (key_size <= 256) {
        return launch(division<256, 8>());
    }
    return key_size <= QKC_MOST_KEY_SIZE ? launch(division<QKC_MOST_KEY_SIZE, QKC_WARP>())
                                         : QKC_BAD_SHAPE;
}

#endif
