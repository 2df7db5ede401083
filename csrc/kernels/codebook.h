/* SPDX-License-Identifier: MIT */
/* What the codebook types with signs (IQ2, IQ3) share: groups of 8 or 4 weights are entries of a
 * codebook, their signs are kept apart.
 *
 * The search for the scale of a group tries grids near that of its largest weight: on each, weights
 * are rounded to points, points that are no entries give way to entries (codebook_entries.h), and
 * the scale that fits those is compared with the best so far.  Order of operations and tie rules
 * are those of the reference (ggml's quantize_row_iq2_xxs_impl and its like), which are part of the
 * format's bytes.
 *
 * Level l of a weight stands for the value 2*l + 1 in every search. */
#ifndef QK_CODEBOOK_H
#define QK_CODEBOOK_H

/* Which entries are chosen anew once the scale is known. */
enum codebook_refit { REFIT_NEIGHBOURS, REFIT_ALL_IF_NEIGHBOURS, REFIT_ALL };

typedef struct codebook {
    codebook_entries entries;
    int n;       /* weights under one scale */
    int n_steps; /* grid k in -n_steps..n_steps has top + step * k over the largest weight */
    float step;
    enum codebook_refit refit;
    float least;    /* a group whose largest weight is below this counts as zero */
    int even_signs; /* the number of minus signs is even, and the eighth sign is not stored */
} codebook;

#define MAX_CODES 8           /* entries under one scale */
#define MAX_GRIDS MOST_SCALES /* grids of a search */

/* What levels stand for: those of one weight, and those of all weights of an entry. */
#define ODD_4(n) n, n + 2, n + 4, n + 6
#define ODD_8 ODD_4(1), ODD_4(9)
QK_TABLE float codebook_values[8] = {ODD_8};
QK_TABLE float codebook_entry_values[2][LEVELS_OF_ENTRY] = {
    {ODD_4(1), ODD_4(1), ODD_4(1), ODD_4(1), ODD_4(1), ODD_4(1), ODD_4(1), ODD_4(1)},
    {ODD_8, ODD_8, ODD_8, ODD_8},
};
#undef ODD_8
#undef ODD_4

QK_INLINE int codebook_top(codebook book) { return book.entries.dims == 8 ? 2 : 7; }
QK_INLINE int codebook_n_codes(codebook book) { return book.n / book.entries.dims; }

/* The exclusive or, which is no lane op. */
QK_INLINE li32 li32_xor(li32 a, li32 b) { return li32_sub(li32_or(a, b), li32_and(a, b)); }

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

/* ---- points ---- */

/* How far from halfway between two levels, and how small, what is rounded must be for the short
 * list of a point.  The margins are far beyond rounding errors. */
#define SURE_FRACTION 0.4999f
#define SURE_SIZE 1e6f
#define SURE_SCALE 1e-30f

/* Where on a grid a weight lies among the levels, which are whole numbers. */
QK_INLINE lf32 codebook_position(lf32 grid, lf32 x)
{
    return lf32_mul(lf32_set1(0.5f), lf32_sub(lf32_mul(grid, x), lf32_set1(1.0f)));
}

/* Which weight is the i-th in a key, from its highest place on (neighbours.h). */
QK_INLINE int codebook_in_key(codebook book, int i)
{
    return book.entries.dims == 8 ? i : book.entries.dims - 1 - i;
}

/* The key of the point that weights round to.  Rounding wraps, as the reference's does. */
QK_INLINE li32 codebook_key(codebook book, const lf32 *x, lf32 grid)
{
    const int top = codebook_top(book);
    li32 key = li32_set1(0);
    for (int i = 0; i < book.entries.dims; i++) {
        lf32 v = codebook_position(grid, x[codebook_in_key(book, i)]);
        key = li32_mul(key, li32_set1(top + 1));
        key = li32_add(key, lf32_nearest_clamped(v, 0, top));
    }
    return key;
}

/* The same where no lane wraps; of the short list, where it is `sure` that this may be taken unless
 * a weight is nearly halfway between two levels. */
QK_INLINE li32 codebook_near_key(codebook book, const lf32 *x, lf32 grid, lmask sure)
{
    const int top = codebook_top(book), n_points = book.entries.dims == 8 ? 6561 : 4096;
    const lf32 zero = lf32_set1(0.0f);
    lf32 key = zero, fraction = zero;
    for (int i = 0; i < book.entries.dims; i++) {
        lf32 v = codebook_position(grid, x[codebook_in_key(book, i)]);
        lf32 rounded = lf32_round(v);
        lf32 level = lf32_lesser(lf32_greater(rounded, zero), lf32_set1((float)top));
        fraction = lf32_greater(lf32_abs(lf32_sub(v, rounded)), fraction);
        key = lf32_add(lf32_mul(key, lf32_set1((float)(top + 1))), level); /* exact */
    }
    sure = lmask_and(sure, lf32_gt(lf32_set1(SURE_FRACTION), fraction));
    key = lf32_select(sure, lf32_add(key, lf32_set1((float)n_points)), key);
    return li32_trunc(key);
}

/* The points that a group rounds to on a grid; size: that of its largest weight. */
QK_INLINE void codebook_points(codebook book, const lf32 *x, lf32 size, lf32 grid, lf32 scale,
                               li32 *point)
{
    const lmask near = lf32_gt(lf32_set1(SURE_SIZE), lf32_abs(lf32_mul(grid, size)));
    const lmask sure = lf32_gt(scale, lf32_set1(SURE_SCALE));
    const int all_near = !lmask_any(lmask_not(near));
    for (int k = 0; k < codebook_n_codes(book); k++) {
        const lf32 *xk = x + book.entries.dims * k;
        li32 key =
            all_near ? codebook_near_key(book, xk, grid, sure) : codebook_key(book, xk, grid);
        point[k] = li32_lookup(book.entries.points, key);
    }
}

/* The index of an entry, from its code. */
QK_INLINE li32 codebook_index(codebook book, li32 code)
{
    const int bits = entry_bits(book.entries);
    li32 key = li32_set1(0);
    for (int i = 0; i < book.entries.dims; i++) {
        li32 level = li32_shr(code, bits * codebook_in_key(book, i));
        level = li32_and(level, li32_set1((1 << bits) - 1));
        key = li32_add(li32_mul(key, li32_set1(codebook_top(book) + 1)), level);
    }
    return li32_shr(li32_lookup(book.entries.points, key), 16);
}

/* ---- the scale of a group ---- */

typedef struct codebook_search {
    const lf32 *x, *w;
    lf32 root_w[MAX_GROUP], wx[MAX_GROUP];
    lf32 size; /* of the largest weight */
} codebook_search;

/* Chooses entries for weights at..at + dims - 1 of a group on n grids.  Codes: bits 0 to 15.  Bit
 * 31 is set where rounding alone did not lead to an entry. */
QK_INLINE void codebook_choose(codebook book, const codebook_search *s, int at,
                               const float scale[][LANES], int n, li32 *code)
{
    const float (*values)[LEVELS_OF_ENTRY] = codebook_entry_values + (book.entries.dims == 4);
    choose_entries(book.entries, s->x + at, s->root_w + at, values, li32_set1(0), scale, n, code);
}

/* sum w*x*value and sum w*value*value */
QK_INLINE void codebook_sums(codebook book, const codebook_search *s, const li32 *code,
                             lf32 *sum_qx, lf32 *sum_q2)
{
    const int dims = book.entries.dims;
    lf32 qx = lf32_set1(0.0f), q2 = qx;
    for (int i = 0; i < book.n; i++) {
        lf32 q = entry_lookup(book.entries, codebook_values, code[i / dims], i % dims);
        qx = lf32_add(qx, lf32_mul(s->wx[i], q));
        q2 = lf32_add(q2, lf32_mul(lf32_mul(s->w[i], q), q));
    }
    *sum_qx = qx;
    *sum_q2 = q2;
}

/* Chooses entries anew on the scale found, and the scale that fits them. */
QK_INLINE lf32 codebook_refit(codebook book, const codebook_search *s, lf32 scale, li32 *code)
{
    const lf32 zero = lf32_set1(0.0f);
    const li32 none = li32_set1(0);
    QK_SHARED float scale_of[1][LANES];
    li32 point[MAX_CODES];
    lmask wanted = book.refit == REFIT_ALL ? lf32_eq(zero, zero) : lf32_gt(zero, zero);
    for (int k = 0; k < codebook_n_codes(book); k++) {
        wanted = lmask_or(wanted, li32_gt(none, code[k]));
    }
    wanted = lmask_and(wanted, lf32_gt(scale, zero));
    if (!lmask_any(wanted)) {
        return scale;
    }
    lf32_store(scale_of[0], scale);
    lf32 grid = lf32_select(wanted, lf32_div(lf32_set1(1.0f), scale), zero);
    codebook_points(book, s->x, s->size, grid, scale, point);
    for (int k = 0; k < codebook_n_codes(book); k++) {
        lmask chosen = li32_gt(none, code[k]);
        lmask take = book.refit == REFIT_NEIGHBOURS ? lmask_and(wanted, chosen) : wanted;
        code[k] = li32_and(code[k], li32_set1(0xffff)); /* what is not taken is chosen already */
        code[k] = li32_select(take, point[k], code[k]);
        codebook_choose(book, s, book.entries.dims * k, scale_of, 1, code + k);
    }
    lf32 sum_qx, sum_q2;
    codebook_sums(book, s, code, &sum_qx, &sum_q2);
    wanted = lmask_and(wanted, lf32_gt(sum_q2, zero));
    return lf32_select(wanted, lf32_div(sum_qx, sum_q2), scale);
}

/* The codes of a group on all grids, which have the largest level near `largest`. */
QK_INLINE void codebook_try_grids(codebook book, const codebook_search *s, lf32 largest,
                                  li32 code[][MAX_GRIDS])
{
    const int n_grids = 2 * book.n_steps + 1;
    QK_SHARED float scale_of[MAX_GRIDS][LANES];
    li32 point[MAX_CODES];
    for (int g = 0; g < n_grids; g++) {
        float top = codebook_values[codebook_top(book)] + (float)(g - book.n_steps) * book.step;
        lf32 grid = lf32_div(lf32_set1(top), largest);
        lf32 scale = lf32_div(lf32_set1(1.0f), grid);
        lf32_store(scale_of[g], scale);
        codebook_points(book, s->x, s->size, grid, scale, point);
        for (int k = 0; k < codebook_n_codes(book); k++) {
            code[k][g] = point[k];
        }
    }
    for (int k = 0; k < codebook_n_codes(book); k++) {
        codebook_choose(book, s, book.entries.dims * k, scale_of, n_grids, code[k]);
    }
}

/* The scale of a group of magnitudes and the codes of its entries, from a scale to start with. */
QK_INLINE lf32 search_codebook(codebook book, const lf32 *x, const lf32 *w, lf32 largest,
                               lf32 scale, li32 *code)
{
    codebook_search s;
    li32 on_grid[MAX_CODES][MAX_GRIDS];
    lf32 best = lf32_set1(0.0f);
    s.x = x;
    s.w = w;
    lane_extreme(x, book.n, &s.size);
    for (int i = 0; i < book.n; i++) {
        s.root_w[i] = lf32_sqrt(w[i]);
        s.wx[i] = lf32_mul(w[i], x[i]);
    }
    codebook_try_grids(book, &s, largest, on_grid);
    for (int k = 0; k < codebook_n_codes(book); k++) { /* where no grid gives a scale */
        code[k] = li32_set1(book.refit == REFIT_NEIGHBOURS ? 0 : INT32_MIN);
    }
    for (int g = 0; g < 2 * book.n_steps + 1; g++) {
        li32 new_code[MAX_CODES];
        lf32 sum_qx, sum_q2;
        for (int k = 0; k < codebook_n_codes(book); k++) {
            new_code[k] = on_grid[k][g];
        }
        codebook_sums(book, &s, new_code, &sum_qx, &sum_q2);
        lmask better = lmask_and(lf32_gt(sum_q2, lf32_set1(0.0f)),
                                 lf32_gt(lf32_mul(sum_qx, sum_qx), lf32_mul(best, sum_q2)));
        lf32 new_scale = lf32_div(sum_qx, sum_q2);
        scale = lf32_select(better, new_scale, scale);
        best = lf32_select(better, lf32_mul(new_scale, sum_qx), best);
        for (int k = 0; k < codebook_n_codes(book); k++) {
            code[k] = li32_select(better, new_code[k], code[k]);
        }
    }
    return codebook_refit(book, &s, scale, code);
}

#endif
