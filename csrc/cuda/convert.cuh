/* SPDX-License-Identifier: MIT */
/* What dequantizing writes: f32, f16 or bf16.  After kernels/lane_math.h, on any lanes. */
#ifndef QKC_CONVERT_CUH
#define QKC_CONVERT_CUH

#include "rows.h"

/* The bits of a number. */
struct qkc_f16 {
    uint16_t bits;
};
struct qkc_bf16 {
    uint16_t bits;
};

QK_INLINE bool qkc_is_finite(float x) { return (lf32_bits(x) & 0x7f800000) != 0x7f800000; }

/* Rounded half to even; NaN stays NaN. */
QK_INLINE void qkc_put(float *p, float x) { *p = x; }
QK_INLINE void qkc_put(qkc_f16 *p, float x) { p->bits = (uint16_t)f16_from_lf32(x); }
QK_INLINE void qkc_put(qkc_bf16 *p, float x)
{
    const uint32_t bits = (uint32_t)lf32_bits(x), odd = bits >> 16 & 1;
    p->bits = (uint16_t)(x == x ? (bits + 0x7fff + odd) >> 16 : 0x7fc0);
}

/* queue(item) with an item of the type that is asked for; gives its status. */
template <class Queue> int qkc_by_out_type(int out_type, Queue queue)
{
    switch (out_type) {
    case QKC_F16:
        return queue(qkc_f16());
    case QKC_BF16:
        return queue(qkc_bf16());
    default:
        return queue(float());
    }
}

#endif
