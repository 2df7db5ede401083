/* SPDX-License-Identifier: MIT */
/* AVX-512 (F, BW, DQ and VL), sixteen lanes. */
#include "../lanes/lane_avx512.h"

#define QK_BACKEND_NAME avx512
#include "../kernels/all.h"
