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

/* Consecutive weights from bytes whose trits before were shifted out. */
QK_INLINE void tq1_0_unpack(const uint8_t *byte, int n, lf32 d, float *y)
{
    for (int i = 0; i < n; i += LANES) {
        li32 trit = li32_shr(li32_mul(li32_load_u8(byte + i), li32_set1(3)), 8);
        lf32_store(y + i, lf32_mul(lf32_from_li32(li32_sub(trit, li32_set1(1))), d));
    }
}

QK_FN void tq1_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    for (; n_blocks--; block += 54) {
        lf32 d = lf32_load_f16(block + 52);
        for (int part = 0; part < 3; part++) {
            static const int at[3] = {0, 32, 48}, size[3] = {32, 16, 4};
            const int n = size[part], n_trits = part < 2 ? 5 : 4;
            uint8_t byte[160];
            for (int i = 0; i < n; i++) {
                byte[i] = block[at[part] + i];
            }
            for (int i = n; i < n * n_trits; i++) {
                byte[i] = (uint8_t)(3 * byte[i - n]);
            }
            tq1_0_unpack(byte, n * n_trits, d, y);
            y += n * n_trits;
        }
    }
}
