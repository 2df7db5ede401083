/* SPDX-License-Identifier: MIT */
/* Bytes to codes in plain C, for simd_scalar.h and for CUDA.  See simd.h for the contract. */
#ifndef QK_PLAIN_BYTES_H
#define QK_PLAIN_BYTES_H

QK_INLINE void split_nibbles(const uint8_t *bytes, int offset, int8_t *low, int8_t *high)
{
    for (int i = 0; i < 16; i++) {
        low[i] = (int8_t)((bytes[i] & 15) - offset);
        high[i] = (int8_t)((bytes[i] >> 4) - offset);
    }
}

QK_INLINE void add_where_set(const uint8_t *bits, int value, int8_t *codes)
{
    for (int i = 0; i < 32; i++) {
        codes[i] = (int8_t)(codes[i] + (bits[i / 8] >> i % 8 & 1) * value);
    }
}

QK_INLINE void lookup_nibbles(const int8_t *table, const uint8_t *bytes, int8_t *low, int8_t *high)
{
    for (int i = 0; i < 16; i++) {
        low[i] = table[bytes[i] & 15];
        high[i] = table[bytes[i] >> 4];
    }
}

#endif
