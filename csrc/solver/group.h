/* SPDX-License-Identifier: MIT */
/* A group of columns with one scale (and minimum): the scale and the codes together, so that the
 * quadratic form of the group's error is small.
 *
 * For a given scale the codes follow one by one, from the last column to the first: each is rounded
 * to the level nearest to what it should be given the errors of those already rounded (Babai's
 * nearest plane).  The squares of what remains add up to exactly the form.  Which scales are tried:
 * group_search.h. */
#ifndef QK_GROUP_H
#define QK_GROUP_H

/* For some of the types, both may be defined before. */
#ifndef MAX_SOLVED_GROUP
#define MAX_SOLVED_GROUP QK_SUPERBLOCK /* ternary types have one scale for all */
#define SOLVED_BOOKS 1                 /* whether codebook types are among them */
#endif
#define GROUP_ABREAST 4 /* scales tried side by side */

/* How scales, minimums and codes of a format's groups are chosen. */
typedef struct group_rule {
    int n;
    levels level;
    const solver_book *book; /* of LEVELS_BOOK, else NULL */
    int has_min;
    grid_kind grid, min_grid; /* of the scale and the minimum, once their units are known */
    float scale_low, scale_high, min_low, min_high; /* for GRID_WHOLE */
    int both_signs;                                 /* the scale may be negative */
    float reach; /* the level that the extreme weight is given, over the factors that follow */
    float first, last; /* factors tried; with a minimum: shares cut off the range */
    int n_tries, n_refits;
} group_rule;

/* weight = (scale * unit) * level - min * min_unit */
typedef struct group_fit {
    lf32 error, scale, min, level[MAX_SOLVED_GROUP];
} group_fit;

/* What trying scales needs for a while: too much for the stack of a small thread. */
typedef struct group_work {
    lf32 error[MAX_SOLVED_GROUP][GROUP_ABREAST], level[MAX_SOLVED_GROUP][GROUP_ABREAST];
    lf32 slope[MAX_SOLVED_GROUP], next[MAX_SOLVED_GROUP];
} group_work;

typedef struct units {
    lf32 scale, min;
    int known; /* scales and minimums lie on their grids */
} units;

QK_INLINE lf32 grid_scale(const group_rule *rule, units unit, lf32 x)
{
    lf32 v = lf32_mul(x, lf32_reciprocal_or_0(unit.scale));
    return unit.known ? on_grid(rule->grid, rule->scale_low, rule->scale_high, v) : x;
}

QK_INLINE lf32 grid_min(const group_rule *rule, units unit, lf32 x)
{
    lf32 v = lf32_mul(x, lf32_reciprocal_or_0(unit.min));
    if (unit.known) {
        return on_grid(rule->min_grid, rule->min_low, rule->min_high, v);
    }
    return rule->min_low < 0 ? x : lf32_greater(x, lf32_set1(0.0f));
}

QK_INLINE lf32 group_value(lf32 scale, lf32 min, lf32 level)
{
    return lf32_sub(lf32_mul(scale, level), min);
}

/* round_group for a codebook type. */
QK_FN void round_codebooks(const group_rule *rule, const group_form *form, const lf32 *target,
                           const lf32 *scale, group_work *work, lf32 *error)
{
    for (int a = 0; a < GROUP_ABREAST; a++) {
        error[a] = round_codebook(rule->book, form, rule->n, target, scale[a], work->next);
        for (int j = 0; j < rule->n; j++) {
            work->level[j][a] = work->next[j];
        }
    }
}

/* round_group for n columns with these levels. */
QK_INLINE void round_levels(int n, levels of, const group_form *form, const lf32 *target,
                            const lf32 *scale, const lf32 *min, group_work *work, lf32 *error)
{
    lf32(*e)[GROUP_ABREAST] = work->error, (*level)[GROUP_ABREAST] = work->level;
    lf32 inverse[GROUP_ABREAST];
    for (int a = 0; a < GROUP_ABREAST; a++) {
        inverse[a] = lf32_reciprocal_or_0(scale[a]);
        error[a] = lf32_set1(0.0f);
    }
    for (int j = n - 1; j >= 0; j--) {
        lf32 owed[GROUP_ABREAST];
        for (int a = 0; a < GROUP_ABREAST; a++) {
            owed[a] = lf32_set1(0.0f);
        }
        for (int k = j + 1; k < n; k++) {
            const lf32 u = lf32_set1(form->upper[j * n + k]);
            for (int a = 0; a < GROUP_ABREAST; a++) {
                owed[a] = lf32_add(owed[a], lf32_mul(u, e[k][a]));
            }
        }
        const lf32 pivot = lf32_set1(form->pivot[j]);
        for (int a = 0; a < GROUP_ABREAST; a++) {
            lf32 wanted = lf32_sub(target[j], owed[a]);
            lf32 code = lf32_mul(lf32_add(wanted, min[a]), inverse[a]);
            level[j][a] = nearest_level(of, code);
            lf32 value = group_value(scale[a], min[a], level[j][a]);
            e[j][a] = lf32_sub(value, target[j]);
            lf32 rest = lf32_sub(value, wanted);
            error[a] = lf32_add(error[a], lf32_mul(pivot, lf32_mul(rest, rest)));
        }
    }
}

/* Codes of a target for GROUP_ABREAST scales and minimums: work->level, and their errors.  Copies
 * for which the compiler knows size and levels are faster. */
QK_FN void round_group(const group_rule *rule, const group_form *form, const lf32 *target,
                       const lf32 *scale, const lf32 *min, group_work *work, lf32 *error)
{
    const levels whole = {LEVELS_WHOLE, rule->level.low, rule->level.high};
    if (SOLVED_BOOKS && rule->book) {
        round_codebooks(rule, form, target, scale, work, error);
    } else if (rule->level.kind == LEVELS_WHOLE && rule->n == 16) {
        round_levels(16, whole, form, target, scale, min, work, error);
    } else if (rule->level.kind == LEVELS_WHOLE && rule->n == 32) {
        round_levels(32, whole, form, target, scale, min, work, error);
    } else {
        round_levels(rule->n, rule->level, form, target, scale, min, work, error);
    }
}

/* out = form v; four rows side by side, so that the sums need not wait for each other. */
QK_FN void form_times(const group_form *form, int n, const lf32 *v, lf32 *out)
{
    for (int j = 0; j < n; j += 4) {
        const float *row = form->form + j * n;
        lf32 sum[4];
        for (int i = 0; i < 4; i++) {
            sum[i] = lf32_set1(0.0f);
        }
        for (int k = 0; k < n; k++) {
            for (int i = 0; i < 4; i++) {
                sum[i] = lf32_add(sum[i], lf32_mul(lf32_set1(row[i * n + k]), v[k]));
            }
        }
        memcpy(out + j, sum, sizeof sum);
    }
}

/* e^T form e */
QK_FN lf32 form_error(const group_form *form, int n, const lf32 *e)
{
    lf32 sum[MAX_SOLVED_GROUP], error = lf32_set1(0.0f);
    form_times(form, n, e, sum);
    for (int j = 0; j < n; j++) {
        error = lf32_add(error, lf32_mul(sum[j], e[j]));
    }
    return error;
}

QK_FN lf32 fit_error(const group_form *form, int n, const lf32 *target, lf32 scale, lf32 min,
                     const lf32 *level, lf32 *e)
{
    for (int j = 0; j < n; j++) {
        e[j] = lf32_sub(group_value(scale, min, level[j]), target[j]);
    }
    return form_error(form, n, e);
}

/* Tries scales and minimums (as multiples of the units), and keeps what is better. */
QK_FN void try_group(const group_rule *rule, const group_form *form, const lf32 *target, units unit,
                     const lf32 *scale, const lf32 *min, group_work *work, group_fit *best)
{
    lf32 error[GROUP_ABREAST], s[GROUP_ABREAST], m[GROUP_ABREAST];
    for (int a = 0; a < GROUP_ABREAST; a++) {
        s[a] = lf32_mul(unit.scale, scale[a]);
        m[a] = lf32_mul(unit.min, min[a]);
    }
    round_group(rule, form, target, s, m, work, error);
    for (int a = 0; a < GROUP_ABREAST; a++) {
        const lmask better = lf32_gt(best->error, error[a]);
        if (!lmask_any(better)) {
            continue;
        }
        best->error = lf32_select(better, error[a], best->error);
        best->scale = lf32_select(better, scale[a], best->scale);
        best->min = lf32_select(better, min[a], best->min);
        for (int j = 0; j < rule->n; j++) {
            best->level[j] = lf32_select(better, work->level[j][a], best->level[j]);
        }
    }
}

#endif
