/* SPDX-License-Identifier: MIT */
/* Plain C, one lane: the definition, on any processor. */
#include "../lanes/lane_scalar.h"

#define QK_BACKEND_NAME scalar
#include "../kernels/all.h"
