/* SPDX-License-Identifier: MIT */
/* Q2_0: 64 weights in 18 bytes, 2.25 bits per weight.
 *
 *     byte 0    d   half precision
 *     byte 2    16 bytes of four codes of 2 bits, code 0 in the low bits of the first
 *
 *     weight = d * (code - 1), code 0..3
 *
 * Rule: d = largest |x|, codes x / d + 1 with halves rounded away from zero, so that code 3 is not
 * used.  Importance has no effect.  Source: ggml, quantize_row_q2_0_ref. */

QK_FN void q2_0_quantize(const lf32 *x, const lf32 *importance, const lf32 *row_mean_square,
                         li32 *out)
{
    (void)importance;
    (void)row_mean_square;
    li32 words[4];
    lf32 d = lane_largest(x, 64);
    lf32 inverse = lf32_reciprocal_or_0(d); /* where it is infinite, the codes come out 0 */
    for (int w = 0; w < 4; w++) {
        words[w] = li32_set1(0);
        for (int i = 0; i < 16; i++, x++) {
            li32 nearest = lf32_round_away(lf32_mul(*x, inverse));
            li32 code = li32_clamp(li32_add(nearest, li32_set1(1)), 0, 3);
            words[w] = li32_or(words[w], li32_shl(code, 2 * i));
        }
    }
    put_after_half(f16_from_lf32(d), words, 4, out);
}

QK_FN void q2_0_dequantize(const uint8_t *block, size_t n_blocks, float *y)
{
    /* Brings code i of 16 to the top of their word. */
    static const int32_t to_top[16] = {1 << 30, 1 << 28, 1 << 26, 1 << 24, 1 << 22, 1 << 20,
                                       1 << 18, 1 << 16, 1 << 14, 1 << 12, 1 << 10, 1 << 8,
                                       1 << 6,  1 << 4,  1 << 2,  1};
    for (; n_blocks--; block += 18) {
        lf32 d = lf32_load_f16(block);
        for (int w = 0; w < 4; w++, y += 16) {
            int32_t word;
            memcpy(&word, block + 2 + 4 * w, sizeof word);
            for (int i = 0; i < 16; i += LANES) {
                li32 code = li32_shr(li32_mul(li32_set1(word), li32_load(to_top + i)), 30);
                lf32 level = lf32_from_li32(li32_sub(code, li32_set1(1)));
                lf32_store(y + i, lf32_mul(level, d));
            }
        }
    }
}
