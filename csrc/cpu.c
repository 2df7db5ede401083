/* SPDX-License-Identifier: MIT */
/* Features asked for once, and those that a test has taken away.  On x86: CPUID and XGETBV, as
 * Intel's manual (volume 2, CPUID; volume 1, section 14.3) defines them. */
#include "cpu.h"

#include "atomic.h"
#include "quantkit.h"

#if defined(QK_X86)

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

#define OSXSAVE (1u << 27) /* leaf 1, ECX: XGETBV may be used */
#define LAST_LEAF 7u       /* of those that are asked */
#define YMM_STATE 0x06u    /* XCR0: the system saves xmm and ymm */
#define ZMM_STATE 0xe6u    /* and the mask and zmm registers; not on macOS before their first use */

/* The registers of CPUID that tell of features. */
enum { LEAF1_ECX, LEAF7_EBX, LEAF7_ECX, N_REGISTERS };

/* Where CPUID tells of a feature, and the registers that it uses. */
static const struct {
    int cpuid_register, bit;
    uint32_t state;
} places[QK_CPU_FEATURE_COUNT] = {
    [QK_CPU_NUMBER_FMA] = {LEAF1_ECX, 12, YMM_STATE},
    [QK_CPU_NUMBER_AVX2] = {LEAF7_EBX, 5, YMM_STATE},
    [QK_CPU_NUMBER_AVX512F] = {LEAF7_EBX, 16, ZMM_STATE},
    [QK_CPU_NUMBER_AVX512DQ] = {LEAF7_EBX, 17, ZMM_STATE},
    [QK_CPU_NUMBER_AVX512BW] = {LEAF7_EBX, 30, ZMM_STATE},
    [QK_CPU_NUMBER_AVX512VL] = {LEAF7_EBX, 31, ZMM_STATE},
    [QK_CPU_NUMBER_AVX512VNNI] = {LEAF7_ECX, 11, ZMM_STATE},
};

static qk_cpu_set ask_cpu(void)
{
    uint32_t r[4], found[N_REGISTERS];
    cpuid(0, r);
    if (r[0] < LAST_LEAF) {
        return QK_CPU_ANY;
    }
    cpuid(1, r);
    found[LEAF1_ECX] = r[2];
    if (!(r[2] & OSXSAVE)) {
        return QK_CPU_ANY;
    }
    cpuid(7, r);
    found[LEAF7_EBX] = r[1];
    found[LEAF7_ECX] = r[2];
    const uint32_t saved = (uint32_t)xgetbv();
    qk_cpu_set set = QK_CPU_ANY;
    for (int i = 0; i < QK_CPU_FEATURE_COUNT; i++) {
        const uint32_t state = places[i].state;
        if (state && (saved & state) == state &&
            found[places[i].cpuid_register] >> places[i].bit & 1) {
            set |= (qk_cpu_set)1 << i;
        }
    }
    return set;
}

#else

#if defined(QK_NEON) && defined(__linux__)
#include <sys/auxv.h>
#define HAS_DOTPROD (getauxval(AT_HWCAP) >> 20 & 1) /* HWCAP_ASIMDDP */
#elif defined(QK_NEON) && defined(_WIN32)
#include <windows.h>
#define HAS_DOTPROD IsProcessorFeaturePresent(43) /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
#elif defined(QK_NEON) && defined(__APPLE__)
#define HAS_DOTPROD 1 /* every Mac has it */
#else
#define HAS_DOTPROD 0
#endif

static qk_cpu_set ask_cpu(void) { return HAS_DOTPROD ? QK_CPU(DOTPROD) : QK_CPU_ANY; }

#endif

#define KNOWN ((qk_cpu_set)1 << 31)

static qk_atomic_bits answer;   /* KNOWN and the features, or 0 */
static qk_atomic_bits disabled; /* features */

qk_cpu_set qk_cpu_lacks(qk_cpu_set needs)
{
    if (needs == QK_CPU_ANY) {
        return QK_CPU_ANY;
    }
    qk_cpu_set found = qk_atomic_load(&answer);
    if (!found) { /* CPUID takes microseconds under a hypervisor.  Threads store the same answer. */
        found = KNOWN | ask_cpu();
        qk_atomic_store(&answer, found);
    }
    return needs & (~found | qk_atomic_load(&disabled));
}

int qk_cpu_feature_count(void) { return QK_CPU_FEATURE_COUNT; }

const char *qk_cpu_feature_name(int feature)
{
    static const char *const names[] = {
#define QK_NAME(NAME, name) #name,
        QK_CPU_FEATURES(QK_NAME)
#undef QK_NAME
    };
    return feature >= 0 && feature < QK_CPU_FEATURE_COUNT ? names[feature] : NULL;
}

void qk_disable_cpu_features(uint32_t features) { qk_atomic_store(&disabled, features); }
