/* SPDX-License-Identifier: MIT */
/* The highest logits of rows, and their tokens.  A block takes a row. */
#include "checks.h"
#include "reduce.cuh"

#define THREADS 128
#define NO_TOKEN -1

/* The highest first; of equal ones the lowest token. */
struct best_few {
    float logit[QKC_N_BEST];
    int64_t token[QKC_N_BEST];
};

QKC_INLINE bool comes_before(float a, int64_t a_token, float b, int64_t b_token)
{
    return a > b || (a == b && a_token < b_token);
}

/* A logit that does not come before the last is not taken, nor NaN. */
QKC_INLINE void take(best_few &best, float logit, int64_t token)
{
    QKC_UNROLL
    for (int i = 0; i < QKC_N_BEST; i++) {
        const bool is_here = best.token[i] == NO_TOKEN
                                 ? logit == logit && token != NO_TOKEN
                                 : comes_before(logit, token, best.logit[i], best.token[i]);
        if (is_here) {
            const float moved = best.logit[i];
            const int64_t moved_token = best.token[i];
            best.logit[i] = logit;
            best.token[i] = token;
            logit = moved;
            token = moved_token;
        }
    }
}

QKC_INLINE void take_all(best_few &best, const best_few &others)
{
    QKC_UNROLL
    for (int i = 0; i < QKC_N_BEST; i++) {
        take(best, others.logit[i], others.token[i]);
    }
}

static __global__ void __launch_bounds__(THREADS)
    best_kernel(qk_tile tile, const float *logits, float *best, int64_t *tokens)
{
    __shared__ best_few shared[THREADS];
    const int thread = (int)threadIdx.x;
    for (size_t row = blockIdx.x; row < tile.n_rows; row += gridDim.x) {
        best_few own;
        QKC_UNROLL
        for (int i = 0; i < QKC_N_BEST; i++) {
            own.logit[i] = thread ? -INFINITY : best[row * QKC_N_BEST + (size_t)i];
            own.token[i] = thread ? NO_TOKEN : tokens[row * QKC_N_BEST + (size_t)i];
        }
        const float *of_row = logits + row * tile.stride;
        for (size_t i = threadIdx.x; i < tile.n_cols; i += THREADS) {
            if (own.token[QKC_N_BEST - 1] == NO_TOKEN || of_row[i] >= own.logit[QKC_N_BEST - 1]) {
                take(own, of_row[i], tile.first + (int64_t)i);
            }
        }
        shared[thread] = own;
        for (int half = THREADS / 2; half; half /= 2) {
            __syncthreads();
            if (thread < half) {
                take_all(shared[thread], shared[thread + half]);
            }
        }
        if (thread == 0) {
            for (int i = 0; i < QKC_N_BEST; i++) {
                best[row * QKC_N_BEST + (size_t)i] = shared[0].logit[i];
                tokens[row * QKC_N_BEST + (size_t)i] = shared[0].token[i];
            }
        }
        __syncthreads(); /* before the next row */
    }
}

int qkc_best_logits(const qk_tile *tile, const float *logits, float *best, int64_t *tokens,
                    void *stream)
{
    size_t n_floats = 0;
    qk_status status = qk_check_tile(tile, &n_floats);
    if (status == QK_OK) {
        const size_t n = qk_times(tile->n_rows, QKC_N_BEST);
        const qk_array arrays[] = {
            QK_READ_FLOATS(logits, n_floats),
            QK_WRITTEN_FLOATS(best, n),
            QK_ARRAY(tokens, n, int64_t, QK_WRITTEN),
        };
        status = QK_CHECK_ARRAYS(arrays);
    }
    if (status != QK_OK || !tile->n_rows) {
        return -(int)status;
    }
    return QKC_LAUNCH(best_kernel, qkc_grid(tile->n_rows), THREADS, stream, *tile, logits, best,
                      tokens);
}
