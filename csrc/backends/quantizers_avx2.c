/* SPDX-License-Identifier: MIT */
/* AVX2, eight lanes, never with FMA. */
#include "../lanes/lane_avx2.h"

#define QK_BACKEND_NAME avx2
#include "../kernels/all.h"
