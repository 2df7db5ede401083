/* SPDX-License-Identifier: MIT */
/* CUDA's types and functions of one thread, on the processor.  Only those that kernels use. */
#ifndef QKC_HOST_INTRINSICS_H
#define QKC_HOST_INTRINSICS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define QKC_MIN_MAX(type)                                                                          \
    inline type min(type a, type b) { return b < a ? b : a; }                                      \
    inline type max(type a, type b) { return a < b ? b : a; }
QKC_MIN_MAX(int)
QKC_MIN_MAX(unsigned)
QKC_MIN_MAX(long)
QKC_MIN_MAX(unsigned long)
QKC_MIN_MAX(long long)
QKC_MIN_MAX(unsigned long long)
#undef QKC_MIN_MAX

inline unsigned __float_as_uint(float a)
{
    unsigned bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
/* As if an operation of CUDA had made the NaN. */
inline int __float_as_int(float a) { return a == a ? (int)__float_as_uint(a) : 0x7fffffff; }
inline float __uint_as_float(unsigned bits)
{
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }

inline double __longlong_as_double(long long bits)
{
    double a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }

template <class T> T __ldg(const T *p) { return *p; }

/* Other blocks and threads of the same do not run meanwhile, and atomics race with none. */
#define QKC_ATOMIC __attribute__((no_sanitize("thread"))) inline
template <class T> QKC_ATOMIC T atomicAdd(T *p, T value)
{
    const T before = *p;
    *p = (T)(before + value);
    return before;
}
template <class T> QKC_ATOMIC T atomicMin(T *p, T value)
{
    const T before = *p;
    *p = value < before ? value : before;
    return before;
}
template <class T> QKC_ATOMIC T atomicMax(T *p, T value)
{
    const T before = *p;
    *p = before < value ? value : before;
    return before;
}
template <class T> QKC_ATOMIC T atomicCAS(T *p, T expected, T value)
{
    const T before = *p;
    *p = before == expected ? value : before;
    return before;
}
template <class T> QKC_ATOMIC T atomicExch(T *p, T value)
{
    const T before = *p;
    *p = value;
    return before;
}
#undef QKC_ATOMIC
inline void __threadfence() {}

#endif
