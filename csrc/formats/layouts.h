/* SPDX-License-Identifier: MIT */
/* The layouts of the built-in types, as a table. */
#ifndef QK_LAYOUTS_H
#define QK_LAYOUTS_H

#include <stddef.h>

#include "formats.h"

typedef struct qk_layout {
    int type; /* GGUF type number */
    size_t block_size, block_bytes;
    qk_importance_use importance;
} qk_layout;

/* NULL for a type that is not built in. */
const qk_layout *qk_find_layout(int type);

#endif
