/* SPDX-License-Identifier: MIT */
/* What recurrent layers do to each channel by itself: see csrc/ops/scan.h. */
#include "checks.h"
#include "reduce.cuh"

/* ---- the convolution: a thread per position and channel ---- */

static __global__ void convolution_kernel(qk_convolution what, const float *__restrict__ x,
                                          float *__restrict__ y)
{
    const size_t n_channels = what.n_channels, n = what.n * n_channels;
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += step) {
        const size_t position = at / n_channels, channel = at % n_channels;
        const size_t n_taps = position + 1 < what.n_taps ? position + 1 : what.n_taps;
        const float *weight = what.weight + (what.n_taps - n_taps) * n_channels + channel;
        float sum = what.bias ? what.bias[channel] : 0.0f;
        for (size_t t = 0; t < n_taps; t++) {
            sum = fmaf(x[at - (n_taps - 1 - t) * n_channels], weight[t * n_channels], sum);
        }
        y[at] = sum;
    }
}

int qkc_short_convolution(const qk_convolution *what, const float *x, float *y, void *stream)
{
    const int status = -(int)qk_check_convolution(what, x, y);
    const size_t n = status ? 0 : what->n * what->n_channels;
    return n ? QKC_LAUNCH(convolution_kernel, qkc_grid(qkc_parts(n, QKC_THREADS)), QKC_THREADS,
                          stream, *what, x, y)
             : status;
}

/* ---- the selective scan ---- */

#define SCAN_THREADS 128
#define SCAN_LANES 4                              /* that share a channel */
#define LANE_STATES 4                             /* of a lane: those of a float4 */
#define SCAN_CHANNELS (SCAN_THREADS / SCAN_LANES) /* of a block */
#define SCAN_STATES (SCAN_LANES * LANE_STATES)    /* that are taken at once */
#define SCAN_STEPS 32                             /* positions in shared memory */

struct scan_space {
    float x[SCAN_STEPS][SCAN_CHANNELS], dt[SCAN_STEPS][SCAN_CHANNELS];
    float4 b[SCAN_STEPS][SCAN_LANES], c[SCAN_STEPS][SCAN_LANES];
};

/* WIDTH columns from `first` on of n rows of n_cols; 0 where there are none. */
template <int WIDTH>
QKC_INLINE void stage_columns(const float *x, size_t n_cols, size_t first, int n, float *to)
{
    const int each = SCAN_STEPS * WIDTH / SCAN_THREADS;
    float fetched[each]; /* all are on their way before the first is put */
    QKC_UNROLL
    for (int i = 0; i < each; i++) {
        const int at = (int)threadIdx.x + i * SCAN_THREADS;
        const size_t column = first + (size_t)(at % WIDTH);
        const bool is_there = at / WIDTH < n && column < n_cols;
        fetched[i] = is_there ? x[(size_t)(at / WIDTH) * n_cols + column] : 0.0f;
    }
    QKC_UNROLL
    for (int i = 0; i < each; i++) {
        to[(int)threadIdx.x + i * SCAN_THREADS] = fetched[i];
    }
}

/* What a block does: some channels, and their states from `first` on. */
struct scan_task {
    size_t channel, first;
};

QKC_INLINE void stage(const qk_scan &what, const qk_scan_inputs &in, const scan_task &task,
                      size_t start, int n, scan_space &space)
{
    const size_t at = start * what.n_channels, of_states = start * what.n_states;
    stage_columns<SCAN_CHANNELS>(in.x + at, what.n_channels, task.channel, n, space.x[0]);
    stage_columns<SCAN_CHANNELS>(in.dt + at, what.n_channels, task.channel, n, space.dt[0]);
    stage_columns<SCAN_STATES>(in.b + of_states, what.n_states, task.first, n, (float *)space.b[0]);
    stage_columns<SCAN_STATES>(in.c + of_states, what.n_states, task.first, n, (float *)space.c[0]);
}

/* One position: changes the lane's states, and gives what is read of all of the channel's. */
QKC_INLINE float scan_position(const scan_space &space, int step, const float *rate, float *state)
{
    const int channel = (int)threadIdx.x / SCAN_LANES, lane = (int)threadIdx.x % SCAN_LANES;
    const float x = space.x[step][channel], dt = space.dt[step][channel];
    const float4 b = space.b[step][lane], c = space.c[step][lane];
    const float added[LANE_STATES] = {b.x, b.y, b.z, b.w}, read[LANE_STATES] = {c.x, c.y, c.z, c.w};
    float sum = 0;
    QKC_UNROLL
    for (int s = 0; s < LANE_STATES; s++) {
        state[s] = fmaf(x * dt, added[s], qkc_exp(dt * rate[s]) * state[s]);
        sum = fmaf(state[s], read[s], sum);
    }
    QKC_UNROLL
    for (int apart = SCAN_LANES / 2; apart; apart /= 2) {
        sum += __shfl_xor_sync(QKC_WHOLE_WARP, sum, apart);
    }
    return sum;
}

/* y is written with the first states, and added to with the others. */
QKC_INLINE void scan_states(const qk_scan &what, const qk_scan_inputs &in, const scan_task &task,
                            scan_space &space, float *y)
{
    const size_t channel = task.channel + threadIdx.x / SCAN_LANES;
    const size_t own = task.first + threadIdx.x % SCAN_LANES * LANE_STATES;
    const bool is_there = channel < what.n_channels;
    const bool is_first = is_there && threadIdx.x % SCAN_LANES == 0;
    const float d = is_there ? in.d[channel] : 0.0f;
    float rate[LANE_STATES], state[LANE_STATES] = {};
    QKC_UNROLL
    for (size_t s = 0; s < LANE_STATES; s++) {
        const bool has_state = is_there && own + s < what.n_states;
        rate[s] = has_state ? in.a[channel * what.n_states + own + s] : 0.0f;
    }
    for (size_t start = 0; start < what.n; start += SCAN_STEPS) {
        const int n = what.n - start < SCAN_STEPS ? (int)(what.n - start) : SCAN_STEPS;
        __syncthreads();
        stage(what, in, task, start, n, space);
        __syncthreads();
        for (int step = 0; step < n; step++) {
            const float sum = scan_position(space, step, rate, state);
            if (is_first) {
                float *to = y + (start + (size_t)step) * what.n_channels + channel;
                const float x = space.x[step][threadIdx.x / SCAN_LANES];
                *to = task.first ? *to + sum : fmaf(x, d, sum);
            }
        }
    }
}

static __global__ void __launch_bounds__(SCAN_THREADS)
    scan_kernel(qk_scan what, qk_scan_inputs in, float *y)
{
    __shared__ scan_space space;
    const size_t n_tasks = qkc_parts(what.n_channels, SCAN_CHANNELS);
    for (size_t number = blockIdx.x; number < n_tasks; number += gridDim.x) {
        for (size_t first = 0; first < what.n_states; first += SCAN_STATES) {
            scan_states(what, in, {number * SCAN_CHANNELS, first}, space, y);
        }
    }
}

int qkc_selective_scan(const qk_scan *what, const qk_scan_inputs *in, float *y, void *stream)
{
    if (!what || !in) {
        return QKC_BAD_ARRAY;
    }
    if (!what->n_states) {
        return QKC_BAD_SHAPE;
    }
    const qk_array arrays[] = {QK_SCAN_ARRAYS(what, in, y)};
    const int status = QKC_CHECK_ARRAYS(arrays);
    if (status || !what->n || !what->n_channels) {
        return status;
    }
    return QKC_LAUNCH(scan_kernel, qkc_grid(qkc_parts(what->n_channels, SCAN_CHANNELS)),
                      SCAN_THREADS, stream, *what, *in, y);
}
