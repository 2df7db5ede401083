/* SPDX-License-Identifier: MIT */
/* The most that x86 instructions of matrix products can do on one core, for products.py:
 *
 *     cc -O2 -o peak peak.c && ./peak          NAME GOP/s of each that the processor has
 *
 * Twelve sums that do not depend on each other, all in registers. */
#define _POSIX_C_SOURCE 199309L

#include <stdio.h>
#include <time.h>

#define CALLS 300000
#define TRIES 25

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define SUM(op, r, n) op " %%" r "15, %%" r "14, %%" r #n "\n"
/* A product and an addition that are rounded one after the other: "ps" or "pd". */
#define APART(op, r, n)                                                                            \
    "vmul" op " %%" r "15, %%" r "14, %%" r "13\n"                                                 \
    "vadd" op " %%" r "13, %%" r #n ", %%" r #n "\n"
/* clang-format off */
#define SUMS(sum, op, r)                                                                           \
    sum(op, r, 0) sum(op, r, 1) sum(op, r, 2) sum(op, r, 3) sum(op, r, 4) sum(op, r, 5)            \
    sum(op, r, 6) sum(op, r, 7) sum(op, r, 8) sum(op, r, 9) sum(op, r, 10) sum(op, r, 11)
/* clang-format on */

/* operations: multiplications and additions of one instruction */
#define MEASURE_SUMS(name, sum, op, r, operations)                                                 \
    do {                                                                                           \
        double best = 1e9;                                                                         \
        __asm__ volatile("vzeroall");                                                              \
        for (int i = 0; i < TRIES; i++) {                                                          \
            double start = seconds();                                                              \
            for (int n = 0; n < CALLS; n++) {                                                      \
                __asm__ volatile(SUMS(sum, op, r)::                                                \
                                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",     \
                                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm13", "xmm14", \
                                       "xmm15");                                                   \
            }                                                                                      \
            double taken = seconds() - start;                                                      \
            best = taken < best ? taken : best;                                                    \
        }                                                                                          \
        printf("%s-%s %.0f\n", name, r, 12e-9 * CALLS * (operations) / best);                      \
    } while (0)

#define MEASURE(op, r, operations) MEASURE_SUMS(op, SUM, op, r, operations)
#define MEASURE_APART(op, r, operations)                                                           \
    MEASURE_SUMS("vmul" op "+vadd" op, APART, op, r, operations)

int main(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        MEASURE("vfmadd231ps", "zmm", 32);
        MEASURE_APART("ps", "zmm", 32);
        MEASURE_APART("pd", "zmm", 16);
    }
    if (__builtin_cpu_supports("avx512vnni")) {
        MEASURE("vpdpwssd", "zmm", 64);
        MEASURE("vpdpbusd", "zmm", 128);
    }
    if (__builtin_cpu_supports("avx2")) {
        MEASURE("vfmadd231ps", "ymm", 16);
        MEASURE_APART("ps", "ymm", 16);
        MEASURE_APART("pd", "ymm", 8);
        MEASURE("vpmaddwd", "ymm", 32);
        MEASURE("vpmaddubsw", "ymm", 64);
    }
    return 0;
}
