/* SPDX-License-Identifier: MIT */
/* What the two ternary formats share: weight = d * (trit - 1), d = the largest |x|. */
#ifndef QK_TERNARY_H
#define QK_TERNARY_H

/* The trits 0, 1, 2 of 256 weights, x / d rounded half away from zero; gives d in half precision.
 */
QK_INLINE li32 ternary_round(const lf32 *x, li32 *trit)
{
    lf32 d = lane_largest(x, 256);
    lf32 inverse = lf32_reciprocal_or_0(d);
    /* Below 2^-128 the inverse is infinite, and the reference's trits all come out 1. */
    lmask no_inverse = lf32_gt(inverse, lf32_set1(FLT_MAX));
    inverse = lf32_select(no_inverse, lf32_set1(0.0f), inverse);
    for (int i = 0; i < 256; i++) {
        lf32 v = lf32_mul(x[i], inverse); /* |v| < 1.5 */
        li32 not_up = li32_select(lf32_gt(lf32_set1(0.5f), v), li32_set1(1), li32_set1(2));
        trit[i] = li32_select(lf32_gt(v, lf32_set1(-0.5f)), not_up, li32_set1(0));
    }
    return f16_from_lf32(d);
}

#endif
