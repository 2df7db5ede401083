/* SPDX-License-Identifier: MIT */
/* What IQ1_S and IQ1_M share: groups of eight weights are entries of a codebook of three levels,
 * and the three values they stand for are shifted up or down.
 *
 *     value[level] = level - 1 + shift, shift = 1/8 or -1/8
 *
 * A search looks for the scale, the shift and the two boundaries that split the weights of a group,
 * in order of size, into the three levels with the least weighted error: every split is tried.
 * Eight levels that are no entry of the codebook are replaced by the best of the entries nearby.
 * Order of operations and tie rules are those of the reference (ggml's quantize_row_iq1_s_impl,
 * quantize_row_iq1_m_impl and iq1_find_best_neighbour2), which are part of the format's bytes. */
#ifndef QK_IQ1_H
#define QK_IQ1_H

#define IQ1_SHIFT 0.125f

/* The split that is best so far. */
typedef struct iq1_split {
    lf32 scale, score;
    li32 found; /* first boundary | second boundary << 8 | shifts << 16, or -1 */
} iq1_split;

QK_INLINE iq1_split iq1_no_split(void)
{
    iq1_split best = {lf32_set1(0.0f), lf32_set1(-FLT_MAX), li32_set1(-1)};
    return best;
}

/* A split with sum w*value*x and sum w*value*value. */
QK_INLINE void iq1_try(iq1_split *best, lf32 sum_qx, lf32 sum_q2, int found)
{
    lmask better = lmask_and(lf32_gt(sum_q2, lf32_set1(0.0f)),
                             lf32_gt(lf32_mul(sum_qx, sum_qx), lf32_mul(best->score, sum_q2)));
    if (!lmask_any(better)) { /* most splits: nothing would change */
        return;
    }
    lf32 scale = lf32_div(sum_qx, sum_q2);
    best->scale = lf32_select(better, scale, best->scale);
    best->score = lf32_select(better, lf32_mul(scale, sum_qx), best->score);
    best->found = li32_select(better, li32_set1(found), best->found);
}

/* ---- order of size ---- */

/* The place of each weight in ascending order; equals keep theirs.  (The reference calls qsort,
 * which is a stable merge sort in the GNU C library.) */
QK_INLINE void iq1_places(const lf32 *x, int n, li32 *place)
{
    const li32 zero = li32_set1(0), one = li32_set1(1);
    for (int i = 0; i < n; i++) {
        place[i] = li32_set1(i);
        for (int j = 0; j < i; j++) {
            li32 swap = li32_select(lf32_gt(x[j], x[i]), one, zero);
            place[i] = li32_sub(place[i], swap);
            place[j] = li32_add(place[j], swap);
        }
    }
}

/* out[place[i]] = v[i], lane by lane */
QK_INLINE void iq1_arrange(const lf32 *v, const li32 *place, int n, lf32 *out)
{
    QK_SHARED int32_t to[LANES];
    QK_SHARED float from[LANES], arranged[MAX_GROUP][LANES];
    for (int i = 0; i < n; i++) {
        li32_store(to, place[i]);
        lf32_store(from, v[i]);
        for (int lane = QK_OWN_FIRST; lane < LANES; lane += QK_OWN_STEP) {
            arranged[to[lane]][lane] = from[lane];
        }
    }
    for (int i = 0; i < n; i++) {
        out[i] = lf32_load(arranged[i]);
    }
}

/* sum[i] = v[0] + ... + v[i-1] */
QK_INLINE void iq1_prefix_sums(const lf32 *v, int n, lf32 *sum)
{
    sum[0] = lf32_set1(0.0f);
    for (int i = 0; i < n; i++) {
        sum[i + 1] = lf32_add(sum[i], v[i]);
    }
}

/* The levels 0..2 of a split; with a negative scale they are mirrored. */
QK_INLINE void iq1_levels(const li32 *place, int n, li32 found, lmask mirror, li32 *level)
{
    const li32 zero = li32_set1(0), one = li32_set1(1), two = li32_set1(2);
    li32 first = li32_and(found, li32_set1(255));
    li32 second = li32_and(li32_shr(found, 8), li32_set1(255));
    for (int i = 0; i < n; i++) {
        li32 l = li32_select(li32_gt(second, place[i]), one, two);
        l = li32_select(li32_gt(first, place[i]), zero, l);
        level[i] = li32_select(mirror, li32_sub(two, l), l);
    }
}

/* ---- entries of the codebook ---- */

/* 1/8, or -1/8 where minus is not 0 */
QK_INLINE lf32 iq1_shift(li32 minus)
{
    lmask plus = li32_eq(minus, li32_set1(0));
    return lf32_select(plus, lf32_set1(IQ1_SHIFT), lf32_set1(-IQ1_SHIFT));
}

/* What level i of a code stands for. */
QK_INLINE lf32 iq1_value(li32 code, int i, lf32 shift)
{
    li32 level = li32_and(li32_shr(code, 2 * i), li32_set1(3));
    return lf32_add(lf32_from_li32(li32_sub(level, li32_set1(1))), shift);
}

/* The point of eight levels (neighbours.h). */
QK_INLINE li32 iq1_point(const li32 *level)
{
    li32 key = level[0];
    for (int i = 1; i < 8; i++) {
        key = li32_add(li32_add(key, li32_shl(key, 1)), level[i]);
    }
    return li32_lookup(qk_iq1_s_points, key);
}

/* What the levels of all weights of an entry stand for, with a shift up and with one down; the
 * fourth level of each is in no entry. */
#define IQ1_WEIGHT(shift) -1 + (shift), (shift), 1 + (shift), 0
#define IQ1_PAIR(shift) IQ1_WEIGHT(shift), IQ1_WEIGHT(shift)
#define IQ1_ENTRY(shift) IQ1_PAIR(shift), IQ1_PAIR(shift), IQ1_PAIR(shift), IQ1_PAIR(shift)
QK_TABLE float iq1_entry_values[2][LEVELS_OF_ENTRY] = {
    {IQ1_ENTRY(IQ1_SHIFT)},
    {IQ1_ENTRY(-IQ1_SHIFT)},
};
#undef IQ1_ENTRY
#undef IQ1_PAIR
#undef IQ1_WEIGHT

/* The codes of the entries for n groups of eight levels, and the scale that fits them. */
QK_INLINE lf32 iq1_entries(const lf32 *x, const lf32 *w, const li32 *level, int n, lf32 scale,
                           const lf32 *shift, li32 *code)
{
    const codebook_entries entries = {qk_iq1_s_points, qk_iq1_s_lists, 8};
    const lf32 zero = lf32_set1(0.0f);
    lf32 sum_qx = zero, sum_q2 = zero;
    lmask refit = lf32_gt(zero, zero);
    QK_SHARED float scale_of[1][LANES];
    lf32_store(scale_of[0], scale);
    for (int k = 0; k < n; k++) {
        const lf32 *xk = x + 8 * k, *wk = w + 8 * k;
        const li32 down = li32_shr(lf32_bits(shift[k]), 31);
        code[k] = iq1_point(level + 8 * k);
        choose_entries(entries, xk, wk, iq1_entry_values, down, scale_of, 1, code + k);
        refit = lmask_or(refit, li32_gt(li32_set1(0), code[k]));
        for (int i = 0; i < 8; i++) {
            lf32 q = iq1_value(code[k], i, shift[k]), wq = lf32_mul(wk[i], q);
            sum_qx = lf32_add(sum_qx, lf32_mul(wq, xk[i]));
            sum_q2 = lf32_add(sum_q2, lf32_mul(wq, q));
        }
    }
    refit = lmask_and(refit, lmask_and(lf32_gt(sum_qx, zero), lf32_gt(sum_q2, zero)));
    return lf32_select(refit, lf32_div(sum_qx, sum_q2), scale);
}

/* The index of the entry with a code. */
QK_INLINE li32 iq1_index(li32 code)
{
    li32 level[8];
    for (int i = 0; i < 8; i++) {
        level[i] = li32_and(li32_shr(code, 2 * i), li32_set1(3));
    }
    return li32_shr(iq1_point(level), 16);
}

/* ---- scales of the groups: odd numbers 1..15 times d ---- */

/* The largest of n scales, 0 where none is more. */
QK_INLINE lf32 iq1_largest(const lf32 *scale, int n)
{
    lf32 largest = lf32_set1(0.0f);
    for (int j = 0; j < n; j++) {
        largest = lf32_select(lf32_gt(largest, scale[j]), largest, scale[j]);
    }
    return largest;
}

/* The code 0..7 of a scale, which stands for (2 * code + 1) * d. */
QK_INLINE li32 iq1_scale_code(lf32 scale, lf32 inverse_d)
{
    lf32 v = lf32_sub(lf32_mul(inverse_d, scale), lf32_set1(1.0f));
    return lf32_nearest_clamped(lf32_mul(lf32_set1(0.5f), v), 0, 7);
}

/* ---- reading ---- */

/* The shifts of two groups of eight, by the bits that say minus. */
#define IQ1_EIGHT(shift) shift, shift, shift, shift, shift, shift, shift, shift
QK_TABLE float iq1_shifts[4][16] = {
    {IQ1_EIGHT(IQ1_SHIFT), IQ1_EIGHT(IQ1_SHIFT)},
    {IQ1_EIGHT(-IQ1_SHIFT), IQ1_EIGHT(IQ1_SHIFT)},
    {IQ1_EIGHT(IQ1_SHIFT), IQ1_EIGHT(-IQ1_SHIFT)},
    {IQ1_EIGHT(-IQ1_SHIFT), IQ1_EIGHT(-IQ1_SHIFT)},
};
#undef IQ1_EIGHT

/* n weights, a multiple of 16, from the entries of each eight and the shifts of sixteen. */
QK_INLINE void iq1_values(const int8_t *const *entry, const float *shift, lf32 scale, int n,
                          float *y)
{
    for (int i = 0; i < n; i += LANES) {
        lf32 level = lf32_from_li32(li32_load_eights(entry, i));
        lf32_store(y + i, lf32_mul(scale, lf32_add(level, lf32_load(shift + i % 16))));
    }
}

#endif
