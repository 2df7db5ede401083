/* SPDX-License-Identifier: MIT */
/* Numbers as codes of 8 bits with scales, as the product of integers (matmul.cu) reads them: for
 * each 32 columns, words of four codes as lanes hold them in products on tensor cores (ptx.h).
 *
 *     activations  [k / 32][rows / 16][32 lanes][4] words; of 16-bit codes first all high
 *                  bytes, which are signed, then all low ones
 *     weights      [k / 32][rows / 8][32 lanes][2] words
 *     items        [k / 32][items of 32 columns][rows] floats, after the words
 *
 * Rows are filled up with zeros to a multiple of what a block takes, so that no load needs a
 * condition. */
#ifndef QKC_OPS_CODES_CUH
#define QKC_OPS_CODES_CUH

#include "checks.h"

extern "C" {
#include "../../ops/ops.h"
}

#define QKC_WARP 32
#define ROW_WORDS (QK_GROUP / 4) /* of a row's 32 columns */
#define X_WORDS 4                /* of a lane, for 16 rows of activations */
#define W_WORDS 2                /* for 8 rows of weights */

/* Rows of activations and of weights that a block multiplies at a time. */
#define MOST_X_ROWS 128
#define W_ROWS 64

#define CODES_ALIGNMENT 16

/* Items of activations: the scale, and the sum of the codes of all 32, of the first and of the last
 * 16, times the scale unless 256 share it. */
enum { X_SCALE, X_SUM, X_FIRST_SUM, X_LAST_SUM, X_ITEMS };

/* What 32 weights of a type have: scales, then as many minimums, negated, or none. */
struct weight_shape {
    int n_scales, has_min, n_items;
};

struct codes {
    uint8_t *bytes;
    float *items;
    size_t rows, n_groups; /* with those of zeros; of 32 columns */
};

/* Where the word of columns 4 * word .. is among those of its 32 columns, of activations. */
static __device__ __forceinline__ size_t x_word_place(size_t row, size_t word)
{
    const size_t lane = row % 8 * 4 + word % 4;
    return (row / 16 * QKC_WARP + lane) * X_WORDS + word / 4 * 2 + row % 16 / 8;
}

/* The same of weights: words 0 4 1 5 2 6 3 7 of a row. */
static __device__ __forceinline__ size_t w_word_place(size_t row, size_t word)
{
    return (row * 4 + word % 4) * W_WORDS + word / 4;
}

static inline int n_planes(int packing) { return packing == QK_PACKED_I16 ? 2 : 1; }

/* Bytes of codes and of items; SIZE_MAX if that overflows. */
static inline size_t codes_bytes(size_t rows, size_t k, int planes, int items)
{
    const size_t of_group = (size_t)planes * QK_GROUP + (size_t)items * sizeof(float);
    return qk_times(qk_times(rows, k / QK_GROUP), of_group);
}

static inline codes codes_at(void *memory, size_t rows, size_t k, int planes)
{
    uint8_t *bytes = (uint8_t *)memory;
    return {bytes, (float *)(bytes + rows * k * (size_t)planes), rows, k / QK_GROUP};
}

/* Of m rows of activations; SIZE_MAX if that overflows. */
static inline size_t packed_rows(size_t m) { return qk_rounded_up(m, MOST_X_ROWS); }

static inline codes packed_codes(const void *packed, int packing, size_t m, size_t k)
{
    return codes_at((void *)packed, packed_rows(m), k, n_planes(packing));
}

/* 0 if the type has no blocks. */
int qkc_weight_shape(int type, weight_shape *shape);

/* Queues: rows of weights to codes. */
int qkc_unpack_weights(int type, const uint8_t *weights, size_t n_rows, const codes *to,
                       void *stream);

#endif
