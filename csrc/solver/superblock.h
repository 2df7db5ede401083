/* SPDX-License-Identifier: MIT */
/* A unit of columns in a lane: its groups one after the other, each with the errors of those done
 * before it; and for superblocks the units d and dmin of which scales and minimums are multiples.
 *
 * A superblock is solved several times: without d, which shows how large the scales want to be;
 * for a few d near that; for the d and dmin of least squares.  Then its groups are gone over again,
 * each given all others.  What is not better is not kept. */
#ifndef QK_SOLVER_SUPERBLOCK_H
#define QK_SOLVER_SUPERBLOCK_H

/* How a format's units are solved. */
typedef struct unit_rule {
    group_rule group;
    size_t unit;
    int n_units; /* values of d that are tried; 0: groups have scales of their own */
    float first_unit, last_unit; /* relative to the d for which the extreme scale just fits */
    int n_refits, n_descents;
    int offset; /* of codes */
} unit_rule;

/* What is stored of a unit, its groups in the order of the file. */
typedef struct unit_codes {
    lf32 d, dmin, scale[MAX_GROUPS], min[MAX_GROUPS];
    li32 code[QK_SUPERBLOCK];
} unit_codes;

/* A solution, its groups in the order of solving. */
typedef struct unit_fit {
    lf32 error, d, dmin, scale[MAX_GROUPS], min[MAX_GROUPS], level[QK_SUPERBLOCK];
} unit_fit;

typedef struct unit_work {
    group_work group;
    group_fit fit;
    unit_fit now;
    near_fit near[MAX_GROUPS]; /* of a pass without d */
    lf32 error[QK_SUPERBLOCK], target[MAX_SOLVED_GROUP], other[QK_SUPERBLOCK];
} unit_work;

/* The unit that is solved, and what is known of H. */
typedef struct unit_problem {
    const unit_rule *rule;
    unit_shape shape;
    const float *numbers; /* of plan.h */
    const lf32 *x;        /* [unit] */
} unit_problem;

/* value[i] = what the weights of a fit are, less x */
QK_FN void unit_errors(const unit_problem *problem, const unit_fit *fit, lf32 *error)
{
    const size_t group = problem->shape.group;
    for (size_t i = 0; i < problem->shape.unit; i++) {
        const size_t g = i / group;
        lf32 scale = lf32_mul(fit->d, fit->scale[g]), min = lf32_mul(fit->dmin, fit->min[g]);
        error[i] = lf32_sub(group_value(scale, min, fit->level[i]), problem->x[i]);
    }
}

/* Takes the solution of group g, work->fit, into that of the unit and its errors. */
QK_FN void put_group(const unit_problem *problem, size_t g, units unit, unit_work *work,
                     unit_fit *fit)
{
    const size_t group = problem->shape.group;
    const group_fit *from = &work->fit;
    const lf32 scale = lf32_mul(unit.scale, from->scale), min = lf32_mul(unit.min, from->min);
    fit->scale[g] = from->scale;
    fit->min[g] = from->min;
    for (size_t j = 0; j < group; j++) {
        const size_t i = g * group + j;
        fit->level[i] = from->level[j];
        work->error[i] = lf32_sub(group_value(scale, min, from->level[j]), problem->x[i]);
    }
}

/* target = x - square (rows of group g) times the errors from column `first` on */
QK_FN void group_target(const unit_problem *problem, size_t g, const float *square,
                        const lf32 *error, size_t first, lf32 *target)
{
    const size_t unit = problem->shape.unit, group = problem->shape.group;
    for (size_t j = 0; j < group; j += 4) {
        const float *row = square + (g * group + j) * unit;
        lf32 sum[4];
        for (size_t i = 0; i < 4; i++) {
            sum[i] = problem->x[g * group + j + i];
        }
        for (size_t k = first; k < unit; k++) {
            for (size_t i = 0; i < 4; i++) {
                sum[i] = lf32_sub(sum[i], lf32_mul(lf32_set1(row[i * unit + k]), error[k]));
            }
        }
        memcpy(target + j, sum, sizeof sum);
    }
}

/* Solves the groups from the last to the first with these units; near: where to look, or NULL. */
QK_FN void unit_pass(const unit_problem *problem, units unit, const near_fit *near, unit_work *work,
                     unit_fit *fit)
{
    const unit_shape shape = problem->shape;
    const size_t group = shape.group;
    const float *inner = problem->numbers + unit_square(shape, UNIT_INNER);
    fit->error = lf32_set1(0.0f);
    fit->d = unit.scale;
    fit->dmin = unit.min;
    for (size_t g = shape.unit / group; g-- > 0;) {
        const group_form form = narrow_form(problem->numbers, shape, g);
        const lf32 *target = problem->x;
        if (shape.unit > group) {
            group_target(problem, g, inner, work->error, (g + 1) * group, work->target);
            target = work->target;
        }
        solve_group(&problem->rule->group, &form, target, unit, near ? near + g : NULL,
                    &work->group, &work->fit);
        fit->error = lf32_add(fit->error, work->fit.error);
        put_group(problem, g, unit, work, fit);
    }
}

QK_FN void keep_better_unit(const unit_fit *from, unit_shape shape, unit_fit *best)
{
    const lmask better = lf32_gt(best->error, from->error);
    if (!lmask_any(better)) {
        return;
    }
    best->error = lf32_select(better, from->error, best->error);
    best->d = lf32_select(better, from->d, best->d);
    best->dmin = lf32_select(better, from->dmin, best->dmin);
    for (size_t g = 0; g < shape.unit / shape.group; g++) {
        best->scale[g] = lf32_select(better, from->scale[g], best->scale[g]);
        best->min[g] = lf32_select(better, from->min[g], best->min[g]);
    }
    for (size_t i = 0; i < shape.unit; i++) {
        best->level[i] = lf32_select(better, from->level[i], best->level[i]);
    }
}

/* Row j of the whole form times v. */
QK_INLINE lf32 whole_row(const unit_problem *problem, size_t j, const lf32 *v)
{
    const size_t unit = problem->shape.unit;
    const float *row = problem->numbers + unit_square(problem->shape, UNIT_WHOLE) + j * unit;
    lf32 part[4];
    for (size_t i = 0; i < 4; i++) {
        part[i] = lf32_set1(0.0f);
    }
    for (size_t k = 0; k < unit; k += 4) {
        for (size_t i = 0; i < 4; i++) {
            part[i] = lf32_add(part[i], lf32_mul(lf32_set1(row[k + i]), v[k + i]));
        }
    }
    return lf32_add(lf32_add(part[0], part[1]), lf32_add(part[2], part[3]));
}

/* The error of a fit under the whole form, from work->error. */
QK_FN void measure_unit(const unit_problem *problem, unit_work *work, unit_fit *fit)
{
    unit_errors(problem, fit, work->error);
    fit->error = lf32_set1(0.0f);
    for (size_t j = 0; j < problem->shape.unit; j++) {
        lf32 sum = whole_row(problem, j, work->error);
        fit->error = lf32_add(fit->error, lf32_mul(sum, work->error[j]));
    }
}

/* The d and dmin of least squares for all codes of a fit, in half precision. */
QK_FN void refit_units(const unit_problem *problem, unit_work *work, unit_fit *fit)
{
    const size_t unit = problem->shape.unit, group = problem->shape.group;
    const lf32 zero = lf32_set1(0.0f);
    lf32 uu = zero, uv = zero, vv = zero, ux = zero, vx = zero;
    lf32 *u = work->error, *v = work->other; /* weight = d * u - dmin * v */
    for (size_t i = 0; i < unit; i++) {
        u[i] = lf32_mul(fit->scale[i / group], fit->level[i]);
        v[i] = fit->min[i / group];
    }
    for (size_t j = 0; j < unit; j++) {
        lf32 row = whole_row(problem, j, u);
        uu = lf32_add(uu, lf32_mul(row, u[j]));
        ux = lf32_add(ux, lf32_mul(row, problem->x[j]));
        if (problem->rule->group.has_min) {
            uv = lf32_add(uv, lf32_mul(row, v[j]));
            row = whole_row(problem, j, v);
            vv = lf32_add(vv, lf32_mul(row, v[j]));
            vx = lf32_add(vx, lf32_mul(row, problem->x[j]));
        }
    }
    if (!problem->rule->group.has_min) {
        lf32 d = lf32_select(lf32_gt(uu, zero), lf32_div(ux, uu), fit->d);
        fit->d = on_grid(GRID_HALF, 0, 0, d);
        return;
    }
    const lf32 det = lf32_sub(lf32_mul(uu, vv), lf32_mul(uv, uv));
    lf32 d = lf32_div(lf32_sub(lf32_mul(ux, vv), lf32_mul(uv, vx)), det);
    lf32 dmin = lf32_div(lf32_sub(lf32_mul(ux, uv), lf32_mul(uu, vx)), det);
    lmask good = lf32_gt(det, lf32_mul(lf32_set1(1e-6f), lf32_mul(uu, vv)));
    good = lmask_and(good, lmask_and(lf32_gt(d, zero), lf32_gt(dmin, zero)));
    fit->d = lf32_select(good, on_grid(GRID_HALF, 0, 0, d), fit->d);
    fit->dmin = lf32_select(good, on_grid(GRID_HALF, 0, 0, dmin), fit->dmin);
}

/* Goes over the groups again, each given all others. */
QK_FN void descend_unit(const unit_problem *problem, unit_work *work, unit_fit *fit)
{
    const unit_shape shape = problem->shape;
    const size_t group = shape.group;
    const float *outer = problem->numbers + unit_square(shape, UNIT_OUTER);
    const units unit = {fit->d, fit->dmin, 1};
    group_fit *own = &work->fit;
    unit_errors(problem, fit, work->error);
    for (size_t g = shape.unit / group; g-- > 0;) {
        const group_form form = wide_form(problem->numbers, shape, g);
        group_target(problem, g, outer, work->error, 0, work->target);
        own->scale = fit->scale[g];
        own->min = fit->min[g];
        memcpy(own->level, fit->level + g * group, group * sizeof(lf32));
        own->error = fit_error(&form, (int)group, work->target, lf32_mul(fit->d, own->scale),
                               lf32_mul(fit->dmin, own->min), own->level, work->group.error[0]);
        refine_group(&problem->rule->group, &form, work->target, unit, &work->group, own);
        put_group(problem, g, unit, work, fit);
    }
}

/* The units for which the extreme scale and the largest minimum have their last codes. */
QK_FN units largest_units(const unit_rule *rule, const unit_fit *fit, int n_groups)
{
    const group_rule *group = &rule->group;
    units found = {lf32_set1(0.0f), lf32_set1(0.0f), 1};
    lf32 magnitude, scale = lane_extreme(fit->scale, n_groups, &magnitude);
    if (group->scale_low < 0) {
        found.scale = lf32_mul(scale, lf32_set1(1.0f / group->scale_low));
    } else {
        found.scale = lf32_mul(magnitude, lf32_set1(1.0f / group->scale_high));
    }
    if (group->has_min) {
        lf32 largest = lane_largest(fit->min, n_groups);
        found.min = lf32_mul(largest, lf32_set1(1.0f / group->min_high));
    }
    return found;
}

QK_FN void solve_superblock(const unit_problem *problem, unit_work *work, unit_fit *best)
{
    const unit_rule *rule = problem->rule;
    const unit_shape shape = problem->shape;
    unit_fit *now = &work->now;
    const units one = {lf32_set1(1.0f), lf32_set1(1.0f), 0};
    unit_pass(problem, one, NULL, work, now);
    for (size_t g = 0; g < shape.unit / shape.group; g++) {
        const near_fit found = {now->scale[g], now->min[g]};
        work->near[g] = found;
    }
    const units largest = largest_units(rule, now, (int)(shape.unit / shape.group));
    for (int t = 0; t < rule->n_units; t++) {
        const float share = rule->n_units > 1 ? (float)t / (float)(rule->n_units - 1) : 0.0f;
        const lf32 by = lf32_set1(rule->first_unit + (rule->last_unit - rule->first_unit) * share);
        const units unit = {on_grid(GRID_HALF, 0, 0, lf32_mul(largest.scale, by)),
                            on_grid(GRID_HALF, 0, 0, lf32_mul(largest.min, by)), 1};
        unit_pass(problem, unit, work->near, work, t ? now : best);
        if (t) {
            keep_better_unit(now, shape, best);
        }
    }
    for (int round = 0; round < rule->n_refits; round++) {
        *now = *best;
        refit_units(problem, work, now);
        measure_unit(problem, work, now);
        const units unit = {now->d, now->dmin, 1};
        keep_better_unit(now, shape, best);
        unit_pass(problem, unit, NULL, work, now);
        keep_better_unit(now, shape, best);
    }
    for (int round = 0; round < rule->n_descents; round++) {
        *now = *best;
        descend_unit(problem, work, now);
        measure_unit(problem, work, now);
        keep_better_unit(now, shape, best);
        *now = *best;
        refit_units(problem, work, now);
        measure_unit(problem, work, now);
        keep_better_unit(now, shape, best);
    }
}

/* Solves a unit; its errors come to `error` [unit]. */
QK_FN void solve_unit(const unit_problem *problem, unit_work *work, unit_fit *best, lf32 *error)
{
    if (problem->rule->n_units) {
        solve_superblock(problem, work, best);
    } else {
        const units own = {lf32_set1(1.0f), lf32_set1(1.0f), 1};
        unit_pass(problem, own, NULL, work, best);
    }
    unit_errors(problem, best, error);
}

#endif
