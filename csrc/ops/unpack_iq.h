/* SPDX-License-Identifier: MIT */
/* Unpacking of the types with a codebook; see unpack.h.
 *
 * An entry stands for 8 or 4 weights; most types add a sign to each. */
#ifndef QK_UNPACK_IQ_H
#define QK_UNPACK_IQ_H

QK_INLINE uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The codes of n weights become negative where `sign` has its highest bit. */
QK_INLINE void apply_signs(const uint8_t *sign, int n, int8_t *code)
{
    for (int i = 0; i < n; i++) {
        code[i] = (int8_t)(sign[i] & 128 ? -code[i] : code[i]);
    }
}

/* The signs of 32 weights, seven bits for each eight: the eighth makes their number even. */
QK_INLINE void spread_even_signs(uint32_t word, uint8_t *sign)
{
    for (int k = 0; k < 4; k++) {
        memcpy(sign + 8 * k, spread_signs[even_signs[word >> 7 * k & 127]], 8);
    }
}

/* (d * (0.5 + code)) * unit */
QK_INLINE float half_step_scale(float d, uint32_t code, float unit)
{
    return d * (0.5f + (float)code) * unit;
}

UNPACKED(iq2_xxs, 32, 0, 43)
QK_INLINE void unpack_iq2_xxs(const uint8_t *block, block_codes to)
{
    uint8_t sign[256];
    const float d = half_at(block);
    for (int j = 0; j < 8; j++) {
        const uint8_t *index = block + 2 + 8 * j;
        const uint32_t word = word_at(index + 4);
        for (int k = 0; k < 4; k++) {
            memcpy(to.code + 32 * j + 8 * k, iq2_xxs_grid[index[k]], 8);
        }
        spread_even_signs(word, sign + 32 * j);
        to.scale[j] = half_step_scale(d, word >> 28, 0.25f);
    }
    apply_signs(sign, 256, to.code);
}

UNPACKED(iq2_xs, 16, 0, 43)
QK_INLINE void unpack_iq2_xs(const uint8_t *block, block_codes to)
{
    uint8_t sign[256];
    const float d = half_at(block);
    for (int j = 0; j < 32; j++) {
        const int word = block[2 + 2 * j] | block[3 + 2 * j] << 8;
        memcpy(to.code + 8 * j, iq2_xs_grid[word & 511], 8);
        memcpy(sign + 8 * j, spread_signs[even_signs[word >> 9]], 8);
    }
    for (int j = 0; j < 16; j++) {
        to.scale[j] = half_step_scale(d, (uint32_t)block[66 + j / 2] >> 4 * (j % 2) & 15, 0.25f);
    }
    apply_signs(sign, 256, to.code);
}

UNPACKED(iq2_s, 16, 0, 43)
QK_INLINE void unpack_iq2_s(const uint8_t *block, block_codes to)
{
    uint8_t sign[256];
    const float d = half_at(block);
    for (int j = 0; j < 32; j++) {
        const int high = block[66 + j / 4] >> 2 * (j % 4) & 3;
        memcpy(to.code + 8 * j, iq2_s_grid[block[2 + j] | high << 8], 8);
        memcpy(sign + 8 * j, spread_signs[block[34 + j]], 8);
    }
    for (int j = 0; j < 16; j++) {
        to.scale[j] = half_step_scale(d, (uint32_t)block[74 + j / 2] >> 4 * (j % 2) & 15, 0.25f);
    }
    apply_signs(sign, 256, to.code);
}

UNPACKED(iq3_xxs, 32, 0, 62)
QK_INLINE void unpack_iq3_xxs(const uint8_t *block, block_codes to)
{
    uint8_t sign[256];
    const float d = half_at(block);
    for (int j = 0; j < 64; j++) {
        memcpy(to.code + 4 * j, iq3_xxs_grid[block[2 + j]], 4);
    }
    for (int j = 0; j < 8; j++) {
        const uint32_t word = word_at(block + 66 + 4 * j);
        spread_even_signs(word, sign + 32 * j);
        to.scale[j] = half_step_scale(d, word >> 28, 0.5f);
    }
    apply_signs(sign, 256, to.code);
}

UNPACKED(iq3_s, 32, 0, 15)
QK_INLINE void unpack_iq3_s(const uint8_t *block, block_codes to)
{
    uint8_t sign[256];
    const float d = half_at(block);
    for (int j = 0; j < 64; j++) {
        const int high = block[66 + j / 8] >> j % 8 & 1;
        memcpy(to.code + 4 * j, iq3_s_grid[block[2 + j] | high << 8], 4);
    }
    for (int j = 0; j < 32; j++) {
        memcpy(sign + 8 * j, spread_signs[block[74 + j]], 8);
    }
    for (int j = 0; j < 8; j++) {
        to.scale[j] = d * (float)(1 + 2 * (block[106 + j / 2] >> 4 * (j % 2) & 15));
    }
    apply_signs(sign, 256, to.code);
}

/* IQ1: an entry's values -1, 0, 1, shifted by an eighth up or down: as eighths. */
QK_INLINE void unpack_eighths(const int8_t *entry, int minus, int8_t *code)
{
    for (int i = 0; i < 8; i++) {
        code[i] = (int8_t)(entry[i] * 8 + (minus ? -1 : 1));
    }
}

UNPACKED(iq1_s, 32, 0, 9)
QK_INLINE void unpack_iq1_s(const uint8_t *block, block_codes to)
{
    const float d = half_at(block);
    for (int j = 0; j < 8; j++) {
        const int high = block[34 + 2 * j] | block[35 + 2 * j] << 8;
        for (int k = 0; k < 4; k++) {
            const int8_t *entry = iq1_s_grid[block[2 + 4 * j + k] | (high >> 3 * k & 7) << 8];
            unpack_eighths(entry, high >> 15, to.code + 32 * j + 8 * k);
        }
        to.scale[j] = d * (float)(2 * (high >> 12 & 7) + 1) * 0.125f;
    }
}

UNPACKED(iq1_m, 16, 0, 9)
QK_INLINE void unpack_iq1_m(const uint8_t *block, block_codes to)
{
    const uint8_t *word = block + 48;
    const unsigned low = (unsigned)(word[1] >> 4 | (word[3] & 0xf0));
    const unsigned high = (unsigned)((word[5] & 0xf0) | (word[7] & 0xf0) << 4);
    const float d = float_of_half((uint16_t)(low | high << 4));
    for (int j = 0; j < 16; j++) {
        const int both = block[32 + j];
        const int codes = word[j / 4 * 2] | word[j / 4 * 2 + 1] << 8;
        unpack_eighths(iq1_s_grid[block[2 * j] | (both & 0x07) << 8], both & 0x08,
                       to.code + 16 * j);
        unpack_eighths(iq1_s_grid[block[2 * j + 1] | (both & 0x70) << 4], both & 0x80,
                       to.code + 16 * j + 8);
        to.scale[j] = d * (float)(2 * (codes >> j % 4 * 3 & 7) + 1) * 0.125f;
    }
}

#endif
