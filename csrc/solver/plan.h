/* SPDX-License-Identifier: MIT */
/* What the solver knows of H for one unit of columns: the block of a type, of which all rows are
 * solved with the same numbers.  Computed in double precision from the factor R of H, in a fixed
 * order, and kept in float.
 *
 * Let B be the columns of the unit, in the order in which they are solved (from the last to the
 * first), and g one of its groups of columns that share a scale:
 *
 *     feedback  R_BB^-1 R_B,later    what an error of a later column asks of the unit's columns
 *     whole     S = R_BB^T R_BB      the error of the unit around its target
 *     inner     R_gg^-1 R_g,later    as feedback, of the later groups of the unit
 *     outer     S_gg^-1 S_g,others   the same if all other groups are known
 *     narrow    of R_gg              the error of a group when the groups before it are still free
 *     wide      of S_gg              the error of a group when all others are known
 *
 * narrow and wide each hold the quadratic form of the group and its factors. */
#ifndef QK_PLAN_H
#define QK_PLAN_H

/* Sizes of a type's unit. */
typedef struct unit_shape {
    size_t unit, group; /* columns */
} unit_shape;

/* The error of a group: e^T form e = sum over j of pivot[j] * (e[j] + sum over k > j of
 * upper[j][k] * e[k])^2. */
typedef struct group_form {
    const float *form, *upper, *pivot;
    const float *row_sum; /* of form */
} group_form;

QK_BOTH size_t group_form_floats(size_t group) { return 2 * group * group + 2 * group; }

/* Floats of a unit's numbers.  A unit of one group has no more than the group's. */
QK_BOTH size_t unit_floats(unit_shape shape)
{
    const size_t n_groups = shape.unit / shape.group;
    if (n_groups == 1) {
        return group_form_floats(shape.group);
    }
    return 3 * shape.unit * shape.unit + 2 * n_groups * group_form_floats(shape.group);
}

QK_INLINE group_form group_form_at(const float *p, size_t group)
{
    group_form form = {p, p + group * group, p + 2 * group * group, p + 2 * group * group + group};
    return form;
}

QK_INLINE group_form narrow_form(const float *unit, unit_shape shape, size_t g)
{
    return group_form_at(unit + g * group_form_floats(shape.group), shape.group);
}

QK_INLINE group_form wide_form(const float *unit, unit_shape shape, size_t g)
{
    return narrow_form(unit, shape, shape.unit / shape.group + g);
}

/* Where one of the three square matrices of a unit of several groups begins. */
QK_INLINE size_t unit_square(unit_shape shape, size_t number)
{
    const size_t forms = 2 * (shape.unit / shape.group) * group_form_floats(shape.group);
    return forms + number * shape.unit * shape.unit;
}
#define UNIT_WHOLE 0
#define UNIT_INNER 1
#define UNIT_OUTER 2

/* The column of the file at which group g of the unit at place `unit` begins. */
QK_INLINE size_t group_column(const qk_solver_plan *plan, unit_shape shape, size_t unit, size_t g)
{
    const size_t block = (size_t)plan->unit_order[unit];
    const size_t place = plan->group_order[unit * (shape.unit / shape.group) + g];
    return block * shape.unit + place * shape.group;
}

#endif
