/* SPDX-License-Identifier: MIT */
/* What this processor and operating system can run. */
#ifndef QK_CPU_H
#define QK_CPU_H

#include <stdint.h>

/* X(NAME, name): the features that instructions need, as compilers call them.  No more than 31. */
#define QK_CPU_FEATURES(X)                                                                         \
    X(AVX2, avx2)                                                                                  \
    X(FMA, fma)                                                                                    \
    X(AVX512F, avx512f)                                                                            \
    X(AVX512BW, avx512bw)                                                                          \
    X(AVX512DQ, avx512dq)                                                                          \
    X(AVX512VL, avx512vl)                                                                          \
    X(AVX512VNNI, avx512vnni)                                                                      \
    X(DOTPROD, dotprod)

enum {
#define QK_NUMBER(NAME, name) QK_CPU_NUMBER_##NAME,
    QK_CPU_FEATURES(QK_NUMBER)
#undef QK_NUMBER
        QK_CPU_FEATURE_COUNT
};

/* A set of features: the sum of theirs. */
typedef uint32_t qk_cpu_set;

#define QK_CPU_ANY ((qk_cpu_set)0)
#define QK_CPU(NAME) ((qk_cpu_set)1 << QK_CPU_NUMBER_##NAME)

/* Those of a set that the processor lacks, or whose registers the operating system does not save.
 */
qk_cpu_set qk_cpu_lacks(qk_cpu_set needs);

#endif
