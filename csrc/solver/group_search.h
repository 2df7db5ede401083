/* SPDX-License-Identifier: MIT */
/* The search for the scale (and minimum) of a group: scales are tried near the obvious one, or near
 * one that is known; the best is refined by least squares in turn with the codes. */
#ifndef QK_GROUP_SEARCH_H
#define QK_GROUP_SEARCH_H

/* ---- where the search begins ---- */

/* Scales for which the extreme weight has level reach * factor, of both signs if allowed. */
QK_FN void search_scale(const group_rule *rule, const group_form *form, const lf32 *target,
                        units unit, group_work *work, group_fit *best)
{
    lf32 scale[GROUP_ABREAST], min[GROUP_ABREAST], magnitude;
    lf32 extreme = lane_extreme(target, rule->n, &magnitude);
    const int n = rule->both_signs ? 2 * rule->n_tries : rule->n_tries;
    if (!rule->both_signs) {
        extreme = magnitude;
    }
    for (int first = 0; first < n; first += GROUP_ABREAST) {
        for (int a = 0; a < GROUP_ABREAST; a++) {
            const int t = (first + a) % rule->n_tries;
            const float share = (float)t / (float)(rule->n_tries - 1);
            const float factor = rule->first + (rule->last - rule->first) * share;
            const float sign = first + a < rule->n_tries && rule->both_signs ? -1.0f : 1.0f;
            lf32 s = lf32_mul(extreme, lf32_set1(sign / (rule->reach * factor)));
            scale[a] = grid_scale(rule, unit, s);
            min[a] = lf32_set1(0.0f);
        }
        try_group(rule, form, target, unit, scale, min, work, best);
    }
}

/* Ranges of which a share is cut off at either end. */
QK_FN void search_range(const group_rule *rule, const group_form *form, const lf32 *target,
                        units unit, group_work *work, group_fit *best)
{
    lf32 scale[GROUP_ABREAST], min[GROUP_ABREAST], low, high;
    const lf32 zero = lf32_set1(0.0f);
    const int n = rule->n_tries * rule->n_tries;
    lane_range(target, rule->n, &low, &high);
    if (rule->min_low >= 0) {
        low = lf32_lesser(low, zero);
        high = lf32_greater(high, zero);
    }
    const lf32 range = lf32_sub(high, low);
    for (int first = 0; first < n; first += GROUP_ABREAST) {
        for (int a = 0; a < GROUP_ABREAST; a++) {
            const int t = first + a < n ? first + a : n - 1;
            const float step = (rule->last - rule->first) / (float)(rule->n_tries - 1);
            const float below = rule->first + step * (float)(t / rule->n_tries);
            const float above = rule->first + step * (float)(t % rule->n_tries);
            lf32 from = lf32_add(low, lf32_mul(range, lf32_set1(below)));
            lf32 to = lf32_sub(high, lf32_mul(range, lf32_set1(above)));
            if (rule->min_low >= 0) {
                from = lf32_lesser(from, zero);
            }
            lf32 s = lf32_greater(lf32_sub(to, from), zero);
            s = lf32_mul(s, lf32_set1(1.0f / rule->level.high));
            scale[a] = grid_scale(rule, unit, s);
            min[a] = grid_min(rule, unit, lf32_neg(from));
        }
        try_group(rule, form, target, unit, scale, min, work, best);
    }
}

/* A scale and a minimum that are nearly right, as numbers. */
typedef struct near_fit {
    lf32 scale, min;
} near_fit;

/* The four steps of the scale next to it, with up to three of the minimum. */
QK_FN void search_near(const group_rule *rule, const group_form *form, const lf32 *target,
                       units unit, near_fit near, group_work *work, group_fit *best)
{
    const lf32 step = lf32_mul(unit.scale, lf32_set1(rule->grid == GRID_ODD ? 2.0f : 1.0f));
    for (int k = -rule->has_min; k <= rule->has_min; k++) {
        lf32 scale[GROUP_ABREAST], min[GROUP_ABREAST];
        lf32 m = lf32_add(near.min, lf32_mul(unit.min, lf32_set1((float)k)));
        for (int a = 0; a < GROUP_ABREAST; a++) {
            lf32 s = lf32_mul(step, lf32_set1((float)a - 0.5f * (GROUP_ABREAST - 1)));
            scale[a] = grid_scale(rule, unit, lf32_add(near.scale, s));
            min[a] = grid_min(rule, unit, m);
        }
        try_group(rule, form, target, unit, scale, min, work, best);
    }
}

/* ---- refining ---- */

/* The scale and the minimum of least error for the codes, on their grids. */
QK_FN void refit_group(const group_rule *rule, const group_form *form, const lf32 *target,
                       units unit, const group_fit *fit, lf32 *scale, lf32 *min)
{
    const int n = rule->n;
    const lf32 zero = lf32_set1(0.0f);
    lf32 ll = zero, lt = zero, l1 = zero, t1 = zero;
    lf32 sum[MAX_SOLVED_GROUP];
    float total = 0.0f;
    form_times(form, n, fit->level, sum);
    for (int j = 0; j < n; j++) {
        const lf32 row = lf32_set1(form->row_sum[j]);
        ll = lf32_add(ll, lf32_mul(sum[j], fit->level[j]));
        lt = lf32_add(lt, lf32_mul(sum[j], target[j]));
        l1 = lf32_add(l1, lf32_mul(row, fit->level[j]));
        t1 = lf32_add(t1, lf32_mul(row, target[j]));
        total += form->row_sum[j];
    }
    const lf32 all = lf32_set1(total);
    const lf32 now = lf32_mul(unit.scale, fit->scale);
    lf32 s = lf32_select(lf32_gt(ll, zero), lf32_div(lt, ll), now);
    *min = fit->min;
    if (!rule->has_min) {
        *scale = grid_scale(rule, unit, s);
        return;
    }
    /* Least squares of scale * level - min, given that the scale is rounded before the minimum. */
    const lf32 det = lf32_sub(lf32_mul(ll, all), lf32_mul(l1, l1));
    const lmask regular = lf32_gt(det, lf32_mul(lf32_set1(1e-6f), lf32_mul(ll, all)));
    lf32 both = lf32_div(lf32_sub(lf32_mul(lt, all), lf32_mul(l1, t1)), det);
    lf32 m = lf32_div(lf32_sub(lf32_mul(both, l1), t1), all);
    if (rule->min_low >= 0) {
        both = lf32_select(lf32_gt(zero, m), s, both);
    }
    both = lf32_greater(lf32_select(regular, both, now), zero);
    *scale = grid_scale(rule, unit, both);
    m = lf32_div(lf32_sub(lf32_mul(lf32_mul(unit.scale, *scale), l1), t1), all);
    lf32 found = grid_min(rule, unit, m);
    *min = lf32_select(regular, found, fit->min);
}

/* Code by code, given all others, the level of least error; the fit's error must be right. */
QK_FN void descend_group(const group_rule *rule, const group_form *form, const lf32 *target,
                         units unit, group_work *work, group_fit *fit)
{
    const int n = rule->n;
    const lf32 scale = lf32_mul(unit.scale, fit->scale), min = lf32_mul(unit.min, fit->min);
    const lf32 inverse = lf32_reciprocal_or_0(scale);
    lf32 *slope = work->slope, *level = work->next, *e = work->error[0];
    for (int j = 0; j < n; j++) {
        level[j] = fit->level[j];
        e[j] = lf32_sub(group_value(scale, min, level[j]), target[j]);
    }
    form_times(form, n, e, slope);
    for (int j = 0; j < n; j++) {
        const float weight = form->form[j * n + j];
        lf32 step = lf32_mul(slope[j], lf32_set1(weight > 0 ? 1.0f / weight : 0.0f));
        lf32 wanted = lf32_mul(lf32_sub(lf32_mul(scale, level[j]), step), inverse);
        lf32 next = nearest_level(rule->level, wanted);
        lf32 moved = lf32_mul(scale, lf32_sub(next, level[j]));
        if (!lmask_any(lmask_not(lf32_eq(moved, lf32_set1(0.0f))))) {
            continue;
        }
        level[j] = next;
        for (int k = 0; k < n; k++) {
            slope[k] = lf32_add(slope[k], lf32_mul(lf32_set1(form->form[j * n + k]), moved));
        }
    }
    const lf32 error = fit_error(form, n, target, scale, min, level, e);
    const lmask better = lf32_gt(fit->error, error);
    fit->error = lf32_select(better, error, fit->error);
    for (int j = 0; j < n; j++) {
        fit->level[j] = lf32_select(better, level[j], fit->level[j]);
    }
}

/* Scales (and minimums) one step to either side, on a grid of whole numbers. */
QK_FN void try_neighbours(const group_rule *rule, const group_form *form, const lf32 *target,
                          units unit, group_work *work, group_fit *fit)
{
    static const int step[2][8][2] = {
        {{-1, 0}, {1, 0}, {-2, 0}, {2, 0}},
        {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1}, {1, -1}, {1, 0}, {1, 1}}};
    const lf32 scale = fit->scale, min = fit->min;
    const int n = rule->has_min ? 8 : 4;
    for (int first = 0; first < n; first += GROUP_ABREAST) {
        lf32 s[GROUP_ABREAST], m[GROUP_ABREAST];
        for (int a = 0; a < GROUP_ABREAST; a++) {
            const int *by = step[rule->has_min][first + a];
            const float step_size = rule->grid == GRID_ODD ? 2.0f : 1.0f;
            s[a] = on_grid(rule->grid, rule->scale_low, rule->scale_high,
                           lf32_add(scale, lf32_set1(step_size * (float)by[0])));
            m[a] = on_grid(rule->min_grid, rule->min_low, rule->min_high,
                           lf32_add(min, lf32_set1((float)by[1])));
        }
        try_group(rule, form, target, unit, s, m, work, fit);
    }
}

/* Refines a fit; what is not better is not kept. */
QK_FN void refine_group(const group_rule *rule, const group_form *form, const lf32 *target,
                        units unit, group_work *work, group_fit *fit)
{
    for (int round = 0; round < rule->n_refits; round++) {
        lf32 scale, min, s[GROUP_ABREAST], m[GROUP_ABREAST];
        refit_group(rule, form, target, unit, fit, &scale, &min);
        const lf32 error = fit_error(form, rule->n, target, lf32_mul(unit.scale, scale),
                                     lf32_mul(unit.min, min), fit->level, work->error[0]);
        const lmask better = lf32_gt(fit->error, error);
        fit->error = lf32_select(better, error, fit->error);
        fit->scale = lf32_select(better, scale, fit->scale);
        fit->min = lf32_select(better, min, fit->min);
        if (round % 2 && !rule->book) {
            descend_group(rule, form, target, unit, work, fit);
            continue;
        }
        if (unit.known && (rule->grid == GRID_WHOLE || rule->grid == GRID_ODD)) {
            try_neighbours(rule, form, target, unit, work, fit);
            continue;
        }
        for (int a = 0; a < GROUP_ABREAST; a++) {
            const float by = 1.0f + 0.02f * (float)(a - 1); /* 0.98, 1, 1.02, 1.04 */
            s[a] = grid_scale(rule, unit, lf32_mul(lf32_mul(unit.scale, scale), lf32_set1(by)));
            m[a] = min;
        }
        try_group(rule, form, target, unit, s, m, work, fit);
    }
}

/* All levels 0, or the least that a codebook has: what any group can be, and what stays where no
 * error is a number. */
QK_FN void empty_group(const group_rule *rule, const group_form *form, const lf32 *target,
                       units unit, group_work *work, group_fit *fit)
{
    const lf32 zero = lf32_set1(0.0f);
    const lf32 level = rule->book ? book_first_level(rule->book) : nearest_level(rule->level, zero);
    for (int j = 0; j < rule->n; j++) {
        fit->level[j] = level;
    }
    fit->scale = rule->book ? grid_scale(rule, unit, zero) : zero;
    fit->min = zero;
    fit->error = fit_error(form, rule->n, target, lf32_mul(unit.scale, fit->scale), zero,
                           fit->level, work->error[0]);
    lmask is_number = lf32_gt(lf32_set1(FLT_MAX), fit->error);
    fit->error = lf32_select(is_number, fit->error, lf32_set1(FLT_MAX));
}

/* The best fit of a target; near: where to look, or NULL. */
QK_FN void solve_group(const group_rule *rule, const group_form *form, const lf32 *target,
                       units unit, const near_fit *near, group_work *work, group_fit *fit)
{
    empty_group(rule, form, target, unit, work, fit);
    if (near) {
        search_near(rule, form, target, unit, *near, work, fit);
    } else if (rule->has_min) {
        search_range(rule, form, target, unit, work, fit);
    } else {
        search_scale(rule, form, target, unit, work, fit);
    }
    refine_group(rule, form, target, unit, work, fit);
}

#endif
