/* SPDX-License-Identifier: MIT */
/* What several formats compute on lanes: the three rounding rules of GGUF, half precision, and
 * the assembly of bytes into 32-bit words. */
#ifndef QK_LANE_MATH_H
#define QK_LANE_MATH_H

/* ---- small pieces ---- */

QK_INLINE lf32 lf32_abs(lf32 a)
{
    return lf32_from_bits(li32_and(lf32_bits(a), li32_set1(0x7fffffff)));
}

QK_INLINE lf32 lf32_neg(lf32 a)
{
    return lf32_from_bits(li32_sub(lf32_bits(a), li32_set1(INT32_MIN)));
}

QK_INLINE li32 li32_clamp(li32 a, int low, int high)
{
    return li32_min(li32_max(a, li32_set1(low)), li32_set1(high));
}

/* The value a byte keeps of an int, as int8 and as uint8. */
QK_INLINE li32 li32_as_i8(li32 a) { return li32_sar(li32_shl(a, 24), 24); }
QK_INLINE li32 li32_as_u8(li32 a) { return li32_and(a, li32_set1(0xff)); }

/* 1/a, but 0 where a is 0. */
QK_INLINE lf32 lf32_reciprocal_or_0(lf32 a)
{
    lf32 zero = lf32_set1(0.0f);
    return lf32_select(lf32_eq(a, zero), zero, lf32_div(lf32_set1(1.0f), a));
}

/* ---- rounding ---- */

/* Added to a float within +-2^22 it leaves the nearest integer in the mantissa: 1.5 * 2^23. */
#define ROUNDING_MAGIC 12582912.0f
#define ROUNDING_BITS 0x4b400000

/* Half to even, as the K types round: adding 1.5*2^23 leaves the integer in the mantissa.  Beyond
 * +-2^22 the result wraps, which the search loops can reach and the bytes then depend on; NaN and
 * infinities give -2^22 or 0, the same on every machine. */
QK_INLINE li32 lf32_nearest(lf32 a)
{
    li32 mantissa = lf32_mantissa(lf32_add(a, lf32_set1(ROUNDING_MAGIC)));
    return li32_sub(mantissa, li32_set1(0x00400000));
}

/* lf32_nearest, clamped to low..high. */
QK_INLINE li32 lf32_nearest_clamped(lf32 a, int low, int high)
{
    return li32_clamp(lf32_nearest(a), low, high);
}

/* Half away from zero, as Q8_0 rounds (C's roundf). */
QK_INLINE li32 lf32_round_away(lf32 a)
{
    const li32 almost_half = li32_set1(0x3effffff); /* the float below 0.5: 0.5 would take the */
    li32 sign = li32_and(lf32_bits(a), li32_set1(INT32_MIN)); /* number just below a half up */
    return li32_trunc(lf32_add(a, lf32_from_bits(li32_or(almost_half, sign))));
}

/* The third rule, truncation toward zero, is the lane op li32_trunc. */

/* ---- half precision: IEEE binary16 in the low 16 bits of an int ---- */

/* Every NaN is written as 0xfe00.  Weights are finite, so a NaN here was made by an operation such
 * as 0 * Inf, and those of x86 are negative while those of Arm are positive. */
QK_INLINE li32 f16_from_lf32(lf32 a)
{
    li32 bits = lf32_bits(a);
    li32 magnitude = li32_and(bits, li32_set1(0x7fffffff));
    li32 sign = li32_and(li32_shr(bits, 16), li32_set1(0x8000));
    /* Normal: move the exponent's bias from 127 to 15 and round half to even at bit 13. */
    li32 odd = li32_and(li32_shr(magnitude, 13), li32_set1(1));
    li32 normal = li32_add(li32_sub(magnitude, li32_set1(0x38000000 - 0xfff)), odd);
    normal = li32_min(li32_shr(normal, 13), li32_set1(0x7c00));
    /* Subnormal: 0.5 has the same unit in the last place (2^-24), so the addition rounds. */
    lf32 shifted = lf32_add(lf32_from_bits(magnitude), lf32_set1(0.5f));
    li32 subnormal = li32_sub(lf32_bits(shifted), li32_set1(0x3f000000));
    li32 half = li32_select(li32_gt(li32_set1(0x38800000), magnitude), subnormal, normal);
    lmask nan = li32_gt(magnitude, li32_set1(0x7f800000));
    return li32_select(nan, li32_set1(0xfe00), li32_or(sign, half));
}

QK_INLINE lf32 lf32_from_f16(li32 half)
{
    li32 sign = li32_shl(li32_and(half, li32_set1(0x8000)), 16);
    li32 magnitude = li32_shl(li32_and(half, li32_set1(0x7fff)), 13);
    /* 2^112 moves the bias from 15 to 127, exactly, subnormals included. */
    lf32 finite =
        lf32_mul(lf32_from_bits(magnitude), lf32_set1(5192296858534827628530496329220096.0f));
    lmask special = li32_gt(magnitude, li32_set1(0x0f7fffff));
    li32 wide = li32_select(special, li32_or(magnitude, li32_set1(0x7f800000)), lf32_bits(finite));
    return lf32_from_bits(li32_or(wide, sign));
}

/* The value that a scale has once it is stored as half precision. */
QK_INLINE lf32 lf32_through_f16(lf32 a) { return lf32_from_f16(f16_from_lf32(a)); }

/* lf32_from_f16 of one number in every lane, computed once. */
QK_INLINE lf32 lf32_set1_f16(uint32_t half)
{
    uint32_t bits = (half & 0x8000) << 16 | (half & 0x7fff) << 13;
    float value;
    if ((half & 0x7c00) == 0x7c00) {
        bits |= 0x7f800000;
        memcpy(&value, &bits, sizeof value);
        return lf32_set1(value);
    }
    memcpy(&value, &bits, sizeof value);
    return lf32_set1(value * 5192296858534827628530496329220096.0f);
}

/* The half precision number at p, in every lane. */
QK_INLINE lf32 lf32_load_f16(const uint8_t *p)
{
    return lf32_set1_f16((uint32_t)p[0] | (uint32_t)p[1] << 8);
}

/* ---- words: what a kernel puts out is the block as little-endian 32-bit words, per lane ---- */

/* The word of two 16-bit halves. */
QK_INLINE li32 word_of_halves(li32 low, li32 high) { return li32_or(low, li32_shl(high, 16)); }

/* The word of four bytes, each 0..255. */
QK_INLINE li32 word_of_bytes(const li32 *b)
{
    return li32_or(li32_or(b[0], li32_shl(b[1], 8)),
                   li32_or(li32_shl(b[2], 16), li32_shl(b[3], 24)));
}

/* The word of four bytes, each of two codes 0..15: low[i] | high[i] << 4. */
QK_INLINE li32 word_of_nibbles(const li32 *low, const li32 *high)
{
    li32 word = li32_or(low[0], li32_shl(high[0], 4));
    for (int i = 1; i < 4; i++) {
        word = li32_or(word, li32_shl(low[i], 8 * i));
        word = li32_or(word, li32_shl(high[i], 8 * i + 4));
    }
    return word;
}

/* 128 codes of 2 bits as eight words: byte i holds codes i, i+32, i+64 and i+96 from its low bits
 * up. */
QK_INLINE void pack_2bit(const li32 *code, li32 *words)
{
    li32 byte[32];
    for (int i = 0; i < 32; i++) {
        li32 low = li32_or(code[i], li32_shl(code[i + 32], 2));
        byte[i] = li32_or(low, li32_or(li32_shl(code[i + 64], 4), li32_shl(code[i + 96], 6)));
    }
    for (int i = 0; i < 8; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
}

/* Words put after a 16-bit head: each straddles two words of the block. */
QK_INLINE void put_after_half(li32 head, const li32 *words, int n, li32 *out)
{
    for (int i = 0; i < n; i++) {
        out[i] = word_of_halves(head, words[i]);
        head = li32_shr(words[i], 16);
    }
    out[n] = head;
}

/* Words put after an 8-bit head. */
QK_INLINE void put_after_byte(li32 head, const li32 *words, int n, li32 *out)
{
    for (int i = 0; i < n; i++) {
        out[i] = li32_or(head, li32_shl(words[i], 8));
        head = li32_shr(words[i], 24);
    }
    out[n] = head;
}

#endif
