/* SPDX-License-Identifier: MIT */
/* What operations of the forward pass ask of what they are told (quantkit_ops.h), wherever they
 * run. */
#ifndef QK_OP_CHECKS_H
#define QK_OP_CHECKS_H

#include "arrays.h"

/* ---- attention ---- */

/* n rows of heads, each of so many components. */
static inline size_t qk_count(size_t n, size_t n_heads, size_t size)
{
    return qk_times(qk_times(n, n_heads), size);
}

/* Whether the mask is of as many heads as it may be, and without one there is a key per query. */
static inline int qk_has_right_mask(const qk_attention *what)
{
    if (!what->n_masks) {
        return !what->mask && what->n_keys == what->n;
    }
    return what->n_keys && (what->n_masks == 1 || what->n_masks == what->n_kv_heads);
}

static inline qk_status qk_check_attention_sizes(const qk_attention *what)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    const int is_right = what->n_heads && what->n_kv_heads &&
                         what->n_heads % what->n_kv_heads == 0 && what->key_size &&
                         what->value_size && qk_has_right_mask(what);
    return is_right ? QK_OK : QK_BAD_SHAPE;
}

/* The arrays of an attention, for QK_CHECK_ARRAYS; others may follow. */
#define QK_ATTENTION_ARRAYS(what, q, k, v, out)                                                    \
    QK_READ_FLOATS(q, qk_count((what)->n, (what)->n_heads, (what)->key_size)),                     \
        QK_READ_FLOATS(k, qk_count((what)->n_keys, (what)->n_kv_heads, (what)->key_size)),         \
        QK_READ_FLOATS(v, qk_count((what)->n_keys, (what)->n_kv_heads, (what)->value_size)),       \
        QK_READ_BYTES((what)->mask, qk_count((what)->n_masks, (what)->n, (what)->n_keys)),         \
        QK_OPTIONAL_FLOATS((what)->slopes, (what)->n_heads),                                       \
        QK_OPTIONAL_FLOATS((what)->sinks, (what)->n_heads),                                        \
        QK_WRITTEN_FLOATS(out, qk_count((what)->n, (what)->n_heads, (what)->value_size)),

static inline qk_status qk_check_index_sizes(const qk_index *what)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    return what->n_keys && what->n_heads && what->size ? QK_OK : QK_BAD_SHAPE;
}

/* ---- norms and rotations ---- */

static inline qk_status qk_check_norm(const qk_norm *what, const float *x, const float *y)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    if (!what->n_heads || what->n_rows % what->n_heads) {
        return QK_BAD_SHAPE;
    }
    const size_t n = qk_times(what->n_rows, what->width);
    const size_t n_weights = qk_times(what->n_heads, what->width);
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, n),
        QK_OPTIONAL_FLOATS(what->weight, n_weights),
        QK_OPTIONAL_FLOATS(what->bias, n_weights),
        QK_WRITTEN_FLOATS(y, n),
    };
    return QK_CHECK_ARRAYS(arrays);
}

/* Whether groups of n_inner runs of `size` floats, so far apart, share no floats. */
static inline int qk_are_apart(size_t outer_stride, size_t n_inner, size_t inner_stride,
                               size_t size)
{
    return (n_inner <= 1 || inner_stride >= size) &&
           outer_stride >= qk_extent(n_inner, inner_stride, size);
}

/* Positions may be in heads, or heads in positions. */
static inline int qk_has_overlapping_heads(const qk_rotation *what, size_t size)
{
    const int in_positions =
        qk_are_apart(what->n > 1 ? what->stride : SIZE_MAX, what->n_heads, what->head_stride, size);
    const int in_heads =
        qk_are_apart(what->n_heads > 1 ? what->head_stride : SIZE_MAX, what->n, what->stride, size);
    return !in_positions && !in_heads;
}

/* Also of a rotation of nothing, which may have any strides. */
static inline qk_status qk_check_rotation(const qk_rotation *what, const float *turns,
                                          const float *x)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    if (!what->n || !what->n_heads || !what->n_pairs) {
        return QK_OK;
    }
    const size_t size = qk_times(what->n_pairs, 2);
    const size_t of_position = qk_extent(what->n_heads, what->head_stride, size);
    const qk_array arrays[] = {
        QK_READ_FLOATS(turns, qk_times(what->n, size)),
        QK_WRITTEN_FLOATS(x, qk_extent(what->n, what->stride, of_position)),
    };
    return qk_has_overlapping_heads(what, size) ? QK_BAD_SHAPE : QK_CHECK_ARRAYS(arrays);
}

/* ---- softmax ---- */

/* Gives the floats from the first logit of a tile to its last. */
static inline qk_status qk_check_tile(const qk_tile *tile, size_t *n_floats)
{
    if (!tile) {
        return QK_BAD_ARRAY;
    }
    if (!tile->n_cols || tile->stride < tile->n_cols || tile->first < 0 ||
        tile->n_cols > (uint64_t)(INT64_MAX - tile->first)) {
        return QK_BAD_SHAPE;
    }
    *n_floats = qk_extent(tile->n_rows, tile->stride, tile->n_cols);
    return QK_OK;
}

static inline qk_status qk_check_add(const qk_tile *tile, const float *logits,
                                     const qk_softmax *rows)
{
    size_t n_floats;
    const qk_status status = qk_check_tile(tile, &n_floats);
    if (status != QK_OK) {
        return status;
    }
    const qk_array arrays[] = {
        QK_READ_FLOATS(logits, n_floats),
        QK_ARRAY(tile->targets, tile->n_rows, int64_t, QK_READ),
        QK_ARRAY(rows, tile->n_rows, qk_softmax, QK_WRITTEN),
    };
    return QK_CHECK_ARRAYS(arrays);
}

static inline qk_status qk_check_compare(const qk_tile *tile, const float *logits,
                                         const float *base_logits, const qk_softmax *rows,
                                         const qk_softmax *base, const double *excess)
{
    size_t n_floats;
    const qk_status status = qk_check_tile(tile, &n_floats);
    if (status != QK_OK) {
        return status;
    }
    const qk_array arrays[] = {
        QK_READ_FLOATS(logits, n_floats),
        QK_READ_FLOATS(base_logits, n_floats),
        QK_ARRAY(tile->targets, tile->n_rows, int64_t, QK_READ),
        QK_ARRAY(rows, tile->n_rows, qk_softmax, QK_WRITTEN),
        QK_ARRAY(base, tile->n_rows, qk_softmax, QK_WRITTEN),
        QK_ARRAY(excess, tile->n_rows, double, QK_WRITTEN),
    };
    return QK_CHECK_ARRAYS(arrays);
}

/* ---- recurrent layers ---- */

static inline qk_status qk_check_convolution(const qk_convolution *what, const float *x,
                                             const float *y)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    const size_t n = qk_times(what->n, what->n_channels);
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, n),
        QK_READ_FLOATS(what->weight, qk_times(what->n_taps, what->n_channels)),
        QK_OPTIONAL_FLOATS(what->bias, what->n_channels),
        QK_WRITTEN_FLOATS(y, n),
    };
    return QK_CHECK_ARRAYS(arrays);
}

static inline qk_status qk_check_recurrence_sizes(const qk_recurrence *what)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    const int is_right = what->n_heads && what->n_key_heads &&
                         what->n_heads % what->n_key_heads == 0 && what->key_size &&
                         what->value_size &&
                         (what->decay_size == 1 || what->decay_size == what->key_size);
    return is_right ? QK_OK : QK_BAD_SHAPE;
}

static inline qk_status qk_check_wkv_sizes(const qk_wkv *what)
{
    if (!what) {
        return QK_BAD_ARRAY;
    }
    return what->n_heads && what->key_size && what->value_size ? QK_OK : QK_BAD_SHAPE;
}

/* The arrays of a selective scan; likewise. */
#define QK_SCAN_ARRAYS(what, in, y)                                                                \
    QK_READ_FLOATS((in)->x, qk_times((what)->n, (what)->n_channels)),                              \
        QK_READ_FLOATS((in)->dt, qk_times((what)->n, (what)->n_channels)),                         \
        QK_READ_FLOATS((in)->a, qk_times((what)->n_channels, (what)->n_states)),                   \
        QK_READ_FLOATS((in)->b, qk_times((what)->n, (what)->n_states)),                            \
        QK_READ_FLOATS((in)->c, qk_times((what)->n, (what)->n_states)),                            \
        QK_READ_FLOATS((in)->d, (what)->n_channels),                                               \
        QK_WRITTEN_FLOATS(y, qk_times((what)->n, (what)->n_channels)),

#endif
