/* SPDX-License-Identifier: MIT */
/* The table of backends: for each its two halves, quantizers and forward pass, and what they need
 * of the processor. */
#include "backend_table.h"

#include "cpu.h"

#define AVX512                                                                                     \
    (QK_CPU(AVX2) | QK_CPU(AVX512F) | QK_CPU(AVX512BW) | QK_CPU(AVX512DQ) | QK_CPU(AVX512VL))

#define MOST_VARIANTS 2

typedef struct ops_variant {
    const qk_ops *ops;
    qk_cpu_set more; /* what it needs beside the needs of the quantizers */
} ops_variant;

/* The best backend first, and the best variant.  The last variant of each needs nothing more, so
 * that a backend never runs by half, nor on another's forward pass. */
static const struct {
    const qk_quantizers *quantizers;
    const qk_solvers *solvers;
    qk_cpu_set needs;
    ops_variant variants[MOST_VARIANTS];
} table[] = {
#ifdef QK_X86
    {&qk_quantizers_avx512,
     &qk_solvers_avx512,
     AVX512,
     {{&qk_ops_avx512_vnni, QK_CPU(AVX512VNNI)}, {&qk_ops_avx512, QK_CPU_ANY}}},
    {&qk_quantizers_avx2,
     &qk_solvers_avx2,
     QK_CPU(AVX2),
     {{&qk_ops_avx2_fma, QK_CPU(FMA)}, {&qk_ops_avx2, QK_CPU_ANY}}},
#endif
#ifdef QK_NEON
    {&qk_quantizers_neon,
     &qk_solvers_neon,
     QK_CPU_ANY,
     {{&qk_ops_neon_dotprod, QK_CPU(DOTPROD)}, {&qk_ops_neon, QK_CPU_ANY}}},
#endif
    {&qk_quantizers_scalar, &qk_solvers_scalar, QK_CPU_ANY, {{&qk_ops_scalar, QK_CPU_ANY}}},
};

int qk_backend_count(void) { return (int)(sizeof table / sizeof table[0]); }

static int is_backend(int backend) { return backend >= 0 && backend < qk_backend_count(); }

static qk_cpu_set lacks(int backend) { return qk_cpu_lacks(table[backend].needs); }

static qk_status check_backend(int backend)
{
    if (!is_backend(backend)) {
        return QK_UNKNOWN_BACKEND;
    }
    return lacks(backend) ? QK_UNUSABLE_BACKEND : QK_OK;
}

qk_status qk_find_solvers(int backend, const qk_solvers **solvers)
{
    const qk_status status = check_backend(backend);
    if (status == QK_OK) {
        *solvers = table[backend].solvers;
    }
    return status;
}

qk_status qk_find_quantizers(int backend, const qk_quantizers **quantizers)
{
    const qk_status status = check_backend(backend);
    if (status == QK_OK) {
        *quantizers = table[backend].quantizers;
    }
    return status;
}

qk_status qk_find_ops(int backend, const qk_ops **ops)
{
    const qk_status status = check_backend(backend);
    if (status != QK_OK) {
        return status;
    }
    for (int i = 0; i < MOST_VARIANTS; i++) {
        const ops_variant *variant = &table[backend].variants[i];
        if (variant->ops && !qk_cpu_lacks(variant->more)) {
            *ops = variant->ops;
            return QK_OK;
        }
    }
    return QK_UNUSABLE_BACKEND;
}

const char *qk_backend_name(int backend)
{
    return is_backend(backend) ? table[backend].quantizers->name : NULL;
}

const char *qk_backend_ops_name(int backend)
{
    const qk_ops *ops;
    return qk_find_ops(backend, &ops) == QK_OK ? ops->name : NULL;
}

int qk_backend_lanes(int backend)
{
    return is_backend(backend) ? table[backend].quantizers->lanes : 0;
}

int qk_backend_usable(int backend)
{
    const qk_ops *ops;
    return qk_find_ops(backend, &ops) == QK_OK;
}

uint32_t qk_backend_lacks(int backend) { return is_backend(backend) ? lacks(backend) : 0; }
