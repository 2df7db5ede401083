/* SPDX-License-Identifier: MIT */
/* Attention, causal or with a mask.  Scores lie with a key per row and a query per lane, so that
 * the softmax takes no sum across lanes, and the probabilities are what the second product reads,
 * as they lie.
 *
 * Both products are the microkernel of matrix products: ROWS keys of a panel [key size][ROWS] times
 * TILE queries [key size][TILE] are scores [ROWS][TILE]; ROWS components of the values, a panel
 * [keys][ROWS], times probabilities [keys][TILE] are outputs [ROWS][TILE].
 *
 * Keys are taken KEY_STEP at a time.  The highest score M of a query so far is kept, and the sums
 * so far are rescaled by exp(M before - M) when it grows (arXiv:2205.14135). */
#ifndef QK_ATTENTION_H
#define QK_ATTENTION_H

#include "../sizes.h"
#include "kernel.h"
#include "vmath.h"

#define KEY_STEP (40 * ROWS)
#define NO_SCORE -1e30f /* below any score of use, and still a number to subtract from */

/* What one call works in. */
typedef struct attention_space {
    float *keys;    /* [panels of keys][key size][ROWS] */
    float *values;  /* [panels of components][n_keys][ROWS] */
    float *queries; /* [key size][TILE] */
    float *scores;  /* [KEY_STEP][TILE], then probabilities */
    float *outputs; /* [components][TILE] */
} attention_space;

/* A tile of queries of one head. */
typedef struct query_tile {
    const qk_attention *what;
    const attention_space *space;
    size_t start;
    float slope;
    const uint8_t *mask; /* of the tile's queries, [..][n_keys]; NULL: causal */
    vf32 position[2], highest[2], total[2];
} query_tile;

/* Divides memory among the parts; gives how many floats they take, SIZE_MAX if too many. */
static size_t divide_space(const qk_attention *what, float *memory, attention_space *space)
{
    const size_t n_components = qk_rounded_up(what->value_size, ROWS);
    const size_t sizes[] = {
        qk_times(qk_rounded_up(what->n_keys, ROWS), what->key_size),
        qk_times(n_components, what->n_keys),
        qk_times(what->key_size, TILE),
        KEY_STEP * TILE,
        qk_times(n_components, TILE),
    };
    float **parts[] = {&space->keys, &space->values, &space->queries, &space->scores,
                       &space->outputs};
    size_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *parts[i] = memory ? memory + used : NULL;
        used = qk_plus(used, qk_rounded_up(sizes[i], 16));
    }
    return used;
}

static size_t attention_workspace(const qk_attention *what)
{
    attention_space space;
    return qk_plus(qk_times(divide_space(what, NULL, &space), sizeof(float)), ALIGNMENT);
}

/* out[c][r] = in[r][c]. */
static void transpose_floats(const float *in, size_t in_stride, size_t n_rows, size_t n_cols,
                             float *out, size_t out_stride)
{
    const size_t rows = n_rows / WIDTH * WIDTH, cols = n_cols / WIDTH * WIDTH;
    for (size_t r = 0; r < rows; r += WIDTH) {
        for (size_t c = 0; c < cols; c += WIDTH) {
            transpose_words((const uint32_t *)(in + r * in_stride + c), in_stride,
                            (uint32_t *)(out + c * out_stride + r), out_stride);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = r < rows ? cols : 0; c < n_cols; c++) {
            out[c * out_stride + r] = in[r * in_stride + c];
        }
    }
}

/* n keys of `size` components, `stride` apart, as panels [size][ROWS]. */
static void pack_keys(const float *k, size_t n, size_t size, size_t stride, float *to)
{
    for (size_t i = 0; i < qk_rounded_up(n, ROWS); i++) {
        float *key = to + i / ROWS * ROWS * size + i % ROWS;
        for (size_t c = 0; c < size; c++) {
            key[c * ROWS] = i < n ? k[i * stride + c] : 0.0f;
        }
    }
}

/* Keys and values of one head, as panels. */
static void pack_head(const qk_attention *what, const float *k, const float *v, size_t head,
                      const attention_space *to)
{
    const size_t n = what->n_keys, key_size = what->key_size, value_size = what->value_size;
    pack_keys(k + head * key_size, n, key_size, what->n_kv_heads * key_size, to->keys);
    v += head * value_size;
    for (size_t first = 0; first < value_size; first += ROWS) {
        float *panel = to->values + first * n;
        const size_t some = value_size - first < ROWS ? value_size - first : ROWS;
        for (size_t i = 0; i < n; i++, panel += ROWS) {
            const float *value = v + i * what->n_kv_heads * value_size + first;
            for (size_t r = 0; r < ROWS; r++) {
                panel[r] = r < some ? value[r] : 0.0f;
            }
        }
    }
}

/* At most TILE queries of `size` components, `stride` apart, as [size][TILE]. */
static void pack_tile(const float *q, size_t n, size_t size, size_t stride, float *to)
{
    if (n < TILE) {
        memset(to, 0, size * TILE * sizeof *to);
    }
    transpose_floats(q, stride, n, size, to, TILE);
}

/* The queries of a tile: TILE, but for the last. */
QK_INLINE size_t n_queries(const query_tile *t)
{
    const size_t left = t->what->n - t->start;
    return left < TILE ? left : TILE;
}

static void pack_queries(const query_tile *t, const float *q, size_t head)
{
    const qk_attention *what = t->what;
    const size_t stride = what->n_heads * what->key_size;
    float *to = t->space->queries;
    pack_tile(q + t->start * stride + head * what->key_size, n_queries(t), what->key_size, stride,
              to);
    for (size_t i = 0; i < what->key_size * TILE; i += WIDTH) {
        vf32_store(to + i, vf32_mul(vf32_load(to + i), vf32_set1(what->scale)));
    }
}

/* ALiBi's bias and the soft cap, of the scores of n keys from `first` on. */
static void adjust_scores(const query_tile *t, size_t first, size_t n)
{
    const float cap = t->what->cap;
    float *score = t->space->scores;
    for (size_t j = first; j < first + n; j++) {
        for (int c = 0; c < 2; c++, score += WIDTH) {
            vf32 s = vf32_load(score);
            if (cap > 0) {
                s = vf32_mul(vf32_set1(cap), vf32_tanh(vf32_div(s, vf32_set1(cap))));
            }
            const vf32 distance = vf32_sub(t->position[c], vf32_set1((float)j));
            vf32_store(score, vf32_fma(distance, vf32_set1(-t->slope), s));
        }
    }
}

/* The keys that a query sees, at most. */
QK_INLINE size_t seen_keys(const qk_attention *what)
{
    return what->window && what->window < what->n ? what->window : what->n;
}

/* Takes away what queries do not see by the mask. */
static void apply_mask(const query_tile *t, size_t first, size_t n)
{
    const uint8_t *seen = t->mask + first;
    for (size_t i = 0; i < n_queries(t); i++, seen += t->what->n_keys) {
        float *score = t->space->scores + i;
        for (size_t j = 0; j < n; j++, score += TILE) {
            *score = seen[j] ? *score : -INFINITY;
        }
    }
}

/* Whether a query of the tile may see one of n keys from `first` on. */
static int sees_any(const query_tile *t, size_t first, size_t n)
{
    const uint8_t *seen = t->mask ? t->mask + first : NULL;
    for (size_t i = 0; seen && i < n_queries(t); i++, seen += t->what->n_keys) {
        for (size_t j = 0; j < n; j++) {
            if (seen[j]) {
                return 1;
            }
        }
    }
    return !seen;
}

/* Takes away what queries do not see: keys after them, and those beyond their window. */
static void mask_scores(const query_tile *t, size_t first, size_t n)
{
    const vf32 unseen = vf32_set1(-INFINITY);
    const size_t window = seen_keys(t->what);
    for (size_t j = first; j < first + n; j++) {
        if (j <= t->start && t->start + TILE <= j + window) {
            continue;
        }
        const vf32 key = vf32_set1((float)j), beyond = vf32_set1((float)(j + window));
        float *score = t->space->scores + (j - first) * TILE;
        for (int c = 0; c < 2; c++, score += WIDTH) {
            vf32 s = vf32_where_less(t->position[c], key, unseen, vf32_load(score));
            vf32_store(score, vf32_where_less(t->position[c], beyond, s, unseen));
        }
    }
}

/* Scores of n keys become exp(score - M); the sums so far are rescaled to the new M. */
static void take_in_scores(query_tile *t, size_t n)
{
    const size_t n_outputs = qk_rounded_up(t->what->value_size, ROWS) * TILE;
    for (size_t c = 0; c < 2; c++) {
        float *scores = t->space->scores + c * WIDTH, *outputs = t->space->outputs + c * WIDTH;
        vf32 highest = t->highest[c], total = vf32_zero();
        for (size_t i = 0; i < n * TILE; i += TILE) {
            highest = vf32_max(vf32_load(scores + i), highest);
        }
        for (size_t i = 0; i < n * TILE; i += TILE) {
            const vf32 p = vf32_exp(vf32_sub(vf32_load(scores + i), highest));
            vf32_store(scores + i, p);
            total = vf32_add(total, p);
        }
        const vf32 factor = vf32_exp(vf32_sub(t->highest[c], highest));
        for (size_t i = 0; i < n_outputs; i += TILE) {
            vf32_store(outputs + i, vf32_mul(vf32_load(outputs + i), factor));
        }
        t->total[c] = vf32_fma(t->total[c], factor, total);
        t->highest[c] = highest;
    }
}

/* Adds what n keys from `first` on give to the tile. */
static void attend_keys(query_tile *t, size_t first, size_t n)
{
    const qk_attention *what = t->what;
    const attention_space *space = t->space;
    for (size_t i = 0; i < n; i += ROWS) {
        const sums_target scores = {space->scores + i * TILE, TILE, 0};
        multiply_f32(space->keys + (first + i) * what->key_size, space->queries, what->key_size,
                     &scores);
    }
    if (t->slope != 0 || what->cap > 0) {
        adjust_scores(t, first, n);
    }
    if (t->mask) {
        apply_mask(t, first, n);
    } else {
        mask_scores(t, first, n);
    }
    take_in_scores(t, n);
    for (size_t c = 0; c < what->value_size; c += ROWS) {
        const sums_target outputs = {space->outputs + c * TILE, TILE, 1};
        multiply_f32(space->values + c * what->n_keys + first * ROWS, space->scores, n, &outputs);
    }
}

static void begin_tile(query_tile *t, size_t head)
{
    const float *slopes = t->what->slopes, *sinks = t->what->sinks;
    t->slope = slopes ? slopes[head] : 0.0f;
    for (size_t c = 0; c < 2; c++) {
        float position[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) {
            position[i] = (float)(t->start + c * WIDTH + i);
        }
        t->position[c] = vf32_load(position);
        t->highest[c] = vf32_set1(sinks ? sinks[head] : NO_SCORE);
        t->total[c] = vf32_set1(sinks ? 1.0f : 0.0f);
    }
    memset(t->space->outputs, 0,
           qk_rounded_up(t->what->value_size, ROWS) * TILE * sizeof *t->space->outputs);
}

/* The outputs of the tile, over the sum of the probabilities, to their place. */
static void end_tile(const query_tile *t, size_t head, float *out)
{
    const qk_attention *what = t->what;
    const size_t stride = what->n_heads * what->value_size;
    float *outputs = t->space->outputs;
    for (size_t i = 0; i < what->value_size * TILE; i += WIDTH) {
        vf32_store(outputs + i, vf32_div(vf32_load(outputs + i), t->total[i / WIDTH % 2]));
    }
    transpose_floats(outputs, TILE, what->value_size, n_queries(t),
                     out + t->start * stride + head * what->value_size, stride);
}

/* The keys that the queries of a tile see are among those from *first to before *end. */
static void bound_keys(const query_tile *t, size_t *first, size_t *end)
{
    const size_t n_seen = seen_keys(t->what);
    *first = 0;
    *end = t->what->n_keys;
    if (!t->mask) {
        *end = t->start + n_queries(t);
        *first = t->start + 1 > n_seen ? (t->start + 1 - n_seen) / ROWS * ROWS : 0;
    }
}

static void attend_head(const qk_attention *what, const attention_space *space, const float *q,
                        size_t head, float *out)
{
    const size_t mask = what->n_masks > 1 ? head / (what->n_heads / what->n_kv_heads) : 0;
    for (size_t start = 0; start < what->n; start += TILE) {
        query_tile t = {.what = what, .space = space, .start = start};
        if (what->mask) {
            t.mask = what->mask + (mask * what->n + start) * what->n_keys;
        }
        size_t first, end;
        bound_keys(&t, &first, &end);
        begin_tile(&t, head);
        pack_queries(&t, q, head);
        for (; first < end; first += KEY_STEP) {
            const size_t n = end - first < KEY_STEP ? end - first : KEY_STEP;
            if (sees_any(&t, first, n)) {
                attend_keys(&t, first, n);
            }
        }
        end_tile(&t, head, out);
    }
}

static void attention(const qk_attention *what, const float *q, const float *k, const float *v,
                      float *out, void *workspace)
{
    const uintptr_t start = ((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t group = what->n_heads / what->n_kv_heads;
    attention_space space;
    divide_space(what, (float *)start, &space);
    for (size_t kv_head = 0; kv_head < what->n_kv_heads; kv_head++) {
        pack_head(what, k, v, kv_head, &space);
        for (size_t i = 0; i < group; i++) {
            attend_head(what, &space, q, kv_head * group + i, out);
        }
    }
}

#endif
