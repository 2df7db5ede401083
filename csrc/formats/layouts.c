/* SPDX-License-Identifier: MIT */
#include "layouts.h"

static const qk_layout layouts[] = {
#define QK_LAYOUT(NAME, name, id, block_size, block_bytes, importance)                             \
    {id, block_size, block_bytes, QK_IMPORTANCE_##importance},
    QK_FORMATS(QK_LAYOUT)
#undef QK_LAYOUT
};

#define QK_CHECK_TILE(NAME, name, id, block_size, block_bytes, importance)                         \
    _Static_assert((block_size) <= QK_MAX_BLOCK_SIZE && (block_bytes) <= QK_MAX_BLOCK_BYTES,       \
                   "the driver's tile is too small for " #NAME);
QK_FORMATS(QK_CHECK_TILE)
#undef QK_CHECK_TILE

const qk_layout *qk_find_layout(int type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].type == type) {
            return &layouts[i];
        }
    }
    return NULL;
}
