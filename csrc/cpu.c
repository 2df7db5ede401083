/* SPDX-License-Identifier: MIT */
/* CPUID and XGETBV, as Intel's manual (volume 2, CPUID; volume 1, section 14.3) defines them. */
#include "cpu.h"

#ifdef QK_X86

#include <stdint.h>

#ifdef _MSC_VER
#include <immintrin.h>
#include <intrin.h>
static void cpuid(uint32_t leaf, uint32_t *r) { __cpuidex((int *)r, (int)leaf, 0); }
static uint64_t xgetbv(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(uint32_t leaf, uint32_t *r) { __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]); }
static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

#define OSXSAVE (1u << 27) /* leaf 1, ECX */
#define AVX2 (1u << 5)     /* leaf 7, EBX */
#define AVX512_F_DQ_BW_VL (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)
#define YMM_STATE 0x06u /* XCR0: the system saves xmm and ymm */
#define ZMM_STATE 0xe6u /* and the mask and zmm registers */

static int ask_cpu(qk_cpu_feature feature)
{
    uint32_t r[4];
    cpuid(0, r);
    if (r[0] < 7) {
        return 0;
    }
    cpuid(1, r);
    if (!(r[2] & OSXSAVE)) {
        return 0;
    }
    uint32_t state = feature == QK_CPU_AVX2 ? YMM_STATE : ZMM_STATE;
    uint32_t bits = feature == QK_CPU_AVX2 ? AVX2 : AVX2 | AVX512_F_DQ_BW_VL;
    cpuid(7, r);
    return (xgetbv() & state) == state && (r[1] & bits) == bits;
}

/* CPUID takes microseconds under a hypervisor, so its answer is kept: 0 until it is known, then 1
 * for no and 2 for yes.  Threads that race here write the same value. */
int qk_cpu_has(qk_cpu_feature feature)
{
    static volatile char answer[QK_CPU_FEATURES];
    if (feature == QK_CPU_ANY) {
        return 1;
    }
    if (!answer[feature]) {
        answer[feature] = (char)(1 + ask_cpu(feature));
    }
    return answer[feature] == 2;
}

#else

int qk_cpu_has(qk_cpu_feature feature) { return feature == QK_CPU_ANY; }

#endif
