/* SPDX-License-Identifier: MIT */
/* A unit: the columns that share the bytes of a block. */
#ifndef QK_UNIT_H
#define QK_UNIT_H

struct unit_form;
struct superblock;

/* data: the unit's part of the plan; group_order: which group of the file is at each place;
 * x: the targets, in the order of solving -> value, likewise; error; the block's words. */
typedef void (*solve_unit)(const struct unit_form *form, const float *data,
                           const uint8_t *group_order, const lf32 *x, lf32 *value, lf32 *error,
                           li32 *words);

/* The scales and minimums of a superblock: small integers times d and dmin in half precision.  d
 * gives the largest scale the code `extreme`, times `first` to `last`. */
typedef struct superblock_grid {
    float scale_low, scale_high, min_high, extreme;
    int n_tries;
    float first, last;
} superblock_grid;

typedef struct unit_form {
    group_form group;
    solve_unit solve;
    /* The words of a block of one group. */
    void (*pack_block)(lf32 scale, lf32 min, const lf32 *level, li32 *words);
    /* The words of a superblock whose groups are in the file's order. */
    void (*pack_superblock)(const struct superblock *s, li32 *words);
    superblock_grid grid;
} unit_form;

/* ---- units of one group, with scales and minimums in half precision ---- */

QK_FN void solve_block(const unit_form *form, const float *data, const uint8_t *group_order,
                       const lf32 *x, lf32 *value, lf32 *error, li32 *words)
{
    (void)group_order;
    const int n = form->group.n;
    lf32 level[QK_MAX_GROUP];
    group_task task = {
        .form = &form->group,
        .f = group_factors_at(data, n),
        .scale = scale_rule_of(SCALE_HALF, form->group.n_signs == 2 ? -F16_MOST : 0.0f, F16_MOST),
        .min = scale_rule_of(SCALE_HALF, -F16_MOST, F16_MOST),
        .c = x,
    };
    group_fit fit = {.level = level};
    fit_group(&task, FIT_SEARCH, &fit);
    *error = fit.error;
    for (int j = 0; j < n; j++) {
        value[j] = value_of_level(fit.scale, level[j], fit.min, form->group.has_min);
    }
    form->pack_block(fit.scale, fit.min, level, words);
}

/* ---- packing ---- */

/* Levels, which are integers, as codes: level + zero. */
QK_INLINE void codes_of_levels(const lf32 *level, int n, int zero, li32 *code)
{
    for (int j = 0; j < n; j++) {
        code[j] = li32_add(li32_trunc(level[j]), li32_set1(zero));
    }
}

#endif
