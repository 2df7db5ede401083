/* SPDX-License-Identifier: MIT */
/* The types whose groups have scales of their own: blocks of 32 weights, NVFP4's of 16, and the
 * ternary ones, of 256.  Layouts: the files of kernels/ with their names. */
#ifndef QK_BLOCK_TYPES_H
#define QK_BLOCK_TYPES_H

QK_INLINE li32 half_of(lf32 a) { return f16_from_lf32(a); }

QK_FN void pack_q4_0(unit_codes *codes, li32 *out)
{
    li32 words[4];
    pack_codes(codes->code, 4, words);
    put_after_half(half_of(codes->scale[0]), words, 4, out);
}

QK_FN void pack_iq4_nl(unit_codes *codes, li32 *out) { pack_q4_0(codes, out); }

QK_FN void pack_q5_0(unit_codes *codes, li32 *out)
{
    li32 words[5];
    pack_codes(codes->code, 5, words);
    put_after_half(half_of(codes->scale[0]), words, 5, out);
}

QK_FN void pack_with_min(unit_codes *codes, int bits, li32 *out)
{
    /* Where the minimum is 0, its sign is not to be seen. */
    lf32 min = lf32_sub(lf32_set1(0.0f), codes->min[0]);
    out[0] = word_of_halves(half_of(codes->scale[0]), half_of(min));
    pack_codes(codes->code, bits, out + 1);
}

QK_FN void pack_q4_1(unit_codes *codes, li32 *out) { pack_with_min(codes, 4, out); }
QK_FN void pack_q5_1(unit_codes *codes, li32 *out) { pack_with_min(codes, 5, out); }

QK_FN void pack_q8_0(unit_codes *codes, li32 *out)
{
    li32 words[8], byte[32];
    for (int i = 0; i < 32; i++) {
        byte[i] = li32_as_u8(codes->code[i]);
    }
    for (int i = 0; i < 8; i++) {
        words[i] = word_of_bytes(byte + 4 * i);
    }
    put_after_half(half_of(codes->scale[0]), words, 8, out);
}

/* 2^(e - 128) is the scale, as in mxfp4.h; 0 has no byte, but then all codes are 0. */
QK_FN void pack_mxfp4(unit_codes *codes, li32 *out)
{
    li32 words[4];
    li32 e = li32_add(li32_shr(lf32_bits(codes->scale[0]), 23), li32_set1(1));
    e = li32_select(lf32_eq(codes->scale[0], lf32_set1(0.0f)), li32_set1(0), e);
    pack_codes(codes->code, 4, words);
    put_after_byte(e, words, 4, out);
}

QK_FN void pack_nvfp4(unit_codes *codes, li32 *out)
{
    li32 byte[4];
    for (int g = 0; g < 4; g++) {
        const li32 *code = codes->code + 16 * g;
        byte[g] = ue4m3_from_lf32(lf32_mul(lf32_set1(2.0f), codes->scale[g]));
        out[1 + 2 * g] = word_of_nibbles(code, code + 8);
        out[2 + 2 * g] = word_of_nibbles(code + 4, code + 12);
    }
    out[0] = word_of_bytes(byte);
}

QK_FN void pack_tq1_0(unit_codes *codes, li32 *out)
{
    tq1_0_pack(codes->code, 32, 5, out);
    tq1_0_pack(codes->code + 160, 16, 5, out + 8);
    tq1_0_pack(codes->code + 240, 4, 4, out + 12);
    out[13] = half_of(codes->scale[0]);
}

QK_FN void pack_tq2_0(unit_codes *codes, li32 *out)
{
    pack_2bit(codes->code, out);
    pack_2bit(codes->code + 128, out + 8);
    out[16] = half_of(codes->scale[0]);
}

/* A scale in half precision, of either sign. */
#define SYMMETRIC_RULE(low_level, high_level)                                                      \
    {.n = 32,                                                                                      \
     .level = {LEVELS_WHOLE, low_level, high_level},                                               \
     .grid = GRID_HALF,                                                                            \
     .both_signs = 1,                                                                              \
     .reach = -(low_level),                                                                        \
     .first = 0.6f,                                                                                \
     .last = 1.2f,                                                                                 \
     .n_tries = 12,                                                                                \
     .n_refits = 4}

#define AFFINE_RULE(high_level)                                                                    \
    {.n = 32,                                                                                      \
     .level = {LEVELS_WHOLE, 0.0f, high_level},                                                    \
     .has_min = 1,                                                                                 \
     .grid = GRID_HALF,                                                                            \
     .min_grid = GRID_HALF,                                                                        \
     .min_low = -1.0f,                                                                             \
     .first = -0.05f,                                                                              \
     .last = 0.2f,                                                                                 \
     .n_tries = 6,                                                                                 \
     .n_refits = 4}

QK_RULE unit_rule q4_0_solver = {.group = SYMMETRIC_RULE(-8.0f, 7.0f), .unit = 32, .offset = 8};
QK_RULE unit_rule q5_0_solver = {.group = SYMMETRIC_RULE(-16.0f, 15.0f), .unit = 32, .offset = 16};
QK_RULE unit_rule q4_1_solver = {.group = AFFINE_RULE(15.0f), .unit = 32};
QK_RULE unit_rule q5_1_solver = {.group = AFFINE_RULE(31.0f), .unit = 32};
QK_RULE unit_rule q8_0_solver = {.group = {.n = 32,
                                           .level = {LEVELS_WHOLE, -127.0f, 127.0f},
                                           .grid = GRID_HALF,
                                           .reach = 127.0f,
                                           .first = 0.9f,
                                           .last = 1.03f,
                                           .n_tries = 12,
                                           .n_refits = 4},
                                 .unit = 32};
QK_RULE unit_rule iq4_nl_solver = {.group = {.n = 32,
                                             .level = {LEVELS_IQ4, -127.0f, 113.0f},
                                             .grid = GRID_HALF,
                                             .both_signs = 1,
                                             .reach = 127.0f,
                                             .first = 0.6f,
                                             .last = 1.2f,
                                             .n_tries = 12,
                                             .n_refits = 4},
                                   .unit = 32};
QK_RULE unit_rule mxfp4_solver = {.group = {.n = 32,
                                            .level = {LEVELS_E2M1, -12.0f, 12.0f},
                                            .grid = GRID_POWER,
                                            .reach = 12.0f,
                                            .first = 0.4f,
                                            .last = 1.6f,
                                            .n_tries = 4,
                                            .n_refits = 2},
                                  .unit = 32};
QK_RULE unit_rule nvfp4_solver = {.group = {.n = 16,
                                            .level = {LEVELS_E2M1, -12.0f, 12.0f},
                                            .grid = GRID_UE4M3,
                                            .reach = 12.0f,
                                            .first = 0.6f,
                                            .last = 1.5f,
                                            .n_tries = 12,
                                            .n_refits = 2},
                                  .unit = 64};
#define TERNARY_RULE                                                                               \
    {.n = 256,                                                                                     \
     .level = {LEVELS_WHOLE, -1.0f, 1.0f},                                                         \
     .grid = GRID_HALF,                                                                            \
     .reach = 1.0f,                                                                                \
     .first = 1.0f,                                                                                \
     .last = 5.4f,                                                                                 \
     .n_tries = 12,                                                                                \
     .n_refits = 4}
QK_RULE unit_rule tq1_0_solver = {.group = TERNARY_RULE, .unit = 256, .offset = 1};
QK_RULE unit_rule tq2_0_solver = {.group = TERNARY_RULE, .unit = 256, .offset = 1};

/* X(name) */
#define QK_BLOCK_SOLVERS(X) X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(iq4_nl) X(mxfp4) X(nvfp4)
#define QK_TERNARY_SOLVERS(X) X(tq1_0) X(tq2_0)

#endif
