/* SPDX-License-Identifier: MIT */
/* AVX2 without FMA. */
#include "../ops/simd_avx2.h"

#define QK_OPS_NAME avx2
#include "../ops/all.h"
