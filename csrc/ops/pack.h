/* SPDX-License-Identifier: MIT */
/* Activations as the microkernels read them: panels of ROWS rows of x, column by column.
 *
 *     f32       [k][ROWS] floats
 *     integers  [k / 32][X_ITEMS][ROWS] floats: the scale, and the sum of the codes of all 32, of
 *               the first and of the last 16, times the scale unless 256 share it;
 *               then words [k / 2][ROWS] of two codes of a row, or [k / 4][ROWS] of four, or both:
 *               8-bit activations have also 16-bit codes, for weights larger than I8_LARGEST
 *
 * The last panel is filled up with rows of zeros.
 *
 * Rules.  i16: the largest of 32 gets +-32767.  q8_0 and q8_k as llama.cpp does on x86-64
 * (quantize_row_q8_0, _q8_1 and _q8_K): the largest of 32 gets +-127, on a scale that is stored in
 * half precision, as is its product with the sum of the codes; or the first largest of 256 gets
 * -127, on a float scale. */
#ifndef QK_PACK_H
#define QK_PACK_H

#include "../sizes.h"
#include "half.h"
#include "ops.h"
#include "vmath.h"

#define GROUP QK_GROUP
#define X_ITEMS 4
enum { X_SCALE, X_SUM, X_FIRST_SUM, X_LAST_SUM };

#define I16_TOP 32767 /* the largest code */
#define Q8_TOP 127

/* Whether activations so packed are held as codes of 8 bits, of 16 bits. */
QK_INLINE int has_i8(qk_packing packing) { return packing >= QK_PACKED_Q8_0 && I8_LARGEST > 0; }
QK_INLINE int has_i16(qk_packing packing) { return !has_i8(packing) || I8_LARGEST < 128; }

/* Where a panel's words begin, of codes of so many bytes. */
QK_INLINE size_t words_offset(qk_packing packing, size_t bytes, size_t k)
{
    const size_t items = qk_times(k / GROUP, X_ITEMS * ROWS * sizeof(float));
    return bytes == 1 && has_i16(packing) ? qk_plus(items, qk_times(k, ROWS * 2)) : items;
}

QK_INLINE size_t panel_bytes(qk_packing packing, size_t k)
{
    if (packing == QK_PACKED_F32) {
        return qk_times(k, ROWS * sizeof(float));
    }
    const size_t last = has_i8(packing) ? 1 : 2;
    return qk_plus(words_offset(packing, last, k), qk_times(k, ROWS * last));
}

/* |x| of the largest of n; NaN if there is one. */
QK_INLINE float largest_magnitude(const float *x, int n)
{
    int32_t largest = 0;
    for (int i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= INT32_MAX;
        largest = bits > largest ? bits : largest;
    }
    return float_of_bits((uint32_t)largest);
}

/* code = x * inverse to the nearest integer, half to even; |x * inverse| <= 2^15. */
QK_INLINE void round_codes(const float *x, int n, float inverse, int16_t *code)
{
    for (int i = 0; i < n; i++) {
        const float sum = x[i] * inverse + TO_INTEGER;
        int32_t bits;
        memcpy(&bits, &sum, sizeof bits);
        code[i] = (int16_t)(bits - TO_INTEGER_BITS);
    }
}

/* Codes of a group with the largest at +-top; gives the scale, NaN if a value is not finite. */
QK_INLINE float quantize_group(const float *x, float top, int16_t *code)
{
    const float largest = largest_magnitude(x, GROUP), inverse = top / largest;
    if (!(inverse <= FLT_MAX) || !(largest <= FLT_MAX)) { /* as good as 0, or not finite */
        memset(code, 0, GROUP * sizeof *code);
        return largest <= FLT_MAX ? 0.0f : NAN;
    }
    round_codes(x, GROUP, inverse, code);
    return largest / top;
}

/* Codes of a superblock with the first largest at -Q8_TOP; gives the scale. */
QK_INLINE float quantize_q8_k(const float *x, int16_t *code)
{
    const float largest = largest_magnitude(x, QK_SUPERBLOCK);
    const float top = (float)-Q8_TOP;
    if (!(top / largest >= -FLT_MAX) || !(largest <= FLT_MAX)) {
        memset(code, 0, QK_SUPERBLOCK * sizeof *code);
        return largest <= FLT_MAX ? 0.0f : NAN;
    }
    int first = 0;
    while (first < QK_SUPERBLOCK - 1 && fabsf(x[first]) < largest) {
        first++;
    }
    const float inverse = top / x[first];
    round_codes(x, QK_SUPERBLOCK, inverse, code);
    for (int i = 0; i < QK_SUPERBLOCK; i++) {
        code[i] = code[i] > Q8_TOP ? Q8_TOP : code[i];
    }
    return 1.0f / inverse;
}

/* Where the numbers and the codes of one row of a panel go: every ROWS-th is this row's. */
typedef struct x_row {
    float *items;
    uint32_t *i16, *i8;
} x_row;

QK_INLINE void put_words_i16(const int16_t *code, uint32_t *to)
{
    uint32_t words[GROUP / 2];
    memcpy(words, code, sizeof words);
    for (size_t i = 0; i < GROUP / 2; i++) {
        to[i * ROWS] = words[i];
    }
}

QK_INLINE void put_words_i8(const int16_t *code, uint32_t *to)
{
    uint8_t narrow[GROUP];
    uint32_t words[GROUP / 4];
    for (int i = 0; i < GROUP; i++) {
        narrow[i] = (uint8_t)(code[i] + X_BIAS);
    }
    memcpy(words, narrow, sizeof words);
    for (size_t i = 0; i < GROUP / 4; i++) {
        to[i * ROWS] = words[i];
    }
}

QK_INLINE void put_items(const int16_t *code, float scale, qk_packing packing, float *items)
{
    static const int16_t is_first[GROUP] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int32_t all = 0, first = 0;
    for (int i = 0; i < GROUP; i++) { /* 32 times, since compilers vectorise this and not 16 */
        all += code[i];
        first += code[i] * is_first[i];
    }
    const float unit = packing == QK_PACKED_Q8_K ? 1.0f : scale;
    const float sum = unit * (float)all;
    items[X_SCALE * ROWS] = packing == QK_PACKED_Q8_0 ? rounded_to_half(scale) : scale;
    items[X_SUM * ROWS] = packing == QK_PACKED_Q8_0 ? rounded_to_half(sum) : sum;
    items[X_FIRST_SUM * ROWS] = unit * (float)first;
    items[X_LAST_SUM * ROWS] = unit * (float)(all - first);
}

QK_INLINE void pack_row_integers(qk_packing packing, const float *x, size_t k, x_row to)
{
    int16_t code[QK_SUPERBLOCK];
    float scale = 0.0f;
    for (size_t i = 0; i < k; i += GROUP) {
        const int16_t *group = code;
        if (packing == QK_PACKED_Q8_K) {
            group += i % QK_SUPERBLOCK;
            scale = i % QK_SUPERBLOCK ? scale : quantize_q8_k(x + i, code);
        } else {
            scale = quantize_group(x + i, packing == QK_PACKED_I16 ? I16_TOP : Q8_TOP, code);
        }
        put_items(group, scale, packing, to.items);
        to.items += X_ITEMS * ROWS;
        if (has_i16(packing)) {
            put_words_i16(group, to.i16);
            to.i16 += GROUP / 2 * ROWS;
        }
        if (has_i8(packing)) {
            put_words_i8(group, to.i8);
            to.i8 += GROUP / 4 * ROWS;
        }
    }
}

/* SIZE_MAX if that overflows. */
static size_t packed_bytes(qk_packing packing, size_t m, size_t k)
{
    return qk_times(qk_rounded_up(m, ROWS) / ROWS, panel_bytes(packing, k));
}

static void pack(qk_packing packing, const float *x, size_t m, size_t k, uint8_t *out)
{
    const size_t size = panel_bytes(packing, k);
    for (size_t row = 0; row < m; row++, x += k) {
        uint8_t *panel = out + row / ROWS * size;
        if (row % ROWS == 0 && m - row < ROWS) {
            memset(panel, 0, size);
        }
        if (packing == QK_PACKED_F32) {
            float *to = (float *)panel + row % ROWS;
            for (size_t i = 0; i < k; i++) {
                to[i * ROWS] = x[i];
            }
        } else {
            const x_row to = {
                .items = (float *)panel + row % ROWS,
                .i16 = (uint32_t *)(panel + words_offset(packing, 2, k)) + row % ROWS,
                .i8 = (uint32_t *)(panel + words_offset(packing, 1, k)) + row % ROWS,
            };
            if (packing == QK_PACKED_I16) { /* each compiled for its packing */
                pack_row_integers(QK_PACKED_I16, x, k, to);
            } else if (packing == QK_PACKED_Q8_0) {
                pack_row_integers(QK_PACKED_Q8_0, x, k, to);
            } else {
                pack_row_integers(QK_PACKED_Q8_K, x, k, to);
            }
        }
    }
}

#endif
