/* SPDX-License-Identifier: MIT */
/* The microkernels for integers.
 *
 * A tile of w is words [columns * code bytes / 4][TILE], then for each 32 columns [W_ITEMS][TILE]
 * numbers of 32 bits: the start of the integer sums, the scales and the minimums, each of the first
 * and the last 16, or of all 32 in the first place.
 *
 * Sums of 16 bits are exact as long as the result fits, however the bias of x and the start that
 * takes it back add up on the way.  |x| <= 127, and each of the two sums of a lane has every second
 * product of its columns: weights up to 16 allow 32 columns, weights up to 32 allow 16. */
#ifndef QK_KERNEL_INT_H
#define QK_KERNEL_INT_H

#include "kernel.h"
#include "pack.h"

#define W_ITEMS 6
enum { W_START = 0, W_SCALE = 2, W_MIN = 4 };

#if !I8_LARGEST /* all codes are then held in 16 bits, and these are not called */
#define vacc_dot_i8 vacc_dot_i16
#define vf32_from_i8_sums vf32_from_i16_sums
#endif
#if !HAS_SHORT_SUMS /* nor are these */
#define vacc_dot_short vacc_dot_i16
#define vf32_from_short_sums vf32_from_i16_sums
#endif

/* Codes of 16 or 8 bits; or of 8 bits, summed in 16 bits. */
typedef enum dot_kind { DOT_I16, DOT_I8, DOT_SHORT } dot_kind;

/* What the microkernel for integers is compiled for. */
typedef struct int_shape {
    dot_kind dot;
    int parts;  /* integer sums per 32 columns: 1 or 2 */
    int scales; /* of w per 32 columns: 1, or 2 of 2 parts */
    int has_min;
    int x_groups; /* groups of 32 columns that share a scale of x: 1 or 8 */
} int_shape;

/* A stretch of columns of a panel of x and a tile of w. */
typedef struct int_operands {
    const uint32_t *x_words, *w_words;
    const float *x_items, *w_items;
} int_operands;

/* Bytes of a code. */
QK_INLINE size_t code_bytes(dot_kind dot) { return dot == DOT_I16 ? 2 : 1; }

QK_INLINE vacc add_dot(dot_kind dot, vacc sum, vwords w, vwords x)
{
    return dot == DOT_I16  ? vacc_dot_i16(sum, w, x)
           : dot == DOT_I8 ? vacc_dot_i8(sum, w, x)
                           : vacc_dot_short(sum, w, x);
}

QK_INLINE vf32 float_sums(dot_kind dot, vacc a)
{
    return dot == DOT_I16  ? vf32_from_i16_sums(a)
           : dot == DOT_I8 ? vf32_from_i8_sums(a)
                           : vf32_from_short_sums(a);
}

/* Integer sums of n words of columns, 32 or 16 columns. */
QK_INLINE void add_products(dot_kind dot, const uint32_t *x, const uint32_t *w, int n,
                            vacc sum[ROWS][2])
{
    UNROLL for (int i = 0; i < n; i++, x += ROWS, w += TILE)
    {
        const vwords w0 = vwords_load(w), w1 = vwords_load(w + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vwords v = vwords_set1(x + r);
            sum[r][0] = add_dot(dot, sum[r][0], w0, v);
            sum[r][1] = add_dot(dot, sum[r][1], w1, v);
        }
    }
}

/* Whether an integer sum has a scale of x of its own; others are added up first. */
QK_INLINE int has_own_scale(int_shape shape) { return shape.x_groups == 1 && shape.parts == 1; }

/* Adds the products of one part of 32 columns: integer sums, times the scale of w, and that of x if
 * it is their own. */
QK_INLINE void add_part(int_shape shape, const int_operands *at, int part, vf32 out[ROWS][2])
{
    const int n = GROUP / 4 * (int)code_bytes(shape.dot) / shape.parts;
    const int32_t *start = (const int32_t *)at->w_items + (W_START + part) * TILE;
    const float *scale = at->w_items + (W_SCALE + (shape.scales == 2 ? part : 0)) * TILE;
    const int has_start = X_BIAS && shape.dot != DOT_I16;
    vacc sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        sum[r][0] = has_start ? vacc_load(start) : vacc_zero();
        sum[r][1] = has_start ? vacc_load(start + WIDTH) : vacc_zero();
    }
    add_products(shape.dot, at->x_words + part * n * ROWS, at->w_words + part * n * TILE, n, sum);
    const vf32 s0 = vf32_load(scale), s1 = vf32_load(scale + WIDTH);
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        const vf32 v = vf32_set1(at->x_items[X_SCALE * ROWS + r]);
        const vf32 by0 = has_own_scale(shape) ? vf32_mul(s0, v) : s0;
        const vf32 by1 = has_own_scale(shape) ? vf32_mul(s1, v) : s1;
        out[r][0] = vf32_fma(float_sums(shape.dot, sum[r][0]), by0, out[r][0]);
        out[r][1] = vf32_fma(float_sums(shape.dot, sum[r][1]), by1, out[r][1]);
    }
}

/* Adds the minimums of 32 columns of w, times the sums of x. */
QK_INLINE void add_mins(int_shape shape, const int_operands *at, vf32 out[ROWS][2])
{
    UNROLL for (int i = 0; i < shape.scales; i++)
    {
        const float *min = at->w_items + (W_MIN + i) * TILE;
        const float *x_sum = at->x_items + (shape.scales == 2 ? X_FIRST_SUM + i : X_SUM) * ROWS;
        const vf32 m0 = vf32_load(min), m1 = vf32_load(min + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x_sum[r]);
            out[r][0] = vf32_fma(m0, v, out[r][0]);
            out[r][1] = vf32_fma(m1, v, out[r][1]);
        }
    }
}

/* The next 32 columns. */
QK_INLINE void advance(int_shape shape, int_operands *at)
{
    at->x_words += GROUP / 4 * code_bytes(shape.dot) * ROWS;
    at->w_words += GROUP / 4 * code_bytes(shape.dot) * TILE;
    at->x_items += X_ITEMS * ROWS;
    at->w_items += W_ITEMS * TILE;
}

/* Adds the products of all columns that share a scale of x. */
QK_INLINE void add_scaled(int_shape shape, int_operands *at, vf32 out[ROWS][2])
{
    const int_operands first = *at;
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) { sum[r][0] = sum[r][1] = vf32_zero(); }
    for (int group = 0; group < shape.x_groups; group++, advance(shape, at)) {
        UNROLL for (int part = 0; part < shape.parts; part++) { add_part(shape, at, part, sum); }
        if (shape.has_min && shape.x_groups > 1) {
            add_mins(shape, at, sum);
        }
    }
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        const vf32 v = vf32_set1(first.x_items[X_SCALE * ROWS + r]);
        out[r][0] = vf32_fma(sum[r][0], v, out[r][0]);
        out[r][1] = vf32_fma(sum[r][1], v, out[r][1]);
    }
    if (shape.has_min && shape.x_groups == 1) { /* the sum of x is then scaled */
        add_mins(shape, &first, out);
    }
}

QK_INLINE void multiply_integers(int_shape shape, const int_operands *from, size_t n_groups,
                                 const sums_target *to)
{
    int_operands at = *from;
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) { sum[r][0] = sum[r][1] = vf32_zero(); }
    for (size_t i = 0; i < n_groups; i += (size_t)shape.x_groups) {
        if (!has_own_scale(shape)) {
            add_scaled(shape, &at, sum);
            continue;
        }
        add_part(shape, &at, 0, sum);
        if (shape.has_min) {
            add_mins(shape, &at, sum);
        }
        advance(shape, &at);
    }
    store_sums(sum, to);
}

typedef void int_kernel(const int_operands *from, size_t n_groups, const sums_target *to);

/* The largest weight whose products with so many columns can be summed in 16 bits. */
#define SHORT_LARGEST(columns) (INT16_MAX / ((columns) / 2 * Q8_TOP))

/* What suits weights up to `largest` with so many scales per 32 columns: constants, of which
 * weights.h makes a kernel for each type. */
#define Q8_DOT(largest)                                                                            \
    ((largest) > I8_LARGEST                                    ? DOT_I16                           \
     : HAS_SHORT_SUMS && (largest) <= SHORT_LARGEST(GROUP / 2) ? DOT_SHORT                         \
                                                               : DOT_I8)
#define Q8_PARTS(scales, largest)                                                                  \
    (Q8_DOT(largest) == DOT_SHORT && (largest) > SHORT_LARGEST(GROUP) ? 2 : (scales))

#endif
