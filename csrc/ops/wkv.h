/* SPDX-License-Identifier: MIT */
/* The states of RWKV-7 (arXiv:2503.14456): a delta rule that removes along one vector and adds
 * along another.  The lanes are components of the values, and a tile's state stays in the cache. */
#ifndef QK_WKV_H
#define QK_WKV_H

#include "../sizes.h"
#include "kernel.h"
#include "vmath.h"

/* Rows of the state that are summed apart, so that no sum waits for the one before it. */
#define WKV_ROWS 4

/* What one call works in.  Rows are `row` floats, 0 beyond the size of keys. */
typedef struct wkv_space {
    size_t n_rows, row;
    float *state;             /* [n_rows][TILE] */
    float *r, *kept, *k;      /* [row]; `kept` is what the decay leaves */
    float *removed, *renewed; /* [row] */
} wkv_space;

/* Divides memory among the parts; gives how many floats they take, SIZE_MAX if too many. */
static size_t divide_wkv_space(const qk_wkv *what, float *memory, wkv_space *space)
{
    space->n_rows = qk_rounded_up(what->key_size, WKV_ROWS);
    space->row = qk_rounded_up(space->n_rows, WIDTH);
    const size_t state = qk_times(space->n_rows, TILE);
    float **parts[] = {&space->r, &space->kept, &space->k, &space->removed, &space->renewed};
    space->state = memory;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i] = memory ? memory + state + i * space->row : NULL;
    }
    return qk_plus(state, qk_times(space->row, sizeof parts / sizeof *parts));
}

static size_t wkv_workspace(const qk_wkv *what)
{
    wkv_space space;
    return qk_plus(qk_times(divide_wkv_space(what, NULL, &space), sizeof(float)), ALIGNMENT);
}

/* The rows of one head at one position. */
static void load_wkv_rows(const qk_wkv *what, const qk_wkv_inputs *in, size_t at, wkv_space *s)
{
    for (size_t i = 0; i < what->key_size; i += WIDTH) {
        const size_t left = what->key_size - i;
        vf32_store(s->r + i, load_up_to(in->r + at + i, left, 0.0f));
        vf32_store(s->k + i, load_up_to(in->k + at + i, left, 0.0f));
        vf32_store(s->removed + i, load_up_to(in->removed + at + i, left, 0.0f));
        vf32_store(s->renewed + i, load_up_to(in->renewed + at + i, left, 0.0f));
        vf32_store(s->kept + i, vf32_exp(load_up_to(in->decay + at + i, left, 0.0f)));
    }
}

QK_INLINE vf32 sum_of_rows(const vf32 sum[WKV_ROWS])
{
    return vf32_add(vf32_add(sum[0], sum[1]), vf32_add(sum[2], sum[3]));
}

/* One position of a tile of values: changes the state, and gives what r reads of it. */
static void take_wkv_position(const wkv_space *s, vf32 v0, vf32 v1, vf32 *out0, vf32 *out1)
{
    vf32 low[WKV_ROWS], high[WKV_ROWS];
    UNROLL for (int r = 0; r < WKV_ROWS; r++) { low[r] = high[r] = vf32_zero(); }
    for (size_t i = 0; i < s->n_rows; i += WKV_ROWS) {
        UNROLL for (int r = 0; r < WKV_ROWS; r++)
        {
            const float *row = s->state + (i + (size_t)r) * TILE;
            const vf32 by = vf32_set1(s->removed[i + (size_t)r]);
            low[r] = vf32_fma(vf32_load(row), by, low[r]);
            high[r] = vf32_fma(vf32_load(row + WIDTH), by, high[r]);
        }
    }
    const vf32 found0 = sum_of_rows(low), found1 = sum_of_rows(high);
    UNROLL for (int r = 0; r < WKV_ROWS; r++) { low[r] = high[r] = vf32_zero(); }
    for (size_t i = 0; i < s->n_rows; i += WKV_ROWS) {
        UNROLL for (int r = 0; r < WKV_ROWS; r++)
        {
            const size_t at = i + (size_t)r;
            float *row = s->state + at * TILE;
            const vf32 kept = vf32_set1(s->kept[at]), by = vf32_set1(s->renewed[at]);
            const vf32 key = vf32_set1(s->k[at]), read = vf32_set1(s->r[at]);
            const vf32 own0 = vf32_fma(by, found0, vf32_mul(key, v0));
            const vf32 own1 = vf32_fma(by, found1, vf32_mul(key, v1));
            const vf32 now0 = vf32_fma(kept, vf32_load(row), own0);
            const vf32 now1 = vf32_fma(kept, vf32_load(row + WIDTH), own1);
            vf32_store(row, now0);
            vf32_store(row + WIDTH, now1);
            low[r] = vf32_fma(read, now0, low[r]);
            high[r] = vf32_fma(read, now1, high[r]);
        }
    }
    *out0 = sum_of_rows(low);
    *out1 = sum_of_rows(high);
}

/* All positions of one head, for the components of the values from `first` on. */
static void take_wkv_tile(const qk_wkv *what, const qk_wkv_inputs *in, size_t head, size_t first,
                          wkv_space *s, float *out)
{
    const size_t left = what->value_size - first;
    memset(s->state, 0, s->n_rows * TILE * sizeof *s->state);
    for (size_t i = 0; i < what->n; i++) {
        const size_t pair = i * what->n_heads + head;
        const float *v = in->v + pair * what->value_size + first;
        float *to = out + pair * what->value_size + first;
        load_wkv_rows(what, in, pair * what->key_size, s);
        const vf32 low = load_up_to(v, left, 0.0f);
        const vf32 high = left > WIDTH ? load_up_to(v + WIDTH, left - WIDTH, 0.0f) : vf32_zero();
        vf32 out0, out1;
        take_wkv_position(s, low, high, &out0, &out1);
        store_up_to(to, left, out0);
        if (left > WIDTH) {
            store_up_to(to + WIDTH, left - WIDTH, out1);
        }
    }
}

static void wkv7(const qk_wkv *what, const qk_wkv_inputs *in, float *out, void *workspace)
{
    const uintptr_t start = ((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    wkv_space space;
    const size_t used = divide_wkv_space(what, (float *)start, &space);
    memset((float *)start, 0, used * sizeof(float)); /* also what pads rows */
    for (size_t head = 0; head < what->n_heads; head++) {
        for (size_t first = 0; first < what->value_size; first += TILE) {
            take_wkv_tile(what, in, head, first, &space, out);
        }
    }
}

#endif
