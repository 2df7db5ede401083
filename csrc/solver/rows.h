/* SPDX-License-Identifier: MIT */
/* From rows of weights to blocks: the units of all columns, from the last to the first in the order
 * of solving, each with the errors of those done before it.
 *
 * A row is in a lane.  SOLVER_TILES vectors of rows go through the columns together, so that the
 * feedback, a number for each pair of columns, is read from memory once for all of them. */
#ifndef QK_SOLVER_ROWS_H
#define QK_SOLVER_ROWS_H

#define SOLVER_TILES 4
#define SOLVER_ROWS (SOLVER_TILES * LANES)
/* Columns whose errors are taken in at a time: so many that those of all rows fit a cache. */
#define SOLVER_DEPTH 256

/* Memory of a call, for SOLVER_ROWS rows. */
typedef struct solver_memory {
    lf32 (*rows)[SOLVER_TILES]; /* [n_cols]: weights, and the errors of columns that are done */
    lf32 (*owed)[SOLVER_TILES]; /* [unit]: the targets of the unit in question */
    lf32 *x, *error;            /* [unit] */
    unit_work *work;
    unit_fit *best;
} solver_memory;

/* The rows' weights in the order of solving; rows beyond n_rows repeat the last one. */
QK_FN void gather_rows(const solver_task *task, const float *x, size_t n_rows,
                       lf32 (*rows)[SOLVER_TILES])
{
    const size_t group = task->shape.group, per_unit = task->shape.unit / group;
    for (size_t u = 0; u < task->n_cols / task->shape.unit; u++) {
        for (size_t g = 0; g < per_unit; g++) {
            const size_t column = group_column(&task->plan, task->shape, u, g);
            lf32(*out)[SOLVER_TILES] = rows + u * task->shape.unit + g * group;
            for (size_t tile = 0; tile < SOLVER_TILES; tile++) {
                const float *at[LANES];
                for (size_t i = 0; i < LANES; i++) {
                    const size_t row = tile * LANES + i;
                    at[i] = x + (row < n_rows ? row : n_rows - 1) * task->n_cols + column;
                }
                for (size_t j = 0; j < group; j += LANES) {
                    lf32 part[LANES];
                    lane_transpose(at, part);
                    for (size_t i = 0; i < LANES; i++) {
                        out[j + i][tile] = part[i];
                        at[i] += LANES;
                    }
                }
            }
        }
    }
}

/* owed -= feedback * errors, for four columns of a unit and the columns first..end-1. */
QK_INLINE void take_errors(const float *feedback, size_t n_cols, lf32 (*const errors)[SOLVER_TILES],
                           size_t first, size_t end, lf32 (*owed)[SOLVER_TILES])
{
    lf32 sum[4][SOLVER_TILES];
    memcpy(sum, owed, sizeof sum);
    for (size_t k = first; k < end; k++) {
        lf32 e[SOLVER_TILES];
        for (size_t tile = 0; tile < SOLVER_TILES; tile++) {
            e[tile] = errors[k][tile];
        }
        for (size_t i = 0; i < 4; i++) {
            const lf32 f = lf32_set1(feedback[i * n_cols + k]);
            for (size_t tile = 0; tile < SOLVER_TILES; tile++) {
                sum[i][tile] = lf32_sub(sum[i][tile], lf32_mul(f, e[tile]));
            }
        }
    }
    memcpy(owed, sum, sizeof sum);
}

/* The targets of the unit at place `unit`, given the errors of all later columns. */
QK_FN void unit_targets(const solver_task *task, size_t unit, solver_memory *memory)
{
    const size_t size = task->shape.unit, at = unit * size, n = task->n_cols;
    const float *feedback = task->plan.feedback + at * n;
    memcpy(memory->owed, memory->rows + at, size * sizeof *memory->owed);
    for (size_t first = at + size; first < n; first += SOLVER_DEPTH) {
        const size_t end = n - first < SOLVER_DEPTH ? n : first + SOLVER_DEPTH;
        for (size_t j = 0; j < size; j += 4) {
            take_errors(feedback + j * n, n, memory->rows, first, end, memory->owed + j);
        }
    }
}

/* The blocks of one tile of rows: their bytes lie row_bytes apart. */
QK_FN void write_unit(const solver_task *task, size_t unit, const unit_fit *fit, size_t n_rows,
                      size_t row_bytes, uint8_t *out)
{
    li32 words[QK_MAX_BLOCK_WORDS];
    uint8_t bytes[LANES * QK_MAX_BLOCK_BYTES];
    unit_words(task, unit, fit, words);
    transpose_out(words, n_rows, task->block_bytes, bytes);
    for (size_t i = 0; i < n_rows; i++) {
        memcpy(out + i * row_bytes + unit_place(task, unit), bytes + i * task->block_bytes,
               task->block_bytes);
    }
}

/* Up to SOLVER_ROWS rows. */
QK_FN void solve_row_group(const solver_task *task, const float *x, size_t n_rows,
                           solver_memory *memory, uint8_t *out, double *errors)
{
    const size_t size = task->shape.unit, n_units = task->n_cols / size;
    const size_t row_bytes = n_units * task->block_bytes;
    gather_rows(task, x, n_rows, memory->rows);
    for (size_t i = 0; i < n_rows; i++) {
        errors[i] = 0;
    }
    for (size_t u = n_units; u-- > 0;) {
        unit_targets(task, u, memory);
        for (size_t tile = 0; tile * LANES < n_rows; tile++) {
            const size_t row = tile * LANES;
            const size_t n = n_rows - row < LANES ? n_rows - row : LANES;
            const unit_problem problem = {task->rule, task->shape,
                                          task->plan.units + u * unit_floats(task->shape),
                                          memory->x};
            float part[LANES];
            for (size_t j = 0; j < size; j++) {
                memory->x[j] = memory->owed[j][tile];
            }
            solve_unit(&problem, memory->work, memory->best, memory->error);
            write_unit(task, u, memory->best, n, row_bytes, out + row * row_bytes);
            lf32_store(part, memory->best->error);
            for (size_t i = 0; i < n; i++) {
                errors[row + i] += (double)part[i];
            }
            for (size_t j = 0; j < size; j++) {
                lf32 *weight = &memory->rows[u * size + j][tile];
                *weight = error_of_weight(memory->error[j], memory->x[j], *weight);
            }
        }
    }
}

/* ---- the backend's functions ---- */

QK_FN int solver_layout(int type, size_t *unit, size_t *group)
{
    const unit_rule *rule = solver_rule(type);
    if (!rule) {
        return 0;
    }
    *unit = rule->unit;
    *group = (size_t)rule->group.n;
    return 1;
}

/* n bytes of memory at the next place that suits vectors. */
QK_INLINE void *taken(uint8_t **memory, size_t n)
{
    const uintptr_t at = ((uintptr_t)*memory + 63) / 64 * 64;
    *memory = (uint8_t *)at + n;
    return (void *)at;
}

QK_FN size_t solver_workspace(size_t n_cols)
{
    const size_t columns = (n_cols + QK_SUPERBLOCK) * SOLVER_TILES + 2 * QK_SUPERBLOCK;
    return columns * sizeof(lf32) + sizeof(unit_work) + sizeof(unit_fit) + 7 * 64;
}

QK_FN void solve_rows(int type, const qk_solver_plan *plan, const float *x, size_t n_rows,
                      uint8_t *workspace, uint8_t *out, double *errors)
{
    const unit_rule *rule = solver_rule(type);
    const solver_task task = {type,
                              rule,
                              {rule->unit, (size_t)rule->group.n},
                              plan->n_cols,
                              qk_find_layout(type)->block_bytes,
                              *plan};
    const size_t row_bytes = plan->n_cols / rule->unit * task.block_bytes;
    solver_memory memory;
    memory.rows = taken(&workspace, plan->n_cols * sizeof *memory.rows);
    memory.owed = taken(&workspace, rule->unit * sizeof *memory.owed);
    memory.x = taken(&workspace, rule->unit * sizeof(lf32));
    memory.error = taken(&workspace, rule->unit * sizeof(lf32));
    memory.work = taken(&workspace, sizeof(unit_work));
    memory.best = taken(&workspace, sizeof(unit_fit));
    for (size_t row = 0; row < n_rows; row += SOLVER_ROWS) {
        const size_t n = n_rows - row < SOLVER_ROWS ? n_rows - row : SOLVER_ROWS;
        solve_row_group(&task, x + row * plan->n_cols, n, &memory, out + row * row_bytes,
                        errors + row);
    }
}

QK_FN void make_units(int type, const double *r, size_t n, size_t first, size_t count, double *work,
                      float *numbers, float *feedback)
{
    const unit_rule *rule = solver_rule(type);
    const unit_shape shape = {rule->unit, (size_t)rule->group.n};
    for (size_t u = first; u < first + count; u++) {
        make_unit(r, n, u * rule->unit, shape, work, numbers + (u - first) * unit_floats(shape),
                  feedback + (u - first) * rule->unit * n);
    }
}

QK_FN size_t solver_unit_floats(int type)
{
    const unit_rule *rule = solver_rule(type);
    const unit_shape shape = {rule->unit, (size_t)rule->group.n};
    return unit_floats(shape);
}

#endif
