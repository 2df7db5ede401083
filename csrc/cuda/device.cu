/* SPDX-License-Identifier: MIT */
/* Versions, errors, devices and memory. */
#include "quantkit_cuda.h"

#include <stdio.h>
#include <string.h>

#include "simt.h"

#ifndef QKC_VERSION
#error "QKC_VERSION is quantkit's version as a string"
#endif

int qkc_api_version(void) { return QKC_API_VERSION; }
const char *qkc_version(void) { return QKC_VERSION; }
int qkc_is_host_build(void)
{
#ifdef QKC_HOST_BUILD
    return 1;
#else
    return 0;
#endif
}

/* ---- errors ---- */

static const struct {
    int status;
    const char *name, *text;
} statuses[] = {
    {QKC_OK, "QKC_OK", "no error"},
    {QKC_UNKNOWN_TYPE, "QKC_UNKNOWN_TYPE", "not a type that is built in"},
    {QKC_BAD_SHAPE, "QKC_BAD_SHAPE",
     "a row is not a whole number of the type's blocks, or sizes overflow"},
    {QKC_NOT_FINITE, "QKC_NOT_FINITE", "a weight is NaN or infinite"},
    {QKC_BAD_IMPORTANCE, "QKC_BAD_IMPORTANCE", "an importance is NaN, infinite or negative"},
    {QKC_NEEDS_IMPORTANCE, "QKC_NEEDS_IMPORTANCE",
     "the type cannot be quantized to without importance"},
    {QKC_UNKNOWN_PACKING, "QKC_UNKNOWN_PACKING",
     "activations are not packed so for weights of this type"},
    {QKC_UNKNOWN_FUNCTION, "QKC_UNKNOWN_FUNCTION", "not a function of a number"},
    {QKC_BAD_ARRAY, "QKC_BAD_ARRAY", "an array is NULL, not aligned, or shares bytes with another"},
    {QKC_SMALL_SCRATCH, "QKC_SMALL_SCRATCH", "less scratch than the call needs"},
    {QKC_NO_HOST_MEMORY, "QKC_NO_HOST_MEMORY", "out of memory"},
};

const char *qkc_error_name(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].status == status) {
            return statuses[i].name;
        }
    }
    return status > 0 ? cudaGetErrorName((cudaError_t)status) : "unknown status";
}

const char *qkc_error_text(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].status == status) {
            return statuses[i].text;
        }
    }
    return status > 0 ? cudaGetErrorString((cudaError_t)status) : "unknown status";
}

/* ---- devices ---- */

/* The compute capabilities that there is code for, as 100 * major + 10 * minor.  Devices of the
 * same major version run it if their minor version is not lower; those after the last compile its
 * PTX as they load it. */
static const int architectures[] = {__CUDA_ARCH_LIST__};

static int has_kernels(int major, int minor)
{
    const int own = 100 * major + 10 * minor;
    int last = 0, found = 0;
    for (int each : architectures) {
        found = found || (each / 100 == major && each <= own);
        last = each;
    }
    return found || own >= last;
}

int qkc_device_count(int *count)
{
    *count = 0;
    return cudaGetDeviceCount(count);
}

int qkc_describe_device(int device, qkc_device *what)
{
    cudaDeviceProp found;
    const int status = cudaGetDeviceProperties(&found, device);
    if (status) {
        return status;
    }
    memset(what, 0, sizeof *what);
    snprintf(what->name, sizeof what->name, "%s", found.name);
    what->major = found.major;
    what->minor = found.minor;
    what->multiprocessors = found.multiProcessorCount;
    what->has_kernels = has_kernels(found.major, found.minor);
    what->total_bytes = found.totalGlobalMem;
    return 0;
}

int qkc_get_device(int *device) { return cudaGetDevice(device); }
int qkc_set_device(int device) { return cudaSetDevice(device); }

int qkc_free_bytes(size_t *free_bytes)
{
    size_t total;
    return cudaMemGetInfo(free_bytes, &total);
}

/* ---- memory and streams ---- */

int qkc_malloc(size_t bytes, void **memory)
{
    *memory = NULL;
    return cudaMalloc(memory, bytes);
}

int qkc_free(void *memory) { return cudaFree(memory); }

int qkc_copy(void *to, const void *from, size_t bytes, void *stream)
{
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, (cudaStream_t)stream);
}

int qkc_synchronize(void *stream) { return cudaStreamSynchronize((cudaStream_t)stream); }
