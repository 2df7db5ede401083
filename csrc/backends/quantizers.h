/* SPDX-License-Identifier: MIT */
/* One half of a backend: the kernels compiled for one instruction set. */
#ifndef QK_QUANTIZERS_H
#define QK_QUANTIZERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct qk_quantizers {
    const char *name; /* the backend's */
    int lanes;
    size_t (*find_non_finite)(const float *x, size_t n);
    size_t (*quantize)(int type, const float *x, const float *importance, size_t n_rows,
                       size_t n_cols, uint8_t *out);
    void (*dequantize)(int type, const uint8_t *data, size_t n_weights, float *out);
    void (*lane_probe)(int op, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *out);
} qk_quantizers;

extern const qk_quantizers qk_quantizers_scalar;
#ifdef QK_X86
extern const qk_quantizers qk_quantizers_avx2;
extern const qk_quantizers qk_quantizers_avx512;
#endif
#ifdef QK_NEON
extern const qk_quantizers qk_quantizers_neon;
#endif

#endif
