/* SPDX-License-Identifier: MIT */
/* Products of 64 queries and 64 keys, 4 by 4 in each of 256 threads: queries 4 * row .. 4 * row + 3
 * and keys col, col + 16, col + 32 and col + 48, where the thread is row * 16 + col. */
#ifndef QKC_OPS_SCORES_CUH
#define QKC_OPS_SCORES_CUH

#include "reduce.cuh"

#define TILE 64       /* queries, and keys */
#define SIDE 16       /* threads along a side of the tile; half a warp shares its queries */
#define EACH 4        /* queries of a thread, and its keys */
#define COMPONENTS 32 /* of queries and keys that are in shared memory at a time */
/* Floats from a row to the next, so that rows that are read together begin in banks of their own */
#define APART (COMPONENTS + 4)

struct alignas(float4) score_space {
    float queries[TILE][APART], keys[TILE][APART];
};

QKC_INLINE int tile_row() { return (int)threadIdx.x / SIDE; }
QKC_INLINE int tile_col() { return (int)threadIdx.x % SIDE; }

/* Rows of floats, `stride` apart; whole: all begin at multiples of 16 bytes and have a multiple of
 * 4 floats. */
struct float_rows {
    const float *first;
    size_t stride, size;
    int n; /* at most TILE */
    bool whole;
};

/* All, but TILE at most, of n rows. */
QKC_INLINE float_rows rows_of(const float *first, size_t n, size_t stride, size_t size)
{
    const bool whole = ((uintptr_t)first / sizeof *first | stride | size) % 4 == 0;
    return {first, stride, size, n < TILE ? (int)n : TILE, whole};
}

/* Floats `at` .. at + 3 of a row; 0 beyond its end, or if there is no such row. */
QKC_INLINE float4 four_of(const float_rows &rows, int row, size_t at)
{
    if (row >= rows.n || at >= rows.size) {
        return make_float4(0, 0, 0, 0);
    }
    const float *p = rows.first + (size_t)row * rows.stride + at;
    if (rows.whole) {
        return *(const float4 *)p;
    }
    const size_t left = rows.size - at;
    return make_float4(p[0], left > 1 ? p[1] : 0, left > 2 ? p[2] : 0, left > 3 ? p[3] : 0);
}

/* Components `at` .. of TILE rows, times `by`. */
QKC_INLINE void load_components(const float_rows &rows, size_t at, float by, float (*to)[APART])
{
    for (int i = (int)threadIdx.x; i < TILE * COMPONENTS / 4; i += SIDE * SIDE) {
        const int row = i / (COMPONENTS / 4), part = i % (COMPONENTS / 4) * 4;
        const float4 v = four_of(rows, row, at + (size_t)part);
        *(float4 *)&to[row][part] = make_float4(v.x * by, v.y * by, v.z * by, v.w * by);
    }
}

/* score += by * q.k, the components one after the other. */
QKC_INLINE void add_scores(const score_space &space, float score[EACH][EACH])
{
    QKC_ROLLED
    for (int c = 0; c < COMPONENTS; c += 4) {
        float4 q[EACH];
        QKC_UNROLL
        for (int i = 0; i < EACH; i++) {
            q[i] = *(const float4 *)&space.queries[tile_row() * EACH + i][c];
        }
        QKC_UNROLL
        for (int j = 0; j < EACH; j++) {
            const float4 k = *(const float4 *)&space.keys[tile_col() + j * SIDE][c];
            QKC_UNROLL
            for (int i = 0; i < EACH; i++) {
                float sum = fmaf(k.x, q[i].x, score[i][j]);
                sum = fmaf(k.y, q[i].y, sum);
                sum = fmaf(k.z, q[i].z, sum);
                score[i][j] = fmaf(k.w, q[i].w, sum);
            }
        }
    }
}

/* The scores by * q.k of a tile.  All threads of the block take part; what is in `space` before has
 * been read by then, and may be overwritten after the next barrier. */
QKC_INLINE void score_tile(const float_rows &queries, const float_rows &keys, float by,
                           score_space &space, float score[EACH][EACH])
{
    QKC_UNROLL
    for (int i = 0; i < EACH * EACH; i++) {
        score[i / EACH][i % EACH] = 0;
    }
    for (size_t at = 0; at < queries.size; at += COMPONENTS) {
        __syncthreads();
        load_components(queries, at, by, space.queries);
        load_components(keys, at, 1.0f, space.keys);
        __syncthreads();
        add_scores(space, score);
    }
}

#endif
