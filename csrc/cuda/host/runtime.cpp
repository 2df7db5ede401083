/* SPDX-License-Identifier: MIT */
#include "runtime.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>

struct CUstream_st {
    std::deque<std::function<void()>> work;
    bool is_blocking; /* the default stream waits for it */
};

/* What an event was recorded for: all work that was on a stream then. */
struct recording {
    cudaStream_t stream;
    bool is_done;
};

struct CUevent_st {
    std::shared_ptr<recording> last; /* or none */
};

namespace
{

/* Of everything here. */
std::recursive_mutex guard;
typedef std::lock_guard<std::recursive_mutex> locked;

std::set<cudaStream_t> streams;
std::map<void *, size_t> allocated;
size_t used_bytes;
thread_local int current_device = 0;

size_t setting(const char *name, size_t otherwise)
{
    const char *value = getenv(name);
    return value ? (size_t)strtoull(value, NULL, 10) : otherwise;
}

size_t memory_bytes() { return setting("QKC_HOST_MEMORY", (size_t)1 << 33); }
bool is_broken() { return setting("QKC_HOST_BROKEN", 0) != 0; } /* as after a fault of a kernel */
int n_devices() { return (int)setting("QKC_HOST_DEVICES", 1); }

bool is_default(cudaStream_t stream) { return (uintptr_t)stream <= 2; }

void run_first(cudaStream_t stream)
{
    const std::function<void()> work = std::move(stream->work.front());
    stream->work.pop_front();
    work();
}

void run_all(cudaStream_t stream)
{
    while (!stream->work.empty()) {
        run_first(stream);
    }
}

void run_until_done(const std::shared_ptr<recording> &what)
{
    while (what && !what->is_done) {
        if (what->stream->work.empty()) {
            fprintf(stderr, "two streams wait for each other\n");
            abort();
        }
        run_first(what->stream);
    }
}

cudaError_t allocate(void **memory, size_t bytes)
{
    *memory = NULL;
    if (bytes) {
        if (posix_memalign(memory, 256, bytes)) {
            return cudaErrorMemoryAllocation;
        }
        memset(*memory, 0xa5, bytes); /* so that nothing counts on zeros */
    }
    return cudaSuccess;
}

} // namespace

namespace qkc_host
{

cudaError_t queue(void *where, std::function<void()> work)
{
    const locked lock(guard);
    const cudaStream_t stream = (cudaStream_t)where;
    if (!is_default(stream)) {
        if (!streams.count(stream)) {
            return cudaErrorInvalidResourceHandle;
        }
        stream->work.push_back(std::move(work));
        return cudaSuccess;
    }
    for (cudaStream_t each : streams) {
        if (each->is_blocking) {
            run_all(each);
        }
    }
    work();
    return cudaSuccess;
}

} // namespace qkc_host

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "cudaSuccess";
    case cudaErrorInvalidValue:
        return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
        return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
        return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
        return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
        return "cudaErrorLaunchFailure";
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    }
    return "unrecognized error code";
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = n_devices();
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= n_devices()) {
        return cudaErrorInvalidDevice;
    }
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (device < 0 || device >= n_devices()) {
        return cudaErrorInvalidDevice;
    }
    *properties = cudaDeviceProp();
    strcpy(properties->name, "the processor");
    properties->major = (int)setting("QKC_HOST_CAPABILITY", 90) / 10;
    properties->minor = (int)setting("QKC_HOST_CAPABILITY", 90) % 10;
    properties->totalGlobalMem = memory_bytes();
    properties->multiProcessorCount = 1;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    const locked lock(guard);
    *total_bytes = memory_bytes();
    *free_bytes = *total_bytes < used_bytes ? 0 : *total_bytes - used_bytes;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize()
{
    const locked lock(guard);
    for (cudaStream_t each : streams) {
        run_all(each);
    }
    return cudaSuccess;
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    const locked lock(guard);
    const size_t most = memory_bytes();
    if (used_bytes > most || bytes > most - used_bytes) {
        return cudaErrorMemoryAllocation;
    }
    const cudaError_t error = allocate(memory, bytes);
    if (error == cudaSuccess && bytes) {
        allocated[*memory] = bytes;
        used_bytes += bytes;
    }
    return error;
}

cudaError_t cudaFree(void *memory)
{
    const locked lock(guard);
    const auto found = allocated.find(memory);
    if (!memory) {
        return cudaSuccess;
    }
    if (found == allocated.end()) {
        return cudaErrorInvalidValue;
    }
    cudaDeviceSynchronize();
    used_bytes -= found->second;
    allocated.erase(found);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) { return allocate(memory, bytes); }

cudaError_t cudaFreeHost(void *memory)
{
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream)
{
    return qkc_host::queue(stream, [=] {
        if (bytes) {
            memcpy(to, from, bytes);
        }
    });
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    return qkc_host::queue(stream, [=] {
        if (bytes) {
            memset(memory, value, bytes);
        }
    });
}

/* ---- streams and events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    const locked lock(guard);
    *stream = new CUstream_st{{}, !(flags & cudaStreamNonBlocking)};
    streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    const locked lock(guard);
    if (!streams.count(stream)) {
        return cudaErrorInvalidResourceHandle;
    }
    run_all(stream);
    streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    const locked lock(guard);
    if (is_default(stream)) {
        return qkc_host::queue(stream, [] {});
    }
    if (!streams.count(stream)) {
        return cudaErrorInvalidResourceHandle;
    }
    run_all(stream);
    return is_broken() ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new CUevent_st();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    const locked lock(guard);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const locked lock(guard);
    const auto made = std::make_shared<recording>(recording{stream, false});
    event->last = made;
    return qkc_host::queue(stream, [=] { made->is_done = true; });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const locked lock(guard);
    const auto awaited = event->last;
    return qkc_host::queue(stream, [=] { run_until_done(awaited); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const locked lock(guard);
    run_until_done(event->last);
    return cudaSuccess;
}
