/* SPDX-License-Identifier: MIT */
/* AVX2.  Flags: -mavx2 -mfma. */
#include "simd_avx2.h"

#define QK_OPS_NAME avx2
#include "all.h"
