/* SPDX-License-Identifier: MIT */
/* The gated delta rule and linear attention with decay: csrc/ops/recurrence.h says which.  Here
 * positions are taken one after the other. */
#include "states.cuh"

struct recurrence {
    qk_recurrence what;
    const float *q, *k, *v, *decay;
    float *out;
};

template <class D> struct recurrence_space {
    staged_keys<D> queries, keys, kept; /* kept: exp(decay), if components differ */
    staged_values<D> values;
    float beta[D::STEPS], kept_alike[D::STEPS];
};

/* What a thread fetches of them. */
template <class D> struct recurrence_fetched {
    fetched_keys<D> queries, keys, decays;
    fetched_values<D> values;
    float beta, decay; /* of a position, if components do not differ */
};

/* Positions from `start` on of a head, and values from `first` on. */
template <class D, bool OWN_DECAYS>
QKC_INLINE void fetch_positions(const recurrence &a, size_t head, size_t first, size_t start,
                                recurrence_fetched<D> &to)
{
    const qk_recurrence &what = a.what;
    const int n = n_positions<D>(what.n, start);
    const size_t size = what.key_size, stride = what.n_key_heads * size;
    const size_t key_head = head / (what.n_heads / what.n_key_heads);
    const size_t at = start * stride + key_head * size, of_head = start * what.n_heads + head;
    fetch<D::KEYS>(a.q + at, size, stride, n, to.queries);
    fetch<D::KEYS>(a.k + at, size, stride, n, to.keys);
    fetch<D::VALUES>(a.v + of_head * what.value_size + first, what.value_size - first,
                     what.n_heads * what.value_size, n, to.values);
    if (OWN_DECAYS) {
        fetch<D::KEYS>(a.decay + of_head * size, size, what.n_heads * size, n, to.decays);
    }
    const size_t own = of_head + threadIdx.x * what.n_heads;
    const bool is_there = (int)threadIdx.x < n;
    to.beta = is_there && what.beta ? what.beta[own] : 0.0f;
    to.decay = is_there && !OWN_DECAYS ? a.decay[own] : 0.0f;
}

template <class D, bool OWN_DECAYS>
QKC_INLINE void put_positions(const recurrence &a, const recurrence_fetched<D> &from,
                              recurrence_space<D> &space)
{
    put_keys<D>(from.queries, times{a.what.scale}, space.queries);
    put_keys<D>(from.keys, as_it_is(), space.keys);
    put_values<D>(from.values, space.values);
    if (OWN_DECAYS) {
        put_keys<D>(from.decays, exp_of(), space.kept);
    }
    if (threadIdx.x < D::STEPS) {
        space.beta[threadIdx.x] = from.beta;
        space.kept_alike[threadIdx.x] = qkc_exp(from.decay);
    }
}

/* One position: changes the state, and gives what the query reads of it. */
template <class D, bool DELTA, bool OWN_DECAYS>
QKC_INLINE void take_position(const recurrence_space<D> &space, int step, lane_state<D> &state,
                              float out[LANE_VALUES])
{
    float found[LANE_VALUES] = {}, added[LANE_VALUES];
    QKC_UNROLL
    for (int i = 0; i < D::LANE_KEYS / 4; i++) {
        const float alike = space.kept_alike[step];
        const float4 k = lane_four(space.keys, step, i);
        const float4 e =
            OWN_DECAYS ? lane_four(space.kept, step, i) : make_float4(alike, alike, alike, alike);
        QKC_UNROLL
        for (int v = 0; v < LANE_VALUES; v++) {
            state.at[i][0][v] *= e.x;
            state.at[i][1][v] *= e.y;
            state.at[i][2][v] *= e.z;
            state.at[i][3][v] *= e.w;
            if (DELTA) {
                found[v] = fmaf(k.x, state.at[i][0][v], found[v]);
                found[v] = fmaf(k.y, state.at[i][1][v], found[v]);
                found[v] = fmaf(k.z, state.at[i][2][v], found[v]);
                found[v] = fmaf(k.w, state.at[i][3][v], found[v]);
            }
        }
    }
    if (DELTA) {
        sum_keys<D>(found);
    }
    QKC_UNROLL
    for (int v = 0; v < LANE_VALUES; v++) {
        const float value = space.values.row[step][lane_value<D>() + v];
        added[v] = DELTA ? space.beta[step] * (value - found[v]) : value;
        out[v] = 0;
    }
    QKC_UNROLL
    for (int i = 0; i < D::LANE_KEYS / 4; i++) {
        const float4 k = lane_four(space.keys, step, i), q = lane_four(space.queries, step, i);
        QKC_UNROLL
        for (int v = 0; v < LANE_VALUES; v++) {
            state.at[i][0][v] = fmaf(k.x, added[v], state.at[i][0][v]);
            state.at[i][1][v] = fmaf(k.y, added[v], state.at[i][1][v]);
            state.at[i][2][v] = fmaf(k.z, added[v], state.at[i][2][v]);
            state.at[i][3][v] = fmaf(k.w, added[v], state.at[i][3][v]);
            out[v] = fmaf(q.x, state.at[i][0][v], out[v]);
            out[v] = fmaf(q.y, state.at[i][1][v], out[v]);
            out[v] = fmaf(q.z, state.at[i][2][v], out[v]);
            out[v] = fmaf(q.w, state.at[i][3][v], out[v]);
        }
    }
    sum_keys<D>(out);
}

/* All positions of a head, for D::VALUES components of the values from `first` on. */
template <class D, bool DELTA, bool OWN_DECAYS>
QKC_INLINE void take_head(const recurrence &a, size_t head, size_t first,
                          recurrence_space<D> &space)
{
    const qk_recurrence &what = a.what;
    lane_state<D> state = {};
    recurrence_fetched<D> next;
    fetch_positions<D, OWN_DECAYS>(a, head, first, 0, next);
    for (size_t start = 0; start < what.n; start += D::STEPS) {
        __syncthreads();
        put_positions<D, OWN_DECAYS>(a, next, space);
        __syncthreads();
        if (start + D::STEPS < what.n) {
            fetch_positions<D, OWN_DECAYS>(a, head, first, start + D::STEPS, next);
        }
        for (int step = 0; step < n_positions<D>(what.n, start); step++) {
            float out[LANE_VALUES];
            take_position<D, DELTA, OWN_DECAYS>(space, step, state, out);
            const size_t row = (start + (size_t)step) * what.n_heads + head;
            store_values<D>(out, what.value_size - first, a.out + row * what.value_size + first);
        }
    }
}

template <class D, bool DELTA, bool OWN_DECAYS>
static __global__ void __launch_bounds__(THREADS) recurrence_kernel(recurrence a)
{
    __shared__ recurrence_space<D> space;
    const size_t n_parts = qkc_parts(a.what.value_size, D::VALUES);
    for (size_t task = blockIdx.x; task < a.what.n_heads * n_parts; task += gridDim.x) {
        take_head<D, DELTA, OWN_DECAYS>(a, task / n_parts, task % n_parts * D::VALUES, space);
    }
}

template <class D> static int launch_recurrence(const recurrence &a, void *stream)
{
    const dim3 grid = qkc_grid(a.what.n_heads * qkc_parts(a.what.value_size, D::VALUES));
    const bool has_own = a.what.decay_size > 1;
    const auto kernel =
        a.what.beta
            ? (has_own ? recurrence_kernel<D, true, true> : recurrence_kernel<D, true, false>)
            : (has_own ? recurrence_kernel<D, false, true> : recurrence_kernel<D, false, false>);
    return QKC_LAUNCH(kernel, grid, WARPS * QKC_WARP, stream, a);
}

int qkc_recur(const qk_recurrence *what, const float *q, const float *k, const float *v,
              const float *decay, float *out, void *stream)
{
    qk_status status = qk_check_recurrence_sizes(what);
    if (status == QK_OK) {
        const qk_array arrays[] = {
            QK_READ_FLOATS(q, qk_count(what->n, what->n_key_heads, what->key_size)),
            QK_READ_FLOATS(k, qk_count(what->n, what->n_key_heads, what->key_size)),
            QK_READ_FLOATS(v, qk_count(what->n, what->n_heads, what->value_size)),
            QK_READ_FLOATS(decay, qk_count(what->n, what->n_heads, what->decay_size)),
            QK_OPTIONAL_FLOATS(what->beta, qk_times(what->n, what->n_heads)),
            QK_WRITTEN_FLOATS(out, qk_count(what->n, what->n_heads, what->value_size)),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK || !what->n) {
        return -(int)status;
    }
    const recurrence a = {*what, q, k, v, decay, out};
    return with_division(what->key_size,
                         [&](auto d) { return launch_recurrence<decltype(d)>(a, stream); });
}
