/* SPDX-License-Identifier: MIT */
/* The numbers that a format can store as a scale or a minimum. */
#ifndef QK_SCALES_H
#define QK_SCALES_H

typedef enum scale_kind {
    SCALE_FREE, /* any number */
    SCALE_HALF, /* half precision */
    SCALE_GRID  /* an integer times a unit */
} scale_kind;

/* What may be stored is unit * code, with a code from low to high of the kind. */
typedef struct scale_rule {
    scale_kind kind;
    float low, high;
    lf32 unit, inverse; /* 1 but for SCALE_GRID */
} scale_rule;

#define F16_MOST 65504.0f

QK_INLINE scale_rule scale_rule_of(scale_kind kind, float low, float high)
{
    const lf32 one = lf32_set1(1.0f);
    const scale_rule rule = {kind, low, high, one, one};
    return rule;
}

QK_INLINE scale_rule scale_grid(lf32 unit, float low, float high)
{
    const scale_rule rule = {SCALE_GRID, low, high, unit, lf32_reciprocal_or_0(unit)};
    return rule;
}

/* The code nearest to a number. */
QK_INLINE lf32 scale_code(const scale_rule *rule, lf32 value)
{
    lf32 code = lf32_mul(value, rule->inverse);
    code = lf32_lesser(lf32_greater(code, lf32_set1(rule->low)), lf32_set1(rule->high));
    switch (rule->kind) {
    case SCALE_HALF:
        return lf32_through_f16(code);
    case SCALE_GRID:
        return lf32_round(code);
    default:
        return code;
    }
}

QK_INLINE lf32 scale_value(const scale_rule *rule, lf32 code) { return lf32_mul(rule->unit, code); }

#endif
