/* SPDX-License-Identifier: MIT */
/* The rounding mode and subnormal handling of the thread, set for a call and put back after it.
 *
 * Other libraries in the process may have set flush-to-zero, which would change bytes. */
#ifndef QK_FLOAT_STATE_H
#define QK_FLOAT_STATE_H

#include <stdint.h>

#if defined(QK_X86)

#include <xmmintrin.h>
typedef unsigned int qk_float_state;
static inline qk_float_state qk_float_state_enter(void)
{
    qk_float_state saved = _mm_getcsr();
    _mm_setcsr(0x1f80); /* round to nearest, no flush to zero, exceptions masked */
    return saved;
}
static inline void qk_float_state_leave(qk_float_state saved) { _mm_setcsr(saved); }

#elif defined(__aarch64__)

typedef uint64_t qk_float_state;
static inline qk_float_state qk_float_state_enter(void)
{
    qk_float_state saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0)); /* as above */
    return saved;
}
static inline void qk_float_state_leave(qk_float_state saved)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}

#elif defined(_M_ARM64)

#include <intrin.h>
#define QK_FPCR 0x5a20 /* ARM64_SYSREG(3, 3, 4, 4, 0) */
typedef __int64 qk_float_state;
static inline qk_float_state qk_float_state_enter(void)
{
    qk_float_state saved = _ReadStatusReg(QK_FPCR);
    _WriteStatusReg(QK_FPCR, 0); /* as above */
    return saved;
}
static inline void qk_float_state_leave(qk_float_state saved) { _WriteStatusReg(QK_FPCR, saved); }

#else

typedef int qk_float_state;
static inline qk_float_state qk_float_state_enter(void) { return 0; }
static inline void qk_float_state_leave(qk_float_state saved) { (void)saved; }

#endif

/* Does a call in that state. */
#define QK_IN_FLOAT_STATE(call)                                                                    \
    do {                                                                                           \
        const qk_float_state saved_state = qk_float_state_enter();                                 \
        call;                                                                                      \
        qk_float_state_leave(saved_state);                                                         \
    } while (0)

#endif
