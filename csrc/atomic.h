/* SPDX-License-Identifier: MIT */
/* A set of bits that many threads read and write.  MSVC has no atomics of C11 by default. */
#ifndef QK_ATOMIC_H
#define QK_ATOMIC_H

#include <stdint.h>

#ifdef _MSC_VER

#include <intrin.h>
typedef volatile long qk_atomic_bits;
static inline uint32_t qk_atomic_load(qk_atomic_bits *bits)
{
    return (uint32_t)_InterlockedOr(bits, 0);
}
static inline void qk_atomic_store(qk_atomic_bits *bits, uint32_t value)
{
    _InterlockedExchange(bits, (long)value);
}

#else

#include <stdatomic.h>
typedef _Atomic uint32_t qk_atomic_bits;
static inline uint32_t qk_atomic_load(qk_atomic_bits *bits) { return atomic_load(bits); }
static inline void qk_atomic_store(qk_atomic_bits *bits, uint32_t value)
{
    atomic_store(bits, value);
}

#endif

#endif
