/* SPDX-License-Identifier: MIT */
/* Plain C: the definition, on any processor. */
#include "../ops/simd_scalar.h"

#define QK_OPS_NAME scalar
#include "../ops/all.h"
