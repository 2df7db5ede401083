/* SPDX-License-Identifier: MIT */
/* Sums over tokens of products of two inputs on CUDA, in the order of ../solver/gram.h: runs of
 * tokens in float, and their sums in double.  A thread has a few elements and all their tokens. */
#define LANES 1
#include "lane_cuda.h"

#include "../solver/gram.h"

extern "C" {
#include "../arrays.h"
}
#include "quantkit_cuda.h"
#include "quantkit_cuda_solver.h"

#define TILE 64   /* elements of a thread block, in rows and in columns */
#define ACROSS 16 /* threads side by side, in rows and in columns */
#define OWN 4     /* elements of a thread, ACROSS apart, in rows and in columns */
#define TOKENS 16 /* that are brought in at a time: a part of every run */
#define THREADS (ACROSS * ACROSS)

static_assert(OWN * ACROSS == TILE && GRAM_RUN % TOKENS == 0, "tiles and runs are whole");

/* Two inputs and their sums. */
struct gram_task {
    const float *a, *b;
    size_t a_stride, n_rows, n_b, n_tokens, first;
    double *sums;
};

/* Columns column.. of some tokens of x; 0 beyond the last one. */
QK_INLINE void bring_in(const float *x, size_t stride, size_t column, size_t n_cols,
                        size_t n_tokens, float (*part)[TILE])
{
    for (size_t i = threadIdx.x; i < n_tokens * TILE; i += THREADS) {
        const size_t token = i / TILE, j = column + i % TILE;
        part[token][i % TILE] = j < n_cols ? x[token * stride + j] : 0.0f;
    }
}

/* sums += a^T b, for a tile. */
__global__ void __launch_bounds__(THREADS) add_gram_kernel(gram_task t)
{
    __shared__ float a[TOKENS][TILE], b[TOKENS][TILE];
    const size_t row = (size_t)blockIdx.y * TILE, column = t.first + (size_t)blockIdx.x * TILE;
    const size_t own_row = threadIdx.x / ACROSS, own_column = threadIdx.x % ACROSS;
    float sum[OWN][OWN] = {};
    double total[OWN][OWN] = {};
    for (size_t token = 0; token < t.n_tokens; token += TOKENS) {
        const size_t left = t.n_tokens - token, n = left < TOKENS ? left : TOKENS;
        bring_in(t.a + token * t.a_stride, t.a_stride, row, t.n_rows, n, a);
        bring_in(t.b + token * t.n_b, t.n_b, column, t.n_b, n, b);
        __syncthreads();
        for (size_t k = 0; k < n; k++) {
            QKC_UNROLL for (int i = 0; i < OWN; i++)
            {
                QKC_UNROLL for (int j = 0; j < OWN; j++)
                {
                    const float x = a[k][own_row + ACROSS * i], y = b[k][own_column + ACROSS * j];
                    sum[i][j] = lf32_add(sum[i][j], lf32_mul(x, y));
                }
            }
        }
        __syncthreads();
        if ((token + TOKENS) % GRAM_RUN == 0 || left <= TOKENS) {
            QKC_UNROLL for (int i = 0; i < OWN; i++)
            {
                QKC_UNROLL for (int j = 0; j < OWN; j++)
                {
                    total[i][j] += (double)sum[i][j];
                    sum[i][j] = 0.0f;
                }
            }
        }
    }
    for (int i = 0; i < OWN; i++) {
        for (int j = 0; j < OWN; j++) {
            const size_t r = row + own_row + ACROSS * i, c = column + own_column + ACROSS * j;
            if (r < t.n_rows && c < t.n_b) {
                t.sums[r * t.n_b + c] += total[i][j];
            }
        }
    }
}

int qkc_add_gram(const float *a, size_t a_stride, size_t n_rows, const float *b, size_t n_b,
                 size_t n_tokens, size_t first, double *sums, void *stream)
{
    if (n_rows > a_stride || first > n_b || n_rows / TILE >= 65535 || n_b / TILE >= INT32_MAX) {
        return QKC_BAD_SHAPE;
    }
    const qk_array arrays[] = {
        QK_READ_FLOATS(a, qk_extent(n_tokens, a_stride, n_rows)),
        QK_READ_FLOATS(b, qk_times(n_tokens, n_b)),
        QK_ARRAY(sums, qk_times(n_rows, n_b), double, QK_WRITTEN),
    };
    const int status = -QK_CHECK_ARRAYS(arrays);
    if (status || !n_rows || first == n_b) {
        return status;
    }
    const gram_task task = {a, b, a_stride, n_rows, n_b, n_tokens, first, sums};
    const dim3 grid((unsigned)((n_b - first + TILE - 1) / TILE),
                    (unsigned)((n_rows + TILE - 1) / TILE));
    return QKC_LAUNCH(add_gram_kernel, grid, THREADS, stream, task);
}
