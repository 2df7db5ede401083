/* SPDX-License-Identifier: MIT */
/* What the positions of a chunk have in common with each other and with the state before it: see
 * recurrence.h. */
#ifndef QK_RECURRENCE_CHUNK_H
#define QK_RECURRENCE_CHUNK_H

#include "../sizes.h"
#include "kernel.h"
#include "vmath.h"

#define CHUNK (4 * ROWS)
#define PAIRS ((CHUNK + WIDTH - 1) / WIDTH * WIDTH) /* floats of a row of CHUNK */

/* What one call works in.  Rows of keys and queries are `row` floats, 0 beyond their size. */
typedef struct recurrence_space {
    size_t row;
    float *state;      /* [tiles of values][key size, rounded up to ROWS][TILE] */
    float *keys;       /* [CHUNK][row], times the decay from the start and -beta */
    float *queries;    /* [CHUNK][row], times the decay from the start and scale */
    float *late_keys;  /* [CHUNK][row], times the decay to the end */
    float *factors;    /* [row], the decay at a position */
    float *total;      /* [row], the decay from the start */
    float *partial;    /* [2][PAIRS][WIDTH], sums of products, lane by lane */
    float *steps;      /* [PAIRS], the decay at each position, if all components have the same */
    float *decays;     /* [PAIRS], the decay after each position, likewise */
    float *among_keys; /* [CHUNK][PAIRS], -beta_i (k_i^T D(i, j) k_j) */
    float *to_keys;    /* [CHUNK][PAIRS], scale (q_i^T D(i, j) k_j) */
    float *values;     /* [CHUNK][TILE], u */
    float *outputs;    /* [CHUNK][TILE] */
} recurrence_space;

/* A chunk of one head: n positions from `start` on. */
typedef struct recurrence_chunk {
    const qk_recurrence *what;
    const float *q, *k, *decay;
    recurrence_space space;
    size_t head, start, n;
} recurrence_chunk;

/* Divides memory among the parts; gives how many floats they take, SIZE_MAX if too many. */
static size_t divide_chunk_space(const qk_recurrence *what, float *memory, recurrence_space *space)
{
    const size_t n_rows = qk_rounded_up(what->key_size, ROWS), row = qk_rounded_up(n_rows, WIDTH);
    const size_t rows = qk_times(row, CHUNK);
    const size_t sizes[] = {
        qk_times(qk_rounded_up(what->value_size, TILE), n_rows),
        rows,
        rows,
        rows,
        row,
        row,
        2 * PAIRS * WIDTH,
        PAIRS,
        PAIRS,
        CHUNK * PAIRS,
        CHUNK * PAIRS,
        CHUNK * TILE,
        CHUNK * TILE,
    };
    float **parts[] = {
        &space->state,   &space->keys,    &space->queries, &space->late_keys, &space->factors,
        &space->total,   &space->partial, &space->steps,   &space->decays,    &space->among_keys,
        &space->to_keys, &space->values,  &space->outputs,
    };
    size_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *parts[i] = memory ? memory + used : NULL;
        used = qk_plus(used, qk_rounded_up(sizes[i], 16));
    }
    space->row = row;
    return used;
}

static void scale_floats(const float *x, float by, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        vf32_store(y + i, vf32_mul(vf32_load(x + i), vf32_set1(by)));
    }
}

static void multiply_floats(const float *x, const float *by, size_t n, float *y)
{
    for (size_t i = 0; i < n; i += WIDTH) {
        vf32_store(y + i, vf32_mul(vf32_load(x + i), vf32_load(by + i)));
    }
}

/* sums[i]: the sum of partial[i][0 .. WIDTH - 1], for i in 0 .. n - 1, and some beyond. */
static void sum_lanes(const float *partial, size_t n, float *sums)
{
    float lanes[WIDTH * WIDTH];
    for (size_t i = 0; i < n; i += WIDTH) {
        transpose_words((const uint32_t *)(partial + i * WIDTH), WIDTH, (uint32_t *)lanes, WIDTH);
        vf32 sum = vf32_load(lanes);
        UNROLL for (int r = 1; r < WIDTH; r++)
        {
            sum = vf32_add(sum, vf32_load(lanes + r * WIDTH));
        }
        vf32_store(sums + i, sum);
    }
}

/* Keys and queries as they are given, the latter times scale. */
static void load_rows(const recurrence_chunk *c)
{
    const qk_recurrence *what = c->what;
    const size_t size = what->key_size, stride = what->n_key_heads * size;
    const size_t head = c->head / (what->n_heads / what->n_key_heads);
    const recurrence_space *s = &c->space;
    const float *key = c->k + c->start * stride + head * size;
    const float *query = c->q + c->start * stride + head * size;
    for (size_t i = 0; i < c->n; i++, key += stride, query += stride) {
        for (size_t at = 0; at < size; at += WIDTH) {
            const vf32 q = load_up_to(query + at, size - at, 0.0f);
            vf32_store(s->queries + i * s->row + at, vf32_mul(q, vf32_set1(what->scale)));
            vf32_store(s->late_keys + i * s->row + at, load_up_to(key + at, size - at, 0.0f));
        }
    }
}

/* beta of a position, 1 where there is none. */
QK_INLINE float beta_of(const recurrence_chunk *c, size_t i)
{
    const qk_recurrence *what = c->what;
    return what->beta ? what->beta[(c->start + i) * what->n_heads + c->head] : 1.0f;
}

/* The products of key and query i with the keys up to i, which first decay by `factors`, if not
 * NULL. */
static void multiply_pairs(const recurrence_chunk *c, size_t i, const float *factors)
{
    const recurrence_space *s = &c->space;
    const float *key = s->late_keys + i * s->row, *query = s->queries + i * s->row;
    float *partial = s->partial;
    for (size_t j = 0; j <= i; j++, partial += WIDTH) {
        float *late = s->late_keys + j * s->row;
        vf32 with_key = vf32_zero(), with_query = vf32_zero();
        for (size_t at = 0; at < s->row; at += WIDTH) {
            vf32 v = vf32_load(late + at);
            if (factors && j < i) {
                v = vf32_mul(v, vf32_load(factors + at));
                vf32_store(late + at, v);
            }
            with_key = vf32_fma(v, vf32_load(key + at), with_key);
            with_query = vf32_fma(v, vf32_load(query + at), with_query);
        }
        vf32_store(partial, with_key);
        vf32_store(partial + PAIRS * WIDTH, with_query);
    }
    sum_lanes(s->partial, i, s->among_keys + i * PAIRS);
    sum_lanes(s->partial + PAIRS * WIDTH, i + 1, s->to_keys + i * PAIRS);
    scale_floats(s->among_keys + i * PAIRS, -beta_of(c, i), PAIRS, s->among_keys + i * PAIRS);
}

/* Each component of the keys decays in its own way. */
static void prepare_components(const recurrence_chunk *c)
{
    const recurrence_space *s = &c->space;
    const size_t size = c->what->key_size, stride = c->what->n_heads * size;
    const float *decay = c->decay + c->start * stride + c->head * size;
    for (size_t at = 0; at < s->row; at += WIDTH) {
        vf32_store(s->total + at, vf32_set1(1.0f));
    }
    for (size_t i = 0; i < c->n; i++, decay += stride) {
        float *query = s->queries + i * s->row, *key = s->keys + i * s->row;
        for (size_t at = 0; at < size; at += WIDTH) {
            vf32_store(s->factors + at, vf32_exp(load_up_to(decay + at, size - at, 0.0f)));
        }
        multiply_floats(s->total, s->factors, s->row, s->total);
        multiply_pairs(c, i, s->factors);
        multiply_floats(query, s->total, s->row, query);
        multiply_floats(s->late_keys + i * s->row, s->total, s->row, key);
        scale_floats(key, -beta_of(c, i), s->row, key);
    }
}

/* All components of a head decay alike. */
static void prepare_heads(const recurrence_chunk *c)
{
    const recurrence_space *s = &c->space;
    const size_t stride = c->what->n_heads;
    const float *decay = c->decay + c->start * stride + c->head;
    float total = 1.0f;
    for (size_t i = 0; i < c->n; i++) {
        s->steps[i] = decay[i * stride];
    }
    for (size_t i = 0; i < c->n; i += WIDTH) {
        vf32_store(s->steps + i, vf32_exp(vf32_load(s->steps + i)));
    }
    for (size_t i = 0; i < c->n; i++) {
        float *among_keys = s->among_keys + i * PAIRS, *to_keys = s->to_keys + i * PAIRS;
        float *query = s->queries + i * s->row;
        total *= s->steps[i];
        multiply_pairs(c, i, NULL);
        scale_floats(s->decays, s->steps[i], i, s->decays);
        s->decays[i] = 1.0f;
        multiply_floats(among_keys, s->decays, PAIRS, among_keys);
        multiply_floats(to_keys, s->decays, PAIRS, to_keys);
        scale_floats(s->late_keys + i * s->row, -beta_of(c, i) * total, s->row,
                     s->keys + i * s->row);
        scale_floats(query, total, s->row, query);
    }
    for (size_t j = 0; j < c->n; j++) {
        scale_floats(s->late_keys + j * s->row, s->decays[j], s->row, s->late_keys + j * s->row);
    }
    for (size_t at = 0; at < s->row; at += WIDTH) {
        vf32_store(s->total + at, vf32_set1(total));
    }
}

static void prepare_chunk(const recurrence_chunk *c)
{
    load_rows(c);
    if (c->what->decay_size == 1) {
        prepare_heads(c);
    } else {
        prepare_components(c);
    }
}

#endif
