/* SPDX-License-Identifier: MIT */
/* The types of weights: how each is unpacked, and the microkernels that are compiled for it. */
#ifndef QK_WEIGHTS_H
#define QK_WEIGHTS_H

#include "../formats/formats.h"
#include "kernel_int.h"
#include "unpack.h"
#include "unpack_iq.h"

#define STRETCH 256       /* columns unpacked at a time, a whole number of blocks */
#define SMALLEST_GROUP 16 /* weights that share a scale */
#define MOST_GROUPS (STRETCH / SMALLEST_GROUP)

/* A microkernel, and the shape that it is compiled for. */
typedef struct shaped_kernel {
    int_shape shape;
    int_kernel *multiply;
} shaped_kernel;

typedef struct weight_type {
    int type; /* GGUF type number */
    size_t block_size, block_bytes;
    void (*to_floats)(const uint8_t *blocks, size_t n_weights, float *out);
    /* of types with blocks: */
    void (*unpack)(const uint8_t *blocks, size_t n_blocks, block_codes to);
    size_t group; /* weights that share a scale */
    int has_min;
    shaped_kernel i16, q8; /* for activations of 16 bits, of 8 */
} weight_type;

/* ---- weights that are numbers ---- */

static void f32_to_floats(const uint8_t *w, size_t n, float *out)
{
    memcpy(out, w, n * sizeof *out);
}

static void f16_to_floats(const uint8_t *w, size_t n, float *out)
{
    uint16_t half[STRETCH];
    memcpy(half, w, n * sizeof *half);
    for (size_t i = 0; i < n; i++) {
        out[i] = float_of_half(half[i]);
    }
}

static void bf16_to_floats(const uint8_t *w, size_t n, float *out)
{
    uint16_t half[STRETCH];
    memcpy(half, w, n * sizeof *half);
    for (size_t i = 0; i < n; i++) {
        out[i] = float_of_bits((uint32_t)half[i] << 16);
    }
}

/* ---- weights in blocks ---- */

/* From codes, scales and minimums to weights. */
QK_INLINE void scale_codes(block_codes from, size_t n, size_t group, int has_min, float *out)
{
    for (size_t g = 0; g < n / SMALLEST_GROUP; g++) {
        const size_t at = g * SMALLEST_GROUP / group;
        const float scale = from.scale[at], min = has_min ? from.min[at] : 0.0f;
        for (size_t i = g * SMALLEST_GROUP; i < (g + 1) * SMALLEST_GROUP; i++) {
            out[i] = scale * (float)from.code[i] - min;
        }
    }
}

#define I16_SHAPE(scales, has_min) {DOT_I16, scales, scales, has_min, 1}
#define Q8_SHAPE(scales, has_min, largest, block_size)                                             \
    {Q8_DOT(largest), Q8_PARTS(scales, largest), scales, has_min,                                  \
     QK_COLUMNS_PER_SCALE(QK_Q8_PACKING(block_size)) / QK_GROUP}

#define QK_BLOCKS(NAME, name, id, block_size, block_bytes, importance)                             \
    static void name##_unpack_blocks(const uint8_t *block, size_t n_blocks, block_codes to)        \
    {                                                                                              \
        for (; n_blocks--; block += (block_bytes)) {                                               \
            unpack_##name(block, to);                                                              \
            to.code += (block_size);                                                               \
            to.scale += (block_size) / name##_group;                                               \
            to.min += (block_size) / name##_group;                                                 \
        }                                                                                          \
    }                                                                                              \
    static void name##_to_floats(const uint8_t *blocks, size_t n, float *out)                      \
    {                                                                                              \
        int8_t code[STRETCH];                                                                      \
        float scale[MOST_GROUPS], min[MOST_GROUPS];                                                \
        const block_codes codes = {code, scale, min};                                              \
        name##_unpack_blocks(blocks, n / (block_size), codes);                                     \
        scale_codes(codes, n, name##_group, name##_has_min, out);                                  \
    }                                                                                              \
    enum { name##_scales = GROUP / name##_group };                                                 \
    static void name##_multiply_i16(const int_operands *from, size_t n, const sums_target *to)     \
    {                                                                                              \
        multiply_integers((int_shape)I16_SHAPE(name##_scales, name##_has_min), from, n, to);       \
    }                                                                                              \
    static void name##_multiply_q8(const int_operands *from, size_t n, const sums_target *to)      \
    {                                                                                              \
        multiply_integers(                                                                         \
            (int_shape)Q8_SHAPE(name##_scales, name##_has_min, name##_largest, block_size), from,  \
            n, to);                                                                                \
    }
QK_BLOCK_FORMATS(QK_BLOCKS)
QK_BLOCK_SET_FORMATS(QK_BLOCKS)
#undef QK_BLOCKS

/* ---- all of them ---- */

static const weight_type weight_types[] = {
#define QK_ITEM(NAME, name, id, block_size, block_bytes, importance)                               \
    {.type = id, block_size, block_bytes, .to_floats = name##_to_floats},
    QK_ITEM_FORMATS(QK_ITEM)
#undef QK_ITEM
#define QK_BLOCKS(NAME, name, id, block_size, block_bytes, importance)                             \
    {id,                                                                                           \
     block_size,                                                                                   \
     block_bytes,                                                                                  \
     name##_to_floats,                                                                             \
     name##_unpack_blocks,                                                                         \
     name##_group,                                                                                 \
     name##_has_min,                                                                               \
     {I16_SHAPE(name##_scales, name##_has_min), name##_multiply_i16},                              \
     {Q8_SHAPE(name##_scales, name##_has_min, name##_largest, block_size), name##_multiply_q8}},
        QK_BLOCK_FORMATS(QK_BLOCKS) QK_BLOCK_SET_FORMATS(QK_BLOCKS)
#undef QK_BLOCKS
};

/* NULL for a type that is not built in. */
static const weight_type *find_weight_type(int type)
{
    for (size_t i = 0; i < sizeof weight_types / sizeof weight_types[0]; i++) {
        if (weight_types[i].type == type) {
            return &weight_types[i];
        }
    }
    return NULL;
}

/* The microkernel for activations so packed; NULL: that of f32. */
QK_INLINE const shaped_kernel *find_kernel(const weight_type *of, qk_packing packing)
{
    return packing == QK_PACKED_F32 ? NULL : packing == QK_PACKED_I16 ? &of->i16 : &of->q8;
}

#endif
