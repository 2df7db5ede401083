/* SPDX-License-Identifier: MIT */
/* Codebook types with short lists, a block a thread. */
#define LANES 1
#include "lane_cuda.h"

#define QKC_WARPS 4
#define QKC_BOOK_IS_HERE(type) (!qkc_is_by_warps(type))
#define QKC_QUANTIZE_BOOKS qkc_quantize_by_threads
#include "quantize_books.cuh"
