/* SPDX-License-Identifier: MIT */
/* What the weights of a group can become: scale * level - minimum, the level one of a few numbers,
 * the scale and the minimum on a grid. */
#ifndef QK_LEVELS_H
#define QK_LEVELS_H

typedef enum level_kind {
    LEVELS_WHOLE, /* the integers low..high */
    LEVELS_IQ4,   /* those of iq4.h */
    LEVELS_E2M1,  /* twice the numbers of four bits: mxfp4.h */
    LEVELS_BOOK   /* entries of a codebook: codebook_group.h */
} level_kind;

/* On which numbers a scale or a minimum must lie. */
typedef enum grid_kind {
    GRID_ANY,   /* on all: before the unit they are multiples of is known */
    GRID_WHOLE, /* integer multiples of a unit */
    GRID_ODD,   /* odd ones */
    GRID_HALF,  /* half-precision numbers */
    GRID_POWER, /* powers of two: the scales of MXFP4 */
    GRID_UE4M3  /* those of NVFP4 */
} grid_kind;

typedef struct levels {
    level_kind kind;
    float low, high;
} levels;

/* The level nearest to x; none where x is NaN is out of low..high. */
QK_INLINE lf32 nearest_level(levels of, lf32 x)
{
    if (of.kind == LEVELS_IQ4) {
        return lf32_lookup16(iq4_level, iq4_nearest(x));
    }
    lf32 v = lf32_greater(lf32_lesser(x, lf32_set1(of.high)), lf32_set1(of.low));
    if (of.kind == LEVELS_WHOLE) {
        return lf32_round(v);
    }
    /* E2M1, doubled: steps of 1 to 4, of 2 to 8, and of 4. */
    lf32 a = lf32_abs(v);
    lf32 fine = lf32_round(v);
    lf32 middle = lf32_mul(lf32_round(lf32_mul(v, lf32_set1(0.5f))), lf32_set1(2.0f));
    lf32 coarse = lf32_mul(lf32_round(lf32_mul(v, lf32_set1(0.25f))), lf32_set1(4.0f));
    lf32 large = lf32_select(lf32_gt(a, lf32_set1(8.0f)), coarse, middle);
    return lf32_select(lf32_gt(a, lf32_set1(4.0f)), large, fine);
}

/* 2^floor(log2 a) of a normal a > 0 */
QK_INLINE lf32 power_below(lf32 a)
{
    return lf32_from_bits(li32_and(lf32_bits(a), li32_set1(0x7f800000)));
}

/* The number of the grid nearest to x >= 0 or, for GRID_HALF and GRID_ANY, of either sign. */
QK_INLINE lf32 on_grid(grid_kind kind, float low, float high, lf32 x)
{
    switch (kind) {
    case GRID_WHOLE: {
        lf32 v = lf32_lesser(x, lf32_set1(high));
        return lf32_round(lf32_greater(v, lf32_set1(low)));
    }
    case GRID_ODD: {
        lf32 v = lf32_greater(lf32_lesser(x, lf32_set1(high)), lf32_set1(low));
        v = lf32_round(lf32_mul(lf32_sub(v, lf32_set1(1.0f)), lf32_set1(0.5f)));
        return lf32_add(lf32_add(v, v), lf32_set1(1.0f));
    }
    case GRID_HALF:
        return lf32_through_f16(
            lf32_greater(lf32_lesser(x, lf32_set1(65504.0f)), lf32_set1(-65504.0f)));
    case GRID_POWER: {
        lf32 v = lf32_lesser(lf32_greater(lf32_abs(x), lf32_set1(0x1p-120f)), lf32_set1(0x1p120f));
        lf32 power = power_below(v);
        lmask up = lf32_gt(v, lf32_mul(power, lf32_set1(1.5f)));
        return lf32_select(up, lf32_add(power, power), power);
    }
    case GRID_UE4M3:
        return ue4m3_half(ue4m3_from_lf32(
            lf32_mul(lf32_set1(2.0f), lf32_lesser(lf32_abs(x), lf32_set1(224.0f)))));
    default:
        return x;
    }
}

#endif
