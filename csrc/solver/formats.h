/* SPDX-License-Identifier: MIT */
/* The types that have a solver, and the sizes of what a plan holds for each. */
#ifndef QK_SOLVER_FORMATS_H
#define QK_SOLVER_FORMATS_H

#include <stddef.h>

/* X(name, GGUF type number, columns of a unit, columns of a group).  A unit's columns share the
 * bytes of a block, a group's columns share a scale. */
#define QK_SOLVER_FORMATS(X)                                                                       \
    X(q4_0, 2, 32, 32)                                                                             \
    X(q4_1, 3, 32, 32)                                                                             \
    X(q5_0, 6, 32, 32)                                                                             \
    X(q5_1, 7, 32, 32)                                                                             \
    X(q8_0, 8, 32, 32)                                                                             \
    X(iq4_nl, 20, 32, 32)                                                                          \
    X(q2_k, 10, 256, 16)                                                                           \
    X(q3_k, 11, 256, 16)                                                                           \
    X(q4_k, 12, 256, 32)                                                                           \
    X(q5_k, 13, 256, 32)                                                                           \
    X(q6_k, 14, 256, 16)                                                                           \
    X(iq4_xs, 23, 256, 32)

#define QK_MAX_GROUP 32
#define QK_MAX_UNIT 256

/* The rows that are solved together, so that they share one reading of the feedback. */
#define QK_SOLVER_ROWS 64

/* The floats of a group's factors (group.h); of a unit: the factors of its groups, and where there
 * are several, the feedback within the unit, and both once more for descent (superblock.h). */
#define QK_GROUP_FLOATS(group) ((size_t)(group) * ((size_t)(group) + 2))
#define QK_HALF_FLOATS(unit, group)                                                                \
    ((size_t)((unit) / (group)) * QK_GROUP_FLOATS(group) + (size_t)(unit) * (size_t)(unit))
#define QK_UNIT_FLOATS(unit, group)                                                                \
    ((unit) == (group) ? QK_GROUP_FLOATS(group) : 2 * QK_HALF_FLOATS(unit, group))

#endif
