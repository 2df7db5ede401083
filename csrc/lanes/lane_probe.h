/* SPDX-License-Identifier: MIT */
/* Every lane op by number, so that tests can compare the backends op by op. */
#ifndef QK_LANE_PROBE_H
#define QK_LANE_PROBE_H

#include "lane_ops.h"

#define F(p) lf32_from_bits(li32_load(p))
#define I(p) li32_load(p)
#define M(p) li32_gt(li32_load(p), li32_set1(0))
#define FROM_F(v) li32_store(out, lf32_bits(v))
#define FROM_I(v) li32_store(out, v)
#define FROM_M(v) li32_store(out, li32_select(v, li32_set1(1), li32_set1(0)))

/* What the lookups look up. */
static const float probe_table[16] = {0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45};

QK_FN void probe_transpose(const int32_t *a, int32_t *out)
{
    float in[LANES * LANES];
    const float *rows[LANES];
    lf32 columns[LANES];
    memcpy(in, a, sizeof in);
    for (int i = 0; i < LANES; i++) {
        rows[i] = in + i * LANES;
    }
    lane_transpose(rows, columns);
    for (int j = 0; j < LANES; j++) {
        li32_store(out + j * LANES, lf32_bits(columns[j]));
    }
}

/* 0 where lf32_round is not defined; the addition leaves one zero. */
QK_FN lf32 probe_round(lf32 a)
{
    const lf32 zero = lf32_set1(0.0f), limit = lf32_set1(4194304.0f);
    lf32 size = lf32_from_bits(li32_and(lf32_bits(a), li32_set1(0x7fffffff)));
    return lf32_add(lf32_round(lf32_select(lf32_gt(size, limit), zero, a)), zero);
}

/* Items a[0] * LANES.. (modulo 16) of 0..7 and -8..-1, which lie in memory the other way around. */
QK_FN void probe_load_eights(const int32_t *a, int32_t *out)
{
    int8_t items[16];
    const int8_t *const eights[2] = {items + 8, items};
    for (int i = 0; i < 16; i++) {
        items[i] = (int8_t)(i - 8);
    }
    li32_store(out, li32_load_eights(eights, (a[0] * LANES) & 15));
}

/* a, b, c, out: int32 [LANES * LANES]; all but lane_transpose use the first LANES. */
QK_FN void lane_probe(int op, const int32_t *a, const int32_t *b, const int32_t *c, int32_t *out)
{
    switch (op) {
#define QK_CASE(name, run)                                                                         \
    case QK_OP_##name:                                                                             \
        run;                                                                                       \
        break;
        QK_LANE_OPS(QK_CASE)
#undef QK_CASE
    default:
        break;
    }
}

#undef F
#undef I
#undef M
#undef FROM_F
#undef FROM_I
#undef FROM_M

#endif
