/* SPDX-License-Identifier: MIT */
/* In place of neighbours.cuh where kernels that choose entries are not compiled: it takes long to
 * read. */
#define NEIGHBOUR_UNIT 32

#define QK_NO_NEIGHBOURS(name)                                                                     \
    QK_TABLE int32_t qk_##name##_points[1] = {0};                                                  \
    QK_TABLE uint16_t qk_##name##_lists[1] = {0}
QK_NO_NEIGHBOURS(iq1_s);
QK_NO_NEIGHBOURS(iq2_xxs);
QK_NO_NEIGHBOURS(iq2_xs);
QK_NO_NEIGHBOURS(iq2_s);
QK_NO_NEIGHBOURS(iq3_xxs);
QK_NO_NEIGHBOURS(iq3_s);
#undef QK_NO_NEIGHBOURS
