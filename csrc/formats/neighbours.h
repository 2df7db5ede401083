/* SPDX-License-Identifier: MIT */
/* The entries of a codebook that are near each point; make_neighbours.py writes the tables.
 *
 * A point is what a few weights round to, as a key: eight levels of 0..2 in base 3, the first
 * level first, or four levels of 0..7 as a code.  A code is levels as bits, the first lowest: 2
 * bits each of eight, 3 bits each of four.
 *
 *     points[key]  of an entry: its code, and from bit 16 its index
 *                  of another point: the length of its list, from bit 9 its place, and bit 31
 *     lists        codes in the order of preference among equals; a list starts at NEIGHBOUR_UNIT
 *                  times its place, and its last code is repeated up to the next multiple
 *
 *     points[number of points + key]  the same for weights that surely round to the point: such a
 *                                     list leaves out what cannot be better than an entry before
 *                                     it (not in iq1_s) */
#ifndef QK_NEIGHBOURS_H
#define QK_NEIGHBOURS_H

#include <stdint.h>

#define MOST_NEIGHBOURS 511 /* a mask of the length */

#ifdef QK_NEIGHBOUR_TABLES /* a file with the tables themselves, and a unit of its own */
#include QK_NEIGHBOUR_TABLES
#else
#define NEIGHBOUR_UNIT 16 /* no fewer than lanes, which load that many codes at once */

#define QK_NEIGHBOURS(name)                                                                        \
    extern const int32_t qk_##name##_points[];                                                     \
    extern const uint16_t qk_##name##_lists[]
QK_NEIGHBOURS(iq1_s);
QK_NEIGHBOURS(iq2_xxs);
QK_NEIGHBOURS(iq2_xs);
QK_NEIGHBOURS(iq2_s);
QK_NEIGHBOURS(iq3_xxs);
QK_NEIGHBOURS(iq3_s);
#undef QK_NEIGHBOURS
#endif

#endif
