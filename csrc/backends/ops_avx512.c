/* SPDX-License-Identifier: MIT */
/* AVX-512 (F, BW, DQ and VL) without VNNI. */
#include "../ops/simd_avx512.h"

#define QK_OPS_NAME avx512
#include "../ops/all.h"
