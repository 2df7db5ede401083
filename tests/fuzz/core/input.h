/* SPDX-License-Identifier: MIT */
/* Reads what to do from the bytes of a fuzzer; zeros when they are used up. */
#ifndef QK_FUZZ_INPUT_H
#define QK_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

static inline uint8_t take_byte(input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static inline uint32_t take_word(input *in)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) {
        word = word << 8 | take_byte(in);
    }
    return word;
}

/* Mostly a size below `most`; now and then one at which products overflow. */
static inline size_t take_size(input *in, size_t most)
{
    static const size_t hostile[] = {
        0,
        1,
        (size_t)1 << 31,
        (size_t)1 << 32,
        ((size_t)1 << 32) + 256,
        (size_t)1 << 58,
        (size_t)1 << 60,
        (size_t)1 << 61,
        ((size_t)1 << 61) + 256,
        (size_t)1 << 62,
        SIZE_MAX / 2,
        SIZE_MAX / 2 + 1,
        SIZE_MAX / 3 * 2,
        SIZE_MAX - 255,
        SIZE_MAX - 31,
        SIZE_MAX,
    };
    const uint8_t byte = take_byte(in);
    if (byte >= 0xe8) {
        return hostile[take_byte(in) % (sizeof hostile / sizeof *hostile)];
    }
    return byte % most;
}

/* A number of a list, mostly 0 .. n - 1; now and then none of them. */
static inline int take_choice(input *in, int n)
{
    static const int other[] = {-1, INT32_MIN, INT32_MAX, 255, 1000};
    const uint8_t byte = take_byte(in);
    if (byte >= 0xf8) {
        return byte == 0xff ? n : other[byte % (sizeof other / sizeof *other)];
    }
    return byte % n;
}

/* Fills memory with numbers of a kind that the input chooses. */
static inline void fill(input *in, uint8_t *to, size_t n)
{
    const uint8_t kind = take_byte(in) % 4;
    uint64_t state = take_word(in) * 2862933555777941757u + 3037000493u;
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to[i] = (uint8_t)(kind == 0 ? 0 : state >> 32);
    }
    for (size_t i = 0; kind >= 2 && i + sizeof(float) <= n; i += sizeof(float)) {
        float value; /* of bits that may be NaN: kind 1 */
        memcpy(&value, to + i, sizeof value);
        value = (float)(int8_t)to[i] * (kind == 2 ? 0.01f : 1e36f);
        memcpy(to + i, &value, sizeof value);
    }
}

#endif
