/* SPDX-License-Identifier: MIT */
/* Doubles, a few at a time: the same operations on each, in plain IEEE arithmetic, so that the bits
 * do not depend on how many there are.  For the algebra of calibrated rounding (solver/). */
#ifndef QK_WIDE_H
#define QK_WIDE_H

#if defined(__AVX512F__)

#include <immintrin.h>
#define WIDE 8
typedef __m512d wf64;
QK_INLINE wf64 wf64_load(const double *p) { return _mm512_loadu_pd(p); }
QK_INLINE void wf64_store(double *p, wf64 a) { _mm512_storeu_pd(p, a); }
QK_INLINE wf64 wf64_set1(double a) { return _mm512_set1_pd(a); }
QK_INLINE wf64 wf64_add(wf64 a, wf64 b) { return _mm512_add_pd(a, b); }
QK_INLINE wf64 wf64_sub(wf64 a, wf64 b) { return _mm512_sub_pd(a, b); }
QK_INLINE wf64 wf64_mul(wf64 a, wf64 b) { return _mm512_mul_pd(a, b); }

#elif defined(__AVX2__)

#include <immintrin.h>
#define WIDE 4
typedef __m256d wf64;
QK_INLINE wf64 wf64_load(const double *p) { return _mm256_loadu_pd(p); }
QK_INLINE void wf64_store(double *p, wf64 a) { _mm256_storeu_pd(p, a); }
QK_INLINE wf64 wf64_set1(double a) { return _mm256_set1_pd(a); }
QK_INLINE wf64 wf64_add(wf64 a, wf64 b) { return _mm256_add_pd(a, b); }
QK_INLINE wf64 wf64_sub(wf64 a, wf64 b) { return _mm256_sub_pd(a, b); }
QK_INLINE wf64 wf64_mul(wf64 a, wf64 b) { return _mm256_mul_pd(a, b); }

#elif LANES > 1 && defined(QK_NEON)

#include <arm_neon.h>
#define WIDE 2
typedef float64x2_t wf64;
QK_INLINE wf64 wf64_load(const double *p) { return vld1q_f64(p); }
QK_INLINE void wf64_store(double *p, wf64 a) { vst1q_f64(p, a); }
QK_INLINE wf64 wf64_set1(double a) { return vdupq_n_f64(a); }
QK_INLINE wf64 wf64_add(wf64 a, wf64 b) { return vaddq_f64(a, b); }
QK_INLINE wf64 wf64_sub(wf64 a, wf64 b) { return vsubq_f64(a, b); }
QK_INLINE wf64 wf64_mul(wf64 a, wf64 b) { return vmulq_f64(a, b); }

#else

#define WIDE 1
typedef double wf64;
QK_INLINE wf64 wf64_load(const double *p) { return *p; }
QK_INLINE void wf64_store(double *p, wf64 a) { *p = a; }
QK_INLINE wf64 wf64_set1(double a) { return a; }
QK_INLINE wf64 wf64_add(wf64 a, wf64 b) { return a + b; }
QK_INLINE wf64 wf64_sub(wf64 a, wf64 b) { return a - b; }
QK_INLINE wf64 wf64_mul(wf64 a, wf64 b) { return a * b; }

#endif

#endif
