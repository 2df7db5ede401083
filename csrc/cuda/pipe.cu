/* SPDX-License-Identifier: MIT */
/* Rows of host memory through the device, slab by slab: while one slab is computed, the one before
 * is copied out and the one after copied in.  Each of two stages has a stream, pinned memory and
 * device memory, laid out alike. */
#include <stdlib.h>
#include <string.h>

extern "C" {
#include "../arrays.h"
#include "../formats/layouts.h"
}
#include "quantkit_cuda.h"
#include "simt.h"

#define N_STAGES 2
#define ALIGNMENT 256
#define MOST_SLAB ((size_t)1 << 27) /* pinned memory is lost to all others */

/* One of the two: the memory of a slab, and which rows it has in work. */
struct stage {
    cudaStream_t stream;
    uint8_t *pinned, *device;
    size_t first, n_rows; /* n_rows: 0 for none */
};

struct qkc_pipe {
    int device;
    size_t slab_bytes;  /* the most device memory of both stages */
    size_t stage_bytes; /* that each has now */
    stage stages[N_STAGES];
};

/* Rows to bring through, and where the parts of a stage's memory begin. */
struct passage {
    int type;
    const uint8_t *in;
    uint8_t *out;
    const float *importance;
    size_t n_rows, n_cols, in_row, out_row; /* in_row, out_row: bytes */
    size_t scratch_row;                     /* bytes of scratch that a row takes */
    size_t per_slab;                        /* rows */
    size_t importance_at, in_at, out_at, scratch_at;
    int64_t bad_index;
    /* queues the work of a stage, on its device memory */
    int (*queue)(const passage *what, const stage *s);
};

/* ---- memory ---- */

static void release(qkc_pipe *pipe)
{
    for (stage &s : pipe->stages) {
        if (s.stream) {
            cudaStreamSynchronize(s.stream);
            cudaStreamDestroy(s.stream);
        }
        cudaFree(s.device);
        cudaFreeHost(s.pinned);
        s = {};
    }
    pipe->stage_bytes = 0;
}

static int take(stage *s, size_t bytes)
{
    int status = cudaMalloc((void **)&s->device, bytes);
    if (!status) {
        status = cudaHostAlloc((void **)&s->pinned, bytes, cudaHostAllocDefault);
    }
    if (!status) {
        status = cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking);
    }
    return status;
}

/* Stages of `bytes` each, or half as many where those are not to be had, but at least `least`. */
static int take_stages(qkc_pipe *pipe, size_t bytes, size_t least)
{
    if (pipe->stage_bytes >= bytes) {
        return 0;
    }
    for (;;) {
        int status = 0;
        release(pipe);
        for (stage &s : pipe->stages) {
            status = status ? status : take(&s, bytes);
        }
        if (!status) {
            pipe->stage_bytes = bytes;
            return 0;
        }
        release(pipe);
        if (status != cudaErrorMemoryAllocation || bytes <= least) {
            return status;
        }
        bytes = bytes / 2 > least ? bytes / 2 : least;
    }
}

/* ---- layout of a slab ---- */

static size_t aligned(size_t n) { return qk_rounded_up(n, ALIGNMENT); }

/* Places the parts for slabs of so many rows; gives the bytes of all.  The first part is that of
 * the two indices of qkc_quantize. */
static size_t lay_out(passage *what, size_t n_rows)
{
    what->importance_at = ALIGNMENT;
    size_t at = what->importance ? qk_times(what->n_cols, sizeof(float)) : 0;
    what->scratch_at = what->importance_at + aligned(at);
    what->out_at = qk_plus(what->scratch_at, aligned(qk_times(n_rows, what->scratch_row)));
    what->in_at = qk_plus(what->out_at, aligned(qk_times(n_rows, what->out_row)));
    return qk_plus(what->in_at, aligned(qk_times(n_rows, what->in_row)));
}

/* The most rows whose slab fits. */
static size_t rows_that_fit(passage *what, size_t bytes)
{
    const size_t fixed = lay_out(what, 0) + 3 * ALIGNMENT;
    const size_t row = what->in_row + what->out_row + what->scratch_row;
    const size_t n = bytes > fixed ? (bytes - fixed) / row : 0;
    return n < what->n_rows ? n : what->n_rows;
}

static int prepare(qkc_pipe *pipe, passage *what)
{
    size_t free_bytes, total, most = pipe->slab_bytes;
    if (!most) {
        const int status = cudaMemGetInfo(&free_bytes, &total);
        if (status) {
            return status;
        }
        most = free_bytes / 4 < MOST_SLAB ? free_bytes / 4 : MOST_SLAB;
    }
    const size_t least = lay_out(what, 1) + 3 * ALIGNMENT;
    const size_t half = (what->n_rows + 1) / N_STAGES; /* so that both have work */
    size_t wanted = lay_out(what, half ? half : 1) + 3 * ALIGNMENT;
    wanted = wanted < most / N_STAGES ? wanted : most / N_STAGES;
    const int status = take_stages(pipe, wanted > least ? wanted : least, least);
    if (!status) {
        what->per_slab = rows_that_fit(what, pipe->stage_bytes);
        lay_out(what, what->per_slab);
    }
    return status;
}

/* ---- passing ---- */

static int copy(void *to, const void *from, size_t bytes, const stage *s)
{
    return bytes ? cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s->stream) : 0;
}

/* Rows into a stage, the work on them, and out of it, all queued. */
static int begin(const passage *what, stage *s)
{
    memcpy(s->pinned + what->in_at, what->in + s->first * what->in_row, s->n_rows * what->in_row);
    int status =
        copy(s->device + what->in_at, s->pinned + what->in_at, s->n_rows * what->in_row, s);
    if (!status && what->importance) {
        const size_t bytes = what->n_cols * sizeof(float);
        memcpy(s->pinned + what->importance_at, what->importance, bytes);
        status = copy(s->device + what->importance_at, s->pinned + what->importance_at, bytes, s);
    }
    status = status ? status : what->queue(what, s);
    status = status ? status : copy(s->pinned, s->device, 2 * sizeof(int64_t), s);
    return status ? status
                  : copy(s->pinned + what->out_at, s->device + what->out_at,
                         s->n_rows * what->out_row, s);
}

/* Waits for the rows of a stage, if it has any, and takes them out. */
static int finish(passage *what, stage *s)
{
    if (!s->n_rows) {
        return 0;
    }
    const int status = cudaStreamSynchronize(s->stream);
    if (status) {
        return status;
    }
    const int64_t *bad = (const int64_t *)s->pinned;
    if (bad[1] >= 0) {
        what->bad_index = bad[1];
        return QKC_BAD_IMPORTANCE;
    }
    if (bad[0] >= 0) {
        what->bad_index = bad[0] + (int64_t)(s->first * what->n_cols);
        return QKC_NOT_FINITE;
    }
    memcpy(what->out + s->first * what->out_row, s->pinned + what->out_at,
           s->n_rows * what->out_row);
    s->n_rows = 0;
    return 0;
}

static int pass_slabs(qkc_pipe *pipe, passage *what)
{
    int status = prepare(pipe, what);
    size_t turn = 0;
    for (size_t first = 0; !status && first < what->n_rows; first += what->per_slab, turn++) {
        stage *s = pipe->stages + turn % N_STAGES;
        const size_t left = what->n_rows - first;
        status = finish(what, s);
        if (!status) {
            s->first = first;
            s->n_rows = left < what->per_slab ? left : what->per_slab;
            status = begin(what, s);
        }
    }
    for (size_t k = 0; !status && k < N_STAGES; k++) {
        status = finish(what, pipe->stages + (turn + k) % N_STAGES);
    }
    return status;
}

/* On the pipe's device; on an error, nothing is left in work, and the pipe holds no memory. */
static int pass(qkc_pipe *pipe, passage *what)
{
    int before;
    int status = cudaGetDevice(&before);
    status = status ? status : cudaSetDevice(pipe->device);
    if (status) {
        return status;
    }
    status = pass_slabs(pipe, what);
    if (status) {
        release(pipe);
    }
    const int restored = cudaSetDevice(before);
    return status ? status : restored;
}

/* ---- the two ways ---- */

static int queue_quantize(const passage *what, const stage *s)
{
    const float *importance =
        what->importance ? (const float *)(s->device + what->importance_at) : NULL;
    return qkc_quantize(what->type, (const float *)(s->device + what->in_at), importance, s->n_rows,
                        what->n_cols, s->device + what->out_at, (int64_t *)s->device,
                        s->device + what->scratch_at, s->n_rows * what->scratch_row, s->stream);
}

static int queue_dequantize(const passage *what, const stage *s)
{
    const int status =
        cudaMemsetAsync(s->device, 0xff, 2 * sizeof(int64_t), s->stream); /* no index */
    return status ? status
                  : qkc_dequantize(what->type, s->device + what->in_at, s->n_rows, what->n_cols, 0,
                                   s->device + what->out_at, s->stream);
}

/* The type's layout, or NULL with a status; row_bytes: of a quantized row. */
static const qk_layout *find_layout(int type, size_t n_cols, size_t *row_bytes, int *status)
{
    const qk_layout *layout = qk_find_layout(type);
    *status = layout ? 0 : QKC_UNKNOWN_TYPE;
    if (layout && n_cols % layout->block_size) {
        *status = QKC_BAD_SHAPE;
    }
    *row_bytes = *status ? 0 : qk_times(n_cols / layout->block_size, layout->block_bytes);
    return *status ? NULL : layout;
}

int qkc_pipe_open(size_t slab_bytes, qkc_pipe **pipe)
{
    int device;
    *pipe = NULL;
    const int status = cudaGetDevice(&device);
    if (status) {
        return status;
    }
    *pipe = (qkc_pipe *)calloc(1, sizeof **pipe);
    if (!*pipe) {
        return QKC_NO_HOST_MEMORY;
    }
    (*pipe)->device = device;
    (*pipe)->slab_bytes = slab_bytes;
    return 0;
}

int qkc_pipe_close(qkc_pipe *pipe)
{
    int before;
    if (!pipe) {
        return 0;
    }
    int status = cudaGetDevice(&before);
    status = status ? status : cudaSetDevice(pipe->device);
    release(pipe);
    status = status ? status : cudaSetDevice(before);
    free(pipe);
    return status;
}

size_t qkc_pipe_bytes(const qkc_pipe *pipe) { return N_STAGES * pipe->stage_bytes; }

int qkc_quantize_host(qkc_pipe *pipe, int type, const float *x, const float *importance,
                      size_t n_rows, size_t n_cols, uint8_t *out, int64_t *bad_index)
{
    int status;
    passage what = {};
    const qk_layout *layout = find_layout(type, n_cols, &what.out_row, &status);
    if (status) {
        return status;
    }
    const qk_array arrays[] = {
        QK_READ_FLOATS(x, qk_times(n_rows, n_cols)),
        QK_OPTIONAL_FLOATS(importance, n_cols),
        QK_WRITTEN_BYTES(out, qk_times(n_rows, what.out_row)),
        QK_ARRAY(bad_index, 1, int64_t, QK_WRITTEN),
    };
    status = pipe ? -QK_CHECK_ARRAYS(arrays) : QKC_BAD_ARRAY;
    if (status) {
        return status;
    }
    if (!importance && layout->importance == QK_IMPORTANCE_NEEDED) {
        return QKC_NEEDS_IMPORTANCE;
    }
    status = qkc_quantize_scratch(type, importance != NULL, 1, n_cols, &what.scratch_row);
    if (status || !n_rows || !n_cols) {
        return status;
    }
    what.type = type;
    what.in = (const uint8_t *)x;
    what.out = out;
    what.importance = importance;
    what.n_rows = n_rows;
    what.n_cols = n_cols;
    what.in_row = n_cols * sizeof(float);
    what.queue = queue_quantize;
    status = pass(pipe, &what);
    *bad_index = what.bad_index;
    return status;
}

int qkc_dequantize_host(qkc_pipe *pipe, int type, const uint8_t *data, size_t n_rows, size_t n_cols,
                        float *out)
{
    int status;
    passage what = {};
    find_layout(type, n_cols, &what.in_row, &status);
    if (status) {
        return status;
    }
    const qk_array arrays[] = {
        QK_READ_BYTES(data, qk_times(n_rows, what.in_row)),
        QK_WRITTEN_FLOATS(out, qk_times(n_rows, n_cols)),
    };
    status = pipe ? -QK_CHECK_ARRAYS(arrays) : QKC_BAD_ARRAY;
    if (status || !n_rows || !n_cols) {
        return status;
    }
    what.type = type;
    what.in = data;
    what.out = (uint8_t *)out;
    what.n_rows = n_rows;
    what.n_cols = n_cols;
    what.out_row = n_cols * sizeof(float);
    what.queue = queue_dequantize;
    return pass(pipe, &what);
}
