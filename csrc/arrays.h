/* SPDX-License-Identifier: MIT */
/* What every call checks before it touches memory: sizes that do not overflow, arrays that are
 * there, aligned and apart. */
#ifndef QK_ARRAYS_H
#define QK_ARRAYS_H

#include <stdalign.h>

#include "quantkit.h"
#include "sizes.h"

typedef enum qk_array_use {
    QK_READ,
    QK_WRITTEN,         /* must be apart from all other arrays */
    QK_WRITTEN_IN_PLACE /* as QK_WRITTEN, but it may be the same array as another */
} qk_array_use;

/* An array that a call was given. */
typedef struct qk_array {
    const void *data;
    size_t bytes; /* 0: nothing is touched, and the array may be NULL */
    size_t alignment;
    qk_array_use use;
} qk_array;

#define QK_ARRAY(p, n, item, use) {p, qk_times(n, sizeof(item)), alignof(item), use}
#define QK_READ_FLOATS(p, n) QK_ARRAY(p, n, float, QK_READ)
#define QK_WRITTEN_FLOATS(p, n) QK_ARRAY(p, n, float, QK_WRITTEN)
#define QK_READ_BYTES(p, n) QK_ARRAY(p, n, uint8_t, QK_READ)
#define QK_WRITTEN_BYTES(p, n) QK_ARRAY(p, n, uint8_t, QK_WRITTEN)
/* NULL where there is none. */
#define QK_OPTIONAL_FLOATS(p, n) QK_READ_FLOATS(p, (p) ? (n) : 0)

/* Whether one of two arrays is written and they share bytes in a way that is not allowed. */
static inline int qk_collide(const qk_array *a, const qk_array *b)
{
    const uintptr_t start = (uintptr_t)a->data, other = (uintptr_t)b->data;
    if ((a->use == QK_READ && b->use == QK_READ) || !a->bytes || !b->bytes ||
        (start >= other ? start - other >= b->bytes : other - start >= a->bytes)) {
        return 0;
    }
    const int is_same = start == other && a->bytes == b->bytes;
    return !(is_same && a->use != QK_WRITTEN && b->use != QK_WRITTEN);
}

static inline qk_status qk_check_arrays(const qk_array *arrays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const qk_array *a = arrays + i;
        if (a->bytes > QK_MOST_BYTES) {
            return QK_BAD_SHAPE;
        }
        if (a->bytes && (!a->data || (uintptr_t)a->data % a->alignment)) {
            return QK_BAD_ARRAY;
        }
        for (size_t j = 0; j < i; j++) {
            if (qk_collide(a, arrays + j)) {
                return QK_BAD_ARRAY;
            }
        }
    }
    return QK_OK;
}

/* The status of a list of arrays of type qk_array []. */
#define QK_CHECK_ARRAYS(arrays) qk_check_arrays(arrays, sizeof(arrays) / sizeof *(arrays))

#endif
