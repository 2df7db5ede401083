/* SPDX-License-Identifier: MIT */
/* TQ1_0: 256 weights in 54 bytes, 1.6875 bits per weight.
 *
 *     byte 0    32 bytes, five trits each: byte i has those of weights i + 32 * n
 *     byte 32   16 bytes, five trits each: byte i has those of weights 160 + i + 16 * n
 *     byte 48   4 bytes, four trits each: byte i has those of weights 240 + i + 4 * n
 *     byte 52   d   half precision
 *
 *     weight = d * (trit - 1)
 *
 * A byte is the fraction 0.t0 t1 t2 t3 t4 in base 3 as 256ths, rounded up: times 3, the next trit
 * is what carries out of the byte.
 *
 * Rule: d = largest |x|, trits rounded half away from zero.  Importance has no effect.
 * Source: ggml, quantize_row_tq1_0_ref. */

/* n bytes of up to five trits: those of byte i lie `n` apart, trit[i] first. */
QK_FN void tq1_0_pack(const li32 *trit, int n, int n_trits, li32 *words)
{
    li32 byte[32];
    for (int i = 0; i < n; i++) {
        li32 v = li32_set1(0);
        for (int k = 0; k < 5; k++) {
            v = li32_mul(v, li32_set1(3));
            v = k < n_trits ? li32_add(v, trit[i + n * k]) : v;
        }
        /* 256 * v / 243 rounded up = v + (13 * v + 242) / 243, and 1079 / 2^18 is 1 / 243 for all
         * 243 values. */
        li32 over = li32_add(li32_mul(v, li32_set1(13)), li32_set1(242));
        byte[i] = li32_add(v, li32_shr(li32_mul(over, li32_set1(1079)), 18));
    }
    for (int i = 0; i < n / 4; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
}

QK_FN void tq1_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                          li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    li32 trit[256];
    li32 d = ternary_round(x, trit);
    tq1_0_pack(trit, 32, 5, out);
    tq1_0_pack(trit + 160, 16, 5, out + 8);
    tq1_0_pack(trit + 240, 4, 4, out + 12);
    out[13] = d;
}

/* d * (trit - 1) of the trit that carries out of each byte; the bytes become what is left. */
QK_INLINE lf32 tq1_0_next(li32 *byte, lf32 d)
{
    li32 thrice = li32_add(*byte, li32_shl(*byte, 1));
    *byte = li32_as_u8(thrice);
    return lf32_mul(lf32_from_li32(li32_sub(li32_shr(thrice, 8), li32_set1(1))), d);
}

/* n bytes of five trits. */
QK_INLINE void tq1_0_unpack(const uint8_t *bytes, int n, lf32 d, float *y)
{
    for (int i = 0; i < n; i += LANES) {
        li32 byte = li32_load_u8(bytes + i);
        for (int k = 0; k < 5; k++) {
            lf32_store(y + n * k + i, tq1_0_next(&byte, d));
        }
    }
}

/* The last four bytes, of four trits each. */
QK_INLINE void tq1_0_unpack_last(const uint8_t *bytes, lf32 d, float *y)
{
    /* Weight i is trit i / 4 of byte i % 4: that byte is moved to the top of the word, and the
     * trits before it are multiplied away. */
    static const int32_t to_top[16] = {1 << 24, 1 << 16, 1 << 8, 1, 1 << 24, 1 << 16, 1 << 8, 1,
                                       1 << 24, 1 << 16, 1 << 8, 1, 1 << 24, 1 << 16, 1 << 8, 1};
    static const int32_t past[16] = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
    int32_t word;
    memcpy(&word, bytes, sizeof word);
    for (int i = 0; i < 16; i += LANES) {
        li32 byte = li32_shr(li32_mul(li32_set1(word), li32_load(to_top + i)), 24);
        byte = li32_as_u8(li32_mul(byte, li32_load(past + i)));
        lf32_store(y + i, tq1_0_next(&byte, d));
    }
}

QK_FN void tq1_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 54, y += 256) {
        lf32 d = lf32_load_f16(block + 52);
        tq1_0_unpack(block, 32, d, y);
        tq1_0_unpack(block + 32, 16, d, y + 160);
        tq1_0_unpack_last(block + 48, d, y + 240);
    }
}
