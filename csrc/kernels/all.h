/* SPDX-License-Identifier: MIT */
/* Every kernel on the lanes that were included before, as one backend object.
 *
 * Parameters: a lane header included first; QK_BACKEND_NAME (a word such as avx2). */
#include "../backends/backend.h"
#include "../formats/formats.h"
#include "../lanes/lane_probe.h"

#include "lane_math.h"
#include "search.h"

#include "floats.h"

#include "block32.h"
#include "q4_0.h"
#include "q4_1.h"
#include "q5_0.h"
#include "q5_1.h"
#include "q8_0.h"
#include "mxfp4.h"

#include "iq4.h"
#include "iq4_nl.h"
#include "iq4_xs.h"

#include "k_scales.h"
#include "q2_k.h"
#include "q3_k.h"
#include "q4_k.h"
#include "q5_k.h"
#include "q6_k.h"

#include "ternary.h"
#include "tq1_0.h"
#include "tq2_0.h"

#include "codebook.h"
#include "codebook_block.h"
#include "iq1.h"
#include "iq1_s.h"
#include "iq1_m.h"
#include "iq2_xxs.h"
#include "iq2_xs.h"
#include "iq2_s.h"
#include "iq3_xxs.h"
#include "iq3_s.h"

#include "driver.h"

/* The index of the first weight that is NaN or infinite, or n. */
QK_FN size_t find_non_finite(const float *x, size_t n)
{
    const li32 exponent = li32_set1(0x7f800000);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (lmask_any(li32_eq(li32_and(lf32_bits(lf32_load(x + i)), exponent), exponent))) {
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

QK_FN void quantize(int type, const float *x, const float *importance, size_t n_rows, size_t n_cols,
                    uint8_t *out)
{
    switch (type) {
#define QK_CASE(NAME, name, id, block_size, block_bytes, needs_importance)                         \
    case id:                                                                                       \
        name##_quantize_items(x, n_rows *n_cols, out);                                             \
        break;
        QK_ITEM_FORMATS(QK_CASE)
#undef QK_CASE
#define QK_CASE(NAME, name, id, block_size, block_bytes, needs_importance, per_lane)               \
    case id: {                                                                                     \
        const block_kernel kernel = {name##_quantize, block_size, block_bytes, per_lane};          \
        quantize_blocks(&kernel, x, importance, n_rows, n_cols, out);                              \
        break;                                                                                     \
    }
#define QK_ONE(...) QK_CASE(__VA_ARGS__, 1)
#define QK_SET(...) QK_CASE(__VA_ARGS__, AFFINE_GROUPS)
        QK_BLOCK_FORMATS(QK_ONE)
        QK_BLOCK_SET_FORMATS(QK_SET)
#undef QK_ONE
#undef QK_SET
#undef QK_CASE
    default:
        break;
    }
}

QK_FN void dequantize(int type, const uint8_t *data, size_t n_weights, float *out)
{
    switch (type) {
#define QK_CASE(NAME, name, id, block_size, block_bytes, needs_importance)                         \
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

const qk_backend QK_JOIN(qk_backend_, QK_BACKEND_NAME) = {
    QK_STRING(QK_BACKEND_NAME), LANES, find_non_finite, quantize, dequantize, lane_probe,
};
