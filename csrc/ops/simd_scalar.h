/* SPDX-License-Identifier: MIT */
/* One float in plain C: the definition.  See simd.h for the contract. */
#include "simd.h"
#include "plain_bytes.h"

#define WIDTH 1
#define ROWS 4
#define X_BIAS 0
#define I8_LARGEST 0
#define HAS_SHORT_SUMS 0

typedef float vf32;
typedef int32_t vacc;
typedef struct vwords {
    int16_t half[2];
} vwords;

QK_INLINE vf32 vf32_load(const float *p) { return *p; }
QK_INLINE void vf32_store(float *p, vf32 a) { *p = a; }
QK_INLINE vf32 vf32_set1(float a) { return a; }
QK_INLINE vf32 vf32_zero(void) { return 0; }
QK_INLINE vf32 vf32_add(vf32 a, vf32 b) { return a + b; }
QK_INLINE vf32 vf32_mul(vf32 a, vf32 b) { return a * b; }
QK_INLINE vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return a * b + c; }
QK_INLINE vf32 vf32_sub(vf32 a, vf32 b) { return a - b; }
QK_INLINE vf32 vf32_div(vf32 a, vf32 b) { return a / b; }
QK_INLINE vf32 vf32_max(vf32 a, vf32 b) { return a > b ? a : b; }
QK_INLINE vf32 vf32_where_less(vf32 a, vf32 b, vf32 yes, vf32 no) { return a < b ? yes : no; }
QK_INLINE vf32 vf32_power_of_two(vf32 a)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&a, &bits, sizeof a);
    return a;
}

typedef double vf64;

QK_INLINE vf64 vf64_zero(void) { return 0; }
QK_INLINE vf64 vf64_add(vf64 sum, vf32 a) { return sum + (double)a; }
QK_INLINE double vf64_total(vf64 sum) { return sum; }

QK_INLINE vwords vwords_load(const void *p)
{
    vwords a;
    memcpy(&a, p, sizeof a);
    return a;
}
QK_INLINE vwords vwords_set1(const void *p) { return vwords_load(p); }

QK_INLINE vacc vacc_zero(void) { return 0; }
QK_INLINE vacc vacc_load(const int32_t *p) { return *p; }
QK_INLINE void vacc_store(int32_t *p, vacc a) { *p = a; }
QK_INLINE vacc vacc_dot_i16(vacc sum, vwords w, vwords x)
{
    return sum + w.half[0] * x.half[0] + w.half[1] * x.half[1];
}
QK_INLINE vf32 vf32_from_i16_sums(vacc a) { return (float)a; }

QK_INLINE void transpose_words(const uint32_t *in, size_t in_stride, uint32_t *out,
                               size_t out_stride)
{
    (void)in_stride;
    (void)out_stride;
    memcpy(out, in, sizeof *out); /* which may be floats or pairs of int16 */
}
