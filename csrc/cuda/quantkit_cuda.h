/* SPDX-License-Identifier: MIT */
/* The C API of quantkit on CUDA: a shared library of its own, so that quantkit loads without a
 * driver, and without this library.
 *
 * Every function returns a status: 0, a qkc_status (negative), or a cudaError_t (positive);
 * qkc_error_name gives its text.  A call is for the device that is current in the thread that calls
 * (qkc_set_device), save that a pipe keeps the one that it was opened on.
 *
 * "device" before an array: its memory can be read or written by kernels, by the work that is
 * queued on `stream`, a cudaStream_t or NULL for the default stream.  Such a call queues its work
 * and does not wait for it; whoever reads the arrays on another stream or on the host waits first.
 * It allocates nothing.  Errors of the work itself appear at a later call, as CUDA has it.
 *
 * [n][m] after the name of an array is what it must hold.  Floats and integers are aligned to their
 * size; bytes need not be.  Arrays that are written share no bytes with others.  A row is `n_cols`
 * weights, a whole number of the type's blocks.  Types are GGUF type numbers.
 *
 * Bytes and weights are those of quantkit.h, bit for bit, on every device; a NaN that is computed
 * (0 * Inf) may have another sign.
 *
 * Python's cffi reads the part between the two cdef marks; keep it plain C declarations.
 */
#ifndef QUANTKIT_CUDA_H
#define QUANTKIT_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cdef begin */
/* Of this header.  A caller compares it with what it was written for. */
#define QKC_API_VERSION 1
int qkc_api_version(void);
/* Of quantkit, such as "0.1.0". */
const char *qkc_version(void);
/* 1 where the kernels run on the processor, in the tests' host build; else 0. */
int qkc_is_host_build(void);

/* What went wrong before anything was queued.  The numbers are those of qk_status, negative. */
typedef enum qkc_status {
    QKC_OK = 0,
    QKC_UNKNOWN_TYPE = -3,     /* not a GGUF type that is built in */
    QKC_BAD_SHAPE = -4,        /* a row is not a whole number of blocks, or sizes overflow */
    QKC_NOT_FINITE = -5,       /* a weight is NaN or infinite (only where arrays are the host's) */
    QKC_BAD_IMPORTANCE = -6,   /* an importance is NaN, infinite or negative (likewise) */
    QKC_NEEDS_IMPORTANCE = -7, /* the type cannot be quantized to without importance */
    QKC_UNKNOWN_PACKING = -8,  /* no such packing of activations, or not for weights of this type */
    QKC_UNKNOWN_FUNCTION = -9, /* no such function of a number */
    QKC_BAD_ARRAY = -10,       /* an array is NULL, not aligned, or shares bytes with another */
    QKC_SMALL_SCRATCH = -11,   /* less scratch than qkc_quantize_scratch asks for */
    QKC_NO_HOST_MEMORY = -12   /* memory of the process itself is exhausted */
} qkc_status;

/* A short text for any status, such as "QKC_BAD_SHAPE" or "cudaErrorMemoryAllocation"; for those of
 * CUDA, qkc_error_text is a sentence.  Never NULL. */
const char *qkc_error_name(int status);
const char *qkc_error_text(int status);

/* ---- devices ---- */

typedef struct qkc_device {
    char name[256];
    int major, minor; /* compute capability */
    int multiprocessors;
    int has_kernels;    /* 1 if this library has code for the device, else 0 */
    size_t total_bytes; /* of its memory */
} qkc_device;

/* How many there are: 0 with a status where there is no driver, or one that is too old. */
int qkc_device_count(int *count);
int qkc_describe_device(int device, qkc_device *what);
int qkc_get_device(int *device);
int qkc_set_device(int device);
/* Of the current device. */
int qkc_free_bytes(size_t *free_bytes);

/* ---- memory and streams, for callers that have no array library ---- */

/* Plain allocations of device memory; cudaErrorMemoryAllocation (2) where there is not enough. */
int qkc_malloc(size_t bytes, void **memory);
int qkc_free(void *memory);
/* Between host and device memory, either way, or within one; queued on the stream. */
int qkc_copy(void *to, const void *from, size_t bytes, void *stream);
/* Waits for all that is queued. */
int qkc_synchronize(void *stream);

/* ---- quantizing in device memory ---- */

/* Bytes of scratch that qkc_quantize needs; may be 0. */
int qkc_quantize_scratch(int type, int has_importance, size_t n_rows, size_t n_cols, size_t *bytes);
/* device x f32 [n_rows][n_cols] -> device out [n_rows][row bytes].  device importance f32 [n_cols]
 * or NULL.  device scratch, aligned to 4 bytes.
 * device bad i64 [2]: the index in x of the first weight that is NaN or infinite, and that in
 * importance of the first that is NaN, infinite or negative; -1 for none.  Where either is not -1,
 * what is in out is of no use. */
int qkc_quantize(int type, const float *x, const float *importance, size_t n_rows, size_t n_cols,
                 uint8_t *out, int64_t *bad, void *scratch, size_t scratch_bytes, void *stream);

/* device data [n_rows][row bytes] -> device out [n_rows][n_cols] of out_type: F32 (0), F16 (1) or
 * BF16 (30).  F16 and BF16 are rounded from f32, half to even. */
int qkc_dequantize(int type, const uint8_t *data, size_t n_rows, size_t n_cols, int out_type,
                   void *out, void *stream);

/* ---- rows in host memory ---- */

/* Pinned host memory, device memory and two streams through which rows pass.  It is for one thread
 * at a time. */
typedef struct qkc_pipe qkc_pipe;

/* On the current device.  slab_bytes: the most device memory that it takes; 0 for a quarter of what
 * is free, 128 MiB at most.  A row is always taken.  Memory is taken at the first use; where it is
 * not to be had, half of it is tried, and so on down to a row. */
int qkc_pipe_open(size_t slab_bytes, qkc_pipe **pipe);
/* Waits, and frees all that it holds; NULL is allowed. */
int qkc_pipe_close(qkc_pipe *pipe);
/* The device memory that it holds now. */
size_t qkc_pipe_bytes(const qkc_pipe *pipe);

/* x f32 [n_rows][n_cols] -> out [n_rows][row bytes], both in host memory; returns when it is done.
 * importance f32 [n_cols] or NULL, in host memory.  On QKC_NOT_FINITE, *bad_index is the index in x
 * of the first such weight; on QKC_BAD_IMPORTANCE, that in importance.  On any status but 0, out
 * may hold anything. */
int qkc_quantize_host(qkc_pipe *pipe, int type, const float *x, const float *importance,
                      size_t n_rows, size_t n_cols, uint8_t *out, int64_t *bad_index);
/* data [n_rows][row bytes] -> out f32 [n_rows][n_cols], both in host memory. */
int qkc_dequantize_host(qkc_pipe *pipe, int type, const uint8_t *data, size_t n_rows, size_t n_cols,
                        float *out);
/* cdef end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
