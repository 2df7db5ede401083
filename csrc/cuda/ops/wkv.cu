/* SPDX-License-Identifier: MIT */
/* The states of RWKV-7: see csrc/ops/wkv.h. */
#include "states.cuh"

struct wkv {
    qk_wkv what;
    qk_wkv_inputs in;
    float *out;
};

template <class D> struct wkv_space {
    staged_keys<D> r, kept, k, removed, renewed;
    staged_values<D> values;
};

/* What a thread fetches of them. */
template <class D> struct wkv_fetched {
    fetched_keys<D> r, decay, k, removed, renewed;
    fetched_values<D> values;
};

/* Positions from `start` on of a head, and values from `first` on. */
template <class D>
QKC_INLINE void fetch_positions(const wkv &a, size_t head, size_t first, size_t start,
                                wkv_fetched<D> &to)
{
    const int n = n_positions<D>(a.what.n, start);
    const size_t size = a.what.key_size, stride = a.what.n_heads * size;
    const size_t of_head = start * a.what.n_heads + head, value_size = a.what.value_size;
    fetch<D::KEYS>(a.in.r + of_head * size, size, stride, n, to.r);
    fetch<D::KEYS>(a.in.decay + of_head * size, size, stride, n, to.decay);
    fetch<D::KEYS>(a.in.k + of_head * size, size, stride, n, to.k);
    fetch<D::KEYS>(a.in.removed + of_head * size, size, stride, n, to.removed);
    fetch<D::KEYS>(a.in.renewed + of_head * size, size, stride, n, to.renewed);
    fetch<D::VALUES>(a.in.v + of_head * value_size + first, value_size - first,
                     a.what.n_heads * value_size, n, to.values);
}

template <class D> QKC_INLINE void put_positions(const wkv_fetched<D> &from, wkv_space<D> &space)
{
    put_keys<D>(from.r, as_it_is(), space.r);
    put_keys<D>(from.decay, exp_of(), space.kept);
    put_keys<D>(from.k, as_it_is(), space.k);
    put_keys<D>(from.removed, as_it_is(), space.removed);
    put_keys<D>(from.renewed, as_it_is(), space.renewed);
    put_values<D>(from.values, space.values);
}

/* What is removed finds of the state. */
template <class D>
QKC_INLINE void find(const wkv_space<D> &space, int step, const lane_state<D> &state,
                     float found[LANE_VALUES])
{
    QKC_UNROLL
    for (int v = 0; v < LANE_VALUES; v++) {
        found[v] = 0;
    }
    QKC_UNROLL
    for (int i = 0; i < D::LANE_KEYS / 4; i++) {
        const float4 by = lane_four(space.removed, step, i);
        QKC_UNROLL
        for (int v = 0; v < LANE_VALUES; v++) {
            found[v] = fmaf(by.x, state.at[i][0][v], found[v]);
            found[v] = fmaf(by.y, state.at[i][1][v], found[v]);
            found[v] = fmaf(by.z, state.at[i][2][v], found[v]);
            found[v] = fmaf(by.w, state.at[i][3][v], found[v]);
        }
    }
    sum_keys<D>(found);
}

/* A row of the state after a position. */
QKC_INLINE float renew(float row, float kept, float by, float found, float key, float value)
{
    return fmaf(kept, row, fmaf(by, found, key * value));
}

/* One position: changes the state, and gives what r reads of it. */
template <class D>
QKC_INLINE void take_position(const wkv_space<D> &space, int step, lane_state<D> &state,
                              float out[LANE_VALUES])
{
    float found[LANE_VALUES];
    find(space, step, state, found);
    QKC_UNROLL
    for (int v = 0; v < LANE_VALUES; v++) {
        out[v] = 0;
    }
    QKC_UNROLL
    for (int i = 0; i < D::LANE_KEYS / 4; i++) {
        const float4 kept = lane_four(space.kept, step, i), by = lane_four(space.renewed, step, i);
        const float4 k = lane_four(space.k, step, i), r = lane_four(space.r, step, i);
        QKC_UNROLL
        for (int v = 0; v < LANE_VALUES; v++) {
            const float value = space.values.row[step][lane_value<D>() + v];
            float *row[4] = {&state.at[i][0][v], &state.at[i][1][v], &state.at[i][2][v],
                             &state.at[i][3][v]};
            *row[0] = renew(*row[0], kept.x, by.x, found[v], k.x, value);
            *row[1] = renew(*row[1], kept.y, by.y, found[v], k.y, value);
            *row[2] = renew(*row[2], kept.z, by.z, found[v], k.z, value);
            *row[3] = renew(*row[3], kept.w, by.w, found[v], k.w, value);
            out[v] = fmaf(r.x, *row[0], out[v]);
            out[v] = fmaf(r.y, *row[1], out[v]);
            out[v] = fmaf(r.z, *row[2], out[v]);
            out[v] = fmaf(r.w, *row[3], out[v]);
        }
    }
    sum_keys<D>(out);
}

/* All positions of a head, for D::VALUES components of the values from `first` on. */
template <class D>
QKC_INLINE void take_head(const wkv &a, size_t head, size_t first, wkv_space<D> &space)
{
    const qk_wkv &what = a.what;
    lane_state<D> state = {};
    wkv_fetched<D> next;
    fetch_positions(a, head, first, 0, next);
    for (size_t start = 0; start < what.n; start += D::STEPS) {
        __syncthreads();
        put_positions(next, space);
        __syncthreads();
        if (start + D::STEPS < what.n) {
            fetch_positions(a, head, first, start + D::STEPS, next);
        }
        for (int step = 0; step < n_positions<D>(what.n, start); step++) {
            float out[LANE_VALUES];
            take_position(space, step, state, out);
            const size_t row = (start + (size_t)step) * what.n_heads + head;
            store_values<D>(out, what.value_size - first, a.out + row * what.value_size + first);
        }
    }
}

template <class D> static __global__ void __launch_bounds__(THREADS) wkv_kernel(wkv a)
{
    __shared__ wkv_space<D> space;
    const size_t n_parts = qkc_parts(a.what.value_size, D::VALUES);
    for (size_t task = blockIdx.x; task < a.what.n_heads * n_parts; task += gridDim.x) {
        take_head(a, task / n_parts, task % n_parts * D::VALUES, space);
    }
}

template <class D> static int launch_wkv(const wkv &a, void *stream)
{
    const dim3 grid = qkc_grid(a.what.n_heads * qkc_parts(a.what.value_size, D::VALUES));
    return QKC_LAUNCH(wkv_kernel<D>, grid, WARPS * QKC_WARP, stream, a);
}

int qkc_wkv7(const qk_wkv *what, const qk_wkv_inputs *in, float *out, void *stream)
{
    qk_status status = in ? qk_check_wkv_sizes(what) : QK_BAD_ARRAY;
    if (status == QK_OK) {
        const size_t n_keys = qk_count(what->n, what->n_heads, what->key_size);
        const size_t n_values = qk_count(what->n, what->n_heads, what->value_size);
        const qk_array arrays[] = {
            QK_READ_FLOATS(in->r, n_keys),       QK_READ_FLOATS(in->decay, n_keys),
            QK_READ_FLOATS(in->k, n_keys),       QK_READ_FLOATS(in->v, n_values),
            QK_READ_FLOATS(in->removed, n_keys), QK_READ_FLOATS(in->renewed, n_keys),
            QK_WRITTEN_FLOATS(out, n_values),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK || !what->n) {
        return -(int)status;
    }
    const wkv a = {*what, *in, out};
    return with_division(what->key_size,
                         [&](auto d) { return launch_wkv<decltype(d)>(a, stream); });
}
