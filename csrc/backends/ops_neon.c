/* SPDX-License-Identifier: MIT */
/* Advanced SIMD.  Part of AArch64. */
#include "../ops/simd_neon.h"

#define QK_OPS_NAME neon
#include "../ops/all.h"
