/* SPDX-License-Identifier: MIT */
/* Rounding one group of columns, which share a scale, with a row per lane.
 *
 * The error of a group is e^T S e with e = value - target.  S = U^T D U, where U is upper
 * triangular with ones on its diagonal, so the error is the sum of D[j] * (U e)[j]^2.  Babai
 * rounding goes from the last column to the first: the errors of the columns behind j are known,
 * and column j is rounded to make (U e)[j] small.
 *
 *     value = scale * level - min
 *
 * is computed as the format's dequantizer does. */
#ifndef QK_GROUP_H
#define QK_GROUP_H

/* U, row after row, D, and the sums of the rows of U. */
typedef struct group_factors {
    const float *upper, *weight, *row_sum;
} group_factors;

QK_INLINE group_factors group_factors_at(const float *data, int n)
{
    const group_factors f = {data, data + n * n, data + n * n + n};
    return f;
}

/* How many scales are tried side by side. */
#define TRIES 4

struct group_form;

/* The errors of TRIES scales and minimums. */
typedef void (*try_scales)(const struct group_form *form, group_factors f, const lf32 *c,
                           const lf32 *scale, const lf32 *min, lf32 *error);
/* The levels of one, and its error, which has the same bits. */
typedef lf32 (*round_levels)(const struct group_form *form, group_factors f, const lf32 *c,
                             lf32 scale, lf32 min, lf32 *level);

/* What a format's groups are.  Scales are sought on a line, or on a grid if there are minimums:
 * scales with which the largest target is `reach` levels from 0, times 1/first to 1/last; or
 * those that map the range of the targets, less a share from first to last of it at either end,
 * to the levels. */
typedef struct group_form {
    int n; /* columns */
    try_scales try_scales;
    round_levels round_levels;
    float low, high; /* levels */
    int has_min;
    int n_signs; /* 2: the scale may be negative, and the levels are not symmetric */
    int n_scales;
    float reach, first, last;
    int n_refits;
    float nudge; /* how far a refit looks around itself, as a share of the scale */
} group_form;

/* ---- levels ---- */

typedef enum level_kind { LEVELS_EVEN, LEVELS_IQ4 } level_kind;

QK_INLINE lf32 nearest_level(level_kind kind, lf32 low, lf32 high, lf32 x)
{
    if (kind == LEVELS_IQ4) {
        return lf32_lookup16(iq4_level, iq4_nearest(x));
    }
    return lf32_round(lf32_lesser(lf32_greater(x, low), high)); /* NaN becomes low */
}

QK_INLINE lf32 value_of_level(lf32 scale, lf32 level, lf32 min, int has_min)
{
    lf32 product = lf32_mul(scale, level);
    return has_min ? lf32_sub(product, min) : product;
}

/* Babai rounding on `tries` grids; level: of the first try, or NULL. */
QK_INLINE void round_group(level_kind kind, int n, int tries, int has_min, const group_form *form,
                           group_factors f, const lf32 *c, const lf32 *scale, const lf32 *min,
                           lf32 *error, lf32 *level)
{
    const lf32 low = lf32_set1(form->low), high = lf32_set1(form->high);
    lf32 e[QK_MAX_GROUP * TRIES], inverse[TRIES];
    for (int t = 0; t < tries; t++) {
        inverse[t] = lf32_reciprocal_or_0(scale[t]);
        error[t] = lf32_set1(0.0f);
    }
    for (int j = n - 1; j >= 0; j--) {
        lf32 v[TRIES];
        for (int t = 0; t < tries; t++) {
            v[t] = c[j];
        }
        for (int k = n - 1; k > j; k--) {
            const lf32 u = lf32_set1(f.upper[j * n + k]);
            for (int t = 0; t < tries; t++) {
                v[t] = lf32_sub(v[t], lf32_mul(u, e[k * tries + t]));
            }
        }
        for (int t = 0; t < tries; t++) {
            lf32 target = has_min ? lf32_add(v[t], min[t]) : v[t];
            lf32 l = nearest_level(kind, low, high, lf32_mul(target, inverse[t]));
            lf32 value = value_of_level(scale[t], l, min[t], has_min);
            lf32 r = lf32_sub(value, v[t]);
            e[j * tries + t] = lf32_sub(value, c[j]);
            error[t] = lf32_add(error[t], lf32_mul(lf32_set1(f.weight[j]), lf32_mul(r, r)));
            if (level) {
                level[j] = l;
            }
        }
    }
}

#define ROUND_FUNCTIONS(name, kind, n, has_min)                                                    \
    QK_FN void try_##name(const group_form *form, group_factors f, const lf32 *c,                  \
                          const lf32 *scale, const lf32 *min, lf32 *error)                         \
    {                                                                                              \
        round_group(kind, n, TRIES, has_min, form, f, c, scale, min, error, NULL);                 \
    }                                                                                              \
    QK_FN lf32 round_##name(const group_form *form, group_factors f, const lf32 *c, lf32 scale,    \
                            lf32 min, lf32 *level)                                                 \
    {                                                                                              \
        lf32 error;                                                                                \
        round_group(kind, n, 1, has_min, form, f, c, &scale, &min, &error, level);                 \
        return error;                                                                              \
    }

ROUND_FUNCTIONS(even_32, LEVELS_EVEN, 32, 0)
ROUND_FUNCTIONS(affine_32, LEVELS_EVEN, 32, 1)
ROUND_FUNCTIONS(iq4_32, LEVELS_IQ4, 32, 0)
ROUND_FUNCTIONS(even_16, LEVELS_EVEN, 16, 0)
ROUND_FUNCTIONS(affine_16, LEVELS_EVEN, 16, 1)

/* c -= F e for one vector of rows: c [n_out], F [n_out][n] with rows `stride` apart, e [n];
 * n_out: a multiple of 8. */
QK_FN void subtract_product(const float *f, size_t stride, int n_out, const lf32 *e, int n, lf32 *c)
{
    for (int j = 0; j < n_out; j += 8, f += 8 * stride) {
        lf32 sum[8];
        for (int i = 0; i < 8; i++) {
            sum[i] = c[j + i];
        }
        for (int k = 0; k < n; k++) {
            for (int i = 0; i < 8; i++) {
                lf32 fk = lf32_set1(f[(size_t)i * stride + (size_t)k]);
                sum[i] = lf32_sub(sum[i], lf32_mul(fk, e[k]));
            }
        }
        for (int i = 0; i < 8; i++) {
            c[j + i] = sum[i];
        }
    }
}

/* out = U v, for n a multiple of 4 */
QK_FN void times_upper(group_factors f, int n, const lf32 *v, lf32 *out)
{
    for (int j = 0; j < n; j += 4) {
        lf32 sum[4];
        for (int i = 0; i < 4; i++) {
            sum[i] = v[j + i];
            for (int k = j + i + 1; k < j + 4; k++) {
                sum[i] = lf32_add(sum[i], lf32_mul(lf32_set1(f.upper[(j + i) * n + k]), v[k]));
            }
        }
        for (int k = j + 4; k < n; k++) {
            for (int i = 0; i < 4; i++) {
                sum[i] = lf32_add(sum[i], lf32_mul(lf32_set1(f.upper[(j + i) * n + k]), v[k]));
            }
        }
        for (int i = 0; i < 4; i++) {
            out[j + i] = sum[i];
        }
    }
}

#endif
