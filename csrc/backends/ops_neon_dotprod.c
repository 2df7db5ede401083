/* SPDX-License-Identifier: MIT */
/* Advanced SIMD with dot products. */
#define QK_DOT_PRODUCT
#include "../ops/simd_neon.h"

#define QK_OPS_NAME neon_dotprod
#include "../ops/all.h"
