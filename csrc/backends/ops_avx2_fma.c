/* SPDX-License-Identifier: MIT */
/* AVX2 with FMA. */
#define QK_FMA
#include "../ops/simd_avx2.h"

#define QK_OPS_NAME avx2_fma
#include "../ops/all.h"
