/* SPDX-License-Identifier: MIT */
/* The checks that stand before the quantizers on CUDA, and what kernels of all types ask first: the
 * importance, and the mean squares of rows. */
#define LANES 1
#include "lane_cuda.h"

extern "C" {
#include "../arrays.h"
#include "../formats/layouts.h"
}
#include "../kernels/lane_math.h"

#include "quantize.cuh"

#define QKC_THREADS 256

/* ---- before the quantizers ---- */

__global__ void forget_bad_kernel(unsigned long long *bad) { bad[threadIdx.x] = ~0ull; }

/* The least index of an importance that is not a finite number >= 0. */
__global__ void check_importance_kernel(const float *importance, size_t n, unsigned long long *bad)
{
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && (!qkc_is_finite(importance[i]) || importance[i] < 0)) {
        atomicMin(bad, (unsigned long long)i);
    }
}

/* Of 32 rows a warp: mean of x^2, summed from the first weight to the last. */
__global__ void __launch_bounds__(QKC_WARP)
    mean_squares_kernel(const float *x, size_t n_rows, size_t n_cols, float *mean)
{
    __shared__ float part[QKC_WARP][QKC_STEP + 1];
    __shared__ size_t place[QKC_WARP];
    const size_t row = (size_t)blockIdx.x * QKC_WARP + threadIdx.x;
    unsigned long long unused = ~0ull;
    lf32 column[QKC_STEP], sum = lf32_set1(0.0f);
    for (size_t j = 0; j < n_cols; j += QKC_STEP) {
        place[threadIdx.x] = (row < n_rows ? row : n_rows - 1) * n_cols + j;
        __syncwarp(QKC_WHOLE_WARP);
        qkc_bring_in(x, place, part, column, &unused);
        for (int k = 0; k < QKC_STEP; k++) {
            sum = lf32_add(sum, lf32_mul(column[k], column[k]));
        }
    }
    if (row < n_rows) {
        mean[row] = lf32_div(sum, lf32_set1((float)n_cols));
    }
}

/* ---- checks ---- */

/* The sizes of a call. */
struct row_sizes {
    const qk_layout *layout;
    size_t n_weights, n_bytes;
};

static int check_sizes(int type, size_t n_rows, size_t n_cols, row_sizes *sizes)
{
    sizes->layout = qk_find_layout(type);
    if (!sizes->layout) {
        return QKC_UNKNOWN_TYPE;
    }
    if (n_cols % sizes->layout->block_size) {
        return QKC_BAD_SHAPE;
    }
    const size_t row_bytes =
        qk_times(n_cols / sizes->layout->block_size, sizes->layout->block_bytes);
    sizes->n_weights = qk_times(n_rows, n_cols);
    sizes->n_bytes = qk_times(n_rows, row_bytes);
    return 0;
}

/* Blocks of 256 weights take the mean square of their own. */
static size_t mean_square_floats(const qk_layout *layout, int has_importance, size_t n_rows)
{
    const int is_used = has_importance && layout->importance != QK_IMPORTANCE_IGNORED;
    return is_used && layout->block_size < QK_SUPERBLOCK ? n_rows : 0;
}

int qkc_quantize_scratch(int type, int has_importance, size_t n_rows, size_t n_cols, size_t *bytes)
{
    row_sizes sizes;
    const int status = check_sizes(type, n_rows, n_cols, &sizes);
    if (status) {
        return status;
    }
    *bytes = qk_times(mean_square_floats(sizes.layout, has_importance, n_rows), sizeof(float));
    return *bytes > QK_MOST_BYTES ? QKC_BAD_SHAPE : 0;
}

/* ---- quantizing ---- */

static int queue_checks(const float *importance, size_t n_cols, unsigned long long *bad,
                        cudaStream_t stream)
{
    const int status = QKC_LAUNCH(forget_bad_kernel, 1, 2, stream, bad);
    if (status || !importance || !n_cols) {
        return status;
    }
    const size_t n = (n_cols + QKC_THREADS - 1) / QKC_THREADS;
    return QKC_LAUNCH(check_importance_kernel, (unsigned)n, QKC_THREADS, stream, importance, n_cols,
                      bad + 1);
}

static int queue_mean_squares(const float *x, size_t n_rows, size_t n_cols, float *mean,
                              cudaStream_t stream)
{
    const size_t n = (n_rows + QKC_WARP - 1) / QKC_WARP;
    return QKC_LAUNCH(mean_squares_kernel, (unsigned)n, QKC_WARP, stream, x, n_rows, n_cols, mean);
}

static int queue_quantize(int type, const qkc_rows *rows, cudaStream_t stream)
{
    int status = qkc_quantize_items(type, rows, stream);
    status = status == QKC_UNKNOWN_TYPE ? qkc_quantize_plain(type, rows, stream) : status;
    status = status == QKC_UNKNOWN_TYPE ? qkc_quantize_by_threads(type, rows, stream) : status;
    return status == QKC_UNKNOWN_TYPE ? qkc_quantize_by_warps(type, rows, stream) : status;
}

int qkc_quantize(int type, const float *x, const float *importance, size_t n_rows, size_t n_cols,
                 uint8_t *out, int64_t *bad, void *scratch, size_t scratch_bytes, void *stream)
{
    row_sizes sizes;
    int status = check_sizes(type, n_rows, n_cols, &sizes);
    if (status) {
        return status;
    }
    const size_t n_means = mean_square_floats(sizes.layout, importance != NULL, n_rows);
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, sizes.n_weights),   QK_OPTIONAL_FLOATS(importance, n_cols),
        QK_WRITTEN_BYTES(out, sizes.n_bytes), QK_ARRAY(bad, 2, int64_t, QK_WRITTEN),
        QK_WRITTEN_FLOATS(scratch, n_means),
    };
    status = -QK_CHECK_ARRAYS(arrays);
    if (status) {
        return status;
    }
    if (!importance && sizes.layout->importance == QK_IMPORTANCE_NEEDED) {
        return QKC_NEEDS_IMPORTANCE;
    }
    if (scratch_bytes < n_means * sizeof(float)) {
        return QKC_SMALL_SCRATCH;
    }
    const cudaStream_t queue = (cudaStream_t)stream;
    auto *indices = (unsigned long long *)bad;
    float *means = n_means ? (float *)scratch : NULL;
    status = queue_checks(importance, n_cols, indices, queue);
    if (!status && means) {
        status = queue_mean_squares(x, n_rows, n_cols, means, queue);
    }
    if (status || !sizes.n_weights) {
        return status;
    }
    const size_t per_row = n_cols / sizes.layout->block_size;
    const qkc_rows rows = {x, importance, means, n_rows * per_row, per_row, out, indices};
    return queue_quantize(type, &rows, queue);
}

int qkc_dequantize(int type, const uint8_t *data, size_t n_rows, size_t n_cols, int out_type,
                   void *out, void *stream)
{
    row_sizes sizes;
    int status = check_sizes(type, n_rows, n_cols, &sizes);
    if (status) {
        return status;
    }
    if (out_type != QKC_F32 && out_type != QKC_F16 && out_type != QKC_BF16) {
        return QKC_UNKNOWN_TYPE;
    }
    const size_t item = out_type == QKC_F32 ? sizeof(float) : sizeof(uint16_t);
    const qk_array arrays[] = {
        QK_READ_BYTES(data, sizes.n_bytes),
        {out, qk_times(sizes.n_weights, item), item, QK_WRITTEN},
    };
    status = -QK_CHECK_ARRAYS(arrays);
    if (status || !sizes.n_weights) {
        return status;
    }
    const size_t n_blocks = n_rows * (n_cols / sizes.layout->block_size);
    const qkc_blocks blocks = {data, n_blocks, out_type, out};
    status = qkc_dequantize_items(type, &blocks, (cudaStream_t)stream);
    return status == QKC_UNKNOWN_TYPE ? qkc_dequantize_blocks(type, &blocks, (cudaStream_t)stream)
                                      : status;
}
