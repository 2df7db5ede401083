/* SPDX-License-Identifier: MIT */
/* Activations to codes: see csrc/ops/pack.h, whose codes and items these are.  A warp takes the
 * columns of a row that share a scale. */
#define LANES 1
#include "../lane_cuda.h"

#include "../../ops/half.h"
#include "codes.cuh"
#include "reduce.cuh"

#define I16_TOP 32767 /* the largest code */
#define Q8_TOP 127

struct packing_task {
    const float *x;
    size_t m, k;
    codes to;
};

/* 32 or 256 columns: a lane has every 32nd. */
template <int PACKING> constexpr int n_parts = QK_COLUMNS_PER_SCALE(PACKING) / QKC_WARP;

/* Of all lanes. */
QKC_INLINE int largest_of_warp(int value)
{
    for (int step = QKC_WARP / 2; step; step /= 2) {
        value = max(value, __shfl_xor_sync(QKC_WHOLE_WARP, value, step));
    }
    return value;
}

QKC_INLINE int magnitude_bits(float x) { return __float_as_int(x) & INT32_MAX; }

/* |x| of the largest; NaN if there is one. */
template <int N> QKC_INLINE float largest_magnitude(const float (&x)[N])
{
    int bits = 0;
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        bits = max(bits, magnitude_bits(x[i]));
    }
    return __int_as_float(largest_of_warp(bits));
}

/* The first number of this magnitude. */
template <int N> QKC_INLINE float first_with(const float (&x)[N], float magnitude)
{
    float found = 0;
    bool is_found = false;
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        const bool has = magnitude_bits(x[i]) == __float_as_int(magnitude);
        const unsigned lanes = __ballot_sync(QKC_WHOLE_WARP, has);
        const float first = __shfl_sync(QKC_WHOLE_WARP, x[i], lanes ? __ffs((int)lanes) - 1 : 0);
        found = lanes && !is_found ? first : found;
        is_found = is_found || lanes;
    }
    return found;
}

/* The integer nearest to x * inverse, half to even; at most 2^15 in size. */
QKC_INLINE int rounded_code(float x, float inverse)
{
    return __float_as_int(x * inverse + QKC_TO_INTEGER) - __float_as_int(QKC_TO_INTEGER);
}

/* The scale, and codes of x: the largest gets +-top, or of 256 the first largest -127. */
template <int PACKING, int N> QKC_INLINE float quantize(const float (&x)[N], int (&code)[N])
{
    const bool is_q8_k = PACKING == QK_PACKED_Q8_K;
    const float top = PACKING == QK_PACKED_I16 ? I16_TOP : Q8_TOP;
    const float largest = largest_magnitude(x);
    float inverse = top / largest;
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        code[i] = 0;
    }
    if (!(inverse <= FLT_MAX) || !(largest <= FLT_MAX)) { /* as good as 0, or not finite */
        return largest <= FLT_MAX ? 0.0f : NAN;
    }
    if (is_q8_k) {
        inverse = -top / first_with(x, largest);
    }
    QKC_UNROLL
    for (int i = 0; i < N; i++) {
        code[i] = rounded_code(x[i], inverse);
        code[i] = is_q8_k ? min(code[i], Q8_TOP) : code[i];
    }
    return is_q8_k ? 1.0f / inverse : largest / top;
}

/* A lane's code, of the 32 of a group and a row. */
template <int PACKING> QKC_INLINE void put_code(const codes &to, size_t group, size_t row, int code)
{
    const size_t lane = threadIdx.x % QKC_WARP, word = x_word_place(row, lane / 4);
    const size_t at = group * to.rows * QK_GROUP + word * sizeof(uint32_t) + lane % 4;
    if (PACKING == QK_PACKED_I16) {
        to.bytes[at] = (uint8_t)(code >> 8);
        to.bytes[at + to.n_groups * to.rows * QK_GROUP] = (uint8_t)code;
    } else {
        to.bytes[at] = (uint8_t)code;
    }
}

/* What codes of 32 have in common: the item of a lane. */
template <int PACKING> QKC_INLINE float item_of(int code, float scale)
{
    const int lane = (int)threadIdx.x % QKC_WARP;
    const int all = qkc_warp_sum(code), first = qkc_warp_sum(lane < QK_GROUP / 2 ? code : 0);
    const float unit = PACKING == QK_PACKED_Q8_K ? 1.0f : scale;
    const float item = lane == X_SCALE       ? scale
                       : lane == X_SUM       ? unit * (float)all
                       : lane == X_FIRST_SUM ? unit * (float)first
                                             : unit * (float)(all - first);
    return PACKING == QK_PACKED_Q8_0 && lane <= X_SUM ? rounded_to_half(item) : item;
}

QKC_INLINE void put_item(const codes &to, size_t group, size_t row, float item)
{
    const size_t lane = threadIdx.x % QKC_WARP;
    if (lane < X_ITEMS) {
        to.items[(group * X_ITEMS + lane) * to.rows + row] = item;
    }
}

/* The columns of a row that share a scale, from group `first` on. */
template <int PACKING> QKC_INLINE void pack_row(const packing_task &t, size_t row, size_t first)
{
    const int parts = n_parts<PACKING>;
    const float *from = t.x + row * t.k + first * QK_GROUP + threadIdx.x % QKC_WARP;
    float x[parts];
    int code[parts];
    QKC_UNROLL
    for (int i = 0; i < parts; i++) {
        x[i] = from[i * QK_GROUP];
    }
    const float scale = quantize<PACKING>(x, code);
    QKC_UNROLL
    for (int i = 0; i < parts; i++) {
        put_code<PACKING>(t.to, first + (size_t)i, row, code[i]);
        put_item(t.to, first + (size_t)i, row, item_of<PACKING>(code[i], scale));
    }
}

template <int PACKING>
static __global__ void __launch_bounds__(QKC_THREADS) pack_kernel(packing_task t)
{
    const size_t parts = n_parts<PACKING>, at_once = QKC_THREADS / QKC_WARP;
    const size_t n_tasks = t.to.rows * (t.to.n_groups / parts);
    for (size_t task = blockIdx.x * at_once + threadIdx.x / QKC_WARP; task < n_tasks;
         task += gridDim.x * at_once) {
        const size_t row = task % t.to.rows, first = task / t.to.rows * parts;
        if (row < t.m) {
            pack_row<PACKING>(t, row, first);
            continue;
        }
        for (size_t i = first; i < first + parts; i++) { /* rows of zeros */
            put_code<PACKING>(t.to, i, row, 0);
            put_item(t.to, i, row, 0);
        }
    }
}

/* ---- checks ---- */

int qkc_packed_bytes(int packing, size_t m, size_t k, size_t *bytes)
{
    if (packing < QK_PACKED_I16 || packing > QK_PACKED_Q8_K) {
        return QKC_UNKNOWN_PACKING;
    }
    const size_t n_bytes = codes_bytes(packed_rows(m), k, n_planes(packing), X_ITEMS);
    if (k % QK_COLUMNS_PER_SCALE(packing) || n_bytes > QK_MOST_BYTES) {
        return QKC_BAD_SHAPE;
    }
    if (!bytes) {
        return QKC_BAD_ARRAY;
    }
    *bytes = n_bytes;
    return 0;
}

int qkc_pack_activations(int packing, const float *x, size_t m, size_t k, void *packed,
                         void *stream)
{
    size_t n_bytes = 0;
    int status = qkc_packed_bytes(packing, m, k, &n_bytes);
    if (status) {
        return status;
    }
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, qk_times(m, k)),
        {packed, n_bytes, CODES_ALIGNMENT, QK_WRITTEN},
    };
    status = QKC_CHECK_ARRAYS(arrays);
    if (status || !n_bytes) {
        return status;
    }
    const packing_task task = {x, m, k, packed_codes(packed, packing, m, k)};
    const size_t n_tasks = task.to.rows * (k / QK_COLUMNS_PER_SCALE(packing));
    const dim3 grid = qkc_grid(qkc_parts(n_tasks, QKC_THREADS / QKC_WARP));
    auto *kernel = packing == QK_PACKED_I16    ? pack_kernel<QK_PACKED_I16>
                   : packing == QK_PACKED_Q8_0 ? pack_kernel<QK_PACKED_Q8_0>
                                               : pack_kernel<QK_PACKED_Q8_K>;
    return QKC_LAUNCH(kernel, grid, QKC_THREADS, stream, task);
}
