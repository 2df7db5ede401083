/* SPDX-License-Identifier: MIT */
/* Half precision to float and back, one number at a time; needs subnormals (float_state.h).  After
 * lane.h, or lane_cuda.h. */
#ifndef QK_HALF_H
#define QK_HALF_H

QK_INLINE float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

QK_INLINE uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* The exponent is moved into place as a subnormal float and multiplied up, exactly. */
QK_INLINE float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7fff) << 13;
    const uint32_t magnitude = bits_of_float(float_of_bits(rest) * 0x1p112f);
    return float_of_bits(sign | ((half & 0x7c00) == 0x7c00 ? rest | 0x7f800000u : magnitude));
}

QK_INLINE float half_at(const uint8_t *p) { return float_of_half((uint16_t)(p[0] | p[1] << 8)); }

/* A float of 4 exponent bits, bias 7, and 3 mantissa bits; 0x7f is 0 (kernels/nvfp4.h). */
QK_INLINE float float_of_ue4m3(uint8_t byte)
{
    return byte == 0x7f ? 0.0f : float_of_bits((uint32_t)(byte & 0x7f) << 20) * 0x1p120f;
}

/* The nearest number of half precision, half to even, as a float; beyond it infinity. */
QK_INLINE float rounded_to_half(float f)
{
    const uint32_t bits = bits_of_float(f), sign = bits & 0x80000000u, a = bits & 0x7fffffffu;
    if (a > 0x7f800000u) {
        return f;
    }
    if (a >= 0x477ff000u) { /* 65520 */
        return float_of_bits(sign | 0x7f800000u);
    }
    if (a < 0x38800000u) { /* 2^-14: the unit of subnormal numbers is that of 0.5 as a float */
        const float sum = float_of_bits(a) + 0.5f;
        return float_of_bits(sign | bits_of_float(sum - 0.5f));
    }
    return float_of_bits(sign | ((a + 0xfffu + (a >> 13 & 1)) & ~0x1fffu));
}

#endif
