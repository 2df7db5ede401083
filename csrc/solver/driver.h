/* SPDX-License-Identifier: MIT */
/* Rows to lanes and back: QK_SOLVER_ROWS rows go through all units together.
 *
 * The workspace holds for every column, in the order of solving, first the weights of these rows
 * and, once the column's unit is solved, their errors; then the targets of one unit. */

typedef struct row_group {
    const float *x; /* the first of its rows */
    size_t n_rows;  /* up to QK_SOLVER_ROWS */
    size_t n_vectors;
    uint8_t *out;
    size_t row_bytes;
} row_group;

/* The column of the file at which the group at a place starts. */
QK_INLINE size_t column_of_group(qk_solver_layout layout, const qk_plan *plan, size_t place)
{
    const size_t unit = (size_t)plan->unit_order[place / (layout.unit / layout.group)];
    return unit * layout.unit + plan->group_order[place] * layout.group;
}

/* The weights of the rows, a column after the other in the order of solving; lanes past the last
 * row repeat it. */
QK_FN void rows_to_columns(qk_solver_layout layout, const qk_plan *plan, const row_group *rows,
                           float *columns)
{
    lf32 tile[QK_MAX_GROUP];
    for (size_t place = 0; place < plan->n_cols / layout.group; place++) {
        const size_t at = column_of_group(layout, plan, place);
        for (size_t v = 0; v < rows->n_vectors; v++) {
            const float *from[LANES];
            for (size_t i = 0; i < LANES; i++) {
                const size_t row = v * LANES + i;
                from[i] =
                    rows->x + (row < rows->n_rows ? row : rows->n_rows - 1) * plan->n_cols + at;
            }
            transpose_in(from, layout.group, tile);
            for (size_t j = 0; j < layout.group; j++) {
                lf32_store(columns + (place * layout.group + j) * QK_SOLVER_ROWS + v * LANES,
                           tile[j]);
            }
        }
    }
}

/* Solves one vector of rows of a unit: c becomes the values; puts the blocks into the rows. */
QK_FN void solve_unit_of_rows(const unit_form *form, qk_solver_layout layout, const qk_plan *plan,
                              size_t place, const row_group *rows, size_t v, float *c,
                              double *errors)
{
    lf32 x[QK_MAX_UNIT], value[QK_MAX_UNIT], error;
    li32 words[QK_MAX_BLOCK_WORDS];
    float lane_error[LANES];
    uint8_t blocks[LANES * QK_MAX_BLOCK_BYTES];
    const size_t first = v * LANES, left = rows->n_rows - first, n = left < LANES ? left : LANES;
    const size_t n_groups = layout.unit / layout.group;
    for (size_t j = 0; j < layout.unit; j++) {
        x[j] = lf32_load(c + j * QK_SOLVER_ROWS + first);
    }
    form->solve(form, plan->units + place * layout.floats, plan->group_order + place * n_groups, x,
                value, &error, words);
    for (size_t j = 0; j < layout.unit; j++) {
        lf32_store(c + j * QK_SOLVER_ROWS + first, value[j]);
    }
    lf32_store(lane_error, error);
    transpose_out(words, n, layout.bytes, blocks);
    for (size_t i = 0; i < n; i++) {
        memcpy(rows->out + (first + i) * rows->row_bytes +
                   (size_t)plan->unit_order[place] * layout.bytes,
               blocks + i * layout.bytes, layout.bytes);
        errors[first + i] += (double)lane_error[i];
    }
}

QK_FN void solve_row_group(const unit_form *form, qk_solver_layout layout, const qk_plan *plan,
                           const row_group *rows, double *errors, float *workspace)
{
    const size_t n = plan->n_cols, size = layout.unit * QK_SOLVER_ROWS;
    float *c = workspace + n * QK_SOLVER_ROWS;
    rows_to_columns(layout, plan, rows, workspace);
    for (size_t place = n / layout.unit; place-- > 0;) {
        const size_t a = place * layout.unit, z = a + layout.unit;
        float *here = workspace + a * QK_SOLVER_ROWS;
        memcpy(c, here, size * sizeof(float));
        subtract_feedback(plan->feedback + a * n + z, n, layout.unit,
                          workspace + z * QK_SOLVER_ROWS, n - z, rows->n_vectors, c);
        for (size_t v = 0; v < rows->n_vectors; v++) {
            solve_unit_of_rows(form, layout, plan, place, rows, v, c, errors);
        }
        for (size_t i = 0; i < size; i += LANES) { /* from weights to errors */
            lf32_store(here + i, lf32_sub(lf32_load(c + i), lf32_load(here + i)));
        }
    }
}

QK_FN const unit_form *find_solver(int type)
{
    switch (type) {
#define QK_CASE(name, id, unit, group)                                                             \
    case id:                                                                                       \
        return &name##_solver;
        QK_SOLVER_FORMATS(QK_CASE)
#undef QK_CASE
    default:
        return NULL;
    }
}

QK_FN void solve_rows(qk_solver_layout layout, const qk_plan *plan, const float *x, size_t n_rows,
                      uint8_t *out, double *errors, float *workspace)
{
    const unit_form *form = find_solver(layout.type);
    const size_t row_bytes = plan->n_cols / layout.unit * layout.bytes;
    memset(errors, 0, n_rows * sizeof(double));
    memset(workspace, 0, QK_SOLVER_WORKSPACE(plan->n_cols, layout.unit) * sizeof(float));
    for (size_t row = 0; row < n_rows; row += QK_SOLVER_ROWS) {
        const size_t left = n_rows - row, n = left < QK_SOLVER_ROWS ? left : QK_SOLVER_ROWS;
        const row_group rows = {x + row * plan->n_cols, n, (n + LANES - 1) / LANES,
                                out + row * row_bytes, row_bytes};
        solve_row_group(form, layout, plan, &rows, errors + row, workspace);
    }
}
