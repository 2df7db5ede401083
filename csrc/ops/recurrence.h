/* SPDX-License-Identifier: MIT */
/* Layers whose state is a matrix: the gated delta rule (arXiv:2412.06464), with a decay for each
 * component of the keys (Kimi Delta Attention, arXiv:2510.26692) or for all, and without the delta
 * rule, linear attention with decay (Mamba-2, arXiv:2405.21060).
 *
 * CHUNK positions are taken at once, so that nearly all work is products with the microkernel's
 * shape.  With S before the chunk, and D(i, j) the decay after position j up to i, the new values
 *
 *     u_i = beta_i (v_i - (D(i, start) k_i)^T S - sum over j < i of (k_i^T D(i, j) k_j) u_j)
 *
 * follow one from the other, and all else from them:
 *
 *     out_i = scale ((D(i, start) q_i)^T S + sum over j <= i of (q_i^T D(i, j) k_j) u_j)
 *     S after the chunk = D(end, start) S + sum over j of (D(end, j) k_j) u_j^T
 *
 * Decays are products of factors exp(decay), never exp(a) / exp(b): they may be as strong as they
 * like.  An output depends on no later position. */
#ifndef QK_RECURRENCE_H
#define QK_RECURRENCE_H

#include "recurrence_chunk.h"

/* The values of a tile, times beta, from the component `first` on. */
static void load_values(const recurrence_chunk *c, const float *v, size_t first)
{
    const qk_recurrence *what = c->what;
    const size_t stride = what->n_heads * what->value_size, left = what->value_size - first;
    float *to = c->space.values;
    v += c->start * stride + c->head * what->value_size + first;
    for (size_t i = 0; i < c->n; i++, v += stride, to += TILE) {
        const vf32 by = vf32_set1(beta_of(c, i));
        const vf32 low = load_up_to(v, left, 0.0f);
        const vf32 high = left > WIDTH ? load_up_to(v + WIDTH, left - WIDTH, 0.0f) : vf32_zero();
        vf32_store(to, vf32_mul(low, by));
        vf32_store(to + WIDTH, vf32_mul(high, by));
    }
    memset(to, 0, (qk_rounded_up(c->n, ROWS) - c->n) * TILE * sizeof *to);
}

static void store_outputs(const recurrence_chunk *c, size_t first, float *out)
{
    const qk_recurrence *what = c->what;
    const size_t stride = what->n_heads * what->value_size, left = what->value_size - first;
    const float *from = c->space.outputs;
    out += c->start * stride + c->head * what->value_size + first;
    for (size_t i = 0; i < c->n; i++, out += stride, from += TILE) {
        store_up_to(out, left, vf32_load(from));
        if (left > WIDTH) {
            store_up_to(out + WIDTH, left - WIDTH, vf32_load(from + WIDTH));
        }
    }
}

/* Adds factors[j] times row j of the values, j in first .. end - 1, to a row. */
QK_INLINE void add_values(const recurrence_chunk *c, const float *factors, size_t first, size_t end,
                          float *row)
{
    vf32 low = vf32_load(row), high = vf32_load(row + WIDTH);
    for (size_t j = first; j < end; j++) {
        const float *value = c->space.values + j * TILE;
        const vf32 by = vf32_set1(factors[j]);
        low = vf32_fma(vf32_load(value), by, low);
        high = vf32_fma(vf32_load(value + WIDTH), by, high);
    }
    vf32_store(row, low);
    vf32_store(row + WIDTH, high);
}

/* The new values of a tile, in the place of the values times beta. */
static void solve_values(const recurrence_chunk *c, const float *state)
{
    const recurrence_space *s = &c->space;
    for (size_t i = 0; i < c->n; i += ROWS) {
        const sums_target to = {s->values + i * TILE, TILE, 1};
        multiply_rows(s->keys + i * s->row, s->row, state, c->what->key_size, &to);
        multiply_rows(s->among_keys + i * PAIRS, PAIRS, s->values, i, &to);
        for (size_t r = i + 1; r < i + ROWS && r < c->n; r++) {
            add_values(c, s->among_keys + r * PAIRS, i, r, s->values + r * TILE);
        }
    }
}

static void find_outputs(const recurrence_chunk *c, const float *state)
{
    const recurrence_space *s = &c->space;
    for (size_t i = 0; i < c->n; i += ROWS) {
        const sums_target first = {s->outputs + i * TILE, TILE, 0};
        const sums_target more = {s->outputs + i * TILE, TILE, 1};
        multiply_rows(s->queries + i * s->row, s->row, state, c->what->key_size, &first);
        multiply_rows(s->to_keys + i * PAIRS, PAIRS, s->values, i, &more);
        for (size_t r = i; r < i + ROWS && r < c->n; r++) {
            add_values(c, s->to_keys + r * PAIRS, i, r + 1, s->outputs + r * TILE);
        }
    }
}

/* ROWS components of the keys: y = y times their decay, plus keys times values. */
static void update_rows(const recurrence_chunk *c, size_t first, float *y)
{
    const recurrence_space *s = &c->space;
    const float *x = s->late_keys + first, *w = s->values;
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        const vf32 by = vf32_set1(s->total[first + (size_t)r]);
        sum[r][0] = vf32_mul(vf32_load(y + r * TILE), by);
        sum[r][1] = vf32_mul(vf32_load(y + r * TILE + WIDTH), by);
    }
    for (size_t j = 0; j < c->n; j++, x += s->row, w += TILE) {
        const vf32 w0 = vf32_load(w), w1 = vf32_load(w + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x[r]);
            sum[r][0] = vf32_fma(w0, v, sum[r][0]);
            sum[r][1] = vf32_fma(w1, v, sum[r][1]);
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        vf32_store(y + r * TILE, sum[r][0]);
        vf32_store(y + r * TILE + WIDTH, sum[r][1]);
    }
}

static void take_chunk(recurrence_chunk *c, const float *v, float *out)
{
    const qk_recurrence *what = c->what;
    const size_t n_rows = qk_rounded_up(what->key_size, ROWS);
    float *state = c->space.state;
    for (size_t first = 0; first < what->value_size; first += TILE, state += n_rows * TILE) {
        load_values(c, v, first);
        if (what->beta) {
            solve_values(c, state);
        }
        find_outputs(c, state);
        store_outputs(c, first, out);
        for (size_t row = 0; row < n_rows; row += ROWS) {
            update_rows(c, row, state + row * TILE);
        }
    }
}

static size_t recurrence_workspace(const qk_recurrence *what)
{
    recurrence_space space;
    return qk_plus(qk_times(divide_chunk_space(what, NULL, &space), sizeof(float)), ALIGNMENT);
}

static void recur(const qk_recurrence *what, const float *q, const float *k, const float *v,
                  const float *decay, float *out, void *workspace)
{
    const uintptr_t start = ((uintptr_t)workspace + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t n_states = qk_rounded_up(what->value_size, TILE);
    recurrence_chunk c = {.what = what, .q = q, .k = k, .decay = decay};
    const size_t used = divide_chunk_space(what, (float *)start, &c.space);
    memset((float *)start, 0, used * sizeof(float)); /* also what pads rows */
    for (c.head = 0; c.head < what->n_heads; c.head++) {
        memset(c.space.state, 0,
               n_states * qk_rounded_up(what->key_size, ROWS) * sizeof *c.space.state);
        for (c.start = 0; c.start < what->n; c.start += CHUNK) {
            c.n = what->n - c.start < CHUNK ? what->n - c.start : CHUNK;
            prepare_chunk(&c);
            take_chunk(&c, v, out);
        }
    }
}

#endif
