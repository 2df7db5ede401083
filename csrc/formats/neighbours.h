/* SPDX-License-Identifier: MIT */
/* The entries of a codebook that are near each point; make_neighbours.py writes the tables.
 *
 * A point is what a few weights round to, as a key: eight levels of 0..2 in base 3, the first
 * level first, or four levels of 0..7 as a code.  A code is levels as bits, the first lowest: 2
 * bits each of eight, 3 bits each of four.
 *
 *     points[key]  from bit 8 the place of the point's list, below it the length of the list - 1
 *     lists[place] two codes, the first in the low half; a list of odd length repeats its last
 *
 * Lists 0..entries-1 hold one entry each, twice: where the point is an entry, its list's place is
 * the entry's index.  Other lists are in the order of preference among equals.
 *
 *     points[number of points + key]  the same for weights that surely round to the point: such a
 *                                     list leaves out what cannot be better than an entry before
 *                                     it (not in iq1_s) */
#ifndef QK_NEIGHBOURS_H
#define QK_NEIGHBOURS_H

#include <stdint.h>

#define QK_NEIGHBOURS(name) extern const int32_t qk_##name##_points[], qk_##name##_lists[]
QK_NEIGHBOURS(iq1_s);
QK_NEIGHBOURS(iq2_xxs);
QK_NEIGHBOURS(iq2_xs);
QK_NEIGHBOURS(iq2_s);
QK_NEIGHBOURS(iq3_xxs);
QK_NEIGHBOURS(iq3_s);
#undef QK_NEIGHBOURS

#endif
