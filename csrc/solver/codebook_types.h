/* SPDX-License-Identifier: MIT */
/* The codebook types: superblocks whose groups have odd multiples of a unit of d as scales.
 * Layouts: the files of kernels/ with their names. */
#ifndef QK_CODEBOOK_TYPES_H
#define QK_CODEBOOK_TYPES_H

/* Values of levels over the unit in which a format counts its scales: an eighth of d in IQ2 types,
 * a quarter in IQ3_XXS, d in the others. */
QK_RULE float iq2_values[4] = {1.0f, 3.125f, 5.375f, 0.0f};
QK_RULE float iq3_s_values[8] = {1.0f, 3.0f, 5.0f, 7.0f, 9.0f, 11.0f, 13.0f, 15.0f};
QK_RULE float iq3_xxs_values[8] = {1.0f, 3.0f, 5.0f, 7.0f, 9.0f, 11.0f, 13.0f, 15.5f};
QK_RULE float iq1_values_of[4] = {-1.0f, 0.0f, 1.0f, 0.0f};

/* ---- from levels to indices ---- */

#define BOOK_MINUS 8 /* in a weight's code: a minus sign, or a shift down; below, the level */

QK_INLINE li32 code_of_book_level(const solver_book *book, lf32 level)
{
    lf32 rounded = level;
    li32 code;
    if (book->shift_columns) {
        rounded = lf32_round(level);
        code = li32_trunc(lf32_add(rounded, lf32_set1(1.0f)));
        level = lf32_sub(level, rounded);
    } else {
        code = li32_trunc(lf32_mul(lf32_abs(level), lf32_set1(0.5f)));
    }
    const lmask minus = lf32_gt(lf32_set1(0.0f), level);
    return li32_or(code, li32_select(minus, li32_set1(BOOK_MINUS), li32_set1(0)));
}

/* The indices of the entries of 256 weights. */
QK_INLINE void book_indices(const solver_book *book, const li32 *code, li32 *index)
{
    const int dims = book->entries.dims;
    for (int k = 0; k < QK_SUPERBLOCK / dims; k++, code += dims) {
        li32 key = li32_set1(0);
        for (int i = 0; i < dims; i++) {
            const li32 level = li32_and(code[dims == 8 ? i : dims - 1 - i], li32_set1(7));
            key = li32_add(li32_mul(key, li32_set1(dims == 8 ? 3 : 8)), level);
        }
        index[k] = li32_shr(li32_lookup(book->entries.points, key), 16);
    }
}

/* A byte of signs for each eight weights; the highest is left out where it is not stored. */
QK_INLINE void book_signs(const solver_book *book, const li32 *code, li32 *signs)
{
    for (int k = 0; k < QK_SUPERBLOCK / 8; k++, code += 8) {
        signs[k] = li32_set1(0);
        for (int i = 0; i < (book->even_signs ? 7 : 8); i++) {
            const li32 minus = li32_shr(li32_and(code[i], li32_set1(BOOK_MINUS)), 3);
            signs[k] = li32_or(signs[k], li32_shl(minus, i));
        }
    }
}

/* The codes of odd scales. */
QK_INLINE void book_scales(const lf32 *scale, int n, li32 *code)
{
    for (int g = 0; g < n; g++) {
        code[g] = li32_shr(li32_trunc(scale[g]), 1);
    }
}

/* ---- blocks ---- */

QK_RULE solver_book iq2_xxs_solver_book = {
    {qk_iq2_xxs_points, qk_iq2_xxs_lists, 8}, iq2_values, 1.0f, 1 / 2.1875f, 1, 0};
QK_RULE solver_book iq2_xs_solver_book = {
    {qk_iq2_xs_points, qk_iq2_xs_lists, 8}, iq2_values, 1.0f, 1 / 2.1875f, 1, 0};
QK_RULE solver_book iq2_s_solver_book = {
    {qk_iq2_s_points, qk_iq2_s_lists, 8}, iq2_values, 1.0f, 1 / 2.1875f, 0, 0};
QK_RULE solver_book iq3_xxs_solver_book = {
    {qk_iq3_xxs_points, qk_iq3_xxs_lists, 4}, iq3_xxs_values, 1.0f, 0.5f, 1, 0};
QK_RULE solver_book iq3_s_solver_book = {
    {qk_iq3_s_points, qk_iq3_s_lists, 4}, iq3_s_values, 1.0f, 0.5f, 0, 0};
QK_RULE solver_book iq1_s_solver_book = {
    {qk_iq1_s_points, qk_iq1_s_lists, 8}, iq1_values_of, -1.0f, 1.0f, 0, 32};
QK_RULE solver_book iq1_m_solver_book = {
    {qk_iq1_s_points, qk_iq1_s_lists, 8}, iq1_values_of, -1.0f, 1.0f, 0, 8};

/* Indices, signs and codes of scales of a block. */
typedef struct book_block {
    li32 index[64], signs[32], scale[MAX_GROUPS];
} book_block;

QK_INLINE void book_block_of(const solver_book *book, int n_groups, const unit_codes *codes,
                             book_block *block)
{
    book_indices(book, codes->code, block->index);
    book_signs(book, codes->code, block->signs);
    book_scales(codes->scale, n_groups, block->scale);
}

/* Types whose words follow d. */
#define PACK_BOOK(name, n_groups, n_words)                                                         \
    QK_FN void pack_##name(unit_codes *codes, li32 *out)                                           \
    {                                                                                              \
        book_block b;                                                                              \
        li32 words[n_words];                                                                       \
        book_block_of(&name##_solver_book, n_groups, codes, &b);                                   \
        name##_words(b.index, b.signs, b.scale, words);                                            \
        put_after_half(half_of(codes->d), words, n_words, out);                                    \
    }

PACK_BOOK(iq2_xxs, 8, 16)
PACK_BOOK(iq2_xs, 16, 18)
PACK_BOOK(iq3_xxs, 8, 24)
PACK_BOOK(iq3_s, 8, 27)

QK_FN void pack_iq2_s(unit_codes *codes, li32 *out)
{
    book_block b;
    book_block_of(&iq2_s_solver_book, 16, codes, &b);
    iq2_s_pack(b.index, b.signs, b.scale, half_of(codes->d), out);
}

QK_FN void pack_iq1_s(unit_codes *codes, li32 *out)
{
    li32 index[32], scale[8], minus[8];
    book_indices(&iq1_s_solver_book, codes->code, index);
    book_scales(codes->scale, 8, scale);
    for (int g = 0; g < 8; g++) {
        minus[g] = li32_shr(codes->code[32 * g], 3);
    }
    iq1_s_pack(index, scale, minus, half_of(codes->d), out);
}

QK_FN void pack_iq1_m(unit_codes *codes, li32 *out)
{
    const lf32 zero = lf32_set1(0.0f);
    li32 scale[16];
    iq1_m_fit fit[16];
    book_scales(codes->scale, 16, scale);
    for (int g = 0; g < 16; g++) {
        const li32 *code = codes->code + 16 * g;
        fit[g].shifts = li32_or(li32_shl(li32_shr(code[0], 3), 1), li32_shr(code[8], 3));
        for (int k = 0; k < 2; k++, code += 8) {
            fit[g].code[k] = li32_set1(0);
            for (int i = 0; i < 8; i++) {
                const li32 level = li32_shl(li32_and(code[i], li32_set1(3)), 2 * i);
                fit[g].code[k] = li32_or(fit[g].code[k], level);
            }
        }
    }
    iq1_m_pack(fit, scale, half_of(codes->d), lf32_gt(zero, zero), out);
}

/* ---- rules ---- */

/* most_scale: the largest multiple of d; top: the largest level; from, to: factors tried for it */
#define BOOK_RULE(name, size, most_scale, top, from, to)                                           \
    QK_RULE unit_rule name##_solver = {.group = {.n = size,                                        \
                                                 .level = {.kind = LEVELS_BOOK},                   \
                                                 .book = &name##_solver_book,                      \
                                                 .grid = GRID_ODD,                                 \
                                                 .scale_low = 1.0f,                                \
                                                 .scale_high = most_scale,                         \
                                                 .reach = top,                                     \
                                                 .first = from,                                    \
                                                 .last = to,                                       \
                                                 .n_tries = 12,                                    \
                                                 .n_refits = 1},                                   \
                                       .unit = QK_SUPERBLOCK,                                      \
                                       .n_units = 5,                                               \
                                       .first_unit = 0.85f,                                        \
                                       .last_unit = 1.15f,                                         \
                                       .n_refits = 2,                                              \
                                       .n_descents = 2}

BOOK_RULE(iq2_xxs, 32, 31.0f, 5.375f, 0.6f, 1.3f);
BOOK_RULE(iq2_xs, 16, 31.0f, 5.375f, 0.6f, 1.3f);
BOOK_RULE(iq2_s, 16, 31.0f, 5.375f, 0.6f, 1.3f);
BOOK_RULE(iq3_xxs, 32, 31.0f, 15.5f, 0.7f, 1.6f);
BOOK_RULE(iq3_s, 32, 31.0f, 15.0f, 0.7f, 1.6f);
BOOK_RULE(iq1_s, 32, 15.0f, 1.0f, 1.0f, 4.0f);
BOOK_RULE(iq1_m, 16, 15.0f, 1.0f, 1.0f, 3.5f);

#define QK_BOOK_SOLVERS(X) X(iq1_s) X(iq1_m) X(iq2_xxs) X(iq2_xs) X(iq2_s) X(iq3_xxs) X(iq3_s)

#endif
