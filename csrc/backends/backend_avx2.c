/* SPDX-License-Identifier: MIT */
/* AVX2, eight lanes.  Flags: -mavx2, never -mfma. */
#include "../lanes/lane_avx2.h"

#define QK_BACKEND_NAME avx2
#include "../kernels/all.h"
