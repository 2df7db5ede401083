/* SPDX-License-Identifier: MIT */
/* The entries of the codebook types (IQ1, IQ2, IQ3): which one stands for a few weights.
 *
 * Weights are rounded, lane by lane, to a point.  Where that is no entry of the codebook, the best
 * of the entries nearby is taken: one lane's list at a time, LANES of its entries side by side, so
 * that no lane waits for the longer list of another.  Which lane an entry is in does not show: its
 * error is summed weight by weight, and of equals the first in the list wins.  So does the
 * reference (ggml's iq2_find_best_neighbour, iq3_find_best_neighbour, iq1_find_best_neighbour2).
 *
 * How weights are rounded, and with which scales, is told in codebook.h and iq1.h. */
#ifndef QK_CODEBOOK_ENTRIES_H
#define QK_CODEBOOK_ENTRIES_H

#include "../formats/grids.h"
#include "../formats/neighbours.h"

static_assert(NEIGHBOUR_UNIT % LANES == 0, "no load of codes goes beyond a list's end");

typedef struct codebook_entries {
    const int32_t *points; /* see neighbours.h */
    const uint16_t *lists;
    int dims; /* weights per entry: 8 with levels 0..2, 4 with levels 0..7 */
} codebook_entries;

#define LEVELS_OF_ENTRY 32 /* of all its weights, as a code counts them: 8 * 4 or 4 * 8 */
#define MOST_SCALES 31     /* for which entries are chosen at a time */

QK_INLINE int entry_levels(codebook_entries from) { return LEVELS_OF_ENTRY / from.dims; }
QK_INLINE int entry_bits(codebook_entries from) { return from.dims == 8 ? 2 : 3; }

/* Level i of a code, looked up among the values of all levels. */
QK_INLINE lf32 entry_lookup(codebook_entries from, const float *values, li32 code, int i)
{
    li32 level = i ? li32_shr(code, entry_bits(from) * i) : code;
    return from.dims == 8 ? lf32_lookup4(values, level) : lf32_lookup8(values, level);
}

/* What one lane's search for an entry is about, for each level of each weight. */
typedef struct entry_search {
    float x[LEVELS_OF_ENTRY], w[LEVELS_OF_ENTRY]; /* the weight, the weight of its error */
} entry_search;

QK_INLINE void set_entry_search(codebook_entries from, float x[][LANES], float w[][LANES], int lane,
                                entry_search *search)
{
    const int levels = entry_levels(from);
    for (int i = 0; i < from.dims; i++) {
        lane_fill(search->x + levels * i, levels, x[i][lane]);
        lane_fill(search->w + levels * i, levels, w[i][lane]);
    }
}

/* The code of the entry in a point's list that has the least sum of w * (scale * value - x)^2; the
 * first where no sum is a finite number (the reference stops or reads past its arrays there).
 * value: what each level of each weight stands for. */
QK_INLINE int32_t best_neighbour(codebook_entries from, int32_t point, const entry_search *search,
                                 const float *value, float scale)
{
    QK_SHARED float error[LEVELS_OF_ENTRY];
    const int n = point & MOST_NEIGHBOURS;
    const int place = (point & INT32_MAX) / (MOST_NEIGHBOURS + 1);
    const uint16_t *list = from.lists + NEIGHBOUR_UNIT * place;
    lane_sync();
    for (int i = 0; i < LEVELS_OF_ENTRY; i += LANES) {
        lf32 diff = lf32_mul(lf32_set1(scale), lf32_load(value + i));
        diff = lf32_sub(diff, lf32_load(search->x + i));
        lf32_store(error + i, lf32_mul(lf32_mul(lf32_load(search->w + i), diff), diff));
    }
    lane_sync();
    int32_t best = 0x7f7fffff; /* the bits of FLT_MAX */
    int found = 0;
    for (int first = 0; first < n; first += LANES) {
        const li32 code = li32_load_u16((const uint8_t *)(list + first));
        lf32 sum = entry_lookup(from, error, code, 0);
        for (int i = 1; i < from.dims; i++) {
            sum = lf32_add(sum, entry_lookup(from, error + entry_levels(from) * i, code, i));
        }
        const li32 bits = lf32_bits(lf32_abs(sum)); /* in the order of sums, and NaN above them */
        const int32_t least = lane_least(bits);
        if (least < best) {
            found = first + lmask_first(li32_eq(bits, li32_set1(least)));
            best = least;
        }
    }
    return list[found];
}

/* Replaces the points of a few weights that are no entries by the codes of the best entries nearby,
 * and keeps bit 31 set.  There are n points in each lane, one for each of n scales.  What the
 * levels of the weights stand for is values[0] or values[1], as `which` has it. */
QK_INLINE void choose_entries(codebook_entries from, const lf32 *x, const lf32 *w,
                              const float values[][LEVELS_OF_ENTRY], li32 which,
                              const float scale[][LANES], int n, li32 *code)
{
    QK_SHARED float x_of[8][LANES], w_of[8][LANES];
    QK_SHARED int32_t which_of[LANES], room[MOST_SCALES][LANES];
    QK_SHARED entry_search search;
    for (int i = 0; i < from.dims; i++) {
        lf32_store(x_of[i], x[i]);
        lf32_store(w_of[i], w[i]);
    }
    li32_store(which_of, which);
    int32_t (*code_of)[LANES] = lanes_of(code, n, room);
    lane_sync();
    for (int lane = 0; lane < LANES; lane++) {
        const float *value = values[which_of[lane]];
        int g = 0;
        while (g < n && code_of[g][lane] >= 0) {
            g++;
        }
        if (g < n) {
            set_entry_search(from, x_of, w_of, lane, &search);
        }
        for (; g < n; g++) {
            const int32_t point = code_of[g][lane];
            if (point < 0) {
                const float s = scale[g][lane];
                const int32_t best = best_neighbour(from, point, &search, value, s);
                if (lane % QK_OWN_STEP == QK_OWN_FIRST) {
                    code_of[g][lane] = INT32_MIN | best;
                }
            }
        }
    }
    lane_sync();
    lanes_back(code, n, code_of);
}

#endif
