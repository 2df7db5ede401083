/* SPDX-License-Identifier: MIT */
#include "fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QKC_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define QKC_ASAN 1
#endif
#ifdef QKC_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if QKC_OWN_SWITCH

/* Saves what a function must preserve on the stack, and the stack's top in *own; then the same the
 * other way round from `next`. */
extern "C" void qkc_switch_stacks(void **own, void *next);

#if defined(__x86_64__)
#define QKC_SAVED 6 /* registers, below the address to return to */
asm(R"(
    .text
    .p2align 4
    .hidden qkc_switch_stacks
    .globl qkc_switch_stacks
    .type qkc_switch_stacks, @function
qkc_switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq
    .size qkc_switch_stacks, .-qkc_switch_stacks
)");
#else
#define QKC_SAVED 11 /* words, below the link register */
asm(R"(
    .text
    .p2align 4
    .hidden qkc_switch_stacks
    .globl qkc_switch_stacks
    .type qkc_switch_stacks, @function
qkc_switch_stacks:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size qkc_switch_stacks, .-qkc_switch_stacks
)");
#endif

#endif

namespace qkc_host
{

/* Only what is touched takes memory; a page below that cannot be touched. */
const size_t STACK_BYTES = 1 << 18;

fiber *new_fiber()
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(NULL, STACK_BYTES + page, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE)) {
        perror("the stack of a thread of a block");
        abort();
    }
    fiber *made = new ((char *)memory + page) fiber(); /* at the stack's far end */
    made->stack = (char *)memory + page + sizeof *made;
    made->stack_bytes = STACK_BYTES - sizeof *made;
    return made;
}

#if QKC_OWN_SWITCH

void begin(fiber *which, void (*entry)())
{
    /* As if it had called qkc_switch_stacks at its first instruction. */
    uintptr_t *top = (uintptr_t *)(which->stack + which->stack_bytes) - 2;
#if defined(__aarch64__)
    top -= 8; /* the registers of floats, above the others */
#else
    *--top = 0; /* the address that a caller would have left: the stack is then aligned */
#endif
    *--top = (uintptr_t)entry;
    for (int i = 0; i < QKC_SAVED; i++) {
        *--top = 0;
    }
    which->top = top;
}

static void jump(fiber *own, fiber *next) { qkc_switch_stacks(&own->top, next->top); }

#else

void begin(fiber *which, void (*entry)())
{
    getcontext(&which->context);
    which->context.uc_stack.ss_sp = which->stack;
    which->context.uc_stack.ss_size = which->stack_bytes;
    which->context.uc_link = NULL;
    makecontext(&which->context, entry, 0);
}

static void jump(fiber *own, fiber *next) { swapcontext(&own->context, &next->context); }

#endif

#ifdef QKC_ASAN

void switch_to(fiber *own, fiber *next, bool is_over)
{
    void **fake = is_over ? NULL : &own->fake_stack;
    __sanitizer_start_switch_fiber(fake, next->stack, next->stack_bytes);
    jump(own, next);
    __sanitizer_finish_switch_fiber(own->fake_stack, NULL, NULL);
}

void entered(fiber *own, fiber *before)
{
    (void)own;
    const void *stack;
    size_t stack_bytes;
    __sanitizer_finish_switch_fiber(NULL, &stack, &stack_bytes);
    before->stack = (char *)(uintptr_t)stack;
    before->stack_bytes = stack_bytes;
}

#else

void switch_to(fiber *own, fiber *next, bool is_over)
{
    (void)is_over;
    jump(own, next);
}

void entered(fiber *own, fiber *before)
{
    (void)own;
    (void)before;
}

#endif

} // namespace qkc_host
