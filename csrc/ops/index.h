/* SPDX-License-Identifier: MIT */
/* Sums over heads of the products of queries and keys: the scores of a lightning indexer
 * (DeepSeek-V3.2).  As in attention.h, a key is a row and a query a lane. */
#ifndef QK_INDEX_H
#define QK_INDEX_H

#include "attention.h"

/* What one call works in. */
typedef struct index_space {
    float *keys;    /* [panels of keys][size][ROWS] */
    float *queries; /* [size][TILE], of one head */
    float *scores;  /* [ROWS][TILE] */
    float *sums;    /* [KEY_STEP][TILE] */
} index_space;

/* Divides memory among the parts; gives how many floats they take, SIZE_MAX if too many. */
static size_t divide_index_space(const qk_index *what, float *memory, index_space *space)
{
    const size_t sizes[] = {
        qk_times(qk_rounded_up(what->n_keys, ROWS), what->size),
        qk_times(what->size, TILE),
        ROWS * TILE,
        KEY_STEP * TILE,
    };
    float **parts[] = {&space->keys, &space->queries, &space->scores, &space->sums};
    size_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *parts[i] = memory ? memory + used : NULL;
        used = qk_plus(used, qk_rounded_up(sizes[i], 16));
    }
    return used;
}

static size_t index_workspace(const qk_index *what)
{
    index_space space;
    return qk_plus(qk_times(divide_index_space(what, NULL, &space), sizeof(float)), ALIGNMENT);
}

/* Adds weight * score of ROWS keys, and of TILE queries, which have a weight each. */
static void add_scores(const float *scores, const float *weights, int rectified, float *sums)
{
    for (size_t i = 0; i < ROWS * TILE; i += WIDTH) {
        vf32 score = vf32_load(scores + i);
        if (rectified) {
            score = vf32_max(score, vf32_zero());
        }
        const vf32 weight = vf32_load(weights + i % TILE);
        vf32_store(sums + i, vf32_fma(weight, score, vf32_load(sums + i)));
    }
}

/* The scores of one tile of n queries from `start` on, and n_keys keys from `first` on. */
static void index_tile(const qk_index *what, const index_space *space, const float *q,
                       const float *weights, size_t first, size_t n_keys, size_t n)
{
    float weight[TILE] = {0};
    memset(space->sums, 0, KEY_STEP * TILE * sizeof(float));
    for (size_t head = 0; head < what->n_heads; head++) {
        pack_tile(q + head * what->size, n, what->size, what->n_heads * what->size, space->queries);
        for (size_t i = 0; i < n; i++) {
            weight[i] = weights[i * what->n_heads + head];
        }
        for (size_t j = 0; j < n_keys; j += ROWS) {
            const sums_target scores = {space->scores, TILE, 0};
            multiply_f32(space->keys + (first + j) * what->size, space->queries, what->size,
                         &scores);
            add_scores(space->scores, weight, what->rectified, space->sums + j * TILE);
        }
    }
}

static void index_scores(const qk_index *what, const float *q, const float *k, const float *weights,
                         float *out, void *workspace)
{
    const uintptr_t memory = ((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    index_space space;
    divide_index_space(what, (float *)memory, &space);
    pack_keys(k, what->n_keys, what->size, what->size, space.keys);
    for (size_t start = 0; start < what->n; start += TILE) {
        const size_t n = what->n - start < TILE ? what->n - start : TILE;
        for (size_t first = 0; first < what->n_keys; first += KEY_STEP) {
            const size_t left = what->n_keys - first, n_keys = left < KEY_STEP ? left : KEY_STEP;
            index_tile(what, &space, q + start * what->n_heads * what->size,
                       weights + start * what->n_heads, first, n_keys, n);
            transpose_floats(space.sums, TILE, n_keys, n, out + start * what->n_keys + first,
                             what->n_keys);
        }
    }
}

#endif
