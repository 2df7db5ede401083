/* SPDX-License-Identifier: MIT */
/* NVFP4: 64 weights in 36 bytes, 4.5 bits per weight.
 *
 *     byte 0    the scale of each 16 weights: an unsigned float of 4 exponent bits (bias 7) and 3
 *               mantissa bits; 0x7f stands for 0
 *     byte 4    for each 16 weights 8 bytes of 4-bit codes: byte i holds code i low, code i+8 high
 *
 *     weight = scale * value[code], the values of MXFP4
 *
 * Rule: scale = largest |x| / 6 rounded half up, 448 from 256 on; then the value for each weight
 * whose error, as a float, is the least, the one of smaller magnitude of two as near.  Beyond
 * 6 * 448 errors may be equal that are not so exactly.  Importance has no effect.
 * Source: ggml, quantize_row_nvfp4_ref and ggml_fp32_to_ue4m3. */

#define UE4M3_LARGEST 0x7e /* 448 */

/* The byte of a >= 0. */
QK_INLINE li32 ue4m3_from_lf32(lf32 a)
{
    /* Normal: the exponent's bias moves from 127 to 7; half up at bit 20, carrying into it. */
    li32 bits = lf32_bits(a);
    li32 normal = li32_shr(li32_add(bits, li32_set1(1 << 19)), 20);
    normal = li32_sub(normal, li32_set1((127 - 7) << 3));
    normal =
        li32_select(li32_gt(normal, li32_set1((15 << 3) - 1)), li32_set1(UE4M3_LARGEST), normal);
    /* Below 2^-6 they are multiples of 2^-9, and none rounds up to 2^-6. */
    lf32 multiple = lf32_add(lf32_mul(a, lf32_set1(512.0f)), lf32_set1(0.5f));
    li32 subnormal = li32_min(li32_trunc(multiple), li32_set1(7));
    return li32_select(li32_gt(li32_set1((127 - 6) << 23), bits), subnormal, normal);
}

/* Half the scale, since the values are doubled: the byte as exponent and mantissa of a float, which
 * is subnormal where the scale is, times 2^(127 - 7 - 1). */
QK_INLINE lf32 ue4m3_half(li32 byte)
{
    return lf32_mul(lf32_from_bits(li32_shl(byte, 20)), lf32_set1(0x1p119f));
}

/* The code of the value with the least error, the first of equals; value: those of codes 0..7.  A
 * negative weight has the same errors with the negative values. */
QK_INLINE li32 nvfp4_nearest(lf32 x, const lf32 *value)
{
    lf32 a = lf32_abs(x), least = lf32_abs(lf32_sub(value[0], a));
    li32 sign = li32_shl(li32_shr(lf32_bits(x), 31), 3), code = li32_set1(0);
    for (int k = 1; k < 8; k++) {
        lf32 error = lf32_abs(lf32_sub(value[k], a));
        code = li32_select(lf32_gt(least, error), li32_or(sign, li32_set1(k)), code);
        least = lf32_lesser(error, least);
    }
    return code;
}

/* 16 weights: two words of codes; gives the scale's byte. */
QK_INLINE li32 nvfp4_quantize_16(const lf32 *x, li32 *words)
{
    li32 byte = ue4m3_from_lf32(lf32_div(lane_largest(x, 16), lf32_set1(6.0f)));
    lf32 value[8], d = ue4m3_half(byte);
    li32 code[16];
    for (int k = 0; k < 8; k++) {
        value[k] = lf32_mul(d, lf32_set1(mxfp4_value[k]));
    }
    for (int i = 0; i < 16; i++) {
        code[i] = nvfp4_nearest(x[i], value);
    }
    words[0] = word_of_nibbles(code, code + 8);
    words[1] = word_of_nibbles(code + 4, code + 12);
    return byte;
}

QK_FN void nvfp4_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    li32 scale[4];
    for (int s = 0; s < 4; s++) {
        scale[s] = nvfp4_quantize_16(x + 16 * s, out + 1 + 2 * s);
    }
    out[0] = word_of_bytes(scale);
}

QK_FN void nvfp4_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    /* Brings the low half of a byte to the place of the high one, for the first 8 codes. */
    static const int32_t up[16] = {16, 16, 16, 16, 16, 16, 16, 16, 1, 1, 1, 1, 1, 1, 1, 1};
    for (; n_blocks--; block += 36) {
        for (int s = 0; s < 4; s++, y += 16) {
            lf32 d = ue4m3_half(li32_set1(block[s] == 0x7f ? 0 : block[s] & 0x7f));
            const int8_t *bytes = (const int8_t *)block + 4 + 8 * s;
            const int8_t *const twice[2] = {bytes, bytes};
            for (int i = 0; i < 16; i += LANES) {
                li32 high = li32_mul(li32_load_eights(twice, i), li32_load(up + i));
                li32 code = li32_and(li32_shr(high, 4), li32_set1(15));
                lf32_store(y + i, lf32_mul(lf32_lookup16(mxfp4_value, code), d));
            }
        }
    }
}
