/* SPDX-License-Identifier: MIT */
/* F32, F16 and BF16: one weight a block, converted LANES consecutive weights at a time.
 *
 * F16 and BF16 round half to even; BF16 is the upper half of a float. */

#define FLOAT_KERNEL(name, load_item, store_item, item_bytes)                                      \
    QK_FN void name##_quantize_items(const float *x, size_t n, uint8_t *out)                       \
    {                                                                                              \
        float rest[LANES] = {0};                                                                   \
        uint8_t tail[LANES * (item_bytes)];                                                        \
        for (; n >= LANES; n -= LANES, x += LANES, out += LANES * (item_bytes)) {                  \
            store_item(out, lf32_load(x));                                                         \
        }                                                                                          \
        if (n) {                                                                                   \
            memcpy(rest, x, n * sizeof(float));                                                    \
            store_item(tail, lf32_load(rest));                                                     \
            memcpy(out, tail, n * (item_bytes));                                                   \
        }                                                                                          \
    }                                                                                              \
    QK_FN void name##_dequantize(const uint8_t *in, size_t n, float *y)                            \
    {                                                                                              \
        float rest[LANES];                                                                         \
        uint8_t tail[LANES * (item_bytes)] = {0};                                                  \
        for (; n >= LANES; n -= LANES, y += LANES, in += LANES * (item_bytes)) {                   \
            lf32_store(y, load_item(in));                                                          \
        }                                                                                          \
        if (n) {                                                                                   \
            memcpy(tail, in, n * (item_bytes));                                                    \
            lf32_store(rest, load_item(tail));                                                     \
            memcpy(y, rest, n * sizeof(float));                                                    \
        }                                                                                          \
    }

QK_INLINE lf32 load_f16(const uint8_t *p) { return lf32_from_f16(li32_load_u16(p)); }
QK_INLINE void store_f16(uint8_t *p, lf32 v) { li32_store_u16(p, f16_from_lf32(v)); }

QK_INLINE lf32 load_bf16(const uint8_t *p)
{
    return lf32_from_bits(li32_shl(li32_load_u16(p), 16));
}
QK_INLINE void store_bf16(uint8_t *p, lf32 v)
{
    li32 bits = lf32_bits(v);
    li32 odd = li32_and(li32_shr(bits, 16), li32_set1(1));
    bits = li32_add(bits, li32_add(odd, li32_set1(0x7fff)));
    li32_store_u16(p, li32_shr(bits, 16));
}

FLOAT_KERNEL(f16, load_f16, store_f16, 2)
FLOAT_KERNEL(bf16, load_bf16, store_bf16, 2)

QK_FN void f32_quantize_items(const float *x, size_t n, uint8_t *out)
{
    memcpy(out, x, n * sizeof(float));
}

QK_FN void f32_dequantize(const uint8_t *in, size_t n, float *y)
{
    memcpy(y, in, n * sizeof(float));
}
