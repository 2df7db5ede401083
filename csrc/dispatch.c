/* SPDX-License-Identifier: MIT */
/* The table of backends, and the checks that stand before every kernel. */
#include "quantkit.h"

#include "backends/backend.h"
#include "cpu.h"
#include "float_state.h"
#include "formats/formats.h"
#include "lanes/lane_ops.h"

static const struct {
    const qk_backend *backend;
    qk_cpu_feature needs;
} backends[] = {
#ifdef QK_X86
    {&qk_backend_avx512, QK_CPU_AVX512},
    {&qk_backend_avx2, QK_CPU_AVX2},
#endif
#ifdef QK_NEON
    {&qk_backend_neon, QK_CPU_ANY},
#endif
    {&qk_backend_scalar, QK_CPU_ANY},
};

static const struct {
    int type;
    size_t block_size, block_bytes;
    qk_importance_use importance;
} layouts[] = {
#define QK_LAYOUT(NAME, name, id, block_size, block_bytes, importance)                             \
    {id, block_size, block_bytes, QK_IMPORTANCE_##importance},
    QK_ITEM_FORMATS(QK_LAYOUT) QK_BLOCK_FORMATS(QK_LAYOUT) QK_BLOCK_SET_FORMATS(QK_LAYOUT)
#undef QK_LAYOUT
};

#define QK_CHECK_TILE(NAME, name, id, block_size, block_bytes, importance)                         \
    _Static_assert((block_size) <= QK_MAX_BLOCK_SIZE && (block_bytes) <= QK_MAX_BLOCK_BYTES,       \
                   "the driver's tile is too small for " #NAME);
QK_BLOCK_FORMATS(QK_CHECK_TILE)
QK_BLOCK_SET_FORMATS(QK_CHECK_TILE)

int qk_backend_count(void) { return (int)(sizeof backends / sizeof backends[0]); }

static int is_backend(int backend) { return backend >= 0 && backend < qk_backend_count(); }

const char *qk_backend_name(int backend)
{
    return is_backend(backend) ? backends[backend].backend->name : NULL;
}

int qk_backend_lanes(int backend)
{
    return is_backend(backend) ? backends[backend].backend->lanes : 0;
}

int qk_backend_usable(int backend)
{
    return is_backend(backend) && qk_cpu_has(backends[backend].needs);
}

/* The row of a type in the table, or -1. */
static int find_layout(int type)
{
    for (int i = 0; i < (int)(sizeof layouts / sizeof layouts[0]); i++) {
        if (layouts[i].type == type) {
            return i;
        }
    }
    return -1;
}

qk_status qk_type_layout(int type, size_t *block_size, size_t *block_bytes)
{
    int i = find_layout(type);
    if (i < 0) {
        return QK_UNKNOWN_TYPE;
    }
    *block_size = layouts[i].block_size;
    *block_bytes = layouts[i].block_bytes;
    return QK_OK;
}

int qk_type_needs_importance(int type)
{
    int i = find_layout(type);
    return i >= 0 && layouts[i].importance == QK_IMPORTANCE_NEEDED;
}

/* What both directions ask of their arguments. */
static qk_status check_call(int backend, int type, size_t n_rows, size_t n_cols)
{
    size_t block_size, block_bytes;
    if (!is_backend(backend)) {
        return QK_UNKNOWN_BACKEND;
    }
    if (!qk_backend_usable(backend)) {
        return QK_UNUSABLE_BACKEND;
    }
    if (qk_type_layout(type, &block_size, &block_bytes) != QK_OK) {
        return QK_UNKNOWN_TYPE;
    }
    if (n_cols % block_size || (n_cols && n_rows > SIZE_MAX / sizeof(float) / n_cols)) {
        return QK_BAD_SHAPE;
    }
    return QK_OK;
}

/* The index of the first importance that is not a finite number >= 0, or n. */
static size_t find_bad_importance(const qk_backend *b, const float *importance, size_t n)
{
    size_t finite = b->find_non_finite(importance, n);
    for (size_t i = 0; i < finite; i++) {
        if (importance[i] < 0) {
            return i;
        }
    }
    return finite;
}

qk_status qk_quantize_rows(int backend, int type, const float *x, const float *importance,
                           size_t n_rows, size_t n_cols, uint8_t *out, size_t *bad_index)
{
    qk_status status = check_call(backend, type, n_rows, n_cols);
    if (status != QK_OK) {
        return status;
    }
    if (!importance && qk_type_needs_importance(type)) {
        return QK_NEEDS_IMPORTANCE;
    }
    const qk_backend *b = backends[backend].backend;
    if (importance) {
        *bad_index = find_bad_importance(b, importance, n_cols);
        if (*bad_index < n_cols) {
            return QK_BAD_IMPORTANCE;
        }
    }
    QK_IN_FLOAT_STATE(*bad_index = b->quantize(type, x, importance, n_rows, n_cols, out));
    return *bad_index < n_rows * n_cols ? QK_NOT_FINITE : QK_OK;
}

qk_status qk_dequantize_rows(int backend, int type, const uint8_t *data, size_t n_rows,
                             size_t n_cols, float *out)
{
    qk_status status = check_call(backend, type, n_rows, n_cols);
    if (status != QK_OK) {
        return status;
    }
    QK_IN_FLOAT_STATE(backends[backend].backend->dequantize(type, data, n_rows * n_cols, out));
    return QK_OK;
}

int qk_lane_op_count(void) { return QK_LANE_OP_COUNT; }

const char *qk_lane_op_name(int op)
{
    static const char *const names[] = {
#define QK_NAME(name, run) #name,
        QK_LANE_OPS(QK_NAME)
#undef QK_NAME
    };
    return op >= 0 && op < QK_LANE_OP_COUNT ? names[op] : NULL;
}

qk_status qk_lane_op(int backend, int op, const int32_t *a, const int32_t *b, const int32_t *c,
                     int32_t *out)
{
    if (!is_backend(backend)) {
        return QK_UNKNOWN_BACKEND;
    }
    if (!qk_backend_usable(backend)) {
        return QK_UNUSABLE_BACKEND;
    }
    backends[backend].backend->lane_probe(op, a, b, c, out);
    return QK_OK;
}
