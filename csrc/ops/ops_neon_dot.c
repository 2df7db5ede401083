/* SPDX-License-Identifier: MIT */
/* Advanced SIMD with dot products.  Flags: -march=armv8.2-a+dotprod. */
#define QK_DOT_PRODUCT
#include "simd_neon.h"

#define QK_OPS_NAME neon_dot
#include "all.h"
