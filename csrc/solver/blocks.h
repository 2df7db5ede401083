/* SPDX-License-Identifier: MIT */
/* The types that can be solved, where their units are in a row, and from the solution of a unit to
 * its block.
 *
 * Parameter: QK_SOLVERS(X), the types: X(name). */
#ifndef QK_SOLVER_BLOCKS_H
#define QK_SOLVER_BLOCKS_H

/* What the rows of a matrix share; see quantkit.h. */
typedef struct solver_task {
    int type;
    const unit_rule *rule;
    unit_shape shape;
    size_t n_cols, block_bytes;
    qk_solver_plan plan;
} solver_task;

/* Type numbers by name. */
enum {
#define QK_ID(NAME, name, id, block_size, block_bytes, use) id_of_##name = id,
    QK_FORMATS(QK_ID)
#undef QK_ID
};

/* How a type is solved; NULL: not at all. */
QK_FN const unit_rule *solver_rule(int type)
{
    switch (type) {
#define QK_CASE(name)                                                                              \
    case id_of_##name:                                                                             \
        return &name##_solver;
        QK_SOLVERS(QK_CASE)
#undef QK_CASE
    default:
        return NULL;
    }
}

/* The code of a level as it is stored. */
QK_INLINE li32 code_of_level(const unit_rule *rule, lf32 level)
{
    if (rule->group.level.kind == LEVELS_IQ4) {
        return iq4_nearest(level);
    }
    if (rule->group.level.kind == LEVELS_BOOK) {
        return code_of_book_level(rule->group.book, level);
    }
    if (rule->group.level.kind == LEVELS_WHOLE) {
        return li32_add(li32_trunc(level), li32_set1(rule->offset));
    }
    li32 a = li32_trunc(lf32_abs(level)); /* 0..4, 6, 8 or 12 */
    li32 sign = li32_shl(li32_shr(lf32_bits(level), 31), 3);
    li32 code = li32_select(li32_gt(a, li32_set1(4)), li32_add(li32_shr(a, 2), li32_set1(4)), a);
    return li32_or(code, li32_select(li32_eq(a, li32_set1(0)), li32_set1(0), sign));
}

/* What is stored of a solution of the unit at place `unit`, as little-endian words. */
QK_FN void unit_words(const solver_task *task, size_t unit, const unit_fit *fit, li32 *words)
{
    const size_t group = task->shape.group, per_unit = task->shape.unit / group;
    const uint8_t *order = task->plan.group_order + unit * per_unit;
    unit_codes codes;
    codes.d = fit->d;
    codes.dmin = fit->dmin;
    for (size_t g = 0; g < per_unit; g++) {
        codes.scale[order[g]] = fit->scale[g];
        codes.min[order[g]] = fit->min[g];
        for (size_t j = 0; j < group; j++) {
            codes.code[order[g] * group + j] = code_of_level(task->rule, fit->level[g * group + j]);
        }
    }
    switch (task->type) {
#define QK_CASE(name)                                                                              \
    case id_of_##name:                                                                             \
        pack_##name(&codes, words);                                                                \
        break;
        QK_SOLVERS(QK_CASE)
#undef QK_CASE
    default: /* other types are refused before */
        words[0] = li32_set1(0);
        break;
    }
}

/* Where the block of the unit at place `unit` begins in a row. */
QK_INLINE size_t unit_place(const solver_task *task, size_t unit)
{
    return (size_t)task->plan.unit_order[unit] * task->block_bytes;
}

/* The error of a weight against the weight, from that against the target. */
QK_INLINE lf32 error_of_weight(lf32 error, lf32 target, lf32 weight)
{
    return lf32_sub(lf32_add(error, target), weight);
}

#endif
