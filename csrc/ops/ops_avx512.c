/* SPDX-License-Identifier: MIT */
/* AVX-512 with VNNI.  Flags: -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma. */
#include "simd_avx512.h"

#define QK_OPS_NAME avx512
#include "all.h"
