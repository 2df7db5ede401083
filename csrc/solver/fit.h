/* SPDX-License-Identifier: MIT */
/* The scale, minimum and levels of one group.
 *
 * Candidates are scored by full rounding; then least squares and rounding in turn.  What was
 * found best so far is replaced only by what is better, so a result that is not finite never is
 * taken: comparisons with NaN are false. */
#ifndef QK_FIT_H
#define QK_FIT_H

typedef struct group_fit {
    lf32 scale, min; /* codes of their rules */
    lf32 error;
    lf32 *level;
} group_fit;

/* A group to fit: its form and factors, the rules of its scale and minimum, the targets c, and
 * Uc. */
typedef struct group_task {
    const group_form *form;
    group_factors f;
    scale_rule scale, min;
    const lf32 *c;
    lf32 uc[QK_MAX_GROUP];
} group_task;

QK_INLINE lf32 sum_of_squares(const group_task *task, const lf32 *r)
{
    lf32 sum = lf32_set1(0.0f);
    for (int j = 0; j < task->form->n; j++) {
        sum = lf32_add(sum, lf32_mul(lf32_set1(task->f.weight[j]), lf32_mul(r[j], r[j])));
    }
    return sum;
}

/* All levels 0: what a group has before anything better is found. */
QK_FN void fit_nothing(const group_task *task, group_fit *fit)
{
    fit->scale = fit->min = lf32_set1(0.0f);
    for (int j = 0; j < task->form->n; j++) {
        fit->level[j] = fit->scale;
    }
    fit->error = sum_of_squares(task, task->uc);
}

/* ---- trying scales ---- */

/* Candidates wait here until there are TRIES of them. */
typedef struct candidates {
    int n;
    lf32 scale[TRIES], min[TRIES];
} candidates;

QK_FN void try_candidates(const group_task *task, candidates *waiting, group_fit *fit)
{
    lf32 scale[TRIES], min[TRIES], error[TRIES];
    if (!waiting->n) {
        return;
    }
    for (int t = 0; t < TRIES; t++) {
        const int i = t < waiting->n ? t : waiting->n - 1;
        scale[t] = scale_value(&task->scale, waiting->scale[i]);
        min[t] = scale_value(&task->min, waiting->min[i]);
    }
    task->form->try_scales(task->form, task->f, task->c, scale, min, error);
    for (int t = 0; t < waiting->n; t++) {
        lmask better = lf32_gt(fit->error, error[t]);
        fit->error = lf32_select(better, error[t], fit->error);
        fit->scale = lf32_select(better, waiting->scale[t], fit->scale);
        fit->min = lf32_select(better, waiting->min[t], fit->min);
    }
    waiting->n = 0;
}

QK_INLINE void add_candidate(const group_task *task, candidates *waiting, group_fit *fit,
                             lf32 scale, lf32 min)
{
    waiting->scale[waiting->n] = scale_code(&task->scale, scale);
    waiting->min[waiting->n] = scale_code(&task->min, min);
    if (++waiting->n == TRIES) {
        try_candidates(task, waiting, fit);
    }
}

/* The levels of the scale that was found, in the lanes where the error fell. */
QK_FN void take_levels(const group_task *task, lf32 before, group_fit *fit)
{
    lf32 level[QK_MAX_GROUP];
    lmask changed = lf32_gt(before, fit->error);
    if (!lmask_any(changed)) {
        return;
    }
    task->form->round_levels(task->form, task->f, task->c, scale_value(&task->scale, fit->scale),
                             scale_value(&task->min, fit->min), level);
    for (int j = 0; j < task->form->n; j++) {
        fit->level[j] = lf32_select(changed, level[j], fit->level[j]);
    }
}

QK_INLINE float candidate_share(const group_form *form, int i)
{
    return form->first + (form->last - form->first) * (float)i / (float)(form->n_scales - 1);
}

QK_INLINE void search_line(const group_task *task, candidates *waiting, group_fit *fit)
{
    const group_form *form = task->form;
    lf32 magnitude;
    lf32 extreme = lane_extreme(task->c, form->n, &magnitude);
    lf32 most = form->n_signs == 2 ? extreme : magnitude;
    for (int sign = 0; sign < form->n_signs; sign++, most = lf32_neg(most)) {
        for (int i = 0; i < form->n_scales; i++) {
            lf32 unit = lf32_set1(1.0f / (form->reach * candidate_share(form, i)));
            add_candidate(task, waiting, fit, lf32_mul(most, unit), lf32_set1(0.0f));
        }
    }
}

QK_INLINE void search_ranges(const group_task *task, candidates *waiting, group_fit *fit)
{
    const group_form *form = task->form;
    const lf32 unit = lf32_set1(1.0f / form->high), none = lf32_set1(0.0f);
    lf32 low, high;
    lane_range(task->c, form->n, &low, &high);
    if (task->min.low == 0.0f) { /* a minimum is not above 0 */
        low = lf32_lesser(low, none);
    }
    lf32 range = lf32_sub(high, low);
    for (int i = 0; i < form->n_scales; i++) {
        lf32 from = lf32_add(low, lf32_mul(range, lf32_set1(candidate_share(form, i))));
        if (task->min.low == 0.0f) {
            from = lf32_lesser(from, none);
        }
        for (int k = 0; k < form->n_scales; k++) {
            lf32 to = lf32_sub(high, lf32_mul(range, lf32_set1(candidate_share(form, k))));
            lf32 scale = lf32_greater(lf32_mul(lf32_sub(to, from), unit), none);
            add_candidate(task, waiting, fit, scale, lf32_neg(from));
        }
    }
}

QK_FN void search_scales(const group_task *task, group_fit *fit)
{
    const lf32 before = fit->error;
    candidates waiting = {0};
    if (task->form->has_min) {
        search_ranges(task, &waiting, fit);
    } else {
        search_line(task, &waiting, fit);
    }
    try_candidates(task, &waiting, fit);
    take_levels(task, before, fit);
}

/* The codes of the scale nearest to a number, four of them, and of the minimum, three. */
QK_FN void search_near(const group_task *task, lf32 scale, lf32 min, group_fit *fit)
{
    const lf32 before = fit->error;
    candidates waiting = {0};
    for (int k = task->form->has_min ? -1 : 0; k <= (task->form->has_min ? 1 : 0); k++) {
        lf32 near_min = lf32_add(min, lf32_mul(task->min.unit, lf32_set1((float)k)));
        for (int i = 0; i < 4; i++) {
            lf32 step = lf32_mul(task->scale.unit, lf32_set1((float)i - 1.5f));
            add_candidate(task, &waiting, fit, lf32_add(scale, step), near_min);
        }
    }
    try_candidates(task, &waiting, fit);
    take_levels(task, before, fit);
}

/* ---- least squares ---- */

/* With z = U level and o = U 1: sums of D z^2, D z o, D z uc, D o uc, and of D o^2, which is the
 * same in all lanes. */
typedef struct fit_sums {
    lf32 zz, zo, zy, oy;
    float oo;
} fit_sums;

QK_INLINE fit_sums sums_of_levels(const group_task *task, const lf32 *z)
{
    const lf32 none = lf32_set1(0.0f);
    fit_sums s = {none, none, none, none, 0.0f};
    for (int j = 0; j < task->form->n; j++) {
        const float o = task->f.row_sum[j];
        const lf32 d = lf32_set1(task->f.weight[j]), dz = lf32_mul(d, z[j]);
        s.zz = lf32_add(s.zz, lf32_mul(dz, z[j]));
        s.zy = lf32_add(s.zy, lf32_mul(dz, task->uc[j]));
        s.zo = lf32_add(s.zo, lf32_mul(dz, lf32_set1(o)));
        s.oy = lf32_add(s.oy, lf32_mul(lf32_set1(task->f.weight[j] * o), task->uc[j]));
        s.oo += task->f.weight[j] * o * o;
    }
    return s;
}

/* A determinant of less than this share of its first product is rounding error. */
#define LEAST_DETERMINANT 1e-6f

/* The scale and minimum that fit the levels best; where that is not determined, those of fit. */
QK_INLINE void least_squares(const group_task *task, const fit_sums *s, const group_fit *fit,
                             lf32 *scale, lf32 *min)
{
    const lf32 none = lf32_set1(0.0f), oo = lf32_set1(s->oo);
    *scale = lf32_select(lf32_gt(s->zz, none), lf32_div(s->zy, s->zz),
                         scale_value(&task->scale, fit->scale));
    *min = none;
    if (!task->form->has_min) {
        return;
    }
    /* scale zz - min zo = zy and scale zo - min oo = oy */
    lf32 product = lf32_mul(s->zz, oo);
    lf32 det = lf32_sub(product, lf32_mul(s->zo, s->zo));
    lmask sound = lf32_gt(det, lf32_mul(product, lf32_set1(LEAST_DETERMINANT)));
    lf32 both = lf32_div(lf32_sub(lf32_mul(s->zy, oo), lf32_mul(s->zo, s->oy)), det);
    lf32 with = lf32_div(lf32_sub(lf32_mul(s->zo, s->zy), lf32_mul(s->zz, s->oy)), det);
    sound = lmask_and(sound, lmask_not(lf32_gt(lf32_set1(task->min.low), with)));
    *scale = scale_value(&task->scale, scale_code(&task->scale, lf32_select(sound, both, *scale)));
    /* The best minimum for the scale as it is stored. */
    *min = lf32_div(lf32_sub(lf32_mul(*scale, s->zo), s->oy), oo);
}

/* The error of levels with Uz = z on a scale and minimum; z becomes the residuals. */
QK_INLINE lf32 error_on(const group_task *task, lf32 scale, lf32 min, lf32 *z)
{
    for (int j = 0; j < task->form->n; j++) {
        lf32 r = lf32_sub(lf32_mul(scale, z[j]), task->uc[j]);
        z[j] = lf32_sub(r, lf32_mul(min, lf32_set1(task->f.row_sum[j])));
    }
    return sum_of_squares(task, z);
}

QK_FN void error_of_levels(const group_task *task, group_fit *fit)
{
    lf32 z[QK_MAX_GROUP];
    times_upper(task->f, task->form->n, fit->level, z);
    fit->error =
        error_on(task, scale_value(&task->scale, fit->scale), scale_value(&task->min, fit->min), z);
}

/* Keeps the levels, on the scale and minimum that fit them best, where that is better. */
QK_INLINE void refit_levels(const group_task *task, group_fit *fit, lf32 *scale, lf32 *min)
{
    lf32 z[QK_MAX_GROUP];
    times_upper(task->f, task->form->n, fit->level, z);
    fit_sums sums = sums_of_levels(task, z);
    least_squares(task, &sums, fit, scale, min);
    lf32 scale_to = scale_code(&task->scale, *scale), min_to = scale_code(&task->min, *min);
    *scale = scale_value(&task->scale, scale_to);
    *min = scale_value(&task->min, min_to);
    lf32 error = error_on(task, *scale, *min, z);
    lmask better = lf32_gt(fit->error, error);
    fit->error = lf32_select(better, error, fit->error);
    fit->scale = lf32_select(better, scale_to, fit->scale);
    fit->min = lf32_select(better, min_to, fit->min);
}

/* Least squares, then rounding on that scale and on those around it. */
QK_FN void refit_group(const group_task *task, group_fit *fit)
{
    candidates waiting = {0};
    lf32 scale, min;
    refit_levels(task, fit, &scale, &min);
    const lf32 before = fit->error;
    const lf32 step = task->scale.kind == SCALE_GRID
                          ? task->scale.unit
                          : lf32_mul(scale, lf32_set1(task->form->nudge));
    for (int i = -1; i <= 1; i++) {
        lf32 near = lf32_add(scale, lf32_mul(step, lf32_set1((float)i)));
        add_candidate(task, &waiting, fit, near, min);
    }
    try_candidates(task, &waiting, fit);
    take_levels(task, before, fit);
}

/* Where a fit begins. */
typedef enum fit_start {
    FIT_SEARCH, /* with all candidates */
    FIT_NEAR,   /* with the stored scales near fit's, which are numbers */
    FIT_LEVELS  /* with fit as it is, but for its error */
} fit_start;

/* Fits a group. */
QK_FN void fit_group(group_task *task, fit_start start, group_fit *fit)
{
    times_upper(task->f, task->form->n, task->c, task->uc);
    if (start == FIT_LEVELS) {
        error_of_levels(task, fit);
    } else {
        const lf32 scale = fit->scale, min = fit->min;
        fit_nothing(task, fit);
        if (start == FIT_NEAR) {
            search_near(task, scale, min, fit);
        } else {
            search_scales(task, fit);
        }
    }
    for (int i = 0; i < task->form->n_refits; i++) {
        refit_group(task, fit);
    }
}

#endif
