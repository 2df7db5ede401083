/* SPDX-License-Identifier: MIT */
/* The microkernels: ROWS rows of x times TILE rows of w, all sums in registers.
 *
 * A tile of w is held column by column, like x (pack.h): in f32 [columns][TILE]; in integers words
 * [columns * code bytes / 4][TILE], then for each 32 columns [W_ITEMS][TILE] numbers of 32 bits:
 * the start of the integer sums, the scales and the minimums, each of the first and the last 16, or
 * of all 32 in the first place. */
#ifndef QK_KERNEL_H
#define QK_KERNEL_H

#if !HAS_DOT_I8 /* 8-bit codes are then held in 16 bits, and these are not called */
#define vacc_dot_i8 vacc_dot_i16
#define vf32_from_i8_sums vf32_from_i16_sums
#endif

#define TILE (2 * WIDTH)
#define W_ITEMS 6
enum { W_START = 0, W_SCALE = 2, W_MIN = 4 };

/* What the microkernel for integers is compiled for. */
typedef struct int_shape {
    int bytes;  /* of a code: 1 or 2 */
    int halves; /* scales of w per 32 columns: 1 or 2 */
    int has_min;
    int x_groups; /* groups of 32 columns that share a scale of x: 1 or 8 */
} int_shape;

/* A stretch of columns of a panel of x and a tile of w. */
typedef struct int_operands {
    const uint32_t *x_words, *w_words;
    const float *x_items, *w_items;
} int_operands;

/* Where ROWS x TILE sums go; added to what is there if they continue a product. */
typedef struct sums_target {
    float *y;
    size_t stride;
    int add;
} sums_target;

QK_INLINE void store_sums(vf32 sum[ROWS][2], sums_target to)
{
    UNROLL for (int r = 0; r < ROWS; r++, to.y += to.stride)
    {
        if (to.add) {
            sum[r][0] = vf32_add(vf32_load(to.y), sum[r][0]);
            sum[r][1] = vf32_add(vf32_load(to.y + WIDTH), sum[r][1]);
        }
        vf32_store(to.y, sum[r][0]);
        vf32_store(to.y + WIDTH, sum[r][1]);
    }
}

static void multiply_f32(const float *x, const float *w, size_t k, sums_target to)
{
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) { sum[r][0] = sum[r][1] = vf32_zero(); }
    for (size_t i = 0; i < k; i++, x += ROWS, w += TILE) {
        const vf32 w0 = vf32_load(w), w1 = vf32_load(w + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x[r]);
            sum[r][0] = vf32_fma(w0, v, sum[r][0]);
            sum[r][1] = vf32_fma(w1, v, sum[r][1]);
        }
    }
    store_sums(sum, to);
}

QK_INLINE vacc add_dot(int_shape shape, vacc sum, vwords w, vwords x)
{
    return shape.bytes == 1 ? vacc_dot_i8(sum, w, x) : vacc_dot_i16(sum, w, x);
}

QK_INLINE vf32 float_sums(int_shape shape, vacc a)
{
    return shape.bytes == 1 ? vf32_from_i8_sums(a) : vf32_from_i16_sums(a);
}

/* Integer sums of n words of columns, 32 or 16 columns. */
QK_INLINE void add_products(int_shape shape, const uint32_t *x, const uint32_t *w, int n,
                            vacc sum[ROWS][2])
{
    UNROLL for (int i = 0; i < n; i++, x += ROWS, w += TILE)
    {
        const vwords w0 = vwords_load(w), w1 = vwords_load(w + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vwords v = vwords_set1(x + r);
            sum[r][0] = add_dot(shape, sum[r][0], w0, v);
            sum[r][1] = add_dot(shape, sum[r][1], w1, v);
        }
    }
}

/* One scale of w: the integer sums of its columns are made floats and added to out, times the scale
 * of x too where each group of 32 has its own. */
QK_INLINE void add_group(int_shape shape, const int_operands *at, int half, vf32 out[ROWS][2])
{
    const int n = 8 * shape.bytes / shape.halves;
    const float *scale = at->w_items + (W_SCALE + half) * TILE;
    vacc sum[ROWS][2];
    const int32_t *start = (const int32_t *)at->w_items + (W_START + half) * TILE;
    const int has_start = X_BIAS && shape.bytes == 1;
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        sum[r][0] = has_start ? vacc_load(start) : vacc_zero();
        sum[r][1] = has_start ? vacc_load(start + WIDTH) : vacc_zero();
    }
    add_products(shape, at->x_words + half * n * ROWS, at->w_words + half * n * TILE, n, sum);
    const vf32 s0 = vf32_load(scale), s1 = vf32_load(scale + WIDTH);
    UNROLL for (int r = 0; r < ROWS; r++)
    {
        const vf32 v = vf32_set1(at->x_items[r]);
        const vf32 by0 = shape.x_groups > 1 ? s0 : vf32_mul(s0, v);
        const vf32 by1 = shape.x_groups > 1 ? s1 : vf32_mul(s1, v);
        out[r][0] = vf32_fma(float_sums(shape, sum[r][0]), by0, out[r][0]);
        out[r][1] = vf32_fma(float_sums(shape, sum[r][1]), by1, out[r][1]);
    }
    if (shape.has_min) {
        const float *min = at->w_items + (W_MIN + half) * TILE;
        const float *x_sum = at->x_items + (shape.halves == 2 ? 2 + half : 1) * ROWS;
        const vf32 m0 = vf32_load(min), m1 = vf32_load(min + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x_sum[r]);
            out[r][0] = vf32_fma(m0, v, out[r][0]);
            out[r][1] = vf32_fma(m1, v, out[r][1]);
        }
    }
}

/* Adds the products of all columns that share a scale of x. */
QK_INLINE void add_groups(int_shape shape, int_operands *at, vf32 out[ROWS][2])
{
    for (int group = 0; group < shape.x_groups; group++) {
        UNROLL for (int half = 0; half < shape.halves; half++) { add_group(shape, at, half, out); }
        at->x_words += 8 * shape.bytes * ROWS;
        at->w_words += 8 * shape.bytes * TILE;
        at->x_items += X_ITEMS * ROWS;
        at->w_items += W_ITEMS * TILE;
    }
}

QK_INLINE void multiply_integers(int_shape shape, int_operands at, size_t n_groups, sums_target to)
{
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) { sum[r][0] = sum[r][1] = vf32_zero(); }
    for (size_t i = 0; i < n_groups; i += (size_t)shape.x_groups) {
        if (shape.x_groups == 1) {
            add_groups(shape, &at, sum);
            continue;
        }
        const float *x_scale = at.x_items;
        vf32 part[ROWS][2];
        UNROLL for (int r = 0; r < ROWS; r++) { part[r][0] = part[r][1] = vf32_zero(); }
        add_groups(shape, &at, part);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x_scale[r]);
            sum[r][0] = vf32_fma(part[r][0], v, sum[r][0]);
            sum[r][1] = vf32_fma(part[r][1], v, sum[r][1]);
        }
    }
    store_sums(sum, to);
}

typedef void int_kernel(int_operands at, size_t n_groups, sums_target to);

#define INT_KERNEL(name, ...)                                                                      \
    static void name(int_operands at, size_t n_groups, sums_target to)                             \
    {                                                                                              \
        multiply_integers((int_shape){__VA_ARGS__}, at, n_groups, to);                             \
    }
INT_KERNEL(multiply_i16, 2, 1, 0, 1)
INT_KERNEL(multiply_i16_min, 2, 1, 1, 1)
INT_KERNEL(multiply_i16_halves, 2, 2, 0, 1)
INT_KERNEL(multiply_i16_halves_min, 2, 2, 1, 1)
/* For blocks of 32, and for blocks of 256 with one scale of x each. */
#define Q8_BYTES (HAS_DOT_I8 ? 1 : 2)
INT_KERNEL(multiply_q8_0, Q8_BYTES, 1, 0, 1)
INT_KERNEL(multiply_q8_0_min, Q8_BYTES, 1, 1, 1)
INT_KERNEL(multiply_q8_k, Q8_BYTES, 1, 0, 8)
INT_KERNEL(multiply_q8_k_min, Q8_BYTES, 1, 1, 8)
INT_KERNEL(multiply_q8_k_halves, Q8_BYTES, 2, 0, 8)
INT_KERNEL(multiply_q8_k_halves_min, Q8_BYTES, 2, 1, 8)
#undef INT_KERNEL

/* The microkernel for activations and weights so packed; NULL for f32. */
static int_kernel *find_int_kernel(qk_packing packing, int halves, int has_min)
{
    static int_kernel *const kernels[][2][2] = {
        [QK_PACKED_I16] = {{multiply_i16, multiply_i16_min},
                           {multiply_i16_halves, multiply_i16_halves_min}},
        [QK_PACKED_Q8_0] = {{multiply_q8_0, multiply_q8_0_min}}, /* all have groups of 32 */
        [QK_PACKED_Q8_K] = {{multiply_q8_k, multiply_q8_k_min},
                            {multiply_q8_k_halves, multiply_q8_k_halves_min}},
    };
    return packing == QK_PACKED_F32 ? NULL : kernels[packing][halves - 1][has_min];
}

#endif
