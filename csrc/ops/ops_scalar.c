/* SPDX-License-Identifier: MIT */
/* Plain C: the definition, on any processor. */
#include "simd_scalar.h"

#define QK_OPS_NAME scalar
#include "all.h"
