/* SPDX-License-Identifier: MIT */
/* MXFP4: 32 weights in 17 bytes, 4.25 bits per weight.
 *
 *     byte 0    e   the scale as a power of two, 2^(e - 127)
 *     byte 1    16 bytes of 4-bit codes: byte i holds code i low and code i+16 high
 *
 *     weight = 2^(e - 127) * value[code]; value[0..7] = 0, 0.5, 1, 1.5, 2, 3, 4, 6, and with bit 3
 *     the same negated (floating point with 1 sign, 2 exponent and 1 mantissa bits)
 *
 * Rule: e = floor(log2 of the largest |x|) - 2 + 127, the nearest value for each weight, the one
 * of smaller magnitude of two as near.  Importance has no effect.
 * Source: OCP Microscaling Formats (MX) 1.0; ggml, quantize_row_mxfp4_ref. */

/* Twice the values, for half the scale. */
QK_TABLE float mxfp4_value[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* floor(log2f(a)) for a > 0, where log2f rounds: just below 2^k it gives k, which is then its own
 * floor.  The numbers that do are those within ln 2 * u of 2^k, u = half the unit in the last
 * place of a float just below k, which is 2^floor(log2 |k|) half units in the last place of a. */
QK_INLINE li32 mxfp4_floor_log2(lf32 a)
{
    lmask subnormal = lf32_gt(lf32_set1(FLT_MIN), a);
    lf32 normal = lf32_select(subnormal, lf32_mul(a, lf32_set1(16777216.0f)), a);
    li32 bias = li32_select(subnormal, li32_set1(127 + 24), li32_set1(127));
    li32 k = li32_sub(li32_add(li32_shr(lf32_bits(normal), 23), li32_set1(1)), bias);
    li32 size = li32_max(li32_sub(k, li32_set1(1)), li32_sub(li32_set1(0), k));
    li32 power = li32_and(lf32_bits(lf32_from_li32(size)), li32_set1(0x7f800000));
    li32 reach = li32_trunc(lf32_mul(lf32_from_bits(power), lf32_set1(0.693147181f)));
    return li32_sub(li32_shr(li32_add(lf32_bits(normal), reach), 23), bias);
}

/* 2^(e - 128) */
QK_INLINE lf32 mxfp4_half_scale(li32 e)
{
    li32 subnormal =
        li32_select(li32_eq(e, li32_set1(0)), li32_set1(0x200000), li32_set1(0x400000));
    li32 normal = li32_shl(li32_sub(e, li32_set1(1)), 23);
    return lf32_from_bits(li32_select(li32_gt(e, li32_set1(1)), normal, subnormal));
}

QK_FN void mxfp4_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    const lf32 half = lf32_set1(0.5f);
    lf32 max = lane_largest(x, 32), middle[7];
    li32 code[32], words[4];
    /* Below 2^-125 the reference's byte wraps, and the codes come out 0. */
    li32 e = li32_as_u8(li32_add(mxfp4_floor_log2(max), li32_set1(127 - 2)));
    e = li32_select(lf32_eq(max, lf32_set1(0.0f)), li32_set1(0), e);
    lf32 d = mxfp4_half_scale(e);
    for (int k = 0; k < 7; k++) { /* exact; infinite if the larger value is */
        lf32 low = lf32_mul(d, lf32_set1(mxfp4_value[k]));
        lf32 high = lf32_mul(d, lf32_set1(mxfp4_value[k + 1]));
        middle[k] = lf32_add(lf32_mul(low, half), lf32_mul(high, half));
    }
    for (int i = 0; i < 32; i++) {
        lf32 a = lf32_abs(x[i]);
        li32 sign = li32_shl(li32_shr(lf32_bits(x[i]), 31), 3);
        code[i] = li32_set1(0);
        for (int k = 0; k < 7; k++) {
            li32 signed_code = li32_or(sign, li32_set1(k + 1));
            code[i] = li32_select(lf32_gt(a, middle[k]), signed_code, code[i]);
        }
    }
    pack_codes(code, 4, words);
    put_after_byte(e, words, 4, out);
}

QK_FN void mxfp4_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 17, y += 32) {
        lf32 d = mxfp4_half_scale(li32_set1(block[0]));
        for (int i = 0; i < 32; i += LANES) {
            lf32 value = lf32_lookup16(mxfp4_value, load_nibbles(block + 1, i));
            lf32_store(y + i, lf32_mul(value, d));
        }
    }
}
