/* SPDX-License-Identifier: MIT */
/* What the codebook types (IQ2, IQ3) share: groups of 8 or 4 weights are entries of a codebook,
 * their signs are kept apart.
 *
 * A group of weights is rounded on a grid; where that is no entry of the codebook, the best of the
 * entries nearby is taken.  The search for the scale does so on many grids.  Order of operations
 * and tie rules are those of the reference (ggml's quantize_row_iq2_xxs_impl and its like,
 * iq2_find_best_neighbour and iq3_find_best_neighbour), which are part of the format's bytes.
 *
 * Level l of a weight stands for the value 2*l + 1 in every search. */
#ifndef QK_CODEBOOK_H
#define QK_CODEBOOK_H

#include "../formats/grids.h"
#include "../formats/neighbours.h"

/* Which entries are chosen anew once the scale is known. */
enum codebook_refit { REFIT_NEIGHBOURS, REFIT_ALL_IF_NEIGHBOURS, REFIT_ALL };

typedef struct codebook {
    const int32_t *points, *lists; /* see neighbours.h */
    int entries;
    int dims;    /* weights per entry: 8 with levels 0..2, 4 with levels 0..7 */
    int n;       /* weights under one scale */
    int n_steps; /* grid k in -n_steps..n_steps has top + step * k over the largest weight */
    float step;
    enum codebook_refit refit;
    float least;    /* a group whose largest weight is below this counts as zero */
    int even_signs; /* the number of minus signs is even, and the eighth sign is not stored */
} codebook;

#define MAX_CODES 8 /* entries under one scale */

QK_INLINE int codebook_bits(codebook book) { return book.dims == 8 ? 2 : 3; }
QK_INLINE int codebook_top(codebook book) { return book.dims == 8 ? 2 : 7; }

/* The exclusive or, which is no lane op. */
QK_INLINE li32 li32_xor(li32 a, li32 b) { return li32_sub(li32_or(a, b), li32_and(a, b)); }

/* 2*l + 1 of weight i of a code. */
QK_INLINE lf32 codebook_value(codebook book, li32 code, int i)
{
    const int bits = codebook_bits(book), at = bits * i;
    li32 twice = at ? li32_shr(code, at - 1) : li32_shl(code, 1);
    li32 even = li32_and(twice, li32_set1((2 << bits) - 2));
    return lf32_from_li32(li32_or(even, li32_set1(1)));
}

/* ---- signs ---- */

/* Eight weights as magnitudes and a byte of signs.  With `even` the number of minus signs is made
 * even: the weight that matters least becomes a negative magnitude. */
QK_INLINE li32 split_signs(const lf32 *x, const lf32 *w, int even, lf32 *magnitude)
{
    const lf32 zero = lf32_set1(0.0f);
    li32 signs = li32_set1(0), odd = signs, least_bit = li32_set1(1);
    lf32 least = lf32_mul(lf32_mul(w[0], x[0]), x[0]);
    for (int i = 0; i < 8; i++) {
        lmask minus = lf32_gt(zero, x[i]);
        magnitude[i] = lf32_select(minus, lf32_neg(x[i]), x[i]);
        signs = li32_or(signs, li32_select(minus, li32_set1(1 << i), li32_set1(0)));
        odd = li32_add(odd, li32_select(minus, li32_set1(1), li32_set1(0)));
        lf32 size = lf32_mul(lf32_mul(w[i], x[i]), x[i]);
        lmask less = lf32_gt(least, size);
        least = lf32_select(less, size, least);
        least_bit = li32_select(less, li32_set1(1 << i), least_bit);
    }
    if (!even) {
        return signs;
    }
    least_bit =
        li32_select(li32_eq(li32_and(odd, li32_set1(1)), li32_set1(1)), least_bit, li32_set1(0));
    for (int i = 0; i < 8; i++) {
        lmask flip = li32_eq(least_bit, li32_set1(1 << i));
        magnitude[i] = lf32_select(flip, lf32_neg(magnitude[i]), magnitude[i]);
    }
    return li32_and(li32_xor(signs, least_bit), li32_set1(127));
}

/* ---- the entry for a few weights ---- */

/* w * (scale * value - x)^2 of each weight at each of three levels, level by level */
QK_INLINE void level_errors(const lf32 *x, const lf32 *w, lf32 scale, lf32 error[3][8])
{
    for (int l = 0; l < 3; l++) {
        lf32 value = lf32_mul(scale, lf32_set1((float)(2 * l + 1)));
        for (int i = 0; i < 8; i++) {
            lf32 diff = lf32_sub(value, x[i]);
            error[l][i] = lf32_mul(lf32_mul(w[i], diff), diff);
        }
    }
}

QK_INLINE lf32 code_error_of_levels(lf32 error[3][8], li32 code)
{
    const li32 zero = li32_set1(0);
    lf32 sum = lf32_set1(0.0f);
    for (int i = 0; i < 8; i++) {
        lmask not_one = li32_eq(li32_and(code, li32_set1(1 << 2 * i)), zero);
        lmask not_two = li32_eq(li32_and(code, li32_set1(2 << 2 * i)), zero);
        lf32 low = lf32_select(not_one, error[0][i], error[1][i]);
        sum = lf32_add(sum, lf32_select(not_two, low, error[2][i]));
    }
    return sum;
}

QK_INLINE lf32 code_error(codebook book, const lf32 *x, const lf32 *w, lf32 scale, li32 code)
{
    lf32 sum = lf32_set1(0.0f);
    for (int i = 0; i < 4; i++) {
        lf32 diff = lf32_sub(lf32_mul(scale, codebook_value(book, code, i)), x[i]);
        sum = lf32_add(sum, lf32_mul(lf32_mul(w[i], diff), diff));
    }
    return sum;
}

/* The code of the best entry of the list at a point; the first where no error is a finite number
 * (the reference stops the process there). */
QK_INLINE li32 best_neighbour(codebook book, const lf32 *x, const lf32 *w, lf32 scale, li32 point)
{
    lf32 error[3][8], best = lf32_set1(FLT_MAX);
    li32 at = li32_shr(point, 8);
    const li32 last = li32_add(at, li32_and(point, li32_set1(255)));
    li32 pair = li32_lookup(book.lists, at);
    li32 found = li32_and(pair, li32_set1(0xffff));
    if (book.dims == 8) {
        level_errors(x, w, scale, error);
    }
    for (;;) {
        for (int half = 0; half < 2; half++) {
            li32 code = half ? li32_shr(pair, 16) : li32_and(pair, li32_set1(0xffff));
            lf32 e = book.dims == 8 ? code_error_of_levels(error, code)
                                    : code_error(book, x, w, scale, code);
            lmask better = lf32_gt(best, e);
            best = lf32_select(better, e, best);
            found = li32_select(better, code, found);
        }
        if (!lmask_any(li32_gt(last, at))) {
            return found;
        }
        at = li32_min(li32_add(at, li32_set1(1)), last); /* its last pair again changes nothing */
        pair = li32_lookup(book.lists, at);
    }
}

/* How far from halfway between two levels, and how small, what is rounded must be for the short
 * list of a point.  The margins are far beyond rounding errors. */
#define SURE_FRACTION 0.4999f
#define SURE_SIZE 1e6f
#define SURE_SCALE 1e-30f

/* The point that weights round to, as neighbours.h describes it. */
QK_INLINE li32 codebook_point(codebook book, const lf32 *x, lf32 grid, lf32 scale)
{
    const lf32 magic = lf32_set1(12582912.0f), one = lf32_set1(1.0f), half = lf32_set1(0.5f);
    li32 key = li32_set1(0), fraction = key, size = key; /* as bits, which are in order */
    for (int i = 0; i < book.dims; i++) {
        lf32 v = lf32_mul(half, lf32_sub(lf32_mul(grid, x[i]), one));
        lf32 rounded = lf32_sub(lf32_add(v, magic), magic);
        li32 level = lf32_nearest_clamped(v, 0, codebook_top(book));
        fraction = li32_max(fraction, lf32_bits(lf32_abs(lf32_sub(v, rounded))));
        size = li32_max(size, lf32_bits(lf32_abs(v)));
        if (book.dims == 8) {
            key = li32_add(li32_add(key, li32_shl(key, 1)), level);
        } else {
            key = li32_or(key, li32_shl(level, 3 * i));
        }
    }
    lmask sure = lmask_and(li32_gt(lf32_bits(lf32_set1(SURE_FRACTION)), fraction),
                           li32_gt(lf32_bits(lf32_set1(SURE_SIZE)), size));
    sure = lmask_and(sure, lf32_gt(scale, lf32_set1(SURE_SCALE)));
    const int points = book.dims == 8 ? 6561 : 4096;
    return li32_lookup(book.points, li32_select(sure, li32_add(key, li32_set1(points)), key));
}

/* The index of an entry, from its code. */
QK_INLINE li32 codebook_index(codebook book, li32 code)
{
    li32 key = code;
    if (book.dims == 8) {
        key = li32_set1(0);
        for (int i = 0; i < 8; i++) {
            li32 level = li32_and(li32_shr(code, 2 * i), li32_set1(3));
            key = li32_add(li32_add(key, li32_shl(key, 1)), level);
        }
    }
    return li32_shr(li32_lookup(book.points, key), 8);
}

/* The code that a few weights get on a grid, and whether rounding alone did not lead there. */
QK_INLINE li32 codebook_code(codebook book, const lf32 *x, const lf32 *w, lf32 grid, lf32 scale,
                             lmask *neighbour)
{
    li32 point = codebook_point(book, x, grid, scale);
    *neighbour = li32_gt(point, li32_set1((book.entries << 8) - 1));
    if (!lmask_any(*neighbour)) {
        return li32_and(li32_lookup(book.lists, li32_shr(point, 8)), li32_set1(0xffff));
    }
    return best_neighbour(book, x, w, scale, point);
}

/* ---- the scale of a group ---- */

/* sum w*x*value and sum w*value*value */
QK_INLINE void codebook_sums(codebook book, const lf32 *x, const lf32 *w, const li32 *code,
                             lf32 *sum_qx, lf32 *sum_q2)
{
    lf32 qx = lf32_set1(0.0f), q2 = qx;
    for (int i = 0; i < book.n; i++) {
        lf32 q = codebook_value(book, code[i / book.dims], i % book.dims);
        qx = lf32_add(qx, lf32_mul(lf32_mul(w[i], x[i]), q));
        q2 = lf32_add(q2, lf32_mul(lf32_mul(w[i], q), q));
    }
    *sum_qx = qx;
    *sum_q2 = q2;
}

/* Chooses entries anew on the scale found, and the scale that fits them. */
QK_INLINE lf32 codebook_refit(codebook book, const lf32 *x, const lf32 *w, const lf32 *root_w,
                              lf32 scale, const lmask *neighbour, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f), grid = lf32_div(lf32_set1(1.0f), scale);
    lmask wanted = book.refit == REFIT_ALL ? lf32_eq(zero, zero) : lf32_gt(zero, zero), unused;
    for (int k = 0; k < book.n / book.dims; k++) {
        wanted = lmask_or(wanted, neighbour[k]);
    }
    wanted = lmask_and(wanted, lf32_gt(scale, zero));
    if (!lmask_any(wanted)) {
        return scale;
    }
    for (int k = 0; k < book.n / book.dims; k++) {
        const int at = book.dims * k;
        lmask take = book.refit == REFIT_NEIGHBOURS ? lmask_and(wanted, neighbour[k]) : wanted;
        li32 next = codebook_code(book, x + at, root_w + at, grid, scale, &unused);
        code[k] = li32_select(take, next, code[k]);
    }
    lf32 sum_qx, sum_q2;
    codebook_sums(book, x, w, code, &sum_qx, &sum_q2);
    wanted = lmask_and(wanted, lf32_gt(sum_q2, zero));
    return lf32_select(wanted, lf32_div(sum_qx, sum_q2), scale);
}

/* The scale of a group of magnitudes and the codes of its entries, from a scale to start with:
 * grids are tried that have the largest level near `largest`. */
QK_INLINE lf32 search_codebook(codebook book, const lf32 *x, const lf32 *w, lf32 largest,
                               lf32 scale, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f);
    const int n_codes = book.n / book.dims;
    lf32 best = zero, root_w[MAX_GROUP];
    lmask neighbour[MAX_CODES], new_neighbour[MAX_CODES];
    li32 new_code[MAX_CODES];
    for (int i = 0; i < book.n; i++) {
        root_w[i] = lf32_sqrt(w[i]);
    }
    for (int k = 0; k < n_codes; k++) {
        code[k] = li32_set1(0);
        neighbour[k] = book.refit == REFIT_NEIGHBOURS ? lf32_gt(zero, zero) : lf32_eq(zero, zero);
    }
    for (int step = -book.n_steps; step <= book.n_steps; step++) {
        float top = (float)(2 * codebook_top(book) + 1) + (float)step * book.step;
        lf32 grid = lf32_div(lf32_set1(top), largest);
        lf32 grid_scale = lf32_div(lf32_set1(1.0f), grid);
        for (int k = 0; k < n_codes; k++) {
            const int at = book.dims * k;
            new_code[k] =
                codebook_code(book, x + at, root_w + at, grid, grid_scale, new_neighbour + k);
        }
        lf32 sum_qx, sum_q2;
        codebook_sums(book, x, w, new_code, &sum_qx, &sum_q2);
        lmask better = lmask_and(lf32_gt(sum_q2, zero),
                                 lf32_gt(lf32_mul(sum_qx, sum_qx), lf32_mul(best, sum_q2)));
        lf32 new_scale = lf32_div(sum_qx, sum_q2);
        scale = lf32_select(better, new_scale, scale);
        best = lf32_select(better, lf32_mul(new_scale, sum_qx), best);
        for (int k = 0; k < n_codes; k++) {
            code[k] = li32_select(better, new_code[k], code[k]);
            neighbour[k] = lmask_or(lmask_and(better, new_neighbour[k]),
                                    lmask_and(lmask_not(better), neighbour[k]));
        }
    }
    return codebook_refit(book, x, w, root_w, scale, neighbour, code);
}

#endif
