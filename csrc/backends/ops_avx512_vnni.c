/* SPDX-License-Identifier: MIT */
/* AVX-512 with VNNI. */
#define QK_VNNI
#include "../ops/simd_avx512.h"

#define QK_OPS_NAME avx512_vnni
#include "../ops/all.h"
