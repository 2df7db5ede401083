/* SPDX-License-Identifier: MIT */
/* Calibrated rounding of rows on CUDA: the checks, and what is done unit by unit.
 *
 * Units are solved from the last to the first.  What the errors of those that are done ask of a
 * unit is computed for all its columns at a time, by as many threads as there are rows and columns;
 * then each row's unit is solved by a thread (solve_units.cuh). */
#define LANES 1
#include "lane_cuda.h"

extern "C" {
#include "../arrays.h"
#include "../formats/layouts.h"
#include "../solver_orders.h"
}
#include "../solver/plan.h"

#include "quantkit_cuda.h"
#include "quantkit_cuda_solver.h"
#include "solving.h"

#define QKC_ALIGNMENT 256
#define QKC_TILE 32 /* columns: a part of every unit */

/* ---- rows in the order of solving ---- */

#define GATHER_ROWS 8 /* of a thread block, of QKC_TILE threads each */

/* weights[k][row] = x[row][the column at place k], and 0 in an error; rows beyond the last repeat
 * it. */
__global__ void __launch_bounds__(QKC_TILE *GATHER_ROWS)
    gather_rows_kernel(qkc_solving s, const float *x)
{
    __shared__ float tile[QKC_TILE][QKC_TILE + 1];
    const unit_shape shape = {s.unit, s.group};
    const size_t row = (size_t)blockIdx.x * QKC_TILE, place = (size_t)blockIdx.y * QKC_TILE;
    const size_t thread = threadIdx.x % QKC_TILE, first = threadIdx.x / QKC_TILE;
    const size_t own = place + thread, in_unit = own % s.unit;
    const size_t column =
        group_column(&s.plan, shape, own / s.unit, in_unit / s.group) + in_unit % s.group;
    for (size_t i = first; i < QKC_TILE; i += GATHER_ROWS) {
        const size_t from = row + i < s.n_rows ? row + i : s.n_rows - 1;
        tile[i][thread] = x[from * s.n_cols + column];
    }
    if (place == 0 && first == 0 && row + thread < s.n_rows) {
        s.errors[row + thread] = 0;
    }
    __syncthreads();
    for (size_t i = first; i < QKC_TILE; i += GATHER_ROWS) {
        s.weights[(place + i) * s.stride + row + thread] = tile[thread][i];
    }
}

/* ---- targets ---- */

#define TARGET_THREADS 128
#define TARGET_ACROSS 16                                /* threads side by side, along the rows */
#define OWN (QKC_TILE * TARGET_ACROSS / TARGET_THREADS) /* columns of a thread, and rows */

/* targets[j][row] = weights[j][row] - the sum over later columns k of feedback[j][k] *
 * weights[k][row], which are errors there, in the order of k.  A thread block has QKC_SOLVED_ROWS
 * rows and QKC_TILE columns, a thread OWN of each. */
__global__ void __launch_bounds__(TARGET_THREADS) targets_kernel(qkc_solving s, size_t unit)
{
    __shared__ float f[QKC_TILE][QKC_TILE + 1], e[QKC_TILE][QKC_SOLVED_ROWS];
    const size_t row = (size_t)blockIdx.x * QKC_SOLVED_ROWS, at = unit * s.unit;
    const size_t column = (size_t)blockIdx.y * QKC_TILE;
    const size_t own_row = threadIdx.x % TARGET_ACROSS;
    const size_t own_column = threadIdx.x / TARGET_ACROSS * OWN;
    const float *feedback = s.plan.feedback + (at + column) * s.n_cols;
    float sum[OWN][OWN];
    for (int j = 0; j < OWN; j++) {
        for (int i = 0; i < OWN; i++) {
            sum[j][i] = s.weights[(at + column + own_column + j) * s.stride + row + own_row +
                                  TARGET_ACROSS * i];
        }
    }
    for (size_t first = at + s.unit; first < s.n_cols; first += QKC_TILE) {
        for (size_t t = threadIdx.x; t < QKC_TILE * QKC_TILE; t += TARGET_THREADS) {
            f[t % QKC_TILE][t / QKC_TILE] =
                feedback[t / QKC_TILE * s.n_cols + first + t % QKC_TILE];
        }
        for (size_t t = threadIdx.x; t < QKC_TILE * QKC_SOLVED_ROWS; t += TARGET_THREADS) {
            e[t / QKC_SOLVED_ROWS][t % QKC_SOLVED_ROWS] =
                s.weights[(first + t / QKC_SOLVED_ROWS) * s.stride + row + t % QKC_SOLVED_ROWS];
        }
        __syncthreads();
        for (int k = 0; k < QKC_TILE; k++) {
            QKC_UNROLL for (int j = 0; j < OWN; j++)
            {
                QKC_UNROLL for (int i = 0; i < OWN; i++)
                {
                    const float error = e[k][own_row + TARGET_ACROSS * i];
                    sum[j][i] = lf32_sub(sum[j][i], lf32_mul(f[k][own_column + j], error));
                }
            }
        }
        __syncthreads();
    }
    for (int j = 0; j < OWN; j++) {
        for (int i = 0; i < OWN; i++) {
            s.targets[(column + own_column + j) * s.stride + row + own_row + TARGET_ACROSS * i] =
                sum[j][i];
        }
    }
}

static_assert(OWN * TARGET_ACROSS == QKC_SOLVED_ROWS, "a thread block has all its rows");

/* ---- checks ---- */

/* Parts of the scratch, and where they begin. */
struct scratch_places {
    size_t unit_order, group_order, weights, targets, bytes;
};

static size_t part(size_t *end, size_t bytes)
{
    const size_t at = *end;
    *end = qk_plus(at, qk_rounded_up(bytes, QKC_ALIGNMENT));
    return at;
}

static int find_solver(int type, size_t n_cols, qkc_unit_solver *solver)
{
    if (!qkc_find_group_solver(type, solver) && !qkc_find_ternary_solver(type, solver) &&
        !qkc_find_book_solver(type, solver)) {
        return QKC_UNKNOWN_TYPE;
    }
    return n_cols % solver->unit ? QKC_BAD_SHAPE : 0;
}

static size_t stride_of(size_t n_rows) { return qk_rounded_up(n_rows, QKC_SOLVED_ROWS); }

static scratch_places places_of(const qkc_unit_solver *solver, size_t n_rows, size_t n_cols)
{
    const size_t n_units = n_cols / solver->unit, row = qk_times(stride_of(n_rows), sizeof(float));
    scratch_places places = {};
    places.unit_order = part(&places.bytes, qk_times(n_units, sizeof(int32_t)));
    places.group_order = part(&places.bytes, n_cols / solver->group);
    places.weights = part(&places.bytes, qk_times(n_cols, row));
    places.targets = part(&places.bytes, qk_times(solver->unit, row));
    places.bytes = qk_plus(places.bytes, QKC_ALIGNMENT); /* where the memory is not aligned */
    return places;
}

int qkc_solver_scratch(int type, size_t n_rows, size_t n_cols, size_t *bytes)
{
    qkc_unit_solver solver;
    const int status = find_solver(type, n_cols, &solver);
    if (status) {
        return status;
    }
    *bytes = places_of(&solver, n_rows, n_cols).bytes;
    return *bytes > QK_MOST_BYTES ? QKC_BAD_SHAPE : 0;
}

/* ---- solving ---- */

/* The rest of what solving needs, in the scratch. */
static int queue_orders(const scratch_places *places, uint8_t *scratch, qkc_solving *s,
                        cudaStream_t stream)
{
    scratch += ((uintptr_t)scratch + QKC_ALIGNMENT - 1) / QKC_ALIGNMENT * QKC_ALIGNMENT -
               (uintptr_t)scratch;
    int32_t *unit_order = (int32_t *)(scratch + places->unit_order);
    uint8_t *group_order = scratch + places->group_order;
    int status = cudaMemcpyAsync(unit_order, s->plan.unit_order,
                                 s->n_cols / s->unit * sizeof(int32_t), cudaMemcpyDefault, stream);
    status = status ? status
                    : cudaMemcpyAsync(group_order, s->plan.group_order, s->n_cols / s->group,
                                      cudaMemcpyDefault, stream);
    s->plan.unit_order = unit_order;
    s->plan.group_order = group_order;
    s->weights = (float *)(scratch + places->weights);
    s->targets = (float *)(scratch + places->targets);
    return status;
}

static int queue_units(const qkc_solving *s, qkc_unit_kernel kernel, const float *x,
                       cudaStream_t stream)
{
    const dim3 tiles((unsigned)(s->stride / QKC_TILE), (unsigned)(s->n_cols / QKC_TILE));
    const dim3 parts((unsigned)(s->stride / QKC_SOLVED_ROWS), (unsigned)(s->unit / QKC_TILE));
    const unsigned rows = (unsigned)((s->n_rows + QKC_SOLVER_THREADS - 1) / QKC_SOLVER_THREADS);
    int status = QKC_LAUNCH(gather_rows_kernel, tiles, QKC_TILE * GATHER_ROWS, stream, *s, x);
    for (size_t unit = s->n_cols / s->unit; unit-- > 0 && !status;) {
        status = QKC_LAUNCH(targets_kernel, parts, TARGET_THREADS, stream, *s, unit);
        status = status ? status : QKC_LAUNCH(kernel, rows, QKC_SOLVER_THREADS, stream, *s, unit);
    }
    return status;
}

int qkc_solve_rows(int type, const qkc_solver_plan *plan, const float *x, size_t n_rows,
                   uint8_t *out, double *errors, void *scratch, size_t scratch_bytes, void *stream)
{
    qkc_unit_solver solver;
    const qk_layout *layout = qk_find_layout(type);
    int status = plan ? find_solver(type, plan->n_cols, &solver) : QKC_BAD_ARRAY;
    if (status || !layout) {
        return status;
    }
    const size_t n = plan->n_cols, n_units = n / solver.unit, per_unit = solver.unit / solver.group;
    const scratch_places places = places_of(&solver, n_rows, n);
    const qk_array arrays[] = {
        QK_ARRAY(plan->unit_order, n_units, int32_t, QK_READ),
        QK_READ_BYTES(plan->group_order, n_units * per_unit),
        QK_READ_FLOATS(plan->units, qk_times(n_units, solver.n_floats)),
        QK_READ_FLOATS(plan->feedback, qk_times(n, n)),
        QK_READ_FLOATS(x, qk_times(n_rows, n)),
        QK_WRITTEN_BYTES(out, qk_times(n_rows, qk_times(n_units, layout->block_bytes))),
        QK_ARRAY(errors, n_rows, double, QK_WRITTEN),
        QK_WRITTEN_BYTES(scratch, n_rows && n ? places.bytes : 0),
    };
    status = -QK_CHECK_ARRAYS(arrays);
    if (!status && (n / QKC_TILE > 65535 || /* what a grid holds */
                    n_rows / QKC_TILE > INT32_MAX ||
                    !qk_are_orders_whole((const qk_solver_plan *)plan, n_units, per_unit))) {
        status = QKC_BAD_SHAPE;
    }
    if (status || !n_rows || !n) {
        return status;
    }
    if (scratch_bytes < places.bytes) {
        return QKC_SMALL_SCRATCH;
    }
    const cudaStream_t queue = (cudaStream_t)stream;
    qkc_solving s = {};
    s.type = type;
    s.unit = solver.unit;
    s.group = solver.group;
    s.n_floats = solver.n_floats;
    s.n_cols = n;
    s.block_bytes = layout->block_bytes;
    s.plan = {n, plan->unit_order, plan->group_order, plan->units, plan->feedback};
    s.n_rows = n_rows;
    s.stride = stride_of(n_rows);
    s.out = out;
    s.errors = errors;
    status = queue_orders(&places, (uint8_t *)scratch, &s, queue);
    return status ? status : queue_units(&s, solver.kernel, x, queue);
}
