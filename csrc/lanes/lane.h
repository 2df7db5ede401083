/* SPDX-License-Identifier: MIT */
/* The lane layer: the only place that knows an instruction set.
 *
 * A quantizer works on LANES blocks at once, one block per lane, so no float operation ever crosses
 * lanes, no sum is re-ordered, and every backend performs the same IEEE operations in the same
 * order.  The 1-lane header is the definition; the others must give its bits.  LANE_REGISTERS says
 * how many vectors the processor can hold, and LANE_CHAINS how many sums, of which each step waits
 * for the step before, are to grow side by side.
 *
 *   lf32  LANES floats         li32  LANES int32 (arithmetic wraps)         lmask  LANES truths
 *
 *   memory    lf32_load lf32_store li32_load li32_store (LANES consecutive items, any alignment)
 *             li32_load_i8 (sign-extended) li32_load_u8 li32_load_u16 (zero-extended)
 *             li32_store_u16 (low halves)
 *             li32_load_eights(p, i): int8 items i.. of p[0][0..7], p[1][0..7] and so on
 *             li32_lookup(table, index): table[index] of each lane, an int32 table
 *             lf32_lookup16(table, index): the same of 16 floats, index 0..15
 *             lf32_lookup4 lf32_lookup8: of 4 or 8 floats, by the low 2 or 3 bits of any index
 *             lane_transpose(rows, out): out[j] lane i = rows[i][j], for j in 0..LANES-1
 *   constants lf32_set1 li32_set1
 *   floats    lf32_add _sub _mul _div _sqrt: correctly rounded, subnormals kept
 *             lf32_round: to the nearest integer, half to even; |a| <= 2^22, a zero of either sign
 *             lf32_gt _eq: false on NaN
 *             lf32_lesser (a < b ? a : b), lf32_greater (a > b ? a : b): b on NaN and equality
 *   integers  li32_add _sub _mul _and _or _min _max, li32_shl _shr (logical) _sar by a constant,
 *             li32_gt _eq
 *   choice    lf32_select li32_select (mask, where true, where false)
 *   masks     lmask_and _or _not, lmask_any, lmask_first (the number of the first lane where true,
 *             of a mask that is true somewhere)
 *   lanes     lane_least: the least integer of all lanes
 *   convert   lf32_from_li32 (round to even), li32_trunc (toward zero; NaN and out of range give
 *             INT32_MIN, as x86 does), lf32_bits, lf32_from_bits
 *             lf32_mantissa: the low 23 bits; 0x400000 of any NaN that an operation made
 *
 * On a processor one thread has all lanes.  On CUDA lanes may be threads (cuda/lane_cuda.h), so
 * that a variable is a lane's own unless it is QK_SHARED.  What kernels have for that, and what
 * comes to nothing on a processor:
 *
 *   QK_SHARED     an array that all lanes read and write
 *   lane_sync     stands between the writes of some lanes and the reads of others
 *   lane_fill     one value into a few items that lie together
 *   lanes_of      the lanes of n integer variables, [n][LANES], for all to read and write: the
 *   lanes_back    variables themselves; or a copy in `room`, and then back to them
 *   QK_OWN_FIRST  the first of the items (of an array, or lanes) that a lane writes for itself
 *   QK_OWN_STEP   from it to the next
 *
 * There all lanes take the same branches, since conditions are made of lmask_any, lane_least,
 * lmask_first and what is QK_SHARED.
 *
 * Left out on purpose: fused multiply-add, reciprocal estimates, IEEE minimum and maximum (they
 * differ between machines), and sums across lanes.  tests/test_lanes.py counts
 * the ops.
 */
#ifndef QK_LANE_H
#define QK_LANE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "quantkit's bytes need IEEE arithmetic: build without -ffast-math"
#endif
#include <float.h>
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "quantkit's bytes need float arithmetic in float precision (on x86: SSE2, not x87)"
#endif
#ifdef _MSC_VER
#include <intrin.h>
#pragma fp_contract(off)
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "blocks are little-endian, and are made of words in memory order"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define QK_INLINE static inline __attribute__((always_inline))
#define QK_RESTRICT __restrict__
#elif defined(_MSC_VER)
#define QK_INLINE static __forceinline
#define QK_RESTRICT __restrict
#else
#define QK_INLINE static inline
#define QK_RESTRICT
#endif

/* The number of the lowest bit that is set. */
QK_INLINE int lowest_bit(unsigned bits)
{
#ifdef _MSC_VER
    unsigned long number;
    _BitScanForward(&number, bits);
    return (int)number;
#else
    return __builtin_ctz(bits);
#endif
}

/* A function of a kernel: never external, so no copy compiled for one CPU is linked for another. */
#define QK_FN static

/* A function that the host of a device calls, too. */
#define QK_BOTH QK_INLINE

/* A table of constants. */
#define QK_TABLE static const

/* Constants of a type, of which the host of a device knows the values, too. */
#define QK_RULE static const

#define LANE_CHAINS 4

/* For lanes that are threads: see above. */
#define QK_SHARED
#define QK_OWN_FIRST 0
#define QK_OWN_STEP 1
QK_INLINE void lane_sync(void) {}
#define lanes_of(v, n, room) ((void)(room), (int32_t (*)[LANES])(v))
#define lanes_back(v, n, lanes) ((void)(lanes))
QK_INLINE void lane_fill(float *p, int n, float value)
{
    for (int i = 0; i < n; i++) {
        p[i] = value;
    }
}

#endif
