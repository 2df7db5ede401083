/* SPDX-License-Identifier: MIT */
/* The codes of a group of a codebook type (IQ1, IQ2, IQ3) for a scale.
 *
 * Columns are taken eight at a time, from the last to the first: their targets, given the errors of
 * the columns done before, are divided by the scale and rounded to a point.  Where that is no entry
 * of the codebook, the entry of its list of neighbours (neighbours.h) with the least error under
 * the form of these columns is taken, the first of equals.  Only the list's first MOST_CANDIDATES
 * are tried: those further on are far from the point, and trying them takes long.
 *
 * Signs are those of the targets.  Where a format stores seven of eight, and the number of minus
 * signs is odd, the one whose change costs least is changed.
 *
 * IQ1 has no signs.  The values of its three levels are shifted up or down, and both are tried. */
#ifndef QK_CODEBOOK_GROUP_H
#define QK_CODEBOOK_GROUP_H

#define BOOK_COLUMNS 8     /* taken at a time: one entry, or two of four weights */
#define MOST_CANDIDATES 24 /* of a list, that are tried */

typedef struct solver_book {
    codebook_entries entries;
    const float *values;        /* of the levels */
    float first, steps_per_one; /* levels lie at about first + level / steps_per_one */
    int even_signs;
    int shift_columns; /* IQ1: columns that share a shift; 0 in types with signs */
} solver_book;

/* Where eight columns begin in a group of n. */
typedef struct book_place {
    const group_form *form;
    int n, at;
} book_place;

QK_INLINE lf32 place_upper(book_place p, int i, int k)
{
    return lf32_set1(p.form->upper[(p.at + i) * p.n + p.at + k]);
}

QK_INLINE lf32 place_pivot(book_place p, int i) { return lf32_set1(p.form->pivot[p.at + i]); }

/* Factor i of the form times r: r[i] + sum over later columns before `end` */
QK_INLINE lf32 factor_times(book_place p, int i, int end, const lf32 *r)
{
    lf32 sum = r[i];
    for (int k = i + 1; k < end; k++) {
        sum = lf32_add(sum, lf32_mul(place_upper(p, i, k), r[k]));
    }
    return sum;
}

/* The error of columns 0..end-1 of a place. */
QK_INLINE lf32 place_error(book_place p, int end, const lf32 *r)
{
    lf32 error = lf32_set1(0.0f);
    for (int i = 0; i < end; i++) {
        lf32 rest = factor_times(p, i, end, r);
        error = lf32_add(error, lf32_mul(place_pivot(p, i), lf32_mul(rest, rest)));
    }
    return error;
}

/* From sums of upper times errors of later columns, for columns 0..end-1 of a place, to the change
 * of their targets that has the same effect: the factor's inverse times the sums.  In place. */
QK_INLINE void solve_owed(book_place p, int end, lf32 *sum)
{
    for (int i = end - 1; i >= 0; i--) {
        for (int k = i + 1; k < end; k++) {
            sum[i] = lf32_sub(sum[i], lf32_mul(place_upper(p, i, k), sum[k]));
        }
    }
}

/* ---- entries ---- */

/* A few targets over the scale, as a point and what is kept apart from it. */
typedef struct book_target {
    const lf32 *wanted;
    li32 minus[8]; /* sign bits */
    lf32 shift;
} book_target;

QK_INLINE lf32 book_value(const solver_book *book, int dims, li32 code, int i,
                          const book_target *target)
{
    const codebook_entries entries = {NULL, NULL, dims};
    lf32 value = entry_lookup(entries, book->values, code, i);
    if (book->shift_columns) {
        return lf32_add(value, target->shift);
    }
    return lf32_from_bits(li32_or(lf32_bits(value), target->minus[i]));
}

/* The key of the point that targets round to (neighbours.h). */
QK_INLINE li32 book_key(const solver_book *book, int dims, const book_target *target)
{
    const int top = dims == 8 ? 2 : 7;
    lf32 level[8], key = lf32_set1(0.0f);
    for (int i = 0; i < dims; i++) {
        lf32 x = target->wanted[i];
        x = book->shift_columns ? lf32_sub(x, target->shift) : lf32_abs(x);
        x = lf32_mul(lf32_sub(x, lf32_set1(book->first)), lf32_set1(book->steps_per_one));
        x = lf32_greater(lf32_lesser(x, lf32_set1((float)top)), lf32_set1(0.0f));
        level[i] = lf32_round(x);
    }
    for (int i = 0; i < dims;
         i++) { /* the first level is the highest of eight, the lowest of four */
        key = lf32_mul(key, lf32_set1((float)(top + 1)));
        key = lf32_add(key, level[dims == 8 ? i : dims - 1 - i]);
    }
    return li32_trunc(key);
}

/* The codes to choose from in each lane, some repeated; gives their number. */
QK_INLINE int book_candidates(const solver_book *book, li32 point, int32_t code[][LANES])
{
    int32_t point_of[LANES];
    int most = 1;
    li32_store(point_of, point);
    for (int lane = 0; lane < LANES; lane++) {
        const int n = point_of[lane] < 0 ? point_of[lane] & MOST_NEIGHBOURS : 1;
        most = n > most ? n : most;
    }
    most = most < MOST_CANDIDATES ? most : MOST_CANDIDATES;
    for (int lane = 0; lane < LANES; lane++) {
        const int32_t p = point_of[lane];
        if (p >= 0) {
            for (int k = 0; k < most; k++) {
                code[k][lane] = p & 0xffff;
            }
            continue;
        }
        const int n = p & MOST_NEIGHBOURS;
        const uint16_t *list =
            book->entries.lists + NEIGHBOUR_UNIT * ((p & INT32_MAX) / (MOST_NEIGHBOURS + 1));
        for (int k = 0; k < most; k++) {
            code[k][lane] = list[k < n ? k : n - 1];
        }
    }
    return most;
}

/* The entry for `dims` columns of a place. */
QK_INLINE void choose_entry(const solver_book *book, int dims, book_place p, const lf32 *wanted,
                            lf32 shift, lf32 *level)
{
    book_target target = {.wanted = wanted, .shift = shift};
    int32_t candidate[MOST_CANDIDATES][LANES];
    for (int i = 0; i < dims; i++) {
        target.minus[i] = li32_and(lf32_bits(wanted[i]), li32_set1(INT32_MIN));
    }
    const li32 point = li32_lookup(book->entries.points, book_key(book, dims, &target));
    li32 found = li32_and(point, li32_set1(0xffff));
    if (lmask_any(li32_gt(li32_set1(0), point))) {
        lf32 least = lf32_set1(FLT_MAX);
        const int n = book_candidates(book, point, candidate);
        found = li32_load(candidate[0]);
        for (int c = 0; c < n; c++) {
            const li32 code = li32_load(candidate[c]);
            lf32 r[8];
            for (int i = 0; i < dims; i++) {
                r[i] = lf32_sub(book_value(book, dims, code, i, &target), wanted[i]);
            }
            const lf32 error = place_error(p, dims, r);
            const lmask better = lf32_gt(least, error);
            least = lf32_select(better, error, least);
            found = li32_select(better, code, found);
        }
    }
    for (int i = 0; i < dims; i++) {
        level[i] = book_value(book, dims, found, i, &target);
    }
}

/* ---- eight columns ---- */

/* Makes the number of minus signs of eight levels even. */
QK_INLINE void even_minus_signs(book_place p, const lf32 *wanted, lf32 *level)
{
    const li32 none = li32_set1(0);
    li32 odd = none, flipped = none;
    lf32 r[8], weighted[8], least = lf32_set1(0.0f);
    for (int i = 0; i < 8; i++) {
        odd = li32_add(odd, li32_shr(lf32_bits(level[i]), 31));
    }
    odd = li32_and(odd, li32_set1(1));
    const lmask is_odd = li32_eq(odd, li32_set1(1));
    if (!lmask_any(is_odd)) {
        return;
    }
    for (int i = 0; i < 8; i++) {
        r[i] = lf32_sub(level[i], wanted[i]);
    }
    for (int i = 0; i < 8; i++) {
        weighted[i] = lf32_mul(place_pivot(p, i), factor_times(p, i, 8, r));
    }
    for (int i = 0; i < 8; i++) { /* the change of the error is 4 level (form level - slope) */
        float form = p.form->pivot[p.at + i];
        lf32 slope = weighted[i];
        for (int k = 0; k < i; k++) {
            const float u = p.form->upper[(p.at + k) * p.n + p.at + i];
            form += u * u * p.form->pivot[p.at + k];
            slope = lf32_add(slope, lf32_mul(lf32_set1(u), weighted[k]));
        }
        lf32 change = lf32_sub(lf32_mul(lf32_set1(form), level[i]), slope);
        change = lf32_mul(level[i], change);
        const lmask less = lf32_gt(least, change);
        if (i == 0) {
            least = change;
            continue;
        }
        least = lf32_select(less, change, least);
        flipped = li32_select(less, li32_set1(i), flipped);
    }
    for (int i = 0; i < 8; i++) {
        const lmask flip = lmask_and(is_odd, li32_eq(flipped, li32_set1(i)));
        level[i] = lf32_select(flip, lf32_neg(level[i]), level[i]);
    }
}

/* The levels of eight columns. */
QK_INLINE void round_eight(const solver_book *book, int dims, book_place p, lf32 *wanted,
                           lf32 shift, lf32 *level)
{
    if (dims == 8) {
        choose_entry(book, 8, p, wanted, shift, level);
    } else {
        lf32 owed[4], near[4];
        const book_place last = {p.form, p.n, p.at + 4};
        choose_entry(book, 4, last, wanted + 4, shift, level + 4);
        for (int i = 0; i < 4; i++) {
            owed[i] = lf32_set1(0.0f);
            for (int k = 4; k < 8; k++) {
                const lf32 r = lf32_sub(level[k], wanted[k]);
                owed[i] = lf32_add(owed[i], lf32_mul(place_upper(p, i, k), r));
            }
        }
        solve_owed(p, 4, owed);
        for (int i = 0; i < 4; i++) {
            near[i] = lf32_sub(wanted[i], owed[i]);
        }
        choose_entry(book, 4, p, near, shift, level);
    }
    if (book->even_signs) {
        even_minus_signs(p, wanted, level);
    }
}

/* ---- a group ---- */

/* Targets of eight columns, given the errors of later ones. */
QK_INLINE void eight_targets(book_place p, const lf32 *target, const lf32 *e, lf32 *out)
{
    lf32 owed[BOOK_COLUMNS];
    for (int i = 0; i < BOOK_COLUMNS; i++) {
        owed[i] = lf32_set1(0.0f);
    }
    for (int k = p.at + BOOK_COLUMNS; k < p.n; k++) {
        for (int i = 0; i < BOOK_COLUMNS; i++) {
            owed[i] = lf32_add(owed[i], lf32_mul(place_upper(p, i, k - p.at), e[k]));
        }
    }
    solve_owed(p, BOOK_COLUMNS, owed);
    for (int i = 0; i < BOOK_COLUMNS; i++) {
        out[i] = lf32_sub(target[p.at + i], owed[i]);
    }
}

/* Levels of a group for one scale and shift; with free shifts that of each eight columns is the
 * better one.  Gives the error. */
QK_INLINE lf32 round_book(const solver_book *book, int dims, const group_form *form, int n,
                          const lf32 *target, lf32 scale, lf32 shift, int is_free, lf32 *level)
{
    const lf32 inverse = lf32_reciprocal_or_0(scale);
    lf32 e[MAX_GROUP], total = lf32_set1(0.0f);
    for (int at = n - BOOK_COLUMNS; at >= 0; at -= BOOK_COLUMNS) {
        const book_place p = {form, n, at};
        lf32 wanted[BOOK_COLUMNS], over_scale[BOOK_COLUMNS], least = lf32_set1(FLT_MAX);
        eight_targets(p, target, e, wanted);
        for (int i = 0; i < BOOK_COLUMNS; i++) {
            over_scale[i] = lf32_mul(wanted[i], inverse);
        }
        for (int turn = 0; turn <= is_free; turn++) {
            lf32 r[BOOK_COLUMNS], next[BOOK_COLUMNS];
            round_eight(book, dims, p, over_scale, turn ? lf32_neg(shift) : shift, next);
            for (int i = 0; i < BOOK_COLUMNS; i++) {
                r[i] = lf32_sub(lf32_mul(scale, next[i]), wanted[i]);
            }
            const lf32 error = place_error(p, BOOK_COLUMNS, r);
            const lmask better = lf32_gt(least, error);
            for (int i = 0; i < BOOK_COLUMNS; i++) {
                level[at + i] = turn ? lf32_select(better, next[i], level[at + i]) : next[i];
            }
            least = turn ? lf32_select(better, error, least) : error;
        }
        for (int i = 0; i < BOOK_COLUMNS; i++) {
            e[at + i] = lf32_sub(lf32_mul(scale, level[at + i]), target[at + i]);
        }
        total = lf32_add(total, least);
    }
    return total;
}

/* Copies of round_book for which the compiler knows the sizes. */
QK_FN lf32 round_book_4(const solver_book *book, const group_form *form, const lf32 *target,
                        lf32 scale, lf32 *level)
{
    return round_book(book, 4, form, 32, target, scale, lf32_set1(0.0f), 0, level);
}

QK_FN lf32 round_book_8(const solver_book *book, const group_form *form, int n, const lf32 *target,
                        lf32 scale, lf32 *level)
{
    return round_book(book, 8, form, n, target, scale, lf32_set1(0.0f), 0, level);
}

QK_FN lf32 round_book_shifted(const solver_book *book, const group_form *form, int n,
                              const lf32 *target, lf32 scale, lf32 *level)
{
    const lf32 shift = lf32_set1(IQ1_SHIFT);
    lf32 other[MAX_GROUP];
    if (book->shift_columns == BOOK_COLUMNS) {
        return round_book(book, 8, form, n, target, scale, shift, 1, level);
    }
    lf32 error = round_book(book, 8, form, n, target, scale, shift, 0, level);
    lf32 down = round_book(book, 8, form, n, target, scale, lf32_neg(shift), 0, other);
    const lmask better = lf32_gt(error, down);
    for (int j = 0; j < n; j++) {
        level[j] = lf32_select(better, other[j], level[j]);
    }
    return lf32_select(better, down, error);
}

/* Levels of a group of n columns for a scale, which is not negative; gives the error. */
QK_FN lf32 round_codebook(const solver_book *book, const group_form *form, int n,
                          const lf32 *target, lf32 scale, lf32 *level)
{
    if (book->shift_columns) {
        return round_book_shifted(book, form, n, target, scale, level);
    }
    if (book->entries.dims == 4) {
        return round_book_4(book, form, target, scale, level);
    }
    return round_book_8(book, form, n, target, scale, level);
}

/* The levels of entry 0, without signs and shifted up. */
QK_INLINE lf32 book_first_level(const solver_book *book)
{
    return lf32_set1(book->shift_columns ? book->values[0] + IQ1_SHIFT : book->values[0]);
}

#endif
