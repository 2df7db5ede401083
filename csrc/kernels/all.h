/* SPDX-License-Identifier: MIT */
/* Every kernel on the lanes that were included before, as one half of a backend.
 *
 * Parameters: a lane header included first; QK_BACKEND_NAME (a word such as avx2). */
#include "../backends/quantizers.h"
#include "../formats/formats.h"
#include "../lanes/lane_probe.h"

#include "plain_formats.h"

#include "codebook_formats.h"

#include "driver.h"

/* Which of the weights at x are NaN or infinite. */
QK_INLINE lmask is_non_finite(const float *x)
{
    return li32_gt(li32_and(lf32_bits(lf32_load(x)), li32_set1(INT32_MAX)), li32_set1(0x7f7fffff));
}

/* The index of the first weight that is NaN or infinite, or n. */
QK_FN size_t find_non_finite(const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        lmask first = lmask_or(is_non_finite(x + i), is_non_finite(x + i + LANES));
        lmask second = lmask_or(is_non_finite(x + i + 2 * LANES), is_non_finite(x + i + 3 * LANES));
        if (lmask_any(lmask_or(first, second))) {
            break;
        }
    }
    for (; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        if ((bits & 0x7f800000) == 0x7f800000) {
            break;
        }
    }
    return i;
}

/* Up to LANES rows; gives the bytes written. */
QK_FN size_t quantize_some_rows(int type, const float *x, const float *importance, size_t n_rows,
                                size_t n_cols, uint8_t *out)
{
    const size_t n = n_rows * n_cols;
    switch (type) {
#define QK_CASE(NAME, name, id, block_size, block_bytes, use)                                      \
    case id:                                                                                       \
        name##_quantize_items(x, n, out);                                                          \
        return n * (block_bytes);
        QK_ITEM_FORMATS(QK_CASE)
#undef QK_CASE
#define QK_CASE(name, id, block_size, block_bytes, use, per_lane)                                  \
    case id: {                                                                                     \
        const block_kernel kernel = {name##_quantize, block_size, block_bytes, per_lane};          \
        const float *used = QK_IMPORTANCE_##use == QK_IMPORTANCE_IGNORED ? NULL : importance;      \
        quantize_row_group(&kernel, x, used, n_rows, n_cols, out);                                 \
        return n / (block_size) * (block_bytes);                                                   \
    }
#define QK_ONE(NAME, name, id, block_size, block_bytes, use)                                       \
    QK_CASE(name, id, block_size, block_bytes, use, 1)
#define QK_SET(NAME, name, id, block_size, block_bytes, use)                                       \
    QK_CASE(name, id, block_size, block_bytes, use, AFFINE_GROUPS)
        QK_BLOCK_FORMATS(QK_ONE)
        QK_BLOCK_SET_FORMATS(QK_SET)
#undef QK_ONE
#undef QK_SET
#undef QK_CASE
    default:
        return 0;
    }
}

/* Gives the index of the first weight that is NaN or infinite, or that of the end.  A few rows at
 * a time, so that what was looked through is still in a cache when it is quantized. */
QK_FN size_t quantize(int type, const float *x, const float *importance, size_t n_rows,
                      size_t n_cols, uint8_t *out)
{
    for (size_t row = 0; row < n_rows; row += LANES) {
        const size_t n = n_rows - row < LANES ? n_rows - row : LANES;
        const float *rows = x + row * n_cols;
        size_t finite = find_non_finite(rows, n * n_cols);
        if (finite < n * n_cols) {
            return row * n_cols + finite;
        }
        out += quantize_some_rows(type, rows, importance, n, n_cols, out);
    }
    return n_rows * n_cols;
}

QK_FN void dequantize(int type, const uint8_t *data, size_t n_weights, float *out)
{
    switch (type) {
#define QK_CASE(NAME, name, id, block_size, block_bytes, use)                                      \
    case id:                                                                                       \
        name##_dequantize(data, n_weights / (block_size), out);                                    \
        break;
        QK_ITEM_FORMATS(QK_CASE)
        QK_BLOCK_FORMATS(QK_CASE)
        QK_BLOCK_SET_FORMATS(QK_CASE)
#undef QK_CASE
    default:
        break;
    }
}

#define QK_JOIN_(a, b) a##b
#define QK_JOIN(a, b) QK_JOIN_(a, b)
#define QK_STRING_(a) #a
#define QK_STRING(a) QK_STRING_(a)

#include "../solver/all.h"

const qk_quantizers QK_JOIN(qk_quantizers_, QK_BACKEND_NAME) = {
    QK_STRING(QK_BACKEND_NAME), LANES, find_non_finite, quantize, dequantize, lane_probe,
};
