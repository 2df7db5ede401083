/* SPDX-License-Identifier: MIT */
/* Sizes that overflow become SIZE_MAX, which is more than any array holds. */
#ifndef QK_SIZES_H
#define QK_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* The most bytes of an array: more are no distance between two pointers. */
#define QK_MOST_BYTES ((size_t)PTRDIFF_MAX)

static inline size_t qk_plus(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

static inline size_t qk_times(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* n or the next multiple of `to`. */
static inline size_t qk_rounded_up(size_t n, size_t to)
{
    return n > SIZE_MAX - to ? SIZE_MAX : (n + to - 1) / to * to;
}

/* The extent of n rows of n_cols, `stride` apart. */
static inline size_t qk_extent(size_t n, size_t stride, size_t n_cols)
{
    return n ? qk_plus(qk_times(n - 1, stride), n_cols) : 0;
}

#endif
