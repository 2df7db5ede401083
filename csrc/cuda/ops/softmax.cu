/* SPDX-License-Identifier: MIT */
/* The softmax of rows of logits, tile by tile: csrc/ops/softmax.h, operation by operation, save for
 * the order of the sums.  A block takes a row. */
#include "checks.h"
#include "reduce.cuh"

#define WARPS (QKC_THREADS / QKC_WARP)
#define NO_LOGIT -3e38f
#define LEAST_EXPONENT -87.0f

/* exp(x) of x <= 0 in double precision, 0 from -700 on. */
QKC_INLINE double exp_of_negative(double x)
{
    if (x < -700) {
        return 0;
    }
    const double n = (double)(int)(x * 1.4426950408889634 - 0.5);
    const double r = (x - n * 0.693145751953125) - n * 1.4286068203094172e-6;
    double p = 1;
    for (int i = 13; i > 0; i--) {
        p = 1 + p * r / i;
    }
    return p * __longlong_as_double((long long)(1023 + (int)n) << 52);
}

/* ---- the highest logit ---- */

struct place {
    float logit;
    size_t at;
};

/* The higher, or the first of equal ones. */
QKC_INLINE place first_highest(const place &a, const place &b)
{
    return b.logit > a.logit || (b.logit == a.logit && b.at < a.at) ? b : a;
}

/* The first place of the highest of n > 0 logits; NaN is none. */
QKC_INLINE place highest_of(const float *logits, size_t n, place *shared)
{
    place best = {NO_LOGIT, n - 1};
    for (size_t i = threadIdx.x; i < n; i += QKC_THREADS) {
        best = first_highest(best, {logits[i], i});
    }
    for (int step = QKC_WARP / 2; step; step /= 2) {
        const place other = {__shfl_xor_sync(QKC_WHOLE_WARP, best.logit, step),
                             __shfl_xor_sync(QKC_WHOLE_WARP, best.at, step)};
        best = first_highest(best, other);
    }
    if (threadIdx.x % QKC_WARP == 0) {
        shared[threadIdx.x / QKC_WARP] = best;
    }
    __syncthreads();
    for (int i = 0; i < WARPS; i++) {
        best = first_highest(best, shared[i]);
    }
    return best;
}

/* What a row's tile is. */
struct row_tile {
    const float *logits;
    size_t n;
    int64_t first, target;
};

/* Takes in the highest logit and the target's; what sums so far are to be rescaled by.  All threads
 * have the row in the end. */
QKC_INLINE double look_at(const row_tile &tile, qk_softmax &row, place *shared)
{
    if (tile.target >= tile.first && tile.target - tile.first < (int64_t)tile.n) {
        row.wanted = tile.logits[tile.target - tile.first];
    }
    const place best = highest_of(tile.logits, tile.n, shared);
    if (!(best.logit > row.highest)) {
        return 1;
    }
    const double factor = exp_of_negative((double)row.highest - (double)best.logit);
    row.top = tile.first + (int64_t)best.at;
    row.highest = best.logit;
    row.total *= factor;
    return factor;
}

/* ---- sums ---- */

/* The highest logit as an integer and the rest. */
struct reference {
    float whole, rest;
};

QKC_INLINE reference reference_of(float highest)
{
    const bool is_small = highest > -4e6f && highest < 4e6f;
    const float whole = is_small ? (highest + QKC_TO_INTEGER) - QKC_TO_INTEGER : highest;
    return {whole, is_small ? highest - whole : 0.0f};
}

/* Adds exp(x - rest) to a sum in two parts, and gives it. */
QKC_INLINE float add_exp(double &sum, float x, float rest)
{
    x = qkc_larger(LEAST_EXPONENT, x);
    const float shifted = qkc_shifted_exponent(x - rest), n = shifted - QKC_TO_INTEGER;
    float r = fmaf(n, -QKC_LN2_FIRST, x) - rest;
    r = fmaf(n, -QKC_LN2_REST, r);
    const float power = qkc_power_of_two(shifted), more = qkc_exp_less_one(r) * power;
    sum = (sum + (double)power) + (double)more;
    return power + more;
}

static __global__ void __launch_bounds__(QKC_THREADS)
    add_kernel(qk_tile tile, const float *logits, qk_softmax *rows)
{
    __shared__ place places[WARPS];
    __shared__ double sums[WARPS];
    for (size_t i = blockIdx.x; i < tile.n_rows; i += gridDim.x) {
        const row_tile own = {logits + i * tile.stride, tile.n_cols, tile.first, tile.targets[i]};
        qk_softmax row = rows[i];
        look_at(own, row, places);
        const reference highest = reference_of(row.highest);
        double total = 0;
        for (size_t j = threadIdx.x; j < own.n; j += QKC_THREADS) {
            add_exp(total, own.logits[j] - highest.whole, highest.rest);
        }
        row.total += qkc_block_sum<WARPS>(total, sums);
        if (threadIdx.x == 0) {
            rows[i] = row;
        }
        __syncthreads(); /* before the next row */
    }
}

static __global__ void __launch_bounds__(QKC_THREADS)
    compare_kernel(qk_tile tile, const float *logits, const float *base_logits, qk_softmax *rows,
                   qk_softmax *base_rows, double *excess)
{
    __shared__ place places[2][WARPS];
    __shared__ double sums[3][WARPS];
    for (size_t i = blockIdx.x; i < tile.n_rows; i += gridDim.x) {
        const float *l = logits + i * tile.stride, *b = base_logits + i * tile.stride;
        const int64_t target = tile.targets[i];
        qk_softmax row = rows[i], base = base_rows[i];
        look_at({l, tile.n_cols, tile.first, target}, row, places[0]);
        const double factor = look_at({b, tile.n_cols, tile.first, target}, base, places[1]);
        const reference highest = reference_of(row.highest), of_base = reference_of(base.highest);
        double total = 0, base_total = 0, sum = 0;
        for (size_t j = threadIdx.x; j < tile.n_cols; j += QKC_THREADS) {
            const float x = b[j] - of_base.whole;
            const float term = add_exp(base_total, x, of_base.rest) * (b[j] - l[j]);
            add_exp(total, l[j] - highest.whole, highest.rest);
            sum += x < LEAST_EXPONENT ? 0.0 : (double)term; /* not 0 * infinity */
        }
        row.total += qkc_block_sum<WARPS>(total, sums[0]);
        base.total += qkc_block_sum<WARPS>(base_total, sums[1]);
        sum = qkc_block_sum<WARPS>(sum, sums[2]);
        if (threadIdx.x == 0) {
            rows[i] = row;
            base_rows[i] = base;
            excess[i] = excess[i] * factor + sum;
        }
        __syncthreads(); /* before the next row */
    }
}

int qkc_add_logits(const qk_tile *tile, const float *logits, qk_softmax *rows, void *stream)
{
    const int status = -(int)qk_check_add(tile, logits, rows);
    if (status || !tile->n_rows) {
        return status;
    }
    return QKC_LAUNCH(add_kernel, qkc_grid(tile->n_rows), QKC_THREADS, stream, *tile, logits, rows);
}

int qkc_compare_logits(const qk_tile *tile, const float *logits, const float *base_logits,
                       qk_softmax *rows, qk_softmax *base, double *excess, void *stream)
{
    const int status = -(int)qk_check_compare(tile, logits, base_logits, rows, base, excess);
    if (status || !tile->n_rows) {
        return status;
    }
    return QKC_LAUNCH(compare_kernel, qkc_grid(tile->n_rows), QKC_THREADS, stream, *tile, logits,
                      base_logits, rows, base, excess);
}
