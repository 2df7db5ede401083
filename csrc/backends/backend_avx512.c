/* SPDX-License-Identifier: MIT */
/* AVX-512, sixteen lanes.  Flags: -mavx512f -mavx512bw -mavx512dq -mavx512vl. */
#include "../lanes/lane_avx512.h"

#define QK_BACKEND_NAME avx512
#include "../kernels/all.h"
