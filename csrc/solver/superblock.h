/* SPDX-License-Identifier: MIT */
/* A superblock: groups whose scales and minimums are small integers times d and dmin.
 *
 * A *pass* takes the groups from the last to the first, each with the errors of those behind it
 * fed back.  A first pass has free scales; from the largest of them follow several d, and a pass
 * on the grid of each.  Then d and dmin are fitted by least squares, and passes and *descent*
 * follow: a group at a time is fitted anew given all others, and keeps what it had unless that is
 * better.  The errors of a pass's groups add up to the error of the superblock. */
#ifndef QK_SUPERBLOCK_H
#define QK_SUPERBLOCK_H

#define QK_MAX_GROUPS (QK_SUPERBLOCK / 16)

typedef struct superblock {
    lf32 d, dmin, error;
    lf32 scale[QK_MAX_GROUPS], min[QK_MAX_GROUPS]; /* codes */
    lf32 level[QK_SUPERBLOCK];
} superblock;

/* The part of a plan that passes read, or that descent reads: factors of the groups, feedback
 * [unit][unit]. */
typedef struct unit_part {
    const float *factors, *feedback;
} unit_part;

/* A superblock to solve: targets x, and y = U x of the whole unit. */
typedef struct superblock_task {
    const unit_form *form;
    int n, n_groups;
    unit_part pass, descent;
    const lf32 *x;
    lf32 y[QK_SUPERBLOCK];
} superblock_task;

QK_INLINE group_factors factors_of(const unit_part *part, int g, int n)
{
    return group_factors_at(part->factors + (size_t)g * QK_GROUP_FLOATS(n), n);
}

/* ---- values and errors ---- */

QK_INLINE lf32 superblock_value(const superblock_task *task, const superblock *s, int j)
{
    const int g = j / task->n;
    return value_of_level(lf32_mul(s->d, s->scale[g]), s->level[j], lf32_mul(s->dmin, s->min[g]),
                          task->form->group.has_min);
}

/* out = U v of the whole unit. */
QK_FN void times_unit_upper(const superblock_task *task, const lf32 *v, lf32 *out)
{
    lf32 with_later[QK_MAX_GROUP];
    for (int g = 0; g < task->n_groups; g++) {
        const int o = g * task->n, z = o + task->n;
        for (int j = 0; j < task->n; j++) {
            with_later[j] = lf32_neg(v[o + j]);
        }
        subtract_product(task->pass.feedback + o * QK_SUPERBLOCK + z, QK_SUPERBLOCK, task->n, v + z,
                         QK_SUPERBLOCK - z, with_later);
        times_upper(factors_of(&task->pass, g, task->n), task->n, with_later, out + o);
    }
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        out[j] = lf32_neg(out[j]);
    }
}

QK_INLINE lf32 weight_of(const superblock_task *task, int j)
{
    return lf32_set1(factors_of(&task->pass, j / task->n, task->n).weight[j % task->n]);
}

/* The sum of D a b. */
QK_INLINE lf32 weighted_product(const superblock_task *task, const lf32 *a, const lf32 *b)
{
    lf32 sum = lf32_set1(0.0f);
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        sum = lf32_add(sum, lf32_mul(weight_of(task, j), lf32_mul(a[j], b[j])));
    }
    return sum;
}

/* Takes `other` in the lanes where it is better. */
QK_FN void keep_better(const superblock_task *task, const superblock *other, superblock *best)
{
    lmask better = lf32_gt(best->error, other->error);
    best->d = lf32_select(better, other->d, best->d);
    best->dmin = lf32_select(better, other->dmin, best->dmin);
    best->error = lf32_select(better, other->error, best->error);
    for (int g = 0; g < task->n_groups; g++) {
        best->scale[g] = lf32_select(better, other->scale[g], best->scale[g]);
        best->min[g] = lf32_select(better, other->min[g], best->min[g]);
    }
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        best->level[j] = lf32_select(better, other->level[j], best->level[j]);
    }
}

/* ---- passes ---- */

/* The rules of the groups: free where d is 1 and the scales are still to be coded. */
QK_INLINE void set_rules(const superblock_task *task, const superblock *s, int is_free,
                         group_task *group)
{
    const superblock_grid *grid = &task->form->grid;
    if (is_free) {
        const float low = grid->scale_low < 0.0f ? -FLT_MAX : 0.0f;
        group->scale = scale_rule_of(SCALE_FREE, low, FLT_MAX);
        group->min = scale_rule_of(SCALE_FREE, 0.0f, FLT_MAX);
    } else {
        group->scale = scale_grid(s->d, grid->scale_low, grid->scale_high);
        group->min = scale_grid(s->dmin, 0.0f, grid->min_high);
    }
}

/* Fits group g to its targets c, and sets its errors e. */
QK_INLINE lf32 solve_group(const superblock_task *task, group_task *group, fit_start start, int g,
                           superblock *s, lf32 *e)
{
    const int o = g * task->n;
    group_fit fit = {s->scale[g], s->min[g], lf32_set1(0.0f), s->level + o};
    fit_group(group, start, &fit);
    s->scale[g] = fit.scale;
    s->min[g] = fit.min;
    for (int j = o; j < o + task->n; j++) {
        e[j] = lf32_sub(superblock_value(task, s, j), task->x[j]);
    }
    return fit.error;
}

/* A pass: free, or on the grid of s->d and s->dmin, near the scales and minimums in s. */
QK_FN void pass_groups(const superblock_task *task, int is_free, superblock *s)
{
    lf32 e[QK_SUPERBLOCK], c[QK_MAX_GROUP];
    group_task group = {.form = &task->form->group, .c = c};
    set_rules(task, s, is_free, &group);
    s->error = lf32_set1(0.0f);
    for (int g = task->n_groups - 1; g >= 0; g--) {
        const int o = g * task->n, z = o + task->n;
        memcpy(c, task->x + o, (size_t)task->n * sizeof(lf32));
        subtract_product(task->pass.feedback + o * QK_SUPERBLOCK + z, QK_SUPERBLOCK, task->n, e + z,
                         QK_SUPERBLOCK - z, c);
        group.f = factors_of(&task->pass, g, task->n);
        lf32 error = solve_group(task, &group, is_free ? FIT_SEARCH : FIT_NEAR, g, s, e);
        s->error = lf32_add(s->error, error);
    }
}

/* Every group once, given all others. */
QK_FN void descend(const superblock_task *task, superblock *s)
{
    lf32 e[QK_SUPERBLOCK], c[QK_MAX_GROUP];
    group_task group = {.form = &task->form->group, .c = c};
    set_rules(task, s, 0, &group);
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        e[j] = lf32_sub(superblock_value(task, s, j), task->x[j]);
    }
    for (int g = task->n_groups - 1; g >= 0; g--) {
        const int o = g * task->n;
        memcpy(c, task->x + o, (size_t)task->n * sizeof(lf32));
        subtract_product(task->descent.feedback + o * QK_SUPERBLOCK, QK_SUPERBLOCK, task->n, e,
                         QK_SUPERBLOCK, c);
        group.f = factors_of(&task->descent, g, task->n);
        solve_group(task, &group, FIT_LEVELS, g, s, e);
    }
}

/* ---- d and dmin ---- */

/* The superblock's levels times their scale codes, and its minimum codes, through U. */
typedef struct unit_levels {
    lf32 z[QK_SUPERBLOCK], o[QK_SUPERBLOCK];
} unit_levels;

QK_FN void levels_of_unit(const superblock_task *task, const superblock *s, unit_levels *levels)
{
    lf32 v[QK_SUPERBLOCK];
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        v[j] = lf32_mul(s->scale[j / task->n], s->level[j]);
        levels->o[j] = lf32_set1(0.0f);
    }
    times_unit_upper(task, v, levels->z);
    if (task->form->group.has_min) {
        for (int j = 0; j < QK_SUPERBLOCK; j++) {
            v[j] = s->min[j / task->n];
        }
        times_unit_upper(task, v, levels->o);
    }
}

QK_FN lf32 error_of_unit(const superblock_task *task, const unit_levels *levels, lf32 d, lf32 dmin)
{
    lf32 r[QK_SUPERBLOCK];
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        lf32 value = lf32_sub(lf32_mul(d, levels->z[j]), lf32_mul(dmin, levels->o[j]));
        r[j] = lf32_sub(value, task->y[j]);
    }
    return weighted_product(task, r, r);
}

/* Fits d and dmin to the codes and levels, keeps them if that is better, and computes the error
 * of s anew. */
QK_FN void refit_units(const superblock_task *task, superblock *s)
{
    const lf32 none = lf32_set1(0.0f);
    unit_levels u;
    levels_of_unit(task, s, &u);
    lf32 zz = weighted_product(task, u.z, u.z), zy = weighted_product(task, u.z, task->y);
    lf32 d = lf32_select(lf32_gt(zz, none), lf32_div(zy, zz), s->d), dmin = s->dmin;
    if (task->form->group.has_min) {
        lf32 zo = weighted_product(task, u.z, u.o), oo = weighted_product(task, u.o, u.o);
        lf32 oy = weighted_product(task, u.o, task->y), product = lf32_mul(zz, oo);
        lf32 det = lf32_sub(product, lf32_mul(zo, zo));
        lf32 both = lf32_div(lf32_sub(lf32_mul(zy, oo), lf32_mul(zo, oy)), det);
        lf32 with = lf32_div(lf32_sub(lf32_mul(zo, zy), lf32_mul(zz, oy)), det);
        lmask sound = lf32_gt(det, lf32_mul(product, lf32_set1(LEAST_DETERMINANT)));
        sound = lmask_and(sound, lmask_and(lf32_gt(both, none), lf32_gt(with, none)));
        d = lf32_select(sound, both, s->d);
        dmin = lf32_select(sound, with, s->dmin);
    }
    d = lf32_through_f16(d);
    dmin = lf32_through_f16(dmin);
    lf32 before = error_of_unit(task, &u, s->d, s->dmin);
    lf32 after = error_of_unit(task, &u, d, dmin);
    lmask better = lf32_gt(before, after);
    s->d = lf32_select(better, d, s->d);
    s->dmin = lf32_select(better, dmin, s->dmin);
    s->error = lf32_select(better, after, before);
}

/* What free scales and minimums become on the grid of another d: s gets d and dmin, which are
 * `share` times those that give the largest their largest code, and the free numbers. */
QK_INLINE void set_units(const superblock_task *task, const superblock *free, float share,
                         superblock *s)
{
    const superblock_grid *grid = &task->form->grid;
    lf32 magnitude, largest;
    lf32 extreme = lane_extreme(free->scale, task->n_groups, &magnitude);
    (void)lane_extreme(free->min, task->n_groups, &largest);
    s->d = lf32_through_f16(lf32_mul(extreme, lf32_set1(share / grid->extreme)));
    s->dmin = grid->min_high == 0.0f
                  ? lf32_set1(0.0f)
                  : lf32_through_f16(lf32_mul(largest, lf32_set1(share / grid->min_high)));
    memcpy(s->scale, free->scale, sizeof s->scale);
    memcpy(s->min, free->min, sizeof s->min);
}

/* From codes to numbers, for the next pass near them. */
QK_INLINE void codes_to_numbers(const superblock_task *task, superblock *s)
{
    for (int g = 0; g < task->n_groups; g++) {
        s->scale[g] = lf32_mul(s->d, s->scale[g]);
        s->min[g] = lf32_mul(s->dmin, s->min[g]);
    }
}

/* ---- all of it ---- */

#define PASS_ROUNDS 2
#define DESCENT_ROUNDS 3

QK_FN void search_superblock(const superblock_task *task, superblock *best)
{
    const superblock_grid *grid = &task->form->grid;
    superblock trial = {.d = lf32_set1(1.0f), .dmin = lf32_set1(1.0f)};
    pass_groups(task, 1, &trial);
    const superblock free = trial;
    for (int i = 0; i < grid->n_tries; i++) {
        const float share =
            grid->first + (grid->last - grid->first) * (float)i / (float)(grid->n_tries - 1);
        set_units(task, &free, share, &trial);
        pass_groups(task, 0, &trial);
        keep_better(task, &trial, best);
    }
}

QK_FN void improve_superblock(const superblock_task *task, superblock *best)
{
    for (int i = 0; i < PASS_ROUNDS; i++) {
        refit_units(task, best);
        superblock trial = *best;
        codes_to_numbers(task, &trial);
        pass_groups(task, 0, &trial);
        keep_better(task, &trial, best);
    }
    for (int i = 0; i < DESCENT_ROUNDS; i++) {
        descend(task, best);
        refit_units(task, best);
    }
}

QK_INLINE unit_part unit_part_at(const float *data, int n, int n_groups)
{
    const unit_part part = {data, data + (size_t)n_groups * QK_GROUP_FLOATS(n)};
    return part;
}

/* The groups of s in the order of the file. */
QK_INLINE void to_file_order(const superblock_task *task, const uint8_t *group_order,
                             const superblock *s, superblock *out)
{
    out->d = s->d;
    out->dmin = s->dmin;
    for (int g = 0; g < task->n_groups; g++) {
        const int to = group_order[g];
        out->scale[to] = s->scale[g];
        out->min[to] = s->min[g];
        memcpy(out->level + to * task->n, s->level + g * task->n, (size_t)task->n * sizeof(lf32));
    }
}

/* Everything 0, which has the error of the targets themselves. */
QK_INLINE void clear_superblock(const superblock_task *task, superblock *s)
{
    memset(s, 0, sizeof *s);
    s->error = weighted_product(task, task->y, task->y);
}

QK_FN void solve_superblock(const unit_form *form, const float *data, const uint8_t *group_order,
                            const lf32 *x, lf32 *value, lf32 *error, li32 *words)
{
    const int n = form->group.n, n_groups = QK_SUPERBLOCK / n;
    superblock best, filed;
    superblock_task task = {
        .form = form,
        .n = n,
        .n_groups = n_groups,
        .pass = unit_part_at(data, n, n_groups),
        .descent = unit_part_at(data + QK_HALF_FLOATS(QK_SUPERBLOCK, n), n, n_groups),
        .x = x,
    };
    times_unit_upper(&task, x, task.y);
    clear_superblock(&task, &best);
    search_superblock(&task, &best);
    improve_superblock(&task, &best);
    for (int j = 0; j < QK_SUPERBLOCK; j++) {
        value[j] = superblock_value(&task, &best, j);
    }
    *error = best.error;
    to_file_order(&task, group_order, &best, &filed);
    form->pack_superblock(&filed, words);
}

#endif
