/* SPDX-License-Identifier: MIT */
/* Advanced SIMD.  Part of AArch64: no flags. */
#include "simd_neon.h"

#define QK_OPS_NAME neon
#include "all.h"
