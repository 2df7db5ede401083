/* SPDX-License-Identifier: MIT */
/* The microkernels: ROWS rows of x times TILE rows of w, all sums in registers.
 *
 * A tile of w is held column by column, like x (pack.h): [columns][TILE] floats here, codes and
 * scales in kernel_int.h. */
#ifndef QK_KERNEL_H
#define QK_KERNEL_H

#define TILE (2 * WIDTH)

/* Where ROWS x TILE sums go; added to what is there if they continue a product.  Kernels take it by
 * its address: as a value it would be copied by loads wider than the stores that made it, and such
 * loads wait for all stores. */
typedef struct sums_target {
    float *y;
    size_t stride;
    int add;
} sums_target;

QK_INLINE void store_sums(vf32 sum[ROWS][2], const sums_target *to)
{
    float *y = to->y;
    UNROLL for (int r = 0; r < ROWS; r++, y += to->stride)
    {
        if (to->add) {
            sum[r][0] = vf32_add(vf32_load(y), sum[r][0]);
            sum[r][1] = vf32_add(vf32_load(y + WIDTH), sum[r][1]);
        }
        vf32_store(y, sum[r][0]);
        vf32_store(y + WIDTH, sum[r][1]);
    }
}

static void multiply_f32(const float *x, const float *w, size_t k, const sums_target *to)
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

/* The same with rows of x that lie `stride` apart. */
static void multiply_rows(const float *x, size_t stride, const float *w, size_t k,
                          const sums_target *to)
{
    vf32 sum[ROWS][2];
    UNROLL for (int r = 0; r < ROWS; r++) { sum[r][0] = sum[r][1] = vf32_zero(); }
    for (size_t i = 0; i < k; i++, w += TILE) {
        const vf32 w0 = vf32_load(w), w1 = vf32_load(w + WIDTH);
        UNROLL for (int r = 0; r < ROWS; r++)
        {
            const vf32 v = vf32_set1(x[(size_t)r * stride + i]);
            sum[r][0] = vf32_fma(w0, v, sum[r][0]);
            sum[r][1] = vf32_fma(w1, v, sum[r][1]);
        }
    }
    store_sums(sum, to);
}

#endif
