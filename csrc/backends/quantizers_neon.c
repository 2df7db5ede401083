/* SPDX-License-Identifier: MIT */
/* Advanced SIMD, four lanes.  Part of AArch64, so that nothing is asked of the processor. */
#include "../lanes/lane_neon.h"

#define QK_BACKEND_NAME neon
#include "../kernels/all.h"
