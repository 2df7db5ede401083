/* SPDX-License-Identifier: MIT */
/* Fibers: functions with stacks of their own, one of which runs at a time. */
#ifndef QKC_HOST_FIBER_H
#define QKC_HOST_FIBER_H

#include <stddef.h>

#if defined(__ELF__) && !defined(QKC_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))
#define QKC_OWN_SWITCH 1
#else
#define QKC_OWN_SWITCH 0
#include <ucontext.h>
#endif

namespace qkc_host
{

struct fiber {
#if QKC_OWN_SWITCH
    void *top; /* of the stack, where registers are saved, while it does not run */
#else
    ucontext_t context;
#endif
    char *stack; /* its lowest byte; unknown for the system's own stack, until it is left */
    size_t stack_bytes;
    void *fake_stack; /* of AddressSanitizer */
};

/* A fiber with a stack. */
fiber *new_fiber();
/* Makes a fiber, which does not run, begin with entry() the next time.  That must not return, and
 * first calls `entered`. */
void begin(fiber *which, void (*entry)());
void entered(fiber *own, fiber *before);
/* Leaves `own`, which runs, for `next`.  Returns when another fiber comes back, unless `own` is
 * over. */
void switch_to(fiber *own, fiber *next, bool is_over);

} // namespace qkc_host

#endif
