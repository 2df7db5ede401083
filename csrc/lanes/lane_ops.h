/* SPDX-License-Identifier: MIT */
/* The names of the lane ops, and how to run each on memory; see lane_probe.h. */
#ifndef QK_LANE_OPS_H
#define QK_LANE_OPS_H

/* X(name, statement) */
#define QK_LANE_OPS(X)                                                                             \
    X(lf32_load, {                                                                                 \
        float v[LANES];                                                                            \
        memcpy(v, a, sizeof v);                                                                    \
        FROM_F(lf32_load(v));                                                                      \
    })                                                                                             \
    X(lf32_store, {                                                                                \
        float v[LANES];                                                                            \
        lf32_store(v, F(a));                                                                       \
        memcpy(out, v, sizeof v);                                                                  \
    })                                                                                             \
    X(li32_load, FROM_I(li32_load(a)))                                                             \
    X(li32_store, li32_store(out, I(a)))                                                           \
    X(li32_load_i8, FROM_I(li32_load_i8((const int8_t *)a)))                                       \
    X(li32_load_u8, FROM_I(li32_load_u8((const uint8_t *)a)))                                      \
    X(li32_load_u16, FROM_I(li32_load_u16((const uint8_t *)a)))                                    \
    X(li32_load_eights, probe_load_eights(a, out))                                                 \
    X(li32_store_u16, li32_store_u16((uint8_t *)out, I(a)))                                        \
    X(li32_lookup, FROM_I(li32_lookup(a, li32_and(I(b), li32_set1(LANES - 1)))))                   \
    X(lf32_lookup4, FROM_F(lf32_lookup4(probe_table, I(b))))                                       \
    X(lf32_lookup8, FROM_F(lf32_lookup8(probe_table, I(b))))                                       \
    X(lf32_lookup16, FROM_F(lf32_lookup16(probe_table, li32_and(I(b), li32_set1(15)))))            \
    X(lane_transpose, probe_transpose(a, out))                                                     \
    X(lf32_set1, {                                                                                 \
        float v;                                                                                   \
        memcpy(&v, a, sizeof v);                                                                   \
        FROM_F(lf32_set1(v));                                                                      \
    })                                                                                             \
    X(li32_set1, FROM_I(li32_set1(a[0])))                                                          \
    X(lf32_add, FROM_F(lf32_add(F(a), F(b))))                                                      \
    X(lf32_sub, FROM_F(lf32_sub(F(a), F(b))))                                                      \
    X(lf32_mul, FROM_F(lf32_mul(F(a), F(b))))                                                      \
    X(lf32_div, FROM_F(lf32_div(F(a), F(b))))                                                      \
    X(lf32_sqrt, FROM_F(lf32_sqrt(F(a))))                                                          \
    X(lf32_round, FROM_F(probe_round(F(a))))                                                       \
    X(lf32_gt, FROM_M(lf32_gt(F(a), F(b))))                                                        \
    X(lf32_eq, FROM_M(lf32_eq(F(a), F(b))))                                                        \
    X(lf32_lesser, FROM_F(lf32_lesser(F(a), F(b))))                                                \
    X(lf32_greater, FROM_F(lf32_greater(F(a), F(b))))                                              \
    X(li32_add, FROM_I(li32_add(I(a), I(b))))                                                      \
    X(li32_sub, FROM_I(li32_sub(I(a), I(b))))                                                      \
    X(li32_mul, FROM_I(li32_mul(I(a), I(b))))                                                      \
    X(li32_and, FROM_I(li32_and(I(a), I(b))))                                                      \
    X(li32_or, FROM_I(li32_or(I(a), I(b))))                                                        \
    X(li32_min, FROM_I(li32_min(I(a), I(b))))                                                      \
    X(li32_max, FROM_I(li32_max(I(a), I(b))))                                                      \
    X(li32_shl, FROM_I(li32_shl(I(a), 5)))                                                         \
    X(li32_shr, FROM_I(li32_shr(I(a), 5)))                                                         \
    X(li32_sar, FROM_I(li32_sar(I(a), 5)))                                                         \
    X(li32_gt, FROM_M(li32_gt(I(a), I(b))))                                                        \
    X(li32_eq, FROM_M(li32_eq(I(a), I(b))))                                                        \
    X(lf32_select, FROM_F(lf32_select(M(c), F(a), F(b))))                                          \
    X(li32_select, FROM_I(li32_select(M(c), I(a), I(b))))                                          \
    X(lmask_and, FROM_M(lmask_and(M(a), M(b))))                                                    \
    X(lmask_or, FROM_M(lmask_or(M(a), M(b))))                                                      \
    X(lmask_not, FROM_M(lmask_not(M(a))))                                                          \
    X(lmask_any, out[0] = lmask_any(M(a)))                                                         \
    X(lmask_first, out[0] = lmask_first(M(a)))                                                     \
    X(lane_least, out[0] = lane_least(I(a)))                                                       \
    X(lf32_from_li32, FROM_F(lf32_from_li32(I(a))))                                                \
    X(li32_trunc, FROM_I(li32_trunc(F(a))))                                                        \
    X(lf32_bits, FROM_I(lf32_bits(F(a))))                                                          \
    X(lf32_from_bits, FROM_F(lf32_from_bits(I(a))))                                                \
    X(lf32_mantissa, FROM_I(lf32_mantissa(lf32_add(F(a), lf32_set1(12582912.0f)))))

enum {
#define QK_NAME(name, run) QK_OP_##name,
    QK_LANE_OPS(QK_NAME)
#undef QK_NAME
        QK_LANE_OP_COUNT
};

#endif
