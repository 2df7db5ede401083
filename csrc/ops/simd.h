/* SPDX-License-Identifier: MIT */
/* The vectors that ops are written on: the only place there that knows an instruction set.
 *
 *   WIDTH   floats in a vector; ROWS, the rows of x that a microkernel takes at once
 *   vf32    vf32_load _store (any alignment), _set1, _zero, _add, _mul, _fma(a, b, c) = a * b + c,
 *           rounded once or twice
 *           vf32_sub, vf32_div, vf32_max(a, b): a > b ? a : b
 *           vf32_where_less(a, b, yes, no): a < b ? yes : no
 *           vf32_power_of_two(a): 2^n, a being n + 12582912 and n from -126 to 127
 *   vf64    sums of floats in double precision
 *             vf64_zero, vf64_add(sum, vf32), vf64_total: of all lanes
 *   vacc    sums of integer products, WIDTH of them
 *             vacc_zero, vacc_load(int32), vacc_store
 *             vacc_dot_i16(sum, w, x): lane l gets w[2l] x[0] + w[2l+1] x[1]; w: WIDTH pairs of
 *               int16 in memory order, x: one pair for all lanes
 *             vacc_dot_i8(sum, w, x): the same of four int8, |w| <= I8_LARGEST; x is held plus
 *               X_BIAS, as an unsigned byte where that is not 0
 *             vacc_dot_short(sum, w, x), if HAS_SHORT_SUMS: the same in two sums of 16 bits per
 *               lane, each of two of the four, modulo 2^16
 *             vf32_from_i16_sums, vf32_from_i8_sums, vf32_from_short_sums: as floats
 *           I8_LARGEST is 0 where there is no vacc_dot_i8; larger weights are held as int16
 *   vwords  WIDTH words of w; vwords_load, and vwords_set1(p): the word at p in all lanes
 *   memory  transpose_words(in, in_stride, out, out_stride): WIDTH x WIDTH words of 32 bits
 *           split_nibbles(bytes, offset, low, high): the halves of 16 bytes, less an offset
 *           lookup_nibbles(table, bytes, low, high): what a table of 16 bytes has for the halves
 *           add_where_set(bits, value, codes): adds a value to each of 32 bytes whose bit is set,
 *             byte i having bit i */
#ifndef QK_SIMD_H
#define QK_SIMD_H

#include "../lanes/lane.h"

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL
#endif

#endif
