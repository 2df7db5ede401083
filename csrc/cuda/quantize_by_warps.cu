/* SPDX-License-Identifier: MIT */
/* Codebook types with long lists, 32 blocks a warp. */
#define LANES 32
#include "lane_cuda.h"

#define QKC_WARPS 1 /* see LANES in lane_cuda.h */
#define QKC_BOOK_IS_HERE(type) qkc_is_by_warps(type)
#define QKC_QUANTIZE_BOOKS qkc_quantize_by_warps
#include "quantize_books.cuh"
