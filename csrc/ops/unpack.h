/* SPDX-License-Identifier: MIT */
/* Blocks of every type as what they have in common: codes of 8 bits, and scales and minimums.
 *
 *     weight = scale[group] * code - min[group]
 *
 * exactly, to the bit, as the type's dequantizer has it.  A group is 16 or 32 weights.  Codes are
 * in the order of the weights.  The loops are over bytes and for the compiler to vectorise: it does
 * so for bytes in a local array, which nothing else can point to.  The layouts of the blocks are
 * told in kernels/<type>.h. */
#ifndef QK_UNPACK_H
#define QK_UNPACK_H

#include "../formats/grids.h"
#include "half.h"

typedef struct block_codes {
    int8_t *code;       /* [weights of the block] */
    float *scale, *min; /* [groups of the block]; min only of types that have it */
} block_codes;

/* Weights per group of a type, whether it has minimums, and the largest |code| that any bytes give.
 */
#define UNPACKED(name, group, has_min, largest)                                                    \
    enum { name##_group = group, name##_has_min = has_min, name##_largest = largest };

/* ---- blocks of 32 ---- */

UNPACKED(q4_0, 32, 0, 8)
QK_INLINE void unpack_q4_0(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    split_nibbles(block + 2, 8, to.code, to.code + 16);
}

UNPACKED(q4_1, 32, 1, 15)
QK_INLINE void unpack_q4_1(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    to.min[0] = -half_at(block + 2);
    split_nibbles(block + 4, 0, to.code, to.code + 16);
}

UNPACKED(q5_0, 32, 0, 16)
QK_INLINE void unpack_q5_0(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    split_nibbles(block + 6, 16, to.code, to.code + 16);
    add_where_set(block + 2, 16, to.code);
}

UNPACKED(q5_1, 32, 1, 31)
QK_INLINE void unpack_q5_1(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    to.min[0] = -half_at(block + 2);
    split_nibbles(block + 8, 0, to.code, to.code + 16);
    add_where_set(block + 4, 16, to.code);
}

UNPACKED(q8_0, 32, 0, 128)
QK_INLINE void unpack_q8_0(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    memcpy(to.code, block + 2, 32);
}

QK_TABLE int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};
QK_TABLE int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

UNPACKED(iq4_nl, 32, 0, 127)
QK_INLINE void unpack_iq4_nl(const uint8_t *block, block_codes to)
{
    to.scale[0] = half_at(block);
    lookup_nibbles(iq4_levels, block + 2, to.code, to.code + 16);
}

UNPACKED(mxfp4, 32, 0, 12)
QK_INLINE void unpack_mxfp4(const uint8_t *block, block_codes to)
{
    const uint32_t e = block[0]; /* half the scale, 2^(e - 128), since the values are doubled */
    to.scale[0] = float_of_bits(e > 1 ? (e - 1) << 23 : e ? 0x400000u : 0x200000u);
    lookup_nibbles(mxfp4_values, block + 1, to.code, to.code + 16);
}

/* ---- blocks of 64 and 128 ---- */

UNPACKED(nvfp4, 16, 0, 12)
QK_INLINE void unpack_nvfp4(const uint8_t *block, block_codes to)
{
    for (int j = 0; j < 4; j++) {
        to.scale[j] = 0.5f * float_of_ue4m3(block[j]); /* the values are doubled */
    }
    for (int j = 0; j < 2; j++) { /* twice 16 codes: low halves, high halves of 8 bytes */
        int8_t low[16], high[16], *code = to.code + 32 * j;
        lookup_nibbles(mxfp4_values, block + 4 + 16 * j, low, high);
        memcpy(code, low, 8);
        memcpy(code + 8, high, 8);
        memcpy(code + 16, low + 8, 8);
        memcpy(code + 24, high + 8, 8);
    }
}

UNPACKED(q1_0, 32, 0, 1)
QK_INLINE void unpack_q1_0(const uint8_t *block, block_codes to)
{
    uint8_t sign[128]; /* 128 or 0 */
    for (int j = 0; j < 16; j++) {
        memcpy(sign + 8 * j, spread_signs[block[2 + j]], 8);
    }
    for (int i = 0; i < 128; i++) {
        to.code[i] = (int8_t)((sign[i] >> 6) - 1);
    }
    for (int j = 0; j < 4; j++) {
        to.scale[j] = half_at(block);
    }
}

UNPACKED(q2_0, 32, 0, 2)
QK_INLINE void unpack_q2_0(const uint8_t *block, block_codes to)
{
    uint8_t byte[16], code[64];
    memcpy(byte, block + 2, sizeof byte);
    for (int i = 0; i < 16; i++) { /* its four codes, each in the low bits of a byte */
        const uint32_t halves = (byte[i] | (uint32_t)byte[i] << 12) & 0x000f000fu;
        const uint32_t quarters = (halves | halves << 6) & 0x03030303u;
        memcpy(code + 4 * i, &quarters, sizeof quarters);
    }
    for (int i = 0; i < 64; i++) {
        to.code[i] = (int8_t)(code[i] - 1);
    }
    to.scale[0] = to.scale[1] = half_at(block);
}

/* ---- blocks of 256 ---- */

/* 64 bytes of 2-bit codes: 32 bytes for each 128 weights, byte i with weights i, i+32, i+64, i+96.
 */
QK_INLINE void unpack_pairs_of_bits(const uint8_t *bytes, int offset, int8_t *code)
{
    uint8_t byte[64];
    memcpy(byte, bytes, sizeof byte);
    for (int j = 0; j < 8; j++) {
        for (int i = 0; i < 32; i++) {
            code[32 * j + i] = (int8_t)((byte[j / 4 * 32 + i] >> j % 4 * 2 & 3) - offset);
        }
    }
}

UNPACKED(q2_k, 16, 1, 3)
QK_INLINE void unpack_q2_k(const uint8_t *block, block_codes to)
{
    const float d = half_at(block + 80), dmin = half_at(block + 82);
    for (int j = 0; j < 16; j++) {
        to.scale[j] = d * (float)(block[j] & 15);
        to.min[j] = dmin * (float)(block[j] >> 4);
    }
    unpack_pairs_of_bits(block + 16, 0, to.code);
}

UNPACKED(q3_k, 16, 0, 4)
QK_INLINE void unpack_q3_k(const uint8_t *block, block_codes to)
{
    const uint8_t *scales = block + 96;
    const float d = half_at(block + 108);
    uint8_t high[32];
    memcpy(high, block, sizeof high);
    for (int j = 0; j < 8; j++) {
        const int first = (scales[j] & 15) | (scales[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
        const int second = scales[j] >> 4 | (scales[8 + j % 4] >> (j / 4 * 2 + 4) & 3) << 4;
        to.scale[j] = d * (float)(first - 32);
        to.scale[j + 8] = d * (float)(second - 32);
    }
    unpack_pairs_of_bits(block + 32, 4, to.code);
    for (int j = 0; j < 8; j++) {
        for (int i = 0; i < 32; i++) {
            const int bit = high[i] >> j & 1;
            to.code[32 * j + i] = (int8_t)(to.code[32 * j + i] + bit * 4);
        }
    }
}

/* d, dmin and the 12 bytes of the eight groups of Q4_K and Q5_K (kernels/k_scales.h). */
QK_INLINE void unpack_scales_6bit(const uint8_t *block, block_codes to)
{
    const uint8_t *b = block + 4;
    const float d = half_at(block), dmin = half_at(block + 2);
    for (int k = 0; k < 4; k++) {
        to.scale[k] = d * (float)(b[k] & 63);
        to.min[k] = dmin * (float)(b[k + 4] & 63);
        to.scale[k + 4] = d * (float)((b[k + 8] & 15) | (b[k] >> 6) << 4);
        to.min[k + 4] = dmin * (float)(b[k + 8] >> 4 | (b[k + 4] >> 6) << 4);
    }
}

/* 128 bytes of 4-bit codes: for each 64 weights 32 bytes, the low halves first. */
QK_INLINE void unpack_pairs(const uint8_t *bytes, int8_t *code)
{
    for (int i = 0; i < 8; i++) {
        int8_t *low = code + 64 * (i / 2) + 16 * (i % 2);
        split_nibbles(bytes + 16 * i, 0, low, low + 32);
    }
}

UNPACKED(q4_k, 32, 1, 15)
QK_INLINE void unpack_q4_k(const uint8_t *block, block_codes to)
{
    unpack_scales_6bit(block, to);
    unpack_pairs(block + 16, to.code);
}

UNPACKED(q5_k, 32, 1, 31)
QK_INLINE void unpack_q5_k(const uint8_t *block, block_codes to)
{
    uint8_t high[32];
    memcpy(high, block + 16, sizeof high);
    unpack_scales_6bit(block, to);
    unpack_pairs(block + 48, to.code);
    for (int pair = 0; pair < 4; pair++) {
        int8_t *code = to.code + 64 * pair;
        for (int i = 0; i < 32; i++) {
            code[i] = (int8_t)(code[i] + (high[i] >> 2 * pair & 1) * 16);
            code[i + 32] = (int8_t)(code[i + 32] + (high[i] >> (2 * pair + 1) & 1) * 16);
        }
    }
}

UNPACKED(q6_k, 16, 0, 32)
QK_INLINE void unpack_q6_k(const uint8_t *block, block_codes to)
{
    const float d = half_at(block + 208);
    for (int j = 0; j < 16; j++) {
        to.scale[j] = d * (float)(int8_t)block[192 + j];
    }
    uint8_t low[128], high[64];
    memcpy(low, block, sizeof low);
    memcpy(high, block + 128, sizeof high);
    for (int j = 0; j < 8; j++) { /* group of 32 j % 4 of half j / 4 */
        const int at = 64 * (j / 4) + 32 * (j % 2), shift = j % 4 / 2 * 4;
        for (int i = 0; i < 32; i++) {
            const int bits = high[j / 4 * 32 + i] >> j % 4 * 2 & 3;
            to.code[32 * j + i] = (int8_t)((low[at + i] >> shift & 15) + bits * 16 - 32);
        }
    }
}

UNPACKED(iq4_xs, 32, 0, 127)
QK_INLINE void unpack_iq4_xs(const uint8_t *block, block_codes to)
{
    const float d = half_at(block);
    const int high = block[2] | block[3] << 8;
    for (int j = 0; j < 8; j++) {
        const int low = block[4 + j / 2] >> 4 * (j % 2) & 15;
        to.scale[j] = d * (float)((low | (high >> 2 * j & 3) << 4) - 32);
        int8_t *code = to.code + 32 * j;
        lookup_nibbles(iq4_levels, block + 8 + 16 * j, code, code + 16);
    }
}

UNPACKED(tq2_0, 32, 0, 2)
QK_INLINE void unpack_tq2_0(const uint8_t *block, block_codes to)
{
    const float d = half_at(block + 64);
    for (int j = 0; j < 8; j++) {
        to.scale[j] = d;
    }
    unpack_pairs_of_bits(block, 1, to.code);
}

/* n bytes of five (or four) trits: times 3, the next trit is what carries out of the byte. */
QK_INLINE void unpack_trits(const uint8_t *bytes, int n, int n_trits, int8_t *code)
{
    uint16_t byte[32];
    for (int i = 0; i < n; i++) {
        byte[i] = bytes[i];
    }
    for (int k = 0; k < n_trits; k++) {
        for (int i = 0; i < n; i++) {
            byte[i] = (uint16_t)((byte[i] & 255) * 3);
            code[n * k + i] = (int8_t)((byte[i] >> 8) - 1);
        }
    }
}

UNPACKED(tq1_0, 32, 0, 1)
QK_INLINE void unpack_tq1_0(const uint8_t *block, block_codes to)
{
    const float d = half_at(block + 52);
    for (int j = 0; j < 8; j++) {
        to.scale[j] = d;
    }
    unpack_trits(block, 32, 5, to.code);
    unpack_trits(block + 32, 16, 5, to.code + 160);
    unpack_trits(block + 48, 4, 4, to.code + 240);
}

#endif
