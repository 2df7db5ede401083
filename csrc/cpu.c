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
#define FMA (1u << 12)
#define AVX2 (1u << 5) /* leaf 7, EBX */
#define AVX512_F_DQ_BW_VL (1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)
#define AVX512_VNNI (1u << 11) /* leaf 7, ECX */
#define YMM_STATE 0x06u        /* XCR0: the system saves xmm and ymm */
#define ZMM_STATE 0xe6u        /* and the mask and zmm registers */

/* The bits that a feature needs. */
static const struct {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, state;
} needs[QK_CPU_FEATURES] = {
    [QK_CPU_AVX2] = {OSXSAVE, AVX2, 0, YMM_STATE},
    [QK_CPU_AVX2_FMA] = {OSXSAVE | FMA, AVX2, 0, YMM_STATE},
    [QK_CPU_AVX512] = {OSXSAVE, AVX2 | AVX512_F_DQ_BW_VL, 0, ZMM_STATE},
    [QK_CPU_AVX512_VNNI] = {OSXSAVE | FMA, AVX2 | AVX512_F_DQ_BW_VL, AVX512_VNNI, ZMM_STATE},
};

static int has_bits(uint32_t found, uint32_t bits) { return (found & bits) == bits; }

static int ask_cpu(qk_cpu_feature feature)
{
    uint32_t r[4];
    cpuid(0, r);
    if (!needs[feature].state || r[0] < 7) {
        return 0;
    }
    cpuid(1, r);
    if (!has_bits(r[2], needs[feature].leaf1_ecx)) {
        return 0;
    }
    cpuid(7, r);
    return has_bits((uint32_t)xgetbv(), needs[feature].state) &&
           has_bits(r[1], needs[feature].leaf7_ebx) && has_bits(r[2], needs[feature].leaf7_ecx);
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

#if defined(QK_NEON) && defined(__linux__)
#include <sys/auxv.h>
#define HAS_DOT_PRODUCT (getauxval(AT_HWCAP) >> 20 & 1) /* HWCAP_ASIMDDP */
#elif defined(QK_NEON) && defined(_WIN32)
#include <windows.h>
#define HAS_DOT_PRODUCT IsProcessorFeaturePresent(43) /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
#elif defined(QK_NEON) && defined(__APPLE__)
#define HAS_DOT_PRODUCT 1 /* every Mac has it */
#else
#define HAS_DOT_PRODUCT 0
#endif

int qk_cpu_has(qk_cpu_feature feature)
{
    return feature == QK_CPU_ANY || (feature == QK_CPU_DOT_PRODUCT && HAS_DOT_PRODUCT);
}

#endif
