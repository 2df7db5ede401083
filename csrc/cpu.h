/* SPDX-License-Identifier: MIT */
/* What this processor and operating system can run. */
#ifndef QK_CPU_H
#define QK_CPU_H

typedef enum qk_cpu_feature {
    QK_CPU_ANY,
    QK_CPU_AVX2,
    QK_CPU_AVX2_FMA,
    QK_CPU_AVX512,      /* F, BW, DQ and VL */
    QK_CPU_AVX512_VNNI, /* and FMA */
    QK_CPU_DOT_PRODUCT, /* of AArch64 */
    QK_CPU_FEATURES,
} qk_cpu_feature;

/* 1 if both the processor has the feature and the operating system saves its registers. */
int qk_cpu_has(qk_cpu_feature feature);

#endif
